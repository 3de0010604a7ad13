//! The command line of `seedbed`: what there is, what it takes, which exit code comes out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::recording;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::generate::Choice;
use crate::host;
use crate::model::configurations::Tier;
use crate::plan::Protocol;
use crate::report::Report;
use crate::seed::{Seed, SeedRange};

/// How a command ended. The numbers are a promise to scripts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Everything held.
    Passed = 0,
    /// A property was violated.
    Violated = 1,
    /// The input was bad; nothing ran and nothing was written.
    BadInput = 2,
    /// Two runs of one plan differed, or a recording and its replay.
    NotDeterministic = 4,
    /// An assertion in the core failed.
    Assertion = 5,
}

/// Bad input: one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadInput(pub String);

impl<T: std::fmt::Display> From<T> for BadInput {
    fn from(sentence: T) -> Self {
        Self(sentence.to_string())
    }
}

/// A deterministic simulation testbed for the core of a Kafka-compatible broker on shared storage.
#[derive(Parser, Debug)]
#[command(name = "seedbed", bin_name = host::COMMAND, version, propagate_version = true)]
#[command(after_help = "Exit codes: 0 passed, 1 property violated, 2 bad input, \
    4 not deterministic, 5 assertion in the core.")]
pub struct Cli {
    #[arg(long, hide = true)]
    #[expect(
        missing_docs,
        reason = "what the alias `cargo madsim` passes, to be told if the \
        compiler's flags did not come through"
    )]
    pub madsim: bool,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run one seed and say how it ended
    Run(RunArgs),
    /// Run many seeds (without options: 60 seconds, all profiles and workloads)
    Sweep(SweepArgs),
    /// Run plans; for a stored seed: it must fail with its mutant and pass without; for a flight
    /// recording: every step must be the same again (docs/recordings.md)
    Replay(ReplayArgs),
    /// Judge a history of this or another broker, recorded as JSON lines (docs/history.md)
    Judge(JudgeArgs),
    /// Run a workload against a broker that speaks Kafka's protocol, and judge what its clients saw
    Verify(VerifyArgs),
    /// Make a failing run small
    Shrink(ShrinkArgs),
    /// Shrink a failing run and store it in seeds/regress
    Keep(KeepArgs),
    /// Run a plan in two processes and compare them step by step
    Twice(TwiceArgs),
    /// Search bounded models exhaustively (docs/model-checking.md)
    Check(CheckArgs),
    /// Run plans in a world and with whole processes (only `cargo madsim compare`)
    Compare(CompareArgs),
    /// List what can be named in commands and plans
    List(ListArgs),
    /// Print the plan of a seed as TOML
    Plan(PlanArgs),
    #[command(hide = true, about = "One of the two processes of `twice`; reads a plan from stdin")]
    #[expect(missing_docs, reason = "the about text says it")]
    TwiceChild(TwiceChildArgs),
}

/// What is not left to the seed.
#[derive(Args, Clone, Default, Debug)]
pub struct ChoiceArgs {
    /// Profile of the faults; else the seed picks one
    #[arg(long)]
    pub profile: Option<String>,
    /// Workload of the clients; else the seed picks one
    #[arg(long)]
    pub workload: Option<String>,
    /// Protocol of the transactions: tv1 (KIP-98) or tv2 (KIP-890)
    #[arg(long, value_parser = protocol, default_value = "tv2", hide_default_value = true)]
    pub protocol: Protocol,
    /// Switch a planted bug on (may be repeated)
    #[arg(long = "mutant", value_name = "ID")]
    pub mutants: Vec<String>,
}

fn protocol(name: &str) -> Result<Protocol, String> {
    let allowed = Protocol::NAMES.join(" or ");
    Protocol::by_name(name).ok_or_else(|| format!("allowed: {allowed}"))
}

impl ChoiceArgs {
    /// As the generator takes it.
    ///
    /// # Errors
    /// If a name is unknown.
    pub fn choice(&self) -> Result<Choice, BadInput> {
        let choice = Choice {
            profile: self.profile.clone(),
            workload: self.workload.clone(),
            protocol: self.protocol,
            mutants: self.mutants.clone(),
        };
        choice.check()?;
        Ok(choice)
    }
}

/// `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// A number, 0x…, or a commit
    pub seed: Seed,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
    /// Judge by this property only
    #[arg(long, value_name = "CODE")]
    pub only: Option<String>,
    /// Print one line per event
    #[arg(long)]
    pub trace: bool,
    /// Write what the clients saw to this file, for `judge`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Record all that the nodes' machines are told, for `replay`. A recording that is there
    /// already is kept, as FILE.old
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// A recording grows to this at most; then it ends, and the run goes on
    #[arg(long, default_value_t = recording::BYTES_MAX, value_name = "BYTES", requires = "record")]
    #[arg(value_parser = clap::value_parser!(u64).range(recording::BYTES_MIN..))]
    pub record_bytes_max: u64,
}

/// `judge`.
#[derive(Args, Debug)]
pub struct JudgeArgs {
    /// A history as JSON lines; `-` for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Brokers to ask first
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    #[arg(value_parser = address)]
    pub bootstrap: Vec<(String, u16)>,
    /// What the clients do: see `list workloads`
    #[arg(long)]
    pub workload: String,
    /// For how long operations are given, such as 90s, 10m or 8h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, default_value = "60s")]
    pub duration: Duration,
    /// Decides the operations, and when the nemesis acts; else one from the calendar, and printed
    #[arg(long)]
    pub seed: Option<Seed>,
    /// Protocol of the transactions: tv1 (KIP-98) or tv2 (KIP-890); else what the cluster follows
    #[arg(long, value_parser = protocol)]
    pub protocol: Option<Protocol>,
    /// Write what the clients saw to this file, for `judge`
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Run this now and then by `sh -c`, with SEEDBED_NEMESIS_ACT = begin or end (may be repeated)
    #[arg(long, value_name = "CMD")]
    pub nemesis: Vec<String>,
    /// After the last end, wait so long for deposed leaders to be forgotten; else 10 s with a
    /// nemesis, and not at all without
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub settle: Option<Duration>,
    /// How long each stage of the end may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "3m")]
    pub patience: Duration,
    /// Judge high watermarks of fetches, too: they must never fall, from leader to leader
    #[arg(long)]
    pub watermarks: bool,
}

fn address(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| {
        let host = host.strip_prefix('[').map_or(Some(host), |host| host.strip_suffix(']'))?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    });
    parts.ok_or_else(|| format!("`{text}` is no address; allowed: HOST:PORT, such as kafka:9092"))
}

/// `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// How many seeds, or A..B (B is not run)
    #[arg(long, value_name = "N|A..B", conflicts_with = "duration")]
    pub seeds: Option<SeedRange>,
    /// For how long, such as 90s, 10m or 8h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// First seed; else one taken from the calendar, and printed
    #[arg(long, value_name = "SEED")]
    pub from: Option<Seed>,
    /// Threads; else one per core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
    /// Judge by this property only
    #[arg(long, value_name = "CODE")]
    pub only: Option<String>,
    /// End after so many failures
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub stop_after: Option<u64>,
    /// Folder for failures.jsonl, summary.json and one plan per distinct failure
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What is searched; else all of the tier
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// How much time it may take
    #[arg(long, value_enum, default_value = "pr")]
    pub tier: Tier,
    /// Switch a planted bug on (may be repeated): its shortest counterexample is printed
    #[arg(long = "mutant", value_name = "ID")]
    pub mutants: Vec<String>,
    /// What transactional clients speak: tv2 (KIP-890), or tv1 (KIP-98), which has a known hole
    /// (KAFKA-17754)
    #[arg(long, value_parser = protocol, default_value = "tv2", hide_default_value = true)]
    pub protocol: Protocol,
    /// Search for every planted bug that is known to be found instead, where it is found: each must
    /// be, by a way of as many steps as is known
    #[arg(long)]
    #[arg(conflicts_with_all = ["tier", "mutants", "protocol", "output", "threads", "explore"])]
    pub calibrate: bool,
    /// Threads; else one per core. With a planted bug it is always one
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// A search that takes more memory than this has failed
    #[arg(long, value_name = "GIB", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub memory_max: u64,
    /// Write a counterexample to this file, as a plan for `replay`; not of the quorum
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub from: Option<FromArgs>,
    /// Open stateright's explorer at this address instead, for a browser
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:3000")]
    #[arg(conflicts_with_all = ["output", "threads"])]
    pub explore: Option<SocketAddr>,
}

/// `check --from`.
#[derive(Args, Debug)]
#[group(conflicts_with_all = ["names", "tier", "protocol", "explore", "calibrate"])]
pub struct FromArgs {
    /// Search forward from a run instead: of a seed, or of a file with a plan
    #[arg(long, value_name = "SEED|FILE", required = false, requires = "at")]
    pub from: String,
    /// Where the run is stopped: at a simulated time, such as 12.5s, or when a probe is seen (for
    /// the Nth time)
    #[arg(long, value_name = "TIME|PROBE[:N]", required = false, requires = "from")]
    pub at: String,
    /// With --from: up to so many steps, in every order
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..))]
    pub steps: u8,
    /// With --from: so many timers may fire, beside those that close what has been filled for long
    /// enough; else any number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..255))]
    pub timers: Option<u8>,
    /// With --from: of the steps may be so many mishaps (losses, doubles, refusals, crashes)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(..255))]
    pub mishaps: u8,
}

/// `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// How many seeds, or A..B (B is not run)
    #[arg(long, value_name = "N|A..B")]
    pub seeds: SeedRange,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
}

/// `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Plans, stored seeds and flight recordings, or folders of plans and stored seeds
    #[arg(required = true, value_name = "FILE|DIR")]
    pub paths: Vec<PathBuf>,
    /// Switch a planted bug on in plans (stored seeds name their own)
    #[arg(long = "mutant", value_name = "ID")]
    pub mutants: Vec<String>,
    /// Judge by this property only
    #[arg(long, value_name = "CODE")]
    pub only: Option<String>,
    /// Print one line per event (of plans) or step (of recordings)
    #[arg(long)]
    pub trace: bool,
}

/// What a command works on: a seed, or a file.
#[derive(Args, Debug)]
pub struct SubjectArgs {
    /// A seed, or a file with a plan
    #[arg(value_name = "SEED|FILE")]
    pub subject: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
    /// Judge by this property only
    #[arg(long, value_name = "CODE")]
    pub only: Option<String>,
}

/// `shrink`.
#[derive(Args, Debug)]
pub struct ShrinkArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub subject: SubjectArgs,
    /// Write the plan to this file; else print it
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Runs at most
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(3..))]
    pub executions: u64,
}

/// `keep`.
#[derive(Args, Debug)]
pub struct KeepArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub subject: SubjectArgs,
    /// Name of the file: lower-case words joined by -
    #[arg(long)]
    pub slug: String,
    /// What goes wrong, for a reader
    #[arg(long)]
    pub why: String,
    /// What found it
    #[arg(long, default_value = "sweep")]
    pub by: String,
    /// Folder of the stored seeds
    #[arg(long, value_name = "DIR", default_value = "seeds/regress")]
    pub dir: PathBuf,
    /// Runs at most
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(3..))]
    pub executions: u64,
}

/// `twice`.
#[derive(Args, Debug)]
pub struct TwiceArgs {
    /// A seed, or A..B (B is not run), or a file with a plan
    #[arg(value_name = "SEED|A..B|FILE")]
    pub subject: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
}

/// `twice-child`.
#[derive(Args, Debug)]
#[expect(missing_docs, reason = "not for people")]
pub struct TwiceChildArgs {
    #[arg(long)]
    pub noise: u64,
    #[arg(long)]
    pub trace_from: Option<u64>,
    #[arg(long)]
    pub trace_to: Option<u64>,
}

/// `list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// workloads, profiles, faults, invariants, mutants, probes or handoff
    #[arg(value_name = "KIND")]
    pub what: String,
    /// Names only, one a line
    #[arg(long, conflicts_with = "json")]
    pub ids: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Only mutants of this kind: core, determinism, spark or shell
    #[arg(long)]
    pub kind: Option<String>,
}

/// `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// A number, 0x…, or a commit
    pub seed: Seed,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened")]
    pub choice: ChoiceArgs,
}

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut report = Report::default();
    let exit = match Cli::try_parse() {
        Ok(cli) => checked(cli, &mut report).unwrap_or_else(|BadInput(sentence)| {
            report.end_progress();
            report.note(format!("error: {sentence}"));
            Exit::BadInput
        }),
        Err(error) => explain(&error, &report),
    };
    if let Some(error) = report.lost() {
        report.note(format!("error: can not write the result: {error}"));
        return ExitCode::from(Exit::BadInput as u8);
    }
    ExitCode::from(exit as u8)
}

fn checked(cli: Cli, report: &mut Report) -> Result<Exit, BadInput> {
    if cli.madsim && !host::IS_MADSIM {
        return Err(BadInput(
            "this binary was built without `--cfg madsim`: a RUSTFLAGS in the environment hides \
             what `cargo madsim` asks for; allowed: RUSTFLAGS=\"--cfg madsim\", or none"
                .to_owned(),
        ));
    }
    run(cli.command, report)
}

fn run(command: Command, report: &mut Report) -> Result<Exit, BadInput> {
    match command {
        Command::Run(args) => commands::run::run(&args, report),
        Command::Sweep(args) => commands::sweep::sweep(&args, report),
        Command::Replay(args) => commands::replay::replay(&args, report),
        Command::Judge(args) => commands::judge::judge(&args, report),
        #[cfg(not(madsim))]
        Command::Verify(args) => commands::verify::verify(&args, report),
        #[cfg(madsim)]
        Command::Verify(_) => {
            Err("a simulation has no network to reach a broker by; allowed: `cargo seedbed verify`"
                .into())
        }
        Command::Shrink(args) => commands::shrink::shrink(&args, report),
        Command::Keep(args) => commands::keep::keep(&args, report),
        Command::Twice(args) => commands::twice::twice(&args, report),
        Command::Check(args) => commands::check::check(&args, report),
        Command::Compare(args) => commands::compare::compare(&args, report),
        Command::List(args) => commands::list::list(&args, report),
        Command::Plan(args) => commands::list::plan(&args, report),
        Command::TwiceChild(args) => commands::twice::child(&args, report),
    }
}

/// Clap's help as it is; its errors as one sentence.
fn explain(error: &clap::Error, report: &Report) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        report.text(&error.render().to_string());
        return Exit::Passed;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        report.note("error: a command is missing; allowed: see `cargo seedbed --help`");
        return Exit::BadInput;
    }
    // The first paragraph is the sentence; usage and tips follow behind an empty line.
    let rendered = error.render().to_string();
    let sentence = rendered.lines().take_while(|line| !line.is_empty());
    let sentence: Vec<_> = sentence.flat_map(str::split_whitespace).collect();
    let allowed = match error.kind() {
        ErrorKind::InvalidSubcommand => "; allowed: see `cargo seedbed --help`",
        ErrorKind::UnknownArgument => "; allowed: see --help of the command",
        _ => "",
    };
    report.note(format!("{}{allowed}", sentence.join(" ")));
    Exit::BadInput
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let found = units.into_iter().find_map(|(unit, secs)| Some((text.strip_suffix(unit)?, secs)));
    found
        .and_then(|(number, secs)| number.parse::<u64>().ok()?.checked_mul(secs))
        .filter(|secs| *secs > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is no length of time; allowed: such as 90s, 10m or 8h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn cli_addresses_have_a_host_and_a_port() {
        let found = |host: &str| Ok((host.to_owned(), 9_092));
        assert_eq!(address("kafka:9092"), found("kafka"));
        assert_eq!(address("[::1]:9092"), found("::1"));
        for text in ["", "kafka", ":9092", "kafka:", "kafka:0", "kafka:70000", "[::1:9092"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cli_durations_need_a_number_and_a_unit() {
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("8h"), Ok(Duration::from_secs(28_800)));
        for text in ["", "10", "m", "0s", "-1s", "1.5h", "99999999999999999999h", "1d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
