//! A connection another node dialled: requests in, answers out.

use crate::call::checksum_of;
use crate::codec::frame::{Frame, FrameKind, Header};
use crate::end::{End, Violation};
use crate::handler::Handler;
use crate::handshake::Guest;
use crate::input::Input;
use crate::limit::REQUESTS_IN_FLIGHT_MAX;
use crate::node::Node;
use crate::output::Output;
use crate::pulse::{Beat, Pulse};
use crate::rejection::{Rejection, RejectionCode};
use crate::stream::{ReadHalf, WriteHalf};
use bytes::Bytes;
use futures::future::{BoxFuture, poll_fn};
use futures::stream::{FuturesUnordered, StreamExt};
use std::task::Poll;
use tokio::sync::watch;
use tokio::time::timeout;

/// A connection another node dialled. When it is dropped, so is the work on its requests.
pub(crate) struct Inbound<'a> {
    node: &'a Node,
    handler: &'a dyn Handler,
    guest: Guest,
    input: Input,
    output: Output,
    pulse: Pulse,
    working: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Bytes of the requests being worked on.
    bytes: usize,
    last_id: u64,
}

/// A request's end.
struct Done {
    id: u64,
    /// The request's size.
    bytes: usize,
    answer: Result<Vec<Bytes>, Rejection>,
}

impl<'a> Inbound<'a> {
    pub(crate) fn new(
        node: &'a Node,
        handler: &'a dyn Handler,
        guest: Guest,
        reader: ReadHalf,
        writer: WriteHalf,
    ) -> Self {
        Inbound {
            node,
            handler,
            input: Input::new(reader, guest.lane),
            output: Output::new(writer),
            pulse: Pulse::new(&node.options),
            working: FuturesUnordered::new(),
            bytes: 0,
            last_id: 0,
            guest,
        }
    }

    /// Serves until the connection ends, or until told to stop and done with what was started.
    pub(crate) async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        if let Err(end) = self.exchange(stop).await {
            return end;
        }
        match timeout(self.node.options.drain_timeout, self.drain()).await {
            Ok(Err(end)) => end,
            Ok(Ok(())) | Err(_) => End::Stopped,
        }
    }

    async fn exchange(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        let counters = &self.node.counters;
        let mut beats = Pulse::beats(&self.node.options);
        loop {
            // While the other side does not take its answers it gets no further ones, and nothing more
            // is read.
            let has_room = self.output.has_room();
            let frame = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                () = self.guest.seat.asked_to_leave() => return Err(End::Replaced),
                _ = beats.tick() => {
                    self.beat()?;
                    continue;
                }
                Some(done) = self.working.next(), if has_room => {
                    self.answer(done);
                    continue;
                }
                written = self.output.write(&counters.bytes_sent), if !self.output.is_empty() => {
                    written?;
                    continue;
                }
                frame = self.input.next(&counters.bytes_received), if has_room => frame?,
            };
            self.receive(frame).await?;
            // All that came with it, so that the answers share a write.
            while self.output.has_room()
                && let Some(frame) = self.input.buffered()?
            {
                self.receive(frame).await?;
            }
        }
    }

    /// Says goodbye, ends what was started, and waits for the other side to close, since closing
    /// with bytes unread would take from it what was sent last.
    async fn drain(&mut self) -> Result<(), End> {
        let counters = &self.node.counters;
        self.output.push(&Header::bare(FrameKind::GoAway, self.last_id), []);
        while !self.working.is_empty() || !self.output.is_empty() {
            let has_room = self.output.has_room();
            tokio::select! {
                Some(done) = self.working.next(), if has_room => self.answer(done),
                written = self.output.write(&counters.bytes_sent), if !self.output.is_empty() => written?,
            }
        }
        self.output.shutdown().await?;
        loop {
            self.input.next(&counters.bytes_received).await?;
        }
    }

    fn beat(&mut self) -> Result<(), End> {
        match self.pulse.beat_of_pinged(self.input.received(), self.output.written()) {
            Beat::Dead => Err(End::Silent),
            Beat::Alive | Beat::Quiet => Ok(()),
        }
    }

    async fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            FrameKind::Request => self.start(frame).await,
            FrameKind::Ping => {
                self.output.push(&Header::bare(FrameKind::Pong, 0), []);
                Ok(())
            }
            kind @ (FrameKind::Response | FrameKind::Error | FrameKind::Pong | FrameKind::GoAway) => {
                Err(Violation::Unexpected(kind))
            }
        }
    }

    async fn start(&mut self, frame: Frame) -> Result<(), Violation> {
        let Frame { id, channel, payload, .. } = frame;
        if id <= self.last_id {
            return Err(Violation::Order { id, last: self.last_id });
        }
        self.last_id = id;
        let bytes = payload.len();
        let lane = self.guest.lane;
        if self.working.len() >= REQUESTS_IN_FLIGHT_MAX || self.bytes + bytes > lane.bytes_in_flight_max() {
            return Err(Violation::Flood);
        }
        self.bytes += bytes;
        self.node.counters.requests_received.one();
        let mut work = self.handler.handle(self.guest.from, channel, lane, payload);
        // Polled once here, so that requests start in order even where all of the work is in the
        // future; many are done with that.
        match poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
            Poll::Ready(answer) => self.answer(Done { id, bytes, answer }),
            Poll::Pending => {
                let limit = self.node.options.handle_timeout;
                self.working.push(Box::pin(async move {
                    let answer = timeout(limit, work).await.unwrap_or_else(|_| Err(late()));
                    Done { id, bytes, answer }
                }));
            }
        }
        Ok(())
    }

    fn answer(&mut self, done: Done) {
        let Done { id, bytes, answer } = done;
        self.bytes -= bytes;
        let (kind, parts) = match answer.and_then(|parts| self.checked(parts)) {
            Ok(parts) => (FrameKind::Response, parts),
            Err(rejection) => (FrameKind::Error, vec![rejection.encode()]),
        };
        let length = length_of(&parts) as u32;
        self.output.push(&Header { length, kind, id, channel: 0, checksum: checksum_of(&parts) }, parts);
    }

    /// An answer that may be sent.
    fn checked(&self, parts: Vec<Bytes>) -> Result<Vec<Bytes>, Rejection> {
        let (length, max) = (length_of(&parts), self.guest.lane.frame_bytes_max());
        if length > max {
            tracing::error!(length, max, lane = %self.guest.lane, "a handler's answer does not fit a frame");
            return Err(Rejection::new(RejectionCode::Failed, "the answer is too large"));
        }
        Ok(parts)
    }
}

fn length_of(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

fn late() -> Rejection {
    Rejection::new(RejectionCode::TimedOut, "the handler took longer than its node allows")
}
