//! The workload: entries, housekeeping as a shard does it, and what is checked after it.

use super::body::Recipe;
use super::kind::Kind;
use super::ledger::{Ledger, Place, Stream};
use super::{Figures, Settings};
use crate::disk::SimDisk;
use crate::rng::Rng;
use crate::trace::Trace;
use journal::checkpoint::{Changes, Objects};
use journal::frame::Kind as FrameKind;
use journal::{CacheBudget, Journal, Liveness, LogEntry, LogPosition, Next, Options, Writer};
use machine::{Command, Machine, Position, Reply};
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceHead, ShardId, StreamId, Timestamp, limit, piece};
use parking_lot::RwLock;
use shard::liveness::MachineLiveness;
use shard::retention::expired;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// One leader writes everything.
const TERM: u64 = 1;
const SHARD: ShardId = ShardId(1);
/// Milliseconds between two entries: a run spans some hours.
const ENTRY_MILLIS: u64 = 1000;
/// Streams that one body may be put into.
const FAN_OUT_MAX: u64 = 100;
/// Messages of a run over those of an entry, about: from it the run guesses how many entries it has.
const ENTRY_MESSAGES: u64 = 50;
/// Memory for recent entries: small, so that most is read from files.
const CACHE_BYTES: usize = 4 * limit::MIB;
/// Pieces of a stream are looked at together up to so many bytes.
const RUN_BYTES: u64 = 64 * limit::KIB as u64;
/// Bytes of files that hold nothing yet or whose content is of no account: headers, the manifest.
const SMALL_FILES_BYTES: u64 = limit::MIB as u64;
/// Streams that are read back after a round.
const STREAMS_READ: u64 = 40;
/// Rounds between two deaths of the process.
const RESTART_ROUNDS: u64 = 16;

type Verdict = Result<(), String>;

/// Turns an error into a sentence.
fn told<T, E: Display>(what: &str, outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}

/// What an entry's command has to be answered.
enum Expected {
    Base(u64),
    Done,
    Start(u64),
}

/// See the module's documentation.
pub(super) struct Workload {
    settings: Settings,
    rng: Rng,
    disk: SimDisk,
    journal: Arc<Journal>,
    writer: Writer,
    machine: RwLock<Machine>,
    ledger: Ledger,
    /// Which slot of the ledger a stream has.
    slots: HashMap<u64, usize>,
    next_stream: u64,
    /// What is settled when: stream and offset, by entry.
    settles: BTreeMap<u64, Vec<(u64, u64)>>,
    index: u64,
    time: Hlc,
    next_round: u64,
    /// Sizes of the machine's objects, as it told them.
    objects: BTreeMap<Vec<u8>, u64>,
    /// The most they took since the checkpoint had a new base.
    state_bytes: u64,
    figures: Figures,
}

fn open(disk: &SimDisk, settings: &Settings) -> Result<(Arc<Journal>, Writer), String> {
    let mut options = Options::new(SHARD, CacheBudget::new(CACHE_BYTES), 0x5eed);
    options.log_file_bytes = settings.log_file_bytes;
    options.reserve_bytes = settings.log_file_bytes;
    options.fault = settings.fault;
    let (journal, writer, recovered) = told("the journal does not open", Journal::open(disk.mount(), options))?;
    if recovered.in_doubt {
        return Err("the journal is in doubt though only the process died".into());
    }
    Ok((journal, writer))
}

impl Workload {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let mut rng = Rng::new(settings.seed);
        let disk = SimDisk::new(rng.number(), Trace::off());
        let (journal, writer) = open(&disk, settings)?;
        Ok(Workload {
            settings: *settings,
            rng,
            disk,
            journal,
            writer,
            machine: RwLock::new(Machine::new(SHARD)),
            ledger: Ledger::default(),
            slots: HashMap::new(),
            next_stream: 1,
            settles: BTreeMap::new(),
            index: 0,
            time: Hlc::default().next(Timestamp(1_000_000_000)),
            next_round: settings.log_file_bytes,
            objects: BTreeMap::new(),
            state_bytes: 0,
            figures: Figures::default(),
        })
    }

    pub(super) fn execute(&mut self) -> Result<Figures, String> {
        told("the reserve", self.journal.refill_reserve())?;
        while (self.ledger.streams.len() as u64) < self.settings.streams {
            self.make_streams()?;
        }
        while self.ledger.messages < self.settings.messages {
            self.entry()?;
            if self.logged() >= self.next_round {
                self.round()?;
                self.next_round = self.logged() + self.settings.log_file_bytes;
            }
        }
        self.round()?;
        self.restart()?;
        for slot in 0..self.ledger.streams.len() {
            self.read_back(slot)?;
        }
        let counters = &self.journal.counters;
        self.add_written(counters.clone());
        let (messages, bodies) = (self.ledger.messages, self.ledger.bodies());
        let (body_bytes, died) = (self.ledger.body_bytes, self.ledger.died);
        let (live_bytes, disk_bytes) = (self.ledger.live_bytes(), self.disk.used());
        Ok(Figures { messages, bodies, body_bytes, died, live_bytes, disk_bytes, ..self.figures })
    }

    fn logged(&self) -> u64 {
        self.figures.written[0] + self.journal.counters.log_bytes.load(Relaxed)
    }

    /// The counters start again with the process.
    fn add_written(&mut self, counters: Arc<journal::Counters>) {
        self.figures.written[0] += counters.log_bytes.load(Relaxed);
        self.figures.written[1] += counters.packed_bytes.load(Relaxed);
        self.figures.written[2] += counters.checkpoint_bytes.load(Relaxed);
    }

    // ---- entries --------------------------------------------------------------------------------

    /// Logs and applies an entry, and checks the answers.
    fn commit(&mut self, builder: &mut EntryBuilder, expected: &[Expected]) -> Verdict {
        self.index += 1;
        let bytes = builder.finish(self.time);
        let entry = told("an entry", Entry::parse(bytes.clone()))?;
        let at = LogPosition { term: TERM, index: self.index };
        let logged = LogEntry { at, kind: FrameKind::Entry, payload: bytes, meta_bytes: entry.meta_bytes() as u32 };
        self.journal.append(vec![(logged, true)], Box::new(|| {}));
        self.writer.write();
        if self.rng.percent(30) {
            self.writer.sync();
        }
        let outcome = self.machine.write().apply(Position { term: TERM, index: self.index }, &entry);
        let outcome = told("apply", outcome)?;
        for (reply, expected) in outcome.replies.iter().zip(expected) {
            let right = match (reply, expected) {
                (Reply::Appended { base, .. }, Expected::Base(wanted)) => base.0 == *wanted,
                (Reply::Trimmed { start }, Expected::Start(wanted)) => start.0 == *wanted,
                (Reply::Done, Expected::Done) => true,
                _ => false,
            };
            if !right {
                return Err(format!("entry {} is answered {reply:?}", self.index));
            }
        }
        self.journal.publish(self.index, &outcome.accepted, &outcome.refused);
        self.time = self.time.next(self.time.timestamp().plus(ENTRY_MILLIS));
        Ok(())
    }

    fn make_streams(&mut self) -> Verdict {
        let mut builder = EntryBuilder::new();
        let mut expected = Vec::new();
        let missing = self.settings.streams - self.ledger.streams.len() as u64;
        for _ in 0..missing.min(1000) {
            let stream = self.new_stream(&mut builder);
            self.slots.insert(stream.id, self.ledger.streams.len());
            self.ledger.streams.push(stream);
            expected.push(Expected::Done);
        }
        self.commit(&mut builder, &expected)
    }

    fn new_stream(&mut self, builder: &mut EntryBuilder) -> Stream {
        let (id, kind) = (self.next_stream, Kind::draw(&mut self.rng));
        self.next_stream += 1;
        builder.add_command(&Command::CreateStream { stream: StreamId(id), config: kind.config() });
        Stream::new(id, kind)
    }

    /// Messages, settlements that are due, and now and then something rarer.
    fn entry(&mut self) -> Verdict {
        let mut builder = EntryBuilder::new();
        let mut expected = Vec::new();
        self.settle_due(&mut builder, &mut expected);
        match self.rng.below(100) {
            0..6 => self.trim(&mut builder, &mut expected),
            6 => self.replace(&mut builder, &mut expected),
            _ => {}
        }
        for _ in 0..self.rng.between(1, 2 * ENTRY_MESSAGES / 3) {
            self.message(&mut builder, &mut expected);
        }
        self.commit(&mut builder, &expected)
    }

    fn settle_due(&mut self, builder: &mut EntryBuilder, expected: &mut Vec<Expected>) {
        let later = self.settles.split_off(&(self.index + 1));
        let mut by_stream: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for (id, offset) in std::mem::replace(&mut self.settles, later).into_values().flatten() {
            if let Some(slot) = self.slots.get(&id) {
                self.ledger.settle(*slot, offset);
                by_stream.entry(id).or_default().push((offset, offset + 1));
            }
        }
        for (id, ranges) in by_stream {
            builder.add_command(&Command::Settle { stream: StreamId(id), ranges });
            expected.push(Expected::Done);
        }
    }

    fn trim(&mut self, builder: &mut EntryBuilder, expected: &mut Vec<Expected>) {
        let slot = self.rng.below(self.settings.streams) as usize;
        let stream = &self.ledger.streams[slot];
        if stream.kind == Kind::Trimmed {
            let to = self.rng.between(stream.start(), stream.end);
            builder.add_command(&Command::Trim { stream: StreamId(stream.id), to: Offset(to) });
            expected.push(Expected::Start(to));
            self.ledger.trim(slot, to);
        }
    }

    /// A stream is deleted and another one made.
    fn replace(&mut self, builder: &mut EntryBuilder, expected: &mut Vec<Expected>) {
        let slot = self.rng.below(self.settings.streams) as usize;
        let old = self.ledger.streams[slot].id;
        builder.add_command(&Command::DeleteStream { stream: StreamId(old) });
        let new = self.new_stream(builder);
        expected.extend([Expected::Done, Expected::Done]);
        self.slots.remove(&old);
        self.slots.insert(new.id, slot);
        self.ledger.replace(slot, new);
    }

    /// A message to one stream, or to many at once.
    fn message(&mut self, builder: &mut EntryBuilder, expected: &mut Vec<Expected>) {
        let time = self.time.timestamp().minus(self.rng.below(30_000));
        let batch = self.rng.percent(20);
        let recipe = Recipe::draw(&mut self.rng, self.ledger.bodies(), batch, time);
        let bytes = recipe.bytes();
        let head = PieceHead::parse(&bytes).expect("a piece was made");
        let body = self.ledger.add_body(recipe, bytes.len(), self.index + 1);
        let copies = if self.rng.percent(1) { self.rng.between(2, FAN_OUT_MAX) } else { 1 };
        let mut first = None;
        for _ in 0..copies.min(self.settings.streams) {
            // Some streams are busier than others.
            let among = if self.rng.percent(50) { self.settings.streams } else { self.settings.streams / 20 + 1 };
            let slot = self.rng.below(among) as usize;
            let Stream { id, kind, end, .. } = self.ledger.streams[slot];
            let (stream, base) = (StreamId(id), Offset(end));
            let nth = match first {
                None => builder.add_piece(stream, base, LeaderEpoch(0), &head, bytes.clone().into(), None),
                Some(first) => builder.share_piece(first, stream, base, LeaderEpoch(0)),
            };
            first.get_or_insert(nth);
            builder.add_command(&Command::Append { first: nth, pieces: 1, producer: None, message_id: None });
            expected.push(Expected::Base(end));
            self.ledger.put(slot, body);
            let entries = self.settings.messages / ENTRY_MESSAGES;
            for offset in end..end + u64::from(head.count) {
                if let Some(later) = kind.settled_after(&mut self.rng, entries) {
                    self.settles.entry(self.index + later).or_default().push((id, offset));
                }
            }
        }
    }

    // ---- housekeeping ---------------------------------------------------------------------------

    /// What a replica does for itself, as `shard::housekeeping` does it, and the checks after it.
    fn round(&mut self) -> Verdict {
        self.figures.rounds += 1;
        self.retain()?;
        self.flush()?;
        while told("finishing a file", self.journal.finish_next())? {}
        self.checkpoint()?;
        self.reclaim()?;
        self.check_bound()?;
        self.check_liveness()?;
        for _ in 0..STREAMS_READ {
            let slot = self.rng.below(self.settings.streams) as usize;
            self.read_back(slot)?;
        }
        self.note_memory();
        if self.figures.rounds.is_multiple_of(RESTART_ROUNDS) { self.restart() } else { Ok(()) }
    }

    fn flush(&mut self) -> Verdict {
        while !self.writer.is_idle() {
            if self.writer.write() != Next::Idle {
                self.writer.sync();
            }
        }
        Ok(())
    }

    /// What expired is trimmed: all that its retention does not keep, and nothing that it does.
    fn retain(&mut self) -> Verdict {
        let now = self.time.timestamp();
        let trims: BTreeMap<u64, u64> = told("retention", expired(&self.journal, &self.machine, now))?
            .into_iter()
            .map(|(stream, to)| (stream.0, to.0))
            .collect();
        let mut builder = EntryBuilder::new();
        let mut expected = Vec::new();
        for slot in 0..self.ledger.streams.len() {
            let Stream { id, kind, .. } = self.ledger.streams[slot];
            if !matches!(kind, Kind::Aged { .. } | Kind::Sized { .. }) {
                continue;
            }
            let (earliest, latest) = self.ledger.retained(slot, now.0, RUN_BYTES);
            let to = trims.get(&id).copied().unwrap_or(self.ledger.streams[slot].start());
            if to < earliest || to > latest {
                return Err(format!("stream {id}, {kind:?}: starts at {to}, which is not in {earliest}..={latest}"));
            }
            if trims.contains_key(&id) {
                builder.add_command(&Command::Trim { stream: StreamId(id), to: Offset(to) });
                expected.push(Expected::Start(to));
                self.ledger.trim(slot, to);
            }
        }
        self.commit(&mut builder, &expected)
    }

    fn checkpoint(&mut self) -> Verdict {
        let at = LogPosition { term: TERM, index: self.index };
        let changes: Changes = self
            .machine
            .write()
            .take_changes()
            .into_iter()
            .map(|(key, value)| (key, value.map(|v| v.bytes())))
            .collect();
        for (key, value) in &changes {
            match value {
                Some(value) => self.objects.insert(key.clone(), (key.len() + value.len()) as u64 + 8),
                None => self.objects.remove(key),
            };
        }
        self.state_bytes = self.state_bytes.max(self.objects.values().sum());
        told("a checkpoint", self.journal.write_checkpoint(at, &changes))?;
        told("merging", self.journal.merge_checkpoint())?;
        self.journal.purge(at);
        Ok(())
    }

    /// Gives space back until there is none to give, which has to come soon: whoever rewrites files
    /// without end wears out the disk.
    fn reclaim(&mut self) -> Verdict {
        const ROUNDS_MAX: u32 = 4;
        for _ in 0..ROUNDS_MAX {
            let plan = told("checking files", self.journal.plan_reclaim(&MachineLiveness(&self.machine)))?;
            if plan.is_empty() {
                return Ok(());
            }
            told("giving space back", self.journal.reclaim(plan))?;
        }
        Err(format!("files are still rewritten after {ROUNDS_MAX} rounds in which nothing died"))
    }

    // ---- checks ---------------------------------------------------------------------------------

    /// Bytes of the disk that may be used whatever is alive.
    fn constant(&self) -> u64 {
        // The reserve; the file being written and the one before it; as much log as a checkpoint
        // leaves uncovered, and the file that it ends in.
        5 * self.settings.log_file_bytes + SMALL_FILES_BYTES
    }

    fn check_bound(&mut self) -> Verdict {
        let (live, used) = (self.ledger.live_bytes(), self.disk.used());
        let files = self.disk.files();
        let checkpoints = files.iter().filter(|file| file.name.starts_with("checkpoint-"));
        let checkpoints: u64 = checkpoints.map(|file| file.length).sum();
        let allowed = 3 * self.state_bytes + 2 * limit::MIB as u64;
        if checkpoints > allowed {
            return Err(format!("checkpoints take {checkpoints} bytes, the state {}", self.state_bytes));
        }
        let bound = journal::reclaim::FACTOR * live + checkpoints + self.constant();
        if used > bound {
            return Err(format!(
                "{used} bytes of the disk are used, {bound} may be: {live} are alive; {:?}",
                self.journal.usage()
            ));
        }
        let finished = self.journal.finished();
        let floor = self.journal.floor().index;
        let free: u64 = finished.iter().filter(|file| file.table.last_index <= floor).map(|file| file.length).sum();
        let last = finished.iter().map(|file| file.table.last_index).filter(|last| *last <= floor).max();
        let live_in_files = live - self.ledger.live_above(last.unwrap_or(0));
        if live_in_files > self.constant() {
            self.figures.worst_ratio = self.figures.worst_ratio.max(free as f64 / live_in_files as f64);
        }
        self.figures.constant = self.constant();
        self.figures.worst_of_bound = self.figures.worst_of_bound.max(used as f64 / bound as f64);
        self.figures.most_live = self.figures.most_live.max(live);
        self.figures.most_disk = self.figures.most_disk.max(used);
        Ok(())
    }

    /// What the machine calls alive is what the books say.
    fn check_liveness(&mut self) -> Verdict {
        let liveness = MachineLiveness(&self.machine);
        for stream in &self.ledger.streams {
            let said = liveness.live(StreamId(stream.id), Offset(0), Offset(stream.end));
            let said: Vec<(u64, u64)> = said.into_iter().map(|range| (range.start, range.end)).collect();
            let kept = stream.ranges();
            if said != kept {
                return Err(format!("stream {}: alive are {kept:?}, the machine says {said:?}", stream.id));
            }
        }
        Ok(())
    }

    /// Reads a stream from its start to its end: every live message is there once, as it was.
    fn read_back(&mut self, slot: usize) -> Verdict {
        let stream = &self.ledger.streams[slot];
        let id = StreamId(stream.id);
        let mut wanted = stream.alive().copied().peekable();
        let mut next = Offset(stream.start());
        let bytes_max = self.rng.between(1, 200_000) as usize;
        let mut read = 0;
        while next.0 < stream.end {
            let slices = told("reading", self.journal.read(id, next, Offset(stream.end), bytes_max))?;
            let Some(last) = slices.last() else { break };
            next = last.end();
            for slice in slices {
                let single = piece::walk(&slice.bytes).count() == 1;
                for found in piece::walk(&slice.bytes) {
                    let (head, range) = told("a piece", found)?;
                    // The bytes of a shared piece say the offset it has in its first stream.
                    let base = if single { slice.base.0 } else { head.base.0 };
                    let Some(place) = wanted.next_if(|place: &Place| place.base <= base) else { continue };
                    if place.base != base || !self.ledger.recipe(&place).is(&slice.bytes[range]) {
                        return Err(format!("{id} {}: not what was written there, but {base}", place.base));
                    }
                    read += 1;
                }
            }
        }
        if let Some(place) = wanted.next() {
            return Err(format!("{id} {}: alive and not to be read", place.base));
        }
        self.figures.read += read;
        Ok(())
    }

    fn note_memory(&mut self) {
        let machine = self.machine.read();
        let sets = machine.messaging.streams().filter_map(|(id, _)| machine.messaging.settled(id));
        let intervals = sets.map(|set| set.intervals() as u64).sum();
        if intervals > self.figures.most_intervals {
            self.figures.most_intervals = intervals;
            self.figures.messages_then = self.ledger.queued();
        }
    }

    /// The process dies and comes back: from the checkpoint and the log, everything is as it was.
    fn restart(&mut self) -> Verdict {
        self.flush()?;
        let digest = self.machine.read().digest();
        self.add_written(self.journal.counters.clone());
        self.disk.kill();
        (self.journal, self.writer) = open(&self.disk, &self.settings)?;
        self.figures.restarts += 1;
        let (at, objects): (LogPosition, Objects) = told("the checkpoint", self.journal.read_checkpoint())?;
        let objects = objects.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let mut machine = told("the machine", Machine::restore(SHARD, objects))?;
        let mut next = at.index + 1;
        while next <= self.index {
            let entries = told("the log", self.journal.entries(next, self.index + 1, limit::MIB))?;
            for logged in entries {
                let entry = told("an entry", Entry::parse(logged.payload))?;
                let position = Position { term: logged.at.term, index: logged.at.index };
                let outcome = told("apply", machine.apply(position, &entry))?;
                self.journal.publish(next, &outcome.accepted, &outcome.refused);
                next += 1;
            }
        }
        self.machine = RwLock::new(machine);
        let again = self.machine.read().digest();
        if again == digest { Ok(()) } else { Err("the machine is another one after the restart".into()) }
    }
}
