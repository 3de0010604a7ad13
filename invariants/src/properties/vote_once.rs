//! R6 VoteOnce: a voter votes for one candidate per epoch, also across restarts. Source: Raft
//! figure 2 (votedFor is persistent state).

use alloc::collections::BTreeMap;

use broker_core::ids::{NodeId, QuorumEpoch};

use crate::{Check, require};

/// Who voted for whom.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct VoteOnce(BTreeMap<(NodeId, QuorumEpoch), NodeId>);

impl VoteOnce {
    /// `node` gives its vote.
    pub(crate) fn voted(
        &mut self,
        node: NodeId,
        epoch: QuorumEpoch,
        candidate: NodeId,
    ) -> Check {
        let known = *self.0.entry((node, epoch)).or_insert(candidate);
        require!(
            known == candidate,
            R6,
            "controller",
            "node {node} votes in epoch {epoch} for node {candidate} and for node {known}"
        );
        Ok(())
    }

    /// Whether `node` had voted in an earlier epoch.
    pub(crate) fn voted_before(&self, node: NodeId, epoch: QuorumEpoch) -> bool {
        self.0.range((node, QuorumEpoch(0))..(node, epoch)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{Incarnation, NodeId, QuorumEpoch};
    use broker_core::probe::Probe;

    use crate::view::NodeEvent;
    use crate::testing::{C, Case};

    fn votes(case: &mut Case, epoch: u32, candidate: u16) {
        let (epoch, candidate) = (QuorumEpoch(epoch), NodeId(candidate));
        case.probe(C, &Probe::QuorumVoted { epoch, candidate });
    }

    #[test]
    fn two_votes_in_an_epoch_break_over_a_restart() {
        let mut case = Case::new("R6");
        votes(&mut case, 2, 1);
        case.event(C, NodeEvent::Booted(Incarnation(2)));
        votes(&mut case, 2, 2);
        assert!(case.breaks("R6"));
    }

    #[test]
    fn one_vote_sent_twice_holds() {
        let mut case = Case::new("R6");
        votes(&mut case, 2, 1);
        votes(&mut case, 2, 1);
        votes(&mut case, 3, 2);
        assert!(case.holds());
    }
}
