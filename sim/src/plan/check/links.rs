//! Links: who ever sends anything to whom, and whether a fault between two of them touches that.

use super::Refused;
use super::faults::event_of;
use crate::plan::{Plan, What, When};
use crate::world::layout::{Endpoint, Layout, Set};

/// A fault of links is one of links that there are.
pub(super) fn check_links(what: &What, when: &When, plan: &Plan) -> Result<(), Refused> {
    let layout = || {
        let bare = Plan {
            profile: String::new(),
            workload: String::new(),
            mutants: Vec::new(),
            faults: Vec::new(),
            ops: Vec::new(),
            then: None,
            query: plan.query.clone(),
            ..*plan
        };
        Layout::new(&bare).map_err(|bad| ("fault", bad.0))
    };
    match what {
        What::Cut { from, to } | What::SlowLink { from, to, .. } => {
            check_ends(from, to, when, &layout()?)
        }
        What::ZoneFail { zone } | What::ZoneCut { zone, .. } => {
            check_zone(zone, "anybody outside", Set::without, &layout()?)
        }
        What::ZoneStoreLost { zone } => {
            let layout = layout()?;
            check_zone(zone, "the store", |_, _| Set::from_iter([layout.store()]), &layout)
        }
        _ => Ok(()),
    }
}

/// A link is between two who talk; nobody sends itself anything over the network.
fn check_ends(from: &[String], to: &[String], when: &When, layout: &Layout) -> Result<(), Refused> {
    let is_self = |one: &Endpoint| match when {
        When::At { .. } => false,
        When::On { on } => match &on.node {
            Some(name) => *name == layout.name(*one),
            None if layout.is_controller(*one) => event_of(on).controller,
            None => layout.is_node(*one) && event_of(on).broker,
        },
    };
    let ends = |on| (layout.set_by_names(from, on), layout.set_by_names(to, on));
    let selves = layout.everyone().iter().filter(is_self).map(Some);
    let all: Vec<_> = selves.chain([None]).map(ends).collect();
    for (key, empty) in [
        ("from", all.iter().all(|(from, _)| from.is_none_or(Set::is_empty))),
        ("to", all.iter().all(|(_, to)| to.is_none_or(Set::is_empty))),
    ] {
        if empty {
            return Err((key, "names nobody; allowed: one end at least".to_owned()));
        }
    }
    let all = || all.iter().filter_map(|(from, to)| (*from).zip(*to));
    if all().any(|(from, to)| talk(layout, from, to)) {
        return Ok(());
    }
    let message = match all().any(|(from, to)| from.or(to).iter().nth(1).is_some()) {
        true => {
            "never hears from `from`; allowed: nodes for nodes, brokers for clients, \
                 brokers and drivers for the store"
        }
        false => "is nobody but the end in `from`; allowed: another end than that",
    };
    Err(("to", message.to_owned()))
}

/// A zone has somebody in it that talks to those.
fn check_zone(
    name: &str,
    called: &str,
    those: impl Fn(Set, Set) -> Set,
    layout: &Layout,
) -> Result<(), Refused> {
    let zone = layout.zone_by_name(name, None);
    let members = zone.map(|zone| layout.zone_members(zone)).unwrap_or_default();
    if talk(layout, members, those(layout.everyone(), members)) {
        return Ok(());
    }
    let message = format!("nobody in `{name}` talks to {called}; allowed: a zone with such a node");
    Err(("zone", message))
}

/// Whether any of these talks to any of those: nodes to one another, clients (a query's driver and
/// executors, too) to brokers, and brokers and drivers to the store.
fn talk(layout: &Layout, these: Set, those: Set) -> bool {
    let is_broker = |one| layout.is_node(one) && !layout.is_controller(one);
    let pair = |one: Endpoint, other: Endpoint| {
        if other == layout.store() {
            is_broker(one) || layout.name(one).starts_with("driver-")
        } else if layout.is_node(other) {
            layout.is_node(one) && one != other
        } else {
            is_broker(one)
        }
    };
    these.iter().any(|one| those.iter().any(|other| pair(one, other) || pair(other, one)))
}
