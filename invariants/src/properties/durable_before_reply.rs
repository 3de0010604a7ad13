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
