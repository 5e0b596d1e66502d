//! What a request says of where it comes from and goes, a line each: whether it came by a listener on a loopback
//! address, the host, the origin, and what a browser says of the site. What is missing was not sent.

use admin::shape::ErrorBody;
use admin::{Claims, Gate, Head, api};

const ADVERTISED: &str = "broker.example";
const SENTENCE_LETTERS_MAX: usize = 5_000;

/// See the module's documentation.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let loopback = lines.next() == Some("loopback");
    let claims = Claims { host: lines.next(), origin: lines.next(), fetch_site: lines.next() };
    match judge(loopback, claims) {
        Ok(()) => check_admitted(loopback, claims),
        Err(said) => {
            assert!(said.len() <= SENTENCE_LETTERS_MAX, "{said}");
            assert!(!said.contains(char::is_control), "{said:?}");
        }
    }
}

/// Whether such a request is answered, and what is said otherwise.
pub(crate) fn judge(loopback: bool, claims: Claims<'_>) -> Result<(), String> {
    let gate = Gate { loopback, advertised: vec![ADVERTISED.to_owned()] };
    let head = Head { method: "GET", path: "/v1/topics", claims, ..Head::default() };
    let refused = api::judge(&gate, &head).err();
    refused.map_or(Ok(()), |refused| {
        let said: ErrorBody = serde_json::from_slice(&refused.body).expect("an error is JSON");
        Err(said.error.message)
    })
}

fn check_admitted(loopback: bool, claims: Claims<'_>) {
    let host = claims.host.unwrap_or_default().to_ascii_lowercase();
    let is_of_no_address = |letter: char| !letter.is_ascii_hexdigit() && !"[]:.".contains(letter);
    if loopback && host.contains(is_of_no_address) {
        // A name, and not that of somebody else which begins or ends as ours do.
        let (name, port) = host.split_once(':').unwrap_or((&host, ""));
        assert!(["localhost", ADVERTISED].contains(&name), "{host:?}");
        assert!(port.bytes().all(|byte| byte.is_ascii_digit()), "{host:?}");
    }
    assert!(!loopback || !host.is_empty());
    if let Some(origin) = claims.origin {
        let origin = origin.to_ascii_lowercase();
        assert!(origin == format!("http://{host}") || origin == format!("https://{host}"), "{origin:?}, {host:?}");
    }
    assert!(claims.fetch_site.is_none_or(|site| ["same-origin", "none"].contains(&site)));
}
