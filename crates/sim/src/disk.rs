//! A disk in memory that loses, tears, flips and refuses, as a seed says.
//!
//! [`SimDisk`] is the hardware: it stays when a process or a machine goes. A process sees it through
//! [`SimDisk::mount`], and what it was given fails once that process is dead. Nothing here knows a
//! clock or a thread: what happens depends on the seed and on the order of calls.

mod faults;
mod inode;
mod mount;
mod names;

pub use faults::{Crash, Faults, Tally};

use crate::rng::Rng;
use crate::trace::Trace;
use inode::Inode;
use journal::disk::Disk;
use mount::Mount;
use names::Names;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The hardware. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    platter: Arc<Mutex<Platter>>,
}

/// A file as a driver sees it, for choosing what to damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name.
    pub name: String,
    /// Its length.
    pub length: u64,
    /// One past its last stable byte that is not zero.
    pub content_end: u64,
}

struct Platter {
    rng: Rng,
    trace: Trace,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: Names,
    faults: Faults,
    tally: Tally,
    /// Grows with every crash: older handles are dead.
    generation: u64,
    boot_id: u128,
    /// Crash during the operation this many operations from now.
    armed: Option<(u64, Crash)>,
    /// The crash that happened by itself and that nobody has asked about yet.
    crashed: Option<Crash>,
}

impl SimDisk {
    /// An empty disk of a machine that just started.
    #[must_use]
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut rng = Rng::new(seed);
        let boot_id = u128::from(rng.number());
        let platter = Platter {
            rng,
            trace,
            inodes: BTreeMap::new(),
            next_inode: 1,
            names: Names::default(),
            faults: Faults::NONE,
            tally: Tally::default(),
            generation: 0,
            boot_id,
            armed: None,
            crashed: None,
        };
        SimDisk { platter: Arc::new(Mutex::new(platter)) }
    }

    /// The disk as a process that starts now sees it.
    #[must_use]
    pub fn mount(&self) -> Arc<dyn Disk> {
        let (generation, boot_id) = {
            let platter = self.platter.lock();
            (platter.generation, platter.boot_id)
        };
        Arc::new(Mount { platter: self.platter.clone(), generation, boot_id })
    }

    /// The process dies now.
    pub fn kill(&self) {
        self.platter.lock().crash(Crash::Kill);
    }

    /// The power goes now, and comes back.
    pub fn power_loss(&self) {
        self.platter.lock().crash(Crash::PowerLoss);
    }

    /// Crashes in the middle of a later operation that changes something: the next when `after` is
    /// zero. A write is then cut short, anything else is done or not.
    pub fn arm(&self, after: u64, crash: Crash) {
        self.platter.lock().armed = Some((after, crash));
    }

    /// Whether an armed crash has happened since this was last asked. What was armed and did not
    /// happen stays armed.
    #[must_use]
    pub fn take_crash(&self) -> Option<Crash> {
        self.platter.lock().crashed.take()
    }

    /// Whether there is a crash to take.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.platter.lock().crashed.is_some()
    }

    /// Takes back an armed crash.
    pub fn disarm(&self) {
        self.platter.lock().armed = None;
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.platter.lock().faults
    }

    /// Changes what goes wrong.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.platter.lock().faults);
    }

    /// How often what happened.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.platter.lock().tally
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.platter.lock().used()
    }

    /// The length of a file, if it is there.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<u64> {
        let platter = self.platter.lock();
        platter.names.get(name).map(|id| platter.inodes[&id].bytes().len() as u64)
    }

    /// The files there are.
    #[must_use]
    pub fn files(&self) -> Vec<FileFacts> {
        let platter = self.platter.lock();
        let facts = platter.names.live().map(|(name, id)| {
            let inode = &platter.inodes[id];
            FileFacts {
                name: name.clone(),
                length: inode.bytes().len() as u64,
                content_end: inode.content_end() as u64,
            }
        });
        facts.collect()
    }

    /// Flips a bit of a stable byte. False when there is no such byte.
    pub fn flip(&self, name: &str, position: u64, bit: u32) -> bool {
        let mut platter = self.platter.lock();
        let Some(id) = platter.names.get(name) else { return false };
        let flipped = platter.inodes.get_mut(&id).is_some_and(|inode| inode.flip(position as usize, bit));
        platter.tally.bit_flips += u64::from(flipped);
        flipped
    }
}

impl Platter {
    fn used(&self) -> u64 {
        self.names.live().map(|(_, id)| self.inodes[id].allocated()).sum()
    }

    fn crash(&mut self, crash: Crash) {
        self.trace.line(format_args!("disk: {crash:?}"));
        self.generation += 1;
        self.armed = None;
        match crash {
            Crash::Kill => self.tally.kills += 1,
            Crash::PowerLoss => {
                self.tally.power_losses += 1;
                self.boot_id = u128::from(self.rng.number());
                self.tally.lost_names += self.names.lose_power(&mut self.rng);
                for inode in self.inodes.values_mut() {
                    inode.lose_power(&mut self.rng, &mut self.tally);
                }
            }
        }
        // Nobody has a file open any more.
        let names = &self.names;
        self.inodes.retain(|id, _| names.leads_to(*id));
    }

    fn alive(&self, generation: u64) -> io::Result<()> {
        if generation == self.generation { Ok(()) } else { Err(io::Error::other("the process is dead")) }
    }

    /// Whether the machine or process dies in the operation that starts now.
    fn dies_now(&mut self) -> Option<Crash> {
        let (left, crash) = self.armed?;
        if left == 0 {
            return Some(crash);
        }
        self.armed = Some((left - 1, crash));
        None
    }

    fn die<T>(&mut self, crash: Crash) -> io::Result<T> {
        self.crash(crash);
        self.crashed = Some(crash);
        Err(io::Error::other("the process is dead"))
    }

    fn full<T>(&mut self) -> io::Result<T> {
        self.tally.disk_full += 1;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn room_for(&self, bytes: u64) -> bool {
        self.used().saturating_add(bytes) <= self.faults.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, IoSlice};

    fn disk(seed: u64) -> SimDisk {
        SimDisk::new(seed, Trace::off())
    }

    fn write(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Arc<dyn journal::disk::DiskFile> {
        let file = disk.create(name, 0).unwrap();
        file.write_at(0, &[IoSlice::new(bytes)]).unwrap();
        file
    }

    fn read(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
        let file = disk.open(name)?;
        let mut bytes = vec![0; file.length()? as usize];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn death_of_the_process_loses_nothing_and_its_handles() {
        let disk = disk(1);
        let mount = disk.mount();
        let file = write(&*mount, "a", b"hello");
        disk.kill();
        assert!(file.write_at(0, &[IoSlice::new(b"x")]).is_err());
        assert!(file.read_at(0, &mut [0]).is_err() && mount.list().is_err() && mount.open("a").is_err());
        let again = disk.mount();
        assert_eq!(again.boot_id(), mount.boot_id());
        assert_eq!(read(&*again, "a").unwrap(), b"hello");
    }

    #[test]
    fn power_loss_keeps_what_was_synced_and_changes_the_boot() {
        let (mut names, mut contents) = (0, 0);
        for seed in 0..100 {
            let disk = disk(seed);
            let mount = disk.mount();
            write(&*mount, "kept", b"stable").sync().unwrap();
            mount.sync_names().unwrap();
            write(&*mount, "named", b"stable").sync().unwrap();
            write(&*mount, "loose", b"volatile");
            mount.open("kept").unwrap().write_at(0, &[IoSlice::new(b"STABLE")]).unwrap();
            disk.power_loss();
            let again = disk.mount();
            assert_ne!(again.boot_id(), mount.boot_id());
            let kept = read(&*again, "kept").unwrap();
            assert!(kept == b"stable" || kept == b"STABLE");
            contents += u32::from(kept == b"STABLE");
            match read(&*again, "named") {
                Ok(bytes) => {
                    names += 1;
                    assert_eq!(bytes, b"stable");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
        }
        assert!((20..80).contains(&names) && (20..80).contains(&contents), "{names} {contents}");
    }

    #[test]
    fn a_full_disk_refuses_and_what_is_preallocated_can_be_written() {
        let disk = disk(1);
        disk.set_faults(|faults| faults.capacity = 1000);
        let mount = disk.mount();
        let file = mount.create("a", 800).unwrap();
        assert_eq!(mount.create("b", 300).err().map(|error| error.kind()), Some(ErrorKind::StorageFull));
        assert_eq!(mount.open("b").err().map(|error| error.kind()), Some(ErrorKind::NotFound));
        file.write_at(0, &[IoSlice::new(&[1; 800])]).unwrap();
        let error = file.write_at(900, &[IoSlice::new(&[1; 200])]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        mount.remove("a").unwrap();
        mount.create("b", 900).unwrap();
        assert_eq!(disk.used(), 900);
    }

    #[test]
    fn errors_come_at_their_rates_and_an_armed_crash_cuts_a_write() {
        let disk = disk(3);
        let mount = disk.mount();
        let file = write(&*mount, "a", &[1; 4096]);
        disk.set_faults(|faults| (faults.write_errors, faults.sync_errors, faults.read_errors) = (1000, 1000, 1000));
        assert!(file.write_at(0, &[IoSlice::new(&[2])]).is_err());
        assert!(file.sync().is_err() && file.read_at(0, &mut [0]).is_err());
        disk.set_faults(|faults| *faults = Faults::NONE);
        file.write_at(0, &[IoSlice::new(&[3])]).unwrap();
        disk.arm(1, Crash::Kill);
        file.sync().unwrap();
        assert_eq!(disk.take_crash(), None);
        assert!(file.write_at(0, &[IoSlice::new(&[9; 4096])]).is_err());
        assert_eq!(disk.take_crash(), Some(Crash::Kill));
        let bytes = read(&*disk.mount(), "a").unwrap();
        let cut = bytes.iter().position(|byte| *byte != 9).unwrap_or(bytes.len());
        assert!(bytes[cut..].iter().all(|byte| *byte != 9), "a prefix");
    }

    #[test]
    fn a_flipped_bit_stays_flipped() {
        let disk = disk(1);
        let mount = disk.mount();
        write(&*mount, "a", &[0, 0, 0]).sync().unwrap();
        mount.sync_names().unwrap();
        assert!(disk.flip("a", 1, 3) && !disk.flip("a", 3, 0) && !disk.flip("b", 0, 0));
        assert_eq!(read(&*mount, "a").unwrap(), [0, 8, 0]);
        disk.power_loss();
        assert_eq!(read(&*disk.mount(), "a").unwrap(), [0, 8, 0]);
        assert_eq!(disk.files()[0].content_end, 2);
    }
}
