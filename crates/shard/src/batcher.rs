//! Packs waiting requests into Raft entries.
//!
//! One task per shard. When nothing is in flight an entry is proposed at once; otherwise when it
//! has reached its target size, with a bounded number in flight: so a lone request is not delayed
//! and many requests share one write, one sync and one round trip.

use crate::leadership::is_sure_to_lead;
use crate::raft::{Callback, Payload, Raft, Runtime, Types, leading};
use crate::replica::Replica;
use crate::spoil::spoil;
use journal::canary::Fault;
use machine::messaging::sequencer::{AppendRequest, Sequenced, Sequencer};
use machine::{Command, Refusal, Reply};
use model::{EntryBuilder, Hlc, NodeId, limit};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

/// What can be proposed.
#[derive(Clone, Debug)]
pub enum Request {
    /// Append pieces: sequenced here.
    Append(AppendRequest),
    /// Any other command.
    Command(Command),
}

impl Request {
    /// Bytes it takes in an entry, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Request::Append(append) => append.bytes.len(),
            Request::Command(Command::SaveGroup { state, .. }) => state.len(),
            Request::Command(Command::Deliver { command, .. }) => command.len(),
            Request::Command(Command::CommitOffsets { offsets, .. }) => {
                offsets.iter().map(|offset| 32 + offset.metadata.len()).sum()
            }
            Request::Command(_) => 64,
        }
    }

    /// It has no more pieces than this.
    fn pieces_max(&self) -> usize {
        match self {
            Request::Append(append) => append.bytes.len() / model::piece::MESSAGE_HEAD_BYTES,
            Request::Command(_) => 0,
        }
    }
}

/// Why a proposal has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another node leads the shard, if anybody knows which. The request was not proposed.
    #[error("not the leader")]
    NotLeader(Option<NodeId>),
    /// The request may or may not come to be: the leader changed or stopped while it was in flight.
    #[error("outcome unknown: the leader changed")]
    Unknown,
    /// The disk is full. The request was not proposed.
    #[error("disk full")]
    DiskFull,
    /// The shard has stopped. The request was not proposed.
    #[error("the shard has stopped")]
    Stopped,
}

/// Called with the outcome, from `apply` or the batcher: it must not block.
pub type Answer = Box<dyn FnOnce(Result<Reply, ProposeError>) + Send>;

/// A request on its way to the batcher.
pub(crate) struct Submission {
    pub(crate) request: Request,
    pub(crate) answer: Answer,
    /// Room in front of the batcher, given back with the answer.
    pub(crate) room: OwnedSemaphorePermit,
}

type Waiting = (Answer, OwnedSemaphorePermit);

/// Who waits for what was proposed, by ticket, with the term it was proposed in.
#[derive(Default)]
pub(crate) struct Pending {
    entries: Mutex<BTreeMap<u64, (u64, Vec<Waiting>)>>,
    /// Rung when something is given up: what was to follow it is not proposed, either.
    given_up: Notify,
}

impl Pending {
    fn take(&self, ticket: u64) -> Vec<Waiting> {
        self.entries.lock().remove(&ticket).map_or_else(Vec::new, |(_, waiting)| waiting)
    }

    /// Whether anybody waits for what was proposed in another term than the one this replica leads in.
    pub(crate) fn has_lost(&self, leads_in: Option<u64>) -> bool {
        self.entries.lock().values().any(|(term, _)| Some(*term) != leads_in)
    }

    /// Answers them that nobody knows what becomes of it.
    pub(crate) fn give_up_lost(&self, leads_in: Option<u64>) {
        let lost = self.entries.lock().extract_if(.., |_, (term, _)| Some(*term) != leads_in).collect::<Vec<_>>();
        for (answer, _) in lost.into_iter().flat_map(|(_, (_, waiting))| waiting) {
            answer(Err(ProposeError::Unknown));
        }
        self.given_up.notify_one();
    }
}

/// An entry that was proposed. Answers `Unknown` when openraft drops it unanswered.
struct InFlight {
    ticket: u64,
    pending: Arc<Pending>,
    finished: mpsc::Sender<(u64, bool)>,
}

impl InFlight {
    fn complete<R: Runtime>(mut self, result: ClientWriteResult<Types<R>>) {
        let waiting = self.pending.take(self.ticket);
        match result {
            Ok(response) => {
                for ((answer, _), reply) in waiting.into_iter().zip(response.data) {
                    answer(Ok(reply));
                }
                let _ = self.finished.try_send((self.ticket, true));
            }
            Err(ClientWriteError::ForwardToLeader(forward)) => {
                let error = ProposeError::NotLeader(forward.leader_id.map(NodeId));
                waiting.into_iter().for_each(|(answer, _)| answer(Err(error.clone())));
                let _ = self.finished.try_send((self.ticket, false));
            }
            // What was appended and then discarded by a new leader may yet be on its log.
            Err(_) => {
                waiting.into_iter().for_each(|(answer, _)| answer(Err(ProposeError::Unknown)));
                let _ = self.finished.try_send((self.ticket, false));
            }
        }
        self.ticket = 0;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        for (answer, _) in self.pending.take(self.ticket) {
            answer(Err(ProposeError::Unknown));
        }
        if self.ticket > 0 {
            let _ = self.finished.try_send((self.ticket, false));
        }
    }
}

pub(crate) struct Batcher<R: Runtime> {
    replica: Arc<Replica<R>>,
    raft: Raft<R>,
    submissions: mpsc::Receiver<Submission>,
    finished_sender: mpsc::Sender<(u64, bool)>,
    finished: mpsc::Receiver<(u64, bool)>,
    in_flight: usize,
    sequencer: Option<Sequencer>,
    builder: EntryBuilder,
    waiting: Vec<Waiting>,
    pending: Arc<Pending>,
    ticket: u64,
    clock: Hlc,
}

/// How long a new leader waits for its own first entry before looking again.
const READINESS: Duration = Duration::from_millis(20);

impl<R: Runtime> Batcher<R> {
    pub(crate) fn new(
        replica: Arc<Replica<R>>,
        raft: Raft<R>,
        submissions: mpsc::Receiver<Submission>,
        pending: Arc<Pending>,
    ) -> Self {
        let (finished_sender, finished) = mpsc::channel(2 * limit::ENTRIES_IN_FLIGHT_MAX);
        Batcher {
            replica,
            raft,
            submissions,
            finished_sender,
            finished,
            in_flight: 0,
            sequencer: None,
            builder: EntryBuilder::new(),
            waiting: Vec::new(),
            pending,
            ticket: 0,
            clock: Hlc::default(),
        }
    }

    /// Runs until the shard is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            while !self.is_full()
                && let Ok(submission) = self.submissions.try_recv()
            {
                if self.replica.journal.faulty(Fault::TakeSecondFirst)
                    && let Ok(second) = self.submissions.try_recv()
                {
                    self.take(second).await;
                }
                self.take(submission).await;
            }
            let may_propose = self.in_flight < limit::ENTRIES_IN_FLIGHT_MAX && (self.in_flight == 0 || self.is_full());
            if may_propose && self.builder.command_count() > 0 && self.sequencer.is_some() {
                self.propose().await;
                continue;
            }
            let full = self.is_full();
            tokio::select! {
                biased;
                Some((ticket, applied)) = self.finished.recv() => self.on_finished(ticket, applied),
                () = self.pending.given_up.notified() => self.on_given_up(),
                submission = self.submissions.recv(), if !full => match submission {
                    Some(submission) => self.take(submission).await,
                    None if self.builder.command_count() == 0 || self.sequencer.is_none() => break,
                    None => self.propose().await,
                },
            }
        }
    }

    fn is_full(&self) -> bool {
        self.builder.bytes() >= limit::ENTRY_BYTES_TARGET
            || self.builder.command_count() as usize >= limit::ENTRY_COMMANDS_MAX
            || self.builder.piece_count() as usize >= limit::ENTRY_PIECES_MAX / 2
    }

    fn on_finished(&mut self, ticket: u64, applied: bool) {
        self.in_flight -= 1;
        match &mut self.sequencer {
            Some(sequencer) if applied => sequencer.on_applied(ticket),
            _ => self.resign(),
        }
    }

    /// No answer may come for what is in flight, and nobody else may submit anything.
    fn on_given_up(&mut self) {
        let term = self.sequencer.as_ref().map(Sequencer::term);
        if term.is_some() && leading(&self.raft).ok() != term {
            self.resign();
        }
    }

    /// What was sequenced rests on entries that may not come to be: none of it is proposed.
    fn resign(&mut self) {
        self.sequencer = None;
        if self.replica.journal.faulty(Fault::UnfencedTerm) {
            return;
        }
        let _ = self.builder.finish(self.clock);
        let error = ProposeError::NotLeader(None);
        self.waiting.drain(..).for_each(|(answer, _)| answer(Err(error.clone())));
    }

    /// Sequences a request into the entry being built, or answers it.
    async fn take(&mut self, submission: Submission) {
        let Submission { mut request, answer, room } = submission;
        if let Err(error) = self.lead().await {
            return answer(Err(error));
        }
        if let Some(reply) = spoil(&self.replica, &mut request) {
            return answer(Ok(reply));
        }
        let now = self.clock.next((self.replica.environment.wall)());
        self.clock = now;
        // A large request closes the entry before it, so that none is refused for want of room that
        // an entry of its own has.
        let bytes = self.builder.bytes() + request.bytes();
        let pieces = self.builder.piece_count() as usize + request.pieces_max();
        let may_not_fit = bytes > limit::ENTRY_BYTES_MAX / 2 || pieces > limit::ENTRY_PIECES_MAX;
        if self.builder.command_count() > 0 && may_not_fit {
            while self.in_flight >= limit::ENTRIES_IN_FLIGHT_MAX && self.sequencer.is_some() {
                tokio::select! {
                    biased;
                    Some((ticket, applied)) = self.finished.recv() => self.on_finished(ticket, applied),
                    () = self.pending.given_up.notified() => self.on_given_up(),
                }
            }
            self.propose().await;
        }
        let Some(sequencer) = &mut self.sequencer else {
            return answer(Err(ProposeError::NotLeader(None)));
        };
        let sequenced = match &request {
            Request::Append(append) => {
                let machine = self.replica.machine.read();
                sequencer.append(&machine.messaging, append, &mut self.builder, self.ticket + 1, now)
            }
            Request::Command(_) if request.bytes() > limit::ENTRY_BYTES_MAX / 2 => {
                Sequenced::Answer(Reply::Refused(Refusal::TooLarge))
            }
            Request::Command(command) => {
                self.builder.add_command(command);
                self.builder.want_fsync();
                Sequenced::Added
            }
        };
        match sequenced {
            Sequenced::Added if self.replica.journal.faulty(Fault::RefuseAndAppend) && now.0.is_multiple_of(7) => {
                answer(Err(ProposeError::NotLeader(None)));
                self.waiting.push((Box::new(drop), room));
            }
            Sequenced::Added => self.waiting.push((answer, room)),
            // Judged by a state that may be old: a leader whom nobody hears would call a producer's
            // next batch out of order. What was applied stays so, whoever leads.
            Sequenced::Answer(Reply::Refused(_)) if !is_sure_to_lead(&self.raft, &self.replica) => {
                answer(Err(ProposeError::NotLeader(None)));
            }
            Sequenced::Answer(reply) => answer(Ok(reply)),
        }
    }

    /// Makes sure there is a sequencer: this node leads, has applied everything before its own
    /// first entry, and nothing of an earlier leadership is in flight.
    async fn lead(&mut self) -> Result<(), ProposeError> {
        loop {
            let term = match leading(&self.raft) {
                Ok(term) => term,
                Err(leader) => {
                    self.resign();
                    return Err(ProposeError::NotLeader(leader));
                }
            };
            if self.sequencer.as_ref().is_some_and(|sequencer| sequencer.term() == term) {
                return Ok(());
            }
            if self.sequencer.is_some() {
                self.resign();
            }
            if self.in_flight > 0 {
                match self.finished.recv().await {
                    Some((ticket, applied)) => self.on_finished(ticket, applied),
                    None => return Err(ProposeError::Stopped),
                }
                continue;
            }
            let progress = self.replica.progress.notified();
            if self.replica.applied.lock().at.term == term {
                self.clock = self.clock.max(self.replica.machine.read().time());
                self.sequencer = Some(Sequencer::new(term));
                return Ok(());
            }
            if self.replica.journal.is_stopping() {
                return Err(ProposeError::Stopped);
            }
            let _ = R::timeout(READINESS, progress).await;
        }
    }

    /// Proposes the entry built so far, fenced to the term it was sequenced in.
    async fn propose(&mut self) {
        let Some(term) = self.sequencer.as_ref().map(Sequencer::term) else {
            return self.resign();
        };
        self.clock = self.clock.next((self.replica.environment.wall)());
        let bytes = self.builder.finish(self.clock);
        self.ticket += 1;
        let waiting = std::mem::take(&mut self.waiting);
        self.pending.entries.lock().insert(self.ticket, (term, waiting));
        let (pending, finished) = (self.pending.clone(), self.finished_sender.clone());
        let in_flight = InFlight { ticket: self.ticket, pending, finished };
        let payload = match Payload::new(bytes) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(shard = %self.replica.shard, %error, "an entry built here is malformed");
                self.in_flight += 1;
                return drop(in_flight);
            }
        };
        self.in_flight += 1;
        let callback = Callback(Box::new(move |result| in_flight.complete::<R>(result)));
        // A stopped raft drops the callback, which answers.
        let _ = self.raft.write(payload).with_leader(term).responder(callback).await;
    }
}
