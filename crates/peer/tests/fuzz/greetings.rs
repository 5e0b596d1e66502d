//! The handshake's two messages. The first byte says whether the length and the checksum are made to
//! match; what can be read is written and read again.

use model::checksum::crc32c;
use peer::codec::answer::Answer;
use peer::codec::greeting::{MAGIC, PREFIX_BYTES, length_of};
use peer::codec::hello::Hello;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some((&mend, data)) = data.split_first() else { return };
    let mut message = data.to_vec();
    if mend & 1 == 1 && message.len() > PREFIX_BYTES + 4 {
        let length = message.len();
        message[..8].copy_from_slice(&MAGIC);
        message[8..10].copy_from_slice(&(length as u16).to_le_bytes());
        let checksum = crc32c(&message[..length - 4]).to_le_bytes();
        message[length - 4..].copy_from_slice(&checksum);
    }
    if let Some(prefix) = message.first_chunk() {
        let _ = length_of(prefix);
    }
    if let Ok(hello) = Hello::decode(&message) {
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
    if let Ok(answer) = Answer::decode(&message) {
        // A refusal has no version.
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}
