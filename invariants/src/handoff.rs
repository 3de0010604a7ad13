//! What a query tells of a handoff from one topic to another, in neutral words: what it planned,
//! read, sent and committed. It is told, never judged, by whoever runs the query; what is true of
//! the topics themselves is in the logs.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex, TopicPartition};

/// What a handoff promises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Promise {
    /// Each row comes once or more often.
    AtLeastOnce,
    /// To a reader that keeps one record of each key, each row comes once.
    OnceByKey,
    /// In a table that takes rows and marker in one step, each row comes once.
    OnceInTable,
    /// To a reader of committed data, each row comes once.
    OnceCommitted,
}

/// What a query is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Terms {
    /// The topic that it reads.
    pub source: String,
    /// The topic that it writes.
    pub sink: String,
    /// The partition of the sink that holds markers, if the query writes any there.
    pub marker_partition: Option<PartitionIndex>,
    /// What it promises.
    pub promise: Promise,
    /// Rows that come of one record.
    pub fan_out: u32,
    /// Records of a batch at most, but for one more of each partition.
    pub batch_max: u64,
    /// Partitions of the source.
    pub partitions: u32,
}

/// One start of a query.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunNumber(pub u32);

/// A batch of a query.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BatchNumber(pub u64);

/// What came of a record: which record, and which of the rows that come of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Row {
    /// The record's partition in the source.
    pub partition: PartitionIndex,
    /// Its offset.
    pub offset: Offset,
    /// Its value's number.
    pub value: u64,
    /// 0 and up.
    pub copy: u32,
}

/// From an offset to the one behind the last, in a partition of the source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    /// The partition.
    pub partition: PartitionIndex,
    /// The first offset.
    pub from: Offset,
    /// The one behind the last.
    pub to: Offset,
}

/// One thing that a query tells.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Handoff {
    /// It starts, for the first time or again, perhaps while another start of it lives.
    Started(RunNumber, Terms),
    /// A start of it is over.
    Gone(RunNumber),
    /// A partition of the source was said to reach up to this offset.
    Listed(TopicPartition, Offset),
    /// A batch begins to run. Partitions with nothing to read are left out.
    Running(RunNumber, BatchNumber, Vec<Span>),
    /// A range of the source was read.
    Read {
        /// Of which topic and partition.
        partition: TopicPartition,
        /// From here, not up to there.
        range: (Offset, Offset),
        /// The records' offsets and values, ascending.
        records: Vec<(Offset, u64)>,
    },
    /// A range of the source was not to be had, for this offset is not in the log.
    OutOfRange(TopicPartition, Offset),
    /// The produce whose first value has this number carries these rows, one in each record.
    Sent(u64, Vec<Row>),
    /// The record with this value is a marker: up to here everything is handed over.
    Marked(u64, Vec<(PartitionIndex, Offset)>),
    /// A table took these rows.
    Took(Vec<Row>),
    /// An attempt that does not count had sent so many rows.
    Wasted(u64),
    /// A batch is done.
    Committed(RunNumber, BatchNumber),
    /// It starts, and finds that this batch is done.
    Found(RunNumber, BatchNumber),
    /// It found nothing more to do.
    Idle(RunNumber),
}
