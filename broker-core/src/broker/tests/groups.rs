//! The group coordinator in its broker: asked, replaced, and part of transactions.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::config::BrokerLimits;
use crate::ids::{NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicPartition};
use crate::protocol::*;
use crate::step::Input;
use crate::time::Dur;

use ErrorCode as E;
use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};

/// With the partition that groups read.
fn host() -> (Host, TopicPartition) {
    host_of(1)
}

/// With so many coordinators of each kind.
fn host_of(coordinator_partitions: u32) -> (Host, TopicPartition) {
    let wal_bulk_interval = Dur::ms(10);
    let limits = BrokerLimits { wal_bulk_interval, coordinator_partitions, ..Default::default() };
    let mut host = Host::new(limits);
    for kind in [CoordinatorKind::Group, CoordinatorKind::Transaction] {
        assert_eq!(find(&mut host, kind), Err(E::CoordinatorNotAvailable), "it is being made");
    }
    host.run(LONG);
    let at = host.create_topic(&[]);
    (host, at)
}

fn find(host: &mut Host, kind: CoordinatorKind) -> Result<NodeId, ErrorCode> {
    let name = match kind {
        CoordinatorKind::Group => "g".to_string(),
        CoordinatorKind::Transaction => "t".to_string(),
    };
    let to = if host.is_up(A) { A } else { B };
    match host.call(to, Request::FindCoordinator { kind, name }) {
        Response::FindCoordinator(found) => found,
        other => panic!("{other:?}"),
    }
}

fn ask(host: &mut Host, request: GroupRequest) -> GroupAnswer {
    let to = find(host, CoordinatorKind::Group).expect("there is one");
    match host.call(to, Request::Group(request)) {
        Response::Group(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn txn(host: &mut Host, request: TxnRequest) -> TxnAnswer {
    let to = find(host, CoordinatorKind::Transaction).expect("there is one");
    match host.call(to, Request::Txn(request)) {
        Response::Txn(answer) => answer,
        other => panic!("{other:?}"),
    }
}

type Identity = (ProducerId, ProducerEpoch);

fn init(host: &mut Host) -> Identity {
    for _ in 0..5 {
        let (transactional_id, timeout) = ("t".to_string(), Dur::secs(60));
        let request = TxnRequest::InitProducerId { transactional_id, timeout, expected: None };
        match txn(host, request) {
            TxnAnswer::InitProducerId(Ok(identity)) => return identity,
            TxnAnswer::InitProducerId(Err(E::CoordinatorLoadInProgress)) => host.run(1_000_000),
            other => panic!("{other:?}"),
        }
    }
    panic!("no producer id");
}

fn of((producer, epoch): Identity) -> TxnProducer {
    TxnProducer { transactional_id: "t".to_string(), producer, epoch }
}

fn end(host: &mut Host, identity: Identity, result: TransactionResult) {
    let answer = txn(host, TxnRequest::End { of: of(identity), result, version: V2 });
    assert!(matches!(answer, TxnAnswer::End(Ok(_))), "{answer:?}");
    host.run(1_000_000);
}

fn offset(partition: TopicPartition, offset: u64) -> OffsetToCommit {
    let (offset, leader_epoch, metadata) = (Offset(offset), None, String::new());
    OffsetToCommit { partition, offset, leader_epoch, metadata }
}

fn commit(host: &mut Host, at: TopicPartition, upto: u64) -> Result<(), ErrorCode> {
    let request = OffsetCommit {
        group: "g".to_string(),
        who: MemberIdentity::default(),
        generation: Generation::NONE,
        offsets: vec![offset(at, upto)],
    };
    match ask(host, GroupRequest::OffsetCommit(request)) {
        GroupAnswer::OffsetCommit(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

fn commit_in(
    host: &mut Host,
    at: TopicPartition,
    identity: Identity,
    version: TransactionVersion,
    upto: u64,
) -> Result<(), ErrorCode> {
    commit_for("g", host, at, identity, version, upto)
}

fn commit_for(
    group: &str,
    host: &mut Host,
    at: TopicPartition,
    (producer, epoch): Identity,
    version: TransactionVersion,
    upto: u64,
) -> Result<(), ErrorCode> {
    let request = TxnOffsetCommit {
        group: group.to_string(),
        transactional_id: "t".to_string(),
        version,
        producer,
        epoch,
        who: MemberIdentity::default(),
        generation: Generation::NONE,
        offsets: vec![offset(at, upto)],
    };
    match ask(host, GroupRequest::TxnOffsetCommit(request)) {
        GroupAnswer::TxnOffsetCommit(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

fn fetch_offset(
    host: &mut Host,
    at: TopicPartition,
    require_stable: bool,
) -> Result<Option<u64>, ErrorCode> {
    let (group, member, partitions) = ("g".to_string(), None, Some(vec![at]));
    let request = OffsetFetch { group, member, partitions, require_stable };
    match ask(host, GroupRequest::OffsetFetch(request)) {
        GroupAnswer::OffsetFetch(Ok(fetched)) => {
            fetched[0].result.clone().map(|found| found.map(|it| it.offset.0))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_of_a_group_outlive_their_coordinator() {
    let (mut host, at) = host();
    assert_eq!(fetch_offset(&mut host, at, true), Ok(None));
    assert_eq!(commit(&mut host, at, 7), Ok(()));
    let coordinator = find(&mut host, CoordinatorKind::Group).expect("there is one");
    host.kill(coordinator);
    host.run(LONG);
    assert_eq!(fetch_offset(&mut host, at, true), Ok(Some(7)));
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    let (mut host, at) = host();
    let identity = init(&mut host);
    assert_eq!(commit(&mut host, at, 1), Ok(()));
    assert_eq!(commit_in(&mut host, at, identity, V2, 5), Ok(()));
    assert_eq!(commit_in(&mut host, at, identity, V2, 6), Ok(()));
    assert_eq!(fetch_offset(&mut host, at, true), Err(E::UnstableOffsetCommit));
    assert_eq!(fetch_offset(&mut host, at, false), Ok(Some(1)));
    end(&mut host, identity, Commit);
    assert_eq!(fetch_offset(&mut host, at, true), Ok(Some(6)));
    let identity = (identity.0, identity.1.next());
    assert_eq!(commit_in(&mut host, at, identity, V2, 9), Ok(()));
    end(&mut host, identity, Abort);
    assert_eq!(fetch_offset(&mut host, at, true), Ok(Some(6)));
}

#[test]
fn offsets_of_a_transaction_that_the_coordinator_does_not_know_are_refused() {
    let (mut host, at) = host();
    let identity = init(&mut host);
    assert_eq!(commit_in(&mut host, at, identity, V1, 5), Err(E::InvalidTxnState));
    let group = "g".to_string();
    let added = txn(&mut host, TxnRequest::AddOffsets { of: of(identity), group });
    assert_eq!(added, TxnAnswer::AddOffsets(Ok(())));
    assert_eq!(commit_in(&mut host, at, identity, V1, 5), Ok(()));
    end(&mut host, identity, Commit);
    assert_eq!(fetch_offset(&mut host, at, true), Ok(Some(5)));
    assert_eq!(commit_in(&mut host, at, identity, V2, 6), Err(E::InvalidProducerEpoch));
    let newer = (identity.0, identity.1.next());
    assert_eq!(commit_in(&mut host, at, newer, V2, 7), Ok(()), "the raised epoch");
}

#[test]
fn offsets_of_nothing_there_are_refused_without_the_coordinator_of_transactions() {
    let (mut host, at) = host();
    let identity = init(&mut host);
    let gone = TopicPartition { index: PartitionIndex(7), ..at };
    let refused = Err(E::UnknownTopicOrPartition);
    assert_eq!(commit_in(&mut host, gone, identity, V1, 5), refused, "of no transaction");
    assert_eq!(commit_in(&mut host, at, identity, V1, 5), Err(E::InvalidTxnState));
}

#[test]
fn offsets_of_a_transaction_for_a_group_without_a_name_are_refused() {
    let (mut host, at) = host();
    let identity = init(&mut host);
    let refused = commit_for("", &mut host, at, identity, V2, 5);
    assert_eq!(refused, Err(E::InvalidGroupId));
}

/// What a coordinator that was cut off from the others and replaced says to a question.
fn told_by_a_replaced_coordinator(host: &mut Host, question: GroupRequest) -> Option<Response> {
    let old = find(host, CoordinatorKind::Group).expect("there is one");
    host.cut(old, true);
    host.run(LONG);
    let conn = host.conn();
    host.send(old, conn, 0, Request::Group(question));
    host.run(2_000_000);
    host.replies.remove(&(conn, 0))
}

#[test]
fn coordinator_that_was_replaced_tells_nobody_where_to_read_on() {
    let (mut host, at) = host();
    assert_eq!(commit(&mut host, at, 5), Ok(()));
    let (group, member, partitions) = ("g".to_string(), None, Some(vec![at]));
    let fetch = OffsetFetch { group, member, partitions, require_stable: true };
    let told = told_by_a_replaced_coordinator(&mut host, GroupRequest::OffsetFetch(fetch));
    let offsets = |it: &Response| matches!(it, Response::Group(GroupAnswer::OffsetFetch(Ok(_))));
    assert!(!told.as_ref().is_some_and(offsets), "{told:?}");
}

#[test]
fn join_that_waits_when_the_coordinator_loses_its_log_is_refused() {
    let (mut host, _) = host();
    let coordinator = find(&mut host, CoordinatorKind::Group).expect("there is one");
    let conn = host.conn();
    let join = JoinGroup {
        group: "g".to_string(),
        who: MemberIdentity::default(),
        client: "c".to_string(),
        session_timeout: Dur::secs(30),
        rebalance_timeout: Dur::secs(60),
        protocol_type: "consumer".to_string(),
        protocols: vec![("range".to_string(), bytes::Bytes::new())],
        member_id_required: false,
        skips_assignment: true,
    };
    host.send(coordinator, conn, 0, Request::Group(GroupRequest::JoinGroup(join)));
    host.run(500_000);
    assert!(!host.replies.contains_key(&(conn, 0)), "it waits for more members");
    host.give(coordinator, Input::Drain);
    host.run(2_000_000);
    match host.replies.remove(&(conn, 0)) {
        Some(Response::Group(GroupAnswer::JoinGroup(Err(refused)))) => {
            assert_eq!(refused.code, E::NotCoordinator);
        }
        other => panic!("{other:?}"),
    }
    host.run(LONG);
    let listed = GroupRequest::ListGroups { states: vec![], types: vec![] };
    let GroupAnswer::ListGroups(Ok(listed)) = ask(&mut host, listed) else { panic!("refused") };
    assert_eq!((listed.len(), listed[0].state.name()), (1, "Empty"), "nobody is in it");
}

#[test]
fn offsets_of_a_topic_go_with_it() {
    let (mut host, at) = host();
    assert_eq!(commit(&mut host, at, 7), Ok(()));
    let admin = Request::Admin(AdminRequest::DeleteTopic { topic: at.topic });
    assert_eq!(host.call(A, admin), Response::Admin(AdminResponse::Done));
    assert_eq!(fetch_offset(&mut host, at, true), Ok(None));
    assert_eq!(commit(&mut host, at, 8), Err(E::UnknownTopicId), "it comes late");
    let identity = init(&mut host);
    assert_eq!(commit_in(&mut host, at, identity, V2, 9), Err(E::UnknownTopicOrPartition));
    assert_eq!(fetch_offset(&mut host, at, true), Ok(None));
}

#[test]
fn successor_forgets_offsets_of_topics_that_its_predecessor_did_not_hear_of() {
    let (mut host, at) = host();
    let coordinator = find(&mut host, CoordinatorKind::Group).expect("there is one");
    assert_eq!(commit(&mut host, at, 7), Ok(()));
    host.cut(coordinator, true);
    let other = if coordinator == A { B } else { A };
    let admin = Request::Admin(AdminRequest::DeleteTopic { topic: at.topic });
    assert_eq!(host.call(other, admin), Response::Admin(AdminResponse::Done));
    host.kill(coordinator);
    host.run(LONG);
    assert_eq!(fetch_offset(&mut host, at, true), Ok(None));
}

/// What tools ask of groups and transactions, by who must answer it.
fn questions() -> [(CoordinatorKind, Request); 5] {
    let (group, txn) = (CoordinatorKind::Group, CoordinatorKind::Transaction);
    let g = || "g".to_string();
    let list = GroupRequest::ListGroups { states: vec![], types: vec![] };
    let describe = TxnRequest::Describe { transactional_ids: vec!["t".to_string()] };
    [
        (group, Request::Group(list)),
        (group, Request::Group(GroupRequest::DescribeGroup { group: g() })),
        (group, Request::Group(GroupRequest::ConsumerGroupDescribe { group: g() })),
        (txn, Request::Txn(TxnRequest::List(TxnFilter::default()))),
        (txn, Request::Txn(describe)),
    ]
}

#[test]
fn question_of_a_tool_is_answered_when_what_it_saw_is_confirmed() {
    for (_, question) in questions().into_iter().take(2) {
        let (mut host, at) = host();
        let coordinator = find(&mut host, CoordinatorKind::Group).expect("there is one");
        let (commits, asks) = (host.conn(), host.conn());
        let commit = OffsetCommit {
            group: "g".to_string(),
            who: MemberIdentity::default(),
            generation: Generation::NONE,
            offsets: vec![offset(at, 7)],
        };
        host.send(coordinator, commits, 0, Request::Group(GroupRequest::OffsetCommit(commit)));
        host.send(coordinator, asks, 0, question);
        while !host.replies.contains_key(&(asks, 0)) {
            host.run(100);
        }
        assert!(host.replies.contains_key(&(commits, 0)), "it shows the group");
        let shown = match host.replies.remove(&(asks, 0)) {
            Some(Response::Group(GroupAnswer::ListGroups(Ok(listed)))) => listed.len(),
            Some(Response::Group(GroupAnswer::DescribeGroup(Ok(_)))) => 1,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown, 1);
    }
}

#[test]
fn question_of_a_tool_is_not_answered_by_a_coordinator_that_was_replaced() {
    for (kind, question) in questions() {
        let (mut host, at) = host();
        init(&mut host);
        assert_eq!(commit(&mut host, at, 7), Ok(()));
        let replaced = find(&mut host, kind).expect("there is one");
        host.cut(replaced, true);
        host.run(LONG);
        let conn = host.conn();
        host.send(replaced, conn, 0, question);
        host.run(LONG);
        assert_eq!(host.replies.get(&(conn, 0)), None);
        assert!(!host.is_up(replaced), "it has found out");
    }
}

#[test]
fn question_of_a_tool_that_waits_when_the_coordinator_loses_its_log_is_refused() {
    for (kind, question) in questions() {
        let (mut host, _) = host();
        let coordinator = find(&mut host, kind).expect("there is one");
        host.mute = Some((coordinator, crate::step::Flow::Claim));
        let conn = host.conn();
        host.send(coordinator, conn, 0, question);
        host.run(500_000);
        assert_eq!(host.replies.get(&(conn, 0)), None, "the check of the WAL hangs");
        host.give(coordinator, Input::Drain);
        host.run(2_000_000);
        match host.replies.remove(&(conn, 0)) {
            // The successor lists what there is.
            Some(Response::Group(GroupAnswer::ListGroups(listed))) => {
                assert_eq!(listed, Ok(vec![]))
            }
            Some(Response::Txn(TxnAnswer::List(listed))) => assert_eq!(listed, Ok(vec![])),
            Some(Response::Group(GroupAnswer::DescribeGroup(described))) => {
                assert_eq!(described, Err(E::NotCoordinator));
            }
            Some(Response::Group(GroupAnswer::ConsumerGroupDescribe(described))) => {
                assert_eq!(described, Err(E::NotCoordinator));
            }
            Some(Response::Txn(TxnAnswer::Describe(described))) => {
                assert_eq!(described[0].1, Err(E::NotCoordinator));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn question_to_several_coordinators_is_answered_for_all_of_them() {
    let (mut host, at) = host_of(4);
    let names: Vec<String> = (0..8).map(|nth| format!("g{nth}")).collect();
    for group in &names {
        let (kind, name) = (CoordinatorKind::Group, group.clone());
        let found = host.call(A, Request::FindCoordinator { kind, name });
        let Response::FindCoordinator(Ok(coordinator)) = found else { panic!("{found:?}") };
        let commit = OffsetCommit {
            group: group.clone(),
            who: MemberIdentity::default(),
            generation: Generation::NONE,
            offsets: vec![offset(at, 7)],
        };
        host.call(coordinator, Request::Group(GroupRequest::OffsetCommit(commit)));
    }
    let (mut listed, mut coordinated) = (Vec::new(), 0);
    for broker in [A, B] {
        let request = GroupRequest::ListGroups { states: vec![], types: vec![] };
        match host.call(broker, Request::Group(request)) {
            Response::Group(GroupAnswer::ListGroups(Ok(groups))) => {
                listed.extend(groups.into_iter().map(|it| it.group));
            }
            other => panic!("{other:?}"),
        }
        let describe = TxnRequest::Describe { transactional_ids: names.clone() };
        let answer = host.call(broker, Request::Txn(describe));
        let Response::Txn(TxnAnswer::Describe(mut described)) = answer else {
            panic!("{answer:?}")
        };
        described.sort_by(|one, other| one.0.cmp(&other.0));
        assert!(described.iter().map(|(id, _)| id).eq(&names), "{described:?}");
        let unknown = |it: &&(_, Result<_, _>)| it.1 == Err(E::TransactionalIdNotFound);
        coordinated += described.iter().filter(unknown).count();
    }
    listed.sort_unstable();
    assert_eq!((listed, coordinated), (names, 8));
}
