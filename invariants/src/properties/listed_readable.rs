//! S5 ListedReadable: what a query was told to be a partition's end is there to be read: no later
//! fetch below it is out of range, for nothing is deleted here. Source: Spark's
//! `failOnDataLoss`, which ends the query then; KIP-207.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// A fetch at `from` was out of range; the partition was listed with the end `listed`.
pub(crate) fn refused(partition: TopicPartition, from: Offset, listed: Offset) -> Check {
    require!(
        from >= listed,
        S5,
        (partition, from),
        "offset {from} is out of range, and the partition's end was listed as {listed}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Offset;

    use crate::handoff::{Handoff, Promise};
    use crate::testing::{Case, P};

    fn refused(from: u64) -> Case {
        let mut case = Case::cluster("S5");
        case.query(Promise::AtLeastOnce);
        case.tells(Handoff::Listed(P, Offset(5))).tells(Handoff::OutOfRange(P, Offset(from)));
        case
    }

    #[test]
    fn offset_below_a_listed_end_out_of_range_breaks() {
        assert!(refused(4).breaks("S5"));
    }

    #[test]
    fn offset_at_the_listed_end_out_of_range_holds() {
        assert!(refused(5).holds());
    }
}
