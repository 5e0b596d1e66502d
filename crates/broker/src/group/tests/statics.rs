//! Static members: restarts that nobody notices.

use super::transcript::check;
use crate::group::GroupConfig;

#[test]
fn a_static_member_restarts_without_a_rebalance() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 static=i need-id range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 0 join 2 static=j range:b
        > 0 join 3 static=i id=m1 range:a
        save 2 Completing gen=2 leader=m1 members=m1,m2
        3: m1 joined gen=2 range leader=m1 [m1/i:a m2/j:b]
        2: m2 joined gen=2 range leader=m1 []
        > 1 sync 4 static=j id=m2 gen=2
        > 2 sync 5 static=i id=m1 gen=2 m1:x m2:y
        save 3 Stable gen=2 leader=m1 members=m1:x,m2:y
        5: synced range [x]
        4: synced range [y]
        > 3 join 6 static=j range:b2
        save 4 Stable gen=2 leader=m1 members=m1:x,m6:y
        6: m6 joined gen=2 range leader=m1 []
        > 4 heartbeat 7 static=j id=m2 gen=2
        7: FencedInstance
        > 4 commit 8 static=j id=m2 gen=2
        8: FencedInstance
        > 4 heartbeat 9 id=m2 gen=2
        9: UnknownMember
        > 4 heartbeat 10 static=nobody id=m2 gen=2
        10: UnknownMember
        > 5 sync 11 static=j id=m6 gen=2
        11: synced range [y]
        > 6 join 12 static=i range:a
        save 5 Stable gen=2 leader=m12 members=m12:x,m6:y
        12: m12 joined gen=2 range leader=m1 []
        > 7 sync 13 static=i id=m12 gen=2
        13: synced range [x]
        > 8 join 14 static=i range:a can-skip
        save 6 Stable gen=2 leader=m14 members=m14:x,m6:y
        14: m14 joined gen=2 range leader=m14 [m14/i:a m6/j:b2] skip
        > 9 sync 15 static=i id=m14 gen=2
        15: synced range [x]
        > 10 describe 16
        16: Stable type=consumer protocol=range [m14:a:x m6:b2:y]
        ",
    );
}

#[test]
fn a_static_member_that_changes_the_protocol_rebalances() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 static=i range:a rr:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 1 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 2 join 3 static=i rr:a range:a
        save 3 Completing gen=2 leader=m3 members=m3
        3: m3 joined gen=2 rr leader=m3 [m3/i:a]
        ",
    );
}

#[test]
fn a_static_member_that_restarts_during_a_rebalance_fences_its_predecessor() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 static=i range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 0 join 2 static=j range:b
        > 1 join 3 static=j range:b
        2: FencedInstance m2
        > 2 join 4 static=i id=m1 range:a
        save 2 Completing gen=2 leader=m1 members=m1,m3
        4: m1 joined gen=2 range leader=m1 [m1/i:a m3/j:b]
        3: m3 joined gen=2 range leader=m1 []
        > 3 sync 5 static=j id=m3 gen=2
        > 4 join 6 static=j range:b
        5: FencedInstance m3
        > 5 join 7 static=i id=m1 range:a
        save 3 Completing gen=3 leader=m1 members=m1,m6
        7: m1 joined gen=3 range leader=m1 [m1/i:a m6/j:b]
        6: m6 joined gen=3 range leader=m1 []
        ",
    );
}

#[test]
fn a_static_member_is_missed_until_its_session_ends() {
    let transcript = "
        > 0 join 1 static=i range:a rebalance=5000 session=60000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 100 join 3 static=j range:b rebalance=5000 session=60000
        > 5100 timeout
        save 3 Completing gen=2 leader=m3 members=m1,m3
        3: m3 joined gen=2 range leader=m3 [m1/i:a m3/j:b]
        > 5200 sync 4 id=m3 gen=2 m1:x m3:y
        save 4 Stable gen=2 leader=m3 members=m1:x,m3:y
        4: synced range [y]
        > 5300 join 5 static=i range:a rebalance=5000 session=60000
        save 5 Stable gen=2 leader=m3 members=m5:x,m3:y
        5: m5 joined gen=2 range leader=m3 []
        > 5400 sync 6 static=i id=m5 gen=2
        6: synced range [x]
        > 10000 join 7 static=i range:a rebalance=5000 session=60000
        save 6 Stable gen=2 leader=m3 members=m7:x,m3:y
        7: m7 joined gen=2 range leader=m3 []
        > 10100 timeout
        > 10101 heartbeat 8 id=m3 gen=2
        8: Alive
        > 10102 next
        next Some(65200)
        ";
    check(GroupConfig::default(), transcript);
}

#[test]
fn a_static_member_can_be_treated_as_a_dynamic_one() {
    let transcript = "
        > 0 join 1 static=i range:a rebalance=5000 session=60000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 100 join 3 static=j range:b rebalance=5000 session=60000
        > 5100 timeout
        save 3 Completing gen=2 leader=m3 members=m3
        3: m3 joined gen=2 range leader=m3 [m3/j:b]
        ";
    check(GroupConfig { remove_absent_static: true, ..GroupConfig::default() }, transcript);
}

#[test]
fn a_join_phase_that_only_misses_static_members_goes_on() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 static=i range:a rebalance=5000 session=20000
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 0 join 2 range:b rebalance=5000 session=6000
        > 0 join 3 id=m1 static=i range:a rebalance=5000 session=20000
        save 2 Completing gen=2 leader=m1 members=m2,m1
        2: m2 joined gen=2 range leader=m1 []
        3: m1 joined gen=2 range leader=m1 [m2:b m1/i:a]
        > 1 leave 4 id=m2
        4: left m2=ok
        > 5001 timeout
        > 5001 next
        next Some(10001)
        > 20000 timeout
        save 3 Empty { since: Timestamp(20000) } gen=3 leader= members=
        ",
    );
}

#[test]
fn members_are_removed_by_their_static_ids() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 static=i range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1/i:a]
        > 1 leave 2 static=nobody
        2: left /nobody=UnknownMember
        > 2 leave 3 static=i id=other
        3: left other/i=FencedInstance
        > 3 leave 4 static=i
        save 2 Empty { since: Timestamp(3) } gen=2 leader= members=
        4: left /i=ok
        ",
    );
}
