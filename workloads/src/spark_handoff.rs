//! A Spark query that hands one topic over to another, while producers fill its source and readers
//! follow its sink.
//!
//! What the query does is in [`crate::spark`]; its crashes are faults of the plan, not drawn here.
//! Tempts the brokers to lose or double what a query wrote, and to forget its producers; tempts the
//! query to lose rows, or to double more than its sink promises.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::op::TxnEnd;
use crate::schedule::{Schedule, Topic, create_first};
use crate::spark::checkpoint::{Checkpoint, Manager};
use crate::spark::driver::{QueryConfig, Sink};
use crate::spark::format::Members;
use crate::spark::mutants::SparkMutants;
use crate::{Draw, Op, PlannedOp, Shape, Workload};
use broker_core::time::Dur;

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "spark-handoff",
    what: "a Spark query hands one topic over to another: checkpoint, executors, restarts",
    plan,
};

/// The topic that the query reads.
pub const SOURCE: &str = "orders";

/// The topic that it writes.
pub const SINK: &str = "bills";

/// A query, as plans say it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// How it writes.
    pub sink: Sink,
    /// How files of its checkpoint are created.
    pub manager: Manager,
    /// The topic that it reads.
    pub source: String,
    /// The topic that it writes.
    pub target: String,
    /// Partitions of the source.
    pub partitions: u32,
    /// Partitions of the target that take records. A sink with transactions has its markers in the
    /// partition behind them.
    pub target_partitions: u32,
    /// Output records of each input record.
    pub fan_out: u32,
    /// `maxOffsetsPerTrigger`.
    pub max_offsets: u64,
    /// Records in one produce batch.
    pub rows_per_send: u32,
    /// Executors.
    pub executors: u16,
    /// Tasks that an executor runs at a time.
    pub cores: u16,
    /// `Trigger.ProcessingTime`, in milliseconds.
    pub trigger_ms: u64,
    /// How often slow tasks are looked for, in milliseconds; 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub speculation_ms: u64,
    /// `spark.sql.streaming.minBatchesToRetain`.
    pub retain: u64,
    /// The first driver starts so late, in milliseconds.
    pub start_ms: u64,
}

impl Query {
    /// Whether a partition of the target is for markers.
    #[must_use]
    pub const fn has_marker_partition(&self) -> bool {
        matches!(self.sink, Sink::DriverTransaction)
    }

    /// That partition.
    #[must_use]
    pub const fn marker_partition(&self) -> u32 {
        self.target_partitions
    }

    /// What a driver of it is told. Folders that a crash left something in are taken as they are,
    /// as before Spark 4.1: a query that waits for somebody to tidy up says nothing of a handoff.
    #[must_use]
    pub fn config(&self, mutants: SparkMutants) -> QueryConfig {
        QueryConfig {
            checkpoint: Checkpoint { root: "spark/checkpoint".into(), manager: self.manager },
            source: self.source.clone(),
            starts_at_latest: false,
            max_offsets: Some(self.max_offsets),
            fail_on_data_loss: true,
            trigger: Dur::ms(self.trigger_ms),
            offset_log_by_id: false,
            conf: Members::default(),
            verify_empty_on_start: false,
            min_batches_to_retain: self.retain,
            executors: self.executors,
            cores: self.cores,
            task_failures_max: 4,
            speculation: (self.speculation_ms > 0).then(|| Dur::ms(self.speculation_ms)),
            sink: self.sink,
            sink_partitions: self.target_partitions,
            fan_out: self.fan_out,
            rows_per_send: usize::try_from(self.rows_per_send).expect("32 bits"),
            mutants,
        }
    }
}

/// Draws the query of a run. `CopyRename` and `AbortableStream` are left out: they promise nothing
/// to a query whose driver dies with a put under way.
pub fn query(shape: &Shape, draw: &mut dyn Draw) -> Query {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    Query {
        sink: *s.pick(&[
            Sink::AtLeastOnce,
            Sink::Keyed,
            Sink::DriverTransaction,
            Sink::MarkedTable,
        ]),
        manager: *s.pick(&[Manager::AtomicRename, Manager::AtomicRename, Manager::ConditionalPut]),
        source: String::from(SOURCE),
        target: String::from(SINK),
        partitions: PARTITIONS,
        target_partitions: TARGET_PARTITIONS,
        fan_out: s.size(1, 2),
        // A slow cluster takes some 10 s for a batch, and a run waits for the last one.
        max_offsets: s.between(60, 200),
        rows_per_send: s.size(4, 20),
        executors: if s.chance(800) { 2 } else { 1 },
        cores: if s.chance(700) { 2 } else { 1 },
        trigger_ms: *s.pick(&[100, 500, 1_000, 2_000]),
        speculation_ms: if s.chance(150) { s.between(5, 20) * 100 } else { 0 },
        retain: *s.pick(&[1, 2, 100]),
        start_ms: s.between(2_000, 6_000),
    }
}

const PARTITIONS: u32 = 3;
const TARGET_PARTITIONS: u32 = 2;

/// Fewest and most operations that fill the source.
const FILLS: (u64, u64) = (60, 140);

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let source = Topic { name: String::from(SOURCE), partitions: PARTITIONS };
    let target = Topic { name: String::from(SINK), partitions: TARGET_PARTITIONS + 1 };
    create_first(s, &[source, target]);
    for partition in 0..TARGET_PARTITIONS {
        let (client, at, topic) = (s.client(), s.sometime(50, 300), String::from(SINK));
        let (from_start, committed) = (s.chance(800), s.chance(700));
        s.add(at, client, Op::Tail { topic, partition, from_start, committed });
    }
    let total = s.between(FILLS.0, FILLS.1);
    while s.len() < total {
        let (client, at, partition) = (s.client(), s.in_load(), s.size(0, PARTITIONS - 1));
        let topic = String::from(SOURCE);
        let (records, bytes) = (s.size(1, 4), s.size(8, 100));
        // Markers and aborted records leave holes in what the query reads, and it reads the latter:
        // Spark asks for everything unless it is told otherwise.
        let op = if s.chance(100) {
            let end = if s.chance(500) { TxnEnd::Abort } else { TxnEnd::Commit };
            let partitions = alloc::vec![partition, s.size(0, PARTITIONS - 1)];
            Op::Transaction { topic, id: None, partitions, records, bytes, think_ms: 0, end }
        } else {
            let (acks, damaged, idempotent) = (-1, false, s.chance(500));
            Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent }
        };
        s.add(at, client, op);
    }
    schedule.finish()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
