//! Newtypes for every id, epoch and offset, so that no two of them can be mistaken for each other.
//!
//! Kafka's and the KIPs' words; where Kafka has a UUID we keep 128 bits.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The id after this one. Panics on overflow, which no run can reach.
            #[must_use]
            pub fn next(self) -> Self {
                self.plus(1)
            }

            /// The id `by` further on. Panics on overflow, which no run can reach.
            #[must_use]
            pub fn plus(self, by: $inner) -> Self {
                Self(self.0.checked_add(by).expect("id space exhausted"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// A controller or broker. One numbering for both, unique in a cluster.
    NodeId(u16)
}
id! {
    /// An availability zone.
    ZoneId(u8)
}
id! {
    /// A client's connection to one broker; the host never uses a number twice.
    ConnId(u64)
}
id! {
    /// Kafka's topic UUID: a topic created again under the same name has another one.
    TopicId(u128)
}
id! {
    /// A partition's number within its topic.
    PartitionIndex(u32)
}
id! {
    /// The stream that holds a partition's data in shared storage.
    StreamId(u64)
}
id! {
    /// An object prepared, committed or destroyed by the controller.
    ObjectId(u64)
}
id! {
    /// A record's place in its partition. Batches carry the offset of their first record.
    Offset(u64)
}
id! {
    /// A record's place in one node's write-ahead log; it runs on over the node's epochs.
    Lsn(u64)
}
id! {
    /// An entry's place in the metadata log. One entry is one atomic batch of records.
    MetaOffset(u64)
}
id! {
    /// The metadata quorum's term.
    QuorumEpoch(u32)
}
id! {
    /// A broker's registration: the metadata offset of its RegisterBroker record.
    BrokerEpoch(u64)
}
id! {
    /// A partition's leadership, and the epoch of the stream opened under it.
    LeaderEpoch(u32)
}
id! {
    /// Counts every change of a partition's record in the metadata.
    PartitionEpoch(u32)
}
id! {
    /// The number of a node's process: grows at each boot, so that no completion outlives a crash.
    Incarnation(u32)
}
id! {
    /// Kafka's incarnation UUID, drawn at boot; tells a retried registration from a new process.
    IncarnationId(u64)
}

id! {
    /// An idempotent producer, unique in the cluster for ever.
    ProducerId(u64)
}
id! {
    /// A producer's epoch: the newer one fences the older. 0 to 32,767.
    ProducerEpoch(i16)
}

id! {
    /// A transaction coordinator's leadership: the newer one fences the older.
    CoordinatorEpoch(u32)
}

/// Numbers an idempotent producer's records in one partition: 0 to 2^31 − 1, then 0 again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u32);

impl Sequence {
    /// The number `by` further on (`DefaultRecordBatch.incrementSequence`).
    #[must_use]
    pub const fn plus(self, by: u32) -> Self {
        Self(self.0.wrapping_add(by) & (u32::MAX >> 1))
    }
}

/// A partition, by the id of its topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition within it.
    pub index: PartitionIndex,
}
