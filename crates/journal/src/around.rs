//! Writing to a file without leaving what is written in the page cache (`O_DIRECT`).
//!
//! Copying into fresh pages of the page cache costs more than all else a broker does with a large
//! batch, and readers that keep up are served from the tail cache anyway. What goes around the page
//! cache has to start and end at a block's bounds, and frames do not. So the block that a write ends
//! in is filled up with zeros, kept, and written once more in front of what follows. That is what the
//! page cache does with a block that grows, too: bytes that were on stable storage are written again
//! as they were.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

/// What positions, lengths and memory are multiples of. Disks ask for 512 or 4096.
const BLOCK: usize = 4096;
/// Bytes handed to the kernel at once.
const WRITE_BYTES: usize = 1 << 20;

/// The memory that is written from, and the file that was written last. One for all files of a folder,
/// of which the journal writes one at a time.
#[derive(Default)]
pub(crate) struct Around {
    /// Room for [`WRITE_BYTES`] at a block's bound; none before the first write.
    memory: Vec<u8>,
    target: Option<Target>,
}

/// A file that is written around the page cache.
struct Target {
    number: u64,
    /// None: the file system does not do it.
    file: Option<File>,
    /// Where the last write ended, and the block it ended in as far as it is full.
    end: u64,
    tail: Vec<u8>,
}

impl Around {
    /// Nobody has that file open any more. Held open here, it would keep its place on disk when it is removed.
    pub(crate) fn forget(&mut self, number: u64) {
        self.target.take_if(|target| target.number == number);
    }

    /// Writes all of `parts` at `position` of `file`, and zeros up to the end of the block, where nothing
    /// but zeros may be. False, and nothing was written, when that cannot be done with this file here.
    ///
    /// # Errors
    /// As the operating system says; an unknown part has been written then.
    pub(crate) fn write(&mut self, file: &File, number: u64, position: u64, parts: &[IoSlice<'_>]) -> io::Result<bool> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let end = position + length as u64;
        if end.next_multiple_of(BLOCK as u64) > file.metadata()?.len() {
            return Ok(false);
        }
        let target = match &mut self.target {
            Some(target) if target.number == number => target,
            target => target.insert(Target { number, file: reopen(file), end: 0, tail: Vec::new() }),
        };
        let Some(direct) = &target.file else { return Ok(false) };
        if self.memory.is_empty() {
            self.memory = vec![0; WRITE_BYTES + BLOCK];
        }
        let bound = self.memory.as_ptr().align_offset(BLOCK);
        let memory = &mut self.memory[bound..bound + WRITE_BYTES];

        let mut filled = (position % BLOCK as u64) as usize;
        let mut start = position - filled as u64;
        match target.end == position && target.tail.len() == filled {
            true => memory[..filled].copy_from_slice(&target.tail),
            false => file.read_exact_at(&mut memory[..filled], start)?,
        }
        // Unknown until all of it is written.
        target.end = 0;
        target.tail.clear();
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let count = rest.len().min(WRITE_BYTES - filled);
                memory[filled..filled + count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                filled += count;
                if filled == WRITE_BYTES {
                    write_blocks(direct, memory, start)?;
                    start += WRITE_BYTES as u64;
                    filled = 0;
                }
            }
        }
        if filled > 0 {
            let blocks = filled.next_multiple_of(BLOCK);
            memory[filled..blocks].fill(0);
            write_blocks(direct, &memory[..blocks], start)?;
        }
        target.tail.extend_from_slice(&memory[filled - filled % BLOCK..filled]);
        target.end = end;
        Ok(true)
    }
}

/// The same file once more, for writing around the page cache. None where that does not exist.
fn reopen(file: &File) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    // By its descriptor: the name may have changed.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = File::from(open(path, OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).ok()?);
    // Some file systems refuse at the first write only, or want larger blocks.
    let asked = rustix::fs::statx(&file, c"", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::DIOALIGN);
    match asked {
        Ok(known) if known.stx_mask & rustix::fs::StatxFlags::DIOALIGN.bits() != 0 => {
            let fits = |align: u32| align > 0 && BLOCK.is_multiple_of(align as usize);
            (fits(known.stx_dio_mem_align) && fits(known.stx_dio_offset_align)).then_some(file)
        }
        // Kernels before 6.1 do not tell: better not.
        _ => None,
    }
}

fn write_blocks(file: &File, mut blocks: &[u8], mut position: u64) -> io::Result<()> {
    while !blocks.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file.as_fd(), blocks, position))?;
        // What is left of a write that was cut elsewhere cannot be written this way.
        if written == 0 || !written.is_multiple_of(BLOCK) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        position += written as u64;
        blocks = &blocks[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::disk::{Disk, Folder};
    use proptest::prelude::*;
    use std::io::IoSlice;

    const LENGTH: usize = 6 << 20;

    /// A write: whether around the page cache, and of how many bytes in how many parts.
    fn writes() -> impl Strategy<Value = Vec<(bool, usize, usize)>> {
        let bytes = prop_oneof![1..200usize, 4000..4200usize, 60_000..70_000usize, 1_040_000..1_060_000usize];
        prop::collection::vec((any::<bool>(), bytes, 1..5usize), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whichever way the parts of a file were written, every reader finds all that was written so far,
        /// and zeros behind it.
        #[test]
        fn both_ways_of_writing_make_the_same_file(writes in writes()) {
            let folder = tempfile::tempdir().unwrap();
            let disk = Folder::open(folder.path()).unwrap();
            let file = disk.create("a", LENGTH as u64).unwrap();
            let mut expected = Vec::new();
            for (nth, (around, bytes, parts)) in writes.into_iter().enumerate() {
                if expected.len() + bytes > LENGTH {
                    break;
                }
                let content: Vec<u8> = (0..bytes).map(|at| (at * 31 + nth * 7 + 1) as u8 | 1).collect();
                let slices: Vec<_> = content.chunks(bytes.div_ceil(parts)).map(IoSlice::new).collect();
                let position = expected.len() as u64;
                match around {
                    true => file.write_around(position, &slices).unwrap(),
                    false => file.write_at(position, &slices).unwrap(),
                }
                expected.extend_from_slice(&content);
                let mut found = vec![0xff; LENGTH];
                file.read_at(0, &mut found).unwrap();
                prop_assert!(found[..expected.len()] == expected[..], "after write {nth}");
                prop_assert!(found[expected.len()..].iter().all(|byte| *byte == 0), "behind write {nth}");
            }
            prop_assert_eq!(file.length().unwrap(), LENGTH as u64);
        }
    }

    #[test]
    fn the_end_of_a_file_that_ends_within_a_block_is_written_too() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let file = disk.create("a", 5000).unwrap();
        file.write_around(0, &[IoSlice::new(&[1; 4500])]).unwrap();
        file.write_around(4500, &[IoSlice::new(&[2; 500])]).unwrap();
        let mut found = [0; 5000];
        file.read_at(0, &mut found).unwrap();
        assert!(found[..4500] == [1; 4500] && found[4500..] == [2; 500]);
        assert_eq!(file.length().unwrap(), 5000);
    }

    #[test]
    fn a_file_that_nobody_uses_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let path = folder.path().canonicalize().unwrap().join("a");
        let open = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap();
            files.filter(|file| std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|to| to == path)).count()
        };
        let file = disk.create("a", 1 << 20).unwrap();
        file.write_around(0, &[IoSlice::new(&[1; 5000])]).unwrap();
        assert!(open() >= 1);
        drop(file);
        assert_eq!(open(), 0);
    }

    #[test]
    fn two_files_in_turns_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::open(folder.path()).unwrap();
        let files = [disk.create("a", 1 << 20).unwrap(), disk.create("b", 1 << 20).unwrap()];
        for nth in 0..10u64 {
            for (file, byte) in files.iter().zip([1, 2]) {
                file.write_around(nth * 5000, &[IoSlice::new(&[byte; 5000])]).unwrap();
            }
        }
        for (file, byte) in files.iter().zip([1, 2]) {
            let mut found = vec![0; 50_000];
            file.read_at(0, &mut found).unwrap();
            assert!(found.iter().all(|found| *found == byte));
        }
    }
}
