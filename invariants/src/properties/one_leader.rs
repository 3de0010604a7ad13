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
