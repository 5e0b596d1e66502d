//! One suite: a command whose output goes to a log as it comes, while a line on the screen says how
//! long it has been at it.

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

/// How often a log without a terminal hears that a suite is still alive.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// How much of a failed suite's log is repeated on the screen.
const TAIL_LINES: usize = 120;

/// A command with a name, and how to count tests in what it prints.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
    pub(crate) counts: Reader,
}

impl Suite {
    /// Runs the command to its end. Its failure is a row like any other; `Err` is ours.
    pub(crate) fn run(self) -> Outcome<Row> {
        let Self { name, mut command, counts } = self;
        let log = cargo::scratch().join(format!("{name}.log"));
        let start = Instant::now();
        println!("{name}: {} (log: {})", cargo::line_of(&command), shown(&log));
        let status = wait(&mut command, &log, name)?;
        let time = start.elapsed();

        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let mut counts = counts(&text);
        let verdict = if status.success() { Verdict::Passed } else { Verdict::Failed };
        if verdict == Verdict::Failed {
            // A suite that broke before its first test must still make the closing line say so.
            counts.failed = counts.failed.max(1);
            println!("{name}: FAILED, {status}; the end of {}:", shown(&log));
            println!("{}", tail(&text));
        }
        println!("{name}: {verdict} in {:.1} s{}", time.as_secs_f64(), counted(counts));
        Ok(Row { suite: name, verdict, counts, time, note: String::new() })
    }
}

/// Starts the command with its output in the log and waits, showing progress.
fn wait(command: &mut Command, log: &Path, name: &str) -> Outcome<ExitStatus> {
    fs::create_dir_all(cargo::scratch())?;
    let file = File::create(log).map_err(|error| format!("cannot create {}: {error}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", cargo::line_of(command)))?;
    let (start, mut screen) = (Instant::now(), std::io::stdout());
    let mut next_sign = if screen.is_terminal() { Duration::from_secs(1) } else { HEARTBEAT };
    loop {
        if let Some(status) = child.try_wait()? {
            if screen.is_terminal() {
                write!(screen, "\r\x1b[K")?;
            }
            return Ok(status);
        }
        let elapsed = start.elapsed();
        if elapsed >= next_sign {
            if screen.is_terminal() {
                write!(screen, "\r\x1b[K{name}: {} s", elapsed.as_secs())?;
                next_sign += Duration::from_secs(1);
            } else {
                writeln!(screen, "{name}: {} s", elapsed.as_secs())?;
                next_sign += HEARTBEAT;
            }
            screen.flush()?;
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
