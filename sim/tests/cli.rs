//! The command line from outside: exit codes, what goes where, and what bad input gets to hear.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

const BAD_INPUT: i32 = 2;

fn seedbed(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seedbed")).args(args).output().expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Runs and expects one sentence on standard error, nothing on standard output, and exit code 2.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = seedbed(args);
    let complaint = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(code(&output), BAD_INPUT, "{args:?}: {complaint}");
    assert_eq!(stdout(&output), "", "{args:?}");
    assert_eq!(complaint.lines().count(), 1, "{args:?}: {complaint}");
    assert!(complaint.starts_with("error: "), "{complaint}");
    complaint
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// An empty folder of this test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

/// A small plan: a fault at an event, a fault at a time, two operations.
const PLAN: &str = r#"version = 1
background = "0x7"
profile = "none"
workload = "none"
safety = "3s"

[topology]
zones = 3
controllers = 3
brokers = 3
clients = 2

[limits]
wal_bulk_bytes_max = 2048
wal_bulk_interval = "50ms"
wal_puts_in_flight_max = 4
wal_unconfirmed_bytes_max = 20480
upload_backlog_bytes_max = 372736
upload_block_bytes_max = 21504
upload_block_interval = "1s"
cache_bytes_max = 19456
produce_queue_max = 16
list_page_max = 17

[[fault]]
fault = "store-lose-answer"
node = "self"
per_mille = 1000
fate = { late = { by_max = "2s" } }
on = { probe = "wal.put.sent", nth = 1 }
lasting = "1s"

[[fault]]
fault = "pause"
node = "broker-2"
at = "1.5s"
lasting = "200ms"

[[op]]
at = "500ms"
client = 0
op = "create-topic"
topic = "a"
partitions = 1

[[op]]
at = "1s"
client = 1
op = "produce"
topic = "a"
partition = 0
records = 2
bytes = 16
acks = -1
"#;

/// Replays the plan with something replaced and expects to hear of the line where it stood.
#[track_caller]
fn plan_refused(test: &str, from: &str, to: &str, parts: &[&str]) {
    assert_eq!(PLAN.matches(from).count(), 1, "`{from}` must name one place");
    let file = folder(test).join("bad.toml");
    fs::write(&file, PLAN.replacen(from, to, 1)).expect("written");
    let complaint = refused(&["replay", file.to_str().expect("text")]);
    let line = PLAN[..PLAN.find(from).expect("found above")].matches('\n').count() + 1;
    has(&complaint, &[&format!("bad.toml line {line}: ")]);
    has(&complaint, parts);
    let left = fs::read_dir(file.parent().expect("a folder")).expect("read").count();
    assert_eq!(left, 1, "nothing is written");
}

#[test]
fn cli_unknown_names_are_refused_with_what_is_allowed() {
    for command in [vec!["run", "5"], vec!["sweep", "--seeds", "1"], vec!["plan", "5"]] {
        let with = |flag, name| refused(&[command.as_slice(), &[flag, name]].concat());
        has(&with("--profile", "stormy"), &["unknown profile `stormy`; allowed: calm, storm, "]);
        has(&with("--workload", "nope"), &["unknown workload `nope`; allowed: "]);
        has(&with("--mutant", "nope"), &["unknown mutant `nope`; allowed: ", "wal-ack-before-v"]);
    }
    has(&refused(&["run", "5", "--only", "X9"]), &["unknown property `X9`; allowed: "]);
    has(&refused(&["list", "bugs"]), &["unknown kind of list `bugs`; allowed: workloads, "]);
    has(&refused(&["list", "mutants", "--kind", "x"]), &["`x`; allowed: core, determinism"]);
}

#[test]
fn cli_seed_that_is_no_number_is_refused() {
    for command in ["run", "plan"] {
        has(&refused(&[command, "seven"]), &["`seven` is no seed; allowed: a number"]);
    }
    for command in ["shrink", "twice"] {
        has(&refused(&[command, "seven"]), &["`seven` is no seed; allowed: ", "or a file"]);
    }
    has(&refused(&["sweep", "--seeds", "9..3"]), &["`9..3` is empty; allowed: A..B"]);
    has(&refused(&["sweep", "--seeds", "x..3"]), &["`x` is no seed"]);
    has(&refused(&["sweep", "--from", "1.5"]), &["`1.5` is no seed"]);
    has(&refused(&["twice", "3..3"]), &["is empty"]);
}

#[test]
fn cli_mistakes_in_the_arguments_are_one_sentence() {
    refused(&[]);
    has(&refused(&["rnu", "5"]), &["rnu", "allowed"]);
    has(&refused(&["run"]), &["<SEED>"]);
    has(&refused(&["run", "5", "--fast"]), &["--fast", "allowed"]);
    has(&refused(&["sweep", "--for", "soon"]), &["`soon` is no length of time; allowed"]);
    has(&refused(&["sweep", "--seeds", "5", "--for", "1m"]), &["--seeds", "--for"]);
    has(&refused(&["sweep", "--jobs", "0"]), &["--jobs", "1..=1024"]);
    has(&refused(&["replay", "no-such-file.toml"]), &["can not read no-such-file.toml"]);
}

#[test]
fn cli_verify_of_what_can_not_be_is_refused() {
    let verify = |bootstrap, workload| {
        refused(&["verify", "--bootstrap", bootstrap, "--workload", workload, "--for", "1s"])
    };
    has(&verify("kafka", "append-read"), &["`kafka`", "HOST:PORT"]);
    has(&verify("127.0.0.1:1", "spark-handoff"), &["`spark-handoff`", "allowed: append-read, "]);
    // Nobody listens there.
    has(&verify("127.0.0.1:1", "append-read"), &["no broker can be reached: 127.0.0.1:1: "]);
}

#[test]
fn cli_help_is_no_error() {
    let output = seedbed(&["--help"]);
    assert_eq!(code(&output), 0);
    has(&stdout(&output), &["sweep", "replay", "Exit codes: 0 passed"]);
    assert!(!stdout(&output).contains("twice-child"), "not for people");
}

#[test]
fn cli_plan_with_an_unknown_key_is_refused_in_every_table() {
    let check = |test: &str, from: &str, to: &str, parts: &[&str]| {
        plan_refused(&format!("unknown-{test}"), from, to, parts);
    };
    check("top", "safety = ", "safty = ", &["`safty`", "the plan", "safety"]);
    check("topology", "zones = 3", "zonez = 3", &["`zonez`", "[topology]", "zones, "]);
    check("limits", "list_page_max", "list_pages", &["`list_pages`", "[limits]"]);
    check("fault", "lasting = \"200ms\"", "until = \"2s\"", &["`until`", "number 2 (pause)"]);
    check("other", "lasting = \"200ms\"", "keep = \"all\"", &["`keep`", "number 2 (pause)"]);
    check("anchor", "nth = 1 }", "nth = 1, late = \"1s\" }", &["`late`", "`on` of [[fault]]"]);
    check("op", "acks = -1", "ack = -1", &["`ack`", "[[op]] number 2 (produce)", "acks"]);
    check("table", "[limits]", "[limitz]", &["`limitz`"]);
}

#[test]
fn cli_plan_with_a_wrong_value_is_refused() {
    let check = |test: &str, from: &str, to: &str, parts: &[&str]| {
        plan_refused(&format!("value-{test}"), from, to, parts);
    };
    check("type", "zones = 3", "zones = \"3\"", &["`zones`", "whole number from 1 to 3"]);
    check("range", "per_mille = 1000", "per_mille = 1001", &["`per_mille`", "1 to 1000"]);
    check("even", "controllers = 3", "controllers = 2", &["2 controllers", "1, 3 or 5"]);
    check("time", "at = \"1.5s\"", "at = \"1.5\"", &["`at`", "\"1.6s\", \"250ms\""]);
    check("kind", "fault = \"pause\"", "fault = \"pauze\"", &["`pauze`", "allowed: zone-fail, "]);
    check("op", "op = \"produce\"", "op = \"product\"", &["`product`", "create-topic, "]);
    let step = "by = \"86401s\"\nfault = \"clock-step\"";
    check("step", "fault = \"pause\"", step, &["`by`", "at most 86400s"]);
    let large = "bytes = 16777216\nrecords = 100000";
    check("batch", "records = 2\nbytes = 16", large, &["`bytes`", "67108864 bytes in all"]);
    check("fate", "by_max = \"2s\" } }", "by = \"2s\" } }", &["`by`", "by_max"]);
    check("profile", "profile = \"none\"", "profile = \"x\"", &["unknown profile `x`", "calm"]);
    check("workload", "workload = \"none\"", "workload = \"x\"", &["unknown workload `x`"]);
    let mutants = "mutants = [\"x\"]\nprofile = \"none\"";
    check("mutant", "profile = \"none\"", mutants, &["`mutants`", "unknown mutant `x`"]);
}

#[test]
fn cli_plan_with_a_membership_that_can_not_be_is_refused() {
    let consume = "\n[[op]]\nat = \"2s\"\nclient = 0\nop = \"consume\"\ntopic = \"a\"\n";
    // What it copies has more partitions in the end.
    const NARROW: &str = r#"group = "g"
protocol = "eager"
copies_to = "u"
[[op]]
at = "1s"
client = 0
op = "create-topic"
topic = "u"
partitions = 1
[[op]]
at = "1s"
client = 0
op = "add-partitions"
topic = "a"
count = 3"#;
    let cases = [
        ("group", "group = \"\"\nprotocol = \"eager\"", "`group`"),
        ("copy", "group = \"g\"\nprotocol = \"eager\"\ncopies_to = \"a\"", "copied to itself"),
        ("none", "group = \"g\"\nprotocol = \"eager\"\ncopies_to = \"u\"", "nobody creates \"u\""),
        ("narrow", NARROW, "\"u\" begins with 1 partitions and \"a\" has 3"),
        ("word", "group = \"g\"\nprotocol = \"x\"", "`protocol` in [[op]] number 3 (consume)"),
    ];
    for (test, keys, part) in cases {
        let file = folder(&format!("membership-{test}")).join("bad.toml");
        fs::write(&file, format!("{PLAN}{consume}{keys}\n")).expect("written");
        has(&refused(&["replay", file.to_str().unwrap()]), &[part]);
    }
}

#[test]
fn cli_plan_with_a_query_that_can_not_be_is_refused() {
    let stored = "../seeds/regress/replaced-coordinator-refuses.toml";
    let text = fs::read_to_string(stored).expect("a stored plan");
    for (test, from, to, part) in [
        ("none", "source = \"orders\"", "source = \"order\"", "nobody creates \"order\""),
        ("same", "target = \"bills\"", "target = \"orders\"", "`target`: is the source"),
        (
            "more",
            "\npartitions = 3",
            "\npartitions = 4",
            "has 3 partitions at some time; allowed: exactly 4",
        ),
        (
            "event",
            "at = \"3.28s\"",
            "on = { probe = \"spark.c3\", nth = 1, node = \"broker-1\" }",
            "no `broker-1`",
        ),
        (
            "node",
            "at = \"3.28s\"",
            "on = { probe = \"wal.put.sent\", nth = 1, node = \"driver-0\" }",
            "no `driver-0`",
        ),
        (
            "self",
            "fault = \"cut\"\nfrom = [\"broker-2\"]\nto = [\"controller-1\"]\nat = \"3.28s\"",
            "fault = \"pause\"\nnode = \"self\"\non = { probe = \"spark.c3\", nth = 1 }",
            "happen on none",
        ),
        ("place", "[\"broker-2\"]", "[\"driver-2\"]", "driver-0 to driver-1, executor-0 to"),
        ("wide", "target_partitions = 2", "target_partitions = 9", "allowed: at least "),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "{test}: {from:?} is not in the plan");
        let file = folder(&format!("query-{test}")).join("bad.toml");
        fs::write(&file, changed).expect("written");
        has(&refused(&["replay", file.to_str().unwrap()]), &[part]);
    }
}

#[test]
fn cli_plan_with_a_key_missing_is_refused() {
    let check = |test: &str, from: &str, parts: &[&str]| {
        let file = folder(&format!("missing-{test}")).join("bad.toml");
        fs::write(&file, PLAN.replacen(from, "", 1)).expect("written");
        has(&refused(&["replay", file.to_str().unwrap()]), parts);
    };
    check("version", "version = 1", &["line 1: the plan lacks `version`"]);
    check("limit", "list_page_max = 17", &["line 13: [limits] lacks `list_page_max`"]);
    check("time", "at = \"1.5s\"", &["line 33: [[fault]] number 2", "one of `at` and `on`"]);
    check("acks", "acks = -1", &["line 46: [[op]] number 2 (produce) lacks `acks`"]);
    check("kind", "fault = \"pause\"", &["line 33: [[fault]] number 2 lacks `fault`; allowed"]);
}

#[test]
fn cli_plan_with_a_name_of_nothing_is_refused() {
    let check = |test: &str, from: &str, to: &str, parts: &[&str]| {
        plan_refused(&format!("name-{test}"), from, to, parts);
    };
    let nodes = "controller-0 to controller-2, broker-0 to broker-2";
    check("node", "node = \"broker-2\"", "node = \"broker-3\"", &["`broker-3`", nodes]);
    check("zero", "node = \"broker-2\"", "node = \"broker-02\"", &["`broker-02`", nodes]);
    check("self", "node = \"broker-2\"", "node = \"self\"", &["`self`", "`on`"]);
    check("probe", "on = { probe = \"wal.put.sent\"", "on = { probe = \"x\"", &["probe `x`"]);
    check("client", "client = 1\n", "client = 2\n", &["no client 2; allowed: 0 to 1"]);
    let cut = "fault = \"cut\"\nfrom = [\"zone-3\"]\nto = [\"store\"]";
    let text = PLAN.replace("fault = \"pause\"\nnode = \"broker-2\"", cut);
    let file = folder("name-zone").join("bad.toml");
    fs::write(&file, text).expect("written");
    let complaint = refused(&["replay", file.to_str().unwrap()]);
    has(&complaint, &["bad.toml line 35: ", "`zone-3`", "zone-0 to zone-2, store"]);
}

#[test]
fn cli_plan_that_is_no_toml_or_newer_is_refused() {
    plan_refused("toml", "zones = 3", "zones = = 3", &["not TOML"]);
    plan_refused("newer", "version = 1", "version = 2", &["format version 2", "up to 1"]);
    // The version comes first: what else is new in the format is not worth telling.
    let file = folder("newer-with-new-keys").join("bad.toml");
    fs::write(&file, PLAN.replace("version = 1", "version = 9\nnew_key = 1")).expect("written");
    has(&refused(&["replay", file.to_str().unwrap()]), &["line 1: ", "format version 9"]);
}

#[test]
fn cli_bad_file_among_good_ones_runs_nothing() {
    let folder = folder("among");
    fs::write(folder.join("a.toml"), PLAN).expect("written");
    fs::write(folder.join("b.toml"), PLAN.replace("zones = 3", "zones = 9")).expect("written");
    has(&refused(&["replay", folder.to_str().unwrap()]), &["b.toml line 8: "]);
    fs::remove_file(folder.join("b.toml")).expect("removed");
    fs::create_dir(folder.join("empty")).expect("made");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&folder, folder.join("circle")).expect("linked");
        assert_eq!(code(&seedbed(&["replay", folder.to_str().unwrap()])), 0);
        std::os::unix::fs::symlink(folder.join("gone"), folder.join("c.toml")).expect("linked");
        has(&refused(&["replay", folder.to_str().unwrap()]), &["can not read ", "c.toml"]);
        fs::remove_file(folder.join("c.toml")).expect("removed");
    }
    fs::remove_file(folder.join("a.toml")).expect("removed");
    has(&refused(&["replay", folder.to_str().unwrap()]), &["there is no plan (*.toml) in "]);
}

#[test]
fn cli_replay_of_what_has_no_end_is_refused() {
    has(&refused(&["replay", "/dev/zero"]), &["/dev/zero is neither a file nor a folder"]);
}

#[test]
fn cli_sweep_that_can_not_write_says_so_before_it_starts() {
    let folder = folder("sweep-out");
    let file = folder.join("taken");
    fs::write(&file, "").expect("written");
    // `refused` sees that nothing was printed, so nothing had begun.
    let complaint = refused(&["sweep", "--seeds", "1", "--out", file.to_str().unwrap()]);
    has(&complaint, &["can not write in ", "taken"]);
    let below = file.join("below");
    refused(&["sweep", "--seeds", "1", "--out", below.to_str().unwrap()]);
    assert_eq!(fs::read(&file).expect("still there"), b"");
}

#[test]
fn cli_sweep_refuses_a_folder_with_the_result_of_another() {
    let folder = folder("sweep-again");
    let sweep = ["sweep", "--seeds", "7..8", "--out", folder.to_str().unwrap()];
    assert_eq!(code(&seedbed(&sweep)), 0);
    has(&refused(&sweep), &["sweep-again holds summary.json of an earlier sweep"]);
}

#[test]
fn cli_search_that_can_not_write_its_result_says_so_before_it_starts() {
    let folder = folder("search-out");
    let file = folder.join("taken");
    fs::write(&file, "").expect("written");
    let below = file.join("plan.toml");
    let below = below.to_str().unwrap();
    let bug = ["0", "--mutant", "wal-ack-before-verify"];
    has(&refused(&[&["shrink"], &bug[..], &["-o", below]].concat()), &["can not write "]);
    let story = ["--slug", "x", "--why", "x", "--dir", file.to_str().unwrap()];
    has(&refused(&[&["keep"], &bug[..], &story].concat()), &["can not write "]);
    assert_eq!(fs::read_dir(&folder).expect("read").count(), 1);
}

#[test]
fn cli_keep_by_one_property_stores_what_replay_finds_again() {
    let folder = folder("keep-only");
    // W1 strikes first when all are judged.
    let bug = ["keep", "1", "--mutant", "produce-ack-on-append", "--only", "L3"];
    let story = ["--slug", "x", "--why", "x", "--executions", "60"];
    let kept = seedbed(&[&bug[..], &story, &["--dir", folder.to_str().unwrap()]].concat());
    assert_eq!(code(&kept), 0, "{kept:?}");
    let replayed = seedbed(&["replay", folder.join("x.toml").to_str().unwrap()]);
    assert_eq!(code(&replayed), 0, "{replayed:?}");
    has(&stdout(&replayed), &["PASS L3 with produce-ack-on-append"]);
}

#[test]
fn cli_keep_never_overwrites_and_wants_a_slug() {
    let folder = folder("keep");
    let dir = folder.to_str().unwrap();
    fs::write(folder.join("old.toml"), "precious").expect("written");
    let keep = |slug| refused(&["keep", "5", "--slug", slug, "--why", "x", "--dir", dir]);
    has(&keep("old"), &["old.toml is there already"]);
    for slug in ["../x", "Old", "a--b", "", "a b"] {
        has(&keep(slug), &["is no slug; allowed: lower-case words"]);
    }
    assert_eq!(fs::read(folder.join("old.toml")).expect("kept"), b"precious");
    assert_eq!(fs::read_dir(&folder).expect("read").count(), 1);
}

fn line_with<'a>(text: &'a str, word: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("{word}: {text}"))
}

#[test]
fn cli_run_twice_and_as_a_plan_gives_the_same_trace() {
    let first = seedbed(&["run", "4711"]);
    assert!([0, 1, 5].contains(&code(&first)), "{first:?}");
    assert_eq!(stdout(&first), stdout(&seedbed(&["run", "4711"])));
    let file = folder("run-as-plan").join("plan.toml");
    fs::write(&file, stdout(&seedbed(&["plan", "0x1267"]))).expect("written");
    let replayed = seedbed(&["replay", file.to_str().unwrap()]);
    assert_eq!(code(&replayed), code(&first));
    assert_eq!(line_with(&stdout(&first), "ran"), line_with(&stdout(&replayed), "ran"));
}

#[test]
fn cli_sweep_that_fails_ends_with_the_command_that_repeats_it() {
    let out = folder("sweep-fails");
    let output = seedbed(&[
        "sweep",
        "--seeds",
        "1..400",
        "--mutant",
        "wal-ack-before-verify",
        "--profile",
        "targeted",
        "--stop-after",
        "1",
        "--out",
        out.to_str().unwrap(),
    ]);
    let text = stdout(&output);
    assert_eq!(code(&output), 1, "{text}");
    let command = text.lines().last().expect("lines");
    let again: Vec<_> = command.strip_prefix("cargo seedbed ").expect("ours").split(' ').collect();
    let run = seedbed(&again);
    assert!([1, 5].contains(&code(&run)), "{run:?}");
    assert_eq!(stdout(&run).lines().last(), Some(command), "a run ends with it, too");
    let failures = fs::read_to_string(out.join("failures.jsonl")).expect("written");
    let first: serde_json::Value = serde_json::from_str(failures.lines().next().unwrap()).unwrap();
    has(&stdout(&seedbed(&command_of(&first))), &[first["trace_hash"].as_str().unwrap()]);
}

fn command_of(failure: &serde_json::Value) -> Vec<&str> {
    let command = failure["command"].as_str().expect("a text");
    command.strip_prefix("cargo seedbed ").expect("ours").split(' ').collect()
}

#[test]
fn cli_list_of_ids_feeds_other_commands() {
    let ids = stdout(&seedbed(&["list", "mutants", "--ids", "--kind", "core"]));
    assert!(ids.lines().any(|id| id == "wal-ack-before-verify"), "{ids}");
    assert!(!ids.lines().any(|id| id.starts_with("nd-")), "{ids}");
    for id in ids.lines() {
        assert_eq!(code(&seedbed(&["plan", "1", "--mutant", id])), 0, "{id}");
    }
    let json = stdout(&seedbed(&["list", "faults", "--json"]));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    assert!(rows.iter().any(|row| row["id"] == "zone-fail"), "{json}");
}

#[test]
fn cli_sweep_writes_its_account_and_leaves_no_marks_of_running() {
    let out = folder("sweep").join("made/by/it");
    let output =
        seedbed(&["sweep", "--seeds", "7..10", "--jobs", "2", "--out", out.to_str().unwrap()]);
    assert!([0, 1].contains(&code(&output)), "{output:?}");
    has(&stdout(&output), &["seeds 7..10, 2 jobs", "3 runs"]);
    let summary = fs::read_to_string(out.join("summary.json")).expect("written");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(summary["runs"], 3);
    let lines = fs::read_to_string(out.join("failures.jsonl")).expect("written");
    assert_eq!(lines.lines().count() as u64, summary["failures"].as_u64().expect("a number"));
    assert!(!out.join("running-0.txt").exists() && !out.join("running-1.txt").exists());
}

#[test]
fn cli_plan_by_hand_runs_alike_in_two_processes() {
    let file = folder("twice").join("plan.toml");
    fs::write(&file, PLAN).expect("written");
    let output = seedbed(&["twice", file.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{output:?}");
    has(&stdout(&output), &["equal in two processes"]);
}

#[test]
fn readme_and_guide_show_what_a_run_prints() {
    let printed = stdout(&seedbed(&["run", "1"]));
    for page in ["README.md", "docs/reading-a-run.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
        let text = fs::read_to_string(path).expect("the page is there");
        assert!(text.contains(&printed), "{page} shows another run than:\n{printed}");
    }
}

#[test]
fn cli_check_finds_planted_bugs_and_writes_them_as_plans() {
    let output = seedbed(&["check", "--calibrate", "group-consumer-failover"]);
    assert_eq!(code(&output), 0, "{output:?}");
    has(&stdout(&output), &["found group-given-before-revoked", "G5 at 8 steps", "PASS"]);
    let file = folder("check").join("found.toml");
    let file = file.to_str().expect("text");
    let bug = ["--mutant", "controller-epoch-kept", "-o", file];
    let output = seedbed(&[&["check", "wal-failover"][..], &bug].concat());
    assert_eq!(code(&output), 1, "{output:?}");
    has(&stdout(&output), &["model   wal-failover: delays 1, expiries 1", "FAIL L8", file]);
    let output = seedbed(&["replay", file]);
    assert_eq!(code(&output), 1, "{output:?}");
    has(&stdout(&output), &["then    3 of 3 steps taken", "FAIL L8"]);
    // One that breaks before the search begins.
    let bug = ["--mutant", "txn-last-stable-off-by-one", "-o", file];
    let output = seedbed(&[&["check", "txn-late"][..], &bug].concat());
    has(&stdout(&output), &["FAIL RF3", "on the way there", file]);
    assert_eq!((code(&output), code(&seedbed(&["replay", file]))), (1, 1));
    has(&refused(&["check", "quorum-appends", "-o", file]), &["no plan", "controllers-crash"]);
    has(&refused(&["check", "--calibrate", "--tier", "nightly"]), &["cannot be used"]);
    has(&refused(&["check", "--calibrate", "txn-links"]), &["no planted bug", "txn-late"]);
    has(&refused(&["check", "wal-fail"]), &["wal-fail", "wal-failover"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
fn cli_check_explore_serves_the_states_and_needs_an_address_that_is_free() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    let args = ["check", "quorum-elections", "--explore", &address];
    has(&refused(&args), &["--explore", &address, "in use"]);
    has(&refused(&["check", "quorum-walks", "--explore", "127.0.0.1:0"]), &["quorum-walks walks"]);
    drop(free);
    let mut server = Command::new(env!("CARGO_BIN_EXE_seedbed"));
    let mut server = server.args(args).stdout(Stdio::null()).spawn().expect("the binary runs");
    let answer = (0..100).find_map(|_| {
        sleep(Duration::from_millis(50));
        let mut asks = TcpStream::connect(&address).ok()?;
        asks.write_all(b"GET /.states/0 HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        asks.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    server.kill().and_then(|()| server.wait()).expect("it ends");
    has(&answer.expect("an answer"), &["200 OK", "Fire(NodeId(101), FetchTimeout)"]);
}

#[test]
fn cli_check_from_here_needs_a_run_and_a_place_in_it() {
    let plan = "src/model/plans/wal.toml";
    has(&refused(&["check", "--from", plan]), &["--at"]);
    has(&refused(&["check", "--at", "1s"]), &["--from"]);
    has(&refused(&["check", "--from", plan, "--at", "1x"]), &["`1x`", "12.5s", "wal.put.sent"]);
    has(&refused(&["check", "--from", plan, "--at", "wal.put.sent:0"]), &["from 1 on"]);
    has(&refused(&["check", "--from", plan, "--at", "wal.put.sent:99"]), &["over before"]);
    has(&refused(&["check", "--from", plan, "--at", "9h"]), &["9h"]);
    has(&refused(&["check", "--from", "no.toml", "--at", "1s"]), &["no.toml"]);
    has(&refused(&["check", "quorum-terms", "--from", plan, "--at", "1s"]), &["cannot be used"]);
    let bug = ["--mutant", "wal-unknown-is-failure"];
    let from = ["check", "--from", plan, "--at", "wal.put.sent", "--steps", "3"];
    let output = seedbed(&from);
    assert_eq!(code(&output), 0, "{output:?}");
    has(&stdout(&output), &["steps 3, mishaps 1", "states", "PASS"]);
    let output = seedbed(&[&from[..], &bug].concat());
    assert_eq!(code(&output), 1, "{output:?}");
    has(&stdout(&output), &["FAIL L2 at partition", "    3   broker-0"]);
    // What was found is a plan, and happens again in a run.
    let file = folder("check-from").join("found.toml");
    let file = file.to_str().expect("text");
    assert_eq!(code(&seedbed(&[&from[..], &bug, &["-o", file]].concat())), 1);
    let output = seedbed(&["replay", file]);
    assert_eq!(code(&output), 1, "{output:?}");
    let told = "FAIL L2 at partition: partition 0: under leader epoch 0";
    has(&stdout(&output), &["then    3 of 3 steps taken", told, file]);
    has(&refused(&["check", "--from", file, "--at", "1s"]), &["[then] already"]);
    let text = fs::read_to_string(file).expect("it was written");
    has(
        &text,
        &["[then]", "broker-0 store.give-up from store put wal/", "from = \"wal.put.sent\""],
    );
    fs::write(file, text.replace(bug[1], "wal-single-delete")).expect("it can be written");
    assert_eq!(code(&seedbed(&["replay", file])), 0, "the right core passes");
    fs::write(file, text.replace("wal.put.sent", "wal.put.gone")).expect("it can be written");
    has(&refused(&["replay", file]), &["`from`", "`wal.put.gone`", "wal.put.sent"]);
    // What breaks on the way there is told as such.
    let bug = ["--mutant", "partition-hw-is-leo"];
    let output = seedbed(&[&from[..4], &["5s"], &bug].concat());
    assert_eq!(code(&output), 1, "{output:?}");
    has(&stdout(&output), &["FAIL L5", "on the way there"]);
}
