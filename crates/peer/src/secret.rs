//! The secret of a cluster: how two nodes prove to each other that they know it, without telling it.
//!
//! Each side draws a nonce, and proves with a keyed hash (HMAC-SHA-256, RFC 2104) over what both have
//! said, nonces included. The accepting side proves first; a proof is good for this one conversation and
//! this one direction. It keeps strangers out. It does not hide what is said afterwards, nor does it keep
//! somebody on the path from taking a conversation over: that is what TLS is for.

use crate::codec::greeting::{SECRET_BYTES, Secret as Proof};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// What a side proves, so that a proof is of no use in the other direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Accepting,
    Dialling,
}

impl Side {
    fn label(self) -> &'static [u8] {
        match self {
            Side::Accepting => b"mainstem peer: accepting",
            Side::Dialling => b"mainstem peer: dialling",
        }
    }
}

/// The secret of a cluster. Clones share it; it is not shown.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A secret of these bytes: as long and as hard to guess as whoever chooses it makes it.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Secret(bytes.into())
    }

    fn mac(&self, side: Side, said: &[Vec<u8>; 2]) -> Option<Hmac<Sha256>> {
        // It takes a key of any length.
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).ok()?;
        mac.update(side.label());
        for message in said {
            mac.update(&(message.len() as u64).to_le_bytes());
            mac.update(message);
        }
        Some(mac)
    }

    /// The proof of `side` about what both have said.
    pub(crate) fn prove(&self, side: Side, said: &[Vec<u8>; 2]) -> Proof {
        self.mac(side, said).map_or([0; SECRET_BYTES], |mac| mac.finalize().into_bytes().into())
    }

    /// Whether a proof is right. How long that takes does not tell how much of it is.
    pub(crate) fn is_proved(&self, side: Side, said: &[Vec<u8>; 2], proof: &Proof) -> bool {
        self.mac(side, said).is_some_and(|mac| mac.verify_slice(proof).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_secret_one_side_and_one_conversation() {
        let (secret, other) = (Secret::new(b"correct horse"), Secret::new(b"battery staple"));
        let said = |hello: &str, answer: &str| [hello.into(), answer.into()];
        let whole = said("hello", "answer");
        let proof = secret.prove(Side::Accepting, &whole);
        assert!(secret.is_proved(Side::Accepting, &whole, &proof));
        assert!(!other.is_proved(Side::Accepting, &whole, &proof));
        assert!(!secret.is_proved(Side::Dialling, &whole, &proof));
        assert!(
            !secret.is_proved(Side::Accepting, &said("helloa", "nswer"), &proof),
            "parts do not run into each other"
        );
        assert!(!secret.is_proved(Side::Accepting, &whole, &[0; SECRET_BYTES]));
        assert!(!format!("{secret:?}").contains("horse"));
    }
}
