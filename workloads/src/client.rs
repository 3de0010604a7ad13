//! A sans-IO Kafka client: metadata, connections, retries, unknown outcomes.

use alloc::vec::Vec;

use broker_core::ids::{ConnId, LeaderEpoch, NodeId, Offset, TopicId, TopicPartition, ZoneId};
use broker_core::protocol::{Acks, ErrorCode, OffsetSpec, Request, Response};
use broker_core::time::{Dur, Wall};

use crate::op::Op;

/// What can happen to a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientIn {
    /// It starts.
    Boot,
    /// It shall do this. `op` numbers the operations of a run, unique over all clients.
    Op(u32, Op),
    /// An answer came.
    Response {
        /// On this connection.
        conn: ConnId,
        /// To the request with this correlation id.
        corr: u32,
        /// The answer.
        resp: Response,
    },
    /// A connection is gone; what was asked on it may or may not have been done.
    Gone(ConnId),
    /// An armed timer fired.
    Timer(ClientTimer),
}

/// What a client asks of its host.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientOut {
    /// Open a connection; requests may be sent on it at once.
    Open {
        /// Chosen by the client: `client << 32 | n`, never used twice.
        conn: ConnId,
        /// To this broker.
        to: NodeId,
    },
    /// Send a request; a connection keeps the order.
    Send {
        /// On this connection.
        conn: ConnId,
        /// Correlation id, unique on the connection.
        corr: u32,
        /// The request.
        req: Request,
    },
    /// Close a connection.
    Close(ConnId),
    /// Arm (or move) a timer.
    Arm {
        /// Its name.
        key: ClientTimer,
        /// How long from this step.
        after: Dur,
    },
    /// Forget a timer.
    Disarm(ClientTimer),
    /// Something for the history.
    Observe(Observation),
}

/// A client's timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientTimer {
    /// Refresh the metadata.
    Metadata,
    /// Time-out or backoff of this session (an operation or a reader).
    Session(u32),
}

/// Who a client is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientConfig {
    /// Its number.
    pub client: u16,
    /// Where it runs.
    pub zone: ZoneId,
    /// Brokers to ask first.
    pub bootstrap: Vec<NodeId>,
}

/// One line of a client's history. `call` numbers calls of one client; an operation may make
/// several (each retry of a produce is a call of its own, for each may take effect).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Observation {
    /// The call.
    pub call: u32,
    /// The operation it belongs to.
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
    },
    /// List an offset.
    ListOffsets {
        /// Where.
        partition: TopicPartition,
        /// Which.
        spec: OffsetSpec,
        /// The leader epoch the client knew.
        leader_epoch: Option<LeaderEpoch>,
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
    },
}

/// What a call gave.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The batch's base offset.
    Produced {
        /// First offset.
        base: Offset,
    },
    /// Records read.
    Fetched {
        /// High watermark.
        high_watermark: Offset,
        /// Log start.
        log_start: Offset,
        /// The records, ascending.
        records: Vec<ReadRecord>,
    },
    /// An offset, if there is one.
    Listed(Option<(Offset, Option<Wall>, LeaderEpoch)>),
    /// The epoch found and its end.
    EpochEnd(Option<(LeaderEpoch, Offset)>),
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
