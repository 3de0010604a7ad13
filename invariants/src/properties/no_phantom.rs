//! L9 NoPhantom: every record read was sent before, to that partition, undamaged, and comes back
//! with checksum, key, value and headers intact; a batch that was sent damaged is never accepted.
//! Source: KAFKA-18723; Jepsen's kafka workload; kgo-verifier.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::Send;
use crate::{Check, require};

/// A record was found at `offset`: in a read, or in the final log. `send` is the produce of its
/// value, `here` the partition's place.
pub(crate) fn found(
    partition: TopicPartition,
    here: u32,
    offset: Offset,
    (value, intact): (Option<u64>, bool),
    send: Option<&Send>,
) -> Check {
    require!(intact, L9, partition, "the record at offset {offset} (value {value:?}) is damaged");
    let Some(send) = send else {
        require!(false, L9, partition, "value {value:?} at offset {offset} was never sent");
        return Ok(());
    };
    require!(
        send.partition == here,
        L9,
        partition,
        "value {value:?} at offset {offset} was sent to another partition"
    );
    require!(
        !send.damaged,
        L9,
        partition,
        "value {value:?} at offset {offset} was sent in a damaged batch"
    );
    Ok(())
}

/// A produce was acknowledged.
pub(crate) fn accepted(partition: TopicPartition, first_value: u64, send: &Send) -> Check {
    require!(
        !send.damaged,
        L9,
        partition,
        "the damaged batch of value {first_value} was accepted"
    );
    Ok(())
}
