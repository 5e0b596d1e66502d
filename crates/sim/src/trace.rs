//! What happened in a run, as text: the same seed gives the same text, and a failure is read in it.

use parking_lot::Mutex;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

/// Collects lines, or nothing when it is off. Clones share one text.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<Mutex<String>>>);

impl Trace {
    /// One that collects.
    #[must_use]
    pub fn on() -> Self {
        Trace(Some(Arc::default()))
    }

    /// One that does not.
    #[must_use]
    pub fn off() -> Self {
        Trace(None)
    }

    /// Adds a line.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        if let Some(text) = &self.0 {
            // A String takes everything.
            let _ = writeln!(text.lock(), "{line}");
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.as_ref().map(|text| text.lock().clone()).unwrap_or_default()
    }
}
