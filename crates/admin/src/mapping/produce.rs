//! Writing records: those of a partition become Kafka batches, which go the way that all batches go.

use super::error::{Subject, refusal};
use super::{find_topic, mismatch, partition_ref, partitioner};
use crate::answer::Answer;
use crate::api::{Call, Inner, now};
use crate::between::{Outcome, Refused, Share};
use crate::body;
use crate::errand::{self, CHANGE_TIME, by_leaders};
use crate::refusal::Refusal;
use crate::shape::{Acks, Code, Compression, Header, NewRecord, NewRecords, Problem, Written, WrittenRecord};
use batch::{Batch, BatchBuilder, Compression as Codec, Record};
use broker::batches::inspect;
use broker::cluster::errand::Errand;
use broker::memory::Held;
use broker::request::{AppendPart, AppendRefusal, Appended, TopicInfo};
use broker::{BrokerError, Reply, Request};
use bytes::Bytes;
use futures::FutureExt;
use model::piece::BATCH_HEAD_BYTES;
use model::{Durability, NodeId, limit};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What a record takes in a batch besides its key, its value and its headers, at most; and a header
/// besides its name and its value.
const RECORD_BYTES: usize = 32;
const HEADER_BYTES: usize = 10;

pub(crate) async fn write(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let topic = call.name(0).to_owned();
    let (body, rooms) = (call.body, call.rooms);
    // Little is done here, much where it holds up nobody.
    let wanted: NewRecords = if body.len() <= limit::INSPECT_INLINE_BYTES_MAX {
        body::read(&body)?
    } else {
        blocking(rooms.clone(), move || body::read(&body)).await?
    };
    if wanted.records.is_empty() {
        return Err(Refusal::new(Code::InvalidBody, "there are no records to write"));
    }
    let info = find_topic(&api, &topic).await?;
    let in_memory = wanted.acks == Some(Acks::One);
    let codec = codec(wanted.compression.unwrap_or_default());
    let count = wanted.records.len();
    let first = api.spread.fetch_add(count as u32, Relaxed);
    let batches = blocking(rooms.clone(), move || batches(wanted.records, &info, codec, first, now())).await?;
    let outcomes = append(&api, &topic, in_memory, &batches).await;
    answer(&topic, count, batches, outcomes)
}

/// What is said of a batch that was not written.
fn refused(error: &BrokerError, topic: &str, partition: u32) -> Refused {
    let (nth, error) = match error {
        BrokerError::InRecord { nth, error } => (Some(*nth), &**error),
        error => (None, error),
    };
    Refused { nth, ..refusal(error, Subject::Partition(topic, partition)).into() }
}

/// Appends batches, each where its partition is led. What becomes of each.
async fn append(api: &Inner, topic: &str, in_memory: bool, batches: &[NewBatch]) -> Vec<Outcome> {
    let mut of_partitions = BTreeMap::<u32, Vec<usize>>::new();
    for (nth, batch) in batches.iter().enumerate() {
        of_partitions.entry(batch.partition).or_default().push(nth);
    }
    let (partitions, parts): (Vec<u32>, Vec<Vec<usize>>) = of_partitions.into_iter().unzip();
    let outcomes = by_leaders(
        api,
        parts.len(),
        |part| api.broker.leader(&partition_ref(topic, partitions[part])),
        |node, share| {
            let counts: Vec<usize> = share.iter().map(|part| parts[*part].len()).collect();
            let of_share = share.iter().flat_map(|part| &parts[*part]).map(|nth| &batches[*nth]);
            let batches = of_share.map(|batch| (batch.partition, batch.bytes.clone())).collect();
            let share = Share { topic: topic.to_owned(), in_memory, batches };
            async move {
                let outcomes = match node {
                    None => append_here(api, share).await,
                    Some(node) => append_there(api, node, &share).await,
                };
                by_part(outcomes, &counts)
            }
            .boxed()
        },
    )
    .await;
    let mut done = BTreeMap::new();
    for (nths, outcome) in parts.into_iter().zip(outcomes) {
        let outcomes = outcome.unwrap_or_else(|refusal| vec![Err(refusal.into()); nths.len()]);
        done.extend(nths.into_iter().zip(outcomes));
    }
    done.into_values().collect()
}

/// What became of a share, by its parts that have so many batches each. One of which nothing was written, because it
/// is led elsewhere, is tried again; else what is written later would be behind what followed it.
fn by_part(outcomes: Result<Vec<Outcome>, Refusal>, counts: &[usize]) -> Vec<Result<Vec<Outcome>, Refusal>> {
    let mut outcomes = match outcomes {
        Ok(outcomes) => outcomes.into_iter(),
        Err(refusal) => return counts.iter().map(|_| Err(refusal.clone())).collect(),
    };
    let part = |count: &usize| {
        let part: Vec<Outcome> = outcomes.by_ref().take(*count).collect();
        let not_led = |outcome: &Outcome| matches!(outcome, Err(refused) if refused.problem.code == Code::NotLeader);
        match part.first() {
            Some(Err(first)) if part.iter().all(not_led) => {
                Err(Refusal::new(first.problem.code, first.problem.message.clone()))
            }
            _ => Ok(part),
        }
    };
    counts.iter().map(part).collect()
}

async fn append_here(api: &Inner, share: Share) -> Result<Vec<Outcome>, Refusal> {
    let Share { topic, in_memory, batches } = share;
    let durability = in_memory.then_some(Durability::QuorumMemory);
    let partitions: Vec<u32> = batches.iter().map(|(partition, _)| *partition).collect();
    let part = |(partition, bytes)| AppendPart { to: partition_ref(&topic, partition), bytes, durability, inspect };
    let parts = batches.into_iter().map(part).collect();
    let Reply::Appended(outcomes) = api.ask(Request::Append(parts)).await else { return Err(mismatch()) };
    let outcome = |(outcome, partition): (Result<Appended, AppendRefusal>, u32)| {
        outcome.map(|appended| appended.base.0).map_err(|failed| refused(&failed.error, &topic, partition))
    };
    Ok(outcomes.into_iter().zip(partitions).map(outcome).collect())
}

async fn append_there(api: &Inner, node: NodeId, share: &Share) -> Result<Vec<Outcome>, Refusal> {
    let body = Bytes::from(share.write());
    let errand = Errand { method: "POST".to_owned(), target: "/peer/batches".to_owned(), body };
    let outcomes: Vec<Outcome> = errand::ask(api, node, errand, CHANGE_TIME).await?;
    if outcomes.len() == share.batches.len() { Ok(outcomes) } else { Err(mismatch()) }
}

/// Appends what another node sends for a client of its own.
pub(crate) async fn append_for_node(api: Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    let invalid = |why: String| Refusal::new(Code::InvalidBody, why);
    let share = Share::read(&call.body)?;
    for (_, bytes) in &share.batches {
        let mut rest = bytes.clone();
        Batch::split_from(&mut rest).map_err(|error| invalid(error.to_string()))?;
        if !rest.is_empty() {
            return Err(invalid("one batch is expected, and there is more".into()));
        }
    }
    Answer::json(200, &append_here(&api, share).await?)
}

/// Does it on another thread. It goes on when the client leaves, and so its rooms are given up no earlier.
async fn blocking<T: Send + 'static>(
    rooms: Arc<Vec<Held>>,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let work = move || {
        let _rooms = rooms;
        work()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Refusal::new(Code::Unavailable, "the node stops")))
}

fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// A batch for a partition, and which of the records are in it.
#[derive(Debug)]
struct NewBatch {
    partition: u32,
    bytes: Bytes,
    records: Vec<usize>,
}

impl NewBatch {
    /// What is answered when it is refused, which names a record that is at fault as the client numbers it.
    fn refusal(&self, refused: &Refused) -> Refusal {
        let Refused { problem: Problem { code, message }, nth } = refused;
        match nth.and_then(|nth| self.records.get(nth as usize)) {
            Some(number) => Refusal::new(*code, format!("records[{number}]: {message}")),
            None => Refusal::new(*code, message.clone()),
        }
    }
}

/// Records on their way into a batch.
#[derive(Default)]
struct Draft {
    base_timestamp: i64,
    bytes: usize,
    records: Vec<Record>,
    numbers: Vec<usize>,
}

/// The batches that `records` are, of each partition in order. Of records without key and partition the
/// first goes to the partition of number `first`, so to speak, and so on.
fn batches(
    records: Vec<NewRecord>,
    topic: &TopicInfo,
    codec: Codec,
    first: u32,
    now: i64,
) -> Result<Vec<NewBatch>, Refusal> {
    let count = topic.partitions.len() as u32;
    let mut drafts = BTreeMap::<u32, Draft>::new();
    let mut batches = Vec::new();
    let mut next = first;
    for (nth, record) in records.into_iter().enumerate() {
        let partition = match (record.partition, &record.key) {
            (Some(partition), _) if partition < count => partition,
            (Some(partition), _) => {
                let message = format!("records[{nth}]: topic {} has no partition {partition}", topic.name);
                return Err(Refusal::new(Code::UnknownPartition, message));
            }
            (None, Some(key)) => partitioner::of_key(key.as_bytes(), count),
            (None, None) => {
                next = next.wrapping_add(1);
                next % count.max(1)
            }
        };
        let draft = drafts.entry(partition).or_default();
        let bytes = size(&record);
        let room = (topic.config.piece_bytes_max as usize).saturating_sub(BATCH_HEAD_BYTES);
        // One that is too large by itself is for the broker to refuse: compressed, it may not be.
        if !draft.records.is_empty() && draft.bytes + bytes > room {
            batches.push(std::mem::take(draft).finish(partition, codec)?);
        }
        draft.add(nth, record, bytes, now);
    }
    for (partition, draft) in drafts {
        batches.push(draft.finish(partition, codec)?);
    }
    Ok(batches)
}

/// The most that a record takes in a batch.
fn size(record: &NewRecord) -> usize {
    let data = |data: &Option<crate::shape::Data>| data.as_ref().map_or(0, |data| data.as_bytes().len());
    let header = |header: &Header| HEADER_BYTES + header.name.len() + data(&header.value);
    RECORD_BYTES + data(&record.key) + data(&record.value) + record.headers.iter().map(header).sum::<usize>()
}

impl Draft {
    fn add(&mut self, nth: usize, record: NewRecord, bytes: usize, now: i64) {
        let timestamp = record.timestamp.map_or(now, |time| time.0);
        if self.records.is_empty() {
            self.base_timestamp = timestamp;
        }
        let data = |data: Option<crate::shape::Data>| data.map(|data| Bytes::from(data.into_bytes()));
        let header =
            |header: Header| batch::Header { key: Bytes::from(header.name.into_bytes()), value: data(header.value) };
        self.bytes += bytes;
        self.numbers.push(nth);
        self.records.push(Record {
            timestamp_delta: timestamp - self.base_timestamp,
            offset_delta: self.records.len() as i32,
            key: data(record.key),
            value: data(record.value),
            headers: record.headers.into_iter().map(header).collect(),
        });
    }

    fn finish(self, partition: u32, codec: Codec) -> Result<NewBatch, Refusal> {
        let Draft { base_timestamp, records, numbers, .. } = self;
        let plain = Batch::checked(BatchBuilder { base_timestamp, records, ..BatchBuilder::default() }.encode());
        let batch = match codec {
            Codec::None => plain,
            codec => plain
                .compressed(codec, limit::PIECE_DECOMPRESSED_BYTES_MAX)
                .map_err(|error| Refusal::new(Code::Internal, format!("cannot compress: {error}")))?,
        };
        Ok(NewBatch { partition, bytes: batch.into_bytes(), records: numbers })
    }
}

fn answer(topic: &str, count: usize, batches: Vec<NewBatch>, outcomes: Vec<Outcome>) -> Result<Answer, Refusal> {
    let mut records: Vec<WrittenRecord> = Vec::new();
    records.resize_with(count, || WrittenRecord { partition: 0, offset: None, error: None });
    let (mut failed, mut first): (u32, Option<(usize, Refusal)>) = (0, None);
    let mut outcomes = outcomes.into_iter();
    for batch in batches {
        let unavailable = || Err(self::refused(&BrokerError::Unavailable, topic, batch.partition));
        let outcome = outcomes.next().unwrap_or_else(unavailable);
        let refused = outcome.as_ref().err().map(|refused| batch.refusal(refused));
        if let Some(refusal) = &refused {
            failed += batch.records.len() as u32;
            let number = batch.records.first().copied().unwrap_or(0);
            if first.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                first = Some((number, refusal.clone()));
            }
        }
        for (after, number) in (0u64..).zip(batch.records) {
            records[number] = WrittenRecord {
                partition: batch.partition,
                offset: outcome.as_ref().ok().map(|base| base + after),
                error: refused.as_ref().map(|refusal| Problem { code: refusal.code, message: refusal.message.clone() }),
            };
        }
    }
    match first {
        Some((_, refusal)) if failed as usize == count => Err(refusal),
        _ => Answer::json(200, &Written { records, failed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Data, Time};
    use broker::Settings;
    use broker::request::PartitionInfo;
    use model::Timestamp;
    use model::config::StreamConfig;
    use model::{LeaderEpoch, TopicId};

    const NOW: i64 = 1_000_000;

    fn topic(partitions: usize, piece_bytes_max: u32) -> TopicInfo {
        let (replicas, in_sync, offline) = (vec![NodeId(1)], vec![NodeId(1)], Vec::new());
        let (leader, epoch) = (None, Some(LeaderEpoch(0)));
        let (shard, older_shard, moving_to) = (None, None, None);
        let partition = PartitionInfo { leader, epoch, replicas, in_sync, offline, shard, older_shard, moving_to };
        TopicInfo {
            name: "t".into(),
            id: TopicId([1; 16]),
            config: StreamConfig { piece_bytes_max, ..StreamConfig::default() },
            settings: Settings::default(),
            partitions: vec![partition; partitions],
        }
    }

    fn text(text: &str) -> Option<Data> {
        Some(Data::Text(text.into()))
    }

    #[test]
    fn records_go_where_they_say_where_their_key_says_or_around() {
        let record =
            |partition, key: Option<&str>| NewRecord { partition, key: key.and_then(text), ..NewRecord::default() };
        let records = vec![
            record(Some(2), Some("21")),
            record(None, Some("21")),
            record(None, None),
            record(None, None),
            record(None, None),
            record(None, None),
        ];
        let batches = batches(records, &topic(3, 1000), Codec::None, u32::MAX - 1, NOW).unwrap();
        let placed: Vec<_> = batches.iter().map(|batch| (batch.partition, batch.records.clone())).collect();
        assert_eq!(partitioner::of_key(b"21", 3), 0);
        // Behind the last number comes the first.
        assert_eq!(placed, [(0, vec![1, 2, 3]), (1, vec![4]), (2, vec![0, 5])]);
    }

    #[test]
    fn batches_fit_the_topic_and_keep_the_order() {
        let records = |bytes: &[usize]| {
            let record =
                |bytes: &usize| NewRecord { value: Some(Data::Base64(vec![7; *bytes])), ..NewRecord::default() };
            bytes.iter().map(record).collect::<Vec<_>>()
        };
        let batches = batches(records(&[300, 300, 300, 5000, 10, 10]), &topic(1, 1000), Codec::None, 0, NOW).unwrap();
        let numbers: Vec<_> = batches.iter().map(|batch| batch.records.clone()).collect();
        assert_eq!(numbers, [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
        assert!(batches.iter().filter(|batch| batch.records != [3]).all(|batch| batch.bytes.len() <= 1000));
    }

    #[test]
    fn a_record_is_in_its_batch_as_it_was_given() {
        let record = NewRecord {
            partition: None,
            key: text("k"),
            value: Some(Data::Json("[1]".into())),
            headers: vec![Header { name: "h".into(), value: text("v") }, Header { name: "h".into(), value: None }],
            timestamp: Some(Time(5)),
        };
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let records = vec![record.clone(), NewRecord::default()];
            let batches = batches(records, &topic(1, 10_000), codec, 0, NOW).unwrap();
            let batch = Batch::split_from(&mut batches[0].bytes.clone()).unwrap();
            assert_eq!(batch.compression(), codec);
            assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (5, NOW));
            let read: Vec<Record> = batch.records(1000).unwrap().map(Result::unwrap).collect();
            assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]));
            assert_eq!(read[0].value.as_deref(), Some(&b"[1]"[..]));
            assert_eq!(read[0].headers[0].value.as_deref(), Some(&b"v"[..]));
            assert_eq!(read[0].headers[1].value, None);
            let empty = Record { timestamp_delta: NOW - 5, offset_delta: 1, ..Record::default() };
            assert_eq!(read[1], empty);
            let inspected = inspect(&batches[0].bytes, &StreamConfig::default(), Timestamp(NOW), 10_000);
            assert!(inspected.unwrap().is_some(), "a batch made here is one that is accepted");
        }
    }

    #[test]
    fn timestamps_may_be_as_far_apart_as_they_can() {
        let at = |time: i64| NewRecord { timestamp: Some(Time(time)), ..NewRecord::default() };
        let last = i64::MAX;
        for (times, greatest) in [([last, 0], last), ([0, last], last), ([0, 0], 0)] {
            let batches = batches(times.map(at).to_vec(), &topic(1, 10_000), Codec::None, 0, NOW).unwrap();
            let batch = Batch::split_from(&mut batches[0].bytes.clone()).unwrap();
            assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (times[0], greatest));
            let read: Vec<Record> = batch.records(1000).unwrap().map(Result::unwrap).collect();
            assert_eq!(read.iter().map(|record| times[0] + record.timestamp_delta).collect::<Vec<_>>(), times);
            // Refused or not, it is looked at without harm.
            let _ = inspect(&batches[0].bytes, &StreamConfig::default(), Timestamp(NOW), 10_000);
        }
        for before_1970 in ["-1", "-9223372036854775808", "\"-1\"", "9223372036854775808", "\"0000-01-01T00:00:00Z\""] {
            let body = format!(r#"{{"records":[{{"timestamp":{before_1970}}}]}}"#);
            assert_eq!(body::read::<NewRecords>(body.as_bytes()).unwrap_err().code, Code::InvalidBody, "{before_1970}");
        }
    }

    #[test]
    fn a_partition_that_is_not_there_is_named_and_nothing_is_made() {
        let records = vec![NewRecord::default(), NewRecord { partition: Some(9), ..NewRecord::default() }];
        let refused = batches(records, &topic(3, 1000), Codec::None, 0, NOW).unwrap_err();
        assert_eq!(refused, Refusal::new(Code::UnknownPartition, "records[1]: topic t has no partition 9"));
    }

    #[test]
    fn answers_are_in_the_order_of_the_records_and_only_all_failures_are_a_failure() {
        let batch =
            |partition, records: &[usize]| NewBatch { partition, bytes: Bytes::new(), records: records.to_vec() };
        let batches = || vec![batch(0, &[1, 3]), batch(1, &[0, 2])];
        let refused = |error| Err(super::refused(&error, "t", 0));
        let some = answer("t", 4, batches(), vec![Ok(10), refused(BrokerError::DiskFull)]).unwrap();
        let written: Written = serde_json::from_slice(&some.body).unwrap();
        assert_eq!(written.failed, 2);
        let offsets: Vec<_> = written.records.iter().map(|record| (record.partition, record.offset)).collect();
        assert_eq!(offsets, [(1, None), (0, Some(10)), (1, None), (0, Some(11))]);
        assert_eq!(written.records[0].error.as_ref().unwrap().code, Code::DiskFull);
        let none = answer("t", 4, batches(), vec![refused(BrokerError::TooLarge), refused(BrokerError::DiskFull)]);
        assert_eq!(none.unwrap_err().code, Code::DiskFull, "of the first record");
        let error = Box::new(BrokerError::InvalidRecord("no".into()));
        let one = refused(BrokerError::InRecord { nth: 1, error });
        let one = answer("t", 4, batches(), vec![one, Ok(0)]).unwrap();
        let written: Written = serde_json::from_slice(&one.body).unwrap();
        let Problem { code, message } = written.records[1].error.clone().unwrap();
        assert_eq!(code, Code::InvalidRecord);
        assert!(message.starts_with("records[3]: "), "{message}");
    }

    #[test]
    fn a_partition_is_tried_again_only_while_nothing_of_it_was_written() {
        let not_led = || Err(refused(&BrokerError::NotLeader(None), "t", 0));
        let outcomes = vec![not_led(), not_led(), Ok(5), not_led(), Err(refused(&BrokerError::Unknown, "t", 2))];
        let parts = by_part(Ok(outcomes), &[2, 2, 1]);
        let told: Vec<_> =
            parts.iter().map(|part| part.as_ref().map(Vec::len).map_err(|refusal| refusal.code)).collect();
        assert_eq!(told, [Err(Code::NotLeader), Ok(2), Ok(1)]);
        let none = by_part(Err(Refusal::new(Code::OutcomeUnknown, "?")), &[1, 1]);
        assert!(none.iter().all(|part| part.as_ref().unwrap_err().code == Code::OutcomeUnknown));
    }

    #[test]
    fn what_goes_to_another_node_is_what_comes() {
        let share = Share { topic: "t".into(), in_memory: true, batches: vec![(7, Bytes::from_static(b"batch"))] };
        assert_eq!(Share::read(&share.write()), Ok(share));
    }
}
