//! The types openraft is instantiated with. They do not leave this crate.

use bytes::Bytes;
use machine::Reply;
use model::entry::EntryError;
use model::{Entry, NodeId};
use openraft::raft::responder::Responder;
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

pub use openraft::async_runtime::AsyncRuntime as Runtime;

/// A proposal: an entry's bytes and what the journal has to know of them.
#[derive(Clone)]
pub(crate) struct Payload {
    pub(crate) bytes: Bytes,
    pub(crate) meta_bytes: u32,
    pub(crate) fsync: bool,
}

impl Payload {
    pub(crate) fn new(bytes: Bytes) -> Result<Self, EntryError> {
        let entry = Entry::parse(bytes.clone())?;
        Ok(Payload { bytes, meta_bytes: entry.meta_bytes() as u32, fsync: entry.wants_fsync() })
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The answers to an entry's commands.
pub(crate) type Applied = Vec<Reply>;

/// Calls a closure with the outcome: no task and no channel for each entry.
pub(crate) struct Callback<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<R: Runtime, T: Send + 'static> Responder<Types<R>, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// openraft's configuration of types, over a runtime: tokio's, or the simulator's.
pub(crate) struct Types<R>(PhantomData<fn() -> R>);

impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Types<R> {}
impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}
impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for Types<R> {}
impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl<R: Runtime> openraft::RaftTypeConfig for Types<R> {
    type D = Payload;
    type R = Applied;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Payload, u64, ()>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = Callback<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::batch::InlineBatch<T>
    where
        T: Send + 'static;
    type AsyncRuntime = R;
    type ErrorSource = openraft::AnyError;
}

pub(crate) type LogId<R> = openraft::alias::LogIdOf<Types<R>>;
pub(crate) type Vote<R> = openraft::alias::VoteOf<Types<R>>;
pub(crate) type RaftEntry<R> = openraft::alias::EntryOf<Types<R>>;
pub(crate) type StoredMembership<R> = openraft::alias::StoredMembershipOf<Types<R>>;
pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type Raft<R> = openraft::Raft<Types<R>, crate::apply::StateMachine<R>>;

/// Lets a call come to its end in a task of its own, whatever becomes of the future that waits for it. `None` when
/// the runtime ends first.
///
/// Whoever first notices that openraft has stopped waits for its task, and leaves for all others why it did. When that
/// one is dropped halfway, nobody does, and openraft panics in the others' calls: so none that may be dropped waits
/// itself.
pub(crate) fn to_the_end<R, T, F, C>(
    raft: &Raft<R>,
    call: C,
) -> impl Future<Output = Option<T>> + Send + use<R, T, F, C>
where
    R: Runtime,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    C: FnOnce(Raft<R>) -> F,
{
    let task = R::spawn(call(raft.clone()));
    async move { task.await.ok() }
}

/// The term this node leads in.
///
/// openraft's `as_leader` alone goes by the vote, which is still committed to a node that led,
/// restarted, and leads no more.
///
/// # Errors
/// Who leads instead, if anybody is known to.
pub(crate) fn leading<R: Runtime>(raft: &Raft<R>) -> Result<u64, Option<NodeId>> {
    let leads = raft.is_leader();
    match raft.as_leader() {
        Ok(leader) if leads => Ok(leader.leader_id().term),
        Ok(_) => Err(None),
        Err(forward) => Err(forward.leader_id.map(NodeId)),
    }
}
