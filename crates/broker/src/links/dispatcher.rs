//! What other nodes send, to whom it is for.

use super::{CALLS, Desk};
use bytes::Bytes;
use futures::future::BoxFuture;
use model::{NodeId, ShardId, limit};
use peer::{Handler, Lane, Rejection, RejectionCode};
use shard::TransportError;
use std::sync::Arc;
use tokio::sync::Semaphore;

type Answer = BoxFuture<'static, Result<Vec<Bytes>, Rejection>>;

const _: () = assert!(
    limit::NODE_CALLS_MAX < peer::limit::REQUESTS_IN_FLIGHT_MAX,
    "nodes that ask for much leave room for heartbeats and votes"
);

/// Answers other nodes by asking the desk.
pub(super) struct Dispatcher {
    desk: Arc<dyn Desk>,
    /// Places for calls that are for the node.
    places: Arc<Semaphore>,
}

impl Dispatcher {
    pub(super) fn new(desk: Arc<dyn Desk>) -> Dispatcher {
        Dispatcher { desk, places: Arc::new(Semaphore::new(limit::NODE_CALLS_MAX)) }
    }

    /// What has to happen in the order of a shard's calls happens before this returns.
    fn to_shard(&self, from: NodeId, id: ShardId, request: Bytes) -> Answer {
        let Some(shard) = self.desk.shard(id) else {
            tracing::debug!(node = %from, shard = %id, "a call to a shard that is not here");
            return refuse(RejectionCode::NoChannel, format!("shard {id} is not here"));
        };
        let answer = shard.handle(from, request);
        Box::pin(async move {
            answer.await.map_err(|error| match error {
                TransportError::NotSent(why) => Rejection::new(RejectionCode::Busy, why),
                TransportError::Lost(why) => Rejection::new(RejectionCode::Failed, why),
            })
        })
    }

    fn to_node(&self, from: NodeId, call: Bytes) -> Answer {
        // Before any work: whoever finds no place can try again, or elsewhere.
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::debug!(node = %from, "a call is refused: too many are being worked on");
            return refuse(RejectionCode::Busy, "too many calls are being worked on");
        };
        let answer = self.desk.call(from, call);
        Box::pin(async move {
            let answer = answer.await;
            drop(place);
            answer.map(|answer| vec![answer])
        })
    }
}

impl Handler for Dispatcher {
    fn handle(&self, from: NodeId, channel: u32, _lane: Lane, request: Bytes) -> Answer {
        match channel {
            CALLS => self.to_node(from, request),
            shard if shard <= limit::SHARDS_MAX => self.to_shard(from, ShardId(shard), request),
            _ => {
                tracing::warn!(node = %from, channel, "a call on a channel that this version does not have");
                refuse(RejectionCode::NoChannel, format!("there is no channel {channel}"))
            }
        }
    }
}

fn refuse(code: RejectionCode, why: impl Into<String>) -> Answer {
    let rejection = Rejection::new(code, why);
    Box::pin(async move { Err(rejection) })
}
