//! Bits that flip on the disks of one node, the same in all of a run, in files that the Raft log does not need any more.
//! What it loses two others have, and it is to be mended from them.

use super::run::Run;
use crate::cluster::run::is_wanted;
use broker::Broker;
use journal::scrub::ScrubCursor;
use model::ShardId;
use openraft_rt_sim::SimRuntime;
use shard::runtime::Runtime;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many seconds damage may take to be mended when everything works.
const REPAIR_SECONDS: u64 = 60;

/// See the module's documentation.
pub(super) struct Flips {
    /// Which node.
    on: usize,
    /// Files in which a bit has flipped. None does so twice: what a file's frames say can then be had of its table, and
    /// the other way round.
    files: BTreeSet<(ShardId, String)>,
}

impl Flips {
    pub(super) fn on(nth: usize) -> Self {
        Flips { on: nth, files: BTreeSet::new() }
    }
}

impl Run {
    /// A bit flips in a file of each shard of which there are three replicas that vote.
    pub(super) fn flip(&mut self) {
        let node = &self.nodes[self.flips.on];
        let (hardware, place) = (node.hardware.clone(), node.place);
        let shards = node.broker().iter().flat_map(Broker::shards).collect::<Vec<_>>();
        for shard in shards {
            let membership = shard.membership();
            if !self.has_grown || !membership.voters.iter().all(|voters| voters.len() >= 3) {
                continue;
            }
            let (journal, disk) = (shard.journal(), hardware.disk(shard.id()));
            let old = journal.finished();
            let old = old.iter().filter(|file| file.table.last_index <= journal.floor().index);
            let names: BTreeSet<String> = old.map(|file| journal::file::name(file.id, file.kind)).collect();
            let is_fresh =
                |name: &String| names.contains(name) && !self.flips.files.contains(&(shard.id(), name.clone()));
            let files: Vec<_> =
                disk.files().into_iter().filter(|file| file.content_end > 0 && is_fresh(&file.name)).collect();
            let Some(file) = self.rng.pick(&files).cloned() else { continue };
            let (position, bit) = (self.rng.below(file.content_end), self.rng.below(8) as u32);
            disk.flip(&file.name, position, bit);
            self.note(format_args!("a bit of h{place} flips in {} {} at {position}", shard.id(), file.name));
            self.flips.files.insert((shard.id(), file.name));
        }
    }

    /// Whatever is damaged is found and mended. Where nobody reads again in time what was damaged, whoever compares
    /// would be the first to find it.
    pub(super) async fn wait_for_repairs(&mut self) -> Result<(), String> {
        let mut damaged = Vec::new();
        for _ in 0..REPAIR_SECONDS {
            damaged.clear();
            if self.flips.files.is_empty() {
                break;
            }
            for broker in self.brokers() {
                for shard in broker.shards() {
                    let journal = shard.journal();
                    let mut cursor = ScrubCursor::default();
                    while !journal.scrub(&mut cursor, 1 << 20) {}
                    let wanted = journal.damage().into_iter().filter(|damage| is_wanted(&shard, *damage));
                    damaged.extend(wanted.map(|damage| format!("{} {} {damage}", broker.node(), shard.id())));
                }
            }
            if damaged.is_empty() {
                break;
            }
            SimRuntime::sleep(Duration::from_secs(1)).await;
        }
        if damaged.is_empty() { Ok(()) } else { Err(format!("damage stays: {}", damaged.join(", "))) }
    }
}
