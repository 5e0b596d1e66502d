//! The terminal while `top` has it, and as it was before when `top` ends, however that happens.

use super::screen::Line;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use rustix::termios::tcgetwinsize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How soon a signal is noticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The time is over.
    Nothing,
    Resize,
    /// A key or a signal says that it is enough.
    Quit,
}

/// A terminal in raw mode, on its other screen.
pub(super) struct Terminal {
    /// Whether a signal came that would have ended us.
    ended: Arc<AtomicBool>,
}

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, ended.clone())?;
        }
        terminal::enable_raw_mode()?;
        // From here on dropping it gives everything back.
        let terminal = Terminal { ended };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }

    /// Draws all lines of the screen at once. Each takes the place of the one that was there, so that nothing
    /// flickers.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        queue!(stdout, BeginSynchronizedUpdate)?;
        for (row, line) in (0..).zip(lines) {
            let attribute = if line.heading { Attribute::Bold } else { Attribute::Reset };
            // Cleared before: behind a line as wide as the screen it would take the last character.
            queue!(stdout, MoveTo(0, row), Clear(ClearType::UntilNewLine))?;
            queue!(stdout, SetAttribute(attribute), Print(&line.text), SetAttribute(Attribute::Reset))?;
        }
        queue!(stdout, EndSynchronizedUpdate)?;
        stdout.flush()
    }

    /// Waits so long, or for a key, another size or a signal.
    pub(super) fn wait(&mut self, wait: Duration) -> io::Result<Event> {
        let until = Instant::now() + wait;
        loop {
            if self.ended.load(Relaxed) {
                return Ok(Event::Quit);
            }
            let left = until.saturating_duration_since(Instant::now());
            match event::poll(left.min(PATIENCE)) {
                Ok(true) => match meaning(&event::read()?) {
                    Event::Nothing => {}
                    event => return Ok(event),
                },
                Ok(false) if left.is_zero() => return Ok(Event::Nothing),
                Ok(false) => {}
                // By a signal, which is looked at above.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nobody to tell that it did not work: what we would write goes to the same terminal.
        let _ = execute!(io::stdout(), SetAttribute(Attribute::Reset), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// Columns and rows of the terminal that standard output is, which need not be the one that we were started from.
/// None where it is none, or does not know.
pub(super) fn size() -> Option<(usize, usize)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

fn meaning(input: &Input) -> Event {
    match input {
        Input::Resize(..) => Event::Resize,
        Input::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => Event::Nothing,
        Input::Key(KeyEvent { code: KeyCode::Char('q' | 'Q') | KeyCode::Esc, .. }) => Event::Quit,
        Input::Key(KeyEvent { code: KeyCode::Char('c'), modifiers, .. })
            if modifiers.contains(KeyModifiers::CONTROL) =>
        {
            Event::Quit
        }
        _ => Event::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_end_it() {
        let key = |code, modifiers| meaning(&Input::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Event::Quit);
        assert_eq!(key(KeyCode::Esc, KeyModifiers::NONE), Event::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Event::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Event::Nothing);
        assert_eq!(meaning(&Input::Resize(1, 1)), Event::Resize);
    }
}
