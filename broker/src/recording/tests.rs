//! Files as they are written and as they must never be: torn, damaged, full, out of order.

use std::fs;
use std::path::Path;

use broker_core::config::ControllerConfig;
use broker_core::ids::{ConnId, IncarnationId};
use broker_core::probe::Probe;
use broker_core::step::{BootImage, HaltReason, Machine, Outbox, TimerKey, Tok};
use broker_core::time::{Dur, Mono, Wall};

use super::*;
use crate::durable::tests::Scratch;

const NODE: NodeId = NodeId(101);

fn role() -> Role {
    Role::Controller(ControllerConfig { node: NODE, voters: vec![NODE] })
}

fn cx(mono: u64) -> Cx {
    Cx { mono: Mono(mono), wall: Wall(-7), entropy: u64::MAX - mono, mutants: Mutants::NONE }
}

fn boot() -> Input {
    let incarnation_id = IncarnationId(u64::MAX);
    Input::Boot(BootImage { incarnation: Incarnation(1), incarnation_id })
}

/// A controller is booted and told of two timers and a client.
fn inputs() -> Vec<Input> {
    vec![boot(), Input::Timer(TimerKey::Sweep), Input::Gone(ConnId(7)), Input::Drain]
}

/// Records that, and gives the entries of the file.
fn record(path: &Path, bytes_max: u64) -> Vec<Entry> {
    let recorder = Recorder::create(path, bytes_max).expect("a new file");
    recorder.begun(NODE, Incarnation(1), &role(), Mutants::NONE);
    let Role::Controller(config) = role() else { unreachable!("see above") };
    let begin =
        Entry::Begin { node: NODE, incarnation: Incarnation(1), role: role(), mutants: Vec::new() };
    let (mut controller, mut entries) =
        (broker_core::controller::Controller::new(config), vec![begin]);
    for (mono, input) in (0..).zip(inputs()) {
        let mut out = Outbox::default();
        recorder.fed(NODE, &cx(mono), &input);
        entries.push(Entry::Fed(Fed { node: NODE, cx: cx(mono), input: input.clone() }));
        controller.step(&cx(mono), input, &mut out);
        recorder.stepped(NODE, out.as_slice());
        entries.push(Entry::Effects { node: NODE, hash: hash_of(out.as_slice()) });
    }
    entries
}

fn read(bytes: &[u8]) -> Result<(Vec<Frame>, End), BadRecording> {
    let (mut reader, mut frames) = (Reader::new(bytes)?, Vec::new());
    while let Some(frame) = reader.frame()? {
        frames.push(frame);
    }
    assert_eq!(reader.frame(), Ok(None), "the end stays the end");
    Ok((frames, reader.end().expect("read so far")))
}

fn entries(frames: Vec<Frame>) -> Vec<Entry> {
    frames.into_iter().map(|frame| frame.entry).collect()
}

fn file_of(entries: &[Entry]) -> Vec<u8> {
    let frames = entries.iter().map(|entry| frame(entry).expect("short"));
    header().into_iter().chain(frames.flatten()).collect()
}

fn replay(entries: &[Entry]) -> Result<Replay, Wrong> {
    let mut replay = Replay::default();
    for frame in read(&file_of(entries)).expect("whole").0 {
        replay.frame(frame)?;
    }
    Ok(replay)
}

fn bad(entries: &[Entry]) -> String {
    match replay(entries).err() {
        Some(Wrong::Bad(BadRecording(why))) => why,
        Some(Wrong::Differs(difference)) => panic!("{difference:?}"),
        None => panic!("it is in order"),
    }
}

#[test]
fn recording_written_is_read_and_replayed_again() {
    let path = Scratch::new("recording-again");
    let written = record(&path, BYTES_MAX);
    let bytes = fs::read(&*path).expect("there");
    assert_eq!(bytes, file_of(&written), "both layouts of an entry are one");
    let (frames, end) = read(&bytes).expect("whole");
    assert_eq!(end, End::Whole);
    assert_eq!(frames[0].offset, 5);
    assert!(frames.iter().map(|frame| frame.number).eq(1..=9));
    assert_eq!(entries(frames), written);
    let replay = replay(&written).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((replay.steps(), replay.nodes(), replay.processes()), (4, 1, 1));
    assert_eq!(replay.unfinished().count(), 0);
}

#[test]
fn recording_with_a_flipped_bit_is_refused_wherever_it_is() {
    let path = Scratch::new("recording-flipped");
    record(&path, BYTES_MAX);
    let whole = fs::read(&*path).expect("there");
    let (frames, _) = read(&whole).expect("whole");
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let BadRecording(why) = read(&bytes).expect_err("damaged");
        if let Some(frame) = frames.iter().rev().find(|frame| frame.offset as usize <= bit / 8) {
            let place = format!("frame {}, at byte {}, ", frame.number, frame.offset);
            assert!(why.starts_with(&place), "{bit}: {why}");
        }
    }
}

#[test]
fn recording_torn_anywhere_has_all_frames_before() {
    let path = Scratch::new("recording-torn");
    let written = record(&path, BYTES_MAX);
    let whole = fs::read(&*path).expect("there");
    let (frames, _) = read(&whole).expect("whole");
    for bytes in 0..whole.len() {
        let cut = &whole[..bytes];
        if bytes < HEADER_BYTES {
            assert!(read(cut).is_err(), "no header");
            continue;
        }
        let (left, end) = read(cut).expect("torn is not damaged");
        let next = frames[left.len()].offset;
        let there = bytes as u64 - next;
        let torn = End::Torn { offset: next, bytes: there };
        assert_eq!(end, if there == 0 { End::Whole } else { torn });
        assert_eq!(entries(left.clone()), written[..left.len()]);
    }
}

#[test]
fn recording_never_grows_beyond_its_bound_and_says_so() {
    let path = Scratch::new("recording-full");
    let written = record(&path, BYTES_MAX);
    let whole = fs::read(&*path).expect("there").len() as u64;
    for bytes_max in BYTES_MIN..whole + 2 * BYTES_MIN {
        let path = Scratch::new("recording-full-again");
        record(&path, bytes_max);
        let bytes = fs::read(&*path).expect("there");
        assert!(bytes.len() as u64 <= bytes_max, "{} of {bytes_max}", bytes.len());
        let (frames, end) = read(&bytes).expect("whole");
        let fits = bytes_max >= whole + BYTES_MIN - HEADER_BYTES as u64;
        assert_eq!(end, if fits { End::Whole } else { End::Full }, "{bytes_max} of {whole}");
        assert_eq!(fits, frames.len() == written.len());
        assert_eq!(entries(frames.clone()), written[..frames.len()]);
    }
    assert!(Recorder::create(&path, BYTES_MIN - 1).is_err(), "no room to say that it is full");
    let mut behind = file_of(&[Entry::Full]);
    behind.push(0);
    let BadRecording(why) = read(&behind).expect_err("more behind it");
    assert!(why.contains("behind the file's last"), "{why}");
}

#[test]
fn recording_of_another_version_or_kind_is_refused() {
    let refused = |bytes: &[u8]| read(bytes).expect_err("refused").0;
    assert!(refused(b"").contains("no recording"));
    assert!(refused(b"[topology]").contains("no recording"));
    assert!(refused(b"SBfr\x01").contains("version 1; this build reads version 3"));
    // Checks that hold around nonsense, and around a length that nobody may have.
    let sealed = |body: &[u8], length: u32| {
        let mut head = length.to_be_bytes().to_vec();
        head.extend(crc32c(body).to_be_bytes());
        head.extend(crc32c(&head.clone()).to_be_bytes());
        [&header()[..], &head, body].concat()
    };
    assert!(refused(&sealed(b"", 0)).contains("makes no sense"));
    assert!(refused(&sealed(b"\x04", 1)).contains("makes no sense"));
    assert!(refused(&sealed(b"\x03\x03", 2)).contains("makes no sense"));
    assert!(refused(&sealed(b"", u32::MAX)).contains("longer than any"));
    let promised = read(&sealed(b"\x03", 200 << 20)).expect("torn").1;
    assert_eq!(promised, End::Torn { offset: 5, bytes: 13 });
}

#[test]
fn recording_in_an_impossible_order_is_refused_with_its_frame() {
    let path = Scratch::new("recording-order");
    let good = record(&path, BYTES_MAX);
    let without = |at: usize| [&good[..at], &good[at + 1..]].concat();
    assert_eq!(
        bad(&without(0)),
        "frame 1, at byte 5, is damaged: a process that has not begun is fed"
    );
    assert!(bad(&without(1)).starts_with("frame 2, "));
    assert!(bad(&without(2)).contains("in the midst of a step"));
    let mut unknown = good.clone();
    let Entry::Begin { mutants, .. } = &mut unknown[0] else { panic!("it begins so") };
    mutants.push("no-such-bug".to_owned());
    assert!(bad(&unknown).contains("no-such-bug"));
    // The process died in its last step, and the node was started again.
    let died = [&good[..6], &good[..1]].concat();
    let replay = replay(&died).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((replay.steps(), replay.processes(), replay.unfinished().count()), (3, 2, 0));
    let unfinished = super::tests::replay(&good[..6]).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert!(unfinished.unfinished().map(|it| (it.0, it.1)).eq([(NODE, 6)]));
}

#[test]
fn recording_whose_step_differs_names_it() {
    let path = Scratch::new("recording-differs");
    let good = record(&path, BYTES_MAX);
    let differs = |entries: &[Entry]| match replay(entries).err() {
        Some(Wrong::Differs(difference)) => difference,
        other => panic!("{other:?}"),
    };
    let mut wrong = good.clone();
    let Entry::Effects { hash, .. } = &mut wrong[4] else { panic!("a step ends here") };
    *hash ^= 1;
    let found = differs(&wrong);
    assert_eq!((found.frame, found.node, &found.input), (4, NODE, &inputs()[1]));
    assert_eq!(found.found.map(|effects| hash_of(&effects)), Some(found.expected ^ 1));
}

#[test]
fn recording_that_is_there_is_kept_and_nothing_else_is_written_over() {
    let folder = Scratch::new("recording-kept");
    fs::create_dir_all(&*folder).expect("a folder");
    let (path, old) = (folder.join("it"), folder.join("it.old"));
    let first = record(&path, BYTES_MAX);
    Recorder::create(&path, BYTES_MAX).expect("again");
    assert_eq!(entries(read(&fs::read(&old).expect("kept")).expect("whole").0), first);
    assert_eq!(fs::read(&path).expect("there"), header());
    let held = Recorder::create(&path, BYTES_MAX).expect("again");
    let refused = Recorder::create(&path, BYTES_MAX).expect_err("held").to_string();
    assert!(refused.contains("another recording to it is under way"), "{refused}");
    drop(held);
    fs::write(&path, "a plan").expect("written");
    for other in [&path, &*folder, Path::new("/dev/null")] {
        let refused = Recorder::create(other, BYTES_MAX).expect_err("no recording").to_string();
        assert!(refused.starts_with("can not record to "), "{refused}");
    }
    assert_eq!(fs::read_to_string(&path).expect("there"), "a plan");
    fs::write(&path, "").expect("written");
    Recorder::create(&path, BYTES_MAX).expect("an empty file holds nothing");
}

#[test]
fn recording_on_a_full_disk_ends_and_its_process_does_not() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let path = Scratch::new("recording-disk");
    let recorder = Recorder::create(&path, BYTES_MAX).expect("a new file");
    recorder.instead("/dev/full");
    recorder.begun(NODE, Incarnation(1), &role(), Mutants::NONE);
    recorder.fed(NODE, &cx(0), &boot());
    let (bytes, ended) = recorder.progress();
    assert_eq!(bytes, HEADER_BYTES as u64);
    assert!(matches!(ended, Some(Ended::Failed(_))), "{ended:?}");
}

#[test]
fn recording_names_every_planted_bug_and_knows_it_again() {
    for row in rows() {
        let on = Mutants::NONE.with(row.mutant);
        if on == Mutants::NONE {
            assert!(by_ids(&[row.id.to_owned()]).is_err(), "not compiled in");
            continue;
        }
        assert_eq!(ids_of(on), [row.id]);
        assert_eq!(by_ids(&[row.id.to_owned()]), Ok(on));
    }
}

/// A change here makes every recording of an older build differ: raise [`VERSION`].
#[test]
fn recording_hash_is_that_of_older_builds_and_covers_order_and_probes() {
    let tok = Tok {
        incarnation: Incarnation(3),
        flow: broker_core::step::Flow::Recovery(NODE),
        seq: 1 << 40,
    };
    let arm = Effect::Arm { key: TimerKey::Ask(5), after: Dur::ms(10) };
    let log = Effect::Log(tok, broker_core::step::LogOp::Append { bytes: b"bytes"[..].into() });
    let key = broker_core::step::Key("prefix/1".into());
    let get = broker_core::step::ObjOp::Get { key, range: Some((1, 2)) };
    let probe = Effect::Probe(Probe::QuorumVoted {
        epoch: broker_core::ids::QuorumEpoch(1),
        candidate: NODE,
    });
    let effects =
        [arm.clone(), log, Effect::Obj(tok, get), probe.clone(), Effect::Halt(HaltReason::Device)];
    assert_eq!(format!("{:016x}", hash_of(&effects)), "ed5035500d6ac3ea");
    assert_ne!(hash_of(&[arm.clone(), probe.clone()]), hash_of(&[probe, arm.clone()]));
    assert_ne!(hash_of(&[arm]), hash_of(&[]));
}

#[test]
fn recording_words_are_cut_at_their_bound() {
    assert_eq!(short(&"äöü", 100), "\"äöü\"");
    assert_eq!(short(&"äöü", 4), "\"ä…");
    assert_eq!(short(&vec![0_u8; 1 << 20], 10).len(), 10 + "…".len());
}
