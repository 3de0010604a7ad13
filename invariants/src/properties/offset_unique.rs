//! L1 OffsetUnique: an offset of a partition holds at most one record for ever, over all epochs and
//! brokers, and a record has at most one offset. Values are unique per produce, so a second offset
//! of one value is a duplicate that no client asked for, unless its library may have sent a plain
//! batch again by itself. Source: Jepsen's kafka workload (inconsistent-offsets, duplicate). That a
//! *reader* saw an offset change is L4.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::{Bound, Send};
use crate::{Check, require};

/// `offset` was observed to hold `value`.
pub(crate) fn bound(partition: TopicPartition, offset: Offset, value: u64, bound: Bound) -> Check {
    let Bound::Conflict { was, read: false } = bound else { return Ok(()) };
    require!(
        false,
        L1,
        (partition, offset),
        "offset {offset} was acknowledged for value {was} and now holds value {value}"
    );
    Ok(())
}

/// The batch of `send` was observed to begin at `base`.
pub(crate) fn placed(partition: TopicPartition, value: u64, send: &Send, base: Offset) -> Check {
    let known = send.base.unwrap_or(base);
    // Copies that its client sent again lie behind one another.
    let copy = send.retried && known.0.abs_diff(base.0) >= u64::from(send.count);
    require!(
        known == base || copy,
        L1,
        (partition, base),
        "the batch with value {value} begins at offset {known} and at offset {base}"
    );
    Ok(())
}

/// `value` was found at `offset`, with more records of its batch before it than there are offsets.
pub(crate) fn before_the_log(partition: TopicPartition, offset: Offset, value: u64) -> Check {
    require!(
        false,
        L1,
        (partition, offset),
        "value {value} is at offset {offset}: its batch would begin before the log"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Case;

    #[test]
    fn offset_acknowledged_for_two_values_breaks() {
        let mut case = Case::cluster("L1");
        case.produced(100, 2, 0).produced(200, 2, 1);
        assert!(case.breaks("L1"));
    }

    #[test]
    fn offset_acknowledged_next_to_another_holds() {
        let mut case = Case::cluster("L1");
        case.produced(100, 2, 0).produced(200, 2, 2);
        assert!(case.holds());
    }

    #[test]
    fn offset_of_one_value_twice_breaks() {
        let mut case = Case::cluster("L1");
        case.produced(100, 1, 0).reads(0, 0, 2, &[(0, 100, 0), (1, 100, 0)]);
        assert!(case.breaks("L1"));
    }

    #[test]
    fn offset_of_an_unknown_produce_read_once_holds() {
        let mut case = Case::cluster("L1");
        let lost = case.produce(100, 2);
        case.unknown(lost).reads(0, 0, 2, &[(0, 100, 0), (1, 101, 0)]);
        case.reads(1, 0, 2, &[(1, 101, 0)]);
        assert!(case.holds());
    }
}
