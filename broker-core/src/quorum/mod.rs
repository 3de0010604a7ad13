//! The metadata quorum: KRaft's pull-based Raft (KIP-595, KIP-996) as a pure state machine.

use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{MetaOffset, NodeId, QuorumEpoch};

/// A voter's state (KIP-595, KIP-996).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Knows an epoch, perhaps a leader, may have voted.
    Unattached,
    /// Asks for pre-votes.
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Gave up leading; stays in its epoch until the election timeout.
    Resigned,
    /// Fetches from a leader.
    Follower,
}

/// An entry of the metadata log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch of the leader that appended it.
    pub epoch: QuorumEpoch,
    /// What it holds.
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Payload {
    /// A leader's first entry (Kafka's LeaderChangeMessage).
    LeaderChange {
        /// The leader.
        leader: NodeId,
        /// The voters.
        voters: Vec<NodeId>,
    },
    /// One atomic batch of records, encoded by [`crate::metadata::record`].
    Batch(Bytes),
}

/// What the quorum tells the state machine on top of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QuorumEvent {
    /// This node leads; its own log is the newest, but not all of it is committed yet.
    BecameLeader {
        /// The epoch.
        epoch: QuorumEpoch,
    },
    /// This node leads no more; entries it proposed and not seen committed are in doubt.
    LostLeadership {
        /// The epoch.
        epoch: QuorumEpoch,
    },
    /// An entry is committed; they come in order, each once per boot.
    Committed {
        /// Its offset.
        offset: MetaOffset,
        /// The entry.
        entry: Entry,
    },
}

/// A voter (work in progress).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Quorum {}
