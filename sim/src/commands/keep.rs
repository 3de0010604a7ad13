//! `seedbed keep`: shrinks a failing run and stores it, with the story of how it was found.

use std::path::PathBuf;
use std::process::Command;

use super::output::Output;
use super::replay::prove;
use super::shrink::{report_shrunk, shrink_subject};
use super::subject;
use crate::cli::{BadInput, Exit, KeepArgs};
use crate::host::COMMAND;
use crate::plan::stored::{Found, StoredSeed};
use crate::plan::toml;
use crate::report::Report;

/// Stores a failing run.
///
/// # Errors
/// If an argument is bad, nothing fails, or the name is taken.
pub fn keep(args: &KeepArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let file = target(args)?;
    let subject = subject(&args.subject)?;
    if subject.plan.mutants.len() > 1 {
        let reason = "a stored seed is re-introduced by one";
        return Err(BadInput(format!("{} mutants are on: {reason}", subject.plan.mutants.len())));
    }
    if args.why.trim().is_empty() {
        return Err(BadInput("--why is empty; allowed: what goes wrong, for a reader".to_owned()));
    }
    let output = Output::begin_new(&file)?;
    let only = args.subject.only.as_deref();
    let Some((shrunk, verdict)) = shrink_subject(&subject, only, args.executions, report)? else {
        return Ok(Exit::NotDeterministic);
    };
    report_shrunk(&shrunk, &verdict, report);
    let mut plan = shrunk.plan;
    let mutant = plan.mutants.pop();
    let found = Found {
        property: verdict.property().unwrap_or_default().to_owned(),
        place: verdict.place().to_owned(),
        by: args.by.clone(),
        commit: commit(),
        seed: subject.seed,
        why: args.why.clone(),
        mutant,
        unseen_by_madsim: None,
    };
    let stored = StoredSeed { plan, found };
    if stored.found.mutant.is_some()
        && let Err((exit, sentence)) = prove(&stored, None, report)
    {
        report.line(format!("{} not stored: {sentence}", report.fail("FAIL")));
        return Ok(exit);
    }
    let file = output.finish(&toml::write_stored(&stored), report)?;
    report.line(format!("{COMMAND} replay {}", file.display()));
    Ok(Exit::Passed)
}

/// The file to write; it must not be there yet.
fn target(args: &KeepArgs) -> Result<PathBuf, BadInput> {
    let slug = &args.slug;
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !slug.split('-').all(word) {
        let allowed = "lower-case words and numbers joined by -";
        return Err(BadInput(format!("`{slug}` is no slug; allowed: {allowed}")));
    }
    let file = args.dir.join(format!("{slug}.toml"));
    if file.exists() {
        return Err(BadInput(format!("{} is there already; choose another slug", file.display())));
    }
    Ok(file)
}

/// The commit that is checked out, marked if the files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "HEAD"]) {
        None => "unknown".to_owned(),
        Some(commit) => {
            let clean = git(&["status", "--porcelain", "--untracked-files=no"]);
            let changed = clean.is_none_or(|changes| !changes.is_empty());
            format!("{commit}{}", if changed { "+changes" } else { "" })
        }
    }
}
