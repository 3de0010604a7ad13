//! `cargo madsim compare`: the same plans in a world and with whole processes, how both end, and
//! what the processes cost.

use std::time::Duration;

use crate::cli::{BadInput, CompareArgs, Exit};
use crate::decider::{self, RunOptions};
use crate::generate::generate;
use crate::host;
use crate::outcome::Outcome;
use crate::report::{Report, grouped, simulated};
use crate::seed::SeedRange;
use crate::wallclock::Stopwatch;

/// What the runs on one host add up to.
#[derive(Default)]
struct Sum {
    took: Duration,
    simulated_us: u64,
    steps: u64,
    failed: u64,
}

impl Sum {
    fn add(&mut self, run: impl FnOnce() -> Outcome) -> Outcome {
        let watch = Stopwatch::new();
        let outcome = run();
        self.took += watch.elapsed();
        self.simulated_us += outcome.sim_us;
        self.steps += outcome.steps;
        self.failed += u64::from(outcome.verdict.property().is_some());
        outcome
    }

    fn report(&self, host: &str, report: &Report) {
        report.line(format!(
            "{host:<8}{} ms, {} simulated, {} steps, {} failed",
            grouped(self.took.as_millis() as u64),
            simulated(self.simulated_us),
            grouped(self.steps),
            grouped(self.failed),
        ));
    }
}

/// Compares the two hosts, seed by seed, one run after the other.
///
/// # Errors
/// If an argument is bad, or this binary has only one host.
pub fn compare(args: &CompareArgs, report: &mut Report) -> Result<Exit, BadInput> {
    if !host::IS_MADSIM {
        return Err("only `cargo madsim compare` has both hosts".into());
    }
    let choice = args.choice.choice()?;
    let (from, to) = match args.seeds {
        SeedRange::Count(count) => (0, count),
        SeedRange::Range(from, to) => (from, to),
    };
    let (mut world, mut whole) = (Sum::default(), Sum::default());
    report.begin_progress(Some(to - from));
    for seed in from..to {
        let plan = generate(seed, &choice);
        let one = world.add(|| decider::run(&plan, RunOptions::default()));
        let other = whole.add(|| host::run(&plan, RunOptions::default()));
        for (name, outcome) in [("world", one), ("madsim", other)] {
            if let Some(property) = outcome.verdict.property() {
                let message = outcome.verdict.message();
                report.line(format!("seed {seed} fails {property} in {name}: {message}"));
            }
        }
        report.progress(seed + 1 - from, || format!("seed {seed}"));
    }
    report.end_progress();
    world.report("world", report);
    whole.report("madsim", report);
    let tenths = whole.took.as_micros() * 10 / world.took.as_micros().max(1);
    report.line(format!("ratio   1 : {}.{}", tenths / 10, tenths % 10));
    let failed = world.failed + whole.failed > 0;
    Ok(if failed { Exit::Violated } else { Exit::Passed })
}
