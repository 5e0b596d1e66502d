//! The journal alone, with its own writer thread over a folder of the real disk.

use super::{Mode, Options, report};
use crate::Outcome;
use crate::cost::{self, Cost, Done, median};
use crate::disk::{self, direct_bandwidth};
use crate::figure;
use crate::piece::{SIZES, Size};
use ::journal::disk::Folder;
use ::journal::frame::Kind;
use ::journal::thread::{Bell, spawn};
use ::journal::{CacheBudget, Journal, LogEntry, LogPosition, Options as Opened, Recovered};
use bytes::Bytes;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceDesc, PieceHead, ShardId, StreamId, limit};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many appends are under way at a time.
pub(crate) const WRITERS: [usize; 3] = [1, 64, 1000];

/// A kind of append to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) size: Size,
    pub(crate) mode: Mode,
    pub(crate) writers: usize,
}

/// Every size in both modes with every number of writers.
pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let sizes = SIZES.into_iter().flat_map(|size| Mode::ALL.map(|mode| (size, mode)));
    let all = sizes.flat_map(|(size, mode)| WRITERS.map(|writers| Case { size, mode, writers }));
    all.filter(|case| {
        options.mode.is_none_or(|mode| mode == case.mode)
            && options.size.is_none_or(|bytes| bytes == case.size.bytes)
            && options.writers.map_or(!options.quick || case.writers == 64, |writers| writers == case.writers)
    })
    .collect()
}

/// A case's cost, and what the disk did right before, in MiB per second.
pub(crate) struct Turn {
    pub(crate) cost: Cost,
    pub(crate) direct: f64,
}

/// Measures all cases in turns and prints a row of medians for each.
pub(crate) fn measure(
    options: &Options,
    cases: &[Case],
    mut one: impl FnMut(&Case, &Path) -> Outcome<Cost>,
) -> Outcome<()> {
    let mut turns: Vec<Vec<Turn>> = cases.iter().map(|_| Vec::new()).collect();
    for turn in 0..options.repetitions() {
        for (nth, case) in cases.iter().enumerate() {
            eprintln!("turn {}, case {}: {case:?}", turn + 1, nth + 1);
            let direct = direct_bandwidth(&options.folder, options.window() / 4)?;
            let folder = disk::fresh(&options.folder, "append")?;
            turns[nth].push(Turn { cost: one(case, &folder)?, direct });
            disk::remove(&folder)?;
        }
    }
    report::head(&[
        "piece",
        "mode",
        "writers",
        "records/s",
        "MiB/s",
        "share of direct",
        "CPU µs/record",
        "CPU µs/piece",
    ]);
    for (case, turns) in cases.iter().zip(turns) {
        let of = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure));
        let micros = of(|turn| turn.cost.cpu_micros());
        report::row(&[
            figure::size(case.size.bytes),
            case.mode.name().into(),
            case.writers.to_string(),
            figure::number(of(|turn| turn.cost.records_a_second())),
            figure::number(of(|turn| turn.cost.mib_a_second())),
            format!("{:.2}", of(|turn| turn.cost.mib_a_second() / turn.direct)),
            figure::number(micros),
            figure::number(micros * case.size.records as f64),
        ]);
    }
    Ok(())
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Journal alone: appending",
        "One journal and its writer thread over a folder. A writer is an append that is under way; when it is done the \
         next follows. One piece per entry. CPU is the whole process': the writer's thread, the one that finishes \
         files, and the one that appends and publishes.",
    );
    measure(options, &cases(options), |case, folder| append(options, case, folder))
}

/// An open journal with its writer running, and somebody who finishes its files.
pub(crate) struct Running {
    pub(crate) journal: Arc<Journal>,
    writer: JoinHandle<()>,
    keeper: JoinHandle<Outcome<()>>,
}

impl Running {
    pub(crate) fn open(folder: &Path, cache_bytes: usize) -> Outcome<(Self, Recovered)> {
        let bell = Bell::new();
        let mut options = Opened::new(ShardId(1), CacheBudget::new(cache_bytes), 0xbe2c);
        options.wake_writer = bell.ringer();
        let (journal, writer, recovered) = Journal::open(Arc::new(Folder::open(folder)?), options)?;
        let writer = spawn(writer, bell)?;
        let kept = journal.clone();
        let keeper = thread::spawn(move || {
            while !kept.is_stopping() {
                keep(&kept)?;
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        Ok((Running { journal, writer, keeper }, recovered))
    }

    pub(crate) fn stop(self) -> Outcome<()> {
        self.journal.stop();
        self.writer.join().map_err(|_| "the journal's writer panicked")?;
        self.keeper.join().map_err(|_| "finishing files panicked")?
    }
}

/// What the shard's housekeeping does: finishes files and lets the log forget what is settled.
pub(crate) fn keep(journal: &Journal) -> Outcome<()> {
    while journal.finish_next()? {}
    let settled = journal.flushed().min(journal.applied());
    if let Some(term) = journal.term_of(settled) {
        journal.purge(LogPosition { term, index: settled });
    }
    Ok(())
}

/// An entry of one piece, and the piece's description.
pub(crate) fn entry(batch: &Bytes, stream: StreamId, base: Offset) -> Outcome<(Bytes, u32, PieceDesc)> {
    let mut builder = EntryBuilder::new();
    let head = PieceHead::parse(batch)?;
    builder.add_piece(stream, base, LeaderEpoch(1), &head, bytes::Bytes::copy_from_slice(batch), None);
    let entry = Entry::parse(builder.finish(Hlc(1)))?;
    let desc = entry.piece(0).ok_or("an entry without its piece")?;
    Ok((entry.bytes().clone(), entry.meta_bytes() as u32, desc))
}

/// Appends with so many under way until told to stop; returns how many were done.
struct Appender {
    journal: Arc<Journal>,
    case: Case,
    payload: Bytes,
    meta_bytes: u32,
    desc: PieceDesc,
    appended: u64,
    told: SyncSender<()>,
    heard: Receiver<()>,
}

impl Appender {
    fn append(&mut self) {
        self.appended += 1;
        let at = LogPosition { term: 1, index: self.appended };
        let entry = LogEntry { at, kind: Kind::Entry, payload: self.payload.clone(), meta_bytes: self.meta_bytes };
        let told = self.told.clone();
        // The channel has room for every writer, so that this never blocks the journal's thread.
        let done = Box::new(move || {
            let _ = told.try_send(());
        });
        self.journal.append(vec![(entry, self.case.mode == Mode::Fsync)], done);
    }

    fn run(mut self, done: &Done, stop: &AtomicBool) -> u64 {
        let mut published = 0;
        for _ in 0..self.case.writers {
            self.append();
        }
        while published < self.appended && self.heard.recv().is_ok() {
            published += 1;
            let base = Offset((published - 1) * self.case.size.records);
            self.journal.publish(published, &[PieceDesc { base, ..self.desc }], &[]);
            done.add(self.case.size.records, self.case.size.bytes as u64);
            if !stop.load(Relaxed) {
                self.append();
            }
        }
        published
    }
}

fn append(options: &Options, case: &Case, folder: &Path) -> Outcome<Cost> {
    let (running, _) = Running::open(folder, limit::TAIL_CACHE_BYTES)?;
    let (payload, meta_bytes, desc) = entry(&case.size.batch(), StreamId(1), Offset(0))?;
    let (told, heard) = sync_channel(case.writers);
    let journal = running.journal.clone();
    let appender = Appender { journal, case: *case, payload, meta_bytes, desc, appended: 0, told, heard };
    let (done, stop) = (Arc::new(Done::default()), Arc::new(AtomicBool::new(false)));
    let appending = {
        let (done, stop) = (done.clone(), stop.clone());
        thread::spawn(move || appender.run(&done, &stop))
    };
    let cost = cost::watch(&done, std::process::id(), options.warm_up(), options.window())?;
    stop.store(true, Relaxed);
    let appended = appending.join().map_err(|_| "appending panicked")?;
    running.stop()?;
    let (reopened, _) = Running::open(folder, limit::TAIL_CACHE_BYTES)?;
    let found = reopened.journal.last().index;
    reopened.stop()?;
    if found == appended { Ok(cost) } else { Err(format!("void: {found} of {appended} entries came back").into()) }
}
