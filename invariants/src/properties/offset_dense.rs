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
        partition,
        "a batch got offset {base}, sent after everything before {after} was acknowledged"
    );
    Ok(())
}

/// A read gave `offset` where `expected` was next.
pub(crate) fn read_next(partition: TopicPartition, expected: Offset, offset: Offset) -> Check {
    require!(
        offset == expected,
        L2,
        partition,
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
