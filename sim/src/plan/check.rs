//! What a plan must keep to beyond types and ranges: names that exist, anchors that make sense.
//!
//! Works on a plan in memory; [`super::toml`] turns a problem's place into a line of the file.

use workloads::op::Op;
use workloads::spark_handoff::Query;

use super::{Anchor, Fault, OpAt, Plan, Topology, What, When};
use crate::world::spark::MARKS;
use crate::{profiles, registry};

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

/// A query has two drivers at most, each with executors of its own.
const DRIVERS: u16 = 2;

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
    for (at, op) in plan.ops.iter().enumerate() {
        check_op(op, plan).map_err(|(key, message)| Problem {
            place: Place::Op(at),
            key,
            message,
        })?;
    }
    let query = plan.query.as_ref().map_or(Ok(()), |query| check_query(query, plan));
    query.map_err(|(key, message)| Problem { place: Place::Query, key, message })
}

fn check_op(op: &OpAt, plan: &Plan) -> Result<(), Refused> {
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
            check_copy(topic, target, plan).map_err(|message| ("copies_to", message))?;
        }
    }
    if op.client >= plan.topology.clients {
        let last = plan.topology.clients - 1;
        return Err(("client", format!("there is no client {}; allowed: 0 to {last}", op.client)));
    }
    Ok(())
}

/// A copy goes to the partition of the same number: it must be there whenever the topic is.
fn check_copy(topic: &str, target: &str, plan: &Plan) -> Result<(), String> {
    if topic == target {
        return Err(format!("{topic:?} is copied to itself; allowed: another topic"));
    }
    let Some((least, _)) = partitions(plan, target) else {
        return Err(format!("nobody creates {target:?}; allowed: a topic of a `create-topic`"));
    };
    match partitions(plan, topic) {
        Some((_, most)) if least < most => Err(format!(
            "{target:?} begins with {least} partitions and {topic:?} has {most}; allowed: as many"
        )),
        _ => Ok(()),
    }
}

/// A query knows how many partitions its topics have.
fn check_query(query: &Query, plan: &Plan) -> Result<(), Refused> {
    if query.source == query.target {
        return Err(("target", "is the source; allowed: another topic".to_owned()));
    }
    let target = query.target_partitions + u32::from(query.has_marker_partition());
    for (key, topic, least, most) in [
        ("source", &query.source, query.partitions, query.partitions),
        ("target", &query.target, target, u32::MAX),
    ] {
        let Some(created) = partitions(plan, topic) else {
            let allowed = "a topic of a `create-topic`";
            return Err((key, format!("nobody creates {topic:?}; allowed: {allowed}")));
        };
        if created.0 < least || most < created.1 {
            let allowed = if least == most { "exactly" } else { "at least" };
            let (found, other) = created;
            let found = if found < least { found } else { other };
            let message = format!(
                "{topic:?} has {found} partitions at some time; allowed: {allowed} {least}"
            );
            return Err((key, message));
        }
    }
    Ok(())
}

/// The fewest and the most partitions that a topic of this name has, if it is ever created.
fn partitions(plan: &Plan, name: &str) -> Option<(u32, u32)> {
    let mut created: Option<(u32, u32)> = None;
    let mut raised = 0;
    for op in &plan.ops {
        match &op.op {
            Op::CreateTopic { topic, partitions } if topic == name => {
                let (least, most) = created.unwrap_or((*partitions, *partitions));
                created = Some((least.min(*partitions), most.max(*partitions)));
            }
            Op::AddPartitions { topic, count } if topic == name => raised = raised.max(*count),
            _ => {}
        }
    }
    created.map(|(least, most)| (least, most.max(raised)))
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

type Refused = (&'static str, String);

fn check_fault(fault: &Fault, plan: &Plan) -> Result<(), Refused> {
    if let When::On { on } = &fault.when {
        check_anchor(on, plan)?;
    }
    for (key, name, roles) in named(&fault.what) {
        if name == "self" && roles.node_like() {
            let message = match &fault.when {
                When::On { on } if is_of_query(&on.probe) => {
                    "`self` is the node of an event; a query's happen on none"
                }
                When::On { .. } => continue,
                When::At { .. } => {
                    "`self` is the node of an event; this fault waits for none (`on`)"
                }
            };
            return Err((key, message.to_owned()));
        }
        check_name(name, roles, plan).map_err(|message| (key, message))?;
    }
    Ok(())
}

fn check_anchor(on: &Anchor, plan: &Plan) -> Result<(), Refused> {
    registry::known("probe", &on.probe, &registry::probes()).map_err(|message| ("on", message))?;
    let of_query = is_of_query(&on.probe);
    if of_query && plan.query.is_none() {
        let message =
            format!("`{}` is an event of a query; allowed: with `[query]` only", on.probe);
        return Err(("on", message));
    }
    let roles = if of_query { Roles::DRIVERS } else { Roles::NODES };
    let name = on.node.as_ref().map_or(Ok(()), |name| check_name(name, roles, plan));
    name.map_err(|message| ("on", message))
}

/// Whether this is a moment of a query's driver, and no node's event.
fn is_of_query(probe: &str) -> bool {
    MARKS.iter().any(|(name, ..)| *name == probe)
}

/// Which names a key takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Roles {
    controller: bool,
    broker: bool,
    client: bool,
    zone: bool,
    store: bool,
    driver: bool,
    executor: bool,
}

impl Roles {
    const NONE: Self = Self {
        controller: false,
        broker: false,
        client: false,
        zone: false,
        store: false,
        driver: false,
        executor: false,
    };
    const CONTROLLERS: Self = Self { controller: true, ..Self::NONE };
    const BROKERS: Self = Self { broker: true, ..Self::NONE };
    const NODES: Self = Self { controller: true, broker: true, ..Self::NONE };
    const CLOCKS: Self = Self { client: true, ..Self::NODES };
    const ZONES: Self = Self { zone: true, ..Self::NONE };
    const DRIVERS: Self = Self { driver: true, ..Self::NONE };
    const ENDS: Self = Self {
        controller: true,
        broker: true,
        client: true,
        zone: true,
        store: true,
        driver: true,
        executor: true,
    };

    fn node_like(self) -> bool {
        self.controller || self.broker
    }

    fn counts(self, plan: &Plan) -> [(&'static str, bool, u16); 6] {
        let topology = plan.topology;
        let query = plan.query.is_some();
        let executors = plan.query.as_ref().map_or(0, |query| query.executors);
        [
            ("controller", self.controller, topology.controllers),
            ("broker", self.broker, topology.brokers),
            ("client", self.client, topology.clients),
            ("zone", self.zone, topology.zones.into()),
            ("driver", self.driver && query, DRIVERS),
            ("executor", self.executor && query, DRIVERS * executors),
        ]
    }
}

fn check_name(name: &str, roles: Roles, plan: &Plan) -> Result<(), String> {
    if roles.store && name == "store" {
        return Ok(());
    }
    for (role, allowed, count) in roles.counts(plan) {
        let number = name.strip_prefix(role).and_then(|rest| rest.strip_prefix('-'));
        let canonical = number.and_then(|n| Some((n, n.parse::<u16>().ok()?)));
        if let Some((text, n)) = canonical
            && allowed
            && n < count
            && n.to_string() == text
        {
            return Ok(());
        }
    }
    let ranges = roles.counts(plan).into_iter().filter(|(_, allowed, _)| *allowed);
    let mut names: Vec<_> = ranges
        .map(|(role, _, count)| match count {
            1 => format!("{role}-0"),
            _ => format!("{role}-0 to {role}-{}", count - 1),
        })
        .collect();
    if roles.store {
        names.push("store".to_owned());
    }
    Err(format!("there is no `{name}` here; allowed: {}", names.join(", ")))
}

/// Every name in a fault: its key, the name, what it may be.
fn named(what: &What) -> Vec<(&'static str, &str, Roles)> {
    match what {
        What::ZoneFail { zone } | What::ZoneCut { zone, .. } | What::ZoneStoreLost { zone } => {
            vec![("zone", zone, Roles::ZONES)]
        }
        What::Crash { node, .. } | What::Pause { node } => vec![("node", node, Roles::NODES)],
        What::ClockStep { node, .. } | What::ClockDrift { node, .. } => {
            vec![("node", node, Roles::CLOCKS)]
        }
        What::DeviceSyncFail { node } | What::DeviceFull { node } | What::DeviceBitRot { node } => {
            vec![("node", node, Roles::CONTROLLERS)]
        }
        What::Drain { node } => vec![("node", node, Roles::BROKERS)],
        What::Cut { from, to } | What::SlowLink { from, to, .. } => {
            let from = from.iter().map(|name| ("from", name.as_str(), Roles::ENDS));
            from.chain(to.iter().map(|name| ("to", name.as_str(), Roles::ENDS))).collect()
        }
        What::StoreLoseAnswer { node, .. } | What::StoreDuplicate { node, .. } => {
            node.iter().map(|name| ("node", name.as_str(), Roles::NODES)).collect()
        }
        What::Query { .. }
        | What::Lossy { .. }
        | What::StoreSlowDown { .. }
        | What::StoreEmptyPage { .. }
        | What::StoreDamage { .. }
        | What::Stall { .. }
        | What::StoreBrownOut { .. } => Vec::new(),
    }
}
