//! The records of the metadata log. One entry of the log holds one batch of them, applied whole.
//!
//! Sources: KIP-631 for brokers, topics and partitions; AutoMQ's `S3StreamRecord`, `RangeRecord`,
//! `S3ObjectRecord`, `NodeWALMetadataRecord` for streams, objects and WALs.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::{self, FormatError};
use crate::ids::{
    BrokerEpoch, IncarnationId, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, PartitionEpoch,
    ProducerId, StreamId, TopicId, TopicPartition, ZoneId,
};

/// One change of the metadata.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Record {
    /// A broker registers, fenced. Its epoch is the offset of the entry that holds this record.
    /// It also starts an empty WAL of that epoch for the node.
    RegisterBroker {
        /// The broker.
        node: NodeId,
        /// Its process.
        incarnation_id: IncarnationId,
        /// Its zone.
        zone: ZoneId,
    },
    /// A broker is fenced, unfenced or asked to leave.
    BrokerChange {
        /// The broker.
        node: NodeId,
        /// Its registration.
        epoch: BrokerEpoch,
        /// Whether it is fenced.
        fenced: bool,
        /// Whether it is in controlled shutdown.
        in_controlled_shutdown: bool,
    },
    /// A topic comes into being.
    Topic {
        /// Its name.
        name: String,
        /// Its id.
        topic: TopicId,
        /// The `nonce` of the admin request: a retry finds its own topic by it.
        nonce: u64,
    },
    /// A topic goes; its partitions, streams and configs with it; its objects lose its ranges.
    RemoveTopic {
        /// Its id.
        topic: TopicId,
    },
    /// A topic config is set or unset.
    Config {
        /// The topic.
        topic: TopicId,
        /// The key.
        key: String,
        /// The value, or unset.
        value: Option<String>,
    },
    /// A partition comes into being, with its stream, closed and empty. It has leader epoch 0 and
    /// partition epoch 0.
    Partition {
        /// Which.
        partition: TopicPartition,
        /// Its stream.
        stream: StreamId,
        /// The broker that shall lead it; `None` while no broker is eligible.
        replica: Option<NodeId>,
    },
    /// A partition's leadership changes.
    PartitionChange {
        /// Which.
        partition: TopicPartition,
        /// The broker that shall lead it (replicas = ISR = \[replica\]).
        replica: Option<NodeId>,
        /// The leader published to clients: `None` until the replica has opened the stream.
        leader: Option<NodeId>,
        /// Raised whenever `replica` changes.
        leader_epoch: LeaderEpoch,
        /// Raised by one on every change.
        partition_epoch: PartitionEpoch,
    },
    /// A stream is opened under a new epoch: a new range starts at its end.
    OpenStream {
        /// The stream.
        stream: StreamId,
        /// Its new epoch.
        epoch: LeaderEpoch,
        /// Its owner.
        node: NodeId,
        /// The owner's registration, whose WAL the data goes to.
        broker_epoch: BrokerEpoch,
    },
    /// A stream is closed: everything ever acknowledged in it is committed.
    CloseStream {
        /// The stream.
        stream: StreamId,
        /// The epoch that ends.
        epoch: LeaderEpoch,
    },
    /// An object id is reserved.
    PrepareObject {
        /// The id.
        object: ObjectId,
        /// For whom.
        node: NodeId,
        /// For which registration of it.
        epoch: BrokerEpoch,
        /// The broker's request number.
        request: u64,
    },
    /// An object becomes part of its streams: their ends move to the ranges' ends.
    CommitObject {
        /// The id.
        object: ObjectId,
        /// Stream-set or single stream.
        kind: ObjectKind,
        /// Size in bytes.
        size: u64,
        /// The ranges it holds.
        ranges: Vec<CommittedRange>,
        /// Whose WAL the data came from.
        wal_node: NodeId,
        /// Which epoch of it.
        wal_epoch: BrokerEpoch,
    },
    /// An object will be deleted: expired, or nothing refers to it any more.
    DestroyObject {
        /// The id.
        object: ObjectId,
    },
    /// `recoverer` takes over the WAL `(node, epoch)`: the owner's commits are refused from here
    /// on.
    AssignRecovery {
        /// Whose WAL.
        node: NodeId,
        /// Which epoch of it.
        epoch: BrokerEpoch,
        /// Who recovers.
        recoverer: NodeId,
        /// In which registration.
        recoverer_epoch: BrokerEpoch,
    },
    /// The WAL `(node, epoch)` is recovered up to `end`; nothing of it at or behind `end` counts.
    /// Streams still open in that epoch are closed by `CloseStream` records of the same batch.
    SealWal {
        /// Whose WAL.
        node: NodeId,
        /// Which epoch of it.
        epoch: BrokerEpoch,
        /// Exclusive end; the node's next epoch starts its WAL here.
        end: Lsn,
    },
    /// The producer ids below `next` are given out: the newest block went to this broker
    /// (`ProducerIdsRecord`). No id is given twice.
    ProducerIds {
        /// The broker.
        node: NodeId,
        /// Its registration.
        epoch: BrokerEpoch,
        /// The first id of the next block.
        next: ProducerId,
    },
    /// An admin request that changed something was carried out by this batch: a retry of it, even
    /// to the next controller, gets the same answer.
    AdminDone {
        /// The request's nonce.
        nonce: u64,
        /// The topic created, if it was a creation.
        created: Option<TopicId>,
    },
}

/// A part of a stream inside an object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CommittedRange {
    /// The stream.
    pub stream: StreamId,
    /// The epoch in which the data was appended.
    pub epoch: LeaderEpoch,
    /// First offset.
    pub start: Offset,
    /// Exclusive end.
    pub end: Offset,
}

/// The two kinds of committed objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ObjectKind {
    /// Data of many streams.
    StreamSet,
    /// Data of one stream.
    Stream,
}

/// `MBAT`: a batch of metadata records.
const MAGIC: u32 = 0x4D42_4154;

/// The newest layout of a batch that this build reads, and the one it writes.
const VERSION: u8 = 1;

/// The bytes of one batch, as an entry of the metadata log holds them.
#[must_use]
pub fn encode_batch(records: &[Record]) -> Bytes {
    let body = postcard::to_allocvec(records).expect("records have known lengths");
    Bytes::from(format::seal(MAGIC, VERSION, &body))
}

/// The records of one batch.
///
/// # Errors
/// If `bytes` is not exactly one whole, undamaged batch of a known version.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Record>, FormatError> {
    let (_, body, behind) = format::open(MAGIC, VERSION, bytes)?;
    let (records, rest) = postcard::take_from_bytes(body).map_err(|_| FormatError::Body)?;
    if rest.is_empty() && behind.is_empty() { Ok(records) } else { Err(FormatError::Body) }
}

#[cfg(test)]
mod tests;
