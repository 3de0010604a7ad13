//! The group coordinator in its broker: asked, replaced, and part of transactions.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::config::BrokerLimits;
use crate::ids::{NodeId, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use crate::protocol::*;
use crate::step::Input;
use crate::time::Dur;

use ErrorCode as E;
use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};

const AT: TopicPartition = partition_of(TopicId(77));

fn host() -> Host {
    let wal_bulk_interval = Dur::ms(10);
    let limits =
        BrokerLimits { wal_bulk_interval, coordinator_partitions: 1, ..Default::default() };
    let mut host = Host::new(limits);
    for kind in [CoordinatorKind::Group, CoordinatorKind::Transaction] {
        assert_eq!(find(&mut host, kind), Err(E::CoordinatorNotAvailable), "it is being made");
    }
    host.run(LONG);
    host
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

fn offset(offset: u64) -> OffsetToCommit {
    let (offset, leader_epoch, metadata) = (Offset(offset), None, String::new());
    OffsetToCommit { partition: AT, offset, leader_epoch, metadata }
}

fn commit(host: &mut Host, at: u64) -> Result<(), ErrorCode> {
    let request = OffsetCommit {
        group: "g".to_string(),
        who: MemberIdentity::default(),
        generation: Generation::NONE,
        offsets: vec![offset(at)],
    };
    match ask(host, GroupRequest::OffsetCommit(request)) {
        GroupAnswer::OffsetCommit(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

fn commit_in(
    host: &mut Host,
    (producer, epoch): Identity,
    version: TransactionVersion,
    at: u64,
) -> Result<(), ErrorCode> {
    let request = TxnOffsetCommit {
        group: "g".to_string(),
        transactional_id: "t".to_string(),
        version,
        producer,
        epoch,
        who: MemberIdentity::default(),
        generation: Generation::NONE,
        offsets: vec![offset(at)],
    };
    match ask(host, GroupRequest::TxnOffsetCommit(request)) {
        GroupAnswer::TxnOffsetCommit(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

fn fetch_offset(host: &mut Host, require_stable: bool) -> Result<Option<u64>, ErrorCode> {
    let (group, member, partitions) = ("g".to_string(), None, Some(vec![AT]));
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
    let mut host = host();
    assert_eq!(fetch_offset(&mut host, true), Ok(None));
    assert_eq!(commit(&mut host, 7), Ok(()));
    let coordinator = find(&mut host, CoordinatorKind::Group).expect("there is one");
    host.kill(coordinator);
    host.run(LONG);
    assert_eq!(fetch_offset(&mut host, true), Ok(Some(7)));
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    let mut host = host();
    let identity = init(&mut host);
    assert_eq!(commit(&mut host, 1), Ok(()));
    assert_eq!(commit_in(&mut host, identity, V2, 5), Ok(()));
    assert_eq!(commit_in(&mut host, identity, V2, 6), Ok(()));
    assert_eq!(fetch_offset(&mut host, true), Err(E::UnstableOffsetCommit));
    assert_eq!(fetch_offset(&mut host, false), Ok(Some(1)));
    end(&mut host, identity, Commit);
    assert_eq!(fetch_offset(&mut host, true), Ok(Some(6)));
    let identity = (identity.0, identity.1.next());
    assert_eq!(commit_in(&mut host, identity, V2, 9), Ok(()));
    end(&mut host, identity, Abort);
    assert_eq!(fetch_offset(&mut host, true), Ok(Some(6)));
}

#[test]
fn offsets_of_a_transaction_that_the_coordinator_does_not_know_are_refused() {
    let mut host = host();
    let identity = init(&mut host);
    assert_eq!(commit_in(&mut host, identity, V1, 5), Err(E::InvalidTxnState));
    let group = "g".to_string();
    let added = txn(&mut host, TxnRequest::AddOffsets { of: of(identity), group });
    assert_eq!(added, TxnAnswer::AddOffsets(Ok(())));
    assert_eq!(commit_in(&mut host, identity, V1, 5), Ok(()));
    end(&mut host, identity, Commit);
    assert_eq!(fetch_offset(&mut host, true), Ok(Some(5)));
    assert_eq!(commit_in(&mut host, identity, V2, 6), Err(E::InvalidProducerEpoch));
    let newer = (identity.0, identity.1.next());
    assert_eq!(commit_in(&mut host, newer, V2, 7), Ok(()), "the raised epoch");
}

#[test]
fn join_that_waits_when_the_coordinator_loses_its_log_is_refused() {
    let mut host = host();
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
    assert_eq!((listed.len(), listed[0].state), (1, "Empty"), "nobody is in it");
}

#[test]
fn offsets_of_a_topic_go_with_it() {
    let mut host = host();
    let at = host.create_topic(&[]);
    for partition in [at, AT] {
        let (group, who) = ("g".to_string(), MemberIdentity::default());
        let offsets = vec![OffsetToCommit { partition, ..offset(7) }];
        let generation = Generation::NONE;
        let commit = OffsetCommit { group, who, generation, offsets };
        ask(&mut host, GroupRequest::OffsetCommit(commit));
    }
    let admin = Request::Admin(AdminRequest::DeleteTopic { topic: at.topic });
    assert_eq!(host.call(A, admin), Response::Admin(AdminResponse::Done));
    host.run(1_000_000);
    let (group, member, partitions) = ("g".to_string(), None, None);
    let fetch = OffsetFetch { group, member, partitions, require_stable: true };
    let GroupAnswer::OffsetFetch(Ok(left)) = ask(&mut host, GroupRequest::OffsetFetch(fetch))
    else {
        panic!("refused");
    };
    assert_eq!(left.iter().map(|it| it.partition).collect::<Vec<_>>(), [AT]);
}
