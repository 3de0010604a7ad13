//! S4 ReplaySame: a range of the source gives the same records in the same order whenever it is
//! read: what a batch is made of does not depend on when it runs. Source: Spark's
//! `KafkaMicroBatchStream` (a batch that is run again reads its planned range).

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// A range was read that had been read before, and gave `first` then.
pub(crate) fn read(
    partition: TopicPartition,
    (from, to): (Offset, Offset),
    records: &[(Offset, u64)],
    first: &[(Offset, u64)],
) -> Check {
    let differ = records.iter().zip(first).find(|(now, before)| now != before);
    require!(
        records == first,
        S4,
        partition,
        "the range [{from}, {to}) gave {} records, and before {}; first difference: {differ:?}",
        records.len(),
        first.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::{Case, P};

    fn again(records: &[(u64, u64)]) -> Case {
        let mut case = Case::cluster("S4");
        case.query(Promise::AtLeastOnce);
        case.reads_range(P, 0, 2, &[(0, 100), (1, 101)]).reads_range(P, 0, 2, records);
        case
    }

    #[test]
    fn range_with_a_record_less_than_before_breaks() {
        assert!(again(&[(0, 100)]).breaks("S4"));
    }

    #[test]
    fn range_with_the_same_records_holds() {
        assert!(again(&[(0, 100), (1, 101)]).holds());
    }
}
