//! Idempotent producers: ids, sequence numbers, retries, and what a successor knows of them.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::host::*;
use crate::batch::{self, NewRecord, ProducerStamp, TimestampMs};
use crate::config::BrokerLimits;
use crate::ids::{NodeId, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::object::parse_snapshot_key;
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::Key;

/// `count` records under the sequence numbers from `first` on.
fn numbered(host: &Host, epoch: i16, first: i32, count: usize) -> Bytes {
    let timestamp = TimestampMs::floor(crate::time::Wall(host.wall.0 + host.now as i64));
    let record = NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] };
    let producer = ProducerStamp { id: 5, epoch, base_sequence: first };
    batch::build(&alloc::vec![record; count], producer)
}

fn init(host: &mut Host, to: NodeId) -> Result<(ProducerId, ProducerEpoch), ErrorCode> {
    match host.call(to, Request::InitProducerId) {
        Response::InitProducerId(result) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn producer_ids_are_given_once_over_brokers_and_processes() {
    let mut host = Host::new(BrokerLimits::default());
    assert_eq!(init(&mut host, A), Err(ErrorCode::CoordinatorLoadInProgress), "none at hand yet");
    let mut given = BTreeSet::new();
    for round in 0..3 {
        for at in 0..4 {
            let to = if at % 2 == 0 { A } else { B };
            if let Ok((id, epoch)) = init(&mut host, to) {
                assert!(given.insert(id), "{id} twice");
                assert_eq!(epoch, ProducerEpoch(0));
            }
        }
        let dead = if round == 0 { A } else { B };
        host.kill(dead);
        host.boot(dead);
        host.run(LONG);
    }
    assert!(given.len() > 6, "{given:?}");
}

#[test]
fn produce_sent_again_is_answered_alike_and_appended_once() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    let batch = numbered(&host, 0, 0, 3);
    for _ in 0..2 {
        let answer = host.try_produce(leader, partition, batch.clone(), Acks::All);
        assert_eq!(answer, Ok(Offset(0)));
    }
    // While the first copy is not durable yet, the second waits with it.
    let (batch, conn) = (numbered(&host, 0, 3, 2), host.conn());
    for corr in 0..2 {
        host.send(leader, conn, corr, produce(partition, batch.clone(), Acks::All));
    }
    assert!(host.replies.is_empty());
    host.run(2_000_000);
    for corr in 0..2 {
        match host.replies.remove(&(conn, corr)) {
            Some(Response::Produce(results)) => {
                assert_eq!(results[0].result.map(|it| it.base_offset), Ok(Offset(3)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.read_all(partition).len(), 5);
}

#[test]
fn produce_out_of_order_or_of_an_old_epoch_is_refused() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    let mut send = |epoch, first| {
        let batch = numbered(&host, epoch, first, 1);
        host.try_produce(leader, partition, batch, Acks::All)
    };
    assert_eq!(send(1, 3), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(send(1, 0), Ok(Offset(0)));
    assert_eq!(send(1, 2), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(send(0, 1), Err(ErrorCode::InvalidProducerEpoch));
    assert_eq!(send(1, 1), Ok(Offset(1)));
}

/// What the dead leader acknowledged lies partly in objects, partly in its WAL.
#[test]
fn produce_sent_again_to_a_successor_is_answered_alike() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let dead = host.leader(partition);
    for at in 0..4_i32 {
        let batch = numbered(&host, 0, at * 2, 2);
        let answer = host.try_produce(dead, partition, batch, Acks::All);
        assert_eq!(answer, Ok(Offset(at as u64 * 2)));
        if at == 1 {
            host.run(LONG);
        }
    }
    host.kill(dead);
    host.run(LONG);
    let leader = host.leader(partition);
    assert_ne!(leader, dead);
    for at in 0..4_i32 {
        let batch = numbered(&host, 0, at * 2, 2);
        let answer = host.try_produce(leader, partition, batch, Acks::All);
        assert_eq!(answer, Ok(Offset(at as u64 * 2)));
    }
    let gap = numbered(&host, 0, 9, 1);
    let refused = host.try_produce(leader, partition, gap, Acks::All);
    assert_eq!(refused, Err(ErrorCode::OutOfOrderSequenceNumber));
    let next = numbered(&host, 0, 8, 1);
    assert_eq!(host.try_produce(leader, partition, next, Acks::All), Ok(Offset(8)));
}

/// Some batches of one producer, confirmed one by one; a snapshot after every other.
fn with_snapshots() -> (Host, TopicPartition) {
    let limits = BrokerLimits { upload_block_bytes_max: 150, ..BrokerLimits::default() };
    let mut host = Host::new(limits);
    let partition = host.create_topic(&[]);
    for at in 0..7_i32 {
        let leader = host.leader(partition);
        let batch = numbered(&host, 0, at * 2, 2);
        let answer = host.try_produce(leader, partition, batch, Acks::All);
        assert_eq!(answer, Ok(Offset(at as u64 * 2)));
    }
    host.run(LONG);
    (host, partition)
}

fn snapshots(host: &Host) -> Vec<Key> {
    let keys = host.store.keys().filter(|key| parse_snapshot_key(key).is_some());
    keys.cloned().collect()
}

/// The successor's answers to the newest five batches, sent again.
fn sent_again(host: &mut Host, partition: TopicPartition) -> Vec<Result<Offset, ErrorCode>> {
    let dead = host.leader(partition);
    host.kill(dead);
    host.run(LONG);
    let leader = host.leader(partition);
    assert_ne!(leader, dead);
    let again = (2..7_i32).map(|at| {
        let batch = numbered(host, 0, at * 2, 2);
        host.try_produce(leader, partition, batch, Acks::All)
    });
    again.collect()
}

#[test]
fn snapshot_is_taken_now_and_then_and_older_ones_go() {
    let (mut host, partition) = with_snapshots();
    let taken = host.probes.iter();
    let taken = taken.filter(|(_, probe)| matches!(probe, Probe::ProducersSnapshot { .. }));
    assert!(taken.count() > 1);
    assert_eq!(snapshots(&host).len(), 1);
    let request = AdminRequest::DeleteTopic { topic: partition.topic };
    host.call(A, Request::Admin(request));
    host.run(LONG);
    assert_eq!(snapshots(&host), []);
}

#[test]
fn successor_begins_with_the_snapshot_and_reads_the_log_behind_it() {
    let (mut host, partition) = with_snapshots();
    let expected: Vec<_> = (2..7).map(|at| Ok(Offset(at * 2))).collect();
    assert_eq!(sent_again(&mut host, partition), expected);
    let begun = |(_, probe): &(NodeId, Probe)| {
        matches!(probe, Probe::ProducersLoaded { snapshot: Some(_), .. })
    };
    assert!(host.probes.iter().any(begun));
}

#[test]
fn successor_that_can_not_read_the_snapshot_reads_the_whole_log() {
    for garbage in [&b""[..], b"garbage"] {
        let (mut host, partition) = with_snapshots();
        for key in snapshots(&host) {
            host.store.insert(key, Bytes::from_static(garbage));
        }
        let expected: Vec<_> = (2..7).map(|at| Ok(Offset(at * 2))).collect();
        assert_eq!(sent_again(&mut host, partition), expected);
    }
}
