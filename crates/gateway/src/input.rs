//! What a connection has received and not yet handed to its session.
//!
//! Little is received for nothing. For a larger frame memory is taken from the node's, all of it at once:
//! whoever has a part of what they need would keep others from finishing. While there is plenty it is taken
//! as soon as the frame says how large it is, else once some of it has come, in turn.

use crate::patience::Patience;
use crate::session::{Session, Violation};
use broker::Memory;
use broker::memory::Held;
use bytes::BytesMut;
use model::limit::{INPUT_BYTES_FREE, REQUEST_BYTES_ORDINARY};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The least and the most room that input gets at once when no large frame is known to come. It grows while
/// the client fills it: of little room little is held by a small request that waits.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Input {
    bytes: BytesMut,
    /// Memory for what is beyond [`INPUT_BYTES_FREE`].
    held: Held,
    /// How large the frame at the front is, if that is known and large, and there is memory for it.
    frame: usize,
    /// How much room the input gets next.
    room: usize,
    patience: Patience,
    memory: Memory,
}

impl Input {
    pub(crate) fn new(memory: Memory) -> Self {
        let held = memory.arriving.charge(0);
        Input { bytes: BytesMut::new(), held, frame: 0, room: READ_BYTES_MIN, patience: Patience::start(), memory }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes memory for a frame of so many bytes at the front, if there is plenty. Returns how much has to be
    /// waited for before more is received.
    pub(crate) fn wanted(&mut self, frame: usize) -> Option<usize> {
        if frame <= INPUT_BYTES_FREE || frame <= self.frame {
            return None;
        }
        let pool = self.memory.arriving(frame);
        // A large frame is promised more easily than sent.
        let at_once = frame <= REQUEST_BYTES_ORDINARY && pool.has_plenty();
        if !at_once && self.bytes.len() < INPUT_BYTES_FREE {
            return None;
        }
        match pool.try_take(frame) {
            Some(held) => {
                self.grant(held);
                None
            }
            None => Some(frame),
        }
    }

    /// Here is the memory for the frame at the front.
    pub(crate) fn grant(&mut self, held: Held) {
        self.frame = held.bytes();
        self.held = held;
        self.patience = Patience::start();
    }

    /// Takes what has come, making room for it first. Returns how much that was: none when the client has
    /// ended, and `None` when nothing has come yet.
    pub(crate) fn read(&mut self, stream: &TcpStream) -> io::Result<Option<usize>> {
        if self.bytes.is_empty() {
            self.patience = Patience::start();
        }
        self.make_room();
        let read = match stream.try_read_buf(&mut self.bytes) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.bytes.len() == self.bytes.capacity() {
            self.room = (self.room * 2).min(READ_BYTES_MAX);
        } else if read < self.room / 8 {
            self.room = (self.room / 2).max(READ_BYTES_MIN);
        }
        self.patience.progress(read);
        Ok(Some(read))
    }

    fn make_room(&mut self) {
        let left = self.bytes.capacity() - self.bytes.len();
        if self.frame > self.bytes.len() {
            // Memory that nobody has written to yet costs nothing, so there may be room for all of it.
            self.bytes.reserve(self.frame - self.bytes.len());
        } else if left < self.room / 2 {
            let plenty = self.memory.arriving.has_plenty();
            let room = if plenty { self.room } else { self.room.min(INPUT_BYTES_FREE) };
            let most = if plenty { room } else { INPUT_BYTES_FREE.saturating_sub(self.bytes.len()).min(room) };
            self.bytes.reserve(most.max(1));
        }
        self.count();
    }

    /// Hands whole frames on, which came by `now`. Returns whether there were any.
    pub(crate) fn hand_to(&mut self, session: &mut dyn Session, now: Instant) -> Result<bool, Violation> {
        let (before, waited) = (self.bytes.len(), session.waits_for().is_some());
        session.receive(&mut self.bytes, now)?;
        let taken = self.bytes.len() < before;
        // The session may have had one that waited for memory.
        let went_on = waited && session.waits_for().is_none();
        if taken {
            if self.frame > 0 && self.bytes.is_empty() {
                // Of a large frame's buffer nothing is to be used again.
                self.bytes = BytesMut::new();
            }
            self.frame = 0;
            // Whatever is left has no part of the memory for large frames.
            self.held = self.memory.arriving.charge(0);
            self.count();
            self.patience = Patience::start();
        }
        Ok(taken || went_on)
    }

    /// Nothing is to be done for now. An idle connection holds no buffer; one that is not read, no large one.
    pub(crate) fn rest(&mut self, may_read: bool, idle: bool) {
        if self.bytes.is_empty() && (idle || !self.memory.arriving.has_plenty()) {
            self.bytes = BytesMut::new();
        }
        if !may_read {
            // It is not the client who stands still.
            self.patience = Patience::start();
        }
        self.count();
    }

    /// Counts the buffer for as long as it is larger than what everybody may have.
    fn count(&mut self) {
        let buffer = self.bytes.capacity();
        let bytes = if buffer > INPUT_BYTES_FREE { buffer.max(self.frame) } else { self.frame };
        if bytes != self.held.bytes() {
            self.held.resize(bytes);
        }
    }

    /// How long to wait for more, and why the connection ends then, if it does.
    pub(crate) fn patience(&self, stall: Duration) -> (Duration, Option<&'static str>) {
        let wanted = self.held.bytes() > 0 && self.held.pool().waiting() > 0;
        match self.patience.left(stall, wanted) {
            Some(left) => (left, None),
            None => (Duration::ZERO, Some("the rest of a request did not come")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::limit::MEMORY_BYTES_MIN;

    const ORDINARY: usize = 100 << 10;
    const LARGE: usize = 3 << 20;

    fn input_with(memory: &Memory, bytes: usize) -> Input {
        let mut input = Input::new(memory.clone());
        input.bytes = BytesMut::zeroed(bytes);
        input
    }

    #[test]
    fn small_frames_take_nothing() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let _all = memory.arriving.charge(MEMORY_BYTES_MIN as usize);
        assert_eq!(input_with(&memory, 4).wanted(INPUT_BYTES_FREE), None);
        assert_eq!(input_with(&memory, 3).wanted(0), None);
    }

    #[test]
    fn memory_is_taken_at_once_while_there_is_plenty() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let mut input = input_with(&memory, 4);
        assert_eq!(input.wanted(ORDINARY), None);
        assert_eq!(memory.arriving.used(), ORDINARY as u64);
        drop(input);
        assert_eq!(memory.arriving.used(), 0);
    }

    #[test]
    fn a_large_frame_takes_memory_once_some_of_it_has_come() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        assert_eq!(input_with(&memory, 4).wanted(LARGE), None);
        assert_eq!(memory.arriving_large.used(), 0);
        let mut input = input_with(&memory, INPUT_BYTES_FREE);
        assert_eq!(input.wanted(LARGE), None);
        assert_eq!((memory.arriving_large.used(), memory.arriving.used()), (LARGE as u64, 0));
        input.make_room();
        assert!(input.bytes.capacity() >= LARGE);
    }

    #[test]
    fn when_it_is_scarce_it_is_waited_for() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let all = memory.arriving.charge(memory.arriving.limit() as usize);
        assert_eq!(input_with(&memory, 4).wanted(ORDINARY), None);
        let mut input = input_with(&memory, INPUT_BYTES_FREE);
        assert_eq!(input.wanted(ORDINARY), Some(ORDINARY));
        drop(all);
        input.grant(memory.arriving.charge(ORDINARY));
        assert_eq!(input.wanted(ORDINARY), None, "it has it");
    }

    /// Takes all that there is.
    struct Taker;

    impl Session for Taker {
        fn frame_bytes(&self, _: &[u8]) -> usize {
            0
        }
        fn receive(&mut self, input: &mut BytesMut, _: Instant) -> Result<(), Violation> {
            input.clear();
            Ok(())
        }
        fn next_request(&mut self) -> Option<(u64, broker::Request)> {
            None
        }
        fn on_reply(&mut self, _: u64, _: broker::Reply, _: Instant) {}
        fn answer_bytes(&self) -> usize {
            0
        }
        fn take_output(&mut self, _: &mut Vec<crate::Output>) {}
        fn wants_input(&self) -> bool {
            true
        }
    }

    #[test]
    fn what_a_large_frame_took_is_given_back_with_it() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let mut input = input_with(&memory, INPUT_BYTES_FREE);
        assert_eq!(input.wanted(LARGE), None);
        input.make_room();
        assert_eq!(input.hand_to(&mut Taker, Instant::now()), Ok(true));
        assert_eq!((memory.arriving_large.used(), memory.arriving.used()), (0, 0));
    }

    #[test]
    fn a_buffer_is_no_larger_than_is_free_when_memory_is_scarce() {
        let memory = Memory::new(MEMORY_BYTES_MIN);
        let mut input = input_with(&memory, 0);
        input.room = READ_BYTES_MAX;
        let all = memory.arriving.charge(memory.arriving.limit() as usize);
        input.make_room();
        assert!(input.bytes.capacity() <= INPUT_BYTES_FREE);
        drop(all);
        input.make_room();
        assert!(input.bytes.capacity() >= READ_BYTES_MAX);
        assert!(memory.arriving.used() >= READ_BYTES_MAX as u64, "and counted");
        input.rest(true, true);
        assert_eq!(memory.arriving.used(), 0, "an idle one holds none");
    }
}
