//! Why a request is not done, on its way to an answer.

use crate::shape::Code;
use std::fmt;

/// What an answer will say went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: a sentence.
    pub message: String,
}

impl Refusal {
    /// Refuses with a sentence that says what was wrong, by name, and what to do.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into() }
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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The known name that is most like `unknown`, as the end of a sentence.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    let unknown = unknown.to_lowercase();
    // What has hardly a letter in common was not meant.
    let near = |known: &&str| {
        let distance = strsim::osa_distance(&unknown, known);
        (distance <= known.len().max(3) / 2 + 1).then_some(distance)
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
        assert_eq!(nearest("zzzzzzzzzzzz"), "");
    }
}
