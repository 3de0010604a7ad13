//! What clients saw: invoke, ok, fail, unknown. Offsets are visible and values unique. A fact that
//! a client can not see is `None`: nothing is made up, and what needs it is not judged there.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, Generation, Isolation, OffsetSpec};
use broker_core::time::{Dur, Wall};
use serde::{Deserialize, Serialize};

/// Simulated true time, µs since the start of the run. For histories of other brokers: µs since
/// their first event.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SimTime(pub u64);

/// The epoch of a producer whose epoch is not told.
pub const NO_PRODUCER_EPOCH: ProducerEpoch = ProducerEpoch(-1);

/// A transactional id.
pub type TransactionalId = Arc<str>;

/// One event of a history.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HistoryEvent {
    /// When.
    pub at: SimTime,
    /// Which client.
    pub client: u16,
    /// Which call of that client.
    pub call: u32,
    /// Which operation of the plan the call belongs to.
    pub op: u32,
    /// What happened.
    pub kind: EventKind,
}

/// A call begins or ends.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EventKind {
    /// It begins.
    Invoke(Call),
    /// It was done.
    Ok(Answer),
    /// It was definitely not done; why, if that is known and a code of this broker's.
    Fail(Option<ErrorCode>),
    /// It may have been done, may still be, may never be; what its newest attempt was refused with,
    /// if it was, and that is a code of this broker's.
    Unknown(Option<ErrorCode>),
    /// The client's whole operation is over without an end, tried for as long as it tries. The
    /// number of the call is a fresh one.
    GaveUp,
}

/// What was called.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// Append `count` records whose values are numbered from `first_value`.
    Produce {
        /// Where.
        partition: TopicPartition,
        /// Acks.
        acks: Acks,
        /// First value.
        first_value: u64,
        /// Records.
        count: u32,
        /// The batch was sent damaged and must not be accepted.
        damaged: bool,
        /// The records' timestamp, if known.
        created: Option<Wall>,
        /// Sent under a producer id, so that it may be sent again: one call is all attempts.
        idempotent: bool,
        /// The client may have sent it again by itself, and not under a producer id: the broker
        /// may have taken it more than once.
        retried: bool,
        /// A part of the transaction that has the event's operation as its number.
        transactional: bool,
        /// By the producer of this transactional id, if known.
        id: Option<TransactionalId>,
    },
    /// Make a partition part of the transaction that has the event's operation as its number; one
    /// call is all attempts.
    AddPartitions {
        /// Which.
        partition: TopicPartition,
        /// By the producer of this transactional id, if known.
        id: Option<TransactionalId>,
    },
    /// Make offsets of a group part of the transaction that has the event's operation as its
    /// number; one call is all attempts.
    AddOffsets {
        /// The group.
        group: String,
        /// By the producer of this transactional id, if known.
        id: Option<TransactionalId>,
    },
    /// End the transaction that has the event's operation as its number; one call is all attempts.
    EndTxn {
        /// Commit it; else abort it.
        commit: bool,
        /// By which producer, if known.
        producer: Option<(ProducerId, ProducerEpoch)>,
        /// Of this transactional id, if known.
        id: Option<TransactionalId>,
    },
    /// Ask for a producer id. An attempt that nobody answered is a call of its own: it may be done
    /// when a later one is over.
    InitProducerId {
        /// Become the producer of a transactional id, whose producer id may be an old one; else get
        /// one that nobody has had.
        transactional: bool,
        /// Of this one, if known.
        id: Option<TransactionalId>,
        /// How long its transactions may take, if known.
        timeout: Option<Dur>,
        /// Who it was until now, if it wants to go on as that one (KIP-360).
        expected: Option<(ProducerId, ProducerEpoch)>,
    },
    /// Commit offsets of a group; one call is all attempts.
    CommitOffsets {
        /// The group.
        group: String,
        /// The member's id; empty: nobody's.
        member: String,
        /// Its generation or member epoch.
        generation: Generation,
        /// What was read since the commit before, by partition: from where, and where to read on.
        offsets: Vec<(TopicPartition, Offset, Offset)>,
        /// A part of the transaction that has the event's operation as its number.
        transactional: bool,
        /// By which producer, if known.
        producer: Option<(ProducerId, ProducerEpoch)>,
        /// Of this transactional id, if known.
        id: Option<TransactionalId>,
    },
    /// Read the committed offsets of a group.
    FetchOffsets {
        /// The group.
        group: String,
        /// Of these.
        partitions: Vec<TopicPartition>,
        /// Transactions that hold offsets were to be waited for.
        require_stable: bool,
    },
    /// Ask for the part of a generation of a classic group.
    SyncGroup {
        /// The group.
        group: String,
        /// The member's id.
        member: String,
        /// Of a static member: what it is called whatever its id is. A file has it for the id.
        instance: Option<String>,
        /// The generation.
        generation: Generation,
    },
    /// Read from an offset, in a session that only goes forward.
    Fetch {
        /// Where.
        partition: TopicPartition,
        /// From.
        offset: Offset,
        /// The session.
        reader: u32,
        /// The leader epoch the client named.
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
        /// The leader epoch the client named.
        leader_epoch: Option<LeaderEpoch>,
        /// What it wants to see of transactions.
        isolation: Isolation,
    },
    /// OffsetForLeaderEpoch.
    EpochEnd {
        /// Where.
        partition: TopicPartition,
        /// Which epoch.
        epoch: LeaderEpoch,
        /// The leader epoch the client named.
        leader_epoch: Option<LeaderEpoch>,
    },
    /// Metadata changes and config reads.
    Admin {
        /// The topic, if known.
        topic: Option<TopicId>,
        /// It is to be deleted.
        deletes: bool,
    },
}

/// What a call gave.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// First offset of the batch.
    Produced {
        /// That offset.
        base: Offset,
        /// The timestamp that the broker gave the records, if it did.
        log_append_time: Option<Wall>,
    },
    /// Records.
    Fetched {
        /// High watermark.
        high_watermark: Option<Offset>,
        /// Last stable offset.
        last_stable: Option<Offset>,
        /// Log start.
        log_start: Option<Offset>,
        /// Records, ascending by offset.
        records: Vec<ReadRecord>,
        /// What the client stepped over, ascending: markers, and for readers of committed data what
        /// was aborted. `None`: the client does not see why offsets are missing.
        skipped: Option<Vec<(Offset, Offset)>>,
    },
    /// An offset, if any.
    Listed(Option<(Offset, Option<Wall>, Option<LeaderEpoch>)>),
    /// The largest epoch at most the one asked for, and its end.
    EpochEnd(Option<(LeaderEpoch, Offset)>),
    /// A producer id and its epoch, or [`NO_PRODUCER_EPOCH`].
    ProducerId(ProducerId, ProducerEpoch),
    /// Committed offsets, where there are any.
    Offsets(Vec<(TopicPartition, Option<Offset>)>),
    /// A member's part of a generation.
    Assigned(Vec<TopicPartition>),
    /// A topic exists.
    Created(TopicId),
    /// Done.
    Done,
}

/// One record read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReadRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its value's number, if it has one.
    pub value: Option<u64>,
    /// Its timestamp.
    pub timestamp: Option<Wall>,
    /// Leader epoch of its batch.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Nothing was found wrong with its checksum, key, value and headers.
    pub intact: bool,
}
