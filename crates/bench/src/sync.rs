//! Durable writes a second.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const FILE_BYTES: u64 = 256 << 20;

pub(crate) fn run(folder: &Path, seconds: u64) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    println!("write    files  syncs/s  MiB/s");
    for kib in [4usize, 64, 256] {
        for files in 1..=3usize {
            let syncs = measure(folder, files, kib << 10, seconds)?;
            let rate = syncs as f64 / seconds as f64;
            println!("{kib:>4} KiB  {files:>4}  {rate:>8.0}  {:>6.1}", rate * kib as f64 / 1024.0);
        }
    }
    Ok(())
}

/// Syncs of all files together within `seconds`.
fn measure(folder: &Path, files: usize, bytes: usize, seconds: u64) -> io::Result<u64> {
    let (stop, syncs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    for nth in 0..files {
        let path = folder.join(format!("sync-{nth}"));
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
        let (stop, syncs) = (stop.clone(), syncs.clone());
        writers.push(thread::spawn(move || -> io::Result<()> {
            write(&file, bytes, &stop, &syncs)?;
            std::fs::remove_file(path)
        }));
    }
    thread::sleep(Duration::from_secs(1));
    let before = syncs.load(Relaxed);
    thread::sleep(Duration::from_secs(seconds));
    let counted = syncs.load(Relaxed) - before;
    stop.store(true, Relaxed);
    for writer in writers {
        writer.join().map_err(|_| io::Error::other("a writer panicked"))??;
    }
    Ok(counted)
}

fn write(file: &File, bytes: usize, stop: &AtomicBool, syncs: &AtomicU64) -> io::Result<()> {
    let block = vec![7u8; bytes];
    let mut position = 0;
    while !stop.load(Relaxed) {
        file.write_all_at(&block, position)?;
        file.sync_data()?;
        syncs.fetch_add(1, Relaxed);
        position = (position + bytes as u64) % (FILE_BYTES - bytes as u64);
    }
    Ok(())
}
