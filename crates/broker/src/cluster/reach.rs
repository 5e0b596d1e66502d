//! Whether this node hears of the others.

use crate::world::Moment;
use parking_lot::Mutex;
use std::time::Duration;

/// Between the loss of a leader and the next one nobody leads either, for less than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Since when this node knows of nobody who leads the catalog, of which it has a replica like all others.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    lost: Mutex<Option<Moment>>,
}

impl Reach {
    /// Notes whether anybody leads.
    pub(crate) fn note(&self, is_led: bool, now: Moment) {
        let mut lost = self.lost.lock();
        *lost = if is_led { None } else { lost.or(Some(now)) };
    }

    /// Whether nobody has led for longer than it takes until another does: others may well know who leads what.
    pub(crate) fn is_cut_off(&self, now: Moment) -> bool {
        self.lost.lock().is_some_and(|lost| now.since(lost) >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;

    #[tokio::test]
    async fn who_hears_of_no_leader_for_a_while_is_cut_off() {
        let (reach, began) = (Reach::default(), World::real().now());
        let at = |millis| began + Duration::from_millis(millis);
        assert!(!reach.is_cut_off(began));
        reach.note(false, began);
        reach.note(false, at(1000));
        assert_eq!([1999, 2000].map(|millis| reach.is_cut_off(at(millis))), [false, true]);
        reach.note(true, at(2100));
        reach.note(false, at(2200));
        assert_eq!([2300, 4200].map(|millis| reach.is_cut_off(at(millis))), [false, true]);
    }
}
