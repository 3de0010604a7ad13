//! Memberships: joining by each protocol, what is read and committed, rebalances, copies, and what
//! a refusal means for the member.

use broker_core::protocol::{
    CommittedOffset, ConsumerGroupBeat, ConsumerGroupHeartbeat, CoordinatorKind, FetchResult,
    Fetched, FetchedOffset, GroupAnswer, GroupRequest, JoinRefused, Joined, ListOffsetsResult,
    ListedOffset, MemberEpoch, MemberIdentity, Synced, TransactionVersion,
};

use super::*;
use GroupProtocol::{Consumer, Cooperative, Eager};

fn found(rig: &mut Rig, kind: CoordinatorKind) {
    let sent = rig.take();
    let Request::FindCoordinator { kind: asked, .. } = sent.req else { panic!("{:?}", sent.req) };
    assert_eq!(asked, kind);
    rig.answer(&sent, Response::FindCoordinator(Ok(B1)));
}

/// Takes the request to the coordinator.
fn asked(rig: &mut Rig) -> (Sent, GroupRequest) {
    let sent = rig.take();
    assert_eq!(sent.to, B1, "the coordinator");
    let Request::Group(request) = sent.req.clone() else { panic!("{:?}", sent.req) };
    (sent, request)
}

fn say(rig: &mut Rig, sent: &Sent, answer: GroupAnswer) {
    rig.answer(sent, Response::Group(answer));
}

/// Joins as the only member, and leader, of generation `generation`.
fn joins(rig: &mut Rig, generation: i32) {
    let (sent, request) = asked(rig);
    let GroupRequest::JoinGroup(join) = request else { panic!("{request:?}") };
    let member = "m".to_string();
    let sent = if join.who.member.is_empty() {
        let refused = JoinRefused { code: ErrorCode::MemberIdRequired, member: member.clone() };
        say(rig, &sent, GroupAnswer::JoinGroup(Err(refused)));
        asked(rig).0
    } else {
        sent
    };
    let who = MemberIdentity { member: member.clone(), instance: None };
    let joined = Joined {
        member: member.clone(),
        generation: Generation(generation),
        protocol_type: None,
        protocol: None,
        leader: Some(member),
        skip_assignment: false,
        members: vec![(who, join.protocols[0].1.clone())],
    };
    say(rig, &sent, GroupAnswer::JoinGroup(Ok(joined)));
}

/// Gets the assignment that it made itself.
fn syncs(rig: &mut Rig) {
    let (sent, request) = asked(rig);
    let GroupRequest::SyncGroup(sync) = request else { panic!("{request:?}") };
    let [(member, assignment)] = sync.assignments.as_slice() else { panic!("{sync:?}") };
    assert_eq!(member, "m");
    let synced = Synced { protocol_type: None, protocol: None, assignment: assignment.clone() };
    say(rig, &sent, GroupAnswer::SyncGroup(Ok(synced)));
}

/// Answers how far the group has come, the same in all partitions.
fn come_to(rig: &mut Rig, offset: Option<u64>) {
    let (sent, request) = asked(rig);
    let GroupRequest::OffsetFetch(fetch) = request else { panic!("{request:?}") };
    assert!(fetch.require_stable);
    let committed = offset.map(|offset| CommittedOffset {
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
        at: broker_core::batch::TimestampMs(0),
    });
    let one = |partition| FetchedOffset { partition, result: Ok(committed.clone()) };
    let all = fetch.partitions.expect("it asks for what it has").into_iter().map(one).collect();
    say(rig, &sent, GroupAnswer::OffsetFetch(Ok(all)));
}

/// Answers a fetch with two records, or none; gives the partition and from where it was.
fn reads(rig: &mut Rig, some: bool) -> (TopicPartition, u64) {
    let sent = rig.take();
    let Request::Fetch(fetch) = &sent.req else { panic!("{:?}", sent.req) };
    let (at, from) = (fetch.partitions[0].partition, fetch.partitions[0].fetch_offset);
    let plain = values::encode(7, 2, 8, Wall(0), ProducerStamp::NONE);
    let batches = some.then(|| broker_core::batch::stamp(plain, from, LeaderEpoch(1)));
    let fetched = Fetched {
        high_watermark: Offset(100),
        last_stable_offset: Offset(100),
        log_start_offset: Offset(0),
        aborted: vec![],
        diverging: None,
        batches: batches.into_iter().collect(),
    };
    rig.answer(&sent, Response::Fetch(vec![FetchResult { partition: at, result: Ok(fetched) }]));
    (at, from.0)
}

/// Takes the commit: under which generation, and what.
fn commits(rig: &mut Rig, result: Result<(), ErrorCode>) -> (i32, Vec<(TopicPartition, u64)>) {
    let (sent, request) = asked(rig);
    let GroupRequest::OffsetCommit(commit) = request else { panic!("{request:?}") };
    let results = commit.offsets.iter().map(|it| (it.partition, result)).collect();
    say(rig, &sent, GroupAnswer::OffsetCommit(results));
    let offsets = commit.offsets.iter().map(|it| (it.partition, it.offset.0)).collect();
    (commit.generation.0, offsets)
}

fn in_group(protocol: GroupProtocol, copies: bool) -> Rig {
    let mut rig = Rig::new();
    rig.op(1, member(protocol, copies));
    found(&mut rig, CoordinatorKind::Group);
    rig.metadata(&[(Some(B0), 1), (Some(B0), 1)]);
    joins(&mut rig, 1);
    syncs(&mut rig);
    rig
}

#[test]
fn member_of_a_classic_group_reads_on_where_the_group_has_come_and_commits() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    assert_eq!(reads(&mut rig, true), (tp(0), 40));
    assert_eq!(reads(&mut rig, false), (tp(1), 40));
    rig.fire(ClientTimer::Member(1, Due::Commit));
    assert_eq!(reads(&mut rig, false), (tp(0), 42));
    assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(0), 42)]));
    let call = rig.invokes().into_iter().find(|call| matches!(call, Call::CommitOffsets { .. }));
    let Some(Call::CommitOffsets { offsets, .. }) = call else { panic!("{call:?}") };
    assert_eq!(offsets[..], [(tp(0), Offset(40), Offset(42))]);
    rig.fire(ClientTimer::Member(1, Due::Leave));
    assert_eq!(reads(&mut rig, true), (tp(1), 40));
    assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(1), 42)]), "before it leaves");
    let (sent, request) = asked(&mut rig);
    assert!(matches!(request, GroupRequest::LeaveGroup { .. }), "{request:?}");
    say(&mut rig, &sent, GroupAnswer::LeaveGroup(Ok(vec![])));
    rig.assert_finished();
}

fn heartbeat_refused(rig: &mut Rig, code: ErrorCode) {
    rig.fire(ClientTimer::Member(1, Due::Heartbeat));
    reads(rig, true);
    let (sent, request) = asked(rig);
    assert!(matches!(request, GroupRequest::Heartbeat { .. }), "{request:?}");
    say(rig, &sent, GroupAnswer::Heartbeat(Err(code)));
}

#[test]
fn member_of_an_eager_group_commits_and_lets_go_before_it_joins_again() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    heartbeat_refused(&mut rig, ErrorCode::RebalanceInProgress);
    assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(0), 42)]), "by the old generation");
    joins(&mut rig, 2);
    syncs(&mut rig);
    come_to(&mut rig, Some(42));
}

#[test]
fn member_whose_last_commit_comes_too_late_joins_again_all_the_same() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    heartbeat_refused(&mut rig, ErrorCode::RebalanceInProgress);
    commits(&mut rig, Err(ErrorCode::RebalanceInProgress));
    joins(&mut rig, 2);
}

#[test]
fn member_of_a_cooperative_group_keeps_what_it_has() {
    let mut rig = in_group(Cooperative, false);
    come_to(&mut rig, Some(40));
    heartbeat_refused(&mut rig, ErrorCode::RebalanceInProgress);
    // Once, under the generation that ends, whatever comes of it.
    let refused = Err(ErrorCode::RebalanceInProgress);
    assert_eq!(commits(&mut rig, refused), (1, vec![(tp(0), 42)]));
    joins(&mut rig, 2);
    syncs(&mut rig);
    assert_eq!(reads(&mut rig, false), (tp(1), 40), "and goes on");
}

#[test]
fn member_that_is_static_commits_and_goes_without_a_word() {
    let mut rig = Rig::new();
    let Op::Consume { topic, group, protocol, .. } = member(Eager, false) else { unreachable!() };
    let instance = Some("i".to_string());
    let (stays_ms, vanishes, copies_to) = (5_000, false, None);
    rig.op(1, Op::Consume { topic, group, protocol, instance, stays_ms, vanishes, copies_to });
    found(&mut rig, CoordinatorKind::Group);
    rig.metadata(&[(Some(B0), 1), (Some(B0), 1)]);
    joins(&mut rig, 1);
    syncs(&mut rig);
    come_to(&mut rig, Some(40));
    rig.fire(ClientTimer::Member(1, Due::Leave));
    assert_eq!(reads(&mut rig, true), (tp(0), 40));
    assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(0), 42)]));
    rig.assert_finished();
}

#[test]
fn member_that_was_expelled_comes_back_with_empty_hands() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    heartbeat_refused(&mut rig, ErrorCode::UnknownMemberId);
    joins(&mut rig, 5);
    syncs(&mut rig);
    come_to(&mut rig, None);
    let sent = rig.take();
    assert!(matches!(sent.req, Request::ListOffsets { .. }), "from the start: {:?}", sent.req);
}

fn beat(rig: &mut Rig) -> (Sent, ConsumerGroupHeartbeat) {
    let (sent, request) = asked(rig);
    let GroupRequest::ConsumerGroupHeartbeat(beat) = request else { panic!("{request:?}") };
    (sent, beat)
}

fn assigned(epoch: i32, part: &[TopicPartition]) -> GroupAnswer {
    GroupAnswer::ConsumerGroupHeartbeat(Ok(ConsumerGroupBeat {
        member: "client-3-1".to_string(),
        epoch: MemberEpoch(epoch),
        interval: Dur::ms(500),
        assignment: Some(part.to_vec()),
    }))
}

#[test]
fn member_of_a_kip848_group_says_at_once_what_it_has_let_go() {
    let mut rig = Rig::new();
    rig.op(1, member(Consumer, false));
    found(&mut rig, CoordinatorKind::Group);
    let (sent, first) = beat(&mut rig);
    assert_eq!((first.epoch, first.owned), (MemberEpoch::JOIN, Some(vec![])));
    say(&mut rig, &sent, assigned(1, &[tp(0), tp(1)]));
    let (sent, second) = beat(&mut rig);
    assert_eq!((second.topics, second.owned), (None, Some(vec![tp(0), tp(1)])));
    say(&mut rig, &sent, assigned(1, &[tp(0), tp(1)]));
    come_to(&mut rig, Some(40));
    rig.metadata(&[(Some(B0), 1), (Some(B0), 1)]);
    rig.fire(ClientTimer::Session(1));
    assert_eq!(reads(&mut rig, true), (tp(0), 40));
    rig.fire(ClientTimer::Member(1, Due::Heartbeat));
    assert_eq!(reads(&mut rig, false), (tp(1), 40));
    let (sent, third) = beat(&mut rig);
    assert_eq!((third.topics, third.owned), (None, None), "nothing new");
    say(&mut rig, &sent, assigned(1, &[tp(1)]));
    assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(0), 42)]));
    let (sent, fourth) = beat(&mut rig);
    assert_eq!(fourth.owned, Some(vec![tp(1)]));
    rig.gone(sent.conn);
    rig.fire(ClientTimer::Session(1));
    found(&mut rig, CoordinatorKind::Group);
    let (_, again) = beat(&mut rig);
    assert!(again.topics.is_some() && again.owned == Some(vec![tp(1)]), "all of it: {again:?}");
}

#[test]
fn copy_is_one_transaction_with_its_offset() {
    let mut rig = in_group(Eager, true);
    come_to(&mut rig, Some(40));
    assert_eq!(reads(&mut rig, true), (tp(0), 40));
    found(&mut rig, CoordinatorKind::Transaction);
    let sent = rig.take();
    let Request::Txn(TxnRequest::InitProducerId { .. }) = sent.req else { panic!("{sent:?}") };
    let identity = (ProducerId(5), ProducerEpoch(0));
    rig.answer(&sent, Response::Txn(TxnAnswer::InitProducerId(Ok(identity))));
    let sent = rig.take();
    let Request::Produce(request) = &sent.req else { panic!("{sent:?}") };
    assert!(matches!(request.transactional, Some((_, TransactionVersion::V2))));
    rig.answer(&sent, produced(9));
    let (sent, request) = asked(&mut rig);
    let GroupRequest::TxnOffsetCommit(commit) = request else { panic!("{request:?}") };
    assert_eq!((commit.generation, commit.who.member.as_str()), (Generation(1), "m"));
    assert_eq!(commit.offsets[0].offset, Offset(42));
    say(&mut rig, &sent, GroupAnswer::TxnOffsetCommit(vec![(tp(0), Ok(()))]));
    let sent = rig.take();
    let Request::Txn(TxnRequest::End { result, .. }) = &sent.req else { panic!("{sent:?}") };
    assert_eq!(*result, broker_core::protocol::TransactionResult::Commit);
    rig.answer(&sent, Response::Txn(TxnAnswer::End(Ok((ProducerId(5), ProducerEpoch(1))))));
    assert_eq!(reads(&mut rig, false), (tp(1), 40), "and on");
    assert_eq!(reads(&mut rig, false), (tp(0), 42));
    let numbers: BTreeSet<u32> = rig.history.iter().map(|it| it.op).collect();
    assert_eq!(
        numbers,
        [1, 1 << 31 | 1 << 16 | 1].into(),
        "the transaction has a number of its own"
    );
}

#[test]
fn copy_of_a_member_that_was_replaced_is_aborted_and_begins_where_the_group_is() {
    for (group_is_at, asks_for) in [(Some(40), 40), (None, 0)] {
        let mut rig = copy_refused();
        come_to(&mut rig, group_is_at);
        assert_eq!(reads(&mut rig, false), (tp(1), 40));
        if group_is_at.is_none() {
            listed(&mut rig);
            assert_eq!(reads(&mut rig, false), (tp(1), 40));
        }
        assert_eq!(reads(&mut rig, false), (tp(0), asks_for));
    }
}

/// Says that the log begins at 0.
fn listed(rig: &mut Rig) {
    let sent = rig.take();
    let Request::ListOffsets { partitions, .. } = &sent.req else { panic!("{sent:?}") };
    let found = ListedOffset { offset: Offset(0), timestamp: None, leader_epoch: LeaderEpoch(1) };
    let (partition, result) = (partitions[0].partition, Ok(Some(found)));
    rig.answer(&sent, Response::ListOffsets(vec![ListOffsetsResult { partition, result }]));
}

/// A copy that has read, with the batch that it sends.
fn copy_sent() -> (Rig, Sent) {
    let mut rig = in_group(Eager, true);
    come_to(&mut rig, Some(40));
    reads(&mut rig, true);
    found(&mut rig, CoordinatorKind::Transaction);
    let sent = rig.take();
    let identity = (ProducerId(5), ProducerEpoch(0));
    rig.answer(&sent, Response::Txn(TxnAnswer::InitProducerId(Ok(identity))));
    let sent = rig.take();
    (rig, sent)
}

fn copy_refused() -> Rig {
    let (mut rig, sent) = copy_sent();
    rig.answer(&sent, produced(9));
    let (sent, _) = asked(&mut rig);
    let refused = vec![(tp(0), Err(ErrorCode::IllegalGeneration))];
    say(&mut rig, &sent, GroupAnswer::TxnOffsetCommit(refused));
    let sent = rig.take();
    let Request::Txn(TxnRequest::End { result, .. }) = &sent.req else { panic!("{sent:?}") };
    assert_eq!(*result, broker_core::protocol::TransactionResult::Abort);
    rig.answer(&sent, Response::Txn(TxnAnswer::End(Ok((ProducerId(5), ProducerEpoch(1))))));
    rig
}

#[test]
fn member_whose_topic_the_coordinator_does_not_know_commits_again() {
    for code in [ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicOrPartition] {
        let mut rig = in_group(Eager, false);
        come_to(&mut rig, Some(40));
        reads(&mut rig, true);
        rig.fire(ClientTimer::Member(1, Due::Commit));
        reads(&mut rig, false);
        assert_eq!(commits(&mut rig, Err(code)), (1, vec![(tp(0), 42)]));
        assert_eq!(rig.ends().last(), Some(&&CallEvent::Fail(code)));
        rig.rested();
        rig.metadata(&[(Some(B0), 1), (Some(B0), 1)]);
        rig.fire(ClientTimer::Session(1));
        assert_eq!(commits(&mut rig, Ok(())), (1, vec![(tp(0), 42)]), "without another interval");
        reads(&mut rig, false);
    }
}

const ANEW: TopicId = TopicId(77);

/// Learns that its topic was created anew.
fn learns_anew(rig: &mut Rig) {
    rig.rested();
    rig.metadata_of(Some(ANEW), &[(Some(B0), 1), (Some(B0), 1)]);
}

/// Comes again, and asks how far the group is with the new topic.
fn begins_anew(rig: &mut Rig) {
    joins(rig, 2);
    syncs(rig);
    let (_, request) = asked(rig);
    let GroupRequest::OffsetFetch(fetch) = request else { panic!("{request:?}") };
    let partitions = fetch.partitions.expect("it asks for what it has");
    assert!(partitions.iter().all(|at| at.topic == ANEW), "{partitions:?}");
}

#[test]
fn member_whose_topic_is_gone_lets_go_of_it_without_a_commit() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    heartbeat_refused(&mut rig, ErrorCode::RebalanceInProgress);
    commits(&mut rig, Err(ErrorCode::UnknownTopicId));
    learns_anew(&mut rig);
    rig.fire(ClientTimer::Session(1));
    begins_anew(&mut rig);
}

#[test]
fn member_of_a_classic_group_comes_again_when_its_topic_was_created_anew() {
    let mut rig = in_group(Eager, false);
    come_to(&mut rig, Some(40));
    rig.rested();
    learns_anew(&mut rig);
    assert_eq!(reads(&mut rig, true), (tp(0), 40), "what it had asked for");
    begins_anew(&mut rig);
}

#[test]
fn copy_to_a_topic_created_anew_is_not_sent_again() {
    let (mut rig, sent) = copy_sent();
    rig.answer(&sent, refused(ErrorCode::UnknownTopicId));
    assert!(!matches!(rig.ends().last(), Some(CallEvent::Unknown)), "it may be a slow broker");
    learns_anew(&mut rig);
    rig.fire(ClientTimer::Session(1));
    assert_eq!(rig.ends().last(), Some(&&CallEvent::Unknown));
    begins_anew(&mut rig);
}
