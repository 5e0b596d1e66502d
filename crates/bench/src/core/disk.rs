//! The disk itself: what everything that is made durable is compared with.

use super::cost::{Cost, cpu_of, median};
use super::{Options, report};
use crate::Outcome;
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
enum Way {
    /// Past the page cache.
    Direct,
    /// Through the page cache, as the journal does.
    Buffered,
}

/// Writes of `block` bytes into one preallocated file, back to back, fdatasync after every
/// `between` of them; the file is overwritten from its start when it is full.
struct Writes {
    way: Way,
    block: usize,
    between: usize,
    file_bytes: u64,
}

/// MiB per second of direct writes of 1 MiB, one fdatasync at the end of every 64 MiB.
pub(crate) fn direct_bandwidth(folder: &Path, window: Duration) -> Outcome<f64> {
    let writes = Writes { way: Way::Direct, block: 1 << 20, between: 64, file_bytes: 256 << 20 };
    Ok(writes.run(folder, window)?.mib_a_second())
}

impl Writes {
    fn run(&self, folder: &Path, window: Duration) -> Outcome<Cost> {
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
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        bytes += if path.is_dir() { bytes_below(&path)? } else { fs::metadata(&path)?.blocks() * BLOCK };
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

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section(
        "Disk",
        "Writes into one preallocated file. Direct is O_DIRECT, past the page cache; buffered is what the journal does. \
         Fresh pages: the file is new to the page cache; same pages: 16 MiB are written over and over.",
    );
    report::head(&["writes", "fdatasync after", "lowest MiB/s", "median MiB/s", "highest MiB/s", "CPU µs per 64 KiB"]);
    let large: u64 = 8 << 30;
    for (name, way, block, between, file_bytes) in [
        ("1 MiB direct", Way::Direct, 1 << 20, 64, 256 << 20),
        ("256 KiB direct", Way::Direct, 256 << 10, 1, 256 << 20),
        ("256 KiB buffered, fresh pages", Way::Buffered, 256 << 10, 1, large),
        ("256 KiB buffered, same pages", Way::Buffered, 256 << 10, 1, 16 << 20),
        ("4 KiB direct", Way::Direct, 4 << 10, 1, 256 << 20),
        ("4 KiB buffered, fresh pages", Way::Buffered, 4 << 10, 1, large),
    ] {
        let file_bytes = if options.quick { file_bytes.min(256 << 20) } else { file_bytes };
        let writes = Writes { way, block, between, file_bytes };
        let turns = (0..options.repetitions().max(3)).map(|_| writes.run(&options.folder, options.window()));
        let turns = turns.collect::<Outcome<Vec<_>>>()?;
        let speeds = || turns.iter().map(Cost::mib_a_second);
        report::row(&[
            name.into(),
            report::size(block * between),
            report::number(speeds().fold(f64::MAX, f64::min)),
            report::number(median(speeds())),
            report::number(speeds().fold(0.0, f64::max)),
            report::number(median(turns.iter().map(Cost::cpu_micros))),
        ]);
    }
    Ok(())
}
