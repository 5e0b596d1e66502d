//! Which stream leaves a hot shard, and for which one. Pure: from what the shards' leaders have measured.

use model::config::{Cleanup, Settlement};
use model::{ShardId, StreamConfig, StreamId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A shard that takes fewer bytes a second has no need to shed anything.
pub(super) const HOT_BYTES_A_SECOND: u64 = 4 << 20;
/// A shard is hot that takes so many times what the coolest takes.
pub(super) const HOT_FACTOR: u64 = 2;
/// A stream that takes less than this part of the difference between two shards is not worth the move.
pub(super) const CRUMB: u64 = 16;

/// What shards and their streams take, in bytes a second, and keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Each shard that was measured.
    pub shards: BTreeMap<ShardId, u64>,
    /// Those of their streams that take most.
    pub streams: Vec<StreamLoad>,
    /// Bytes of the shards' files.
    pub kept: BTreeMap<ShardId, u64>,
}

/// What a stream takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLoad {
    /// The stream.
    pub stream: StreamId,
    /// Its shard.
    pub shard: ShardId,
    /// Bytes a second.
    pub rate: u64,
}

/// A stream that is to go to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The stream.
    pub stream: StreamId,
    /// The hot shard.
    pub from: ShardId,
    /// The other one.
    pub to: ShardId,
}

/// Whether a stream can leave a shard, which no queue can, and its records go with time, so that the shard gets rid of
/// it.
pub(super) fn may_leave(config: &StreamConfig) -> bool {
    let expires = config.retention_millis.is_some() || config.retention_bytes.is_some();
    config.settlement != Settlement::Each && config.cleanup != Cleanup::Compact && expires
}

/// The hottest shard, and what best leaves it for the coolest.
///
/// A stream that takes more than half of the difference would make the other shard the hotter one, and might come
/// back. So every move makes the difference smaller, and there is an end.
pub(super) fn decide(loads: &Loads, may_move: impl Fn(StreamId) -> bool) -> Option<Shed> {
    let (from, most) = loads.shards.iter().max_by_key(|(shard, rate)| (**rate, Reverse(**shard)))?;
    let (to, least) = loads.shards.iter().min_by_key(|(shard, rate)| (**rate, **shard))?;
    if *most < HOT_BYTES_A_SECOND || *most < least.saturating_mul(HOT_FACTOR) {
        return None;
    }
    let gap = most - least;
    let fits = |load: &&StreamLoad| {
        load.shard == *from && load.rate <= gap / 2 && load.rate >= gap / CRUMB && may_move(load.stream)
    };
    let best = loads.streams.iter().filter(fits).max_by_key(|load| (load.rate, Reverse(load.stream)))?;
    Some(Shed { stream: best.stream, from: *from, to: *to })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_kept_for_ever_is_not_shed_and_no_queue_is() {
        let week = StreamConfig { retention_millis: Some(604_800_000), ..StreamConfig::default() };
        assert!(may_leave(&week));
        assert!(may_leave(&StreamConfig { retention_bytes: Some(1), ..StreamConfig::default() }));
        assert!(may_leave(&StreamConfig { cleanup: Cleanup::CompactAndDelete, ..week.clone() }));
        assert!(!may_leave(&StreamConfig { settlement: Settlement::Each, ..week.clone() }));
        assert!(!may_leave(&StreamConfig { cleanup: Cleanup::Compact, ..week }));
        assert!(!may_leave(&StreamConfig::default()));
    }

    /// Shards with the MiB a second of their streams, which are numbered throughout.
    fn loads(shards: &[&[u64]]) -> Loads {
        let mut loads = Loads::default();
        for (shard, streams) in (1..).map(ShardId).zip(shards) {
            loads.shards.insert(shard, streams.iter().sum::<u64>() * MIB);
            for rate in *streams {
                let stream = StreamId(loads.streams.len() as u64 + 1);
                loads.streams.push(StreamLoad { stream, shard, rate: rate * MIB });
            }
        }
        loads
    }

    fn decided(shards: &[&[u64]]) -> Option<(u64, u32)> {
        decide(&loads(shards), |_| true).map(|shed| (shed.stream.0, shed.to.0))
    }

    #[test]
    fn the_largest_goes_that_does_not_make_the_other_shard_the_hotter_one() {
        assert_eq!(decided(&[&[5, 20, 10], &[5], &[]]), Some((3, 3)));
        assert_eq!(decided(&[&[20, 20], &[]]), Some((1, 2)), "the first of equal ones");
        assert_eq!(decided(&[&[40], &[]]), None, "a stream that is alone has nothing to flee from");
        assert_eq!(decided(&[&[40, 1], &[]]), None, "a crumb");
        assert_eq!(decided(&[&[2, 1], &[]]), None, "nobody is hot");
        assert_eq!(decided(&[&[10, 9], &[10]]), None, "nor by comparison");
        assert_eq!(decided(&[&[10, 9]]), None, "there is nowhere to go");
        assert_eq!(decided(&[]), None);
        let some = decide(&loads(&[&[5, 20, 10], &[]]), |stream| stream != StreamId(3));
        assert_eq!(some.map(|shed| shed.stream), Some(StreamId(1)), "what cannot move stays");
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut shards: Vec<Vec<u64>> = vec![vec![9, 7, 5, 5, 3, 3, 2, 2, 1, 1], vec![4], vec![], vec![]];
        let mut moves = 0;
        loop {
            let rates: Vec<&[u64]> = shards.iter().map(Vec::as_slice).collect();
            let loads = loads(&rates);
            let Some(shed) = decide(&loads, |_| true) else { break };
            let load = loads.streams.iter().find(|load| load.stream == shed.stream).unwrap();
            let of = &mut shards[shed.from.0 as usize - 1];
            of.remove(of.iter().position(|rate| rate * MIB == load.rate).unwrap());
            shards[shed.to.0 as usize - 1].push(load.rate / MIB);
            moves += 1;
            assert!(moves < 20, "{shards:?}");
        }
        let sums: Vec<u64> = shards.iter().map(|rates| rates.iter().sum()).collect();
        assert!(sums.iter().max().unwrap() < &(2 * sums.iter().min().unwrap()), "{sums:?}");
    }
}
