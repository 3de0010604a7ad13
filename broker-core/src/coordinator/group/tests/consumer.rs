//! KIP-848 groups: joining, reconciling, leaving.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::rig::*;
use crate::coordinator::group::GroupLimits;
use crate::ids::{TopicId, TopicPartition};
use crate::mutants::Mutants;
use crate::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, ErrorCode, GroupAnswer, GroupRequest, GroupType,
    MemberEpoch,
};
use crate::time::Dur;

fn owns(beat: &ConsumerGroupBeat) -> Vec<u32> {
    let assignment = beat.assignment.as_ref().expect("told");
    assignment.iter().map(|at| at.index.0).collect()
}

fn all(indices: &[u32]) -> Vec<TopicPartition> {
    indices.iter().map(|index| at(*index)).collect()
}

#[test]
fn heartbeat_is_refused_for_its_form() {
    let mut rig = Rig::new();
    let good = first_beat("m");
    let bad = [
        ConsumerGroupHeartbeat { group: "".to_string(), ..good.clone() },
        ConsumerGroupHeartbeat { who: nobody(), ..good.clone() },
        ConsumerGroupHeartbeat { who: static_who("m", ""), ..good.clone() },
        ConsumerGroupHeartbeat { topics: None, ..good.clone() },
        ConsumerGroupHeartbeat { owned: None, ..good.clone() },
        ConsumerGroupHeartbeat { owned: Some(all(&[0])), ..good.clone() },
        ConsumerGroupHeartbeat { rebalance_timeout: None, ..good.clone() },
        ConsumerGroupHeartbeat { epoch: MemberEpoch::LEAVE_STATIC, ..good.clone() },
        ConsumerGroupHeartbeat { epoch: MemberEpoch(-3), ..good.clone() },
    ];
    for request in bad {
        assert_eq!(rig.beat(request), Err(ErrorCode::InvalidRequest));
    }
    let assignor = Some("sticky".to_string());
    let unknown = ConsumerGroupHeartbeat { assignor, ..good };
    assert_eq!(rig.beat(unknown), Err(ErrorCode::UnsupportedAssignor));
    assert_eq!(rig.beat(next_beat("m", 1, None)), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(rig.state(), None);
}

#[test]
fn heartbeat_first_gives_the_member_all() {
    let mut rig = Rig::new();
    let beat = rig.beat(first_beat("m")).expect("in");
    assert_eq!((beat.epoch, owns(&beat)), (MemberEpoch(1), vec![0, 1, 2, 3]));
    assert_eq!(rig.state(), Some("Stable"));
    let beat = rig.beat(next_beat("m", 1, None)).expect("in");
    assert_eq!((beat.epoch, beat.assignment), (MemberEpoch(1), None));
}

#[test]
fn heartbeat_of_a_second_member_waits_for_the_first_to_give_up() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    let second = rig.beat(first_beat("m2")).expect("in");
    assert_eq!((second.epoch, owns(&second)), (MemberEpoch(2), vec![]));
    assert_eq!(rig.state(), Some("Reconciling"));
    let first = rig.beat(next_beat("m1", 1, Some(&all(&[0, 1, 2, 3])))).expect("in");
    let kept = owns(&first);
    assert_eq!((first.epoch, kept.len()), (MemberEpoch(1), 2));
    // Who does not say what it owns has not given it up.
    assert_eq!(rig.beat(next_beat("m1", 1, None)).expect("in").epoch, MemberEpoch(1));
    assert_eq!(rig.beat(next_beat("m2", 2, Some(&[]))).expect("in").assignment, None);
    let first = rig.beat(next_beat("m1", 1, Some(&all(&kept)))).expect("in");
    assert_eq!(first.epoch, MemberEpoch(2));
    let second = rig.beat(next_beat("m2", 2, Some(&[]))).expect("in");
    let mut together = [kept, owns(&second)].concat();
    together.sort_unstable();
    assert_eq!(together, [0, 1, 2, 3]);
    assert_eq!(rig.state(), Some("Stable"));
}

#[test]
fn heartbeat_of_another_epoch_is_fenced_unless_the_answer_was_lost() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let first = rig.beat(next_beat("m1", 1, Some(&all(&[0, 1, 2, 3])))).expect("in");
    let kept = all(&owns(&first));
    rig.beat(next_beat("m1", 1, Some(&kept))).expect("in epoch 2 now");
    let fenced = Err(ErrorCode::FencedMemberEpoch);
    assert_eq!(rig.beat(next_beat("m1", 3, Some(&kept))), fenced);
    assert_eq!(rig.beat(next_beat("m1", 1, Some(&all(&[0, 1, 2, 3])))), fenced);
    assert_eq!(rig.beat(next_beat("m1", 1, None)), fenced);
    assert_eq!(rig.beat(next_beat("m1", 1, Some(&kept))).expect("known").epoch, MemberEpoch(2));
    // A fenced member may join again.
    let again = rig.beat(first_beat("m1")).expect("in");
    assert_eq!((again.epoch, all(&owns(&again))), (MemberEpoch(2), kept));
    assert_eq!(rig.beat(next_beat("m3", 2, None)), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn heartbeat_missing_for_a_session_costs_the_membership() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let four = all(&[0, 1, 2, 3]);
    let kept = owns(&rig.beat(next_beat("m1", 1, Some(&four))).expect("in"));
    rig.pass(Dur::secs(15));
    rig.beat(next_beat("m1", 1, Some(&all(&kept)))).expect("in epoch 2 now");
    rig.pass(Dur::secs(31));
    assert_eq!(rig.beat(next_beat("m2", 2, None)), Err(ErrorCode::UnknownMemberId));
    // Its part is the other's again.
    let first = rig.beat(next_beat("m1", 2, Some(&all(&kept)))).expect("in");
    assert_eq!((first.epoch, owns(&first)), (MemberEpoch(3), vec![0, 1, 2, 3]));
}

#[test]
fn heartbeat_revocation_that_lasts_too_long_costs_the_membership() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let owned = all(&[0, 1, 2, 3]);
    rig.beat(next_beat("m1", 1, Some(&owned))).expect("told to give up");
    rig.pass(Dur::secs(15));
    rig.beat(next_beat("m1", 1, Some(&owned))).expect("still busy");
    rig.pass(Dur::secs(10));
    assert_eq!(rig.beat(next_beat("m1", 1, Some(&owned))), Err(ErrorCode::UnknownMemberId));
    let second = rig.beat(next_beat("m2", 2, Some(&[]))).expect("in");
    assert_eq!((second.epoch, owns(&second)), (MemberEpoch(3), vec![0, 1, 2, 3]));
}

#[test]
fn heartbeat_leaving_frees_what_the_member_had() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let left = rig.beat(next_beat("m1", -1, None)).expect("out");
    assert_eq!(left.epoch, MemberEpoch::LEAVE);
    let second = rig.beat(next_beat("m2", 2, Some(&[]))).expect("in");
    assert_eq!(owns(&second), [0, 1, 2, 3]);
    rig.beat(next_beat("m2", -1, None)).expect("out");
    assert_eq!(rig.state(), Some("Empty"));
    assert_eq!(rig.beat(next_beat("m2", -1, None)), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn static_member_comes_back_to_what_it_had() {
    let mut rig = Rig::new();
    let as_static = |beat: ConsumerGroupHeartbeat, member: &str| ConsumerGroupHeartbeat {
        who: static_who(member, "i"),
        ..beat
    };
    rig.beat(as_static(first_beat("m1"), "m1")).expect("in");
    let taken = as_static(first_beat("m2"), "m2");
    assert_eq!(rig.beat(taken.clone()), Err(ErrorCode::UnreleasedInstanceId));
    let away = as_static(next_beat("m1", -2, None), "m1");
    assert_eq!(rig.beat(away).expect("away").epoch, MemberEpoch::LEAVE_STATIC);
    let back = rig.beat(taken).expect("in");
    assert_eq!((back.epoch, owns(&back)), (MemberEpoch(1), vec![0, 1, 2, 3]));
    let late = as_static(next_beat("m1", 1, None), "m1");
    assert_eq!(rig.beat(late), Err(ErrorCode::FencedInstanceId));
    let stranger = ConsumerGroupHeartbeat { who: static_who("m", "j"), ..next_beat("m", 1, None) };
    assert_eq!(rig.beat(stranger), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn static_member_that_goes_away_has_given_up_what_it_was_to_give_up() {
    let mut rig = Rig::new();
    let as_static = |beat: ConsumerGroupHeartbeat| ConsumerGroupHeartbeat {
        who: static_who("m1", "i"),
        ..beat
    };
    rig.beat(as_static(first_beat("m1"))).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let owned = all(&[0, 1, 2, 3]);
    rig.beat(as_static(next_beat("m1", 1, Some(&owned)))).expect("told to give up");
    assert_eq!(rig.beat(next_beat("m2", 2, Some(&[]))).expect("in").assignment, None);
    rig.beat(as_static(next_beat("m1", -2, None))).expect("away");
    let second = rig.beat(next_beat("m2", 2, Some(&[]))).expect("in");
    assert_eq!(owns(&second).len(), 2);
    // Its session goes on, and nothing else does.
    rig.pass(Dur::secs(30));
    assert_eq!(rig.state(), Some("Reconciling"));
}

#[test]
fn static_member_that_stays_away_is_out_after_its_session() {
    let mut rig = Rig::new();
    let joins = ConsumerGroupHeartbeat { who: static_who("m1", "i"), ..first_beat("m1") };
    rig.beat(joins.clone()).expect("in");
    rig.beat(ConsumerGroupHeartbeat { epoch: MemberEpoch::LEAVE_STATIC, ..joins }).expect("away");
    rig.pass(Dur::secs(46));
    assert_eq!(rig.state(), Some("Empty"));
}

#[test]
fn topics_that_grow_or_go_raise_the_epoch() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m")).expect("in");
    rig.topics.0.insert("a".to_string(), (TopicId(1), 5));
    let beat = rig.beat(next_beat("m", 1, Some(&all(&[0, 1, 2, 3])))).expect("in");
    assert_eq!((beat.epoch, owns(&beat)), (MemberEpoch(2), vec![0, 1, 2, 3, 4]));
    rig.topics.0.remove("a");
    let beat = rig.beat(next_beat("m", 2, None)).expect("in");
    assert_eq!((beat.epoch, owns(&beat)), (MemberEpoch(2), vec![]));
    let beat = rig.beat(next_beat("m", 2, Some(&[]))).expect("in");
    assert_eq!(beat.epoch, MemberEpoch(3));
}

#[test]
fn assignor_is_the_one_that_most_members_wish() {
    let mut rig = Rig::new();
    for member in ["m1", "m2", "m3"] {
        let assignor = (member != "m3").then(|| "range".to_string());
        rig.beat(ConsumerGroupHeartbeat { assignor, ..first_beat(member) }).expect("in");
    }
    let answer = rig.ask(GroupRequest::ConsumerGroupDescribe { group: GROUP.to_string() });
    let GroupAnswer::ConsumerGroupDescribe(Ok(group)) = answer else { panic!("{answer:?}") };
    assert_eq!((group.assignor.as_str(), group.epoch.0), ("range", 3));
    let targets: Vec<_> = group.members.iter().map(|member| member.target.clone()).collect();
    assert_eq!(targets, [all(&[0, 1]), all(&[2]), all(&[3])]);
}

#[test]
fn commit_of_an_older_epoch_counts_for_what_was_owned_since() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let first = rig.beat(next_beat("m1", 1, Some(&all(&[0, 1, 2, 3])))).expect("in");
    let kept = owns(&first);
    rig.beat(next_beat("m1", 1, Some(&all(&kept)))).expect("in epoch 2 now");
    let mut commit_of = |index: u32, epoch| {
        let GroupRequest::OffsetCommit(mut request) = commit(&who("m1"), epoch, 5) else {
            panic!()
        };
        request.offsets[0].partition = at(index);
        let answer = rig.ask(GroupRequest::OffsetCommit(request));
        let GroupAnswer::OffsetCommit(results) = answer else { panic!("{answer:?}") };
        results[0].1
    };
    let given_up = (0..4).find(|index| !kept.contains(index)).expect("two of them");
    assert_eq!(commit_of(kept[0], 2), Ok(()));
    assert_eq!(commit_of(kept[0], 1), Ok(()));
    assert_eq!(commit_of(kept[0], 0), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit_of(kept[0], 3), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit_of(given_up, 1), Err(ErrorCode::StaleMemberEpoch));
}

#[test]
fn failover_in_a_reconciliation_goes_on_from_there() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    let owned = all(&[0, 1, 2, 3]);
    let first = rig.beat(next_beat("m1", 1, Some(&owned))).expect("in");
    rig.fail_over();
    assert_eq!(rig.beat(next_beat("m2", 2, Some(&[]))).expect("in").assignment, None);
    rig.pass(Dur::secs(15));
    let kept = all(&owns(&first));
    let first = rig.beat(next_beat("m1", 1, Some(&kept))).expect("in");
    assert_eq!(first.epoch, MemberEpoch(2));
    rig.pass(Dur::secs(15));
    let second = rig.beat(next_beat("m2", 2, Some(&[]))).expect("in");
    assert_eq!(owns(&second).len(), 2);
}

#[test]
fn failover_does_not_forget_the_time_for_a_revocation() {
    let mut rig = Rig::new();
    rig.beat(first_beat("m1")).expect("in");
    rig.beat(first_beat("m2")).expect("in");
    rig.beat(next_beat("m1", 1, Some(&all(&[0, 1, 2, 3])))).expect("in");
    rig.fail_over();
    rig.pass(Dur::secs(21));
    assert_eq!(rig.beat(next_beat("m1", 1, None)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(rig.beat(next_beat("m2", 2, None)).expect("in").epoch, MemberEpoch(3));
}

#[test]
fn group_without_members_changes_its_type_and_one_with_members_does_not() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    assert_eq!(rig.beat(first_beat("m")), Err(ErrorCode::GroupIdNotFound));
    rig.commit(&who(&ids[0]), 1, 7).expect("taken");
    rig.pass(Dur::secs(30));
    rig.beat(first_beat("m")).expect("in");
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    let number = rig.send(GroupRequest::JoinGroup(join(nobody())));
    let refused = rig.joined(number).expect_err("refused");
    assert_eq!(refused.code, ErrorCode::InconsistentGroupProtocol);
    let list = |kind| GroupRequest::ListGroups { states: vec![], types: vec![kind] };
    let count = |answer| {
        let GroupAnswer::ListGroups(Ok(groups)) = answer else { panic!("{answer:?}") };
        groups.len()
    };
    assert_eq!(count(rig.ask(list(GroupType::Consumer))), 1);
    assert_eq!(count(rig.ask(list(GroupType::Classic))), 0);
    rig.beat(next_beat("m", -1, None)).expect("out");
    stable(&mut rig, 1);
    assert_eq!(count(rig.ask(list(GroupType::Classic))), 1);
    assert_eq!(rig.fetch(true), Ok(Some(7)));
}

#[test]
fn join_beyond_the_size_of_a_group_is_refused() {
    let limits = GroupLimits { members_max: 1, ..GroupLimits::default() };
    let mut rig = Rig::limited(Mutants::NONE, limits);
    rig.beat(first_beat("m1")).expect("in");
    assert_eq!(rig.beat(first_beat("m2")), Err(ErrorCode::GroupMaxSizeReached));
    rig.beat(first_beat("m1")).expect("known");
}
