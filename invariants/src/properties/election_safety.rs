//! R1 ElectionSafety: an epoch of the quorum has at most one leader, and a process that restarts
//! never leads on in an epoch that it led. Source: Raft §5.2; KAFKA-10527.

use broker_core::ids::{Incarnation, NodeId, QuorumEpoch};

use crate::facts::raft::Election;
use crate::{Check, require};

/// A node leads `epoch`; `known` is who was seen to lead it before.
pub(crate) fn leads(
    epoch: QuorumEpoch,
    node: NodeId,
    incarnation: Incarnation,
    known: Option<&Election>,
) -> Check {
    require!(
        known.is_none_or(|known| (known.node, known.incarnation) == (node, incarnation)),
        R1,
        "controller",
        "node {node} (process {incarnation}) leads epoch {epoch}, and so did {known:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{Incarnation, QuorumEpoch};
    use broker_core::probe::Probe;
    use broker_core::quorum::Role;

    use crate::view::NodeEvent;
    use crate::testing::{C, Case};

    #[test]
    fn two_leaders_of_an_epoch_break() {
        let mut case = Case::new("R1");
        case.elected(0, 3).elected(1, 3);
        assert!(case.breaks("R1"));
    }

    #[test]
    fn leaders_of_two_epochs_hold() {
        let mut case = Case::new("R1");
        case.elected(0, 3).elected(1, 4).elected(0, 5);
        assert!(case.holds());
    }

    #[test]
    fn leader_that_restarts_and_leads_on_breaks() {
        let mut case = Case::new("R1");
        case.event(C, NodeEvent::Booted(Incarnation(1))).elected(0, 3);
        case.event(C, NodeEvent::Booted(Incarnation(2)));
        let (role, epoch, leader) = (Role::Leader, QuorumEpoch(3), Some(C));
        case.probe(C, &Probe::QuorumRole { role, epoch, leader });
        assert!(case.breaks("R1"));
    }
}
