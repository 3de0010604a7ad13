//! Flight recordings of whole runs: each leads to the same steps again, one that was tampered with
//! does not, and one of a step that panics does, too. In a build with `--cfg madsim` the runs are
//! those of whole processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use broker::recording::{BYTES_MAX, End, Entry, Fed, Reader, Recorder};
use broker_core::ids::NodeId;
use broker_core::mutants::Mutants;
use broker_core::step::Input;
use sim::decider::RunOptions;
use sim::flight::{Replayed, Verdict, replay};
use sim::generate::{Choice, generate};
use sim::{host, outcome};

/// A file of this test's own.
fn file(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("flight").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder.join("recording")
}

fn record(file: &Path, seed: u64, mutant: Option<&str>) -> outcome::Outcome {
    let mutants = mutant.map(str::to_owned).into_iter().collect();
    let plan = generate(seed, &Choice { mutants, ..Choice::default() });
    let recorder = Recorder::create(file, BYTES_MAX).expect("a new file");
    let options = RunOptions { recorder: Some(recorder.clone()), ..RunOptions::default() };
    let outcome = host::run(&plan, options);
    let (bytes, ended) = recorder.progress();
    assert_eq!(ended, None);
    assert_eq!(bytes, fs::metadata(file).expect("there").len());
    outcome
}

fn replayed(bytes: &[u8]) -> Replayed {
    replay(bytes, None).unwrap_or_else(|bad| panic!("{bad}"))
}

/// The file without the frames that are not to be kept.
fn without(bytes: &[u8], keep: impl Fn(u64, &Entry) -> bool) -> Vec<u8> {
    let mut reader = Reader::new(bytes).expect("a recording");
    let mut left = bytes[..reader.bytes() as usize].to_vec();
    while let Some(frame) = reader.frame().expect("whole") {
        if keep(frame.number, &frame.entry) {
            left.extend_from_slice(&bytes[frame.offset as usize..reader.bytes() as usize]);
        }
    }
    left
}

fn seedbed(args: &[&str]) -> (i32, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_seedbed")).args(args).output();
    let Output { status, stdout, stderr } = run.expect("the binary runs");
    let text = [stdout, stderr].concat();
    (status.code().expect("no signal"), String::from_utf8(text).expect("text"))
}

#[test]
fn flight_of_a_run_is_replayed_with_every_hash_equal() {
    let file = file("runs");
    let mut booted = 0;
    for seed in 0..8 {
        let outcome = record(&file, seed, None);
        let bytes = fs::read(&file).expect("written");
        let mut steps = 0;
        let replayed = replay(&bytes[..], Some(&mut |_, _, _| steps += 1)).expect("whole");
        assert!(matches!(replayed.verdict, Verdict::Equal), "seed {seed}: {:?}", replayed.verdict);
        assert_eq!(replayed.end, Some(End::Whole));
        assert_eq!(replayed.unfinished, []);
        assert_eq!(replayed.steps, steps);
        assert!(steps > 1_000 && steps < outcome.steps, "{steps} of {}", outcome.steps);
        booted += replayed.processes - replayed.nodes as u64;
    }
    assert!(booted > 0, "a node was booted again");
}

#[test]
fn flight_of_a_run_changes_nothing_about_it() {
    let file = file("same");
    for seed in [3, 4] {
        let plan = generate(seed, &Choice::default());
        let alone = host::run(&plan, RunOptions::default());
        assert_eq!(record(&file, seed, None), alone);
    }
}

/// The numbers of a step's frames: its input's, and that of its effects.
fn steps(bytes: &[u8], wanted: impl Fn(&Input) -> bool) -> Vec<(u64, u64, NodeId)> {
    let mut reader = Reader::new(bytes).expect("a recording");
    let (mut open, mut steps) = (BTreeMap::new(), Vec::new());
    while let Some(frame) = reader.frame().expect("whole") {
        match frame.entry {
            Entry::Fed(fed) if wanted(&fed.input) => {
                open.insert(fed.node, frame.number);
            }
            Entry::Effects { node, .. } => {
                let began = open.remove(&node);
                steps.extend(began.map(|began| (began, frame.number, node)));
            }
            Entry::Fed(_) | Entry::Begin { .. } | Entry::Full => {}
        }
    }
    steps
}

#[test]
fn flight_without_one_of_its_steps_differs() {
    let file = file("skipped");
    record(&file, 1, None);
    let bytes = fs::read(&file).expect("written");
    let all = steps(&bytes, |input| matches!(input, Input::Peer { .. } | Input::ObjDone(..)));
    let (mut differ, mut tried) = (0, 0);
    for (input, effects, node) in all.iter().step_by(all.len() / 20) {
        let left = without(&bytes, |number, _| number != *input && number != *effects);
        tried += 1;
        if let Verdict::Differs(difference, panicked) = replayed(&left).verdict {
            assert_eq!(difference.node, *node);
            assert!(difference.frame >= *input, "{} is before {input}", difference.frame);
            assert_eq!(panicked.is_some(), difference.found.is_none());
            differ += 1;
        }
    }
    // Some messages change nothing: one that came twice, or too late.
    assert!(differ * 3 > tried * 2, "{differ} of {tried}");
}

/// The same inputs, as if the planted bug had been mended since.
fn mended(file: &Path, bytes: &[u8], mutant: &str) -> Vec<u8> {
    let mut mended = without(bytes, |_, _| false);
    let header = mended.len();
    let begin = file.with_extension("begin");
    let mut reader = Reader::new(bytes).expect("a recording");
    while let Some(frame) = reader.frame().expect("whole") {
        if let Entry::Begin { node, incarnation, role, mutants } = frame.entry {
            assert_eq!(mutants, [mutant]);
            let one = Recorder::create(&begin, BYTES_MAX).expect("a file");
            one.begun(node, incarnation, &role, Mutants::NONE);
            mended.extend_from_slice(&fs::read(&begin).expect("written")[header..]);
        } else {
            mended.extend_from_slice(&bytes[frame.offset as usize..reader.bytes() as usize]);
        }
    }
    mended
}

#[test]
fn flight_with_a_planted_bug_is_replayed_with_it_and_differs_without() {
    let file = file("planted");
    let mutant = "wal-ack-before-verify";
    record(&file, 1, Some(mutant));
    let bytes = fs::read(&file).expect("written");
    assert!(matches!(replayed(&bytes).verdict, Verdict::Equal));
    let mended = mended(&file, &bytes, mutant);
    assert!(matches!(replayed(&mended).verdict, Verdict::Differs(..)));
}

/// The recording of a run, as if one of its brokers had died of being booted twice.
fn died(file: &Path) -> Vec<u8> {
    record(file, 1, None);
    let mut bytes = fs::read(file).expect("written");
    let (mut reader, mut boot) = (Reader::new(&bytes[..]).expect("a recording"), None);
    let header = reader.bytes() as usize;
    while let Some(frame) = reader.frame().expect("whole") {
        if let Entry::Fed(fed) = frame.entry
            && matches!(fed.input, Input::Boot(_))
            && fed.node.0 >= 100
        {
            boot = Some(fed);
        }
    }
    let Fed { node, cx, input } = boot.expect("a broker is booted");
    let again = file.with_extension("again");
    Recorder::create(&again, BYTES_MAX).expect("a file").fed(node, &cx, &input);
    bytes.extend_from_slice(&fs::read(&again).expect("written").split_off(header));
    bytes
}

#[test]
fn flight_that_ends_in_a_panic_is_replayed_to_it() {
    let file = file("died");
    let died = died(&file);
    let Verdict::Panicked(panicked) = replayed(&died).verdict else { panic!("it lives on") };
    assert!(panicked.place.contains("broker-core/src/broker/mod.rs:"), "{}", panicked.place);
    assert!(panicked.message.starts_with("booted twice: "), "{}", panicked.message);
    fs::write(&file, &died).expect("written");
    let (code, said) = seedbed(&["replay", file.to_str().expect("text")]);
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("FAIL assertion in the core at broker-core/src/broker/mod.rs:"),
        "{said}"
    );
    assert!(said.contains(&format!("frame {}, node {}", panicked.frame, panicked.node)), "{said}");

    // If the recorded process lived on, it is another process.
    let on = file.with_extension("on");
    Recorder::create(&on, BYTES_MAX).expect("a file").stepped(panicked.node, &[]);
    let on = fs::read(&on).expect("written");
    let header = Reader::new(&on[..]).expect("a recording").bytes() as usize;
    let lived = [&died[..], &on[header..]].concat();
    let Verdict::Differs(difference, how) = replayed(&lived).verdict else { panic!("the same") };
    assert_eq!(difference.frame, panicked.frame);
    assert_eq!(how.expect("it panics here").message, panicked.message);
    fs::write(&file, &lived).expect("written");
    let (code, said) = seedbed(&["replay", file.to_str().expect("text")]);
    assert!(code == 4 && said.contains("it panics at broker-core/src/broker/mod.rs:"), "{said}");
}

#[test]
fn flight_command_records_and_replays() {
    let file = file("command");
    let name = file.to_str().expect("text");
    let (code, said) = seedbed(&["run", "1", "--record", name]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("record  {name}, ")), "{said}");
    let (code, said) = seedbed(&["replay", name]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" nodes, all equal\nPASS\n"), "{said}");
    for flags in [["--only", "L3"], ["--mutant", "wal-ack-before-verify"]] {
        let (code, said) = seedbed(&[&["replay", name][..], &flags[..]].concat());
        assert!(code == 2 && said.starts_with("error: ") && said.contains(name), "{said}");
    }
    let traced = seedbed(&["replay", name, "--trace"]).1;
    assert!(traced.contains(" Boot(BootImage {"), "{}", &traced[..1_000]);

    let bytes = fs::read(&file).expect("written");
    let (half, changed) = (file.with_extension("half"), file.with_extension("changed"));
    fs::write(&half, &bytes[..bytes.len() / 2 + 1]).expect("written");
    let (code, said) = seedbed(&["replay", half.to_str().expect("text")]);
    assert!(code == 0 && said.contains("torn    the frame at byte "), "{said}");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&changed, flipped).expect("written");
    let (code, said) = seedbed(&["replay", changed.to_str().expect("text")]);
    assert!(code == 2 && said.contains("is damaged"), "{said}");
    let (input, effects, node) = steps(&bytes, |input| matches!(input, Input::LogDone(..)))[0];
    let skipped = without(&bytes, |number, _| number != input && number != effects);
    fs::write(&changed, skipped).expect("written");
    let (code, said) = seedbed(&["replay", changed.to_str().expect("text")]);
    assert!(code == 4 && said.contains("FAIL first difference at frame "), "{said}");
    assert!(said.contains(&format!(": node {node}, process 1: ")), "{said}");
}
