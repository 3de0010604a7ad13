//! When a plan's query is started again, when its timers fire, and what its faults do to it.
//!
//! Spark starts no query again: whoever deploys it does, a while after it ended by itself or when
//! the fault that holds it down is over.

use broker_core::time::Dur;
use workloads::spark::step::SparkTimer;

use crate::decider::queue::Due;
use crate::decider::{Judged, Run, RunOptions};
use crate::draws::{Purpose, StreamKey};
use crate::plan::Act;
use crate::world::layout::Endpoint;
use crate::world::spark::{PLACES, Place, Spark, SparkLaunch, SparkStep};
use crate::world::step::Step;
use crate::world::weather::FaultId;

/// A query that ended by itself is started again within this, after at least a quarter of it.
const RESTART_US_MAX: u64 = 2_000_000;

impl Run {
    pub(super) fn query(&self) -> Option<&Spark> {
        self.world.scene().spark()
    }

    /// Whether a start of the query that is due must not be: it runs, or a fault holds it down.
    pub(super) fn query_stays_down(&self, step: &Step) -> bool {
        let runs = self.query().is_some_and(|query| query.running().is_some());
        matches!(step, Step::Spark(_, SparkStep::Start)) && (self.query_down > 0 || runs)
    }

    /// Something that the query's host set going.
    pub(super) fn schedule_query(&mut self, place: Place, launch: SparkLaunch, cause: u64) {
        match launch {
            SparkLaunch::Timer(key, after) => self.arm_query((place, key), after, cause),
            SparkLaunch::GoOn => {
                self.push(0, Step::Spark(place, SparkStep::GoOn), StreamKey::PLAN, cause);
            }
            SparkLaunch::Gone => {
                self.query_alarms[usize::from(place.0)].clear();
                let query = self.query().expect("it launched this");
                let layout = self.world.scene().layout();
                let clients = query.clients_at(place).iter();
                let numbers: Vec<_> = clients.map(|it| layout.client_number(*it)).collect();
                for number in numbers {
                    self.client_alarms[usize::from(number)].clear();
                }
            }
            SparkLaunch::Over => self.start_query_soon(place, cause),
        }
    }

    fn arm_query(&mut self, (place, key): (Place, SparkTimer), after: Dur, cause: u64) {
        let driver = self.query().expect("it armed this").driver_at(place);
        let (due, when) = self.alarm_times(driver, after);
        if self.query_alarms[usize::from(place.0)].arm(key, due, when) {
            let step = Step::Spark(place, SparkStep::Timer(key));
            let stream = StreamKey::new(Purpose::Timer, driver.0.into());
            self.queue.push(when, Due::Step(step), stream, cause);
        }
    }

    fn start_query_soon(&mut self, place: Place, cause: u64) {
        let Some(query) = self.query() else { return };
        let stream = StreamKey::new(Purpose::Boot, query.driver_at(place).0.into());
        let least = RESTART_US_MAX / 4;
        let after = least + self.ledger.draws.below(stream, RESTART_US_MAX - least);
        self.push(after, Step::Spark(place, SparkStep::Start), stream, cause);
    }

    /// A fault of the query begins.
    pub(super) fn disturb(
        &mut self,
        id: FaultId,
        act: Act,
        on: Option<Endpoint>,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        if matches!(act, Act::Kill | Act::Stop) {
            self.query_down += 1;
        }
        let Some(place) = self.struck_place(act, on) else { return Ok(()) };
        let (driver, layout) = {
            let query = self.query().expect("it has a place");
            (query.driver_at(place), self.world.scene().layout())
        };
        let step = match act {
            Act::Kill => SparkStep::Kill,
            Act::Stop => SparkStep::Stop,
            Act::Rival => SparkStep::Freeze,
            Act::FailTask => SparkStep::FailTask,
            Act::LoseEntry => SparkStep::LoseEntry,
            Act::LoseCommits => SparkStep::LoseCommits,
            Act::LoseExecutor => {
                let executors = layout.query.as_ref().map_or(1, |query| query.executors);
                let stream = self.book.stream(id, driver.0.into());
                let which = self.ledger.draws.below(stream, executors.into()) as u16;
                self.book.lost_executors.push((id, place, which));
                SparkStep::LoseExecutor(which)
            }
        };
        let step = Step::Spark(place, step);
        if !self.world.is_enabled(&step) {
            return Ok(());
        }
        self.book.strike(id);
        if let Some((on, _)) = &mut self.book.entry(id).active {
            *on = Some(driver);
        }
        self.take(step, StreamKey::PLAN, cause, options)?;
        if act == Act::Rival {
            let other = Step::Spark(PLACES[usize::from(1 - place.0)], SparkStep::Start);
            return self.take(other, StreamKey::PLAN, cause, options);
        }
        Ok(())
    }

    /// Where an act strikes: the driver that the fault waited for, or the first that runs. What is
    /// done to the checkpoint is done whether one runs or not; a rival has no third.
    fn struck_place(&self, act: Act, on: Option<Endpoint>) -> Option<Place> {
        let query = self.query()?;
        let waited_for = on.and_then(|on| query.place_of(on)).filter(|it| query.runs_at(*it));
        let place = waited_for.or(query.running());
        match act {
            Act::LoseEntry | Act::LoseCommits => Some(place.unwrap_or(PLACES[0])),
            Act::Rival => place.filter(|it| !query.runs_at(PLACES[usize::from(1 - it.0)])),
            Act::Kill | Act::Stop | Act::LoseExecutor | Act::FailTask => place,
        }
    }

    /// A fault of the query ends; it struck this driver, if any.
    pub(super) fn leave_alone(
        &mut self,
        id: FaultId,
        act: Act,
        driver: Option<Endpoint>,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let struck = driver.and_then(|driver| self.query()?.place_of(driver));
        match (act, struck) {
            (Act::Kill | Act::Stop, _) => {
                self.query_down -= 1;
                self.start_query_soon(struck.unwrap_or(PLACES[0]), 0);
                Ok(())
            }
            (Act::Rival, Some(place)) => {
                self.take(Step::Spark(place, SparkStep::Thaw), StreamKey::PLAN, 0, options)
            }
            (Act::LoseExecutor, Some(_)) => {
                let lost = &mut self.book.lost_executors;
                let Some(nth) = lost.iter().position(|it| it.0 == id) else { return Ok(()) };
                let (_, place, which) = lost.swap_remove(nth);
                let step = Step::Spark(place, SparkStep::RaiseExecutor(which));
                self.take(step, StreamKey::PLAN, 0, options)
            }
            _ => Ok(()),
        }
    }
}
