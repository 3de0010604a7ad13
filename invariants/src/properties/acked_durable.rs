//! L3 AckedDurable: a record acknowledged with acks=all is in the final log at its offset, unless
//! its topic was deleted; one that definitely failed is never seen. Unknown outcomes are resolved
//! by the final log: there once, or never. Source: Kafka's producer contract; Jepsen's kafka
//! workload (lost-write, G1a).

use broker_core::ids::{Offset, TopicPartition};
use broker_core::protocol::Acks;

use crate::facts::clients::{Outcome, Send};
use crate::{Check, require};

/// A record of `send` is seen at `offset`.
pub(crate) fn visible(
    partition: TopicPartition,
    offset: Offset,
    value: u64,
    send: &Send,
) -> Check {
    require!(
        send.outcome != Outcome::Failed,
        L3,
        partition,
        "value {value} is at offset {offset}, but its produce was refused"
    );
    Ok(())
}

/// A produce was refused.
pub(crate) fn refused(partition: TopicPartition, first_value: u64, send: &Send) -> Check {
    require!(
        !send.read,
        L3,
        partition,
        "the produce of value {first_value} was refused, but it had been read already"
    );
    Ok(())
}

/// The final log holds `found` at `offset`, where `send` put `value`.
pub(crate) fn kept(
    partition: TopicPartition,
    (offset, value): (Offset, u64),
    send: &Send,
    found: Option<u64>,
) -> Check {
    if send.acks != Acks::All || send.outcome != Outcome::Ok || found == Some(value) {
        return Ok(());
    }
    require!(
        false,
        L3,
        partition,
        "value {value} was acknowledged at offset {offset}; the final log has {found:?} there"
    );
    Ok(())
}
