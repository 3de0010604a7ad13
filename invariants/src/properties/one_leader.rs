//! C2 OneLeader: under one leader epoch of a partition one broker acknowledges produces. Source:
//! KIP-101; KAFKA-15021.

use broker_core::ids::{LeaderEpoch, NodeId, TopicPartition};

use crate::{Check, require};

/// A broker acknowledged; `known` is who did before under this epoch.
pub(crate) fn acked(
    partition: TopicPartition,
    epoch: LeaderEpoch,
    node: NodeId,
    known: Option<NodeId>,
) -> Check {
    require!(
        known.is_none_or(|known| known == node),
        C2,
        partition,
        "under leader epoch {epoch} node {node} acknowledged, and so did node {known:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, NodeId, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::Acks;

    use crate::testing::{A, B, Case, P};

    fn acks(case: &mut Case, node: NodeId, epoch: u32) {
        let (partition, epoch, base, end) = (P, LeaderEpoch(epoch), Offset(0), Offset(1));
        let acks = Acks::All;
        case.probe(node, &Probe::PartitionAcked { partition, epoch, base, end, acks });
    }

    #[test]
    fn two_brokers_under_one_epoch_break() {
        let mut case = Case::cluster("C2");
        acks(&mut case, A, 3);
        acks(&mut case, B, 3);
        assert!(case.breaks("C2"));
    }

    #[test]
    fn two_brokers_under_two_epochs_hold() {
        let mut case = Case::cluster("C2");
        acks(&mut case, A, 3);
        acks(&mut case, B, 4);
        acks(&mut case, A, 3);
        assert!(case.holds());
    }
}
