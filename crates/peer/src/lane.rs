//! Lanes: what may wait behind what.

use crate::limit::{BYTES_IN_FLIGHT_MAX, CONTROL_BYTES_IN_FLIGHT_MAX, CONTROL_FRAME_BYTES_MAX, FRAME_BYTES_MAX};
use std::fmt;

/// A class of calls. Each has a connection of its own, so that one never waits behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Small and urgent: heartbeats, votes and questions. Never waits for room: full is [`crate::PeerError::Busy`].
    Control,
    /// Replication.
    Append,
    /// All that may take its time: snapshots, reads, large requests.
    Bulk,
}

impl Lane {
    /// All lanes, in the order of their tags.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Append, Lane::Bulk];

    /// The number that stands for the lane in the handshake.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            Lane::Control => 1,
            Lane::Append => 2,
            Lane::Bulk => 3,
        }
    }

    /// The lane of a tag.
    #[must_use]
    pub fn of_tag(tag: u8) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| lane.tag() == tag)
    }

    /// The largest payload of a frame in this lane.
    #[must_use]
    pub const fn frame_bytes_max(self) -> usize {
        match self {
            Lane::Control => CONTROL_FRAME_BYTES_MAX,
            Lane::Append | Lane::Bulk => FRAME_BYTES_MAX,
        }
    }

    /// How many bytes of requests may be unanswered in this lane.
    #[must_use]
    pub const fn bytes_in_flight_max(self) -> usize {
        match self {
            Lane::Control => CONTROL_BYTES_IN_FLIGHT_MAX,
            Lane::Append | Lane::Bulk => BYTES_IN_FLIGHT_MAX,
        }
    }

    /// The lane's place in an array with one element per lane.
    pub(crate) fn index(self) -> usize {
        usize::from(self.tag()) - 1
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lane::Control => "control",
            Lane::Append => "append",
            Lane::Bulk => "bulk",
        })
    }
}
