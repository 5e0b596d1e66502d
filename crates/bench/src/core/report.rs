//! Tables of figures, ready to be pasted into docs/benchmarks.

use super::Options;
use crate::Outcome;
use crate::conditions::Machine;

/// What a reader must know of the machine and the run.
pub(crate) fn conditions(options: &Options) -> Outcome<()> {
    let machine = Machine::of(&options.folder)?;
    println!("# bench core\n");
    println!(
        "{} cores, {:.0} GiB of memory, Linux {}, file system {}, bench {}; per case {} ms of warm-up, {} ms \
         measured, {} turns{}.",
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.file_system,
        if cfg!(debug_assertions) { "built for debugging" } else { "built for release" },
        options.warm_up().as_millis(),
        options.window().as_millis(),
        options.repetitions(),
        if options.quick { "; quick, so the figures mean nothing" } else { "" },
    );
    Ok(())
}

/// Begins a section: its title, and what its figures mean.
pub(crate) fn section(title: &str, meaning: &str) {
    println!("\n## {title}\n\n{meaning}");
}

/// Begins a table.
pub(crate) fn head(columns: &[&str]) {
    println!("\n| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// A row of the table.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// A sentence below a table.
pub(crate) fn note(text: &str) {
    println!("\n{text}");
}
