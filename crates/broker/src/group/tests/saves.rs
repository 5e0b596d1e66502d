//! What the log has, and who waits for it.

use super::transcript::check;
use crate::group::GroupConfig;

#[test]
fn nobody_hears_of_a_generation_before_it_is_in_the_log() {
    check(
        GroupConfig::default(),
        "
        > 0 hold
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        > 1 saved 1 ok
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 2 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        > 3 sync 3 id=m1 gen=1
        > 4 saved 2 ok
        2: synced range [x]
        3: synced range [x]
        > 5 sync 4 id=m1 gen=1
        4: synced range [x]
        ",
    );
}

#[test]
fn a_save_that_failed_is_repeated_when_an_answer_needs_it() {
    check(
        GroupConfig::default(),
        "
        > 0 hold
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        > 1 saved 1 ok
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 2 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        > 3 sync 3 id=m1 gen=1
        > 4 saved 2 failed
        2: CoordinatorNotAvailable
        3: CoordinatorNotAvailable
        > 5 sync 4 id=m1 gen=1
        save 3 Stable gen=1 leader=m1 members=m1:x
        > 6 saved 3 ok
        4: synced range [x]
        > 7 join 5 id=m1 range:a
        save 4 Completing gen=2 leader=m1 members=m1
        > 8 join 6 id=m1 range:a
        > 9 saved 4 failed
        5: CoordinatorNotAvailable m1
        6: CoordinatorNotAvailable m1
        > 10 join 7 range:b
        > 11 leave 8 id=m1
        save 5 Completing gen=3 leader=m7 members=m7
        > 12 saved 5 ok
        7: m7 joined gen=3 range leader=m7 [m7:b]
        8: left m1=ok
        ",
    );
}

#[test]
fn an_older_save_that_fails_does_not_matter_when_a_newer_one_commits() {
    check(
        GroupConfig::default(),
        "
        > 0 hold
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        > 1 join 2 range:b
        > 2 leave 3 id=m1
        save 2 Completing gen=2 leader=m2 members=m2
        > 3 saved 1 failed
        1: CoordinatorNotAvailable m1
        > 4 saved 2 ok
        2: m2 joined gen=2 range leader=m2 [m2:b]
        3: left m1=ok
        > 5 leave 4 id=m2
        save 3 Empty { since: Timestamp(5) } gen=3 leader= members=
        > 6 saved 3 ok
        4: left m2=ok
        ",
    );
}

#[test]
fn a_new_leader_takes_over_a_stable_group() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a rr:a session=6000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 join 2 range:b rr:b session=6000
        > 0 join 3 id=m1 range:a rr:a session=6000
        save 2 Completing gen=2 leader=m1 members=m1,m2
        3: m1 joined gen=2 range leader=m1 [m1:a m2:b]
        2: m2 joined gen=2 range leader=m1 []
        > 0 sync 4 id=m1 gen=2 m1:x m2:y
        save 3 Stable gen=2 leader=m1 members=m1:x,m2:y
        4: synced range [x]
        > 0 sync 5 id=m2 gen=2
        5: synced range [y]
        > 10 join 6 range:c
        > 5000 failover
        > 5000 next
        next Some(11000)
        > 5001 heartbeat 7 id=m1 gen=2
        7: Alive
        > 5002 join 8 id=m2 range:b rr:b session=6000
        8: m2 joined gen=2 range leader=m1 []
        > 5003 sync 9 id=m2 gen=2
        9: synced range [y]
        > 5004 join 10 id=m6 range:c
        10: UnknownMember m6
        > 5005 leave 11 id=m1 ids=m2
        save 1 Empty { since: Timestamp(5005) } gen=3 leader= members=
        11: left m1=ok m2=ok
        > 9000 failover
        > 9000 describe 12
        12: Empty type=consumer protocol= []
        > 9001 join 13 range:a
        save 1 Completing gen=4 leader=m13 members=m13
        13: m13 joined gen=4 range leader=m13 [m13:a]
        ",
    );
}

#[test]
fn a_new_leader_takes_over_a_generation_that_is_not_assigned() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a rebalance=5000 session=60000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 join 2 range:b rebalance=5000 session=60000
        > 0 join 3 id=m1 range:a rebalance=5000 session=60000
        save 2 Completing gen=2 leader=m1 members=m1,m2
        3: m1 joined gen=2 range leader=m1 [m1:a m2:b]
        2: m2 joined gen=2 range leader=m1 []
        > 1 sync 4 id=m2 gen=2
        > 4000 failover
        > 4000 next
        next Some(9000)
        > 4001 join 5 id=m2 range:b rebalance=5000 session=60000
        5: m2 joined gen=2 range leader=m1 []
        > 4002 sync 6 id=m2 gen=2
        > 9000 timeout
        6: RebalanceInProgress
        ",
    );
}

#[test]
fn a_deletion_that_failed_leaves_the_group() {
    check(
        GroupConfig::default(),
        "
        > 0 hold
        > 0 commit 1
        1: MayCommit
        > 1 delete 2
        forget 1 g
        > 2 delete 3
        3: CoordinatorNotAvailable
        > 2 commit 4
        4: CoordinatorNotAvailable
        > 2 join 5 range:a
        5: CoordinatorNotAvailable
        > 3 saved 1 failed
        2: CoordinatorNotAvailable
        > 4 delete 6
        forget 2 g
        > 5 saved 2 ok
        6: Deleted
        > 6 list 7
        7: listed
        ",
    );
}

#[test]
fn the_answer_of_a_connection_that_is_gone_is_not_kept() {
    check(
        GroupConfig::default(),
        "
        > 0 hold
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        > 1 saved 1 ok
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 2 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        > 3 sync 3 id=m1 gen=1
        > 4 gone 3
        > 5 saved 2 ok
        2: synced range [x]
        ",
    );
}
