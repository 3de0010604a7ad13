//! Faults: when they begin, names of what exists, events that somebody leaves.

use std::fmt;

use super::idle::check_idle;
use super::links::check_links;
use super::{Refused, check_begins};
use crate::plan::{Anchor, Fault, Plan, What, When};
use crate::registry;
use crate::world::layout::SELF;
use crate::world::spark::MARKS;

/// A query has two drivers at most, each with executors of its own.
const DRIVERS: u16 = 2;

pub(super) fn check_fault(fault: &Fault, plan: &Plan) -> Result<(), Refused> {
    match &fault.when {
        When::At { at_us } => check_begins(*at_us, plan).map_err(|message| ("at", message))?,
        When::On { on } => check_anchor(on, plan)?,
    }
    for (key, name, roles) in named(&fault.what) {
        if name == SELF && roles.node_like() {
            check_self(&fault.when, roles, plan).map_err(|message| (key, message))?;
        } else {
            check_name(name, roles, plan).map_err(|message| (key, message))?;
        }
    }
    check_links(&fault.what, &fault.when, plan)?;
    check_idle(fault)
}

fn check_anchor(on: &Anchor, plan: &Plan) -> Result<(), Refused> {
    registry::known("probe", &on.probe, &registry::probes()).map_err(|message| ("on", message))?;
    check_begins(on.after_us, plan).map_err(|message| ("on", format!("`after`: {message}")))?;
    let roles = left_by(&on.probe);
    if roles.driver && plan.query.is_none() {
        let message =
            format!("`{}` is an event of a query; allowed: with `[query]` only", on.probe);
        return Err(("on", message));
    }
    let Some(name) = &on.node else { return Ok(()) };
    check_name(name, if roles.driver { roles } else { Roles::NODES }, plan)
        .and_then(|()| {
            let never = format!("`{}` is an event of {roles}, never of `{name}`", on.probe);
            let allowed = roles.names(plan).join(", ");
            check_name(name, roles, plan).map_err(|_| format!("{never}; allowed: {allowed}"))
        })
        .map_err(|message| ("on", message))
}

/// Whose events a probe marks. Brokers observe the quorum, and controllers vote in it.
pub(super) fn left_by(probe: &str) -> Roles {
    let is_mark = |(name, ..): &(&str, _, _)| *name == probe;
    match probe {
        "meta.applied" | "node.halted" | "quorum.committed" => Roles::NODES,
        _ if MARKS.iter().any(is_mark) => Roles::DRIVERS,
        _ if probe.starts_with("quorum.") || probe.starts_with("controller.") => Roles::CONTROLLERS,
        _ => Roles::BROKERS,
    }
}

/// Whose the event is that a fault waits for.
pub(super) fn event_of(on: &Anchor) -> Roles {
    match on.node.as_deref().and_then(|name| name.split_once('-')) {
        Some(("controller", _)) => Roles::CONTROLLERS,
        Some(("broker", _)) => Roles::BROKERS,
        _ => left_by(&on.probe),
    }
}

/// The node of the event is one of those that the fault can befall, whichever it is.
fn check_self(when: &When, roles: Roles, plan: &Plan) -> Result<(), String> {
    let When::On { on } = when else {
        return Err("`self` is the node of an event; this fault waits for none (`on`)".to_owned());
    };
    let of = event_of(on);
    if of.driver {
        return Err("`self` is the node of an event; a query's happen on none".to_owned());
    }
    if (of.controller && !roles.controller) || (of.broker && !roles.broker) {
        let seen = format!("`self` is where `{}` is seen, an event of {of}", on.probe);
        let names = roles.names(plan).join(", ");
        return Err(format!("{seen}; allowed: {names}, or an event of {roles} only"));
    }
    Ok(())
}

/// Which names a key takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) controller: bool,
    pub(super) broker: bool,
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

    /// All names of these roles.
    fn names(self, plan: &Plan) -> Vec<String> {
        let ranges = self.counts(plan).into_iter().filter(|(_, allowed, _)| *allowed);
        let names = ranges.map(|(role, _, count)| match count {
            1 => format!("{role}-0"),
            _ => format!("{role}-0 to {role}-{}", count - 1),
        });
        names.chain(self.store.then(|| "store".to_owned())).collect()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.controller, self.broker) {
            (true, true) => "controllers and brokers",
            (true, false) => "controllers",
            (false, true) => "brokers",
            (false, false) => "drivers",
        })
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
    let allowed = roles.names(plan).join(", ");
    Err(format!("there is no `{name}` here; allowed: {allowed}"))
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
            // Controllers keep nothing in the store.
            node.iter().map(|name| ("node", name.as_str(), Roles::BROKERS)).collect()
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
