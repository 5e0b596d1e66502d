//! Paths: cut into segments, each decoded, and held against a template. What is decoded is never cut again,
//! so `%2F` is a letter of a name.

use crate::refusal::Refusal;
use crate::shape::Code;

/// The segments of a path, decoded.
///
/// # Errors
/// When it is not percent-encoded UTF-8.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let invalid = || {
        let message = format!("the path {path:?} is not percent-encoded UTF-8; encode each name, and % as %25");
        Refusal::new(Code::InvalidParameter, message)
    };
    path.strip_prefix('/').unwrap_or(path).split('/').map(|segment| decode(segment).ok_or_else(invalid)).collect()
}

/// What `text` stands for; `None` when it is not percent-encoded UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = more.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

/// What the segments have where the template has a name in braces; `None` when they do not fit it.
pub(crate) fn fit<'a>(template: &str, segments: &'a [String]) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut parts = template.trim_start_matches('/').split('/');
    for segment in segments {
        let part = parts.next()?;
        if part.starts_with('{') {
            found.push(segment.as_str());
        } else if part != segment {
            return None;
        }
    }
    parts.next().is_none().then_some(found)
}

/// The names in braces of a template.
pub(crate) fn names(template: &str) -> impl Iterator<Item = &str> {
    template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// A name as a segment of a path.
#[must_use]
pub fn encode(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_segment_is_decoded_once_and_after_the_path_is_cut() {
        assert_eq!(segments("/v1/topics/a%2Fb").unwrap(), ["v1", "topics", "a/b"]);
        assert_eq!(segments("/v1/topics/%252e%252E").unwrap(), ["v1", "topics", "%2e%2E"]);
        assert_eq!(segments("/v1//").unwrap(), ["v1", "", ""]);
        for wrong in ["/v1/%", "/v1/%2", "/v1/%zz", "/v1/%ff", "/v1/%C0%AF"] {
            assert_eq!(segments(wrong).unwrap_err().code, Code::InvalidParameter, "{wrong}");
        }
    }

    #[test]
    fn a_path_fits_a_template_of_as_many_segments() {
        let path = |path| segments(path).unwrap();
        let template = "/v1/topics/{topic}/records";
        assert_eq!(fit(template, &path("/v1/topics/a/records")), Some(vec!["a"]));
        for other in ["/v1/topics/a", "/v1/topics/a/records/", "/v1/topics/a/b/records", "/v2/topics/a/records"] {
            assert_eq!(fit(template, &path(other)), None, "{other}");
        }
        assert_eq!(names("/v1/{a}/x/{b}").collect::<Vec<_>>(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(name: String) {
            let encoded = encode(&name);
            prop_assert!(!encoded.contains('/'));
            prop_assert_eq!(decode(&encoded), Some(name));
        }

        #[test]
        fn no_text_panics(text: String) {
            decode(&text);
        }
    }
}
