//! Every moment of a run: the driver dies there, a second one starts there, or the store's answer
//! is lost there. Whatever the moment, an atomic checkpoint keeps what the table promises.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::store::Fate;
use super::world::{Fault, Measured, World, config};
use crate::spark::checkpoint::{MANAGERS, Manager};
use crate::spark::driver::{QueryConfig, Sink};
use crate::spark::handoff::{Property, SINKS};

/// With a purge in every run. A query that died while it wrote its first entry leaves a temporary
/// file, where there are such, and is refused by Spark 4.1 when it starts again; what Spark did
/// before is what is searched there.
fn settings(sink: Sink, manager: Manager) -> QueryConfig {
    let renames = matches!(manager, Manager::AtomicRename | Manager::CopyRename);
    let verify_empty_on_start = !renames;
    QueryConfig { min_batches_to_retain: 1, verify_empty_on_start, ..config(sink, manager) }
}

fn keeps_its_promise(measured: &Measured, place: &str) {
    assert!(measured.broken.is_empty(), "{place}: {measured:?}");
}

fn place(sink: Sink, manager: Manager, moment: u32) -> String {
    format!("{sink:?}, {manager:?}, moment {moment}")
}

#[test]
fn search_death_at_any_moment_loses_nothing_and_doubles_within_the_bound() {
    let mut most = 0;
    for manager in MANAGERS {
        for sink in SINKS {
            let length = World::length(settings(*sink, *manager));
            assert!(length > 60, "{length}");
            for (nth, runs) in (1..=length).flat_map(|nth| [(nth, 1), (nth, 3)]) {
                let fault = Some(Fault::DieBefore { nth, runs });
                let (measured, world) = World::new(settings(*sink, *manager), fault, vec![]).run();
                keeps_its_promise(&measured, &place(*sink, *manager, nth));
                assert!(world.struck(), "{}", place(*sink, *manager, nth));
                most = most.max(measured.doubled);
            }
        }
    }
    assert!(most > 0, "no death was in the way");
}

#[test]
fn search_second_driver_at_any_moment_leaves_one_winner_of_each_batch() {
    let mut ended = 0;
    for manager in [Manager::AtomicRename, Manager::ConditionalPut] {
        for sink in SINKS {
            for nth in 1..=World::length(settings(*sink, manager)) {
                let fault = Some(Fault::SecondBefore(nth));
                let (measured, _) = World::new(settings(*sink, manager), fault, vec![]).run();
                keeps_its_promise(&measured, &place(*sink, manager, nth));
                ended += measured.ends.len();
            }
        }
    }
    assert!(ended > 0, "no driver was in the other's way");
    // Where a file is looked for and then written, the same search finds two winners.
    for manager in [Manager::CopyRename, Manager::AbortableStream] {
        let mut seen = BTreeSet::new();
        for nth in 1..=World::length(settings(Sink::Keyed, manager)) {
            let fault = Some(Fault::SecondBefore(nth));
            seen.extend(World::new(settings(Sink::Keyed, manager), fault, vec![]).run().0.broken);
        }
        assert!(seen.contains(&Property::CommittedTwice), "{manager:?}: {seen:?}");
    }
}

#[test]
fn search_store_answer_lost_at_any_moment_costs_a_start_at_most() {
    let mut ended = 0;
    for manager in MANAGERS {
        for sink in SINKS {
            for fate in [Fate::AnswerLost, Fate::RequestLost, Fate::Throttled] {
                for nth in 0..60 {
                    let mut world = World::new(settings(*sink, *manager), None, vec![]);
                    world.store.fates = (0..nth).map(|_| Fate::Answered).chain([fate]).collect();
                    let (measured, _) = world.run();
                    keeps_its_promise(&measured, &place(*sink, *manager, nth));
                    assert!(measured.ends.len() <= 1, "{measured:?}");
                    ended += measured.ends.len();
                }
            }
        }
    }
    assert!(ended > 0, "no query met its own file");
}
