//! The ways in which a query can die or be disturbed, and what each means for what it hands over:
//! the table that the simulation must reproduce.
//!
//! Source: the order of durable writes in Apache Spark 4.x (`MicroBatchExecution`,
//! `KafkaDataWriter`); `docs/spark-handoff.md` tells how each row is brought about.

use super::driver::Sink;

/// A way in which a query dies or is disturbed. `C18` and `C19` (retention and truncation of the
/// source) are not modelled yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CrashPoint {
    /// The temporary file of the query's metadata is written.
    C0,
    /// The source's initial offsets are written.
    C1,
    /// The temporary file of the offset log's entry is written.
    C2,
    /// The offset log's entry is durable, and no task has started.
    C3,
    /// Some tasks have sent, none has flushed.
    C4,
    /// Some tasks are done, some are not.
    C5,
    /// All of the batch is in the sink, and the commit log does not say so.
    C6,
    /// The temporary file of the commit log's entry is written.
    C7,
    /// The commit log's entry is durable, and the progress event is not sent.
    C8,
    /// Some old entries of the logs are deleted, some are not.
    C9,
    /// An attempt of a task fails midway; the batch goes on.
    C10,
    /// An executor is lost; the batch goes on.
    C11,
    /// The answer to a produce is lost, and the same producer sends again.
    C12,
    /// A produce ends at its delivery time-out, and nobody knows whether it is stored.
    C13,
    /// A second driver starts on the same checkpoint while the first goes on; a rename is atomic.
    C14,
    /// The same, where a rename is a look and a copy.
    C15,
    /// The offset log's newest entry is lost while its batch is in the sink.
    C16,
    /// The whole commit log is lost.
    C17,
    /// The source topic is deleted and created again under the same name, and outgrows the old one.
    C20,
}

/// What must not happen to a handoff.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Property {
    /// An input record of a committed range has no output.
    Lost,
    /// More output came twice than the bound of the sink allows.
    Doubled,
    /// One batch was committed by two drivers.
    CommittedTwice,
    /// One batch ran with two ranges.
    RangeChanged,
    /// The query does not come to the end of its input, however often it is started.
    Stuck,
}

/// How much of the output came twice, next to how many rows may ([`doubled_max`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "a bound is one of rows")]
pub enum Doubled {
    /// Nothing.
    Nothing,
    /// What the tasks had sent that do not count; less than the batch.
    Part { bound: u64 },
    /// The whole batch.
    Batch { bound: u64 },
    /// More than the bound allows.
    Unbounded { bound: u64 },
}

/// What is to be seen in a sink after a crash point and a start of the query.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Expected {
    /// Whether records are lost.
    pub lost: bool,
    /// How much is doubled.
    pub doubled: Doubled,
    /// What shows, ascending.
    pub broken: &'static [Property],
}

/// One row: a crash point, and what it means for each sink; none where there is no such moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Row {
    /// The crash point.
    pub point: CrashPoint,
    /// Its name.
    pub id: &'static str,
    /// One line on it.
    pub what: &'static str,
    at_least_once: Option<Expected>,
    keyed: Option<Expected>,
    marked_table: Option<Expected>,
    driver_transaction: Option<Expected>,
}

impl Row {
    /// What is to be seen in this sink.
    #[must_use]
    pub const fn expected(&self, sink: Sink) -> Option<Expected> {
        match sink {
            Sink::AtLeastOnce => self.at_least_once,
            Sink::Keyed => self.keyed,
            Sink::MarkedTable => self.marked_table,
            Sink::DriverTransaction => self.driver_transaction,
        }
    }
}

/// All sinks, in the order of the table's columns.
pub const SINKS: &[Sink] =
    &[Sink::AtLeastOnce, Sink::Keyed, Sink::MarkedTable, Sink::DriverTransaction];

const fn seen(doubled: Doubled, broken: &'static [Property]) -> Option<Expected> {
    Some(Expected { lost: false, doubled, broken })
}

const ONCE: Option<Expected> = seen(Doubled::Nothing, &[]);
const LOST: Option<Expected> =
    Some(Expected { lost: true, doubled: Doubled::Nothing, broken: &[Property::Lost] });

const fn row(point: CrashPoint, id: &'static str, what: &'static str) -> Row {
    Row {
        point,
        id,
        what,
        at_least_once: ONCE,
        keyed: ONCE,
        marked_table: ONCE,
        driver_transaction: ONCE,
    }
}

const fn sends_part(bound: u64, row: Row) -> Row {
    Row { at_least_once: seen(Doubled::Part { bound }, &[]), ..row }
}

const fn sends_batch(row: Row) -> Row {
    Row { at_least_once: seen(Doubled::Batch { bound: A_DEATH }, &[]), ..row }
}

/// Rows of a batch of the table: 20 records, 2 outputs of each.
pub const BATCH_ROWS: u64 = 20 * FAN_OUT;

const PARTITIONS: u64 = 4;
const FAN_OUT: u64 = 2;
const MAX_OFFSETS: u64 = 40;

/// What a query of the table may double if a driver dies, or a second one starts.
const A_DEATH: u64 = doubled_max(Sink::AtLeastOnce, 1, 0, FAN_OUT, MAX_OFFSETS, PARTITIONS);

/// What it may double if an attempt that does not count had sent so many rows.
const fn an_attempt(sent: u64) -> u64 {
    doubled_max(Sink::AtLeastOnce, 0, sent, FAN_OUT, MAX_OFFSETS, PARTITIONS)
}

/// The table: what each crash point means for each sink, for a checkpoint whose manager is
/// `AtomicRename`, but for `C15`.
///
/// At the points from `C0` to `C9` the driver dies; then, and where it is stopped, it is started
/// again.
pub const TABLE: &[Row] = &[
    row(CrashPoint::C0, "C0", "the query's metadata is about to be renamed: a new id"),
    row(CrashPoint::C1, "C1", "the initial offsets are written"),
    row(CrashPoint::C2, "C2", "offsets/N is about to be renamed: N may get another range"),
    row(CrashPoint::C3, "C3", "offsets/N is durable, no task has started"),
    sends_part(A_DEATH, row(CrashPoint::C4, "C4", "some tasks have sent, none has flushed")),
    sends_part(A_DEATH, row(CrashPoint::C5, "C5", "some tasks are done, some are not")),
    sends_batch(row(CrashPoint::C6, "C6", "all of N is out, commits/N is not written")),
    sends_batch(row(CrashPoint::C7, "C7", "commits/N is about to be renamed")),
    row(CrashPoint::C8, "C8", "commits/N is durable, the progress event is not sent"),
    row(CrashPoint::C9, "C9", "old entries are half purged"),
    sends_part(
        an_attempt(6),
        row(CrashPoint::C10, "C10", "an attempt fails midway, the batch goes on"),
    ),
    sends_part(
        an_attempt(6),
        row(CrashPoint::C11, "C11", "an executor is lost, the batch goes on"),
    ),
    Row {
        marked_table: None,
        driver_transaction: None,
        ..row(CrashPoint::C12, "C12", "a produce's answer is lost, the producer sends again")
    },
    sends_part(
        an_attempt(10),
        row(CrashPoint::C13, "C13", "nobody knows whether a produce, or a commit, is done"),
    ),
    sends_batch(row(CrashPoint::C14, "C14", "two drivers, atomic rename")),
    Row {
        at_least_once: seen(
            Doubled::Unbounded { bound: A_DEATH },
            &[Property::Doubled, Property::CommittedTwice],
        ),
        keyed: seen(Doubled::Nothing, &[Property::CommittedTwice]),
        marked_table: seen(Doubled::Nothing, &[Property::CommittedTwice]),
        ..row(CrashPoint::C15, "C15", "two drivers, rename by copy")
    },
    Row {
        at_least_once: seen(Doubled::Batch { bound: A_DEATH }, &[Property::RangeChanged]),
        keyed: seen(Doubled::Nothing, &[Property::RangeChanged]),
        marked_table: seen(Doubled::Nothing, &[Property::Stuck]),
        driver_transaction: seen(Doubled::Nothing, &[Property::Stuck]),
        ..row(CrashPoint::C16, "C16", "offsets/N is lost while N is in the sink")
    },
    sends_batch(row(CrashPoint::C17, "C17", "the commit log is lost")),
    Row {
        at_least_once: LOST,
        keyed: LOST,
        marked_table: LOST,
        driver_transaction: LOST,
        ..row(CrashPoint::C20, "C20", "the source topic is created again, and outgrows the old one")
    },
];

/// The most that a sink may double, counted in output records.
///
/// `deaths`: how often a driver died or a second one started; `wasted`: what attempts had sent that
/// do not count; a batch reads at most `max_offsets` records, and one more for each partition, for
/// the limit rounds up.
#[must_use]
pub const fn doubled_max(
    sink: Sink,
    deaths: u64,
    wasted: u64,
    fan_out: u64,
    max_offsets: u64,
    partitions: u64,
) -> u64 {
    match sink {
        Sink::AtLeastOnce => deaths * fan_out * (max_offsets + partitions) + wasted,
        Sink::Keyed | Sink::MarkedTable | Sink::DriverTransaction => 0,
    }
}
