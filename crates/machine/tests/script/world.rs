//! One shard as a script sees it: a machine, the log in front of it, its leader's sequencer, and
//! its checkpoint.
//!
//! A command alone is one entry, applied at once. What else a line can be:
//!
//! ```text
//! append 1 [records=3] [bytes=70] [pieces=2] [newest=5] [form=message] [id=message] [durability=memory]
//!          [producer=9 epoch=0 seq=0 [plain=1]]: all but the first `plain` pieces are numbered
//!     as a leader does it: sequenced, then proposed
//! append 1 base=0 [leader-epoch=0] ...
//!     the same, but with offset and epoch by hand and past the sequencer
//! piece 1 base=0 ...      adds a piece and no command (see append-pieces)
//! share 0 2 base=0        adds piece 0 once more, for stream 2
//! entry {                 several of these in one entry, until `}`
//! sequence append ...     an entry that stays in flight; also `sequence {`
//! apply [entries=2]       applies the oldest entries in flight
//! drop                    loses leadership, and with it what is in flight
//! stream 1, producer 1 9, group g, topic orders, outbox, state      questions
//! version, nodes, placements, slots, slot 5, shard-of g             more of them
//! changes [bytes]         takes a checkpoint and prints what it had to write
//! restore                 goes on with a machine made from the checkpoint
//! restore-object 63 00    tries to restore one object, key and value in hex
//! ```
//!
//! `time=10` and `term=2` may stand on whatever makes an entry; a term lasts until the next one.

use super::command::{self, Raw};
use super::line::Line;
use super::show;
use crate::piece::Batch;
use bytes::Bytes;
use machine::command::ProducerBatch;
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Machine, Position};
use model::record::Message;
use model::{Entry, EntryBuilder, Hlc, LeaderEpoch, Offset, PieceHead, ProducerId, ShardId, StreamId, Timestamp};
use std::collections::{BTreeMap, VecDeque};

pub(crate) struct World {
    machine: Machine,
    /// The machine met an entry that it cannot apply.
    stopped: bool,
    /// Of the last entry.
    at: Position,
    sequencer: Sequencer,
    in_flight: VecDeque<(Position, Entry)>,
    checkpoint: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl World {
    pub(crate) fn new(shard: ShardId) -> Self {
        World {
            machine: Machine::new(shard),
            stopped: false,
            at: Position { term: 1, index: 0 },
            sequencer: Sequencer::new(1),
            in_flight: VecDeque::new(),
            checkpoint: BTreeMap::new(),
        }
    }

    /// Runs a block's lines and returns what they print.
    pub(crate) fn run(&mut self, lines: &[String]) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        let mut lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with('#'));
        while let Some(line) = lines.next() {
            match line.strip_suffix('{') {
                Some(head) => {
                    let inner: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
                    self.entry(Line::new(head), Some(&inner), &mut out)
                }
                None => self.line(line, &mut out),
            }
            .map_err(|error| format!("`{line}`: {error}"))?;
        }
        Ok(out)
    }

    /// However a script ended, its machine survives a restart.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        if self.stopped { Ok(()) } else { self.restore().map(|_| ()) }
    }

    fn line(&mut self, text: &str, out: &mut Vec<String>) -> Result<(), String> {
        let mut line = Line::new(text);
        if line.takes("apply") {
            for _ in 0..line.or("entries", 1)? {
                let (at, entry) = self.in_flight.pop_front().ok_or("nothing is in flight")?;
                self.apply(at, &entry, out);
            }
        } else if line.takes("drop") {
            self.in_flight.clear();
            // Who leads next leads in a later term.
            self.at.term += 1;
            self.sequencer = Sequencer::new(self.at.term);
        } else if line.takes("stream") {
            out.push(self.stream(command::stream(&mut line)?));
        } else if line.takes("producer") {
            let (stream, producer) = (command::stream(&mut line)?, ProducerId(line.value()?));
            out.push(self.producer(stream, producer));
        } else if line.takes("group") {
            self.group(line.word()?, out);
        } else if line.takes("topic") {
            self.topic(line.word()?, out);
        } else if line.takes("outbox") {
            self.outbox(out);
        } else if line.takes("version") {
            out.push(format!("version {}", self.machine.version()));
        } else if line.takes("nodes") {
            self.nodes(out);
        } else if line.takes("placements") {
            self.placements(out);
        } else if line.takes("slots") {
            out.push(self.machine.catalog.slots().map_or("slots: none".into(), show::slots));
        } else if line.takes("slot") {
            let slot: u32 = line.value()?;
            let owner = self.machine.catalog.slots().and_then(|slots| slots.owner(slot));
            out.push(format!("slot {slot}: {}", owner.map_or("none".into(), |shard| shard.to_string())));
        } else if line.takes("shard-of") {
            for name in line.rest() {
                let shard = self.machine.catalog.shard_of(name);
                out.push(format!("{name}: {}", shard.map_or("no shard".into(), |shard| shard.to_string())));
            }
        } else if line.takes("state") {
            self.state(out);
        } else if line.takes("changes") {
            let with_bytes = line.takes("bytes");
            self.changes(with_bytes, out);
        } else if line.takes("restore") {
            out.push(self.restore()?);
        } else if line.takes("restore-object") {
            let (key, value) = (hex(line.word()?)?, hex(line.word()?)?);
            let restored = Machine::restore(self.machine.shard(), [(&key[..], &value[..])].into_iter());
            out.push(restored.map_or_else(|error| error.to_string(), |_| "restored".into()));
        } else {
            return self.entry(line, None, out);
        }
        line.end()
    }

    /// An entry: of the lines `inner`, or of the command that `line` is.
    fn entry(&mut self, mut line: Line<'_>, inner: Option<&[&str]>, out: &mut Vec<String>) -> Result<(), String> {
        let stays_in_flight = line.takes("sequence");
        if inner.is_some() {
            line.takes("entry");
        }
        if self.stopped {
            return Err("the machine has stopped".into());
        }
        if !stays_in_flight && !self.in_flight.is_empty() {
            return Err("what is in flight is applied first".into());
        }
        let term = line.or("term", self.at.term)?;
        if term != self.at.term {
            if term < self.at.term || !self.in_flight.is_empty() {
                return Err("terms grow, and a leader starts when all before it is applied or lost".into());
            }
            self.at.term = term;
            self.sequencer = Sequencer::new(term);
        }
        let at = Position { term, index: self.at.index + 1 };
        let time = line.maybe("time")?.map_or(Hlc(0), |millis| Hlc::default().next(Timestamp(millis)));

        let mut builder = EntryBuilder::new();
        match inner {
            None => self.add(line, at, time, &mut builder, out)?,
            Some(inner) => {
                line.end()?;
                inner.iter().try_for_each(|line| self.add(Line::new(line), at, time, &mut builder, out))?;
            }
        }
        // Everything in it may have been answered already. Then it is not proposed.
        if inner.is_none() && builder.command_count() == 0 && builder.piece_count() == 0 {
            return Ok(());
        }
        self.at = at;
        let flush = |entry: &Entry| if entry.wants_fsync() { ", to be flushed" } else { "" };
        let entry = Entry::parse(builder.finish(time)).map_err(|error| error.to_string())?;
        if stays_in_flight {
            out.push(format!("in flight: entry {}{}", at.index, flush(&entry)));
            out.extend(entry.pieces().map(|piece| format!("  {}", show::piece(&piece))));
            self.in_flight.push_back((at, entry));
        } else {
            self.apply(at, &entry, out);
        }
        Ok(())
    }

    /// Adds what one line says to an entry.
    fn add(
        &mut self,
        mut line: Line<'_>,
        at: Position,
        time: Hlc,
        entry: &mut EntryBuilder,
        out: &mut Vec<String>,
    ) -> Result<(), String> {
        if line.takes("append") {
            let stream = command::stream(&mut line)?;
            let message_id = command::message_id(&mut line);
            let durability = command::durability(&mut line)?;
            if let Some(base) = line.maybe("base")? {
                let first = entry.piece_count();
                let producer = add_pieces(line, stream, Offset(base), entry)?;
                let pieces = entry.piece_count() - first;
                entry.add_command(&Command::Append { first, pieces, producer, message_id });
                return Ok(());
            }
            let bytes = Bytes::from(pieces(&mut line)?.concat());
            line.end()?;
            let request = AppendRequest { stream, bytes, message_id, durability };
            let before = entry.piece_count();
            let now = time.max(self.machine.time());
            match self.sequencer.append(&self.machine.messaging, &request, entry, at.index, now) {
                Sequenced::Answer(reply) => out.push(format!("answered at once: {}", show::reply(&reply))),
                Sequenced::Added if entry.piece_count() == before => out.push("asks again".into()),
                Sequenced::Added => {}
            }
            return Ok(());
        }
        if line.takes("piece") {
            let stream = command::stream(&mut line)?;
            let base = Offset(line.or("base", 0)?);
            add_pieces(line, stream, base, entry)?;
            return Ok(());
        }
        if line.takes("share") {
            let nth: u32 = line.value()?;
            let stream = command::stream(&mut line)?;
            let (base, epoch) = (Offset(line.or("base", 0)?), LeaderEpoch(line.or("leader-epoch", 0)?));
            if nth >= entry.piece_count() {
                return Err("there is no such piece".into());
            }
            entry.share_piece(nth, stream, base, epoch);
            return line.end();
        }
        entry.add_command(&command::read(line)?);
        Ok(())
    }

    fn apply(&mut self, at: Position, entry: &Entry, out: &mut Vec<String>) {
        match self.machine.apply(at, entry) {
            Ok(outcome) => {
                out.extend(outcome.replies.iter().map(show::reply));
                out.extend(outcome.accepted.iter().map(|piece| format!("accepted: {}", show::piece(piece))));
                out.extend(outcome.refused.iter().map(|nth| format!("not accepted: piece {nth}")));
                out.extend(outcome.effects.iter().map(show::effect));
            }
            Err(error) => {
                self.stopped = true;
                out.push(format!("stopped: {error}"));
            }
        }
        self.sequencer.on_applied(at.index);
    }

    fn stream(&self, id: StreamId) -> String {
        let messaging = &self.machine.messaging;
        let mut text = match messaging.stream(id) {
            Some(stream) => format!("{id}: {}", show::stream(stream, messaging.settled(id))),
            None => format!("{id}: none"),
        };
        if let Some(older) = messaging.older(id) {
            text += &format!(", older from {} on in {}", older.start, older.shard);
        }
        if let Some(to) = messaging.moved_to(id) {
            text += &format!(", goes on in {to}");
        }
        text
    }

    fn producer(&self, stream: StreamId, id: ProducerId) -> String {
        let Some(producer) = self.machine.messaging.producer(stream, id) else { return format!("{id}: none") };
        let batch = |batch: &machine::messaging::producer::Remembered| {
            format!("{}..={}{}", batch.first_sequence, batch.last_sequence, batch.base)
        };
        let batches: Vec<String> = producer.batches.iter().map(batch).collect();
        format!("{id}: epoch {}, {}, seen {}", producer.epoch, batches.join(" "), producer.last_seen)
    }

    fn group(&self, group: &str, out: &mut Vec<String>) {
        let groups = &self.machine.messaging.groups;
        let state = groups.state(group).map(|state| String::from_utf8_lossy(state).into_owned());
        out.push(format!("{group}: {}", state.as_deref().unwrap_or("no generation")));
        for (stream, committed) in groups.offsets(group) {
            let machine::messaging::group::Committed { offset, leader_epoch, metadata, time } = committed;
            out.push(format!("  {stream} {offset}, leader epoch {leader_epoch}, at {time}, {metadata:?}"));
        }
    }

    fn topic(&self, name: &str, out: &mut Vec<String>) {
        let Some((id, topic)) = self.machine.catalog.topic_named(name) else {
            out.push(format!("{name}: none"));
            return;
        };
        let catalog = &self.machine.catalog;
        let partition = |partition: &machine::catalog::topic::Partition| {
            let mut text = format!("{} on {}", partition.stream, partition.shard);
            if let Some((_, moving)) = catalog.moves().find(|(stream, _)| *stream == partition.stream) {
                text += &format!(" going to {}", moving.to);
            }
            if let Some(older) = catalog.older_of(partition.stream) {
                text += &format!(" and {older}");
            }
            text
        };
        let partitions: Vec<String> = topic.partitions.iter().map(partition).collect();
        out.push(format!("{name}: topic {}, {}", show::topic(id), partitions.join(", ")));
        out.extend(topic.settings.iter().map(|(name, value)| format!("  {name}: {value}")));
    }

    fn nodes(&self, out: &mut Vec<String>) {
        let before = out.len();
        out.extend(self.machine.catalog.nodes().map(|(id, node)| show::node(id, node)));
        if out.len() == before {
            out.push("nodes: none".into());
        }
    }

    fn placements(&self, out: &mut Vec<String>) {
        let before = out.len();
        out.extend(self.machine.catalog.placements().map(|(shard, placement)| show::placement(shard, placement)));
        if out.len() == before {
            out.push("placements: none".into());
        }
    }

    fn outbox(&self, out: &mut Vec<String>) {
        let outbox = &self.machine.outbox;
        for to in outbox.destinations() {
            out.extend(outbox.pending(to).map(|(number, item)| format!("to {to} item {number}: {}", show::item(item))));
        }
        if outbox.destinations().is_empty() {
            out.push("outbox: empty".into());
        }
    }

    fn state(&self, out: &mut Vec<String>) {
        let Machine { catalog, messaging, .. } = &self.machine;
        let deadline = self.machine.next_deadline().map_or("none".into(), |at| at.0.to_string());
        out.push(format!("time {}, next deadline {deadline}", self.machine.time()));
        out.extend(messaging.streams().map(|(id, _)| self.stream(id)));
        messaging.groups.states().for_each(|(group, _)| self.group(group, out));
        catalog.topics().for_each(|(_, topic)| self.topic(topic.name.as_str(), out));
        if !self.machine.outbox.destinations().is_empty() {
            self.outbox(out);
        }
    }

    fn changes(&mut self, with_bytes: bool, out: &mut Vec<String>) {
        for (key, object) in self.machine.take_changes() {
            let value = object.map(|object| object.bytes());
            let sign = if value.is_some() { '+' } else { '-' };
            let mut shown = format!("{sign} {}", show::key(&key));
            if let Some(value) = value.as_ref().filter(|_| with_bytes) {
                shown += " =";
                value.iter().for_each(|byte| shown += &format!(" {byte:02x}"));
            }
            out.push(shown);
            match value {
                Some(value) => self.checkpoint.insert(key, value),
                None => self.checkpoint.remove(&key),
            };
        }
    }

    fn restore(&mut self) -> Result<String, String> {
        self.changes(false, &mut Vec::new());
        let objects = self.checkpoint.iter().map(|(key, value)| (&key[..], &value[..]));
        let mut restored = Machine::restore(self.machine.shard(), objects).map_err(|error| error.to_string())?;
        if restored.digest() != self.machine.digest() || restored.next_deadline() != self.machine.next_deadline() {
            return Err("a restored machine is another one".into());
        }
        if !restored.take_changes().is_empty() {
            return Err("a restored machine has something to write".into());
        }
        self.machine = restored;
        Ok(format!("restored from {} objects", self.checkpoint.len()))
    }
}

/// The pieces that an append's line speaks of, as their producer sends them.
fn pieces(line: &mut Line<'_>) -> Result<Vec<Vec<u8>>, String> {
    let count: usize = line.or("pieces", 1)?;
    let newest = line.or("newest", 0)?;
    if line.named("form") == Some("message") {
        let message = Message { timestamp: Timestamp(newest), value: b"hello", ..Message::default() };
        return Ok(vec![message.encode().map_err(|error| error.to_string())?; count]);
    }
    let producer = match line.maybe("producer")? {
        Some(producer) => Some((producer, line.or("epoch", 0)?, line.or("seq", 0)?)),
        None => None,
    };
    let plain: usize = line.or("plain", 0)?;
    let batch = Batch { records: line.or("records", 1)?, bytes: line.or("bytes", 70)?, timestamp: newest, producer };
    let of = |nth: usize| Batch { producer: producer.filter(|_| nth >= plain), ..batch }.encode();
    Ok((0..count).map(of).collect())
}

/// Adds an append's pieces to an entry from `base` on, past the sequencer.
fn add_pieces(
    mut line: Line<'_>,
    stream: StreamId,
    mut base: Offset,
    entry: &mut EntryBuilder,
) -> Result<Option<ProducerBatch>, String> {
    let epoch = LeaderEpoch(line.or("leader-epoch", 0)?);
    let mut producer = None;
    for bytes in pieces(&mut line)? {
        let head = PieceHead::parse(&bytes).map_err(|error| error.to_string())?;
        entry.add_piece(stream, base, epoch, &head, bytes.clone().into(), None);
        base = base.plus(u64::from(head.count));
        producer = head.producer.map(|stamp| ProducerBatch {
            producer: ProducerId(stamp.id),
            epoch: stamp.epoch,
            first_sequence: stamp.first_sequence,
            last_sequence: stamp.last_sequence,
        });
    }
    line.end()?;
    Ok(producer)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let Raw(bytes) = command::read(Line::new(&format!("bytes {}", text.replace('.', " "))))?;
    Ok(bytes)
}
