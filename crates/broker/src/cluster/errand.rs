//! What a client asks of a node that another one leads: that one is asked, and its answer goes to the client. A protocol
//! whose clients do not know who leads what has it so; those whose clients know it send them there.
//!
//! It is never handed on twice. How it is spelled is the protocol's: the broker knows none.

use super::call::{NodeAnswer, NodeCall};
use crate::broker::{Broker, Inner};
use crate::memory::Held;
use crate::request::BrokerError;
use bytes::Bytes;
use futures::future::BoxFuture;
use model::wire::Wire;
use model::{NodeId, limit};
use shard::TransportError;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;

pub use super::call::Errand;

/// What came of an errand.
#[derive(Debug)]
pub struct Outcome {
    /// What became of it, in numbers of the protocol.
    pub status: u16,
    /// How long it was waited on purpose.
    pub waited: Duration,
    /// The answer.
    pub body: Bytes,
    /// Memory that the answer takes, given back when it was sent.
    pub room: Option<Held>,
}

/// Does what other nodes send. Nothing comes of it when it does no more.
pub type Errands = Arc<dyn Fn(Errand) -> Option<BoxFuture<'static, Outcome>> + Send + Sync>;

/// Who does what other nodes send, and turns for it: whoever waits for records on another node keeps nobody from
/// proposing.
pub(crate) struct Service {
    errands: OnceLock<Errands>,
    pub(crate) turns: Arc<Semaphore>,
}

impl Default for Service {
    fn default() -> Self {
        Service { errands: OnceLock::new(), turns: Arc::new(Semaphore::new(limit::ERRANDS_MAX)) }
    }
}

/// An answer that has not been sent yet, and memory for it.
struct Unsent {
    answer: Vec<u8>,
    _room: Option<Held>,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Broker {
    /// From now on what other nodes send is done by this. Only the first one counts.
    pub fn do_errands(&self, errands: Errands) {
        let _ = self.inner.service.errands.set(errands);
    }

    /// Has another node do it, which has so long for it.
    ///
    /// # Errors
    /// `NotLeader` when nothing was done, and `Unknown` when that is not known.
    pub async fn send(&self, node: NodeId, errand: Errand, patience: Duration) -> Result<Outcome, BrokerError> {
        let network = self.inner.network.as_ref().ok_or(BrokerError::NotLeader(Some(node)))?;
        let call = NodeCall::Serve { errand }.to_wire();
        let answer = match network.ask(node, call.into(), patience).await {
            Ok(answer) => answer,
            Err(TransportError::NotSent(why)) => {
                tracing::debug!(%node, why, "a node cannot be asked");
                return Err(BrokerError::NotLeader(None));
            }
            Err(TransportError::Lost(why)) => {
                tracing::debug!(%node, why, "a node did not answer");
                return Err(BrokerError::Unknown);
            }
        };
        match NodeAnswer::from_wire(&answer) {
            Ok(NodeAnswer::Served { status, waited, body }) => {
                Ok(Outcome { status, waited: Duration::from_millis(waited.into()), body, room: None })
            }
            Ok(NodeAnswer::NotNow { why }) => {
                tracing::debug!(%node, why, "a node does not do it now");
                Err(BrokerError::NotLeader(None))
            }
            // Of an older version: its clients have to ask it themselves.
            Ok(NodeAnswer::Refused { why }) => {
                tracing::debug!(%node, why, "a node does not do it for others");
                Err(BrokerError::NotLeader(Some(node)))
            }
            Ok(_) => Err(BrokerError::Unknown),
            Err(error) => {
                tracing::warn!(%node, %error, "a node answered what cannot be read");
                Err(BrokerError::Unknown)
            }
        }
    }
}

impl Inner {
    /// Does what another node sends: the answer, which holds the memory that it takes until it is sent.
    pub(crate) async fn serve(&self, errand: Errand) -> Bytes {
        let Some(doing) = self.service.errands.get().and_then(|errands| errands(errand)) else {
            return NodeAnswer::NotNow { why: "the node starts or stops".into() }.to_wire().into();
        };
        let Outcome { status, waited, body, room } = doing.await;
        let waited = u32::try_from(waited.as_millis()).unwrap_or(u32::MAX);
        Bytes::from_owner(Unsent { answer: NodeAnswer::Served { status, waited, body }.to_wire(), _room: room })
    }
}
