//! Readers: position, validation, reset, end.

use broker_core::batch;
use broker_core::protocol::{
    EpochResult, FetchPartition, FetchRequest, FetchResult, Fetched, ListOffsetsResult,
    ListedOffset,
};
use bytes::Bytes;

use super::*;

fn listed(offset: u64, epoch: u32) -> Response {
    let found =
        ListedOffset { offset: Offset(offset), timestamp: None, leader_epoch: LeaderEpoch(epoch) };
    Response::ListOffsets(vec![ListOffsetsResult { partition: tp(0), result: Ok(Some(found)) }])
}

fn records(first: u64, count: u32, at: u64, epoch: u32) -> Bytes {
    let plain = super::super::values::encode(first, count, 16, Wall(1_000), ProducerStamp::NONE);
    batch::stamp(plain, Offset(at), LeaderEpoch(epoch))
}

fn data(high_watermark: u64, batches: Vec<Bytes>) -> Fetched {
    Fetched {
        high_watermark: Offset(high_watermark),
        last_stable_offset: Offset(high_watermark),
        log_start_offset: Offset(0),
        aborted: vec![],
        diverging: None,
        batches,
    }
}

fn fetched(result: Result<Fetched, ErrorCode>) -> Response {
    Response::Fetch(vec![FetchResult { partition: tp(0), result }])
}

fn epoch_end(found: Option<(u32, u64)>) -> Response {
    let result = Ok(found.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end))));
    Response::OffsetForLeaderEpoch(vec![EpochResult { partition: tp(0), result }])
}

fn fetch_of(sent: &Sent) -> FetchPartition {
    let Request::Fetch(FetchRequest { partitions, .. }) = &sent.req else {
        panic!("{:?}", sent.req)
    };
    partitions[0]
}

/// The reading session of the newest fetch.
fn reader_of(rig: &Rig) -> u32 {
    let newest_first = rig.invokes().into_iter().rev();
    let mut readers = newest_first.filter_map(|call| match call {
        Call::Fetch { reader, .. } => Some(*reader),
        _ => None,
    });
    readers.next().expect("a fetch")
}

/// A tail reader that has read offsets 0 to 2 in epoch 4, with its next fetch in flight.
fn tailing() -> (Rig, Sent) {
    let mut rig = Rig::new();
    rig.op(1, tail(true));
    rig.metadata(&[(Some(B1), 4)]);
    let list = rig.take();
    rig.answer(&list, listed(0, 4));
    let fetch = rig.take();
    assert_eq!(fetch_of(&fetch).fetch_offset, Offset(0));
    assert_eq!(fetch_of(&fetch).current_leader_epoch, Some(LeaderEpoch(4)));
    rig.answer(&fetch, fetched(Ok(data(3, vec![records(50, 3, 0, 4)]))));
    let next = rig.take();
    assert_eq!(fetch_of(&next).fetch_offset, Offset(3));
    (rig, next)
}

/// The leader changes under a tail reader: gives the request that follows.
fn after_leader_change(rig: &mut Rig, fetch: &Sent) -> Sent {
    rig.answer(fetch, fetched(Err(ErrorCode::NotLeaderOrFollower)));
    rig.rested();
    rig.metadata(&[(Some(B0), 5)]);
    rig.fire(ClientTimer::Session(1));
    let sent = rig.take();
    assert_eq!(sent.to, B0);
    sent
}

#[test]
fn tail_reads_on_and_tells_its_position() {
    let (rig, _) = tailing();
    assert!(rig.client.is_idle(), "a tail reader is never finished and does not count");
    assert_eq!(rig.client.tails().collect::<Vec<_>>(), [(tp(0), Some(Offset(3)))]);
    let CallEvent::Ok(Answer::Fetched { records, high_watermark, .. }) = rig.ends()[1] else {
        panic!("{:?}", rig.ends())
    };
    assert_eq!(*high_watermark, Offset(3));
    let read: Vec<_> = records.iter().map(|r| (r.offset.0, r.value, r.intact)).collect();
    assert_eq!(read, [(0, Some(50), true), (1, Some(51), true), (2, Some(52), true)]);
}

#[test]
fn tail_from_the_end_asks_for_the_latest_offset() {
    let mut rig = Rig::new();
    rig.op(1, tail(false));
    rig.metadata(&[(Some(B1), 4)]);
    rig.take();
    assert!(matches!(rig.invokes()[..], [Call::ListOffsets { spec: OffsetSpec::Latest, .. }]));
}

#[test]
fn reader_has_a_connection_of_its_own() {
    let (mut rig, fetch) = tailing();
    rig.op(2, produce(-1, false));
    let sent = rig.take();
    assert_eq!(sent.to, fetch.to);
    assert_ne!(sent.conn, fetch.conn);
}

#[test]
fn reader_validates_its_position_with_a_new_leader() {
    let (mut rig, fetch) = tailing();
    let reader = reader_of(&rig);
    let question = after_leader_change(&mut rig, &fetch);
    let asked = Call::EpochEnd {
        partition: tp(0),
        epoch: LeaderEpoch(4),
        leader_epoch: Some(LeaderEpoch(5)),
    };
    assert_eq!(rig.invokes().last(), Some(&&asked));
    rig.answer(&question, epoch_end(Some((4, 3))));
    let fetch = rig.take();
    assert_eq!(fetch_of(&fetch).fetch_offset, Offset(3));
    assert_eq!(reader_of(&rig), reader, "nothing was lost: the same session goes on");
    // Once is enough.
    rig.answer(&fetch, fetched(Ok(data(3, vec![]))));
    assert_eq!(fetch_of(&rig.take()).current_leader_epoch, Some(LeaderEpoch(5)));
}

#[test]
fn reader_goes_back_in_a_new_session_where_the_log_was_cut() {
    let (mut rig, fetch) = tailing();
    let reader = reader_of(&rig);
    let question = after_leader_change(&mut rig, &fetch);
    rig.answer(&question, epoch_end(Some((3, 1))));
    assert_eq!(fetch_of(&rig.take()).fetch_offset, Offset(1));
    assert_ne!(reader_of(&rig), reader);
}

#[test]
fn reader_starts_anew_where_no_epoch_is_known() {
    let (mut rig, fetch) = tailing();
    let question = after_leader_change(&mut rig, &fetch);
    rig.answer(&question, epoch_end(None));
    rig.take();
    let last = rig.invokes().pop().unwrap().clone();
    assert!(matches!(last, Call::ListOffsets { spec: OffsetSpec::Earliest, .. }), "{last:?}");
}

#[test]
fn reader_told_of_divergence_goes_back_in_a_new_session() {
    let (mut rig, fetch) = tailing();
    let reader = reader_of(&rig);
    let diverging = Some((LeaderEpoch(2), Offset(2)));
    rig.answer(&fetch, fetched(Ok(Fetched { diverging, ..data(9, vec![]) })));
    rig.fire(ClientTimer::Session(1));
    assert_eq!(fetch_of(&rig.take()).fetch_offset, Offset(2));
    assert_ne!(reader_of(&rig), reader);
}

#[test]
fn reader_out_of_range_finds_a_new_position_in_a_new_session() {
    let (mut rig, fetch) = tailing();
    let reader = reader_of(&rig);
    rig.answer(&fetch, fetched(Err(ErrorCode::OffsetOutOfRange)));
    assert_eq!(rig.ends().last(), Some(&&CallEvent::Fail(ErrorCode::OffsetOutOfRange)));
    assert_eq!(rig.client.tails().collect::<Vec<_>>(), [(tp(0), None)]);
    rig.fire(ClientTimer::Session(1));
    let list = rig.take();
    rig.answer(&list, listed(1, 4));
    assert_eq!(fetch_of(&rig.take()).fetch_offset, Offset(1));
    assert_ne!(reader_of(&rig), reader);
}

#[test]
fn reader_of_a_topic_created_anew_starts_anew() {
    let (mut rig, fetch) = tailing();
    let reader = reader_of(&rig);
    rig.answer(&fetch, fetched(Err(ErrorCode::UnknownTopicId)));
    rig.rested();
    let other = TopicId(8);
    rig.metadata_of(Some(other), &[(Some(B0), 0)]);
    rig.fire(ClientTimer::Session(1));
    let list = rig.take();
    let partition = TopicPartition { topic: other, index: PartitionIndex(0) };
    let found = ListedOffset { offset: Offset(0), timestamp: None, leader_epoch: LeaderEpoch(0) };
    let results = vec![ListOffsetsResult { partition, result: Ok(Some(found)) }];
    rig.answer(&list, Response::ListOffsets(results));
    let fetch = fetch_of(&rig.take());
    assert_eq!((fetch.partition, fetch.fetch_offset), (partition, Offset(0)));
    assert_ne!(reader_of(&rig), reader);
}

#[test]
fn reader_keeps_its_session_over_errors_that_prove_nothing() {
    for code in CODES.iter().filter(|code| **code != ErrorCode::OffsetOutOfRange) {
        let (mut rig, fetch) = tailing();
        let reader = reader_of(&rig);
        rig.answer(&fetch, fetched(Err(*code)));
        assert_eq!(rig.ends().last(), Some(&&CallEvent::Fail(*code)));
        rig.fire(ClientTimer::Session(1));
        assert_eq!(fetch_of(&rig.take()).fetch_offset, Offset(3), "{code:?}");
        assert_eq!(reader_of(&rig), reader, "{code:?}");
    }
}

#[test]
fn reader_silent_for_too_long_is_unknown_and_asks_again() {
    let (mut rig, fetch) = tailing();
    rig.fire(ClientTimer::Session(1));
    assert_eq!(rig.ends().last(), Some(&&CallEvent::Unknown));
    assert!(!rig.open.contains_key(&fetch.conn));
    rig.fire(ClientTimer::Session(1));
    assert_eq!(fetch_of(&rig.take()).fetch_offset, Offset(3));
}

#[test]
fn catch_up_ends_at_the_high_watermark_seen_first() {
    let mut rig = Rig::new();
    rig.op(1, catch_up());
    rig.metadata(&[(Some(B1), 4)]);
    let list = rig.take();
    rig.answer(&list, listed(2, 4));
    let fetch = rig.take();
    rig.answer(&fetch, fetched(Ok(data(5, vec![records(50, 2, 2, 4)]))));
    assert_eq!(rig.client.unfinished(), 1);
    let fetch = rig.take();
    assert_eq!(fetch_of(&fetch).fetch_offset, Offset(4));
    // More has come since; one record of it is enough.
    rig.answer(&fetch, fetched(Ok(data(90, vec![records(60, 1, 4, 4)]))));
    rig.assert_finished();
    assert!(!rig.open.contains_key(&fetch.conn), "nobody reads there any more");
    assert_eq!(rig.client.tails().count(), 0);
}

#[test]
fn catch_up_of_an_empty_partition_ends_with_one_fetch() {
    let mut rig = Rig::new();
    rig.op(1, catch_up());
    rig.metadata(&[(Some(B1), 4)]);
    let list = rig.take();
    rig.answer(&list, listed(0, 4));
    let fetch = rig.take();
    rig.answer(&fetch, fetched(Ok(data(0, vec![]))));
    rig.assert_finished();
}

#[test]
fn catch_up_that_starts_anew_takes_the_high_watermark_anew() {
    let mut rig = Rig::new();
    rig.op(1, catch_up());
    rig.metadata(&[(Some(B1), 4)]);
    let list = rig.take();
    rig.answer(&list, listed(0, 4));
    let fetch = rig.take();
    rig.answer(&fetch, fetched(Ok(data(50, vec![records(50, 2, 0, 4)]))));
    let fetch = rig.take();
    rig.answer(&fetch, fetched(Err(ErrorCode::OffsetOutOfRange)));
    rig.fire(ClientTimer::Session(1));
    let list = rig.take();
    rig.answer(&list, listed(0, 4));
    let fetch = rig.take();
    rig.answer(&fetch, fetched(Ok(data(1, vec![records(50, 1, 0, 4)]))));
    rig.assert_finished();
}
