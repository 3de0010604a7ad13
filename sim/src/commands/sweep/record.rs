//! The folder of a sweep: `failures.jsonl` (a line per failing run), `summary.json`, a plan per
//! distinct failure, and `running-N.txt` with the command of what job N runs, written *before* the
//! run, so that an abort or a kill leaves behind what it was.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::summary::Summary;
use invariants::PROPERTIES;

use crate::cli::BadInput;
use crate::outcome::PANIC;
use crate::plan::toml;
use crate::sweep::{FailureLine, Novelty, Run};

/// The open folder.
pub(super) struct Record {
    folder: PathBuf,
    failures: File,
    jobs: usize,
}

impl Record {
    /// Makes the folder and its files, or says why not.
    pub(super) fn begin(folder: &Path, jobs: usize) -> Result<Self, BadInput> {
        if let Some(earlier) = earlier_result(folder) {
            return Err(BadInput(format!(
                "{} holds {earlier} of an earlier sweep; allowed: a new or empty folder",
                folder.display()
            )));
        }
        let begin = || {
            fs::create_dir_all(folder)?;
            // Proves that new files can be made, too, not only this one.
            let probe = folder.join("running-0.txt");
            fs::write(&probe, "")?;
            File::create(folder.join("failures.jsonl"))
        };
        match begin() {
            Ok(failures) => Ok(Self { folder: folder.to_owned(), failures, jobs }),
            Err(error) => {
                let sentence = format!("can not write in {}: {error}", folder.display());
                Err(BadInput(sentence))
            }
        }
    }

    pub(super) fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    /// A job begins a run.
    pub(super) fn begun(&mut self, job: usize, command: &str) -> io::Result<()> {
        fs::write(self.running(job), format!("{command}\n"))
    }

    /// A run failed.
    pub(super) fn failed(&mut self, run: &Run, command: &str, novelty: Novelty) -> io::Result<()> {
        let Run { seed, plan, outcome } = run;
        let property = outcome.verdict.property().unwrap_or_default();
        let line = FailureLine {
            seed: *seed,
            profile: &plan.profile,
            workload: &plan.workload,
            mutants: &plan.mutants,
            property,
            place: outcome.verdict.place(),
            message: outcome.verdict.message(),
            trace_hash: format!("{:032x}", outcome.trace_hash),
            steps: outcome.steps,
            sim_us: outcome.sim_us,
            command,
        };
        let line = serde_json::to_string(&line).expect("a failure is plain data");
        writeln!(self.failures, "{line}")?;
        if novelty == Novelty::Known {
            return Ok(());
        }
        let name = format!("{property}-{}.toml", slug(outcome.verdict.place()));
        fs::write(self.folder.join(name), toml::write(plan))
    }

    /// The sweep is over.
    pub(super) fn end(&mut self, summary: &Summary) -> io::Result<()> {
        let text = serde_json::to_string_pretty(summary).expect("a summary is plain data");
        fs::write(self.folder.join("summary.json"), format!("{text}\n"))?;
        for job in 0..self.jobs {
            match fs::remove_file(self.running(job)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn running(&self, job: usize) -> PathBuf {
        self.folder.join(format!("running-{job}.txt"))
    }
}

/// What a sweep left behind here that the next one would be taken for: anything but a list of
/// failures without one, as an interrupted sweep leaves it.
fn earlier_result(folder: &Path) -> Option<String> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.sort();
    let found = names.iter().find(|path| {
        let name = path.file_name().unwrap_or_default();
        name == "summary.json"
            || is_failure(&name.to_string_lossy())
            || (name == "failures.jsonl" && fs::metadata(path).is_ok_and(|meta| meta.len() > 0))
    });
    Some(found?.file_name()?.to_string_lossy().into_owned())
}

/// Whether a file is named as the plan of a failure: by a property and a place.
fn is_failure(name: &str) -> bool {
    let code = name.strip_suffix(".toml").and_then(|name| name.split_once('-'));
    code.is_some_and(|(code, _)| code == PANIC || PROPERTIES.iter().any(|row| row.code == code))
}

/// A place as a part of a file's name.
fn slug(place: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    place.chars().map(keep).collect()
}
