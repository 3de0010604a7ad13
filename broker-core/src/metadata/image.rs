//! The cluster's metadata as a value: what the committed records up to some offset add up to.
//!
//! Applying is total and deterministic, so that any two nodes at the same offset hold the same
//! image (invariant M1). It decides nothing: which records to write is the controller's business.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use crate::ids::{
    BrokerEpoch, IncarnationId, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId, Offset,
    PartitionEpoch, StreamId, TopicId, TopicPartition, ZoneId,
};
use crate::metadata::record::{CommittedRange, ObjectKind, Record};

/// The metadata at one offset.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Image {
    /// Offset of the next entry to apply.
    pub end: MetaOffset,
    /// Registered brokers.
    pub brokers: BTreeMap<NodeId, BrokerState>,
    /// Topics.
    pub topics: BTreeMap<TopicId, TopicState>,
    /// Topics by name.
    pub topic_ids: BTreeMap<String, TopicId>,
    /// Partitions.
    pub partitions: BTreeMap<TopicPartition, PartitionState>,
    /// Streams.
    pub streams: BTreeMap<StreamId, StreamState>,
    /// Objects.
    pub objects: BTreeMap<ObjectId, ObjectState>,
    /// WALs, from registration on; sealed ones stay, for recovery must know their ends.
    pub wals: BTreeMap<(NodeId, BrokerEpoch), WalState>,
    /// Next stream id.
    pub next_stream: StreamId,
    /// Next object id.
    pub next_object: ObjectId,
}

/// A registered broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BrokerState {
    /// Its current registration.
    pub epoch: BrokerEpoch,
    /// Its process.
    pub incarnation_id: IncarnationId,
    /// Its zone.
    pub zone: ZoneId,
    /// Fenced brokers lead nothing.
    pub fenced: bool,
    /// On its way out.
    pub in_controlled_shutdown: bool,
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicState {
    /// Its name.
    pub name: String,
    /// Nonce of the request that made it.
    pub nonce: u64,
    /// Number of partitions.
    pub partitions: u32,
    /// Its configs.
    pub configs: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PartitionState {
    /// Its stream.
    pub stream: StreamId,
    /// Who shall lead.
    pub replica: Option<NodeId>,
    /// Who is published as leader.
    pub leader: Option<NodeId>,
    /// Leadership epoch.
    pub leader_epoch: LeaderEpoch,
    /// Change counter.
    pub partition_epoch: PartitionEpoch,
}

/// A stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StreamState {
    /// Its partition.
    pub partition: TopicPartition,
    /// The epoch it was last opened under; `None` if never.
    pub epoch: Option<LeaderEpoch>,
    /// Whether it is open.
    pub open: bool,
    /// First offset.
    pub start: Offset,
    /// Exclusive end of what is committed.
    pub end: Offset,
    /// One per opening, ascending; the last one's end is `end`.
    pub ranges: alloc::vec::Vec<StreamRange>,
    /// Committed data: start offset → (exclusive end, object). Tiles `[start, end)`.
    pub objects: BTreeMap<Offset, (Offset, ObjectId)>,
}

/// What one owner wrote to a stream in one epoch. Its end is the next range's start, or the
/// stream's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamRange {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The owner.
    pub node: NodeId,
    /// The owner's registration, whose WAL holds the data.
    pub broker_epoch: BrokerEpoch,
    /// First offset.
    pub start: Offset,
}

/// An object's life: prepared, committed, destroyed. (Physical deletion is a later issue.)
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ObjectState {
    /// Reserved for a broker's registration.
    Prepared {
        /// Who.
        node: NodeId,
        /// Which registration.
        epoch: BrokerEpoch,
        /// Its request number.
        request: u64,
    },
    /// Holds data.
    Committed {
        /// Stream-set or single stream.
        kind: ObjectKind,
        /// Bytes.
        size: u64,
        /// Ranges of streams that still exist.
        ranges: BTreeSet<CommittedRange>,
        /// Whose WAL the data came from.
        wal: (NodeId, BrokerEpoch),
    },
    /// To be deleted.
    Destroyed,
}

/// A WAL.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct WalState {
    /// Who recovers it, in which registration.
    pub recoverer: Option<(NodeId, BrokerEpoch)>,
    /// Its end, once recovered.
    pub sealed: Option<Lsn>,
}

/// A committed record that contradicts the image: the node must halt (KAFKA-14275).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unapplicable {
    /// The entry.
    pub offset: MetaOffset,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Image {
    /// Applies the records of the entry at `self.end`, all of them, and moves `end` on by one.
    ///
    /// # Errors
    /// If a record contradicts the image; the image is then not to be used any more.
    pub fn apply(&mut self, records: &[Record]) -> Result<(), Unapplicable> {
        let _ = records;
        todo!("metadata package")
    }
}
