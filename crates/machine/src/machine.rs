//! One shard's machine: `apply`, checkpoints, digest.

use crate::catalog::{Catalog, Node, NodeState, Placement};
use crate::command::Command;
use crate::messaging::Messaging;
use crate::outbox::{Inbox, Outbox};
use crate::refusal::{Fault, Refusal};
use crate::reply::{Effect, Reply};
use crate::table::{Change, Single, Taken};
use model::checksum::crc32c_of;
use model::wire::{Input, Wire, WireError};
use model::{Entry, Hlc, PieceDesc, ShardId, Timestamp, limit};

/// Table tags. On disk: never reused.
mod tag {
    pub(super) const CLOCK: u8 = 1;
    pub(super) const OUTBOX_ITEMS: u8 = 2;
    pub(super) const OUTBOX_NEXT: u8 = 3;
    // 4 was an inbox that took items in any order.
    pub(super) const INBOX: u8 = 5;
}

/// The newest behaviour this build knows; a [`Command::Barrier`] switches to it.
pub const VERSION_MAX: u32 = VERSION_OF_MOVES + cfg!(feature = "next-version") as u32;
/// The behaviour from which on the catalog knows nodes, where shards are placed, and slots.
pub const VERSION_OF_NODES: u32 = 2;
/// The behaviour from which on streams move from shard to shard.
pub const VERSION_OF_MOVES: u32 = 3;

model::wire_struct! {
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Clock {
        /// The last entry's time.
        time: Hlc,
        /// The behaviour in force; 0 before any barrier, the same as 1.
        version: u32,
    }
}

/// Where an entry stands in the Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// What an entry did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The answer to each command, in order.
    pub replies: Vec<Reply>,
    /// The pieces that are in their streams now.
    pub accepted: Vec<PieceDesc>,
    /// Numbers of the pieces that are not.
    pub refused: Vec<u32>,
    /// What the leader should do.
    pub effects: Vec<Effect>,
}

/// Why an entry cannot be applied. It stops the shard: another replica, or the next version, may
/// see it otherwise.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The commands are not what this version writes.
    #[error("entry {index} cannot be read: {source}")]
    Malformed {
        /// The entry.
        index: u64,
        /// What is wrong.
        source: WireError,
    },
    /// A behaviour that this build does not have.
    #[error("entry {index} switches to behaviour {version}, this build knows up to {VERSION_MAX}")]
    Version {
        /// The entry.
        index: u64,
        /// What it switches to.
        version: u32,
    },
    /// An object of a checkpoint cannot be read.
    #[error("checkpoint: {0}")]
    Checkpoint(WireError),
    /// An object of a checkpoint that this build does not know.
    #[error("checkpoint: unknown table {0}")]
    UnknownTable(u8),
    /// The checkpoint is of a behaviour that this build does not have.
    #[error("checkpoint: behaviour {0} is in force, this build knows up to {VERSION_MAX}")]
    CheckpointVersion(u32),
}

/// A shard's state.
#[derive(Debug)]
pub struct Machine {
    shard: ShardId,
    clock: Single<Clock>,
    /// Work for other shards.
    pub outbox: Outbox,
    inbox: Inbox,
    /// What every node knows. Empty except in the catalog's shard.
    pub catalog: Catalog,
    /// Streams and what moves over them. Empty in the catalog's shard.
    pub messaging: Messaging,
}

impl Machine {
    /// The empty state of `shard`.
    #[must_use]
    pub fn new(shard: ShardId) -> Self {
        Machine {
            shard,
            clock: Single::new(tag::CLOCK),
            outbox: Outbox::new(tag::OUTBOX_ITEMS, tag::OUTBOX_NEXT),
            inbox: Inbox::new(tag::INBOX),
            catalog: Catalog::new(),
            messaging: Messaging::new(),
        }
    }

    /// Rebuilds the state from a checkpoint's objects.
    ///
    /// # Errors
    /// When an object is not one of this version's.
    pub fn restore<'a>(
        shard: ShardId,
        objects: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, ApplyError> {
        let mut machine = Machine::new(shard);
        for (key, value) in objects {
            let Some((tag, key)) = key.split_first() else {
                return Err(ApplyError::Checkpoint(WireError::Invalid("object without a key")));
            };
            let restored = match *tag {
                tag::CLOCK => Some(machine.clock.table().restore(key, value)),
                tag::OUTBOX_ITEMS => Some(machine.outbox.items.restore(key, value)),
                tag::OUTBOX_NEXT => Some(machine.outbox.next.restore(key, value)),
                tag::INBOX => Some(machine.inbox.received.restore(key, value)),
                other => {
                    machine.catalog.restore(other, key, value).or_else(|| machine.messaging.restore(other, key, value))
                }
            };
            restored.ok_or(ApplyError::UnknownTable(*tag))?.map_err(ApplyError::Checkpoint)?;
        }
        if machine.version() > VERSION_MAX {
            return Err(ApplyError::CheckpointVersion(machine.version()));
        }
        machine.catalog.rebuild();
        machine.messaging.rebuild();
        Ok(machine)
    }

    /// Switches on a known fault, so that the simulator can prove that it compares states.
    #[cfg(feature = "canary")]
    pub fn iterate_over_hash_maps(&mut self) {
        self.messaging.dedup.iterates_over_hash_map = true;
    }

    /// Switches on a known fault, so that the simulator can prove that it would notice it.
    #[cfg(feature = "canary")]
    pub fn switch_on(&mut self, canary: crate::canary::Canary) {
        self.messaging.canary = Some(canary);
    }

    /// Whose state it is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The last entry's time.
    #[must_use]
    pub fn time(&self) -> Hlc {
        self.clock.get().time
    }

    /// The behaviour in force, 1 at least. Whoever proposes a command looks first whether it has it:
    /// see [`Command::version`].
    #[must_use]
    pub fn version(&self) -> u32 {
        self.clock.get().version.max(1)
    }

    /// When something is due that only a [`Command::Tick`] can let expire. One of them may not be
    /// enough: then this is not later than [`Machine::time`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.messaging.next_deadline(self.time())
    }

    /// Applies an entry.
    ///
    /// # Errors
    /// When the entry is not for this version: the state is then unchanged up to the command that
    /// could not be read, and nothing more may be applied.
    pub fn apply(&mut self, at: Position, entry: &Entry) -> Result<Outcome, ApplyError> {
        let now = entry.time().max(Hlc(self.clock.get().time.0.saturating_add(1)));
        self.clock.get_mut().time = now;
        let mut outcome = Outcome::default();
        let mut taken = vec![false; entry.piece_count() as usize];
        let mut forgets = limit::ENTRY_FORGETS_MAX;
        let mut input = Input::new(entry.commands());
        let malformed = |source| ApplyError::Malformed { index: at.index, source };
        for _ in 0..entry.command_count() {
            let command = Command::take(&mut input).map_err(malformed)?;
            if let Command::Barrier { version } = &command
                && *version > VERSION_MAX
            {
                return Err(ApplyError::Version { index: at.index, version: *version });
            }
            let mut step =
                Step { machine: self, at, now, entry, taken: &mut taken, forgets: &mut forgets, outcome: &mut outcome };
            let reply = match command {
                // Read here, because an item that this build cannot read stops it like any command.
                Command::Deliver { from, item, command } => {
                    step.deliver(from, item, Command::from_wire(&command).map_err(malformed)?)
                }
                command => step.command(command),
            };
            outcome.replies.push(reply.unwrap_or_else(Reply::Refused));
        }
        input.end().map_err(malformed)?;
        outcome.refused = (0..entry.piece_count()).filter(|nth| !taken[*nth as usize]).collect();
        Ok(outcome)
    }

    /// Takes out what changed since the last time, for a checkpoint.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.take(false)
    }

    /// Takes out everything, for a checkpoint that does not rest on earlier ones.
    pub fn take_all(&mut self) -> Vec<Change> {
        self.take(true)
    }

    fn take(&mut self, all: bool) -> Vec<Change> {
        let mut changes = Taken { all, changes: Vec::new() };
        self.clock.table().take_changes(&mut changes);
        self.outbox.items.take_changes(&mut changes);
        self.outbox.next.take_changes(&mut changes);
        self.inbox.received.take_changes(&mut changes);
        self.catalog.take_changes(&mut changes);
        self.messaging.take_changes(&mut changes);
        changes.changes
    }

    /// A number that is the same for the same state: replicas compare it.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let mut digest = 0u32;
        let mut each = |key: &[u8], value: &[u8]| {
            digest = crc32c_of(&[&digest.to_le_bytes(), &(key.len() as u32).to_le_bytes(), key, value]);
        };
        self.clock.dump(&mut each);
        self.outbox.items.dump(&mut each);
        self.outbox.next.dump(&mut each);
        self.inbox.received.dump(&mut each);
        self.catalog.dump(&mut each);
        self.messaging.dump(&mut each);
        digest
    }
}

/// One command of an entry.
struct Step<'a> {
    machine: &'a mut Machine,
    at: Position,
    now: Hlc,
    entry: &'a Entry,
    taken: &'a mut [bool],
    /// How many more rows the entry may forget.
    forgets: &'a mut usize,
    outcome: &'a mut Outcome,
}

impl Step<'_> {
    fn command(&mut self, command: Command) -> Result<Reply, Refusal> {
        if !command.is_for(self.machine.shard) {
            return Err(Refusal::Invalid(Fault::ShardKind));
        }
        let (version, me) = (self.machine.version(), self.machine.shard);
        if command.version() > version {
            return Err(Refusal::TooNew);
        }
        let Machine { clock, catalog, messaging, outbox, .. } = &mut *self.machine;
        let effects = &mut self.outcome.effects;
        match command {
            Command::Append { first, pieces, producer, message_id } => self.append(first, pieces, producer, message_id),
            Command::Recall { stream, producer, message_id } => {
                messaging.recall(stream, producer, message_id.as_ref(), self.now)
            }
            Command::CreateStream { stream, config } => messaging.create(&[stream], &config, effects),
            Command::CreateStreams { streams, config } => messaging.create(&streams, &config, effects),
            Command::DeleteStream { stream } => Ok(messaging.delete(&[stream], self.forgets, effects)),
            Command::DeleteStreams { streams } => Ok(messaging.delete(&streams, self.forgets, effects)),
            Command::ConfigureStream { stream, config } => messaging.configure(&[stream], &config),
            Command::ConfigureStreams { streams, config } => messaging.configure(&streams, &config),
            Command::Trim { stream, to } => {
                // Something of the next behaviour that clients see, for tests of upgrades: it takes what there is.
                #[cfg(feature = "next-version")]
                let to = match messaging.stream(stream) {
                    Some(found) if version > VERSION_OF_MOVES => to.min(found.end),
                    _ => to,
                };
                messaging.trim(stream, to, me, outbox, effects)
            }
            Command::Settle { stream, ranges } => messaging.settle(stream, &ranges, effects),
            Command::Tick => {
                messaging.tick(self.now, self.forgets);
                Ok(Reply::Done)
            }
            Command::SaveGroup { group, state } => messaging.groups.save(&group, state).map(|()| Reply::Done),
            Command::CommitOffsets { group, offsets } => {
                messaging.groups.commit(&group, offsets, self.now).map(|()| Reply::Done)
            }
            Command::DeleteGroup { group } => {
                messaging.groups.delete(&group);
                Ok(Reply::Done)
            }
            Command::DeleteOffsets { group, streams, committed_until } => {
                messaging.groups.delete_offsets(&group, &streams, committed_until);
                Ok(Reply::Done)
            }
            Command::FenceStream { stream, to } => messaging.fence(stream, to, (me, self.at.term), outbox, effects),
            Command::AdoptProducers { stream, producers } => messaging.adopt_producers(stream, producers),
            Command::AdoptIds { stream, ids } => messaging.adopt_ids(stream, ids),
            Command::AdoptStream { stream, adoption } => {
                messaging.adopt(stream, adoption, (me, self.at.term), outbox, effects)
            }
            Command::OlderStarts { stream, from, start } => {
                Ok(messaging.older_starts(stream, from, start, outbox, effects))
            }
            Command::MoveStream { id, partition, to } => catalog.move_stream(id, partition, to, outbox, effects),
            Command::StreamAdopted { stream, by, has_older } => {
                Ok(catalog.stream_adopted(stream, by, has_older, outbox, effects))
            }
            Command::OlderGone { stream } => Ok(catalog.older_gone(stream, effects)),
            Command::AddShards { shards } => {
                let reply = catalog.add_shards(&shards, effects)?;
                if version >= VERSION_OF_NODES {
                    catalog.deal_slots();
                }
                Ok(reply)
            }
            Command::CreateTopic { topic } => catalog.create_topic(topic, outbox, effects),
            Command::DeleteTopic { id } => catalog.delete_topic(id, outbox, effects),
            Command::AllocateProducerIds { count } => Ok(catalog.allocate_producers(count)),
            Command::ConfigureTopic { id, revision, config, settings } => {
                catalog.configure_topic(id, revision, config, settings, outbox, effects)
            }
            Command::AddPartitions { id, partitions } => catalog.add_partitions(id, partitions, outbox, effects),
            Command::AllocateNode { incarnation, wanted, peer, endpoints, rack, version: known } => {
                let node = Node { incarnation, state: NodeState::Active, peer, endpoints, rack, version: known };
                catalog.allocate_node(node, wanted, version, effects)
            }
            Command::UpdateNode { node: id, incarnation, peer, endpoints, rack, version: known } => {
                let node = Node { incarnation, state: NodeState::Active, peer, endpoints, rack, version: known };
                catalog.update_node(id, node, version, effects)
            }
            Command::SetNodeState { node, state } => catalog.set_node_state(node, state, effects),
            Command::PlaceShard { shard, revision, replicas, preferred } => {
                catalog.place_shard(shard, Placement { replicas, preferred, revision }, effects)
            }
            Command::AssignSlots { first, count, shard, revision } => {
                catalog.assign_slots(first, count, shard, revision, effects)
            }
            Command::GiveUpShard { shard, revision } => catalog.give_up_shard(shard, revision, effects),
            Command::Deliver { .. } => Err(Refusal::Invalid(Fault::ItemWithinItem)),
            Command::Delivered { to, items } => {
                outbox.delivered(to, &items);
                effects.push(Effect::Delivered(to));
                Ok(Reply::Done)
            }
            Command::Barrier { version } => {
                let clock = clock.get_mut();
                clock.version = clock.version.max(version);
                if clock.version >= VERSION_OF_NODES {
                    catalog.deal_slots();
                }
                Ok(Reply::Done)
            }
        }
    }

    fn append(
        &mut self,
        first: u32,
        pieces: u32,
        producer: Option<crate::command::ProducerBatch>,
        message_id: Option<bytes::Bytes>,
    ) -> Result<Reply, Refusal> {
        let numbers = first..first.saturating_add(pieces);
        if numbers.end > self.entry.piece_count() || numbers.clone().any(|nth| self.taken[nth as usize]) {
            return Err(Refusal::Invalid(Fault::MissingPieces));
        }
        let descs: Vec<PieceDesc> = numbers.clone().filter_map(|nth| self.entry.piece(nth)).collect();
        let reply = self.machine.messaging.append(
            &descs,
            producer,
            message_id,
            self.at.term,
            self.now,
            &mut self.outcome.effects,
        )?;
        if matches!(reply, Reply::Appended { .. }) {
            numbers.for_each(|nth| self.taken[nth as usize] = true);
            self.outcome.accepted.extend(descs);
        }
        Ok(reply)
    }

    /// An item counts as received whatever its command answers: it is not sent again.
    fn deliver(&mut self, from: ShardId, item: u64, command: Command) -> Result<Reply, Refusal> {
        if !self.machine.inbox.accept(from, item)? {
            return Ok(Reply::Done);
        }
        if matches!(command, Command::Deliver { .. } | Command::Append { .. } | Command::Barrier { .. }) {
            return Err(Refusal::Invalid(Fault::NotForOutbox));
        }
        self.command(command)
    }
}
