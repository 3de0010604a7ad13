//! L1 OffsetUnique: an offset of a partition holds at most one record for ever, over all epochs and
//! brokers, and a record has at most one offset. Values are unique per produce, so a second offset
//! of one value is a duplicate that no client asked for. Source: Jepsen's kafka workload
//! (inconsistent-offsets, duplicate). That a *reader* saw an offset change is L4.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::{Bound, Send};
use crate::{Check, require};

/// `offset` was observed to hold `value`.
pub(crate) fn bound(partition: TopicPartition, offset: Offset, value: u64, bound: Bound) -> Check {
    let Bound::Conflict { was, read: false } = bound else { return Ok(()) };
    require!(
        false,
        L1,
        partition,
        "offset {offset} was acknowledged for value {was} and now holds value {value}"
    );
    Ok(())
}

/// The batch of `send` was observed to begin at `base`.
pub(crate) fn placed(partition: TopicPartition, value: u64, send: &Send, base: Offset) -> Check {
    let known = send.base.unwrap_or(base);
    require!(
        known == base,
        L1,
        partition,
        "the batch with value {value} begins at offset {known} and at offset {base}"
    );
    Ok(())
}
