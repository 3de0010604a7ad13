//! The two doors of a Spark query: what it is fed, what it asks of its host.
//!
//! Reads, sends and transactions are intentions; a host carries each out with a client of its own
//! (`workloads::client` for a simulated broker) and says how it ended. What nobody knows is
//! `Unknown`: it may have happened, may still happen, may never happen.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex};
use broker_core::step::{ObjOp, ObjResult};
use broker_core::time::Dur;

use super::checkpoint::{BatchId, Log};
use super::format::{FormatError, QueryId};
use super::handoff::CrashPoint;

/// By partition, the next offset to read.
pub type Partitions = BTreeMap<PartitionIndex, Offset>;

/// By partition, what a batch reads: from an offset, to the one behind its last.
pub type Ranges = BTreeMap<PartitionIndex, (Offset, Offset)>;

/// One start of a query; the host never uses a number twice. Spark has a random `runId`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u32);

/// An executor: a process with slots for tasks and one producer that they share.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecutorId(pub u16);

/// One try at one partition of a batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttemptId {
    /// The source's partition.
    pub partition: PartitionIndex,
    /// Counts from 0 in each run of a batch.
    pub number: u32,
}

/// Names a question, so that its answer finds back: an answer to another run matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskTok {
    /// The start that asked.
    pub run: RunId,
    /// The question.
    pub seq: u64,
}

/// A record of the source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceRow {
    /// Its offset.
    pub offset: Offset,
    /// Its value's number.
    pub value: u64,
}

/// What makes an output record unique: where its input stood, and which of the input's outputs it
/// is. The keyed sink writes it as the key; the others may as well, so that a judge can count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowId {
    /// The input's partition.
    pub partition: PartitionIndex,
    /// The input's offset.
    pub offset: Offset,
    /// 0 and up.
    pub copy: u32,
}

/// A record for the sink.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OutRow {
    /// What makes it unique.
    pub id: RowId,
    /// Its value's number: the input's.
    pub value: u64,
}

/// What a sink knows of the last batch that it took, written together with the batch's records.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SinkMarker {
    /// The query.
    pub query: QueryId,
    /// The batch.
    pub batch: BatchId,
    /// What the batch reads to. Sinks in the field store a hash, or nothing, which is the bug.
    pub ends: Partitions,
}

/// What can happen to a query.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SparkIn {
    /// The driver starts.
    Boot,
    /// An answer.
    Answer(AskTok, Answer),
    /// An armed timer fired.
    Timer(SparkTimer),
    /// An executor is gone, with what it had not sent yet.
    ExecutorLost(ExecutorId),
    /// An executor is there (again).
    ExecutorUp(ExecutorId),
    /// `query.stop()`: what runs is cancelled.
    Stop,
}

/// An answer to a question.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The object store's.
    Store(ObjResult),
    /// Offsets by partition.
    Offsets(Partitions),
    /// Records of the source.
    Read(ReadAnswer),
    /// A batch of records was sent.
    Send(SendAnswer),
    /// The sink's.
    Sink(SinkAnswer),
    /// A question to Kafka for offsets was not answered in time, or was refused.
    NoOffsets,
}

/// How a read ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ReadAnswer {
    /// Records that are visible, ascending, and the offset to go on from; it may lie behind the
    /// last by more than one: markers, aborted records and compacted ones are not visible.
    Rows {
        /// The records.
        rows: Vec<SourceRow>,
        /// Where to go on.
        next: Offset,
    },
    /// The offset is not in the log.
    OutOfRange {
        /// The first that is.
        earliest: Offset,
        /// The one behind the last.
        latest: Offset,
    },
    /// Nothing came within `kafkaConsumer.pollTimeoutMs`, and the position did not move.
    TimedOut,
    /// It failed otherwise.
    Failed,
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendAnswer {
    /// Acknowledged.
    Stored,
    /// Definitely not stored.
    Refused,
    /// `delivery.timeout.ms` passed.
    Unknown,
}

/// How a step of a driver-side sink ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SinkAnswer {
    /// Done.
    Done,
    /// The newest marker, if there is one.
    Marker(Option<SinkMarker>),
    /// A later producer with the same transactional id is there.
    Fenced,
    /// The table has changed since its marker was read.
    Conflict,
    /// Definitely not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What a query asks of its host.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SparkOut {
    /// Ask the object store.
    Store(AskTok, ObjOp),
    /// Ask the source or the sink topic.
    Kafka(AskTok, KafkaAsk),
    /// Ask a sink that the driver writes to.
    Sink(AskTok, SinkAsk),
    /// Arm (or move) a timer.
    Arm {
        /// Its name.
        key: SparkTimer,
        /// How long from this step.
        after: Dur,
    },
    /// Forget a timer.
    Disarm(SparkTimer),
    /// Something worth knowing.
    Observe(Event),
}

/// A query's timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SparkTimer {
    /// The next batch may begin.
    Trigger,
    /// Ask the store again.
    Store,
    /// Ask for the latest offsets again.
    Offsets,
    /// Look for slow tasks.
    Speculation,
}

/// Which offsets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    /// The log's start.
    Earliest,
    /// The high watermark, or the last stable offset for a query that reads committed data.
    Latest,
    /// Those of the query's consumer group. Spark has none; only a planted bug asks.
    Group,
}

/// What a query asks of Kafka.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KafkaAsk {
    /// Offsets of the source's partitions: of these, or of all there are.
    ListOffsets {
        /// Which offsets.
        which: Which,
        /// Of which partitions.
        partitions: Option<BTreeSet<PartitionIndex>>,
    },
    /// Records of one partition of the source.
    Read {
        /// Who reads.
        attempt: AttemptId,
        /// Where it runs.
        executor: ExecutorId,
        /// From here.
        from: Offset,
        /// Not up to this one.
        to: Offset,
    },
    /// Send records to one partition of the sink, with the executor's producer; it is idempotent,
    /// and sends again by itself for as long as `delivery.timeout.ms`.
    Send {
        /// Who sends.
        attempt: AttemptId,
        /// Where it runs.
        executor: ExecutorId,
        /// In which batch.
        batch: BatchId,
        /// The sink's partition.
        to: PartitionIndex,
        /// The records.
        rows: Vec<OutRow>,
    },
    /// Commit the offsets of the query's consumer group; there is no answer. Only a planted bug
    /// asks.
    CommitGroup(Partitions),
}

/// What a query asks of a sink that the driver writes to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SinkAsk {
    /// The newest marker of this query: committed data only.
    ReadMarker {
        /// Of which query.
        query: QueryId,
    },
    /// Add these records and the marker to the table in one step, if its marker is still `over`.
    CommitTable {
        /// The records.
        rows: Vec<OutRow>,
        /// The new marker.
        marker: SinkMarker,
        /// The marker that was read.
        over: Option<SinkMarker>,
    },
    /// `initTransactions`: fence older producers and end what they left open.
    InitTransactions {
        /// The transactional id.
        transactional_id: String,
    },
    /// Send records within a transaction; the first of them begins it.
    TxnSend {
        /// The sink's partition.
        to: PartitionIndex,
        /// The records.
        rows: Vec<OutRow>,
    },
    /// Send the marker within the transaction.
    TxnMarker(SinkMarker),
    /// Commit it.
    TxnCommit,
}

/// What an observer may know.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The query has an id.
    Started(QueryId),
    /// It goes on at this batch; `planned`: with the range of its offset log.
    Resumed {
        /// The batch.
        batch: BatchId,
        /// Whether the range is given.
        planned: bool,
    },
    /// A batch begins to run.
    Running {
        /// The batch.
        batch: BatchId,
        /// What it reads.
        ranges: Ranges,
    },
    /// The sink has this batch already, says its marker.
    Skipped(BatchId),
    /// An attempt ended; `won`: it is the one that counts.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// Whether it counts.
        won: bool,
        /// Records it had sent, whatever became of them.
        sent: u64,
    },
    /// A batch is done: the progress event (`StreamingQueryProgress`).
    Progress {
        /// The batch.
        batch: BatchId,
        /// What it read.
        ranges: Ranges,
        /// `numInputRows`.
        rows_in: u64,
        /// `numOutputRows`: of the attempts that count only.
        rows_out: u64,
    },
    /// There was nothing to do at a trigger.
    Idle,
    /// The moment at which a driver can die to give this row of the table.
    Reached(CrashPoint),
    /// The query is over.
    Ended(End),
}

/// Why a query is over. Spark never starts it again by itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// It was stopped.
    Stopped,
    /// Somebody else writes to the checkpoint (`CONCURRENT_STREAM_LOG_UPDATE`).
    ConcurrentLogUpdate(BatchId),
    /// Somebody else created the query's metadata at the same time.
    ConcurrentMetadata,
    /// A file of the checkpoint can not be read.
    Unreadable(FormatError),
    /// An entry that was listed is not there, or its predecessor is not ("batch N doesn't exist").
    BatchMissing(BatchId),
    /// There is no offset log, and this log's folder holds something all the same.
    CheckpointNotEmpty(Log),
    /// The checkpoint has another number of sources than the query.
    SourcesDiffer {
        /// In the checkpoint.
        found: usize,
    },
    /// The store did not answer.
    StoreFailed,
    /// Offsets were not to be had.
    OffsetsFailed,
    /// Records that should be there are not (`failOnDataLoss`).
    DataLoss(PartitionIndex),
    /// A task failed too often.
    TaskFailed(PartitionIndex),
    /// A sink of the driver's did not take the batch.
    SinkFailed,
    /// A later start of the query took the transactional id.
    Fenced,
    /// The sink's marker is of another batch with the same number, or of a later one.
    MarkerDiffers(BatchId),
}
