//! A line's words: plain ones in order, `name=value` ones in any order.

use std::fmt::Display;
use std::str::FromStr;

pub(crate) struct Line<'a> {
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Line { words: text.split_whitespace().collect() }
    }

    /// The next plain word.
    pub(crate) fn word(&mut self) -> Result<&'a str, String> {
        let at = self.words.iter().position(|word| !word.contains('=')).ok_or("a word is missing")?;
        Ok(self.words.remove(at))
    }

    /// The next plain word as a value.
    pub(crate) fn value<T: FromStr<Err: Display>>(&mut self) -> Result<T, String> {
        parse(self.word()?)
    }

    /// Whether the next word is `word`; takes it if so.
    pub(crate) fn takes(&mut self, word: &str) -> bool {
        let is = self.words.first() == Some(&word);
        if is {
            self.words.remove(0);
        }
        is
    }

    /// The text after the first `name=`.
    pub(crate) fn named(&mut self, name: &str) -> Option<&'a str> {
        let value = |word: &&'a str| word.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
        let at = self.words.iter().position(|word| value(word).is_some())?;
        value(&self.words.remove(at))
    }

    /// The value after the first `name=`.
    pub(crate) fn maybe<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.named(name).map(parse).transpose()
    }

    /// The value after the first `name=`, or `default`.
    pub(crate) fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T, String> {
        Ok(self.maybe(name)?.unwrap_or(default))
    }

    /// All words that are left.
    pub(crate) fn rest(&mut self) -> Vec<&'a str> {
        std::mem::take(&mut self.words)
    }

    /// Succeeds when every word was taken: a misspelt name must not be passed over.
    pub(crate) fn end(self) -> Result<(), String> {
        if self.words.is_empty() { Ok(()) } else { Err(format!("not understood: {}", self.words.join(" "))) }
    }
}

pub(crate) fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}
