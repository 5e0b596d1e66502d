//! What goes wrong in a run: one thing at a time, for a while, while clients go on.

use super::client::now;
use super::run::{NODES, Run};
use crate::disk::FileFacts;
use crate::net::Weather;
use openraft_rt_sim::SimRuntime;
use shard::Role;
use shard::runtime::Runtime;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// How long a node is down while the others forget the log it needs.
const ABSENCE: Duration = Duration::from_secs(6);
/// How often it is looked whether a node copies a snapshot, and how many times.
const COPYING_INTERVAL: Duration = Duration::from_millis(2);
const WAITS_FOR_COPYING: usize = 1_000;

impl Run {
    /// Something goes wrong for a while.
    pub(super) async fn trouble(&mut self) -> Result<(), String> {
        let victim = self.rng.below(NODES) as usize;
        let pause = self.moment(2_000);
        match self.rng.below(26) {
            0 | 1 => self.down(victim, false, pause).await?,
            2..=4 => {
                self.outcome.facts.power_losses_of_one += 1;
                self.down(victim, true, pause).await?;
            }
            5 | 6 => self.restart_leader().await?,
            7 => self.power_loss_while_down(victim).await?,
            8 => self.blackout(2).await?,
            9 => self.blackout(3).await?,
            10 => self.absence(victim).await?,
            11 | 12 => self.cut(victim, pause).await,
            13 => self.isolate(victim, pause).await,
            14 => self.bad_weather(pause).await,
            15 | 16 => self.disk_errors(victim, pause).await,
            17 => self.full_disk(victim, pause).await,
            18 => self.slow_disk(victim, pause).await,
            19 => self.clock_jump(victim),
            20 | 21 => self.transfer(victim).await,
            22 | 23 => self.strand_leader().await?,
            24 => self.flip(),
            _ => self.checkpoint(victim).await,
        }
        if self.plan.compaction && self.rng.percent(35) {
            let victim = self.rng.below(NODES) as usize;
            self.hold(victim);
        }
        if self.plan.flips {
            self.flip_in_turn();
        }
        let pause = self.moment(1_500);
        SimRuntime::sleep(pause).await;
        self.look()
    }

    /// Up to so many milliseconds.
    fn moment(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.rng.between(10, most))
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.line(format_args!("{:?} {what}", now()));
    }

    async fn down(&mut self, victim: usize, power: bool, pause: Duration) -> Result<(), String> {
        self.crash(victim, power).await;
        SimRuntime::sleep(pause).await;
        self.start(victim).await
    }

    /// Comes back before anybody else stands for election.
    async fn restart_leader(&mut self) -> Result<(), String> {
        let Some(victim) = self.leader_nth() else { return Ok(()) };
        self.outcome.facts.leaders_restarted += 1;
        let pause = self.moment(250);
        self.down(victim, false, pause).await
    }

    async fn power_loss_while_down(&mut self, victim: usize) -> Result<(), String> {
        self.outcome.facts.power_losses_while_down += 1;
        self.crash(victim, false).await;
        let pause = self.moment(500);
        SimRuntime::sleep(pause).await;
        let pause = self.moment(500);
        self.down(victim, true, pause).await
    }

    /// So many nodes lose power at the same moment.
    async fn blackout(&mut self, nodes: usize) -> Result<(), String> {
        match nodes {
            2 => self.outcome.facts.power_losses_of_two += 1,
            _ => self.outcome.facts.power_losses_of_three += 1,
        }
        let first = self.rng.below(NODES) as usize;
        let victims: Vec<usize> = (0..nodes).map(|nth| (first + nth) % NODES as usize).collect();
        for nth in &victims {
            self.crash(*nth, true).await;
        }
        for nth in victims {
            let pause = self.moment(800);
            SimRuntime::sleep(pause).await;
            self.start(nth).await?;
        }
        Ok(())
    }

    /// A node is away until the others have purged what it needs, so it gets a snapshot; it may have
    /// files of its own, and a log that leads nowhere.
    async fn absence(&mut self, victim: usize) -> Result<(), String> {
        self.outcome.facts.absences += 1;
        let power = self.rng.percent(30);
        if self.rng.percent(50) {
            self.isolate(victim, Duration::from_millis(300)).await;
        }
        self.crash(victim, power).await;
        for _ in 0..3 {
            SimRuntime::sleep(ABSENCE / 3).await;
            for shard in self.running() {
                shard.checkpoint().await;
            }
        }
        self.start(victim).await?;
        for _ in 0..self.rng.below(4) {
            if !self.is_copying(victim).await {
                break;
            }
            self.outcome.facts.installs_disturbed += 1;
            self.disturb_install(victim).await?;
        }
        Ok(())
    }

    /// Waits a while for a node to copy a snapshot, and then until it has some of it.
    async fn is_copying(&mut self, victim: usize) -> bool {
        for _ in 0..WAITS_FOR_COPYING {
            SimRuntime::sleep(COPYING_INTERVAL).await;
            let Some(shard) = self.nodes[victim].shard() else { return false };
            if shard.journal().kept_parts() > 0 {
                let some = Duration::from_micros(self.rng.below(40_000));
                SimRuntime::sleep(some).await;
                return true;
            }
        }
        false
    }

    /// Something goes wrong while a node copies a snapshot.
    async fn disturb_install(&mut self, victim: usize) -> Result<(), String> {
        let moment = self.moment(400);
        match self.rng.below(5) {
            0 => self.isolate(victim, moment).await,
            // What it has is still there...
            1 => {
                self.crash(victim, false).await;
                self.flip_in_parts(victim);
                SimRuntime::sleep(moment).await;
                self.start(victim).await?;
            }
            // ... or some of it.
            2 => {
                self.outcome.facts.power_losses_of_one += 1;
                self.down(victim, true, moment).await?;
            }
            // Who sends it dies, and somebody else may.
            3 => self.restart_leader().await?,
            _ => {
                let other = (victim + 1 + self.rng.below(NODES - 1) as usize) % NODES as usize;
                self.transfer(other).await;
            }
        }
        Ok(())
    }

    /// Now and then a bit flips in what a node that is down has of a snapshot: others have it.
    fn flip_in_parts(&mut self, victim: usize) {
        if self.rng.percent(50) {
            return;
        }
        let files = self.nodes[victim].disk.files().into_iter();
        let parts: Vec<_> = files.filter(|file| file.name.starts_with("pulled-") && file.content_end > 0).collect();
        let Some(file) = self.rng.pick(&parts).cloned() else { return };
        let (position, bit) = (self.rng.below(file.content_end), self.rng.below(8) as u32);
        let node = &self.nodes[victim];
        self.outcome.facts.bit_flips += u64::from(node.disk.flip(&file.name, position, bit));
        self.note(format_args!("a bit of {} flips in {} at {position}", node.id, file.name));
    }

    async fn cut(&mut self, victim: usize, pause: Duration) {
        let other = (victim + 1 + self.rng.below(NODES - 1) as usize) % NODES as usize;
        let (from, to) = (self.nodes[victim].id, self.nodes[other].id);
        self.outcome.facts.cuts += 1;
        self.note(format_args!("{to} does not hear {from} for {pause:?}"));
        self.net.cut(from.0, to.0);
        SimRuntime::sleep(pause * 2).await;
        self.net.heal();
    }

    async fn isolate(&mut self, victim: usize, pause: Duration) {
        self.outcome.facts.isolations += 1;
        let victim = self.nodes[victim].id;
        self.note(format_args!("{victim} is cut off for {pause:?}"));
        for node in &self.nodes {
            self.net.cut(victim.0, node.id.0);
            self.net.cut(node.id.0, victim.0);
        }
        SimRuntime::sleep(pause * 2).await;
        self.net.heal();
    }

    /// A leader that nobody hears goes on taking requests, which another leader's then replace.
    async fn strand_leader(&mut self) -> Result<(), String> {
        let Some(victim) = self.leader_nth() else { return Ok(()) };
        self.outcome.facts.leaders_stranded += 1;
        let pause = Duration::from_millis(self.rng.between(400, 1_200));
        self.isolate(victim, pause).await;
        if self.rng.percent(30) {
            let power = self.rng.percent(30);
            self.down(victim, power, Duration::from_millis(20)).await?;
        }
        Ok(())
    }

    async fn bad_weather(&mut self, pause: Duration) {
        self.outcome.facts.bad_weather += 1;
        let loss = self.rng.below(200);
        let delay_micros = self.rng.between(100, 60_000);
        self.note(format_args!("the network loses {loss} in a thousand and delays {delay_micros} us"));
        let doubled = self.rng.below(60);
        self.net.set_weather(Weather { delay_micros, loss, doubled });
        SimRuntime::sleep(pause * 2).await;
        self.net.set_weather(Weather::FINE);
    }

    async fn disk_errors(&mut self, victim: usize, pause: Duration) {
        self.outcome.facts.disk_errors += 1;
        let (syncs, writes, names) = (self.rng.below(300), self.rng.below(200), self.rng.below(100));
        let reads = self.rng.below(100);
        self.disk_trouble(victim, pause, |faults| {
            (faults.sync_errors, faults.write_errors) = (syncs, writes);
            (faults.name_errors, faults.read_errors) = (names, reads);
        })
        .await;
    }

    async fn full_disk(&mut self, victim: usize, pause: Duration) {
        self.outcome.facts.full_disks += 1;
        let room = self.nodes[victim].disk.used() + self.rng.below(2 * self.shape.log_file_bytes);
        self.disk_trouble(victim, pause, |faults| faults.capacity = room).await;
    }

    async fn slow_disk(&mut self, victim: usize, pause: Duration) {
        self.outcome.facts.slow_disks += 1;
        let latency = self.rng.between(5_000, 400_000);
        self.disk_trouble(victim, pause, |faults| faults.latency = latency).await;
    }

    async fn disk_trouble(&mut self, victim: usize, pause: Duration, change: impl FnOnce(&mut crate::disk::Faults)) {
        let disk = self.nodes[victim].disk.clone();
        disk.set_faults(change);
        self.note(format_args!("{} has {:?} for {:?}", self.nodes[victim].id, disk.faults(), pause * 2));
        SimRuntime::sleep(pause * 2).await;
        // The node may crash while its disk is like this.
        if self.rng.percent(30) {
            let power = self.rng.percent(50);
            self.outcome.facts.power_losses_of_one += u64::from(power);
            self.crash(victim, power).await;
        }
        if self.rng.percent(50) {
            disk.set_faults(|faults| *faults = crate::disk::Faults::NONE);
        }
        if self.nodes[victim].shard().is_none()
            && let Err(error) = self.start(victim).await
        {
            self.outcome.violations.push(error);
        }
        disk.set_faults(|faults| *faults = crate::disk::Faults::NONE);
    }

    fn clock_jump(&mut self, victim: usize) {
        self.outcome.facts.clock_jumps += 1;
        let jump = self.rng.below(7_200_000) as i64 - 3_600_000;
        self.note(format_args!("the clock of {} is wrong by {jump} ms", self.nodes[victim].id));
        self.nodes[victim].clock_error.store(jump, SeqCst);
        self.clock_jumped();
    }

    async fn transfer(&mut self, victim: usize) {
        let Some(shard) = self.leader() else { return };
        self.outcome.facts.transfers += 1;
        self.note(format_args!("leadership goes to {}", self.nodes[victim].id));
        // It may be too far behind, in doubt, or the one that leads.
        let _ = shard.hand_over(Some(self.nodes[victim].id)).await;
    }

    async fn checkpoint(&mut self, victim: usize) {
        let Some(shard) = self.nodes[victim].shard().cloned() else { return };
        self.outcome.facts.checkpoints += 1;
        shard.checkpoint().await;
    }

    /// Bits flip on the disk of one node, the same in all of a run: what it loses others have.
    fn flip(&mut self) {
        let disk = &self.nodes[self.flipped].disk;
        let files: Vec<_> = disk.files().into_iter().filter(|file| file.content_end > 0).collect();
        if let Some(file) = self.rng.pick(&files).cloned() {
            self.flip_in(&file);
        }
    }

    /// A bit flips in a file that the Raft log does not need any more, in none twice: what its frames say can
    /// then be had of its table, and the other way round.
    fn flip_in_turn(&mut self) {
        let node = &self.nodes[self.flipped];
        let Some(journal) = node.shard().map(|shard| shard.journal().clone()) else { return };
        let old = journal.finished();
        let old = old.iter().filter(|file| file.table.last_index <= journal.floor().index);
        let names: Vec<String> = old.map(|file| journal::file::name(file.id, file.kind)).collect();
        let files: Vec<_> = node.disk.files().into_iter().filter(|file| file.content_end > 0).collect();
        let fresh: Vec<_> = files
            .into_iter()
            .filter(|file| names.contains(&file.name) && !self.has_flipped.contains(&file.name))
            .collect();
        if let Some(file) = self.rng.pick(&fresh).cloned() {
            self.has_flipped.insert(file.name.clone());
            self.flip_in(&file);
        }
    }

    fn flip_in(&mut self, file: &FileFacts) {
        let (position, bit) = (self.rng.below(file.content_end), self.rng.below(8) as u32);
        let node = &self.nodes[self.flipped];
        self.outcome.facts.bit_flips += u64::from(node.disk.flip(&file.name, position, bit));
        self.note(format_args!("a bit of {} flips in {} at {position}", node.id, file.name));
    }

    /// Somebody copies finished files slowly: they stay as they are meanwhile.
    fn hold(&mut self, victim: usize) {
        let Some(shard) = self.nodes[victim].shard() else { return };
        let journal = shard.journal().clone();
        let percent = [30, 60, 100][self.rng.below(3) as usize];
        let files: Vec<_> = journal.finished().iter().map(|file| file.id).collect();
        let held: Vec<_> = files.into_iter().filter(|_| self.rng.percent(percent)).collect();
        let pause = Duration::from_millis(self.rng.between(500, 6_000));
        self.note(format_args!("{} files of {} are held for {pause:?}", held.len(), self.nodes[victim].id));
        self.outcome.facts.holds += 1;
        journal.pin(held.iter().copied());
        drop(SimRuntime::spawn(async move {
            SimRuntime::sleep(pause).await;
            journal.unpin(held);
        }));
    }

    /// Notices what has stopped by itself.
    fn look(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            if node.shard().is_some_and(|shard| shard.role() == Role::Stopped) {
                return Err(format!("the replica of {} has stopped", node.id));
            }
        }
        match self.states.lock().violation.take() {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }
}
