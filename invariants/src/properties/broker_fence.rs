//! C1 BrokerFence: a process that learned that its registration is refused acknowledges nothing
//! more, and the controller never brings a fenced registration of the past back. Source: KIP-631;
//! AutoMQ 8f9a584b4f. (That stale commits are refused is O4.)

use broker_core::ids::{BrokerEpoch, NodeId, TopicPartition};

use crate::facts::ledger::Ledger;
use crate::{Check, require};

/// A broker acknowledged a produce.
pub(crate) fn acked(node: NodeId, partition: TopicPartition, fenced: bool) -> Check {
    require!(
        !fenced,
        C1,
        "broker",
        "node {node} acknowledged on partition {} after it learned that it is fenced",
        partition.index
    );
    Ok(())
}

/// A stream is opened, or an object prepared, for a registration.
pub(crate) fn obeyed(node: NodeId, epoch: BrokerEpoch, ledger: &Ledger) -> Check {
    require!(
        ledger.current(node, epoch).is_some(),
        C1,
        "metadata",
        "the controller obeyed registration {epoch} of node {node}; current is {:?}",
        ledger.brokers.get(&node)
    );
    Ok(())
}
