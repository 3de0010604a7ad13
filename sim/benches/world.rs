//! How fast the world is: steps and runs per second, simulated time per wall time, for the plans
//! that the generator makes; and what the trace hash and the judge cost of it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sim::decider::{RunOptions, run};
use sim::generate::{Choice, generate};
use sim::plan::Plan;

/// The same few seeds for every figure.
const SEEDS: std::ops::Range<u64> = 0..16;

fn plans(profile: &str) -> Vec<Plan> {
    let choice = Choice { profile: Some(profile.to_owned()), ..Choice::default() };
    SEEDS.map(|seed| generate(seed, &choice)).collect()
}

fn benches(criterion: &mut Criterion) {
    for profile in ["calm", "storm"] {
        let plans = plans(profile);
        let outcomes: Vec<_> = plans.iter().map(|plan| run(plan, RunOptions::default())).collect();
        let per_element = [
            ("steps", outcomes.iter().map(|outcome| outcome.steps).sum()),
            ("simulated-us", outcomes.iter().map(|outcome| outcome.sim_us).sum()),
            ("runs", plans.len() as u64),
        ];
        for (unit, elements) in per_element {
            let mut group = criterion.benchmark_group(format!("world/{profile}"));
            group.sample_size(10);
            group.throughput(Throughput::Elements(elements));
            group.bench_function(unit, |bencher| {
                bencher.iter(|| {
                    for plan in &plans {
                        black_box(run(plan, RunOptions::default()));
                    }
                });
            });
            group.finish();
        }
    }
}

criterion_group!(world, benches);
criterion_main!(world);
