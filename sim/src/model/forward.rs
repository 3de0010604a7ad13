//! A world as a run left it, searched forward: whatever may happen next, in every order, up to a
//! number of steps, with as many mishaps as are allowed. The run's own draws have led there; the
//! search goes where no draw would.
//!
//! True time stands still: any timer may fire, and any message may take as long as it likes, so
//! that what is found may need a pause that no fault of the run has. Random bits come from the
//! state of who asks, so that a way can be taken again. Cuts stay as they are.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use broker_core::hash::digest;
use broker_core::ids::Incarnation;
use broker_core::step::{Cx, Effect, Input, QuorumTimer, TimerKey};
use invariants::Violation;
use invariants::history::SimTime;
use invariants::view::Evidence;
use stateright::{Model, Property};
use workloads::client::ClientOut;
use workloads::spark::handoff::CrashPoint;
use workloads::spark::step::SparkOut;

use super::Watch;
use super::search::{HOLDS, Judged};
use crate::decider::panics::caught;
use crate::decider::{ahead, describe};
use crate::outcome::PANIC;
use crate::world::World;
use crate::world::layout::{Endpoint, Layout};
use crate::world::spark::SparkStep;
use crate::world::step::{HandOver, Launch, Sink, Step};

/// The search.
#[derive(Debug)]
pub struct Forward {
    start: State,
    at: SimTime,
    watch: Arc<Watch>,
}

/// How often what may happen. Counters in the state: no search may be bounded by its depth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// Steps of any kind.
    pub steps: u8,
    /// Somebody's patience ends, or it looks again at something: any timer but those that close
    /// what has been filled for long enough. 255: any number.
    pub timers: u8,
    /// What goes wrong, 255 as above: a message is lost or doubled, a connection breaks, the store
    /// refuses or does not answer, a node dies.
    pub mishaps: u8,
}

impl Bounds {
    /// What bounds a step beside the number of steps.
    fn of(&mut self, step: &Step) -> Option<&mut u8> {
        match step {
            Step::Timer(
                _,
                TimerKey::WalBulk | TimerKey::UploadSeal | TimerKey::Quorum(QuorumTimer::Linger),
            ) => None,
            Step::Timer(..) | Step::ClientTimer(..) | Step::Spark(_, SparkStep::Timer(_)) => {
                Some(&mut self.timers)
            }
            step => ahead::is_mishap(step).then_some(&mut self.mishaps),
        }
    }

    fn allow(mut self, step: &Step) -> bool {
        self.of(step).is_none_or(|left| *left > 0)
    }

    fn take(&mut self, step: &Step) {
        self.steps -= 1;
        // 255 is any number.
        if let Some(left) = self.of(step).filter(|left| **left < u8::MAX) {
            *left -= 1;
        }
    }
}

/// A world on the way.
#[derive(Clone, Debug)]
pub struct State {
    world: Arc<World>,
    left: Bounds,
    broken: Option<Violation>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { world, left, broken } = self;
        // Stateright's hasher reads bytes one by one: this one does not.
        (digest(&**world), left, broken).hash(hasher);
    }
}

impl PartialEq for State {
    /// As searches go by fingerprints, so does this.
    fn eq(&self, other: &Self) -> bool {
        digest(self) == digest(other)
    }
}

impl Judged for State {
    fn broken(&self) -> Option<&Violation> {
        self.broken.as_ref()
    }
}

/// What happens next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action(Step);

impl Forward {
    /// From this world on, at this time.
    #[must_use]
    pub fn new(mut world: World, at: SimTime, bounds: Bounds, watch: Arc<Watch>) -> Self {
        // What the run reached is not what the search does.
        drop(world.forget_reached());
        let start = State { world: Arc::new(world), left: bounds, broken: None };
        Self { start, at, watch }
    }

    /// A way from the start: the names of its steps, and what they are in words.
    #[must_use]
    pub fn story(&self, way: &[Action]) -> Vec<(String, String)> {
        let mut state = self.start.clone();
        let mut lines = Vec::new();
        for Action(step) in way {
            let scene = state.world.scene();
            let steps = ahead::steps(&state.world, true);
            let at = steps.iter().position(|it| it == step).expect("it may be next");
            let name = ahead::names(scene, &steps).swap_remove(at);
            let words = describe::step(scene, step);
            let from = words.origin();
            lines.push((name, format!("{:<12} {}{from} {}", words.node, words.kind, words.what)));
            state = self.next(&state, *step);
        }
        lines
    }

    fn next(&self, last: &State, step: Step) -> State {
        let mut state = last.clone();
        state.left.take(&step);
        let panicked = caught(|| {
            let mut world = World::clone(&last.world);
            let bits = ahead::bits(&world, &step);
            let judged = world.apply(self.at, &step, &mut Still(bits));
            (world, judged)
        });
        match panicked {
            Ok((mut world, judged)) => {
                let reached = world.forget_reached();
                self.watch.note(reached.into_iter().chain([(kind(&step), 1)]));
                state.world = Arc::new(world);
                state.broken = judged.err();
            }
            Err((place, message)) => {
                state.broken = Some(Violation { property: PANIC, place, message, at: None });
            }
        }
        state
    }
}

/// Under which name it is counted as reached.
fn kind(step: &Step) -> &'static str {
    match step {
        Step::Boot(_) => "boot",
        Step::Timer(..) | Step::ClientTimer(..) | Step::Spark(_, SparkStep::Timer(_)) => "timer",
        Step::Op(_) => "op",
        Step::Deliver(_) => "deliver",
        Step::Up(_) => "request",
        Step::Down(_) => "response",
        Step::StoreTake(_) => "store.take",
        Step::StoreAnswer(_) => "store.answer",
        Step::Device(..) => "device",
        Step::Spark(..) => "query",
        _ => "mishap",
    }
}

impl Model for Forward {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() || state.left.steps == 0 || self.watch.is_over() {
            return;
        }
        let mut steps = ahead::steps(&state.world, state.left.mishaps > 0);
        steps.retain(|step| state.left.allow(step));
        actions.extend(steps.into_iter().map(Action));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.next(last, action.0))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(HOLDS, |_, state: &State| state.broken.is_none())]
    }
}

/// Listens to nothing, and gives random bits out of these.
struct Still(u64);

impl Sink for Still {
    fn entropy(&mut self, who: Endpoint) -> u64 {
        ahead::bits_of(self.0, who)
    }
    fn begun(&mut self, _: &Layout, _: Endpoint, _: Incarnation) {}
    fn fed(&mut self, _: Endpoint, _: &Cx, _: &Input) {}
    fn stepped(&mut self, _: Endpoint, _: &[Effect]) {}
    fn effect(&mut self, _: Endpoint, _: &Effect) {}
    fn client_effect(&mut self, _: Endpoint, _: &ClientOut) {}
    fn spark_effect(&mut self, _: Endpoint, _: &SparkOut) {}
    fn spark_mark(&mut self, _: Endpoint, _: CrashPoint) {}
    fn evidence(&mut self, _: &Evidence<'_>) {}
    fn launched(&mut self, _: Launch) {}
    fn handed_over(&mut self, _: HandOver) {}
}

/// In words.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: u8| match number {
            u8::MAX => "any".to_owned(),
            number => number.to_string(),
        };
        let steps = self.steps;
        let (timers, mishaps) = (number(self.timers), number(self.mishaps));
        write!(f, "steps {steps}, timers {timers}, mishaps {mishaps}")
    }
}

/// As stateright's explorer shows it; the story has it in words.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
