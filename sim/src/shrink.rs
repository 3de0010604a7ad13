//! Makes a failing plan small: every candidate is run again and kept only if the *same property*
//! breaks. Knows nothing of worlds; a [`Runner`] runs the plans.
//!
//! Delta debugging after Zeller and Hildebrandt (removal only), then simpler values, then the same
//! once more with a few other backgrounds per candidate, as matklad advises: a fresh smaller
//! sample is worth more than the old one.

mod simpler;

use crate::plan::check::check;
use crate::plan::{OpAt, Plan, What, When};

/// What one run tells the shrinker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// The property that broke, if one did.
    pub property: Option<String>,
    /// Simulated time of the end, µs.
    pub sim_us: u64,
    /// Hash of all steps.
    pub trace_hash: u128,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Runs so far.
    pub executions: u64,
    /// Faults and operations left.
    pub size: Size,
}

/// Size of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Faults.
    pub faults: usize,
    /// Operations.
    pub ops: usize,
}

impl Size {
    /// Of this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self { faults: plan.faults.len(), ops: plan.ops.len() }
    }
}

/// The result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// Its run.
    pub judgement: Judgement,
    /// Runs needed.
    pub executions: u64,
    /// Size at the beginning.
    pub before: Size,
    /// Nothing more can be taken away by these means; else the budget ended or somebody
    /// interrupted.
    pub complete: bool,
}

/// Why there is nothing to shrink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unshrinkable {
    /// The plan breaks nothing.
    Passes,
    /// Two runs of the final plan differ: the simulator is not deterministic.
    Unsteady,
}

/// How many other backgrounds a candidate may try before it counts as passing.
pub const BACKGROUNDS: u64 = 6;

/// What the shrinker asks of whoever runs plans.
pub trait Runner {
    /// Runs a plan.
    fn judge(&mut self, plan: &Plan) -> Judgement;

    /// When and on which node the fault with this index began in the plan's run, if it waits for an
    /// event and that came.
    fn begun(&mut self, plan: &Plan, fault: usize) -> Option<(u64, String)>;

    /// Asked before each run: whether to go on.
    fn go_on(&mut self, progress: Progress) -> bool;
}

/// Makes `plan` small.
///
/// # Errors
/// If the plan does not fail to begin with, or not twice in the same way at the end.
pub fn shrink(
    plan: Plan,
    executions_max: u64,
    runner: &mut dyn Runner,
) -> Result<Shrunk, Unshrinkable> {
    let judgement = runner.judge(&plan);
    let Some(property) = judgement.property.clone() else { return Err(Unshrinkable::Passes) };
    let before = Size::of(&plan);
    let mut search = Search {
        best: plan,
        judgement,
        property,
        executions: 1,
        // The first run is done, and the last one is kept for the check at the end.
        executions_max: executions_max.max(3) - 1,
        stopped: false,
        backgrounds: 0,
        runner,
    };
    search.settle();
    let Search { best, judgement, executions, stopped, .. } = search;
    let again = runner.judge(&best);
    if again != judgement {
        return Err(Unshrinkable::Unsteady);
    }
    let executions = executions + 1;
    Ok(Shrunk { plan: best, judgement, executions, before, complete: !stopped })
}

/// The search for a smaller plan.
struct Search<'a> {
    best: Plan,
    judgement: Judgement,
    property: String,
    executions: u64,
    executions_max: u64,
    stopped: bool,
    /// Reseeds that each candidate may try.
    backgrounds: u64,
    runner: &'a mut dyn Runner,
}

impl Search<'_> {
    /// Removal first, for every change of a value costs a run per fault and operation left; then
    /// values; then both once more with other backgrounds, which cost most, until nothing changes.
    fn settle(&mut self) {
        self.take_away();
        self.anchors_to_times();
        self.simplify_all_ops();
        self.take_away();
        loop {
            let before = self.best.clone();
            self.backgrounds = 0;
            self.tighten_limits();
            self.anchors_to_times();
            self.simplify_all_ops();
            self.simplify_faults();
            self.take_away();
            self.simplify_ops();
            self.in_order_of_time();
            self.backgrounds = BACKGROUNDS;
            self.take_away();
            self.renumber_clients();
            if self.stopped || self.best == before {
                return;
            }
        }
    }

    /// Removes until nothing more can go.
    fn take_away(&mut self) {
        loop {
            let before = self.best.clone();
            self.cut_behind_violation();
            self.remove_query();
            self.remove(|plan| &mut plan.faults);
            self.remove(|plan| &mut plan.ops);
            self.shrink_topology();
            if self.stopped || self.best == before {
                return;
            }
        }
    }

    /// Runs a candidate, if it is a plan at all; takes it if the same property breaks.
    fn accept(&mut self, candidate: Plan) -> bool {
        if check(&candidate).is_err() {
            return false;
        }
        for nth in 0..=self.backgrounds {
            let progress = Progress { executions: self.executions, size: Size::of(&self.best) };
            let out_of_budget = self.executions >= self.executions_max;
            if self.stopped || out_of_budget || !self.runner.go_on(progress) {
                self.stopped = true;
                return false;
            }
            let candidate = candidate.reseeded(nth);
            self.executions += 1;
            let judgement = self.runner.judge(&candidate);
            if judgement.property.as_ref() == Some(&self.property) {
                self.best = candidate;
                self.judgement = judgement;
                return true;
            }
        }
        false
    }

    /// Takes away what comes after the violation, and ends the safety phase with it.
    fn cut_behind_violation(&mut self) {
        let end = self.judgement.sim_us;
        let mut cut = self.best.clone();
        cut.ops.retain(|op| op.at_us <= end);
        cut.faults.retain(|fault| match fault.when {
            When::At { at_us } => at_us <= end,
            When::On { .. } => true,
        });
        if end < cut.safety_us {
            cut.safety_us = round_up(end + 1);
        }
        if cut != self.best && !self.accept(cut.clone()) {
            cut.safety_us = self.best.safety_us;
            if cut != self.best {
                self.accept(cut);
            }
        }
        self.shorten_safety();
    }

    /// A violation of the liveness phase (`Stuck`) seldom needs the whole safety phase.
    fn shorten_safety(&mut self) {
        let last_op = self.best.ops.iter().map(|op| op.at_us);
        let last_fault = self.best.faults.iter().map(|fault| match fault.when {
            When::At { at_us } => at_us,
            When::On { .. } => 0,
        });
        let needed = round_up(last_op.chain(last_fault).max().unwrap_or(0) + 1);
        let mut target = needed;
        while target < self.best.safety_us {
            let mut shorter = self.best.clone();
            shorter.safety_us = target;
            if self.accept(shorter) || self.stopped {
                return;
            }
            target = round_up(target + (self.best.safety_us - target) / 2 + 1);
        }
    }

    /// A failure of the cluster alone needs no query.
    fn remove_query(&mut self) {
        let mut candidate = self.best.clone();
        if candidate.query.take().is_some() {
            candidate.faults.retain(|fault| !matches!(fault.what, What::Query { .. }));
            self.accept(candidate);
        }
    }

    /// Removes items of one list: all, halves, quarters … single ones.
    fn remove<T: Clone>(&mut self, list: impl Fn(&mut Plan) -> &mut Vec<T>) {
        let mut chunk = list(&mut self.best).len();
        while chunk > 0 && !self.stopped {
            let mut start = 0;
            let mut removed = false;
            while start < list(&mut self.best).len() && !self.stopped {
                let mut candidate = self.best.clone();
                let items = list(&mut candidate);
                let end = (start + chunk).min(items.len());
                items.drain(start..end);
                if self.accept(candidate) {
                    removed = true;
                } else {
                    start += chunk;
                }
            }
            // One at a time until none can go: a removal may make another possible.
            if chunk > 1 || !removed {
                chunk /= 2;
            }
        }
    }

    /// Fewer nodes, clients, zones, as long as all names still exist.
    fn shrink_topology(&mut self) {
        let fewer: [fn(&mut Plan) -> bool; 4] = [
            |plan| step_down(&mut plan.topology.controllers, 2),
            |plan| step_down(&mut plan.topology.brokers, 1),
            |plan| step_down(&mut plan.topology.clients, 1),
            |plan| {
                let fewer = plan.topology.zones > 1;
                plan.topology.zones -= u8::from(fewer);
                fewer
            },
        ];
        // Clients without an operation are no loss: all at once first.
        let mut busy = self.best.clone();
        busy.topology.clients = busy.ops.iter().map(|op| op.client + 1).max().unwrap_or(1);
        if busy != self.best {
            self.accept(busy);
        }
        for step in fewer {
            loop {
                let mut candidate = self.best.clone();
                if !step(&mut candidate) || !self.accept(candidate) {
                    break;
                }
            }
        }
    }

    /// Gives busy clients the lowest numbers, so that the others can go.
    fn renumber_clients(&mut self) {
        for from in (1..self.best.topology.clients).rev() {
            let busy = |client: u16| self.best.ops.iter().any(|op| op.client == client);
            let Some(to) = (0..from).find(|to| !busy(*to)) else { return };
            if busy(from) && !self.stopped {
                let mut candidate = self.best.clone();
                let moved = candidate.ops.iter_mut().filter(|op| op.client == from);
                moved.for_each(|op| op.client = to);
                self.accept(candidate);
            }
        }
    }

    /// Small pages and few puts side by side reach the same places with fewer operations.
    fn tighten_limits(&mut self) {
        let tighter: [fn(&mut Plan); 2] = [
            |plan| plan.limits.list_page_max = plan.limits.list_page_max.min(3),
            |plan| {
                let most = plan.limits.wal_puts_in_flight_max;
                plan.limits.wal_puts_in_flight_max = most.min(2);
            },
        ];
        for tighten in tighter {
            let mut candidate = self.best.clone();
            tighten(&mut candidate);
            if candidate != self.best {
                self.accept(candidate);
            }
        }
    }

    /// A fault that waits for the 95th event keeps whatever causes the 94 before it; at the same
    /// moment by the clock, it does not.
    fn anchors_to_times(&mut self) {
        for at in 0..self.best.faults.len() {
            let many = matches!(&self.best.faults[at].when, When::On { on } if on.nth > 3);
            if !many || self.stopped {
                continue;
            }
            self.executions += 1;
            let Some((at_us, node)) = self.runner.begun(&self.best, at) else { continue };
            // Just behind the event, for at its own instant the fault would come first.
            for at_us in [at_us, at_us + 1] {
                let mut candidate = self.best.clone();
                candidate.faults[at] = simpler::at_time(&candidate.faults[at], at_us, &node);
                if self.accept(candidate) {
                    break;
                }
            }
        }
    }

    /// All operations simpler at once: most failures do not care for sizes and odd microseconds.
    fn simplify_all_ops(&mut self) {
        let changes: [fn(&mut OpAt); 4] = [
            simpler::smallest,
            |op| op.at_us -= op.at_us % 1_000_000,
            |op| op.at_us -= op.at_us % 100_000,
            |op| op.at_us -= op.at_us % 10_000,
        ];
        for change in changes {
            let mut candidate = self.best.clone();
            candidate.ops.iter_mut().for_each(change);
            if candidate != self.best && !self.stopped {
                self.accept(candidate);
            }
        }
    }

    /// Operations in the file as they come in the run.
    fn in_order_of_time(&mut self) {
        let mut candidate = self.best.clone();
        candidate.ops.sort_by_key(|op| op.at_us);
        if candidate != self.best && !self.stopped {
            self.accept(candidate);
        }
    }

    /// Simpler faults, one change at a time.
    fn simplify_faults(&mut self) {
        for at in 0..self.best.faults.len() {
            self.simplify_one(|plan| {
                let with = |fault| {
                    let mut simpler = plan.clone();
                    simpler.faults[at] = fault;
                    simpler
                };
                simpler::faults(&plan.faults[at], plan).into_iter().map(with).collect()
            });
        }
    }

    /// Simpler operations, one change at a time.
    fn simplify_ops(&mut self) {
        for at in 0..self.best.ops.len() {
            self.simplify_one(|plan| {
                let with = |op| {
                    let mut simpler = plan.clone();
                    simpler.ops[at] = op;
                    simpler
                };
                simpler::ops(&plan.ops[at]).into_iter().map(with).collect()
            });
        }
    }

    fn simplify_one(&mut self, candidates: impl Fn(&Plan) -> Vec<Plan>) {
        loop {
            let mut taken = false;
            for plan in candidates(&self.best) {
                if self.stopped {
                    return;
                }
                taken = self.accept(plan);
                if taken {
                    break;
                }
            }
            if !taken {
                return;
            }
        }
    }
}

fn step_down(count: &mut u16, by: u16) -> bool {
    let fewer = *count > by;
    if fewer {
        *count -= by;
    }
    fewer
}

/// To the next tenth of a second.
fn round_up(us: u64) -> u64 {
    us.next_multiple_of(100_000)
}

#[cfg(test)]
mod tests;
