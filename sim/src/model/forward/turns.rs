//! Whose turn it is. In a search with few delays everything on its way arrives as soon as it is its
//! turn, and a delay makes one of them late: then it comes whenever the search likes. This is
//! delay-bounded scheduling (Emmi, Qadeer, Rakamarić, "Delay-bounded scheduling", POPL 2011): a
//! world of many steps has few schedules with few delays, and most bugs need few.

use broker_core::hash::digest;
use broker_core::peer::{PeerMsg, QuorumMsg};
use broker_core::step::{QuorumTimer, TimerKey};

use super::{ANY, Action, Bounds};
use crate::decider::ahead;
use crate::world::World;
use crate::world::scene::{Message, Scene};
use crate::world::step::Step;

/// All that may happen next within these bounds; `late` are those that have missed their turn.
pub(super) fn next_of(world: &World, left: Bounds, late: &[Step]) -> Vec<Action> {
    let scene = world.scene();
    if left.steps == 0 {
        return Vec::new();
    }
    let mut steps = ahead::steps(world, left.has_mishaps());
    steps.retain(|step| left.allow(scene, step));
    let is_prompt = |step: &&Step| is_prompt(step) && !late.contains(step);
    let turn = match left.delays {
        ANY => None,
        _ => steps.iter().filter(is_prompt).min_by_key(|step| turn(scene, step)).copied(),
    };
    let Some(turn) = turn else { return steps.into_iter().map(Action::Take).collect() };
    // While it is somebody's turn nobody else acts of their own accord.
    let may = |step: &Step| *step == turn || late.contains(step) || is_disturbance(step);
    let taken = steps.into_iter().filter(may).map(Action::Take);
    let delayed = (left.delays > 0).then_some(Action::Delay(turn));
    taken.chain(delayed).collect()
}

/// It happens by itself, soon.
fn is_prompt(step: &Step) -> bool {
    matches!(
        step,
        Step::Deliver(_)
            | Step::Up(_)
            | Step::Down(_)
            | Step::StoreTake(_)
            | Step::StoreAnswer(_)
            | Step::Device(..)
            | Step::Timer(_, TimerKey::Quorum(QuorumTimer::Linger))
    )
}

/// It comes when it likes. Any other timer fires when nothing is on its way that is not late: who
/// waits is told in time, or waits for what is late.
fn is_disturbance(step: &Step) -> bool {
    match step {
        Step::Timer(_, TimerKey::Session(_) | TimerKey::Coordinator(..)) => true,
        step => ahead::is_mishap(step),
    }
}

/// The order of the turns, which does not depend on the way that has led here.
fn turn(scene: &Scene, step: &Step) -> (u8, Option<u8>, u128) {
    let kind = match step {
        Step::Device(..) | Step::Timer(..) => 0,
        Step::Up(_) | Step::Down(_) => 1,
        Step::StoreAnswer(_) => 2,
        Step::StoreTake(_) => 3,
        _ => 4,
    };
    (kind, scene.target(step).map(|target| target.0), content(scene, step))
}

/// What a step is about, without the name under which the world has it.
pub(super) fn content(scene: &Scene, step: &Step) -> u128 {
    match *step {
        Step::Deliver(handle) => digest(&(0, scene.messages().get(handle))),
        Step::StoreTake(handle) => digest(&(1, scene.asks().get(handle))),
        Step::StoreAnswer(handle) => digest(&(2, scene.asks().get(handle))),
        step => digest(&(3, step)),
    }
}

/// What may as well be done at once, so that it is nobody's turn.
///
/// * Nobody but its controller sees what a device does, unless that may die; and batches of
///   metadata then hold what one step asks for.
/// * An observer's fetch asks for whatever comes next: it only waits at the controller.
/// * A client hears and is heard at once, unless its connection can be lost meanwhile or it is
///   tired of waiting. What is lost by that is whatever happens between an answer and the request
///   that follows from it.
pub(super) fn urgent(world: &World, left: Bounds, late: &[Step]) -> Option<Step> {
    let scene = world.scene();
    let may = |class: u8, kind: u8| class > 0 && kind > 0;
    let links = may(left.mishaps, left.link_faults);
    let is_urgent = |step: &Step| match *step {
        Step::Device(..) | Step::Timer(_, TimerKey::Quorum(QuorumTimer::Linger)) => {
            !may(left.mishaps, left.controller_crashes)
        }
        Step::Deliver(handle) => {
            // A voter's fetch also tells what it has made durable.
            let fetch = |it: &Message| {
                scene.device(it.from).is_none()
                    && matches!(it.msg, PeerMsg::Quorum(QuorumMsg::Fetch { .. }))
            };
            !links && scene.messages().get(handle).is_some_and(fetch)
        }
        Step::Up(_) | Step::Down(_) => {
            !links && !may(left.mishaps, left.broker_crashes) && !may(left.timers, left.waits)
        }
        _ => false,
    };
    let steps = ahead::steps(world, false).into_iter();
    let urgent = steps.filter(|step| is_urgent(step) && !late.contains(step));
    urgent.min_by_key(|step| turn(scene, step))
}
