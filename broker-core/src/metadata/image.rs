//! The cluster's metadata as a value: what the committed records up to some offset add up to.
//!
//! Applying is total and deterministic, so that any two nodes at the same offset hold the same
//! image (invariant M1). It decides nothing: which records to write is the controller's business.
//! Here are the state and what can be asked of it; how records change it is in `apply`.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use core::hash::{Hash, Hasher};

use crate::ids::{
    BrokerEpoch, IncarnationId, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId, Offset,
    PartitionEpoch, PartitionIndex, ProducerId, StreamId, TopicId, TopicPartition, ZoneId,
};
use crate::metadata::digest::Digest;
use crate::metadata::record::{CommittedRange, ObjectKind};

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
    /// Next producer id.
    pub next_producer: ProducerId,
    /// Every object ever prepared for a broker's current registration, by its request number: a
    /// retry of the request is answered alike, whatever became of the object.
    pub requests: BTreeMap<(NodeId, BrokerEpoch, u64), ObjectId>,
    /// The newest admin requests that changed something, oldest first, so that a retry is known.
    pub admin_done: VecDeque<AdminDone>,
    /// What can be derived from the above, kept so that nothing must be searched.
    pub(super) index: Index,
}

/// Derived from the image's maps, by `apply` alone.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Index {
    /// Partitions by the broker that shall lead them; no empty sets.
    pub(super) by_replica: BTreeMap<NodeId, BTreeSet<TopicPartition>>,
    /// Partitions without a replica.
    pub(super) unplaced: BTreeSet<TopicPartition>,
    /// Open streams by the WAL that holds their newest data.
    pub(super) open: BTreeSet<(NodeId, BrokerEpoch, StreamId)>,
    /// WALs that are not sealed.
    pub(super) unsealed: BTreeSet<(NodeId, BrokerEpoch)>,
    /// Prepared objects.
    pub(super) prepared: BTreeSet<ObjectId>,
    /// Sum of the digests of everything that grows with the data: objects, the streams' pieces, the
    /// requests.
    pub(super) grown: u64,
}

/// Every how many entries the probe `meta.applied` carries the image's digest.
pub const DIGEST_EVERY: u64 = 16;

/// An admin request that changed something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AdminDone {
    /// Its nonce.
    pub nonce: u64,
    /// The topic it created, if it was a creation.
    pub created: Option<TopicId>,
}

/// Admin requests remembered. A retry comes within a client's request timeout; the bound only has
/// to outlast that many changes by others.
pub const ADMIN_DONE_MAX: usize = 256;

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
    /// A digest of the whole image: equal images have equal ones. Its cost does not grow with the
    /// data committed.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = Digest::default();
        (self.end, &self.brokers, &self.topics, &self.topic_ids).hash(&mut digest);
        (&self.partitions, &self.wals, self.next_stream, self.next_object).hash(&mut digest);
        self.next_producer.hash(&mut digest);
        self.admin_done.hash(&mut digest);
        for (id, stream) in &self.streams {
            let StreamState { partition, epoch, open, start, end, ranges, objects } = stream;
            (id, partition, epoch, open, start, end, ranges, objects.len()).hash(&mut digest);
        }
        (self.objects.len(), self.requests.len(), self.index.grown).hash(&mut digest);
        digest.finish()
    }

    /// The digest, if the last entry applied is one after which all nodes compare theirs.
    #[must_use]
    pub fn checkpoint(&self) -> Option<u64> {
        let last = self.end.0.checked_sub(1)?;
        last.is_multiple_of(DIGEST_EVERY).then(|| self.digest())
    }

    /// Whether a broker may lead: registered, unfenced, not on its way out (invariant C3).
    #[must_use]
    pub fn can_lead(&self, node: NodeId) -> bool {
        self.brokers.get(&node).is_some_and(|b| !b.fenced && !b.in_controlled_shutdown)
    }

    /// A topic's id and state, by its name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<(TopicId, &TopicState)> {
        self.topic_ids.get(name).map(|&id| (id, &self.topics[&id]))
    }

    /// The partitions of a topic, ascending.
    pub fn partitions_of_topic(
        &self,
        topic: TopicId,
    ) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        self.partitions.range(of_topic(topic)).map(|(&id, state)| (id, state))
    }

    /// The partitions that `node` shall lead, ascending.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = TopicPartition> {
        self.index.by_replica.get(&node).into_iter().flatten().copied()
    }

    /// How many partitions `node` shall lead.
    #[must_use]
    pub fn partition_count(&self, node: NodeId) -> usize {
        self.index.by_replica.get(&node).map_or(0, BTreeSet::len)
    }

    /// The partitions that nobody shall lead, ascending.
    pub fn unplaced(&self) -> impl Iterator<Item = TopicPartition> {
        self.index.unplaced.iter().copied()
    }

    /// The open streams whose newest data goes to this WAL, ascending.
    pub fn open_streams(&self, node: NodeId, epoch: BrokerEpoch) -> impl Iterator<Item = StreamId> {
        let range = (node, epoch, StreamId(0))..=(node, epoch, StreamId(u64::MAX));
        self.index.open.range(range).map(|&(_, _, stream)| stream)
    }

    /// The WALs that are not sealed, by node and epoch, ascending.
    pub fn unsealed_wals(&self) -> impl Iterator<Item = (NodeId, BrokerEpoch)> {
        self.index.unsealed.iter().copied()
    }

    /// The WALs of `node` that are not sealed, oldest first.
    pub fn unsealed_wals_of(&self, node: NodeId) -> impl Iterator<Item = BrokerEpoch> {
        self.index.unsealed.range(of_node(node)).map(|&(_, epoch)| epoch)
    }

    /// The WALs that `node` recovers in its registration `epoch`, ascending.
    pub fn recoveries_of(
        &self,
        node: NodeId,
        epoch: BrokerEpoch,
    ) -> impl Iterator<Item = (NodeId, BrokerEpoch)> {
        self.unsealed_wals().filter(move |wal| self.wals[wal].recoverer == Some((node, epoch)))
    }

    /// Where the WAL `(node, epoch)` starts: the sealed end of the node's WAL before it, 0 if there
    /// is none; `None` while that one is not sealed.
    #[must_use]
    pub fn wal_start(&self, node: NodeId, epoch: BrokerEpoch) -> Option<Lsn> {
        let before = (node, BrokerEpoch(0))..(node, epoch);
        self.wals.range(before).next_back().map_or(Some(Lsn(0)), |(_, wal)| wal.sealed)
    }

    /// The objects that are prepared and neither committed nor destroyed, ascending.
    pub fn prepared(&self) -> impl Iterator<Item = ObjectId> {
        self.index.prepared.iter().copied()
    }

    /// The object prepared by an earlier copy of this request, whatever became of it since.
    #[must_use]
    pub fn prepared_by(&self, node: NodeId, epoch: BrokerEpoch, request: u64) -> Option<ObjectId> {
        self.requests.get(&(node, epoch, request)).copied()
    }

    /// The committed pieces of a stream that hold any of `[from, to)`, ascending: start, exclusive
    /// end, object. They leave no gap within the committed part.
    pub fn covering(
        &self,
        stream: StreamId,
        from: Offset,
        to: Offset,
    ) -> impl Iterator<Item = (Offset, Offset, ObjectId)> {
        let objects = self.streams.get(&stream).map(|s| &s.objects).filter(|_| from < to);
        let first = objects
            .and_then(|o| o.range(..=from).next_back())
            .filter(|(_, (end, _))| *end > from)
            .map_or(from, |(start, _)| *start);
        objects
            .into_iter()
            .flat_map(move |o| o.range(first..to))
            .map(|(&start, &(end, object))| (start, end, object))
    }
}

impl StreamState {
    /// The newest owner, open or not.
    #[must_use]
    pub fn owner(&self) -> Option<&StreamRange> {
        self.ranges.last()
    }

    /// What was written under this epoch, and its exclusive end as far as committed.
    #[must_use]
    pub fn range(&self, epoch: LeaderEpoch) -> Option<(&StreamRange, Offset)> {
        let at = self.ranges.binary_search_by_key(&epoch, |range| range.epoch).ok()?;
        let end = self.ranges.get(at + 1).map_or(self.end, |next| next.start);
        Some((&self.ranges[at], end))
    }
}

pub(super) fn of_topic(topic: TopicId) -> core::ops::RangeInclusive<TopicPartition> {
    let at = |index| TopicPartition { topic, index: PartitionIndex(index) };
    at(0)..=at(u32::MAX)
}

fn of_node(node: NodeId) -> core::ops::RangeInclusive<(NodeId, BrokerEpoch)> {
    (node, BrokerEpoch(0))..=(node, BrokerEpoch(u64::MAX))
}
