//! Who is let in: protocols, bounds, first joins, given ids, consumers outside of the protocol.

use super::transcript::check;
use crate::group::GroupConfig;

#[test]
fn protocols_have_to_fit_and_votes_decide() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1
        1: InconsistentProtocol
        > 0 join 2 type= range:a
        2: InconsistentProtocol
        > 0 list 3
        3: listed
        > 0 join 4 range:a rr:a
        save 1 Completing gen=1 leader=m4 members=m4
        4: m4 joined gen=1 range leader=m4 [m4:a]
        > 1 join 5 sticky:b
        5: InconsistentProtocol
        > 1 join 6 type=connect range:b
        6: InconsistentProtocol
        > 1 join 7 rr:b range:b
        > 1 join 8 rr:c range:c sticky:c
        > 2 join 9 id=m4 range:a rr:a
        save 2 Completing gen=2 leader=m4 members=m4,m7,m8
        9: m4 joined gen=2 rr leader=m4 [m4:a m7:b m8:c]
        7: m7 joined gen=2 rr leader=m4 []
        8: m8 joined gen=2 rr leader=m4 []
        ",
    );
}

#[test]
fn the_first_joins_wait_for_each_other() {
    let config = GroupConfig { initial_rebalance_delay: 3_000, ..GroupConfig::default() };
    check(
        config,
        "
        > 0 join 1 range:a rebalance=7000
        > 0 next
        next Some(3000)
        > 2000 join 2 range:b rebalance=7000
        > 3000 timeout
        > 3000 next
        next Some(6000)
        > 5000 join 3 range:c rebalance=7000
        > 6000 timeout
        > 6500 join 4 range:d rebalance=7000
        > 7000 timeout
        save 1 Completing gen=1 leader=m1 members=m1,m2,m3,m4
        1: m1 joined gen=1 range leader=m1 [m1:a m2:b m3:c m4:d]
        2: m2 joined gen=1 range leader=m1 []
        3: m3 joined gen=1 range leader=m1 []
        4: m4 joined gen=1 range leader=m1 []
        > 7001 leave 5 id=m1 ids=m2,m3
        5: left m1=ok m2=ok m3=ok
        > 7002 leave 6 id=m4 ids=m9
        save 2 Empty { since: Timestamp(7002) } gen=2 leader= members=
        6: left m4=ok m9=UnknownMember
        ",
    );
}

#[test]
fn a_join_phase_waits_for_members_that_were_given_an_id() {
    check(
        GroupConfig::default(),
        "
        > 0 join 1 range:a
        save 1 Completing gen=1 leader=m1 members=m1
        1: m1 joined gen=1 range leader=m1 [m1:a]
        > 0 sync 2 id=m1 gen=1 m1:x
        save 2 Stable gen=1 leader=m1 members=m1:x
        2: synced range [x]
        > 0 join 3 need-id range:b session=6000
        3: MemberIdRequired m3
        > 0 join 4 need-id range:c session=6000
        4: MemberIdRequired m4
        > 0 join 5 need-id range:d session=7000
        5: MemberIdRequired m5
        > 1 join 6 id=m3 range:b
        > 2 join 7 id=m1 range:a
        > 3 leave 8 id=m4
        8: left m4=ok
        > 6000 timeout
        > 7000 timeout
        save 3 Completing gen=2 leader=m1 members=m1,m3
        7: m1 joined gen=2 range leader=m1 [m1:a m3:b]
        6: m3 joined gen=2 range leader=m1 []
        > 7001 join 9 id=m5 range:d
        9: UnknownMember m5
        ",
    );
}

#[test]
fn bounds_are_kept() {
    let config = GroupConfig { group_size_max: 2, groups_max: 1, ..GroupConfig::default() };
    check(
        config,
        "
        > 0 join 1 range:a session=5999
        1: InvalidSessionTimeout
        > 0 join 2 range:a session=1800001
        2: InvalidSessionTimeout
        > 0 join 3 range:a group=
        3: InvalidGroupId
        > 0 join 4 range:a id=who
        4: UnknownMember who
        > 0 heartbeat 5 id=who gen=1
        5: UnknownMember
        > 0 sync 6 id=who gen=1
        6: UnknownMember
        > 0 leave 7 id=who
        7: left who=UnknownMember
        > 0 join 8 range:a
        save 1 Completing gen=1 leader=m8 members=m8
        8: m8 joined gen=1 range leader=m8 [m8:a]
        > 0 join 9 need-id range:a
        9: MemberIdRequired m9
        > 0 join 10 range:b
        10: GroupMaxSize
        > 0 join 11 range:a group=h
        11: TooManyGroups
        > 0 commit 12 group=h
        12: TooManyGroups
        > 1 join 13 id=m9 range:b
        > 2 join 14 id=m8 range:a
        save 2 Completing gen=2 leader=m8 members=m8,m9
        14: m8 joined gen=2 range leader=m8 [m8:a m9:b]
        13: m9 joined gen=2 range leader=m8 []
        ",
    );
}

#[test]
fn consumers_outside_of_the_group_protocol_commit_to_groups_without_members() {
    check(
        GroupConfig::default(),
        "
        > 0 commit 1 gen=3 id=who
        1: GroupIdNotFound
        > 0 list 2
        2: listed
        > 0 commit 3
        3: MayCommit
        > 0 list 4
        4: listed g//Empty
        > 1 describe 5
        5: Empty type= protocol= []
        > 2 join 6 range:a
        save 1 Completing gen=1 leader=m6 members=m6
        6: m6 joined gen=1 range leader=m6 [m6:a]
        > 3 commit 7
        7: UnknownMember
        > 4 commit 8 id=m6
        8: IllegalGeneration
        > 5 delete 9
        9: NonEmpty
        > 6 leave 10 id=m6
        save 2 Empty { since: Timestamp(6) } gen=2 leader= members=
        10: left m6=ok
        > 7 commit 11
        11: MayCommit
        > 8 delete 12
        forget 3 g
        12: Deleted
        > 9 delete 13
        13: GroupIdNotFound
        > 9 describe 14
        14: GroupIdNotFound
        > 9 commit 15 group=
        15: MayCommit
        > 9 list 16
        16: listed //Empty
        ",
    );
}
