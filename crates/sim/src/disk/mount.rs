//! The disk as one process sees it.

use super::Platter;
use super::inode::Inode;
use journal::disk::{Disk, DiskFile};
use parking_lot::Mutex;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

/// A process's way to the disk; dead after the next crash.
pub(super) struct Mount {
    pub(super) platter: Arc<Mutex<Platter>>,
    pub(super) generation: u64,
    pub(super) boot_id: u128,
}

struct OpenFile {
    platter: Arc<Mutex<Platter>>,
    generation: u64,
    inode: u64,
    /// For the trace.
    name: String,
}

fn broken() -> io::Error {
    io::Error::other("simulated I/O error")
}

impl Mount {
    fn file(&self, name: &str, inode: u64) -> Arc<dyn DiskFile> {
        let (platter, generation) = (self.platter.clone(), self.generation);
        Arc::new(OpenFile { platter, generation, inode, name: name.to_owned() })
    }

    /// Does something to the names: dies before or after it, fails, or just does it.
    fn change<T>(&self, what: &str, act: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.platter.lock();
        platter.alive(self.generation)?;
        if let Some(crash) = platter.dies_now() {
            platter.trace.line(format_args!("disk: dies in {what}"));
            if platter.rng.percent(50) {
                let _ = act(&mut platter);
            }
            return platter.die(crash);
        }
        let rate = platter.faults.name_errors;
        if platter.rng.per_mille(rate) {
            platter.trace.line(format_args!("disk: {what} fails"));
            platter.tally.name_errors += 1;
            return Err(broken());
        }
        platter.trace.line(format_args!("disk: {what}"));
        act(&mut platter)
    }
}

impl Disk for Mount {
    fn list(&self) -> io::Result<Vec<String>> {
        let platter = self.platter.lock();
        platter.alive(self.generation)?;
        Ok(platter.names.live().map(|(name, _)| name.clone()).collect())
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(&format!("create {name}, {length} bytes"), |platter| {
            if platter.names.get(name).is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if !platter.room_for(length) {
                return platter.full();
            }
            let id = platter.next_inode;
            platter.next_inode += 1;
            let mut inode = Inode::default();
            if length > 0 {
                inode.set_length(length as usize);
            }
            platter.inodes.insert(id, inode);
            platter.names.change(vec![(name.to_owned(), Some(id))]);
            Ok(id)
        })?;
        Ok(self.file(name, inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let platter = self.platter.lock();
        platter.alive(self.generation)?;
        let inode = platter.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(self.file(name, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(&format!("rename {from} to {to}"), |platter| {
            let inode = platter.names.get(from).ok_or(ErrorKind::NotFound)?;
            platter.names.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(&format!("remove {name}"), |platter| {
            platter.names.get(name).ok_or(ErrorKind::NotFound)?;
            platter.names.change(vec![(name.to_owned(), None)]);
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change("sync names", |platter| {
            platter.names.sync();
            Ok(())
        })
    }

    fn boot_id(&self) -> u128 {
        self.boot_id
    }
}

impl OpenFile {
    fn length_in(&self, platter: &Platter) -> usize {
        platter.inodes[&self.inode].bytes().len()
    }
}

impl Platter {
    fn inode(&mut self, id: u64) -> &mut Inode {
        self.inodes.get_mut(&id).expect("a file that somebody has open stays")
    }
}

impl DiskFile for OpenFile {
    fn length(&self) -> io::Result<u64> {
        let platter = self.platter.lock();
        platter.alive(self.generation)?;
        Ok(self.length_in(&platter) as u64)
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.alive(self.generation)?;
        let rate = platter.faults.read_errors;
        if platter.rng.per_mille(rate) {
            platter.trace.line(format_args!("disk: read {} at {position} fails", self.name));
            platter.tally.read_errors += 1;
            return Err(broken());
        }
        let bytes = platter.inodes[&self.inode].bytes();
        let from = position as usize;
        let found = bytes.get(from..from + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.alive(self.generation)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let position = position as usize;
        let (name, end) = (&self.name, position + bytes.len());
        if let Some(crash) = platter.dies_now() {
            let cut = platter.rng.below(bytes.len() as u64 + 1) as usize;
            platter.trace.line(format_args!("disk: dies in write {name} {position}..{end}, at byte {cut}"));
            platter.inode(self.inode).write(position, &bytes[..cut]);
            return platter.die(crash);
        }
        let rate = platter.faults.write_errors;
        if platter.rng.per_mille(rate) {
            let (from, to) = (platter.rng.below(bytes.len() as u64) as usize, bytes.len());
            // What was written is somewhere in the middle more often than one thinks.
            let part = if platter.rng.percent(50) { 0..from } else { from..to };
            platter.trace.line(format_args!("disk: write {name} {position}..{end} fails, writes {part:?}"));
            platter.inode(self.inode).write(position + part.start, &bytes[part]);
            platter.tally.write_errors += 1;
            return Err(broken());
        }
        let grows = (end as u64).saturating_sub(platter.inodes[&self.inode].allocated());
        if grows > 0 && !platter.room_for(grows) {
            platter.trace.line(format_args!("disk: write {name} {position}..{end} finds the disk full"));
            return platter.full();
        }
        platter.trace.line(format_args!("disk: write {name} {position}..{end}"));
        platter.inode(self.inode).write(position, &bytes);
        platter.tally.writes += 1;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.alive(self.generation)?;
        let name = &self.name;
        if let Some(crash) = platter.dies_now() {
            platter.trace.line(format_args!("disk: dies in sync {name}"));
            if platter.rng.percent(30) {
                platter.inode(self.inode).sync();
            }
            return platter.die(crash);
        }
        let rate = platter.faults.sync_errors;
        if platter.rng.per_mille(rate) {
            let evicted = platter.rng.percent(50);
            platter.trace.line(format_args!("disk: sync {name} fails, evicted: {evicted}"));
            let Platter { inodes, rng, tally, .. } = &mut *platter;
            if let Some(inode) = inodes.get_mut(&self.inode) {
                inode.sync_badly(evicted, rng, tally);
            }
            platter.tally.sync_errors += 1;
            return Err(broken());
        }
        platter.trace.line(format_args!("disk: sync {name}"));
        platter.inode(self.inode).sync();
        platter.tally.syncs += 1;
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut platter = self.platter.lock();
        platter.alive(self.generation)?;
        let name = &self.name;
        if let Some(crash) = platter.dies_now() {
            platter.trace.line(format_args!("disk: dies in truncate {name}"));
            return platter.die(crash);
        }
        platter.trace.line(format_args!("disk: truncate {name} to {length}"));
        platter.inode(self.inode).set_length(length as usize);
        Ok(())
    }
}
