//! Space kept for the work that frees space.
//!
//! One preallocated file. When a log file cannot be created because the disk is full, the reserve
//! becomes that log file; while there is no reserve, new work is refused at admission, and what
//! remains (acknowledgements, retention, the machine's own entries) goes on. Maintenance makes a new
//! reserve as soon as the disk has room, and service resumes by itself.

use crate::journal::Journal;
use crate::state::Space;
use std::io;

/// The reserve's name.
pub(crate) const NAME: &str = "reserve";

impl Journal {
    /// Makes the reserve again if it was used. Call this now and then.
    ///
    /// # Errors
    /// As the disk says; `StorageFull` is not an error but leaves the space as it is.
    pub fn refill_reserve(&self) -> io::Result<()> {
        match self.space() {
            Space::Enough => Ok(()),
            _ => self.check_reserve(),
        }
    }

    /// Looks for the reserve and makes it if it is not there or not whole.
    pub(crate) fn check_reserve(&self) -> io::Result<()> {
        match self.make_reserve() {
            Ok(()) => {
                if self.space() != Space::Enough {
                    tracing::info!(shard = %self.options.shard, "the disk has room again: new work is admitted");
                }
                self.set_space(Space::Enough);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let mut state = self.state.lock();
                if state.space == Space::Enough {
                    state.space = Space::Reserve;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn make_reserve(&self) -> io::Result<()> {
        match self.disk.open(NAME) {
            Ok(file) if file.length()? >= self.options.reserve_bytes => return Ok(()),
            // Less: power was lost right after it was made.
            Ok(_) => self.disk.remove(NAME)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.disk.create(NAME, self.options.reserve_bytes)?.sync()?;
        self.disk.sync_names()
    }
}
