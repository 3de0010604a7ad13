//! `seedbed replay`: a plan is run; a stored seed must prove that it still bites: with its mutant
//! on, the exact plan or one of its reseeds breaks the property it was stored for (under madsim, if
//! the seed does not say why it is not seen there); with the mutant off, all of them pass; a flight
//! recording must lead to the same steps again.

mod recording;

use std::path::{Path, PathBuf};

use super::run::execute_traced;
use super::{
    add_mutants, check_only, exit_of, read_document, report_outcome, report_plan, verdict_words,
};
use crate::cli::{BadInput, Exit, ReplayArgs};
use crate::decider::RunOptions;
use crate::host::{self, COMMAND};
use crate::outcome::{PANIC, Verdict};
use crate::plan::Plan;
use crate::plan::check::check_mutant;
use crate::plan::stored::{RESEEDS, StoredSeed};
use crate::plan::toml::Document;
use crate::report::Report;

/// Replays files and folders.
///
/// # Errors
/// If an argument or a file is bad; then nothing ran.
pub fn replay(args: &ReplayArgs, report: &mut Report) -> Result<Exit, BadInput> {
    check_only(args.only.as_deref())?;
    args.mutants.iter().try_for_each(|id| check_mutant(id))?;
    let mut files = Vec::new();
    for path in &args.paths {
        collect(path, &mut files)?;
    }
    // All are read before the first one runs: a bad one is bad input, not half a result.
    let documents: Vec<_> = files
        .iter()
        .map(|file| Ok((file.as_path(), read(file, args)?)))
        .collect::<Result<_, BadInput>>()?;
    let alone = documents.len() == 1;
    let mut exit = Exit::Passed;
    let mut failed = Vec::new();
    for (file, document) in documents {
        let one = match document {
            Some(Document::Plan(plan)) => replay_plan(file, plan, alone, args, report),
            Some(Document::Stored(stored)) => replay_stored(file, &stored, args, report)?,
            None => recording::replay(file, args, &repeat(file, args), report)?,
        };
        if one != Exit::Passed {
            failed.push(file);
            exit = if alone { one } else { Exit::Violated };
        }
    }
    if !alone {
        report.line(format!("{} files, {} failed", files.len(), failed.len()));
        if let Some(first) = failed.first() {
            report.line(repeat(first, args));
        }
    }
    Ok(exit)
}

/// A plan or a stored seed; none if it is a recording, which is too large to be read in advance.
fn read(file: &Path, args: &ReplayArgs) -> Result<Option<Document>, BadInput> {
    // What is no file may have no end.
    if file.metadata().is_ok_and(|meta| !meta.is_file()) {
        return Err(BadInput(format!("{} is neither a file nor a folder", file.display())));
    }
    if recording::is_recording(file) {
        return recording::check(file, args).map(|()| None);
    }
    let read = read_document(file).map(Some);
    if file.extension().is_some_and(|kind| kind == "toml") {
        return read;
    }
    read.map_err(|BadInput(why)| BadInput(format!("{why}; nor is it a flight recording")))
}

/// Every TOML file of a folder and its folders, sorted, so that the order is the same everywhere.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), BadInput> {
    let complain =
        |error: std::io::Error| BadInput(format!("can not read {}: {error}", path.display()));
    let meta = std::fs::metadata(path).map_err(complain)?;
    if !meta.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let before = files.len();
    collect_below(path, files)?;
    if files.len() == before {
        return Err(BadInput(format!("there is no plan (*.toml) in {}", path.display())));
    }
    Ok(())
}

/// As [`collect`] for a folder, which may be empty. Links to folders are not followed: they may
/// lead in circles.
fn collect_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BadInput> {
    let complain =
        |error: std::io::Error| BadInput(format!("can not read {}: {error}", folder.display()));
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).map_err(complain)?.collect::<Result<_, _>>().map_err(complain)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(complain)?.is_dir() {
            collect_below(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "toml") && !path.is_dir() {
            // One that can not be read says so when it is.
            files.push(path);
        }
    }
    Ok(())
}

fn repeat(file: &Path, args: &ReplayArgs) -> String {
    let mut out = format!("{COMMAND} replay {}", file.display());
    for id in &args.mutants {
        out.extend([" --mutant ", id]);
    }
    if let Some(code) = &args.only {
        out.extend([" --only ", code]);
    }
    out
}

fn replay_plan(
    file: &Path,
    mut plan: Plan,
    alone: bool,
    args: &ReplayArgs,
    report: &Report,
) -> Exit {
    add_mutants(&mut plan, &args.mutants);
    if alone {
        report.line(format!("file    {}", file.display()));
        report_plan(&plan, report);
    }
    let outcome = execute_traced(&plan, args.only.as_deref(), args.trace, report);
    if let Some(then) = &plan.then {
        let taken = outcome.then_taken;
        report.line(format!("then    {taken} of {} steps taken", then.steps.len()));
    }
    if alone {
        report_outcome(&outcome, &repeat(file, args), report);
    } else {
        report.line(format!("{} {}", file.display(), verdict_words(&outcome.verdict, report)));
    }
    exit_of(&outcome.verdict)
}

fn replay_stored(
    file: &Path,
    stored: &StoredSeed,
    args: &ReplayArgs,
    report: &Report,
) -> Result<Exit, BadInput> {
    if !args.mutants.is_empty() {
        let name = file.display();
        return Err(BadInput(format!("--mutant is for plans; the stored seed {name} has its own")));
    }
    match prove(stored, args.only.as_deref(), report) {
        Ok(words) => {
            report.line(format!("{} {} {words}", file.display(), report.pass("PASS")));
            Ok(Exit::Passed)
        }
        Err((exit, sentence)) => {
            report.line(format!("{} {} {sentence}", file.display(), report.fail("FAIL")));
            report.line(repeat(file, args));
            Ok(exit)
        }
    }
}

/// Whether a stored seed does what it is stored for: with its mutant on, its property breaks; with
/// it off, everything holds.
pub(super) fn prove(
    stored: &StoredSeed,
    only: Option<&str>,
    report: &Report,
) -> Result<String, (Exit, String)> {
    let run = |plan: &Plan, only| host::run(plan, RunOptions { only, ..RunOptions::default() });
    let found = &stored.found;
    let mut bite = "no mutant to prove that it bites".to_owned();
    if let Some(mutant) = &found.mutant {
        // The property alone, for another one may strike first; and with all others, for a run
        // may end sooner when less is owed.
        let alone = Some(found.property.as_str()).filter(|property| *property != PANIC);
        let breaks =
            |plan: &Plan, only| run(plan, only).verdict.property() == Some(found.property.as_str());
        let nth = stored.plans(true).position(|plan| breaks(&plan, alone) || breaks(&plan, only));
        bite = match nth {
            Some(0) => format!("{} with {mutant}", found.property),
            Some(nth) => format!("{} with {mutant} at reseed {nth}", found.property),
            // Steps of a search are a world's.
            None if host::IS_MADSIM
                && (found.unseen_by_madsim.is_some() || stored.plan.then.is_some()) =>
            {
                format!("{} not seen with {mutant}, as it says", found.property)
            }
            None => {
                let property = &found.property;
                let sentence = format!(
                    "decayed: with {mutant} on, {property} breaks neither in the plan nor in \
                     {RESEEDS} reseeds"
                );
                return Err((Exit::Violated, sentence));
            }
        };
    }
    for (nth, plan) in stored.plans(false).enumerate() {
        let outcome = run(&plan, only);
        if outcome.verdict != Verdict::Passed {
            let which = if nth == 0 { "the plan".to_owned() } else { format!("reseed {nth}") };
            let words = verdict_words(&outcome.verdict, report);
            let sentence = format!("without its mutant, {which} must pass: {words}");
            return Err((exit_of(&outcome.verdict), sentence));
        }
    }
    Ok(format!("{bite}, {} pass without", RESEEDS + 1))
}
