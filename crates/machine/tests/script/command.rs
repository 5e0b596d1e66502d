//! Commands as a script spells them.
//!
//! ```text
//! append-pieces first=0 pieces=1 [producer=9 epoch=0 seq=0 last=0] [id=message]
//! recall 1 [producer=9 epoch=0 seq=0 last=0] [id=message]
//! create-stream 1 [dedup=millis] [kind=queue] [max=bytes] [durability=memory] [stamp=append]
//! configure-stream 1 [the same]
//! delete-stream 1
//! create-streams 1 2 [as create-stream], configure-streams 1 2 [the same], delete-streams 1 2
//! trim 1 10
//! settle 1 3..5 7..8
//! tick
//! save-group g text
//! commit-offsets g 1=5 2=7 [metadata=text] [leader-epoch=3]
//! delete-group g
//! add-shards 1 2
//! create-topic orders partitions=3 id=7 [as create-stream]
//! configure-topic 7 [as create-stream]
//! delete-topic 7
//! allocate-producer-ids 10
//! allocate-node incarnation=7 [wanted=3] [host=h] [port=9091] [kafka=9092] [rack=west] [version=2]
//! update-node 1 incarnation=7 [the same]
//! set-node-state 1 draining
//! place-shard 1 on=1,2,3 preferred=1 [revision=0]
//! assign-slots 1 first=0 count=10 [revision=0]
//! move-stream 7 partition=0 to=2, stream-adopted 1 by=2 [older=true], older-gone 1
//! fence-stream 1 to=2, older-starts 1 from=2 start=5
//! adopt-stream 1 from=2 start=3 end=5 epoch=1 [as create-stream]
//! adopt-producers 1 producer=9 epoch=0 seq=0 last=0 base=4, adopt-ids 1 id=message base=4 until=9
//! give-up-shard 1 [revision=1]
//! deliver from=0 item=4 <command>
//! delivered to=1 4 5
//! barrier 1
//! bytes ff 01
//! ```

use super::line::{Line, parse};
use bytes::Bytes;
use machine::Command;
use machine::catalog::{Endpoint, NodeState};
use machine::command::{AdoptedId, AdoptedProducer, Adoption, CommittedOffset, NewTopic, ProducerBatch};
use machine::messaging::dedup::Seen;
use machine::messaging::producer::{Producer, Remembered};
use model::config::{Durability, Settlement, StreamConfig, TimestampSource};
use model::wire::{Input, Wire, WireError};
use model::{Hlc, Incarnation, LeaderEpoch, Name, NodeId, Offset, ProducerId, ShardId, StreamId, Timestamp, TopicId};

/// A command's bytes, which need not be a command.
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Wire for Raw {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(_input: &mut Input<'_>) -> Result<Self, WireError> {
        Err(WireError::Invalid("only ever written"))
    }
}

pub(crate) fn read(mut line: Line<'_>) -> Result<Raw, String> {
    let verb = line.word()?;
    let command = match verb {
        "bytes" => {
            let bytes =
                line.rest().into_iter().map(|hex| u8::from_str_radix(hex, 16).map_err(|e| format!("{hex}: {e}")));
            return Ok(Raw(bytes.collect::<Result<_, _>>()?));
        }
        "append-pieces" => Command::Append {
            first: line.or("first", 0)?,
            pieces: line.or("pieces", 1)?,
            producer: numbering(&mut line)?,
            message_id: message_id(&mut line),
        },
        "recall" => Command::Recall {
            stream: stream(&mut line)?,
            producer: numbering(&mut line)?,
            message_id: message_id(&mut line),
        },
        "create-stream" => Command::CreateStream { stream: stream(&mut line)?, config: config(&mut line)? },
        "configure-stream" => Command::ConfigureStream { stream: stream(&mut line)?, config: config(&mut line)? },
        "delete-stream" => Command::DeleteStream { stream: stream(&mut line)? },
        "create-streams" => {
            let config = config(&mut line)?;
            Command::CreateStreams { streams: streams(line.rest())?, config }
        }
        "configure-streams" => {
            let config = config(&mut line)?;
            Command::ConfigureStreams { streams: streams(line.rest())?, config }
        }
        "delete-streams" => Command::DeleteStreams { streams: streams(line.rest())? },
        "trim" => Command::Trim { stream: stream(&mut line)?, to: Offset(line.value()?) },
        "settle" => {
            let stream = stream(&mut line)?;
            Command::Settle { stream, ranges: line.rest().into_iter().map(range).collect::<Result<_, _>>()? }
        }
        "tick" => Command::Tick,
        "save-group" => {
            Command::SaveGroup { group: line.word()?.into(), state: Bytes::copy_from_slice(line.word()?.as_bytes()) }
        }
        "commit-offsets" => {
            let group = line.word()?.to_owned();
            let metadata = line.named("metadata").unwrap_or_default();
            let leader_epoch = line.or("leader-epoch", -1)?;
            let position = |word: &str| {
                let (stream, offset) = word.split_once('=').ok_or("a position is stream=offset")?;
                let (stream, offset) = (StreamId(parse(stream)?), Offset(parse(offset)?));
                Ok::<_, String>(CommittedOffset { stream, offset, leader_epoch, metadata: metadata.into() })
            };
            Command::CommitOffsets { group, offsets: line.rest().into_iter().map(position).collect::<Result<_, _>>()? }
        }
        "delete-offsets" => {
            let (group, until) = (line.word()?.to_owned(), line.maybe("until")?);
            let committed_until = until.map(Timestamp);
            Command::DeleteOffsets { group, streams: streams(line.rest())?, committed_until }
        }
        "delete-group" => Command::DeleteGroup { group: line.word()?.into() },
        "add-shards" => {
            let shards = line.rest().into_iter().map(|word| parse(word).map(ShardId));
            Command::AddShards { shards: shards.collect::<Result<_, _>>()? }
        }
        "create-topic" => {
            let name = Name::new(line.word()?).map_err(|error| error.to_string())?;
            let id = topic(line.named("id").ok_or("create-topic needs id=")?)?;
            let partitions = line.or("partitions", 1)?;
            let config = config(&mut line)?;
            Command::CreateTopic { topic: NewTopic { name, id, partitions, config, settings: settings(line.rest())? } }
        }
        "configure-topic" => {
            let (id, revision) = (topic(line.word()?)?, line.or("revision", 0)?);
            let config = config(&mut line)?;
            Command::ConfigureTopic { id, revision, config, settings: settings(line.rest())? }
        }
        "add-partitions" => Command::AddPartitions { id: topic(line.word()?)?, partitions: line.value()? },
        "delete-topic" => Command::DeleteTopic { id: topic(line.word()?)? },
        "allocate-producer-ids" => Command::AllocateProducerIds { count: line.value()? },
        "allocate-node" => {
            let incarnation = Incarnation(line.maybe("incarnation")?.ok_or("allocate-node needs incarnation=")?);
            let wanted = line.maybe("wanted")?.map(NodeId);
            let (peer, endpoints, rack, version) = about_node(&mut line)?;
            Command::AllocateNode { incarnation, wanted, peer, endpoints, rack, version }
        }
        "update-node" => {
            let node = NodeId(line.value()?);
            let incarnation = Incarnation(line.maybe("incarnation")?.ok_or("update-node needs incarnation=")?);
            let (peer, endpoints, rack, version) = about_node(&mut line)?;
            Command::UpdateNode { node, incarnation, peer, endpoints, rack, version }
        }
        "set-node-state" => Command::SetNodeState {
            node: NodeId(line.value()?),
            state: match line.word()? {
                "active" => NodeState::Active,
                "draining" => NodeState::Draining,
                "removed" => NodeState::Removed,
                other => return Err(format!("no such state: {other}")),
            },
        },
        "place-shard" => {
            let (shard, revision) = (ShardId(line.value()?), line.or("revision", 0)?);
            let preferred = NodeId(line.or("preferred", 0)?);
            let nodes = line.named("on").ok_or("place-shard needs on=")?;
            let nodes = nodes.split(',').filter(|node| !node.is_empty()).map(|node| parse(node).map(NodeId));
            Command::PlaceShard { shard, revision, replicas: nodes.collect::<Result<_, _>>()?, preferred }
        }
        "assign-slots" => Command::AssignSlots {
            shard: ShardId(line.value()?),
            first: line.or("first", 0)?,
            count: line.or("count", 0)?,
            revision: line.or("revision", 0)?,
        },
        "move-stream" => {
            let (id, partition) = (topic(line.word()?)?, line.or("partition", 0)?);
            Command::MoveStream { id, partition, to: ShardId(line.or("to", 0)?) }
        }
        "stream-adopted" => {
            let (stream, by) = (stream(&mut line)?, ShardId(line.or("by", 0)?));
            Command::StreamAdopted { stream, by, has_older: line.or("older", false)? }
        }
        "older-gone" => Command::OlderGone { stream: stream(&mut line)? },
        "fence-stream" => Command::FenceStream { stream: stream(&mut line)?, to: ShardId(line.or("to", 0)?) },
        "older-starts" => {
            let (stream, from) = (stream(&mut line)?, ShardId(line.or("from", 0)?));
            Command::OlderStarts { stream, from, start: Offset(line.or("start", 0)?) }
        }
        "adopt-stream" => {
            let stream = stream(&mut line)?;
            let adoption = Adoption {
                from: ShardId(line.or("from", 0)?),
                start: Offset(line.or("start", 0)?),
                end: Offset(line.or("end", 0)?),
                epochs: Vec::new(),
                epoch: LeaderEpoch(line.or("epoch", 0)?),
                max_timestamp: Timestamp(line.or("newest", -1)?),
                bytes_appended: line.or("appended", 0)?,
                config: config(&mut line)?,
            };
            Command::AdoptStream { stream, adoption }
        }
        "adopt-producers" => {
            let stream = stream(&mut line)?;
            let of = numbering(&mut line)?.ok_or("adopt-producers needs producer=")?;
            let ProducerBatch { producer: id, epoch, first_sequence, last_sequence } = of;
            let batches = vec![Remembered { first_sequence, last_sequence, base: Offset(line.or("base", 0)?) }];
            let known = Producer { epoch, last_seen: Hlc(0), batches };
            Command::AdoptProducers { stream, producers: vec![AdoptedProducer { id, known }] }
        }
        "adopt-ids" => {
            let stream = stream(&mut line)?;
            let id = message_id(&mut line).ok_or("adopt-ids needs id=")?;
            let seen = Seen { base: Offset(line.or("base", 0)?), until: Timestamp(line.or("until", 0)?) };
            Command::AdoptIds { stream, ids: vec![AdoptedId { id, seen }] }
        }
        "give-up-shard" => Command::GiveUpShard { shard: ShardId(line.value()?), revision: line.or("revision", 1)? },
        "deliver" => {
            let from = ShardId(line.or("from", 0)?);
            let item = line.maybe("item")?.ok_or("deliver needs item=")?;
            let Raw(command) = read(Line::new(&line.rest().join(" ")))?;
            Command::Deliver { from, item, command: command.into() }
        }
        "delivered" => {
            let to = ShardId(line.maybe("to")?.ok_or("delivered needs to=")?);
            Command::Delivered { to, items: line.rest().into_iter().map(parse).collect::<Result<_, _>>()? }
        }
        "barrier" => Command::Barrier { version: line.value()? },
        other => return Err(format!("no such command: {other}")),
    };
    line.end()?;
    Ok(Raw(command.to_wire()))
}

pub(crate) fn stream(line: &mut Line<'_>) -> Result<StreamId, String> {
    line.value().map(StreamId)
}

fn streams(words: Vec<&str>) -> Result<Vec<StreamId>, String> {
    words.into_iter().map(|word| parse(word).map(StreamId)).collect()
}

fn settings(words: Vec<&str>) -> Result<Vec<(String, String)>, String> {
    let setting = |word: &str| {
        let (name, value) = word.split_once(':').ok_or("a setting is name:value")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.into_iter().map(setting).collect()
}

pub(crate) fn message_id(line: &mut Line<'_>) -> Option<Bytes> {
    line.named("id").map(|id| Bytes::copy_from_slice(id.as_bytes()))
}

/// Topics have 16 bytes of identity; in scripts all of them are the same.
fn topic(word: &str) -> Result<TopicId, String> {
    parse(word).map(|byte| TopicId([byte; 16]))
}

fn numbering(line: &mut Line<'_>) -> Result<Option<ProducerBatch>, String> {
    let Some(producer) = line.maybe("producer")? else { return Ok(None) };
    let (epoch, first_sequence) = (line.or("epoch", 0)?, line.or("seq", 0)?);
    let last_sequence = line.or("last", first_sequence)?;
    Ok(Some(ProducerBatch { producer: ProducerId(producer), epoch, first_sequence, last_sequence }))
}

fn config(line: &mut Line<'_>) -> Result<StreamConfig, String> {
    let plain = StreamConfig::default();
    Ok(StreamConfig {
        durability: durability(line)?.unwrap_or_default(),
        settlement: match line.named("kind") {
            None | Some("log") => Settlement::Position,
            Some("queue") => Settlement::Each,
            Some(other) => return Err(format!("no such kind: {other}")),
        },
        piece_bytes_max: line.or("max", plain.piece_bytes_max)?,
        timestamp_source: match line.named("stamp") {
            None | Some("create") => TimestampSource::Create,
            Some("append") => TimestampSource::Append,
            Some(other) => return Err(format!("no such stamp: {other}")),
        },
        dedup_window_millis: line.or("dedup", 0)?,
        ..plain
    })
}

pub(crate) fn durability(line: &mut Line<'_>) -> Result<Option<Durability>, String> {
    Ok(match line.named("durability") {
        None => None,
        Some("fsync") => Some(Durability::QuorumFsync),
        Some("memory") => Some(Durability::QuorumMemory),
        Some(other) => return Err(format!("no such durability: {other}")),
    })
}

/// What a node says of itself: where other nodes and clients reach it, its rack, the behaviour it knows.
fn about_node(line: &mut Line<'_>) -> Result<(Endpoint, Vec<Endpoint>, Option<Bytes>, u16), String> {
    let host = Bytes::copy_from_slice(line.named("host").unwrap_or("h").as_bytes());
    let endpoint = |protocol: &'static str, port| Endpoint { protocol: protocol.into(), host: host.clone(), port };
    let peer = endpoint("peer", line.or("port", 9091)?);
    let endpoints = line.maybe("kafka")?.map(|port| endpoint("kafka", port)).into_iter().collect();
    let rack = line.named("rack").map(|rack| Bytes::copy_from_slice(rack.as_bytes()));
    Ok((peer, endpoints, rack, line.or("version", 2)?))
}

fn range(word: &str) -> Result<(u64, u64), String> {
    let (from, to) = word.split_once("..").ok_or("a range is from..to")?;
    Ok((parse(from)?, parse(to)?))
}
