//! The run of a plan, shared by the tasks of its processes and the stage that directs them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::recording::Recorder;
use broker_core::ids::Incarnation;
use broker_core::step::{Cx, Effect, Input};
use invariants::Violation;
use invariants::history::{HistoryEvent, SimTime};
use madsim::time::TimeHandle;
use tokio::sync::Notify;

use crate::decider::{Run, RunOptions};
use crate::trace::{Checkpoint, TraceLine};
use crate::world::layout::Endpoint;
use crate::world::scene::Scene;
use crate::world::step::{Asked, HandOver, Stepped, Told};

/// What the caller of a run wants beyond its outcome, and what there is of it.
#[derive(Default)]
pub(super) struct Notes {
    pub only: Option<String>,
    stop_after_steps: Option<u64>,
    lines: Option<Vec<TraceLine>>,
    checkpoints: Option<Vec<Checkpoint>>,
    pub history: Option<Vec<HistoryEvent>>,
    recorder: Option<Recorder>,
}

impl Notes {
    /// What these options want.
    pub(super) fn wanted(options: &RunOptions<'_>) -> Self {
        Self {
            only: options.only.map(str::to_owned),
            stop_after_steps: options.stop_after_steps,
            lines: options.trace.is_some().then(Vec::new),
            checkpoints: options.checkpoints.is_some().then(Vec::new),
            history: options.history.is_some().then(Vec::new),
            recorder: options.recorder.clone(),
        }
    }

    /// Gives the caller what it wanted.
    pub(super) fn give(self, options: RunOptions<'_>) {
        if let (Some(trace), Some(lines)) = (options.trace, self.lines) {
            lines.iter().for_each(trace);
        }
        if let (Some(wanted), Some(checkpoints)) = (options.checkpoints, self.checkpoints) {
            *wanted = checkpoints;
        }
        if let (Some(wanted), Some(history)) = (options.history, self.history) {
            *wanted = history;
        }
    }

    /// Does something with a run that writes into these notes.
    pub(super) fn with<T>(&mut self, body: impl FnOnce(&mut RunOptions<'_>) -> T) -> T {
        let Self { only, stop_after_steps, lines, checkpoints, history, recorder: _ } = self;
        let mut trace = lines.as_mut().map(|lines| |line: &TraceLine| lines.push(line.clone()));
        body(&mut RunOptions {
            only: only.as_deref(),
            trace: trace.as_mut().map(|trace| trace as &mut dyn FnMut(&TraceLine)),
            checkpoints: checkpoints.as_mut(),
            history: history.as_mut(),
            // The processes' hosts record, and not the world.
            recorder: None,
            stop_after_steps: *stop_after_steps,
        })
    }
}

/// What stands for a property when a broker breaks Kafka's protocol.
const PROTOCOL: &str = "protocol";

struct Shared {
    run: Option<Run>,
    notes: Notes,
    /// What a process has asked of store and device in the step that it takes now: a step of a
    /// node, with all effects begun, is taken without a pause.
    asked: Vec<Asked>,
    /// Found by what a process told; the stage ends the run with it.
    broken: Option<Violation>,
    /// Processes that have ended by themselves.
    ended: Vec<(Endpoint, Incarnation)>,
}

/// What the stage is to do now.
pub(super) enum Cue {
    /// This was handed over.
    HandedOver(Vec<HandOver>),
    /// These processes have ended by themselves.
    Ended(Vec<(Endpoint, Incarnation)>),
    /// Wait until then, or for news.
    Wait(Option<SimTime>),
    /// The run is over.
    Over(Result<(), Violation>),
}

/// The run of a plan.
#[derive(Clone)]
pub(super) struct Bridge(Arc<(Mutex<Shared>, Notify)>);

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bridge").finish_non_exhaustive()
    }
}

/// Simulated time.
pub(super) fn now() -> SimTime {
    SimTime(u64::try_from(TimeHandle::current().elapsed().as_micros()).expect("short runs"))
}

impl Bridge {
    pub(super) fn new(run: Run, notes: Notes) -> Self {
        let shared =
            Shared { run: Some(run), notes, asked: Vec::new(), broken: None, ended: Vec::new() };
        Self(Arc::new((Mutex::new(shared), Notify::new())))
    }

    /// Takes the run out: the tasks that still know of this have nothing to tell any more.
    pub(super) fn take_down(&self) -> (Run, Notes) {
        let mut shared = self.lock();
        let run = shared.run.take().expect("taken down once");
        (run, std::mem::take(&mut shared.notes))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who records the processes, if anybody does.
    pub(super) fn recorder(&self) -> Option<Recorder> {
        self.lock().notes.recorder.clone()
    }

    /// Looks something up.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Scene, SimTime) -> T) -> T {
        let shared = self.lock();
        let run = shared.run.as_ref().expect("no task runs after the run");
        look(run.world().scene(), run.now().max(now()))
    }

    /// A process asks for something, in a step of which word will follow.
    pub(super) fn asks(&self, asked: Asked) {
        self.lock().asked.push(asked);
    }

    /// A process has taken a step.
    pub(super) fn stepped(
        &self,
        (node, incarnation): (Endpoint, Incarnation),
        cx: &Cx,
        input: &Input,
        effects: &[Effect],
    ) {
        let asked = std::mem::take(&mut self.lock().asked);
        self.told(Told::Stepped(Stepped { node, incarnation, cx, input, effects, asked }));
    }

    /// Something is told to the world.
    pub(super) fn told(&self, told: Told<'_>) {
        let mut shared = self.lock();
        let Shared { run, notes, broken, .. } = &mut *shared;
        let Some(run) = run.as_mut().filter(|_| broken.is_none()) else { return };
        match notes.with(|options| run.told(now(), told, options)) {
            Ok(()) => *broken = run.endless(),
            Err(violation) => *broken = Some(violation),
        }
        self.0.1.notify_one();
    }

    /// This client or broker was told what Kafka's protocol does not allow.
    pub(super) fn broken(&self, who: Endpoint, why: &str) {
        let place = self.look(|scene, _| scene.layout().name(who));
        let violation = Violation { property: PROTOCOL, place, message: why.to_owned(), at: None };
        self.lock().broken.get_or_insert(violation);
        self.0.1.notify_one();
    }

    /// Whether this process of a node runs.
    pub(super) fn lives(&self, node: Endpoint, incarnation: Incarnation) -> bool {
        let shared = self.lock();
        shared.broken.is_none()
            && shared.run.as_ref().is_some_and(|run| run.world().lives(node, incarnation))
    }

    /// A process has ended by itself.
    pub(super) fn ended(&self, node: Endpoint, incarnation: Incarnation) {
        self.lock().ended.push((node, incarnation));
        self.0.1.notify_one();
    }

    /// Something was told.
    pub(super) async fn news(&self) {
        self.0.1.notified().await;
    }

    /// Takes what is due, up to something that the stage must do.
    pub(super) fn go_on(&self) -> Cue {
        let mut shared = self.lock();
        let Shared { run, notes, broken, ended, .. } = &mut *shared;
        let run = run.as_mut().expect("the stage runs before the end");
        loop {
            if let Some(violation) = broken.take() {
                return Cue::Over(Err(violation));
            }
            if !ended.is_empty() {
                return Cue::Ended(std::mem::take(ended));
            }
            let handed_over = run.take_handed_over();
            if !handed_over.is_empty() {
                return Cue::HandedOver(handed_over);
            }
            match run.next_at() {
                Some(at) if at <= now() => match notes.with(|options| run.advance(options)) {
                    Ok(true) => *broken = run.endless(),
                    Ok(false) => return Cue::Over(Ok(())),
                    Err(violation) => return Cue::Over(Err(violation)),
                },
                next => return Cue::Wait(next),
            }
        }
    }
}
