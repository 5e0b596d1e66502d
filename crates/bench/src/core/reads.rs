//! Reading: one stream, and many whose pieces lie between one another; from memory, from the kernel's
//! page cache, from the disk.

use super::journal::{Running, entry, keep};
use super::{Options, report};
use crate::Outcome;
use crate::broker::{Broker, client_runtime};
use crate::client::Client;
use crate::cost::{self, Cost, cpu_of};
use crate::disk;
use crate::figure;
use crate::piece::Size;
use crate::streams;
use ::journal::frame::Kind;
use ::journal::{LogEntry, LogPosition};
use model::{Offset, PieceHead, StreamId, limit};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// The piece read: small, so that what is done per piece shows.
const SIZE: Size = Size { bytes: 1 << 10, records: 1 };
/// How much of it is read from the tail cache.
const TAIL_BYTES: u64 = limit::TAIL_CACHE_BYTES as u64 / 2;
/// What a consumer asks for at once of one partition, and of all: Kafka's defaults for consumers are
/// 1 MiB and 50 MiB; less at once keeps the answers of many small partitions apart.
const PARTITION_BYTES: usize = 1 << 20;
const FETCH_BYTES: usize = 8 << 20;
/// Partitions that one fetch names.
const PARTITIONS_A_FETCH: usize = 100;
/// A cold read of everything may take so long; then what was read until then counts.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much is written, and into how many streams.
#[derive(Clone, Copy, Debug)]
struct Layout {
    streams: usize,
    pieces: u64,
}

fn layouts(options: &Options) -> [Layout; 2] {
    let pieces = |bytes: u64| bytes / SIZE.bytes as u64;
    if options.quick {
        [Layout { streams: 1, pieces: pieces(4 << 20) }, Layout { streams: 100, pieces: pieces(4 << 20) }]
    } else {
        [Layout { streams: 1, pieces: pieces(1 << 30) }, Layout { streams: 10_000, pieces: pieces(1 << 30) }]
    }
}

/// From where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Warmth {
    /// The tail cache.
    Tail,
    /// Files in the kernel's page cache.
    Pages,
    /// Files that are not.
    Disk,
}

impl Warmth {
    fn name(self) -> &'static str {
        match self {
            Warmth::Tail => "tail cache",
            Warmth::Pages => "page cache",
            Warmth::Disk => "disk",
        }
    }
}

fn head() {
    report::head(&["streams", "from", "records read", "records/s", "MiB/s", "CPU µs/record"]);
}

fn row(layout: Layout, warmth: Warmth, costs: &[Cost]) {
    let of = |figure: fn(&Cost) -> f64| figure::number(cost::median(costs.iter().map(figure)));
    report::row(&[
        layout.streams.to_string(),
        warmth.name().into(),
        of(|cost| cost.records as f64),
        of(Cost::records_a_second),
        of(Cost::mib_a_second),
        of(Cost::cpu_micros),
    ]);
}

/// Times one pass of reading.
fn timed(pid: u32, work: impl FnOnce() -> Outcome<u64>) -> Outcome<Cost> {
    let (cpu, start) = (cpu_of(pid)?, Instant::now());
    let records = work()?;
    let bytes = records * SIZE.bytes as u64;
    Ok(Cost { records, bytes, wall: start.elapsed(), cpu: cpu_of(pid)? - cpu })
}

pub(crate) fn journal(options: &Options) -> Outcome<()> {
    report::section(
        "Journal alone: reading",
        "Pieces of 1 KiB, the streams' pieces taking turns in the log; each stream is read from its first record to \
         its last, up to 1 MiB at a time, one stream after the other on one thread. From memory as much as half of the \
         tail cache, from files all of it. CPU is the process'.",
    );
    head();
    for layout in layouts(options) {
        let folder = disk::fresh(&options.folder, "reads")?;
        let tail = Layout { pieces: layout.pieces.min(TAIL_BYTES / SIZE.bytes as u64), ..layout };
        let (running, _) = Running::open(&folder, limit::TAIL_CACHE_BYTES)?;
        fill(&running, tail)?;
        let costs = repeat(options, || read(&running, tail))?;
        row(layout, Warmth::Tail, &costs);
        running.stop()?;

        let folder = disk::fresh(&options.folder, "reads")?;
        let (running, _) = Running::open(&folder, 1 << 20)?;
        fill(&running, layout)?;
        let costs = repeat(options, || read(&running, layout))?;
        row(layout, Warmth::Pages, &costs);
        let costs = repeat(options, || {
            disk::forget(&folder)?;
            read(&running, layout)
        })?;
        row(layout, Warmth::Disk, &costs);
        running.stop()?;
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn repeat(options: &Options, mut one: impl FnMut() -> Outcome<Cost>) -> Outcome<Vec<Cost>> {
    (0..options.repetitions()).map(|_| one()).collect()
}

/// Appends the layout's pieces, 64 to an entry, the streams taking turns.
fn fill(running: &Running, layout: Layout) -> Outcome<()> {
    let journal = &running.journal;
    let batch = SIZE.batch();
    let (told, heard) = sync_channel(1);
    let streams = layout.streams as u64;
    for nth in 0..layout.pieces {
        let (payload, meta_bytes, desc) = entry(&batch, StreamId(nth % streams), Offset(nth / streams))?;
        let at = LogPosition { term: 1, index: nth + 1 };
        let last = nth + 1 == layout.pieces || nth % 4096 == 4095;
        let told = told.clone();
        let done = Box::new(move || {
            if last {
                let _ = told.try_send(());
            }
        });
        journal.append(vec![(LogEntry { at, kind: Kind::Entry, payload, meta_bytes }, last)], done);
        journal.publish(nth + 1, &[desc], &[]);
        if last {
            heard.recv()?;
        }
    }
    keep(journal)
}

/// Reads every stream to its end, or until patience ends.
fn read(running: &Running, layout: Layout) -> Outcome<Cost> {
    let streams = layout.streams as u64;
    timed(std::process::id(), || {
        let (start, mut records) = (Instant::now(), 0);
        for stream in 0..streams {
            let end = Offset((layout.pieces - stream).div_ceil(streams));
            let mut next = Offset(0);
            while next < end {
                let slices = running.journal.read(StreamId(stream), next, end, PARTITION_BYTES)?;
                for slice in &slices {
                    if slice.base != next {
                        return Err(format!("void: {} instead of {next} of stream {stream}", slice.base).into());
                    }
                    next = slice.end();
                }
                if slices.is_empty() {
                    return Err(format!("void: stream {stream} ends at {next} instead of {end}").into());
                }
            }
            records += end.0;
            if start.elapsed() > PATIENCE {
                break;
            }
        }
        Ok(records)
    })
}

pub(crate) fn fetch(options: &Options) -> Outcome<()> {
    report::section(
        "Through Kafka: fetching",
        "The same layout, produced through Kafka. One connection, one fetch under way; of many streams each fetch \
         names 100 partitions, 1 MiB at most of each and 8 MiB of all, until all are read to their ends. CPU is the \
         broker's process.",
    );
    if !options.has_broker()? {
        return Ok(());
    }
    head();
    for layout in layouts(options) {
        let folder = disk::fresh(&options.folder, "fetch")?;
        let tail = Layout { pieces: layout.pieces.min(TAIL_BYTES / SIZE.bytes as u64), ..layout };
        let broker = options.start_broker(&folder)?;
        produce(&broker, tail)?;
        row(layout, Warmth::Tail, &repeat(options, || consume(&broker, tail))?);
        drop(broker);

        let folder = disk::fresh(&options.folder, "fetch")?;
        let broker = options.start_broker(&folder)?;
        produce(&broker, layout)?;
        broker.stop()?;
        row(layout, Warmth::Pages, &repeat(options, || restarted(options, &folder, layout, false))?);
        row(layout, Warmth::Disk, &repeat(options, || restarted(options, &folder, layout, true))?);
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn restarted(options: &Options, folder: &Path, layout: Layout, forget: bool) -> Outcome<Cost> {
    if forget {
        disk::forget(folder)?;
    }
    let broker = options.start_broker(folder)?;
    let cost = consume(&broker, layout)?;
    broker.stop()?;
    Ok(cost)
}

/// One connection, so that the streams' pieces take turns in the log.
fn produce(broker: &Broker, layout: Layout) -> Outcome<()> {
    streams::create(broker.address, layout.streams)?;
    streams::fill(broker.address, layout.streams, SIZE, layout.pieces, 1)
}

fn consume(broker: &Broker, layout: Layout) -> Outcome<Cost> {
    let runtime = client_runtime()?;
    let count = layout.streams as u64;
    timed(broker.pid(), || {
        runtime.block_on(async {
            let mut client = Client::connect(broker.address).await?;
            let (start, mut records) = (Instant::now(), 0);
            for first in (0..layout.streams).step_by(PARTITIONS_A_FETCH) {
                let some = first..(first + PARTITIONS_A_FETCH).min(layout.streams);
                let end = |stream: usize| (layout.pieces - stream as u64).div_ceil(count);
                let mut left: Vec<(String, i32, u64)> =
                    some.clone().map(|stream| (streams::topic(stream), streams::partition(stream), 0)).collect();
                while !left.is_empty() {
                    let fetched = client.fetch(&left, PARTITION_BYTES, FETCH_BYTES).await?;
                    for part in fetched {
                        let place = left.iter_mut().find(|(topic, partition, _)| {
                            (topic.as_str(), *partition) == (part.topic.as_str(), part.partition)
                        });
                        let (.., next) = place.ok_or("void: a partition nobody asked for")?;
                        for piece in model::piece::walk(&part.records) {
                            let (head, _) = piece?;
                            check(&head, *next)?;
                            *next = head.end().0;
                            records += u64::from(head.count);
                        }
                    }
                    left.retain(|(topic, partition, next)| {
                        streams::number(topic, *partition).is_some_and(|stream| *next < end(stream))
                    });
                    if start.elapsed() > PATIENCE {
                        return Ok(records);
                    }
                }
            }
            Ok(records)
        })
    })
}

fn check(head: &PieceHead, next: u64) -> Outcome<()> {
    if head.base.0 == next { Ok(()) } else { Err(format!("void: offset {} instead of {next}", head.base).into()) }
}
