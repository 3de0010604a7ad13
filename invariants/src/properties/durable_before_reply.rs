//! R9 DurableBeforeReply: when a vote is given, the voter's state file holds it; when a follower
//! says how far its log goes, its device holds that much; when a leader takes office, its epoch is
//! durable. Judged by what would survive a crash at this moment. Source: KIP-595; KAFKA-10533.

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};

use crate::bytes::Ballot;
use crate::facts::raft::Replica;
use crate::{Check, require};

/// `node` gives its vote; `state` is its state file.
pub(crate) fn voted(
    node: NodeId,
    epoch: QuorumEpoch,
    candidate: NodeId,
    state: Option<Ballot>,
) -> Check {
    require!(
        state.is_some_and(|state| state.epoch == epoch && state.voted == Some(candidate)),
        R9,
        "controller",
        "node {node} votes for node {candidate} in epoch {epoch}; its device says {state:?}"
    );
    Ok(())
}

/// `node` takes office.
pub(crate) fn leads(node: NodeId, epoch: QuorumEpoch, state: Option<Ballot>) -> Check {
    require!(
        state.is_some_and(|state| state.epoch >= epoch),
        R9,
        "controller",
        "node {node} leads epoch {epoch}; its device says {state:?}"
    );
    Ok(())
}

/// `node` says that its log is durable up to `end`.
pub(crate) fn promised(
    node: NodeId,
    end: MetaOffset,
    replica: Option<&Replica>,
    device_end: u64,
) -> Check {
    if end == MetaOffset(0) {
        return Ok(());
    }
    let last = replica.and_then(|replica| replica.before(end));
    require!(
        last.is_some_and(|last| last.byte_end <= device_end),
        R9,
        "controller",
        "node {node} promises its log up to {end}, which ends with {last:?}; its device holds \
         {device_end} bytes"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};
    use broker_core::probe::Probe;

    use crate::testing::{C, Case};

    fn votes(case: &mut Case) {
        let (epoch, candidate) = (QuorumEpoch(2), NodeId(1));
        case.probe(C, &Probe::QuorumVoted { epoch, candidate });
    }

    #[test]
    fn vote_that_is_not_on_the_device_breaks() {
        let mut case = Case::new("R9");
        case.ballot(0, 1, 1);
        votes(&mut case);
        assert!(case.breaks("R9"));
    }

    #[test]
    fn vote_on_the_device_holds() {
        let mut case = Case::new("R9");
        case.ballot(0, 2, 1);
        votes(&mut case);
        assert!(case.holds());
    }

    fn promises(case: &mut Case, end: u64) {
        case.probe(C, &Probe::QuorumFetchSent { fetch_offset: MetaOffset(end) });
    }

    #[test]
    fn promise_of_what_is_not_synced_breaks() {
        let mut case = Case::new("R9");
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11).durable(0, 19);
        promises(&mut case, 2);
        assert!(case.breaks("R9"));
    }

    #[test]
    fn promise_of_what_is_synced_holds() {
        let mut case = Case::new("R9");
        promises(&mut case, 0);
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11).durable(0, 19);
        promises(&mut case, 1);
        assert!(case.holds());
    }

    #[test]
    fn promise_of_what_a_cut_before_the_crash_left_holds() {
        let mut case = Case::new("R9");
        let (from, to) = (MetaOffset(2), MetaOffset(1));
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11).durable(0, 20);
        case.probe(C, &Probe::QuorumTruncated { from, to });
        case.probe(C, &Probe::QuorumLoaded { end: from, torn: false });
        for (at, prefix) in [(0, 10), (1, 11)] {
            let (offset, epoch, byte_end) = (MetaOffset(at), QuorumEpoch(1), (at + 1) * 10);
            case.probe(C, &Probe::QuorumReadBack { offset, epoch, prefix, byte_end });
        }
        promises(&mut case, 2);
        assert!(case.holds());
        promises(&mut case, 3);
        assert!(case.breaks("R9"));
    }

    #[test]
    fn office_in_an_epoch_that_is_not_durable_breaks() {
        let mut case = Case::new("R9");
        case.ballot(0, 2, 0).elected(0, 2);
        assert!(case.holds());
        case.elected(0, 3);
        assert!(case.breaks("R9"));
    }
}
