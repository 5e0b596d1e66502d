//! Ids as newtypes: a stream can never be passed where a shard is meant.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl crate::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(input: &mut crate::wire::Input<'_>) -> Result<Self, crate::wire::WireError> {
                Ok($name(<$inner>::take(input)?))
            }
        }
    };
}

id!(
    /// A node of the cluster. Assigned once, never reused.
    NodeId(u64), "n"
);
id!(
    /// One Raft group: a journal and a state machine. Shard 0 is the catalog.
    ShardId(u32), "s"
);
id!(
    /// An ordered sequence of records. Assigned by the catalog, never reused: a recreated name
    /// gets a new id.
    StreamId(u64), "st"
);
id!(
    /// A producer that numbers its batches. Assigned by the catalog, never reused.
    ProducerId(u64), "p"
);
id!(
    /// How many times the leadership of a stream has changed hands, as Kafka counts it. Kept per
    /// stream; it is not the Raft term.
    LeaderEpoch(u32), "e"
);

impl ShardId {
    /// The shard that every node follows: names, placement, producer ids.
    pub const CATALOG: ShardId = ShardId(0);
}

/// The position of a record in its stream, counted in records from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The first position of every stream.
    pub const ZERO: Offset = Offset(0);

    /// The position `count` records further on.
    ///
    /// Saturates: an offset that far is refused by the sequencer long before.
    #[must_use]
    pub fn plus(self, count: u64) -> Offset {
        Offset(self.0.saturating_add(count))
    }

    /// How many records lie between `earlier` and this position; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl crate::wire::Wire for Offset {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut crate::wire::Input<'_>) -> Result<Self, crate::wire::WireError> {
        Ok(Offset(u64::take(input)?))
    }
}

/// A topic's identity as Kafka's newer requests spell it: 16 bytes, never all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl crate::wire::Wire for TopicId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(input: &mut crate::wire::Input<'_>) -> Result<Self, crate::wire::WireError> {
        Ok(TopicId(input.array()?))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Tells a node's data folder from all others: drawn at random when the folder is made. An id is given to
/// an incarnation, so a node that lost its folder cannot come back under its old id and deny what it
/// acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

impl crate::wire::Wire for Incarnation {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(input: &mut crate::wire::Input<'_>) -> Result<Self, crate::wire::WireError> {
        Ok(Incarnation(u128::take(input)?))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
