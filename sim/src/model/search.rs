//! The search itself, which is stateright's, and walks where a search would not end.

use std::hash::Hash;
use std::thread;
use std::time::Duration;

use invariants::Violation;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use stateright::{Checker, Model};

use crate::wallclock::Stopwatch;

/// The only property that stateright knows: nothing is broken. What was, the judge says.
pub const HOLDS: &str = "all properties hold";

/// What came of a search, or of walks.
#[derive(Debug)]
pub struct Found<A> {
    /// States, or walks.
    pub unique: usize,
    /// Transitions, or steps of all walks.
    pub generated: usize,
    /// How long it took.
    pub took: Duration,
    /// The steps to a state in which a property does not hold, and the property.
    pub broken: Option<(Vec<A>, Violation)>,
}

impl<A> Found<A> {
    /// With its steps told.
    #[must_use]
    pub fn told<B>(self, tell: impl FnOnce(Vec<A>) -> Vec<B>) -> Found<B> {
        let Self { unique, generated, took, broken } = self;
        let broken = broken.map(|(steps, violation)| (tell(steps), violation));
        Found { unique, generated, took, broken }
    }
}

/// A state that the judge has seen.
pub trait Judged {
    /// What does not hold in it, if anything; then nothing follows it.
    fn broken(&self) -> Option<&Violation>;
}

/// Which state is looked at next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The one that was found first: with one thread a counterexample is a shortest one.
    BreadthFirst,
    /// The one that was found last: what waits takes little memory. Without a bound on the depth
    /// this, too, comes to every state.
    DepthFirst,
}

/// Searches with so many threads.
#[must_use]
pub fn search<M>(model: M, order: Order, threads: usize) -> Found<M::Action>
where
    M: Model + Send + Sync + 'static,
    M::State: Judged + Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq + Send + Sync,
{
    let watch = Stopwatch::new();
    let checker = model.checker().threads(threads);
    match order {
        Order::BreadthFirst => found(checker.spawn_bfs().join(), watch),
        Order::DepthFirst => found(checker.spawn_dfs().join(), watch),
    }
}

fn found<M>(checker: impl Checker<M>, watch: Stopwatch) -> Found<M::Action>
where
    M: Model,
    M::State: Judged + Clone + PartialEq + Hash,
    M::Action: Clone + PartialEq,
{
    let broken = checker.discovery(HOLDS).map(|path| {
        let violation = path.last_state().broken().cloned();
        (path.into_actions(), violation.expect("where nothing is broken, all holds"))
    });
    Found {
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        took: watch.elapsed(),
        broken,
    }
}

/// Ways that are taken at random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walks {
    /// How many. Each has its own random numbers, by its own number.
    pub count: u64,
    /// So many steps at most.
    pub steps_max: usize,
}

/// The end of a walk.
struct Walked<A> {
    number: u64,
    way: Vec<A>,
    broken: Option<Violation>,
}

/// A model in which things go wrong.
pub trait Disturbed: Model {
    /// Whether an action is of that kind. On a walk one step in 16 is, as long as there are others:
    /// so that the bounds last, and what follows has time to follow.
    fn is_disturbance(action: &Self::Action) -> bool;

    /// What comes of a step that may be taken.
    fn advance(&self, state: Self::State, action: Self::Action) -> Self::State;
}

/// One step in so many is a disturbance, if there is a choice.
const DISTURBED_EVERY: u64 = 16;

/// Takes random ways from the model's only start, with so many threads. Of those on which a
/// property breaks, that with the least number is found.
#[must_use]
pub fn walk<M>(model: &M, walks: Walks, threads: usize) -> Found<M::Action>
where
    M: Disturbed + Sync,
    M::State: Judged + Clone + Send + Sync,
    M::Action: Clone + Send,
{
    let watch = Stopwatch::new();
    let start = model.init_states().swap_remove(0);
    let of_thread = |first: usize| {
        let (mut steps, mut ended) = (0, 0);
        for number in (first as u64..walks.count).step_by(threads) {
            let walked = walk_once(model, &start, number, walks.steps_max);
            steps += walked.way.len();
            ended += 1;
            if walked.broken.is_some() {
                return (ended, steps, Some(walked));
            }
        }
        (ended, steps, None)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let of_thread = &of_thread;
        let running: Vec<_> =
            (0..threads).map(|first| scope.spawn(move || of_thread(first))).collect();
        running.into_iter().map(|it| it.join().expect("a walk does not panic")).collect()
    });
    let unique = results.iter().map(|(ended, ..)| ended).sum();
    let generated = results.iter().map(|(_, steps, _)| steps).sum();
    let first = results.into_iter().filter_map(|(.., found)| found).min_by_key(|it| it.number);
    let broken = first.and_then(|it| Some((it.way, it.broken?)));
    Found { unique, generated, took: watch.elapsed(), broken }
}

fn walk_once<M>(model: &M, start: &M::State, number: u64, steps_max: usize) -> Walked<M::Action>
where
    M: Disturbed,
    M::State: Judged + Clone,
    M::Action: Clone,
{
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let (mut way, mut actions, mut state) = (Vec::new(), Vec::new(), start.clone());
    while way.len() < steps_max {
        model.actions(&state, &mut actions);
        if actions.is_empty() {
            break;
        }
        let disturbed = random.next_u64().is_multiple_of(DISTURBED_EVERY);
        let of_kind = |it: &M::Action| M::is_disturbance(it) == disturbed;
        let (mut of_kind, mut others): (Vec<_>, Vec<_>) = actions.drain(..).partition(of_kind);
        let some = if of_kind.is_empty() { &mut others } else { &mut of_kind };
        let at = random.next_u64() % some.len() as u64;
        let action = some.swap_remove(usize::try_from(at).expect("an index"));
        way.push(action.clone());
        state = model.advance(state, action);
    }
    let broken = state.broken().cloned();
    Walked { number, way, broken }
}
