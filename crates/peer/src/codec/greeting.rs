//! What the two messages of the handshake have in common, in every version there will ever be.

use crate::limit::HANDSHAKE_BYTES_MAX;
use model::checksum::crc32c;

/// How both messages begin. Neither text nor the start of TLS, so that a connection to a wrong port
/// is recognised by its first bytes; the line end betrays a connection that alters text.
pub const MAGIC: [u8; 8] = *b"MSpeer\r\n";
/// The bytes that tell TLS from anything else: the kind of a record and the version's first half.
pub const TLS_BYTES: usize = 2;
/// The bytes that say how long the message is: the magic and the length.
pub const PREFIX_BYTES: usize = 10;
/// The size of either message in version 1. Later versions may append to it.
pub const GREETING_BYTES: usize = 116;
/// Bytes of the nonce and of the proof, each.
pub const SECRET_BYTES: usize = 32;

/// The versions a node speaks, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u16,
    /// The newest.
    pub newest: u16,
}

impl Versions {
    /// What this program speaks.
    pub const OURS: Versions = Versions { oldest: 1, newest: 1 };

    /// The newest version that both speak.
    #[must_use]
    pub fn common(self, other: Versions) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// Why bytes are not a message of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// It begins with something else: this is no node.
    #[error("does not begin like a node's message")]
    Magic,
    /// It begins like a message of TLS.
    #[error("speaks TLS, and this node has no certificate")]
    Tls,
    /// A length that no version has.
    #[error("a length of {0} bytes")]
    Length(usize),
    /// Damaged on the way.
    #[error("the checksum does not match")]
    Checksum,
    /// An answer that says neither yes nor a reason this version knows.
    #[error("unknown verdict {0}")]
    Verdict(u8),
    /// The version chosen is none that was offered.
    #[error("version {0} was not offered")]
    Version(u16),
}

/// Whether what begins so is TLS: a hello of it, or an alert about us, which is shorter than our prefix.
#[must_use]
pub fn is_tls(first: [u8; TLS_BYTES]) -> bool {
    matches!(first, [0x15 | 0x16, 3])
}

/// How long the message is that begins with these bytes.
///
/// # Errors
/// When it is no message of the handshake.
pub fn length_of(prefix: &[u8; PREFIX_BYTES]) -> Result<usize, GreetingError> {
    let (magic, length) = prefix.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(GreetingError::Magic);
    }
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    if !(GREETING_BYTES..=HANDSHAKE_BYTES_MAX).contains(&length) {
        return Err(GreetingError::Length(length));
    }
    Ok(length)
}

/// Begins a message.
pub(super) fn begin() -> Vec<u8> {
    let mut out = Vec::with_capacity(GREETING_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&(GREETING_BYTES as u16).to_le_bytes());
    out
}

/// A number used once, or a proof; zeros where there is none.
pub type Secret = [u8; SECRET_BYTES];

/// Ends a message: the nonce and the proof, and the checksum.
pub(super) fn end(mut out: Vec<u8>, nonce: &Secret, proof: &Secret) -> Vec<u8> {
    out.extend_from_slice(nonce);
    out.extend_from_slice(proof);
    out.extend_from_slice(&crc32c(&out).to_le_bytes());
    out
}

/// The nonce and the proof behind the fields that have been read.
pub(super) fn secrets(input: &mut model::wire::Input<'_>, message: &[u8]) -> Result<(Secret, Secret), GreetingError> {
    let mut next = || input.array().map_err(|_| GreetingError::Length(message.len()));
    Ok((next()?, next()?))
}

/// What a proof is about: a whole message without the proof in it and without its checksum.
#[must_use]
pub fn unproved(message: &[u8]) -> Vec<u8> {
    let mut said = message[..message.len().saturating_sub(4)].to_vec();
    let proof = GREETING_BYTES - 4 - SECRET_BYTES..GREETING_BYTES - 4;
    if let Some(proof) = said.get_mut(proof) {
        proof.fill(0);
    }
    said
}

/// The fields of a whole message, its frame taken off and checked.
pub(super) fn fields(message: &[u8]) -> Result<model::wire::Input<'_>, GreetingError> {
    let prefix = message.first_chunk().ok_or(GreetingError::Length(message.len()))?;
    if length_of(prefix)? != message.len() {
        return Err(GreetingError::Length(message.len()));
    }
    let (content, checksum) = message.split_last_chunk::<4>().ok_or(GreetingError::Length(message.len()))?;
    if crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err(GreetingError::Checksum);
    }
    Ok(model::wire::Input::new(&content[PREFIX_BYTES..]))
}
