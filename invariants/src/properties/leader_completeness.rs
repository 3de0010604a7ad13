//! R3 LeaderCompleteness: what is committed is in the log of every leader of a later epoch, and a
//! leader raises the high watermark only over a last entry of its own epoch: entries of earlier
//! epochs are committed only together with one (Raft figure 8). Source: Raft §5.4; KAFKA-12619.

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};

use crate::facts::raft::{LogEntry, Raft};
use crate::{Check, require};

/// A node won the election of `epoch`.
pub(crate) fn elected(node: NodeId, epoch: QuorumEpoch, raft: &Raft) -> Check {
    let Some(last) = &raft.committed_last else { return Ok(()) };
    if epoch <= raft.committed_in {
        return Ok(());
    }
    let end = raft.committed;
    let held = raft.get(node).and_then(|replica| replica.before(end));
    require!(
        held.is_some_and(|held| held.same(last)),
        R3,
        "controller",
        "node {node} leads epoch {epoch}; {last:?} is committed before {end}, it has {held:?}"
    );
    Ok(())
}

/// A leader of `epoch` raised its high watermark to `end`, behind `entry`.
pub(crate) fn committed(
    node: NodeId,
    epoch: QuorumEpoch,
    end: MetaOffset,
    entry_epoch: QuorumEpoch,
    entry: Option<&LogEntry>,
    raft: &Raft,
) -> Check {
    require!(
        entry_epoch == epoch,
        R3,
        "controller",
        "node {node}, leader of epoch {epoch}, commits up to {end} over an entry of {entry_epoch}"
    );
    let Some(entry) = entry else { return Ok(()) };
    for (later, election) in raft.elections.range(epoch.next()..) {
        let Some(leader) = raft.get(election.node) else { continue };
        if leader.leads != Some(*later) {
            continue;
        }
        let held = leader.before(end);
        require!(
            held.is_some_and(|held| held.same(entry)),
            R3,
            "controller",
            "node {node}, leader of epoch {epoch}, commits {entry:?} before {end}; node {} leads \
             epoch {later} with {held:?}",
            election.node
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Case;

    /// Node 0 leads epoch 1 and commits one entry.
    fn committed() -> Case {
        let mut case = Case::new("R3");
        case.elected(0, 1).appends(0, 0, 1, 10).commits(0, 1, 1, Some(1));
        case
    }

    #[test]
    fn leader_without_a_committed_entry_breaks() {
        let mut case = committed();
        case.elected(1, 2);
        assert!(case.breaks("R3"));
    }

    #[test]
    fn leader_with_the_committed_entry_holds() {
        let mut case = committed();
        case.appends(1, 0, 1, 10).elected(1, 2);
        assert!(case.holds());
    }

    #[test]
    fn leader_with_another_entry_there_breaks() {
        let mut case = committed();
        case.appends(1, 0, 2, 99).elected(1, 3);
        assert!(case.breaks("R3"));
    }

    #[test]
    fn commit_over_an_earlier_epochs_entry_breaks() {
        let mut case = Case::new("R3");
        case.appends(0, 0, 1, 10).elected(0, 2).commits(0, 1, 1, Some(2));
        assert!(case.breaks("R3"));
    }

    #[test]
    fn commit_of_an_earlier_epochs_entry_under_an_own_one_holds() {
        let mut case = Case::new("R3");
        case.appends(0, 0, 1, 10).elected(0, 2).appends(0, 1, 2, 11).commits(0, 2, 2, Some(2));
        assert!(case.holds());
    }

    #[test]
    fn commit_by_a_deposed_leader_that_its_successor_lacks_breaks() {
        let mut case = Case::new("R3");
        case.elected(0, 1).appends(0, 0, 1, 10).elected(1, 2).commits(0, 1, 1, Some(1));
        assert!(case.breaks("R3"));
    }
}
