//! How fast the world is, for the plans that the generator makes: steps and runs per second, and
//! simulated time per wall time, with all properties, the history and the trace hash on.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sim::decider::{RunOptions, run};
use sim::generate::{Choice, generate};
use sim::plan::Plan;

/// The same few seeds for every figure.
const SEEDS: std::ops::Range<u64> = 0..32;

/// Steps per second and core that the design asks for, shown in the name of the figure.
const BUDGET: &str = "steps (budget 1,000,000 per second)";

/// The plans of a profile; of none: what a bare sweep runs, where the seed picks the profile.
fn plans(profile: Option<&str>) -> Vec<Plan> {
    let choice = Choice { profile: profile.map(str::to_owned), ..Choice::default() };
    SEEDS.map(|seed| generate(seed, &choice)).collect()
}

fn measure(criterion: &mut Criterion, name: &str, plans: &[Plan], unit: &str, elements: u64) {
    let mut group = criterion.benchmark_group(format!("world/{name}"));
    group.sample_size(10);
    group.throughput(Throughput::Elements(elements));
    group.bench_function(unit, |bencher| {
        bencher.iter(|| {
            plans.iter().for_each(|plan| drop(black_box(run(plan, RunOptions::default()))))
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    for (name, profile) in [("default", None), ("calm", Some("calm")), ("storm", Some("storm"))] {
        let plans = plans(profile);
        let outcomes: Vec<_> = plans.iter().map(|plan| run(plan, RunOptions::default())).collect();
        let steps = outcomes.iter().map(|outcome| outcome.steps).sum();
        measure(criterion, name, &plans, BUDGET, steps);
        if profile.is_none() {
            let simulated_us: u64 = outcomes.iter().map(|outcome| outcome.sim_us).sum();
            measure(criterion, name, &plans, "runs", plans.len() as u64);
            measure(criterion, name, &plans, "simulated seconds", simulated_us / 1_000_000);
        }
    }
}

criterion_group!(world, benches);
criterion_main!(world);
