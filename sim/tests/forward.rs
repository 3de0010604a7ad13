//! A run is stopped, and what may happen next is searched: planted bugs are found by their shortest
//! way, any number of threads finds the same, and a search that takes too much ends.

use std::sync::Arc;

use invariants::history::SimTime;
use sim::decider::until::world_at;
use sim::model::Watch;
use sim::model::forward::{Bounds, Forward, Haste};
use sim::model::search::{Order, search};
use sim::plan::Plan;
use sim::plan::then::Until;
use sim::plan::toml::{Document, read};
use sim::world::World;

/// The first batch is on its way to the WAL.
const PUT_SENT: &str = "wal.put.sent";
/// It is on its way to where it will be read.
const UPLOAD_SENT: &str = "upload.put.sent";

/// One controller, two brokers, a client that produces two batches.
fn plan() -> Plan {
    match read("wal.toml", include_str!("../src/model/plans/wal.toml")) {
        Ok(Document::Plan(plan)) => plan,
        other => panic!("{other:?}"),
    }
}

fn stopped(at: &str, mutant: Option<&str>) -> (World, SimTime) {
    let mut plan = plan();
    plan.mutants.extend(mutant.map(str::to_owned));
    let until = Until::parse(at).expect("a probe");
    world_at(&plan, until).expect("nothing breaks on the way").expect("it is seen")
}

fn forward((world, at): &(World, SimTime), steps: u8, watch: &Arc<Watch>) -> Forward {
    let bounds = Bounds::in_all(steps, 1, 1);
    Forward::new(world.clone(), *at, Haste::None, bounds, watch.clone())
}

#[test]
fn forward_search_finds_planted_bugs_by_their_shortest_way() {
    let bugs = [
        (PUT_SENT, "wal-ack-before-verify", 2, "W1", "store.answer from store put wal/"),
        (PUT_SENT, "wal-unknown-is-failure", 3, "L2", "store.give-up from store put wal/"),
        (PUT_SENT, "controller-epoch-kept", 3, "L8", "controller-0 timer Session(NodeId(100))"),
        (UPLOAD_SENT, "upload-trim-before-commit", 2, "W2", "store.answer from store put obj/"),
    ];
    for (at, mutant, shortest, property, step) in bugs {
        let start = stopped(at, Some(mutant));
        let watch = Arc::new(Watch::new(u64::MAX));
        let broken = |steps| search(forward(&start, steps, &watch), Order::DepthFirst, 2).broken;
        assert!(broken(shortest - 1).is_none(), "{mutant}: there is a shorter way");
        let (way, violation) = broken(shortest).unwrap_or_else(|| panic!("{mutant} is not found"));
        assert_eq!(violation.property, property, "{mutant}: {violation}");
        let story = forward(&start, shortest, &watch).story(&way);
        assert_eq!(story.len(), usize::from(shortest));
        assert!(story.iter().any(|line| line.name.contains(step)), "{mutant}: {story:?}");
    }
}

#[test]
fn forward_search_of_the_right_core_finds_the_same_with_any_number_of_threads() {
    let start = stopped(PUT_SENT, None);
    let watch = Arc::new(Watch::new(u64::MAX));
    let counts = [(Order::DepthFirst, 1), (Order::DepthFirst, 2), (Order::BreadthFirst, 2)].map(
        |(order, threads)| {
            let found = search(forward(&start, 6, &watch), order, threads);
            assert!(found.broken.is_none(), "{:?}", found.broken);
            (found.unique, found.generated)
        },
    );
    assert!(counts[0].0 > 10_000, "{counts:?}");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    let reached = watch.reached();
    for what in ["deliver", "timer", "crash", "boot", "store.take", "store.answer", "op"] {
        assert!(reached.contains_key(what), "{what} is not in {reached:?}");
    }
}

#[test]
fn forward_search_that_takes_too_much_memory_ends_and_says_so() {
    let watch = Arc::new(Watch::new(1));
    let found = search(forward(&stopped(PUT_SENT, None), 5, &watch), Order::DepthFirst, 1);
    assert!(watch.is_over() && found.unique < 100, "{}", found.unique);
}

#[test]
fn run_is_stopped_before_what_is_later_and_not_behind_its_end() {
    let at = SimTime(3_500_000);
    let (_, stopped) = world_at(&plan(), Until::At(at)).expect("nothing breaks").expect("it runs");
    assert_eq!(stopped, at);
    let never = world_at(&plan(), Until::At(SimTime(u64::MAX))).expect("nothing breaks");
    assert!(never.is_none());
}
