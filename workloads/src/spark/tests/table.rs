//! The table of crash points and sinks, measured.

extern crate std;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::world::{
    FAN_OUT, Fault, GROWTH, GROWTH_DOWN, Meanwhile, Measured, PARTITIONS, World, config,
};
use crate::spark::checkpoint::Manager;
use crate::spark::driver::Sink;
use crate::spark::handoff::{BATCH_ROWS, CrashPoint, Doubled, SINKS, TABLE};
use crate::spark::step::{End, ReadAnswer, SendAnswer};

/// The scenario of a row: in the second batch, or in the first that has the point.
pub(super) fn scenario(point: CrashPoint, sink: Sink) -> Option<World> {
    use CrashPoint as C;
    let mut settings = config(sink, Manager::AtomicRename);
    let driver_side = matches!(sink, Sink::MarkedTable | Sink::DriverTransaction);
    let mut meanwhile = vec![];
    let fault = match point {
        C::C0 | C::C1 => Fault::Die(point, 1),
        C::C2 | C::C3 | C::C4 | C::C5 | C::C6 | C::C7 | C::C8 => Fault::Die(point, 2),
        C::C9 => {
            settings.min_batches_to_retain = 1;
            Fault::Die(point, 1)
        }
        C::C10 => Fault::Read(11, ReadAnswer::Failed),
        C::C11 => Fault::Executor(11),
        C::C12 if driver_side => return None,
        C::C12 => Fault::Resend { nth: 14, known: true },
        C::C13 if driver_side => Fault::Commit { nth: 2, taken: true },
        C::C13 => Fault::Send(14, SendAnswer::Unknown),
        C::C14 | C::C15 => {
            if point == C::C15 {
                settings.checkpoint.manager = Manager::CopyRename;
            }
            Fault::Second { at: (C::C3, 2), meet: (C::C7, 2) }
        }
        C::C16 => {
            meanwhile.push(Meanwhile::Delete("ckpt/offsets/1"));
            Fault::Die(C::C6, 2)
        }
        C::C17 => {
            meanwhile.push(Meanwhile::Delete("ckpt/commits/"));
            Fault::Stop(C::C8, 2)
        }
        C::C20 => {
            meanwhile.push(Meanwhile::Recreate(GROWTH + GROWTH_DOWN));
            Fault::Stop(C::C8, 1)
        }
    };
    Some(World::new(settings, Some(fault), meanwhile))
}

/// The output of one batch.
const BATCH: usize = (PARTITIONS as u64 * GROWTH) as usize * FAN_OUT as usize;

#[test]
fn table_measured_is_the_table_expected() {
    assert_eq!(BATCH as u64, BATCH_ROWS);
    for row in TABLE {
        for sink in SINKS {
            let measured = scenario(row.point, *sink).map(|world| world.run().0);
            let place = format!("{} {sink:?}: {measured:?}", row.id);
            let (Some(measured), Some(expected)) = (measured, row.expected(*sink)) else {
                assert!(row.expected(*sink).is_none(), "{place}");
                continue;
            };
            assert_eq!(measured.lost > 0, expected.lost, "{place}");
            assert!(measured.broken.iter().eq(expected.broken), "{place}, not {expected:?}");
            let doubled = measured.doubled;
            let within = |bound| measured.bound as u64 == bound && doubled as u64 <= bound;
            let fits = match expected.doubled {
                Doubled::Nothing => doubled == 0,
                Doubled::Part { bound } => (1..BATCH).contains(&doubled) && within(bound),
                Doubled::Batch { bound } => doubled == BATCH && within(bound),
                Doubled::Unbounded { bound } => measured.bound as u64 == bound && !within(bound),
            };
            assert!(fits, "{place}, not {expected:?}");
        }
    }
}

/// A row of the table in `docs/spark-handoff.md`.
fn line(id: &str, what: &str, cells: &[Option<Measured>]) -> String {
    let cell = |measured: &Option<Measured>| {
        let Some(it) = measured else { return String::from("–") };
        let mut words = vec![];
        if it.lost > 0 {
            words.push(format!("**{} lost**", it.lost));
        }
        if it.doubled > 0 {
            words.push(format!("{} doubled, bound {}", it.doubled, it.bound));
        }
        let broken: Vec<_> = it.broken.iter().map(|it| format!("{it:?}")).collect();
        if !broken.is_empty() {
            words.push(format!("*{}*", broken.join(", ")));
        }
        if words.is_empty() { String::from("once") } else { words.join("; ") }
    };
    let cells: Vec<_> = cells.iter().map(cell).collect();
    format!("| {id} | {what} | {} |", cells.join(" | "))
}

#[test]
fn table_in_the_docs_is_what_is_measured() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/spark-handoff.md");
    let page = std::fs::read_to_string(docs).unwrap();
    let lines: Vec<_> = TABLE
        .iter()
        .map(|row| {
            let cells: Vec<_> =
                SINKS.iter().map(|it| scenario(row.point, *it).map(|it| it.run().0)).collect();
            line(row.id, row.what, &cells)
        })
        .collect();
    assert!(page.contains(&lines.join("\n")), "the page must say:\n{}", lines.join("\n"));
}

#[test]
fn table_scenario_reaches_its_point() {
    // A row that says "once" would say so, too, if nothing had happened.
    for row in TABLE {
        for sink in SINKS {
            let Some(world) = scenario(row.point, *sink) else { continue };
            let (measured, world) = world.run();
            assert!(world.struck(), "{} {sink:?}: {measured:?}", row.id);
        }
    }
}

#[test]
fn table_two_drivers_on_an_atomic_store_leave_one() {
    for sink in SINKS {
        let (measured, _) = scenario(CrashPoint::C14, *sink).unwrap().run();
        let [end] = &measured.ends[..] else { panic!("{measured:?}") };
        let fenced = *sink == Sink::DriverTransaction;
        assert_eq!(fenced, *end == End::Fenced, "{end:?}");
        assert_eq!(!fenced, matches!(end, End::ConcurrentLogUpdate(_)), "{end:?}");
    }
}

#[test]
fn table_that_changed_since_its_marker_was_read_refuses_the_batch() {
    let (measured, _) = scenario(CrashPoint::C15, Sink::MarkedTable).unwrap().run();
    assert_eq!(measured.ends, [End::SinkFailed]);
}

#[test]
fn table_batch_in_a_transaction_is_doubled_for_who_reads_uncommitted() {
    for (point, doubled) in
        [(CrashPoint::C3, 0), (CrashPoint::C4, 4), (CrashPoint::C5, 4), (CrashPoint::C6, 0)]
    {
        let (measured, world) = scenario(point, Sink::DriverTransaction).unwrap().run();
        assert_eq!(measured.doubled, 0);
        let all: BTreeSet<_> = world.uncommitted.iter().collect();
        assert_eq!(world.uncommitted.len() - all.len(), doubled, "{point:?}");
    }
}

#[test]
fn table_resent_batch_is_doubled_if_the_broker_forgot_its_producer() {
    let fault = Fault::Resend { nth: 14, known: false };
    let settings = config(Sink::AtLeastOnce, Manager::AtomicRename);
    let (measured, _) = World::new(settings, Some(fault), vec![]).run();
    assert!(measured.doubled > 0 && measured.doubled > measured.bound, "{measured:?}");
}
