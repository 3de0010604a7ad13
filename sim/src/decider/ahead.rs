//! What may be next in a world, whoever decides it: the orderly steps and the mishaps. Each has a
//! name by which a plan can ask for it, and a person read it.

use std::collections::BTreeMap;

use broker_core::hash::digest;

use crate::decider::describe;
use crate::plan::Keep;
use crate::world::World;
use crate::world::layout::Endpoint;
use crate::world::scene::{Asked, Scene};
use crate::world::step::Step;

/// All that may be next, but for what a cut keeps from happening.
pub(crate) fn steps(world: &World, with_mishaps: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    world.enabled(&mut steps);
    if with_mishaps {
        steps.extend(mishaps(world.scene()).into_iter().filter(|it| world.is_enabled(it)));
    }
    steps.retain(|it| !is_cut(world.scene(), it));
    steps
}

/// The name of each, in the same order; what happens to equal things has a number.
pub(crate) fn names(scene: &Scene, steps: &[Step]) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let name = |step| {
        let words = describe::step(scene, step);
        let from = words.origin();
        // Without what may be different in a later version of the core.
        let what = words.what.split('{').next().unwrap_or_default().trim();
        let name = format!("{} {}{from} {what}", words.node, words.kind).trim_end().to_owned();
        let nth = seen.entry(name.clone()).or_default();
        *nth += 1;
        if *nth == 1 { name } else { format!("{name} #{nth}") }
    };
    steps.iter().map(name).collect()
}

/// The step of this name, if it may be next.
pub(crate) fn by_name(world: &World, name: &str) -> Option<Step> {
    let steps = steps(world, true);
    let at = names(world.scene(), &steps).iter().position(|known| known == name)?;
    Some(steps[at])
}

/// What the random bits of a step come from: the state of who takes it, or of the query. They are
/// other ones whenever that state is, and the same ones whenever a way is taken again.
pub(crate) fn bits(world: &World, step: &Step) -> u64 {
    let scene = world.scene();
    let state = match scene.target(step) {
        Some(node) if scene.layout().is_node(node) => digest(scene.slot(node)),
        Some(client) => digest(scene.client(client)),
        None => digest(&scene.spark()),
    };
    state as u64
}

/// The random bits of one that asks in this step.
pub(crate) fn bits_of(bits: u64, who: Endpoint) -> u64 {
    digest(&(bits, who.0)) as u64
}

/// Whether it is what goes wrong.
pub(crate) fn is_mishap(step: &Step) -> bool {
    matches!(
        step,
        Step::Lose(_)
            | Step::Duplicate(_)
            | Step::Break(_)
            | Step::StoreForget(_)
            | Step::StoreGiveUp(_)
            | Step::StoreRefuse(_)
            | Step::StoreDuplicate(_)
            | Step::Crash(..)
    )
}

fn mishaps(scene: &Scene) -> Vec<Step> {
    let mut steps = Vec::new();
    for (handle, _) in scene.messages().iter() {
        steps.extend([Step::Lose(handle), Step::Duplicate(handle)]);
    }
    let connections = scene.clients().iter().flat_map(|client| &client.connections);
    steps.extend(connections.map(|conn| Step::Break(conn.id)));
    for (handle, _) in scene.asks().iter() {
        steps.extend([
            Step::StoreForget(handle),
            Step::StoreGiveUp(handle),
            Step::StoreRefuse(handle),
            Step::StoreDuplicate(handle),
        ]);
    }
    for node in (0..scene.layout().nodes()).map(|index| Endpoint(index as u8)) {
        let keeps = [Keep::None, Keep::All, Keep::Torn];
        // A broker has nothing that could be kept.
        let keeps = if scene.device(node).is_some() { &keeps[..] } else { &keeps[..1] };
        steps.extend(keeps.iter().map(|keep| Step::Crash(node, *keep, 0)));
    }
    steps
}

/// Whether a cut keeps it from happening.
fn is_cut(scene: &Scene, step: &Step) -> bool {
    let cut = |from, to| from != to && scene.weather().cut(from, to).is_some();
    let store = scene.layout().store();
    match *step {
        Step::Deliver(handle) | Step::Duplicate(handle) => {
            scene.messages().get(handle).is_some_and(|it| cut(it.from, it.to))
        }
        Step::Up(conn) => scene.connection(conn).is_some_and(|it| cut(it.client, it.broker)),
        Step::Down(conn) => scene.connection(conn).is_some_and(|it| cut(it.broker, it.client)),
        Step::StoreTake(handle) | Step::StoreRefuse(handle) | Step::StoreDuplicate(handle) => {
            scene.asks().get(handle).is_some_and(|it| cut(it.node, store))
        }
        Step::StoreAnswer(handle) => scene
            .asks()
            .get(handle)
            .is_some_and(|it| matches!(it.stage, Asked::Answered(_)) && cut(store, it.node)),
        _ => false,
    }
}
