//! What readers that catch up brought into the page cache, and when it leaves it again.
//!
//! Who catches up reads much that nobody has read for long, and mostly once. Left alone, the kernel gives up for
//! it what others will read again: to the kernel a page that goes out in two parts was used twice, so it stays.
//! That a file is read once can be said (`POSIX_FADV_NOREUSE`), and counts for mapped files only. So what was not
//! in the page cache when a reader came is noted here, and beyond so many bytes what was noted first is given
//! back, whoever brought it. What was there before is left alone.

use model::limit;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::num::NonZeroU64;
use std::sync::{Arc, Weak};

/// The page cache has files in pages of this size, or in multiples of it.
const PAGE_BYTES: u64 = 4096;

/// See the module's documentation. One for all journals of a node.
#[derive(Debug)]
pub struct ColdPages {
    bytes_max: u64,
    noted: Mutex<Noted>,
}

/// What was noted and not yet given back, in order.
#[derive(Debug, Default)]
struct Noted {
    parts: VecDeque<Part>,
    bytes: u64,
}

/// A part of a file, which does not keep the file open.
#[derive(Debug)]
struct Part {
    file: Weak<File>,
    from: u64,
    to: u64,
}

impl ColdPages {
    /// So many bytes may stay.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(ColdPages { bytes_max, noted: Mutex::default() })
    }

    /// Somebody reads this part of `file`, which was not in the page cache.
    pub(crate) fn note(&self, file: &Arc<File>, from: u64, to: u64) {
        // What lies in one page with its neighbours goes with it: they are read once, too.
        let (from, to) = (from - from % PAGE_BYTES, to.next_multiple_of(PAGE_BYTES));
        let part = Part { file: Arc::downgrade(file), from, to };
        // The kernel has work with them, which nobody else waits for.
        let leaving = self.noted.lock().add(part, self.bytes_max);
        leaving.iter().for_each(Part::give_back);
    }
}

impl Noted {
    /// Adds a part. Returns what is too much then.
    fn add(&mut self, part: Part, bytes_max: u64) -> Vec<Part> {
        self.bytes += part.bytes();
        self.parts.push_back(part);
        let mut leaving = Vec::new();
        while self.bytes > bytes_max || self.parts.len() > limit::COLD_PARTS_MAX {
            let Some(part) = self.parts.pop_front() else { break };
            self.bytes -= part.bytes();
            leaving.push(part);
        }
        leaving
    }
}

impl Part {
    fn bytes(&self) -> u64 {
        self.to - self.from
    }

    fn give_back(&self) {
        if let Some(file) = self.file.upgrade() {
            // A hint: nothing follows from a refusal.
            let _ = rustix::fs::fadvise(&*file, self.from, NonZeroU64::new(self.bytes()), rustix::fs::Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(parts: &[Part]) -> Vec<(u64, u64)> {
        parts.iter().map(|part| (part.from, part.to)).collect()
    }

    #[test]
    fn what_was_noted_first_leaves_first_and_nothing_before_there_is_too_much() {
        let mut noted = Noted::default();
        let part = |from, to| Part { file: Weak::new(), from, to };
        assert!(noted.add(part(0, 4), 10).is_empty());
        assert!(noted.add(part(4, 10), 10).is_empty());
        assert_eq!(places(&noted.add(part(10, 11), 10)), [(0, 4)]);
        assert_eq!(places(&noted.add(part(20, 30), 10)), [(4, 10), (10, 11)]);
        assert_eq!(places(&noted.add(part(30, 50), 10)), [(20, 30), (30, 50)], "also what alone is too much");
        assert!(noted.parts.is_empty() && noted.bytes == 0);
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let mut noted = Noted::default();
        for nth in 0..limit::COLD_PARTS_MAX as u64 + 5 {
            noted.add(Part { file: Weak::new(), from: nth, to: nth + 1 }, u64::MAX);
        }
        assert_eq!(noted.parts.len(), limit::COLD_PARTS_MAX);
        assert_eq!(noted.bytes, limit::COLD_PARTS_MAX as u64);
    }

    #[test]
    fn a_part_is_of_whole_pages_and_keeps_no_file_open() {
        let pages = ColdPages::new(u64::MAX);
        let file = Arc::new(tempfile::tempfile().unwrap());
        pages.note(&file, 5000, 9000);
        let noted = pages.noted.lock();
        assert_eq!(places(noted.parts.as_slices().0), [(4096, 12_288)]);
        assert_eq!((noted.bytes, Arc::strong_count(&file)), (8192, 1));
    }
}
