//! S2 MarkerAtomic: a marker that is sent with a batch in one transaction is visible exactly when
//! the batch's rows are. Source: KIP-98 (atomic writes across partitions); for consumer groups
//! KIP-447 (offsets in the transaction), which Spark does not use.

use broker_core::ids::{Offset, PartitionIndex};

use crate::handoff::Row;
use crate::{Check, require};

/// A row is visible, and markers are up to `end` of its partition of the source.
pub(crate) fn covers(row: Row, end: Option<Offset>) -> Check {
    require!(
        end.is_some_and(|end| row.offset < end),
        S2,
        "sink",
        "a row of offset {} of partition {} is visible, and the markers reach {end:?}",
        row.offset,
        row.partition
    );
    Ok(())
}

/// A marker covers this record of the source.
pub(crate) fn holds(partition: PartitionIndex, offset: Offset, seen: bool) -> Check {
    require!(
        seen,
        S2,
        "sink",
        "a visible marker covers offset {offset} of partition {partition}, and none of its rows is \
         visible"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn marked(end: u64, rows: &[u64]) -> Case {
        let mut case = Case::cluster("S2");
        case.query(Promise::OnceCommitted).produce_source(&[100, 101]).runs(1, 0, 0, 2);
        case.sends_rows(200, rows, 0).marks_end(300, end).batch_committed(1, 0);
        let sent: alloc::vec::Vec<u64> = (200..).take(rows.len()).collect();
        case.sink_log(&sent).marker_log(300).finish();
        case
    }

    #[test]
    fn marker_without_a_row_breaks() {
        assert!(marked(2, &[0]).breaks("S2"));
    }

    #[test]
    fn row_without_its_marker_breaks() {
        assert!(marked(1, &[0, 1]).breaks("S2"));
    }

    #[test]
    fn marker_with_all_its_rows_holds() {
        assert!(marked(2, &[0, 1]).holds());
    }
}
