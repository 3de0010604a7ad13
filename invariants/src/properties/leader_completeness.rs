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
