//! How a node comes to know who it is: it founds a cluster, asks to be let into one, or reads it in its
//! folder.

use super::address::{advertised, resolve_pair};
use super::call::{NodeAnswer, NodeCall};
use super::config::{Advertised, ClusterConfig};
use super::desk::NodeDesk;
use super::network::{Network, Tcp};
use crate::identity::{Identity, Stage};
use crate::links::{CALLS, Links};
use crate::node::{DataFolder, NodeError, at};
use bytes::Bytes;
use futures::future::BoxFuture;
use journal::disk::Folder;
use journal::manifest::Manifest;
use machine::catalog::Endpoint;
use machine::machine::VERSION_MAX;
use model::NodeId;
use model::wire::Wire;
use peer::{Handler, Lane, Mistrust, NotSent, PeerError, Peers, Rejection, Verdict};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The least and the longest wait between two tries to be let in.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a node that belongs to a cluster waits at its start for whoever it was told to join.
const SEED_PATIENCE: Duration = Duration::from_secs(1);

/// A node that knows who it is, before it is connected to others.
pub(crate) struct Entrance {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Where it listens for others, and what they are told about that.
    listener: Option<(TcpListener, Endpoint)>,
    options: peer::Options,
    /// Where the others were when it was let in.
    nodes: Vec<(NodeId, Endpoint)>,
}

impl Entrance {
    /// Finds out who the node is, which is settled once and for all in its folder. Asking to be let in
    /// goes on until it is answered.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub(crate) async fn open(folder: &DataFolder, config: &ClusterConfig) -> Result<Self, NodeError> {
        if config.join.is_some() && config.listen.is_none() {
            return Err(NodeError::JoinWithoutPeer);
        }
        let listener = match config.listen {
            None => None,
            Some(address) => {
                let failed = |error| NodeError::Listen { address, error };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let peer = advertised(listener.local_addr().map_err(failed)?, config.advertise.as_ref())?;
                Some((listener, peer))
            }
        };
        let mut identity = match folder.identity() {
            Some(identity) => identity,
            None => new_identity(folder, config)?,
        };
        if let Some(wanted) = config.node.filter(|wanted| *wanted != identity.node && identity.node != NodeId(0)) {
            return Err(NodeError::OtherNode { folder: folder.path().to_owned(), found: identity.node, wanted });
        }
        let mut nodes = Vec::new();
        match (identity.stage, &listener, &config.join) {
            (Stage::Founding, _, Some(_)) => return Err(NodeError::Founded(folder.path().to_owned())),
            (Stage::Joining, Some((_, peer)), Some(seed)) => {
                let joined = join(seed, &identity, peer.clone(), config).await?;
                nodes = joined.nodes;
                if (joined.cluster, joined.node) != (identity.cluster, identity.node) {
                    (identity.cluster, identity.node) = (joined.cluster, joined.node);
                    folder.set_identity(identity.clone())?;
                }
            }
            (Stage::Joining, ..) => return Err(NodeError::Joining(folder.path().to_owned())),
            (Stage::Member, Some((listener, _)), Some(seed))
                if is_elsewhere(seed, &identity, listener, config).await =>
            {
                return Err(NodeError::OtherCluster { folder: folder.path().to_owned(), seed: seed.clone() });
            }
            _ => {}
        }
        Ok(Entrance { identity, listener, options: options(config), nodes })
    }

    /// Connects it to others, if it listens for them.
    pub(crate) async fn link(self, desk: Arc<NodeDesk>) -> Result<Option<Arc<Tcp>>, NodeError> {
        let Some((listener, peer)) = self.listener else { return Ok(None) };
        let address = listener.local_addr().unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let Identity { node, cluster, .. } = self.identity;
        let links = Links::start(node, cluster, listener, desk, self.options);
        let links = links.map_err(|error| NodeError::Listen { address, error })?;
        let network = Arc::new(Tcp::new(links, peer));
        network.follow(self.nodes.into_iter().filter(|(other, _)| *other != node).collect()).await;
        Ok(Some(network))
    }
}

/// The identity of a node whose folder has none.
fn new_identity(folder: &DataFolder, config: &ClusterConfig) -> Result<Identity, NodeError> {
    let path = folder.path().join(crate::identity::NAME);
    let left = folder.shards_with_data()?;
    for shard in &left {
        let shard_folder = folder.shard_folder(*shard);
        let disk = Folder::open(&shard_folder).map_err(at(&shard_folder))?;
        // What cannot be read is told when the shard is opened.
        let replicated = Manifest::read(&disk).ok().flatten().is_some_and(|manifest| manifest.replicated);
        if replicated || config.join.is_some() {
            return Err(NodeError::NoIdentity(path));
        }
    }
    if !left.is_empty() {
        tracing::warn!(path = %path.display(), "the identity is missing: the node gets a new one, and clients see another cluster");
    }
    let identity = match config.join {
        Some(_) => Identity::joining(),
        None => Identity::founding(config.node.unwrap_or(NodeId(1))),
    };
    folder.set_identity(identity.clone())?;
    Ok(identity)
}

/// What the catalog is told about where clients reach a node.
pub(crate) fn endpoints(config: &ClusterConfig) -> Vec<Endpoint> {
    let endpoint = |Advertised { protocol, host, port }: &Advertised| Endpoint {
        protocol: Bytes::copy_from_slice(protocol.as_bytes()),
        host: Bytes::copy_from_slice(host.as_bytes()),
        port: *port,
    };
    config.endpoints.iter().map(endpoint).collect()
}

fn options(config: &ClusterConfig) -> peer::Options {
    peer::Options { tls: config.tls.clone(), secret: config.secret.clone(), ..peer::Options::default() }
}

/// Whether a node that belongs to a cluster is told to join another one. Whoever it joined once may be gone: a seed that
/// does not answer, or not as a node does, is none of another cluster.
async fn is_elsewhere(seed: &str, identity: &Identity, listener: &TcpListener, config: &ClusterConfig) -> bool {
    let look = async {
        let address = resolve_pair(seed).await.ok()?;
        // Where all nodes are told the same, one is told to join itself, and does not answer yet.
        if listener.local_addr().is_ok_and(|own| own == address) {
            return None;
        }
        peer::identify(address, config.tls.as_ref(), SEED_PATIENCE).await.ok()
    };
    match tokio::time::timeout(SEED_PATIENCE, look).await {
        Ok(Some(found)) => found.cluster != identity.cluster,
        Ok(None) | Err(_) => false,
    }
}

struct Joined {
    cluster: u128,
    node: NodeId,
    nodes: Vec<(NodeId, Endpoint)>,
}

/// Why a try to be let in failed.
enum Failure {
    /// Another will fail, too.
    Refused(String),
    /// Another may not.
    Later(String),
}

/// Asks to be let in until that is answered.
async fn join(seed: &str, identity: &Identity, peer: Endpoint, config: &ClusterConfig) -> Result<Joined, NodeError> {
    let call = NodeCall::Join {
        incarnation: identity.incarnation,
        wanted: config.node,
        peer,
        endpoints: endpoints(config),
        rack: config.rack.as_ref().map(|rack| Bytes::copy_from_slice(rack.as_bytes())),
        version: VERSION_MAX as u16,
    };
    let (mut pause, mut told) = (PAUSE.0, String::new());
    loop {
        match try_to_join(seed, identity, &call, options(config)).await {
            Ok(joined) => return Ok(joined),
            Err(Failure::Refused(why)) => return Err(NodeError::Join { seed: seed.to_owned(), why }),
            Err(Failure::Later(why)) if why == told => {}
            Err(Failure::Later(why)) => {
                tracing::warn!(seed, why, "cannot join yet; it is tried again");
                told = why;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// What becomes of a try that came to nothing because the two nodes do not speak with each other.
fn failure(why: NotSent) -> Failure {
    // Whoever has the wrong secret or certificate gets no other by waiting.
    match why {
        NotSent::Refused(verdict) if verdict != Verdict::Full => Failure::Refused(verdict.to_string()),
        NotSent::Insecure(mistrust) if mistrust != Mistrust::NoTls => Failure::Refused(mistrust.to_string()),
        _ => Failure::Later(why.to_string()),
    }
}

async fn try_to_join(
    seed: &str,
    identity: &Identity,
    call: &NodeCall,
    options: peer::Options,
) -> Result<Joined, Failure> {
    let later = |error: &dyn std::fmt::Display| Failure::Later(error.to_string());
    let address = resolve_pair(seed).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidInput => Failure::Refused(error.to_string()),
        _ => later(&error),
    })?;
    let found = peer::identify(address, options.tls.as_ref(), PATIENCE).await.map_err(failure)?;
    if identity.cluster != 0 && identity.cluster != found.cluster {
        return Err(Failure::Refused("that is a node of another cluster".to_owned()));
    }
    // It has no number yet. Nobody has a reason to call it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| later(&error))?;
    let peers = Peers::serve(NodeId(0), found.cluster, listener, Arc::new(Nobody), options);
    let peers = peers.map_err(|error| later(&error))?;
    peers.set_address(found.node, address);
    let answer = peers.call(found.node, CALLS, Lane::Control, vec![call.to_wire().into()], PATIENCE).await;
    peers.stop().await;
    let answer = answer.map_err(|error| match error {
        PeerError::NotSent(why) => failure(why),
        error => later(&error),
    })?;
    match NodeAnswer::from_wire(&answer).map_err(|error| later(&error))? {
        NodeAnswer::Joined { node, nodes } => Ok(Joined { cluster: found.cluster, node, nodes }),
        NodeAnswer::Refused { why } => Err(Failure::Refused(why)),
        NodeAnswer::NotNow { why } => Err(Failure::Later(why)),
        NodeAnswer::NotLeader { .. }
        | NodeAnswer::Unknown
        | NodeAnswer::Proposed { .. }
        | NodeAnswer::Delivered { .. }
        | NodeAnswer::Standing { .. }
        | NodeAnswer::HandedOver { .. }
        | NodeAnswer::Older { .. }
        | NodeAnswer::OlderGone { .. }
        | NodeAnswer::Heard
        | NodeAnswer::Unfit { .. }
        | NodeAnswer::Epochs { .. }
        | NodeAnswer::Load { .. }
        | NodeAnswer::Served { .. } => Err(Failure::Later("the answer is not known".to_owned())),
    }
}

/// Answers nothing.
struct Nobody;

impl Handler for Nobody {
    fn handle(
        &self,
        _from: NodeId,
        _channel: u32,
        _lane: Lane,
        _request: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, Rejection>> {
        Box::pin(async { Err(Rejection::new(peer::RejectionCode::NoChannel, "not a member yet")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    #[test]
    fn what_does_not_pass_by_itself_is_not_tried_again() {
        let is_final = |why| matches!(failure(why), Failure::Refused(_));
        for why in [
            NotSent::Refused(Verdict::OtherSecret),
            NotSent::Refused(Verdict::OneSidedSecret),
            NotSent::Refused(Verdict::NoCommonVersion),
            NotSent::Insecure(Mistrust::TheirCertificate("it has expired")),
            NotSent::Insecure(Mistrust::OurCertificate("none was shown")),
            NotSent::Insecure(Mistrust::OnlyTls),
        ] {
            assert!(is_final(why), "{why}");
        }
        for why in [
            NotSent::Refused(Verdict::Full),
            NotSent::Insecure(Mistrust::NoTls),
            NotSent::Unreachable(ErrorKind::ConnectionRefused),
            NotSent::NoPeer,
            NotSent::GoingAway,
        ] {
            assert!(!is_final(why), "{why}: whoever is there may be about to go, or to come");
        }
    }
}
