//! The disk itself: what everything that is made durable is compared with.

use crate::Outcome;
use crate::cost::{Cost, cpu_of};
use rustix::fs::{Advice, FallocateFlags, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Direct writes want memory at a multiple of this.
const ALIGNMENT: usize = 4096;

/// How a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Past the page cache.
    Direct,
    /// Through the page cache, as the journal does.
    Buffered,
}

/// Writes of `block` bytes into one preallocated file, back to back, fdatasync after every
/// `between` of them; the file is overwritten from its start when it is full.
pub(crate) struct Writes {
    pub(crate) way: Way,
    pub(crate) block: usize,
    pub(crate) between: usize,
    pub(crate) file_bytes: u64,
}

/// MiB per second of direct writes of 1 MiB, one fdatasync at the end of every 64 MiB.
pub(crate) fn direct_bandwidth(folder: &Path, window: Duration) -> Outcome<f64> {
    let writes = Writes { way: Way::Direct, block: 1 << 20, between: 64, file_bytes: 256 << 20 };
    Ok(writes.run(folder, window)?.mib_a_second())
}

impl Writes {
    pub(crate) fn run(&self, folder: &Path, window: Duration) -> Outcome<Cost> {
        let path = folder.join("direct");
        let flags = if self.way == Way::Direct { OFlags::DIRECT.bits() as i32 } else { 0 };
        let file = OpenOptions::new().create(true).write(true).truncate(true).custom_flags(flags).open(&path)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.file_bytes)?;
        let memory = vec![7u8; self.block + ALIGNMENT];
        let shift = memory.as_ptr().align_offset(ALIGNMENT);
        let block = &memory[shift..shift + self.block];
        let (cpu, start, mut bytes) = (cpu_of(std::process::id())?, Instant::now(), 0u64);
        while start.elapsed() < window {
            for _ in 0..self.between {
                file.write_all_at(block, bytes % self.file_bytes)?;
                bytes += self.block as u64;
            }
            file.sync_data()?;
        }
        let cost = Cost { records: bytes >> 16, bytes, wall: start.elapsed(), cpu: cpu_of(std::process::id())? - cpu };
        fs::remove_file(path)?;
        Ok(cost)
    }
}

/// Waits until the file system of `folder` has written what it holds back, so that one measurement does
/// not pay for the one before.
pub(crate) fn settle(folder: &Path) -> Outcome<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Takes every file below `folder` out of the kernel's page cache, as far as it is on the disk.
pub(crate) fn forget(folder: &Path) -> Outcome<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            let file = File::open(&path)?;
            file.sync_data()?;
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Bytes of the disk that the files below `folder` take.
pub(crate) fn bytes_below(folder: &Path) -> Outcome<u64> {
    /// The unit of a file's `st_blocks`.
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    let entries = match fs::read_dir(folder) {
        // A broker at work removes files and folders while we look.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        bytes += match fs::symlink_metadata(&path) {
            Ok(data) if data.is_dir() => bytes_below(&path)?,
            Ok(data) => data.blocks() * BLOCK,
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(bytes)
}

/// Removes a folder in which somebody who is stopping may still be making files.
pub(crate) fn remove(folder: &Path) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < deadline => {}
            other => return Ok(other?),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// An empty folder of this name.
pub(crate) fn fresh(folder: &Path, name: &str) -> Outcome<std::path::PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        remove(&path)?;
    }
    fs::create_dir_all(&path)?;
    Ok(path)
}
