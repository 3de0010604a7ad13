//! A second, independent reading of the metadata log: what its records add up to, as far as the
//! properties ask. It is written from the records' meaning and shares no code with
//! `broker_core::metadata`, so that a slip in one of them shows. It applies also what it finds
//! wrong, as a node would, so that one property can be judged alone.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{
    BrokerEpoch, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId, Offset, PartitionEpoch, StreamId,
    TopicId, TopicPartition,
};
use broker_core::metadata::record::{CommittedRange, Record};

/// The metadata after the newest entry that any node applied.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ledger {
    /// Offset of the next entry.
    pub(crate) end: MetaOffset,
    pub(crate) brokers: BTreeMap<NodeId, Broker>,
    /// Names and configs.
    pub(crate) topics: BTreeMap<TopicId, (String, BTreeMap<String, String>)>,
    pub(crate) topics_gone: BTreeSet<TopicId>,
    /// Topics whose brokers set the timestamps, or did once.
    pub(crate) stamped: BTreeSet<TopicId>,
    pub(crate) partitions: BTreeMap<TopicPartition, Partition>,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    pub(crate) wals: BTreeMap<(NodeId, BrokerEpoch), Wal>,
}

/// A registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Broker {
    pub(crate) epoch: BrokerEpoch,
    pub(crate) fenced: bool,
    pub(crate) leaving: bool,
}

/// A partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Partition {
    pub(crate) stream: StreamId,
    pub(crate) replica: Option<NodeId>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) partition_epoch: PartitionEpoch,
}

/// A stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stream {
    pub(crate) partition: TopicPartition,
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) open: bool,
    pub(crate) end: Offset,
    /// One per opening, ascending by epoch and start.
    pub(crate) ranges: Vec<Range>,
    /// Committed pieces in the order of their commits.
    pub(crate) pieces: Vec<Piece>,
}

/// What one owner wrote under one epoch; it ends where the next one starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Range {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) node: NodeId,
    pub(crate) broker_epoch: BrokerEpoch,
    pub(crate) start: Offset,
}

/// A part of a stream in an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Piece {
    pub(crate) object: ObjectId,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
}

/// An object's life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Object {
    Prepared { node: NodeId, epoch: BrokerEpoch },
    Committed,
    Destroyed,
}

/// A WAL.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Wal {
    pub(crate) recoverer: Option<(NodeId, BrokerEpoch)>,
    pub(crate) sealed: Option<Seal>,
}

/// A WAL's end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Seal {
    /// Nothing at or behind it counts.
    pub(crate) end: Lsn,
    /// Number of the evidence by which the seal became known.
    pub(crate) pos: u64,
}

impl Stream {
    /// Exclusive end of the range at `place`.
    pub(crate) fn range_end(&self, place: usize) -> Offset {
        self.ranges.get(place + 1).map_or(self.end, |next| next.start)
    }
}

impl Ledger {
    /// The numbers of evidence about a node's WALs.
    pub(crate) fn positions(&mut self, owner: NodeId, with: &mut dyn FnMut(&mut u64)) {
        let wals = self.wals.range_mut((owner, BrokerEpoch(0))..);
        let own = wals.take_while(|((node, _), _)| *node == owner);
        own.filter_map(|(_, wal)| wal.sealed.as_mut()).for_each(|seal| with(&mut seal.pos));
    }

    /// Whether what was appended at `[base, end)` under `epoch` is committed as such, or its stream
    /// is deleted.
    pub(crate) fn covers(
        &self,
        stream: StreamId,
        epoch: LeaderEpoch,
        base: Offset,
        end: Offset,
    ) -> bool {
        let Some(stream) = self.streams.get(&stream) else { return true };
        let Ok(place) = stream.ranges.binary_search_by_key(&epoch, |range| range.epoch) else {
            return false;
        };
        stream.ranges[place].start <= base && end <= stream.range_end(place).min(stream.end)
    }

    /// The stream of a partition.
    pub(crate) fn stream_of(&self, partition: TopicPartition) -> Option<&Stream> {
        self.streams.get(&self.partitions.get(&partition)?.stream)
    }

    /// Where a WAL begins: at the end of the node's earlier ones.
    pub(crate) fn wal_start(&self, node: NodeId, epoch: BrokerEpoch) -> Lsn {
        let earlier = self.wals.range((node, BrokerEpoch(0))..(node, epoch));
        earlier.filter_map(|(_, wal)| Some(wal.sealed?.end)).max().unwrap_or_default()
    }

    /// The current registration of a broker, if this is it.
    pub(crate) fn current(&self, node: NodeId, epoch: BrokerEpoch) -> Option<&Broker> {
        self.brokers.get(&node).filter(|broker| broker.epoch == epoch)
    }

    /// Applies one record of the entry at `self.end`; `pos` numbers the evidence.
    pub(crate) fn apply(&mut self, record: &Record, pos: u64) {
        match record {
            Record::RegisterBroker { node, .. } => {
                let epoch = BrokerEpoch(self.end.0);
                self.brokers.insert(*node, Broker { epoch, fenced: true, leaving: false });
                self.wals.insert((*node, epoch), Wal::default());
            }
            Record::BrokerChange { node, fenced, in_controlled_shutdown, .. } => {
                if let Some(broker) = self.brokers.get_mut(node) {
                    (broker.fenced, broker.leaving) = (*fenced, *in_controlled_shutdown);
                }
            }
            Record::Topic { name, topic, .. } => {
                self.topics.insert(*topic, (name.clone(), BTreeMap::new()));
            }
            Record::Config { topic, key, value } => self.config(*topic, key, value.as_deref()),
            Record::ProducerIds { .. } | Record::AdminDone { .. } => {}
            Record::RemoveTopic { topic } => self.remove_topic(*topic),
            Record::Partition { partition, stream, replica } => {
                self.add_partition(*partition, *stream, *replica);
            }
            Record::PartitionChange {
                partition,
                replica,
                leader,
                leader_epoch,
                partition_epoch,
            } => {
                if let Some(known) = self.partitions.get_mut(partition) {
                    (known.replica, known.leader) = (*replica, *leader);
                    known.leader_epoch = *leader_epoch;
                    known.partition_epoch = *partition_epoch;
                }
            }
            Record::OpenStream { stream, epoch, node, broker_epoch } => {
                if let Some(known) = self.streams.get_mut(stream) {
                    (known.epoch, known.open) = (Some(*epoch), true);
                    let start = known.end;
                    let (epoch, node, broker_epoch) = (*epoch, *node, *broker_epoch);
                    known.ranges.push(Range { epoch, node, broker_epoch, start });
                }
            }
            Record::CloseStream { stream, .. } => {
                if let Some(known) = self.streams.get_mut(stream) {
                    known.open = false;
                }
            }
            Record::PrepareObject { object, node, epoch, .. } => {
                self.objects.insert(*object, Object::Prepared { node: *node, epoch: *epoch });
            }
            Record::CommitObject { object, ranges, .. } => self.commit(*object, ranges),
            Record::DestroyObject { object } => {
                self.objects.insert(*object, Object::Destroyed);
            }
            Record::AssignRecovery { node, epoch, recoverer, recoverer_epoch } => {
                let wal = self.wals.entry((*node, *epoch)).or_default();
                wal.recoverer = Some((*recoverer, *recoverer_epoch));
            }
            Record::SealWal { node, epoch, end } => {
                let wal = self.wals.entry((*node, *epoch)).or_default();
                wal.sealed.get_or_insert(Seal { end: *end, pos });
            }
        }
    }

    fn add_partition(
        &mut self,
        partition: TopicPartition,
        stream: StreamId,
        replica: Option<NodeId>,
    ) {
        let fresh = Partition {
            stream,
            replica,
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
        };
        self.partitions.insert(partition, fresh);
        let empty = Stream {
            partition,
            epoch: None,
            open: false,
            end: Offset(0),
            ranges: Vec::new(),
            pieces: Vec::new(),
        };
        self.streams.insert(stream, empty);
    }

    fn config(&mut self, topic: TopicId, key: &str, value: Option<&str>) {
        if key == "message.timestamp.type" && value == Some("LogAppendTime") {
            self.stamped.insert(topic);
        }
        let Some((_, configs)) = self.topics.get_mut(&topic) else { return };
        match value {
            Some(value) => configs.insert(key.into(), value.into()),
            None => configs.remove(key),
        };
    }

    fn remove_topic(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
        self.topics_gone.insert(topic);
        self.partitions.retain(|partition, _| partition.topic != topic);
        let gone = self.streams.extract_if(.., |_, stream| stream.partition.topic == topic);
        let pieces: Vec<Piece> = gone.flat_map(|(_, stream)| stream.pieces).collect();
        for Piece { object, .. } in pieces {
            if !self.holds_data(object) {
                self.objects.insert(object, Object::Destroyed);
            }
        }
    }

    /// An object that no stream has data in is given up.
    fn holds_data(&self, object: ObjectId) -> bool {
        self.streams.values().any(|state| state.pieces.iter().any(|piece| piece.object == object))
    }

    fn commit(&mut self, object: ObjectId, ranges: &[CommittedRange]) {
        let holds_data = ranges.iter().any(|range| self.streams.contains_key(&range.stream));
        let state = if holds_data { Object::Committed } else { Object::Destroyed };
        self.objects.insert(object, state);
        for range in ranges {
            if let Some(stream) = self.streams.get_mut(&range.stream) {
                stream.end = range.end;
                stream.pieces.push(Piece { object, start: range.start, end: range.end });
            }
        }
    }
}
