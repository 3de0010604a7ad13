//! Transactions: order of the requests by both protocols, producers used again, aborts,
//! coordinators that move, and what a refusal means for the producer.

use broker_core::batch::{Header, Marker};
use broker_core::protocol::{TransactionResult, TransactionVersion};

use super::*;

use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};

/// Answers the request for the coordinator.
fn found(rig: &mut Rig) {
    let asks = rig.take();
    assert!(matches!(asks.req, Request::FindCoordinator { .. }), "{:?}", asks.req);
    rig.answer(&asks, Response::FindCoordinator(Ok(B1)));
}

/// Takes the request to the coordinator.
fn asked(rig: &mut Rig) -> (Sent, TxnRequest) {
    let sent = rig.take();
    assert_eq!(sent.to, B1, "the coordinator");
    let Request::Txn(request) = sent.req.clone() else { panic!("{:?}", sent.req) };
    (sent, request)
}

fn became_known(rig: &mut Rig, epoch: i16) -> Option<(ProducerId, ProducerEpoch)> {
    let (sent, request) = asked(rig);
    let TxnRequest::InitProducerId { expected, .. } = request else { panic!("{request:?}") };
    let identity = (ProducerId(5), ProducerEpoch(epoch));
    rig.answer(&sent, Response::Txn(TxnAnswer::InitProducerId(Ok(identity))));
    expected
}

fn begun_by(version: TransactionVersion, partitions: &[u32], end: TxnEnd) -> Rig {
    let mut rig = Rig::of(version);
    rig.op(1, transaction(partitions, end));
    found(&mut rig);
    assert_eq!(became_known(&mut rig, 0), None);
    rig.metadata(&[(Some(B0), 1), (Some(B1), 1)]);
    rig
}

fn begun(partitions: &[u32], end: TxnEnd) -> Rig {
    begun_by(V2, partitions, end)
}

/// Answers the request to make a partition part of the transaction.
fn added(rig: &mut Rig, partition: u32) {
    let (sent, request) = asked(rig);
    let TxnRequest::AddPartitions { partitions, .. } = request else { panic!("{request:?}") };
    assert_eq!(partitions, [tp(partition)]);
    rig.answer(&sent, Response::Txn(TxnAnswer::AddPartitions(vec![(tp(partition), Ok(()))])));
}

/// The batch that is asked for next: its partition and header.
fn batch_sent(rig: &mut Rig) -> (Sent, TopicPartition, Header) {
    let sent = rig.take();
    let Request::Produce(request) = &sent.req else { panic!("{:?}", sent.req) };
    assert!(request.transactional.is_some());
    let (partition, batch) = &request.batches[0];
    let header = broker_core::batch::verify_produced(batch).unwrap();
    assert!(header.attributes.transactional());
    let (partition, header) = (*partition, header);
    (sent, partition, header)
}

fn written(rig: &mut Rig, partition: u32, epoch: i16, sequence: i32) {
    let (sent, at, header) = batch_sent(rig);
    let numbers = (header.producer.epoch, header.producer.base_sequence);
    assert_eq!((at, numbers), (tp(partition), (epoch, sequence)));
    let ok =
        Produced { base_offset: Offset(0), log_append_time: None, log_start_offset: Offset(0) };
    let result = ProduceResult { partition: at, result: Ok(ok) };
    rig.answer(&sent, Response::Produce(vec![result]));
}

fn refused(rig: &mut Rig, code: ErrorCode) {
    let (sent, partition, _) = batch_sent(rig);
    let result = ProduceResult { partition, result: Err(code) };
    rig.answer(&sent, Response::Produce(vec![result]));
}

/// Answers the request for the end; how it was to end, and under which epoch.
fn ended(rig: &mut Rig, answer: Result<i16, ErrorCode>) -> (TransactionResult, i16) {
    let (sent, request) = asked(rig);
    let TxnRequest::End { of, result, .. } = request else { panic!("{request:?}") };
    let answer = answer.map(|epoch| (of.producer, ProducerEpoch(epoch)));
    rig.answer(&sent, Response::Txn(TxnAnswer::End(answer)));
    (result, of.epoch.0)
}

fn ends_asked(rig: &Rig) -> usize {
    rig.invokes().iter().filter(|call| matches!(call, Call::EndTxn { .. })).count()
}

#[test]
fn transaction_by_the_second_protocol_leaves_adding_to_the_leaders() {
    let mut rig = begun(&[0, 1, 0], TxnEnd::Commit);
    written(&mut rig, 0, 0, 0);
    written(&mut rig, 1, 0, 0);
    written(&mut rig, 0, 0, 2);
    assert_eq!(ended(&mut rig, Ok(1)), (Commit, 0));
    assert_eq!((ends_asked(&rig), rig.ends().last()), (1, Some(&&CallEvent::Ok(Answer::Done))));
    rig.assert_finished();
}

#[test]
fn transaction_by_the_first_protocol_adds_each_partition_once() {
    let mut rig = begun_by(V1, &[0, 1, 0], TxnEnd::Abort);
    added(&mut rig, 0);
    written(&mut rig, 0, 0, 0);
    added(&mut rig, 1);
    written(&mut rig, 1, 0, 0);
    written(&mut rig, 0, 0, 2);
    assert_eq!(ended(&mut rig, Ok(0)), (Abort, 0));
    rig.assert_finished();
}

#[test]
fn transaction_behind_another_counts_on_by_v1_and_begins_anew_by_v2() {
    for (version, epoch, sequence) in [(V1, 0, 2), (V2, 1, 0)] {
        let mut rig = begun_by(version, &[0], TxnEnd::Commit);
        let add = |rig: &mut Rig| {
            if version == V1 {
                added(rig, 0)
            }
        };
        add(&mut rig);
        written(&mut rig, 0, 0, 0);
        ended(&mut rig, Ok(epoch));
        rig.rested();
        rig.op(2, transaction(&[0], TxnEnd::Abort));
        rig.metadata(&[(Some(B0), 1)]);
        add(&mut rig);
        written(&mut rig, 0, epoch, sequence);
        assert_eq!(ended(&mut rig, Ok(epoch)), (Abort, epoch));
        rig.assert_finished();
    }
}

#[test]
fn transaction_with_a_batch_that_is_refused_for_good_is_aborted() {
    for code in [ErrorCode::MessageTooLarge, ErrorCode::OutOfOrderSequenceNumber] {
        let mut rig = begun(&[0, 1, 1], TxnEnd::Commit);
        written(&mut rig, 0, 0, 0);
        refused(&mut rig, code);
        assert_eq!(ended(&mut rig, Ok(1)), (Abort, 0));
        rig.assert_finished();
    }
}

#[test]
fn producer_by_the_first_protocol_renews_its_epoch_after_a_refused_batch() {
    let mut rig = begun_by(V1, &[0], TxnEnd::Commit);
    added(&mut rig, 0);
    refused(&mut rig, ErrorCode::OutOfOrderSequenceNumber);
    ended(&mut rig, Ok(0));
    rig.op(2, transaction(&[0], TxnEnd::Commit));
    assert_eq!(became_known(&mut rig, 1), Some((ProducerId(5), ProducerEpoch(0))));
}

#[test]
fn batch_of_a_transaction_that_came_back_is_sent_again_under_its_number() {
    let mut rig = begun(&[0], TxnEnd::Commit);
    let (sent, ..) = batch_sent(&mut rig);
    rig.gone(sent.conn);
    rig.rested();
    rig.metadata(&[(Some(B1), 2)]);
    rig.fire(ClientTimer::Session(1));
    written(&mut rig, 0, 0, 0);
    assert_eq!(rig.invokes().iter().filter(|it| matches!(it, Call::Produce { .. })).count(), 1);
}

#[test]
fn coordinator_that_moved_is_looked_for_and_the_end_asked_again_as_one_call() {
    let mut rig = begun(&[0], TxnEnd::Commit);
    written(&mut rig, 0, 0, 0);
    ended(&mut rig, Err(ErrorCode::ConcurrentTransactions));
    rig.fire(ClientTimer::Session(1));
    ended(&mut rig, Err(ErrorCode::NotCoordinator));
    rig.fire(ClientTimer::Session(1));
    found(&mut rig);
    let (sent, _) = asked(&mut rig);
    rig.gone(sent.conn);
    rig.fire(ClientTimer::Session(1));
    found(&mut rig);
    assert_eq!(ended(&mut rig, Ok(1)), (Commit, 0));
    assert_eq!(ends_asked(&rig), 1);
    rig.assert_finished();
}

#[test]
fn end_refused_as_fenced_is_a_failure_unless_an_attempt_is_in_doubt() {
    for doubt in [false, true] {
        let mut rig = begun(&[0], TxnEnd::Commit);
        written(&mut rig, 0, 0, 0);
        if doubt {
            ended(&mut rig, Err(ErrorCode::NotCoordinator));
            rig.fire(ClientTimer::Session(1));
            found(&mut rig);
        }
        ended(&mut rig, Err(ErrorCode::ProducerFenced));
        let failed = CallEvent::Fail(ErrorCode::ProducerFenced);
        let doubtful = CallEvent::Doubtful(ErrorCode::ProducerFenced);
        let expected = if doubt { doubtful } else { failed };
        assert_eq!(rig.ends().last(), Some(&&expected));
        rig.assert_finished();
        rig.op(2, transaction(&[0], TxnEnd::Commit));
        assert_eq!(became_known(&mut rig, 2), None, "as a new producer of the id");
    }
}

#[test]
fn transaction_left_asks_for_no_end_and_its_successor_begins_anew() {
    let mut rig = begun(&[0], TxnEnd::Leave);
    written(&mut rig, 0, 0, 0);
    assert_eq!(ends_asked(&rig), 0);
    rig.assert_finished();
    rig.op(2, transaction(&[0], TxnEnd::Commit));
    assert_eq!(became_known(&mut rig, 1), None);
}

#[test]
fn reader_of_committed_data_steps_over_markers_and_what_was_aborted() {
    use crate::client::values::{decode, encode_transactional};
    use broker_core::batch::stamp;
    use broker_core::protocol::AbortedTransaction;
    let data = |id, first, at| {
        let producer = ProducerStamp { id, epoch: 0, base_sequence: 0 };
        let batch = encode_transactional(first, (2, 8), Wall(0), producer);
        stamp(batch, Offset(at), LeaderEpoch(1))
    };
    let end = |id, result, at| {
        let (producer, epoch) = (ProducerId(id), ProducerEpoch(0));
        let coordinator_epoch = broker_core::ids::CoordinatorEpoch(0);
        let marker = Marker { producer, epoch, result, coordinator_epoch };
        let batch = marker.encode(broker_core::batch::TimestampMs(0));
        stamp(batch, Offset(at), LeaderEpoch(1))
    };
    let (abort, commit) = (TransactionResult::Abort, TransactionResult::Commit);
    // 0 and 2 of producer 1, aborted at 4; 5 of it again, committed at 7.
    let log = [data(1, 10, 0), data(2, 20, 2), end(1, abort, 4), data(1, 30, 5), end(1, commit, 7)];
    let aborted = AbortedTransaction { producer: ProducerId(1), first: Offset(0) };
    let read = decode(&log, Offset(1), &[aborted]);
    let values: Vec<_> = read.records.iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [20, 21, 30, 31]);
    let skipped = [(1, 2), (4, 5), (7, 8)].map(|(from, upto)| (Offset(from), Offset(upto)));
    assert_eq!((read.skipped, read.next), (Vec::from(skipped), Offset(8)));
    let read = decode(&log, Offset(1), &[]);
    assert_eq!((read.records.len(), read.skipped.len()), (5, 2));
}
