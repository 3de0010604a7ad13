//! The two protocols of transactions: the first one has a hole that runs find (KAFKA-17754), the
//! second one, in the same runs, has not. And what sweeps do not do to transactions.

use sim::decider::{RunOptions, run};
use sim::generate::{Choice, generate};
use sim::outcome::Verdict;
use sim::plan::Protocol;
use sim::plan::toml::{Document, read};
use sim::registry::SELDOM;

/// Few runs, one of which meets the hole by the first protocol.
const SEEDS: std::ops::Range<u64> = 140..150;

fn verdicts(protocol: Protocol) -> Vec<Verdict> {
    let workload = Some("transactions".to_owned());
    let choice = Choice { workload, protocol, ..Choice::default() };
    SEEDS.map(|seed| run(&generate(seed, &choice), RunOptions::default()).verdict).collect()
}

#[test]
fn first_protocol_lets_a_late_end_end_the_next_transaction() {
    let found = verdicts(Protocol::Tv1);
    let torn = |verdict: &&Verdict| match verdict {
        Verdict::Violated { property, .. } => ["T1", "T2", "T8"].contains(&property.as_str()),
        _ => false,
    };
    assert!(found.iter().filter(torn).count() > 0, "{found:?}");
}

#[test]
fn second_protocol_passes_the_same_runs() {
    assert!(verdicts(Protocol::Tv2).iter().all(|verdict| *verdict == Verdict::Passed));
}

#[test]
fn the_specification_of_transactions_is_told_of_what_sweeps_seldom_do() {
    let read = read("seldom.toml", include_str!("protocols/seldom.toml")).expect("a plan");
    let Document::Plan(plan) = read else { panic!("a plan, not a stored seed") };
    let outcome = run(&plan, RunOptions::default());
    assert_eq!(outcome.verdict, Verdict::Passed);
    for action in SELDOM.iter().filter(|action| action.starts_with("RF3:")) {
        assert!(outcome.reached.contains_key(action), "{action} was not taken");
    }
}
