//! The scrubber: reads every finished file again, so that damage is found while another replica can
//! still mend it.
//!
//! It is driven in small steps; how fast is the caller's to say, by [`crate::Options::scrub_period`].

use crate::damage::Damage;
use crate::file::FileId;
use crate::journal::Journal;
use crate::manifest::Manifest;
use crate::repair::holds_log;
use crate::state::Finished;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// How far a pass has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubCursor {
    /// Files with ids up to this are done.
    done: Option<FileId>,
    /// The file being read, and its next page.
    at: Option<(FileId, u32)>,
}

impl Journal {
    /// Where the last pass of an earlier process was.
    #[must_use]
    pub fn scrub_cursor(&self) -> ScrubCursor {
        ScrubCursor { done: self.state.lock().manifest.scrubbed, at: None }
    }

    /// Within this time everything shall be read once.
    #[must_use]
    pub fn scrub_period(&self) -> std::time::Duration {
        self.options.scrub_period
    }

    /// Reads on from `cursor` until about `bytes_max` bytes are read, and notes what is damaged.
    /// Returns whether that was the end of a pass. Blocks on the disk.
    pub fn scrub(&self, cursor: &mut ScrubCursor, bytes_max: u64) -> bool {
        let finished = self.finished();
        let mut files: Vec<&Arc<Finished>> = finished.iter().filter(|file| Some(file.id) > cursor.done).collect();
        files.sort_by_key(|file| file.id);
        let mut bytes = 0;
        for file in files {
            let mut page = cursor.at.filter(|(id, _)| *id == file.id).map_or(0, |(_, page)| page);
            while page < file.table.pages() {
                if bytes >= bytes_max {
                    cursor.at = Some((file.id, page));
                    self.counters.scrubbed_bytes.fetch_add(bytes, Relaxed);
                    return false;
                }
                bytes += self.scrub_page(file, page);
                page += 1;
            }
            bytes += self.scrub_rest(file);
            cursor.done = Some(file.id);
            // Stored with the next manifest that is written for a reason of its own.
            self.state.lock().manifest.scrubbed = cursor.done;
        }
        self.scrub_checkpoint();
        self.counters.scrubbed_bytes.fetch_add(bytes, Relaxed);
        *cursor = ScrubCursor::default();
        self.state.lock().manifest.scrubbed = None;
        true
    }

    /// Verifies the pieces of one page of the file's table. Returns the bytes read.
    fn scrub_page(&self, file: &Arc<Finished>, page: u32) -> u64 {
        let Ok(extents) = file.table.page(&*file.file, page) else {
            self.note_damage(Damage::Table { file: file.id });
            return 0;
        };
        let mut read = 0;
        for extent in extents {
            let mut bytes = vec![0; extent.length as usize];
            let whole = file.file.read_at(extent.position, &mut bytes).is_ok() && extent.check(&mut bytes).is_some();
            if !whole {
                self.note_bad_extent(&extent, None, Some(file));
            }
            read += u64::from(extent.length);
        }
        read
    }

    /// Verifies the rest of the table, and the entries that the Raft log still needs.
    fn scrub_rest(&self, file: &Arc<Finished>) -> u64 {
        if crate::rebuild::check(file).is_err() {
            self.note_damage(Damage::Table { file: file.id });
        }
        let floor = self.floor().index;
        if !holds_log(file, self.id(), floor) {
            return 0;
        }
        let mut read = 0;
        for index in file.table.first_index.max(floor + 1)..=file.table.last_index {
            read += self.scrub_entry(index);
        }
        read
    }

    /// Verifies an entry on disk, whether it is in memory or not. Returns the bytes read.
    fn scrub_entry(&self, index: u64) -> u64 {
        let source = {
            let state = self.state.lock();
            state.log.get(index).and_then(|slot| Self::source_on_disk(&state, index, slot).ok())
        };
        match source.map(|source| source.read(false)) {
            Some(Ok(entry)) => entry.payload.len() as u64,
            Some(Err(_)) => {
                self.note_damage(Damage::Entry { index });
                0
            }
            None => 0,
        }
    }

    fn scrub_checkpoint(&self) {
        // Reading it notes what is wrong, and the next checkpoint mends it.
        let _ = self.read_checkpoint();
        if !Manifest::is_whole(&*self.disk).unwrap_or(true)
            && let Err(error) = self.write_manifest(|_| ())
        {
            tracing::error!(shard = %self.options.shard, %error, "the manifest is damaged on disk");
        }
    }

    /// Whether the next checkpoint has to hold everything, because those before it are damaged.
    #[must_use]
    pub fn wants_base(&self) -> bool {
        self.state.lock().wants_base
    }
}
