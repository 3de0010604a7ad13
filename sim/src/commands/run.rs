//! `seedbed run SEED`: what the seed drew, how the run ended, how to repeat it.

use std::path::Path;

use broker::recording::{Ended, Recorder};
use invariants::history::HistoryEvent;

use super::output::Output;
use super::{check_only, exit_of, repeat_seed, report_outcome, report_plan};
use crate::cli::{BadInput, Exit, RunArgs};
use crate::decider::RunOptions;
use crate::generate::generate;
use crate::host;
use crate::outcome::Outcome;
use crate::plan::{Plan, micros};
use crate::recording;
use crate::report::{Report, grouped};
use crate::trace::TraceLine;

/// Runs one seed.
///
/// # Errors
/// If an argument is bad.
pub fn run(args: &RunArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let choice = args.choice.choice()?;
    check_only(args.only.as_deref())?;
    let plan = generate(args.seed.0, &choice);
    let recorder = args.record.as_deref().map(|file| Recorder::create(file, args.record_bytes_max));
    let recorder = recorder.transpose()?;
    let output = args.history.as_deref().map(Output::begin).transpose()?;
    report.line(format!("seed    {}", args.seed.0));
    if host::IS_MADSIM {
        report.line("host    whole processes under madsim");
    }
    report_plan(&plan, report);
    let mut history = output.is_some().then(Vec::new);
    let wanted = (history.as_mut(), recorder.clone());
    let outcome = execute(&plan, args.only.as_deref(), args.trace, wanted, report);
    if let Some((output, events)) = output.zip(history) {
        let note = repeat_seed(args.seed.0, &choice, None);
        output.finish(&recording::lines(&plan, &note, &events), report)?;
    }
    let repeat = repeat_seed(args.seed.0, &choice, args.only.as_deref());
    if let Some((file, recorder)) = args.record.as_deref().zip(recorder) {
        report_recording(file, &recorder, report)?;
    }
    report_outcome(&outcome, &repeat, report);
    Ok(exit_of(&outcome.verdict))
}

fn report_recording(file: &Path, recorder: &Recorder, report: &Report) -> Result<(), BadInput> {
    let (bytes, ended) = recorder.progress();
    let full = match ended {
        Some(Ended::Failed(why)) => {
            return Err(BadInput(format!("can not record to {}: {why}", file.display())));
        }
        Some(Ended::Full) => ", full: the end of the run is not in it",
        None => "",
    };
    report.line(format!("record  {}, {} bytes{full}", file.display(), grouped(bytes)));
    Ok(())
}

/// Runs a plan, with one line per event if wanted.
pub(super) fn execute_traced(
    plan: &Plan,
    only: Option<&str>,
    trace: bool,
    report: &Report,
) -> Outcome {
    execute(plan, only, trace, (None, None), report)
}

fn execute(
    plan: &Plan,
    only: Option<&str>,
    trace: bool,
    (history, recorder): (Option<&mut Vec<HistoryEvent>>, Option<Recorder>),
    report: &Report,
) -> Outcome {
    let mut print = |line: &TraceLine| report.text(&format_event(line));
    let trace = trace.then_some(&mut print as &mut dyn FnMut(&TraceLine));
    host::run(plan, RunOptions { only, trace, history, recorder, ..RunOptions::default() })
}

fn format_event(line: &TraceLine) -> String {
    let from = line.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    let mut out = format!(
        "{:>7} {:>11} {:<12} {}{from} {}\n",
        line.seq,
        micros::format(line.at.0),
        line.node,
        line.kind,
        line.what,
    );
    for effect in &line.effects {
        out.push_str(&format!("{:>32} {} {}\n", "->", effect.kind, effect.what));
    }
    out
}
