//! The driver of a query, with its executors: one batch after the other, and what it does when it
//! starts and finds a checkpoint.
//!
//! One value, fed by its host. Each question is asked by the step that handles what had to be
//! durable before it. Source: Apache Spark 4.x (`MicroBatchExecution`, `StreamExecution`).

use alloc::collections::BTreeMap;
use alloc::string::String;

use broker_core::ids::PartitionIndex;
use broker_core::step::{Cx, Key, ObjResult, Outbox};
use broker_core::time::Dur;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::checkpoint::{ATTEMPTS_MAX, BatchId, Call, Checkpoint, Log, Next, Outcome};
use super::format::{Members, QueryId};
use super::handoff::CrashPoint;
use super::mutants::{SparkMutant, SparkMutants};
use super::step::{
    Answer, AskTok, AttemptId, End, Event, ExecutorId, KafkaAsk, Partitions, Ranges, RunId,
    SinkAsk, SinkMarker, SparkIn, SparkOut, SparkTimer,
};

mod commit;
mod plan;
mod recover;
mod tasks;

use plan::Purge;
use recover::Found;
use tasks::Tasks;

/// First pause after the store asked for one; it doubles (`fs.s3a.retry.throttle.interval`).
pub const STORE_PAUSE: Dur = Dur::ms(500);

/// How often latest offsets below the known ones are asked for again (`fetchOffset.numRetries`).
pub const OFFSET_RETRIES_MAX: u32 = 3;

/// The pause before that (`fetchOffset.retryIntervalMs` of the reader that uses the admin client).
pub const OFFSET_PAUSE: Dur = Dur::secs(1);

/// The wait after a trigger that found nothing (`spark.sql.streaming.pollingDelay`).
pub const POLLING_DELAY: Dur = Dur::ms(10);

/// How a query writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sink {
    /// Spark's Kafka sink: tasks send, nobody commits.
    AtLeastOnce,
    /// The same, and readers keep one record of each key.
    Keyed,
    /// `foreachBatch` to a table that takes records and marker in one step.
    MarkedTable,
    /// `foreachBatch` that collects the batch and sends it, with a marker, in one transaction.
    DriverTransaction,
}

impl Sink {
    /// Whether the driver writes, after the tasks.
    const fn is_driver_side(self) -> bool {
        matches!(self, Self::MarkedTable | Self::DriverTransaction)
    }
}

/// Settings of a query.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct QueryConfig {
    /// Where the checkpoint is.
    pub checkpoint: Checkpoint,
    /// The topic that is read.
    pub source: String,
    /// Where a query without a checkpoint begins: `startingOffsets`.
    pub starts_at_latest: bool,
    /// `maxOffsetsPerTrigger`.
    pub max_offsets: Option<u64>,
    /// `failOnDataLoss`.
    pub fail_on_data_loss: bool,
    /// `Trigger.ProcessingTime`.
    pub trigger: Dur,
    /// Write the offset log in version 2 (`spark.sql.streaming.offsetLog.formatVersion`).
    pub offset_log_by_id: bool,
    /// The settings that the offset log keeps.
    pub conf: Members<String>,
    /// A query without an offset log wants the logs' folders empty
    /// (`spark.sql.streaming.verifyCheckpointDirectoryEmptyOnStart`: true, since Spark 4.1.0).
    pub verify_empty_on_start: bool,
    /// `spark.sql.streaming.minBatchesToRetain`, 100 by default.
    pub min_batches_to_retain: u64,
    /// Executors `0..executors`.
    pub executors: u16,
    /// Tasks that an executor runs at a time.
    pub cores: u16,
    /// `spark.task.maxFailures`, 4 by default.
    pub task_failures_max: u32,
    /// With `spark.speculation`: how often slow tasks are looked for.
    pub speculation: Option<Dur>,
    /// The sink.
    pub sink: Sink,
    /// Partitions of the sink topic.
    pub sink_partitions: u32,
    /// Output records of each input record.
    pub fan_out: u32,
    /// Records in one produce batch, 1 or more.
    pub rows_per_send: usize,
    /// Planted bugs.
    pub mutants: SparkMutants,
}

/// A query, from its start to its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Driver {
    config: QueryConfig,
    run: RunId,
    phase: Phase,
    /// The call on the checkpoint that is under way.
    call: Option<StoreCall>,
    asked: u64,
    query: QueryId,
    batch: BatchId,
    /// `isCurrentBatchConstructed`: the batch's range is in the offset log.
    planned: bool,
    /// Where the batch begins; none before the first batch.
    start: Option<Partitions>,
    /// Where it ends.
    end: Partitions,
    ranges: Ranges,
    watermark_ms: i64,
    /// What `current_timestamp()` is in this batch, at each of its runs.
    batch_timestamp_ms: i64,
    /// Below which this start has purged.
    purged: BatchId,
    executors: BTreeMap<ExecutorId, bool>,
    tasks: Tasks,
    marker: Option<SinkMarker>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct StoreCall {
    call: Call,
    seq: u64,
    attempts: u32,
}

/// What the driver is at: mostly, which answer it waits for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Off,
    ReadMetadata,
    CreateMetadata,
    ListOffsets,
    LookInto(Log),
    ReadLatest(Found),
    ReadPrevious(Found),
    ListCommits(Found),
    ReadCommit(Found),
    AskGroup(u64),
    InitTransactions(u64),
    ReadFirstMarker(u64),
    Waiting,
    ReadInitial,
    AskInitial(u64),
    WriteInitial,
    AskLatest { seq: u64, retries: u32 },
    LatestLater { retries: u32 },
    AskNew { seq: u64, latest: Partitions },
    WriteOffsets,
    ReadPrior,
    Purging(Purge),
    AskStarts(u64),
    ReadMarker(u64),
    Running,
    CommitTable(u64),
    Transaction(commit::Transaction),
    WriteCommit,
    Over,
}

impl Driver {
    /// A driver that has not started. `run` is used for no other start.
    #[must_use]
    pub fn new(config: QueryConfig, run: RunId) -> Self {
        let executors = (0..config.executors).map(|number| (ExecutorId(number), true)).collect();
        Self {
            config,
            run,
            phase: Phase::Off,
            call: None,
            asked: 0,
            query: QueryId(0),
            batch: BatchId(0),
            planned: false,
            start: None,
            end: Partitions::new(),
            ranges: Ranges::new(),
            watermark_ms: 0,
            batch_timestamp_ms: 0,
            purged: BatchId(0),
            executors,
            tasks: Tasks::default(),
            marker: None,
        }
    }

    /// Whether the query is over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Handles one input to its end.
    pub fn step(&mut self, cx: &Cx, input: SparkIn, out: &mut Outbox<SparkOut>) {
        if self.is_over() {
            return;
        }
        match input {
            SparkIn::Boot => self.boot(out),
            SparkIn::Stop => self.finish(End::Stopped, out),
            SparkIn::Answer(tok, answer) if tok.run == self.run => {
                self.answered(tok.seq, answer, cx, out);
            }
            // To an earlier start.
            SparkIn::Answer(..) => {}
            SparkIn::Timer(SparkTimer::Trigger) if self.phase == Phase::Waiting => {
                self.triggered(out);
            }
            SparkIn::Timer(SparkTimer::Store) => self.ask_store_again(out),
            SparkIn::Timer(SparkTimer::Offsets) => {
                if let Phase::LatestLater { retries } = self.phase {
                    self.ask_latest(retries, out);
                }
            }
            SparkIn::Timer(SparkTimer::Speculation) => self.speculate(out),
            SparkIn::Timer(SparkTimer::Trigger) => {}
            SparkIn::ExecutorLost(executor) => self.executor_lost(executor, out),
            SparkIn::ExecutorUp(executor) => {
                self.executors.insert(executor, true);
                self.launch(out);
            }
        }
    }

    fn answered(&mut self, seq: u64, answer: Answer, cx: &Cx, out: &mut Outbox<SparkOut>) {
        match answer {
            Answer::Store(result) => self.store_answered(seq, result, cx, out),
            Answer::Offsets(offsets) => self.offsets_answered(seq, Some(offsets), cx, out),
            Answer::NoOffsets => self.offsets_answered(seq, None, cx, out),
            Answer::Read(read) => self.read_answered(seq, read, out),
            Answer::Send(sent) => self.send_answered(seq, sent, out),
            Answer::Sink(sink) => self.sink_answered(seq, sink, out),
        }
    }

    /// A file's content came, or a file is written: what comes next.
    fn stored(&mut self, outcome: Outcome, cx: &Cx, out: &mut Outbox<SparkOut>) {
        match core::mem::replace(&mut self.phase, Phase::Off) {
            Phase::ReadMetadata => self.metadata_read(outcome, cx, out),
            Phase::CreateMetadata => self.metadata_created(&outcome, out),
            Phase::ListOffsets => self.offsets_listed(outcome, out),
            Phase::LookInto(log) => self.looked_into(log, &outcome, out),
            Phase::ReadLatest(found) => self.latest_read(found, outcome, out),
            Phase::ReadPrevious(found) => self.previous_read(found, outcome, out),
            Phase::ListCommits(found) => self.commits_listed(found, outcome, out),
            Phase::ReadCommit(found) => self.commit_read(found, outcome, out),
            Phase::ReadInitial => self.initial_read(outcome, out),
            Phase::WriteInitial => self.initial_written(out),
            Phase::WriteOffsets => self.offsets_written(&outcome, out),
            Phase::ReadPrior => self.prior_read(&outcome, out),
            Phase::Purging(purge) => self.purge_goes_on(purge, outcome, out),
            Phase::WriteCommit => self.commit_written(&outcome, out),
            other => unreachable!("no call on the checkpoint in {other:?}"),
        }
    }

    fn on(&self, mutant: SparkMutant) -> bool {
        self.config.mutants.on(mutant)
    }

    fn finish(&mut self, end: End, out: &mut Outbox<SparkOut>) {
        self.phase = Phase::Over;
        for key in
            [SparkTimer::Trigger, SparkTimer::Store, SparkTimer::Offsets, SparkTimer::Speculation]
        {
            out.push(SparkOut::Disarm(key));
        }
        out.push(SparkOut::Observe(Event::Ended(end)));
    }

    fn reached(&self, point: CrashPoint, out: &mut Outbox<SparkOut>) {
        out.push(SparkOut::Observe(Event::Reached(point)));
    }

    fn next_tok(&mut self) -> AskTok {
        self.asked += 1;
        AskTok { run: self.run, seq: self.asked }
    }

    fn ask_kafka(&mut self, ask: KafkaAsk, out: &mut Outbox<SparkOut>) -> u64 {
        let tok = self.next_tok();
        out.push(SparkOut::Kafka(tok, ask));
        tok.seq
    }

    fn ask_sink(&mut self, ask: SinkAsk, out: &mut Outbox<SparkOut>) -> u64 {
        let tok = self.next_tok();
        out.push(SparkOut::Sink(tok, ask));
        tok.seq
    }

    /// Begins a call on the checkpoint; its outcome comes to [`Self::stored`] in `phase`.
    fn call(&mut self, phase: Phase, call: Call, out: &mut Outbox<SparkOut>) {
        debug_assert!(self.call.is_none(), "one call at a time: {:?}", self.call);
        self.phase = phase;
        self.call = Some(StoreCall { call, seq: 0, attempts: 0 });
        self.ask_store_again(out);
    }

    /// Begins the creation of a file. No other file of this query has the temporary name, for no
    /// other start has this number.
    fn create(&mut self, phase: Phase, key: Key, body: Bytes, out: &mut Outbox<SparkOut>) {
        let unique = u128::from(self.run.0) << 64 | u128::from(self.asked);
        let call = self.config.checkpoint.create(key, body, unique);
        self.call(phase, call, out);
    }

    fn ask_store_again(&mut self, out: &mut Outbox<SparkOut>) {
        let tok = self.next_tok();
        if let Some(call) = &mut self.call {
            call.seq = tok.seq;
            call.attempts += 1;
            out.push(SparkOut::Store(tok, call.call.ask()));
        }
    }

    fn store_answered(&mut self, seq: u64, result: ObjResult, cx: &Cx, out: &mut Outbox<SparkOut>) {
        let Some(mut waiting) = self.call.take_if(|call| call.seq == seq) else { return };
        let next = waiting.call.answered(result);
        let written = matches!(next, Next::TemporaryWritten(_));
        match next {
            Next::Done(outcome) => self.stored(outcome, cx, out),
            Next::Ask(op) | Next::TemporaryWritten(op) => {
                if written {
                    self.temporary_written(out);
                }
                let tok = self.next_tok();
                self.call = Some(StoreCall { call: waiting.call, seq: tok.seq, attempts: 1 });
                out.push(SparkOut::Store(tok, op));
            }
            Next::Again { .. } if waiting.attempts >= ATTEMPTS_MAX => {
                match waiting.call.given_up() {
                    Some(outcome) => self.stored(outcome, cx, out),
                    None => self.finish(End::StoreFailed, out),
                }
            }
            Next::Again { later } => {
                let pause = STORE_PAUSE.times(1 << (waiting.attempts - 1));
                waiting.seq = 0;
                self.call = Some(waiting);
                if later {
                    out.push(SparkOut::Arm { key: SparkTimer::Store, after: pause });
                } else {
                    self.ask_store_again(out);
                }
            }
        }
    }

    fn temporary_written(&self, out: &mut Outbox<SparkOut>) {
        let point = match self.phase {
            Phase::CreateMetadata => CrashPoint::C0,
            Phase::WriteOffsets => CrashPoint::C2,
            Phase::WriteCommit => CrashPoint::C7,
            _ => return,
        };
        self.reached(point, out);
    }
}

/// Where a source partition's records go in the sink: in order, to one partition.
const fn sink_partition(partition: PartitionIndex, partitions: u32) -> PartitionIndex {
    PartitionIndex(partition.0 % partitions)
}

/// The attempt with this number at this partition.
const fn attempt(partition: PartitionIndex, number: u32) -> AttemptId {
    AttemptId { partition, number }
}
