//! What each step runs. A step that fails ends the run; its name and command are printed first.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::tidy;

/// One step.
pub(crate) struct Step {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) what: &'static str,
    run: fn(&Path) -> Result<(), String>,
}

/// All steps, in the order in which they tell the most for the least time.
pub(crate) const ALL: &[Step] = &[
    Step { name: "tidy", what: "layout, sizes, bans, manifests, titles", run: tidy::check },
    Step { name: "format", what: "rustfmt", run: format },
    Step { name: "clippy", what: "lints, with and without the planted bugs", run: clippy },
    Step { name: "fence", what: "the core links without std", run: fence },
    Step { name: "test", what: "cargo test --workspace", run: test },
    Step { name: "plain", what: "the core's tests without the planted bugs", run: plain },
    Step {
        name: "twice",
        what: "fresh seeds are deterministic, determinism mutants caught",
        run: twice,
    },
    Step {
        name: "replay",
        what: "every plan in seeds/ fails with its mutant, passes without",
        run: replay,
    },
    Step { name: "check", what: "bounded models hold, searched exhaustively", run: check },
    Step { name: "sweep", what: "a sweep seeded from the commit hash", run: sweep },
    Step {
        name: "madsim",
        what: "whole processes under madsim pass, and the shell's planted bugs do not",
        run: madsim,
    },
    Step { name: "clients", what: "real Kafka clients against a cluster of ours", run: clients },
];

/// The step of this name.
pub(crate) fn by_name(name: &str) -> Result<&'static Step, String> {
    ALL.iter().find(|step| step.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|step| step.name).collect();
        format!("unknown step {name:?}; there are {}", names.join(", "))
    })
}

/// Runs the steps in order, to the first that fails.
pub(crate) fn run(steps: &[&Step], root: &Path) -> Result<(), String> {
    for step in steps {
        println!("ci: {} ({})", step.name, step.what);
        (step.run)(root).map_err(|why| format!("{}: {why}", step.name))?;
    }
    println!("ci: {} passed, 0 failed", steps.len());
    Ok(())
}

fn format(root: &Path) -> Result<(), String> {
    cargo(root, &["fmt", "--all", "--check"])
}

fn clippy(root: &Path) -> Result<(), String> {
    let deny = ["--", "--deny", "warnings"];
    let lint = |scope: &[&str]| cargo(root, &[&["clippy", "--quiet"], scope, &deny[..]].concat());
    lint(&["--workspace", "--all-targets"])?;
    // The workspace build switches the planted bugs on; the core must be clean without them, too.
    lint(&["--package", "broker-core", "--all-targets"])
}

/// Links the core into a static library that has its own panic handler: a dependency that brings
/// std in makes two of them, and the build fails. Where the target is installed, builds for bare
/// metal as well.
fn fence(root: &Path) -> Result<(), String> {
    let folder = root.join("ci/fence");
    let target = root.join("target/fence");
    let target = target.to_str().ok_or("the path of the repository is not UTF-8")?;
    let build = ["build", "--quiet", "--locked", "--target-dir", target];
    cargo(&folder, &build)?;
    let bare = "x86_64-unknown-none";
    if target_installed(bare)? {
        return cargo(&folder, &[&build[..], &["--target", bare]].concat());
    }
    println!("ci: fence: target {bare} is not installed, linked for the host only");
    Ok(())
}

fn target_installed(target: &str) -> Result<bool, String> {
    let print = ["--print", "target-libdir", "--target", target];
    let output = Command::new("rustc").args(print).output().map_err(|e| format!("rustc: {e}"))?;
    Ok(output.status.success()
        && Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

fn test(root: &Path) -> Result<(), String> {
    cargo(root, &["test", "--workspace"])
}

/// In the workspace's tests `sim` switches the planted bugs on; here they are not compiled in.
fn plain(root: &Path) -> Result<(), String> {
    cargo(root, &["test", "--package", "broker-core"])
}

/// Twenty seeds that nobody has seen before, then each determinism mutant, which must be caught.
fn twice(root: &Path) -> Result<(), String> {
    let from = commit_seed(root)?;
    seedbed(root, &["twice", &format!("{from}..{}", from + 20)], 0)?;
    let list = ["list", "mutants", "--kind", "determinism", "--ids"];
    for mutant in listed(&mut seedbed_command(root, &list)?)? {
        seedbed(root, &["twice", &format!("{from}..{}", from + 20), "--mutant", &mutant], 4)?;
    }
    Ok(())
}

fn replay(root: &Path) -> Result<(), String> {
    seedbed(root, &["replay", "seeds/"], 0)
}

fn check(root: &Path) -> Result<(), String> {
    seedbed(root, &["check"], 0)
}

fn sweep(root: &Path) -> Result<(), String> {
    let from = commit_seed(root)?.to_string();
    seedbed(root, &["sweep", "--from", &from, "--for", "60s"], 0)
}

/// Whole processes: fresh seeds pass, twice alike; some seeds pass, and fail with each planted bug
/// of the shell. A determinism mutant must be caught here, too. Built without optimisation across
/// crates, which would take longer than the runs.
fn madsim(root: &Path) -> Result<(), String> {
    let folder = root.join("target/madsim");
    let folder = folder.to_str().ok_or("the path of the repository is not UTF-8")?;
    let build = ["build", "--quiet", "--locked", "--config", MADSIM, "--target-dir", folder];
    cargo(root, &[&build[..], &["--package", "sim", "--bin", "seedbed"]].concat())?;
    let whole = root.join("target/madsim/debug/seedbed");
    let run = |arguments: &[&str], code| {
        let mut command = Command::new(&whole);
        expect(command.arg("--madsim").args(arguments).current_dir(root), code)
    };
    let from = commit_seed(root)?;
    let some = |count: u64| format!("{from}..{}", from + count);
    run(&["sweep", "--from", &from.to_string(), "--for", "30s"], 0)?;
    run(&["twice", &some(5)], 0)?;
    run(&["twice", &some(5), "--mutant", "nd-address-key"], 4)?;
    run(&["sweep", "--seeds", "0..40"], 0)?;
    let list = ["list", "mutants", "--kind", "shell"];
    for row in listed(Command::new(&whole).args(list))? {
        breaks_as_listed(&whole, &row)?;
    }
    // A few of those that must be seen here, too: all of them take ten minutes.
    let stored = ["trim-before-commit", "stale-high-watermark", "open-transaction-shown"];
    let stored = stored.map(|name| format!("seeds/regress/{name}.toml"));
    run(&["replay", &stored[0], &stored[1], &stored[2]], 0)
}

/// A planted bug of the shell must be caught by a property that the list says of it: `ID  what
/// [breaks P, Q]`.
fn breaks_as_listed(whole: &Path, row: &str) -> Result<(), String> {
    let strange = || format!("{row:?} does not say what it breaks");
    let mutant = row.split_whitespace().next().ok_or_else(strange)?;
    let breaks = row.rsplit_once("[breaks ").and_then(|(_, rest)| rest.split_once(']'));
    let breaks: Vec<_> = breaks.ok_or_else(strange)?.0.split(", ").collect();
    let sweep = ["--madsim", "sweep", "--seeds", "0..40", "--stop-after", "1", "--mutant", mutant];
    println!("ci: {} {}", whole.display(), sweep.join(" "));
    let output = Command::new(whole).args(sweep).output().map_err(|e| format!("{mutant}: {e}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    print!("{told}");
    let by = told.lines().filter_map(|line| line.strip_prefix("FAIL ")?.split_whitespace().next());
    let by: Vec<_> = by.collect();
    if output.status.code() == Some(1) && by.iter().any(|property| breaks.contains(property)) {
        return Ok(());
    }
    Err(format!("{mutant} ended with {}, by {by:?}; it breaks {breaks:?}", output.status))
}

/// As in the alias `cargo madsim`.
const MADSIM: &str = "build.rustflags=[\"--cfg\",\"madsim\"]";

fn clients(root: &Path) -> Result<(), String> {
    let script = root.join("ci/clients.sh");
    let status =
        Command::new(&script).status().map_err(|e| format!("{}: {e}", script.display()))?;
    if status.success() { Ok(()) } else { Err(format!("ci/clients.sh ended with {status}")) }
}

/// The first 12 hex digits of the commit: another sweep at each commit, repeatable for each.
fn commit_seed(root: &Path) -> Result<u64, String> {
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let hash = String::from_utf8_lossy(&output.stdout);
    let digits = hash.get(..12).ok_or("git rev-parse HEAD printed no hash")?;
    u64::from_str_radix(digits, 16).map_err(|e| format!("{digits:?} is no hash: {e}"))
}

/// The lines that a command lists.
fn listed(command: &mut Command) -> Result<Vec<String>, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let lines: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if output.status.success() && !lines.is_empty() {
        return Ok(lines);
    }
    Err(format!("{command:?} listed nothing"))
}

fn seedbed(root: &Path, arguments: &[&str], code_expected: i32) -> Result<(), String> {
    expect(&mut seedbed_command(root, arguments)?, code_expected)
}

/// Runs a command that must end with this code.
fn expect(command: &mut Command, code_expected: i32) -> Result<(), String> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let words = words.join(" ");
    println!("ci: {} {words}", command.get_program().to_string_lossy());
    let status = command.status().map_err(|e| format!("{words}: {e}"))?;
    match status.code() {
        Some(code) if code == code_expected => Ok(()),
        _ => Err(format!("{words} ended with {status}, expected exit code {code_expected}")),
    }
}

/// As the tests have built it: link-time optimisation would take longer than it saves, and
/// `cargo run` would build once more what the tests build with other features. The folder is that
/// of this program.
fn seedbed_command(root: &Path, arguments: &[&str]) -> Result<Command, String> {
    cargo(root, &["test", "--quiet", "--locked", "--workspace", "--no-run"])?;
    let here = env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let mut command = Command::new(here.with_file_name("seedbed"));
    command.args(arguments).current_dir(root);
    Ok(command)
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    println!("ci: cargo {}", arguments.join(" "));
    let status = Command::new("cargo")
        .args(arguments)
        .current_dir(folder)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} failed", arguments.join(" "))) }
}
