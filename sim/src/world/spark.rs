//! A Spark query in a world: two places where its driver can run, each with executors, and what
//! their host keeps for them. What the query decides is in `workloads::spark`.
//!
//! Driver and executors are clients of the brokers ([`errands`]); the checkpoint is in the store.
//! Simplified: driver and executors reach each other at once, and always.

mod errands;
mod host;
mod table;
mod told;

use std::collections::{BTreeMap, VecDeque};

use broker_core::ids::Offset;
use workloads::spark::checkpoint::BatchId;
use workloads::spark::driver::Driver;
use workloads::spark::handoff::CrashPoint;
use workloads::spark::mutants::SparkMutants;
use workloads::spark::step::{
    AskTok, OutRow, Partitions, SinkMarker, SparkIn, SparkOut, SparkTimer,
};
use workloads::spark_handoff::Query;

use crate::world::layout::{Endpoint, Layout};
use crate::world::node::Armed;
use errands::Errand;

/// Where a query's driver can run. There are two of them, so that one can be started while the
/// other, thought to be dead, is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place(pub u8);

/// All places.
pub const PLACES: [Place; 2] = [Place(0), Place(1)];

/// What can happen to a query.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SparkStep {
    /// Its driver starts.
    Start,
    /// The driver goes on behind a mark at which it could have died.
    GoOn,
    /// An armed timer fires.
    Timer(SparkTimer),
    /// The driver dies with its executors.
    Kill,
    /// The query is stopped in order.
    Stop,
    /// The driver is frozen; its executors are not.
    Freeze,
    /// The driver goes on.
    Thaw,
    /// An executor dies.
    LoseExecutor(u16),
    /// An executor is there again.
    RaiseExecutor(u16),
    /// The next read of a task times out.
    FailTask,
    /// The checkpoint loses the newest entry of its offset log.
    LoseEntry,
    /// The checkpoint loses its commit log.
    LoseCommits,
}

/// What a query's host set going.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SparkLaunch {
    /// A driver armed (or moved) a timer.
    Timer(SparkTimer, broker_core::time::Dur),
    /// A driver is at a mark, and goes on at once.
    GoOn,
    /// Executors and driver of this place are gone, with all timers.
    Gone,
    /// The query ended by itself.
    Over,
}

/// The marks at which a driver can die, which faults may wait for: name, mark, what it means.
pub const MARKS: [(&str, CrashPoint, &str); 10] = [
    ("spark.c0", CrashPoint::C0, "a query's metadata is about to be renamed"),
    ("spark.c1", CrashPoint::C1, "a query's initial offsets are written"),
    ("spark.c2", CrashPoint::C2, "an entry of the offset log is about to be renamed"),
    ("spark.c3", CrashPoint::C3, "an entry of the offset log is durable, no task has started"),
    ("spark.c4", CrashPoint::C4, "some tasks have sent, none has flushed"),
    ("spark.c5", CrashPoint::C5, "some tasks are done, some are not"),
    ("spark.c6", CrashPoint::C6, "all of a batch is in the sink, the commit log does not say so"),
    ("spark.c7", CrashPoint::C7, "an entry of the commit log is about to be renamed"),
    ("spark.c8", CrashPoint::C8, "an entry of the commit log is durable"),
    ("spark.c9", CrashPoint::C9, "an old entry of a log is deleted"),
];

/// The number of a mark in [`MARKS`].
#[must_use]
pub fn mark(point: CrashPoint) -> Option<usize> {
    MARKS.iter().position(|row| row.1 == point)
}

/// A query and its processes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Spark {
    query: Query,
    mutants: SparkMutants,
    processes: [Processes; 2],
    /// Starts so far.
    runs: u32,
    /// Errands so far.
    errands: u32,
    /// Offsets of the query's consumer group; only a planted bug has any.
    group: Partitions,
    /// What the records with these values say.
    markers: BTreeMap<u64, SinkMarker>,
    /// What the versions of the table hold, by number of the put.
    table: Vec<TableVersion>,
}

/// What a driver puts into a table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct TableVersion {
    rows: Vec<OutRow>,
    marker: SinkMarker,
}

/// The processes of a place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Processes {
    /// The driver's client, then the executors'.
    clients: Vec<Endpoint>,
    driver: Option<Driver>,
    /// What the driver is still to be told.
    inbox: VecDeque<SparkIn>,
    /// What it asked for and is still to be carried out.
    asked: VecDeque<SparkOut>,
    /// It is at a mark.
    at_mark: bool,
    frozen: bool,
    timers: Armed<SparkTimer>,
    /// By executor, whether it runs.
    up: Vec<bool>,
    /// By number.
    errands: BTreeMap<u32, Errand>,
    /// The errand that is its open transaction.
    transaction: Option<u32>,
    /// That one ended before it was told to.
    broken: bool,
    /// The transactional id that the driver took.
    transactional_id: String,
    /// The version of the table that the driver saw last.
    table_version: u32,
    /// Offsets found so far, of several that were asked for, and whether one was not to be had.
    listing: Option<Partitions>,
    listing_failed: bool,
    run: u32,
    batch: BatchId,
    /// Reads that are to time out.
    failing: u32,
    /// Triggers in a row that found nothing, since anything was written to any topic.
    idle: u32,
}

/// Who waits for an operation of the store that a query asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SparkTicket {
    /// Where its driver runs.
    pub place: Place,
    /// Its question.
    pub tok: AskTok,
    /// What it is about.
    pub of: Of,
}

/// What an operation of the store is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Of {
    /// The checkpoint.
    Checkpoint,
    /// Which versions the table has.
    TableVersions,
    /// The newest version of the table.
    NewestVersion,
    /// This version of the table is put.
    Version(u32),
}

/// After so many triggers in a row that found nothing a query has handed everything over: one may
/// have asked just before the last record came.
const IDLE_MIN: u32 = 2;

impl Spark {
    /// The query of a plan, before its first start.
    pub(super) fn new(layout: &Layout) -> Option<Self> {
        let query = layout.query.clone()?;
        let processes = |place: Place| Processes {
            clients: layout.spark_clients(place),
            driver: None,
            inbox: VecDeque::new(),
            asked: VecDeque::new(),
            at_mark: false,
            frozen: false,
            timers: Armed::default(),
            up: vec![false; query.executors.into()],
            errands: BTreeMap::new(),
            transaction: None,
            broken: false,
            transactional_id: String::new(),
            table_version: 0,
            listing: None,
            listing_failed: false,
            run: 0,
            batch: BatchId(0),
            failing: 0,
            idle: 0,
        };
        Some(Self {
            processes: PLACES.map(processes),
            mutants: layout.spark_mutants,
            runs: 0,
            errands: 0,
            group: Partitions::new(),
            markers: BTreeMap::new(),
            table: Vec::new(),
            query,
        })
    }

    fn at(&self, place: Place) -> &Processes {
        &self.processes[usize::from(place.0)]
    }

    fn at_mut(&mut self, place: Place) -> &mut Processes {
        &mut self.processes[usize::from(place.0)]
    }

    /// Whether a driver runs there.
    #[must_use]
    pub fn runs_at(&self, place: Place) -> bool {
        self.at(place).driver.is_some()
    }

    /// Whether a frozen driver is there.
    #[must_use]
    pub fn is_frozen_at(&self, place: Place) -> bool {
        self.at(place).frozen
    }

    /// Where a driver runs: the first such place.
    #[must_use]
    pub fn running(&self) -> Option<Place> {
        PLACES.into_iter().find(|place| self.runs_at(*place))
    }

    /// The endpoint of a place's driver.
    #[must_use]
    pub fn driver_at(&self, place: Place) -> Endpoint {
        self.at(place).clients[0]
    }

    /// The clients of a place: the driver's, then the executors'.
    #[must_use]
    pub fn clients_at(&self, place: Place) -> &[Endpoint] {
        &self.at(place).clients
    }

    /// The place to which a client belongs.
    #[must_use]
    pub fn place_of(&self, client: Endpoint) -> Option<Place> {
        PLACES.into_iter().find(|place| self.at(*place).clients.contains(&client))
    }

    /// Whether the query waits for new records, all others being handed over.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let all = self.processes.iter().filter(|one| one.driver.is_some());
        all.clone().count() > 0 && all.map(|one| one.idle).max() >= Some(IDLE_MIN)
    }

    /// Something was written: what was found before says nothing any more.
    pub(super) fn stir(&mut self) {
        for processes in &mut self.processes {
            processes.idle = 0;
        }
    }

    /// What it waits for, one line each.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let line = |place: &Place| match self.at(*place).driver {
            None => format!("driver-{} is down", place.0),
            Some(_) if self.at(*place).frozen => format!("driver-{} is frozen", place.0),
            Some(_) => {
                let it = self.at(*place);
                let (run, batch, errands) = (it.run, it.batch.0, it.errands.len());
                format!("driver-{}: run {run}, batch {batch}, {errands} errands", place.0)
            }
        };
        PLACES.iter().map(line).collect()
    }

    /// The timers that are armed.
    pub(super) fn timers(&self) -> impl Iterator<Item = (Place, SparkTimer)> + '_ {
        PLACES.into_iter().flat_map(|place| self.at(place).timers.iter().map(move |it| (place, it)))
    }

    /// Whether a step would change anything.
    pub(super) fn is_enabled(&self, place: Place, step: SparkStep) -> bool {
        let it = self.at(place);
        let runs = it.driver.is_some();
        match step {
            SparkStep::Start => !runs,
            SparkStep::GoOn => runs && it.at_mark && !it.frozen,
            SparkStep::Timer(key) => runs && it.timers.holds(key),
            SparkStep::Kill | SparkStep::Stop => runs,
            SparkStep::Freeze => runs && !it.frozen,
            SparkStep::Thaw => runs && it.frozen,
            SparkStep::LoseExecutor(which) => {
                runs && it.up.get(usize::from(which)).is_some_and(|up| *up)
            }
            SparkStep::RaiseExecutor(which) => {
                runs && it.up.get(usize::from(which)).is_some_and(|up| !*up)
            }
            SparkStep::FailTask => runs,
            SparkStep::LoseEntry | SparkStep::LoseCommits => true,
        }
    }
}

impl Processes {
    /// What the driver is still to be told, or is to be done for it, if it can go on.
    fn is_ready(&self) -> bool {
        let goes = self.driver.is_some() && !self.frozen && !self.at_mark;
        goes && !(self.asked.is_empty() && self.inbox.is_empty())
    }
}

/// The offset behind what was read.
fn behind(records: &[(Offset, u64)], skipped: Option<Offset>) -> Option<Offset> {
    records.last().map(|last| last.0.next()).max(skipped)
}
