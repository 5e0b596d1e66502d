//! The machine alone: the leader's sequencing and the replicas' applying, in memory on one thread.

use super::{Options, report};
use crate::Outcome;
use crate::cost::{Cost, cpu_of, median};
use crate::figure;
use crate::piece::{SIZES, Size};
use ::machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use ::machine::{Command, Machine, Position, Reply};
use bytes::Bytes;
use model::{Entry, EntryBuilder, Hlc, ShardId, StreamConfig, StreamId, limit};
use std::time::{Duration, Instant};

/// Streams that the pieces of an entry are spread over.
const STREAMS: u64 = 64;
/// Pieces in one entry, as far as they fit what the batcher makes.
const PIECES: [u64; 3] = [1, 64, 1000];

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Machine alone",
        "CPU on one thread, in memory. Sequencing is the leader's: judging, offsets, copying the piece into the \
         entry, closing the entry. Applying is what every replica does with the entry, parsing included. Entries of \
         as many pieces as given, spread over 64 streams, where they fit the 256 KiB of an entry.",
    );
    report::head(&[
        "piece",
        "pieces per entry",
        "sequencing, ns/record",
        "applying, ns/record",
        "both, µs/entry",
        "of 1 µs per 1 KiB record",
    ]);
    for size in SIZES {
        for pieces in PIECES.into_iter().filter(|pieces| *pieces as usize * size.bytes <= limit::ENTRY_BYTES_TARGET) {
            let turns = (0..options.repetitions()).map(|_| turn(options, size, pieces)).collect::<Outcome<Vec<_>>>()?;
            let sequencing = median(turns.iter().map(|turn| turn.sequencing.cpu_micros() * 1000.0));
            let applying = median(turns.iter().map(|turn| turn.applying.cpu_micros() * 1000.0));
            let both = sequencing + applying;
            report::row(&[
                figure::size(size.bytes),
                pieces.to_string(),
                figure::number(sequencing),
                figure::number(applying),
                figure::number(both * (pieces * size.records) as f64 / 1000.0),
                if size.records > 1 { format!("{:.2}", both / 1000.0) } else { "-".into() },
            ]);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Turn {
    sequencing: Cost,
    applying: Cost,
}

/// A machine with its leader's side.
struct Bench {
    machine: Machine,
    sequencer: Sequencer,
    builder: EntryBuilder,
    index: u64,
}

fn turn(options: &Options, size: Size, pieces: u64) -> Outcome<Turn> {
    let mut machine = Machine::new(ShardId(1));
    let mut builder = EntryBuilder::new();
    for stream in 0..STREAMS {
        builder.add_command(&Command::CreateStream { stream: StreamId(stream), config: StreamConfig::default() });
    }
    machine.apply(Position { term: 1, index: 1 }, &Entry::parse(builder.finish(Hlc(1)))?)?;
    let mut bench = Bench { machine, sequencer: Sequencer::new(1), builder, index: 1 };
    let batch = size.batch();
    bench.round(&batch, pieces, size, options.warm_up() / 4)?;
    let turn = bench.round(&batch, pieces, size, options.window() / 2)?;
    let stored: u64 = bench.machine.messaging.streams().map(|(_, stream)| stream.end.0).sum();
    let given = (bench.index - 1) * pieces * size.records;
    if stored != given {
        return Err(format!("void: {stored} of {given} records are in the machine").into());
    }
    Ok(turn)
}

impl Bench {
    /// Sequences and applies in bouts: a reading of the CPU's clock has to be of something long.
    fn round(&mut self, batch: &Bytes, pieces: u64, size: Size, window: Duration) -> Outcome<Turn> {
        let entries_a_bout = (64 << 20) / (pieces as usize * size.bytes).max(16 << 10);
        let mut turn = Turn::default();
        let start = Instant::now();
        while start.elapsed() < window || turn.applying.records == 0 {
            let mut entries = Vec::with_capacity(entries_a_bout);
            let records = entries_a_bout as u64 * pieces * size.records;
            add(&mut turn.sequencing, records, || {
                for _ in 0..entries_a_bout {
                    entries.push(self.sequence(batch, pieces)?);
                }
                Ok(())
            })?;
            add(&mut turn.applying, records, || entries.into_iter().try_for_each(|entry| self.apply(entry, pieces)))?;
        }
        Ok(turn)
    }

    fn sequence(&mut self, batch: &Bytes, pieces: u64) -> Outcome<Bytes> {
        self.index += 1;
        for nth in 0..pieces {
            let request = AppendRequest {
                stream: StreamId(nth % STREAMS),
                bytes: batch.clone(),
                message_id: None,
                durability: None,
            };
            let now = Hlc(self.index);
            match self.sequencer.append(&self.machine.messaging, &request, &mut self.builder, self.index, now) {
                Sequenced::Added => {}
                Sequenced::Answer(reply) => return Err(format!("void: {reply:?}").into()),
            }
        }
        Ok(self.builder.finish(Hlc(self.index)))
    }

    fn apply(&mut self, bytes: Bytes, pieces: u64) -> Outcome<()> {
        let entry = Entry::parse(bytes)?;
        let index = entry.time().0;
        let outcome = self.machine.apply(Position { term: 1, index }, &entry)?;
        self.sequencer.on_applied(index);
        let appended = outcome.replies.iter().filter(|reply| matches!(reply, Reply::Appended { .. })).count();
        if appended as u64 == pieces { Ok(()) } else { Err(format!("void: {:?}", outcome.replies).into()) }
    }
}

fn add(cost: &mut Cost, records: u64, work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let (cpu, start) = (cpu_of(std::process::id())?, Instant::now());
    work()?;
    cost.records += records;
    cost.cpu += cpu_of(std::process::id())? - cpu;
    cost.wall += start.elapsed();
    Ok(())
}
