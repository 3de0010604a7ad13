//! The table of crash points and sinks of a Spark query, held by a simulated cluster: each row's
//! crash is brought about as a fault of a plan, and what the judge finds is what the table says.
//!
//! `workloads` holds the same table by a small world of its own, which knows no broker.

use sim::decider::{RunOptions, run};
use sim::generate::{Choice, generate};
use sim::outcome::{Outcome, Verdict};
use sim::plan::{Act, Anchor, Fault, Limits, OpAt, PLAN_VERSION, Plan, Topology, What, When};
use sim::registry::{self, query_properties};
use workloads::Op;
use workloads::spark::checkpoint::Manager;
use workloads::spark::driver::Sink;
use workloads::spark::handoff::{CrashPoint, Doubled, Expected, Property, Row, SINKS, TABLE};
use workloads::spark::mutants::REGISTRY;
use workloads::spark_handoff::{Query, SINK, SOURCE};

const S: u64 = 1_000_000;
const PARTITIONS: u32 = 4;
const FAN_OUT: u32 = 2;
/// Records that come to each partition at a time.
const GROWTH: u32 = 5;
/// Rows of a batch.
const BATCH: u64 = (PARTITIONS * GROWTH * FAN_OUT) as u64;
/// While a fault holds the query down, records come, and files are lost.
const DOWN_US: u64 = 8 * S;
/// By then some of what tasks sent is on its way, or stored.
const SENDING_US: u64 = 300_000;
/// Backgrounds that each scenario is run with.
const BACKGROUNDS: u64 = 3;

fn query(sink: Sink) -> Query {
    Query {
        sink,
        manager: Manager::AtomicRename,
        source: SOURCE.to_owned(),
        target: SINK.to_owned(),
        partitions: PARTITIONS,
        target_partitions: 2,
        fan_out: FAN_OUT,
        max_offsets: 40,
        rows_per_send: 4,
        executors: 2,
        cores: 1,
        trigger_ms: 5_000,
        speculation_ms: 0,
        retain: 100,
        start_ms: 6_000,
    }
}

fn op(at_us: u64, op: Op) -> OpAt {
    OpAt { at_us, client: 0, op }
}

fn create(at_us: u64, topic: &str, partitions: u32) -> OpAt {
    op(at_us, Op::CreateTopic { topic: topic.to_owned(), partitions })
}

/// Records for each partition of the source.
fn fill(at_us: u64, records: u32) -> impl Iterator<Item = OpAt> {
    let produce = move |partition| Op::Produce {
        topic: SOURCE.to_owned(),
        partition,
        records,
        bytes: 16,
        acks: -1,
        damaged: false,
        idempotent: true,
    };
    (0..PARTITIONS).map(move |partition| op(at_us, produce(partition)))
}

/// A calm cluster with a query: a batch at some 6 s, another at some 13 s, more from 18 s on.
fn plan(query: Query, faults: Vec<Fault>) -> Plan {
    let mut ops = vec![create(S, SOURCE, PARTITIONS), create(S, SINK, 3)];
    for (at_us, records) in [(3 * S, GROWTH), (9 * S, GROWTH), (18 * S, 3), (40 * S, GROWTH)] {
        ops.extend(fill(at_us, records));
    }
    Plan {
        version: PLAN_VERSION,
        background: 1,
        profile: "none".to_owned(),
        workload: "spark-handoff".to_owned(),
        protocol: Default::default(),
        mutants: Vec::new(),
        safety_us: 60 * S,
        topology: Topology { zones: 3, controllers: 3, brokers: 3, clients: 2 },
        limits: Limits {
            wal_bulk_bytes_max: 8_192,
            wal_bulk_interval_us: 20_000,
            wal_puts_in_flight_max: 4,
            wal_unconfirmed_bytes_max: 65_536,
            upload_backlog_bytes_max: 262_144,
            upload_block_bytes_max: 16_384,
            upload_block_interval_us: 2 * S,
            cache_bytes_max: 65_536,
            produce_queue_max: 64,
            list_page_max: 3,
        },
        faults,
        query: Some(query),
        then: None,
        ops,
    }
}

fn after(probe: &str, nth: u32, after_us: u64, lasting_us: u64, what: What) -> Fault {
    let on = Anchor { probe: probe.to_owned(), node: None, nth, after_us };
    Fault { when: When::On { on }, lasting_us, what }
}

fn act(probe: &str, nth: u32, lasting_us: u64, act: Act) -> Fault {
    after(probe, nth, 0, lasting_us, What::Query { act })
}

fn brokers() -> Vec<String> {
    (0..3).map(|it| format!("broker-{it}")).collect()
}

/// The scenario of a row: in the second batch, or in the first that has the moment.
fn scenario(point: CrashPoint, sink: Sink) -> Plan {
    use CrashPoint as C;
    let mut query = query(sink);
    let kill = |probe, nth| act(probe, nth, DOWN_US, Act::Kill);
    let faults = match point {
        C::C0 => vec![kill("spark.c0", 1)],
        C::C1 => vec![kill("spark.c1", 1)],
        C::C2 => vec![kill("spark.c2", 2)],
        C::C3 => vec![kill("spark.c3", 2)],
        // At the mark itself the records are with the producers, and no request is on its way.
        C::C4 => vec![after("spark.c4", 2, SENDING_US, DOWN_US, What::Query { act: Act::Kill })],
        C::C5 => vec![kill("spark.c5", 2)],
        C::C6 => vec![kill("spark.c6", 2)],
        C::C7 => vec![kill("spark.c7", 2)],
        C::C8 => vec![kill("spark.c8", 2)],
        C::C9 => {
            query.retain = 1;
            vec![kill("spark.c9", 1)]
        }
        C::C10 if sink == Sink::DriverTransaction => vec![act("spark.c3", 2, 0, Act::FailTask)],
        C::C10 => vec![act("spark.c4", 2, 0, Act::FailTask)],
        C::C11 if sink == Sink::DriverTransaction => {
            vec![act("spark.c3", 2, 2 * S, Act::LoseExecutor)]
        }
        C::C11 => {
            let lose = What::Query { act: Act::LoseExecutor };
            vec![after("spark.c4", 2, SENDING_US, 2 * S, lose)]
        }
        C::C12 => {
            let to = vec!["executor-0".to_owned(), "executor-1".to_owned()];
            vec![after("spark.c4", 2, 0, S / 2, What::Cut { from: brokers(), to })]
        }
        // Nobody hears of the commit. Behind the tasks, the table's is all that the store is asked.
        C::C13 => vec![match sink {
            Sink::AtLeastOnce | Sink::Keyed => {
                let to = vec!["executor-0".to_owned()];
                after("spark.c4", 2, SENDING_US, 125 * S, What::Cut { from: brokers(), to })
            }
            Sink::MarkedTable => {
                let (from, to) = (vec!["store".to_owned()], vec!["driver-0".to_owned()]);
                after("spark.c5", 2, 0, 20 * S, What::Cut { from, to })
            }
            Sink::DriverTransaction => {
                let to = vec!["driver-0".to_owned()];
                after("txn.decided", 2, 0, 125 * S, What::Cut { from: brokers(), to })
            }
        }],
        C::C14 => vec![act("spark.c6", 2, DOWN_US, Act::Rival)],
        C::C15 => unreachable!("two drivers must meet within a look and a copy: below"),
        C::C16 => {
            let lose = What::Query { act: Act::LoseEntry };
            vec![kill("spark.c6", 2), after("spark.c6", 2, S, 0, lose)]
        }
        C::C17 => {
            let lose = What::Query { act: Act::LoseCommits };
            vec![act("spark.c8", 2, DOWN_US, Act::Stop), after("spark.c8", 2, S, 0, lose)]
        }
        C::C20 => vec![act("spark.c8", 1, 20 * S, Act::Stop)],
    };
    let mut plan = plan(query, faults);
    match point {
        C::C13 => plan.safety_us = 180 * S,
        C::C20 => {
            plan.ops.retain(|op| op.at_us < 9 * S);
            plan.ops.push(op(10 * S, Op::DeleteTopic { topic: SOURCE.to_owned() }));
            plan.ops.push(create(13 * S, SOURCE, PARTITIONS));
            plan.ops.extend(fill(17 * S, GROWTH + 3));
        }
        _ => {}
    }
    plan
}

fn ran(plan: &Plan, background: u64, only: Option<&str>) -> Outcome {
    let plan = Plan { background, ..plan.clone() };
    run(&plan, RunOptions { only, ..RunOptions::default() })
}

/// The property of the judge's that shows it.
fn code(property: Property) -> &'static str {
    match property {
        Property::Lost | Property::Doubled => "S8",
        Property::CommittedTwice => "S3",
        Property::RangeChanged => "S7",
        Property::Stuck => "S6",
    }
}

fn doubled(outcome: &Outcome) -> u64 {
    outcome.reached.get("rows-doubled").copied().unwrap_or(0)
}

/// What one background of a row that keeps to its sink's terms shows: how much came twice.
fn keeps(place: &str, plan: &Plan, background: u64, wrong: &mut Vec<String>) -> u64 {
    let outcome = ran(plan, background, None);
    if outcome.verdict != Verdict::Passed {
        wrong.push(format!("{place}, background {background}: {:?}", outcome.verdict));
    }
    if outcome.faults.values().any(|it| it.effective != it.planned) {
        wrong.push(format!("{place}, background {background}: {:?}", outcome.faults));
    }
    doubled(&outcome)
}

fn holds(place: &str, expected: Expected, plan: &Plan, wrong: &mut Vec<String>) {
    let all: Vec<u64> = (0..BACKGROUNDS).map(|it| keeps(place, plan, it, wrong)).collect();
    let fits = match expected.doubled {
        Doubled::Nothing => all.iter().all(|it| *it == 0),
        // What was under way when it struck may be nothing, now and then.
        Doubled::Part { .. } => all.iter().all(|it| *it < BATCH) && all.iter().any(|it| *it > 0),
        Doubled::Batch { .. } => all.iter().all(|it| *it == BATCH),
        Doubled::Unbounded { .. } => false,
    };
    if !fits {
        wrong.push(format!("{place}: {all:?} doubled, not {expected:?}"));
    }
}

#[test]
fn handoff_in_a_cluster_is_what_the_table_says() {
    let mut wrong = Vec::new();
    for row in TABLE.iter().filter(|row| row.point != CrashPoint::C15) {
        for sink in SINKS {
            let Some(expected) = row.expected(*sink) else { continue };
            let plan = scenario(row.point, *sink);
            let place = format!("{} {sink:?}", row.id);
            if expected.broken.is_empty() {
                holds(&place, expected, &plan, &mut wrong);
            }
            for property in expected.broken {
                let verdict = ran(&plan, 1, Some(code(*property))).verdict;
                if verdict.property() != Some(code(*property)) {
                    wrong.push(format!("{place}: not {property:?} but {verdict:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first driver looks whether commits/1 is there, is slow to hear that it is not, and then
/// copies; meanwhile its rival writes it. Whether the two meet so is left to the background.
#[test]
fn handoff_on_a_store_that_copies_to_rename_lets_two_drivers_commit_one_batch() {
    for sink in [Sink::AtLeastOnce, Sink::Keyed, Sink::MarkedTable] {
        let query = Query { manager: Manager::CopyRename, ..query(sink) };
        let slow = What::SlowLink {
            from: vec!["store".to_owned()],
            to: vec!["driver-0".to_owned()],
            by_us: 8 * S,
        };
        let rival = What::Query { act: Act::Rival };
        let faults =
            vec![after("spark.c7", 2, 0, S / 10, slow), after("spark.c7", 2, 3 * S, S / 10, rival)];
        let plan = plan(query, faults);
        let found: Vec<_> = (0..8).map(|it| ran(&plan, it, Some("S3")).verdict).collect();
        assert!(found.iter().any(|it| it.property() == Some("S3")), "{sink:?}: {found:?}");
    }
}

/// From then on both commit each batch, if both look before either writes, and no bound holds.
#[test]
fn handoff_on_a_store_that_copies_to_rename_doubles_without_a_bound() {
    let query = Query { manager: Manager::CopyRename, trigger_ms: 500, ..query(Sink::AtLeastOnce) };
    let to = vec!["driver-0".to_owned(), "driver-1".to_owned()];
    let slow = What::SlowLink { from: vec!["store".to_owned()], to, by_us: 2 * S };
    let rival = What::Query { act: Act::Rival };
    // The rival has started before anything is slow, and comes to the same batch.
    let faults =
        vec![after("spark.c8", 1, S, S / 10, rival), after("spark.c8", 1, 8 * S, 200 * S, slow)];
    let mut plan = plan(query, faults);
    plan.safety_us = 200 * S;
    plan.ops.retain(|op| op.at_us < 9 * S);
    plan.ops.extend((1..6).flat_map(|nth| fill(30 * nth * S, GROWTH)));
    for background in 0..BACKGROUNDS {
        let outcome = ran(&plan, background, Some("S8"));
        assert_eq!(outcome.verdict.property(), Some("S8"), "{:?}", outcome.verdict);
        // One batch more than the only one, for each of five.
        assert_eq!(doubled(&outcome), 5 * BATCH);
        let mut atomic = plan.clone();
        atomic.query.as_mut().expect("one").manager = Manager::AtomicRename;
        let outcome = ran(&atomic, background, None);
        assert_eq!(outcome.verdict, Verdict::Passed, "{:?}", outcome.verdict);
    }
}

/// A driver that sleeps while its rival purges what both wrote finds its place in the commit log
/// free, although a rename is atomic.
#[test]
fn handoff_sleeper_behind_a_purge_commits_again() {
    for (retain, property) in [(1, Some("S3")), (100, None)] {
        let query = Query { retain, trigger_ms: 500, ..query(Sink::AtLeastOnce) };
        let plan = plan(query, vec![act("spark.c7", 2, 50 * S, Act::Rival)]);
        let verdict = ran(&plan, 1, None).verdict;
        assert_eq!(verdict.property(), property, "{verdict:?}");
    }
}

/// A marker with the batch's number alone loses what only the longer batch reads.
#[test]
fn handoff_that_dedupes_by_batch_id_loses_when_an_entry_is_lost() {
    for sink in [Sink::MarkedTable, Sink::DriverTransaction] {
        let mut plan = scenario(CrashPoint::C16, sink);
        assert_ne!(ran(&plan, 1, Some("S8")).verdict.property(), Some("S8"));
        plan.mutants.push("spark-dedupe-by-batch-id".to_owned());
        let verdict = ran(&plan, 1, Some("S8")).verdict;
        assert_eq!(verdict.property(), Some("S8"), "{sink:?}: {verdict:?}");
    }
}

/// A commit log that is ahead of the offset log: the batch before is run again, and can not be
/// committed.
#[test]
fn handoff_behind_its_commit_log_stands_still() {
    let lose = What::Query { act: Act::LoseEntry };
    let stop = act("spark.c8", 2, DOWN_US, Act::Stop);
    let plan = plan(query(Sink::AtLeastOnce), vec![stop, after("spark.c8", 2, S, 0, lose)]);
    let verdict = ran(&plan, 1, Some("S6")).verdict;
    assert_eq!(verdict.property(), Some("S6"), "{verdict:?}");
}

/// Spark compares topics by name.
#[test]
fn handoff_from_a_topic_created_again_reads_another_topic() {
    let plan = scenario(CrashPoint::C20, Sink::AtLeastOnce);
    let verdict = ran(&plan, 1, Some("S9")).verdict;
    assert_eq!(verdict.property(), Some("S9"), "{verdict:?}");
}

/// Seeds that a planted bug of a query is looked for in.
const SEEDS: std::ops::Range<u64> = 0..120;

/// What no drawn run has: files that are lost (the first is held above), and partitions that are
/// added; and what not one in thousands has. All fall in the tests of `workloads`.
const NOT_DRAWN: [&str; 4] = [
    "spark-dedupe-by-batch-id",
    "spark-newer-commit-ignored",
    "spark-new-partitions-at-latest",
    "spark-late-send-forgotten",
];

#[test]
fn handoff_planted_bugs_fall_to_their_properties() {
    let mut alive = Vec::new();
    for row in REGISTRY.iter().filter(|row| !NOT_DRAWN.contains(&row.id)) {
        let codes = query_properties(row);
        let choice = Choice {
            workload: Some("spark-handoff".to_owned()),
            mutants: vec![row.id.to_owned()],
            ..Choice::default()
        };
        let killed = SEEDS.into_iter().find(|seed| {
            let plan = generate(*seed, &choice);
            let options = RunOptions { only: Some(codes[0]), ..RunOptions::default() };
            run(&plan, options).verdict.property() == Some(codes[0])
        });
        if killed.is_none() {
            alive.push(row.id);
        }
    }
    assert!(alive.is_empty(), "{alive:?}");
}

/// What the page of the handoff says of one planted bug, cell by cell.
#[test]
fn handoff_page_says_where_each_planted_bug_falls() {
    let page = include_str!("../../docs/spark-handoff.md");
    let mut rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `spark-"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    for bug in REGISTRY {
        let name = format!("`{}`", bug.id);
        let at = rows.iter().position(|row| row[0] == name);
        let row = rows.remove(at.unwrap_or_else(|| panic!("no row for {}", bug.id)));
        let [_, codes, _, in_runs] = row[..] else { panic!("four cells in: {row:?}") };
        assert_eq!(codes, query_properties(bug).join(", "), "{}", bug.id);
        let drawn = format!("a seed below {}", SEEDS.end);
        assert_eq!(in_runs == drawn, !NOT_DRAWN.contains(&bug.id), "{}: {in_runs}", bug.id);
    }
    assert!(rows.is_empty(), "rows of no bug: {rows:?}");
}

#[test]
fn handoff_list_names_the_bounds_that_the_page_names() {
    let page = include_str!("../../docs/spark-handoff.md");
    let bounds = |text: &str| -> Vec<String> {
        let number = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect();
        text.split("bound ").skip(1).map(number).collect()
    };
    let mut named = 0;
    for entry in registry::entries("handoff").expect("a kind of list") {
        let row = page.lines().find(|line| line.starts_with(&format!("| {} |", entry.id)));
        let cells: Vec<_> = row.expect("a row").split('|').skip(3).take(SINKS.len()).collect();
        let listed: Vec<_> = entry.what.split("; ").collect();
        assert_eq!((cells.len(), listed.len()), (SINKS.len(), SINKS.len()), "{}", entry.id);
        for (cell, listed) in cells.into_iter().zip(listed) {
            assert_eq!(bounds(cell), bounds(listed), "{}: {listed}", entry.id);
            named += bounds(cell).len();
        }
    }
    let doubles = |row: &&Row| {
        row.expected(Sink::AtLeastOnce).is_some_and(|seen| seen.doubled != Doubled::Nothing)
    };
    assert_eq!(named, TABLE.iter().filter(doubles).count());
}

#[test]
fn handoff_drawn_runs_without_a_bug_pass() {
    let workload = Some("spark-handoff".to_owned());
    let choice = Choice { workload, ..Choice::default() };
    for seed in 0..20 {
        let verdict = run(&generate(seed, &choice), RunOptions::default()).verdict;
        assert_eq!(verdict, Verdict::Passed, "seed {seed}");
    }
}
