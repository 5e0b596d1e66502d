//! How far long work is, on standard error: a bar where somebody looks.

use super::amount;
use super::output::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Work that ends sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(700);
const REDRAWS_PER_SECOND: u8 = 5;
const WITH_AN_END: &str = "{bar:30} {percent:>3}%  {msg}  {eta} left";
const WITHOUT_AN_END: &str = "{spinner} {msg}";

/// A bar, once the work has taken long.
#[derive(Debug)]
pub(crate) struct Progress {
    began: Instant,
    /// None: nobody looks.
    bar: Option<ProgressBar>,
    drawn: bool,
    /// The last step that was told.
    told: String,
}

impl Progress {
    /// Of so much work; None where nobody knows how much. Shown only if `wanted`.
    pub(crate) fn new(all: Option<u64>, wanted: bool) -> Self {
        let bar = (wanted && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::hidden());
            let template = if all.is_some() { WITH_AN_END } else { WITHOUT_AN_END };
            bar.with_style(ProgressStyle::with_template(template).expect("a test reads both templates"))
        });
        Progress { began: Instant::now(), bar, drawn: false, told: String::new() }
    }

    /// So much is done, which were so many records and bytes.
    pub(crate) fn show(&mut self, done: u64, records: u64, bytes: u64) {
        self.say(done, |taken| so_far(records, bytes, taken));
    }

    /// So much is done; how it stands is said in words.
    pub(crate) fn say(&mut self, done: u64, words: impl FnOnce(Duration) -> String) {
        let Some(bar) = &self.bar else { return };
        let taken = self.began.elapsed();
        if taken < PATIENCE {
            return;
        }
        if !self.drawn {
            self.drawn = true;
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND));
        }
        bar.set_message(words(taken));
        bar.set_position(done);
    }

    /// The work has come to this step: a line where no bar is drawn, which is for work of few steps and many hours.
    pub(crate) fn step(&mut self, step: String) {
        if self.bar.is_none() && self.began.elapsed() >= PATIENCE && self.is_news(step) {
            note(&self.told);
        }
    }

    fn is_news(&mut self, step: String) -> bool {
        let is_news = self.told != step;
        self.told = step;
        is_news
    }

    /// Leaves no trace.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn so_far(records: u64, bytes: u64, taken: Duration) -> String {
    let rate = bytes as f64 / taken.as_secs_f64().max(0.001);
    format!("{}, {}, {}", amount::of(records, "record"), amount::bytes(bytes), amount::byte_rate(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_can_be_read() {
        for template in [WITH_AN_END, WITHOUT_AN_END] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    #[test]
    fn a_step_is_told_once() {
        let mut progress = Progress::new(Some(2), false);
        let told = ["2 left", "2 left", "1 left", "2 left"].map(|step| progress.is_news(step.to_owned()));
        assert_eq!(told, [true, false, true, true]);
    }

    #[test]
    fn it_says_how_fast_it_goes() {
        assert_eq!(so_far(2000, 4096, Duration::from_secs(2)), "2,000 records, 4.0 KiB, 2.0 KiB/s");
    }
}
