//! What a script is and how it runs.

mod command;
mod file;
mod line;
mod show;
mod world;

use file::Script;
use world::World;

/// Runs a script's text; the answer knows what was expected and what was printed.
pub(crate) fn run(text: &str) -> Result<Script, String> {
    let mut script = Script::parse(text)?;
    let mut world = World::new(script.shard);
    for block in &mut script.blocks {
        block.printed = world.run(&block.input).map_err(|error| format!("{}: {error}", block.first_line))?;
    }
    world.finish()?;
    Ok(script)
}
