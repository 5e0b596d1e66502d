//! One suite: commands whose output goes to a log as it comes, while a line on the screen says how
//! long they have been at it.

use crate::counts::{Counts, Reader};
use crate::summary::{Row, Verdict};
use crate::{Outcome, cargo};
use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often we look whether the command has ended: short enough not to be felt by a quick suite.
const POLL: Duration = Duration::from_millis(50);

/// How often the line on a terminal is rewritten.
const TICK: Duration = Duration::from_secs(1);

/// How often a log without a terminal hears that a suite is still alive.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How much of a failed suite's log is repeated on the screen.
const TAIL_LINES: usize = 120;

/// Commands with a name, and how to count tests in what they print.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// Run in order until one fails.
    pub(crate) steps: Vec<Command>,
    pub(crate) counts: Reader,
}

impl Suite {
    /// Runs the steps to their end. Their failure is a row like any other; `Err` is ours.
    pub(crate) fn run(self) -> Outcome<Row> {
        let Self { name, steps, counts } = self;
        fs::create_dir_all(cargo::scratch())?;
        let path = cargo::scratch().join(format!("{name}.log"));
        let log = File::create(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        let start = Instant::now();
        let mut failure = None;
        for mut step in steps {
            println!("{name}: {} (log: {})", cargo::line_of(&step), shown(&path));
            let status = wait(&mut step, &log, name)?;
            if !status.success() {
                failure = Some(status);
                break;
            }
        }
        let time = start.elapsed();
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let mut counts = counts(&text);
        let verdict = match failure {
            None => Verdict::Passed,
            Some(status) => {
                // A suite that broke before its first test must still make the closing line say so.
                counts.failed = counts.failed.max(1);
                println!("{name}: {status}; the end of {}:\n{}", shown(&path), tail(&text));
                Verdict::Failed
            }
        };
        println!("{name}: {verdict} in {:.1} s{}", time.as_secs_f64(), counted(counts));
        Ok(Row { suite: name, verdict, counts, time, note: String::new() })
    }
}

/// Starts the command with its output in the log and waits, showing progress.
fn wait(command: &mut Command, log: &File, name: &str) -> Outcome<ExitStatus> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", cargo::line_of(command)))?;
    let (start, mut screen) = (Instant::now(), std::io::stdout());
    let (every, clear, end) = match screen.is_terminal() {
        true => (TICK, "\r\x1b[K", ""),
        false => (HEARTBEAT, "", "\n"),
    };
    let mut next = every;
    loop {
        if let Some(status) = child.try_wait()? {
            write!(screen, "{clear}")?;
            return Ok(status);
        }
        if start.elapsed() >= next {
            write!(screen, "{clear}{name}: {} s{end}", start.elapsed().as_secs())?;
            screen.flush()?;
            next += every;
        }
        std::thread::sleep(POLL);
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn counted(counts: Counts) -> String {
    if counts == Counts::default() { String::new() } else { format!(": {counts}") }
}

fn shown(path: &Path) -> String {
    crate::tree::relative(&path.to_string_lossy())
}
