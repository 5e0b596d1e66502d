//! Why a request is not done, on its way to an answer.

use crate::shape::Code;
use std::fmt;

/// No known name is nearly as long.
const NEAREST_BYTES_MAX: usize = 100;
/// Letters of a sentence that are kept of its beginning and of its end when it is too long. In its middle is
/// what somebody sent.
const KEPT_BEFORE: usize = 300;
const KEPT_AFTER: usize = 200;

/// What an answer will say went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: a sentence.
    pub message: String,
}

impl Refusal {
    /// Refuses with a sentence that says what was wrong, by name, and what to do. It may repeat what somebody
    /// sent, whatever that is: what is kept of it is bounded and has no control characters.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal { code, message: speakable(message.into()) }
    }

    /// Whether the client sent what makes no sense, rather than asking for what cannot be.
    pub(crate) fn is_malformed(&self) -> bool {
        matches!(
            self.code,
            Code::InvalidBody
                | Code::UnknownField
                | Code::UnknownParameter
                | Code::InvalidParameter
                | Code::BodyTooLarge
                | Code::BodyTimeout
                | Code::UnsupportedMediaType
                | Code::ForeignOrigin
                | Code::ForeignHost
        )
    }
}

fn speakable(message: String) -> String {
    if message.len() <= KEPT_BEFORE + KEPT_AFTER && !message.contains(char::is_control) {
        return message;
    }
    let spoken = |letter: char| {
        let escaped = letter.is_control().then(|| letter.escape_default());
        let plain = escaped.is_none().then_some(letter);
        escaped.into_iter().flatten().chain(plain)
    };
    let letters = message.chars().count();
    if letters <= KEPT_BEFORE + KEPT_AFTER {
        return message.chars().flat_map(spoken).collect();
    }
    let before = message.chars().take(KEPT_BEFORE).flat_map(spoken);
    let after = message.chars().skip(letters - KEPT_AFTER).flat_map(spoken);
    before.chain("...".chars()).chain(after).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The known name that is most like `unknown`, as the end of a sentence.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    // To compare takes time by the length of both.
    if unknown.len() > NEAREST_BYTES_MAX {
        return String::new();
    }
    let unknown = unknown.to_lowercase();
    let letters = unknown.chars().count();
    // One letter in three may be wrong, and with as many mistakes as letters anything is like anything.
    let near = |known: &&str| {
        let distance = strsim::osa_distance(&unknown, known);
        (distance <= (letters / 3).max(1) && distance < letters).then_some(distance)
    };
    match known.filter_map(|known| Some((near(&known)?, known))).min() {
        Some((_, known)) => format!("; did you mean {known}?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_what_was_meant() {
        let nearest = |unknown| nearest(unknown, ["partitions", "replicas", "configs", "name"].into_iter());
        assert_eq!(nearest("partition"), "; did you mean partitions?");
        assert_eq!(nearest("Partitons"), "; did you mean partitions?");
        assert_eq!(nearest("config"), "; did you mean configs?");
        for far in ["zzzzzzzzzzzz", "part", "foo", "n", ""] {
            assert_eq!(nearest(far), "", "{far}");
        }
    }

    #[test]
    fn an_enormous_name_is_not_compared() {
        let known = "n".repeat(200);
        assert_eq!(nearest(&known, [known.as_str()].into_iter()), "");
    }

    #[test]
    fn a_sentence_is_bounded_and_keeps_its_beginning_and_its_end() {
        let says = |message: String| Refusal::new(Code::InvalidBody, message).message;
        assert_eq!(says("no \"such\" thing".into()), "no \"such\" thing");
        assert_eq!(says("a\x1b[31m\r\nb".into()), "a\\u{1b}[31m\\r\\nb");
        let long = says(format!("bad {} at line 1", "\u{e9}".repeat(1 << 20)));
        assert!(long.starts_with("bad \u{e9}") && long.ends_with("\u{e9} at line 1"), "{long}");
        assert_eq!(long.chars().count(), KEPT_BEFORE + KEPT_AFTER + 3);
    }
}
