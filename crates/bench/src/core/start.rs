//! Starting, and memory when nothing is asked.

use super::{Options, report};
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::Client;
use crate::cost::median;
use crate::disk;
use crate::figure;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long an idle broker is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// One start.
struct Start {
    line: Duration,
    answer: Duration,
    memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    CleanStop,
    Kill,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Start-up and idle memory",
        "From the process' start to its first line, and to its first answer (Metadata) on a new connection. Memory is \
         the proportional set size one second later, with no topics and no clients.",
    );
    if !options.has_broker()? {
        return Ok(());
    }
    report::head(&["folder", "first line, ms", "first answer, ms", "memory, MiB"]);
    for (name, before) in
        [("empty", Before::Nothing), ("after a clean stop", Before::CleanStop), ("after kill -9", Before::Kill)]
    {
        let folder = disk::fresh(&options.folder, "start")?;
        let turns = if options.quick { 2 } else { 11 };
        let starts = (0..turns).map(|_| start(options, &folder, before)).collect::<Outcome<Vec<_>>>()?;
        // The first start of a folder is not the one that was asked about.
        let starts = if before == Before::Nothing { &starts[..] } else { &starts[1..] };
        let of = |figure: fn(&Start) -> f64| figure::number(median(starts.iter().map(figure)));
        report::row(&[
            name.into(),
            of(|start| start.line.as_secs_f64() * 1e3),
            of(|start| start.answer.as_secs_f64() * 1e3),
            of(|start| start.memory as f64 / (1 << 20) as f64),
        ]);
    }
    Ok(())
}

fn start(options: &Options, folder: &Path, before: Before) -> Outcome<Start> {
    if before == Before::Nothing {
        std::fs::remove_dir_all(folder)?;
    }
    let begun = Instant::now();
    let broker = options.start_broker(folder)?;
    client_runtime()?.block_on(async { Client::connect(broker.address).await?.metadata().await })?;
    let answer = begun.elapsed();
    thread::sleep(if options.quick { Duration::from_millis(50) } else { SETTLE });
    let start = Start { line: broker.ready_after, answer, memory: broker.memory()? };
    match before {
        Before::Kill => broker.kill()?,
        Before::Nothing | Before::CleanStop => broker.stop()?,
    }
    Ok(start)
}
