//! Who is who, before the first frame.

use crate::codec::answer::{Answer, Verdict};
use crate::codec::greeting::{self, GreetingError, PREFIX_BYTES, Versions};
use crate::codec::hello::Hello;
use crate::error::NotSent;
use crate::lane::Lane;
use crate::node::Node;
use crate::seats::{Seat, Seats};
use crate::stream::{self, ReadHalf, WriteHalf};
use model::NodeId;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Who answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: u128,
    /// Which node of it.
    pub node: NodeId,
}

/// Asks who answers at an address: how a node that is told no more than an address learns the rest.
///
/// # Errors
/// When nobody answers within `patience`, or nobody that is a node.
pub async fn identify(address: SocketAddr, patience: Duration) -> Result<Identity, NotSent> {
    let hello = Hello { versions: Versions::OURS, lane: Hello::ASKING, cluster: 0, from: NodeId(0), to: NodeId(0) };
    let (_, answer) = timeout(patience, ask(address, &hello)).await.map_err(late)??;
    Ok(Identity { cluster: answer.cluster, node: answer.node })
}

/// Connects to a node and introduces ourselves.
pub(crate) async fn dial(
    node: &Node,
    to: NodeId,
    lane: Lane,
    address: SocketAddr,
) -> Result<(ReadHalf, WriteHalf), NotSent> {
    let hello = Hello { versions: Versions::OURS, lane: lane.tag(), cluster: node.cluster, from: node.me, to };
    let patience = node.options.handshake_timeout;
    let (halves, answer) = timeout(patience, ask(address, &hello)).await.map_err(late)??;
    let version = answer.outcome.map_err(NotSent::Refused)?;
    // The other side has judged the same; a node that does so wrongly is not to be trusted with data.
    if answer.cluster != node.cluster {
        return Err(NotSent::Refused(Verdict::OtherCluster));
    }
    if answer.node != to {
        return Err(NotSent::Refused(Verdict::OtherNode));
    }
    if !(hello.versions.oldest..=hello.versions.newest).contains(&version) {
        return Err(NotSent::NoPeer);
    }
    Ok(halves)
}

fn late<E>(_: E) -> NotSent {
    NotSent::Unreachable(io::ErrorKind::TimedOut)
}

async fn ask(address: SocketAddr, hello: &Hello) -> Result<((ReadHalf, WriteHalf), Answer), NotSent> {
    let unreachable = |error: io::Error| NotSent::Unreachable(error.kind());
    let (mut reader, mut writer) = stream::connect(address).await.map_err(unreachable)?;
    writer.write_all(&hello.encode()).await.map_err(unreachable)?;
    let message = receive(&mut reader).await;
    let answer = message.and_then(|message| Ok(Answer::decode(&message)?)).map_err(|error| match error {
        Failure::Io(error) => unreachable(error),
        Failure::Greeting(_) | Failure::Refused { .. } => NotSent::NoPeer,
    })?;
    Ok(((reader, writer), answer))
}

/// Who has been let in.
pub(crate) struct Guest {
    pub(crate) from: NodeId,
    pub(crate) lane: Lane,
    pub(crate) seat: Seat,
}

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Greeting(#[from] GreetingError),
    #[error("refused {from} of cluster {cluster:032x}, which speaks versions {} to {}: {why}", versions.oldest, versions.newest)]
    Refused { why: Verdict, from: NodeId, cluster: u128, versions: Versions },
}

/// Hears who has connected and lets it in, or says why not. `None` if it only asked who we are.
pub(crate) async fn receive_guest(
    node: &Node,
    seats: &Arc<Seats>,
    reader: &mut ReadHalf,
    writer: &mut WriteHalf,
) -> Result<Option<Guest>, Failure> {
    let hello = Hello::decode(&receive(reader).await?)?;
    let mut answer = Answer { versions: Versions::OURS, outcome: Ok(0), cluster: node.cluster, node: node.me };
    let refusal = match judge(node, seats, &hello).await {
        Ok((version, guest)) => {
            answer.outcome = Ok(version);
            writer.write_all(&answer.encode()).await?;
            return Ok(guest);
        }
        Err(why) => why,
    };
    answer.outcome = Err(refusal);
    writer.write_all(&answer.encode()).await?;
    writer.shutdown().await?;
    let Hello { versions, cluster, from, .. } = hello;
    Err(Failure::Refused { why: refusal, from, cluster, versions })
}

async fn judge(node: &Node, seats: &Arc<Seats>, hello: &Hello) -> Result<(u16, Option<Guest>), Verdict> {
    let version = Versions::OURS.common(hello.versions).ok_or(Verdict::NoCommonVersion)?;
    if hello.lane == Hello::ASKING {
        return Ok((version, None));
    }
    if hello.cluster != node.cluster {
        return Err(Verdict::OtherCluster);
    }
    if hello.to != node.me {
        return Err(Verdict::OtherNode);
    }
    let lane = Lane::of_tag(hello.lane).ok_or(Verdict::UnknownLane)?;
    let seat = seats.take(hello.from, lane).await.ok_or(Verdict::Full)?;
    Ok((version, Some(Guest { from: hello.from, lane, seat })))
}

/// Reads one message, and not a byte more.
async fn receive(reader: &mut ReadHalf) -> Result<Vec<u8>, Failure> {
    let mut prefix = [0; PREFIX_BYTES];
    reader.read_exact(&mut prefix).await?;
    let mut message = vec![0; greeting::length_of(&prefix)?];
    let (head, rest) = message.split_at_mut(PREFIX_BYTES);
    head.copy_from_slice(&prefix);
    reader.read_exact(rest).await?;
    Ok(message)
}
