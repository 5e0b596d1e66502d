//! Bytes as a connection receives them. The first byte says in what steps they arrive and whether the
//! checksums are made to match, which a fuzzer would not find the way past otherwise.

use model::checksum::crc32c;
use peer::codec::decoder::Decoder;
use peer::codec::frame::{FrameKind, HEADER_BYTES};
use peer::limit::READ_STEP_BYTES;
use peer::rejection::Rejection;

const LENGTH_MAX: usize = 1 << 20;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let mut data = data.to_vec();
    if first & 1 == 1 {
        mend(&mut data);
    }
    let mut decoder = Decoder::new(LENGTH_MAX);
    for part in data.chunks(usize::from(first >> 1).max(1)) {
        decoder.space().extend_from_slice(part);
        assert!(decoder.held() <= 2 * (data.len() + READ_STEP_BYTES));
        loop {
            match decoder.next_frame() {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(frame)) if frame.kind == FrameKind::Error => {
                    if let Some(rejection) = Rejection::decode(&frame.payload) {
                        assert_eq!(Rejection::decode(&rejection.encode()), Some(rejection));
                    }
                }
                Ok(Some(_)) => {}
            }
        }
    }
}

/// Makes the checksums of a sequence of frames match.
fn mend(mut rest: &mut [u8]) {
    while rest.len() >= HEADER_BYTES {
        let (header, after) = rest.split_at_mut(HEADER_BYTES);
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let (payload, after) = after.split_at_mut(length.min(after.len()));
        header[20..24].copy_from_slice(&crc32c(payload).to_le_bytes());
        let checksum = crc32c(&header[..24]).to_le_bytes();
        header[24..].copy_from_slice(&checksum);
        rest = after;
    }
}
