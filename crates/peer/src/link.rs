//! The way to one node in one lane: a queue, and the task that sees to a connection when there is
//! something to send.

use crate::backoff::Backoff;
use crate::call::{Call, Reply, Ticket};
use crate::end::End;
use crate::error::{NotSent, PeerError};
use crate::handshake;
use crate::lane::Lane;
use crate::limit::REQUESTS_IN_FLIGHT_MAX;
use crate::node::Node;
use crate::outbound::Outbound;
use crate::stream::{ReadHalf, WriteHalf};
use bytes::Bytes;
use model::NodeId;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, TryAcquireError, mpsc, watch};

/// The callers' side.
///
/// A call takes its room before it is queued and keeps it until it is answered. The other node allows
/// as much and no more, so neither side ever holds more than it agreed to, and no frames are spent on
/// saying so.
#[derive(Clone)]
pub(crate) struct Link {
    lane: Lane,
    queue: mpsc::Sender<Call>,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

impl Link {
    /// A link, and the task behind it, yet to be run.
    pub(crate) fn new(
        node: Arc<Node>,
        to: NodeId,
        lane: Lane,
        address: watch::Receiver<SocketAddr>,
        stop: watch::Receiver<bool>,
    ) -> (Link, Dialler) {
        let requests_max = node.options.requests_in_flight_max.clamp(1, REQUESTS_IN_FLIGHT_MAX);
        let bytes_max = node.options.bytes_in_flight_max.clamp(1, lane.bytes_in_flight_max());
        let (queue, receiver) = mpsc::channel(requests_max);
        let requests = Arc::new(Semaphore::new(requests_max));
        let bytes = Arc::new(Semaphore::new(bytes_max));
        let gates = [Arc::clone(&requests), Arc::clone(&bytes)];
        let backoff = Backoff::new(node.options.backoff_min, node.options.backoff_max);
        let dialler = Dialler {
            node,
            to,
            lane,
            queue: receiver,
            gates,
            address,
            stop,
            backoff,
            failed: None,
            tried: None,
            first: None,
        };
        (Link { lane, queue, requests, bytes, bytes_max: bytes_max as u32 }, dialler)
    }

    /// Waits for room and queues a call.
    pub(crate) async fn send(&self, channel: u32, request: Vec<Bytes>) -> Result<Reply, PeerError> {
        let length = request.iter().map(Bytes::len).sum();
        let max = self.lane.frame_bytes_max();
        if length > max {
            return Err(PeerError::TooLarge { bytes: length, max });
        }
        let length = length as u32;
        // More than all the room there is means: alone.
        let share = length.clamp(1, self.bytes_max);
        let (requests, bytes) = (Arc::clone(&self.requests), Arc::clone(&self.bytes));
        let room = if self.lane == Lane::Control {
            let room = requests.try_acquire_owned().and_then(|slot| Ok((slot, bytes.try_acquire_many_owned(share)?)));
            room.map_err(|error| match error {
                TryAcquireError::NoPermits => PeerError::Busy,
                TryAcquireError::Closed => NotSent::Stopped.into(),
            })?
        } else {
            let slot = requests.acquire_owned().await.map_err(|_| NotSent::Stopped)?;
            (slot, bytes.acquire_many_owned(share).await.map_err(|_| NotSent::Stopped)?)
        };
        let (ticket, reply) = Ticket::new(room);
        // The queue is as long as there are places, so it is never full.
        self.queue.try_send(Call::new(channel, request, length, ticket)).map_err(|_| NotSent::Stopped)?;
        Ok(reply)
    }
}

/// The task's side.
pub(crate) struct Dialler {
    node: Arc<Node>,
    to: NodeId,
    lane: Lane,
    queue: mpsc::Receiver<Call>,
    gates: [Arc<Semaphore>; 2],
    /// Closed when the node is forgotten.
    address: watch::Receiver<SocketAddr>,
    stop: watch::Receiver<bool>,
    backoff: Backoff,
    /// Why the last attempt failed.
    failed: Option<NotSent>,
    /// The address of the last attempt.
    tried: Option<SocketAddr>,
    /// The call for which a connection is being made.
    first: Option<Call>,
}

impl Dialler {
    /// Sends what is queued until stopped, or told to forget the node.
    pub(crate) async fn run(mut self) {
        let (mut stop, mut address) = (self.stop.clone(), self.address.clone());
        let forgotten = async { while address.changed().await.is_ok() {} };
        tokio::select! {
            () = self.serve() => {}
            () = forgotten => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        self.gates.iter().for_each(|gate| gate.close());
        self.queue.close();
        self.fail_queued(NotSent::Stopped);
    }

    async fn serve(&mut self) {
        while let Some(call) = self.queue.recv().await {
            self.first = Some(call);
            match self.connect().await {
                Ok((reader, writer)) => {
                    let counters = &self.node.counters;
                    counters.dialled.one();
                    self.failed = None;
                    tracing::info!(node = %self.to, lane = %self.lane, "connected");
                    let mut connection = Outbound::new(&self.node, self.lane, reader, writer);
                    let end = connection.run(&mut self.first, &mut self.queue).await;
                    // A node that lets us in and never says a word is no better than one that does not.
                    if connection.has_heard() {
                        self.backoff.reset()
                    } else {
                        self.backoff.failed()
                    }
                    // What was sent is failed by this, before anything new is.
                    drop(connection);
                    self.note(&end);
                    let going = matches!(end, End::GoneAway);
                    self.fail_queued(if going { NotSent::GoingAway } else { NotSent::ConnectionLost });
                }
                Err(why) => {
                    self.node.counters.dials_failed.one();
                    // Whoever was not there and refuses us now is another, or has been set up otherwise.
                    let is_news = self.failed != Some(why) && !matches!(why, NotSent::Unreachable(_));
                    self.failed = Some(why);
                    if self.backoff.is_fresh() || is_news {
                        tracing::warn!(node = %self.to, lane = %self.lane, %why, "cannot connect");
                    } else {
                        tracing::debug!(node = %self.to, lane = %self.lane, %why, "cannot connect");
                    }
                    self.backoff.failed();
                    self.fail_queued(why);
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(ReadHalf, WriteHalf), NotSent> {
        loop {
            let address = *self.address.borrow_and_update();
            // What went wrong at another address says nothing about this one.
            if self.tried.replace(address) != Some(address) {
                self.backoff.reset();
            }
            let wait = self.backoff.wait();
            let attempt = async {
                tokio::time::sleep(wait).await;
                handshake::dial(&self.node, self.to, self.lane, address).await
            };
            tokio::select! {
                result = attempt => return result,
                moved = self.address.changed() => moved.map_err(|_| NotSent::Stopped)?,
            }
        }
    }

    fn note(&self, end: &End) {
        let counters = &self.node.counters;
        match end {
            End::Violation(_) => {
                counters.violations.one();
                tracing::warn!(node = %self.to, lane = %self.lane, %end, "connection cut");
            }
            End::Silent => {
                counters.silenced.one();
                tracing::warn!(node = %self.to, lane = %self.lane, %end, "connection cut");
            }
            end => tracing::info!(node = %self.to, lane = %self.lane, %end, "disconnected"),
        }
    }

    /// Fails what waits now. What comes later is for the next connection.
    fn fail_queued(&mut self, why: NotSent) {
        let count = self.queue.len();
        if let Some(first) = self.first.take() {
            first.fail(why);
        }
        for _ in 0..count {
            let Ok(call) = self.queue.try_recv() else { return };
            call.fail(why);
        }
    }
}
