//! The maxima of connections between nodes, and proofs of how they relate.
//!
//! Those marked as part of the protocol bind both sides: whoever exceeds them is cut off. They change
//! only together with the protocol version.

use model::limit::{APPEND_BYTES_MAX, KIB, MIB, NODES_MAX};

/// The largest payload of a frame on the lanes for data: the largest append and its description.
/// Part of the protocol.
pub const FRAME_BYTES_MAX: usize = APPEND_BYTES_MAX + MIB;
/// The largest payload of a frame on the control lane, where a long frame would defeat the purpose.
/// Part of the protocol.
pub const CONTROL_FRAME_BYTES_MAX: usize = MIB;
/// Requests of one connection that are not answered yet. Part of the protocol.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1024;
/// Bytes of a data connection's requests that are not answered yet. Part of the protocol.
pub const BYTES_IN_FLIGHT_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Bytes of a control connection's requests that are not answered yet. Part of the protocol.
pub const CONTROL_BYTES_IN_FLIGHT_MAX: usize = 8 * MIB;
/// Bytes of one message of the handshake, in any version. Part of the protocol.
pub const HANDSHAKE_BYTES_MAX: usize = 1024;
/// Bytes of the text in a rejection; longer text is cut. Part of the protocol.
pub const REJECTION_TEXT_BYTES_MAX: usize = 1024;

/// A receive buffer grows by this, or doubles what has arrived: never by what a frame claims.
pub const READ_STEP_BYTES: usize = 64 * KIB;
/// While so much waits to be written, nothing more is prepared. Large enough that small frames
/// share a system call, small enough that what is queued can still be told from what was sent.
pub const OUTPUT_BYTES_TARGET: usize = 256 * KIB;
/// Connections that have not said who they are.
pub const HANDSHAKES_MAX: usize = 64;
/// Connections accepted at a time, one per node and lane.
pub const SEATS_MAX: usize = 384;

const _: () = {
    assert!(FRAME_BYTES_MAX > APPEND_BYTES_MAX, "every append fits a frame, with room for its description");
    assert!(FRAME_BYTES_MAX <= BYTES_IN_FLIGHT_MAX, "a largest frame may be in flight");
    assert!(CONTROL_FRAME_BYTES_MAX <= CONTROL_BYTES_IN_FLIGHT_MAX);
    assert!(BYTES_IN_FLIGHT_MAX <= u32::MAX as usize, "lengths are 32 bits and permits are counted so");
    assert!(REJECTION_TEXT_BYTES_MAX < CONTROL_FRAME_BYTES_MAX);
    assert!(SEATS_MAX.is_multiple_of(crate::lane::Lane::ALL.len()));
    assert!(SEATS_MAX >= NODES_MAX * crate::lane::Lane::ALL.len(), "every node of a cluster finds a seat");
};
