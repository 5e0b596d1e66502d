//! When one more node is asked beside one that has not answered: after twice the time that one usually takes, so that
//! one that is far away is not taken for one that hangs.

use model::NodeId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// No node is given less, nor one that has not been asked before more.
const PATIENCE_MIN: Duration = Duration::from_millis(150);
/// Nor any more than this: beyond, it hangs.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// An answer counts for one part in so many of what is usual.
const PARTS: u32 = 8;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Hedge {
    /// As many as there are nodes, at most.
    usual: Mutex<BTreeMap<NodeId, Duration>>,
}

impl Hedge {
    /// A node has answered after so long.
    pub(crate) fn note(&self, node: NodeId, took: Duration) {
        let took = took.min(PATIENCE_MAX);
        let mut usual = self.usual.lock();
        usual.entry(node).and_modify(|known| *known = (*known * (PARTS - 1) + took) / PARTS).or_insert(took);
    }

    /// A node has not answered within so long, and is not waited for any more.
    pub(crate) fn note_silence(&self, node: NodeId, silence: Duration) {
        let silence = silence.min(PATIENCE_MAX);
        let mut usual = self.usual.lock();
        usual.entry(node).and_modify(|known| *known = silence.max(*known)).or_insert(silence);
    }

    /// For how long a node is waited for alone.
    pub(crate) fn patience(&self, node: NodeId) -> Duration {
        let usual = self.usual.lock().get(&node).copied().unwrap_or_default();
        (usual * 2).clamp(PATIENCE_MIN, PATIENCE_MAX)
    }

    /// Puts those first that answer soonest, the others as they were. One of which nothing is known is worth a try.
    pub(crate) fn sort(&self, nodes: &mut [NodeId]) {
        let usual = self.usual.lock();
        nodes.sort_by_key(|node| usual.get(node).copied().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn whoever_is_far_away_is_given_time_and_whoever_is_near_no_more_than_all() {
        let (hedge, near, far) = (Hedge::default(), NodeId(1), NodeId(2));
        assert_eq!(hedge.patience(far), PATIENCE_MIN, "nothing is known");
        hedge.note(near, ms(1));
        hedge.note(far, ms(400));
        assert_eq!((hedge.patience(near), hedge.patience(far)), (PATIENCE_MIN, ms(800)));
        // One slow answer is not what is usual, and many are.
        hedge.note(near, ms(400));
        assert_eq!(hedge.patience(near), PATIENCE_MIN);
        (0..50).for_each(|_| hedge.note(near, ms(300)));
        assert!(hedge.patience(near) > ms(590) && hedge.patience(near) <= ms(600));
        hedge.note(far, ms(60_000));
        assert!(hedge.patience(far) <= PATIENCE_MAX, "what hangs is no measure");
    }

    #[test]
    fn whoever_answers_soonest_is_asked_first() {
        let hedge = Hedge::default();
        let sorted = |hedge: &Hedge| {
            let mut nodes = [3, 1, 2].map(NodeId);
            hedge.sort(&mut nodes);
            nodes.map(|node| node.0)
        };
        assert_eq!(sorted(&hedge), [3, 1, 2], "as it was");
        hedge.note(NodeId(1), ms(2));
        hedge.note(NodeId(2), ms(3));
        hedge.note_silence(NodeId(3), ms(150));
        assert_eq!(sorted(&hedge), [1, 2, 3]);
        // That it was not waited for says nothing of a node that usually takes longer.
        hedge.note_silence(NodeId(3), ms(1));
        assert_eq!(sorted(&hedge), [1, 2, 3]);
    }
}
