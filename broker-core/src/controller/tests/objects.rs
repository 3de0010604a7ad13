//! Prepare, commit, expiry.

use super::rig::*;
use crate::controller::objects::PREPARED_SWEEPS_MAX;
use crate::ids::*;
use crate::metadata::image::ObjectState;
use crate::mutants::{Mutant, Mutants};
use crate::peer::{CommitRequest, ControllerAnswer, ControllerError, ControllerRequest};
use crate::protocol::AdminRequest;
use crate::step::TimerKey;
use crate::time::Dur;

/// A leads and has opened streams 0 and 2; stream 1 is B's.
fn scene(mutants: Mutants) -> (Rig, TopicId, (NodeId, BrokerEpoch), (NodeId, BrokerEpoch)) {
    let mut rig = Rig::one(mutants);
    let (a, b) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)));
    let topic = rig.topic("t", 2);
    rig.topic("u", 1);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    assert_eq!(rig.open(a, 2, 0), opened(0));
    assert_eq!(rig.open(b, 1, 0), opened(0));
    (rig, topic, a, b)
}

fn end(rig: &Rig, stream: u64) -> u64 {
    rig.image().streams[&StreamId(stream)].end.0
}

#[test]
fn prepare_retried_gets_the_same_object() {
    let (mut rig, _, a, _) = scene(Mutants::NONE);
    let request = ControllerRequest::PrepareObject { epoch: a.1, request: 1 };
    let ids = [rig.post(A, request.clone()), rig.post(A, request)];
    rig.pass(Dur::ms(20));
    assert_eq!(rig.answer(ids[0]), rig.answer(ids[1]));
    let object = rig.prepared(a, 1);
    assert_eq!(rig.image().objects.len(), 1);
    assert_eq!(rig.commit(A, &commit_of(a, object, &[(0, 0, 0, 5)])), committed(false));
    assert_eq!(rig.prepared(a, 1), object, "also when it is committed");
    assert_ne!(rig.prepared(a, 2), object);
    let stale = rig.prepare((A, BrokerEpoch(0)), 1);
    assert_eq!(stale, Err(ControllerError::StaleBrokerEpoch));
}

#[test]
fn commit_retried_is_redundant() {
    check_rule(Mutant::ControllerContinuityFirst, |mutants| {
        let (mut rig, _, a, _) = scene(mutants);
        let object = rig.prepared(a, 1);
        let commit = commit_of(a, object, &[(0, 0, 0, 5), (2, 0, 0, 3)]);
        let ids = [
            rig.post(A, ControllerRequest::CommitObject(commit.clone())),
            rig.post(A, ControllerRequest::CommitObject(commit.clone())),
        ];
        rig.pass(Dur::ms(20));
        assert_eq!(rig.answer(ids[0]), Some(committed(false)));
        assert_eq!((end(&rig, 0), end(&rig, 2)), (5, 3));
        rig.answer(ids[1]) == Some(committed(true))
            && rig.commit(A, &commit) == committed(true)
            && rig.saw("controller.commit_redundant")
    });
}

#[test]
fn commit_repeated_late_moves_nothing_back() {
    check_rule(Mutant::ControllerEndSetBack, |mutants| {
        let (mut rig, _, a, _) = scene(mutants);
        let first = rig.prepared(a, 1);
        let second = rig.prepared(a, 2);
        let late = commit_of(a, first, &[(0, 0, 0, 5)]);
        assert_eq!(rig.commit(A, &late), committed(false));
        assert_eq!(rig.commit(A, &commit_of(a, second, &[(0, 0, 5, 9)])), committed(false));
        assert_eq!(rig.commit(A, &late), committed(true));
        end(&rig, 0) == 9
    });
}

#[test]
fn commit_refusals_are_as_specified() {
    let (mut rig, _, a, b) = scene(Mutants::NONE);
    let object = rig.prepared(a, 1);
    let good = commit_of(a, object, &[(0, 0, 0, 5)]);
    let check = |rig: &mut Rig, from, commit: CommitRequest, expected| {
        assert_eq!(rig.commit(from, &commit), Err(expected), "{commit:?}");
    };
    let ranges = |ranges: &[(u64, u32, u64, u64)]| commit_of(a, object, ranges);
    let cases = [
        (
            CommitRequest { epoch: BrokerEpoch(0), ..good.clone() },
            ControllerError::StaleBrokerEpoch,
        ),
        (CommitRequest { wal_epoch: b.1, ..good.clone() }, ControllerError::NodeEpochExpired),
        (
            CommitRequest { wal_node: B, wal_epoch: b.1, ..good.clone() },
            ControllerError::NodeFenced,
        ),
        (ranges(&[(0, 0, 1, 5)]), ControllerError::OffsetNotMatched),
        (ranges(&[(0, 0, 0, 0)]), ControllerError::OffsetNotMatched),
        (ranges(&[(2, 0, 0, 1), (0, 0, 0, 1)]), ControllerError::OffsetNotMatched),
        (ranges(&[(0, 1, 0, 5)]), ControllerError::StreamNotOpened),
        (ranges(&[(1, 0, 0, 5)]), ControllerError::StreamFenced),
        (ranges(&[(9, 0, 0, 5)]), ControllerError::NotController { leader: None }),
        (
            CommitRequest { object: ObjectId(9), ..good.clone() },
            ControllerError::NotController { leader: None },
        ),
    ];
    for (commit, expected) in cases {
        check(&mut rig, A, commit, expected);
    }
    // B may not commit what was prepared for A.
    let of_b = commit_of(b, object, &[(1, 0, 0, 5)]);
    check(&mut rig, B, of_b, ControllerError::ObjectNotExist);
    assert_eq!((end(&rig, 0), end(&rig, 1)), (0, 0), "no refusal leaves a trace");
    assert_eq!(rig.commit(A, &good), committed(false));
    // Committed, but not with this content.
    let other = CommitRequest { size: 1, ..good.clone() };
    check(&mut rig, A, other, ControllerError::ObjectNotExist);
    let second = rig.prepared(a, 2);
    let behind = commit_of(a, second, &[(0, 0, 4, 8)]);
    check(&mut rig, A, behind, ControllerError::OffsetNotMatched);
    assert_eq!(rig.close(a, 0, 0), DONE);
    let closed = commit_of(a, second, &[(0, 0, 5, 8)]);
    check(&mut rig, A, closed, ControllerError::StreamNotOpened);
    assert_eq!(rig.commit(A, &good), committed(true), "done is done, open or not");
}

#[test]
fn commit_from_a_wal_under_recovery_is_the_recoverers_alone() {
    check_rule(Mutant::ControllerEpochUnchecked, |mutants| {
        let (mut rig, _, a, b) = scene(mutants);
        let of_a = rig.prepared(a, 1);
        rig.live(&[b], Dur::secs(10));
        assert_eq!(rig.image().wals[&a].recoverer, Some(b));
        let refused = rig.commit(A, &commit_of(a, of_a, &[(0, 0, 0, 5)]));
        if refused != Err(ControllerError::NodeFenced) {
            return false;
        }
        let of_b = rig.prepared(b, 1);
        let recovered = CommitRequest { epoch: b.1, ..commit_of(a, of_b, &[(0, 0, 0, 5)]) };
        assert_eq!(rig.commit(B, &recovered), committed(false));
        assert_eq!(rig.seal(b, a, 5), DONE);
        assert_eq!(rig.commit(B, &recovered), Err(ControllerError::NodeFenced), "sealed");
        end(&rig, 0) == 5
    });
}

/// A's next process recovers the WAL of its last; a controller that is deposed knows neither of the
/// assignment nor that it is deposed.
#[test]
fn commit_of_a_self_recovery_is_not_refused_by_a_deposed_controller() {
    let mut rig = Rig::of(3, Mutants::NONE);
    let a = (A, rig.join(A, 1));
    rig.topic("t", 1);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    rig.live(&[], Dur::secs(10));
    let Ok(ControllerAnswer::Registered { epoch }) = rig.register(A, 2) else { panic!() };
    let object = rig.prepared((A, epoch), 1);
    let commit = CommitRequest { epoch, ..commit_of(a, object, &[(0, 0, 0, 5)]) };
    assert_eq!(rig.image().wals[&a].recoverer, None);
    let old = rig.active();
    rig.cut.extend([1, 2, 3].map(NodeId).into_iter().filter(|&node| node != old));
    let id = rig.post_to(old, A, ControllerRequest::CommitObject(commit));
    rig.pass(Dur::ms(100));
    assert_eq!(rig.answer(id), None, "nothing definite");
}

#[test]
fn commit_drops_the_ranges_of_deleted_streams() {
    let (mut rig, topic, a, _) = scene(Mutants::NONE);
    let (first, second, third) = (rig.prepared(a, 1), rig.prepared(a, 2), rig.prepared(a, 3));
    let both = commit_of(a, first, &[(0, 0, 0, 5), (2, 0, 0, 5)]);
    assert_eq!(rig.commit(A, &both), committed(false));
    rig.admin(1, AdminRequest::DeleteTopic { topic });
    assert_eq!(rig.commit(A, &both), committed(true), "what is left of it is there");
    let mixed = commit_of(a, second, &[(0, 0, 5, 9), (2, 0, 5, 9)]);
    assert_eq!(rig.commit(A, &mixed), committed(false));
    assert_eq!(rig.commit(A, &mixed), committed(true));
    assert_eq!(end(&rig, 2), 9);
    let ObjectState::Committed { ranges, .. } = &rig.image().objects[&second] else { panic!() };
    assert_eq!(ranges.len(), 1);
    let vain = commit_of(a, third, &[(0, 0, 9, 12)]);
    assert_eq!(rig.commit(A, &vain), committed(false));
    assert_eq!(rig.image().objects[&third], ObjectState::Destroyed);
    assert_eq!(rig.commit(A, &vain), committed(true));
}

#[test]
fn prepared_objects_expire_and_can_not_be_committed_then() {
    let (mut rig, _, a, b) = scene(Mutants::NONE);
    let object = rig.prepared(a, 1);
    let kept = rig.prepared(a, 2);
    assert_eq!(rig.commit(A, &commit_of(a, kept, &[(0, 0, 0, 5)])), committed(false));
    let both = [a, b];
    rig.live(&both, crate::controller::SWEEP.times(u64::from(PREPARED_SWEEPS_MAX) - 2));
    assert!(matches!(rig.image().objects[&object], ObjectState::Prepared { .. }));
    rig.live(&both, crate::controller::SWEEP.times(4));
    assert_eq!(rig.image().objects[&object], ObjectState::Destroyed);
    assert!(matches!(rig.image().objects[&kept], ObjectState::Committed { .. }));
    assert!(rig.saw("controller.prepare_expired"));
    let late = rig.commit(A, &commit_of(a, object, &[(0, 0, 5, 6)]));
    assert_eq!(late, Err(ControllerError::ObjectNotExist));
    assert_eq!(rig.prepared(a, 1), object, "the request was answered, and stays so");
}

#[test]
fn prepared_objects_of_a_dead_registration_expire_at_once() {
    let (mut rig, _, a, b) = scene(Mutants::NONE);
    let object = rig.prepared(a, 1);
    rig.live(&[b], Dur::secs(10));
    assert!(matches!(rig.image().objects[&object], ObjectState::Prepared { .. }));
    rig.join(A, 2);
    rig.fire(TimerKey::Sweep);
    assert_eq!(rig.image().objects[&object], ObjectState::Destroyed);
}
