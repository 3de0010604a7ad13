//! Kafka's requests, answers and error codes as plain data. Encoding them is the shell's work.
//!
//! Topics are named by id wherever Kafka's newest versions allow it; the shell translates names for
//! older versions. Source: Kafka's protocol guide and `Errors.java`.

mod group;
mod quorum;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{
    CoordinatorEpoch, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    TopicId, TopicPartition,
};
use crate::time::{Dur, Wall};

mod transaction;

pub use group::{
    CommittedOffset, ConsumerGroupBeat, ConsumerGroupHeartbeat, DescribedConsumer,
    DescribedConsumerGroup, DescribedGroup, Each, FetchedOffset, Generation, GroupAnswer,
    GroupRequest, GroupState, GroupType, JoinGroup, JoinRefused, Joined, ListedGroup, MemberEpoch,
    MemberIdentity, OffsetCommit, OffsetFetch, OffsetToCommit, SyncGroup, Synced, TxnOffsetCommit,
};
pub use quorum::{QuorumDescription, ReplicaDescription};
pub use transaction::{
    TRANSACTION_TIMEOUT_MAX, TxnAnswer, TxnDescription, TxnFilter, TxnProducer, TxnRequest,
    TxnState,
};

/// Defines the error codes, and finds them by number.
macro_rules! error_codes {
    ($($Name:ident = $code:literal,)*) => {
        /// Kafka's error codes, by Kafka's numbers.
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
        )]
        #[repr(i16)]
        #[expect(missing_docs, reason = "named and documented by Kafka's Errors.java")]
        pub enum ErrorCode { $($Name = $code,)* }

        impl ErrorCode {
            /// All that are known here, by name.
            pub const ALL: &[Self] = &[$(Self::$Name,)*];

            /// The error of this number, if it is known here.
            #[must_use]
            pub const fn of(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$Name),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    OffsetOutOfRange = 1,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    LeaderNotAvailable = 5,
    NotLeaderOrFollower = 6,
    RequestTimedOut = 7,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorLoadInProgress = 14,
    CoordinatorNotAvailable = 15,
    NotCoordinator = 16,
    InvalidTopicException = 17,
    NotEnoughReplicas = 19,
    InvalidRequiredAcks = 21,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidTimestamp = 32,
    TopicAlreadyExists = 36,
    InvalidPartitions = 37,
    InvalidConfig = 40,
    NotController = 41,
    InvalidRequest = 42,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    TransactionCoordinatorFenced = 52,
    TransactionalIdAuthorizationFailed = 53,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    FencedLeaderEpoch = 74,
    UnknownLeaderEpoch = 75,
    StaleBrokerEpoch = 77,
    OffsetNotAvailable = 78,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ThrottlingQuotaExceeded = 89,
    ProducerFenced = 90,
    UnknownTopicId = 100,
    DuplicateBrokerRegistration = 101,
    BrokerIdNotRegistered = 102,
    InconsistentClusterId = 104,
    TransactionalIdNotFound = 105,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    TransactionAbortable = 120,
    // Behind the others, whose places in stored bytes they must not change.
    UnsupportedVersion = 35,
    UnknownServerError = -1,
}

/// How many replicas must have a batch before the answer. With one replica on shared storage, all
/// means: the batch is durable and the writer has verified that it still owns its WAL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Acks {
    /// 0: no answer at all.
    None,
    /// 1: as soon as the leader has appended the batch, before it is durable.
    Leader,
    /// −1: when the batch is below the high watermark.
    All,
}

/// What a client can ask of a broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Brokers, topics, leaders. `None`: all topics.
    Metadata {
        /// Topic names.
        topics: Option<Vec<String>>,
    },
    /// Append one record batch to one partition each.
    Produce(ProduceRequest),
    /// Read.
    Fetch(FetchRequest),
    /// Offsets by time, or the ends.
    ListOffsets {
        /// Whether what is not decided yet counts.
        isolation: Isolation,
        /// One question per partition; a partition named twice is `InvalidRequest` both times.
        partitions: Vec<ListOffsetsPartition>,
    },
    /// KIP-320: where an epoch ended.
    OffsetForLeaderEpoch {
        /// One question per partition.
        partitions: Vec<EpochPartition>,
    },
    /// Answered by the controller through the broker, as are all requests of this kind.
    Admin(AdminRequest),
    /// The configs of a topic.
    DescribeConfigs {
        /// Topic name.
        topic: String,
    },
    /// A producer id for an idempotent producer (KIP-98), without a transactional id.
    InitProducerId,
    /// End transactions in partitions led here: asked by the transaction coordinator, and by
    /// whoever clears a transaction up that has none any more (KIP-664).
    WriteTxnMarkers {
        /// One per transaction.
        markers: Vec<TxnMarker>,
    },
    /// Which broker is in charge of a name?
    FindCoordinator {
        /// Of what.
        kind: CoordinatorKind,
        /// Its name: a transactional id or a group id.
        name: String,
    },
    /// Asked of the coordinator of a transactional id.
    Txn(TxnRequest),
    /// Asked of the coordinator of a group.
    Group(GroupRequest),
    /// What would come of this change? Changes nothing (`validate_only`). Answered as it.
    Validate(AdminRequest),
}

/// What a coordinator is in charge of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum CoordinatorKind {
    /// Groups.
    Group,
    /// Transactional ids.
    Transaction,
}

impl CoordinatorKind {
    /// The internal topic that is its log.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::Group => "__consumer_offsets",
            Self::Transaction => "__transaction_state",
        }
    }

    /// The kind whose log this topic is.
    #[must_use]
    pub fn of_topic(name: &str) -> Option<Self> {
        [Self::Group, Self::Transaction].into_iter().find(|kind| kind.topic() == name)
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TransactionResult {
    /// As if it had never been.
    Abort,
    /// For all to see.
    Commit,
}

/// Which protocol a transaction follows.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
pub enum TransactionVersion {
    /// KIP-98: a producer keeps its epoch from transaction to transaction.
    V1,
    /// KIP-890: each end raises the producer's epoch, and the marker carries the raised one.
    #[default]
    V2,
}

/// The end of a transaction in some partitions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TxnMarker {
    /// Whose transaction.
    pub producer: ProducerId,
    /// The producer's epoch; by [`TransactionVersion::V2`] the one it has from now on.
    pub epoch: ProducerEpoch,
    /// How it ends.
    pub result: TransactionResult,
    /// Of the coordinator that decided it.
    pub coordinator_epoch: CoordinatorEpoch,
    /// The protocol.
    pub version: TransactionVersion,
    /// Where.
    pub partitions: Vec<TopicPartition>,
}

/// What a reader wants to see of transactions.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
pub enum Isolation {
    /// 0: everything below the high watermark.
    #[default]
    ReadUncommitted,
    /// 1: up to the last stable offset, and with the transactions in it that were aborted named, so
    /// that the reader leaves them out.
    ReadCommitted,
}

/// Requests to the active controller: changes of the metadata, and one question.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Create a topic.
    CreateTopic {
        /// 1 to 249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`.
        name: String,
        /// 1 to [`MAX_PARTITIONS`].
        partitions: u32,
        /// Topic configs.
        configs: Vec<(String, String)>,
    },
    /// Delete a topic.
    DeleteTopic {
        /// Its id.
        topic: TopicId,
    },
    /// Raise the number of partitions.
    CreatePartitions {
        /// The topic.
        topic: TopicId,
        /// The new total, greater than the old.
        count: u32,
    },
    /// Set (`Some`) or unset (`None`) topic configs.
    AlterConfigs {
        /// The topic.
        topic: TopicId,
        /// Keys and values.
        configs: Vec<(String, Option<String>)>,
    },
    /// How is the metadata quorum? Changes nothing.
    DescribeQuorum,
}

/// The most partitions one topic may have: bounds every per-topic answer.
pub const MAX_PARTITIONS: u32 = 1_024;

/// Topic configs that the core knows; any other key is `InvalidConfig`.
pub const TOPIC_CONFIGS: &[&str] =
    &["cleanup.policy", "max.message.bytes", "message.timestamp.type", "retention.ms"];

/// Answers, each to the request of the same name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Response {
    /// To `Metadata`.
    Metadata(MetadataResponse),
    /// To `Produce` (never with acks 0).
    Produce(Vec<ProduceResult>),
    /// To `Fetch`.
    Fetch(Vec<FetchResult>),
    /// To `ListOffsets`.
    ListOffsets(Vec<ListOffsetsResult>),
    /// To `OffsetForLeaderEpoch`.
    OffsetForLeaderEpoch(Vec<EpochResult>),
    /// To `Admin`.
    Admin(AdminResponse),
    /// To `DescribeConfigs`: keys and values.
    DescribeConfigs(Result<Vec<(String, String)>, ErrorCode>),
    /// To `InitProducerId`: the id and its epoch. `CoordinatorLoadInProgress` while the broker has
    /// no ids at hand.
    InitProducerId(Result<(ProducerId, ProducerEpoch), ErrorCode>),
    /// To `WriteTxnMarkers`, in the order of the request: the transaction's producer, the
    /// partition, and whether the marker is durable there.
    WriteTxnMarkers(Vec<(ProducerId, TopicPartition, Result<(), ErrorCode>)>),
    /// To `FindCoordinator`; `CoordinatorNotAvailable`: nobody is, now.
    FindCoordinator(Result<NodeId, ErrorCode>),
    /// To `Txn`.
    Txn(TxnAnswer),
    /// To `Group`.
    Group(GroupAnswer),
}

/// Append batches; answers come in the order of the requests on a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProduceRequest {
    /// When to answer.
    pub acks: Acks,
    /// Longest wait for the answer; then `RequestTimedOut`, which means unknown.
    pub timeout: Dur,
    /// For batches of a transaction: whose, and by which protocol. By the second one the leader
    /// makes its partition part of the transaction itself (as with version 12 of Produce).
    pub transactional: Option<(String, TransactionVersion)>,
    /// One encoded record batch (v2) per partition.
    pub batches: Vec<(TopicPartition, Bytes)>,
}

/// The outcome for one partition of a produce.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProduceResult {
    /// The partition.
    pub partition: TopicPartition,
    /// Where the batch is, or why not.
    pub result: Result<Produced, ErrorCode>,
}

/// A batch's place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Produced {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The timestamp that the broker gave its records, in topics with `LogAppendTime`.
    pub log_append_time: Option<Wall>,
    /// First offset of the log.
    pub log_start_offset: Offset,
}

/// Read from partitions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchRequest {
    /// Whether what is not decided yet, or was aborted, counts.
    pub isolation: Isolation,
    /// Longest wait for `bytes_min`.
    pub wait_max: Dur,
    /// Answer at once when this many bytes are there, or `bytes_max` if that is less; 0 or 1 mean
    /// at once when there is anything (0: even when there is nothing).
    pub bytes_min: u32,
    /// Bytes in the whole answer; the first batch comes even if it is larger (KIP-74).
    pub bytes_max: u32,
    /// What to read.
    pub partitions: Vec<FetchPartition>,
}

/// What to read from one partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// From where.
    pub fetch_offset: Offset,
    /// The leader epoch the client knows; lower than the leader's is `FencedLeaderEpoch`, higher is
    /// `UnknownLeaderEpoch`. `None`: not checked.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record read, to find a divergence (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Bytes from this partition.
    pub bytes_max: u32,
}

/// What was read from one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchResult {
    /// The partition.
    pub partition: TopicPartition,
    /// The data, or why not.
    pub result: Result<Fetched, ErrorCode>,
}

/// Data of one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// Everything below it is durable and visible.
    pub high_watermark: Offset,
    /// Every transaction that began below it is decided: the first offset of the oldest one that is
    /// not, or the high watermark.
    pub last_stable_offset: Offset,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// With `ReadCommitted`: the aborted transactions that the data holds batches of, by the offset
    /// of their markers.
    pub aborted: Vec<AbortedTransaction>,
    /// Set instead of data when `last_fetched_epoch` diverges: the epoch and its end here.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whole record batches, the first holding `fetch_offset`; all below the high watermark.
    pub batches: Vec<Bytes>,
}

/// A transaction whose batches do not count, from its first offset up to its producer's next abort
/// marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AbortedTransaction {
    /// Its producer.
    pub producer: ProducerId,
    /// Its first offset.
    pub first: Offset,
}

/// Which offset is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum OffsetSpec {
    /// −2: the log's start.
    Earliest,
    /// −1: the high watermark, or with `ReadCommitted` the last stable offset.
    Latest,
    /// −3: the offset of the largest timestamp (KIP-734); nothing if that is not decided yet.
    MaxTimestamp,
    /// The first record whose timestamp is at least this; nothing if that is not decided yet.
    At(Wall),
}

/// One question of a `ListOffsets`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ListOffsetsPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// As in [`FetchPartition`].
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// What is asked.
    pub spec: OffsetSpec,
}

/// One answer of a `ListOffsets`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ListOffsetsResult {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset; `None` inside when no record is that late.
    pub result: Result<Option<ListedOffset>, ErrorCode>,
}

/// An offset found by `ListOffsets`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, if a record was asked for.
    pub timestamp: Option<Wall>,
    /// Leader epoch of that offset (of the leader, for `Latest`).
    pub leader_epoch: LeaderEpoch,
}

/// One question of an `OffsetForLeaderEpoch`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EpochPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// As in [`FetchPartition`].
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch asked for.
    pub leader_epoch: LeaderEpoch,
}

/// One answer of an `OffsetForLeaderEpoch`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct EpochResult {
    /// The partition.
    pub partition: TopicPartition,
    /// The largest epoch that is at most the one asked for, and its end offset; `None` inside if
    /// there is none (Kafka answers −1, −1).
    pub result: Result<Option<(LeaderEpoch, Offset)>, ErrorCode>,
}

/// Outcome of an admin request.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum AdminResponse {
    /// Topic created, under this id.
    Created(TopicId),
    /// Done.
    Done,
    /// Refused, or (`RequestTimedOut`) unknown.
    Error(ErrorCode),
    /// To `DescribeQuorum`.
    Quorum(QuorumDescription),
}

/// The cluster as one broker sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct MetadataResponse {
    /// Unfenced brokers.
    pub brokers: Vec<NodeId>,
    /// The topics asked for.
    pub topics: Vec<TopicMetadata>,
}

/// One topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TopicMetadata {
    /// Its name.
    pub name: String,
    /// Its id and partitions, or `UnknownTopicOrPartition`.
    pub result: Result<(TopicId, Vec<PartitionMetadata>), ErrorCode>,
}

/// One partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PartitionMetadata {
    /// Its number.
    pub index: PartitionIndex,
    /// Its published leader; `None` is Kafka's `LeaderNotAvailable`.
    pub leader: Option<NodeId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
}
