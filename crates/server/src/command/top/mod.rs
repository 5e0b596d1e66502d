//! `mainstem top`: what a node is doing, as it does it.
//!
//! What is shown is computed by [`view`] and laid out by [`screen`]; here is only asked, waited and drawn.

mod screen;
mod terminal;
mod view;

use super::api::Api;
use super::exposition::Exposition;
use super::failure::Failure;
use super::moment::parse_span;
use super::output::Output;
use super::server::{Refusal, ServerFlag};
use super::{amount, moment};
use admin::shape::Node;
use clap::Args;
use screen::About;
use std::thread;
use std::time::{Duration, Instant};
use terminal::{Event, Terminal};
use view::View;

const EXAMPLES: &str = "Examples:
  mainstem top
  mainstem top --interval 5s
  mainstem top --json | jq .all

q ends it. Where standard output is no terminal it shows one screen and ends, as with --once.";
const KEYS: &str = "q quits";
/// The size of the screen where there is none: few lines are that long, and few nodes have so many topics.
const COLUMNS: usize = 160;
const ROWS: usize = 60;
const INTERVAL_MILLIS_LEAST: i64 = 100;

/// Watch what the node does: rates, latencies, lags, memory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopOptions {
    #[command(flatten)]
    server: ServerFlag,
    /// How often it looks, and over how long rates are measured
    #[arg(long, short, value_name = "SPAN", value_parser = interval, default_value = "1s",
          allow_hyphen_values = true)]
    interval: Duration,
    /// Show one screen and end
    #[arg(long)]
    once: bool,
    /// One look as JSON, for scripts
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let millis = parse_span(text)?;
    if millis < INTERVAL_MILLIS_LEAST {
        return Err(format!("less than {INTERVAL_MILLIS_LEAST}ms would measure the looking"));
    }
    Ok(Duration::from_millis(millis as u64))
}

pub(crate) fn run(options: &TopOptions, output: &mut Output) -> Result<(), Failure> {
    let api = Api::new(options.server.server()?);
    // What is wrong from the beginning is said plainly.
    let first = Look::take(&api)?;
    if options.json || options.once || !output.is_terminal() {
        thread::sleep(options.interval);
        let second = Look::take(&api)?;
        let view = second.since(&first);
        if options.json {
            return output.json(&view);
        }
        let about = About { title: title(&api, &second.node), problems: second.node.problems, keys: "" };
        let size = if output.is_terminal() { terminal::size() } else { None };
        let (columns, rows) = size.unwrap_or((COLUMNS, ROWS));
        for line in screen::lines(&about, &view, columns, rows) {
            output.text(&format!("{}\n", line.text))?;
        }
        return Ok(());
    }
    watch(&api, options.interval, first)
}

/// What the node said at one time.
struct Look {
    at: Instant,
    metrics: Exposition,
    node: Node,
}

impl Look {
    fn take(api: &Api) -> Result<Self, Refusal> {
        let node = api.node()?;
        let metrics = Exposition::parse(&api.metrics()?);
        Ok(Look { at: Instant::now(), metrics, node })
    }

    fn since(&self, earlier: &Look) -> View {
        View::between(&earlier.metrics, &self.metrics, self.at.duration_since(earlier.at).as_secs_f64())
    }
}

fn title(api: &Api, node: &Node) -> String {
    let uptime = Duration::try_from_secs_f64(node.uptime_seconds).unwrap_or_default();
    let now = moment::show(super::api::now_millis());
    let (number, version) = (node.node, &node.version);
    format!("mainstem {version}   node {number} at {}   up {}   {now}", api.address(), amount::span(uptime))
}

/// Draws until somebody has seen enough.
fn watch(api: &Api, interval: Duration, first: Look) -> Result<(), Failure> {
    let drawing = |error: std::io::Error| Failure::of_output(&error);
    let mut terminal = Terminal::open().map_err(drawing)?;
    let mut last = first;
    let mut view = View::default();
    let mut about = About { title: title(api, &last.node), problems: last.node.problems.clone(), keys: KEYS };
    let mut next = Instant::now() + interval;
    loop {
        let (columns, rows) = terminal::size().unwrap_or((COLUMNS, ROWS));
        terminal.draw(&screen::lines(&about, &view, columns, rows)).map_err(drawing)?;
        match terminal.wait(next.saturating_duration_since(Instant::now())).map_err(drawing)? {
            Event::Quit => return Ok(()),
            Event::Resize => continue,
            Event::Nothing => {}
        }
        next = Instant::now() + interval;
        match Look::take(api) {
            Ok(look) => {
                view = look.since(&last);
                about.title = title(api, &look.node);
                about.problems.clone_from(&look.node.problems);
                last = look;
            }
            // The node may come back; until then what was seen last stays.
            Err(Refusal::Refused(problem)) => about.problems = vec![problem.message],
            Err(Refusal::Unanswered(why)) => about.problems = vec![why],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_span_of_time() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(interval("1ms").is_err());
        assert!(interval("1").is_err());
    }
}
