//! R5 HwMonotone: in one process a high watermark never falls, and a leader raises it only over
//! entries that a majority of the voters would still have after a crash of them all at this moment.
//! Judged by the devices themselves, not by what followers say. Source: KIP-595; KAFKA-10533,
//! KAFKA-12619.

use broker_core::ids::{MetaOffset, NodeId};

use crate::facts::raft::{LogEntry, Raft};
use crate::view::View;
use crate::{Check, require};

/// A node's high watermark moved.
pub(crate) fn moved(node: NodeId, was: MetaOffset, to: MetaOffset) -> Check {
    require!(to >= was, R5, "controller", "node {node}: high watermark {was} → {to}");
    Ok(())
}

/// A leader committed `entry`, the last before `end` in its own log.
pub(crate) fn durable(
    node: NodeId,
    end: MetaOffset,
    entry: Option<&LogEntry>,
    raft: &Raft,
    view: &dyn View,
) -> Check {
    let Some(entry) = entry else {
        require!(
            end == MetaOffset(0),
            R5,
            "controller",
            "node {node} commits up to {end}, beyond the end of its own log"
        );
        return Ok(());
    };
    let voters = view.controllers();
    let holds = |voter: NodeId| {
        let held = raft.get(voter).and_then(|replica| replica.before(end));
        held.is_some_and(|held| held.same(entry) && held.byte_end <= view.device_end(voter))
    };
    let holders = voters.iter().filter(|voter| holds(**voter)).count();
    require!(
        holders > voters.len() / 2,
        R5,
        "controller",
        "node {node} commits {entry:?} before {end}; {holders} of {} voters have it durable",
        voters.len()
    );
    Ok(())
}

/// A follower heard of a high watermark.
pub(crate) fn heard(node: NodeId, to: MetaOffset, committed: MetaOffset) -> Check {
    require!(
        to <= committed,
        R5,
        "controller",
        "node {node} heard of the high watermark {to}, the leaders found {committed}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Incarnation;

    use crate::view::NodeEvent;
    use crate::testing::{C, Case};

    /// Three voters hold two entries of ten bytes each.
    fn replicated() -> Case {
        let mut case = Case::new("R5");
        for node in 0..3 {
            case.appends(node, 0, 1, 10).appends(node, 1, 1, 11);
        }
        case
    }

    #[test]
    fn commit_durable_on_a_majority_holds() {
        let mut case = replicated();
        case.durable(0, 20).durable(2, 20).commits(0, 2, 1, Some(1));
        assert!(case.holds());
    }

    #[test]
    fn commit_durable_on_a_minority_breaks() {
        let mut case = replicated();
        case.durable(0, 20).durable(2, 19).commits(0, 2, 1, Some(1));
        assert!(case.breaks("R5"));
    }

    #[test]
    fn commit_beyond_the_leaders_own_log_breaks() {
        let mut case = replicated();
        case.durable(0, 20).durable(2, 20).commits(0, 3, 1, Some(1));
        assert!(case.breaks("R5"));
    }

    #[test]
    fn commit_over_other_entries_breaks() {
        let mut case = replicated();
        case.appends(2, 1, 2, 99).durable(0, 20).durable(2, 20).commits(0, 2, 1, Some(1));
        assert!(case.breaks("R5"));
    }

    #[test]
    fn high_watermark_that_falls_breaks() {
        let mut case = replicated();
        case.durable(0, 20).durable(1, 20).commits(0, 2, 1, Some(1)).commits(0, 1, 1, Some(1));
        assert!(case.breaks("R5"));
    }

    #[test]
    fn high_watermark_that_falls_with_the_process_holds() {
        let mut case = replicated();
        case.durable(0, 20).durable(1, 20).commits(0, 2, 1, Some(1));
        case.event(C, NodeEvent::Booted(Incarnation(2))).commits(0, 1, 1, None);
        assert!(case.holds());
    }

    #[test]
    fn high_watermark_that_nobody_found_breaks() {
        let mut case = replicated();
        case.durable(0, 20).durable(1, 20).commits(0, 1, 1, Some(1)).commits(1, 2, 1, None);
        assert!(case.breaks("R5"));
    }
}
