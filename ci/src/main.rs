//! The steps of continuous integration as code: `.ci/run` and the workflow only call them.

#![expect(clippy::disallowed_macros, reason = "a command-line tool prints")]

mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Run the steps of continuous integration. Without a name: all of them, in order.
#[derive(Parser)]
#[command(name = "cargo ci")]
struct Options {
    /// Steps to run; see `--list`.
    steps: Vec<String>,
    /// List the steps.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for step in steps::ALL {
            println!("{:<8}  {}", step.name, step.what);
        }
        return ExitCode::SUCCESS;
    }
    let chosen: Result<Vec<_>, _> = if options.steps.is_empty() {
        Ok(steps::ALL.iter().collect())
    } else {
        options.steps.iter().map(|name| steps::by_name(name)).collect()
    };
    match chosen.and_then(|chosen| steps::run(&chosen, &root())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ci: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's top folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("ci is a folder of the root").into()
}
