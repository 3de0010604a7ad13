//! A world as a run left it, searched forward: whatever may happen next, as often as the bounds
//! allow; in every order, or in those in which few things are late. The run's own draws have led
//! there; the search goes where no draw would. In every state the judge is asked as if the run
//! ended there.
//!
//! True time stands still: any timer may fire, and any message may take as long as it likes, so
//! that what is found may need a pause that no fault of the run has. Random bits come from the
//! state of who asks, so that a way can be taken again. Cuts stay as they are.

mod bounds;
mod turns;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use broker_core::hash::digest;
use broker_core::ids::Incarnation;
use broker_core::step::{Cx, Effect, Input, TimerKey};
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

pub use bounds::{ANY, Bounds};

/// The search.
#[derive(Clone, Debug)]
pub struct Forward {
    start: State,
    at: SimTime,
    haste: Haste,
    watch: Arc<Watch>,
}

/// Which steps wait for their turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Haste {
    /// All.
    None,
    /// What makes no difference, by the bounds that are left, is done at once:
    /// [`turns::urgent`].
    Urgent,
}

/// A world on the way.
#[derive(Clone, Debug)]
pub struct State {
    world: Arc<World>,
    left: Bounds,
    broken: Option<Violation>,
    /// What has missed its turn, and may be next at any time.
    late: Vec<Step>,
    /// What may happen next, which follows from the rest.
    next: Vec<Action>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { world, left, broken, late, next: _ } = self;
        let late = late.iter().map(|step| turns::content(world.scene(), step));
        let late = late.fold(0, u128::wrapping_add);
        // Stateright's hasher reads bytes one by one: this one does not.
        (digest(&**world), left, broken, late).hash(hasher);
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
pub enum Action {
    /// A step is taken.
    Take(Step),
    /// Whose turn it is, is late.
    Delay(Step),
}

impl Forward {
    /// From this world on, at this time.
    #[must_use]
    pub fn new(
        mut world: World,
        at: SimTime,
        haste: Haste,
        left: Bounds,
        watch: Arc<Watch>,
    ) -> Self {
        // What the run reached is not what the search does.
        drop(world.forget_reached());
        let (next, late) = (turns::next_of(&world, left, &[]), Vec::new());
        let start = State { world: Arc::new(world), left, broken: None, late, next };
        Self { start, at, haste, watch }
    }

    /// A way from the start, with the steps that are taken at once.
    #[must_use]
    pub fn story(&self, way: &[Action]) -> Vec<Line> {
        let mut state = self.start.clone();
        let mut lines = Vec::new();
        for action in way {
            state = self.next(&state, *action, |world, step| lines.push(told(world, step)));
        }
        lines
    }

    /// Takes a step, and what is done at once behind it; each is shown first, with the world that
    /// it is taken in.
    fn next(&self, last: &State, action: Action, mut show: impl FnMut(&World, &Step)) -> State {
        let step = match action {
            Action::Take(step) => step,
            Action::Delay(step) => return self.delay(last, step),
        };
        let mut left = last.left;
        left.take(last.world.scene(), &step);
        let panicked = caught(|| {
            let (mut world, mut at_once) = (World::clone(&last.world), Some(step));
            let (mut late, mut applied) = (last.late.clone(), Ok(()));
            while let Some(step) = at_once.filter(|_| applied.is_ok()) {
                show(&world, &step);
                let bits = ahead::bits(&world, &step);
                applied = world.apply(self.at, &step, &mut Still(bits));
                self.watch.note([(kind(&step), 1)]);
                late.retain(|late| *late != step && world.is_enabled(late));
                at_once = (self.haste == Haste::Urgent)
                    .then(|| turns::urgent(&world, left, &late))
                    .flatten();
            }
            // What was asked about the end was asked of all that had happened before, too.
            self.watch.reach(world.forget_reached());
            let broken = applied.and_then(|()| world.conclude(self.at)).err();
            let next = match &broken {
                None => turns::next_of(&world, left, &late),
                Some(_) => Vec::new(),
            };
            State { world: Arc::new(world), left, broken, late, next }
        });
        panicked.unwrap_or_else(|(place, message)| {
            let broken = Some(Violation { property: PANIC, place, message, at: None });
            State { left, broken, next: Vec::new(), ..last.clone() }
        })
    }

    fn delay(&self, last: &State, step: Step) -> State {
        let mut state = State { next: Vec::new(), ..last.clone() };
        self.watch.note([("delay", 1)]);
        state.left.delays -= 1;
        state.late.push(step);
        state.next = turns::next_of(&state.world, state.left, &state.late);
        state
    }
}

/// A step of a way that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its name, by which a plan asks for it.
    pub name: String,
    /// What it is in words.
    pub words: String,
}

fn told(world: &World, step: &Step) -> Line {
    let scene = world.scene();
    let steps = ahead::steps(world, true);
    let at = steps.iter().position(|it| it == step).expect("it may be next");
    let name = ahead::names(scene, &steps).swap_remove(at);
    let words = describe::step(scene, step);
    let from = words.origin();
    Line { name, words: format!("{:<12} {}{from} {}", words.node, words.kind, words.what) }
}

/// Under which name it is counted as reached.
fn kind(step: &Step) -> &'static str {
    match step {
        Step::Boot(_) => "boot",
        Step::Timer(_, TimerKey::WalBulk | TimerKey::UploadSeal) => "close",
        Step::Timer(_, TimerKey::Session(_) | TimerKey::Coordinator(..)) => "expire",
        Step::Timer(..) | Step::ClientTimer(..) | Step::Spark(_, SparkStep::Timer(_)) => "timer",
        Step::Op(_) => "op",
        Step::Deliver(_) => "deliver",
        Step::Up(_) => "request",
        Step::Down(_) => "response",
        Step::StoreTake(_) => "store.take",
        Step::StoreAnswer(_) => "store.answer",
        Step::Device(..) => "device",
        Step::Spark(..) => "query",
        Step::Crash(..) => "crash",
        Step::Lose(_) => "lose",
        Step::Duplicate(_) => "double",
        Step::Break(_) => "break",
        Step::StoreForget(_) => "store.forget",
        Step::StoreGiveUp(_) => "store.give-up",
        Step::StoreRefuse(_) => "store.refuse",
        Step::StoreDuplicate(_) => "store.double",
        _ => unreachable!("a search takes no other"),
    }
}

impl Model for Forward {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.watch.is_over() {
            actions.extend(&state.next);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.next(last, action, |_, _| {}))
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

/// As stateright's explorer shows it; the story has it in words.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
