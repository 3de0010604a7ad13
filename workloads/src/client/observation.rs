//! What a client writes down: its calls, as they begin and end.
//!
//! The words are Jepsen's: invoke, ok, fail, unknown. What they prove is for others to say.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, Generation, Isolation, OffsetSpec, TxnProducer};
use broker_core::time::{Dur, Wall};

/// One line of a client's history. `call` numbers calls of one client; an operation may make
/// several (each retry of a produce is a call of its own, for each may take effect; but all
/// attempts of an idempotent one are one call, for one of them at most may).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Observation {
    /// The call.
    pub call: u32,
    /// The operation it belongs to; of an operation that has several transactions, the number of
    /// one of them: that is 2^31 or more.
    pub op: u32,
    /// What happened.
    pub event: CallEvent,
}

/// A call begins or ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CallEvent {
    /// It is sent.
    Invoke(Call),
    /// It was done.
    Ok(Answer),
    /// It was definitely not done.
    Fail(ErrorCode),
    /// Nobody knows; it may still be done later.
    Unknown,
    /// Nobody knows, either: an earlier attempt may have done it. The newest one was refused.
    Doubtful(ErrorCode),
    /// The operation is over without an end: it was tried for [`super::DELIVERY_TIMEOUT`]. The
    /// number belongs to no call.
    GaveUp,
}

/// What is called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Produce `count` values, numbered from `first_value`, globally unique per call.
    Produce {
        /// Where to.
        partition: TopicPartition,
        /// Acks.
        acks: Acks,
        /// Number of the first value.
        first_value: u64,
        /// Records.
        count: u32,
        /// Sent with a broken checksum.
        damaged: bool,
        /// The records' timestamp.
        created: Wall,
        /// Under a producer id: the call is all attempts together.
        idempotent: bool,
        /// A part of the transaction that the operation is, by the producer of this id.
        transactional: Option<String>,
    },
    /// Make a partition part of the transaction that the operation is: the call is all attempts
    /// together.
    AddPartitions {
        /// Which.
        partition: TopicPartition,
        /// By the producer of this transactional id.
        id: String,
    },
    /// Make offsets of a group part of the transaction that the operation is: the call is all
    /// attempts together.
    AddOffsets {
        /// The group.
        group: String,
        /// By the producer of this transactional id.
        id: String,
    },
    /// End the transaction that the operation is, in all its partitions: the call is all attempts
    /// together.
    EndTxn {
        /// Commit it; else abort it.
        commit: bool,
        /// By this producer.
        producer: (ProducerId, ProducerEpoch),
        /// Of this transactional id.
        id: String,
    },
    /// Ask for a producer id: one that nobody has had, or as the producer of a transactional id. An
    /// attempt that nobody answered is a call of its own: it may be done when a later one is over.
    InitProducerId(Option<Becomes>),
    /// Commit offsets of a group.
    CommitOffsets {
        /// The group.
        group: String,
        /// The member's id; empty: nobody's.
        member: String,
        /// Its generation or member epoch.
        generation: Generation,
        /// What was read since the commit before, by partition: from where, and where to read on.
        offsets: Vec<(TopicPartition, Offset, Offset)>,
        /// A part of the transaction that the operation is, by this producer.
        transactional: Option<TxnProducer>,
    },
    /// Read the committed offsets of a group.
    FetchOffsets {
        /// The group.
        group: String,
        /// Of these.
        partitions: Vec<TopicPartition>,
        /// Wait for transactions that hold offsets.
        require_stable: bool,
    },
    /// Ask for the part of a generation of a classic group.
    SyncGroup {
        /// The group.
        group: String,
        /// The member's id.
        member: String,
        /// Of a static member: what it is called whatever its id is.
        instance: Option<String>,
        /// The generation.
        generation: Generation,
    },
    /// Fetch. `reader` numbers the reading session: offsets in it go only forward.
    Fetch {
        /// Where from.
        partition: TopicPartition,
        /// From which offset.
        offset: Offset,
        /// The session.
        reader: u32,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
        /// What it wants to see of transactions.
        isolation: Isolation,
    },
    /// List an offset.
    ListOffsets {
        /// Where.
        partition: TopicPartition,
        /// Which.
        spec: OffsetSpec,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
        /// What it wants to see of transactions.
        isolation: Isolation,
    },
    /// Ask for an epoch's end.
    EpochEnd {
        /// Where.
        partition: TopicPartition,
        /// Which epoch.
        epoch: LeaderEpoch,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
    },
    /// Change the metadata (create, delete, add partitions, alter), or read configs.
    Admin {
        /// The topic, if it has an id yet.
        topic: Option<TopicId>,
        /// It is to be deleted.
        deletes: bool,
    },
}

/// Who wants to become the producer of a transactional id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Becomes {
    /// The transactional id.
    pub id: String,
    /// How long its transactions may take.
    pub timeout: Dur,
    /// Who it was until now, if it wants to go on as that one.
    pub expected: Option<(ProducerId, ProducerEpoch)>,
}

/// What a call gave.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The batch's base offset.
    Produced {
        /// First offset.
        base: Offset,
        /// The timestamp that the broker gave the records, if it did.
        log_append_time: Option<Wall>,
    },
    /// Records read.
    Fetched {
        /// High watermark.
        high_watermark: Offset,
        /// Last stable offset.
        last_stable: Offset,
        /// Log start.
        log_start: Offset,
        /// The records, ascending.
        records: Vec<ReadRecord>,
        /// What the client stepped over, ascending: markers, and with `ReadCommitted` what was
        /// aborted.
        skipped: Vec<(Offset, Offset)>,
    },
    /// An offset, if there is one.
    Listed(Option<(Offset, Option<Wall>, LeaderEpoch)>),
    /// The epoch found and its end.
    EpochEnd(Option<(LeaderEpoch, Offset)>),
    /// A producer id and its epoch.
    ProducerId(ProducerId, ProducerEpoch),
    /// Committed offsets, where there are any.
    Offsets(Vec<(TopicPartition, Option<Offset>)>),
    /// A member's part of a generation.
    Assigned(Vec<TopicPartition>),
    /// A topic was created.
    Created(TopicId),
    /// Done.
    Done,
}

/// One record read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its value's number; `None` if the value is not one that any client makes.
    pub value: Option<u64>,
    /// Its timestamp.
    pub timestamp: Wall,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
    /// Whether checksum, key, value and headers are intact.
    pub intact: bool,
}
