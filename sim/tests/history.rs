//! Histories from run to verdict: what a run writes, `judge` reads, and finds in it what the run
//! found as far as clients could see it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use invariants::history::HistoryEvent;
use invariants::jsonl::{Line, Reader};
use invariants::{HistoryJudge, OF_HISTORIES, Summary, Violation};
use sim::decider::{RunOptions, run};
use sim::generate::{Choice, generate};
use sim::outcome::{Outcome, Verdict};
use sim::recording;

fn recorded(seed: u64, workload: Option<&str>, mutant: Option<&str>) -> (Outcome, String) {
    let workload = workload.map(str::to_owned);
    let mutants = mutant.map(str::to_owned).into_iter().collect();
    let plan = generate(seed, &Choice { workload, mutants, ..Choice::default() });
    let mut history: Vec<HistoryEvent> = Vec::new();
    let options = RunOptions { history: Some(&mut history), ..RunOptions::default() };
    let outcome = run(&plan, options);
    (outcome, recording::lines(&plan, "a test", &history))
}

fn judged(text: &str) -> Result<Summary, Violation> {
    let (mut reader, mut judge) = (Reader::default(), HistoryJudge::default());
    for line in text.lines() {
        match reader.line(line).unwrap_or_else(|bad| panic!("{bad}: {line}")) {
            Line::Event { event, .. } => judge.event(&event)?,
            Line::Settled => judge.settled(),
            Line::Nothing => {}
        }
    }
    judge.finish()
}

/// How often a property is judged differs: a run's final log is asked for each record, too.
#[test]
fn history_of_a_sound_run_passes_and_evaluates_what_the_run_did() {
    let workloads = sim::registry::entries("workloads").expect("a kind of list");
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for sim::registry::Entry { id: workload, .. } in &workloads {
        for seed in 0..3 {
            let (outcome, text) = recorded(seed, Some(workload), None);
            assert_eq!(outcome.verdict, Verdict::Passed, "{workload} {seed}");
            let summary = judged(&text).unwrap_or_else(|why| panic!("{workload} {seed}: {why}"));
            assert_eq!(summary.ok, outcome.calls_ok);
            for (code, times) in summary.evaluated() {
                let in_run = outcome.reached.get(format!("evaluated:{code}").as_str());
                assert!(times == 0 || in_run.is_some(), "{code} is judged only of the history");
                *reached.entry(code).or_default() += times;
            }
        }
    }
    for (code, _) in OF_HISTORIES {
        assert!(reached[code] > 0, "{code}: {reached:?}");
    }
}

/// Planted bugs that clients can see: judging the history alone finds the same kind of thing.
#[test]
fn history_of_a_mutant_that_clients_see_is_found_broken() {
    let cases = [
        ("txn-commit-taken-for-abort", &["T1"][..]),
        ("txn-fetch-to-the-end", &["T2", "T3"]),
        ("producer-window-one", &["P1", "L1", "L2"]),
        ("partition-crc-unchecked", &["L9"]),
    ];
    for (mutant, expected) in cases {
        let found = (0..60).find_map(|seed| {
            let (outcome, text) = recorded(seed, None, Some(mutant));
            let violation = judged(&text).err()?;
            assert_ne!(outcome.verdict, Verdict::Passed, "{mutant} {seed}: only the history");
            Some(violation.property)
        });
        assert!(found.is_some_and(|code| expected.contains(&code)), "{mutant}: {found:?}");
    }
}

fn seedbed(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seedbed")).args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn file(name: &str, content: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join(name);
    fs::write(&file, content).expect("written");
    file
}

const HEADER: &str = "{\"history\":1}\n";
const PRODUCED: &str = concat!(
    r#"{"type":"invoke","time_us":1,"client":1,"call":1,"f":"produce","topic":"orders","#,
    r#""partition":0,"first_value":1,"count":1}"#,
    "\n",
    r#"{"type":"ok","time_us":2,"client":1,"call":1,"offset":0}"#,
    "\n",
);
const READ: &str = concat!(
    r#"{"type":"invoke","time_us":3,"client":2,"call":1,"f":"fetch","topic":"orders","#,
    r#""partition":0,"offset":0}"#,
    "\n",
    r#"{"type":"ok","time_us":4,"client":2,"call":1,"records":[{"offset":0,"value":1}]}"#,
    "\n",
);

fn judge_file(name: &str, content: &str) -> (Option<i32>, String, String) {
    let file = file(name, content);
    let output = seedbed(&["judge", file.to_str().expect("text")]);
    let (out, complaint) = (text(&output.stdout), text(&output.stderr));
    (output.status.code(), out.to_owned(), complaint.to_owned())
}

#[test]
fn judge_says_what_it_judged_and_what_not() {
    let unanswered = PRODUCED.lines().next().expect("two lines").replace(":1,", ":9,");
    let history = [HEADER, PRODUCED, READ, &unanswered].concat();
    let (code, out, complaint) = judge_file("sound.jsonl", &history);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{out}");
    let all = format!("of {}", OF_HISTORIES.len());
    for part in [
        "2 ok, 0 failed, 0 unknown, 1 never answered",
        "L9 ",
        "not     L6: it takes `leader_epoch`",
        &all,
    ] {
        assert!(out.contains(part), "`{part}` is not in: {out}");
    }
    // One that a reader did not come by is not called sound.
    let (code, _, complaint) = judge_file("nothing.jsonl", &[HEADER, PRODUCED].concat());
    assert_eq!(code, Some(2));
    assert!(complaint.contains("holds nothing that could be judged"), "{complaint}");
    let second = PRODUCED.replace(r#""call":1"#, r#""call":2"#);
    let second = second.replace(r#""first_value":1"#, r#""first_value":2"#);
    let second = second.replace(r#""offset":0"#, r#""offset":1"#);
    let second = second.replace(r#""time_us":"#, r#""time_us":1"#);
    let history = [HEADER, PRODUCED, READ, &second].concat();
    let (code, out, _) = judge_file("unread.jsonl", &history);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("unread  1 acknowledged records"), "{out}");
}

#[test]
fn judge_names_the_line_that_decided() {
    let other = READ.replace(r#""value":1"#, r#""value":8"#);
    let (code, out, _) = judge_file("phantom.jsonl", &[HEADER, PRODUCED, &other].concat());
    assert_eq!(code, Some(1), "{out}");
    for part in [
        "FAIL L1 at partition: topic orders, partition 0",
        "line 5",
        "line 4 begins",
        "line 3 acknowledges value 1 at offset 0",
        "line 5 reads value 8 at offset 0",
    ] {
        assert!(out.contains(part), "`{part}` is not in: {out}");
    }
    assert!(out.lines().last().is_some_and(|line| line.starts_with("cargo seedbed judge ")));
}

#[test]
fn judge_refuses_a_file_with_a_bad_line_as_a_whole() {
    let bad = READ.replace(r#""offset":0}"#, r#""offset":-1}"#);
    // A violation before the bad line does not count either.
    let phantom = READ.replace(r#""value":1"#, r#""value":8"#);
    let again = bad.replace(":3,", ":5,").replace(":4,", ":6,");
    let histories =
        [[HEADER, PRODUCED, &bad].concat(), [HEADER, PRODUCED, &phantom, &again].concat()];
    for (history, line) in histories.iter().zip(["line 4", "line 6"]) {
        let (code, out, complaint) = judge_file("bad.jsonl", history);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{complaint}");
        assert!(complaint.starts_with("error: "), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        for part in ["bad.jsonl ", line, "field `offset`: -1; allowed: 0 to"] {
            assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
        }
    }
}

/// So many lines that they reach the judge in several parts.
#[test]
fn judge_names_the_lines_of_a_long_file() {
    let append = |nth: u64| {
        let appended = PRODUCED.replace("\"call\":1", &format!("\"call\":{nth}"));
        let appended = appended.replace("\"offset\":0", &format!("\"offset\":{nth}"));
        let value = format!("\"first_value\":{}", nth + 1);
        appended.replace(":2,\"client", ":1,\"client").replace("\"first_value\":1", &value)
    };
    let appended: String = (0..3_000).map(append).collect();
    let (code, out, complaint) = judge_file("long.jsonl", &[HEADER, &appended, READ].concat());
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("6,003 lines") && out.contains("3,001 ok"), "{out}");
    let phantom = READ.replace(r#""value":1"#, r#""value":8"#);
    let (code, out, _) = judge_file("long.jsonl", &[HEADER, &appended, &phantom, "\n"].concat());
    let decided = "decided by line 6003, the end of the call that line 6002 begins";
    assert!(code == Some(1) && out.contains(decided), "{out}");
    let (code, _, complaint) =
        judge_file("long.jsonl", &[HEADER, &appended, &phantom, "{}"].concat());
    assert!(code == Some(2) && complaint.contains("line 6004: field `type`"), "{complaint}");
}

#[test]
fn judge_of_nothing_is_no_pass() {
    let fetch = READ.lines().next().expect("two lines");
    for history in ["", HEADER, &format!("{HEADER}{fetch}\n")] {
        let (code, out, complaint) = judge_file("nothing.jsonl", history);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{complaint}");
    }
    assert_eq!(seedbed(&["judge", "no/such/file"]).status.code(), Some(2));
}

fn judge_input(content: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new(env!("CARGO_BIN_EXE_seedbed"))
        .args(["judge", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(content.as_bytes()).expect("written");
    drop(input);
    child.wait_with_output().expect("it ends")
}

#[test]
fn judge_reads_standard_input() {
    let output = judge_input(&[HEADER, PRODUCED, READ].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("history standard input: 5 lines"));
}

#[test]
fn judge_says_of_standard_input_what_it_says_of_a_file() {
    let phantom = READ.replace(r#""value":1"#, r#""value":8"#);
    let phantom = [HEADER, PRODUCED, &phantom].concat();
    let output = judge_input(&phantom);
    assert_eq!(output.status.code(), Some(1));
    let (_, of_file, _) = judge_file("piped.jsonl", &phantom);
    let middle = |out: &str| {
        let lines: Vec<_> = out.lines().skip(1).map(str::to_owned).collect();
        lines.split_last().map(|(_, lines)| lines.to_vec()).expect("lines")
    };
    let of_input = middle(text(&output.stdout));
    assert_eq!(of_input, middle(&of_file));
    let witness = "line 3 acknowledges value 1 at offset 0";
    assert!(of_input.iter().any(|line| line == witness), "{of_input:?}");
}

#[test]
fn run_writes_a_history_that_judge_reads() {
    let file = file("run.jsonl", "");
    let name = file.to_str().expect("text");
    assert_eq!(seedbed(&["run", "3", "--history", name]).status.code(), Some(0));
    let output = seedbed(&["judge", name]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("cargo seedbed run 3"));
    let folder = file.parent().and_then(Path::to_str).expect("text");
    assert_eq!(seedbed(&["run", "3", "--history", folder]).status.code(), Some(2));
}
