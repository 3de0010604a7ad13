use workloads::Op;

use super::*;
use crate::generate::{Choice, generate};
use crate::plan::{Fate, Fault, Keep, What};

fn storm() -> Plan {
    storm_over("transactions")
}

fn storm_over(workload: &str) -> Plan {
    let choice = Choice {
        profile: Some("storm".to_owned()),
        workload: Some(workload.to_owned()),
        ..Choice::default()
    };
    generate(11, &choice)
}

fn judged(property: Option<&str>, plan: &Plan) -> Judgement {
    let size = (plan.faults.len() * 1_000 + plan.ops.len()) as u128;
    let trace_hash = size ^ u128::from(plan.background);
    Judgement { property: property.map(str::to_owned), sim_us: 20_000_000, trace_hash }
}

/// A runner of closures.
struct Fake<R, G> {
    run: R,
    go_on: G,
}

impl<R: FnMut(&Plan) -> Judgement, G: FnMut(Progress) -> bool> Runner for Fake<R, G> {
    fn judge(&mut self, plan: &Plan) -> Judgement {
        (self.run)(plan)
    }

    fn begun(&mut self, _plan: &Plan, fault: usize) -> Option<(u64, String)> {
        Some((5_000_000 + fault as u64, "broker-0".to_owned()))
    }

    fn go_on(&mut self, progress: Progress) -> bool {
        (self.go_on)(progress)
    }
}

fn shrunk(
    plan: Plan,
    executions_max: u64,
    run: impl FnMut(&Plan) -> Judgement,
    go_on: impl FnMut(Progress) -> bool,
) -> Result<Shrunk, Unshrinkable> {
    shrink(plan, executions_max, &mut Fake { run, go_on })
}

/// Breaks `L3` when some crash and two produces of client 2 are there, as a world might.
fn needs_a_crash_and_two_produces(plan: &Plan) -> Judgement {
    let crash = |fault: &Fault| matches!(fault.what, What::Crash { .. } | What::ZoneFail { .. });
    let produce = |op: &&crate::plan::OpAt| op.client == 2 && matches!(op.op, Op::Produce { .. });
    let breaks = plan.faults.iter().any(crash) && plan.ops.iter().filter(produce).count() >= 2;
    judged(breaks.then_some("L3"), plan)
}

#[test]
fn shrink_leaves_only_what_the_failure_needs() {
    let plan = storm();
    assert!(needs_a_crash_and_two_produces(&plan).property.is_some(), "the seed must fail");
    let shrunk = shrunk(plan, 5_000, needs_a_crash_and_two_produces, |_| true).unwrap();
    assert!(shrunk.complete);
    assert!(shrunk.executions <= 1_500, "{} executions", shrunk.executions);
    let creates = |op: &&crate::plan::OpAt| matches!(op.op, Op::CreateTopic { .. });
    let (creates, produces): (Vec<_>, Vec<_>) = shrunk.plan.ops.iter().partition(creates);
    assert_eq!((shrunk.plan.faults.len(), produces.len()), (1, 2));
    for create in creates {
        let topic = create.op.topic();
        assert!(produces.iter().any(|op| op.op.topic() == topic), "{topic} is not needed");
    }
    assert!(shrunk.plan.safety_us <= 20_000_000 + 100_000, "{}", shrunk.plan.safety_us);
    assert_eq!(shrunk.plan.topology.controllers, 1);
    assert_eq!(shrunk.plan.topology.clients, 3, "client 2 must exist");
    assert!(shrunk.plan.ops.iter().all(|op| op.at_us % 1_000_000 == 0), "round times");
    for op in produces {
        assert!(matches!(op.op, Op::Produce { records: 1, bytes: 8, .. }), "{op:?}");
    }
    let fault = &shrunk.plan.faults[0];
    assert!(matches!(fault.what, What::Crash { keep: Keep::All, .. }), "{fault:?}");
    assert!(fault.lasting_us <= 100_000, "{fault:?}");
    assert_eq!(check(&shrunk.plan), Ok(()));
}

#[test]
fn shrink_query_stays_only_if_the_failure_needs_it() {
    let plan = || storm_over("spark-handoff");
    let crashes = |plan: &Plan| plan.faults.iter().any(|it| matches!(it.what, What::Crash { .. }));
    assert!(plan().query.is_some() && crashes(&plan()), "the seed must fail");
    let run = |plan: &Plan| judged(crashes(plan).then_some("L3"), plan);
    let alone = shrunk(plan(), 5_000, run, |_| true).unwrap().plan;
    assert_eq!((alone.query, alone.ops.len()), (None, 0));
    let run = |plan: &Plan| judged(plan.query.is_some().then_some("S6"), plan);
    let with = shrunk(plan(), 5_000, run, |_| true).unwrap().plan;
    let creates = |op: &crate::plan::OpAt| matches!(op.op, Op::CreateTopic { .. });
    assert!(with.query.is_some() && with.ops.len() == 2 && with.ops.iter().all(creates));
}

#[test]
fn shrink_other_property_on_the_way_is_not_followed() {
    // Fewer than four faults break something else: a shrinker that follows any failure ends at
    // none.
    let run = |plan: &Plan| judged(Some(if plan.faults.len() < 4 { "L9" } else { "L3" }), plan);
    let shrunk = shrunk(storm(), 5_000, run, |_| true).unwrap();
    assert_eq!(shrunk.judgement.property.as_deref(), Some("L3"));
    assert_eq!(Size::of(&shrunk.plan), Size { faults: 4, ops: 0 });
}

#[test]
fn shrink_that_needs_another_background_finds_one() {
    let first = storm().background;
    // With fewer than five faults the first background is lucky.
    let run = |plan: &Plan| {
        let lucky = plan.background == first && plan.faults.len() < 5;
        judged((!lucky && !plan.faults.is_empty()).then_some("L3"), plan)
    };
    let shrunk = shrunk(storm(), 5_000, run, |_| true).unwrap();
    assert_eq!(Size::of(&shrunk.plan), Size { faults: 1, ops: 0 });
    assert_ne!(shrunk.plan.background, first);
}

#[test]
fn shrink_budget_is_kept_and_the_best_so_far_fails() {
    for budget in [3, 10, 50] {
        let mut runs = 0;
        let run = |plan: &Plan| {
            runs += 1;
            needs_a_crash_and_two_produces(plan)
        };
        let shrunk = shrunk(storm(), budget, run, |_| true).unwrap();
        assert!(!shrunk.complete);
        assert!(runs <= budget, "{runs} runs of {budget}");
        assert_eq!(shrunk.executions, runs);
        assert!(needs_a_crash_and_two_produces(&shrunk.plan).property.is_some());
    }
}

#[test]
fn shrink_interrupted_keeps_the_best_so_far() {
    let go_on = |progress: Progress| progress.executions < 40;
    let shrunk = shrunk(storm(), 5_000, needs_a_crash_and_two_produces, go_on).unwrap();
    assert!(!shrunk.complete);
    assert!(shrunk.plan.ops.len() < storm().ops.len());
}

#[test]
fn shrink_of_a_passing_plan_is_refused() {
    let result = shrunk(storm(), 100, |plan| judged(None, plan), |_| true);
    assert_eq!(result, Err(Unshrinkable::Passes));
}

#[test]
fn shrink_of_an_unsteady_run_is_refused() {
    let mut nth = 0;
    let run = |plan: &Plan| {
        nth += 1;
        Judgement { trace_hash: nth, ..judged(Some("L3"), plan) }
    };
    let result = shrunk(storm(), 100, run, |_| true);
    assert_eq!(result, Err(Unshrinkable::Unsteady));
}

#[test]
fn shrink_late_put_that_must_stay_late_keeps_its_fate() {
    let mut plan = storm();
    plan.faults = vec![Fault {
        when: When::At { at_us: 3_000_000 },
        lasting_us: 8_000_000,
        what: What::StoreLoseAnswer {
            node: None,
            per_mille: 1_000,
            fate: Fate::Late { by_us_max: 40_000_000 },
            times: 0,
        },
    }];
    let run = |plan: &Plan| {
        let late = |fault: &Fault| match &fault.what {
            What::StoreLoseAnswer { fate: Fate::Late { by_us_max }, .. } => *by_us_max > 9_000_000,
            _ => false,
        };
        judged(plan.faults.iter().any(late).then_some("W4"), plan)
    };
    let shrunk = shrunk(plan, 5_000, run, |_| true).unwrap();
    let What::StoreLoseAnswer { fate, times, .. } = &shrunk.plan.faults[0].what else {
        panic!("{:?}", shrunk.plan.faults);
    };
    assert_eq!((*fate, *times), (Fate::Late { by_us_max: 10_000_000 }, 1));
}

#[test]
fn shrink_fault_at_a_late_event_moves_to_the_clock() {
    let mut plan = storm();
    let on =
        crate::plan::Anchor { probe: "wal.put.sent".to_owned(), node: None, nth: 90, after_us: 0 };
    let what = What::Pause { node: "self".to_owned() };
    plan.faults = vec![Fault { when: When::On { on }, lasting_us: 9_000_000, what }];
    // The event comes only if there are as many operations; the clock needs none.
    let run = |plan: &Plan| {
        let begins = |fault: &Fault| match &fault.when {
            When::At { at_us } => (4_500_000..=5_000_001).contains(at_us),
            When::On { on } => on.nth as usize <= plan.ops.len() && on.nth >= 60,
        };
        judged(plan.faults.iter().any(begins).then_some("W1"), plan)
    };
    let shrunk = shrunk(plan, 5_000, run, |_| true).unwrap();
    assert_eq!(Size::of(&shrunk.plan), Size { faults: 1, ops: 0 });
    let Fault { when, what, .. } = &shrunk.plan.faults[0];
    assert_eq!(*when, When::At { at_us: 5_000_000 });
    assert_eq!(*what, What::Pause { node: "broker-0".to_owned() });
}
