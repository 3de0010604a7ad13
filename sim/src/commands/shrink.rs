//! `seedbed shrink`: a failing seed or plan becomes a handful of readable events.

use super::output::Output;
use super::{Subject, subject};
use crate::cli::{BadInput, Exit, ShrinkArgs};
use crate::decider::RunOptions;
use crate::host::{self, COMMAND};
use crate::interrupt::Interrupt;
use crate::outcome::Verdict;
use crate::plan::toml;
use crate::plan::{Plan, When};
use crate::report::{Report, grouped};
use crate::shrink::{self, Judgement, Progress, Runner, Shrunk, Unshrinkable};
use crate::trace::TraceLine;

/// Shrinks a failing run.
///
/// # Errors
/// If an argument is bad, or nothing fails.
pub fn shrink(args: &ShrinkArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let subject = subject(&args.subject)?;
    let output = args.output.as_deref().map(Output::begin).transpose()?;
    let only = args.subject.only.as_deref();
    let Some((shrunk, verdict)) = shrink_subject(&subject, only, args.executions, report)? else {
        return Ok(Exit::NotDeterministic);
    };
    report_shrunk(&shrunk, &verdict, report);
    let text = toml::write(&shrunk.plan);
    let Some(output) = output else {
        report.text(&text);
        return Ok(Exit::Passed);
    };
    let file = output.finish(&text, report)?;
    let only = only.map(|code| format!(" --only {code}")).unwrap_or_default();
    report.line(format!("{COMMAND} replay {}{only}", file.display()));
    Ok(Exit::Passed)
}

/// Shrinks; `None` if two runs of one plan differed, which has been told then.
pub(super) fn shrink_subject(
    subject: &Subject,
    only: Option<&str>,
    executions: u64,
    report: &mut Report,
) -> Result<Option<(Shrunk, Verdict)>, BadInput> {
    report.begin_progress(Some(executions));
    let stop = Interrupt::listen();
    let mut worlds = Worlds { only, stop, report };
    let result = shrink::shrink(subject.plan.clone(), executions, &mut worlds);
    report.end_progress();
    match result {
        Ok(shrunk) => {
            let options = RunOptions { only, ..RunOptions::default() };
            let verdict = host::run(&shrunk.plan, options).verdict;
            Ok(Some((shrunk, verdict)))
        }
        Err(Unshrinkable::Passes) => Err(BadInput(format!(
            "nothing to shrink: the run passes ({}); allowed: what fails",
            subject.repeat
        ))),
        Err(Unshrinkable::Unsteady) => {
            report.line(format!("{} two runs of one plan differ", report.fail("FAIL")));
            report.line(subject.repeat.replacen(" run ", " twice ", 1));
            Ok(None)
        }
    }
}

/// Runs plans for the shrinker.
struct Worlds<'a> {
    only: Option<&'a str>,
    stop: Interrupt,
    report: &'a mut Report,
}

impl Runner for Worlds<'_> {
    fn judge(&mut self, plan: &Plan) -> Judgement {
        let outcome = host::run(plan, RunOptions { only: self.only, ..RunOptions::default() });
        Judgement {
            property: outcome.verdict.property().map(|property| match &outcome.verdict {
                // Another assertion is another bug.
                Verdict::Panicked { place, .. } => format!("{property} at {place}"),
                _ => property.to_owned(),
            }),
            sim_us: outcome.sim_us,
            trace_hash: outcome.trace_hash,
        }
    }

    fn begun(&mut self, plan: &Plan, fault: usize) -> Option<(u64, String)> {
        let When::On { on } = &plan.faults[fault].when else { return None };
        let mut left = on.nth;
        let mut found = None;
        let mut count = |line: &TraceLine| {
            let here = on.node.as_ref().is_none_or(|node| *node == line.node);
            let probes = line.effects.iter().filter(|effect| effect.probe == Some(&on.probe));
            for _ in probes.take(if here { usize::MAX } else { 0 }) {
                left = left.saturating_sub(1);
                if left == 0 && found.is_none() {
                    found = Some((line.at.0 + on.after_us, line.node.clone()));
                }
            }
        };
        let trace = Some(&mut count as &mut dyn FnMut(&TraceLine));
        let _ = host::run(plan, RunOptions { only: self.only, trace, ..RunOptions::default() });
        found
    }

    fn go_on(&mut self, progress: Progress) -> bool {
        self.report.progress(progress.executions, || {
            let size = progress.size;
            let runs = grouped(progress.executions);
            format!("{runs} runs, {} faults and {} operations left", size.faults, size.ops)
        });
        !self.stop.asked()
    }
}

/// The small plan, readable.
pub(super) fn report_shrunk(shrunk: &Shrunk, verdict: &Verdict, report: &Report) {
    let (before, after) = (shrunk.before, shrink::Size::of(&shrunk.plan));
    let end = if shrunk.complete { "" } else { " (ended early: the best so far)" };
    report.line(format!(
        "shrunk  {} faults and {} operations to {} and {} in {} runs{end}",
        before.faults,
        before.ops,
        after.faults,
        after.ops,
        grouped(shrunk.executions),
    ));
    for fault in &shrunk.plan.faults {
        report.line(format!("  {}", toml::describe_fault(fault)));
    }
    for op in &shrunk.plan.ops {
        report.line(format!("  {}", toml::describe_op(op)));
    }
    let property = verdict.property().unwrap_or_default();
    report.line(format!("breaks  {property} at {}: {}", verdict.place(), verdict.message()));
}
