//! The run-time fence around determinism: one plan, two processes that differ in everything a run
//! must not see (environment, working directory, addresses of allocations), one hash.
//!
//! On a difference the checkpoints are bisected and only the window between the last equal one and
//! the first unequal one is traced, in both processes, to name the first event that differs. Prints
//! nothing.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::decider::RunOptions;
use crate::host;
use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::plan::toml;
use crate::trace::TraceLine;

/// What one process says about its run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Hash of all steps, in hexadecimal.
    pub hash: String,
    /// Steps.
    pub steps: u64,
    /// The property that broke, or empty.
    pub property: String,
    /// Steps so far and the hash, at each checkpoint.
    pub checkpoints: Vec<(u64, String)>,
    /// The window's events, if a window was asked for.
    pub events: Vec<Event>,
}

/// One event of the window.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The step's number, from 1.
    pub step: u64,
    /// Simulated time, µs.
    pub at_us: u64,
    /// Where.
    pub node: String,
    /// What happened, and its effects.
    pub what: String,
    /// The stream of draws that timed it.
    pub stream: String,
    /// Hash of all steps up to this one.
    pub hash: String,
}

/// Steps from … to, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

/// How two runs of one plan compare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Equal to the last step.
    Equal(Account),
    /// Not equal.
    Different(Box<Difference>),
}

/// The first difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Hashes of the whole runs.
    pub hashes: [String; 2],
    /// The first step that differs, as each process saw it; `None` where the run had ended. Both
    /// `None` if the difference did not come again.
    pub events: [Option<Event>; 2],
}

/// What differs between the two processes.
struct Surroundings {
    noise: u64,
    directory: PathBuf,
    variable: &'static str,
}

fn surroundings() -> [Surroundings; 2] {
    [
        Surroundings { noise: 1, directory: PathBuf::from("/"), variable: "a" },
        Surroundings {
            noise: 7_919,
            directory: std::env::temp_dir(),
            variable: "a rather longer value, so that the stack begins elsewhere",
        },
    ]
}

/// Runs a plan in two processes and compares them.
///
/// # Errors
/// If a process can not be started or does not answer.
pub fn compare(plan: &Plan) -> Result<Comparison, String> {
    let [left, right] = both(plan, None)?;
    if left == right {
        return Ok(Comparison::Equal(left));
    }
    let hashes = [left.hash.clone(), right.hash.clone()];
    let narrow = window(&left.checkpoints, &right.checkpoints);
    // What depends on the process may differ elsewhere the next time, so the whole run is the
    // second try.
    for window in [narrow, Window { from: 1, to: u64::MAX }] {
        let [left, right] = both(plan, Some(window))?;
        if let Some(events) = first_difference(&left.events, &right.events) {
            return Ok(Comparison::Different(Box::new(Difference { hashes, events })));
        }
    }
    Ok(Comparison::Different(Box::new(Difference { hashes, events: [None, None] })))
}

/// The steps behind the last checkpoint that both have in common, up to the next.
fn window(left: &[(u64, String)], right: &[(u64, String)]) -> Window {
    // Rolling hashes stay different once they differ, so this is a bisection.
    let both = left.iter().zip(right).collect::<Vec<_>>();
    let common = both.partition_point(|(left, right)| left == right);
    let from = if common == 0 { 1 } else { left[common - 1].0 + 1 };
    let to = both.get(common).map_or(u64::MAX, |(left, right)| left.0.max(right.0));
    Window { from, to }
}

fn first_difference(left: &[Event], right: &[Event]) -> Option<[Option<Event>; 2]> {
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let events = [left.get(common).cloned(), right.get(common).cloned()];
    events.iter().any(Option::is_some).then_some(events)
}

fn both(plan: &Plan, window: Option<Window>) -> Result<[Account; 2], String> {
    let text = toml::write(plan);
    let [left, right] = surroundings().map(|place| start(&place, window, &text));
    let [left, right] = [left?, right?].map(std::process::Child::wait_with_output);
    let account = |output: std::io::Result<std::process::Output>| {
        let output = output.map_err(|error| format!("a process of `twice` is lost: {error}"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            format!("a process of `twice` gave no account: {}", complaint.trim())
        })
    };
    Ok([account(left)?, account(right)?])
}

fn start(
    place: &Surroundings,
    window: Option<Window>,
    plan: &str,
) -> Result<std::process::Child, String> {
    let complain = |error: std::io::Error| format!("can not start a process of `twice`: {error}");
    let program = std::env::current_exe().map_err(complain)?;
    let mut command = Command::new(program);
    command.arg("twice-child").arg("--noise").arg(place.noise.to_string());
    if let Some(window) = window {
        command.arg("--trace-from").arg(window.from.to_string());
        command.arg("--trace-to").arg(window.to.to_string());
    }
    let mut child = command
        .env("SEEDBED_SURROUNDINGS", place.variable)
        .current_dir(&place.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(complain)?;
    let mut stdin = child.stdin.take().expect("piped");
    // A child that dies early closes the pipe; its missing account tells.
    let _ = stdin.write_all(plan.as_bytes());
    Ok(child)
}

/// Runs a plan as one of the two processes. `noise` shifts where allocations land.
#[must_use]
pub fn account(plan: &Plan, noise: u64, window: Option<Window>) -> Account {
    let kept: Vec<Vec<u8>> = (0..noise).map(|n| vec![0; (n % 251) as usize + 1]).collect();
    let mut checkpoints = Vec::new();
    let mut events = Vec::new();
    let mut trace = |line: &TraceLine| {
        let inside = window.is_some_and(|window| (window.from..=window.to).contains(&line.seq));
        if inside {
            events.push(event(line));
        }
    };
    let outcome = host::run(
        plan,
        RunOptions {
            trace: window.is_some().then_some(&mut trace as &mut dyn FnMut(&TraceLine)),
            checkpoints: Some(&mut checkpoints),
            stop_after_steps: window.map(|window| window.to).filter(|to| *to < u64::MAX),
            ..RunOptions::default()
        },
    );
    drop(kept);
    let hex = |hash: u128| format!("{hash:032x}");
    let property = match &outcome.verdict {
        // Where an assertion failed counts, for a panicking run has no hash.
        Verdict::Panicked { place, message } => format!("panic at {place}: {message}"),
        verdict => verdict.property().unwrap_or_default().to_owned(),
    };
    Account {
        hash: hex(outcome.trace_hash),
        steps: outcome.steps,
        property,
        checkpoints: checkpoints.iter().map(|one| (one.step, hex(one.hash))).collect(),
        events,
    }
}

fn event(line: &TraceLine) -> Event {
    let effects = line.effects.iter().map(|effect| format!(" -> {}", effect.what));
    let from = line.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
    Event {
        step: line.seq,
        at_us: line.at.0,
        node: line.node.clone(),
        what: format!("{}{from} {}{}", line.kind, line.what, effects.collect::<String>()),
        stream: format!("{:?}/{}", line.stream.purpose, line.stream.entity),
        hash: format!("{:032x}", line.hash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoints(hashes: &[&str]) -> Vec<(u64, String)> {
        let steps = (1..).map(|nth| nth * 1_024);
        steps.zip(hashes).map(|(step, hash)| (step, (*hash).to_owned())).collect()
    }

    fn event(step: u64, hash: &str) -> Event {
        let (node, what, stream) = ("broker-0".into(), String::new(), String::new());
        Event { step, at_us: step, node, what, stream, hash: hash.to_owned() }
    }

    #[test]
    fn twice_window_begins_behind_the_last_equal_checkpoint() {
        let left = checkpoints(&["a", "b", "c", "d", "e"]);
        let right = checkpoints(&["a", "b", "x", "y", "z"]);
        assert_eq!(window(&left, &right), Window { from: 2_049, to: 3_072 });
        assert_eq!(window(&left, &left[..2]), Window { from: 2_049, to: u64::MAX });
        let right = checkpoints(&["x"]);
        assert_eq!(window(&left, &right), Window { from: 1, to: 1_024 });
        assert_eq!(window(&[], &right), Window { from: 1, to: u64::MAX });
    }

    #[test]
    fn twice_first_difference_is_named_also_where_one_run_is_shorter() {
        let left = [event(1, "a"), event(2, "b"), event(3, "c")];
        let right = [event(1, "a"), event(2, "x"), event(3, "y")];
        let found = first_difference(&left, &right);
        assert_eq!(found, Some([Some(left[1].clone()), Some(right[1].clone())]));
        assert_eq!(first_difference(&left, &left[..2]), Some([Some(left[2].clone()), None]));
        assert_eq!(first_difference(&left, &left), None);
    }
}
