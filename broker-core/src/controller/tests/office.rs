//! Taking and losing office: parked answers, revert, restart, halt.

use super::rig::*;
use crate::controller::office::{PARKED_MAX, PENDING_MAX};
use crate::ids::*;
use crate::metadata::record::{Record, encode_batch};
use crate::mutants::{Mutant, Mutants};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::protocol::AdminRequest;
use crate::step::{HaltReason, Input, TimerKey};
use crate::time::Dur;

fn register(incarnation: u64) -> ControllerRequest {
    ControllerRequest::Register { incarnation_id: IncarnationId(incarnation), zone: ZoneId(0) }
}

fn not_controller(answer: Option<Result<ControllerAnswer, ControllerError>>) -> bool {
    matches!(answer, Some(Err(ControllerError::NotController { .. })))
}

#[test]
fn follower_names_the_leader() {
    let mut rig = Rig::of(3, Mutants::NONE);
    rig.pass(Dur::secs(1));
    let active = rig.active();
    for node in [1, 2, 3].map(NodeId).into_iter().filter(|&node| node != active) {
        let id = rig.post_to(node, A, register(1));
        let expected = Err(ControllerError::NotController { leader: Some(active) });
        assert_eq!(rig.answer(id), Some(expected));
    }
}

#[test]
fn images_of_all_controllers_agree() {
    let mut rig = Rig::of(3, Mutants::NONE);
    let a = (A, rig.join(A, 1));
    rig.topic("t", 4);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    for request in 0..10 {
        let object = rig.prepared(a, request);
        let commit = commit_of(a, object, &[(0, 0, request, request + 1)]);
        assert_eq!(rig.commit(A, &commit), committed(false));
    }
    rig.live(&[a], Dur::secs(2));
    let images = [1, 2, 3].map(|n| rig.controller(NodeId(n)).image().clone());
    assert!(images.iter().all(|image| image.end.0 > 16 && *image == images[0]));
    let mut digests = alloc::collections::BTreeMap::new();
    for (_, probe) in &rig.probes {
        if let Probe::MetaApplied { offset, image: Some(digest), .. } = probe {
            assert_eq!(*digests.entry(*offset).or_insert(*digest), *digest);
        }
    }
    assert_eq!(digests.len() as u64, images[0].end.0.div_ceil(16));
}

#[test]
fn office_lost_with_work_in_doubt_is_reverted() {
    check_rule(Mutant::ControllerSpeculativeKept, |mutants| {
        let mut rig = Rig::of(3, mutants);
        rig.join(A, 1);
        let old = rig.active();
        // Cut off, it goes on for a while; nothing of that commits.
        rig.cut.insert(old);
        let create = AdminRequest::CreateTopic {
            name: "ghost".into(),
            partitions: 1,
            configs: alloc::vec::Vec::new(),
        };
        let parked = rig.post_to(old, B, register(1));
        let ghost = rig.post_to(old, B, ControllerRequest::Admin { nonce: 1, request: create });
        rig.elect();
        assert_ne!(rig.active(), old);
        rig.pass(Dur::secs(5));
        assert!(rig.saw("controller.reverted"));
        assert_eq!((rig.answer(parked), rig.answer(ghost)), (None, None), "it is cut off");
        rig.cut.clear();
        rig.join(C, 1);
        rig.pass(Dur::secs(2));
        assert!(!rig.image().topic_ids.contains_key("ghost"));
        rig.halted.is_empty() && rig.controller(old).image() == rig.image()
    });
}

#[test]
fn office_lost_answers_the_parked_with_unknown() {
    let mut rig = Rig::of(3, Mutants::NONE);
    let old = rig.active();
    // A drain resigns before the batch can commit.
    let id = rig.post(A, register(1));
    assert_eq!(rig.answer(id), None);
    rig.input(old, Input::Drain);
    assert!(not_controller(rig.answer(id)));
    assert_eq!(rig.halted, [(old, HaltReason::ShutDown)]);
    assert!(rig.probes.contains(&(old, Probe::ControllerReverted { entries: 1 })));
}

#[test]
fn office_taken_only_with_everything_applied() {
    let mut rig = Rig::of(3, Mutants::NONE);
    rig.join(A, 1);
    let old = rig.active();
    // Committed by the old leader, whose followers may not have heard so.
    rig.topic("t", 1);
    rig.crash(old);
    rig.elect();
    assert!(rig.image().topic_ids.contains_key("t"));
    assert!(rig.is_armed(TimerKey::Session(A)) && rig.is_armed(TimerKey::Sweep));
    let activations = |(_, probe): &&(NodeId, Probe)| probe.name() == "controller.activated";
    assert_eq!(rig.probes.iter().filter(activations).count(), 2);
}

#[test]
fn restart_replays_the_log() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = (A, rig.join(A, 1));
    let topic = rig.topic("t", 2);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    let object = rig.prepared(a, 1);
    let commit = commit_of(a, object, &[(0, 0, 0, 5)]);
    assert_eq!(rig.commit(A, &commit), committed(false));
    let before = rig.image().clone();
    rig.crash(NodeId(1));
    rig.boot(NodeId(1));
    rig.elect();
    let mut after = rig.image().clone();
    assert_eq!(after.end, before.end.next(), "one more leader change");
    after.end = before.end;
    assert_eq!(after, before);
    // Retries over the restart.
    assert_eq!(rig.commit(A, &commit), committed(true));
    assert_eq!(rig.prepared(a, 1), object);
    assert_eq!(rig.open(a, 0, 0), opened(5));
    assert_eq!(rig.topic("t", 2), topic);
    let served = ControllerAnswer::Heartbeat { fenced: false, shut_down: false };
    assert_eq!(rig.beat(A, a.1, false, false), Ok(served));
}

#[test]
fn record_that_can_not_be_applied_halts() {
    let batches = [
        encode_batch(&[Record::RemoveTopic { topic: TopicId(1) }]),
        bytes::Bytes::from_static(b"no batch"),
    ];
    for batch in batches {
        let mut rig = Rig::one(Mutants::NONE);
        rig.smuggle(batch);
        rig.pass(Dur::secs(3));
        assert_eq!(rig.halted, [(NodeId(1), HaltReason::Unapplicable)]);
        let reason = HaltReason::Unapplicable;
        assert!(rig.probes.contains(&(NodeId(1), Probe::Halted { reason })));
    }
}

#[test]
fn refusal_that_could_be_outdated_needs_a_quorum() {
    let mut rig = Rig::of(3, Mutants::NONE);
    let a = (A, rig.join(A, 1));
    rig.topic("t", 1);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    let object = rig.prepared(a, 1);
    let gap = ControllerRequest::CommitObject(commit_of(a, object, &[(0, 0, 3, 5)]));
    let end = rig.image().end;
    assert_eq!(rig.ask(A, gap.clone()), Err(ControllerError::OffsetNotMatched));
    assert_eq!(rig.image().end, end.next(), "an empty entry went before it");
    // A controller that is deposed and does not know it says nothing definite.
    let old = rig.active();
    rig.cut.extend([1, 2, 3].map(NodeId).into_iter().filter(|&node| node != old));
    let id = rig.post_to(old, A, gap);
    rig.pass(Dur::ms(100));
    assert_eq!(rig.answer(id), None);
    rig.pass(Dur::secs(10));
    assert!(not_controller(rig.answer(id)));
}

#[test]
fn parked_answers_are_bounded() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = rig.join(A, 1);
    let heartbeat = ControllerRequest::Heartbeat {
        epoch: a,
        metadata_offset: MetaOffset(0),
        want_fence: false,
        want_shut_down: false,
    };
    let first = rig.post(B, register(1));
    for _ in 1..PARKED_MAX {
        rig.post(A, heartbeat.clone());
    }
    let refused = rig.post(A, heartbeat.clone());
    assert!(not_controller(rig.answer(refused)));
    assert_eq!(rig.answer(first), None);
    rig.pass(Dur::ms(20));
    assert!(rig.answer(first).is_some_and(|answer| answer.is_ok()));
    assert!(rig.ask(A, heartbeat).is_ok(), "room again");
}

#[test]
fn batches_under_way_are_bounded() {
    let mut rig = Rig::one(Mutants::NONE);
    let epoch = rig.join(A, 1);
    let ids: alloc::vec::Vec<_> = (0..=PENDING_MAX as u64)
        .map(|request| rig.post(A, ControllerRequest::PrepareObject { epoch, request }))
        .collect();
    assert!(not_controller(rig.answer(ids[PENDING_MAX])));
    rig.pass(Dur::ms(20));
    assert!(ids[..PENDING_MAX].iter().all(|&id| rig.answer(id).is_some_and(|a| a.is_ok())));
    assert_eq!(rig.image().objects.len(), PENDING_MAX);
}

#[test]
fn blocked_names_what_is_waited_for() {
    let mut rig = Rig::one(Mutants::NONE);
    let (_, b) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)));
    rig.topic("t", 1);
    rig.live(&[b], Dur::secs(10));
    rig.post(C, register(1));
    let lines = rig.controller(NodeId(1)).blocked();
    let holds = |words: &str| assert!(lines.iter().any(|l| l.contains(words)), "{lines:#?}");
    holds("1 batches");
    holds("partition t-0: broker 12 does not lead in epoch 1");
    holds("WAL of broker 11 epoch 1: broker 12 has not sealed it");
    assert_eq!(lines.len(), 3);
}
