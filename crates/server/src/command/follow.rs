//! Waiting for what comes in several partitions at once.
//!
//! A few threads share the partitions. With as many threads as partitions each waits for its own; with
//! more partitions a thread asks each of its own in turn, and waits for one a little when none had
//! anything. So a busy partition does not keep the others from being read.

use super::api::{Api, Read, may_be_done_later};
use super::failure::Failure;
use super::output::note;
use super::position::Position;
use super::server::Refusal;
use admin::shape::{Code, Record};
use model::limit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
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
    let lost = Arc::new(AtomicBool::new(false));
    for share in shares {
        let (api, topic, lost) = (api.clone(), topic.to_owned(), lost.clone());
        let follower = Follower { api, topic, places: share, sender: sender.clone(), lost };
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
    /// Whether one of the threads has said already that the broker is away.
    lost: Arc<AtomicBool>,
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
    fn after(&self, partition: u32, at: Position, refusal: Refusal) -> Result<Position, Failure> {
        match refusal {
            Refusal::Refused(problem) if problem.code == Code::OffsetOutOfRange => {
                note(&format!("partition {partition}: {}; going on with the first there is", problem.message));
                Ok(Position::Earliest)
            }
            Refusal::Refused(problem) if !may_be_done_later(problem.code) => {
                Err(self.api.failure_of_topic(&self.topic, Refusal::Refused(problem)))
            }
            Refusal::Refused(_) => {
                thread::sleep(PAUSE);
                Ok(at)
            }
            Refusal::Unanswered(why) => {
                if !self.lost.swap(true, Relaxed) {
                    note(&format!("{why}; waiting for it"));
                }
                self.wait_for_broker();
                self.lost.store(false, Relaxed);
                Ok(at)
            }
        }
    }

    fn wait_for_broker(&self) {
        loop {
            thread::sleep(PAUSE);
            if !matches!(self.api.node(), Err(Refusal::Unanswered(_))) {
                return;
            }
        }
    }
}
