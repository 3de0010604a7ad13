//! Transactions in one partition: what readers of committed data see, before and after markers,
//! from the cache and from objects, and what a successor knows of them. No coordinator is asked.

use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::batch::{self, Header, Marker, NewRecord, ProducerStamp, TimestampMs};
use crate::config::BrokerLimits;
use crate::ids::{CoordinatorEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::protocol::*;
use crate::time::{Dur, Wall};

use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};

fn unverified() -> BrokerLimits {
    BrokerLimits { verify_transactions: false, ..BrokerLimits::default() }
}

/// One record of producer `id` in a transaction.
fn data(host: &Host, id: i64, epoch: i16, sequence: i32, time_ms: i64) -> bytes::Bytes {
    let now = TimestampMs::floor(Wall(host.wall.0 + host.now as i64));
    let timestamp = TimestampMs(now.0 + time_ms);
    let record = NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] };
    batch::build_transactional(&[record], ProducerStamp { id, epoch, base_sequence: sequence })
}

/// Appends one record in a transaction; returns its offset.
fn write(host: &mut Host, partition: TopicPartition, id: i64, sequence: i32) -> Offset {
    let leader = host.leader(partition);
    let batch = data(host, id, 0, sequence, 0);
    host.try_produce(leader, partition, batch, Acks::All).expect("appended")
}

fn marker(id: u64, epoch: i16, result: TransactionResult, at: TopicPartition) -> TxnMarker {
    TxnMarker {
        producer: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        result,
        coordinator_epoch: CoordinatorEpoch(0),
        version: V1,
        partitions: vec![at],
    }
}

/// Ends transactions at one broker; what it said for each part.
fn ends(host: &mut Host, to: NodeId, markers: Vec<TxnMarker>) -> Vec<Result<(), ErrorCode>> {
    match host.call(to, Request::WriteTxnMarkers { markers }) {
        Response::WriteTxnMarkers(results) => results.into_iter().map(|result| result.2).collect(),
        other => panic!("{other:?}"),
    }
}

fn end(host: &mut Host, partition: TopicPartition, id: u64, result: TransactionResult) {
    let leader = host.leader(partition);
    let markers = vec![marker(id, 0, result, partition)];
    assert_eq!(ends(host, leader, markers), [Ok(())]);
}

/// What a reader of committed data is given from `from` on, at once.
fn committed(host: &mut Host, partition: TopicPartition, from: u64) -> Fetched {
    let request = FetchRequest {
        isolation: Isolation::ReadCommitted,
        wait_max: Dur(0),
        bytes_min: 1,
        bytes_max: 1 << 20,
        partitions: vec![part(partition, from)],
    };
    match host.call(host.leader(partition), Request::Fetch(request)) {
        Response::Fetch(mut results) => results.pop().expect("one").result.expect("led here"),
        other => panic!("{other:?}"),
    }
}

fn ends_at(fetched: &Fetched) -> Option<u64> {
    let last = fetched.batches.last()?;
    Some(Header::parse(last).expect("whole").end_offset().0)
}

fn aborted(fetched: &Fetched) -> Vec<(u64, u64)> {
    fetched.aborted.iter().map(|aborted| (aborted.producer.0, aborted.first.0)).collect()
}

fn listed(host: &mut Host, partition: TopicPartition, spec: OffsetSpec) -> Option<u64> {
    let question = ListOffsetsPartition { partition, current_leader_epoch: None, spec };
    let (isolation, partitions) = (Isolation::ReadCommitted, vec![question]);
    match host.call(host.leader(partition), Request::ListOffsets { isolation, partitions }) {
        Response::ListOffsets(results) => {
            results[0].result.expect("led here").map(|found| found.offset.0)
        }
        other => panic!("{other:?}"),
    }
}

/// Offsets: 0 of producer 1, 1 of producer 2, 2 aborts 1, 3 of producer 1; 2 and 1 are open then.
fn with_open() -> (Host, TopicPartition) {
    let limits = BrokerLimits { upload_block_bytes_max: 150, ..unverified() };
    let mut host = Host::new(limits);
    let partition = host.create_topic(&[]);
    assert_eq!(write(&mut host, partition, 1, 0), Offset(0));
    assert_eq!(write(&mut host, partition, 2, 0), Offset(1));
    end(&mut host, partition, 1, Abort);
    assert_eq!(write(&mut host, partition, 1, 1), Offset(3));
    (host, partition)
}

#[test]
fn reader_of_committed_data_sees_up_to_the_oldest_open_transaction() {
    let (mut host, partition) = with_open();
    let fetched = committed(&mut host, partition, 0);
    let stable = (fetched.last_stable_offset.0, fetched.high_watermark.0);
    assert_eq!((stable, ends_at(&fetched)), ((1, 4), Some(1)));
    assert_eq!(aborted(&fetched), [(1, 0)]);
    assert_eq!(ends_at(&committed(&mut host, partition, 1)), None);
    end(&mut host, partition, 2, Commit);
    let fetched = committed(&mut host, partition, 0);
    assert_eq!((fetched.last_stable_offset.0, ends_at(&fetched)), (3, Some(3)));
    end(&mut host, partition, 1, Commit);
    let fetched = committed(&mut host, partition, 0);
    assert_eq!((fetched.last_stable_offset.0, ends_at(&fetched)), (6, Some(6)));
    assert_eq!(aborted(&fetched), [(1, 0)], "the later one of the same producer is committed");
    assert_eq!(aborted(&committed(&mut host, partition, 3)), []);
}

#[test]
fn reader_of_everything_is_told_no_aborted_transactions() {
    let (mut host, partition) = with_open();
    let leader = host.leader(partition);
    let answer = host.call(leader, fetch(partition, 0, 1));
    let Response::Fetch(results) = answer else { panic!("{answer:?}") };
    let fetched = results[0].result.as_ref().expect("led here");
    assert_eq!((ends_at(fetched), aborted(fetched)), (Some(4), vec![]));
}

#[test]
fn fetch_of_committed_data_waits_for_the_marker() {
    let mut host = Host::new(unverified());
    let partition = host.create_topic(&[]);
    write(&mut host, partition, 1, 0);
    let (leader, conn) = (host.leader(partition), host.conn());
    let Request::Fetch(mut request) = fetch(partition, 0, 1) else { panic!("a fetch") };
    (request.isolation, request.wait_max) = (Isolation::ReadCommitted, Dur::secs(60));
    host.send(leader, conn, 0, Request::Fetch(request));
    write(&mut host, partition, 1, 1);
    assert!(host.replies.is_empty(), "the high watermark has moved, and that is not enough");
    end(&mut host, partition, 1, Abort);
    match host.replies.remove(&(conn, 0)) {
        Some(Response::Fetch(results)) => {
            let fetched = results[0].result.as_ref().expect("led here");
            assert_eq!((ends_at(fetched), aborted(fetched)), (Some(3), vec![(1, 0)]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn offsets_listed_for_readers_of_committed_data_end_at_the_last_stable_one() {
    let mut host = Host::new(unverified());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    let now = Wall(host.wall.0 + host.now as i64);
    for (sequence, later_ms) in [(0, 0), (1, 60_000)] {
        let batch = data(&host, 1, 0, sequence, later_ms);
        host.try_produce(leader, partition, batch, Acks::All).expect("appended");
    }
    let later = OffsetSpec::At(Wall(now.0 + 30_000_000));
    let specs = [OffsetSpec::Latest, later, OffsetSpec::MaxTimestamp];
    assert_eq!(specs.map(|spec| listed(&mut host, partition, spec)), [Some(0), None, None]);
    end(&mut host, partition, 1, Commit);
    assert_eq!(specs.map(|spec| listed(&mut host, partition, spec)), [Some(3), Some(1), Some(1)]);
}

#[test]
fn successor_knows_open_and_aborted_transactions_from_snapshot_and_log() {
    for rest in [0, 30_000_000] {
        let (mut host, partition) = with_open();
        host.run(rest);
        let dead = host.leader(partition);
        host.kill(dead);
        host.run(LONG);
        assert_ne!(host.leader(partition), dead);
        let fetched = committed(&mut host, partition, 0);
        assert_eq!((fetched.last_stable_offset.0, aborted(&fetched)), (1, vec![(1, 0)]));
        end(&mut host, partition, 2, Abort);
        end(&mut host, partition, 1, Abort);
        let fetched = committed(&mut host, partition, 0);
        assert_eq!(
            (fetched.last_stable_offset.0, aborted(&fetched)[..2].to_vec()),
            (6, vec![(1, 0), (2, 1)])
        );
        let behind = aborted(&committed(&mut host, partition, 3));
        assert_eq!(behind, [(2, 1), (1, 3)], "one ends behind the offset, one begins there");
    }
}

#[test]
fn markers_are_answered_one_by_one_and_late_ones_refused() {
    let mut host = Host::new(unverified());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    write(&mut host, partition, 1, 0);
    let elsewhere = TopicPartition { index: crate::ids::PartitionIndex(7), ..partition };
    let mut late = marker(1, 0, Abort, partition);
    late.version = V2;
    let mut markers = vec![late, marker(1, 0, Commit, partition), marker(2, 0, Abort, elsewhere)];
    markers[1].coordinator_epoch = CoordinatorEpoch(3);
    markers.push(marker(1, 0, Abort, partition));
    let expected = [
        Err(ErrorCode::InvalidProducerEpoch),
        Ok(()),
        Err(ErrorCode::UnknownTopicOrPartition),
        Err(ErrorCode::TransactionCoordinatorFenced),
    ];
    let of = [(1, partition), (1, partition), (2, elsewhere), (1, partition)];
    let of = of.iter().zip(expected).map(|(&(id, at), result)| (ProducerId(id), at, result));
    let answer = host.call(leader, Request::WriteTxnMarkers { markers });
    assert_eq!(answer, Response::WriteTxnMarkers(of.collect()));
    assert_eq!(ends(&mut host, leader, vec![]), []);
    let log = host.read_all(partition).len();
    assert_eq!(log, 2, "one record and one marker");
    let fetched = committed(&mut host, partition, 0);
    let last = fetched.batches.last().expect("the marker");
    let header = Header::parse(last).expect("whole");
    let said = Marker::read(last, &header).map(|marker| marker.result);
    assert_eq!(said, Some(Commit));
}
