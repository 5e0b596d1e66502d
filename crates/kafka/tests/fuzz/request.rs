//! A stream of frames, each read as the request that its header says, and whatever can be read is
//! written and read again.

use bytes::BytesMut;
use kafka::codec::body::RequestBody;
use kafka::codec::frame;
use kafka::codec::header::RequestHeader;
use kafka::codec::reader::Reader;
use kafka::codec::writer::Writer;

const MAX_FRAME: usize = 1 << 20;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let mut received = BytesMut::from(data);
    while let Ok(Some(frame)) = frame::split(&mut received, MAX_FRAME) {
        let mut reader = Reader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else { continue };
        let Some(api) = header.api() else { continue };
        let version = header.api_version;
        let Ok(body) = RequestBody::decode(api, version, reader) else { continue };
        let mut bytes = BytesMut::new();
        body.encode(&mut Writer::new(&mut bytes), version);
        let again = RequestBody::decode(api, version, Reader::new(bytes.freeze()));
        assert_eq!(again, Ok(body));
    }
}
