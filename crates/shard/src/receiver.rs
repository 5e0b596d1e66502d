//! Calls from other replicas.

use crate::doubt::{Doubt, voters_to_tell};
use crate::leadership::{SILENCE, confirm, is_sure_to_lead};
use crate::membership::{is_founded, membership};
use crate::permits::permit;
use crate::pull;
use crate::raft::{Raft, Runtime, Types, Vote, leading, to_the_end};
use crate::replica::Replica;
use crate::rpc::{self, Ballot, Chunk, EntryCopy, FormCopy, Incoming, Question, SliceCopy, Standing};
use crate::store::{decode_vote, encode_vote, log_id};
use crate::transport::TransportError;
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use journal::LogPosition;
use journal::canary::Fault;
use model::wire::Wire;
use model::{NodeId, Offset, StreamId, limit};
use openraft::Instant;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a leader tries to confirm that it leads: an answer comes after the next heartbeat, and the way there and back.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(900);

/// In parts, the large ones of which are as they were read.
type Answer = BoxFuture<'static, Result<Vec<Bytes>, TransportError>>;
type Append<R> = (AppendEntriesRequest<Types<R>>, oneshot::Sender<Bytes>);

pub(crate) struct Receiver<R: Runtime> {
    pub(crate) replica: Arc<Replica<R>>,
    pub(crate) raft: Raft<R>,
    pub(crate) doubt: Arc<Doubt>,
    /// Each sender's AppendEntries go through a stream of their own, in order.
    appends: Mutex<BTreeMap<NodeId, mpsc::Sender<Append<R>>>>,
    /// It is noted, durably, that others have what this replica is sent.
    is_introduced: AtomicBool,
    /// Until then it votes for nobody.
    silent_until: Option<R::Instant>,
}

const STOPPED: &str = "consensus has stopped";

/// Notes that the leader was heard, unless it is one of the past.
fn note_heard<R: Runtime>(replica: &Replica<R>, result: &StreamAppendResult<Types<R>>) {
    if !matches!(result, Err(StreamAppendError::HigherVote(_))) {
        *replica.heard.lock() = Some(R::Instant::now());
    }
}

fn refused(why: impl Into<String>) -> TransportError {
    TransportError::Lost(why.into())
}

fn whole(answer: &impl Wire) -> Vec<Bytes> {
    vec![Bytes::from(answer.to_wire())]
}

impl<R: Runtime> Receiver<R> {
    pub(crate) fn new(replica: Arc<Replica<R>>, raft: Raft<R>, doubt: Arc<Doubt>) -> Self {
        let journal = &replica.journal;
        let is_founded = is_founded(journal);
        let is_introduced = AtomicBool::new(is_founded || journal.is_replicated());
        // What is new has given its word to nobody.
        let silent_until = is_founded.then(|| R::Instant::now() + SILENCE);
        Receiver { replica, raft, doubt, appends: Mutex::default(), is_introduced, silent_until }
    }

    /// Takes a request; what has to happen in the order of requests happens before this returns.
    pub(crate) fn handle(self: &Arc<Self>, from: NodeId, request: Bytes) -> Answer {
        match rpc::decode::<R>(request) {
            Ok(Incoming::Append(append)) => self.append(from, append),
            Ok(Incoming::Heartbeat(heartbeat)) => self.heartbeat(from, heartbeat),
            Ok(Incoming::Question(question)) => {
                let receiver = self.clone();
                Box::pin(async move { receiver.answer(from, question).await })
            }
            Err(error) => {
                tracing::warn!(shard = %self.replica.shard, %from, %error, "a replica sent what is no request");
                Box::pin(async move { Err(refused(error.to_string())) })
            }
        }
    }

    /// Notes that others have what this replica gets, before it gets anything: after power loss it would not know
    /// otherwise that it may have forgotten some of it.
    async fn introduce(&self) -> Result<(), TransportError> {
        if !self.is_introduced.load(SeqCst) {
            let journal = self.replica.journal.clone();
            let noted = self.replica.environment.blocking(move || journal.keep_replicated(true)).await;
            noted.ok_or_else(|| refused("the node stops"))?.map_err(|error| refused(error.to_string()))?;
            self.is_introduced.store(true, SeqCst);
        }
        Ok(())
    }

    /// Whether a candidate may have our vote, if openraft thinks so, too.
    fn may_vote_for(&self, ballot: &Ballot) -> Result<(), TransportError> {
        // A leader that hands over gives us our word back.
        if !ballot.flag && self.silent_until.is_some_and(|until| R::Instant::now() < until) {
            return Err(refused("just started: no votes yet"));
        }
        // openraft may not know how lately it was heard; see `hearing`.
        if !ballot.flag && is_sure_to_lead(&self.raft, &self.replica) {
            return Err(refused("this one leads"));
        }
        self.doubt.may_vote_for(ballot.last).map_err(refused)
    }

    fn append(self: &Arc<Self>, from: NodeId, append: AppendEntriesRequest<Types<R>>) -> Answer {
        if !self.is_introduced.load(SeqCst) {
            let receiver = self.clone();
            return Box::pin(async move {
                receiver.introduce().await?;
                Err(refused("a new replica: send it again"))
            });
        }
        if let Err(why) = self.doubt.may_append(from, &encode_vote::<R>(&append.vote)) {
            return Box::pin(async move { Err(refused(why)) });
        }
        let early = self.replica.journal.faulty(Fault::AcknowledgeBeforeQuorum).then(|| {
            let last = append.entries.last().map(|entry| entry.log_id).or(append.prev_log_id);
            rpc::encode_appended::<R>(&Ok(last))
        });
        let (answer, wait) = oneshot::channel();
        let mut appends = self.appends.lock();
        let mut unsent = Some((append, answer));
        // A stream ends at the first answer that is not a success; the next request starts another.
        for _ in 0..2 {
            let sender = appends.entry(from).or_insert_with(|| self.start_stream());
            let Some(message) = unsent.take() else { break };
            match sender.try_send(message) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(message)) => {
                    appends.remove(&from);
                    unsent = Some(message);
                }
                Err(mpsc::error::TrySendError::Full(_)) => {
                    return Box::pin(async { Err(refused("too many appends wait")) });
                }
            }
        }
        drop(appends);
        if let Some(answer) = early {
            return Box::pin(async { Ok(vec![answer]) });
        }
        Box::pin(async move { wait.await.map(|answer| vec![answer]).map_err(|_| refused("the append stream ended")) })
    }

    /// Needs no order, among appends or heartbeats; see `network`.
    fn heartbeat(&self, from: NodeId, heartbeat: AppendEntriesRequest<Types<R>>) -> Answer {
        if let Err(why) = self.doubt.may_append(from, &encode_vote::<R>(&heartbeat.vote)) {
            return Box::pin(async move { Err(refused(why)) });
        }
        let replica = self.replica.clone();
        let answer = self.ask(|raft| async move {
            let mut results = std::pin::pin!(raft.stream_append(futures::stream::iter([heartbeat])));
            results.next().await
        });
        Box::pin(async move {
            match answer.await? {
                Some(Ok(result)) => {
                    note_heard(&replica, &result);
                    Ok(vec![rpc::encode_appended::<R>(&result)])
                }
                Some(Err(error)) => Err(refused(error.to_string())),
                None => Err(refused(STOPPED)),
            }
        })
    }

    /// Asks openraft. Whoever sent a request may stop waiting at any time.
    fn ask<T, F, C>(&self, call: C) -> impl Future<Output = Result<T, TransportError>> + Send + use<R, T, F, C>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
        C: FnOnce(Raft<R>) -> F,
    {
        to_the_end(&self.raft, call).map(|answer| answer.ok_or_else(|| refused(STOPPED)))
    }

    fn start_stream(&self) -> mpsc::Sender<Append<R>> {
        let (sender, mut receiver) = mpsc::channel::<Append<R>>(limit::APPENDS_WAITING_MAX);
        let (raft, replica) = (self.raft.clone(), self.replica.clone());
        drop(R::spawn(async move {
            let waiting = Arc::new(Mutex::new(VecDeque::new()));
            let queue = waiting.clone();
            let requests = futures::stream::poll_fn(move |context| {
                receiver.poll_recv(context).map(|message| {
                    message.map(|(request, answer)| {
                        queue.lock().push_back(answer);
                        request
                    })
                })
            });
            let mut results = std::pin::pin!(raft.stream_append(requests).fuse());
            while let Some(Ok(result)) = results.next().await {
                let Some(answer) = waiting.lock().pop_front() else { break };
                let over = result.is_err();
                note_heard(&replica, &result);
                let _ = answer.send(rpc::encode_appended::<R>(&result));
                if over {
                    break;
                }
            }
        }));
        sender
    }

    async fn answer(&self, from: NodeId, question: Question) -> Result<Vec<Bytes>, TransportError> {
        let wire = |error: model::WireError| refused(error.to_string());
        match question {
            Question::Vote { ballot } => {
                self.may_vote_for(&ballot)?;
                let request = ballot.to_request::<R>().map_err(wire)?;
                let response = self.ask(|raft| async move { raft.vote(request).await }).await?;
                let response = response.map_err(|error| refused(error.to_string()))?;
                if response.vote_granted {
                    *self.replica.heard.lock() = Some(R::Instant::now());
                }
                Ok(whole(&Ballot::of_response(&response)))
            }
            Question::PreVote { ballot } => {
                self.may_vote_for(&ballot)?;
                let request = ballot.to_request::<R>().map_err(wire)?;
                let response = self.ask(|raft| async move { raft.pre_vote(request).await }).await?;
                let response = response.map_err(|error| refused(error.to_string()))?;
                Ok(whole(&Ballot::of_response(&response)))
            }
            Question::TransferLeader { vote, to, last } => {
                self.doubt.may_vote_for(last).map_err(refused)?;
                let vote = decode_vote::<R>(&vote).map_err(wire)?;
                let request = TransferLeaderRequest::new(vote, to.0, log_id::<R>(last));
                let handed = self.ask(|raft| async move { raft.handle_transfer_leader(request).await }).await?;
                let handed = handed.map_err(|error| refused(error.to_string()))?;
                handed.map_err(|error| refused(error.to_string()))?;
                Ok(vec![Bytes::new()])
            }
            Question::Install { vote, offer } => {
                self.introduce().await?;
                let progress = pull::begin(&self.raft, &self.replica, from, vote, offer).map_err(wire)?;
                Ok(whole(&progress))
            }
            Question::Installing { vote, offered } => {
                let progress = pull::look(&self.raft, &self.replica, vote, offered).map_err(wire)?;
                Ok(whole(&progress))
            }
            Question::Pull { part, position, bytes } => {
                let journal = self.replica.journal.clone();
                let read = move || journal.read_part(part, position, bytes as usize);
                let read = self.replica.environment.blocking(read).await.ok_or_else(|| refused("the node stops"))?;
                let (bytes, crc) = read.map_err(|error| refused(error.to_string()))?;
                Ok(Chunk { crc, bytes: Bytes::from(bytes) }.into_parts())
            }
            Question::Entry { at } => self.copy_entry(at).await,
            Question::Records { stream, from, to } => self.copy_records(stream, from, to).await,
            Question::Form { stream, from, to } => self.copy_form(stream, from, to).await,
            Question::Standing { asker, reverted } => {
                let (in_doubt, has_room) = (self.doubt.is_in_doubt(), self.replica.journal.has_room());
                let (last, voters) = (self.replica.journal.last(), voters_to_tell(&membership(&self.raft)));
                let mut standing = Standing { last, in_doubt, has_room, leading: None, confirmed: false, voters };
                if let Ok(term) = leading(&self.raft) {
                    if reverted {
                        // It told us itself that it may have lost the end of its log.
                        let replica = self.replica.clone();
                        let _ = self.ask(move |raft| permit(raft, replica, term, asker)).await;
                    }
                    let vote = Vote::<R>::new_committed(term, *self.raft.node_id());
                    standing.leading = Some(encode_vote::<R>(&vote));
                    // The asker may be needed for the quorum, and waits for this answer.
                    standing.confirmed = confirm(&self.raft, &self.replica, term, CONFIRM_TIMEOUT).await;
                    standing.last = self.replica.journal.last();
                }
                Ok(whole(&standing))
            }
            Question::Clock => Ok(whole(&(self.replica.environment.wall)())),
        }
    }

    /// An entry, for a replica that has it damaged.
    async fn copy_entry(&self, at: LogPosition) -> Result<Vec<Bytes>, TransportError> {
        let journal = self.replica.journal.clone();
        let read = self.replica.environment.blocking(move || {
            let same = journal.term_of(at.index) == Some(at.term);
            same.then(|| journal.entries(at.index, at.index + 1, 0).ok()?.pop()).flatten()
        });
        let entry = read.await.ok_or_else(|| refused("the node stops"))?;
        Ok(whole(&EntryCopy::of(entry.filter(|entry| entry.at == at))))
    }

    /// Records, for a replica that has them damaged. What can be read has been applied, so it was
    /// committed.
    async fn copy_records(&self, stream: StreamId, from: Offset, to: Offset) -> Result<Vec<Bytes>, TransportError> {
        let journal = self.replica.journal.clone();
        let read = move || journal.read(stream, from, to, limit::MIB);
        let read = self.replica.environment.blocking(read).await.ok_or_else(|| refused("the node stops"))?;
        let slices = read.map_err(|error| refused(error.to_string()))?;
        let copies: Vec<SliceCopy> = slices.into_iter().map(SliceCopy::of).collect();
        Ok(whole(&copies))
    }

    /// A part of a stream, for a replica that takes over how it is compacted here.
    async fn copy_form(&self, stream: StreamId, from: Offset, to: Offset) -> Result<Vec<Bytes>, TransportError> {
        let replica = self.replica.clone();
        let read = move || {
            let files = replica.journal.files_of(stream, to)?;
            let slices = replica.journal.read(stream, from, to, limit::MIB)?;
            if replica.journal.files_of(stream, to)? != files {
                return Ok(None);
            }
            // What compaction has looked at until now lies below the stream's end by now.
            let end = replica.machine.read().messaging.stream(stream).map(|stream| stream.end);
            let slices = slices.into_iter().map(SliceCopy::of).collect();
            Ok::<_, journal::ReadError>(end.map(|end| FormCopy { end, files, slices }))
        };
        let read = self.replica.environment.blocking(read).await.ok_or_else(|| refused("the node stops"))?;
        let copy = read.map_err(|error| refused(error.to_string()))?;
        Ok(whole(&copy.ok_or_else(|| refused("it is being compacted"))?))
    }
}
