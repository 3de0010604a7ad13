//! `seedbed verify`: a workload against a broker over the network, and what its history says. A run
//! in which nothing was acknowledged, or that does not come to its end, has failed, whatever the
//! history says.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, process};

use broker_core::protocol::TransactionVersion;
use workloads::Workload;

use super::judge;
use super::output::Output;
use crate::cli::{BadInput, Exit, JudgeArgs, VerifyArgs};
use crate::interrupt::Interrupt;
use crate::live::host::Seen;
use crate::live::load::CLIENTS_MAX;
use crate::live::verify::{self, Options, Verified};
use crate::plan::Protocol;
use crate::report::{Report, grouped};
use crate::wallclock::fresh_seed;

/// After a nemesis a deposed leader may be believed for so long.
const SETTLE: Duration = Duration::from_secs(10);

/// Numbers of records are made of their client's, and a history has 53 bits for them.
const CLIENT_NUMBERS: u16 = (1 << 13) - 2;

/// Runs a workload, and judges it.
///
/// # Errors
/// If an argument is bad, no broker can be reached, or there is nothing to judge.
pub fn verify(args: &VerifyArgs, report: &mut Report) -> Result<Exit, BadInput> {
    let options = options(args)?;
    let output = args.history.as_deref().map(Output::begin).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let prepared = runtime.block_on(verify::prepare(&options))?;
    report.line(format!("seed    {}", options.seed));
    let verified = runtime.block_on(prepared.run(&options, &Interrupt::listen()));
    tell(&options, &verified, report);
    let file = match output {
        Some(output) => output.finish(&verified.history, report)?,
        None => kept(&verified.history)?,
    };
    if let Err(why) = &verified.acts {
        let why = format!("{why}; what was seen until then is in {}", file.display());
        return Err(BadInput(why));
    }
    let exit = judged((&options, &verified), &file, report)?;
    if args.history.is_none() && exit == Exit::Passed {
        // It is in the folder for temporary files: what is left there does no harm.
        let _ = fs::remove_file(&file);
    }
    Ok(exit)
}

fn options(args: &VerifyArgs) -> Result<Options, BadInput> {
    let allowed = verify::workloads();
    let of_name = |it: &&&'static Workload| it.name == args.workload;
    let workload = allowed.iter().find(of_name).ok_or_else(|| {
        let names: Vec<_> = allowed.iter().map(|it| it.name).collect();
        let (name, names) = (&args.workload, names.join(", "));
        BadInput(format!("workload `{name}` can not be verified; allowed: {names}"))
    })?;
    let fresh = fresh_seed();
    let own = (fresh / 1_000) ^ (u64::from(process::id()) << 40);
    let first_client = own % u64::from(CLIENT_NUMBERS - CLIENTS_MAX);
    Ok(Options {
        bootstrap: args.bootstrap.clone(),
        workload,
        length: args.duration,
        seed: args.seed.map_or(fresh, |seed| seed.0),
        run: format!("{own:x}"),
        first_client: u16::try_from(first_client).expect("below a u16"),
        protocol: args.protocol.map(|protocol| match protocol {
            Protocol::Tv1 => TransactionVersion::V1,
            Protocol::Tv2 => TransactionVersion::V2,
        }),
        nemesis: args.nemesis.clone(),
        watermarks: args.watermarks,
        settle: match args.settle {
            Some(settle) => settle,
            None if args.nemesis.is_empty() => Duration::ZERO,
            None => SETTLE,
        },
        patience: args.patience,
    })
}

/// Where a history is as long as nobody wants it.
fn kept(history: &str) -> Result<PathBuf, BadInput> {
    let path = env::temp_dir().join(format!("seedbed-verify-{}.jsonl", process::id()));
    let written = fs::write(&path, history);
    written.map_err(|error| format!("can not write {}: {error}", path.display()))?;
    Ok(path)
}

fn tell(options: &Options, verified: &Verified, report: &Report) {
    let Verified { calls, seen, ops, rounds, acts, protocol, .. } = verified;
    let acts = acts
        .as_ref()
        .map_or_else(|_| "it failed".to_owned(), |acts| format!("{} acts", grouped(*acts)));
    let protocol = match protocol {
        TransactionVersion::V1 => "KIP-98",
        TransactionVersion::V2 => "KIP-890",
    };
    report.line(format!(
        "run     workload {}, {} s, rounds: {rounds}, topics seedbed-{}-*, transactions by \
         {protocol}",
        options.workload.name,
        options.length.as_secs(),
        options.run,
    ));
    report.line(format!("given   {} operations; nemesis: {acts}", grouped(*ops)));
    for (name, tally) in calls {
        report.line(format!(
            "call    {name}: {} ok, {} failed, {} unknown",
            grouped(tally.ok),
            grouped(tally.failed),
            grouped(tally.unknown),
        ));
    }
    report.line(format!(
        "beside  {} connections lost, {} answers out of order",
        grouped(seen.lost),
        grouped(seen.disorders)
    ));
    for (why, times) in &seen.refused {
        report.line(format!("beside  {} requests were not sent: {why}", grouped(*times)));
    }
    for (code, times) in &seen.unnamed {
        report.line(format!(
            "beside  error {code}, {} times, has no name here: taken for UNKNOWN_SERVER_ERROR",
            grouped(*times)
        ));
    }
    if verified.without_consumer_groups {
        report.line("beside  the broker has no groups by KIP-848: members are cooperative instead");
    }
}

/// The command that gives the same operations to the same cluster.
fn repeat(options: &Options) -> String {
    let brokers = options.bootstrap.iter().map(|(host, port)| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    });
    let brokers: Vec<_> = brokers.collect();
    let (brokers, name) = (brokers.join(","), options.workload.name);
    let (secs, seed) = (options.length.as_secs(), options.seed);
    let nemeses = options.nemesis.iter().map(|it| format!(" --nemesis '{it}'"));
    let nemeses: String = nemeses.collect();
    let flags = format!("--bootstrap {brokers} --workload {name} --for {secs}s --seed {seed}");
    format!("cargo seedbed verify {flags}{nemeses}")
}

fn judged(
    (options, verified): (&Options, &Verified),
    file: &Path,
    report: &mut Report,
) -> Result<Exit, BadInput> {
    if verified.acknowledged == 0 {
        let word = report.fail("FAIL");
        let what = "nothing was acknowledged, so that nothing is shown";
        report.line(format!("{word} Nothing: {what}; the history is in {}", file.display()));
        report.line(repeat(options));
        return Ok(Exit::Violated);
    }
    let mut exit = judge::judge(&JudgeArgs { file: file.to_owned() }, report)?;
    let Seen { broken, disorders, .. } = &verified.seen;
    if !broken.is_empty() || *disorders > 0 {
        let word = report.fail("FAIL");
        report.line(format!("{word} Protocol: a broker says what Kafka's protocol does not allow"));
        for (what, times) in broken {
            report.line(format!("broken  {} times: {what}", grouped(*times)));
        }
        report.line(repeat(options));
        exit = Exit::Violated;
    }
    if verified.stuck.is_empty() {
        return Ok(exit);
    }
    let word = report.fail("FAIL");
    report.line(format!("{word} Stuck: the cluster is well, and this does not come to its end"));
    verified.stuck.iter().for_each(|what| report.line(format!("stuck   {what}")));
    report.line(repeat(options));
    Ok(Exit::Violated)
}
