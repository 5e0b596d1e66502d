//! Choosing a SASL mechanism (KIP-43).

use super::message::messages;
use super::text::Text;

messages! {
    /// The mechanism the client wants. In version 0 bare SASL tokens follow, without Kafka
    /// headers.
    struct SaslHandshakeRequest [api 17, versions 0..=1, response SaslHandshakeResponse] {
        mechanism: Text;
    }

    /// The mechanisms the server offers.
    struct SaslHandshakeResponse [answers SaslHandshakeRequest] {
        error_code: i16;
        mechanisms: Vec<Text>;
    }
}
