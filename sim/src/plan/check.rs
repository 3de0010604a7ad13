//! What a plan must keep to beyond types and ranges: names that exist, anchors that make sense.
//!
//! Works on a plan in memory; [`super::toml`] turns a problem's place into a line of the file.

use workloads::op::Op;

use self::faults::check_fault;
use self::topics::{Topics, check_query};
use super::then::Until;
use super::{OpAt, Plan, Topology, What, micros};
use crate::{profiles, registry};

mod faults;
mod idle;
mod links;
mod topics;

/// Where in a plan a problem is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the plan's own keys.
    Plan,
    /// In `[topology]`.
    Topology,
    /// In the fault with this index.
    Fault(usize),
    /// In the operation with this index.
    Op(usize),
    /// In `[query]`.
    Query,
    /// In `[then]`.
    Then,
    /// In `[found]`.
    Found,
}

/// A plan that can not be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Under which key.
    pub key: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// What stands for "drawn by nobody" in `profile` and `workload` of a plan.
pub const BY_HAND: &str = "none";

/// Faults are numbered with 16 bits.
const FAULTS_MAX: usize = 1 << 16;

/// Histories number operations below this; what is numbered above is not in the plan.
const OPS_MAX: usize = 1 << 16;

/// Values of one batch: many times what any broker accepts, and little enough for the machine.
const BATCH_BYTES_MAX: u64 = 64 << 20;

/// A key, and what is wrong under it.
type Refused = (&'static str, String);

/// Checks a plan.
///
/// # Errors
/// With the first problem.
pub fn check(plan: &Plan) -> Result<(), Problem> {
    check_names(plan)?;
    check_topology(plan.topology)?;
    for (at, fault) in plan.faults.iter().enumerate() {
        check_fault(fault, plan).map_err(|(key, message)| Problem {
            place: Place::Fault(at),
            key,
            message,
        })?;
        if matches!(fault.what, What::Query { .. }) && plan.query.is_none() {
            let message = "the plan has no query; allowed: with `[query]` only".to_owned();
            return Err(Problem { place: Place::Fault(at), key: "fault", message });
        }
    }
    if plan.faults.len() > FAULTS_MAX {
        let message = format!("there are {}; allowed: at most {FAULTS_MAX}", plan.faults.len());
        return Err(Problem { place: Place::Plan, key: "fault", message });
    }
    if plan.ops.len() > OPS_MAX {
        let message = format!("there are {}; allowed: at most {OPS_MAX}", plan.ops.len());
        return Err(Problem { place: Place::Plan, key: "op", message });
    }
    let topics = Topics::of(plan);
    for (at, op) in plan.ops.iter().enumerate() {
        check_op(op, &topics, plan).map_err(|(key, message)| Problem {
            place: Place::Op(at),
            key,
            message,
        })?;
    }
    if let Some(then) = &plan.then {
        let problem = |message| Problem { place: Place::Then, key: "from", message };
        Until::parse(&then.from).map_err(problem)?;
        if then.steps.is_empty() {
            let message = "there are none; allowed: the names of steps".to_owned();
            return Err(Problem { place: Place::Then, key: "steps", message });
        }
    }
    let Some(query) = &plan.query else { return Ok(()) };
    check_begins(query.start_ms * 1_000, plan)
        .map_err(|message| ("start_ms", message))
        .and_then(|()| check_query(query, &topics))
        .map_err(|(key, message)| Problem { place: Place::Query, key, message })
}

/// What the plan asks begins within the safety phase: behind it no fault begins any more, and the
/// broker would be blamed for an operation that nobody has begun.
fn check_begins(at_us: u64, plan: &Plan) -> Result<(), String> {
    if at_us < plan.safety_us {
        return Ok(());
    }
    let (at, safety) = (micros::format(at_us), micros::format(plan.safety_us));
    Err(format!("{at} is behind the safety phase; allowed: from 0s to less than {safety}"))
}

fn check_op(op: &OpAt, topics: &Topics<'_>, plan: &Plan) -> Result<(), Refused> {
    check_begins(op.at_us, plan).map_err(|message| ("at", message))?;
    topics.check_name(op.op.topic()).map_err(|message| ("topic", message))?;
    if let Op::Produce { records, bytes, .. } | Op::Transaction { records, bytes, .. } = op.op
        && u64::from(records) * u64::from(bytes) > BATCH_BYTES_MAX
    {
        let allowed = format!("{BATCH_BYTES_MAX} bytes in all");
        return Err(("bytes", format!("{records} records of {bytes} bytes; allowed: {allowed}")));
    }
    if let Op::Consume { topic, group, instance, copies_to, .. } = &op.op {
        let empty = [("group", Some(group)), ("instance", instance.as_ref())];
        let empty = empty.into_iter().find(|(_, text)| text.is_some_and(String::is_empty));
        if let Some((key, _)) = empty {
            return Err((key, "is empty; allowed: at least one character".to_owned()));
        }
        if let Some(target) = copies_to {
            topics.check_copy(topic, target).map_err(|message| ("copies_to", message))?;
        }
    }
    if op.client >= plan.topology.clients {
        let last = plan.topology.clients - 1;
        return Err(("client", format!("there is no client {}; allowed: 0 to {last}", op.client)));
    }
    Ok(())
}

/// Checks that `id` is a planted bug.
///
/// # Errors
/// With a sentence that tells what is allowed.
pub fn check_mutant(id: &str) -> Result<(), String> {
    registry::known("mutant", id, &registry::mutants())
}

fn check_names(plan: &Plan) -> Result<(), Problem> {
    let problem = |key, message| Problem { place: Place::Plan, key, message };
    let names: Vec<_> = profiles::ALL.iter().map(|row| row.name).chain([BY_HAND]).collect();
    if !names.contains(&plan.profile.as_str()) {
        let message = registry::unknown("profile", &plan.profile, names.into_iter());
        return Err(problem("profile", message));
    }
    let known = registry::workloads();
    let names: Vec<_> = known.iter().map(|row| row.id.as_str()).chain([BY_HAND]).collect();
    if !names.contains(&plan.workload.as_str()) {
        let message = registry::unknown("workload", &plan.workload, names.into_iter());
        return Err(problem("workload", message));
    }
    for id in &plan.mutants {
        check_mutant(id).map_err(|message| problem("mutants", message))?;
    }
    Ok(())
}

fn check_topology(topology: Topology) -> Result<(), Problem> {
    if matches!(topology.controllers, 1 | 3 | 5) {
        return Ok(());
    }
    let message = format!("{} controllers; allowed: 1, 3 or 5", topology.controllers);
    Err(Problem { place: Place::Topology, key: "controllers", message })
}

#[cfg(test)]
mod tests;
