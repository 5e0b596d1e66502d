//! The disk itself: what everything that is made durable is compared with.

use super::{Options, cost, report};
use crate::Outcome;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 1 << 20;
const FILE_BYTES: u64 = 256 << 20;
/// Direct writes want memory at a multiple of this.
const ALIGNMENT: usize = 4096;

/// MiB per second of direct writes of 1 MiB, back to back in a preallocated file, one fdatasync at
/// the end of every 64 MiB.
pub(crate) fn direct_bandwidth(folder: &Path, window: Duration) -> Outcome<f64> {
    let path = folder.join("direct");
    let direct = OFlags::DIRECT.bits() as i32;
    let file = OpenOptions::new().create(true).write(true).truncate(true).custom_flags(direct).open(&path)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
    let memory = vec![7u8; BLOCK_BYTES + ALIGNMENT];
    let shift = memory.as_ptr().align_offset(ALIGNMENT);
    let block = &memory[shift..shift + BLOCK_BYTES];
    let (start, mut blocks) = (Instant::now(), 0u64);
    while start.elapsed() < window {
        for _ in 0..64 {
            file.write_all_at(block, blocks * BLOCK_BYTES as u64 % FILE_BYTES)?;
            blocks += 1;
        }
        file.sync_data()?;
    }
    let took = start.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(blocks as f64 * BLOCK_BYTES as f64 / (1 << 20) as f64 / took)
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

/// An empty folder of this name.
pub(crate) fn fresh(folder: &Path, name: &str) -> Outcome<std::path::PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir_all(&path)?;
    Ok(path)
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    report::section("Disk", "Direct writes (O_DIRECT) of 1 MiB into one preallocated file, fdatasync every 64 MiB.");
    let turns = (0..options.repetitions().max(3)).map(|_| direct_bandwidth(&options.folder, options.window()));
    let turns = turns.collect::<Outcome<Vec<f64>>>()?;
    report::head(&["lowest MiB/s", "median MiB/s", "highest MiB/s"]);
    let (low, high) = (turns.iter().copied().fold(f64::MAX, f64::min), turns.iter().copied().fold(0.0, f64::max));
    report::row(&[report::number(low), report::number(cost::median(turns)), report::number(high)]);
    Ok(())
}
