//! S1 ExactCopy: in a sink that promises each row once, no row comes twice, and the rows of a
//! partition of the source come in its order. That each comes at all is S8. Source: Kafka
//! transactions_test (consume, transform, produce); Delta's txnVersion, Hudi, Paimon for tables
//! with markers.

use crate::handoff::Row;
use crate::{Check, require};

/// A reader that keeps to the sink's terms finds copy `copy` of the record with this value so many
/// times.
pub(crate) fn seen((value, copy): (u64, u32), times: u64) -> Check {
    require!(
        times == 1,
        S1,
        "sink",
        "row {copy} of the record with value {value} is seen {times} times in a sink that promises \
         each once"
    );
    Ok(())
}

/// A row comes behind another of the same partition.
pub(crate) fn follows(row: Row, before: Row) -> Check {
    let place = |row: Row| (row.offset, row.copy);
    require!(
        place(before) < place(row),
        S1,
        "sink",
        "row {} of offset {} of partition {} comes behind row {} of offset {}",
        row.copy,
        row.offset,
        row.partition,
        before.copy,
        before.offset
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn table(rows: &[(u64, u32)]) -> Case {
        let mut case = Case::cluster("S1");
        case.query(Promise::OnceInTable).produce_source(&[100, 101]);
        case.runs(1, 0, 0, 2).takes(rows).batch_committed(1, 0).finish();
        case
    }

    #[test]
    fn row_twice_in_a_table_breaks() {
        assert!(table(&[(0, 0), (1, 0), (1, 0)]).breaks("S1"));
    }

    #[test]
    fn row_behind_a_later_one_breaks() {
        assert!(table(&[(1, 0), (0, 0)]).breaks("S1"));
    }

    #[test]
    fn rows_once_and_in_order_hold() {
        assert!(table(&[(0, 0), (1, 0)]).holds());
    }

    fn topic(promise: Promise) -> Case {
        let mut case = Case::cluster("S1");
        case.query(promise).produce_source(&[100, 101]).runs(1, 0, 0, 2);
        case.sends_rows(200, &[0, 1], 0).sends_rows(202, &[1], 2).batch_committed(1, 0);
        case.sink_log(&[200, 201, 202]).finish();
        case
    }

    #[test]
    fn row_sent_twice_holds_for_readers_that_keep_one_of_each_key() {
        assert!(topic(Promise::OnceByKey).holds());
    }

    #[test]
    fn row_sent_twice_breaks_for_readers_of_committed_data() {
        assert!(topic(Promise::OnceCommitted).breaks("S1"));
    }
}
