//! A list of faults in the making: times, names and the account of what may go down.

use super::budget::{ALWAYS, Budget};
use super::draw::Stream;
use super::recipes::Recipe;
use crate::plan::{Anchor, Fate, Fault, Keep, Plan, Topology, What, When};

/// Faults begin no earlier: a cluster that never came up tests little.
const FIRST_US: u64 = 2_000_000;

/// Times are drawn in steps of so much, so that plans hold round numbers.
const STEP_US: u64 = 10_000;

/// Faults in the making.
#[derive(Debug)]
pub struct Draft {
    topology: Topology,
    safety_us: u64,
    budget: Budget,
    faults: Vec<Fault>,
    /// Controllers that may die at events, whenever these come: a minority, chosen once.
    victims: Vec<usize>,
    /// Whether a node was taken down for good already; one per run is enough.
    dead_for_good: bool,
}

impl Draft {
    /// None yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let topology = plan.topology;
        Self {
            topology,
            safety_us: plan.safety_us,
            budget: Budget::new(topology.controllers, topology.brokers),
            faults: Vec::new(),
            victims: Vec::new(),
            dead_for_good: false,
        }
    }

    /// The faults so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Adds what a recipe draws: one to three faults, or none if the budget refuses.
    pub fn add(&mut self, recipe: &Recipe, stream: &mut Stream) {
        (recipe.draw)(self, stream);
    }

    /// The faults in the order of their times; those that wait for events at the end.
    #[must_use]
    pub fn finish(mut self) -> Vec<Fault> {
        self.faults.sort_by_key(|fault| match &fault.when {
            When::At { at_us } => *at_us,
            When::On { .. } => u64::MAX,
        });
        self.faults
    }

    /// Adds a fault at a time.
    pub fn at(&mut self, at_us: u64, lasting_us: u64, what: What) {
        self.faults.push(Fault { when: When::At { at_us }, lasting_us, what });
    }

    /// Adds a fault at an event.
    pub fn on(&mut self, on: Anchor, lasting_us: u64, what: What) {
        self.faults.push(Fault { when: When::On { on }, lasting_us, what });
    }

    /// Some time in the safety phase that leaves `lasting_us` before its end, if that is possible.
    pub fn time(&self, stream: &mut Stream, lasting_us: u64) -> u64 {
        let last = self.safety_us.saturating_sub(lasting_us).max(FIRST_US + STEP_US);
        // Nothing begins at the end itself.
        stream.steps(FIRST_US, last, STEP_US).min(self.safety_us - STEP_US)
    }

    /// A broker.
    pub fn broker(&self, stream: &mut Stream) -> String {
        format!("broker-{}", stream.below(self.topology.brokers.into()))
    }

    /// A controller.
    pub fn controller(&self, stream: &mut Stream) -> String {
        format!("controller-{}", stream.below(self.topology.controllers.into()))
    }

    /// A controller or a broker.
    pub fn node(&self, stream: &mut Stream) -> String {
        if stream.chance(400) { self.controller(stream) } else { self.broker(stream) }
    }

    /// A node, or now and then a client: all have clocks.
    pub fn clock(&self, stream: &mut Stream) -> String {
        if stream.chance(250) { self.client(stream) } else { self.node(stream) }
    }

    /// A client.
    pub fn client(&self, stream: &mut Stream) -> String {
        format!("client-{}", stream.below(self.topology.clients.into()))
    }

    /// A zone's number.
    pub fn zone(&self, stream: &mut Stream) -> u8 {
        stream.below(self.topology.zones.into()) as u8
    }

    /// All controllers' names.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        (0..self.topology.controllers).map(|at| format!("controller-{at}")).collect()
    }

    /// All brokers' names.
    #[must_use]
    pub fn brokers(&self) -> Vec<String> {
        (0..self.topology.brokers).map(|at| format!("broker-{at}")).collect()
    }

    /// Takes a controller down at a time, with what its device keeps, if a majority stays up.
    pub fn crash_controller(&mut self, stream: &mut Stream, keep: Keep) {
        let lasting_us = stream.steps(100_000, 12_000_000, 100_000);
        let at_us = self.time(stream, lasting_us);
        let which = stream.below(self.topology.controllers.into()) as usize;
        if !self.budget.take_controllers(&[which], (at_us, at_us + lasting_us)) {
            return;
        }
        let node = format!("controller-{which}");
        self.at(at_us, lasting_us, What::Crash { node, keep });
    }

    /// Takes a controller out from `at_us` to the end of the safety phase (its device is lost).
    pub fn spoil_controller(&mut self, which: usize, at_us: u64) -> bool {
        self.budget.take_controllers(&[which], (at_us, u64::MAX))
    }

    /// How many controllers there are.
    #[must_use]
    pub fn controller_count(&self) -> u64 {
        self.topology.controllers.into()
    }

    /// A controller that may die at any time: one of a minority that is chosen once.
    pub fn victim(&mut self, stream: &mut Stream) -> Option<String> {
        let which = stream.below(self.topology.controllers.into()) as usize;
        if self.victims.contains(&which) || self.budget.take_controllers(&[which], ALWAYS) {
            self.victims.push(which);
            self.victims.dedup();
            return Some(format!("controller-{which}"));
        }
        let known = (!self.victims.is_empty()).then(|| *stream.pick(&self.victims));
        known.map(|which| format!("controller-{which}"))
    }

    /// Takes a zone down, if a majority of the controllers and a broker stay up.
    pub fn fail_zone(&mut self, stream: &mut Stream) {
        let lasting_us = stream.steps(1_000_000, 18_000_000, 100_000);
        let at_us = self.time(stream, lasting_us);
        let zone = self.zone(stream);
        let zones = usize::from(self.topology.zones);
        let mine: Vec<_> =
            (usize::from(zone)..self.topology.controllers.into()).step_by(zones).collect();
        if self.budget.take_controllers(&mine, (at_us, at_us + lasting_us)) {
            self.at(at_us, lasting_us, What::ZoneFail { zone: format!("zone-{zone}") });
        }
    }

    /// Takes a node down in the second half and never brings it back.
    pub fn kill_for_good(&mut self, stream: &mut Stream, keep: Keep) {
        if self.dead_for_good {
            return;
        }
        let at_us = stream.steps(self.safety_us / 2, self.safety_us - STEP_US, STEP_US);
        let broker = stream.chance(700);
        let which = stream.below(if broker {
            self.topology.brokers.into()
        } else {
            self.topology.controllers.into()
        });
        let fits = if broker {
            self.budget.take_broker_for_good()
        } else {
            self.budget.take_controllers(&[which as usize], (at_us, u64::MAX))
        };
        if fits {
            self.dead_for_good = true;
            let node = format!("{}-{which}", if broker { "broker" } else { "controller" });
            self.at(at_us, FOR_GOOD_US, What::Crash { node, keep });
        }
    }

    /// A fate with up to `by_us` of delay.
    pub fn fate(&self, stream: &mut Stream) -> Fate {
        match stream.below(3) {
            0 => Fate::Applied,
            1 => Fate::Dropped,
            _ => Fate::Late { by_us_max: stream.steps(1_000_000, 40_000_000, 1_000_000) },
        }
    }
}

/// Longer than any run: a crash that lasts beyond the safety phase keeps its node out of the core.
pub const FOR_GOOD_US: u64 = crate::plan::schema::MICROS_MAX;

/// What a device keeps, one of all five.
pub fn keep(stream: &mut Stream) -> Keep {
    *stream.pick(&[Keep::None, Keep::All, Keep::Prefix, Keep::Subset, Keep::Torn])
}
