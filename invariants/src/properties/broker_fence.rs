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

#[cfg(test)]
mod tests {
    use broker_core::ids::{Incarnation, LeaderEpoch, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::Acks;

    use crate::view::NodeEvent;
    use crate::testing::{A, A_EPOCH, Case, P, open_stream};

    fn acks(case: &mut Case) {
        let (partition, epoch, base, end) = (P, LeaderEpoch(0), Offset(0), Offset(1));
        let acks = Acks::All;
        case.probe(A, &Probe::PartitionAcked { partition, epoch, base, end, acks });
    }

    #[test]
    fn acknowledged_after_the_fence_breaks() {
        let mut case = Case::cluster("C1");
        case.probe(A, &Probe::BrokerFenced { epoch: A_EPOCH });
        acks(&mut case);
        assert!(case.breaks("C1"));
    }

    #[test]
    fn acknowledged_by_the_next_process_holds() {
        let mut case = Case::cluster("C1");
        acks(&mut case);
        case.probe(A, &Probe::BrokerFenced { epoch: A_EPOCH });
        case.event(A, NodeEvent::Booted(Incarnation(2)));
        acks(&mut case);
        assert!(case.holds());
    }

    #[test]
    fn stream_opened_for_an_old_registration_breaks() {
        let mut case = Case::cluster("C1");
        case.register(A).meta(alloc::vec![open_stream(A, A_EPOCH, 1)]);
        assert!(case.breaks("C1"));
    }
}
