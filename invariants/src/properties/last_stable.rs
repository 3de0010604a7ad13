//! T3 LsoRule: the last stable offset is the first offset of the oldest transaction whose marker is
//! not below the high watermark, or the high watermark; readers of committed data see nothing at or
//! behind it, and are told it as the end. Source: `UnifiedLog.lastStableOffset`, KIP-98,
//! KAFKA-5522.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// A leader, or an answer, showed both; by the final log it should be `expected`.
pub(crate) fn shown(
    partition: TopicPartition,
    high_watermark: Offset,
    last_stable: Offset,
    expected: Option<Offset>,
) -> Check {
    require!(
        expected.is_none_or(|expected| last_stable == expected),
        T3,
        partition,
        "last stable offset {last_stable} at high watermark {high_watermark}; by the log it is \
         {expected:?}"
    );
    Ok(())
}

/// A reader of committed data was given `offset`.
pub(crate) fn read(partition: TopicPartition, offset: Offset, last_stable: Offset) -> Check {
    require!(
        offset < last_stable,
        T3,
        partition,
        "offset {offset} was read as committed under a last stable offset of {last_stable}"
    );
    Ok(())
}

/// The end for readers of committed data was listed as `end`; everything below `floor` had been
/// seen when it was asked for. `stable`: it is one for some high watermark from there on.
pub(crate) fn listed(
    partition: TopicPartition,
    end: Offset,
    floor: Offset,
    stable: bool,
) -> Check {
    require!(
        stable,
        T3,
        partition,
        "{end} was listed as the last stable offset, and is none for any high watermark from \
         {floor} on"
    );
    Ok(())
}

/// A lookup by time told a reader of committed data of the record at `offset`; no leader has had a
/// last stable offset above `last_stable`.
pub(crate) fn looked_up(partition: TopicPartition, offset: Offset, last_stable: Offset) -> Check {
    require!(
        offset < last_stable,
        T3,
        partition,
        "offset {offset} was listed for readers of committed data, and no last stable offset was \
         ever above {last_stable}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::protocol::{Isolation, OffsetSpec};
    use broker_core::time::Wall;

    use crate::history::{Answer, Call};
    use crate::testing::{Case, P, Txn};

    /// A's offsets at high watermark 1, and a log with an open transaction at 0.
    fn at(last_stable: u64) -> Case {
        let mut case = Case::cluster("T3");
        case.leads(last_stable, 1);
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        case.log(P, &[Txn::Data(0, 100)]).finish();
        case
    }

    #[test]
    fn last_stable_offset_behind_an_open_transaction_breaks() {
        assert!(at(1).breaks("T3"));
    }

    #[test]
    fn last_stable_offset_at_an_open_transaction_holds() {
        assert!(at(0).holds());
    }

    #[test]
    fn record_read_at_the_last_stable_offset_breaks() {
        let mut case = Case::cluster("T3");
        case.produced(100, 2, 0).reads_committed(1, 2, &[(0, 100, 0), (1, 101, 0)], &[]);
        assert!(case.breaks("T3"));
    }

    fn asks(case: &mut Case, spec: OffsetSpec, found: u64, time: Option<Wall>) {
        let (leader_epoch, isolation) = (Some(LeaderEpoch(0)), Isolation::ReadCommitted);
        let call = Call::ListOffsets { partition: P, spec, leader_epoch, isolation };
        let asked = case.invoke(2, call);
        case.ok(asked, Answer::Listed(Some((Offset(found), time, Some(LeaderEpoch(0))))));
    }

    /// The end listed after a record behind an open transaction was acknowledged.
    fn end_listed(end: u64) -> Case {
        let mut case = Case::cluster("T3");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        asks(&mut case, OffsetSpec::Latest, end, None);
        case.log(P, &[Txn::Data(0, 100)]).finish();
        case
    }

    #[test]
    fn end_listed_behind_an_open_transaction_breaks() {
        assert!(end_listed(1).breaks("T3"));
    }

    #[test]
    fn end_listed_at_an_open_transaction_holds() {
        assert!(end_listed(0).holds());
    }

    fn lookup_finds(offset: u64, last_stable: u64) -> Case {
        let mut case = Case::cluster("T3");
        case.leads(last_stable, 1);
        case.produced(100, 1, 0);
        asks(&mut case, OffsetSpec::MaxTimestamp, offset, Some(crate::testing::time_of(100)));
        case
    }

    #[test]
    fn lookup_that_finds_what_is_not_stable_breaks() {
        assert!(lookup_finds(0, 0).breaks("T3"));
    }

    #[test]
    fn lookup_that_finds_what_is_stable_holds() {
        assert!(lookup_finds(0, 1).holds());
    }
}
