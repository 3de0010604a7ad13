//! Commits, fetches, transactions, deletion and expiry.

use alloc::string::ToString;
use alloc::vec;

use super::rig::*;
use crate::coordinator::group::GroupLimits;
use crate::ids::{TopicId, TopicPartition};
use crate::mutants::Mutants;
use crate::protocol::{
    ErrorCode, GroupAnswer, GroupRequest, MemberIdentity, OffsetToCommit, TransactionResult,
};
use crate::time::Dur;

const COMMIT: TransactionResult = TransactionResult::Commit;
const ABORT: TransactionResult = TransactionResult::Abort;

#[test]
fn commit_without_a_group_makes_one_that_is_empty() {
    let mut rig = Rig::new();
    assert_eq!(rig.fetch(true), Ok(None));
    assert_eq!(rig.commit(&who("m"), 0, 7), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(rig.txn_commit(1, &who("m"), 0, 7), Err(ErrorCode::IllegalGeneration));
    assert_eq!(rig.commit(&nobody(), -1, 7), Ok(()));
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    assert_eq!(rig.state(), Some("Empty"));
}

#[test]
fn commit_with_long_metadata_is_refused_alone() {
    let mut rig = Rig::new();
    let GroupRequest::OffsetCommit(mut request) = commit(&nobody(), -1, 7) else { panic!() };
    request.offsets.push(offset_of(9));
    request.offsets[0].metadata = "x".repeat(4_097);
    request.offsets[1].partition = at(1);
    let answer = rig.ask(GroupRequest::OffsetCommit(request));
    let results = vec![(at(0), Err(ErrorCode::OffsetMetadataTooLarge)), (at(1), Ok(()))];
    assert_eq!(answer, GroupAnswer::OffsetCommit(results));
}

#[test]
fn commit_is_told_only_when_it_is_confirmed() {
    let mut rig = Rig::new();
    let number = rig.send(commit(&nobody(), -1, 7));
    assert!(rig.told.is_empty());
    rig.fail_over();
    let lost = GroupAnswer::OffsetCommit(vec![(at(0), Err(ErrorCode::NotCoordinator))]);
    assert_eq!(rig.told.remove(&number), Some(lost));
    assert_eq!(rig.fetch(false), Ok(None));
}

#[test]
fn transaction_shows_its_offsets_when_it_is_committed() {
    let mut rig = Rig::new();
    rig.commit(&nobody(), -1, 3).expect("taken");
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    assert_eq!(rig.fetch(false), Ok(Some(3)));
    assert_eq!(rig.fetch(true), Err(ErrorCode::UnstableOffsetCommit));
    rig.fail_over();
    assert_eq!(rig.fetch(true), Err(ErrorCode::UnstableOffsetCommit));
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(Some(7)));
}

#[test]
fn transaction_aborted_leaves_nothing() {
    let mut rig = Rig::new();
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    rig.mark(2, COMMIT);
    assert_eq!(rig.fetch(true), Err(ErrorCode::UnstableOffsetCommit));
    rig.mark(1, ABORT);
    assert_eq!(rig.fetch(true), Ok(None));
}

#[test]
fn transaction_staged_before_a_commit_loses_against_it() {
    let mut rig = Rig::new();
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    rig.commit(&nobody(), -1, 9).expect("taken");
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(Some(9)));
}

#[test]
fn transaction_commit_is_fenced_by_generation_and_member() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    let stranger = who("stranger");
    assert_eq!(rig.txn_commit(1, &who(&ids[0]), 0, 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(rig.txn_commit(1, &stranger, 1, 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(rig.txn_commit(1, &who(&ids[0]), 1, 1), Ok(()));
    // Older producers say nothing of members, and nothing is checked.
    assert_eq!(rig.txn_commit(1, &nobody(), -1, 1), Ok(()));
    // A plain commit of nobody is for groups without members.
    assert_eq!(rig.commit(&nobody(), -1, 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn transaction_commit_of_a_stale_member_epoch_is_of_an_illegal_generation() {
    let mut rig = Rig::new();
    let beat = rig.beat(first_beat("m")).expect("let in");
    assert_eq!(rig.txn_commit(1, &who("m"), beat.epoch.0, 1), Ok(()));
    assert_eq!(rig.txn_commit(1, &nobody(), -1, 1), Ok(()));
    let ahead = rig.txn_commit(1, &who("m"), beat.epoch.0 + 1, 1);
    assert_eq!(ahead, Err(ErrorCode::IllegalGeneration));
}

#[test]
fn offsets_expire_a_week_after_the_last_commit() {
    let mut rig = Rig::new();
    rig.commit(&nobody(), -1, 7).expect("taken");
    rig.pass(Dur::secs(6 * 86_400));
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    rig.pass(Dur::secs(86_400 + 600));
    assert_eq!(rig.fetch(true), Ok(None));
    assert_eq!(rig.state(), None);
}

#[test]
fn offsets_under_an_open_transaction_do_not_expire() {
    let mut rig = Rig::new();
    rig.commit(&nobody(), -1, 3).expect("taken");
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    rig.pass(Dur::secs(9 * 86_400));
    assert_eq!(rig.fetch(false), Ok(Some(3)));
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    rig.pass(Dur::secs(9 * 86_400));
    assert_eq!(rig.state(), None);
}

#[test]
fn offsets_of_a_group_age_from_when_it_lost_its_last_member() {
    let hour = Dur::secs(3_600);
    let limits = GroupLimits { offsets_retention: hour, ..GroupLimits::default() };
    let mut rig = Rig::limited(Mutants::NONE, limits);
    let ids = stable(&mut rig, 1);
    rig.commit(&who(&ids[0]), 1, 7).expect("taken");
    for _ in 0..2 * 3_600 / 9 {
        rig.heartbeat(&ids[0], 1).expect("a member");
        rig.pass(Dur::secs(9));
    }
    // It reads topic `a`: its offsets do not age.
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    rig.pass(Dur::secs(60));
    assert_eq!(rig.state(), Some("Empty"));
    rig.pass(Dur::secs(3_000));
    assert_eq!(rig.fetch(true), Ok(Some(7)));
    rig.pass(Dur::secs(1_200));
    assert_eq!(rig.state(), None);
}

#[test]
fn delete_of_offsets_spares_topics_that_are_read() {
    let mut rig = Rig::new();
    let partitions = vec![at(0), at(4)];
    let delete =
        || GroupRequest::OffsetDelete { group: GROUP.to_string(), partitions: partitions.clone() };
    let answer = |result| GroupAnswer::OffsetDelete(result);
    let not_there = (at(4), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(rig.ask(delete()), answer(Err(ErrorCode::GroupIdNotFound)));
    let ids = stable(&mut rig, 1);
    rig.commit(&who(&ids[0]), 1, 7).expect("taken");
    let read = Err(ErrorCode::GroupSubscribedToTopic);
    assert_eq!(rig.ask(delete()), answer(Ok(vec![(at(0), read), not_there])));
    rig.pass(Dur::secs(30));
    assert_eq!(rig.ask(delete()), answer(Ok(vec![(at(0), Ok(())), not_there])));
    assert_eq!(rig.fetch(true), Ok(None));
}

#[test]
fn delete_of_offsets_takes_those_of_open_transactions_too() {
    let mut rig = Rig::new();
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    rig.ask(GroupRequest::OffsetDelete { group: GROUP.to_string(), partitions: vec![at(0)] });
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(None));
}

#[test]
fn delete_of_a_group_needs_it_to_be_without_members() {
    let mut rig = Rig::new();
    let delete = || GroupRequest::DeleteGroup { group: GROUP.to_string() };
    let answer = GroupAnswer::DeleteGroup;
    assert_eq!(rig.ask(delete()), answer(Err(ErrorCode::GroupIdNotFound)));
    let ids = stable(&mut rig, 1);
    rig.commit(&who(&ids[0]), 1, 7).expect("taken");
    assert_eq!(rig.ask(delete()), answer(Err(ErrorCode::NonEmptyGroup)));
    rig.pass(Dur::secs(30));
    assert_eq!(rig.ask(delete()), answer(Ok(())));
    assert_eq!(rig.state(), None);
    assert_eq!(rig.fetch(true), Ok(None));
    assert_eq!(rig.replayed(rig.log.len()).state().fold(), rig.groups().fold());
}

/// Commits of partition 3 of topic `a`, of one more than it has, and of a topic that there is not.
fn commit_around(rig: &mut Rig, member: &MemberIdentity, generation: i32) -> [GroupAnswer; 2] {
    let (few, gone) = (at(4), TopicPartition { topic: TopicId(9), ..at(0) });
    let offsets =
        || [gone, at(3), few].map(|partition| OffsetToCommit { partition, ..offset_of(7) });
    let GroupRequest::OffsetCommit(mut plain) = commit(member, generation, 7) else { panic!() };
    plain.offsets = offsets().into();
    let GroupRequest::TxnOffsetCommit(mut txn) = txn_commit(1, member, generation, 7) else {
        panic!()
    };
    txn.offsets = offsets().into();
    [GroupRequest::OffsetCommit(plain), GroupRequest::TxnOffsetCommit(txn)].map(|it| rig.ask(it))
}

#[test]
fn commit_of_a_partition_that_is_not_there_is_refused_alone() {
    let results = |of_three| {
        let gone = TopicPartition { topic: TopicId(9), ..at(0) };
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let results =
            |no_topic| vec![(gone, Err(no_topic)), (at(3), of_three), (at(4), Err(unknown))];
        [
            GroupAnswer::OffsetCommit(results(ErrorCode::UnknownTopicId)),
            GroupAnswer::TxnOffsetCommit(results(unknown)),
        ]
    };
    let mut rig = Rig::new();
    assert_eq!(commit_around(&mut rig, &nobody(), -1), results(Ok(())));
    let ids = stable(&mut rig, 1);
    assert_eq!(commit_around(&mut rig, &who(&ids[0]), 1), results(Ok(())));
    // What the group says of its member, it says of the others only.
    let stranger = commit_around(&mut rig, &who("stranger"), 1);
    assert_eq!(stranger, results(Err(ErrorCode::UnknownMemberId)));
}

#[test]
fn commit_of_nothing_that_is_there_leaves_no_trace() {
    let mut rig = Rig::new();
    let stranger = who("stranger");
    rig.delete_topic("a");
    assert_eq!(rig.commit(&nobody(), -1, 7), Err(ErrorCode::UnknownTopicId));
    assert_eq!(rig.txn_commit(1, &nobody(), -1, 7), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(rig.commit(&stranger, 1, 7), Err(ErrorCode::UnknownTopicId), "it is not asked for");
    assert_eq!((rig.state(), rig.log.len()), (None, 0));
}

#[test]
fn commit_of_nothing_that_is_there_keeps_no_member_alive() {
    let mut rig = Rig::new();
    let ids = stable(&mut rig, 1);
    rig.delete_topic("a");
    rig.pass(Dur::secs(6));
    assert_eq!(rig.commit(&who(&ids[0]), 1, 7), Err(ErrorCode::UnknownTopicId));
    rig.pass(Dur::secs(6));
    assert_eq!(rig.state(), Some("Empty"));
}

#[test]
fn topic_takes_its_offsets_with_it_also_those_of_transactions() {
    let mut rig = Rig::new();
    rig.commit(&nobody(), -1, 3).expect("taken");
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    rig.delete_topic("b");
    assert_eq!(rig.fetch(false), Ok(Some(3)), "another one went");
    rig.delete_topic("a");
    assert_eq!(rig.fetch(true), Ok(None));
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(None));
}

#[test]
fn successor_forgets_offsets_of_topics_that_are_gone() {
    let mut rig = Rig::new();
    rig.commit(&nobody(), -1, 3).expect("taken");
    rig.txn_commit(1, &nobody(), -1, 7).expect("taken");
    // The coordinator has not heard of it yet.
    rig.topics.0.remove("a");
    assert_eq!(rig.fetch(false), Ok(Some(3)));
    rig.fail_over();
    assert_eq!(rig.fetch(true), Ok(None));
    rig.mark(1, COMMIT);
    assert_eq!(rig.fetch(true), Ok(None));
    assert_eq!(rig.replayed(rig.log.len()).state().fold(), rig.groups().fold());
}
