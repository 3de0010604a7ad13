//! Each planted bug shows exactly what its row promises, in a scenario in which the right actor
//! shows nothing, or stands still where nothing else is safe.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use super::world::{Fault, Meanwhile, World, config};
use crate::spark::checkpoint::Manager;
use crate::spark::driver::{QueryConfig, Sink};
use crate::spark::handoff::{CrashPoint, Property};
use crate::spark::mutants::{self, REGISTRY, SparkMutant, SparkMutants};
use crate::spark::step::{ReadAnswer, SendAnswer};

/// The sink, what is done to the query, and what shows without the bug.
struct Scenario {
    sink: Sink,
    fault: Option<Fault>,
    meanwhile: Vec<Meanwhile>,
    /// Partitions added after the first batch, with this many records each.
    added: Option<(u32, u64)>,
    min_batches_to_retain: u64,
    executors: u16,
    right: &'static [Property],
}

fn scenario(mutant: SparkMutant) -> Scenario {
    use CrashPoint as C;
    let plain = |sink, fault| Scenario {
        sink,
        fault: Some(fault),
        meanwhile: vec![],
        added: None,
        min_batches_to_retain: 100,
        executors: 2,
        right: &[],
    };
    let race = Fault::Second { at: (C::C3, 2), meet: (C::C7, 2) };
    match mutant {
        SparkMutant::LogsSwapped => plain(Sink::Keyed, Fault::Die(C::C4, 2)),
        SparkMutant::CommitUnchecked => plain(Sink::Keyed, race),
        SparkMutant::StartAtLatestEntry => plain(Sink::AtLeastOnce, Fault::Die(C::C3, 2)),
        // Behind the clean-up, when the source was told what it may forget, and before the tasks.
        SparkMutant::GroupOffsets => {
            Scenario { min_batches_to_retain: 1, ..plain(Sink::AtLeastOnce, Fault::Die(C::C9, 1)) }
        }
        SparkMutant::ReplayToLatest => plain(Sink::AtLeastOnce, Fault::Die(C::C6, 2)),
        SparkMutant::TimeoutEndsRange => {
            plain(Sink::AtLeastOnce, Fault::Read(11, ReadAnswer::TimedOut))
        }
        SparkMutant::DedupeByBatchId => Scenario {
            meanwhile: vec![Meanwhile::Delete("ckpt/offsets/1")],
            right: &[Property::Stuck],
            ..plain(Sink::MarkedTable, Fault::Die(C::C6, 2))
        },
        SparkMutant::CommitBeforeFlush => {
            // The last of its task: the earlier ones are answered before the task has read all.
            plain(Sink::AtLeastOnce, Fault::Send(17, SendAnswer::Refused))
        }
        SparkMutant::TransactionalIdPerRun => plain(Sink::DriverTransaction, race),
        SparkMutant::NewerCommitIgnored => Scenario {
            meanwhile: vec![Meanwhile::Unlist(vec![
                "ckpt/offsets/1",
                "ckpt/offsets/2",
                "ckpt/offsets/3",
            ])],
            right: &[Property::Stuck],
            ..plain(Sink::AtLeastOnce, Fault::Stop(C::C8, 4))
        },
        SparkMutant::PurgeTooFar => plain(Sink::Keyed, Fault::Die(C::C4, 3)),
        SparkMutant::LateSendForgotten => {
            Scenario { executors: 5, ..plain(Sink::Keyed, Fault::LateSend(13)) }
        }
        SparkMutant::NewPartitionsAtLatest => {
            Scenario { fault: None, added: Some((2, 4)), ..plain(Sink::AtLeastOnce, race) }
        }
    }
}

fn broken(scenario: &Scenario, mutants: SparkMutants) -> BTreeSet<Property> {
    let settings = QueryConfig {
        mutants,
        min_batches_to_retain: scenario.min_batches_to_retain,
        executors: scenario.executors,
        ..config(scenario.sink, Manager::AtomicRename)
    };
    let mut world = World::new(settings, scenario.fault.clone(), scenario.meanwhile.clone());
    world.added = scenario.added;
    let (measured, world) = world.run();
    assert!(scenario.fault.is_none() || world.struck(), "nothing happened: {measured:?}");
    measured.broken
}

#[test]
fn planted_bug_shows_what_its_row_promises_and_nothing_else() {
    for row in REGISTRY {
        let scenario = scenario(row.mutant);
        let right = broken(&scenario, SparkMutants::NONE);
        assert!(right.iter().eq(scenario.right), "{} off: {right:?}", row.id);
        let wrong = broken(&scenario, SparkMutants::NONE.with(row.mutant));
        assert_eq!(wrong, BTreeSet::from([row.property]), "{} on", row.id);
        assert_eq!(mutants::by_id(row.id), Some(row));
    }
}

#[test]
fn planted_batch_id_dedupe_loses_in_a_transaction_too() {
    let scenario =
        Scenario { sink: Sink::DriverTransaction, ..scenario(SparkMutant::DedupeByBatchId) };
    let wrong = broken(&scenario, SparkMutants::NONE.with(SparkMutant::DedupeByBatchId));
    assert_eq!(wrong, BTreeSet::from([Property::Lost]));
}
