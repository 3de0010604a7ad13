//! Turns a seed into a plan: topology, limits, operations, faults. Each of them has its own keyed
//! stream of draws, so that one more fault never changes an operation.
//!
//! What is drawn stays within what the system promises to survive ([`budget`]). The profiles'
//! tables are in [`crate::profiles`], the faults they weigh in [`recipes`].

pub mod budget;
pub mod draft;
pub mod draw;
mod query;
pub mod recipes;

use broker_core::time::Dur;
use workloads::{Shape, Workload, spark_handoff};

use crate::plan::{Limits, OpAt, PLAN_VERSION, Plan, Protocol, Topology};
use crate::profiles::{self, Profile};
use crate::registry;
use draft::Draft;
use draw::{Purpose, Stream};

/// What the caller wants rather than the seed.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Name of the profile; else the seed picks one.
    pub profile: Option<String>,
    /// Name of the workload; else the seed picks one.
    pub workload: Option<String>,
    /// Protocol of the transactions; else the second one.
    pub protocol: Protocol,
    /// Planted bugs.
    pub mutants: Vec<String>,
}

impl Choice {
    /// Checks the names.
    ///
    /// # Errors
    /// With a sentence that tells what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = &self.profile {
            registry::known("profile", name, &registry::entries("profiles")?)?;
        }
        if let Some(name) = &self.workload {
            registry::known("workload", name, &registry::workloads())?;
        }
        self.mutants.iter().try_for_each(|id| crate::plan::check::check_mutant(id))
    }
}

/// Shortest and longest safety phase, µs.
pub const SAFETY_US: (u64, u64) = (30_000_000, 60_000_000);

/// Fewest and most faults of a plan.
pub const FAULTS: (usize, usize) = (5, 25);

/// The plan of a seed. The same seed and choice always give the same plan.
///
/// # Panics
/// If `choice` names something unknown; see [`Choice::check`].
#[must_use]
pub fn generate(seed: u64, choice: &Choice) -> Plan {
    let profile = pick_profile(seed, choice);
    let workload = pick_workload(seed, choice);
    let topology = topology(seed);
    let safety_us =
        Stream::new(seed, Purpose::Length, 0).steps(SAFETY_US.0, SAFETY_US.1, 1_000_000);
    let mut plan = Plan {
        version: PLAN_VERSION,
        background: seed,
        profile: profile.name.to_owned(),
        workload: workload.name.to_owned(),
        protocol: choice.protocol,
        mutants: choice.mutants.clone(),
        safety_us,
        topology,
        limits: limits(seed),
        faults: Vec::new(),
        query: None,
        then: None,
        ops: Vec::new(),
    };
    plan.ops = ops(seed, workload, &plan);
    plan.faults = faults(seed, profile, &plan);
    if workload.name == spark_handoff::WORKLOAD.name {
        query::add(seed, &mut plan);
    }
    plan
}

fn pick_profile(seed: u64, choice: &Choice) -> &'static Profile {
    if let Some(name) = &choice.profile {
        return profiles::by_name(name).expect("the choice was checked");
    }
    let total = profiles::ALL.iter().map(|row| u64::from(row.weight)).sum();
    let mut at = Stream::new(seed, Purpose::Profile, 0).below(total);
    let found = profiles::ALL.iter().find(|row| {
        let hit = at < u64::from(row.weight);
        at = at.saturating_sub(row.weight.into());
        hit
    });
    found.expect("the draw is below the sum of the weights")
}

fn pick_workload(seed: u64, choice: &Choice) -> &'static Workload {
    let all = registry::workloads_of();
    if let Some(name) = &choice.workload {
        return workloads::by_name(name).expect("the choice was checked");
    }
    Stream::new(seed, Purpose::Workload, 0).pick(all)
}

/// Mostly three zones and three controllers: the smallest cluster with a minority to lose.
fn topology(seed: u64) -> Topology {
    let mut stream = Stream::new(seed, Purpose::Topology, 0);
    let controllers = match stream.below(100) {
        0..75 => 3,
        75..95 => 5,
        _ => 1,
    };
    Topology {
        zones: if stream.chance(900) { 3 } else { 2 },
        controllers,
        brokers: stream.between(3, 5) as u16,
        clients: stream.between(4, 12) as u16,
    }
}

/// Small enough that back-pressure, eviction, several bulks in flight, several pages of a list and
/// many blocks per run are the normal case.
fn limits(seed: u64) -> Limits {
    let mut stream = Stream::new(seed, Purpose::Limits, 0);
    const KIB: u64 = 1 << 10;
    Limits {
        wal_bulk_bytes_max: stream.between(1, 8) * KIB,
        wal_bulk_interval_us: stream.steps(20_000, 250_000, 10_000),
        wal_puts_in_flight_max: stream.between(2, 8) as usize,
        wal_unconfirmed_bytes_max: stream.between(16, 128) * KIB,
        upload_backlog_bytes_max: stream.between(64, 512) * KIB,
        upload_block_bytes_max: stream.between(10, 40) * KIB,
        upload_block_interval_us: stream.steps(500_000, 3_000_000, 100_000),
        cache_bytes_max: stream.between(8, 128) * KIB,
        produce_queue_max: stream.between(4, 64) as usize,
        list_page_max: stream.between(3, 20) as usize,
    }
}

fn shape(plan: &Plan) -> Shape {
    let Topology { zones, brokers, clients, .. } = plan.topology;
    Shape { clients, zones, brokers, length: Dur(plan.safety_us) }
}

fn ops(seed: u64, workload: &Workload, plan: &Plan) -> Vec<OpAt> {
    let shape = shape(plan);
    let mut stream = Stream::new(seed, Purpose::Operations, 0);
    let planned = (workload.plan)(&shape, &mut stream);
    planned.into_iter().map(|op| OpAt { at_us: op.at.0, client: op.client, op: op.op }).collect()
}

fn faults(seed: u64, profile: &Profile, plan: &Plan) -> Vec<crate::plan::Fault> {
    let mut stream = Stream::new(seed, Purpose::Faults, 0);
    let count = stream.between(profile.faults.0, profile.faults.1) as usize;
    let total = profile.recipes.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let mut draft = Draft::new(plan);
    // A recipe that the budget refuses adds nothing, so the number of tries has a bound.
    for nth in 0..10 * FAULTS.1 as u64 {
        if draft.faults().len() >= count {
            break;
        }
        let mut at = stream.below(total);
        let (_, recipe) = profile
            .recipes
            .iter()
            .find(|(weight, _)| {
                let hit = at < u64::from(*weight);
                at = at.saturating_sub(u64::from(*weight));
                hit
            })
            .expect("the draw is below the sum of the weights");
        draft.add(recipe, &mut Stream::new(seed, Purpose::Recipe, recipe.key() << 16 | nth));
    }
    draft.finish()
}

#[cfg(test)]
mod tests;
