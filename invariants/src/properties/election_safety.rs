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
