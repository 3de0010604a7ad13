//! How often what may happen in a search of worlds. Counters in the state: no search may be bounded
//! by its depth.

use std::fmt;

use broker_core::step::{QuorumTimer, TimerKey};

use crate::decider::ahead;
use crate::world::scene::Scene;
use crate::world::spark::SparkStep;
use crate::world::step::Step;

/// Any number of times.
pub const ANY: u8 = u8::MAX;

/// How often what may happen; [`ANY`] is no bound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bounds {
    /// Steps of any kind.
    pub steps: u8,
    /// What is on its way, or waits to be done, is late: others go first. [`ANY`]: nothing has a
    /// turn.
    pub delays: u8,
    /// A block that is being filled for an object is sealed, because it was for long enough.
    pub seals: u8,
    /// Somebody's patience ends, or it looks again at something: any timer but those that close
    /// what has been filled for long enough. The next three together.
    pub timers: u8,
    /// A controller's patience with a broker ends, or a coordinator's with a member or a
    /// transaction.
    pub expiries: u8,
    /// Any other timer of a node: something is asked or looked at again.
    pub retries: u8,
    /// A timer of a client.
    pub waits: u8,
    /// Something goes wrong. The next four together.
    pub mishaps: u8,
    /// A broker's process ends.
    pub broker_crashes: u8,
    /// A controller's process and machine die.
    pub controller_crashes: u8,
    /// A node's process starts again.
    pub restarts: u8,
    /// The store refuses, does not answer or is asked twice; its asker gives up.
    pub store_faults: u8,
    /// A message between nodes is lost or doubled, a client's connection breaks.
    pub link_faults: u8,
}

impl Bounds {
    /// None of what may be bounded, by kind, but steps without a bound.
    pub const NONE: Self = Self {
        steps: ANY,
        delays: 0,
        seals: ANY,
        timers: ANY,
        expiries: 0,
        retries: 0,
        waits: 0,
        mishaps: ANY,
        broker_crashes: 0,
        controller_crashes: 0,
        restarts: 0,
        store_faults: 0,
        link_faults: 0,
    };

    /// So many steps, timers and mishaps of whatever kind.
    #[must_use]
    pub const fn in_all(steps: u8, timers: u8, mishaps: u8) -> Self {
        Self {
            steps,
            delays: ANY,
            seals: ANY,
            timers,
            expiries: ANY,
            retries: ANY,
            waits: ANY,
            mishaps,
            broker_crashes: ANY,
            controller_crashes: ANY,
            restarts: ANY,
            store_faults: ANY,
            link_faults: ANY,
        }
    }

    /// What bounds a step.
    fn of(&mut self, scene: &Scene, step: &Step) -> [Option<&mut u8>; 3] {
        let (steps, timers, mishaps) = (&mut self.steps, &mut self.timers, &mut self.mishaps);
        let (class, kind) = match *step {
            Step::Timer(_, TimerKey::WalBulk | TimerKey::Quorum(QuorumTimer::Linger)) => {
                return [Some(steps), None, None];
            }
            Step::Timer(_, TimerKey::UploadSeal) => (None, &mut self.seals),
            Step::Timer(_, TimerKey::Session(_) | TimerKey::Coordinator(..)) => {
                (Some(timers), &mut self.expiries)
            }
            Step::Timer(..) => (Some(timers), &mut self.retries),
            Step::ClientTimer(..) | Step::Spark(_, SparkStep::Timer(_)) => {
                (Some(timers), &mut self.waits)
            }
            Step::Crash(node, ..) if scene.device(node).is_some() => {
                (Some(mishaps), &mut self.controller_crashes)
            }
            Step::Crash(..) => (Some(mishaps), &mut self.broker_crashes),
            Step::Boot(_) => (None, &mut self.restarts),
            Step::Lose(_) | Step::Duplicate(_) | Step::Break(_) => {
                (Some(mishaps), &mut self.link_faults)
            }
            step if ahead::is_mishap(&step) => (Some(mishaps), &mut self.store_faults),
            _ => return [Some(steps), None, None],
        };
        [Some(steps), class, Some(kind)]
    }

    /// Whether anything may go wrong.
    pub(super) fn has_mishaps(&self) -> bool {
        let kinds =
            [self.broker_crashes, self.controller_crashes, self.store_faults, self.link_faults];
        self.mishaps > 0 && kinds.iter().any(|left| *left > 0)
    }

    pub(super) fn allow(mut self, scene: &Scene, step: &Step) -> bool {
        self.of(scene, step).into_iter().flatten().all(|left| *left > 0)
    }

    pub(super) fn take(&mut self, scene: &Scene, step: &Step) {
        let counters = self.of(scene, step).into_iter().flatten();
        counters.filter(|left| **left < ANY).for_each(|left| *left -= 1);
    }
}

/// In words: what is bounded, and of what goes by its kind what may happen at all.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = [
            ("steps", self.steps),
            ("delays", self.delays),
            ("timers", self.timers),
            ("mishaps", self.mishaps),
        ];
        let kinds = [
            ("seals", self.seals),
            ("expiries", self.expiries),
            ("retries", self.retries),
            ("waits", self.waits),
            ("broker crashes", self.broker_crashes),
            ("controller crashes", self.controller_crashes),
            ("restarts", self.restarts),
            ("store faults", self.store_faults),
            ("link faults", self.link_faults),
        ];
        let kinds = kinds.into_iter().filter(|(_, number)| *number > 0);
        let bounded = classes.into_iter().chain(kinds).filter(|(_, number)| *number < ANY);
        for (nth, (name, number)) in bounded.enumerate() {
            write!(f, "{}{name} {number}", if nth == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
