//! The memory that clients can make a node take, and who waits when there is no more of it.
//!
//! What clients send and what they are answered has to be held until it is whole, done or sent. All of it
//! together is bounded by [`Memory`], in pools that a request passes in this order: it arrives, it is worked
//! on (large ones apart in both, so that they do not keep out the others), it is answered. Whoever has
//! memory of one pool waits at most for memory of a later one, and what is in the last pool goes away by
//! itself: it is sent, or its client is dropped. So nobody waits for ever.
//!
//! Memory is given in the order in which it was asked for, and to somebody at all times: a pool that is
//! empty gives whatever is asked for. What has to be taken at once, because it is there already, is charged
//! without waiting; others wait so much longer.

use model::limit;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use tokio::sync::oneshot;

/// What a connection takes of a pool is counted in steps of so many bytes, so that small requests do not
/// all write to the same counter.
const STEP: usize = 16 * limit::KIB;

/// The pools of a node. Clones are the same pools.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Requests that are arriving.
    pub arriving: Pool,
    /// Requests that are arriving and larger than [`limit::REQUEST_BYTES_ORDINARY`].
    pub arriving_large: Pool,
    /// Requests that are being worked on or wait for it.
    pub requests: Pool,
    /// The same of those that are larger, or have more than [`limit::REQUEST_PARTS_ORDINARY`] elements.
    pub requests_large: Pool,
    /// Answers that wait to be sent.
    pub answers: Pool,
}

impl Memory {
    /// So many bytes in all: a quarter for answers, as much for what is worked on, and half for what arrives.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let part = |of| Pool::new(bytes / of);
        let (arriving, arriving_large, answers) = (part(4), part(4), part(4));
        Memory { arriving, arriving_large, requests: part(8), requests_large: part(8), answers }
    }

    /// Where a request of so many bytes arrives.
    #[must_use]
    pub fn arriving(&self, bytes: usize) -> &Pool {
        if bytes > limit::REQUEST_BYTES_ORDINARY { &self.arriving_large } else { &self.arriving }
    }

    /// Each pool and its name, for metrics.
    #[must_use]
    pub fn pools(&self) -> [(&'static str, &Pool); 5] {
        let Memory { arriving, arriving_large, requests, requests_large, answers } = self;
        [
            ("arriving", arriving),
            ("arriving_large", arriving_large),
            ("requests", requests),
            ("requests_large", requests_large),
            ("answers", answers),
        ]
    }
}

/// Some bytes that may be taken, and a queue. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
    /// As many as in the queue, to be read without locking it.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Ascending by number.
    waiters: VecDeque<Waiter>,
    next_number: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    bytes: u64,
    granted: oneshot::Sender<Held>,
}

/// A place in the queue, given up when dropped: those behind must not wait for somebody who is gone.
struct Place {
    pool: Pool,
    number: u64,
    granted: oneshot::Receiver<Held>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.leave(self.number);
    }
}

/// Bytes of a pool, given back when dropped.
#[derive(Debug)]
pub struct Held {
    pool: Pool,
    bytes: u64,
}

impl Pool {
    fn new(limit: u64) -> Self {
        let (used, waiting, queue) = (AtomicU64::new(0), AtomicUsize::new(0), Mutex::default());
        Pool { shared: Arc::new(Shared { limit, used, waiting, queue }) }
    }

    /// Bytes taken.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.used.load(SeqCst)
    }

    /// Bytes that may be taken.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.limit
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(SeqCst)
    }

    /// Whether all of it is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used() >= self.limit()
    }

    /// Whether more than half of it is free and nobody waits: what is convenient may be taken.
    #[must_use]
    pub fn has_plenty(&self) -> bool {
        self.used() < self.limit() / 2 && self.waiting() == 0
    }

    /// Takes bytes if they are free and nobody waits.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Held> {
        let bytes = bytes as u64;
        (self.waiting() == 0 && self.try_add(bytes)).then(|| Held { pool: self.clone(), bytes })
    }

    /// Takes bytes, after all who asked before. The place in the queue is given up when the result is dropped.
    pub fn take(&self, bytes: usize) -> impl Future<Output = Held> + Send + use<> {
        let (pool, bytes) = (self.clone(), bytes);
        async move {
            if let Some(held) = pool.try_take(bytes) {
                return held;
            }
            let mut place = pool.queue_up(bytes as u64);
            pool.grant();
            // The queue outlives us and answers all who are still there.
            (&mut place.granted).await.unwrap_or_else(|_| pool.charge(bytes))
        }
    }

    fn queue_up(&self, bytes: u64) -> Place {
        let (granted, wait) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiters.push_back(Waiter { number, bytes, granted });
        self.shared.waiting.store(queue.waiters.len(), SeqCst);
        Place { pool: self.clone(), number, granted: wait }
    }

    /// Takes somebody out of the queue, if it is there still, and serves those behind.
    fn leave(&self, number: u64) {
        let mut queue = self.shared.queue.lock();
        let Ok(nth) = queue.waiters.binary_search_by_key(&number, |waiter| waiter.number) else { return };
        queue.waiters.remove(nth);
        self.shared.waiting.store(queue.waiters.len(), SeqCst);
        drop(queue);
        self.grant();
    }

    /// Waits until not all of it is taken, after all who asked before.
    pub fn room(&self) -> impl Future<Output = Held> + Send + use<> {
        self.take(1)
    }

    /// Takes bytes that are there already, whether they are free or not.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Held {
        let bytes = bytes as u64;
        self.shared.used.fetch_add(bytes, SeqCst);
        Held { pool: self.clone(), bytes }
    }

    fn try_add(&self, bytes: u64) -> bool {
        let fits = |used: u64| (used == 0 || used + bytes <= self.shared.limit).then_some(used + bytes);
        self.shared.used.fetch_update(SeqCst, SeqCst, fits).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.shared.used.fetch_sub(bytes, SeqCst);
        // Whoever queued up before this saw the bytes as taken; whoever does after it looks for itself.
        if self.waiting() > 0 {
            self.grant();
        }
    }

    fn grant(&self) {
        let mut queue = self.shared.queue.lock();
        while let Some(first) = queue.waiters.front() {
            if !first.granted.is_closed() && !self.try_add(first.bytes) {
                break;
            }
            let Some(Waiter { bytes, granted, .. }) = queue.waiters.pop_front() else { break };
            if granted.is_closed() {
                continue;
            }
            if let Err(mut held) = granted.send(Held { pool: self.clone(), bytes }) {
                // It left just now. Dropping what it was given would come back here.
                self.shared.used.fetch_sub(std::mem::take(&mut held.bytes), SeqCst);
            }
        }
        self.shared.waiting.store(queue.waiters.len(), SeqCst);
    }
}

impl Held {
    /// How many.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Of which pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Holds so many from now on. More are charged.
    pub fn resize(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.pool.shared.used.fetch_add(bytes - before, SeqCst);
        } else {
            self.pool.give_back(before - bytes);
        }
    }

    /// Holds what a connection takes beyond what every connection may take.
    pub fn cover(&mut self, bytes: usize) {
        let beyond = bytes.saturating_sub(limit::CONNECTION_BYTES_FREE).next_multiple_of(STEP);
        if beyond != self.bytes() {
            self.resize(beyond);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn pool() -> Pool {
        Pool::new(100)
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let pool = pool();
        let first = pool.try_take(60).unwrap();
        assert!(pool.try_take(41).is_none());
        let second = pool.try_take(40).unwrap();
        assert!(pool.is_full());
        drop(first);
        assert_eq!(pool.used(), 40);
        drop(second);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn an_empty_pool_gives_whatever_is_asked_for() {
        let pool = pool();
        let all = pool.try_take(1000).unwrap();
        assert!(pool.try_take(1).is_none());
        drop(all);
        assert!(pool.try_take(1).is_some());
    }

    #[test]
    fn those_who_wait_are_served_in_order_and_nobody_passes_them() {
        let pool = pool();
        let first = pool.try_take(100).unwrap();
        let (mut large, mut small) = (Box::pin(pool.take(80)), Box::pin(pool.take(10)));
        assert!(large.as_mut().now_or_never().is_none() && small.as_mut().now_or_never().is_none());
        assert_eq!(pool.waiting(), 2);
        let mut first = first;
        first.resize(30);
        assert!(small.as_mut().now_or_never().is_none(), "10 are free, and the one before wants 80");
        assert!(pool.try_take(1).is_none());
        first.resize(20);
        assert_eq!(large.as_mut().now_or_never().unwrap().bytes(), 80);
        // Dropped at once, so there is room for the next.
        assert_eq!(small.as_mut().now_or_never().unwrap().bytes(), 10);
        assert_eq!((pool.waiting(), pool.used()), (0, 20));
    }

    #[test]
    fn whoever_leaves_the_queue_holds_up_nobody() {
        let pool = pool();
        let first = pool.try_take(100).unwrap();
        let (mut gone, mut next) = (Box::pin(pool.take(50)), Box::pin(pool.take(100)));
        assert!(gone.as_mut().now_or_never().is_none() && next.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        assert_eq!(next.as_mut().now_or_never().unwrap().bytes(), 100);
        assert_eq!(pool.used(), 0);
        // Also one that was given memory and left before it took it.
        let first = pool.try_take(100).unwrap();
        let mut gone = Box::pin(pool.take(50));
        assert!(gone.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(pool.used(), 50);
        drop(gone);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn whoever_leaves_the_queue_is_not_waited_for() {
        let pool = pool();
        let _first = pool.try_take(50).unwrap();
        let (mut large, mut gone, mut small) =
            (Box::pin(pool.take(80)), Box::pin(pool.take(70)), Box::pin(pool.take(10)));
        for waits in [&mut large, &mut gone, &mut small] {
            assert!(waits.as_mut().now_or_never().is_none());
        }
        drop(gone);
        assert_eq!(pool.waiting(), 2);
        drop(large);
        // Nothing was given back, and there is room for the one who is left.
        assert_eq!((pool.waiting(), pool.used()), (0, 60));
        assert_eq!(small.as_mut().now_or_never().unwrap().bytes(), 10);
    }

    #[test]
    fn what_is_there_already_is_charged_and_others_wait_longer() {
        let pool = pool();
        let mut much = pool.charge(90);
        much.resize(150);
        let mut waits = Box::pin(pool.room());
        assert!(waits.as_mut().now_or_never().is_none());
        much.resize(100);
        assert!(waits.as_mut().now_or_never().is_none());
        much.resize(99);
        assert!(waits.as_mut().now_or_never().is_some());
    }

    #[test]
    fn a_connection_has_a_little_for_nothing() {
        let pool = pool();
        let mut held = pool.charge(0);
        held.cover(limit::CONNECTION_BYTES_FREE);
        assert_eq!(pool.used(), 0);
        held.cover(limit::CONNECTION_BYTES_FREE + 1);
        assert_eq!(pool.used(), STEP as u64);
        held.cover(0);
        assert_eq!(pool.used(), 0);
    }

    /// Threads take, resize and give back at random: nothing is lost, and nobody waits for ever.
    #[test]
    fn nothing_is_lost_between_threads() {
        let pool = pool();
        let threads: Vec<_> = (0..4u64)
            .map(|nth| {
                let pool = pool.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let mut state = nth + 1;
                    for _ in 0..2000 {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let bytes = (state >> 33) as usize % 120;
                        let mut held = runtime.block_on(pool.take(bytes));
                        held.resize(bytes / 2);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((pool.used(), pool.waiting()), (0, 0));
    }
}
