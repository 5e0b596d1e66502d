//! What happened in a run, as text: the same seed gives the same text, and a failure is read in it.

use parking_lot::Mutex;
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;

/// Collects lines, or nothing when it is off. Clones share one text.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    text: Option<Arc<Mutex<String>>>,
    print: Option<fn(fmt::Arguments<'_>)>,
}

impl Trace {
    /// One that collects.
    #[must_use]
    pub fn on() -> Self {
        Trace { text: Some(Arc::default()), print: None }
    }

    /// One that gives every line to `print` at once: of a run that does not end, too, it is seen what happened.
    #[must_use]
    pub fn printing(print: fn(fmt::Arguments<'_>)) -> Self {
        Trace { text: None, print: Some(print) }
    }

    /// One that does neither.
    #[must_use]
    pub fn off() -> Self {
        Trace::default()
    }

    /// Adds a line.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        if let Some(print) = self.print {
            print(line);
        }
        if let Some(text) = &self.text {
            // A String takes everything.
            let _ = writeln!(text.lock(), "{line}");
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.as_ref().map(|text| text.lock().clone()).unwrap_or_default()
    }
}
