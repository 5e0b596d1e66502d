//! What a script prints.

use machine::catalog::{Endpoint, Node, Placement, Slots};
use machine::command::{Adoption, Command};
use machine::messaging::stream::Stream;
use machine::{Effect, Reply};
use model::config::{Durability, Settlement, StreamConfig, TimestampSource};
use model::{IntervalSet, NodeId, PieceDesc, ShardId, StreamId, TopicId, Wire};
use std::collections::BTreeMap;

pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Done => "done".into(),
        Reply::Appended { base, start } => format!("appended {base}, stream starts {start}"),
        Reply::Duplicate { base, start } => format!("duplicate of {base}, stream starts {start}"),
        Reply::Trimmed { start } => format!("stream starts {start}"),
        Reply::Topic(id) => format!("topic {}", topic(*id)),
        Reply::ProducerIds(first) => format!("producer ids from {first}"),
        Reply::Refused(refusal) => format!("refused: {refusal}"),
        Reply::Node(id) => format!("node {id}"),
    }
}

pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::StreamGrew(stream) => format!("effect: {stream} grew"),
        Effect::StreamShrank(stream) => format!("effect: {stream} shrank"),
        Effect::StreamMade(stream) => format!("effect: {stream} made"),
        Effect::StreamGone(stream) => format!("effect: {stream} gone"),
        Effect::OutboxFor(shard) => format!("effect: outbox for {shard}"),
        Effect::Delivered(shard) => format!("effect: delivered to {shard}"),
        Effect::CatalogChanged => "effect: catalog changed".into(),
    }
}

pub(crate) fn piece(piece: &PieceDesc) -> String {
    format!("{} {}..{} {}", piece.stream, piece.base, piece.end(), piece.epoch)
}

pub(crate) fn stream(stream: &Stream, settled: Option<&IntervalSet>) -> String {
    let Stream { config, start, end, epochs, epoch_term, max_timestamp, bytes_appended } = stream;
    let epochs: Vec<String> = epochs.iter().map(|(epoch, base)| format!("{epoch}{base}")).collect();
    let settled: Vec<String> =
        settled.into_iter().flat_map(IntervalSet::iter).map(|range| format!("{range:?}")).collect();
    let mut text = format!("{start}..{end}, epochs [{}] of term {epoch_term}", epochs.join(" "));
    text += &format!(", {bytes_appended} bytes, newest {}", max_timestamp.0);
    if !settled.is_empty() {
        text += &format!(", settled {}", settled.join(" "));
    }
    text + &self::config(config)
}

/// As a script would ask for it; nothing for the default.
fn config(config: &StreamConfig) -> String {
    let plain = StreamConfig::default();
    let mut text = String::new();
    if config.settlement == Settlement::Each {
        text += " kind=queue";
    }
    if config.dedup_window_millis > 0 {
        text += &format!(" dedup={}", config.dedup_window_millis);
    }
    if config.piece_bytes_max != plain.piece_bytes_max {
        text += &format!(" max={}", config.piece_bytes_max);
    }
    if config.durability == Durability::QuorumMemory {
        text += " durability=memory";
    }
    if config.timestamp_source == TimestampSource::Append {
        text += " stamp=append";
    }
    text
}

/// An outbox item.
pub(crate) fn item(bytes: &[u8]) -> String {
    let numbers = |streams: &[StreamId]| streams.iter().map(|stream| format!(" {}", stream.0)).collect::<String>();
    match Command::from_wire(bytes) {
        Ok(Command::CreateStreams { streams, config }) => {
            format!("create-streams{}{}", numbers(&streams), self::config(&config))
        }
        Ok(Command::ConfigureStreams { streams, config }) => {
            format!("configure-streams{}{}", numbers(&streams), self::config(&config))
        }
        Ok(Command::DeleteStreams { streams }) => format!("delete-streams{}", numbers(&streams)),
        Ok(Command::FenceStream { stream, to }) => format!("fence-stream {} to={}", stream.0, to.0),
        Ok(Command::AdoptStream { stream, adoption }) => {
            let Adoption { from, config, start, end, epochs, epoch, .. } = adoption;
            let epochs: Vec<String> = epochs.iter().map(|(epoch, base)| format!("{epoch}{base}")).collect();
            let range = format!("from={} start={} end={} epoch={}", from.0, start.0, end.0, epoch.0);
            format!("adopt-stream {} {range}{} [{}]", stream.0, self::config(&config), epochs.join(" "))
        }
        Ok(Command::OlderStarts { stream, from, start }) => {
            format!("older-starts {} from={} start={}", stream.0, from.0, start.0)
        }
        Ok(Command::StreamAdopted { stream, by, has_older }) => {
            format!("stream-adopted {} by={} older={has_older}", stream.0, by.0)
        }
        Ok(Command::OlderGone { stream }) => format!("older-gone {}", stream.0),
        Ok(Command::Trim { stream, to }) => format!("trim {} {}", stream.0, to.0),
        Ok(Command::ConfigureStream { stream, config }) => {
            format!("configure-stream {}{}", stream.0, self::config(&config))
        }
        other => format!("{other:?}"),
    }
}

/// In scripts all bytes of a topic's identity are the same.
pub(crate) fn topic(id: TopicId) -> String {
    id.0[0].to_string()
}

pub(crate) fn node(id: NodeId, node: &Node) -> String {
    let Node { incarnation, state, peer, endpoints, rack, version } = node;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let endpoint = |at: &Endpoint| format!("{} {}:{}", text(&at.protocol), text(&at.host), at.port);
    let endpoints: Vec<String> = [peer].into_iter().chain(endpoints).map(endpoint).collect();
    let rack = rack.as_ref().map(|rack| format!(", rack {}", text(rack))).unwrap_or_default();
    format!("{id}: {state:?}, incarnation {:x}, {}{rack}, version {version}", incarnation.0, endpoints.join(", "))
}

pub(crate) fn placement(shard: ShardId, placement: &Placement) -> String {
    let replicas: Vec<String> = placement.replicas.iter().map(NodeId::to_string).collect();
    format!("{shard}: {}, preferred {}, revision {}", replicas.join(" "), placement.preferred, placement.revision)
}

/// How many slots each shard has.
pub(crate) fn slots(slots: &Slots) -> String {
    let mut counts: BTreeMap<ShardId, u32> = BTreeMap::new();
    slots.runs().for_each(|(count, shard)| *counts.entry(shard).or_default() += count);
    let counts: Vec<String> = counts.into_iter().map(|(shard, count)| format!("{shard} has {count}")).collect();
    format!("slots: {}, revision {}", counts.join(", "), slots.revision)
}

/// A checkpoint's key. That its first byte tells the tables apart is on disk: these never change.
pub(crate) fn key(key: &[u8]) -> String {
    let (tag, rest) = (key[0], &key[1..]);
    match tag {
        1 => "clock".into(),
        2 => format!("outbox item {}", pair::<u32, u64>(rest)),
        3 => format!("outbox next {}", one::<u32>(rest)),
        5 => format!("inbox {}", one::<u32>(rest)),
        16 => format!("stream {}", one::<u64>(rest)),
        17 => format!("producer {}", pair::<u64, u64>(rest)),
        18 => format!("settled {}", one::<u64>(rest)),
        19 => format!("message id {}", pair::<u64, String>(rest)),
        20 => format!("group {}", one::<String>(rest)),
        21 => format!("position {}", pair::<String, u64>(rest)),
        22 => format!("gone {}", one::<u64>(rest)),
        24 => format!("moved {}", one::<u64>(rest)),
        25 => format!("older {}", one::<u64>(rest)),
        64 => format!("topic {}", rest[0]),
        65 => format!("shard {}", one::<u32>(rest)),
        66 => "counters".into(),
        68 => format!("node {}", one::<u64>(rest)),
        69 => format!("placement {}", one::<u32>(rest)),
        70 => "slots".into(),
        71 => format!("move {}", one::<u64>(rest)),
        73 => format!("older {}", one::<u64>(rest)),
        72 => "given up".into(),
        other => format!("table {other}?"),
    }
}

fn one<T: Wire + ToString>(bytes: &[u8]) -> String {
    T::from_wire(bytes).map_or_else(|error| error.to_string(), |value| value.to_string())
}

fn pair<A: Wire + ToString, B: Wire + ToString>(bytes: &[u8]) -> String {
    let shown = |(a, b): (A, B)| format!("{} {}", a.to_string(), b.to_string());
    <(A, B)>::from_wire(bytes).map_or_else(|error| error.to_string(), shown)
}
