//! `seedbed check --from`: a run is stopped, and what may happen next is searched.

use std::sync::Arc;

use broker_core::probe::Probe;
use invariants::history::SimTime;

use super::{cores, tell};
use crate::cli::{BadInput, CheckArgs, ChoiceArgs, Exit, FromArgs};
use crate::commands::{exit_of, subject_of, verdict_words};
use crate::decider::until::{Until, world_at};
use crate::model::Watch;
use crate::model::forward::{Bounds, Forward};
use crate::model::search::{Order, search};
use crate::outcome::{PANIC, Verdict};
use crate::plan::{Protocol, micros};
use crate::registry;
use crate::report::Report;

/// Searches forward from where a run is then.
pub(super) fn check(from: &FromArgs, args: &CheckArgs, report: &Report) -> Result<Exit, BadInput> {
    let (text, until) = (from.from.as_str(), until(&from.at)?);
    let mutants = args.mutants.clone();
    let choice =
        ChoiceArgs { profile: None, workload: None, protocol: Protocol::default(), mutants };
    let plan = subject_of(text, &choice, None)?.plan;
    let (world, at) = match world_at(&plan, until) {
        Ok(Some(found)) => found,
        Ok(None) => return Err(BadInput(format!("{text} is over before it comes to {}", from.at))),
        Err(verdict @ Verdict::Panicked { .. }) if verdict.place() == "plan" => {
            return Err(BadInput(format!("{text} can not be run: {}", verdict.message())));
        }
        Err(verdict) => {
            report.line(format!("{} on the way there", verdict_words(&verdict, report)));
            return Ok(exit_of(&verdict));
        }
    };
    let bounds = Bounds {
        steps: (from.steps > 0).then_some(from.steps),
        timers: from.timers.unwrap_or(u8::MAX),
        mishaps: from.mishaps,
    };
    report.line(format!("from    {text} at {}: {bounds}", micros::format(at.0)));
    let watch = Arc::new(Watch::new(args.memory_max << 30));
    let model = |steps| Forward::new(world.clone(), at, Bounds { steps, ..bounds }, watch.clone());
    // Depth first, for whole worlds wait for their turn; with one step more each time, so that what
    // is found is found by a shortest way.
    let threads = args.threads.map_or_else(cores, usize::from);
    let mut found = search(model(bounds.steps.map(|_| 1)), Order::DepthFirst, threads);
    for more in 2..=bounds.steps.unwrap_or(1) {
        if found.broken.is_some() || watch.is_over() {
            break;
        }
        found = search(model(Some(more)), Order::DepthFirst, threads);
    }
    tell(&found, &watch, report);
    if let Some((way, violation)) = &found.broken {
        report.line(format!("{} {violation}", report.fail("FAIL")));
        for (number, line) in (1..).zip(model(bounds.steps).story(way)) {
            report.line(format!("{number:>5}   {line}"));
        }
        return Ok(if violation.property == PANIC { Exit::Assertion } else { Exit::Violated });
    }
    if watch.is_over() {
        let most = args.memory_max;
        let word = report.fail("FAIL");
        report.line(format!("{word} Incomplete: it took more than {most} GiB of memory"));
        return Ok(Exit::Violated);
    }
    report.line(report.pass("PASS"));
    Ok(Exit::Passed)
}

/// A time, or a probe and how often it must have been seen.
fn until(text: &str) -> Result<Until, BadInput> {
    if let Some(us) = micros::parse(text) {
        return Ok(Until::At(SimTime(us)));
    }
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    let nth = nth.parse().ok().filter(|nth| *nth > 0);
    let nth =
        nth.ok_or_else(|| format!("--at {text}: behind the probe comes a number from 1 on"))?;
    match Probe::NAMES.iter().position(|known| *known == name) {
        Some(probe) => Ok(Until::Seen { probe, nth }),
        None => {
            let why = registry::unknown("probe", name, Probe::NAMES.iter().copied());
            Err(BadInput(format!("--at {text} is no time, such as 12.5s, and {why}")))
        }
    }
}
