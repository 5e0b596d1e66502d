//! A partition goes on in another shard, while it is written and read and nodes come and go.

use crate::nodes::{append, config, create, describe, partition, start, stop, until, wait_for_voters};
use broker::cluster::ClusterConfig;
use broker::request::{
    AppendPart, EpochQuery, FindRecord, OffsetQuery, OffsetSpec, ReadQuery, ReadRange, Search, TrimPart,
};
use broker::{Broker, BrokerError, Chunk, Config, Reply, Request};
use bytes::Bytes;
use model::checksum::crc32c;
use model::piece::{BATCH_HEAD_BYTES, LENGTH_END, PREFIX_BYTES};
use model::{LeaderEpoch, Offset, ShardId, Timestamp};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

/// A batch of one record of a producer that numbers them. Its timestamp is its number.
fn batch(producer: u64, number: i32) -> Bytes {
    let mut out = vec![0; BATCH_HEAD_BYTES + 12];
    let length = (out.len() - LENGTH_END) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[16] = 2;
    out[27..35].copy_from_slice(&i64::from(number).to_be_bytes());
    out[35..43].copy_from_slice(&i64::from(number).to_be_bytes());
    out[43..51].copy_from_slice(&(producer as i64).to_be_bytes());
    out[51..53].copy_from_slice(&0i16.to_be_bytes());
    out[53..57].copy_from_slice(&number.to_be_bytes());
    out[57..61].copy_from_slice(&1i32.to_be_bytes());
    let crc = crc32c(&out[PREFIX_BYTES..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(out)
}

/// The producer and the number of a batch.
fn numbering(batch: &[u8]) -> (u64, i32) {
    let number = i32::from_be_bytes(batch[53..57].try_into().unwrap());
    (i64::from_be_bytes(batch[43..51].try_into().unwrap()) as u64, number)
}

/// Sends a batch to one broker.
async fn send(broker: &Broker, topic: &str, producer: u64, number: i32) -> Result<Offset, BrokerError> {
    let part = AppendPart {
        to: partition(topic, 0),
        bytes: batch(producer, number),
        durability: None,
        inspect: |bytes, _, _, _| Ok(Some(bytes.clone())),
    };
    let Reply::Appended(mut appended) = broker.call(Request::Append(vec![part])).await.await else { panic!() };
    appended.remove(0).map(|appended| appended.base).map_err(|refusal| refusal.error)
}

/// Sends a batch again and again, to whomever of `brokers`, until it is acknowledged.
async fn produce(brokers: &[&Broker], topic: &str, producer: u64, number: i32) -> Offset {
    until("a batch is acknowledged", async || {
        for broker in brokers {
            match send(broker, topic, producer, number).await {
                Ok(base) => return Some(base),
                Err(BrokerError::NotLeader(_) | BrokerError::Unknown | BrokerError::Unavailable) => {}
                Err(error) => panic!("a producer would give up: {error}"),
            }
        }
        None
    })
    .await
}

fn pieces(chunks: Vec<Chunk>) -> Vec<(u64, (u64, i32))> {
    let slices = chunks.into_iter().map(|chunk| chunk.into_slice().unwrap());
    let of = |slice: broker::Slice| {
        let pieces: Vec<_> = model::piece::walk(&slice.bytes).map(Result::unwrap).collect();
        let read = |(head, range): (model::PieceHead, std::ops::Range<usize>)| {
            (head.base.0, numbering(&slice.bytes.slice(range)))
        };
        pieces.into_iter().map(read).collect::<Vec<_>>()
    };
    slices.flat_map(of).collect()
}

fn range_from(topic: &str, from: u64) -> ReadRange {
    ReadRange { from: partition(topic, 0), offset: Offset(from), max_bytes: 400, epoch: None, last_epoch: None }
}

/// Reads on from an offset at one broker.
async fn fetch(
    broker: &Broker,
    topic: &str,
    from: u64,
    any_replica: bool,
    max_wait: Duration,
) -> Result<Vec<(u64, (u64, i32))>, BrokerError> {
    let (parts, max_bytes) = (vec![range_from(topic, from)], 400);
    let query = ReadQuery { parts, min_bytes: 1, max_wait, max_bytes, in_files: false, any_replica };
    let Reply::Read { mut parts, .. } = broker.call(Request::Read(query)).await.await else { panic!() };
    parts.remove(0).map(|part| pieces(part.chunks))
}

/// All records from `from` up to `end`, read as a consumer does it, from whoever answers.
async fn consume(brokers: &[&Broker], topic: &str, from: u64, end: u64) -> Vec<(u64, (u64, i32))> {
    let mut read: Vec<(u64, (u64, i32))> = Vec::new();
    while read.last().map_or(from, |(last, _)| last + 1) < end {
        let next = read.last().map_or(from, |(last, _)| last + 1);
        let some = until("a reader goes on", async || {
            for broker in brokers {
                match fetch(broker, topic, next, false, Duration::from_millis(20)).await {
                    Ok(some) if some.is_empty() => {}
                    Ok(some) => return Some(some),
                    Err(BrokerError::NotLeader(_) | BrokerError::OffsetNotAvailable | BrokerError::Unavailable) => {}
                    Err(error) => panic!("a reader at {next} would give up: {error}"),
                }
            }
            None
        })
        .await;
        read.extend(some);
    }
    read
}

async fn shard_of(broker: &Broker, topic: &str) -> (ShardId, Option<ShardId>) {
    let partition = describe(broker, topic).await.unwrap().partitions.remove(0);
    (partition.shard.unwrap(), partition.older_shard)
}

/// Moves the partition to another shard than the one that it is in, as soon as it can.
async fn move_on(brokers: &[&Broker], topic: &str, shards: u32) -> ShardId {
    let (from, _) = shard_of(brokers[0], topic).await;
    let to = ShardId(from.0 % shards + 1);
    until("the partition moves", async || {
        for broker in brokers {
            match broker.move_partition(&partition(topic, 0), to).await {
                Ok(()) => return Some(()),
                Err(BrokerError::NoLeader(_) | BrokerError::Unknown | BrokerError::Unavailable) => {}
                // Until the behaviour is in force that has moves.
                Err(BrokerError::NotAllowed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        None
    })
    .await;
    to
}

async fn trim(brokers: &[&Broker], topic: &str, to: u64) {
    until("records are removed", async || {
        for broker in brokers {
            let part = TrimPart { partition: partition(topic, 0), to: Some(Offset(to)) };
            let Reply::Trimmed(mut trimmed) = broker.call(Request::Trim(vec![part])).await.await else { panic!() };
            if trimmed.remove(0).is_ok_and(|start| start == Offset(to)) {
                return Some(());
            }
        }
        None
    })
    .await;
}

async fn offset(brokers: &[&Broker], topic: &str, which: OffsetSpec) -> (Option<u64>, Option<LeaderEpoch>) {
    let find: FindRecord = |piece, time, _| {
        let (_, number) = numbering(piece);
        if i64::from(number) >= time.0 {
            Search::Found(Offset(base(piece)), Timestamp(number.into()))
        } else {
            Search::Nothing
        }
    };
    until("an offset is found", async || {
        for broker in brokers {
            let query = OffsetQuery { partition: partition(topic, 0), which, find, epoch: None };
            let Reply::Offsets(mut found) = broker.call(Request::Offsets(vec![query])).await.await else { panic!() };
            if let Ok(found) = found.remove(0) {
                return Some((found.offset.map(|offset| offset.0), found.epoch));
            }
        }
        None
    })
    .await
}

fn base(batch: &[u8]) -> u64 {
    u64::from_be_bytes(batch[0..8].try_into().unwrap())
}

/// What a list of records has to be: no gap, and of each producer every number once and in order.
fn check(records: &[(u64, (u64, i32))], from: u64, producers: std::ops::Range<u64>) {
    assert!(records.iter().map(|(offset, _)| *offset).eq(from..from + records.len() as u64), "without a gap");
    for producer in producers {
        let numbers = records.iter().filter(|(_, (of, _))| *of == producer).map(|(_, (_, number))| *number);
        let numbers: Vec<i32> = numbers.collect();
        let first = numbers.first().copied().unwrap_or(0);
        assert!(numbers.iter().copied().eq(first..first + numbers.len() as i32), "once and in order: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_goes_on_in_another_shard() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(folder.path(), Config { shards: 2, ..config(None) }).await.unwrap();
    create(&broker, "t", 1).await.unwrap();
    let only = [&broker];
    for number in 0..10 {
        assert_eq!(produce(&only, "t", 7, number).await, Offset(number as u64));
    }
    let (from, none) = shard_of(&broker, "t").await;
    assert_eq!(none, None);
    let (_, epoch_before) = offset(&only, "t", OffsetSpec::Latest).await;
    assert_eq!(broker.move_partition(&partition("t", 0), ShardId(9)).await, Err(BrokerError::UnknownShard));
    assert_eq!(broker.move_partition(&partition("t", 1), ShardId(1)).await, Err(BrokerError::UnknownPartition));
    // A reader that waits at the end hears of it.
    let waiting = fetch(&broker, "t", 10, false, Duration::from_secs(60));
    let (waited, to) = tokio::join!(waiting, move_on(&only, "t", 2));
    assert!(matches!(waited, Err(BrokerError::NotLeader(_))) || waited == Ok(Vec::new()), "{waited:?}");
    assert_eq!(shard_of(&broker, "t").await, (to, Some(from)));
    assert_eq!(broker.move_partition(&partition("t", 0), to).await, Ok(()), "it is there");
    assert_eq!(broker.move_partition(&partition("t", 0), from).await, Err(BrokerError::Moving));

    // What was sent before is known, and the numbers go on.
    assert_eq!(send(&broker, "t", 7, 9).await, Ok(Offset(9)));
    assert_eq!(send(&broker, "t", 7, 11).await, Err(BrokerError::OutOfOrderSequence));
    for number in 10..20 {
        assert_eq!(send(&broker, "t", 7, number).await, Ok(Offset(number as u64)));
    }
    let all: Vec<_> = (0..20).map(|number| (number, (7, number as i32))).collect();
    assert_eq!(consume(&only, "t", 0, 20).await, all);
    // Whoever asks for more than is left of the older records does not wait for what is there already.
    let (parts, max_wait) = (vec![range_from("t", 8)], Duration::from_secs(60));
    let query = ReadQuery { parts, min_bytes: 400, max_wait, max_bytes: 400, in_files: false, any_replica: false };
    let Reply::Read { mut parts, waited } = broker.call(Request::Read(query)).await.await else { panic!() };
    assert_eq!((pieces(parts.remove(0).unwrap().chunks), waited), (all[8..10].to_vec(), Duration::ZERO));
    assert_eq!(offset(&only, "t", OffsetSpec::Earliest).await, (Some(0), Some(LeaderEpoch(0))));
    let (end, epoch) = offset(&only, "t", OffsetSpec::Latest).await;
    assert_eq!(end, Some(20));
    assert!(epoch > epoch_before, "it has another leader");
    for number in [0, 9, 10, 19] {
        let (found, _) = offset(&only, "t", OffsetSpec::AtOrAfter(Timestamp(number))).await;
        assert_eq!(found, Some(number as u64), "older records are found, too");
    }
    assert_eq!(offset(&only, "t", OffsetSpec::AtOrAfter(Timestamp(20))).await.0, None);
    let query = EpochQuery { partition: partition("t", 0), current: None, epoch: 0 };
    let Reply::EpochEnds(ends) = broker.call(Request::EpochEnds(vec![query])).await.await else { panic!() };
    assert_eq!(ends[0].as_ref().unwrap().end, Some(Offset(10)), "of before it moved");

    // After a restart it is all the same.
    stop(broker, folder.path()).await;
    let broker = start(folder.path(), Config { shards: 2, ..config(None) }).await.unwrap();
    let only = [&broker];
    assert_eq!(consume(&only, "t", 0, 20).await, all);
    trim(&only, "t", 4).await;
    assert_eq!(fetch(&broker, "t", 3, false, Duration::ZERO).await, Err(BrokerError::OffsetOutOfRange));
    assert_eq!(consume(&only, "t", 4, 20).await, all[4..]);
    trim(&only, "t", 12).await;
    assert_eq!(consume(&only, "t", 12, 20).await, all[12..]);
    until("the older records are forgotten", async || (shard_of(&broker, "t").await == (to, None)).then_some(())).await;
    // Then it may go back.
    assert_eq!(move_on(&only, "t", 2).await, from);
    assert_eq!(send(&broker, "t", 7, 20).await, Ok(Offset(20)));
    assert_eq!(consume(&only, "t", 12, 21).await.len(), 9);
    stop(broker, folder.path()).await;
}

/// Nodes that have one replica of each shard: who leads one has nothing of the others.
fn sparse(join: Option<std::net::SocketAddr>) -> Config {
    let Config { cluster, .. } = config(join);
    Config { shards: 2, cluster: ClusterConfig { replication: 1, ..cluster }, ..config(join) }
}

/// Two such nodes, once each has one of the two shards.
async fn apart(folders: &[tempfile::TempDir; 2]) -> [(Broker, ShardId); 2] {
    let first = start(folders[0].path(), sparse(None)).await.unwrap();
    let second = start(folders[1].path(), sparse(first.peer_address())).await.unwrap();
    let has = |broker: &Broker| -> Vec<ShardId> {
        let shards = broker.replicas().into_iter().filter(|replica| replica.leader == Some(broker.node()));
        shards.map(|replica| replica.shard).filter(|shard| *shard != ShardId::CATALOG).collect()
    };
    let (one, other) = until("each has a shard", async || {
        let (one, other) = (has(&first), has(&second));
        let apart = one.len() == 1 && other.len() == 1 && one != other && first.replicas().len() == 2;
        apart.then(|| (one[0], other[0]))
    })
    .await;
    [(first, one), (second, other)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_begins_only_where_both_shards_can_do_their_part() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [(first, here), (second, there)] = apart(&folders).await;
    create(&first, "t", 2).await.unwrap();
    let shards = async || -> Vec<(ShardId, Option<ShardId>)> {
        let told = describe(&first, "t").await.unwrap().partitions;
        told.iter().map(|partition| (partition.shard.unwrap(), partition.moving_to)).collect()
    };
    let before = shards().await;
    let number = |shard| before.iter().position(|known| *known == (shard, None)).unwrap() as u32;
    let (ours, theirs) = (partition("t", number(here)), partition("t", number(there)));
    let seed = first.peer_address();
    stop(second, folders[1].path()).await;
    assert_eq!(first.move_partition(&ours, there).await, Err(BrokerError::NoLeader(there)));
    assert_eq!(first.move_partition(&theirs, here).await, Err(BrokerError::NoLeader(there)));
    assert_eq!(shards().await, before, "nothing was begun");
    append(&[&first], "t", number(here), "so it is written").await;

    let second = start(folders[1].path(), sparse(seed)).await.unwrap();
    until("it moves", async || first.move_partition(&ours, there).await.ok()).await;
    assert_eq!(shards().await, [(there, None); 2]);
    for (broker, folder) in [first, second].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_records_are_read_from_another_node() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [(first, _), (second, _)] = apart(&folders).await;
    let both = [&first, &second];
    create(&first, "t", 1).await.unwrap();
    for number in 0..50 {
        produce(&both, "t", 7, number).await;
    }
    move_on(&both, "t", 2).await;
    for number in 50..60 {
        assert_eq!(produce(&both, "t", 7, number).await, Offset(number as u64));
    }
    let all: Vec<_> = (0..60).map(|number| (number, (7, number as i32))).collect();
    assert_eq!(consume(&both, "t", 0, 60).await, all);
    for number in [0, 30, 55] {
        let (found, _) = offset(&both, "t", OffsetSpec::AtOrAfter(Timestamp(number))).await;
        assert_eq!(found, Some(number as u64));
    }
    trim(&both, "t", 7).await;
    assert_eq!(offset(&both, "t", OffsetSpec::Earliest).await.0, Some(7));
    assert_eq!(consume(&both, "t", 7, 60).await, all[7..]);
    for (broker, folder) in [first, second].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_repeated_while_it_moves_and_nodes_stop() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = start(folders[0].path(), Config { shards: 3, ..config(None) }).await.unwrap();
    let seed = first.peer_address();
    let second = start(folders[1].path(), config(seed)).await.unwrap();
    let third = start(folders[2].path(), config(seed)).await.unwrap();
    wait_for_voters(&[&first, &second, &third], &[1, 2, 3]).await;
    create(&first, "t", 1).await.unwrap();
    let (stopping, all) = (AtomicBool::new(false), [first.clone(), second.clone(), third.clone()]);
    let producer = |id: u64| {
        let (stopping, all) = (&stopping, &all);
        async move {
            let brokers: Vec<&Broker> = all.iter().collect();
            let mut acknowledged = Vec::new();
            while !stopping.load(Relaxed) {
                let number = acknowledged.len() as i32;
                acknowledged.push(produce(&brokers, "t", id, number).await.0);
            }
            acknowledged
        }
    };
    let seen = AtomicU64::new(0);
    let reader = async {
        let brokers: Vec<&Broker> = all.iter().collect();
        let mut read = Vec::new();
        while !stopping.load(Relaxed) {
            let next = read.len() as u64;
            read.extend(consume(&brokers, "t", next, next + 1).await);
            seen.store(read.len() as u64, Relaxed);
        }
        read
    };
    let moves = async {
        let brokers: Vec<&Broker> = all.iter().collect();
        for round in 0..3 {
            let goal = seen.load(Relaxed) + 50;
            until("it is written and read", async || (seen.load(Relaxed) >= goal).then_some(())).await;
            let leader = describe(&first, "t").await.unwrap().partitions[0].leader;
            let victim = brokers[1..].iter().find(|broker| Some(broker.node()) == leader).unwrap_or(&brokers[2]);
            match round {
                // Whoever leads it gives that away meanwhile.
                0 => drop(tokio::join!(move_on(&brokers, "t", 3), victim.hand_over())),
                // Or is gone.
                1 => drop(tokio::join!(move_on(&brokers, "t", 3), victim.stop())),
                _ => drop(move_on(&brokers, "t", 3).await),
            }
            assert!(shard_of(&first, "t").await.1.is_some(), "there are older records");
            // They go once the reader has them, and it may move again.
            let fence = offset(&brokers, "t", OffsetSpec::Latest).await.0.unwrap();
            until("the reader is beyond", async || (seen.load(Relaxed) >= fence).then_some(())).await;
            trim(&brokers, "t", fence).await;
            until("they are forgotten", async || shard_of(&first, "t").await.1.is_none().then_some(())).await;
        }
        stopping.store(true, Relaxed);
    };
    let (a, b, c, read, ()) = tokio::join!(producer(1), producer(2), producer(3), reader, moves);
    let brokers: Vec<&Broker> = all.iter().collect();
    let end = offset(&brokers, "t", OffsetSpec::Latest).await.0.unwrap();
    let mut records = read;
    records.extend(consume(&brokers, "t", records.len() as u64, end).await);
    check(&records, 0, 1..4);
    for (id, acknowledged) in [(1, a), (2, b), (3, c)] {
        for (number, at) in acknowledged.iter().enumerate() {
            assert_eq!(records[*at as usize], (*at, (id, number as i32)), "what is acknowledged is there");
        }
    }
    drop(all);
    for (broker, folder) in [first, second, third].into_iter().zip(&folders) {
        stop(broker, folder.path()).await;
    }
}
