//! What is told of the metadata quorum (KIP-595, KIP-836).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ids::{MetaOffset, NodeId, QuorumEpoch};
use crate::time::Wall;

/// The metadata quorum as its leader sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct QuorumDescription {
    /// Who leads, and tells this.
    pub leader: NodeId,
    /// Its epoch.
    pub leader_epoch: QuorumEpoch,
    /// All before it is committed. None: of the leader's own epoch nothing is, as yet, and so it
    /// does not know.
    pub high_watermark: Option<MetaOffset>,
    /// The voters, the leader among them.
    pub voters: Vec<ReplicaDescription>,
    /// The brokers that follow, as far as they have fetched from this leader lately.
    pub observers: Vec<ReplicaDescription>,
}

/// How far a node's copy of the metadata log is. Times are by the leader's wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ReplicaDescription {
    /// Whose copy.
    pub node: NodeId,
    /// Where it ends, by the node's last fetch; the rest is None, too, if there was none from this
    /// leader.
    pub end: Option<MetaOffset>,
    /// When that was. The leader's own is now.
    pub last_fetch: Option<Wall>,
    /// When it last had all that the leader had. The leader's own is now.
    pub last_caught_up: Option<Wall>,
}
