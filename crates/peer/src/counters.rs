//! What the connections of a node have seen, in numbers that only grow.

use crate::refusal::Refusal;
use std::sync::atomic::{AtomicU64, Ordering};

/// One number, counted from many tasks.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn one(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            refusals: [Counter; Refusal::ALL.len()],
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections of others that were refused in the handshake, or did not finish it, by why.
            pub refusals: [u64; Refusal::ALL.len()],
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.read(),)* refusals: self.refusals.each_ref().map(Counter::read) }
            }
        }
    };
}

counters! {
    /// Connections made to other nodes.
    dialled,
    /// Attempts to connect that failed or were refused.
    dials_failed,
    /// Connections of other nodes that were let in.
    accepted,
    /// Connections cut because the other side broke the protocol.
    violations,
    /// Connections cut because nothing was heard.
    silenced,
    /// Requests sent.
    requests_sent,
    /// Requests received and started.
    requests_received,
    /// Bytes written to connections after their handshake.
    bytes_sent,
    /// Bytes read from connections after their handshake.
    bytes_received,
}

impl Counters {
    pub(crate) fn refuse(&self, why: Refusal) {
        self.refusals[why as usize].one();
    }
}

impl Counts {
    /// Connections of others that were not let in, for whatever reason.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refusals.iter().sum()
    }

    /// Those that were for this reason.
    #[must_use]
    pub fn refused_for(&self, why: Refusal) -> u64 {
        self.refusals[why as usize]
    }
}
