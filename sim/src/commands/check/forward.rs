//! `seedbed check --from`: a run is stopped, and what may happen next is searched.

use std::sync::Arc;

use super::{broken, cores, incomplete, over, tell};
use crate::cli::{BadInput, CheckArgs, ChoiceArgs, Exit, FromArgs};
use crate::commands::output::Output;
use crate::commands::{exit_of, subject_of, verdict_words};
use crate::decider::until::world_at;
use crate::host::COMMAND;
use crate::model::Watch;
use crate::model::forward::{ANY, Bounds, Forward, Haste, Line};
use crate::model::search::{Order, search};
use crate::outcome::Verdict;
use crate::plan::then::{Then, Until};
use crate::plan::{Plan, Protocol, micros, toml};
use crate::report::Report;

/// Searches forward from where a run is then.
pub(super) fn check(from: &FromArgs, args: &CheckArgs, report: &Report) -> Result<Exit, BadInput> {
    let refused = |why: &str| Err(BadInput(format!("{}: {why}", from.from)));
    let (text, until) =
        (from.from.as_str(), Until::parse(&from.at).map_err(|why| format!("--at: {why}"))?);
    let mutants = args.mutants.clone();
    let choice =
        ChoiceArgs { profile: None, workload: None, protocol: Protocol::default(), mutants };
    let plan = subject_of(text, &choice, None)?.plan;
    if plan.then.is_some() {
        return refused("it has [then] already; allowed: a plan without");
    }
    let output = args.output.as_deref().map(Output::begin).transpose()?;
    let (world, at) = match world_at(&plan, until) {
        Ok(Some(found)) => found,
        Ok(None) => return refused(&format!("the run is over before it comes to {}", from.at)),
        Err(verdict @ Verdict::Panicked { .. }) if verdict.place() == "plan" => {
            return refused(&format!("it can not be run: {}", verdict.message()));
        }
        Err(verdict) => {
            report.line(format!("{} on the way there", verdict_words(&verdict, report)));
            return Ok(exit_of(&verdict));
        }
    };
    let bounds = Bounds::in_all(from.steps, from.timers.unwrap_or(ANY), from.mishaps);
    report.line(format!("from    {text} at {}: {bounds}", micros::format(at.0)));
    let model = |steps, watch| {
        Forward::new(world.clone(), at, Haste::None, Bounds { steps, ..bounds }, watch)
    };
    // Depth first, for whole worlds wait for their turn; with one step more each time, so that what
    // is found is found by a shortest way. The figures are those of the last time.
    let threads = args.threads.map_or_else(cores, usize::from);
    let round = |steps| {
        let watch = Arc::new(Watch::new(args.memory_max << 30));
        (search(model(steps, watch.clone()), Order::DepthFirst, threads), watch)
    };
    let (mut found, mut watch) = round(1);
    for more in 2..=bounds.steps {
        if found.broken.is_some() || watch.is_over() {
            break;
        }
        (found, watch) = round(more);
    }
    let found = found.told(|way| model(bounds.steps, watch.clone()).story(&way));
    tell(("states", "transitions"), &found, &watch, report);
    if let Some((story, violation)) = found.broken {
        let exit = broken(&violation, story.iter().map(|line| &line.words), report);
        if let Some(output) = output {
            write(plan, &from.at, story, output, report)?;
        }
        return Ok(exit);
    }
    if let Some(why) = over(&watch, args) {
        return Ok(incomplete(&why, report));
    }
    report.line(report.pass("PASS"));
    Ok(Exit::Passed)
}

/// Writes what was found as a plan.
pub(super) fn write(
    plan: Plan,
    from: &str,
    story: Vec<Line>,
    output: Output,
    report: &Report,
) -> Result<(), BadInput> {
    let steps: Vec<_> = story.into_iter().map(|line| line.name).collect();
    // Without a step the plan itself breaks.
    let then = (!steps.is_empty()).then(|| Then { from: from.to_owned(), steps });
    let file = output.finish(&toml::write(&Plan { then, ..plan }), report)?;
    report.line(format!("{COMMAND} replay {}", file.display()));
    Ok(())
}
