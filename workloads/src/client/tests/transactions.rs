//! Transactions: order of the requests, producers used again, aborts, markers sent again.

use broker_core::batch::{Header, Marker};
use broker_core::protocol::{TransactionResult, TransactionVersion, TxnMarker};

use super::*;

fn begun(partitions: &[u32], abort: bool) -> Rig {
    let mut rig = Rig::new();
    rig.op(1, transaction(partitions, abort));
    rig.metadata(&[(Some(B0), 1), (Some(B1), 1)]);
    let asks = rig.take();
    assert!(matches!(asks.req, Request::InitProducerId), "{:?}", asks.req);
    rig.answer(&asks, Response::InitProducerId(Ok((ProducerId(5), ProducerEpoch(0)))));
    rig
}

/// The batch that is asked for next: its partition and header.
fn batch_sent(rig: &mut Rig) -> (Sent, TopicPartition, Header) {
    let sent = rig.take();
    let Request::Produce(request) = &sent.req else { panic!("{:?}", sent.req) };
    let (partition, batch) = &request.batches[0];
    let header = broker_core::batch::verify_produced(batch).unwrap();
    assert!(header.attributes.transactional());
    assert_eq!(Marker::read(batch, &header), None);
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

fn marker_sent(rig: &mut Rig) -> (Sent, TxnMarker) {
    let sent = rig.take();
    let Request::WriteTxnMarkers { markers } = &sent.req else { panic!("{:?}", sent.req) };
    let marker = markers[0].clone();
    (sent, marker)
}

fn marked(rig: &mut Rig, result: Result<(), ErrorCode>) -> TxnMarker {
    let (sent, marker) = marker_sent(rig);
    let done = (marker.producer, marker.partitions[0], result);
    rig.answer(&sent, Response::WriteTxnMarkers(vec![done]));
    marker
}

fn end_of(rig: &Rig) -> Vec<bool> {
    let ends = rig.invokes().into_iter().filter_map(|call| match call {
        Call::EndTxn { commit } => Some(*commit),
        _ => None,
    });
    ends.collect()
}

#[test]
fn transaction_writes_in_order_and_ends_once_in_each_partition() {
    let mut rig = begun(&[0, 1, 0], false);
    written(&mut rig, 0, 0, 0);
    written(&mut rig, 1, 0, 0);
    written(&mut rig, 0, 0, 2);
    let markers = [marked(&mut rig, Ok(())), marked(&mut rig, Ok(()))];
    assert_eq!(markers.clone().map(|it| it.partitions), [[tp(1)], [tp(0)]]);
    assert!(markers.iter().all(|it| it.result == TransactionResult::Commit));
    assert_eq!(end_of(&rig), [true]);
    assert_eq!(rig.ends().last(), Some(&&CallEvent::Ok(Answer::Done)));
    rig.assert_finished();
}

#[test]
fn transaction_behind_another_counts_on_by_v1_and_begins_anew_by_v2() {
    let mut rig = begun(&[0], false);
    written(&mut rig, 0, 0, 0);
    let marker = marked(&mut rig, Ok(()));
    rig.rested();
    rig.op(2, transaction(&[0], true));
    rig.metadata(&[(Some(B0), 1)]);
    let (epoch, sequence) = match marker.version {
        TransactionVersion::V1 => (0, 2),
        TransactionVersion::V2 => (1, 0),
    };
    assert_eq!(marker.epoch, ProducerEpoch(epoch));
    written(&mut rig, 0, epoch, sequence);
    assert_eq!(marked(&mut rig, Ok(())).result, TransactionResult::Abort);
    rig.assert_finished();
}

#[test]
fn transaction_with_a_batch_that_is_refused_for_good_is_aborted() {
    for code in [ErrorCode::MessageTooLarge, ErrorCode::OutOfOrderSequenceNumber] {
        let mut rig = begun(&[0, 1, 1], false);
        written(&mut rig, 0, 0, 0);
        let (sent, at, _) = batch_sent(&mut rig);
        let refused = ProduceResult { partition: at, result: Err(code) };
        rig.answer(&sent, Response::Produce(vec![refused]));
        let markers = [marked(&mut rig, Ok(())), marked(&mut rig, Ok(()))];
        assert_eq!(markers.map(|it| it.result), [TransactionResult::Abort; 2]);
        assert_eq!(end_of(&rig), [false]);
        rig.assert_finished();
    }
}

#[test]
fn batch_of_a_transaction_that_came_back_is_sent_again_under_its_number() {
    let mut rig = begun(&[0], false);
    let (sent, ..) = batch_sent(&mut rig);
    rig.gone(sent.conn);
    rig.rested();
    rig.metadata(&[(Some(B1), 2)]);
    rig.fire(ClientTimer::Session(1));
    written(&mut rig, 0, 0, 0);
    assert_eq!(rig.invokes().iter().filter(|it| matches!(it, Call::Produce { .. })).count(), 1);
}

#[test]
fn marker_is_sent_until_it_is_taken_by_v1_under_raised_coordinator_epochs() {
    let mut rig = begun(&[0], false);
    written(&mut rig, 0, 0, 0);
    let first = marked(&mut rig, Err(ErrorCode::NotEnoughReplicas));
    rig.fire(ClientTimer::Session(1));
    let (sent, second) = marker_sent(&mut rig);
    assert_eq!(first, second, "the first was answered");
    rig.gone(sent.conn);
    rig.rested();
    rig.metadata(&[(Some(B1), 2)]);
    rig.fire(ClientTimer::Session(1));
    let third = marked(&mut rig, Ok(()));
    let raised = third.coordinator_epoch > second.coordinator_epoch;
    assert_eq!(raised, third.version == TransactionVersion::V1);
    assert_eq!(end_of(&rig).len(), 1);
    rig.assert_finished();
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
