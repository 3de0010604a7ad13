//! Produce: rules of admission, acks, back-pressure, order and time-outs.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::host::*;
use crate::batch::{self, TimestampMs};
use crate::config::BrokerLimits;
use crate::ids::{NodeId, Offset, PartitionIndex, TopicId, TopicPartition};
use crate::mutants::Mutants;
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::{Flow, Input};
use crate::time::Dur;

fn ready(configs: &[(&str, &str)]) -> (Host, TopicPartition, NodeId) {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(configs);
    let leader = host.leader(partition);
    (host, partition, leader)
}

fn damaged(batch: Bytes) -> Bytes {
    let mut bytes = batch.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes.into()
}

fn now_ms(host: &Host) -> i64 {
    (host.wall.0 + host.now as i64) / 1_000
}

#[test]
fn produce_damaged_or_too_large_or_odd_is_refused() {
    let (mut host, partition, leader) = ready(&[("max.message.bytes", "100")]);
    let good = host.batch(&["a"]);
    let mut refused = |batch| host.try_produce(leader, partition, batch, Acks::All);
    assert_eq!(refused(damaged(good.clone())), Err(ErrorCode::CorruptMessage));
    assert_eq!(refused(good.slice(..good.len() - 1)), Err(ErrorCode::InvalidRecord));
    let two = [&good[..], &good[..]].concat();
    assert_eq!(refused(two.into()), Err(ErrorCode::MessageTooLarge));
    let large = batch_at(0, &["0123456789012345678901234567890123456789"]);
    assert_eq!(refused(large), Err(ErrorCode::MessageTooLarge));
    let placed = batch::stamp(good.clone(), Offset(7), crate::ids::LeaderEpoch(0));
    assert_eq!(refused(placed), Err(ErrorCode::InvalidRecord));
    assert_eq!(refused(good), Ok(Offset(0)));
}

#[test]
fn produce_two_batches_in_one_part_is_invalid() {
    let (mut host, partition, leader) = ready(&[]);
    let good = host.batch(&["a"]);
    let two = [&good[..], &good[..]].concat();
    let refused = host.try_produce(leader, partition, two.into(), Acks::All);
    assert_eq!(refused, Err(ErrorCode::InvalidRecord));
}

#[test]
fn produce_to_others_is_refused_by_the_right_code() {
    let (mut host, partition, leader) = ready(&[]);
    let not_leader = if leader == A { B } else { A };
    let good = host.batch(&["a"]);
    let mut refused = |to, partition| host.try_produce(to, partition, good.clone(), Acks::All);
    assert_eq!(refused(not_leader, partition), Err(ErrorCode::NotLeaderOrFollower));
    let index = TopicPartition { index: PartitionIndex(1), ..partition };
    assert_eq!(refused(leader, index), Err(ErrorCode::UnknownTopicOrPartition));
    let topic = TopicPartition { topic: TopicId(1), ..partition };
    assert_eq!(refused(leader, topic), Err(ErrorCode::UnknownTopicId));
}

#[test]
fn produce_with_a_time_far_ahead_is_refused() {
    let (mut host, partition, leader) = ready(&[]);
    let hour = 3_600_000;
    let ahead = batch_at(now_ms(&host) + hour + 1, &["a"]);
    let refused = host.try_produce(leader, partition, ahead, Acks::All);
    assert_eq!(refused, Err(ErrorCode::InvalidTimestamp));
    let within = batch_at(now_ms(&host) + hour, &["a"]);
    assert!(host.try_produce(leader, partition, within, Acks::All).is_ok());
}

#[test]
fn produce_times_are_those_of_the_records_not_of_the_header() {
    let (mut host, partition, leader) = ready(&[]);
    let now = now_ms(&host);
    let modest = |batch: Bytes, max: i64| {
        let mut bytes = batch.to_vec();
        bytes[35..43].copy_from_slice(&max.to_be_bytes());
        let crc = crate::format::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    let ahead = modest(batch_at(now + 3_600_001, &["a"]), now);
    let refused = host.try_produce(leader, partition, ahead, Acks::All);
    assert_eq!(refused, Err(ErrorCode::InvalidTimestamp));
    let bragging = modest(batch_at(now, &["a"]), now + 3_600_001);
    assert_eq!(host.try_produce(leader, partition, bragging, Acks::All), Ok(Offset(0)));
    let fetched = host.fetch(partition, 0).unwrap();
    assert_eq!(batch::verify(&fetched.batches[0]).unwrap().max_timestamp, TimestampMs(now));
}

#[test]
fn produce_that_says_it_has_the_brokers_time_is_refused() {
    let (mut host, partition, leader) = ready(&[("message.timestamp.type", "LogAppendTime")]);
    let now = TimestampMs(now_ms(&host));
    let stamped = batch::stamp_log_append_time(host.batch(&["a"]), now);
    let refused = host.try_produce(leader, partition, stamped, Acks::All);
    assert_eq!(refused, Err(ErrorCode::InvalidTimestamp));
}

#[test]
fn produce_reusing_a_correlation_id_waits_for_its_own_batch() {
    let (mut host, partition, leader) = ready(&[]);
    let conn = host.conn();
    let batch = host.batch(&["a"]);
    host.send(leader, conn, 0, produce(partition, batch.clone(), Acks::Leader));
    assert!(host.replies.remove(&(conn, 0)).is_some());
    host.run(100_000);
    host.send(leader, conn, 0, produce(partition, batch, Acks::All));
    host.run(1_000_000);
    let Some(Response::Produce(results)) = host.replies.remove(&(conn, 0)) else { panic!() };
    assert_eq!(results[0].result.unwrap().base_offset, Offset(1));
}

#[test]
fn produce_log_append_time_sets_the_brokers_time() {
    let (mut host, partition, leader) = ready(&[("message.timestamp.type", "LogAppendTime")]);
    let now = now_ms(&host);
    let old = batch_at(5, &["a"]);
    let Response::Produce(answer) = host.call(leader, produce(partition, old, Acks::All)) else {
        panic!()
    };
    let told = answer[0].result.unwrap().log_append_time;
    assert_eq!(told, Some(TimestampMs(now).wall()));
    let fetched = host.fetch(partition, 0).unwrap();
    let header = batch::verify(&fetched.batches[0]).unwrap();
    assert!(header.attributes.log_append_time());
    assert_eq!(header.max_timestamp, TimestampMs(now));
}

#[test]
fn produce_acks_all_waits_for_the_confirmation_and_acks_leader_does_not() {
    let (mut host, partition, leader) = ready(&[]);
    let (all, one) = (host.conn(), host.conn());
    let batch = host.batch(&["a"]);
    host.send(leader, all, 0, produce(partition, batch.clone(), Acks::All));
    host.send(leader, one, 0, produce(partition, batch, Acks::Leader));
    assert!(!host.replies.contains_key(&(all, 0)));
    assert!(host.replies.contains_key(&(one, 0)));
    let open = host.broker(leader).partition(partition).unwrap();
    assert_eq!((open.high_watermark(), open.log_end()), (Offset(0), Offset(2)));
    host.run(1_000_000);
    assert!(host.replies.contains_key(&(all, 0)));
    let open = host.broker(leader).partition(partition).unwrap();
    assert_eq!(open.high_watermark(), Offset(2));
}

#[test]
fn produce_acks_none_gets_no_answer_and_its_refusal_closes_the_connection() {
    let (mut host, partition, leader) = ready(&[]);
    let (good, bad) = (host.conn(), host.conn());
    let batch = host.batch(&["a"]);
    host.send(leader, good, 0, produce(partition, batch.clone(), Acks::None));
    host.send(leader, bad, 0, produce(partition, damaged(batch), Acks::None));
    host.run(1_000_000);
    assert!(host.replies.is_empty());
    assert_eq!(host.closed, vec![bad]);
    assert_eq!(host.read_all(partition).len(), 1);
}

#[test]
fn produce_timed_out_is_unknown_and_may_still_land() {
    let (mut host, partition, leader) = ready(&[]);
    let conn = host.conn();
    let batches = vec![(partition, host.batch(&["a"]))];
    let (acks, timeout, transactional) = (Acks::All, Dur::ms(10), None);
    let request = ProduceRequest { acks, timeout, transactional, batches };
    host.send(leader, conn, 0, Request::Produce(request));
    host.run(10_000);
    let Some(Response::Produce(results)) = host.replies.remove(&(conn, 0)) else { panic!() };
    assert_eq!(results[0].result, Err(ErrorCode::RequestTimedOut));
    host.run(1_000_000);
    assert_eq!(host.read_all(partition).len(), 1);
    assert_eq!(host.saw(leader, |p| matches!(p, Probe::PartitionAcked { .. })), 0);
}

#[test]
fn produce_connection_gone_keeps_what_was_appended() {
    let (mut host, partition, leader) = ready(&[]);
    let conn = host.conn();
    let batch = host.batch(&["a"]);
    host.send(leader, conn, 0, produce(partition, batch, Acks::All));
    host.give(leader, Input::Gone(conn));
    host.run(1_000_000);
    assert!(host.replies.is_empty());
    assert_eq!(host.read_all(partition).len(), 1);
}

/// A broker whose WAL takes one small batch at a time, with its puts unanswered.
fn crowded(mutants: Mutants, queue: usize) -> (Host, TopicPartition, NodeId, Vec<Response>) {
    let limits = BrokerLimits {
        wal_unconfirmed_bytes_max: 150,
        produce_queue_max: queue,
        ..BrokerLimits::default()
    };
    let mut host = Host::with(limits, mutants);
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    host.mute = Some((leader, Flow::Wal));
    let conn = host.conn();
    for (corr, value) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let batch = host.batch(&[value]);
        host.send(leader, conn, corr as u32, produce(partition, batch, Acks::All));
    }
    host.mute = None;
    host.run(LONG);
    let answers = (0..4).map(|corr| host.replies.remove(&(conn, corr)).unwrap()).collect();
    (host, partition, leader, answers)
}

fn bases(answers: &[Response]) -> Vec<Result<u64, ErrorCode>> {
    let base = |answer: &Response| match answer {
        Response::Produce(results) => results[0].result.map(|produced| produced.base_offset.0),
        other => panic!("{other:?}"),
    };
    answers.iter().map(base).collect()
}

#[test]
fn produce_without_room_waits_and_keeps_the_order() {
    let (mut host, partition, leader, answers) = crowded(Mutants::NONE, 9);
    assert!(host.saw(leader, |p| matches!(p, Probe::PartitionQueued { .. })) > 0);
    // The last one is beyond the bytes that may wait.
    assert_eq!(bases(&answers), [Ok(0), Ok(1), Ok(2), Err(ErrorCode::NotEnoughReplicas)]);
    let read = host.read_all(partition);
    assert_eq!(read.iter().map(|(_, v)| v[0]).collect::<Vec<_>>(), b"abc");
}

#[test]
fn produce_beyond_the_queue_is_throttled_before_it_has_offsets() {
    let (mut host, partition, _, answers) = crowded(Mutants::NONE, 1);
    let throttled = Err(ErrorCode::NotEnoughReplicas);
    assert_eq!(bases(&answers)[..2], [Ok(0), Ok(1)]);
    assert_eq!(bases(&answers)[2..], [throttled, throttled]);
    assert_eq!(host.read_all(partition).len(), 2);
}

#[cfg(feature = "mutants")]
mod mutants {
    use super::*;
    use crate::batch::Header;
    use crate::mutants::Mutant;

    fn with(mutant: Mutant) -> (Host, TopicPartition, NodeId) {
        let mut host = Host::with(BrokerLimits::default(), Mutants::NONE.with(mutant));
        let partition = host.create_topic(&[]);
        let leader = host.leader(partition);
        (host, partition, leader)
    }

    #[test]
    fn partition_crc_unchecked_mutant_accepts_a_damaged_batch() {
        let (mut host, partition, leader) = with(Mutant::PartitionCrcUnchecked);
        let batch = damaged(host.batch(&["a"]));
        assert_eq!(host.try_produce(leader, partition, batch, Acks::All), Ok(Offset(0)));
    }

    #[test]
    fn partition_hw_is_leo_mutant_shows_what_is_not_durable() {
        let (mut host, partition, leader) = with(Mutant::PartitionHwIsLeo);
        let (writer, reader) = (host.conn(), host.conn());
        let batch = host.batch(&["a"]);
        host.send(leader, writer, 0, produce(partition, batch, Acks::All));
        host.send(leader, reader, 0, fetch(partition, 0, 1));
        let Some(Response::Fetch(results)) = host.replies.get(&(reader, 0)) else { panic!() };
        let fetched = results[0].result.as_ref().unwrap();
        assert_eq!((fetched.high_watermark, fetched.batches.len()), (Offset(1), 1));
        assert_eq!(Header::parse(&fetched.batches[0]).unwrap().base_offset, Offset(0));
    }

    #[test]
    fn partition_queue_reordered_mutant_puts_the_newest_first() {
        let (host, _, leader, _) = crowded(Mutants::NONE.with(Mutant::PartitionQueueReordered), 9);
        let bases: Vec<u64> = host
            .probes
            .iter()
            .filter_map(|(id, probe)| match probe {
                Probe::WalRecordConfirmed { base, .. } if *id == leader => Some(base.0),
                _ => None,
            })
            .collect();
        assert!(!bases.is_sorted(), "{bases:?}");
    }

    #[test]
    fn upload_unconfirmed_mutant_uploads_before_the_confirmation() {
        let limits = BrokerLimits { upload_block_bytes_max: 1, ..BrokerLimits::default() };
        let mutants = Mutants::NONE.with(Mutant::UploadUnconfirmed);
        let mut host = Host::with(limits, mutants);
        let partition = host.create_topic(&[]);
        let leader = host.leader(partition);
        host.mute = Some((leader, Flow::Wal));
        let (conn, batch) = (host.conn(), host.batch(&["a"]));
        host.send(leader, conn, 0, produce(partition, batch, Acks::All));
        host.run(50_000);
        assert_eq!(host.saw(leader, |p| matches!(p, Probe::UploadPutSent { .. })), 1);
        assert_eq!(host.saw(leader, |p| matches!(p, Probe::WalConfirmed { .. })), 0);
    }
}
