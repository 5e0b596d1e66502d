//! A connection we dialled: requests out, answers in.

use crate::call::{Call, Ticket};
use crate::codec::frame::{Frame, FrameKind, Header};
use crate::end::{End, Violation};
use crate::error::{NotSent, PeerError};
use crate::input::Input;
use crate::lane::Lane;
use crate::node::Node;
use crate::output::Output;
use crate::pulse::{Beat, Pulse};
use crate::rejection::Rejection;
use crate::stream::{ReadHalf, WriteHalf};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// A connection we dialled. When it is dropped, what it has sent fails as disconnected.
pub(crate) struct Outbound<'a> {
    node: &'a Node,
    input: Input,
    output: Output,
    pulse: Pulse,
    pending: HashMap<u64, Ticket>,
    last_id: u64,
    going_away: bool,
}

impl<'a> Outbound<'a> {
    pub(crate) fn new(node: &'a Node, lane: Lane, reader: ReadHalf, writer: WriteHalf) -> Self {
        Outbound {
            node,
            input: Input::new(reader, lane),
            output: Output::new(writer),
            pulse: Pulse::new(&node.options),
            pending: HashMap::new(),
            last_id: 0,
            going_away: false,
        }
    }

    /// Whether the other side ever said anything.
    pub(crate) fn has_heard(&self) -> bool {
        self.input.received() > 0
    }

    /// Sends what is queued, the first call first, until the connection ends.
    pub(crate) async fn run(&mut self, first: &mut Option<Call>, queue: &mut mpsc::Receiver<Call>) -> End {
        if let Some(call) = first.take() {
            self.send(call);
        }
        match self.exchange(queue).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn exchange(&mut self, queue: &mut mpsc::Receiver<Call>) -> Result<End, End> {
        let counters = &self.node.counters;
        let mut beats = Pulse::beats(&self.node.options);
        loop {
            if self.going_away && self.pending.is_empty() {
                return Ok(End::GoneAway);
            }
            let may_send = !self.going_away && self.output.has_room();
            // In this order small calls share a write. Nothing starves: what can be queued is bounded
            // by what has been answered.
            tokio::select! {
                biased;
                _ = beats.tick() => self.beat()?,
                call = queue.recv(), if may_send => match call {
                    Some(call) => self.send(call),
                    None => return Ok(End::Stopped),
                },
                written = self.output.write(&counters.bytes_sent), if !self.output.is_empty() => written?,
                frame = self.input.next(&counters.bytes_received) => self.receive(frame?)?,
            }
        }
    }

    fn send(&mut self, call: Call) {
        if !call.claim() {
            return call.fail(NotSent::TimedOut);
        }
        self.last_id += 1;
        let (header, parts, ticket) = call.into_frame(self.last_id);
        self.output.push(&header, parts);
        self.pending.insert(self.last_id, ticket);
        self.node.counters.requests_sent.one();
    }

    fn beat(&mut self) -> Result<(), End> {
        match self.pulse.beat(self.input.received(), self.output.written()) {
            Beat::Alive => Ok(()),
            Beat::Dead => Err(End::Silent),
            Beat::Quiet => {
                self.output.push(&Header::bare(FrameKind::Ping, 0), []);
                self.pulse.pinged(self.output.queued());
                Ok(())
            }
        }
    }

    fn receive(&mut self, frame: Frame) -> Result<(), Violation> {
        match frame.kind {
            FrameKind::Response => self.take(frame.id)?.end(Ok(frame.payload)),
            FrameKind::Error => {
                let rejection = Rejection::decode(&frame.payload).ok_or(Violation::Rejection)?;
                self.take(frame.id)?.end(Err(PeerError::Rejected(rejection)));
            }
            FrameKind::Pong if self.pulse.ponged() => {}
            FrameKind::GoAway => {
                self.going_away = true;
                for (_, ticket) in self.pending.extract_if(|id, _| *id > frame.id) {
                    ticket.end(Err(NotSent::GoingAway.into()));
                }
            }
            kind @ (FrameKind::Request | FrameKind::Ping | FrameKind::Pong) => {
                return Err(Violation::Unexpected(kind));
            }
        }
        Ok(())
    }

    fn take(&mut self, id: u64) -> Result<Ticket, Violation> {
        self.pending.remove(&id).ok_or(Violation::UnknownRequest(id))
    }
}
