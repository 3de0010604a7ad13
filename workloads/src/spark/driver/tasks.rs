//! A batch's tasks: one per partition, tried on executors until one attempt of each has succeeded
//! (`TaskSetManager`, `KafkaBatchPartitionReader`, `KafkaDataWriter`).
//!
//! Simplified: a task goes to its preferred executor if that has room, else to any at once
//! (Spark waits `spark.locality.wait`); speculation doubles whatever runs when its timer fires; the
//! loss of an executor is no failure of the task.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex};
use broker_core::step::Outbox;

use super::super::handoff::CrashPoint;
use super::super::mutants::SparkMutant;
use super::super::step::{
    AttemptId, End, Event, ExecutorId, KafkaAsk, OutRow, ReadAnswer, RowId, SendAnswer, SourceRow,
    SparkOut, SparkTimer,
};
use super::{Driver, Phase, Sink, attempt, sink_partition};

/// The tasks of the batch that runs, and what is in flight for them.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Tasks {
    tasks: BTreeMap<PartitionIndex, Task>,
    /// Reads under way.
    reads: BTreeMap<u64, AttemptId>,
    /// Sends under way of this batch.
    sends: BTreeMap<u64, AttemptId>,
    /// By executor, the sends that its producer has not finished, those of ended attempts, too.
    unfinished: BTreeMap<ExecutorId, BTreeSet<u64>>,
    told: BTreeSet<CrashPoint>,
    rows_in: u64,
    /// Collected by attempts that count.
    collected: Vec<OutRow>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Task {
    from: Offset,
    to: Offset,
    done: bool,
    started: u32,
    failures: u32,
    running: BTreeMap<u32, Attempt>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Attempt {
    executor: ExecutorId,
    rows: u64,
    sent: u64,
    failed: bool,
    collected: Vec<OutRow>,
    /// The sends that its flush waits for, once it has read everything.
    flush: Option<BTreeSet<u64>>,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Succeeded,
    Failed,
    /// With its executor, or because another attempt was first.
    Gone,
}

impl Driver {
    pub(super) fn run_tasks(&mut self, out: &mut Outbox<SparkOut>) {
        let ranges = self.ranges.clone();
        out.push(SparkOut::Observe(Event::Running { batch: self.batch, ranges }));
        // What the shared producers have not finished outlives a batch.
        let unfinished = core::mem::take(&mut self.tasks.unfinished);
        let task = |(partition, (from, to)): (&PartitionIndex, &(Offset, Offset))| {
            let running = BTreeMap::new();
            let task = Task { from: *from, to: *to, done: false, started: 0, failures: 0, running };
            (*partition, task)
        };
        let tasks = self.ranges.iter().map(task).collect();
        self.tasks = Tasks { tasks, unfinished, ..Tasks::default() };
        self.phase = Phase::Running;
        if let Some(after) = self.config.speculation {
            out.push(SparkOut::Arm { key: SparkTimer::Speculation, after });
        }
        self.launch(out);
        self.all_done(out);
    }

    /// A batch that does not run has read nothing.
    pub(super) fn forget_tasks(&mut self) {
        let unfinished = core::mem::take(&mut self.tasks.unfinished);
        self.tasks = Tasks { unfinished, ..Tasks::default() };
    }

    pub(super) fn rows_in(&self) -> u64 {
        self.tasks.rows_in
    }

    pub(super) fn take_collected(&mut self) -> Vec<OutRow> {
        core::mem::take(&mut self.tasks.collected)
    }

    /// Starts the tasks that wait, as far as there is room.
    pub(super) fn launch(&mut self, out: &mut Outbox<SparkOut>) {
        if self.phase != Phase::Running {
            return;
        }
        let waits = |task: &Task| !task.done && task.running.is_empty();
        let tasks = self.tasks.tasks.iter();
        let waiting: Vec<_> = tasks.filter(|(_, task)| waits(task)).map(|(it, _)| *it).collect();
        for partition in waiting {
            if let Some(executor) = self.room(partition, None) {
                self.start_attempt(partition, executor, out);
            }
        }
    }

    /// An executor that has room, best the one that this attempt prefers; not `except`.
    fn room(&self, partition: PartitionIndex, except: Option<ExecutorId>) -> Option<ExecutorId> {
        let up: Vec<_> = self.executors.iter().filter(|(_, up)| **up).map(|(it, _)| *it).collect();
        let attempts = self.tasks.tasks.values().flat_map(|task| task.running.values());
        let mut busy = BTreeMap::<ExecutorId, u16>::new();
        for attempt in attempts {
            *busy.entry(attempt.executor).or_default() += 1;
        }
        let shift = partition.0 + self.tasks.tasks[&partition].started;
        let free = |it: &ExecutorId| {
            busy.get(it).copied().unwrap_or(0) < self.config.cores && except != Some(*it)
        };
        let count = u32::try_from(up.len()).expect("executors are numbered with 16 bits");
        (0..count).map(|step| up[((shift + step) % count) as usize]).find(free)
    }

    fn start_attempt(
        &mut self,
        partition: PartitionIndex,
        executor: ExecutorId,
        out: &mut Outbox<SparkOut>,
    ) {
        let task = self.tasks.tasks.get_mut(&partition).expect("a task of this batch");
        let number = task.started;
        task.started += 1;
        let (from, to) = (task.from, task.to);
        task.running.insert(
            number,
            Attempt {
                executor,
                rows: 0,
                sent: 0,
                failed: false,
                collected: Vec::new(),
                flush: None,
            },
        );
        self.ask_read(attempt(partition, number), executor, from, to, out);
    }

    fn ask_read(
        &mut self,
        attempt: AttemptId,
        executor: ExecutorId,
        from: Offset,
        to: Offset,
        out: &mut Outbox<SparkOut>,
    ) {
        let seq = self.ask_kafka(KafkaAsk::Read { attempt, executor, from, to }, out);
        self.tasks.reads.insert(seq, attempt);
    }

    fn attempt_of(&mut self, id: AttemptId) -> Option<&mut Attempt> {
        self.tasks.tasks.get_mut(&id.partition)?.running.get_mut(&id.number)
    }

    pub(super) fn read_answered(
        &mut self,
        seq: u64,
        answer: ReadAnswer,
        out: &mut Outbox<SparkOut>,
    ) {
        let Some(id) = self.tasks.reads.remove(&seq) else { return };
        if self.attempt_of(id).is_none() {
            return;
        }
        let to = self.tasks.tasks[&id.partition].to;
        match answer {
            ReadAnswer::Rows { rows, next } => {
                self.write_rows(id, &rows, out);
                let executor = self.attempt_of(id).expect("just seen").executor;
                if next < to {
                    self.ask_read(id, executor, next, to, out);
                } else {
                    self.flush(id, out);
                }
            }
            ReadAnswer::TimedOut if self.on(SparkMutant::TimeoutEndsRange) => self.flush(id, out),
            ReadAnswer::OutOfRange { .. } if self.config.fail_on_data_loss => {
                self.attempt_ended(id, Ended::Failed, out);
            }
            // What is left of the range, or nothing.
            ReadAnswer::OutOfRange { earliest, latest } => {
                let executor = self.attempt_of(id).expect("just seen").executor;
                if earliest < to && earliest < latest {
                    self.ask_read(id, executor, earliest, to, out);
                } else {
                    self.flush(id, out);
                }
            }
            ReadAnswer::TimedOut | ReadAnswer::Failed => {
                self.attempt_ended(id, Ended::Failed, out);
            }
        }
    }

    /// Maps the records, and sends or keeps what comes of them.
    fn write_rows(&mut self, id: AttemptId, rows: &[SourceRow], out: &mut Outbox<SparkOut>) {
        let copies = 0..self.config.fan_out;
        let mapped: Vec<OutRow> = rows
            .iter()
            .flat_map(|row| copies.clone().map(move |copy| (row, copy)))
            .map(|(row, copy)| OutRow {
                id: RowId { partition: id.partition, offset: row.offset, copy },
                value: row.value,
            })
            .collect();
        let driver_side = self.config.sink.is_driver_side();
        let attempt = self.attempt_of(id).expect("an attempt that runs");
        attempt.rows += rows.len() as u64;
        let executor = attempt.executor;
        if driver_side {
            attempt.collected.extend(mapped);
        } else {
            attempt.sent += mapped.len() as u64;
            let to = sink_partition(id.partition, self.config.sink_partitions);
            for rows in mapped.chunks(self.config.rows_per_send) {
                let (batch, rows) = (self.batch, rows.to_vec());
                let ask = KafkaAsk::Send { attempt: id, executor, batch, to, rows };
                let seq = self.ask_kafka(ask, out);
                self.tasks.sends.insert(seq, id);
                self.tasks.unfinished.entry(executor).or_default().insert(seq);
            }
        }
        // A transaction begins behind the tasks, and has these moments of its own.
        let tells = self.config.sink != Sink::DriverTransaction;
        if tells && !self.tasks.tasks.values().any(|task| task.done) {
            self.reached_once(CrashPoint::C4, out);
        }
    }

    pub(super) fn reached_once(&mut self, point: CrashPoint, out: &mut Outbox<SparkOut>) {
        if self.tasks.told.insert(point) {
            self.reached(point, out);
        }
    }

    /// The attempt has read all. `flush` waits for all that the executor's producer has: other
    /// tasks' sends, too.
    fn flush(&mut self, id: AttemptId, out: &mut Outbox<SparkOut>) {
        let executor = self.attempt_of(id).expect("an attempt that runs").executor;
        let waits_for = if self.on(SparkMutant::CommitBeforeFlush) {
            BTreeSet::new()
        } else {
            self.tasks.unfinished.get(&executor).cloned().unwrap_or_default()
        };
        let attempt = self.attempt_of(id).expect("just seen");
        attempt.flush = Some(waits_for);
        self.flushed(id, out);
    }

    fn flushed(&mut self, id: AttemptId, out: &mut Outbox<SparkOut>) {
        let Some(attempt) = self.attempt_of(id) else { return };
        if attempt.flush.as_ref().is_some_and(BTreeSet::is_empty) {
            let ended = if attempt.failed { Ended::Failed } else { Ended::Succeeded };
            self.attempt_ended(id, ended, out);
        }
    }

    pub(super) fn send_answered(
        &mut self,
        seq: u64,
        answer: SendAnswer,
        out: &mut Outbox<SparkOut>,
    ) {
        if self.on(SparkMutant::LateSendForgotten) && !self.tasks.sends.contains_key(&seq) {
            return;
        }
        // A flush waits for the sends of earlier batches, too, but these fail no attempt of this.
        for unfinished in self.tasks.unfinished.values_mut() {
            unfinished.remove(&seq);
        }
        let sender = self.tasks.sends.remove(&seq).and_then(|id| self.attempt_of(id));
        // What failed, or may have, fails the attempt when it flushes, and nobody sends it again.
        if let (Some(attempt), SendAnswer::Refused | SendAnswer::Unknown) = (sender, answer) {
            attempt.failed = true;
        }
        let mut woken = Vec::new();
        for (partition, task) in &mut self.tasks.tasks {
            for (number, other) in &mut task.running {
                if other.flush.as_mut().is_some_and(|flush| flush.remove(&seq)) {
                    woken.push(attempt(*partition, *number));
                }
            }
        }
        for id in woken {
            self.flushed(id, out);
        }
    }

    fn attempt_ended(&mut self, id: AttemptId, ended: Ended, out: &mut Outbox<SparkOut>) {
        let task = self.tasks.tasks.get_mut(&id.partition).expect("a task of this batch");
        let Some(attempt) = task.running.remove(&id.number) else { return };
        let won = ended == Ended::Succeeded && !task.done;
        let sent = attempt.sent;
        out.push(SparkOut::Observe(Event::AttemptEnded { attempt: id, won, sent }));
        if won {
            task.done = true;
            let others: Vec<_> = task.running.keys().copied().collect();
            self.tasks.rows_in += attempt.rows;
            self.tasks.collected.extend(attempt.collected);
            for number in others {
                self.attempt_ended(super::attempt(id.partition, number), Ended::Gone, out);
            }
            let tells = self.config.sink != Sink::DriverTransaction;
            if tells && self.tasks.tasks.values().any(|task| !task.done) {
                self.reached_once(CrashPoint::C5, out);
            }
        } else if ended == Ended::Failed {
            task.failures += 1;
            if task.failures >= self.config.task_failures_max {
                return self.finish(End::TaskFailed(id.partition), out);
            }
        }
        self.launch(out);
        self.all_done(out);
    }

    fn all_done(&mut self, out: &mut Outbox<SparkOut>) {
        let done = self.tasks.tasks.values().all(|task| task.done);
        if self.phase == Phase::Running && done {
            out.push(SparkOut::Disarm(SparkTimer::Speculation));
            self.tasks_done(out);
        }
    }

    /// The tasks that run there go elsewhere; those that are done stay done.
    pub(super) fn executor_lost(&mut self, executor: ExecutorId, out: &mut Outbox<SparkOut>) {
        self.executors.insert(executor, false);
        self.tasks.unfinished.remove(&executor);
        let lost: Vec<_> = self
            .tasks
            .tasks
            .iter()
            .flat_map(|(partition, task)| {
                let there = task.running.iter().filter(|(_, it)| it.executor == executor);
                there.map(|(number, _)| attempt(*partition, *number))
            })
            .collect();
        for id in lost {
            self.attempt_ended(id, Ended::Gone, out);
        }
    }

    /// Whatever runs alone is run a second time, on another executor.
    pub(super) fn speculate(&mut self, out: &mut Outbox<SparkOut>) {
        let (Phase::Running, Some(after)) = (&self.phase, self.config.speculation) else { return };
        let alone: Vec<_> = self
            .tasks
            .tasks
            .iter()
            .filter(|(_, task)| !task.done && task.running.len() == 1)
            .filter_map(|(it, task)| Some((*it, task.running.values().next()?.executor)))
            .collect();
        for (partition, executor) in alone {
            if let Some(other) = self.room(partition, Some(executor)) {
                self.start_attempt(partition, other, out);
            }
        }
        out.push(SparkOut::Arm { key: SparkTimer::Speculation, after });
    }
}
