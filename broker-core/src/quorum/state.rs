//! What each role of a voter remembers beyond epoch, leader and vote.
//!
//! Sources: KRaft's `UnattachedState`, `ProspectiveState`, `CandidateState`, `LeaderState`,
//! `ResignedState`, `FollowerState`.

use alloc::collections::{BTreeMap, BTreeSet};

use super::Role;
use super::describe::Fetches;
use crate::ids::{MetaOffset, NodeId};
use crate::peer::QuorumMsg;
use crate::step::QuorumTimer;

/// A role and its memory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum RoleState {
    Unattached,
    Prospective(Ballot),
    Candidate(Ballot),
    Leader(Leader),
    Resigned { check_quorum: bool, successors: alloc::vec::Vec<NodeId>, led: bool },
    Follower(Follower),
}

impl RoleState {
    pub(super) fn name(&self) -> Role {
        match self {
            Self::Unattached => Role::Unattached,
            Self::Prospective(_) => Role::Prospective,
            Self::Candidate(_) => Role::Candidate,
            Self::Leader(_) => Role::Leader,
            Self::Resigned { .. } => Role::Resigned,
            Self::Follower(_) => Role::Follower,
        }
    }
}

/// The count of an election or of a pre-vote.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ballot {
    pub(super) granted: BTreeSet<NodeId>,
    pub(super) rejected: BTreeSet<NodeId>,
    /// Lost; waiting for the backoff to pass.
    pub(super) lost: bool,
}

impl Ballot {
    pub(super) fn of(node: NodeId) -> Self {
        Self { granted: BTreeSet::from([node]), rejected: BTreeSet::new(), lost: false }
    }

    pub(super) fn answered(&self, voter: NodeId) -> bool {
        self.granted.contains(&voter) || self.rejected.contains(&voter)
    }
}

/// A leader's view of the others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Leader {
    /// Offset of the leader's own first entry; known once it is in office.
    pub(super) epoch_start: Option<MetaOffset>,
    /// The other voters.
    pub(super) replicas: BTreeMap<NodeId, Replica>,
    /// Voters that fetched since check-quorum last was satisfied.
    pub(super) fetched: BTreeSet<NodeId>,
    /// What is told of those that fetched, voters and observers: at most one for each node.
    pub(super) fetches: BTreeMap<NodeId, Fetches>,
    /// Fetches that wait for something new, one for each fetcher.
    pub(super) parked: BTreeMap<NodeId, Asked>,
    /// Entries wait for the linger to pass.
    pub(super) lingering: bool,
}

/// What the leader knows of another voter.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Replica {
    /// All before it is durable there and agrees with the leader's log.
    pub(super) end: Option<MetaOffset>,
    /// Whether it fetched since BeginQuorumEpoch last went out.
    pub(super) fetched: bool,
}

/// A fetch that waits; its epoch is the leader's and its offset was validated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asked {
    pub(super) fetch_offset: MetaOffset,
    pub(super) high_watermark: MetaOffset,
    pub(super) id: u64,
}

/// A follower's pull.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Follower {
    /// Fetched successfully from this leader in this epoch; then it pre-votes for nobody.
    pub(super) fetched: bool,
    pub(super) pull: Pull,
}

/// Where the next fetch is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Pull {
    /// To be sent as soon as all of the log is durable.
    Due,
    /// Sent, not answered.
    Sent { id: u64, fetch_offset: MetaOffset },
    /// Refused; the timer sends the next one.
    BackingOff,
}

/// Work that waits while the state file is written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Work {
    Peer { from: NodeId, msg: QuorumMsg },
    Timer(QuorumTimer),
}
