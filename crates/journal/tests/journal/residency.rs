//! How much of a file is in the page cache.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Bytes of the file at `path` that are in the page cache, in whole pages.
#[expect(unsafe_code, reason = "there is no safe interface to mincore")]
pub(crate) fn resident_bytes(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    if length == 0 {
        return 0;
    }
    // SAFETY: it asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let mut pages = vec![0u8; length.div_ceil(page)];
    // SAFETY: the mapping is a new one, nobody touches it, and it is given back; `pages` has a byte for each of
    // its pages.
    let asked = unsafe {
        let at = libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
        let asked = libc::mincore(at, length, pages.as_mut_ptr());
        libc::munmap(at, length);
        asked
    };
    assert_eq!(asked, 0, "mincore");
    pages.iter().map(|page| u64::from(page & 1)).sum::<u64>() * page as u64
}

/// Has the file at `path`, which is on the disk, leave the page cache.
pub(crate) fn evict(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}
