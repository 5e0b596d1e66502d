//! Waiting for what comes in several partitions at once.
//!
//! A few threads share the partitions. With as many threads as partitions each waits for its own; with
//! more partitions a thread asks each of its own in turn, and waits for one a little when none had
//! anything. So a busy partition does not keep the others from being read.
//!
//! When the node that is asked is lost, it goes on at another one that is known of, else it waits for it.

use super::api::{Api, Read, may_be_done_later};
use super::failure::Failure;
use super::output::note;
use super::position::Position;
use super::server::Refusal;
use admin::shape::{Code, Record};
use model::limit;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Requests that wait at the broker for one command. It has [`limit::ADMIN_WAITS_MAX`] for all of them.
const THREADS_MAX: usize = 8;
/// How long a request waits that has a thread of its own.
const WAIT_ALONE: Duration = Duration::from_secs(20);
/// How long it waits where others of the thread have their turn after it.
const WAIT_SHARED: Duration = Duration::from_millis(250);
/// Before a broker that was lost is asked again.
const PAUSE: Duration = Duration::from_secs(1);
const BYTES_READ: usize = limit::MIB;

const _: () = assert!(THREADS_MAX * 2 <= limit::ADMIN_WAITS_MAX, "a few can follow at the same time");
const _: () = assert!(WAIT_ALONE.as_millis() as u64 <= limit::ADMIN_WAIT_MILLIS_MAX);

/// What a thread says: records of a partition, or that it cannot go on.
type Said = Result<(u32, Vec<Record>), Failure>;

/// A partition, and where to read on.
#[derive(Clone, Copy, Debug)]
struct Place {
    partition: u32,
    at: Position,
}

/// Reads partitions from their places on. `take` is given what comes and says whether it wants more.
///
/// # Errors
/// When a partition cannot be read for good. A broker that is away is waited for.
pub(crate) fn follow(
    api: &Api,
    topic: &str,
    places: Vec<(u32, Position)>,
    mut take: impl FnMut(u32, Vec<Record>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let threads = places.len().min(THREADS_MAX);
    let mut shares = vec![Vec::new(); threads];
    for (nth, (partition, at)) in places.into_iter().enumerate() {
        shares[nth % threads].push(Place { partition, at });
    }
    // One portion of each thread may wait to be taken; the thread waits then, too.
    let (sender, receiver) = sync_channel(threads);
    let trouble = Arc::new(Trouble::default());
    for share in shares {
        let (api, topic, trouble) = (api.clone(), topic.to_owned(), trouble.clone());
        let follower = Follower { api, topic, places: share, sender: sender.clone(), trouble };
        thread::spawn(move || follower.run());
    }
    drop(sender);
    // The threads end with the process, or when nobody takes what they say.
    for said in receiver {
        let (partition, records) = said?;
        if !take(partition, records)? {
            break;
        }
    }
    Ok(())
}

struct Follower {
    api: Api,
    topic: String,
    places: Vec<Place>,
    sender: SyncSender<Said>,
    trouble: Arc<Trouble>,
}

/// What the threads have said last of what went wrong: each of them notices, and one says it.
#[derive(Debug, Default)]
struct Trouble {
    said: Mutex<Option<String>>,
}

impl Trouble {
    /// Whether this has to be said, because nobody has said it last.
    fn is_news(&self, what: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = said.as_deref() != Some(what);
        *said = Some(what.to_owned());
        is_news
    }

    /// It is over.
    fn end(&self) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Follower {
    fn run(mut self) {
        let mut last = 0;
        loop {
            let found = if self.places.len() == 1 { self.ask(0, WAIT_ALONE) } else { self.round(&mut last) };
            if let Err(failure) = found {
                // Without a receiver nobody wants to know.
                let _ = self.sender.send(Err(failure));
                return;
            }
        }
    }

    /// Asks all partitions, and waits for the next one if none had anything.
    fn round(&mut self, last: &mut usize) -> Result<(), Failure> {
        let mut any = false;
        for nth in 0..self.places.len() {
            any |= self.asked(nth, Duration::ZERO)?;
        }
        if !any {
            *last = (*last + 1) % self.places.len();
            self.ask(*last, WAIT_SHARED)?;
        }
        Ok(())
    }

    fn ask(&mut self, nth: usize, wait: Duration) -> Result<(), Failure> {
        self.asked(nth, wait).map(|_| ())
    }

    /// Asks for what comes next of a partition; whether anything came.
    fn asked(&mut self, nth: usize, wait: Duration) -> Result<bool, Failure> {
        let Place { partition, at } = self.places[nth];
        let read = Read { from: at, records_max: limit::ADMIN_PAGE_MAX, bytes_max: BYTES_READ, wait };
        let read = match self.api.read(&self.topic, partition, read) {
            Ok(read) => read,
            Err(refusal) => {
                self.places[nth].at = self.after(partition, at, refusal)?;
                return Ok(false);
            }
        };
        self.places[nth].at = Position::Offset(read.next_offset);
        if read.records.is_empty() {
            return Ok(false);
        }
        let heard = self.sender.send(Ok((partition, read.records)));
        heard.map(|()| true).map_err(|_| Failure::Unheard)
    }

    /// Where to go on after a refusal, if that makes sense.
    fn after(&mut self, partition: u32, at: Position, refusal: Refusal) -> Result<Position, Failure> {
        match refusal {
            Refusal::Refused(problem) if problem.code == Code::OffsetOutOfRange => {
                note(&format!("partition {partition}: {}; going on with the first there is", problem.message));
                Ok(Position::Earliest)
            }
            Refusal::Refused(problem) if !may_be_done_later(problem.code) => {
                Err(self.api.failure_of_topic(&self.topic, Refusal::Refused(problem)))
            }
            // It has been asked for a while already.
            Refusal::Refused(problem) => {
                let what = format!("{} says: {}", self.api.address(), problem.message);
                if self.trouble.is_news(&what) {
                    note(&format!("{what}; going on asking"));
                }
                match self.api.elsewhere() {
                    Some(other) => self.api = other,
                    None => thread::sleep(PAUSE),
                }
                Ok(at)
            }
            Refusal::Unanswered(why) => {
                self.find_broker(&why);
                Ok(at)
            }
        }
    }

    /// Goes on at another node, or waits until one answers.
    fn find_broker(&mut self, why: &str) {
        // Several threads lose the same node, each in its own way.
        let lost = format!("{} is lost", self.api.address());
        let is_news = self.trouble.is_news(&lost);
        if let Some(other) = self.api.elsewhere() {
            if is_news {
                note(&format!("{why}; going on at {}", other.address()));
            }
            self.api = other;
            return;
        }
        if is_news {
            note(&format!("{why}; waiting for it"));
        }
        loop {
            thread::sleep(PAUSE);
            if !matches!(self.api.node(), Err(Refusal::Unanswered(_))) {
                break;
            }
            if let Some(other) = self.api.elsewhere() {
                self.api = other;
                break;
            }
        }
        self.trouble.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_said_once_by_all_threads_together() {
        let trouble = Trouble::default();
        assert!(trouble.is_news("a is lost"));
        assert!(!trouble.is_news("a is lost"));
        assert!(trouble.is_news("b is lost"));
        assert!(trouble.is_news("a is lost"), "it was there again meanwhile");
        trouble.end();
        assert!(trouble.is_news("a is lost"));
    }
}
