//! Whatever happens, in whatever order: a few clients, a log that may lag or fail, new leaders.

use super::world::{CLIENTS, PROTOCOLS, World};
use crate::group::GroupConfig;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The client does what a client would.
    Act {
        client: usize,
    },
    /// `fresh` forgets the member id first.
    Join {
        client: usize,
        fresh: bool,
        need_id: bool,
        skip: bool,
        protocols: usize,
        metadata: u8,
    },
    Sync {
        client: usize,
    },
    Heartbeat {
        client: usize,
    },
    Commit {
        client: usize,
    },
    Leave {
        client: usize,
    },
    /// The client's connection goes away.
    Gone {
        client: usize,
    },
    Wait {
        millis: i64,
    },
    /// The log answers the oldest save. It may have taken it although it says that it failed.
    Saved {
        done: bool,
        logged: bool,
    },
    /// The log takes this many more saves, then another leader goes on.
    Failover {
        logged: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS.len();
    let join = (client.clone(), any::<[bool; 3]>(), 0..PROTOCOLS.len(), 0..3u8);
    let step = prop_oneof![
        24 => client.clone().prop_map(|client| Step::Act { client }),
        4 => join.prop_map(|(client, [fresh, need_id, skip], protocols, metadata)| {
            Step::Join { client, fresh, need_id, skip, protocols, metadata }
        }),
        2 => client.clone().prop_map(|client| Step::Sync { client }),
        1 => client.clone().prop_map(|client| Step::Heartbeat { client }),
        2 => client.clone().prop_map(|client| Step::Commit { client }),
        1 => client.clone().prop_map(|client| Step::Leave { client }),
        1 => client.prop_map(|client| Step::Gone { client }),
        2 => (0..8_000i64).prop_map(|millis| Step::Wait { millis }),
        10 => (prop::bool::weighted(0.9), any::<bool>()).prop_map(|(done, logged)| Step::Saved { done, logged }),
        2 => (0..3usize).prop_map(|logged| Step::Failover { logged }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn promises_are_kept(steps in steps(), delay in prop_oneof![Just(0), Just(3_000)], remove_absent_static: bool) {
        let config = GroupConfig { initial_rebalance_delay: delay, remove_absent_static, ..GroupConfig::default() };
        let mut world = World::new(config);
        for step in &steps {
            world.step(step);
        }
        world.drain();
    }
}
