//! Drives a writer from a thread of its own.

use crate::writer::{Next, Writer};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Wakes the writer's thread. Make it first, give [`Bell::ringer`] to the journal's options, then
/// give the bell to [`spawn`].
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// A bell.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What the journal calls.
    #[must_use]
    pub fn ringer(self: &Arc<Self>) -> Arc<dyn Fn() + Send + Sync> {
        let bell = self.clone();
        Arc::new(move || {
            let mut rung = bell.rung.lock();
            if !*rung {
                *rung = true;
                bell.changed.notify_one();
            }
        })
    }

    fn wait(&self, deadline: Option<Instant>) {
        let mut rung = self.rung.lock();
        while !*rung {
            match deadline {
                None => self.changed.wait(&mut rung),
                Some(deadline) => {
                    if self.changed.wait_until(&mut rung, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        *rung = false;
    }
}

/// Runs `writer` until its journal is stopped and everything appended is on stable storage.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(mut writer: Writer, bell: Arc<Bell>) -> io::Result<JoinHandle<()>> {
    let name = format!("journal-{}", writer.journal().shard());
    std::thread::Builder::new().name(name).spawn(move || {
        let mut deadline = None;
        loop {
            bell.wait(deadline);
            let stopping = writer.journal().is_stopping();
            let mut next = writer.write();
            let overdue = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if next == Next::Sync || (matches!(next, Next::SyncWithin(_)) && (overdue || stopping)) {
                next = writer.sync();
                deadline = None;
            }
            deadline = match next {
                Next::Idle | Next::Sync => None,
                Next::SyncWithin(delay) => Some(deadline.unwrap_or_else(|| Instant::now() + delay)),
                Next::Retry(delay) => Some(Instant::now() + delay),
            };
            if stopping && writer.is_idle() {
                break;
            }
            if deadline.is_none() && !writer.is_idle() {
                // More arrived than one turn takes.
                deadline = Some(Instant::now());
            }
        }
    })
}
