//! The world as a value: orders of independent steps, steps that are not enabled, random walks, and
//! what outlives a crash.

use std::collections::BTreeSet;

use broker_core::hash::digest;
use broker_core::ids::Incarnation;
use broker_core::step::{Cx, Effect, Input, ObjOp};
use invariants::history::SimTime;
use invariants::view::{Evidence, View};
use workloads::client::ClientOut;

use crate::decider::tests::plan;
use crate::decider::{Run, RunOptions};
use crate::draws::{Draws, Purpose, StreamKey};
use crate::plan::Keep;
use crate::world::layout::{Endpoint, Layout};
use crate::world::scene::Asked;
use crate::world::step::{HandOver, Launch, Sink, Step};
use crate::world::{World, weather::Weather};

/// Gives each endpoint the same entropy whatever the order of the steps, and notes late landings.
#[derive(Default)]
struct Quiet {
    late: u32,
    launches: Vec<Launch>,
}

impl Sink for Quiet {
    fn entropy(&mut self, who: Endpoint) -> u64 {
        0x5eed_0000_0000 + u64::from(who.0)
    }

    fn begun(&mut self, _: &Layout, _: Endpoint, _: Incarnation) {}
    fn fed(&mut self, _: Endpoint, _: &Cx, _: &Input) {}
    fn stepped(&mut self, _: Endpoint, _: &[Effect]) {}
    fn effect(&mut self, _: Endpoint, _: &Effect) {}

    fn spark_effect(&mut self, _: Endpoint, _: &workloads::spark::step::SparkOut) {}
    fn spark_mark(&mut self, _: Endpoint, _: workloads::spark::handoff::CrashPoint) {}
    fn client_effect(&mut self, _: Endpoint, _: &ClientOut) {}

    fn evidence(&mut self, evidence: &Evidence<'_>) {
        self.late += u32::from(matches!(evidence, Evidence::Store { late: true, .. }));
    }

    fn launched(&mut self, launch: Launch) {
        self.launches.push(launch);
    }

    fn handed_over(&mut self, what: HandOver) {
        unreachable!("this world runs its own processes: {what:?}")
    }
}

/// A run of the calm plan, and its world after every `each` events until `until_s`.
fn worlds(each: u32, until_s: u64) -> Vec<(SimTime, World)> {
    let (plan, mut options) = (plan(Vec::new()), RunOptions::default());
    let mut run = Run::new(&plan, World::new(&plan, None).expect("a good plan"), &options);
    let mut worlds = Vec::new();
    while run.now().0 < until_s * 1_000_000 {
        for _ in 0..each {
            run.advance(&mut options).expect("no violation");
        }
        worlds.push((run.now(), run.world().clone()));
    }
    worlds
}

fn after(world: &World, at: SimTime, steps: &[Step]) -> World {
    let mut world = world.clone();
    for step in steps {
        assert!(world.is_enabled(step), "{step:?}");
        world.apply(at, step, &mut Quiet::default()).expect("no violation");
    }
    world
}

#[test]
fn world_two_orders_of_independent_steps_lead_to_scenes_of_one_hash() {
    let mut pairs = 0;
    let mut kinds = BTreeSet::new();
    for (at, world) in worlds(97, 12) {
        let mut steps = Vec::new();
        world.enabled(&mut steps);
        for (place, one) in steps.iter().enumerate() {
            for other in &steps[place + 1..] {
                let (first, second) = (world.scene().target(one), world.scene().target(other));
                if first == second || first.is_none() || second.is_none() || pairs > 4_000 {
                    continue;
                }
                let forth = after(&world, at, &[*one, *other]);
                let back = after(&world, at, &[*other, *one]);
                assert_eq!(digest(forth.scene()), digest(back.scene()), "{one:?} {other:?}");
                assert_ne!(digest(forth.scene()), digest(world.scene()), "{one:?} {other:?}");
                pairs += 1;
                kinds.insert(format!("{one:?}").split(['(', ' ']).next().map(str::to_owned));
            }
        }
    }
    assert!(pairs > 1_000 && kinds.len() >= 5, "{pairs} pairs of {kinds:?}");
}

#[test]
fn world_step_that_is_not_enabled_changes_nothing() {
    let all = worlds(211, 8);
    let mut refused = 0;
    for (at, world) in &all {
        for (_, other) in &all {
            let mut steps = Vec::new();
            other.enabled(&mut steps);
            for step in steps.into_iter().filter(|step| !world.is_enabled(step)).take(3) {
                let mut same = world.clone();
                same.apply(*at, &step, &mut Quiet::default()).expect("no violation");
                assert_eq!(digest(&same), digest(world), "{step:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// Any enabled step may come next, at one instant: timers fire in any order, messages overtake one
/// another without bound. Safety must not depend on time. Timers get a small share, or nothing
/// would ever come to an end before its time-out.
#[test]
fn world_random_walk_violates_nothing() {
    let mut draws = Draws::new(3);
    let walk = StreamKey::new(Purpose::Plan, 1);
    let mut reached = BTreeSet::new();
    for _ in 0..6 {
        let mut world = World::new(&plan(Vec::new()), None).expect("a good plan");
        let mut steps = Vec::new();
        for _ in 0..4_000 {
            steps.clear();
            world.enabled(&mut steps);
            let timers = steps.iter().filter(|step| is_timer(step)).count();
            if timers < steps.len() && draws.chance(walk, 970) {
                steps.retain(|step| !is_timer(step));
            }
            let step = steps[draws.below(walk, steps.len() as u64) as usize];
            world.apply(SimTime(0), &step, &mut Quiet::default()).expect("no violation");
            reached.insert(step_kind(&step));
        }
    }
    assert!(reached.len() >= 10, "{reached:?}");
}

fn is_timer(step: &Step) -> bool {
    matches!(step, Step::Timer(..) | Step::ClientTimer(..))
}

fn step_kind(step: &Step) -> String {
    let words = format!("{step:?}");
    words.split(['(', ' ']).next().expect("one word").to_owned()
}

#[test]
fn world_put_in_flight_outlives_its_node() {
    let mut landed = 0;
    for (at, world) in worlds(11, 9) {
        let asks = world.scene().asks();
        let Some((handle, node, key)) = asks.iter().find_map(|(handle, ask)| match &ask.op {
            ObjOp::Put { key, .. } if ask.stage == Asked::OnItsWay => {
                Some((handle, ask.node, key.clone()))
            }
            _ => None,
        }) else {
            continue;
        };
        let mut world = after(&world, at, &[Step::Crash(node, Keep::All, 0)]);
        assert!(world.scene().asks().get(handle).expect("still in flight").orphan);
        assert!(world.object(&key).is_none());
        let mut sink = Quiet::default();
        world.apply(at, &Step::StoreTake(handle), &mut sink).expect("no violation");
        assert!(world.object(&key).is_some());
        assert_eq!(sink.late, 1);
        assert!(world.scene().asks().get(handle).is_none(), "nobody waits for an answer");
        landed += 1;
    }
    assert!(landed > 10, "{landed}");
}

#[test]
fn world_crash_leaves_no_timer_no_device_work_and_no_open_connection() {
    for (at, world) in worlds(203, 9) {
        for node in 0..6 {
            let node = Endpoint(node);
            if world.scene().slot(node).process.is_none() {
                continue;
            }
            let world = after(&world, at, &[Step::Crash(node, Keep::None, 0)]);
            let scene = world.scene();
            assert_eq!(scene.slot(node).timers.iter().count(), 0);
            assert_eq!(scene.device(node).map_or(0, |device| device.queued()), 0);
            for conn in scene.connections_of(node) {
                let conn = scene.connection(conn).expect("listed");
                assert!(!conn.has_up() && conn.has_down(), "{conn:?}");
            }
            let mut steps = Vec::new();
            world.enabled(&mut steps);
            assert!(steps.contains(&Step::Boot(node)));
        }
    }
}

#[test]
fn world_frozen_node_gets_nothing_until_it_goes_on() {
    for (at, world) in worlds(203, 9) {
        for node in (0..6).map(Endpoint).filter(|one| world.is_enabled(&Step::Pause(*one))) {
            let frozen = after(&world, at, &[Step::Pause(node)]);
            let mut steps = Vec::new();
            frozen.enabled(&mut steps);
            let meant = steps.iter().filter(|step| frozen.scene().target(step) == Some(node));
            assert_eq!(meant.collect::<Vec<_>>(), Vec::<&Step>::new());
            let thawed = after(&frozen, at, &[Step::Resume(node)]);
            assert_eq!(digest(thawed.scene()), digest(world.scene()));
        }
    }
}

#[test]
fn world_weather_that_is_lifted_leaves_no_rule() {
    use crate::decider::tests::{at, storm};
    use crate::plan::What;
    let mut faults = storm();
    faults.push(at(1, 1, What::ZoneFail { zone: "zone-0".to_owned() }));
    let count = faults.len();
    let mut world = World::new(&plan(faults), None).expect("a good plan");
    for number in 0..count as u16 {
        let fault = crate::world::weather::FaultId(number);
        world = after(&world, SimTime(0), &[Step::Impose(fault, None), Step::Lift(fault)]);
        assert_eq!(*world.scene().weather(), Weather::default());
    }
}
