//! Reading records of a partition, and waiting for some where there are none.

use super::error::{Subject, refusal};
use super::page::{Page, Stop, Stored, Wanted};
use super::{mismatch, partition_ref};
use crate::answer::Answer;
use crate::api::{Call, Inner, answer_room};
use crate::query::Position;
use crate::refusal::Refusal;
use crate::shape::{Code, Encoding};
use broker::batches::find_record;
use broker::memory::Held;
use broker::request::{FoundOffset, OffsetQuery, OffsetSpec, PartitionRef, ReadPart, ReadQuery, ReadRange};
use broker::{BrokerError, Chunk, Reply, Request};
use bytes::Bytes;
use model::{Offset, Timestamp, limit};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What a page takes in memory besides what is stored, of each byte that a record may have: the record, and
/// its JSON, which grows by doubling.
const COPIES: usize = 3;

pub(crate) async fn read(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let deadline = Instant::now() + Duration::from_millis(call.query.natural("wait_ms").unwrap_or(0));
    let reading = Reading::new(&api, &call);
    let mut from = reading.begin(&call).await?;
    let mut part = reading.look(from, Duration::ZERO).await?;
    let mut waited = Duration::ZERO;
    loop {
        let (page, bounds, room) = reading.page(from, part).await?;
        // Where compaction left nothing there is a way to go on.
        let moved = page.next > from;
        from = page.next;
        if page.count > 0 || Instant::now() >= deadline {
            return Ok(Answer { waited, ..reading.answer(page, bounds, room) });
        }
        drop(room);
        let began = Instant::now();
        part = if moved { reading.look(from, Duration::ZERO).await? } else { reading.wait(from, deadline).await? };
        if !moved {
            waited += began.elapsed();
        }
    }
}

/// A partition's first offset and one past its last.
type Bounds = (Offset, Offset);

/// One request's way through a partition.
struct Reading<'a> {
    api: &'a Inner,
    topic: &'a str,
    partition: u32,
    wanted: Wanted,
    of_node: bool,
}

impl<'a> Reading<'a> {
    fn new(api: &'a Inner, call: &'a Call) -> Self {
        let most = limit::ADMIN_ANSWER_BYTES_MAX as u64;
        let bytes_max = call.query.natural("max_bytes").unwrap_or(limit::ADMIN_ANSWER_BYTES_DEFAULT as u64);
        let bytes_max = bytes_max.min(most) as usize;
        let wanted = Wanted {
            from: Offset::ZERO,
            count_max: call.query.natural("limit").unwrap_or(100).min(limit::ADMIN_PAGE_MAX as u64) as usize,
            bytes_max,
            // A page of a few bytes has its first record, too.
            record_bytes_max: bytes_max.max(limit::ADMIN_ANSWER_BYTES_DEFAULT),
            encoding: match call.query.text("encoding") {
                Some("text") => Encoding::Text,
                Some("base64") => Encoding::Base64,
                _ => Encoding::Auto,
            },
        };
        Reading { api, topic: call.name(0), partition: call.partition(), wanted, of_node: call.of_node }
    }

    fn partition(&self) -> PartitionRef {
        partition_ref(self.topic, self.partition)
    }

    fn subject(&self) -> Subject<'a> {
        Subject::Partition(self.topic, self.partition)
    }

    /// Where to begin.
    async fn begin(&self, call: &Call) -> Result<Offset, Refusal> {
        let position = call.position("offset");
        if let Some(time) = call.time("timestamp") {
            if position.is_some() {
                return Err(Refusal::new(Code::InvalidParameter, "give offset or timestamp, not both"));
            }
            return find_time(self.api, self.topic, self.partition, Timestamp(time.0)).await;
        }
        match position.unwrap_or(Position::Earliest) {
            Position::At(offset) => Ok(Offset(offset)),
            Position::Earliest => Ok(self.bounds().await?.0),
            Position::Latest => Ok(self.bounds().await?.1),
            Position::Last(count) => {
                let (start, end) = self.bounds().await?;
                Ok(Offset(end.0.saturating_sub(count)).max(start))
            }
        }
    }

    async fn bounds(&self) -> Result<Bounds, Refusal> {
        bounds(self.api, self.topic, self.partition).await
    }

    /// What was read at `from` as a page, and the memory that its answer takes.
    async fn page(&self, from: Offset, part: ReadPart) -> Result<(Page, Bounds, Held), Refusal> {
        let (bounds, bytes) = ((part.start, part.end), part.bytes());
        check_read(from, part.end, bytes)?;
        // While it was read, the broker counted it.
        let there = self.api.charge_answer(bytes);
        let stored: Vec<Stored> = part.chunks.into_iter().filter_map(stored).collect();
        let stored = Arc::new((stored, there));
        let mut wanted = Wanted { from, ..self.wanted };
        let (mut room, page) = loop {
            let room = answer_room(&stored.1, COPIES * wanted.record_bytes_max).await?;
            let pieces = stored.clone();
            // The work goes on when the client leaves, and so it has what it takes.
            let (page, room) =
                decode(self.api.decoding.clone(), move || (Page::read(&pieces.0, &wanted), room)).await?;
            match page {
                // There is room for larger ones, but not for many at a time.
                Err(Stop::TooLarge(_)) if wanted.record_bytes_max < limit::ADMIN_ANSWER_BYTES_MAX => {
                    wanted.record_bytes_max = limit::ADMIN_ANSWER_BYTES_MAX;
                }
                page => break (room, page),
            }
        };
        match page {
            // While it is sent there is nothing but the answer.
            Ok(page) => {
                room.resize(page.json.len());
                Ok((page, bounds, room))
            }
            Err(Stop::TooLarge(offset)) => {
                let most = limit::ADMIN_ANSWER_BYTES_MAX;
                let message = format!(
                    "the record at offset {offset} is larger than the {most} bytes that an answer can hold; read it by \
                     another protocol, or read on at offset {next}",
                    offset = offset.0,
                    next = offset.0 + 1
                );
                Err(Refusal::new(Code::RecordTooLarge, message))
            }
            Err(Stop::Unreadable(offset, why)) => {
                let (topic, partition) = (self.topic, self.partition);
                tracing::warn!(topic, partition, offset = offset.0, why, "cannot show a record");
                let message = format!("partition {partition} of topic {topic} cannot be read at {}: {why}", offset.0);
                Err(Refusal::new(Code::Damaged, message))
            }
        }
    }

    /// Reads at `from` when there is something, and nothing at the deadline.
    async fn wait(&self, from: Offset, deadline: Instant) -> Result<ReadPart, Refusal> {
        let _seat = if self.of_node { self.api.seat_for_nodes()? } else { self.api.seat()? };
        let mut stop = self.api.stop.clone();
        tokio::select! {
            part = self.look(from, deadline.saturating_duration_since(Instant::now())) => part,
            _ = stop.wait_for(|stop| *stop) => Err(Refusal::new(Code::Unavailable, "the node stops; try again")),
        }
    }

    /// Reads what there is at `from`, and waits so long for something. What is read is counted as read, and so it
    /// is read once.
    async fn look(&self, from: Offset, max_wait: Duration) -> Result<ReadPart, Refusal> {
        let max_bytes = self.wanted.bytes_max;
        let part = ReadRange { from: self.partition(), offset: from, max_bytes, epoch: None, last_epoch: None };
        let min_bytes = usize::from(!max_wait.is_zero());
        let query =
            ReadQuery { parts: vec![part], min_bytes, max_wait, max_bytes, in_files: false, any_replica: false };
        let Reply::Read { mut parts, .. } = self.api.ask(Request::Read(query)).await else { return Err(mismatch()) };
        match parts.pop().unwrap_or(Err(BrokerError::Unavailable)) {
            Err(BrokerError::OffsetOutOfRange) => {
                let (start, end) = self.bounds().await?;
                let (topic, partition) = (self.topic, self.partition);
                let message = format!(
                    "offset {} is not between {} and {}, where partition {partition} of topic {topic} begins and ends",
                    from.0, start.0, end.0
                );
                Err(Refusal::new(Code::OffsetOutOfRange, message))
            }
            outcome => outcome.map_err(|error| refusal(&error, self.subject())),
        }
    }

    fn answer(&self, page: Page, (start, end): Bounds, mut room: Held) -> Answer {
        let mut body =
            format!(r#"{{"topic":{},"partition":{},"records":["#, json!(self.topic), self.partition).into_bytes();
        body.extend_from_slice(&page.json);
        let rest = format!(r#"],"next_offset":{},"start":{},"end":{}}}"#, page.next.0, start.0, end.0);
        body.extend_from_slice(rest.as_bytes());
        room.resize(body.len());
        Answer { room: Some(room), ..Answer::of(200, Bytes::from(body)) }
    }
}

/// Below a partition's end there is something to read, if only that compaction left nothing. Where nothing was
/// read there was no memory for it, and nobody is to take that for the end.
fn check_read(from: Offset, end: Offset, bytes: usize) -> Result<(), Refusal> {
    if bytes > 0 || from >= end {
        return Ok(());
    }
    let message = "reads of others take all the memory that there is for them; try again";
    Err(Refusal::new(Code::Busy, message))
}

fn stored(chunk: Chunk) -> Option<Stored> {
    chunk.into_slice().map(|slice| (slice.base, slice.bytes))
}

/// Does it where it holds up nobody, when it has a turn.
async fn decode<T: Send + 'static>(
    turns: Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let stops = || Refusal::new(Code::Unavailable, "the node stops; try again");
    let turn = turns.acquire_owned().await.map_err(|_| stops())?;
    let work = move || {
        // The work goes on when nobody waits for it any more, and so the turn does.
        let _turn = turn;
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| stops())
}

async fn find(api: &Inner, topic: &str, partition: u32, which: &[OffsetSpec]) -> Result<Vec<FoundOffset>, Refusal> {
    let query = |which: &OffsetSpec| OffsetQuery {
        partition: partition_ref(topic, partition),
        which: *which,
        find: find_record,
        epoch: None,
    };
    let Reply::Offsets(found) = api.ask(Request::Offsets(which.iter().map(query).collect())).await else {
        return Err(mismatch());
    };
    let found: Result<Vec<_>, _> = found.into_iter().collect();
    found.map_err(|error| refusal(&error, Subject::Partition(topic, partition)))
}

/// Where a partition begins and ends.
pub(super) async fn bounds(api: &Inner, topic: &str, partition: u32) -> Result<Bounds, Refusal> {
    let found = find(api, topic, partition, &[OffsetSpec::Earliest, OffsetSpec::Latest]).await?;
    match found.as_slice() {
        [FoundOffset { offset: Some(start), .. }, FoundOffset { offset: Some(end), .. }] => Ok((*start, *end)),
        _ => Err(mismatch()),
    }
}

/// The first record of this time or later; the end when there is none.
pub(super) async fn find_time(api: &Inner, topic: &str, partition: u32, time: Timestamp) -> Result<Offset, Refusal> {
    // Asked for first: what comes meanwhile is behind it.
    let (_, end) = bounds(api, topic, partition).await?;
    let found = find(api, topic, partition, &[OffsetSpec::AtOrAfter(time)]).await?.into_iter().next();
    Ok(found.and_then(|found| found.offset).unwrap_or(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_an_answer_only_at_the_end() {
        assert_eq!(check_read(Offset(5), Offset(5), 0), Ok(()));
        assert_eq!(check_read(Offset(4), Offset(5), 1), Ok(()));
        assert_eq!(check_read(Offset(4), Offset(5), 0).unwrap_err().code, Code::Busy);
    }

    #[tokio::test]
    async fn work_keeps_its_turn_when_nobody_waits_for_it_any_more() {
        let turns = Arc::new(Semaphore::new(1));
        let (began, begins) = tokio::sync::oneshot::channel();
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let asked = tokio::spawn(decode(turns.clone(), move || {
            began.send(()).unwrap();
            waits.recv()
        }));
        begins.await.unwrap();
        asked.abort();
        assert!(asked.await.is_err());
        assert!(turns.try_acquire().is_err());
        go_on.send(()).unwrap();
        assert!(turns.acquire().await.is_ok());
    }
}
