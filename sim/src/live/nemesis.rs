//! Commands of the user's that break a cluster and heal it, on a schedule that the seed draws.
//!
//! Each command is run by `sh -c` with `SEEDBED_NEMESIS_ACT` = `begin` or `end` and
//! `SEEDBED_NEMESIS_NUMBER` = 0, 1, … (the same for the end of what that number began). One
//! command's acts do not overlap; those of different commands do. What began is always ended.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::generate::draw::{Purpose, Stream};

/// A command that takes longer than this has failed.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// Quiet between two acts, and how long an act lasts; less in runs that are too short for it.
const QUIET_MS: (u64, u64) = (2_000, 12_000);
const ACT_MS: (u64, u64) = (1_000, 10_000);

/// When a command begins and ends something, since the beginning of the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Act {
    /// Begins.
    pub from: Duration,
    /// Ends.
    pub upto: Duration,
}

/// The acts of the `nth` command in a run of this length: in its middle 90 %.
#[must_use]
pub fn schedule(seed: u64, nth: u64, length: Duration) -> Vec<Act> {
    let mut stream = Stream::new(seed, Purpose::Nemesis, nth);
    let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let (mut at, end) = (ms / 20, ms / 20 * 19);
    let mut drawn = |(least, most): (u64, u64)| {
        let most = most.min(ms / 4).max(1);
        stream.between(least.min(most / 4), most)
    };
    let mut acts = Vec::new();
    loop {
        let from = at + drawn(QUIET_MS);
        let upto = from + drawn(ACT_MS);
        if upto > end {
            return acts;
        }
        acts.push(Act { from: Duration::from_millis(from), upto: Duration::from_millis(upto) });
        at = upto;
    }
}

/// Runs one command's acts, until they are over or `stop` is told: then what has begun is ended at
/// once. How many there were.
///
/// # Errors
/// If a command failed: one sentence. What it began was ended if that was possible.
pub async fn run(
    command: String,
    acts: Vec<Act>,
    begin: Instant,
    mut stop: watch::Receiver<bool>,
) -> Result<u64, String> {
    let mut done = 0;
    for (number, act) in (0..).zip(acts) {
        if waited(begin + act.from, &mut stop).await {
            return Ok(done);
        }
        let began = execute(&command, "begin", number).await;
        let stopped = began.is_err() || waited(begin + act.upto, &mut stop).await;
        let ended = execute(&command, "end", number).await;
        began.and(ended)?;
        done += 1;
        if stopped {
            return Ok(done);
        }
    }
    Ok(done)
}

/// Waits until then; whether it was told to stop before.
async fn waited(until: Instant, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! { biased;
        // Whoever tells is gone: that is a stop, too.
        _ = stop.wait_for(|stop| *stop) => true,
        () = sleep_until(until) => false,
    }
}

async fn execute(command: &str, act: &str, number: u64) -> Result<(), String> {
    let failed = |why: String| format!("nemesis `{command}` ({act} {number}) {why}");
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("SEEDBED_NEMESIS_ACT", act).kill_on_drop(true);
    shell.env("SEEDBED_NEMESIS_NUMBER", number.to_string());
    // What it says must not stand among the results.
    shell.stdin(Stdio::null()).stdout(Stdio::null());
    let status = timeout(COMMAND_WITHIN, shell.status()).await;
    let status = status.map_err(|_| failed(format!("is not over after {COMMAND_WITHIN:?}")))?;
    let status = status.map_err(|error| failed(format!("can not be run: {error}")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("failed: {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nemesis_acts_do_not_overlap_and_end_before_the_run() {
        for (seed, secs) in [(1, 4), (2, 60), (3, 600)] {
            let length = Duration::from_secs(secs);
            let acts = schedule(seed, 0, length);
            assert!(!acts.is_empty(), "{secs} s");
            assert!(acts.iter().all(|act| act.from < act.upto && act.upto < length));
            assert!(acts.windows(2).all(|two| two[0].upto < two[1].from));
            assert_eq!(acts, schedule(seed, 0, length));
            assert_ne!(acts, schedule(seed, 1, length), "another command, other draws");
        }
    }

    #[tokio::test]
    async fn nemesis_that_is_stopped_ends_what_it_began() {
        let file = std::env::temp_dir().join(format!("seedbed-nemesis-{}", std::process::id()));
        let words = "$SEEDBED_NEMESIS_ACT$SEEDBED_NEMESIS_NUMBER";
        let command = format!("printf '%s ' {words} >> {}", file.display());
        let act = |from, upto| Act { from: Duration::from_millis(from), upto };
        let acts = vec![act(0, Duration::from_millis(1)), act(2, Duration::from_secs(600))];
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(run(command, acts, Instant::now(), stopped));
        let begun = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("begin1"));
        while !begun() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(true).expect("it listens");
        assert_eq!(run.await.expect("no panic"), Ok(2));
        let text = std::fs::read_to_string(&file).expect("written");
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(text, "begin0 end0 begin1 end1 ");
    }

    #[tokio::test]
    async fn nemesis_that_fails_is_named() {
        let acts = vec![Act { from: Duration::ZERO, upto: Duration::ZERO }];
        let (_stop, stopped) = watch::channel(false);
        let told = run("exit 3".to_owned(), acts, Instant::now(), stopped).await;
        assert_eq!(told, Err("nemesis `exit 3` (begin 0) failed: exit status: 3".to_owned()));
    }
}
