//! L8 EpochChain: the leader epochs of records never fall along the log; a leader's epoch cache is
//! what the stream's ranges give, its own epoch included from its first moment (KAFKA-7415);
//! leader, partition and stream epochs only grow in the metadata log, and a partition never changes
//! hands under one epoch (KAFKA-15021 turned round). Source: KIP-101, KIP-279.

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

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, B, B_EPOCH, Case, P, S, change};

    fn caches(case: &mut Case, entries: &[(u32, u64)]) {
        let entries = entries.iter().map(|(e, o)| (LeaderEpoch(*e), Offset(*o))).collect();
        case.probe(B, &Probe::PartitionEpochs { partition: P, entries });
    }

    /// A wrote [0, 2) under epoch 0, B leads under epoch 1.
    fn failed_over() -> Case {
        let mut case = Case::cluster("L8");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).fail_over().seal(0);
        case.lead(B, B_EPOCH, 1, 3);
        case
    }

    #[test]
    fn records_with_a_falling_epoch_break() {
        let mut case = Case::cluster("L8");
        case.produced(100, 2, 0).reads(0, 1, 2, &[(0, 100, 1), (1, 101, 0)]);
        assert!(case.breaks("L8"));
    }

    #[test]
    fn records_with_a_rising_epoch_hold() {
        let mut case = Case::cluster("L8");
        case.produced(100, 2, 0).reads(0, 1, 2, &[(0, 100, 0), (1, 101, 1)]);
        case.reads(1, 1, 2, &[(1, 101, 1)]);
        assert!(case.holds());
    }

    #[test]
    fn cache_that_misses_a_range_breaks() {
        let mut case = failed_over();
        caches(&mut case, &[(1, 2)]);
        assert!(case.breaks("L8"));
    }

    #[test]
    fn cache_of_the_ranges_holds() {
        let mut case = failed_over();
        caches(&mut case, &[(0, 0), (1, 2)]);
        assert!(case.holds());
    }

    #[test]
    fn leader_whose_cache_lacks_its_own_epoch_breaks() {
        let mut case = failed_over();
        let (partition, epoch, next) = (P, LeaderEpoch(1), Offset(2));
        case.probe(B, &Probe::PartitionOpened { partition, stream: S, epoch, next });
        caches(&mut case, &[(0, 0)]);
        let (log_start, high_watermark, log_end) = (Offset(0), next, next);
        case.probe(
            B,
            &Probe::PartitionOffsets {
                partition,
                epoch,
                log_start,
                last_stable: high_watermark,
                high_watermark,
                log_end,
            },
        );
        assert!(case.breaks("L8"));
    }

    #[test]
    fn partition_moved_under_one_epoch_breaks() {
        let mut case = Case::cluster("L8");
        case.meta(alloc::vec![change(Some(B), None, 0, 2)]);
        assert!(case.breaks("L8"));
    }

    #[test]
    fn partition_moved_under_the_next_epoch_holds() {
        let mut case = Case::cluster("L8");
        case.meta(alloc::vec![change(Some(B), None, 1, 2)]);
        assert!(case.holds());
    }
}
