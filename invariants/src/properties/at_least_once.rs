//! S8 AtLeastOnce: each record below where a query stands has all its rows in the sink, whatever
//! the sink promises; and a sink that may double doubles no more than what its crashes and failed
//! attempts account for. Source: Spark's guide to Kafka (at-least-once only); the bound follows
//! from the order of `MicroBatchExecution`'s durable writes.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// The query stands behind this record; `missing`: one of its rows that is not in the sink.
pub(crate) fn comes(
    partition: TopicPartition,
    offset: Offset,
    value: u64,
    missing: Option<u32>,
) -> Check {
    require!(
        missing.is_none(),
        S8,
        (partition, offset),
        "row {missing:?} of the record at offset {offset}, value {value}, is not in the sink, and \
         the query stands behind it"
    );
    Ok(())
}

/// So many rows came twice, of `most` that may.
pub(crate) fn doubled(doubled: u64, most: u64) -> Check {
    require!(
        doubled <= most,
        S8,
        "sink",
        "{doubled} rows came twice; what crashes and failed attempts account for is {most}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn sent(rows: &[u64], starts: u32) -> Case {
        let mut case = Case::cluster("S8");
        case.query(Promise::AtLeastOnce).produce_source(&[100, 101]).runs(1, 0, 0, 2);
        for start in 2..=starts {
            case.query_gone(start - 1).query_starts(start, Promise::AtLeastOnce);
        }
        case.sends_rows(200, rows, 0).batch_committed(starts, 0);
        let values: alloc::vec::Vec<u64> = (200..).take(rows.len()).collect();
        case.sink_log(&values).finish();
        case
    }

    #[test]
    fn record_without_its_row_breaks() {
        assert!(sent(&[0], 1).breaks("S8"));
    }

    #[test]
    fn row_twice_without_a_crash_breaks() {
        assert!(sent(&[0, 1, 1], 1).breaks("S8"));
    }

    #[test]
    fn row_twice_after_a_crash_holds() {
        assert!(sent(&[0, 1, 1], 2).holds());
    }

    #[test]
    fn record_that_the_query_does_not_stand_behind_may_lack_its_row() {
        let mut case = Case::cluster("S8");
        case.query(Promise::AtLeastOnce).produce_source(&[100, 101]).runs(1, 0, 0, 1);
        case.sends_rows(200, &[0], 0).batch_committed(1, 0).sink_log(&[200]).finish();
        assert!(case.holds());
    }
}
