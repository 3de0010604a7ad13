//! `seedbed twice`: the same plan in two processes, and the first event that differs if one does.

use std::io::Read as _;

use super::{repeat_seed, subject_of};
use crate::cli::{BadInput, Exit, TwiceArgs, TwiceChildArgs};
use crate::generate::generate;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::plan::micros;
use crate::plan::toml::{self, Document};
use crate::report::{Report, grouped};
use crate::seed::SeedRange;
use crate::twice::{Comparison, Difference, Event, Window, account, compare};

/// Compares two runs of each plan.
///
/// # Errors
/// If an argument is bad or the processes can not be started.
pub fn twice(args: &TwiceArgs, report: &mut Report) -> Result<Exit, BadInput> {
    if !args.subject.contains("..") || std::path::Path::new(&args.subject).exists() {
        let subject = subject_of(&args.subject, &args.choice, None)?;
        let repeat = subject.repeat.replacen(" run ", " twice ", 1);
        let repeat = repeat.replacen(" replay ", " twice ", 1);
        return one(&subject.plan, &repeat, report);
    }
    let choice = args.choice.choice()?;
    let SeedRange::Range(from, to) = args.subject.parse()? else { unreachable!("it has ..") };
    let stop = Interrupt::listen();
    report.begin_progress(Some(to - from));
    for seed in from..to {
        report.progress(seed - from, || format!("{} of {} seeds", seed - from, to - from));
        if stop.asked() {
            report.end_progress();
            report.line(format!("{} seeds equal, then interrupted", seed - from));
            return Ok(Exit::Passed);
        }
        let plan = generate(seed, &choice);
        if let Comparison::Different(difference) = compare(&plan)? {
            report.end_progress();
            report.line(format!("seed    {seed}"));
            let repeat = repeat_seed(seed, &choice, None).replacen(" run ", " twice ", 1);
            return Ok(report_difference(&difference, &repeat, report));
        }
    }
    report.end_progress();
    let word = report.pass("PASS");
    report.line(format!("{word} {} seeds, each equal in two processes", grouped(to - from)));
    Ok(Exit::Passed)
}

fn one(plan: &Plan, repeat: &str, report: &Report) -> Result<Exit, BadInput> {
    match compare(plan)? {
        Comparison::Equal(account) => {
            let (word, steps) = (report.pass("PASS"), grouped(account.steps));
            report.line(format!(
                "{word} {steps} steps equal in two processes, trace {}",
                account.hash
            ));
            Ok(Exit::Passed)
        }
        Comparison::Different(difference) => Ok(report_difference(&difference, repeat, report)),
    }
}

fn report_difference(difference: &Difference, repeat: &str, report: &Report) -> Exit {
    let [left, right] = &difference.hashes;
    report.line(format!("{} not deterministic: {left} and {right}", report.fail("FAIL")));
    match &difference.events {
        [None, None] => report.line("the difference did not come again with the trace on"),
        [left, right] => {
            report.line("first event that differs:");
            report.line(format!("  in one    {}", event_words(left.as_ref())));
            report.line(format!("  in other  {}", event_words(right.as_ref())));
        }
    }
    report.line(repeat);
    Exit::NotDeterministic
}

fn event_words(event: Option<&Event>) -> String {
    let Some(event) = event else { return "(the run is over)".to_owned() };
    let Event { step, at_us, node, what, stream, .. } = event;
    format!("step {step} at {} on {node}, stream {stream}: {what}", micros::format(*at_us))
}

/// One of the two processes.
///
/// # Errors
/// If standard input holds no plan.
pub fn child(args: &TwiceChildArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let Document::Plan(plan) = toml::read("standard input", &text)? else {
        return Err(BadInput("standard input holds a stored seed; allowed: a plan".to_owned()));
    };
    let window = args.trace_from.zip(args.trace_to).map(|(from, to)| Window { from, to });
    let account = account(&plan, args.noise, window);
    report.line(serde_json::to_string(&account).expect("an account is plain data"));
    Ok(Exit::Passed)
}
