//! Whole runs: the same again, without a fault, from a clone, under each planted bug.

use super::*;
use crate::plan::{Anchor, Direction, Fate, Fault, Keep, Limits, OpAt, PLAN_VERSION, Topology};
use crate::plan::{What, When};
use crate::world::weather::FaultId;
use workloads::Op;

const S: u64 = 1_000_000;

pub(crate) fn plan(faults: Vec<Fault>) -> Plan {
    let mut ops = vec![OpAt {
        at_us: S,
        client: 0,
        op: Op::CreateTopic { topic: "t".to_owned(), partitions: 2 },
    }];
    for number in 0..120_u64 {
        let (topic, partition) = ("t".to_owned(), (number % 2) as u32);
        let op = match number {
            5 => Op::Tail { topic, partition, from_start: true, committed: false },
            17 => Op::CatchUp { topic, partition, committed: false },
            _ => Op::Produce {
                topic,
                partition,
                records: 2,
                bytes: 100,
                acks: -1,
                damaged: false,
                idempotent: false,
            },
        };
        ops.push(OpAt { at_us: 3 * S + number * 200_000, client: (number % 3) as u16, op });
    }
    Plan {
        protocol: Default::default(),
        version: PLAN_VERSION,
        background: 7,
        profile: "test".to_owned(),
        workload: "test".to_owned(),
        mutants: Vec::new(),
        safety_us: 30 * S,
        topology: Topology { zones: 3, controllers: 3, brokers: 3, clients: 3 },
        limits: Limits {
            wal_bulk_bytes_max: 4_096,
            wal_bulk_interval_us: 50_000,
            wal_puts_in_flight_max: 4,
            wal_unconfirmed_bytes_max: 16_384,
            upload_backlog_bytes_max: 65_536,
            upload_block_bytes_max: 8_192,
            upload_block_interval_us: 2 * S,
            cache_bytes_max: 16_384,
            produce_queue_max: 16,
            list_page_max: 3,
        },
        faults,
        query: None,
        then: None,
        ops,
    }
}

pub(crate) fn at(at_s: u64, lasting_s: u64, what: What) -> Fault {
    Fault { when: When::At { at_us: at_s * S }, lasting_us: lasting_s * S, what }
}

fn name(name: &str) -> String {
    name.to_owned()
}

/// One of everything, none of which alone breaks the core.
pub(crate) fn storm() -> Vec<Fault> {
    vec![
        at(2, 3, What::Crash { node: name("broker-1"), keep: Keep::None }),
        at(3, 4, What::Pause { node: name("broker-0") }),
        at(4, 2, What::ZoneCut { zone: name("zone-2"), direction: Direction::Out }),
        at(6, 0, What::ClockStep { node: name("controller-1"), by_us: -5_000_000 }),
        at(6, 9, What::ClockDrift { node: name("controller-2"), ppm: 5_000 }),
        at(7, 2, What::Cut { from: vec![name("controller-0")], to: vec![name("zone-1")] }),
        at(9, 5, What::Lossy { drop_pm: 50, duplicate_pm: 50, hold_pm: 50, hold_us_max: 500_000 }),
        at(9, 5, What::SlowLink { from: vec![name("zone-0")], to: vec![name("zone-1")], by_us: 9 }),
        at(10, 3, What::StoreSlowDown { per_mille: 300 }),
        at(11, 5, What::StoreEmptyPage { per_mille: 500 }),
        at(11, 5, What::StoreDamage { per_mille: 500 }),
        at(11, 6, What::Stall { per_mille: 500, by_us_max: 9_000 }),
        at(12, 3, What::StoreBrownOut { factor: 10 }),
        at(12, 9, What::StoreDuplicate { node: None, per_mille: 500, later_us_max: 3_000_000 }),
        at(
            14,
            3,
            What::StoreLoseAnswer {
                node: None,
                per_mille: 400,
                fate: Fate::Late { by_us_max: 20_000_000 },
                times: 0,
            },
        ),
        at(15, 0, What::DeviceSyncFail { node: name("controller-0") }),
        at(18, 3, What::DeviceFull { node: name("controller-1") }),
        at(20, 2, What::Drain { node: name("broker-2") }),
        at(20, 2, What::ZoneStoreLost { zone: name("zone-0") }),
        at(21, 4, What::ZoneFail { zone: name("zone-1") }),
    ]
}

fn begun(plan: &Plan) -> Run {
    Run::new(plan, World::new(plan, None).expect("a good plan"), &RunOptions::default())
}

fn finished(plan: &Plan) -> Run {
    let (mut run, mut options) = (begun(plan), RunOptions::default());
    while run.advance(&mut options).expect("no violation") {}
    run
}

#[test]
fn run_of_a_calm_plan_passes() {
    let outcome = run(&plan(Vec::new()), RunOptions::default());
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(outcome.calls_ok >= 121, "{}", outcome.calls_ok);
}

#[test]
fn run_of_the_same_plan_gives_the_same_hash_and_another_seed_another() {
    let plan = plan(storm());
    let first = run(&plan, RunOptions::default());
    assert_eq!(first.verdict, Verdict::Passed);
    let mut traced = 0_u64;
    let mut count = |line: &TraceLine| traced = line.seq;
    let options = RunOptions { trace: Some(&mut count), ..RunOptions::default() };
    assert_eq!(first, run(&plan, options), "a trace changes nothing");
    assert_eq!(traced, first.steps);
    let reseeded = run(&Plan { background: 8, ..plan }, RunOptions::default());
    assert_ne!(first.trace_hash, reseeded.trace_hash);
}

#[test]
fn run_counts_each_fault_as_begun_and_effective() {
    let outcome = run(&plan(storm()), RunOptions::default());
    for (kind, count) in &outcome.faults {
        assert_eq!((count.planned, count.begun, count.effective), (1, 1, 1), "{kind}");
    }
    assert_eq!(outcome.faults.len(), storm().len());
}

#[test]
fn run_with_a_fault_that_hits_nothing_says_so() {
    let cut = What::Cut { from: vec![name("client-0")], to: vec![name("client-1")] };
    let outcome = run(&plan(vec![at(2, 9, cut)]), RunOptions::default());
    let count = outcome.faults["cut"];
    assert_eq!((count.begun, count.effective), (1, 0));
}

#[test]
fn run_forked_half_way_ends_as_the_original() {
    let plan = plan(storm());
    let (mut original, mut options) = (begun(&plan), RunOptions::default());
    for _ in 0..2_000 {
        original.advance(&mut options).expect("no violation");
    }
    let mut fork = original.clone();
    while original.advance(&mut options).expect("no violation") {}
    while fork.advance(&mut options).expect("no violation") {}
    assert_eq!(original.hash(), fork.hash());
    assert_eq!(
        broker_core::hash::digest(original.world()),
        broker_core::hash::digest(fork.world())
    );
}

/// A lossy period with all rates at 0 draws for each message and changes nothing: with it the run
/// takes two steps more, its beginning and end, and every other stream gives the same draws.
#[test]
fn run_with_one_fault_more_draws_the_same_from_all_other_streams() {
    let idle = What::Lossy { drop_pm: 0, duplicate_pm: 0, hold_pm: 0, hold_us_max: 1 };
    let (with, without) = (finished(&plan(vec![at(2, 20, idle)])), finished(&plan(Vec::new())));
    assert_eq!(with.hash().steps(), without.hash().steps() + 2);
    assert_eq!(with.now(), without.now());
    let others = |run: &Run| {
        let mut counts = run.draw_counts();
        counts.retain(|(key, _)| key.purpose != Purpose::Fault);
        counts
    };
    assert_eq!(others(&with), others(&without));
    let own: u64 = with.draw_counts().iter().map(|(_, count)| count).sum();
    let rest: u64 = others(&with).iter().map(|(_, count)| count).sum();
    assert!(own > rest + 1_000, "{own} {rest}");
}

#[test]
fn run_without_one_fault_leaves_the_streams_of_its_twin_and_of_others_alone() {
    let lossy = |drop_pm| What::Lossy { drop_pm, duplicate_pm: 0, hold_pm: 0, hold_us_max: 1 };
    let both = finished(&plan(vec![at(2, 1, lossy(1)), at(5, 1, lossy(9)), at(5, 1, lossy(9))]));
    let one = finished(&plan(vec![at(5, 1, lossy(9))]));
    let stream = |run: &Run, fault: u16| run.book.stream(FaultId(fault), 5);
    assert_eq!(stream(&both, 1), stream(&one, 0));
    assert_ne!(stream(&both, 0), stream(&both, 1));
    assert_ne!(stream(&both, 1), stream(&both, 2), "equal faults do not draw alike");
}

#[test]
fn run_thaws_a_frozen_node_with_a_burst_of_what_it_missed() {
    let mut burst = Vec::new();
    let mut while_frozen = 0;
    let (mut frozen, mut thawed) = (false, None);
    let mut watch = |line: &TraceLine| {
        if line.node != "broker-0" {
            return;
        }
        match line.kind {
            "pause" => frozen = true,
            "resume" => (frozen, thawed) = (false, Some(line.at)),
            kind if thawed == Some(line.at) => burst.push(kind),
            _ => while_frozen += u32::from(frozen),
        }
    };
    let options = RunOptions { trace: Some(&mut watch), ..RunOptions::default() };
    let outcome = run(&plan(vec![at(5, 3, What::Pause { node: name("broker-0") })]), options);
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(while_frozen, 0);
    assert!(burst.contains(&"timer") && burst.contains(&"request"), "{burst:?}");
}

#[test]
fn run_keeps_the_order_on_connections_whatever_the_jitter() {
    let run = finished(&plan(storm()));
    let disorders = run.world.scene().clients().iter().map(|slot| slot.client.disorders());
    assert_eq!(disorders.sum::<u32>(), 0);
}

#[test]
fn run_with_an_anchored_fault_strikes_the_operation_that_triggered_it() {
    let anchor = Anchor { probe: name("wal.put.sent"), node: None, nth: 3, after_us: 0 };
    let what = What::StoreLoseAnswer {
        node: Some(name("self")),
        per_mille: 1_000,
        fate: Fate::Applied,
        times: 1,
    };
    let fault = Fault { when: When::On { on: anchor }, lasting_us: 0, what };
    let mut given_up = Vec::new();
    let mut trigger = 0;
    let mut puts = 0;
    let mut watch = |line: &TraceLine| {
        for effect in &line.effects {
            if effect.probe == Some("wal.put.sent") {
                puts += 1;
                if puts == 3 {
                    trigger = line.seq;
                }
            }
        }
        if line.kind == "store.give-up" {
            given_up.push(line.cause);
        }
    };
    let options = RunOptions { trace: Some(&mut watch), ..RunOptions::default() };
    let outcome = run(&plan(vec![fault]), options);
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert_eq!(given_up, [trigger]);
}

/// Empty pages and flipped bits cost time; they cost no data.
#[test]
fn run_with_spoiled_answers_passes_and_asks_again() {
    let faults = vec![
        at(8, 15, What::Crash { node: name("broker-0"), keep: Keep::All }),
        at(8, 20, What::StoreEmptyPage { per_mille: 400 }),
        at(8, 20, What::StoreDamage { per_mille: 400 }),
    ];
    let mut spoiled = [0, 0];
    let mut watch = |line: &TraceLine| {
        spoiled[0] += u32::from(line.kind == "store.empty-page");
        spoiled[1] += u32::from(line.kind == "store.damage");
    };
    let options = RunOptions { trace: Some(&mut watch), ..RunOptions::default() };
    let outcome = run(&plan(faults), options);
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(spoiled[0] > 5 && spoiled[1] > 0, "{spoiled:?}");
    assert!(outcome.reached.contains_key("recovery-damaged"), "{:?}", outcome.reached);
}

/// A slow store keeps nobody waiting beyond his patience: not for a refusal either, nor for an
/// answer that is lost.
#[test]
fn run_with_a_very_slow_store_ends_each_wait_in_time() {
    let lose = |fate| What::StoreLoseAnswer { node: None, per_mille: 500, fate, times: 0 };
    let faults = vec![
        at(5, 9, What::StoreBrownOut { factor: 3_000 }),
        at(5, 9, What::StoreSlowDown { per_mille: 300 }),
        at(5, 9, lose(Fate::Applied)),
        at(5, 9, lose(Fate::Late { by_us_max: 1_000_000 })),
    ];
    let (mut began, mut waits) = (vec![SimTime(0)], Vec::new());
    let mut watch = |line: &TraceLine| {
        began.push(line.at);
        if matches!(line.kind, "store.answer" | "store.give-up") {
            waits.push(line.at.0 - began[line.cause as usize].0);
        }
    };
    let options = RunOptions { trace: Some(&mut watch), ..RunOptions::default() };
    assert_eq!(run(&plan(faults), options).verdict, Verdict::Passed);
    assert_eq!(waits.iter().max(), Some(&10_000_000));
}

#[test]
fn run_with_puts_refused_falsely_looks_and_puts_again() {
    let twice = What::StoreDuplicate { node: None, per_mille: 1_000, later_us_max: 3_000_000 };
    let (mut refused, mut missed, mut again) = (Vec::new(), 0, 0);
    let mut watch = |line: &TraceLine| {
        let mut words = line.what.split(' ');
        let (Some(op), Some(key)) = (words.next(), words.next()) else { return };
        let ends = |end| line.effects.iter().any(|effect| effect.what.ends_with(end));
        match (line.kind, op) {
            ("store.conflict", _) => refused.push((key.to_owned(), false)),
            ("store.take", "get") if ends(": NotFound") => {
                for (_, looked) in refused.iter_mut().filter(|(other, _)| other == key) {
                    *looked = true;
                    missed += 1;
                }
            }
            ("store.answer", "put") if line.what.contains(": Done") => {
                again += refused.iter().filter(|(other, looked)| other == key && *looked).count();
            }
            _ => {}
        }
    };
    let options = RunOptions { trace: Some(&mut watch), ..RunOptions::default() };
    assert_eq!(run(&plan(vec![at(5, 20, twice)]), options).verdict, Verdict::Passed);
    assert!(missed > 5 && again > 5, "{refused:?}: {missed} looks, {again} puts");
}

#[test]
fn run_that_is_stopped_ends_behind_the_very_step() {
    let plan = plan(storm());
    let mut checkpoints = Vec::new();
    let options = RunOptions { checkpoints: Some(&mut checkpoints), ..RunOptions::default() };
    run(&plan, options);
    let point = checkpoints[1];
    let options = RunOptions { stop_after_steps: Some(point.step), ..RunOptions::default() };
    let stopped = run(&plan, options);
    assert_eq!((stopped.steps, stopped.trace_hash), (point.step, point.hash));
    assert_eq!(stopped.sim_us, point.at.0);
}

#[test]
fn run_keeps_a_zone_out_of_the_core_only_if_the_rest_can_work() {
    let fail = |zone: &str| at(20, 999, What::ZoneFail { zone: name(zone) });
    let one = finished(&plan(vec![fail("zone-0")]));
    let down = |run: &Run, node: u8| run.world.scene().slot(Endpoint(node)).process.is_none();
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(|node| down(&one, node)),
        [true, false, false, true, false, false]
    );
    let two = finished(&plan(vec![fail("zone-0"), fail("zone-1")]));
    assert_eq!(two.world.scene().outside().iter().count(), 2, "a majority must be left");
    assert!(!down(&two, 1) && !down(&two, 4));
}

#[test]
fn run_keeps_a_node_down_whose_crash_ends_before_its_pause() {
    let broker = || name("broker-2");
    let pause = at(20, 999, What::Pause { node: broker() });
    let mut crash = at(28, 0, What::Crash { node: broker(), keep: Keep::All });
    // Over when the safety phase is, and the boot still to come.
    crash.lasting_us = 1_900_000;
    let run = finished(&plan(vec![pause, crash]));
    assert_eq!(run.world.scene().outside().iter().collect::<Vec<_>>(), [Endpoint(5)]);
    assert!(run.world.scene().slot(Endpoint(5)).process.is_none(), "lives outside the core");
}

#[test]
fn run_under_each_determinism_mutant_differs_from_itself() {
    for row in crate::world::determinism::REGISTRY {
        let mut plan = plan(Vec::new());
        plan.mutants.push(row.id.to_owned());
        let hashes: std::collections::BTreeSet<u128> =
            (0..4).map(|_| run(&plan, RunOptions::default()).trace_hash).collect();
        assert!(hashes.len() > 1, "{} was not noticed", row.id);
    }
}

#[test]
fn run_of_a_bad_plan_says_what_is_wrong() {
    let what = What::Pause { node: name("broker-9") };
    let outcome = run(&plan(vec![at(1, 1, what)]), RunOptions::default());
    let Verdict::Panicked { place, message } = outcome.verdict else { unreachable!() };
    assert_eq!(place, "plan");
    assert!(message.contains("broker-9"), "{message}");
}
