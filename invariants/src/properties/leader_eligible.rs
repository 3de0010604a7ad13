//! C3 LeaderEligible: the broker chosen to lead is registered, unfenced and not on its way out at
//! that place in the log; who is published as leader is the one chosen, and unfenced. Source:
//! KIP-841 (KAFKA-13916).

use broker_core::ids::{NodeId, TopicPartition};

use crate::facts::ledger::Ledger;
use crate::{Check, require};

/// `node` is chosen for a partition that it did not have.
pub(crate) fn chosen(partition: TopicPartition, node: NodeId, ledger: &Ledger) -> Check {
    let broker = ledger.brokers.get(&node);
    require!(
        broker.is_some_and(|broker| !broker.fenced && !broker.leaving),
        C3,
        partition,
        "node {node} is chosen to lead; it is {broker:?}"
    );
    Ok(())
}

/// `leader` is published.
pub(crate) fn published(
    partition: TopicPartition,
    leader: NodeId,
    replica: Option<NodeId>,
    ledger: &Ledger,
) -> Check {
    let broker = ledger.brokers.get(&leader);
    require!(
        replica == Some(leader) && broker.is_some_and(|broker| !broker.fenced),
        C3,
        partition,
        "node {leader} is published as leader; the replica is {replica:?}, the broker {broker:?}"
    );
    Ok(())
}
