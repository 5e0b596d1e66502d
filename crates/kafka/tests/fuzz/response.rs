//! A response, which is read as one of the API and the version that its first four bytes name. What can be read
//! is written and read again.

use bytes::{Bytes, BytesMut};
use kafka::codec::api_key::ApiKey;
use kafka::codec::body::ResponseBody;
use kafka::codec::header::ResponseHeader;
use kafka::codec::reader::Reader;
use kafka::codec::writer::Writer;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Some(([a, b, c, d], rest)) = data.split_first_chunk() else { return };
    let (api, version) = (i16::from_be_bytes([*a, *b]), i16::from_be_bytes([*c, *d]));
    let Ok(api) = ApiKey::try_from(api) else { return };
    let mut reader = Reader::new(Bytes::copy_from_slice(rest));
    if ResponseHeader::decode(&mut reader, api, version).is_err() {
        return;
    }
    let Ok(body) = ResponseBody::decode(api, version, reader) else { return };
    let mut bytes = BytesMut::new();
    body.encode(&mut Writer::new(&mut bytes), version);
    assert_eq!(ResponseBody::decode(api, version, Reader::new(bytes.freeze())), Ok(body));
}
