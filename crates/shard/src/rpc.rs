//! What replicas say to one another, as bytes. Drawn in docs/formats/replication.md.
//!
//! Decoding trusts nothing: counts are bounded by the bytes that remain, and an entry is checked
//! before it is believed.

use crate::raft::{LogId, RaftEntry, Runtime, Types, Vote};
use crate::replica::decode_stored;
use crate::store::{decode_vote, encode_vote, from_journal, log_id, position, to_journal};
use bytes::{Buf, Bytes};
use journal::file::FileId;
use journal::frame::Kind;
use journal::install::{OfferKey, Part, SnapshotOffer};
use journal::{LogEntry, LogPosition, Slice};
use model::wire::{Input, Wire, WireError, put_varint};
use model::{LeaderEpoch, NodeId, Offset, StreamId, Timestamp};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse};

model::wire_struct! {
    /// A vote and what stands behind it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Ballot {
        pub(crate) vote: Bytes,
        pub(crate) last: LogPosition,
        /// In a request: whether leadership is being handed over. In a response: whether granted.
        pub(crate) flag: bool,
    }
}

model::wire_struct! {
    /// What a replica knows of itself.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Standing {
        /// Its last entry.
        pub(crate) last: LogPosition,
        /// Whether it may have forgotten what it acknowledged.
        pub(crate) in_doubt: bool,
        /// Whether its disk has room for new work.
        pub(crate) has_room: bool,
        /// Set when it believes to lead: its vote. It has been told then that the asker may have lost
        /// the end of its log.
        pub(crate) leading: Option<Bytes>,
        /// Set when a quorum has just confirmed that.
        pub(crate) confirmed: bool,
        /// Who votes, as far as it knows: one configuration, or two while it changes.
        pub(crate) voters: Vec<Vec<NodeId>>,
    }
}

model::wire_enum! {
    /// A request without bulk.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Question {
        1 = Vote { ballot: Ballot },
        2 = PreVote { ballot: Ballot },
        3 = TransferLeader { vote: Bytes, to: NodeId, last: LogPosition },
        // 4 was an offer of a snapshot, before 11 was.
        5 = Pull { part: Part, position: u64, bytes: u32 },
        /// How do you stand? A leader confirms first that it leads. `reverted` says that the asker
        /// may have lost the end of its log.
        6 = Standing { asker: NodeId, reverted: bool },
        /// An entry that is damaged at the asker.
        7 = Entry { at: LogPosition },
        /// Records that are damaged at the asker; as many from the first on as fit an answer.
        8 = Records { stream: StreamId, from: Offset, to: Offset },
        /// What does your clock show?
        9 = Clock,
        /// A stream as it is compacted at the asked, as much from the first offset on as fits an answer.
        10 = Form { stream: StreamId, from: Offset, to: Offset },
        /// Please install this; pull its parts from me. Answered at once, by how far that is.
        11 = Install { vote: Bytes, offer: SnapshotOffer },
        /// How far is it with what I offered?
        12 = Installing { vote: Bytes, offered: OfferKey },
    }
}

model::wire_enum! {
    /// How far a replica is with a snapshot that it was offered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Progress {
        /// Parts are being pulled.
        1 = Pulling { pulled: u64, of: u64 },
        /// It is installed, or not needed. The vote is that of the replica.
        2 = Installed { vote: Bytes },
        /// It was given up; offer one again. A part was damaged where it came from, if one is named.
        3 = Failed { why: String, damaged: Option<Part> },
        /// It is not known here: offer it again.
        4 = Unknown,
    }
}

model::wire_struct! {
    /// A piece of a part.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Chunk {
        pub(crate) crc: u32,
        pub(crate) bytes: Bytes,
    }
}

model::wire_struct! {
    /// An entry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct EntryCopy {
        /// 1 entry, 2 blank, 3 membership; 0 when there is no such entry here.
        pub(crate) kind: u8,
        pub(crate) meta_bytes: u32,
        pub(crate) payload: Bytes,
    }
}

model::wire_struct! {
    /// A piece, or several back to back, and where they belong.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct SliceCopy {
        pub(crate) base: Offset,
        pub(crate) count: u32,
        pub(crate) epoch: LeaderEpoch,
        pub(crate) max_timestamp: Timestamp,
        pub(crate) bytes: Bytes,
    }
}

model::wire_struct! {
    /// A part of a stream, as it is compacted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct FormCopy {
        /// Where the stream ended.
        pub(crate) end: Offset,
        /// The files it came from: while they are the same, so is the form.
        pub(crate) files: Vec<FileId>,
        pub(crate) slices: Vec<SliceCopy>,
    }
}

impl Chunk {
    /// The bytes are not copied, here and below: there are many.
    pub(crate) fn into_parts(self) -> Vec<Bytes> {
        let mut head = Vec::new();
        self.crc.put(&mut head);
        put_varint(self.bytes.len() as u64, &mut head);
        vec![Bytes::from(head), self.bytes]
    }

    pub(crate) fn of_answer(answer: &Bytes) -> Result<Self, WireError> {
        let mut input = Input::new(answer);
        let crc = u32::take(&mut input)?;
        let count = input.count()?;
        let bytes = answer.slice(answer.len() - input.left()..);
        if count < bytes.len() {
            return Err(WireError::Trailing(bytes.len() - count));
        }
        Ok(Chunk { crc, bytes })
    }
}

impl EntryCopy {
    pub(crate) fn of(entry: Option<LogEntry>) -> Self {
        match entry {
            Some(entry) => {
                EntryCopy { kind: kind_number(entry.kind), meta_bytes: entry.meta_bytes, payload: entry.payload }
            }
            None => EntryCopy { kind: 0, meta_bytes: 0, payload: Bytes::new() },
        }
    }

    pub(crate) fn into_entry(self, at: LogPosition) -> Option<LogEntry> {
        let kind = kind_of(self.kind)?;
        Some(LogEntry { at, kind, payload: self.payload, meta_bytes: self.meta_bytes })
    }
}

impl SliceCopy {
    pub(crate) fn of(slice: Slice) -> Self {
        let Slice { base, count, epoch, max_timestamp, bytes } = slice;
        SliceCopy { base, count, epoch, max_timestamp, bytes }
    }

    pub(crate) fn into_slice(self) -> Slice {
        let SliceCopy { base, count, epoch, max_timestamp, bytes } = self;
        Slice { base, count, epoch, max_timestamp, bytes }
    }
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Entry => 1,
        Kind::Blank => 2,
        Kind::Membership => 3,
        Kind::Vote | Kind::Packed => 0,
    }
}

fn kind_of(number: u8) -> Option<Kind> {
    [Kind::Entry, Kind::Blank, Kind::Membership].into_iter().find(|kind| kind_number(*kind) == number)
}

/// First byte of a request: what follows.
const QUESTION: u8 = 1;
const APPEND: u8 = 2;
/// An append without entries that needs no order among appends.
const HEARTBEAT: u8 = 3;

/// A request as received.
pub(crate) enum Incoming<R: Runtime> {
    Question(Question),
    Append(AppendEntriesRequest<Types<R>>),
    Heartbeat(AppendEntriesRequest<Types<R>>),
}

pub(crate) fn encode_question(question: &Question) -> Vec<Bytes> {
    let mut bytes = vec![QUESTION];
    question.put(&mut bytes);
    vec![Bytes::from(bytes)]
}

pub(crate) fn decode<R: Runtime>(mut bytes: Bytes) -> Result<Incoming<R>, WireError> {
    if bytes.is_empty() {
        return Err(WireError::Truncated { wanted: 1, left: 0 });
    }
    match bytes.get_u8() {
        QUESTION => Ok(Incoming::Question(Question::from_wire(&bytes)?)),
        APPEND => Ok(Incoming::Append(decode_append::<R>(bytes)?)),
        HEARTBEAT => match decode_append::<R>(bytes)? {
            heartbeat if heartbeat.entries.is_empty() => Ok(Incoming::Heartbeat(heartbeat)),
            _ => Err(WireError::Invalid("heartbeat")),
        },
        tag => Err(WireError::Tag { what: "request", tag: tag.into() }),
    }
}

fn optional<R: Runtime>(id: Option<&LogId<R>>) -> LogPosition {
    id.map(position::<R>).unwrap_or_default()
}

/// Bytes of the payloads that a request carries.
pub(crate) fn payload_bytes<R: Runtime>(request: &AppendEntriesRequest<Types<R>>) -> usize {
    let bytes = |entry: &RaftEntry<R>| match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    request.entries.iter().map(bytes).sum()
}

/// Entries' descriptions first, then their payloads, which are not copied.
pub(crate) fn encode_append<R: Runtime>(request: AppendEntriesRequest<Types<R>>) -> Vec<Bytes> {
    encode_entries::<R>(APPEND, request)
}

/// A request without entries that may overtake others.
pub(crate) fn encode_heartbeat<R: Runtime>(request: AppendEntriesRequest<Types<R>>) -> Vec<Bytes> {
    debug_assert!(request.entries.is_empty(), "a heartbeat carries nothing that would need an order");
    encode_entries::<R>(HEARTBEAT, request)
}

fn encode_entries<R: Runtime>(tag: u8, request: AppendEntriesRequest<Types<R>>) -> Vec<Bytes> {
    let mut head = vec![tag];
    encode_vote::<R>(&request.vote).put(&mut head);
    optional::<R>(request.prev_log_id.as_ref()).put(&mut head);
    optional::<R>(request.leader_commit.as_ref()).put(&mut head);
    put_varint(request.entries.len() as u64, &mut head);
    let entries: Vec<LogEntry> = request.entries.into_iter().map(|entry| to_journal::<R>(entry).0).collect();
    for entry in &entries {
        entry.at.put(&mut head);
        head.push(kind_number(entry.kind));
        (entry.payload.len() as u32).put(&mut head);
    }
    let mut parts = vec![Bytes::from(head)];
    parts.extend(entries.into_iter().map(|entry| entry.payload).filter(|payload| !payload.is_empty()));
    parts
}

fn decode_append<R: Runtime>(bytes: Bytes) -> Result<AppendEntriesRequest<Types<R>>, WireError> {
    let mut input = Input::new(&bytes);
    let vote = <Bytes as Wire>::take(&mut input)?;
    let prev = LogPosition::take(&mut input)?;
    let commit = LogPosition::take(&mut input)?;
    let mut heads = Vec::new();
    for _ in 0..input.count()? {
        let head: (LogPosition, u8, u32) = Wire::take(&mut input)?;
        heads.push(head);
    }
    let mut payloads = bytes.slice(bytes.len() - input.left()..);
    let mut entries: Vec<RaftEntry<R>> = Vec::with_capacity(heads.len());
    for (at, kind, length) in heads {
        let length = length as usize;
        if length > payloads.len() {
            return Err(WireError::Truncated { wanted: length, left: payloads.len() });
        }
        let payload = payloads.split_to(length);
        let kind = kind_of(kind).ok_or(WireError::Tag { what: "entry kind", tag: kind.into() })?;
        let entry = LogEntry { at, kind, payload, meta_bytes: 0 };
        entries.push(from_journal::<R>(entry).map_err(|_| WireError::Invalid("entry"))?);
    }
    if !payloads.is_empty() {
        return Err(WireError::Trailing(payloads.len()));
    }
    Ok(AppendEntriesRequest {
        vote: decode_vote::<R>(&vote)?,
        prev_log_id: log_id::<R>(prev),
        entries,
        leader_commit: log_id::<R>(commit),
    })
}

pub(crate) fn encode_appended<R: Runtime>(result: &StreamAppendResult<Types<R>>) -> Bytes {
    let mut bytes = Vec::new();
    match result {
        Ok(id) => {
            bytes.push(0);
            optional::<R>(id.as_ref()).put(&mut bytes);
        }
        Err(StreamAppendError::Conflict(id)) => {
            bytes.push(1);
            position::<R>(id).put(&mut bytes);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            bytes.push(2);
            bytes.extend_from_slice(&encode_vote::<R>(vote));
        }
    }
    Bytes::from(bytes)
}

pub(crate) fn decode_appended<R: Runtime>(bytes: &[u8]) -> Result<StreamAppendResult<Types<R>>, WireError> {
    let Some((tag, rest)) = bytes.split_first() else {
        return Err(WireError::Truncated { wanted: 1, left: 0 });
    };
    match tag {
        0 => Ok(Ok(log_id::<R>(Wire::from_wire(rest)?))),
        1 => {
            let id = log_id::<R>(Wire::from_wire(rest)?).ok_or(WireError::Invalid("conflict"))?;
            Ok(Err(StreamAppendError::Conflict(id)))
        }
        2 => Ok(Err(StreamAppendError::HigherVote(decode_vote::<R>(rest)?))),
        tag => Err(WireError::Tag { what: "append result", tag: (*tag).into() }),
    }
}

/// Whether bytes are anything that replicas say to one another, or keep of what they agreed on: for whoever throws
/// bytes at it.
#[must_use]
pub fn is_readable(bytes: &[u8]) -> bool {
    type R = crate::runtime::Tokio;
    let ballot = Ballot::from_wire(bytes).is_ok_and(|b| b.to_request::<R>().is_ok() && b.to_response::<R>().is_ok());
    let standing = Standing::from_wire(bytes).is_ok();
    let chunk = Chunk::of_answer(&Bytes::copy_from_slice(bytes)).is_ok();
    let appended = decode_appended::<R>(bytes).is_ok();
    let entry = EntryCopy::from_wire(bytes).ok().and_then(|copy| copy.into_entry(LogPosition { term: 1, index: 1 }));
    let entry = entry.is_some_and(|entry| from_journal::<R>(entry).is_ok());
    let slices = Vec::<SliceCopy>::from_wire(bytes).is_ok() || FormCopy::from_wire(bytes).is_ok();
    let kept = decode_vote::<R>(bytes).is_ok() || decode_stored::<R>(bytes).is_ok();
    let progress = Progress::from_wire(bytes).is_ok();
    let answer = ballot || standing || chunk || appended || entry || slices || progress;
    decode::<R>(Bytes::copy_from_slice(bytes)).is_ok() || answer || kept
}

impl Ballot {
    pub(crate) fn of_request<R: Runtime>(request: &VoteRequest<Types<R>>) -> Self {
        let last = optional::<R>(request.last_log_id.as_ref());
        Ballot { vote: encode_vote::<R>(&request.vote), last, flag: request.leadership_transfer }
    }

    pub(crate) fn to_request<R: Runtime>(&self) -> Result<VoteRequest<Types<R>>, WireError> {
        let mut request = VoteRequest::new(self.to_vote::<R>()?, log_id::<R>(self.last));
        request.leadership_transfer = self.flag;
        Ok(request)
    }

    pub(crate) fn of_response<R: Runtime>(response: &VoteResponse<Types<R>>) -> Self {
        let last = optional::<R>(response.last_log_id.as_ref());
        Ballot { vote: encode_vote::<R>(&response.vote), last, flag: response.vote_granted }
    }

    pub(crate) fn to_response<R: Runtime>(&self) -> Result<VoteResponse<Types<R>>, WireError> {
        Ok(VoteResponse::new(self.to_vote::<R>()?, log_id::<R>(self.last), self.flag))
    }

    fn to_vote<R: Runtime>(&self) -> Result<Vote<R>, WireError> {
        decode_vote::<R>(&self.vote)
    }
}

#[cfg(test)]
mod tests;
