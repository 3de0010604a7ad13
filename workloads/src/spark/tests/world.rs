//! A small world for queries: a store, a source topic, sinks, and a script that kills or disturbs.
//!
//! What is asked is done at once and answered in order, one answer per turn; timers fire when no
//! answer waits. So every run is the same again, and a driver that dies takes the answers that it
//! had not seen with it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex};
use broker_core::mutants::Mutants;
use broker_core::step::{Cx, Key, Outbox};
use broker_core::time::{Dur, Mono, Wall};

use super::store::Store;
use crate::spark::checkpoint::{BatchId, Checkpoint, Manager};
use crate::spark::driver::{Driver, QueryConfig, Sink};
use crate::spark::format::Members;
use crate::spark::handoff::{CrashPoint, Property, doubled_max};
use crate::spark::mutants::SparkMutants;
use crate::spark::step::{
    Answer, AskTok, AttemptId, End, Event, KafkaAsk, OutRow, Partitions, Ranges, ReadAnswer, RowId,
    RunId, SendAnswer, SinkAnswer, SinkAsk, SinkMarker, SourceRow, SparkIn, SparkOut, SparkTimer,
    Which,
};

pub(super) const PARTITIONS: u32 = 4;
/// `maxOffsetsPerTrigger`: more than any batch of the tables has.
pub(super) const MAX_OFFSETS: u64 = 40;
pub(super) const FAN_OUT: u32 = 2;
/// Records in each partition of the source at first, and added when a batch is done.
pub(super) const GROWTH: u64 = 5;
/// Records added to each partition while a query is down.
pub(super) const GROWTH_DOWN: u64 = 3;
/// After how many batches the source grows no more.
const GROWING_BATCHES: u64 = 3;
/// Starts that end with an error before the query counts as stuck.
const FAILED_STARTS_MAX: u32 = 3;
const TURNS_MAX: u32 = 20_000;
/// Triggers in a row that find nothing before a query counts as done.
const IDLE_MIN: u32 = 2;

pub(super) fn config(sink: Sink, manager: Manager) -> QueryConfig {
    QueryConfig {
        checkpoint: Checkpoint { root: "ckpt".into(), manager },
        source: "in".into(),
        starts_at_latest: false,
        max_offsets: Some(MAX_OFFSETS),
        fail_on_data_loss: true,
        trigger: Dur::secs(1),
        offset_log_by_id: false,
        conf: Members::default(),
        verify_empty_on_start: true,
        min_batches_to_retain: 100,
        executors: 2,
        cores: 1,
        task_failures_max: 4,
        speculation: None,
        sink,
        sink_partitions: 2,
        fan_out: FAN_OUT,
        rows_per_send: 4,
        mutants: SparkMutants::NONE,
    }
}

/// What is done to the query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The driver dies when it is at this point for the nth time.
    Die(CrashPoint, u32),
    /// It is stopped there.
    Stop(CrashPoint, u32),
    /// A second driver starts there; the first waits until that one is at the second point, too.
    Second { at: (CrashPoint, u32), meet: (CrashPoint, u32) },
    /// The nth send ends so; `Unknown` is stored.
    Send(u32, SendAnswer),
    /// The nth send is stored, its answer lost, and it is sent again; `known`: the broker
    /// remembers its producer.
    Resend { nth: u32, known: bool },
    /// With the nth read its executor is lost.
    Executor(u32),
    /// The nth read ends so.
    Read(u32, ReadAnswer),
    /// The nth read is answered never.
    Silent(u32),
    /// The nth send is answered never.
    SilentSend(u32),
    /// The nth send is stored, and its answer comes in the next batch; its attempt reads no more.
    LateSend(u32),
    /// With the nth send its executor is lost, and is there again.
    Sender(u32),
    /// From the nth on, reads of this partition fail.
    Reads(u32, PartitionIndex),
    /// The nth list of latest offsets is empty.
    NoPartitions(u32),
    /// The driver dies before its nth input, in each of so many runs.
    DieBefore { nth: u32, runs: u32 },
    /// A second driver starts before the first's nth input.
    SecondBefore(u32),
    /// The nth time that a sink of the driver's takes a batch, nobody hears of it.
    Commit { nth: u32, taken: bool },
}

/// What is done while the query is down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Meanwhile {
    /// The store loses these keys.
    Delete(&'static str),
    /// Lists of the store do not show these keys any more.
    Unlist(Vec<&'static str>),
    /// The source topic is deleted and created again, with this many records in each partition.
    Recreate(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Host {
    driver: Driver,
    inputs: VecDeque<SparkIn>,
    timers: BTreeSet<SparkTimer>,
    alive: bool,
    held: bool,
    /// Triggers in a row that found nothing.
    idle: u32,
    reached: BTreeMap<CrashPoint, u32>,
    committed: BTreeSet<BatchId>,
}

#[derive(Clone, Default, Debug)]
struct Producer {
    epoch: u32,
    open: Vec<OutRow>,
    marker: Option<SinkMarker>,
}

/// What came of a scenario.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Measured {
    pub(super) lost: usize,
    pub(super) doubled: usize,
    pub(super) bound: usize,
    pub(super) broken: BTreeSet<Property>,
    pub(super) ends: Vec<End>,
}

pub(super) struct World {
    config: QueryConfig,
    pub(super) store: Store,
    source: BTreeMap<PartitionIndex, Vec<u64>>,
    generation: u64,
    group: Partitions,
    grown: u64,
    pub(super) topic: Vec<OutRow>,
    table: Vec<OutRow>,
    table_marker: Option<SinkMarker>,
    producers: BTreeMap<String, Producer>,
    epochs: BTreeMap<RunId, (String, u32)>,
    committed: Vec<OutRow>,
    txn_marker: Option<SinkMarker>,
    pub(super) uncommitted: Vec<OutRow>,
    hosts: Vec<Host>,
    runs: u32,
    fault: Option<Fault>,
    meanwhile: Vec<Meanwhile>,
    sends: u32,
    reads: u32,
    sink_commits: u32,
    latests: u32,
    /// A send that is answered behind its batch, with its attempt.
    late: Option<(AskTok, BatchId, AttemptId)>,
    clock: i64,
    // What the verdict is made of.
    expected: BTreeSet<u64>,
    deaths: usize,
    wasted: usize,
    failed_starts: u32,
    ranges: BTreeMap<BatchId, Ranges>,
    broken: BTreeSet<Property>,
    ends: Vec<End>,
    pub(super) progress: Vec<(BatchId, u64, u64)>,
    /// Partitions added when the first batch is done, with their records.
    pub(super) added: Option<(u32, u64)>,
    /// How often the fault came about.
    strikes: u32,
    /// How often latest offsets were to be asked for again.
    pub(super) retries: u32,
    /// Attempts that counted.
    pub(super) won: u32,
    /// Inputs given to the newest driver, or to all if there are several.
    steps: u32,
}

impl World {
    pub(super) fn new(
        config: QueryConfig,
        fault: Option<Fault>,
        meanwhile: Vec<Meanwhile>,
    ) -> Self {
        let mut world = Self {
            config,
            store: Store::default(),
            source: BTreeMap::new(),
            generation: 0,
            group: Partitions::new(),
            grown: 0,
            topic: Vec::new(),
            table: Vec::new(),
            table_marker: None,
            producers: BTreeMap::new(),
            epochs: BTreeMap::new(),
            committed: Vec::new(),
            txn_marker: None,
            uncommitted: Vec::new(),
            hosts: Vec::new(),
            runs: 0,
            fault,
            meanwhile,
            sends: 0,
            reads: 0,
            sink_commits: 0,
            latests: 0,
            late: None,
            clock: 1_700_000_000_000_000,
            expected: BTreeSet::new(),
            deaths: 0,
            wasted: 0,
            failed_starts: 0,
            ranges: BTreeMap::new(),
            broken: BTreeSet::new(),
            ends: Vec::new(),
            progress: Vec::new(),
            added: None,
            strikes: 0,
            retries: 0,
            won: 0,
            steps: 0,
        };
        world.grow(PARTITIONS, GROWTH);
        world
    }

    /// Whether the fault of the script came about.
    pub(super) const fn struck(&self) -> bool {
        self.strikes > 0
    }

    fn grow(&mut self, partitions: u32, by: u64) {
        for partition in (0..partitions).map(PartitionIndex) {
            let log = self.source.entry(partition).or_default();
            for _ in 0..by {
                let (generation, place) = (self.generation * 1_000_000, log.len() as u64);
                let value = generation + u64::from(partition.0) * 1_000 + place;
                log.push(value);
                self.expected.insert(value);
            }
        }
    }

    /// How many inputs a run without faults takes.
    pub(super) fn length(config: QueryConfig) -> u32 {
        let (_, world) = Self::new(config, None, vec![]).run();
        world.steps
    }

    pub(super) fn run(mut self) -> (Measured, Self) {
        self.start();
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return (self.measure(), self);
            }
        }
        self.broken.insert(Property::Stuck);
        (self.measure(), self)
    }

    fn start(&mut self) {
        self.runs += 1;
        let run = RunId(self.runs);
        self.hosts.push(Host {
            driver: Driver::new(self.config.clone(), run),
            inputs: VecDeque::from([SparkIn::Boot]),
            timers: BTreeSet::new(),
            alive: true,
            held: false,
            idle: 0,
            reached: BTreeMap::new(),
            committed: BTreeSet::new(),
        });
    }

    /// One input to each driver that has one, else one timer to each; whether there was one.
    fn turn(&mut self) -> bool {
        if self
            .hosts
            .iter()
            .all(|host| !host.alive || host.idle >= IDLE_MIN && host.inputs.is_empty())
        {
            return false;
        }
        let mut went = false;
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let ready = host.alive && !host.held;
            if let Some(input) = ready.then(|| host.inputs.pop_front()).flatten() {
                went = true;
                self.step(index, input);
            }
        }
        if went {
            return true;
        }
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            let ready = host.alive && !host.held;
            if let Some(key) = ready.then(|| host.timers.pop_first()).flatten() {
                went = true;
                self.step(index, SparkIn::Timer(key));
            }
        }
        if !went {
            // Whom the held one waits for does not come any more.
            for host in &mut self.hosts {
                went |= core::mem::take(&mut host.held) && host.alive;
            }
        }
        if !went {
            self.broken.insert(Property::Stuck);
        }
        went
    }

    fn step(&mut self, index: usize, input: SparkIn) {
        self.clock += 1_000;
        self.steps += 1;
        match self.fault {
            Some(Fault::DieBefore { nth, runs }) if nth == self.steps && self.runs <= runs => {
                self.strikes += 1;
                self.steps = 0;
                self.hosts[index].alive = false;
                return self.restart();
            }
            Some(Fault::SecondBefore(nth)) if nth == self.steps => {
                self.strikes += 1;
                self.start();
            }
            _ => {}
        }
        let entropy = u64::try_from(self.clock).expect("after 1970");
        let cx = Cx { mono: Mono(0), wall: Wall(self.clock), entropy, mutants: Mutants::NONE };
        let mut out = Outbox::default();
        self.hosts[index].driver.step(&cx, input, &mut out);
        let effects: Vec<_> = out.drain().collect();
        for effect in effects {
            if !self.hosts[index].alive {
                return;
            }
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: SparkOut) {
        match effect {
            SparkOut::Store(tok, op) => {
                let result = self.store.ask(op);
                self.answer(index, tok, Answer::Store(result));
            }
            SparkOut::Kafka(tok, ask) => self.kafka(index, tok, ask),
            SparkOut::Sink(tok, ask) => {
                let answer = self.sink(tok.run, ask);
                self.answer(index, tok, Answer::Sink(answer));
            }
            SparkOut::Arm { key, .. } => {
                self.retries += u32::from(key == SparkTimer::Offsets);
                self.hosts[index].timers.insert(key);
            }
            SparkOut::Disarm(key) => {
                self.hosts[index].timers.remove(&key);
            }
            SparkOut::Observe(event) => self.observe(index, event),
        }
    }

    fn answer(&mut self, index: usize, tok: AskTok, answer: Answer) {
        self.hosts[index].inputs.push_back(SparkIn::Answer(tok, answer));
    }

    fn kafka(&mut self, index: usize, tok: AskTok, ask: KafkaAsk) {
        match ask {
            KafkaAsk::ListOffsets { which, partitions } => {
                let mut offsets = self.offsets(which, partitions);
                if which == Which::Latest {
                    self.latests += 1;
                    if self.fault == Some(Fault::NoPartitions(self.latests)) {
                        self.strikes += 1;
                        offsets.clear();
                    }
                }
                self.answer(index, tok, Answer::Offsets(offsets));
            }
            KafkaAsk::Read { attempt, executor, from, to } => {
                self.reads += 1;
                let read = match self.fault.clone() {
                    Some(Fault::Silent(nth)) if nth == self.reads => {
                        self.strikes += 1;
                        return;
                    }
                    Some(Fault::Executor(nth)) if nth == self.reads => {
                        self.strikes += 1;
                        if self.config.executors == 1 {
                            // Or nothing would go on.
                            let up = SparkIn::ExecutorUp(executor);
                            self.hosts[index].inputs.push_back(up);
                        }
                        let lost = SparkIn::ExecutorLost(executor);
                        return self.hosts[index].inputs.push_front(lost);
                    }
                    Some(Fault::Read(nth, answer)) if nth == self.reads => {
                        self.strikes += 1;
                        answer
                    }
                    Some(Fault::Reads(nth, partition))
                        if nth <= self.reads && partition == attempt.partition =>
                    {
                        self.strikes += 1;
                        ReadAnswer::Failed
                    }
                    _ if self.late.is_some_and(|late| late.2 == attempt) => ReadAnswer::TimedOut,
                    _ => self.read(attempt.partition, from, to),
                };
                self.answer(index, tok, Answer::Read(read));
            }
            KafkaAsk::Send { executor, rows, batch, attempt, .. } => {
                self.sends += 1;
                if self.fault == Some(Fault::LateSend(self.sends)) {
                    self.strikes += 1;
                    self.topic.extend(&rows);
                    self.late = Some((tok, batch, attempt));
                    return;
                }
                if self.fault == Some(Fault::Sender(self.sends)) {
                    self.strikes += 1;
                    self.hosts[index].inputs.push_front(SparkIn::ExecutorLost(executor));
                    self.hosts[index].inputs.push_back(SparkIn::ExecutorUp(executor));
                    return;
                }
                if self.fault == Some(Fault::SilentSend(self.sends)) {
                    self.strikes += 1;
                    return;
                }
                let sent = self.send(&rows);
                self.answer(index, tok, Answer::Send(sent));
            }
            KafkaAsk::CommitGroup(offsets) => self.group = offsets,
        }
    }

    fn offsets(&self, which: Which, partitions: Option<BTreeSet<PartitionIndex>>) -> Partitions {
        let asked = |it: &&PartitionIndex| partitions.as_ref().is_none_or(|all| all.contains(it));
        let offset = |it: &PartitionIndex| match which {
            Which::Earliest => Offset(0),
            Which::Latest => Offset(self.source[it].len() as u64),
            Which::Group => self.group.get(it).copied().unwrap_or_default(),
        };
        self.source.keys().filter(asked).map(|it| (*it, offset(it))).collect()
    }

    fn read(&self, partition: PartitionIndex, from: Offset, to: Offset) -> ReadAnswer {
        // A few records at a time, so that a range takes several reads.
        const ROWS: u64 = 3;
        let log = &self.source[&partition];
        let latest = Offset(log.len() as u64);
        if from >= latest {
            return ReadAnswer::OutOfRange { earliest: Offset(0), latest };
        }
        let next = Offset((from.0 + ROWS).min(to.0).min(latest.0));
        let row = |offset: u64| SourceRow {
            offset: Offset(offset),
            value: log[usize::try_from(offset).expect("an index")],
        };
        ReadAnswer::Rows { rows: (from.0..next.0).map(row).collect(), next }
    }

    fn send(&mut self, rows: &[OutRow]) -> SendAnswer {
        match self.fault.clone() {
            Some(Fault::Send(nth, answer)) if nth == self.sends => {
                self.strikes += 1;
                if answer != SendAnswer::Refused {
                    self.topic.extend(rows);
                }
                answer
            }
            Some(Fault::Resend { nth, known }) if nth == self.sends => {
                self.strikes += 1;
                let times = if known { 1 } else { 2 };
                (0..times).for_each(|_| self.topic.extend(rows));
                SendAnswer::Stored
            }
            _ => {
                self.topic.extend(rows);
                SendAnswer::Stored
            }
        }
    }

    fn sink(&mut self, run: RunId, ask: SinkAsk) -> SinkAnswer {
        if matches!(ask, SinkAsk::CommitTable { .. } | SinkAsk::TxnCommit) {
            self.sink_commits += 1;
            let here =
                matches!(&self.fault, Some(Fault::Commit { nth, .. }) if *nth == self.sink_commits);
            if here {
                self.strikes += 1;
                if let Some(Fault::Commit { taken: true, .. }) = self.fault {
                    self.sink_takes(run, ask);
                }
                return SinkAnswer::Unknown;
            }
        }
        self.sink_takes(run, ask)
    }

    fn sink_takes(&mut self, run: RunId, ask: SinkAsk) -> SinkAnswer {
        match ask {
            SinkAsk::ReadMarker { query } => {
                let markers = [&self.table_marker, &self.txn_marker];
                let mine = |it: &&SinkMarker| it.query == query;
                SinkAnswer::Marker(markers.into_iter().flatten().find(mine).cloned())
            }
            SinkAsk::CommitTable { rows, marker, over } => {
                if self.table_marker != over {
                    return SinkAnswer::Conflict;
                }
                self.table.extend(rows);
                self.table_marker = Some(marker);
                SinkAnswer::Done
            }
            SinkAsk::InitTransactions { transactional_id } => {
                let producer = self.producers.entry(transactional_id.clone()).or_default();
                producer.epoch += 1;
                producer.open.clear();
                producer.marker = None;
                self.epochs.insert(run, (transactional_id, producer.epoch));
                SinkAnswer::Done
            }
            SinkAsk::TxnSend { .. } | SinkAsk::TxnMarker(_) | SinkAsk::TxnCommit => {
                self.transaction(run, ask)
            }
        }
    }

    fn transaction(&mut self, run: RunId, ask: SinkAsk) -> SinkAnswer {
        let (id, epoch) = &self.epochs[&run];
        let producer = self.producers.get_mut(id).expect("it was initialised");
        if producer.epoch != *epoch {
            return SinkAnswer::Fenced;
        }
        match ask {
            SinkAsk::TxnSend { rows, .. } => {
                self.uncommitted.extend(&rows);
                producer.open.extend(rows);
            }
            SinkAsk::TxnMarker(marker) => producer.marker = Some(marker),
            _ => {
                self.committed.append(&mut producer.open);
                self.txn_marker = producer.marker.take().or(self.txn_marker.take());
            }
        }
        SinkAnswer::Done
    }

    fn observe(&mut self, index: usize, event: Event) {
        if event != Event::Idle {
            self.hosts[index].idle = 0;
        }

        match event {
            Event::Idle => self.hosts[index].idle += 1,
            Event::Reached(point) => self.reached(index, point),
            Event::Running { batch, ranges } => {
                let before = self.ranges.insert(batch, ranges.clone());
                if before.is_some_and(|before| before != ranges) {
                    self.broken.insert(Property::RangeChanged);
                }
                if let Some((tok, ..)) = self.late.take_if(|late| late.1 < batch) {
                    self.answer(index, tok, Answer::Send(SendAnswer::Stored));
                }
            }
            Event::AttemptEnded { won: false, sent, .. } => {
                self.wasted += usize::try_from(sent).expect("few");
            }
            Event::Progress { batch, rows_in, rows_out, .. } => {
                self.progress.push((batch, rows_in, rows_out));
                self.batch_done(index, batch);
            }
            Event::Ended(end) => self.ended(index, end),
            Event::AttemptEnded { .. } => self.won += 1,
            Event::Started(_) | Event::Resumed { .. } | Event::Skipped(_) => {}
        }
    }

    fn batch_done(&mut self, index: usize, batch: BatchId) {
        self.failed_starts = 0;
        self.hosts[index].committed.insert(batch);
        let by = self.hosts.iter().filter(|it| it.alive && it.committed.contains(&batch)).count();
        if by > 1 {
            self.broken.insert(Property::CommittedTwice);
        }
        if self.grown < GROWING_BATCHES && self.grown <= batch.0 {
            self.grown += 1;
            self.grow(PARTITIONS, GROWTH);
            if let Some((partitions, records)) = self.added.take() {
                let first = PARTITIONS;
                for partition in first..first + partitions {
                    self.source.insert(PartitionIndex(partition), Vec::new());
                }
                let before = self.source.clone();
                self.grow(first + partitions, records);
                // Only the new ones grow.
                for (partition, log) in before.iter().take(first as usize) {
                    let surplus = self.source.insert(*partition, log.clone()).expect("there");
                    for value in &surplus[log.len()..] {
                        self.expected.remove(value);
                    }
                }
            }
        }
    }

    fn reached(&mut self, index: usize, point: CrashPoint) {
        let times = self.hosts[index].reached.entry(point).or_default();
        *times += 1;
        let here = (point, *times);
        match self.fault.clone() {
            Some(Fault::Die(at, nth)) if (at, nth) == here && self.runs == 1 => {
                self.strikes += 1;
                self.hosts[index].alive = false;
                self.restart();
            }
            Some(Fault::Stop(at, nth)) if (at, nth) == here && self.runs == 1 => {
                self.strikes += 1;
                self.hosts[index].inputs.push_front(SparkIn::Stop);
            }
            Some(Fault::Second { at, .. }) if at == here && self.runs == 1 => {
                self.strikes += 1;
                self.start();
            }
            _ => {}
        }
        if let Some(Fault::Second { meet, .. }) = self.fault {
            if index == 0 && here == meet {
                self.hosts[0].held = self.hosts.len() > 1;
            } else if index == 1 && point == meet.0 && self.hosts[0].held {
                self.hosts[0].held = false;
            }
        }
    }

    fn restart(&mut self) {
        self.deaths += 1;
        self.grow(PARTITIONS, GROWTH_DOWN);
        for event in core::mem::take(&mut self.meanwhile) {
            match event {
                Meanwhile::Delete(prefix) => {
                    self.store.objects.retain(|key, _| !key.0.starts_with(prefix));
                }
                Meanwhile::Unlist(keys) => {
                    self.store.unlisted = keys.iter().map(|key| Key((*key).into())).collect();
                }
                Meanwhile::Recreate(records) => {
                    self.generation += 1;
                    // What nobody read before it was deleted is not the query's to hand over.
                    for (partition, log) in &mut self.source {
                        let read = self.ranges.values().filter_map(|it| it.get(partition));
                        let read = read.map(|(_, to)| to.0).max().unwrap_or(0);
                        for value in &log[usize::try_from(read).expect("an index")..] {
                            self.expected.remove(value);
                        }
                        log.clear();
                    }
                    self.grow(PARTITIONS, records);
                }
            }
        }
        self.start();
    }

    fn ended(&mut self, index: usize, end: End) {
        self.hosts[index].alive = false;
        let stopped = end == End::Stopped;
        self.ends.push(end);
        if self.hosts.iter().any(|host| host.alive) {
            // The other one goes on.
            self.hosts.iter_mut().for_each(|host| host.held = false);
            return;
        }
        if stopped {
            return self.restart();
        }
        self.failed_starts += 1;
        if self.failed_starts > FAILED_STARTS_MAX {
            self.broken.insert(Property::Stuck);
        } else {
            self.restart();
        }
    }

    /// What a reader of the sink sees.
    fn view(&self) -> Vec<OutRow> {
        match self.config.sink {
            Sink::AtLeastOnce => self.topic.clone(),
            Sink::Keyed => {
                let by_key: BTreeMap<RowId, OutRow> =
                    self.topic.iter().map(|row| (row.id, *row)).collect();
                by_key.into_values().collect()
            }
            Sink::MarkedTable => self.table.clone(),
            Sink::DriverTransaction => self.committed.clone(),
        }
    }

    /// Duplicates that the sink may have: for each death the batch that was under way, for each
    /// attempt that does not count what it had sent.
    fn bound(&self) -> usize {
        let deaths = (self.hosts.len() - 1).max(self.deaths) as u64;
        let (wasted, partitions) = (self.wasted as u64, self.source.len() as u64);
        let (sink, fan_out) = (self.config.sink, u64::from(FAN_OUT));
        let max = doubled_max(sink, deaths, wasted, fan_out, MAX_OFFSETS, partitions);
        usize::try_from(max).expect("few")
    }

    fn measure(&mut self) -> Measured {
        let mut seen = BTreeMap::<(u64, u32), usize>::new();
        for row in self.view() {
            *seen.entry((row.value, row.id.copy)).or_default() += 1;
        }
        let doubled = seen.values().map(|times| times - 1).sum();
        let wanted = self.expected.iter().flat_map(|it| (0..FAN_OUT).map(move |copy| (*it, copy)));
        // A query that does not get on has not lost what it has not read.
        let stuck = self.broken.contains(&Property::Stuck);
        let lost = wanted.filter(|it| !stuck && !seen.contains_key(it)).count();
        let bound = self.bound();
        if lost > 0 {
            self.broken.insert(Property::Lost);
        }
        if doubled > bound {
            self.broken.insert(Property::Doubled);
        }
        let (broken, ends) = (self.broken.clone(), self.ends.clone());
        Measured { lost, doubled, bound, broken, ends }
    }
}

#[test]
fn query_undisturbed_hands_everything_over_once() {
    for sink in [Sink::AtLeastOnce, Sink::Keyed, Sink::MarkedTable, Sink::DriverTransaction] {
        let (measured, world) = World::new(config(sink, Manager::AtomicRename), None, vec![]).run();
        assert_eq!(measured, Measured::default(), "{sink:?}");
        let rows = u64::from(PARTITIONS) * GROWTH;
        let batch = |number| (BatchId(number), rows, rows * u64::from(FAN_OUT));
        assert_eq!(world.progress, (0..=GROWING_BATCHES).map(batch).collect::<Vec<_>>());
    }
}
