//! What a node is told about itself and the limits it keeps. Times follow Kafka's and AutoMQ's
//! defaults; the sizes are per node, for a simulated cluster lives on kilobytes where a real one
//! lives on megabytes.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::coordinator::group::GroupLimits;
use crate::ids::{NodeId, ZoneId};
use crate::time::Dur;

/// A controller's configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ControllerConfig {
    /// Its own id.
    pub node: NodeId,
    /// All voters, itself included.
    pub voters: Vec<NodeId>,
}

/// A broker's configuration.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerConfig {
    /// Its own id.
    pub node: NodeId,
    /// Where it runs.
    pub zone: ZoneId,
    /// The controllers.
    pub controllers: Vec<NodeId>,
    /// Its limits.
    pub limits: BrokerLimits,
}

/// A broker's limits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct BrokerLimits {
    /// A WAL bulk is closed when it holds this many bytes …
    pub wal_bulk_bytes_max: u64,
    /// … or this long after its first record (AutoMQ: 250 ms, floor 10 ms).
    pub wal_bulk_interval: Dur,
    /// WAL puts in flight side by side.
    pub wal_puts_in_flight_max: usize,
    /// Records appended and not yet confirmed, in bytes; then appends wait.
    pub wal_unconfirmed_bytes_max: u64,
    /// Confirmed and not yet committed bytes; then appends wait.
    pub upload_backlog_bytes_max: u64,
    /// A block is sealed for upload at this size …
    pub upload_block_bytes_max: u64,
    /// … or this long after its first record.
    pub upload_block_interval: Dur,
    /// Log cache: committed data is dropped, oldest first, above this many bytes.
    pub cache_bytes_max: u64,
    /// Batches waiting for room in the WAL, which may also hold no more bytes than the WAL may have
    /// unconfirmed. One more is answered `NotEnoughReplicas`: Kafka has no code for an overloaded
    /// leader, and this one tells every client that nothing was appended and to try again.
    pub produce_queue_max: usize,
    /// Largest record batch accepted unless the topic says otherwise.
    pub batch_bytes_max: u32,
    /// Partitions of each internal topic when it is created
    /// (`transaction.state.log.num.partitions`, `offsets.topic.num.partitions`).
    pub coordinator_partitions: u32,
    /// Batches of transactions by the first protocol wait for the coordinator's word
    /// (`transaction.partition.verification.enable`). By the second one they always do.
    pub verify_transactions: bool,
    /// Producers of transactions go up to this epoch; then they get another id. Kafka's is fixed.
    pub producer_epoch_max: i16,
    /// Of the groups that it coordinates.
    pub groups: GroupLimits,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            wal_bulk_bytes_max: 8 << 20,
            wal_bulk_interval: Dur::ms(250),
            wal_puts_in_flight_max: 8,
            wal_unconfirmed_bytes_max: 64 << 20,
            upload_backlog_bytes_max: 512 << 20,
            upload_block_bytes_max: 128 << 20,
            upload_block_interval: Dur::secs(10),
            cache_bytes_max: 512 << 20,
            produce_queue_max: 1_024,
            batch_bytes_max: 1 << 20,
            coordinator_partitions: 50,
            verify_transactions: true,
            producer_epoch_max: i16::MAX - 1,
            groups: GroupLimits::default(),
        }
    }
}
