//! One step of a SASL exchange (KIP-152).

use super::message::messages;
use super::text::Text;
use bytes::Bytes;

messages! {
    /// What the client says. Opaque to the protocol.
    struct SaslAuthenticateRequest
        [api 36, versions 0..=2, flexible 2, response SaslAuthenticateResponse]
    {
        auth_bytes: Bytes;
    }

    /// What the server says. A session lifetime of 0 does not end (KIP-368).
    struct SaslAuthenticateResponse [answers SaslAuthenticateRequest] {
        error_code: i16;
        error_message: Option<Text>;
        auth_bytes: Bytes;
        session_lifetime_ms: i64, in 1..;
    }
}
