//! The turns of a group: joining, syncing, leaving, expiring.

use super::transcript::check;
use crate::group::GroupConfig;

#[test]
fn a_group_is_born_grows_and_shrinks() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 need-id range:a rr:a
        1: MemberIdRequired m1
        > 1 heartbeat 2 id=m1 gen=0
        2: UnknownMember
        > 2 join 3 id=m1 range:a rr:a
        save 1 Completing gen=1 leader=m1 members=m1
        3: m1 joined gen=1 range leader=m1 [m1:a]
        > 3 commit 4 id=m1 gen=1
        4: RebalanceInProgress
        > 4 sync 5 id=m1 gen=1 m1:all
        save 2 Stable gen=1 leader=m1 members=m1:all
        5: synced range [all]
        > 5 commit 6 id=m1 gen=1
        6: MayCommit
        > 6 describe 7
        7: Stable type=consumer protocol=range [m1:a:all]
        > 10 join 8 rr:b range:b
        > 11 heartbeat 9 id=m1 gen=1
        9: RebalanceInProgress
        > 12 commit 10 id=m1 gen=1
        10: MayCommit
        > 13 describe 11
        11: PreparingRebalance type=consumer protocol= [m1:: m8::]
        > 14 join 12 id=m1 rr:a2
        save 3 Completing gen=2 leader=m1 members=m1,m8
        12: m1 joined gen=2 rr leader=m1 [m1:a2 m8:b]
        8: m8 joined gen=2 rr leader=m1 []
        > 15 heartbeat 13 id=m8 gen=2
        13: Alive
        > 16 sync 14 id=m8 gen=2 protocol=rr
        > 17 sync 15 id=m1 gen=2 m1:left m8:right
        save 4 Stable gen=2 leader=m1 members=m1:left,m8:right
        15: synced rr [left]
        14: synced rr [right]
        > 18 sync 16 id=m8 gen=2
        16: synced rr [right]
        > 19 commit 17 id=m1 gen=1
        17: IllegalGeneration
        > 20 leave 18 id=m8
        18: left m8=ok
        > 21 heartbeat 19 id=m8 gen=2
        19: UnknownMember
        > 22 heartbeat 20 id=m1 gen=2
        20: RebalanceInProgress
        > 23 join 21 id=m1 rr:a2
        save 5 Completing gen=3 leader=m1 members=m1
        21: m1 joined gen=3 rr leader=m1 [m1:a2]
        > 24 sync 22 id=m1 gen=3 m1:all
        save 6 Stable gen=3 leader=m1 members=m1:all
        22: synced rr [all]
        > 25 leave 23 id=m1
        save 7 Empty { since: Timestamp(25) } gen=4 leader= members=
        23: left m1=ok
        > 26 describe 24
        24: Empty type=consumer protocol= []
        > 27 list 25
        25: listed g/consumer/Empty
        > 28 join 26 range:c
        save 8 Completing gen=5 leader=m26 members=m26
        26: m26 joined gen=5 range leader=m26 [m26:c]
        ",
    );
}

#[test]
fn a_member_that_does_not_rejoin_is_removed_when_the_join_phase_ends() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a session=30000 rebalance=5000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 100 join 3 range:b session=30000 rebalance=3000
        > 4000 heartbeat 4 id=m1 gen=1
        4: RebalanceInProgress
        > 4000 timeout
        > 4000 next
        next Some(5100)
        > 5100 timeout
        save 3 Completing gen=2 leader=m3 members=m3
        3: m3 joined gen=2 range leader=m3 [m3:b]
        > 5101 heartbeat 5 id=m1 gen=1
        5: UnknownMember
        > 5102 join 6 id=m1 range:a
        6: UnknownMember m1
        ",
    );
}

#[test]
fn a_session_ends_but_not_while_an_answer_is_owed() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a session=6000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 5000 heartbeat 3 id=m1 gen=1
        3: Alive
        > 6000 timeout
        > 6000 next
        next Some(11000)
        > 6001 join 4 range:b session=6000
        > 10999 heartbeat 5 id=m1 gen=1
        5: RebalanceInProgress
        > 13000 timeout
        > 13001 join 6 id=m1 range:a session=6000
        save 3 Completing gen=2 leader=m1 members=m1,m4
        6: m1 joined gen=2 range leader=m1 [m1:a m4:b]
        4: m4 joined gen=2 range leader=m1 []
        > 13002 sync 7 id=m4 gen=2
        > 18999 heartbeat 8 id=m1 gen=2
        8: Alive
        > 20000 timeout
        > 20001 sync 9 id=m1 gen=2 m4:all
        save 4 Stable gen=2 leader=m1 members=m1,m4:all
        9: synced range []
        7: synced range [all]
        > 26000 timeout
        > 26001 timeout
        save 5 Empty { since: Timestamp(26001) } gen=3 leader= members=
        > 26001 next
        next None
        ",
    );
}

#[test]
fn a_leader_that_does_not_assign_is_removed() {
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
        > 2 sync 5 id=m2 gen=2
        4: RebalanceInProgress
        > 4000 heartbeat 6 id=m1 gen=2
        6: Alive
        > 5000 timeout
        5: RebalanceInProgress
        > 5001 join 7 id=m2 range:b
        save 3 Completing gen=3 leader=m2 members=m2
        7: m2 joined gen=3 range leader=m2 [m2:b]
        ",
    );
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_removed() {
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
        > 1 sync 4 id=m1 gen=2 m1:x m2:y
        save 3 Stable gen=2 leader=m1 members=m1:x,m2:y
        4: synced range [x]
        > 4000 heartbeat 6 id=m2 gen=2
        6: Alive
        > 5000 timeout
        > 5001 heartbeat 7 id=m1 gen=2
        7: RebalanceInProgress
        > 5002 heartbeat 8 id=m2 gen=2
        8: UnknownMember
        ",
    );
}

#[test]
fn a_join_that_is_repeated_gets_the_same_answer_unless_it_says_something_new() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 join 2 range:b
        > 0 join 3 range:c
        > 0 join 4 id=m2 range:b
        4: UnknownMember m2
        > 0 join 5 id=m1 range:a
        save 2 Completing gen=2 leader=m1 members=m1,m2,m3
        5: m1 joined gen=2 range leader=m1 [m1:a m2:b m3:c]
        2: m2 joined gen=2 range leader=m1 []
        3: m3 joined gen=2 range leader=m1 []
        > 1 join 6 id=m2 range:b
        6: m2 joined gen=2 range leader=m1 []
        > 2 join 7 id=m1 range:a
        7: m1 joined gen=2 range leader=m1 [m1:a m2:b m3:c]
        > 3 sync 8 id=m3 gen=2
        > 4 sync 9 id=m1 gen=2 m1:x m2:y m3:z
        save 3 Stable gen=2 leader=m1 members=m1:x,m2:y,m3:z
        9: synced range [x]
        8: synced range [z]
        > 5 join 10 id=m2 range:b
        10: m2 joined gen=2 range leader=m1 []
        > 6 sync 11 id=m2 gen=2
        11: synced range [y]
        > 7 join 12 id=m2 range:b2
        > 8 join 13 id=m3 range:c
        > 9 join 14 id=m1 range:a
        save 4 Completing gen=3 leader=m1 members=m1,m2,m3
        14: m1 joined gen=3 range leader=m1 [m1:a m2:b2 m3:c]
        12: m2 joined gen=3 range leader=m1 []
        13: m3 joined gen=3 range leader=m1 []
        > 10 join 15 id=m2 range:b3
        > 11 sync 16 id=m1 gen=3 m1:x
        16: RebalanceInProgress
        ",
    );
}

#[test]
fn the_leader_of_a_stable_group_can_ask_for_a_rebalance() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 1 join 3 id=m1 range:a
        save 3 Completing gen=2 leader=m1 members=m1
        3: m1 joined gen=2 range leader=m1 [m1:a]
        > 2 sync 4 id=m1 gen=1
        4: IllegalGeneration
        > 3 sync 5 id=m1 gen=2 m2:nobody
        save 4 Stable gen=2 leader=m1 members=m1
        5: synced range []
        > 4 sync 6 id=m1 gen=2 protocol=rr
        6: InconsistentProtocol
        ",
    );
}

#[test]
fn a_request_whose_connection_is_gone_is_not_answered_and_its_member_expires() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a session=6000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 join 2 range:b session=6000
        > 100 gone 2
        > 5000 heartbeat 3 id=m1 gen=1
        3: RebalanceInProgress
        > 6100 timeout
        > 6101 join 4 id=m1 range:a session=6000
        save 2 Completing gen=2 leader=m1 members=m1
        4: m1 joined gen=2 range leader=m1 [m1:a]
        ",
    );
}

#[test]
fn a_shorter_wait_is_not_slept_through() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a rebalance=60000 session=60000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 join 2 range:b rebalance=5000 session=60000
        > 1 timeout
        > 1 next
        next Some(60000)
        > 2 leave 3 id=m1
        save 2 Completing gen=2 leader=m2 members=m2
        2: m2 joined gen=2 range leader=m2 [m2:b]
        3: left m1=ok
        > 2 next
        next Some(5002)
        ",
    );
}
