//! The accepting side's message.

use super::greeting::{self, GreetingError, SECRET_BYTES, Secret, Versions};
use model::wire::{Wire, WireError};
use model::{NodeId, wire_struct};

wire_struct! {
    struct Fields {
        oldest: u16,
        newest: u16,
        verdict: u8,
        reserved: u8,
        cluster: u128,
        node: NodeId,
        version: u16,
        reserved2: u16,
        reserved4: u32,
    }
}

/// Why a connection is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// There is no version that both speak.
    #[error("no common protocol version")]
    NoCommonVersion,
    /// The other belongs to another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// Another node answers at this address.
    #[error("another node answers at this address")]
    OtherNode,
    /// The lane is unknown there.
    #[error("it does not know the lane")]
    UnknownLane,
    /// As many connections as it allows are open.
    #[error("it has too many connections")]
    Full,
    /// The accepting side has a secret and the hello asks for no proof of it, or the other way round.
    #[error("only one of the two nodes has a secret of the cluster")]
    OneSidedSecret,
    /// The other does not know the cluster's secret.
    #[error("the two nodes have different secrets of the cluster")]
    OtherSecret,
}

const VERDICTS: [(Verdict, u8); 7] = [
    (Verdict::NoCommonVersion, 1),
    (Verdict::OtherCluster, 2),
    (Verdict::OtherNode, 3),
    (Verdict::UnknownLane, 4),
    (Verdict::Full, 5),
    (Verdict::OneSidedSecret, 6),
    (Verdict::OtherSecret, 7),
];

/// What the accepting side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The versions it speaks.
    pub versions: Versions,
    /// The version it has chosen, or why it has not.
    pub outcome: Result<u16, Verdict>,
    /// Its cluster.
    pub cluster: u128,
    /// Who it is.
    pub node: NodeId,
    /// What the dialling side has to prove with that it knows the cluster's secret; zeros where there is none.
    pub nonce: Secret,
    /// The accepting side's proof that it does; zeros where there is none.
    pub proof: Secret,
}

impl Answer {
    /// An answer without a secret.
    #[must_use]
    pub fn open(versions: Versions, outcome: Result<u16, Verdict>, cluster: u128, node: NodeId) -> Self {
        Answer { versions, outcome, cluster, node, nonce: [0; SECRET_BYTES], proof: [0; SECRET_BYTES] }
    }

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Answer { versions: Versions { oldest, newest }, outcome, cluster, node, nonce, proof } = *self;
        let (verdict, version) = match outcome {
            Ok(version) => (0, version),
            Err(why) => (VERDICTS.iter().find(|(verdict, _)| *verdict == why).map_or(u8::MAX, |(_, tag)| *tag), 0),
        };
        let mut out = greeting::begin();
        Fields { oldest, newest, verdict, reserved: 0, cluster, node, version, reserved2: 0, reserved4: 0 }
            .put(&mut out);
        greeting::end(out, &nonce, &proof)
    }

    /// Reads a whole message. What a newer version appended is left alone.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(message: &[u8]) -> Result<Answer, GreetingError> {
        let mut input = greeting::fields(message)?;
        let fields = Fields::take(&mut input).map_err(|_: WireError| GreetingError::Length(message.len()))?;
        let Fields { oldest, newest, verdict, cluster, node, version, .. } = fields;
        let outcome = match (verdict, VERDICTS.iter().find(|(_, tag)| *tag == verdict)) {
            (0, _) => Ok(version),
            (_, Some((verdict, _))) => Err(*verdict),
            (tag, None) => return Err(GreetingError::Verdict(tag)),
        };
        let (nonce, proof) = greeting::secrets(&mut input, message)?;
        Ok(Answer { versions: Versions { oldest, newest }, outcome, cluster, node, nonce, proof })
    }
}
