//! One file per command. A command takes its arguments, does its work through the library, and
//! says what happened through [`crate::report`].

pub mod check;
pub mod compare;
pub mod judge;
pub mod keep;
pub mod list;
mod output;
pub mod replay;
pub mod run;
pub mod shrink;
pub mod sweep;
pub mod twice;
#[cfg(not(madsim))]
pub mod verify;

use std::path::Path;

use crate::cli::{BadInput, ChoiceArgs, Exit, SubjectArgs};
use crate::generate::{Choice, generate};
use crate::host::COMMAND;
use crate::outcome::{Outcome, Verdict};
use crate::plan::toml::{self, Document};
use crate::plan::{Plan, Protocol};
use crate::registry;
use crate::report::{Report, grouped, simulated};
use crate::seed::Seed;

/// The command that runs this seed again.
#[must_use]
pub fn repeat_seed(seed: u64, choice: &Choice, only: Option<&str>) -> String {
    format!("{COMMAND} run {seed}{}", flags(choice, only))
}

fn flags(choice: &Choice, only: Option<&str>) -> String {
    let mut out = String::new();
    let pairs = [("--profile", &choice.profile), ("--workload", &choice.workload)];
    let pairs = pairs.into_iter().filter_map(|(flag, name)| Some((flag, name.as_deref()?)));
    let protocol = Some(choice.protocol).filter(|protocol| *protocol != Protocol::default());
    let pairs = pairs.chain(protocol.map(|protocol| ("--protocol", protocol.name())));
    let mutants = choice.mutants.iter().map(|id| ("--mutant", id.as_str()));
    let only = only.map(|code| ("--only", code));
    for (flag, value) in pairs.chain(mutants).chain(only) {
        out.extend([" ", flag, " ", value]);
    }
    out
}

/// Checks `--only`.
fn check_only(only: Option<&str>) -> Result<(), BadInput> {
    match only {
        None => Ok(()),
        Some(code) => Ok(registry::known("property", code, &registry::properties())?),
    }
}

fn exit_of(verdict: &Verdict) -> Exit {
    match verdict {
        Verdict::Passed => Exit::Passed,
        Verdict::Violated { .. } => Exit::Violated,
        Verdict::Panicked { .. } => Exit::Assertion,
    }
}

/// A verdict in one line.
fn verdict_words(verdict: &Verdict, report: &Report) -> String {
    match verdict {
        Verdict::Passed => report.pass("PASS"),
        verdict => {
            let property = verdict.property().unwrap_or_default();
            let word = report.fail("FAIL");
            format!("{word} {property} at {}: {}", verdict.place(), verdict.message())
        }
    }
}

/// Reads a file with a plan or a stored seed.
fn read_document(path: &Path) -> Result<Document, BadInput> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| BadInput(format!("can not read {name}: {error}")))?;
    Ok(toml::read(&name, &text)?)
}

/// What `shrink`, `keep` and `twice` work on.
struct Subject {
    plan: Plan,
    /// The seed, if it is one.
    seed: Option<u64>,
    /// The command that runs it.
    repeat: String,
}

/// A seed, or a file with a plan. What looks like a seed is one.
fn subject(args: &SubjectArgs) -> Result<Subject, BadInput> {
    check_only(args.only.as_deref())?;
    subject_of(&args.subject, &args.choice, args.only.as_deref())
}

fn subject_of(text: &str, choice: &ChoiceArgs, only: Option<&str>) -> Result<Subject, BadInput> {
    let choice = choice.choice()?;
    let path = Path::new(text);
    match text.parse::<Seed>() {
        Ok(Seed(seed)) => {
            let plan = generate(seed, &choice);
            Ok(Subject { plan, seed: Some(seed), repeat: repeat_seed(seed, &choice, only) })
        }
        Err(error) if !path.exists() => {
            Err(BadInput(format!("{error}, or a file with a plan (there is none of that name)")))
        }
        Err(_) => {
            let drawn = choice.profile.is_some() || choice.workload.is_some();
            if drawn || choice.protocol != Protocol::default() {
                let reason = "a plan has its faults, operations and protocol already";
                let flags = "--profile, --workload and --protocol";
                return Err(BadInput(format!("{flags} need a seed: {reason}")));
            }
            let (mut plan, seed) = match read_document(path)? {
                Document::Plan(plan) => (plan, None),
                Document::Stored(stored) => {
                    let mut plan = stored.plan;
                    plan.mutants.extend(stored.found.mutant);
                    (plan, stored.found.seed)
                }
            };
            add_mutants(&mut plan, &choice.mutants);
            let repeat = format!("{COMMAND} replay {text}{}", flags(&choice, only));
            Ok(Subject { plan, seed, repeat })
        }
    }
}

fn add_mutants(plan: &mut Plan, mutants: &[String]) {
    for id in mutants {
        if !plan.mutants.contains(id) {
            plan.mutants.push(id.clone());
        }
    }
}

/// What a run amounted to, and for a failure the command that repeats it as the last line.
fn report_outcome(outcome: &Outcome, repeat: &str, report: &Report) {
    let Outcome { verdict, trace_hash, steps, sim_us, calls_ok, faults, .. } = outcome;
    let (planned, begun, effective) = faults.values().fold((0, 0, 0), |sum, count| {
        (sum.0 + count.planned, sum.1 + count.begun, sum.2 + count.effective)
    });
    report.line(format!(
        "ran     {} steps, {} simulated, {} calls ok, trace {trace_hash:032x}",
        grouped(*steps),
        simulated(*sim_us),
        grouped(*calls_ok),
    ));
    report.line(format!("faults  {planned} planned, {begun} begun, {effective} with effect"));
    match verdict {
        Verdict::Passed => report.line(report.pass("PASS")),
        Verdict::Violated { property, place, message } => {
            report.line(format!("{} {property} at {place}: {message}", report.fail("FAIL")));
            report.line(repeat);
        }
        Verdict::Panicked { place, message } => {
            let word = report.fail("FAIL");
            let what = match place.as_str() {
                "plan" => "plan that can not be run",
                place if place.starts_with("broker-core/") => "assertion in the core",
                place if place.starts_with("broker/") => "panic in the process",
                _ => "panic in the simulator",
            };
            report.line(format!("{word} {what} at {place}: {message}"));
            report.line(repeat);
        }
    }
}

/// What is in a plan, in a few lines.
fn report_plan(plan: &Plan, report: &Report) {
    let topology = plan.topology;
    report.line(format!(
        "plan    profile {}, workload {}, background {}, safety phase {}",
        plan.profile,
        plan.workload,
        toml::format_seed(plan.background),
        simulated(plan.safety_us),
    ));
    report.line(format!(
        "nodes   {} controllers, {} brokers, {} clients in {} zones",
        topology.controllers, topology.brokers, topology.clients, topology.zones,
    ));
    if !plan.mutants.is_empty() {
        report.line(format!("mutants {}", plan.mutants.join(", ")));
    }
    let mut kinds = std::collections::BTreeMap::<_, u64>::new();
    for fault in &plan.faults {
        *kinds.entry(fault.what.name()).or_default() += 1;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    report.line(format!("drawn   {} operations; faults: {}", plan.ops.len(), kinds.join(", ")));
}
