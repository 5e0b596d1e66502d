//! Entries and what lies in them.

use bytes::Bytes;
use model::record::Message;
use model::{Entry, piece};

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let _ = model::entry::descriptions(data);
    if let Ok(entry) = Entry::parse(Bytes::copy_from_slice(data)) {
        for desc in entry.pieces() {
            for found in piece::walk(entry.body(&desc)) {
                let _ = found;
            }
            let _ = Message::decode(entry.body(&desc));
        }
    }
}
