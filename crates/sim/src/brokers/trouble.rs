//! What goes wrong in a run: one thing at a time, for a while, while clients go on.

use super::contents::place_of;
use super::node::Node;
use super::run::Run;
use crate::disk::Faults;
use crate::net::Weather;
use broker::members::NodeState;
use model::{NodeId, ShardId};
use openraft_rt_sim::SimRuntime;
use shard::Shard;
use shard::runtime::Runtime;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// How long a node is down while the others forget the log it needs.
const ABSENCE: Duration = Duration::from_secs(6);
/// How long a change of a node's state may take, and how often it is tried.
const STATE_PATIENCE: Duration = Duration::from_secs(10);
const STATE_TRIES: usize = 20;

impl Run {
    /// Something goes wrong for a while.
    pub(super) async fn trouble(&mut self) -> Result<(), String> {
        let victim = self.anyone();
        let pause = self.moment(2_000);
        match self.rng.below(36) {
            0 | 1 => self.down(victim, false, pause).await,
            2..=4 => {
                self.scene.facts.lock().power_losses_of_one += 1;
                self.down(victim, true, pause).await;
            }
            5 | 6 => self.restart_leader().await,
            7 | 8 => self.kill_catalog_leader().await,
            9 => self.blackout(self.begun.div_ceil(2)).await,
            10 => self.blackout(self.begun).await,
            // Whoever gets a snapshot from where bits have flipped may get them, too.
            11 if !self.plan.flips => self.absence(victim).await,
            12 | 13 => self.cut(victim, pause).await,
            14 => self.isolate(victim, pause).await,
            15 => self.bad_weather(pause).await,
            16 | 17 => self.disk_errors(victim, pause).await,
            18 => self.full_disk(victim, pause).await,
            19 => self.slow_disk(victim, pause).await,
            20 => self.clock_jump(victim),
            21 => self.transfer().await,
            22..=24 => self.strand_leader().await,
            25 | 26 => self.stop(victim, pause).await,
            27..=29 if !self.plan.flips => self.drain(victim).await?,
            30..=32 if !self.plan.flips => self.replace(victim).await?,
            _ => self.strike_move().await,
        }
        if self.plan.flips {
            self.flip();
        }
        let pause = self.moment(1_500);
        SimRuntime::sleep(pause).await;
        self.look().await
    }

    /// Up to so many milliseconds.
    pub(super) fn moment(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.between(10, most))
    }

    /// One of the nodes that have been started.
    pub(super) fn anyone(&mut self) -> usize {
        self.rng.below(self.begun as u64) as usize
    }

    /// The node that leads a shard, if one does.
    pub(super) fn leader_of(&self, shard: ShardId) -> Option<(usize, Shard)> {
        let led = |node: &Node| {
            let shards = node.broker()?.shards();
            shards.into_iter().find(|replica| replica.id() == shard && replica.leading().is_ok())
        };
        self.nodes.iter().enumerate().find_map(|(nth, node)| Some((nth, led(node)?)))
    }

    fn any_shard(&mut self) -> ShardId {
        let shards: Vec<ShardId> = self.shards().into_iter().collect();
        self.rng.pick(&shards).copied().unwrap_or(ShardId::CATALOG)
    }

    async fn crash(&mut self, victim: usize, power: bool) {
        let was_running = self.nodes[victim].is_running();
        self.nodes[victim].crash(power).await;
        self.scene.facts.lock().kills += u64::from(was_running && !power);
    }

    pub(super) async fn down(&mut self, victim: usize, power: bool, pause: Duration) {
        self.crash(victim, power).await;
        SimRuntime::sleep(pause).await;
        self.start(victim);
    }

    /// Comes back before anybody else stands for election.
    async fn restart_leader(&mut self) {
        let shard = self.any_shard();
        let Some((victim, _)) = self.leader_of(shard) else { return };
        self.scene.facts.lock().leaders_restarted += 1;
        let pause = self.moment(250);
        self.down(victim, false, pause).await;
    }

    pub(super) async fn kill_catalog_leader(&mut self) {
        let Some((victim, _)) = self.leader_of(ShardId::CATALOG) else { return };
        self.scene.facts.lock().catalog_leaders_killed += 1;
        let (power, pause) = (self.rng.percent(30), self.moment(3_000));
        self.down(victim, power, pause).await;
    }

    /// So many nodes lose power at the same moment.
    async fn blackout(&mut self, nodes: usize) {
        if nodes == self.begun {
            self.scene.facts.lock().power_losses_of_all += 1;
        } else {
            self.scene.facts.lock().power_losses_of_some += 1;
        }
        let first = self.anyone();
        let victims: Vec<usize> = (0..nodes).map(|nth| (first + nth) % self.begun).collect();
        for nth in &victims {
            self.crash(*nth, true).await;
        }
        for nth in victims {
            let pause = self.moment(800);
            SimRuntime::sleep(pause).await;
            self.start(nth);
        }
    }

    /// A node is away until the others have purged what it needs, so it gets a snapshot.
    async fn absence(&mut self, victim: usize) {
        self.scene.facts.lock().absences += 1;
        let power = self.rng.percent(30);
        self.crash(victim, power).await;
        for _ in 0..3 {
            SimRuntime::sleep(ABSENCE / 3).await;
            for shard in self.brokers().iter().flat_map(broker::Broker::shards) {
                // One that waits for its disk is left to itself.
                let _ = SimRuntime::timeout(ABSENCE / 6, shard.checkpoint()).await;
            }
        }
        self.start(victim);
    }

    async fn cut(&mut self, victim: usize, pause: Duration) {
        if self.begun < 2 {
            return;
        }
        let other = (victim + 1 + self.rng.below(self.begun as u64 - 1) as usize) % self.begun;
        let (from, to) = (self.nodes[victim].place, self.nodes[other].place);
        self.scene.facts.lock().cuts += 1;
        self.note(format_args!("h{to} does not hear h{from} for {pause:?}"));
        self.ground.net.cut(from, to);
        SimRuntime::sleep(pause * 2).await;
        self.ground.net.heal();
    }

    async fn isolate(&mut self, victim: usize, pause: Duration) {
        self.scene.facts.lock().isolations += 1;
        let victim = self.nodes[victim].place;
        self.note(format_args!("h{victim} is cut off for {pause:?}"));
        for node in &self.nodes {
            self.ground.net.cut(victim, node.place);
            self.ground.net.cut(node.place, victim);
        }
        SimRuntime::sleep(pause * 2).await;
        self.ground.net.heal();
    }

    /// A leader that nobody hears goes on answering clients.
    async fn strand_leader(&mut self) {
        let shard = self.any_shard();
        let Some((victim, _)) = self.leader_of(shard) else { return };
        self.scene.facts.lock().leaders_stranded += 1;
        let pause = Duration::from_millis(self.rng.between(300, 1_200));
        self.isolate(victim, pause).await;
        if self.rng.percent(30) {
            let power = self.rng.percent(30);
            self.down(victim, power, Duration::from_millis(20)).await;
        }
    }

    async fn bad_weather(&mut self, pause: Duration) {
        self.scene.facts.lock().bad_weather += 1;
        let loss = self.rng.below(200);
        let delay_micros = self.rng.between(100, 60_000);
        self.note(format_args!("the network loses {loss} in a thousand and delays {delay_micros} us"));
        let doubled = self.rng.below(60);
        self.ground.net.set_weather(Weather { delay_micros, loss, doubled });
        SimRuntime::sleep(pause * 2).await;
        self.ground.net.set_weather(Weather::FINE);
    }

    async fn disk_errors(&mut self, victim: usize, pause: Duration) {
        self.scene.facts.lock().disk_errors += 1;
        let (syncs, writes, names) = (self.rng.below(300), self.rng.below(200), self.rng.below(100));
        let reads = self.rng.below(100);
        self.disk_trouble(victim, pause, |_, faults| {
            (faults.sync_errors, faults.write_errors) = (syncs, writes);
            (faults.name_errors, faults.read_errors) = (names, reads);
        })
        .await;
    }

    async fn full_disk(&mut self, victim: usize, pause: Duration) {
        self.scene.facts.lock().full_disks += 1;
        let room = self.rng.below(2 * self.shape.log_file_bytes);
        self.disk_trouble(victim, pause, |used, faults| faults.capacity = used + room).await;
    }

    async fn slow_disk(&mut self, victim: usize, pause: Duration) {
        self.scene.facts.lock().slow_disks += 1;
        let latency = self.rng.between(5_000, 400_000);
        self.disk_trouble(victim, pause, |_, faults| faults.latency = latency).await;
    }

    async fn disk_trouble(&mut self, victim: usize, pause: Duration, change: impl FnMut(u64, &mut Faults)) {
        let node = &mut self.nodes[victim];
        node.is_excused = true;
        node.hardware.set_faults(change);
        let place = node.place;
        self.note(format_args!("the disks of h{place} fail for {:?}", pause * 2));
        SimRuntime::sleep(pause * 2).await;
        // The node may crash while its disks are like this.
        if self.rng.percent(30) {
            let power = self.rng.percent(50);
            self.scene.facts.lock().power_losses_of_one += u64::from(power);
            self.crash(victim, power).await;
        }
        if self.rng.percent(50) {
            self.nodes[victim].hardware.mend();
        }
        self.start(victim);
        let pause = self.moment(500);
        SimRuntime::sleep(pause).await;
        self.nodes[victim].hardware.mend();
    }

    fn clock_jump(&mut self, victim: usize) {
        self.scene.facts.lock().clock_jumps += 1;
        let jump = self.rng.below(7_200_000) as i64 - 3_600_000;
        self.note(format_args!("the clock of h{} is wrong by {jump} ms", self.nodes[victim].place));
        self.nodes[victim].clock_error.store(jump, SeqCst);
    }

    async fn transfer(&mut self) {
        let shard = self.any_shard();
        let Some((_, leader)) = self.leader_of(shard) else { return };
        self.scene.facts.lock().transfers += 1;
        self.note(format_args!("the leadership of {shard} is handed over"));
        // Nobody may be there to take it.
        let _ = leader.hand_over(None).await;
    }

    /// A log goes to another shard, and whoever leads that one, the one it was in, or the catalog, goes down meanwhile.
    async fn strike_move(&mut self) {
        let (logs, doors) = (self.scene.logs.lock().all(), self.scene.doors.all());
        let (Some(log), Some(door)) = (self.rng.pick(&logs).cloned(), self.rng.pick(&doors).cloned()) else { return };
        let to = self.any_shard();
        let Some((from, _)) = place_of(&door.broker, log.topic, log.partition.partition) else { return };
        if from == to || to == ShardId::CATALOG {
            return;
        }
        self.scene.facts.lock().moves_struck += 1;
        self.note(format_args!("{} is to go from {from} to {to}", log.key));
        // Nobody waits for it.
        drop(SimRuntime::spawn(async move { door.move_partition(log.partition, to).await.is_some() }));
        let pause = Duration::from_micros(self.rng.between(100, 80_000));
        SimRuntime::sleep(pause).await;
        let struck = self.rng.one_of([from, to, ShardId::CATALOG]);
        if let Some((victim, _)) = self.leader_of(struck) {
            let (power, pause) = (self.rng.percent(30), self.moment(1_500));
            self.down(victim, power, pause).await;
        }
    }

    /// A node is stopped in peace and comes back.
    async fn stop(&mut self, victim: usize, pause: Duration) {
        self.scene.facts.lock().stops += 1;
        self.nodes[victim].stop().await;
        SimRuntime::sleep(pause).await;
        self.start(victim);
    }

    /// A node is drained, and takes replicas again later. Something else may happen meanwhile.
    async fn drain(&mut self, victim: usize) -> Result<(), String> {
        let Some(node) = self.nodes[victim].id().filter(|node| Some(*node) != self.leaving) else { return Ok(()) };
        if !self.set_state(node, NodeState::Draining).await {
            return Ok(());
        }
        self.scene.facts.lock().drains += 1;
        let pause = self.moment(6_000);
        SimRuntime::sleep(pause).await;
        if self.rng.percent(40) {
            let (other, power, pause) = (self.anyone(), self.rng.percent(30), self.moment(1_000));
            self.down(other, power, pause).await;
            let pause = self.moment(3_000);
            SimRuntime::sleep(pause).await;
        }
        self.look().await?;
        // What does not come about is tried again in the end.
        self.set_state(node, NodeState::Active).await;
        Ok(())
    }

    /// Says at some node what a node is for. Returns whether that was acknowledged.
    pub(super) async fn set_state(&mut self, node: NodeId, state: NodeState) -> bool {
        for _ in 0..STATE_TRIES {
            let brokers = self.brokers();
            if let Some(broker) = self.rng.pick(&brokers).cloned() {
                let setting = broker.set_node_state(node, state);
                if let Ok(Ok(())) = SimRuntime::timeout(STATE_PATIENCE, setting).await {
                    self.note(format_args!("{node} is {state:?} by {}", broker.node()));
                    return true;
                }
            }
            SimRuntime::sleep(Duration::from_millis(200)).await;
        }
        false
    }
}
