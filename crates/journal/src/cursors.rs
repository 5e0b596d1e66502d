//! Where readers of streams left off.
//!
//! Who reads a stream upwards asks for the next offset next, and need not look again into the finished files
//! that have nothing from there on: of a thousand files that would be a thousand reads. What is kept here
//! saves work and decides nothing.

use crate::state::Finished;
use model::{Offset, StreamId};
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

/// Readers remembered. One takes the place of another that happens to have the same.
const PLACES: usize = 512;

/// Finished files that need not be looked at again while a stream is read upwards: those first by
/// rank that had nothing at or above an offset passed since. Without it, reading a stream to its end
/// would look into every file once for each file.
#[derive(Default)]
pub(crate) struct Passed {
    /// Of these.
    pub(crate) files: Arc<Vec<Arc<Finished>>>,
    pub(crate) count: usize,
}

/// Where a reader was, without holding on to files that are removed meanwhile.
struct Left {
    stream: StreamId,
    next: Offset,
    files: Weak<Vec<Arc<Finished>>>,
    count: usize,
}

/// See the module's documentation.
pub(crate) struct Cursors {
    hasher: RandomState,
    places: Mutex<Box<[Option<Left>]>>,
}

impl Default for Cursors {
    fn default() -> Self {
        Cursors { hasher: RandomState::new(), places: Mutex::new((0..PLACES).map(|_| None).collect()) }
    }
}

impl Cursors {
    fn place(&self, stream: StreamId, next: Offset) -> usize {
        (self.hasher.hash_one((stream, next)) % PLACES as u64) as usize
    }

    /// What a reader who left off at `next` had passed. Others may have come as far, or ask once more.
    pub(crate) fn get(&self, stream: StreamId, next: Offset) -> Passed {
        let places = self.places.lock();
        let left = places[self.place(stream, next)].as_ref();
        let left = left.filter(|left| left.stream == stream && left.next == next);
        left.and_then(|left| Some(Passed { files: left.files.upgrade()?, count: left.count })).unwrap_or_default()
    }

    /// A reader leaves off at `next`.
    pub(crate) fn put(&self, stream: StreamId, next: Offset, passed: &Passed) {
        if passed.count > 0 {
            let left = Left { stream, next, files: Arc::downgrade(&passed.files), count: passed.count };
            let place = self.place(stream, next);
            self.places.lock()[place] = Some(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_left_off_for_as_long_as_the_files_are_those() {
        let (cursors, stream) = (Cursors::default(), StreamId(1));
        let files: Arc<Vec<Arc<Finished>>> = Arc::default();
        let passed = Passed { files: files.clone(), count: 3 };
        cursors.put(stream, Offset(10), &passed);
        assert_eq!(cursors.get(StreamId(2), Offset(10)).count, 0);
        assert_eq!(cursors.get(stream, Offset(11)).count, 0);
        let found = cursors.get(stream, Offset(10));
        assert!(found.count == 3 && Arc::ptr_eq(&found.files, &files));
        drop((files, found, passed));
        assert_eq!(cursors.get(stream, Offset(10)).count, 0, "nobody keeps files alive here");
    }
}
