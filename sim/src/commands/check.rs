//! `seedbed check`: bounded models are searched exhaustively. A search that finds other states than
//! the ledger says has failed, and so has one that takes more memory than it may, or reaches less
//! than it must.

mod calibrate;
mod forward;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use broker_core::mutants::{self, Mutants};
use invariants::Violation;
use stateright::Model;

use crate::cli::{BadInput, CheckArgs, Exit};
use crate::commands::output::Output;
use crate::commands::{exit_of, verdict_words};
use crate::model::Watch;
use crate::model::configurations::{self, ALL, Configuration, LedgerRow, Subject, Variant};
use crate::model::forward::Line;
use crate::model::search::{Found, Order};
use crate::outcome::{PANIC, Verdict};
use crate::plan::Protocol;
use crate::registry;
use crate::report::{Report, grouped};

/// Searches.
///
/// # Errors
/// If an argument is bad.
pub fn check(args: &CheckArgs, report: &mut Report) -> Result<Exit, BadInput> {
    if let Some(from) = &args.from {
        return forward::check(from, args, report);
    }
    let variant = Variant { mutants: planted(&args.mutants)?, protocol: args.protocol };
    let chosen = chosen(args)?;
    if args.calibrate {
        return calibrate::check(&chosen, args, report);
    }
    let speaks = |one: &Configuration| match &one.subject {
        Subject::World(scenario) => scenario.has_transactions(),
        Subject::Quorum(_) | Subject::Walks(..) => false,
    };
    if let (Protocol::Tv1, Some(one)) = (args.protocol, chosen.iter().find(|one| !speaks(one))) {
        let allowed: Vec<_> = ALL.iter().filter(|one| speaks(one)).map(|one| one.name).collect();
        let (name, allowed) = (one.name, allowed.join(", "));
        return Err(format!("--protocol: {name} has no transactions; allowed: {allowed}").into());
    }
    if let Some(address) = args.explore {
        return explore(&chosen, address, variant, args, report);
    }
    let ledger = configurations::ledger();
    let no_plan = chosen.iter().find(|one| !matches!(one.subject, Subject::World(_)));
    if let (Some(one), Some(_)) = (no_plan, &args.output) {
        let worlds = ALL.iter().filter(|one| matches!(one.subject, Subject::World(_)));
        let allowed: Vec<_> = worlds.map(|one| one.name).collect();
        let (name, allowed) = (one.name, allowed.join(", "));
        return Err(format!("-o: what {name} finds is no plan; allowed: {allowed}").into());
    }
    let mut output = args.output.as_deref().map(Output::begin).transpose()?;
    let mut exit = Exit::Passed;
    for one in &chosen {
        let judged = run(one, args, variant, &ledger, &mut output, report)?;
        exit = if exit == Exit::Passed { judged } else { exit };
        // With a planted bug the first counterexample is the answer.
        if exit != Exit::Passed && variant != Variant::RIGHT {
            break;
        }
    }
    if exit == Exit::Passed {
        report.line(report.pass("PASS"));
    }
    Ok(exit)
}

/// Serves stateright's explorer until the process ends.
fn explore(
    chosen: &[&Configuration],
    address: SocketAddr,
    variant: Variant,
    args: &CheckArgs,
    report: &mut Report,
) -> Result<Exit, BadInput> {
    let [one] = chosen else {
        let names: Vec<_> = chosen.iter().map(|it| it.name).collect();
        return Err(format!("--explore is for one of {}", names.join(", ")).into());
    };
    // The explorer panics if it can not have its address.
    let free = TcpListener::bind(address).map_err(|why| format!("--explore: {address}: {why}"))?;
    drop(free);
    let watch = Arc::new(Watch::new(args.memory_max << 30));
    let open = || format!("open    http://{address}");
    match &one.subject {
        Subject::Quorum(bounds) => {
            report.line(open());
            configurations::quorum_model(*bounds, variant.mutants, watch).checker().serve(address);
        }
        Subject::Walks(..) => {
            return Err(format!("--explore: {} walks, it does not search", one.name).into());
        }
        Subject::World(scenario) => match scenario.model(variant, watch) {
            Ok(model) => {
                report.line(open());
                model.checker().serve(address);
            }
            Err(verdict) => return Ok(on_the_way(&verdict, report)),
        },
    }
    Ok(Exit::Passed)
}

fn planted(ids: &[String]) -> Result<Mutants, BadInput> {
    let mut planted = Mutants::NONE;
    for id in ids {
        let row = mutants::by_id(id).ok_or_else(|| {
            let known = mutants::REGISTRY.iter().map(|row| row.id);
            registry::unknown("mutant of the core", id, known)
        })?;
        planted = planted.with(row.mutant);
    }
    Ok(planted)
}

fn chosen(args: &CheckArgs) -> Result<Vec<&'static Configuration>, BadInput> {
    let named = |name: &String| {
        configurations::by_name(name).ok_or_else(|| {
            let known = ALL.iter().map(|it| it.name);
            BadInput(registry::unknown("configuration", name, known))
        })
    };
    if args.names.is_empty() {
        return Ok(ALL.iter().filter(|it| args.calibrate || it.tier == args.tier).collect());
    }
    args.names.iter().map(named).collect()
}

fn run(
    one: &Configuration,
    args: &CheckArgs,
    variant: Variant,
    ledger: &[LedgerRow],
    output: &mut Option<Output>,
    report: &Report,
) -> Result<Exit, BadInput> {
    report.line(format!("model   {}: {}", one.name, one.bounds()));
    let watch = Arc::new(Watch::new(args.memory_max << 30));
    // A counterexample shall be a shortest one; if there is none, the order does not matter, and
    // depth first needs little memory.
    let (order, threads) = match variant == Variant::RIGHT {
        true => (Order::DepthFirst, args.threads.map_or_else(cores, usize::from)),
        false => (Order::BreadthFirst, 1),
    };
    let found = match one.search(variant, &watch, (order, threads)) {
        Ok(found) => found,
        Err(verdict) => {
            write(one, variant, Vec::new(), output, report)?;
            return Ok(on_the_way(&verdict, report));
        }
    };
    tell(counted(&one.subject), &found, &watch, report);
    if let Some((story, violation)) = found.broken {
        let exit = broken(&violation, story.iter().map(|line| &line.words), report);
        if !write(one, variant, story, output, report)? {
            report.line(repeat(one, args));
        }
        return Ok(exit);
    }
    let short = match over(&watch, args) {
        None if variant == Variant::RIGHT => differs(one, &found, ledger),
        short => short,
    };
    let short = short.or_else(|| unreached(one, &watch.reached()));
    let Some(why) = short else { return Ok(Exit::Passed) };
    let exit = incomplete(&why, report);
    report.line(repeat(one, args));
    Ok(exit)
}

/// Writes what breaks a world as a plan, if that is wished for.
fn write(
    one: &Configuration,
    variant: Variant,
    story: Vec<Line>,
    output: &mut Option<Output>,
    report: &Report,
) -> Result<bool, BadInput> {
    let Subject::World(scenario) = &one.subject else { return Ok(false) };
    let Some(output) = output.take() else { return Ok(false) };
    forward::write(scenario.plan(variant), scenario.from, story, output, report)?;
    Ok(true)
}

/// Tells what broke before the search.
fn on_the_way(verdict: &Verdict, report: &Report) -> Exit {
    report.line(format!("{} on the way there", verdict_words(verdict, report)));
    exit_of(verdict)
}

/// Tells a counterexample.
fn broken<S: Display>(
    violation: &Violation,
    steps: impl IntoIterator<Item = S>,
    report: &Report,
) -> Exit {
    report.line(format!("{} {violation}", report.fail("FAIL")));
    for (number, step) in (1..).zip(steps) {
        report.line(format!("{number:>5}   {step}"));
    }
    if violation.property == PANIC { Exit::Assertion } else { Exit::Violated }
}

/// Why a search was ended early, if it was.
fn over(watch: &Watch, args: &CheckArgs) -> Option<String> {
    watch.is_over().then(|| format!("it took more than {} GiB of memory", args.memory_max))
}

/// Tells that a search shows nothing.
fn incomplete(why: &str, report: &Report) -> Exit {
    report.line(format!("{} Incomplete: {why}", report.fail("FAIL")));
    Exit::Violated
}

/// How what was found differs from what the ledger says.
fn differs<A>(one: &Configuration, found: &Found<A>, ledger: &[LedgerRow]) -> Option<String> {
    let (unique, generated) = (found.unique, found.generated);
    let bounds = one.bounds();
    let new = LedgerRow { name: one.name.to_owned(), bounds, unique, generated };
    let known = ledger.iter().find(|row| row.name == one.name);
    (known != Some(&new)).then(|| {
        let LedgerRow { name, bounds, .. } = &new;
        format!(
            "sim/src/model/ledger.toml says otherwise. If the change is meant, write there:\n\
             [[configuration]]\nname = \"{name}\"\nbounds = \"{bounds}\"\nunique = {unique}\n\
             generated = {generated}"
        )
    })
}

/// What it was to reach and did not.
fn unreached(one: &Configuration, reached: &BTreeMap<&'static str, u64>) -> Option<String> {
    let mut missing = one.reaches();
    missing.retain(|what| !reached.contains_key(what));
    (!missing.is_empty()).then(|| format!("never reached: {}", missing.join(", ")))
}

/// As many threads as there are cores.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What a search counts: itself, and what leads to it.
fn counted(subject: &Subject) -> (&'static str, &'static str) {
    match subject {
        Subject::Quorum(_) | Subject::World(_) => ("states", "transitions"),
        Subject::Walks(..) => ("walks", "steps"),
    }
}

fn tell<A>((what, steps): (&str, &str), found: &Found<A>, watch: &Watch, report: &Report) {
    let ms = u64::try_from(found.took.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = |count: usize| grouped(count as u64 * 1_000 / ms);
    report.line(format!(
        "{what:7} {}, {} {steps}, {}.{} s, {} {what}/s, {} {steps}/s, {} MiB",
        grouped(found.unique as u64),
        grouped(found.generated as u64),
        ms / 1_000,
        ms % 1_000 / 100,
        rate(found.unique),
        rate(found.generated),
        watch.memory() >> 20,
    ));
    let reached = watch.reached();
    let of = |evaluated: bool| {
        let some = reached.iter().filter(|(name, _)| name.starts_with("evaluated:") == evaluated);
        let some = some.map(|(name, times)| {
            format!("{} {}", name.trim_start_matches("evaluated:"), grouped(*times))
        });
        some.collect::<Vec<_>>().join(", ")
    };
    report.line(format!("judged  {}", of(true)));
    report.line(format!("reached {}", of(false)));
}

fn repeat(one: &Configuration, args: &CheckArgs) -> String {
    let mutants: String = args.mutants.iter().map(|id| format!(" --mutant {id}")).collect();
    let first = if args.protocol == Protocol::Tv1 { " --protocol tv1" } else { "" };
    format!("cargo seedbed check {}{mutants}{first}", one.name)
}
