//! Runs a plan: picks the next step by simulated time, draws what is left to chance, begins and
//! ends the faults. The world itself stays ignorant of time's order, draws and plans.
//!
//! A run has two phases. Safety: anything in the plan goes. Liveness: a core is healed and stays
//! so; no pending operation may go without progress for [`LIVENESS_US_MAX`]. Source of the two
//! phases: TigerBeetle's VOPR.

pub(crate) mod ahead;
mod alarms;
mod book;
pub(crate) mod describe;
mod faults;
mod ledger;
pub(crate) mod panics;
mod query;
mod queue;
mod schedule;
mod store;
#[cfg(test)]
pub(crate) mod tests;
pub mod until;

use std::mem;

use broker::recording::Recorder;
use broker_core::ids::ConnId;
use broker_core::step::TimerKey;
use invariants::Violation;
use invariants::history::{HistoryEvent, SimTime};
use workloads::client::ClientTimer;
use workloads::spark::step::SparkTimer;

use crate::decider::alarms::Alarms;
use crate::decider::book::Book;
use crate::decider::ledger::Ledger;
use crate::decider::queue::{Due, Queue};
use crate::draws::{Purpose, StreamKey};
use crate::outcome::{Outcome, Verdict};
use crate::plan::Plan;
use crate::trace::{CHECKPOINT_STEPS, Checkpoint, TraceHash, TraceLine};
use crate::world::layout::{BadPlan, Endpoint};
use crate::world::slab::Handle;
use crate::world::spark::{PLACES, SparkStep};
use crate::world::step::{HandOver, Step, Told};
use crate::world::{World, latency};

/// The liveness phase may go on without progress for this long, in simulated time: until the last
/// operation is given up (120 s), the transaction that it left has timed out (10 s), its
/// coordinator has looked for such (every 10 s), and its markers are written. Progress is a
/// transaction that was committed: a copy commits one after the other, until it has all of its
/// source.
pub const LIVENESS_US_MAX: u64 = 160_000_000;

/// The liveness phase ends after this, whatever is committed: no copy has that much to do.
pub const LIVENESS_US_LIMIT: u64 = 10 * LIVENESS_US_MAX;

/// The liveness phase takes at least this long, however idle all are: a fetch that nobody answers
/// must have the time to be seen hanging (2 s), and an idle leader to be seen leading.
pub const LIVENESS_US_MIN: u64 = 5_000_000;

/// The judge looks at the world this often, even when nothing happens.
pub const TICK_US: u64 = 100_000;

/// No run of a plan that a generator makes comes near; one that does goes round in circles.
pub const STEPS_MAX: u64 = 50_000_000;

/// What a caller wants of a run beyond its outcome.
#[derive(Default)]
pub struct RunOptions<'a> {
    /// Judge only this property.
    pub only: Option<&'a str>,
    /// Gets every step.
    pub trace: Option<&'a mut dyn FnMut(&TraceLine)>,
    /// Gets the hash at every [`CHECKPOINT_STEPS`]th step.
    pub checkpoints: Option<&'a mut Vec<Checkpoint>>,
    /// Gets what clients saw.
    pub history: Option<&'a mut Vec<HistoryEvent>>,
    /// Records what the nodes' machines are told.
    pub recorder: Option<Recorder>,
    /// End the run behind this step, as passed.
    pub stop_after_steps: Option<u64>,
}

/// Runs a plan to its end. A panic of the core is a verdict, not a panic; so is a plan that can not
/// be run, with the place `plan`.
pub fn run(plan: &Plan, mut options: RunOptions<'_>) -> Outcome {
    let world = World::new(plan, options.only);
    let mut run = match world.map(|world| Run::new(plan, world, &options)) {
        Ok(run) => run,
        Err(bad) => return not_run(bad),
    };
    let verdict = verdict(panics::caught(|| match &plan.then {
        Some(then) => run.follow(then, &mut options),
        None => run.drive(&mut options),
    }));
    if let Some(history) = &mut options.history {
        **history = run.take_history();
    }
    run.outcome(verdict)
}

/// What comes of a plan that can not be run.
pub(crate) fn not_run(BadPlan(message): BadPlan) -> Outcome {
    Outcome {
        verdict: Verdict::Panicked { place: "plan".to_owned(), message },
        trace_hash: 0,
        steps: 0,
        sim_us: 0,
        calls_ok: 0,
        faults: Default::default(),
        probes: Vec::new(),
        then_taken: 0,
        reached: Default::default(),
    }
}

/// What a run that ended like this has shown.
pub(crate) fn verdict(end: Result<Judged, (String, String)>) -> Verdict {
    match end {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(Violation { property, place, message, .. })) => {
            Verdict::Violated { property: property.to_owned(), place, message }
        }
        Err((place, message)) => Verdict::Panicked { place, message },
    }
}

/// A run under way: the world and everything that picks its steps.
#[derive(Clone)]
pub struct Run {
    world: World,
    queue: Queue,
    ledger: Ledger,
    book: Book,
    now: SimTime,
    /// When what came up last was due: before now if a host with a time of its own came late.
    due_at: SimTime,
    /// The step that is being taken, or was last.
    step: u64,
    safety_us: u64,
    /// By node.
    alarms: Vec<Alarms<TimerKey>>,
    /// By client.
    client_alarms: Vec<Alarms<ClientTimer>>,
    /// By place of the query.
    query_alarms: [Alarms<SparkTimer>; 2],
    /// Faults that hold the query down.
    query_down: u32,
    /// By client: until when each direction of its connections is busy (up, down).
    lanes: Vec<Vec<(ConnId, SimTime, SimTime)>>,
    /// By node: what waits for it to be thawed.
    held: Vec<Vec<(Due, StreamKey, u64)>>,
    /// Operations of dead nodes whose landing was put off, and to when.
    late: Vec<(Handle, SimTime)>,
    /// The copy of a put that was made last.
    copied: Option<Handle>,
    done: bool,
    /// Steps of the plan's `[then]` that were taken.
    then_taken: usize,
}

type Judged = Result<(), Violation>;

impl Run {
    /// A run before its first step.
    #[must_use]
    pub fn new(plan: &Plan, world: World, options: &RunOptions<'_>) -> Self {
        let layout = world.scene().layout().clone();
        let mut run = Self {
            queue: Queue::new(layout.nondeterminism.address_key),
            ledger: Ledger::new(&layout, plan.background, options),
            book: Book::new(&layout),
            now: SimTime(0),
            due_at: SimTime(0),
            step: 0,
            safety_us: plan.safety_us,
            alarms: vec![Alarms::default(); layout.nodes()],
            client_alarms: vec![Alarms::default(); layout.clients()],
            query_alarms: [Alarms::default(), Alarms::default()],
            query_down: 0,
            lanes: vec![Vec::new(); layout.clients()],
            held: vec![Vec::new(); layout.nodes()],
            late: Vec::new(),
            copied: None,
            done: false,
            then_taken: 0,
            world,
        };
        run.plan_ahead();
        run
    }

    /// The world as it is now.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The rolling hash of all steps so far.
    #[must_use]
    pub fn hash(&self) -> &TraceHash {
        &self.ledger.hash
    }

    /// How often each stream was drawn from.
    #[must_use]
    pub fn draw_counts(&self) -> Vec<(StreamKey, u64)> {
        self.ledger.draws.counts()
    }

    /// Takes what is due next. False when the run is over.
    ///
    /// # Errors
    /// If a property is violated.
    pub fn advance(&mut self, options: &mut RunOptions<'_>) -> Result<bool, Violation> {
        let Some(event) = self.queue.pop() else { return Ok(false) };
        self.due_at = event.at;
        self.now = self.now.max(event.at);
        match event.due {
            Due::Step(step) => self.due(step, event.stream, event.cause, options)?,
            Due::Begin(fault, on) => self.begin(fault, on, event.cause, options)?,
            Due::End(fault) => self.end(fault, options)?,
            Due::Safety => self.heal(options)?,
        }
        Ok(!self.done)
    }

    /// When something is due next.
    pub fn next_at(&self) -> Option<SimTime> {
        self.queue.next()
    }

    /// The host of processes that run elsewhere tells something.
    ///
    /// # Errors
    /// If a property is violated.
    pub fn told(&mut self, at: SimTime, told: Told<'_>, options: &mut RunOptions<'_>) -> Judged {
        self.now = self.now.max(at);
        let words = options.trace.is_some().then(|| describe::told(self.world.scene(), &told));
        self.ledger.hash.step(self.now, &told);
        self.step = self.ledger.hash.steps();
        let judged = self.world.told(self.now, told, &mut self.ledger);
        self.conclude(judged, words, (StreamKey::PLAN, 0), &Step::Tick, options)
    }

    /// What waits for the host of processes that run elsewhere.
    pub fn take_handed_over(&mut self) -> Vec<HandOver> {
        mem::take(&mut self.ledger.handed_over)
    }

    /// Everything that the plan says will happen, and the first ticks of all clocks.
    fn plan_ahead(&mut self) {
        let layout = self.world.scene().layout().clone();
        let endpoints = layout.nodes() + layout.clients();
        for who in (0..endpoints).map(|index| Endpoint(index as u8)) {
            let clock = StreamKey::new(Purpose::Clock, who.0.into());
            let offset = self.ledger.draws.below(clock, 2 * CLOCK_OFFSET_US_MAX) as i64;
            let offset = offset - CLOCK_OFFSET_US_MAX as i64;
            let drift = self.ledger.draws.below(clock, 2 * CLOCK_DRIFT_PPM_MAX) as i32;
            let drift = drift - CLOCK_DRIFT_PPM_MAX as i32;
            self.book.set_base_drift(who, drift);
            self.plan_step(0, Step::ClockStep(who, offset), clock);
            self.plan_step(0, Step::ClockDrift(who, drift), clock);
            let boot = StreamKey::new(Purpose::Boot, who.0.into());
            // Clients start at one instant, nodes as fast as their machines come up.
            let spread = if layout.is_node(who) { FIRST_BOOT_US_MAX } else { 1 };
            let at = self.ledger.draws.below(boot, spread);
            self.plan_step(at, Step::Boot(who), boot);
        }
        for (number, op) in layout.ops.iter().enumerate() {
            self.plan_step(op.at_us, Step::Op(number as u32), StreamKey::PLAN);
        }
        if let Some(query) = &layout.query {
            let start = Step::Spark(PLACES[0], SparkStep::Start);
            self.plan_step(query.start_ms * 1_000, start, StreamKey::PLAN);
        }
        self.plan_step(TICK_US, Step::Tick, StreamKey::PLAN);
        self.queue.push(SimTime(self.safety_us), Due::Safety, StreamKey::PLAN, 0);
        for (fault, at_us) in self.book.anchored_in_time() {
            self.queue.push(SimTime(at_us), Due::Begin(fault, None), StreamKey::PLAN, 0);
        }
        self.queue.seal();
    }

    fn plan_step(&mut self, at_us: u64, step: Step, stream: StreamKey) {
        self.queue.push(SimTime(at_us), Due::Step(step), stream, 0);
    }

    /// Takes a step, then everything that follows from it without delay, and schedules the rest.
    fn take(
        &mut self,
        step: Step,
        stream: StreamKey,
        cause: u64,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        if self.done || !self.world.is_enabled(&step) {
            return Ok(());
        }
        let words = options.trace.is_some().then(|| describe::step(self.world.scene(), &step));
        self.ledger.begin(self.now, &step);
        self.step = self.ledger.hash.steps();
        let judged = self.world.apply(self.now, &step, &mut self.ledger);
        self.conclude(judged, words, (stream, cause), &step, options)
    }

    /// A step was taken: notes it, and sees to what it set going.
    fn conclude(
        &mut self,
        judged: Judged,
        words: Option<describe::Words>,
        (stream, cause): (StreamKey, u64),
        step: &Step,
        options: &mut RunOptions<'_>,
    ) -> Judged {
        let seq = self.step;
        if let (Some(words), Some(trace)) = (words, &mut options.trace) {
            trace(&TraceLine {
                seq,
                cause,
                at: self.now,
                node: words.node,
                kind: words.kind,
                from: words.from,
                what: words.what,
                effects: mem::take(self.ledger.effects.as_mut().expect("traced")),
                stream,
                hash: self.ledger.hash.value(),
            });
        }
        self.note(options);
        judged?;
        if let Step::Crash(node, ..) = *step {
            self.forget_process(node);
        }
        let mut launches = mem::take(&mut self.ledger.launches);
        if self.world.scene().layout().nondeterminism.hash_order {
            launches = crate::world::determinism::in_hash_order(launches);
        }
        // A step that was taken by its name: nothing follows from it by itself.
        if self.ledger.bits.is_some() {
            self.ledger.launches.clear();
            self.ledger.triggered.clear();
            return Ok(());
        }
        // Faults that a probe of this step triggers strike before anything else happens, so that
        // they reach what the step itself set going.
        self.strike(seq, options)?;
        for launch in launches.drain(..) {
            self.schedule(launch, step, seq, options)?;
        }
        if self.ledger.launches.capacity() == 0 {
            self.ledger.launches = launches;
        }
        Ok(())
    }

    /// Counts a step, and ends the run if it has had enough.
    fn note(&mut self, options: &mut RunOptions<'_>) {
        if self.step.is_multiple_of(CHECKPOINT_STEPS)
            && let Some(checkpoints) = &mut options.checkpoints
        {
            let hash = self.ledger.hash.value();
            checkpoints.push(Checkpoint { step: self.step, at: self.now, hash });
        }
        if options.stop_after_steps.is_some_and(|most| self.step >= most) {
            self.done = true;
        }
    }

    fn drive(&mut self, options: &mut RunOptions<'_>) -> Judged {
        self.advance_until(|_| false, options).map(drop)
    }

    /// Goes on until it is there. False if the run is over sooner.
    fn advance_until(
        &mut self,
        is_there: impl Fn(&Self) -> bool,
        options: &mut RunOptions<'_>,
    ) -> Result<bool, Violation> {
        while !is_there(self) {
            if !self.advance(options)? {
                return Ok(false);
            }
            if let Some(violation) = self.endless() {
                return Err(violation);
            }
        }
        Ok(true)
    }

    /// A run of so many steps goes round in circles.
    #[must_use]
    pub fn endless(&self) -> Option<Violation> {
        let message = || format!("{STEPS_MAX} steps and no end at {} µs", self.now.0);
        (self.step >= STEPS_MAX).then(|| stuck("LV10", message()))
    }

    /// The judge has looked around. After the healing this is also where a run may end.
    fn ticked(&mut self) -> Judged {
        self.plan_step(self.now.0 + TICK_US, Step::Tick, StreamKey::PLAN);
        if !self.world.scene().is_healed() {
            return Ok(());
        }
        let progress = self.ledger.committed.0.max(self.safety_us);
        let end = (progress + LIVENESS_US_MAX).min(self.safety_us + LIVENESS_US_LIMIT);
        let late = self.now.0 >= end;
        let early = self.now.0 < self.safety_us + LIVENESS_US_MIN;
        if (self.is_busy() && !late) || early {
            return Ok(());
        }
        if self.unfinished().next().is_none() {
            self.done = true;
            return self.world.finish(self.now);
        }
        if late {
            self.done = true;
            let waiting: Vec<_> = self.unfinished().collect();
            self.world.finish(self.now)?;
            let message = format!(
                "{} s after the last progress there still waits: {}",
                (self.now.0 - progress) / 1_000_000,
                waiting.join("; ")
            );
            return Err(stuck("LV1", message));
        }
        Ok(())
    }

    /// Whether a client still has something to do: the cheap part of [`Self::unfinished`].
    fn is_busy(&self) -> bool {
        let plain = self.world.scene().layout().plain_clients();
        let mut clients = self.world.scene().clients().iter().take(plain);
        clients.any(|slot| !slot.ops.is_empty() || !slot.client.is_idle())
            || self.query().is_some_and(|query| !query.is_idle())
    }

    /// What waits, one line each, found one after the other.
    fn unfinished(&self) -> impl Iterator<Item = String> + '_ {
        let scene = self.world.scene();
        let query = scene.spark().into_iter().filter(|query| !query.is_idle()).map(|query| {
            let what = query.blocked().join(", ");
            format!("the query has not handed everything over: {what}")
        });
        let plain = scene.clients().iter().enumerate().take(scene.layout().plain_clients());
        let clients = plain.flat_map(|(number, slot)| {
            let ops = (!slot.ops.is_empty())
                .then(|| format!("client-{number} has {} operations to do", slot.ops.len()));
            let calls = (!slot.client.is_idle())
                .then(|| format!("client-{number}: {}", slot.client.blocked().join(", ")));
            ops.into_iter().chain(calls)
        });
        self.world.judge().unsettled(scene).chain(query).chain(clients)
    }

    /// What clients saw so far, if the options of the run wanted it.
    pub fn take_history(&mut self) -> Vec<HistoryEvent> {
        self.ledger.history.take().unwrap_or_default()
    }

    /// What a run that ended like this amounts to.
    #[must_use]
    pub fn outcome(self, verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            trace_hash: self.ledger.hash.value(),
            steps: self.ledger.hash.steps(),
            sim_us: self.now.0,
            calls_ok: self.ledger.calls_ok,
            faults: self.book.counts(),
            then_taken: self.then_taken,
            reached: self.world.judge().reached().clone(),
            probes: self.ledger.probes,
        }
    }
}

/// The world as a whole does not come to an end.
fn stuck(property: &'static str, message: String) -> Violation {
    Violation { property, place: "world".to_owned(), message, at: None }
}

/// Clocks start within this of the truth: what NTP keeps across a cloud's zones.
const CLOCK_OFFSET_US_MAX: u64 = 25_000;

/// Quartz drifts by some tens of ppm; it also keeps the timers of nodes from marching in step.
const CLOCK_DRIFT_PPM_MAX: u64 = 30;

/// The nodes' machines come up within this.
const FIRST_BOOT_US_MAX: u64 = 50_000;
