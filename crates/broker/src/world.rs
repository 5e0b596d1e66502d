//! What a broker is given of the world around it: time, tasks, threads and chance, so that the simulator
//! can give it another.

use futures::future::{self, BoxFuture, Either};
use model::Timestamp;
use shard::Pace;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time: since when does not matter, it only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long after `earlier` it is.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(time))
    }
}

/// The world around a broker.
pub trait Surroundings: Send + Sync {
    /// What time it is.
    fn now(&self) -> Moment;
    /// What the wall clock shows.
    fn wall(&self) -> Timestamp;
    /// Ends after so long.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
    /// Runs a task until it ends.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs work that may block where it blocks nobody.
    fn offload(&self, work: Box<dyn FnOnce() + Send>);
    /// A number that nobody can foresee.
    fn random(&self) -> u128;
}

/// The world around a broker. Clones are the same world.
#[derive(Clone)]
pub struct World(Arc<dyn Surroundings>);

impl World {
    /// The world that `surroundings` are.
    #[must_use]
    pub fn new(surroundings: Arc<dyn Surroundings>) -> Self {
        World(surroundings)
    }

    /// The world of a process on tokio.
    #[must_use]
    pub fn real() -> Self {
        World::new(Arc::new(Real { began: Instant::now() }))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.0.now()
    }

    /// What the wall clock shows.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    /// Ends after so long.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(time)
    }

    /// What comes of `future`; nothing when that takes longer than `time`.
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match future::select(pin!(future), self.0.sleep(time)).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// The same until a point in time.
    pub async fn timeout_at<T>(&self, deadline: Moment, future: impl Future<Output = T>) -> Option<T> {
        self.timeout(deadline.since(self.now()), future).await
    }

    /// Runs a task until it ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(Box::pin(task));
    }

    /// Runs work that may block where it blocks nobody, and waits for what it returns. Nothing when it
    /// panics, or when the process ends. It goes on when nobody waits any more.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (done, wait) = futures::channel::oneshot::channel();
        self.0.offload(Box::new(move || {
            let _ = done.send(work());
        }));
        wait.await.ok()
    }

    /// Runs work that may block where it blocks nobody.
    pub fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.offload(work);
    }

    /// A number that nobody can foresee.
    #[must_use]
    pub fn random(&self) -> u128 {
        self.0.random()
    }
}

impl Pace for World {
    fn now(&self) -> Duration {
        self.0.now().0
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(time)
    }
}

/// What the wall clock of this machine shows.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis() as i64)
}

struct Real {
    began: Instant,
}

impl Surroundings for Real {
    fn now(&self) -> Moment {
        Moment(self.began.elapsed())
    }

    fn wall(&self) -> Timestamp {
        wall()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }

    fn offload(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn random(&self) -> u128 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_first_counts() {
        let world = World::real();
        assert_eq!(world.timeout(Duration::ZERO, async { 1 }).await, Some(1), "what is there is taken");
        assert_eq!(world.timeout(Duration::from_millis(1), future::pending::<()>()).await, None);
        let past = world.now();
        assert_eq!(world.timeout_at(past, async { 2 }).await, Some(2));
        assert_eq!(world.timeout_at(past, future::pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn work_that_panics_returns_nothing() {
        let world = World::real();
        assert_eq!(world.blocking(|| 3).await, Some(3));
        assert_eq!(world.blocking(|| -> u8 { std::panic::resume_unwind(Box::new("on purpose")) }).await, None);
    }
}
