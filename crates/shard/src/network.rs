//! openraft's calls to other replicas, over the transport.

use crate::raft::{LogId, Runtime, Types, Vote};
use crate::replica::Replica;
use crate::rpc::{self, Ballot, Question};
use crate::snapshot::Snapshot;
use crate::store::{encode_vote, position};
use crate::transport::{Lane, TransportError};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use journal::canary::Fault;
use model::NodeId;
use model::limit;
use model::wire::Wire;
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
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Client<R>;

    /// Holds no connection: order within a lane is the transport's.
    async fn new_client(&mut self, target: u64, _node: &()) -> Client<R> {
        Client { replica: self.replica.clone(), to: NodeId(target) }
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
        let last: Option<LogId<R>> = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let sent = self.call(Lane::Append, rpc::encode_append::<R>(request), option.hard_ttl());
        let answer = sent.await.map_err(failed::<R>)?;
        Ok(match rpc::decode_appended::<R>(&answer).map_err(malformed::<R>)? {
            Ok(matched) if matched == last => AppendEntriesResponse::Success,
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    /// The log, and heartbeats as streams of one: pipelined, answered in order, over at the first answer
    /// that is not a success.
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
        let calls = input.map(move |request| {
            let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
            let sent = client.call(Lane::Append, rpc::encode_append::<R>(request), APPEND_TIMEOUT);
            async move {
                if careless {
                    return Ok(Ok(last));
                }
                rpc::decode_appended::<R>(&sent.await.map_err(failed::<R>)?).map_err(malformed::<R>)
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

    /// Offers the snapshot and keeps its files until the receiver has pulled and installed them.
    async fn full_snapshot(
        &mut self,
        vote: Vote<R>,
        _snapshot: SnapshotOf<Types<R>, Snapshot>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        let unreachable =
            |error: &str| StreamingError::Unreachable(Unreachable::new(&io::Error::other(error.to_owned())));
        let Some(manifest) = self.replica.offer().await else {
            return Err(unreachable("the snapshot's files are not finished yet"));
        };
        let _lease = self.replica.lease(&manifest);
        let question = Question::Snapshot { vote: encode_vote::<R>(&vote), manifest };
        let sent = self.call(Lane::Bulk, rpc::encode_question(&question), option.hard_ttl());
        match futures::future::select(Box::pin(sent), Box::pin(cancel)).await {
            futures::future::Either::Left((Ok(answer), _)) => {
                let vote = crate::store::decode_vote::<R>(&answer).map_err(|error| unreachable(&error.to_string()))?;
                Ok(SnapshotResponse::new(vote))
            }
            futures::future::Either::Left((Err(error), _)) => Err(unreachable(&error.to_string())),
            futures::future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }
}
