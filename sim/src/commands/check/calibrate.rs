//! `seedbed check --calibrate`: the planted bugs that the models are known to find are searched for
//! again. A bound that misses one, or finds it by a longer way, is not the bound that it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_core::mutants::{self, Mutants};

use crate::cli::{BadInput, CheckArgs, Exit};
use crate::model::Watch;
use crate::model::configurations::{Configuration, KILLS, Kill, Variant};
use crate::model::search::Order;
use crate::report::{Report, grouped};

/// Searches for each that these configurations find.
pub(super) fn check(
    chosen: &[&Configuration],
    args: &CheckArgs,
    report: &Report,
) -> Result<Exit, BadInput> {
    let of = |kill: &'static Kill| {
        Some((kill, chosen.iter().find(|one| one.name == kill.configuration)?))
    };
    let kills: Vec<_> = KILLS.iter().filter_map(of).collect();
    if kills.is_empty() {
        let known: BTreeSet<_> = KILLS.iter().map(|kill| kill.configuration).collect();
        let known: Vec<_> = known.into_iter().collect();
        let known = known.join(", ");
        return Err(format!("no planted bug is known to be found there; allowed: {known}").into());
    }
    let mut missed = 0;
    for (kill, one) in kills {
        let (is_known, line) = killed(kill, one, args.memory_max << 30);
        let word = if is_known { report.pass("found") } else { report.fail("FAIL ") };
        report.line(format!("{word} {line}"));
        missed += usize::from(!is_known);
    }
    if missed > 0 {
        report.line(format!("{} {missed} not as is known", report.fail("FAIL")));
        return Ok(Exit::Violated);
    }
    report.line(report.pass("PASS"));
    Ok(Exit::Passed)
}

/// Whether it is found as is known, and how it is found.
fn killed(kill: &Kill, one: &Configuration, memory_max: u64) -> (bool, String) {
    let Kill { mutant, configuration, steps, property } = kill;
    let planted = mutants::by_id(mutant).expect("a planted bug").mutant;
    let watch = Arc::new(Watch::new(memory_max));
    let planted = Mutants::NONE.with(planted);
    let known = format!("{mutant} in {configuration}: ");
    let told = match one.search(Variant::planted(planted), &watch, (Order::BreadthFirst, 1)) {
        Err(verdict) => (0, verdict.property().unwrap_or_default().to_owned(), 0),
        Ok(found) => match found.broken {
            None if watch.is_over() => return (false, known + "it took too much memory"),
            None => return (false, known + "it is not found"),
            Some((story, broken)) => (story.len(), broken.property.to_owned(), found.unique),
        },
    };
    let (length, by, states) = told;
    let is_known = length == *steps && by == *property;
    let other = if is_known { String::new() } else { format!(", not {property} at {steps}") };
    (is_known, format!("{known}{by} at {length} steps{other}, {} states", grouped(states as u64)))
}
