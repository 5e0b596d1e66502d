//! Readers waiting at the end of streams.

use model::StreamId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Who waits for which stream.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// In order, so that whoever wakes all of them does so in the same order each time.
    streams: Mutex<BTreeMap<StreamId, Vec<Arc<Notify>>>>,
}

impl Waiters {
    /// Starts waiting for these streams; what happens from now on is not missed.
    pub(crate) fn register(self: &Arc<Self>, mut streams: Vec<StreamId>) -> Waiting {
        // One that is named a hundred thousand times would be looked for as often each time.
        streams.sort_unstable();
        streams.dedup();
        let bell = Arc::new(Notify::new());
        let mut map = self.streams.lock();
        for stream in &streams {
            map.entry(*stream).or_default().push(bell.clone());
        }
        drop(map);
        Waiting { waiters: self.clone(), streams, bell }
    }

    /// Wakes whoever waits for `stream`.
    pub(crate) fn wake(&self, stream: StreamId) {
        if let Some(bells) = self.streams.lock().get(&stream) {
            bells.iter().for_each(|bell| bell.notify_one());
        }
    }

    /// Wakes everybody, for instance because another node leads now.
    pub(crate) fn wake_all(&self) {
        self.streams.lock().values().flatten().for_each(|bell| bell.notify_one());
    }
}

/// A place in the queue of waiters; left when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    streams: Vec<StreamId>,
    bell: Arc<Notify>,
}

impl Waiting {
    /// Returns when something happened to one of the streams since the last call.
    pub(crate) async fn woken(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut map = self.waiters.streams.lock();
        for stream in &self.streams {
            if let Some(bells) = map.get_mut(stream) {
                bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
                if bells.is_empty() {
                    map.remove(stream);
                }
            }
        }
    }
}
