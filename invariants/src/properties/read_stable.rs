//! L4 ReadStable: a record that was returned for an offset is what every later read of that offset
//! returns, and what the final log holds. Source: KIP-101, Redpanda #3003.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::Bound;
use crate::facts::horizon::Floor;
use crate::{Check, require};

/// `offset` was observed to hold `value`.
pub(crate) fn bound(partition: TopicPartition, offset: Offset, value: u64, bound: Bound) -> Check {
    let Bound::Conflict { was, read: true } = bound else { return Ok(()) };
    require!(
        false,
        L4,
        (partition, offset),
        "offset {offset} was read as value {was} and now holds value {value}"
    );
    Ok(())
}

/// `offset`, read before with the timestamp `was`, was read again.
pub(crate) fn timestamp(partition: TopicPartition, offset: Offset, was: i64, now: i64) -> Check {
    require!(
        was == now,
        L4,
        (partition, offset),
        "offset {offset} was read with the timestamp {was} µs and now has {now} µs"
    );
    Ok(())
}

/// A leader answered a fetch with `OffsetOutOfRange`; `floor` is what it owed when the fetch began:
/// all that was seen, or, of a history, what was under epochs up to that the client named. No
/// records expire yet.
pub(crate) fn out_of_range(partition: TopicPartition, offset: Offset, floor: Floor) -> Check {
    let end = floor.end;
    require!(
        offset >= end || offset < floor.log_start,
        L4,
        partition,
        "offset {offset} is out of range, though everything before {end} had been visible"
    );
    Ok(())
}

/// A reader passed over the offset at which another had read `value`.
pub(crate) fn passed_over(partition: TopicPartition, offset: Offset, value: u64) -> Check {
    require!(
        false,
        L4,
        (partition, offset),
        "offset {offset} was read as value {value}, and another reader found nothing there"
    );
    Ok(())
}

/// The final log holds `found` at an offset that was read as `value`.
pub(crate) fn kept(
    partition: TopicPartition,
    offset: Offset,
    read: (u64, i64),
    found: Option<(u64, i64)>,
) -> Check {
    let (value, time_us) = read;
    require!(
        found == Some(read),
        L4,
        partition,
        "offset {offset} was read as value {value} with {time_us} µs; the final log has {found:?} \
         there"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Offset;
    use broker_core::protocol::ErrorCode;

    use crate::history::ReadRecord;
    use crate::testing::{A, A_EPOCH, Case, fetched, read, time_of};

    #[test]
    fn offset_read_with_two_values_breaks() {
        let mut case = Case::cluster("L4");
        case.produce(100, 2);
        case.reads(0, 0, 1, &[(0, 100, 0)]).reads(0, 1, 1, &[(0, 101, 0)]);
        assert!(case.breaks("L4"));
    }

    #[test]
    fn offset_read_again_holds() {
        let mut case = Case::cluster("L4");
        case.produce(100, 2);
        case.reads(0, 0, 2, &[(0, 100, 0)]).reads(0, 1, 2, &[(0, 100, 0), (1, 101, 1)]);
        assert!(case.holds());
    }

    #[test]
    fn offset_read_and_gone_from_the_final_log_breaks() {
        let mut case = Case::cluster("L4");
        case.produce(100, 2);
        case.reads(0, 0, 2, &[(0, 100, 0), (1, 101, 0)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 1, 100)]).finish();
        assert!(case.breaks("L4"));
    }

    #[test]
    fn offset_out_of_range_that_had_been_visible_breaks_for_a_zombie_too() {
        for epoch in [0, 1] {
            let mut case = Case::cluster("L4");
            case.produce(100, 2);
            case.reads(0, 1, 2, &[(0, 100, 0), (1, 101, 1)]);
            let fetch = case.fetch(2, 1, epoch);
            case.fail(fetch, ErrorCode::OffsetOutOfRange);
            assert!(case.breaks("L4"), "under epoch {epoch}");
        }
    }

    #[test]
    fn offset_read_with_two_timestamps_breaks() {
        let mut case = Case::cluster("L4");
        case.produce(100, 1);
        case.reads(0, 0, 1, &[(0, 100, 0)]);
        let (high_watermark, log_start) = (Offset(1), Offset(0));
        let records = alloc::vec![ReadRecord { timestamp: Some(time_of(7)), ..read(0, 100, 0) }];
        let opened = case.fetch(2, 0, 0);
        case.ok(opened, fetched(high_watermark, log_start, records));
        assert!(case.breaks("L4"));
    }
}
