//! L4 ReadStable: a record that was returned for an offset is what every later read of that offset
//! returns, and what the final log holds. Source: KIP-101, Redpanda #3003.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::{Bound, Floor};
use crate::{Check, require};

/// `offset` was observed to hold `value`.
pub(crate) fn bound(partition: TopicPartition, offset: Offset, value: u64, bound: Bound) -> Check {
    let Bound::Conflict { was, read: true } = bound else { return Ok(()) };
    require!(
        false,
        L4,
        partition,
        "offset {offset} was read as value {was} and now holds value {value}"
    );
    Ok(())
}

/// A leader of the epoch the client named answered a fetch with `OffsetOutOfRange`; `floor` is what
/// that leader owed when the fetch began. No records expire yet.
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

/// The final log holds `found` at an offset that was read as `value`.
pub(crate) fn kept(
    partition: TopicPartition,
    offset: Offset,
    value: u64,
    found: Option<u64>,
) -> Check {
    require!(
        found == Some(value),
        L4,
        partition,
        "offset {offset} was read as value {value}; the final log has {found:?} there"
    );
    Ok(())
}
