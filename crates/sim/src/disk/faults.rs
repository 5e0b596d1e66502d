//! What can be made to go wrong, and how often it did.

use std::fmt;

/// How a process or a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crash {
    /// The process dies: whatever was written is still there, synced or not.
    Kill,
    /// The machine loses power: of what was not synced, chance decides.
    PowerLoss,
}

/// What goes wrong from now on. Rates are per thousand operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Writes that fail, with an unknown part of them written.
    pub write_errors: u64,
    /// Syncs that fail and lose some of what was to be synced.
    pub sync_errors: u64,
    /// Reads that fail.
    pub read_errors: u64,
    /// Creating, renaming, removing and syncing names that fail.
    pub name_errors: u64,
    /// Bytes the disk has room for.
    pub capacity: u64,
    /// How long an operation takes, in whatever unit the driver counts. The disk itself does not
    /// wait; zero is a disk that is fast enough.
    pub latency: u64,
}

impl Faults {
    /// A disk that works.
    pub const NONE: Faults =
        Faults { write_errors: 0, sync_errors: 0, read_errors: 0, name_errors: 0, capacity: u64::MAX, latency: 0 };
}

impl Default for Faults {
    fn default() -> Self {
        Faults::NONE
    }
}

macro_rules! tally {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// How often what happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Tally {
            /// Adds another's counts.
            pub fn add(&mut self, other: &Tally) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((stringify!($name), self.$name),)*];
                for (nth, (name, count)) in counts.into_iter().filter(|(_, count)| *count > 0).enumerate() {
                    let comma = if nth == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {count}", name.replace('_', " "))?;
                }
                Ok(())
            }
        }
    };
}

tally! {
    /// Writes that succeeded.
    writes,
    /// Syncs that succeeded, of files.
    syncs,
    /// Processes that died.
    kills,
    /// Times the power went.
    power_losses,
    /// Writes that a crash or a failed sync lost whole.
    lost_writes,
    /// Writes of which it lost some sectors.
    torn_writes,
    /// Created, renamed or removed names that power loss undid.
    lost_names,
    /// Writes that failed.
    write_errors,
    /// Syncs of files that failed.
    sync_errors,
    /// Reads that failed.
    read_errors,
    /// Operations on names that failed.
    name_errors,
    /// Refusals for want of space.
    disk_full,
    /// Bits flipped.
    bit_flips,
}

impl Tally {
    /// Operations that were made to fail: while this does not grow, nobody has an excuse.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.write_errors + self.sync_errors + self.read_errors + self.name_errors + self.disk_full
    }
}
