//! From kill -9 to the first answers, with much data.

use super::{Options, report};
use crate::Outcome;
use crate::broker::client_runtime;
use crate::client::{Client, produce_frame};
use crate::cost::{cpu_of, median};
use crate::disk;
use crate::figure;
use crate::piece::Size;
use crate::streams;
use std::path::Path;
use std::time::{Duration, Instant};

/// The batches that make up the data: 16 records of 1 KiB.
const SIZE: Size = Size { bytes: 16 << 10, records: 16 };

/// One recovery.
struct Recovery {
    line: Duration,
    metadata: Duration,
    fetch: Duration,
    produce: Duration,
    cpu: Duration,
    memory: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let (streams, bytes) = if options.quick { (100, 16 << 20) } else { (10_000, 10u64 << 30) };
    report::section(
        "Recovery after kill -9",
        "Batches of 16 KiB (16 records), the streams taking turns; killed at once after the last answer and started \
         again; before each turn a hundredth more is written. From the process' start to its first line, first Metadata, first record fetched (the first of a stream \
         in the middle), first batch acknowledged with acks=all. On the disk: nothing of the files in the kernel's \
         page cache.",
    );
    if !options.has_broker()? {
        return Ok(());
    }
    let folder = disk::fresh(&options.folder, "recovery")?;
    let broker = options.start_broker(&folder)?;
    streams::create(broker.address, streams)?;
    let (begun, batches) = (Instant::now(), bytes / SIZE.bytes as u64);
    streams::fill(broker.address, streams, SIZE, batches, 4)?;
    let took = begun.elapsed();
    let mut stored = batches * SIZE.records;
    broker.kill()?;
    report::head(&["files", "first line, ms", "Metadata, ms", "fetched, ms", "produced, ms", "CPU, ms", "memory, MiB"]);
    for (name, forget) in [("in the page cache", false), ("on the disk", true)] {
        let turns = (0..options.repetitions())
            .map(|_| {
                if forget {
                    disk::forget(&folder)?;
                }
                let recovery = recover(options, &folder, streams, stored, batches / 100)?;
                stored += (batches / 100 + 1) * SIZE.records;
                Ok(recovery)
            })
            .collect::<Outcome<Vec<_>>>()?;
        let millis = |figure: fn(&Recovery) -> Duration| {
            figure::number(median(turns.iter().map(|turn| figure(turn).as_secs_f64() * 1e3)))
        };
        report::row(&[
            name.into(),
            millis(|turn| turn.line),
            millis(|turn| turn.metadata),
            millis(|turn| turn.fetch),
            millis(|turn| turn.produce),
            millis(|turn| turn.cpu),
            figure::number(median(turns.iter().map(|turn| turn.memory as f64 / (1 << 20) as f64))),
        ]);
    }
    report::note(&format!(
        "{} in {streams} streams, written in {:.0} s; {:.2} bytes of files for each byte produced.",
        figure::size(bytes as usize),
        took.as_secs_f64(),
        disk::bytes_below(&folder)? as f64 / (stored as f64 * 1024.0),
    ));
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Starts the broker, asks, writes one part in a hundred more, and kills it.
fn recover(options: &Options, folder: &Path, streams: usize, stored: u64, more: u64) -> Outcome<Recovery> {
    let begun = Instant::now();
    let broker = options.start_broker(folder)?;
    let line = broker.ready_after;
    let (metadata, fetch, produce) = client_runtime()?.block_on(async {
        let mut client = Client::connect(broker.address).await?;
        client.metadata().await?;
        let metadata = begun.elapsed();
        let stream = streams / 2;
        let (topic, partition) = (streams::topic(stream), streams::partition(stream));
        let fetched = client.fetch(&[(topic.clone(), partition, 0)], 1, 1).await?;
        if fetched.first().is_none_or(|part| part.records.is_empty()) {
            return Err("void: nothing to fetch".into());
        }
        let fetch = begun.elapsed();
        client.send(&produce_frame(&topic, partition, &SIZE.batch(), -1)?).await?;
        client.produced().await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((metadata, fetch, begun.elapsed()))
    })?;
    let recovery = Recovery { line, metadata, fetch, produce, cpu: cpu_of(broker.pid())?, memory: broker.memory()? };
    let found = streams::count(broker.address, streams)?;
    if found != stored + SIZE.records {
        return Err(format!("void: {found} of {} records came back", stored + SIZE.records).into());
    }
    streams::fill(broker.address, streams, SIZE, more, 4)?;
    broker.kill()?;
    Ok(recovery)
}
