//! L2 OffsetDense: offsets are given in the order of appends, without gaps or overlaps, and the WAL
//! keeps that order. What was acknowledged before a produce began lies before it (Redpanda chaos
//! `max_offset`); a reader never skips an offset or goes back (Jepsen: poll-skip, nonmonotonic).
//! There is no keyed compaction and there are no control batches yet; they will need holes here.

use broker_core::ids::{LeaderEpoch, Offset, StreamId, TopicPartition};

use crate::facts::served::Term;
use crate::facts::wals::Confirmed;
use crate::{Check, require};

/// A leader gave `[base, end)` to a batch.
pub(crate) fn appended(partition: TopicPartition, term: &Term, base: Offset) -> Check {
    let (next, epoch) = (term.next, term.epoch);
    require!(
        base == next,
        L2,
        partition,
        "under leader epoch {epoch} a batch got offset {base} where {next} was next"
    );
    Ok(())
}

/// A WAL confirmed a record of a stream behind `end`, the end of what it confirmed of it before.
pub(crate) fn confirmed(stream: StreamId, record: &Confirmed, end: Option<Offset>) -> Check {
    let (base, epoch) = (record.base, record.epoch);
    let expected = end.unwrap_or(base);
    require!(
        base == expected,
        L2,
        "wal",
        "stream {stream}, epoch {epoch}: confirmed offset {base} behind {expected}"
    );
    Ok(())
}

/// A batch is at `base`; `after` is the end of what had been acknowledged before it was sent.
pub(crate) fn behind(partition: TopicPartition, base: Offset, after: Offset) -> Check {
    require!(
        base >= after,
        L2,
        (partition, base),
        "a batch got offset {base}, sent after everything before {after} was acknowledged"
    );
    Ok(())
}

/// A read gave `offset` where `expected` was next.
pub(crate) fn read_next(partition: TopicPartition, expected: Offset, offset: Offset) -> Check {
    require!(
        offset == expected,
        L2,
        (partition, offset),
        "a fetch returned offset {offset} where {expected} was next"
    );
    Ok(())
}

/// The final log begins with offset 0 and has a record at every offset.
pub(crate) fn final_next(
    partition: TopicPartition,
    expected: Offset,
    found: (Offset, LeaderEpoch),
) -> Check {
    let (offset, epoch) = found;
    require!(
        offset == expected,
        L2,
        partition,
        "the final log goes on with offset {offset} of epoch {epoch} where {expected} was next"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;

    use crate::testing::{A, Case, P, S};

    fn opened(case: &mut Case) {
        let (partition, epoch) = (P, LeaderEpoch(0));
        case.probe(A, &Probe::PartitionOpened { partition, stream: S, epoch, next: Offset(5) });
    }

    fn appends(case: &mut Case, base: u64, end: u64) {
        let (partition, epoch, base, end) = (P, LeaderEpoch(0), Offset(base), Offset(end));
        case.probe(A, &Probe::PartitionAppended { partition, stream: S, epoch, base, end });
    }

    #[test]
    fn append_behind_a_gap_breaks() {
        let mut case = Case::cluster("L2");
        opened(&mut case);
        appends(&mut case, 5, 7);
        appends(&mut case, 8, 9);
        assert!(case.breaks("L2"));
    }

    #[test]
    fn append_at_the_end_holds() {
        let mut case = Case::cluster("L2");
        opened(&mut case);
        appends(&mut case, 5, 7);
        appends(&mut case, 7, 9);
        assert!(case.holds());
    }

    #[test]
    fn wal_out_of_the_order_of_offsets_breaks() {
        let mut case = Case::cluster("L2");
        case.wal_write(0, &[(0, 1, 100), (2, 3, 102), (1, 2, 101)]);
        assert!(case.breaks("L2"));
    }

    #[test]
    fn wal_in_the_order_of_offsets_holds() {
        let mut case = Case::cluster("L2");
        case.wal_write(0, &[(0, 1, 100), (1, 2, 101), (2, 3, 102)]);
        assert!(case.holds());
    }

    #[test]
    fn produce_before_what_was_acknowledged_breaks() {
        let mut case = Case::cluster("L2");
        case.produced(100, 1, 5).produced(200, 1, 4);
        assert!(case.breaks("L2"));
    }

    #[test]
    fn produce_begun_before_the_other_was_acknowledged_holds() {
        let mut case = Case::cluster("L2");
        let slow = case.produce(200, 1);
        case.produced(100, 1, 5).placed(slow, 4);
        assert!(case.holds());
    }

    #[test]
    fn read_that_skips_an_offset_breaks() {
        let mut case = Case::cluster("L2");
        case.produced(100, 3, 0).reads(0, 0, 3, &[(0, 100, 0), (2, 102, 0)]);
        assert!(case.breaks("L2"));
    }

    #[test]
    fn read_that_ends_early_holds() {
        let mut case = Case::cluster("L2");
        case.produced(100, 3, 0).reads(0, 0, 3, &[(0, 100, 0), (1, 101, 0)]);
        assert!(case.holds());
    }

    #[test]
    fn fetch_that_goes_back_breaks() {
        let mut case = Case::cluster("L2");
        case.produce(100, 3);
        case.reads(2, 0, 3, &[(0, 100, 0), (1, 101, 0), (2, 102, 0)]);
        assert!(case.breaks("L2"));
    }
}
