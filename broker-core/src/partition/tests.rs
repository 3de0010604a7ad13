//! A partition alone: offsets, high watermark, positions.

use alloc::collections::BTreeMap;
use alloc::vec;

use super::*;
use crate::batch::{NewRecord, ProducerStamp, TimestampMs, build, stamp};
use crate::ids::{BrokerEpoch, NodeId, PartitionIndex, TopicId};
use crate::metadata::image::StreamRange;
use crate::mutants::Mutants;
use crate::time::{Mono, Wall};

fn cx() -> Cx {
    Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE }
}

/// Epoch 1 wrote 0 to 9; epoch 4 has just begun.
fn opened() -> Partition {
    let id = TopicPartition { topic: TopicId(1), index: PartitionIndex(0) };
    let range = |epoch, start| StreamRange {
        epoch: LeaderEpoch(epoch),
        node: NodeId(1),
        broker_epoch: BrokerEpoch(1),
        start: Offset(start),
    };
    let state = StreamState {
        partition: id,
        epoch: Some(LeaderEpoch(4)),
        open: true,
        start: Offset(0),
        end: Offset(10),
        ranges: vec![range(1, 0), range(4, 10)],
        objects: BTreeMap::new(),
    };
    let opened = (StreamId(1), LeaderEpoch(4));
    Partition::open(&cx(), id, opened, &state, (Settled::default(), 0), &mut Outbox::default())
}

fn append(partition: &mut Partition, records: u64) -> Offset {
    partition.append(&cx(), records, None, &mut Outbox::default())
}

fn confirm(partition: &mut Partition, base: u64, end: u64) {
    let record = NewRecord { timestamp: TimestampMs(0), key: None, value: None, headers: &[] };
    let count = usize::try_from(end - base).expect("small");
    let batch = build(&vec![record; count], ProducerStamp::NONE);
    let batch = stamp(batch, Offset(base), LeaderEpoch(4));
    partition.confirm(&cx(), &batch, &mut Outbox::default());
}

fn fetch(partition: &Partition, from: u64, last: Option<u32>) -> Result<Position, ErrorCode> {
    let question = FetchPartition {
        partition: partition.id,
        fetch_offset: Offset(from),
        current_leader_epoch: None,
        last_fetched_epoch: last.map(LeaderEpoch),
        bytes_max: 1,
    };
    partition.position(&question, Isolation::ReadUncommitted)
}

#[test]
fn partition_opened_shows_all_that_earlier_leaders_wrote() {
    let partition = opened();
    let offsets = (partition.log_start(), partition.high_watermark(), partition.log_end());
    assert_eq!(offsets, (Offset(0), Offset(10), Offset(10)));
    assert_eq!(partition.epoch_end(&cx(), LeaderEpoch(4)), Some((LeaderEpoch(4), Offset(10))));
    assert_eq!(partition.epoch_end(&cx(), LeaderEpoch(3)), Some((LeaderEpoch(1), Offset(10))));
}

#[test]
fn partition_appended_moves_only_the_logs_end_until_confirmed() {
    let mut partition = opened();
    assert_eq!(append(&mut partition, 2), Offset(10));
    assert_eq!(append(&mut partition, 3), Offset(12));
    assert_eq!((partition.high_watermark(), partition.log_end()), (Offset(10), Offset(15)));
    assert_eq!(partition.epoch_end(&cx(), LeaderEpoch(4)), Some((LeaderEpoch(4), Offset(10))));
    confirm(&mut partition, 10, 12);
    assert_eq!((partition.high_watermark(), partition.log_end()), (Offset(12), Offset(15)));
}

#[test]
#[should_panic(expected = "is confirmed before")]
fn partition_confirmed_out_of_order_is_a_bug() {
    let mut partition = opened();
    append(&mut partition, 2);
    append(&mut partition, 3);
    confirm(&mut partition, 12, 15);
}

#[test]
fn partition_position_between_watermark_and_end_reads_nothing_yet() {
    let mut partition = opened();
    append(&mut partition, 2);
    assert_eq!(fetch(&partition, 4, None), Ok(Position::At(Offset(4), Offset(10))));
    assert_eq!(fetch(&partition, 11, None), Ok(Position::At(Offset(11), Offset(11))));
    assert_eq!(fetch(&partition, 12, None), Ok(Position::At(Offset(12), Offset(12))));
    assert_eq!(fetch(&partition, 13, None), Err(ErrorCode::OffsetOutOfRange));
}

#[test]
fn partition_position_of_a_parted_log_is_the_end_in_common() {
    let mut partition = opened();
    append(&mut partition, 2);
    let parted = |epoch, end| Ok(Position::Diverging(LeaderEpoch(epoch), Offset(end)));
    assert_eq!(fetch(&partition, 11, Some(1)), parted(1, 10));
    assert_eq!(fetch(&partition, 9, Some(3)), parted(1, 10));
    // Beyond the end of the current epoch: nothing above the high watermark is told.
    assert_eq!(fetch(&partition, 13, Some(4)), parted(4, 10));
    assert_eq!(fetch(&partition, 10, Some(1)), Ok(Position::At(Offset(10), Offset(10))));
    // An epoch that nobody here knows.
    assert_eq!(fetch(&partition, 10, Some(5)), Err(ErrorCode::OffsetOutOfRange));
}

#[test]
fn partition_wal_end_is_what_may_become_durable() {
    let mut partition = opened();
    assert_eq!(partition.wal_end(), Offset(10));
    append(&mut partition, 2);
    append(&mut partition, 3);
    assert_eq!(partition.wal_end(), Offset(10));
    partition.in_wal(Offset(10));
    assert_eq!(partition.wal_end(), Offset(12));
    confirm(&mut partition, 10, 12);
    assert_eq!(partition.wal_end(), Offset(12));
    partition.in_wal(Offset(12));
    assert_eq!(partition.wal_end(), Offset(15));
    confirm(&mut partition, 12, 15);
    assert_eq!(partition.wal_end(), Offset(15));
}
