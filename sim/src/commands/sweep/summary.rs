//! What a sweep amounts to, for people and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::super::repeat_seed;
use crate::generate::Choice;
use crate::host::NOT_CARRIED_OUT;
use crate::plan::Protocol;
use crate::plan::schema::FAULTS;
use crate::registry;
use crate::report::{Report, grouped, rate, share, simulated};
use crate::sweep::{Orders, Totals};

/// The numbers of a sweep.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    first_seed: u64,
    runs: u64,
    real_ms: u64,
    simulated_us: u64,
    steps: u64,
    steps_per_second: u64,
    calls_ok_median: u64,
    faults_effective_median: u64,
    faults: BTreeMap<&'static str, Faults>,
    /// In how many runs each mark was reached.
    reached: BTreeMap<&'static str, u64>,
    never_reached: Vec<&'static str>,
    /// What a sweep this wide should have done and did not: marks, and kinds of faults that never
    /// had an effect. A check that nothing reaches proves nothing, so that is a failure, too.
    pub(super) idle: Vec<&'static str>,
    failures: u64,
    distinct: Vec<Distinct>,
}

/// From so many runs on, over all profiles and workloads of the correct core, everything is to be
/// reached. The rarest, a kind of fault with effect, is in 2 % of runs: to miss it by chance in so
/// many has a probability below 10^-8.
const WIDE_RUNS_MIN: u64 = 1_000;

/// What a wide sweep did not do.
fn idle(totals: &Totals, orders: &Orders, never_reached: &[&'static str]) -> Vec<&'static str> {
    let Choice { profile, workload, protocol, mutants } = &orders.choice;
    let usual = *protocol == Protocol::default() && mutants.is_empty();
    let all = profile.is_none() && workload.is_none() && usual;
    if totals.runs < WIDE_RUNS_MIN || !all || orders.only.is_some() {
        return Vec::new();
    }
    let effective = |kind: &str| totals.faults.get(kind).is_some_and(|count| count.effective > 0);
    let kinds = FAULTS.iter().map(|kind| kind.name).filter(|kind| !effective(kind));
    let kinds = kinds.filter(|kind| !NOT_CARRIED_OUT.contains(kind));
    never_reached.iter().copied().chain(kinds).collect()
}

/// What a sweep should reach: with `--only` the other properties are not looked at.
fn expected(orders: &Orders) -> Vec<&'static str> {
    let mut marks = registry::sometimes();
    if let Some(only) = &orders.only {
        marks.retain(|mark| registry::counts(mark).is_none_or(|code| code == only));
    }
    marks
}

/// Faults of one kind, over all runs.
#[derive(Clone, Copy, Debug, Serialize)]
struct Faults {
    planned: u64,
    begun: u64,
    effective: u64,
}

/// Failures of one property at one place.
#[derive(Clone, Debug, Serialize)]
struct Distinct {
    property: String,
    place: String,
    runs: u64,
    seed: u64,
    message: String,
    command: String,
}

impl Summary {
    pub(super) fn of(totals: &Totals, orders: &Orders, real: Duration) -> Self {
        let micros = real.as_micros().max(1);
        let per_second = u128::from(totals.steps) * 1_000_000 / micros;
        let never = |mark: &&&str| !totals.reached.contains_key(**mark);
        let distinct = totals.groups.iter().map(|((property, place), group)| Distinct {
            property: property.clone(),
            place: place.clone(),
            runs: group.count,
            seed: group.best.seed,
            message: group.best.outcome.verdict.message().to_owned(),
            command: repeat_seed(group.best.seed, &orders.choice, orders.only.as_deref()),
        });
        let faults = totals.faults.iter().map(|(kind, count)| {
            let (planned, begun, effective) = (count.planned, count.begun, count.effective);
            (*kind, Faults { planned, begun, effective })
        });
        let never_reached: Vec<_> = expected(orders).iter().filter(never).copied().collect();
        Self {
            first_seed: orders.seeds.from,
            runs: totals.runs,
            real_ms: u64::try_from(real.as_millis()).unwrap_or(u64::MAX),
            simulated_us: totals.sim_us,
            steps: totals.steps,
            steps_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
            calls_ok_median: totals.calls_ok.median(),
            faults_effective_median: totals.faults_effective.median(),
            faults: faults.collect(),
            reached: totals.reached.clone(),
            idle: idle(totals, orders, &never_reached),
            never_reached,
            failures: totals.failures,
            distinct: distinct.collect(),
        }
    }

    pub(super) fn report(&self, totals: &Totals, report: &Report) {
        let real = Duration::from_millis(self.real_ms);
        report.line(format!(
            "ran     {} runs ({}/s), {} simulated, {} steps ({}/s)",
            grouped(self.runs),
            rate(self.runs, real),
            simulated(self.simulated_us),
            grouped(self.steps),
            grouped(self.steps_per_second),
        ));
        report.line(format!(
            "median  {} calls ok and {} faults with effect per run",
            grouped(self.calls_ok_median),
            grouped(self.faults_effective_median),
        ));
        if !self.faults.is_empty() {
            report.line(format!(
                "{:20} {:>10} {:>10} {:>12}",
                "faults", "planned", "begun", "with effect"
            ));
        }
        for (kind, Faults { planned, begun, effective }) in &self.faults {
            let (planned, begun) = (grouped(*planned), grouped(*begun));
            report
                .line(format!("  {kind:18} {planned:>10} {begun:>10} {:>12}", grouped(*effective)));
        }
        self.report_sometimes(totals, report);
        report.line(format!(
            "failed  {} runs, {} distinct",
            grouped(self.failures),
            grouped(self.distinct.len() as u64)
        ));
    }

    fn report_sometimes(&self, totals: &Totals, report: &Report) {
        if self.reached.is_empty() && self.never_reached.is_empty() {
            return;
        }
        let is_judged = |mark: &str| mark.strip_prefix(registry::EVALUATED).map(str::to_owned);
        let judged = self.reached.iter().filter_map(|(mark, runs)| Some((is_judged(mark)?, *runs)));
        let (always, seldom): (Vec<_>, Vec<_>) = judged.partition(|(_, runs)| *runs == totals.runs);
        let seldom =
            seldom.iter().map(|(code, runs)| format!("{code} in {}", share(*runs, totals.runs)));
        let seldom = seldom.collect::<Vec<_>>().join(", ");
        report.line(format!("judged  {} properties in every run; {seldom}", always.len()));
        report.line("reached, in so many of the runs");
        for (mark, runs) in self.reached.iter().filter(|(mark, _)| is_judged(mark).is_none()) {
            report.line(format!("  {:>7} {mark}", share(*runs, totals.runs)));
        }
        if !self.never_reached.is_empty() {
            report.line(format!("  never   {}", self.never_reached.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FaultCount;
    use crate::sweep::Seeds;

    fn orders(choice: Choice) -> Orders {
        Orders { seeds: Seeds { from: 0, to: None }, choice, only: None, jobs: 1 }
    }

    #[test]
    fn sweep_that_is_wide_and_misses_something_is_idle() {
        let wide = orders(Choice::default());
        let planned = FaultCount { planned: 9, begun: 9, effective: 0 };
        let worked = FaultCount { effective: 1, ..planned };
        let mut totals = Totals { runs: WIDE_RUNS_MIN, ..Totals::default() };
        totals.faults = FAULTS.iter().map(|kind| (kind.name, worked)).collect();
        assert_eq!(idle(&totals, &wide, &[]), [""; 0]);
        totals.faults.insert("pause", planned);
        totals.faults.remove("crash");
        assert_eq!(idle(&totals, &wide, &["torn-tail-cut"]), ["torn-tail-cut", "crash", "pause"]);
        let narrow = Choice { profile: Some("calm".to_owned()), ..Choice::default() };
        assert_eq!(idle(&totals, &orders(narrow), &["torn-tail-cut"]), [""; 0]);
        totals.runs = WIDE_RUNS_MIN - 1;
        assert_eq!(idle(&totals, &wide, &["torn-tail-cut"]), [""; 0]);
    }
}
