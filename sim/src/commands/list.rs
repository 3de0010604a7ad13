//! `seedbed list KIND`: names for commands and plans. `seedbed plan SEED`: what a seed means.

use crate::cli::{BadInput, Exit, ListArgs, PlanArgs};
use crate::generate::generate;
use crate::plan::toml;
use crate::registry;
use crate::report::Report;

const MUTANT_KINDS: [&str; 4] = ["core", "determinism", "spark", "shell"];

/// Lists one kind of thing.
///
/// # Errors
/// If there is no such kind.
pub fn list(args: &ListArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let mut entries = registry::entries(&args.what)?;
    if let Some(kind) = &args.kind {
        if args.what != "mutants" {
            return Err(BadInput("--kind is for mutants only".to_owned()));
        }
        if !MUTANT_KINDS.contains(&kind.as_str()) {
            return Err(registry::unknown("kind", kind, MUTANT_KINDS.into_iter()).into());
        }
        entries.retain(|entry| entry.kind == kind);
    }
    if args.json {
        report.line(serde_json::to_string_pretty(&entries).expect("entries are plain data"));
        return Ok(Exit::Passed);
    }
    let width = entries.iter().map(|entry| entry.id.len()).max().unwrap_or(0);
    for entry in &entries {
        if args.ids {
            report.line(&entry.id);
            continue;
        }
        let source = match entry.source.as_str() {
            "" => String::new(),
            source => report.aside(&format!("  [{source}]")),
        };
        report.line(format!("{:width$}  {}{source}", entry.id, entry.what));
    }
    Ok(Exit::Passed)
}

/// Prints the plan of a seed.
///
/// # Errors
/// If an argument is bad.
pub fn plan(args: &PlanArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let choice = args.choice.choice()?;
    report.text(&toml::write(&generate(args.seed.0, &choice)));
    Ok(Exit::Passed)
}
