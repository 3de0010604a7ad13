//! What an all-seeing observer sees: probes as they come, and the state between two steps.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{Incarnation, NodeId, Offset, TopicId, TopicPartition};
use broker_core::metadata::Image;
use broker_core::probe::Probe;
use broker_core::quorum::Quorum;
use broker_core::step::{Key, ObjOp, ObjResult, Tok};
use broker_core::time::Wall;
use broker_core::wal::Wal;
use bytes::Bytes;

use crate::handoff::Handoff;
use crate::history::{HistoryEvent, SimTime};

/// One piece of evidence, in the order of the run.
#[derive(Clone, Copy, Debug)]
pub enum Evidence<'a> {
    /// A node left a mark.
    Probe {
        /// Which node.
        node: NodeId,
        /// The mark.
        probe: &'a Probe,
    },
    /// An operation reached the object store and was judged there, at this moment; the answer may
    /// be lost later.
    Store {
        /// Who asked.
        node: NodeId,
        /// Under which token.
        tok: Tok,
        /// The operation.
        op: &'a ObjOp,
        /// What the store made of it.
        result: &'a ObjResult,
        /// It landed after its answer was given up for lost, or as a duplicate.
        late: bool,
    },
    /// A node starts, dies, or stops and goes on.
    Node {
        /// Which node.
        node: NodeId,
        /// What happened.
        event: NodeEvent,
    },
    /// A client saw something.
    History(&'a HistoryEvent),
    /// A query tells something of a handoff.
    Handoff(&'a Handoff),
    /// The safety phase ended: from now on a chosen core is healthy and stays so.
    Healed,
}

/// What can happen to a node from outside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NodeEvent {
    /// Its process starts.
    Booted(Incarnation),
    /// Its process is gone.
    Crashed {
        /// Bytes of its log device that were appended, not synced, and are lost.
        unsynced_lost: u64,
    },
    /// Its process is frozen.
    Paused,
    /// Its process goes on.
    Resumed,
    /// From now on it can not reach (some of) the others, its store or its clients.
    Impaired,
    /// It can again.
    Restored,
}

/// A reader that reads on for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tail {
    /// Whose.
    pub client: u16,
    /// Where.
    pub partition: TopicPartition,
    /// What it reads next, if it has a position.
    pub next: Option<Offset>,
}

/// A membership in a group that is under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Whose.
    pub client: u16,
    /// The operation that it is.
    pub op: u32,
    /// The group.
    pub group: String,
    /// What it reads, if that is known to exist.
    pub topic: Option<TopicId>,
    /// It is a member, has what it was assigned, and knows where to read.
    pub settled: bool,
    /// It stays as long as the run.
    pub stays: bool,
    /// What it may read.
    pub claims: Vec<TopicPartition>,
}

/// Read-only access to everything.
pub trait View {
    /// The controllers, ascending.
    fn controllers(&self) -> &[NodeId];
    /// The brokers, ascending.
    fn brokers(&self) -> &[NodeId];
    /// Whether a node's process runs (a paused one does).
    fn is_up(&self, node: NodeId) -> bool;
    /// What a node's wall clock shows at this true time.
    fn wall(&self, node: NodeId, at: SimTime) -> Option<Wall>;
    /// A running controller's quorum.
    fn quorum(&self, node: NodeId) -> Option<&Quorum>;
    /// A running broker's write-ahead log.
    fn wal(&self, node: NodeId) -> Option<&Wal>;
    /// A running node's committed image.
    fn image(&self, node: NodeId) -> Option<&Image>;
    /// Bytes of a controller's log that would survive a crash at this moment.
    fn device_end(&self, node: NodeId) -> u64;
    /// The state file that would survive a crash at this moment.
    fn device_state(&self, node: NodeId) -> Bytes;
    /// An object's bytes in the store at this moment.
    fn object(&self, key: &Key) -> Option<Bytes>;
    /// Keys in the store under a prefix at this moment, ascending.
    fn keys(&self, prefix: &str) -> Vec<Key>;
    /// In the liveness phase: whether this node belongs to the healthy core.
    fn in_core(&self, node: NodeId) -> bool;
    /// The readers that read on for ever and found their topic.
    fn tails(&self) -> Vec<Tail>;
    /// The memberships in groups.
    fn memberships(&self) -> Vec<Membership>;
    /// Whether this operation of a client has begun and not ended.
    fn is_under_way(&self, client: u16, op: u32) -> bool;
    /// What each blocked flow of the system waits for, one line each; for the liveness verdicts.
    fn blocked(&self) -> Vec<String>;
}
