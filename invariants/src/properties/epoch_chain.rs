//! L8 EpochChain: the leader epochs of records never fall along the log; a leader's epoch cache is
//! what the stream's ranges give, its own epoch included from its first moment (KAFKA-7415); leader,
//! partition and stream epochs only grow in the metadata log, and a partition never changes hands
//! under one epoch (KAFKA-15021 turned round). Source: KIP-101, KIP-279.

use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, NodeId, Offset, PartitionEpoch, StreamId, TopicPartition};

use crate::facts::ledger::{Partition, Range, Stream};
use crate::{Check, require};

/// Records next to each other in the log.
pub(crate) fn neighbours(
    partition: TopicPartition,
    offset: Offset,
    before: LeaderEpoch,
    epoch: LeaderEpoch,
) -> Check {
    require!(
        before <= epoch,
        L8,
        partition,
        "offset {offset} is of leader epoch {epoch}, the record before it of {before}"
    );
    Ok(())
}

/// One record, read twice.
pub(crate) fn same(
    partition: TopicPartition,
    offset: Offset,
    was: LeaderEpoch,
    epoch: LeaderEpoch,
) -> Check {
    require!(
        was == epoch,
        L8,
        partition,
        "offset {offset} was of leader epoch {was}, now of {epoch}"
    );
    Ok(())
}

/// A leader's cache changed: it must be what the ranges up to its last epoch give, less the epochs
/// without records that a later one starts on top of.
pub(crate) fn cached(
    partition: TopicPartition,
    entries: &[(LeaderEpoch, Offset)],
    ranges: &[Range],
) -> Check {
    let Some(&(last, _)) = entries.last() else { return Ok(()) };
    let mut expected: Vec<(LeaderEpoch, Offset)> = Vec::new();
    for range in ranges.iter().filter(|range| range.epoch <= last) {
        while expected.last().is_some_and(|(_, start)| *start >= range.start) {
            expected.pop();
        }
        expected.push((range.epoch, range.start));
    }
    require!(
        entries == expected,
        L8,
        partition,
        "the leader-epoch cache holds {entries:?}, the stream's ranges give {expected:?}"
    );
    Ok(())
}

/// A leader of `epoch` serves with this cache.
pub(crate) fn serves(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    entries: &[(LeaderEpoch, Offset)],
) -> Check {
    let newest = entries.last().map(|entry| entry.0);
    require!(
        newest == Some(epoch),
        L8,
        partition,
        "the leader of epoch {epoch} serves with a cache that ends with epoch {newest:?}"
    );
    Ok(())
}

/// A partition's record changes.
pub(crate) fn changed(
    partition: TopicPartition,
    was: &Partition,
    replica: Option<NodeId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
) -> Check {
    let (before, counted) = (was.leader_epoch, was.partition_epoch);
    require!(
        partition_epoch == counted.next(),
        L8,
        partition,
        "partition epoch {counted} → {partition_epoch}"
    );
    let moved = replica != was.replica;
    require!(
        leader_epoch >= before && (!moved || leader_epoch > before),
        L8,
        partition,
        "leader epoch {before} → {leader_epoch} with the replica {:?} → {replica:?}",
        was.replica
    );
    Ok(())
}

/// A stream is opened.
pub(crate) fn opened(id: StreamId, was: &Stream, epoch: LeaderEpoch) -> Check {
    let before = was.epoch;
    require!(
        before.is_none_or(|before| epoch > before),
        L8,
        "metadata",
        "stream {id} opens under epoch {epoch} after {before:?}"
    );
    Ok(())
}
