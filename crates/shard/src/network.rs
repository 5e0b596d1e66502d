//! openraft's calls to other replicas, over the transport.
//!
//! # Heartbeats overtake the log
//!
//! All shards of a pair of nodes share the append lane, where a heartbeat would wait behind so many bytes
//! that followers stand for election. So heartbeats go on the control lane, and the follower takes them as
//! they come. openraft has a client for them alone ([`RaftNetworkFactory::new_heartbeat_client`]), and its
//! matching is sound with it:
//!
//! - A heartbeat has no entries, and the position it names is one that this follower has acknowledged. It
//!   is there whatever is under way, so nothing is refused and nothing truncated, neither when the
//!   heartbeat is early nor when it comes after what was sent later.
//! - A follower commits no further than what it has accepted from this very leader (openraft's
//!   `calculate_local_committed`), and a heartbeat adds no more to that than the position it names. What it
//!   has of an older leader behind it does not pass for committed, however far the leader has committed.
//! - An answer that accepts moves the leader's lease and not what it knows of the follower's log.
//! - An answer that refuses does: it says that the follower lost the end of its log. Heard after answers to
//!   entries that were sent later it would take these back, too. So a refused heartbeat is sent once more,
//!   in the log's order, and only that answer counts.
//!
//! What the log's own stream sends without entries, to tell that something is committed, names a position
//! that was sent and perhaps not taken yet. It stays in order.

use crate::lease::hand_out;
use crate::raft::{LogId, Runtime, Types, Vote};
use crate::replica::Replica;
use crate::rpc::{self, Ballot, Question};
use crate::snapshot::Snapshot;
use crate::store::{encode_vote, position};
use crate::transport::{Lane, TransportError};
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{BoxFuture, Either};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use journal::canary::Fault;
use model::NodeId;
use model::limit;
use model::wire::Wire;
use openraft::Instant;
use openraft::OptionalSend;
use openraft::alias::SnapshotOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// An AppendEntries without an answer for so long makes the stream start again: the follower's disk
/// may be slow, so it is longer than an election.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Network<R: Runtime> {
    pub(crate) replica: Arc<Replica<R>>,
}

/// Calls to one replica.
pub(crate) struct Client<R: Runtime> {
    replica: Arc<Replica<R>>,
    to: NodeId,
    /// Whether its AppendEntries are heartbeats, and not the log.
    heartbeats: bool,
    /// Rung when it accepts one.
    accepts: Arc<Notify>,
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Client<R>;

    /// Holds no connection: order within a lane is the transport's.
    async fn new_client(&mut self, target: u64, _node: &()) -> Client<R> {
        Client { replica: self.replica.clone(), to: NodeId(target), heartbeats: false, accepts: Arc::default() }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &()) -> Client<R> {
        Client { heartbeats: true, ..self.new_client(target, node).await }
    }
}

fn failed<R: Runtime>(error: TransportError) -> RPCError<Types<R>> {
    match error {
        TransportError::NotSent(_) => RPCError::Unreachable(Unreachable::new(&io::Error::other(error))),
        TransportError::Lost(_) => RPCError::Network(NetworkError::new(&io::Error::other(error))),
    }
}

fn malformed<R: Runtime>(error: model::WireError) -> RPCError<Types<R>> {
    RPCError::Network(NetworkError::new(&io::Error::other(error)))
}

/// The answer to an AppendEntries.
type Appended<R> = Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>;

fn appended<R: Runtime>(answer: Result<Bytes, TransportError>) -> Appended<R> {
    rpc::decode_appended::<R>(&answer.map_err(failed::<R>)?).map_err(malformed::<R>)
}

/// Whether whoever answered so takes the sender for its leader: also one whose log is another so far.
fn follows<R: Runtime>(answer: &Appended<R>) -> bool {
    matches!(answer, Ok(Ok(_) | Err(StreamAppendError::Conflict(_))))
}

/// The last entry that whoever accepts a request has.
fn last_of<R: Runtime>(request: &AppendEntriesRequest<Types<R>>) -> Option<LogId<R>> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

impl<R: Runtime> Client<R> {
    /// Sends now, waits later.
    fn call(
        &self,
        lane: Lane,
        request: Vec<Bytes>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Bytes, TransportError>> + Send + use<R> {
        let sent = self.replica.environment.transport.call(self.to, self.replica.shard, lane, request);
        R::timeout(timeout, sent).map(|answer| match answer {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Lost("timed out".into())),
        })
    }

    /// Sends a heartbeat now, waits later; see the module's documentation. Its answer counts, however late: see
    /// [`crate::hearing`].
    ///
    /// openraft gives each of them up soon, and a leader that was never answered in time refuses to write. Where the
    /// answer to an earlier one comes meanwhile, that is told. openraft takes it for younger than it is then, which
    /// makes it vote for others later and nothing else: what may be answered goes by our own times.
    fn heartbeat(&self, request: AppendEntriesRequest<Types<R>>) -> impl Future<Output = Appended<R>> + Send {
        let (sent_at, term) = (R::Instant::now(), request.vote.leader_id.term);
        let sent = self.call(Lane::Control, rpc::encode_heartbeat::<R>(request.clone()), APPEND_TIMEOUT);
        let (tell, told) = oneshot::channel();
        let (replica, to, accepts) = (self.replica.clone(), self.to, self.accepts.clone());
        let earlier = self.accepts.clone().notified_owned();
        let matched = last_of::<R>(&request);
        drop(R::spawn(async move {
            let answer = appended::<R>(sent.await);
            if follows::<R>(&answer) {
                replica.hearing.lock().note(term, to, sent_at);
            }
            // A refusal is openraft's to hear of.
            if let Ok(Ok(_)) = answer {
                accepts.notify_waiters();
            }
            // openraft may have given it up.
            let _ = tell.send(answer);
        }));
        async move {
            let answer = match futures::future::select(told, Box::pin(earlier)).await {
                Either::Left((answer, _)) => {
                    answer.map_err(|_| failed::<R>(TransportError::Lost("the node stops".into())))?
                }
                Either::Right(_) => return Ok(Ok(matched)),
            };
            match answer? {
                Err(StreamAppendError::Conflict(_)) => {
                    let again = self.call(Lane::Append, rpc::encode_append::<R>(request), APPEND_TIMEOUT);
                    appended::<R>(again.await)
                }
                answer => Ok(answer),
            }
        }
    }

    async fn ballot(
        &self,
        question: Question,
        timeout: Duration,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        let answer = self.call(Lane::Control, rpc::encode_question(&question), timeout).await.map_err(failed::<R>)?;
        Ballot::from_wire(&answer).and_then(|ballot| ballot.to_response::<R>()).map_err(malformed::<R>)
    }
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for Client<R> {
    type SnapshotData = Snapshot;

    /// Never called: log and heartbeats go through `stream_append`. The trait asks for it.
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        let last = last_of::<R>(&request);
        let sent = self.call(Lane::Append, rpc::encode_append::<R>(request), option.hard_ttl());
        Ok(match appended::<R>(sent.await)? {
            Ok(matched) if matched == last => AppendEntriesResponse::Success,
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    /// The log, and heartbeats as streams of one: pipelined, answered in order, over at the first answer
    /// that is not a success. No more is read from the log than may be on its way.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types<R>>, RPCError<Types<R>>>>, RPCError<Types<R>>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types<R>>> + OptionalSend + Unpin + 'static,
    {
        let client = &*self;
        let careless = client.replica.journal.faulty(Fault::CommitAlone);
        let room = Arc::new(Semaphore::new(limit::APPEND_BYTES_IN_FLIGHT_MAX));
        let admitted = input.then(move |request| {
            let (bytes, room) = (rpc::payload_bytes::<R>(&request), room.clone());
            async move {
                let share = bytes.min(limit::APPEND_BYTES_IN_FLIGHT_MAX) as u32;
                // It is never closed.
                let room = room.acquire_many_owned(share).await.ok();
                (request, room)
            }
        });
        let calls = admitted.map(move |(request, room)| {
            let last = last_of::<R>(&request);
            let (sent_at, term) = (R::Instant::now(), request.vote.leader_id.term);
            let (replica, to) = (client.replica.clone(), client.to);
            // A heartbeat notes it by itself, and may be told that an earlier one was accepted.
            let notes = careless || !client.heartbeats;
            let note = move || replica.hearing.lock().note(term, to, sent_at);
            let sent = if client.heartbeats {
                Either::Left(client.heartbeat(request))
            } else {
                let sent = client.call(Lane::Append, rpc::encode_append::<R>(request), APPEND_TIMEOUT);
                Either::Right(sent.map(appended::<R>))
            };
            async move {
                let answer = if careless { Ok(Ok(last)) } else { sent.await };
                if notes && follows::<R>(&answer) {
                    note();
                }
                drop(room);
                answer
            }
        });
        let answers = calls.buffered(limit::APPENDS_IN_FLIGHT_MAX).scan(false, |over, answer| {
            let ended = std::mem::replace(over, !matches!(answer, Ok(Ok(_))));
            futures::future::ready((!ended).then_some(answer))
        });
        Box::pin(async move { Ok(answers.boxed()) })
    }

    /// Answered only after the other's vote is on stable storage; in doubt the other refuses.
    async fn vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ballot(Question::Vote { ballot: Ballot::of_request(&request) }, option.hard_ttl()).await
    }

    /// The default would grant: a node that cannot win would disturb those that can.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        self.ballot(Question::PreVote { ballot: Ballot::of_request(&request) }, option.hard_ttl()).await
    }

    /// The default fails. A hint: the other stands for election if its log is long enough.
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types<R>>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types<R>>, RPCError<Types<R>>> {
        let question = Question::TransferLeader {
            vote: encode_vote::<R>(request.from_leader()),
            to: NodeId(*request.to_node_id()),
            last: request.last_log_id().map(position::<R>).unwrap_or_default(),
        };
        let sent = self.call(Lane::Control, rpc::encode_question(&question), option.hard_ttl());
        sent.await.map_err(failed::<R>)?;
        Ok(Ok(()))
    }

    /// Offers the snapshot, and returns when the receiver has pulled and installed it, however long that takes.
    async fn full_snapshot(
        &mut self,
        vote: Vote<R>,
        snapshot: SnapshotOf<Types<R>, Snapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let (shard, to) = (self.replica.shard, self.to);
        let unreachable = |error: &str| {
            tracing::info!(%shard, %to, error, "a snapshot was not handed over");
            StreamingError::Unreachable(Unreachable::new(&io::Error::other(error.to_owned())))
        };
        let Some(offer) = self.replica.offer().await else {
            return Err(unreachable("the snapshot's files are not finished yet"));
        };
        // openraft takes the receiver to have what it asked to be sent.
        if offer.manifest.at < snapshot.snapshot.at {
            return Err(unreachable("the checkpoint is older than the snapshot"));
        }
        let handed = hand_out(self.replica.clone(), self.to, encode_vote::<R>(&vote), offer);
        match futures::future::select(Box::pin(handed), Box::pin(cancel)).await {
            Either::Left((Ok(answer), _)) => {
                let vote = crate::store::decode_vote::<R>(&answer).map_err(|error| unreachable(&error.to_string()))?;
                Ok(SnapshotResponse::new(vote))
            }
            Either::Left((Err(error), _)) => Err(unreachable(&error.to_string())),
            Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }
}
