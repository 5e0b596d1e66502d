//! The dialling side's message.

use super::greeting::{self, GreetingError, SECRET_BYTES, Secret, Versions};
use model::wire::{Wire, WireError};
use model::{NodeId, wire_struct};

wire_struct! {
    struct Fields {
        oldest: u16,
        newest: u16,
        lane: u8,
        reserved: u8,
        cluster: u128,
        from: NodeId,
        to: NodeId,
    }
}

/// What the dialling side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The versions it speaks.
    pub versions: Versions,
    /// The tag of the lane it wants, or [`Hello::ASKING`].
    pub lane: u8,
    /// Its cluster.
    pub cluster: u128,
    /// Who it is.
    pub from: NodeId,
    /// Whom it believes to be talking to: an address may have passed to another node.
    pub to: NodeId,
    /// What the other side has to prove with that it knows the cluster's secret; zeros where there is none.
    pub nonce: Secret,
}

impl Hello {
    /// In place of a lane: only asks who answers.
    pub const ASKING: u8 = 0;

    /// The message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Hello { versions: Versions { oldest, newest }, lane, cluster, from, to, nonce } = *self;
        let mut out = greeting::begin();
        Fields { oldest, newest, lane, reserved: 0, cluster, from, to }.put(&mut out);
        greeting::end(out, &nonce, &[0; SECRET_BYTES])
    }

    /// Reads a whole message. What a newer version appended is left alone.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(message: &[u8]) -> Result<Hello, GreetingError> {
        let mut input = greeting::fields(message)?;
        let fields = Fields::take(&mut input).map_err(|_: WireError| GreetingError::Length(message.len()))?;
        let Fields { oldest, newest, lane, cluster, from, to, .. } = fields;
        let (nonce, _) = greeting::secrets(&mut input, message)?;
        Ok(Hello { versions: Versions { oldest, newest }, lane, cluster, from, to, nonce })
    }
}
