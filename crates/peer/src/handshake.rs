//! Who is who, before the first frame.

use crate::codec::answer::{Answer, Verdict};
use crate::codec::greeting::{self, GreetingError, PREFIX_BYTES, SECRET_BYTES, TLS_BYTES, Versions, unproved};
use crate::codec::hello::Hello;
use crate::error::NotSent;
use crate::lane::Lane;
use crate::mistrust::Mistrust;
use crate::node::Node;
use crate::seats::{Seat, Seats};
use crate::secret::Side;
use crate::stream::{self, ReadHalf, WriteHalf};
use crate::tls::Tls;
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
pub async fn identify(address: SocketAddr, tls: Option<&Tls>, patience: Duration) -> Result<Identity, NotSent> {
    let (versions, nonce) = (Versions::OURS, [0; SECRET_BYTES]);
    let hello = Hello { versions, lane: Hello::ASKING, cluster: 0, from: NodeId(0), to: NodeId(0), nonce };
    let asked = timeout(patience, ask(address, tls, &hello)).await.map_err(late)??;
    Ok(Identity { cluster: asked.answer.cluster, node: asked.answer.node })
}

/// Connects to a node and introduces ourselves.
pub(crate) async fn dial(
    node: &Node,
    to: NodeId,
    lane: Lane,
    address: SocketAddr,
) -> Result<(ReadHalf, WriteHalf), NotSent> {
    let nonce = node.nonce();
    let hello = Hello { versions: Versions::OURS, lane: lane.tag(), cluster: node.cluster, from: node.me, to, nonce };
    timeout(node.options.handshake_timeout, introduce(node, &hello, address)).await.map_err(late)?
}

async fn introduce(node: &Node, hello: &Hello, address: SocketAddr) -> Result<(ReadHalf, WriteHalf), NotSent> {
    let Asked { reader, mut writer, answer, message } = ask(address, node.options.tls.as_ref(), hello).await?;
    let version = answer.outcome.map_err(NotSent::Refused)?;
    // The other side has judged the same; a node that does so wrongly is not to be trusted with data.
    if answer.cluster != node.cluster {
        return Err(NotSent::Refused(Verdict::OtherCluster));
    }
    if answer.node != hello.to {
        return Err(NotSent::Refused(Verdict::OtherNode));
    }
    if !(hello.versions.oldest..=hello.versions.newest).contains(&version) {
        return Err(NotSent::NoPeer);
    }
    if let Some(secret) = &node.options.secret {
        let said = [unproved(&hello.encode()), unproved(&message)];
        if !secret.is_proved(Side::Accepting, &said, &answer.proof) {
            return Err(NotSent::Refused(Verdict::OtherSecret));
        }
        let proof = secret.prove(Side::Dialling, &said);
        say(&mut writer, &proof).await.map_err(|error| NotSent::Unreachable(error.kind()))?;
    }
    Ok((reader, writer))
}

fn late<E>(_: E) -> NotSent {
    NotSent::Unreachable(io::ErrorKind::TimedOut)
}

/// A connection on which a hello was answered.
struct Asked {
    reader: ReadHalf,
    writer: WriteHalf,
    answer: Answer,
    /// The answer as it came.
    message: Vec<u8>,
}

async fn ask(address: SocketAddr, tls: Option<&Tls>, hello: &Hello) -> Result<Asked, NotSent> {
    let (mut reader, mut writer) = stream::connect(address, tls).await?;
    let said = say(&mut writer, &hello.encode()).await;
    // Who does not listen may have said why not before: so that is looked at first.
    let heard = receive(&mut reader).await.and_then(|message| Ok((Answer::decode(&message)?, message)));
    let (answer, message) = heard.map_err(|error| match error {
        Failure::Io(error) => NotSent::Unreachable(error.kind()),
        Failure::Insecure(why) => NotSent::Insecure(why),
        Failure::Greeting(GreetingError::Tls) => NotSent::Insecure(Mistrust::OnlyTls),
        Failure::Greeting(_) | Failure::Refused { .. } => NotSent::NoPeer,
    })?;
    said.map_err(|error| NotSent::Unreachable(error.kind()))?;
    Ok(Asked { reader, writer, answer, message })
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
    Io(io::Error),
    #[error("{0}")]
    Insecure(Mistrust),
    #[error("{0}")]
    Greeting(#[from] GreetingError),
    #[error("refused {from} of cluster {cluster:032x}, which speaks versions {} to {}: {why}", versions.oldest, versions.newest)]
    Refused { why: Verdict, from: NodeId, cluster: u128, versions: Versions },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Mistrust::of(&error).map_or(Failure::Io(error), Failure::Insecure)
    }
}

/// Hears who has connected and lets it in, or says why not. `None` if it only asked who we are.
pub(crate) async fn receive_guest(
    node: &Node,
    seats: &Arc<Seats>,
    reader: &mut ReadHalf,
    writer: &mut WriteHalf,
) -> Result<Option<Guest>, Failure> {
    let message = receive(reader).await?;
    let hello = Hello::decode(&message)?;
    let refuse = |why| {
        let Hello { versions, cluster, from, .. } = hello;
        Failure::Refused { why, from, cluster, versions }
    };
    let mut answer = Answer::open(Versions::OURS, Ok(0), node.cluster, node.me);
    match judge(node, &hello) {
        Ok(version) => answer.outcome = Ok(version),
        Err(why) => {
            answer.outcome = Err(why);
            say(writer, &answer.encode()).await?;
            writer.shutdown().await?;
            return Err(refuse(why));
        }
    }
    let Some(lane) = Lane::of_tag(hello.lane) else {
        say(writer, &answer.encode()).await?;
        return Ok(None);
    };
    // Whoever does not know the secret gets no seat, from which it would push the one it claims to be.
    if let Some(secret) = &node.options.secret {
        answer.nonce = node.nonce();
        let said = [unproved(&message), unproved(&answer.encode())];
        answer.proof = secret.prove(Side::Accepting, &said);
        say(writer, &answer.encode()).await?;
        let mut proof = [0; SECRET_BYTES];
        // A node that knows another secret sees that from our proof, and leaves.
        match reader.read_exact(&mut proof).await {
            Err(error) if is_end(&error) => return Err(refuse(Verdict::OtherSecret)),
            read => read?,
        };
        if !secret.is_proved(Side::Dialling, &said, &proof) {
            return Err(refuse(Verdict::OtherSecret));
        }
    }
    match seats.take(hello.from, lane).await {
        Some(seat) => {
            if node.options.secret.is_none() {
                say(writer, &answer.encode()).await?;
            }
            Ok(Some(Guest { from: hello.from, lane, seat }))
        }
        None => {
            answer.outcome = Err(Verdict::Full);
            if node.options.secret.is_none() {
                say(writer, &answer.encode()).await?;
            }
            writer.shutdown().await?;
            Err(refuse(Verdict::Full))
        }
    }
}

/// The version that is spoken, if who says that hello is to be let in.
fn judge(node: &Node, hello: &Hello) -> Result<u16, Verdict> {
    let version = Versions::OURS.common(hello.versions).ok_or(Verdict::NoCommonVersion)?;
    if hello.lane == Hello::ASKING {
        return Ok(version);
    }
    if hello.cluster != node.cluster {
        return Err(Verdict::OtherCluster);
    }
    if hello.to != node.me {
        return Err(Verdict::OtherNode);
    }
    if Lane::of_tag(hello.lane).is_none() {
        return Err(Verdict::UnknownLane);
    }
    if node.options.secret.is_some() != (hello.nonce != [0; SECRET_BYTES]) {
        return Err(Verdict::OneSidedSecret);
    }
    Ok(version)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// Sends a message, all of it.
async fn say(writer: &mut WriteHalf, message: &[u8]) -> io::Result<()> {
    writer.write_all(message).await?;
    writer.flush().await
}

/// Reads one message, and not a byte more.
async fn receive(reader: &mut ReadHalf) -> Result<Vec<u8>, Failure> {
    let mut prefix = [0; PREFIX_BYTES];
    let (first, rest) = prefix.split_at_mut(TLS_BYTES);
    reader.read_exact(first).await?;
    if greeting::is_tls([first[0], first[1]]) {
        return Err(GreetingError::Tls.into());
    }
    reader.read_exact(rest).await?;
    let mut message = vec![0; greeting::length_of(&prefix)?];
    let (head, rest) = message.split_at_mut(PREFIX_BYTES);
    head.copy_from_slice(&prefix);
    reader.read_exact(rest).await?;
    Ok(message)
}
