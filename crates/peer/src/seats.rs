//! Who is connected to us: one connection for each node and lane.

use crate::lane::Lane;
use crate::limit::SEATS_MAX;
use model::NodeId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The connections that were let in. A node that connects again takes its own place: it knows better
/// than we do that its old connection is dead.
#[derive(Debug)]
pub(crate) struct Seats {
    taken: Mutex<HashMap<(NodeId, Lane), Arc<Notify>>>,
    freed: watch::Sender<()>,
}

impl Seats {
    pub(crate) fn new() -> Arc<Seats> {
        Arc::new(Seats { taken: Mutex::default(), freed: watch::Sender::new(()) })
    }

    /// Takes the place of a node's lane, once a former connection has left it: so the requests of the
    /// two are never mixed. `None` when there is no place.
    pub(crate) async fn take(self: &Arc<Self>, node: NodeId, lane: Lane) -> Option<Seat> {
        loop {
            // Watching begins before looking, so that no change is missed in between.
            let mut freed = self.freed.subscribe();
            {
                let mut taken = self.taken.lock();
                let full = taken.len() >= SEATS_MAX;
                match taken.entry((node, lane)) {
                    Entry::Occupied(former) => former.get().notify_one(),
                    Entry::Vacant(_) if full => return None,
                    Entry::Vacant(place) => {
                        let leave = Arc::clone(place.insert(Arc::default()));
                        return Some(Seat { seats: Arc::clone(self), place: (node, lane), leave });
                    }
                }
            }
            freed.changed().await.ok()?;
        }
    }
}

/// A place, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    place: (NodeId, Lane),
    leave: Arc<Notify>,
}

impl Seat {
    /// Comes back when another connection wants the place.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().remove(&self.place);
        self.seats.freed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::pin;

    #[test]
    fn a_second_connection_waits_for_the_first_to_leave() {
        let seats = Seats::new();
        let take = |node, lane| seats.take(NodeId(node), lane);
        let first = take(1, Lane::Bulk).now_or_never().unwrap().unwrap();
        let _other_lane = take(1, Lane::Append).now_or_never().unwrap().unwrap();
        let _other_node = take(2, Lane::Bulk).now_or_never().unwrap().unwrap();
        assert!(first.asked_to_leave().now_or_never().is_none());

        let mut second = pin!(take(1, Lane::Bulk));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.asked_to_leave().now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.as_mut().now_or_never().unwrap().is_some());
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let seats = Seats::new();
        let take = |node| seats.take(NodeId(node), Lane::Bulk).now_or_never().unwrap();
        let mut taken: Vec<_> = (0..SEATS_MAX as u64).map(|node| take(node).unwrap()).collect();
        assert!(take(9999).is_none());
        taken.pop();
        assert!(take(9999).is_some());
    }
}
