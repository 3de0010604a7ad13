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

#[cfg(test)]
mod tests {
    use crate::testing::{A, B, B_EPOCH, Case, broker_change, change};

    #[test]
    fn fenced_broker_chosen_breaks() {
        let mut case = Case::cluster("C3");
        case.meta(alloc::vec![broker_change(B, B_EPOCH, true, false)]);
        case.meta(alloc::vec![change(Some(B), None, 1, 2)]);
        assert!(case.breaks("C3"));
    }

    #[test]
    fn leaving_broker_chosen_breaks() {
        let mut case = Case::cluster("C3");
        case.meta(alloc::vec![broker_change(B, B_EPOCH, false, true)]);
        case.meta(alloc::vec![change(Some(B), None, 1, 2)]);
        assert!(case.breaks("C3"));
    }

    #[test]
    fn serving_broker_chosen_holds() {
        let mut case = Case::cluster("C3");
        case.meta(alloc::vec![change(Some(B), None, 1, 2)]);
        assert!(case.holds());
    }

    #[test]
    fn leader_published_that_is_not_the_replica_breaks() {
        let mut case = Case::cluster("C3");
        case.meta(alloc::vec![change(Some(B), Some(A), 1, 2)]);
        assert!(case.breaks("C3"));
    }
}
