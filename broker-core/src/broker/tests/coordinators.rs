//! The transaction coordinator in its broker: found, asked, replaced; and the leaders that ask it
//! before a transaction begins.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::batch::{self, NewRecord, ProducerStamp, TimestampMs};
use crate::config::BrokerLimits;
use crate::ids::{CoordinatorEpoch, NodeId, ProducerEpoch, ProducerId, TopicPartition};
use crate::peer::PeerMsg;
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::Input;
use crate::time::Dur;

use ErrorCode as E;
use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};

const ID: &str = "t";

fn host() -> Host {
    // Markers are written within the time for which a leader asks again.
    let wal_bulk_interval = Dur::ms(10);
    let limits =
        BrokerLimits { wal_bulk_interval, coordinator_partitions: 1, ..Default::default() };
    let mut host = Host::new(limits);
    assert_eq!(find(&mut host), Err(E::CoordinatorNotAvailable), "its topic is being made");
    host.run(LONG);
    host
}

fn find(host: &mut Host) -> Result<NodeId, ErrorCode> {
    let (kind, name) = (CoordinatorKind::Transaction, ID.to_string());
    let to = if host.is_up(A) { A } else { B };
    match host.call(to, Request::FindCoordinator { kind, name }) {
        Response::FindCoordinator(found) => found,
        other => panic!("{other:?}"),
    }
}

fn ask(host: &mut Host, to: NodeId, request: TxnRequest) -> TxnAnswer {
    match host.call(to, Request::Txn(request)) {
        Response::Txn(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn init(host: &mut Host) -> (ProducerId, ProducerEpoch) {
    let coordinator = find(host).expect("there is one");
    for _ in 0..5 {
        let (transactional_id, timeout) = (ID.to_string(), Dur::secs(60));
        let request = TxnRequest::InitProducerId { transactional_id, timeout, expected: None };
        match ask(host, coordinator, request) {
            TxnAnswer::InitProducerId(Ok(identity)) => return identity,
            TxnAnswer::InitProducerId(Err(E::CoordinatorLoadInProgress)) => host.run(1_000_000),
            other => panic!("{other:?}"),
        }
    }
    panic!("no producer id");
}

fn of((producer, epoch): (ProducerId, ProducerEpoch)) -> TxnProducer {
    TxnProducer { transactional_id: ID.to_string(), producer, epoch }
}

fn batch((id, epoch): (ProducerId, ProducerEpoch)) -> bytes::Bytes {
    let record =
        NewRecord { timestamp: TimestampMs(1), key: None, value: Some(b"v"), headers: &[] };
    let stamp = ProducerStamp { id: id.0 as i64, epoch: epoch.0, base_sequence: 0 };
    batch::build_transactional(&[record], stamp)
}

fn write(
    host: &mut Host,
    at: TopicPartition,
    identity: (ProducerId, ProducerEpoch),
    version: TransactionVersion,
) -> Result<(), ErrorCode> {
    let (acks, timeout, batches) = (Acks::All, Dur::secs(30), vec![(at, batch(identity))]);
    let transactional = Some((ID.to_string(), version));
    let request = ProduceRequest { acks, timeout, transactional, batches };
    match host.call(host.leader(at), Request::Produce(request)) {
        Response::Produce(results) => results[0].result.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

fn end(
    host: &mut Host,
    identity: (ProducerId, ProducerEpoch),
    result: TransactionResult,
) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
    let coordinator = find(host).expect("there is one");
    match ask(host, coordinator, TxnRequest::End { of: of(identity), result, version: V2 }) {
        TxnAnswer::End(result) => result,
        other => panic!("{other:?}"),
    }
}

/// Where readers of committed data stand, and the high watermark.
fn offsets(host: &Host, at: TopicPartition) -> (u64, u64) {
    let open = host.broker(host.leader(at)).partition(at).expect("led");
    (open.last_stable().0, open.high_watermark().0)
}

#[test]
fn transaction_from_its_first_batch_to_its_marker() {
    let mut host = host();
    let at = host.create_topic(&[]);
    let identity = init(&mut host);
    assert_eq!(write(&mut host, at, identity, V2), Ok(()));
    assert_eq!(offsets(&host, at), (0, 1));
    assert_eq!(end(&mut host, identity, Commit), Ok((identity.0, identity.1.next())));
    host.run(1_000_000);
    assert_eq!(offsets(&host, at), (2, 2));
    assert_eq!(end(&mut host, identity, Commit).map(|next| next.1), Ok(identity.1.next()));
    assert_eq!(offsets(&host, at), (2, 2), "a retry writes no marker");
}

#[test]
fn transaction_that_begins_while_the_one_before_gets_its_markers_waits_for_them() {
    let mut host = host();
    let at = host.create_topic(&[]);
    let identity = init(&mut host);
    assert_eq!(write(&mut host, at, identity, V2), Ok(()));
    let (coordinator, conn) = (find(&mut host).expect("there is one"), host.conn());
    let request = TxnRequest::End { of: of(identity), result: Commit, version: V2 };
    host.send(coordinator, conn, 0, Request::Txn(request));
    while !host.replies.contains_key(&(conn, 0)) {
        host.run(1_000);
    }
    assert_eq!(offsets(&host, at), (0, 1), "no marker yet");
    assert_eq!(write(&mut host, at, (identity.0, identity.1.next()), V2), Ok(()));
    assert_eq!(offsets(&host, at), (2, 3));
}

#[test]
fn batch_of_a_transaction_that_may_not_begin_here_is_refused() {
    let mut host = host();
    let at = host.create_topic(&[]);
    let (id, epoch) = init(&mut host);
    assert_eq!(write(&mut host, at, (id, epoch), V1), Err(E::InvalidTxnState), "was not added");
    let unknown = (ProducerId(id.0 + 1), epoch);
    assert_eq!(write(&mut host, at, unknown, V2), Err(E::InvalidProducerIdMapping));
    assert_eq!(write(&mut host, at, (id, epoch.next()), V2), Err(E::InvalidProducerEpoch));
    let (acks, timeout, transactional) = (Acks::All, Dur::secs(30), None);
    let batches = vec![(at, batch((id, epoch)))];
    let request = ProduceRequest { acks, timeout, transactional, batches };
    match host.call(host.leader(at), Request::Produce(request)) {
        Response::Produce(results) => {
            assert_eq!(results[0].result, Err(E::TransactionalIdAuthorizationFailed));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(offsets(&host, at), (0, 0));
}

/// A batch comes, the coordinator's word on it is on its way, and a marker overtakes that. With
/// `ends`, the coordinator is asked for the transaction's abort meanwhile.
fn overtaken(version: TransactionVersion, raised: i16, ends: bool) -> Result<(), ErrorCode> {
    let mut host = host();
    let at = host.create_topic(&[]);
    let (producer, epoch) = init(&mut host);
    let (leader, coordinator) = (host.leader(at), find(&mut host).expect("there is one"));
    let (of, partitions) = (of((producer, epoch)), vec![at]);
    if version == V1 {
        let (of, partitions, verify_only) = (of.clone(), partitions.clone(), false);
        ask(
            &mut host,
            coordinator,
            TxnRequest::AddPartitions { of, partitions, verify_only, version },
        );
    }
    let batches = vec![(at, batch((producer, epoch)))];
    let (acks, timeout) = (Acks::All, Dur::secs(30));
    let transactional = Some((ID.to_string(), version));
    let request = ProduceRequest { acks, timeout, transactional, batches };
    let conn = host.conn();
    host.send(leader, conn, 0, Request::Produce(request));
    let (epoch, result) = (ProducerEpoch(epoch.0 + raised), Abort);
    let coordinator_epoch = CoordinatorEpoch(0);
    let marker = TxnMarker { producer, epoch, result, coordinator_epoch, version, partitions };
    let (id, incarnation_id) = (99, crate::ids::IncarnationId(7));
    let request = Request::WriteTxnMarkers { markers: vec![marker] };
    let msg = PeerMsg::Request { id, incarnation_id, request };
    host.give(leader, Input::Peer { from: coordinator, msg });
    if ends {
        let request = Request::Txn(TxnRequest::End { of, result, version });
        host.send(coordinator, conn, 1, request);
    }
    host.run(2_000_000);
    match host.replies.remove(&(conn, 0)) {
        Some(Response::Produce(results)) => results[0].result.map(|_| ()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn marker_of_the_same_transaction_takes_the_permission_away() {
    assert_eq!(overtaken(V2, 1, false), Err(E::InvalidProducerEpoch), "KAFKA-14402");
    assert_eq!(overtaken(V1, 0, true), Err(E::NotEnoughReplicas), "it is being ended");
}

#[test]
fn marker_of_the_transaction_before_costs_another_question() {
    assert_eq!(overtaken(V2, 0, false), Ok(()));
}

#[test]
fn successor_of_a_coordinator_carries_its_decision_out() {
    let mut host = host();
    let at = host.create_topic(&[]);
    let identity = init(&mut host);
    let coordinator = find(&mut host).expect("there is one");
    assert_eq!(write(&mut host, at, identity, V2), Ok(()));
    let (conn, version) = (host.conn(), V2);
    let request = TxnRequest::End { of: of(identity), result: Commit, version };
    host.send(coordinator, conn, 0, Request::Txn(request));
    while host.saw(coordinator, |probe| matches!(probe, Probe::TxnDecided { .. })) == 0 {
        host.run(1);
    }
    host.kill(coordinator);
    host.run(LONG);
    let successor = find(&mut host).expect("there is one");
    assert_ne!(successor, coordinator);
    // Sent by both of them, perhaps: the second one changes nothing.
    let (stable, end_at) = offsets(&host, at);
    assert_eq!(stable, end_at, "the marker is there");
    assert!(end_at >= 2);
    let describe = TxnRequest::Describe { transactional_ids: vec![ID.to_string()] };
    match ask(&mut host, successor, describe) {
        TxnAnswer::Describe(described) => {
            let state = described[0].1.as_ref().map(|it| it.state);
            assert_eq!(state, Ok(TxnState::CompleteCommit));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(end(&mut host, identity, Commit).map(|next| next.1), Ok(identity.1.next()));
}

#[test]
fn request_that_waits_when_the_coordinator_loses_its_log_is_refused() {
    let mut host = host();
    let _ = init(&mut host);
    let coordinator = find(&mut host).expect("there is one");
    let conn = host.conn();
    let (transactional_id, timeout) = (ID.to_string(), Dur::secs(60));
    let request = TxnRequest::InitProducerId { transactional_id, timeout, expected: None };
    host.send(coordinator, conn, 0, Request::Txn(request));
    host.give(coordinator, Input::Drain);
    host.run(LONG);
    match host.replies.remove(&(conn, 0)) {
        Some(Response::Txn(TxnAnswer::InitProducerId(result))) => {
            // Either it was confirmed before the log went to the other broker, or nobody knows.
            assert!(matches!(result, Ok(_) | Err(E::NotCoordinator)), "{result:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn topic_of_a_coordinator_takes_no_batches_of_clients() {
    let mut host = host();
    let (topic, _) = host.broker(A).image().topic_named("__transaction_state").expect("made");
    let at = partition_of(topic);
    let batch = host.batch(&["v"]);
    let leader = host.leader(at);
    let refused = host.try_produce(leader, at, batch, Acks::All);
    assert_eq!(refused, Err(E::InvalidTopicException));
    let listed = ask(&mut host, leader, TxnRequest::List(TxnFilter::default()));
    assert_eq!(listed, TxnAnswer::List(Ok(Vec::new())));
}

#[test]
fn coordinator_that_was_replaced_and_does_not_know_it_refuses_nobody() {
    let mut host = host();
    host.create_topic(&[]);
    let identity = init(&mut host);
    let replaced = find(&mut host).expect("there is one");
    host.cut(replaced, true);
    host.run(LONG);
    let (conn, result, version) = (host.conn(), Commit, V2);
    // Its successor may have seen the transaction begin.
    let request = TxnRequest::End { of: of(identity), result, version };
    host.send(replaced, conn, 0, Request::Txn(request));
    host.run(LONG);
    assert_eq!(host.replies.get(&(conn, 0)), None);
    assert!(!host.is_up(replaced), "it has found out");
}
