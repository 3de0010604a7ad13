//! `seedbed replay FILE` of a flight recording: fresh machines must do what the recorded ones did.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use broker::recording::{Difference, End, Fed, MAGIC, short};
use broker_core::step::{Effect, Input};

use crate::cli::{BadInput, Exit, ReplayArgs};
use crate::flight::{self, Panicked, Replayed, Verdict};
use crate::report::{Report, grouped};

/// Of an input or effect, so much is printed.
const WORDS_BYTES_MAX: usize = 400;

/// Of a step that differs, so many effects are printed.
const EFFECTS_MAX: usize = 20;

/// Whether a file is a recording, of whatever version; false if it can not be read.
pub(super) fn is_recording(path: &Path) -> bool {
    let mut start = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.is_ok() && broker::recording::is_recording(&start)
}

/// Refuses what is for plans.
pub(super) fn check(path: &Path, args: &ReplayArgs) -> Result<(), BadInput> {
    let name = path.display();
    if !args.mutants.is_empty() {
        return Err(BadInput(format!("--mutant is for plans; the recording {name} has its own")));
    }
    if args.only.is_some() {
        return Err(BadInput(format!("--only is for plans; in {name} every step is compared")));
    }
    Ok(())
}

/// Replays one.
pub(super) fn replay(
    path: &Path,
    args: &ReplayArgs,
    repeat: &str,
    report: &Report,
) -> Result<Exit, BadInput> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("can not read {name}: {error}"))?;
    let mut print =
        |frame: u64, fed: &Fed, effects: &[Effect]| report.text(&format_step(frame, fed, effects));
    let each = args.trace.then_some(&mut print as &mut flight::Each<'_>);
    let replayed = flight::replay(BufReader::with_capacity(1 << 18, file), each);
    let replayed = replayed.map_err(|bad| format!("can not replay {name}: {bad}"))?;
    if replayed.steps == 0 && matches!(replayed.verdict, Verdict::Equal) {
        return Err(BadInput(format!("{name} holds no step: there is nothing to replay")));
    }
    report.line(format!("recording {name}"));
    tell_file(&replayed, report);
    let (steps, nodes) = (grouped(replayed.steps), replayed.nodes);
    Ok(match replayed.verdict {
        Verdict::Equal => {
            report.line(format!("replayed {steps} steps of {nodes} nodes, all equal"));
            report.line(report.pass("PASS"));
            Exit::Passed
        }
        Verdict::Differs(difference, panicked) => {
            report.line(format!("replayed {steps} steps of {nodes} nodes, the last one differs"));
            tell_difference(&difference, panicked, report);
            report.line(repeat);
            Exit::NotDeterministic
        }
        Verdict::Panicked(panicked) => {
            report.line(format!("replayed {steps} steps of {nodes} nodes"));
            tell_panic(&panicked, report);
            report.line(repeat);
            Exit::Assertion
        }
    })
}

fn tell_file(replayed: &Replayed, report: &Report) {
    let Replayed { frames, bytes, nodes, processes, end, unfinished, .. } = replayed;
    report.line(format!(
        "read    {} frames, {} bytes: {nodes} nodes, {processes} processes",
        grouped(*frames),
        grouped(*bytes),
    ));
    match end {
        Some(End::Torn { offset, bytes }) => report.line(format!(
            "torn    the frame at byte {offset} ends after {bytes} bytes: its process was killed"
        )),
        Some(End::Full) => report.line("full    the file ends before its processes did"),
        Some(End::Whole) | None => {}
    }
    for (node, frame) in unfinished {
        report.line(format!("open    node {node}: its step at frame {frame} has no hash"));
    }
}

fn tell_difference(difference: &Difference, panicked: Option<Panicked>, report: &Report) {
    let Difference { frame, node, incarnation, input, expected, found } = difference;
    let word = report.fail("FAIL");
    let step = format!("frame {frame}: node {node}, process {incarnation}");
    let now = match (found, &panicked) {
        (Some(effects), _) => {
            let found = broker::recording::hash_of(effects);
            format!("the effects have the hash {found:016x}")
        }
        (None, Some(panicked)) => {
            format!("it panics at {}: {}", panicked.place, panicked.message)
        }
        (None, None) => "it does not end".to_owned(),
    };
    report.line(format!("{word} first difference at {step}: {now}, recorded is {expected:016x}"));
    report.line(format!("input   {}", words(input)));
    let effects = found.as_deref().unwrap_or_default();
    for effect in effects.iter().take(EFFECTS_MAX) {
        report.line(format!("now     {}", short(effect, WORDS_BYTES_MAX)));
    }
    if let Some(more) = effects.len().checked_sub(EFFECTS_MAX).filter(|more| *more > 0) {
        report.line(format!("now     and {more} more"));
    }
}

fn tell_panic(panicked: &Panicked, report: &Report) {
    let Panicked { frame, node, input, place, message } = panicked;
    let word = report.fail("FAIL");
    report.line(format!("{word} assertion in the core at {place}: {message}"));
    report.line(format!(
        "step    frame {frame}, node {node}; it did not end in the recording, either"
    ));
    report.line(format!("input   {}", words(input)));
}

fn words(input: &Input) -> String {
    short(input, WORDS_BYTES_MAX)
}

fn format_step(frame: u64, fed: &Fed, effects: &[Effect]) -> String {
    let Fed { node, cx, input } = fed;
    let mut out = format!("{frame:>8} {:>14} node {node:<5} {}\n", cx.mono.0, words(input));
    for effect in effects {
        out.push_str(&format!("{:>32} {}\n", "->", short(effect, WORDS_BYTES_MAX)));
    }
    out
}
