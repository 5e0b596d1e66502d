//! openraft's calls to other replicas.

use crate::raft::{Runtime, Types, Vote};
use crate::snapshot::Snapshot;
use openraft::OptionalSend;
use openraft::alias::SnapshotOf;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use std::future::Future;
use std::io;
use std::marker::PhantomData;

pub(crate) struct Network<R>(pub(crate) PhantomData<fn() -> R>);

fn unreachable<R: Runtime>() -> Unreachable<Types<R>> {
    Unreachable::new(&io::Error::from(io::ErrorKind::NotConnected))
}

impl<R: Runtime> RaftNetworkFactory<Types<R>> for Network<R> {
    type Network = Network<R>;

    async fn new_client(&mut self, _target: u64, _node: &()) -> Network<R> {
        Network(PhantomData)
    }
}

impl<R: Runtime> RaftNetworkV2<Types<R>> for Network<R> {
    type SnapshotData = Snapshot;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(unreachable::<R>()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Types<R>>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types<R>>, RPCError<Types<R>>> {
        Err(RPCError::Unreachable(unreachable::<R>()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote<R>,
        _snapshot: SnapshotOf<Types<R>, Snapshot>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types<R>>, StreamingError<Types<R>>> {
        Err(StreamingError::Unreachable(unreachable::<R>()))
    }
}
