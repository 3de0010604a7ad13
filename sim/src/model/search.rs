//! The search itself, which is stateright's.

use std::hash::Hash;
use std::time::Duration;

use invariants::Violation;
use stateright::{Checker, Model};

use crate::wallclock::Stopwatch;

/// The only property that stateright knows: nothing is broken. What was, the judge says.
pub const HOLDS: &str = "all properties hold";

/// What came of a search.
#[derive(Debug)]
pub struct Found<A> {
    /// States.
    pub unique: usize,
    /// Transitions.
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
