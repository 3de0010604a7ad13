//! Joining, assigning, staying and leaving in classic groups.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::rig::*;
use crate::coordinator::group::GroupLimits;
use crate::mutants::Mutants;
use crate::protocol::{ErrorCode, GroupAnswer, GroupRequest, JoinGroup, MemberIdentity, SyncGroup};
use crate::time::Dur;

fn refusal(rig: &mut Rig, request: JoinGroup) -> ErrorCode {
    let number = rig.send(GroupRequest::JoinGroup(request));
    rig.joined(number).expect_err("refused").code
}

fn part(rig: &mut Rig, number: u64) -> Result<Bytes, ErrorCode> {
    let answer = rig.answer(number).expect("answered by now");
    let GroupAnswer::SyncGroup(result) = answer else { panic!("{answer:?}") };
    result.map(|synced| synced.assignment)
}

fn leave(rig: &mut Rig, members: Vec<MemberIdentity>) -> Vec<Result<(), ErrorCode>> {
    let request = GroupRequest::LeaveGroup { group: GROUP.to_string(), members };
    let answer = rig.ask(request);
    let GroupAnswer::LeaveGroup(Ok(left)) = answer else { panic!("{answer:?}") };
    left.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn join_is_refused_for_its_form() {
    let mut rig = Rig::new();
    let good = join(nobody());
    let nameless = JoinGroup { group: String::new(), ..good.clone() };
    assert_eq!(refusal(&mut rig, nameless), ErrorCode::InvalidGroupId);
    let hasty = JoinGroup { session_timeout: Dur::secs(5), ..good.clone() };
    assert_eq!(refusal(&mut rig, hasty), ErrorCode::InvalidSessionTimeout);
    let mute = JoinGroup { protocols: vec![], ..good.clone() };
    assert_eq!(refusal(&mut rig, mute), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refusal(&mut rig, join(who("m"))), ErrorCode::UnknownMemberId);
    assert_eq!(rig.state(), None);
    assert_eq!(refusal(&mut rig, good), ErrorCode::MemberIdRequired);
    assert_eq!(rig.state(), Some("Empty"));
}

#[test]
fn join_first_rebalance_waits_for_more_members() {
    let mut rig = Rig::new();
    let (one, two) = (new_id(&mut rig), new_id(&mut rig));
    let first = rig.send(GroupRequest::JoinGroup(join(who(&one))));
    rig.pass(Dur::secs(2));
    let second = rig.send(GroupRequest::JoinGroup(join(who(&two))));
    rig.pass(Dur::secs(2));
    assert_eq!(rig.answer(first), None);
    rig.pass(Dur::secs(2));
    let (first, second) = (rig.joined(first), rig.joined(second));
    let (first, second) = (first.expect("in"), second.expect("in"));
    assert_eq!((first.generation, second.generation), (second.generation, first.generation));
    assert_eq!(first.leader, second.leader);
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!(first.protocol.as_deref(), Some("range"));
}

#[test]
fn join_protocol_is_the_one_that_most_members_like_best() {
    let mut rig = Rig::new();
    let protocols = |names: &[&str]| -> Vec<(String, Bytes)> {
        names.iter().map(|name| (name.to_string(), Bytes::new())).collect()
    };
    let likes = [["range", "sticky"], ["sticky", "range"], ["sticky", "range"]];
    let mut joins = Vec::new();
    for names in likes {
        let id = new_id(&mut rig);
        let request = JoinGroup { protocols: protocols(&names), ..join(who(&id)) };
        joins.push(rig.send(GroupRequest::JoinGroup(request)));
    }
    let other = JoinGroup { protocols: protocols(&["else"]), ..join(nobody()) };
    assert_eq!(refusal(&mut rig, other), ErrorCode::InconsistentGroupProtocol);
    let connect = JoinGroup { protocol_type: "connect".to_string(), ..join(nobody()) };
    assert_eq!(refusal(&mut rig, connect), ErrorCode::InconsistentGroupProtocol);
    rig.settle();
    for number in joins {
        assert_eq!(rig.joined(number).expect("in").protocol.as_deref(), Some("sticky"));
    }
}

#[test]
fn join_beyond_the_size_of_a_group_is_refused() {
    let limits = GroupLimits { members_max: 1, ..GroupLimits::default() };
    let mut rig = Rig::limited(Mutants::NONE, limits);
    let ids = stable(&mut rig, 1);
    assert_eq!(refusal(&mut rig, join(nobody())), ErrorCode::GroupMaxSizeReached);
    // The one that is there may join again.
    let again = rig.send(GroupRequest::JoinGroup(join(who(&ids[0]))));
    assert_eq!(rig.joined(again).expect("in").generation.0, 2);
}

#[test]
fn join_of_a_third_member_calls_the_others_to_join_again() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    let third = new_id(&mut rig);
    let joins = [rig.send(GroupRequest::JoinGroup(join(who(&third))))];
    assert_eq!(rig.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(rig.state(), Some("PreparingRebalance"));
    // The old generation is good for commits as long as the new one has not begun.
    assert_eq!(rig.commit(&who(&ids[0]), 1, 5), Ok(()));
    let again = rig.send(GroupRequest::JoinGroup(join(who(&ids[0]))));
    assert_eq!(rig.answer(again), None);
    // The second does not come back, and is out after the rebalance timeout.
    rig.pass(Dur::secs(9));
    rig.heartbeat(&ids[1], 1).expect_err("rebalance in progress");
    rig.pass(Dur::secs(9));
    rig.heartbeat(&ids[1], 1).expect_err("rebalance in progress");
    rig.pass(Dur::secs(3));
    assert_eq!(rig.joined(again).expect("in").generation.0, 2);
    assert_eq!(rig.joined(joins[0]).expect("in").generation.0, 2);
    assert_eq!(rig.heartbeat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(rig.commit(&who(&ids[0]), 1, 6), Err(ErrorCode::IllegalGeneration));
    assert_eq!(rig.commit(&who(&ids[0]), 2, 6), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(rig.txn_commit(1, &who(&ids[0]), 2, 6), Ok(()));
}

#[test]
fn join_again_of_a_follower_that_has_not_changed_is_told_the_generation() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    let again = rig.send(GroupRequest::JoinGroup(join(who(&ids[1]))));
    let joined = rig.joined(again).expect("in");
    assert_eq!((joined.generation.0, joined.members.len()), (1, 0));
    // A leader's makes the group rebalance.
    let again = rig.send(GroupRequest::JoinGroup(join(who(&ids[0]))));
    assert_eq!(rig.answer(again), None);
    assert_eq!(rig.state(), Some("PreparingRebalance"));
}

#[test]
fn join_sent_twice_answers_both() {
    let mut rig = Rig::new();
    let id = new_id(&mut rig);
    let first = rig.send(GroupRequest::JoinGroup(join(who(&id))));
    let second = rig.send(GroupRequest::JoinGroup(join(who(&id))));
    assert_eq!(rig.joined(first).expect_err("displaced").code, ErrorCode::RebalanceInProgress);
    rig.settle();
    assert_eq!(rig.joined(second).expect("in").generation.0, 1);
}

#[test]
fn join_with_a_member_id_given_out_and_not_used_is_forgotten() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    let unused = new_id(&mut rig);
    let again = rig.send(GroupRequest::JoinGroup(join(who(&ids[0]))));
    // Whoever was given an id is waited for.
    rig.pass(Dur::secs(8));
    assert_eq!(rig.answer(again), None);
    rig.pass(Dur::secs(3));
    assert_eq!(rig.joined(again).expect("in").generation.0, 2);
    assert_eq!(refusal(&mut rig, join(who(&unused))), ErrorCode::UnknownMemberId);
}

#[test]
fn sync_waits_for_the_leader_and_is_told_what_is_stored() {
    let mut rig = Rig::new();
    let (one, two) = (new_id(&mut rig), new_id(&mut rig));
    for id in [&one, &two] {
        rig.send(GroupRequest::JoinGroup(join(who(id))));
    }
    rig.settle();
    let waits = rig.send(sync(&two, 1, &[]));
    assert_eq!(rig.answer(waits), None);
    let batches = rig.log.len();
    let leads = rig.send(sync(&one, 1, &[(&one, "1"), (&two, "2")]));
    assert_eq!(rig.log.len(), batches + 1);
    assert!(!rig.told.contains_key(&leads) && !rig.told.contains_key(&waits));
    assert_eq!(part(&mut rig, leads), Ok(Bytes::from_static(b"1")));
    assert_eq!(part(&mut rig, waits), Ok(Bytes::from_static(b"2")));
    assert_eq!(rig.state(), Some("Stable"));
    // Who asks again is told again.
    let again = rig.send(sync(&two, 1, &[]));
    assert_eq!(part(&mut rig, again), Ok(Bytes::from_static(b"2")));
}

#[test]
fn sync_that_waits_is_called_off_by_the_next_rebalance() {
    let mut rig = Rig::new();
    let ids = [new_id(&mut rig), new_id(&mut rig)];
    for id in &ids {
        rig.send(GroupRequest::JoinGroup(join(who(id))));
    }
    rig.settle();
    let waits = rig.send(sync(&ids[1], 1, &[]));
    let third = new_id(&mut rig);
    rig.send(GroupRequest::JoinGroup(join(who(&third))));
    assert_eq!(part(&mut rig, waits), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn sync_is_refused_in_kafkas_order() {
    let mut rig = Rig::new();
    let unknown = rig.send(sync("m", 1, &[]));
    assert_eq!(part(&mut rig, unknown), Err(ErrorCode::UnknownMemberId));
    let ids = stable(&mut rig, 1);
    let stale = rig.send(sync(&ids[0], 0, &[]));
    assert_eq!(part(&mut rig, stale), Err(ErrorCode::IllegalGeneration));
    let GroupRequest::SyncGroup(good) = sync(&ids[0], 1, &[]) else { panic!() };
    let other = SyncGroup { protocol: Some("else".to_string()), ..good };
    let other = rig.send(GroupRequest::SyncGroup(other));
    assert_eq!(part(&mut rig, other), Err(ErrorCode::InconsistentGroupProtocol));
    rig.send(GroupRequest::JoinGroup(join(nobody())));
    rig.send(GroupRequest::JoinGroup(join(who(&ids[0]))));
    let late = rig.send(sync(&ids[0], 1, &[]));
    assert_eq!(part(&mut rig, late), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn sync_that_never_comes_costs_the_membership() {
    let mut rig = Rig::new();
    let (one, two) = (new_id(&mut rig), new_id(&mut rig));
    for id in [&one, &two] {
        rig.send(GroupRequest::JoinGroup(join(who(id))));
    }
    rig.settle();
    rig.ask(sync(&one, 1, &[(&one, "1"), (&two, "2")]));
    for _ in 0..4 {
        rig.pass(Dur::secs(6));
        let _ = (rig.heartbeat(&one, 1), rig.heartbeat(&two, 1));
    }
    assert_eq!(rig.heartbeat(&two, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(rig.heartbeat(&one, 1), Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn loading_a_group_beyond_its_size_makes_it_rebalance() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    rig.limits.members_max = 1;
    rig.fail_over();
    assert_eq!(rig.heartbeat(&ids[1], 1), Err(ErrorCode::RebalanceInProgress));
    let first = rig.send(GroupRequest::JoinGroup(join(who(&ids[1]))));
    assert_eq!(refusal(&mut rig, join(who(&ids[0]))), ErrorCode::GroupMaxSizeReached);
    rig.pass(Dur::secs(21));
    assert_eq!(rig.joined(first).expect("in").members.len(), 1);
}

#[test]
fn heartbeat_keeps_a_member_and_silence_loses_it() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    for _ in 0..5 {
        rig.pass(Dur::secs(8));
        assert_eq!(rig.heartbeat(&ids[0], 1), Ok(()));
        if rig.heartbeat(&ids[1], 1) == Err(ErrorCode::IllegalGeneration) {
            panic!("nothing changed");
        }
    }
    assert_eq!(rig.heartbeat(&ids[0], 0), Err(ErrorCode::IllegalGeneration));
    rig.pass(Dur::secs(8));
    rig.heartbeat(&ids[0], 1).expect("a member");
    rig.pass(Dur::secs(8));
    assert_eq!(rig.heartbeat(&ids[0], 1), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(rig.heartbeat(&ids[1], 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn leave_ends_memberships_one_by_one() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    let pending = new_id(&mut rig);
    let members = vec![who("stranger"), who(&pending), who(&ids[0]), static_who("", "i")];
    let unknown = Err(ErrorCode::UnknownMemberId);
    assert_eq!(leave(&mut rig, members), [unknown, Ok(()), Ok(()), unknown]);
    assert_eq!(rig.heartbeat(&ids[1], 1), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(leave(&mut rig, vec![who(&ids[1])]), [Ok(())]);
    assert_eq!(rig.state(), Some("Empty"));
    rig.fail_over();
    assert_eq!(rig.state(), Some("Empty"));
}

fn stable_static(rig: &mut Rig) -> String {
    let number = rig.send(GroupRequest::JoinGroup(join(static_who("", "i"))));
    rig.settle();
    let joined = rig.joined(number).expect("in");
    let id = joined.member;
    let GroupRequest::SyncGroup(request) = sync(&id, 1, &[(&id, "part")]) else { panic!() };
    rig.ask(GroupRequest::SyncGroup(SyncGroup { who: static_who(&id, "i"), ..request }));
    id
}

#[test]
fn static_member_back_under_a_new_id_does_not_make_the_group_rebalance() {
    let mut rig = Rig::new();
    let old = stable_static(&mut rig);
    let number = rig.send(GroupRequest::JoinGroup(join(static_who("", "i"))));
    let joined = rig.joined(number).expect("in");
    assert_ne!(joined.member, old);
    assert_eq!((joined.generation.0, joined.skip_assignment), (1, true));
    assert_eq!(joined.leader.as_ref(), Some(&joined.member));
    assert_eq!(rig.commit(&static_who(&old, "i"), 1, 1), Err(ErrorCode::FencedInstanceId));
    assert_eq!(rig.commit(&static_who(&joined.member, "i"), 1, 1), Ok(()));
    assert_eq!(rig.heartbeat(&old, 1), Err(ErrorCode::UnknownMemberId));
    let asks = rig.send(sync(&joined.member, 1, &[]));
    assert_eq!(part(&mut rig, asks), Ok(Bytes::from_static(b"part")));
    // It is the new id that a successor knows.
    rig.fail_over();
    assert_eq!(rig.heartbeat(&joined.member, 1), Ok(()));
}

#[test]
fn static_member_back_in_an_old_version_is_not_told_that_it_leads() {
    let mut rig = Rig::new();
    let old = stable_static(&mut rig);
    let request = JoinGroup { skips_assignment: false, ..join(static_who("", "i")) };
    let number = rig.send(GroupRequest::JoinGroup(request));
    let joined = rig.joined(number).expect("in");
    assert_eq!((joined.leader, joined.members.len()), (Some(old), 0));
}

#[test]
fn static_member_in_two_places_is_fenced_in_one() {
    let mut rig = Rig::new();
    let first = rig.send(GroupRequest::JoinGroup(join(static_who("", "i"))));
    let second = rig.send(GroupRequest::JoinGroup(join(static_who("", "i"))));
    assert_eq!(rig.joined(first).expect_err("fenced").code, ErrorCode::FencedInstanceId);
    rig.settle();
    let joined = rig.joined(second).expect("in");
    assert_eq!(refusal(&mut rig, join(static_who("x", "i"))), ErrorCode::FencedInstanceId);
    assert_eq!(leave(&mut rig, vec![static_who("", "i")]), [Ok(())]);
    assert_eq!(rig.heartbeat(&joined.member, 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn failover_keeps_the_generation_that_has_its_assignment() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 2);
    rig.fail_over();
    assert_eq!(rig.heartbeat(&ids[1], 1), Ok(()));
    let again = rig.send(sync(&ids[1], 1, &[]));
    assert_eq!(part(&mut rig, again), Ok(Bytes::from_static(b"part")));
    // Their sessions began anew, and end.
    rig.pass(Dur::secs(60));
    assert_eq!(rig.state(), Some("Empty"));
}

#[test]
fn failover_in_a_rebalance_goes_back_to_the_generation_before() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    let (third, fourth) = (new_id(&mut rig), new_id(&mut rig));
    let waits = rig.send(GroupRequest::JoinGroup(join(who(&third))));
    rig.confirm();
    rig.fail_over();
    let refused = rig.joined(waits).expect_err("lost");
    assert_eq!(refused.code, ErrorCode::NotCoordinator);
    assert_eq!(rig.heartbeat(&ids[0], 1), Ok(()));
    assert_eq!(refusal(&mut rig, join(who(&fourth))), ErrorCode::UnknownMemberId);
}

#[test]
fn describe_shows_the_parts_of_a_stable_group() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    let answer = rig.ask(GroupRequest::DescribeGroup { group: GROUP.to_string() });
    let GroupAnswer::DescribeGroup(Ok(group)) = answer else { panic!("{answer:?}") };
    assert_eq!((group.state.name(), group.protocol.as_str()), ("Stable", "range"));
    let part = Bytes::from_static(b"part");
    assert_eq!(group.members, [(who(&ids[0]), Bytes::from_static(READS_A), part)]);
    let answer = rig.ask(GroupRequest::DescribeGroup { group: "other".to_string() });
    assert_eq!(answer, GroupAnswer::DescribeGroup(Err(ErrorCode::GroupIdNotFound)));
}
