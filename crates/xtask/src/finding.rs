//! One thing that `cargo xtask tidy` asks somebody to change.

use std::fmt;

/// Where, what, and what to do about it. A finding without the last part only annoys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Path relative to the root, so that an editor started there can jump to it.
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) advice: String,
}

impl Finding {
    pub(crate) fn at(path: impl Into<String>, line: usize, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, advice } = self;
        write!(f, "{path}:{line}: {what}\n    to do: {advice}")
    }
}

/// The line of the first occurrence of `needle` in `text`, or 1, for findings about a manifest.
pub(crate) fn line_with(text: &str, needle: &str) -> usize {
    text.lines().position(|line| line.contains(needle)).map_or(1, |index| index + 1)
}
