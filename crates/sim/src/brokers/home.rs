//! Where a node keeps what it must not forget: hardware that outlives its processes.
//!
//! Who the node is is written whole and at once, as a file is that is renamed. Every replica's journal has a disk
//! of its own.

use super::facts::Facts;
use super::process::{AllStates, Opened, Process};
use super::shape::Shape;
use crate::disk::{Faults, SimDisk, Tally};
use crate::life::{Life, drive, wait_for};
use crate::rng::Rng;
use crate::time::now;
use crate::trace::Trace;
use broker::NodeError;
use broker::home::{Home, Local, Origin};
use broker::identity::Identity;
use futures::future::BoxFuture;
use journal::canary::Fault;
use journal::{CacheBudget, Journal, Options, Recovered};
use machine::Effect;
use model::{NodeId, ShardId};
use openraft_rt_sim::SimRuntime;
use parking_lot::Mutex;
use shard::runtime::Runtime;
use shard::{Environment, Shard, StartError};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long it takes to remove a journal.
const REMOVAL: Duration = Duration::from_millis(2);

/// What stays when a process or a machine goes.
pub(super) struct Hardware {
    identity: Mutex<Option<Identity>>,
    disks: Mutex<BTreeMap<ShardId, SimDisk>>,
    rng: Mutex<Rng>,
    /// What disks did that are not in use any more.
    gone: Mutex<Tally>,
}

impl Hardware {
    pub(super) fn new(rng: Rng) -> Arc<Self> {
        let (identity, disks, gone) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Hardware { identity, disks, rng: Mutex::new(rng), gone })
    }

    /// Who the node is; nothing while it is new.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.lock().clone()
    }

    pub(super) fn set_identity(&self, identity: Identity) {
        *self.identity.lock() = Some(identity);
    }

    pub(super) fn disk(&self, shard: ShardId) -> SimDisk {
        let mut rng = self.rng.lock();
        self.disks.lock().entry(shard).or_insert_with(|| SimDisk::new(rng.number(), Trace::off())).clone()
    }

    fn has_data(&self, shard: ShardId) -> bool {
        self.disks.lock().get(&shard).is_some_and(|disk| disk.length(journal::manifest::NAME).is_some())
    }

    fn remove(&self, shard: ShardId) {
        if let Some(disk) = self.disks.lock().remove(&shard) {
            self.gone.lock().add(&disk.tally());
        }
    }

    fn disks(&self) -> Vec<SimDisk> {
        self.disks.lock().values().cloned().collect()
    }

    pub(super) fn lose_power(&self) {
        self.disks().iter().for_each(SimDisk::power_loss);
    }

    /// Whether anything is wrong with it now.
    pub(super) fn is_faulty(&self) -> bool {
        self.disks().iter().any(|disk| disk.faults() != Faults::NONE)
    }

    /// Changes what goes wrong; whoever does is told how much is used of each disk.
    pub(super) fn set_faults(&self, mut change: impl FnMut(u64, &mut Faults)) {
        for disk in self.disks() {
            let used = disk.used();
            disk.set_faults(|faults| change(used, faults));
        }
    }

    pub(super) fn mend(&self) {
        self.set_faults(|_, faults| *faults = Faults::NONE);
    }

    pub(super) fn tally(&self) -> Tally {
        let mut tally = *self.gone.lock();
        self.disks().iter().for_each(|disk| tally.add(&disk.tally()));
        tally
    }
}

/// Hardware as a process sees it.
pub(super) struct SimHome {
    pub(super) me: NodeId,
    pub(super) hardware: Arc<Hardware>,
    pub(super) process: Arc<Process>,
    pub(super) shape: Shape,
    pub(super) fault: Option<Fault>,
    pub(super) states: AllStates,
    pub(super) facts: Arc<Mutex<Facts>>,
    pub(super) trace: Trace,
}

impl Home for SimHome {
    fn change_identity(&self, change: &mut dyn FnMut(&mut Identity)) -> Result<(), NodeError> {
        self.check_alive(self.path())?;
        if let Some(identity) = self.hardware.identity.lock().as_mut() {
            change(identity);
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(self.me.to_string())
    }

    fn path_of(&self, shard: ShardId) -> PathBuf {
        self.path().join(shard.to_string())
    }

    fn has_data(&self, shard: ShardId) -> bool {
        self.hardware.has_data(shard)
    }

    fn start(
        &self,
        shard: ShardId,
        origin: Origin,
        environment: Environment,
    ) -> BoxFuture<'_, Result<Box<dyn Local>, NodeError>> {
        Box::pin(async move {
            wait_for(&self.hardware.disk(shard)).await;
            let (opened, recovered) = self.open(shard)?;
            match self.start_on(&opened, &recovered, origin, environment).await {
                Ok(shard) => {
                    let (process, facts) = (self.process.clone(), self.facts.clone());
                    Ok(Box::new(Replica { shard, opened, process, facts }) as Box<dyn Local>)
                }
                Err(error) => {
                    self.process.close(&opened);
                    opened.end();
                    opened.end_replica().await;
                    Err(NodeError::Shard { folder: self.path_of(shard), error })
                }
            }
        })
    }

    fn remove(&self, shard: ShardId) -> BoxFuture<'_, Result<(), NodeError>> {
        Box::pin(async move {
            SimRuntime::sleep(REMOVAL).await;
            self.check_alive(self.path_of(shard))?;
            self.hardware.remove(shard);
            self.facts.lock().replicas_given_up += 1;
            self.trace.line(format_args!("{:?} {} gives {shard} up", now(), self.me));
            Ok(())
        })
    }
}

impl SimHome {
    fn check_alive(&self, path: PathBuf) -> Result<(), NodeError> {
        let error = || io::Error::other("the process is dead");
        if self.process.is_alive() { Ok(()) } else { Err(NodeError::Io { path, error: error() }) }
    }

    fn open(&self, shard: ShardId) -> Result<(Arc<Opened>, Recovered), NodeError> {
        self.check_alive(self.path_of(shard))?;
        let (disk, life) = (self.hardware.disk(shard), Life::new());
        let mut options = Options::new(shard, CacheBudget::new(self.shape.cache_bytes), self.process.number());
        options.log_file_bytes = self.shape.log_file_bytes;
        options.reserve_bytes = self.shape.log_file_bytes;
        options.scrub_period = self.shape.scrub_period.unwrap_or(options.scrub_period);
        options.fault = self.fault;
        options.wake_writer = {
            let life = life.clone();
            Arc::new(move || life.ring())
        };
        let opened = Journal::open(disk.mount(), options);
        let failed = |error| NodeError::Journal { folder: self.path_of(shard), error };
        let (journal, writer, recovered) = opened.map_err(failed)?;
        // Opening syncs what it finds.
        life.is_stable_now();
        self.trace.line(format_args!(
            "{:?} {} opens {shard}: last {:?} floor {:?} checkpoint {:?} {recovered:?}",
            now(),
            self.me,
            journal.last(),
            journal.floor(),
            journal.checkpoint_at()
        ));
        self.facts.lock().doubts += u64::from(recovered.in_doubt);
        let had_files = !journal.finished().is_empty();
        drop(SimRuntime::spawn(drive(writer, life.clone(), disk.clone(), self.process.fork())));
        let opened = Arc::new(Opened { journal, life, disk, had_files, shard: Mutex::default() });
        self.process.open(opened.clone());
        Ok((opened, recovered))
    }

    async fn start_on(
        &self,
        opened: &Arc<Opened>,
        recovered: &Recovered,
        origin: Origin,
        mut environment: Environment,
    ) -> Result<Shard, StartError> {
        environment.upkeep = self.shape.upkeep;
        environment.on_effects = {
            let (before, me) = (environment.on_effects.clone(), self.me);
            let (opened, states) = (opened.clone(), self.states.clone());
            Arc::new(move |shard, effects: &[Effect]| {
                before(shard, effects);
                opened.compare_state(me, &states);
            })
        };
        let shard =
            Shard::start::<SimRuntime>(self.me, opened.journal.clone(), recovered.in_doubt, environment).await?;
        *opened.shard.lock() = Some(shard.clone());
        // As its checkpoint has it.
        opened.compare_state(self.me, &self.states);
        if origin == Origin::Found || self.fault == Some(Fault::FoundInsteadOfFollow) {
            shard.initialize(vec![self.me]).await?;
        }
        // Who decides alone need not wait to see whether somebody else leads.
        shard.elect().await;
        Ok(shard)
    }
}

/// A replica that runs.
struct Replica {
    shard: Shard,
    opened: Arc<Opened>,
    process: Arc<Process>,
    facts: Arc<Mutex<Facts>>,
}

impl Local for Replica {
    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.shard.checkpoint().await;
            self.shard.shutdown().await;
            self.opened.journal.stop();
            self.opened.life.written().await;
            // A disk that fails now leaves a doubt.
            let _ = self.opened.journal.close();
            self.process.close(&self.opened);
            count(&self.opened, &self.facts);
            self.opened.end();
            self.opened.end_replica().await;
        })
    }
}

/// Adds what a journal counted while it was open.
pub(super) fn count(opened: &Opened, facts: &Mutex<Facts>) {
    let counters = &opened.journal.counters;
    let mut facts = facts.lock();
    facts.truncations += counters.truncations.load(Relaxed);
    facts.purges += counters.purges.load(Relaxed);
    facts.installs += counters.installs.load(Relaxed);
    facts.installs_over_files += counters.installs.load(Relaxed) * u64::from(opened.had_files);
    facts.bytes_packed += counters.packed_bytes.load(Relaxed);
    facts.files_reclaimed += counters.files_removed.load(Relaxed);
    facts.storage_errors += counters.storage_errors.load(Relaxed);
}
