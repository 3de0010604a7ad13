//! Registration, heartbeats, sessions, fencing, controlled shutdown, placement.

use super::rig::*;
use crate::controller::SESSION;
use crate::ids::*;
use crate::metadata::record::Record;
use crate::mutants::{Mutant, Mutants};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::step::TimerKey;
use crate::time::Dur;

const FENCED: Result<ControllerAnswer, ControllerError> =
    Ok(ControllerAnswer::Heartbeat { fenced: true, shut_down: false });
const SERVES: Result<ControllerAnswer, ControllerError> =
    Ok(ControllerAnswer::Heartbeat { fenced: false, shut_down: false });

#[test]
fn register_retried_gets_the_same_epoch_even_while_parked() {
    let mut rig = Rig::one(Mutants::NONE);
    let request = ControllerRequest::Register { incarnation_id: IncarnationId(5), zone: ZoneId(1) };
    let first = rig.post(A, request.clone());
    let second = rig.post(A, request.clone());
    assert_eq!((rig.answer(first), rig.answer(second)), (None, None));
    rig.pass(Dur::ms(20));
    let epoch = BrokerEpoch(rig.image().end.0 - 1);
    let registered = Some(Ok(ControllerAnswer::Registered { epoch }));
    assert_eq!((rig.answer(first), rig.answer(second)), (registered.clone(), registered.clone()));
    assert_eq!(Some(rig.ask(A, request)), registered);
    assert!(rig.image().brokers[&A].fenced);
}

#[test]
fn register_of_another_process_waits_for_the_session() {
    let mut rig = Rig::one(Mutants::NONE);
    let old = rig.join(A, 1);
    let refused = Err(ControllerError::DuplicateBrokerRegistration);
    assert_eq!(rig.register(A, 2), refused);
    rig.pass(Dur(SESSION.0 - Dur::secs(1).0));
    assert_eq!(rig.register(A, 2), refused);
    rig.pass(Dur::secs(2));
    let new = rig.join(A, 2);
    assert!(new > old);
    assert_eq!(rig.beat(A, old, false, false), Err(ControllerError::StaleBrokerEpoch));
}

#[test]
fn heartbeat_of_unknown_registrations_is_refused() {
    let mut rig = Rig::one(Mutants::NONE);
    let epoch = rig.join(A, 1);
    assert_eq!(rig.beat(B, epoch, false, false), Err(ControllerError::BrokerIdNotRegistered));
    // A registration that this controller has not heard of: it must be deposed (KAFKA-14154).
    assert_eq!(rig.beat(A, BrokerEpoch(epoch.0 + 1), false, false), deposed());
    assert_eq!(rig.beat(B, BrokerEpoch(1_000), false, false), deposed());
}

#[test]
fn heartbeat_unfences_only_who_has_applied_its_registration() {
    let mut rig = Rig::one(Mutants::NONE);
    let Ok(ControllerAnswer::Registered { epoch }) = rig.register(A, 1) else { panic!() };
    let beat = |offset| ControllerRequest::Heartbeat {
        epoch,
        metadata_offset: MetaOffset(offset),
        want_fence: false,
        want_shut_down: false,
    };
    assert_eq!(rig.ask(A, beat(epoch.0)), FENCED);
    assert_eq!(rig.ask(A, beat(epoch.0 + 1)), SERVES);
    assert_eq!(rig.ask(A, beat(0)), SERVES, "once unfenced it stays so");
}

#[test]
fn heartbeat_that_wants_the_fence_late_changes_nothing() {
    let mut rig = Rig::one(Mutants::NONE);
    let Ok(ControllerAnswer::Registered { epoch }) = rig.register(A, 1) else { panic!() };
    assert_eq!(rig.beat(A, epoch, true, false), FENCED);
    assert_eq!(rig.beat(A, epoch, false, false), SERVES);
    let topic = rig.topic("t", 1);
    let end = rig.image().end;
    assert_eq!(rig.beat(A, epoch, true, false), SERVES, "a copy of the first one");
    assert_eq!((rig.image().end, rig.partition(topic, 0).replica), (end, Some(A)));
}

#[test]
fn session_expired_fences_moves_and_assigns_in_one_batch() {
    let mut rig = Rig::one(Mutants::NONE);
    let (a, b, c) = (rig.join(A, 1), rig.join(B, 1), rig.join(C, 1));
    let topic = rig.topic("t", 6);
    assert_eq!(rig.open((A, a), 0, 0), opened(0));
    assert_eq!(rig.assume((A, a), topic, 0, 0), DONE);
    let before = rig.image().end;
    rig.live(&[(B, b), (C, c)], Dur::secs(10));
    assert!(rig.saw("controller.session_expired"));
    assert_eq!(rig.image().end, before.next(), "one batch");
    assert!(rig.image().brokers[&A].fenced);
    assert_eq!(rig.image().partition_count(A), 0);
    assert_eq!((rig.image().partition_count(B), rig.image().partition_count(C)), (3, 3));
    let first = rig.partition(topic, 0);
    assert_eq!((first.leader, first.leader_epoch), (None, LeaderEpoch(1)));
    assert_eq!(first.partition_epoch, PartitionEpoch(2));
    assert_eq!(rig.image().wals[&(A, a)].recoverer, Some((B, b)));
    // It lives after all, but its WAL is not its own any more.
    assert_eq!(rig.beat(A, a, false, false), Err(ControllerError::NodeFenced));
    assert!(rig.saw("controller.fenced"));
}

#[test]
fn session_expired_of_the_only_broker_leaves_its_wal_and_it_may_return() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = rig.join(A, 1);
    let topic = rig.topic("t", 1);
    rig.pass(Dur::secs(10));
    assert_eq!((rig.partition(topic, 0).replica, rig.image().brokers[&A].fenced), (None, true));
    assert_eq!(rig.image().wals[&(A, a)].recoverer, None);
    assert_eq!(rig.beat(A, a, false, false), SERVES);
    assert_eq!(rig.partition(topic, 0).replica, Some(A));
    assert_eq!(rig.partition(topic, 0).leader_epoch, LeaderEpoch(2));
}

#[test]
fn session_timer_of_a_deposed_or_unknown_broker_does_nothing() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = rig.join(A, 1);
    let before = rig.image().end;
    let active = rig.active();
    rig.input(active, crate::step::Input::Timer(TimerKey::Session(B)));
    rig.pass(Dur::ms(20));
    assert_eq!(rig.image().end, before);
    assert_eq!(rig.beat(A, a, false, false), SERVES);
}

#[test]
fn fencing_moves_every_partition_of_the_broker() {
    check_rule(Mutant::ControllerLeaderlessKept, |mutants| {
        let mut rig = Rig::one(mutants);
        let (a, b) = (rig.join(A, 1), rig.join(B, 1));
        let topic = rig.topic("t", 2);
        assert_eq!(rig.open((A, a), 0, 0), opened(0));
        assert_eq!(rig.assume((A, a), topic, 0, 0), DONE);
        rig.live(&[(B, b)], Dur::secs(12));
        assert_eq!(rig.partition(topic, 0).leader, None);
        rig.partition(topic, 0).replica == Some(B)
    });
}

#[test]
fn moving_a_partition_raises_its_leader_epoch() {
    check_rule(Mutant::ControllerEpochKept, |mutants| {
        let mut rig = Rig::one(mutants);
        let (_a, b) = (rig.join(A, 1), rig.join(B, 1));
        let topic = rig.topic("t", 1);
        rig.live(&[(B, b)], Dur::secs(12));
        assert_eq!(rig.partition(topic, 0).replica, Some(B));
        rig.partition(topic, 0).leader_epoch == LeaderEpoch(1)
    });
}

#[test]
fn placement_spreads_and_leaves_fenced_brokers_out() {
    check_rule(Mutant::ControllerTargetFenced, |mutants| {
        let mut rig = Rig::one(mutants);
        rig.join(A, 1);
        rig.join(B, 1);
        let fenced = rig.register(C, 1);
        assert!(fenced.is_ok());
        rig.topic("t", 4);
        let counts = [A, B, C].map(|node| rig.image().partition_count(node));
        counts == [2, 2, 0]
    });
}

#[test]
fn topic_without_brokers_is_placed_when_one_serves() {
    let mut rig = Rig::one(Mutants::NONE);
    let topic = rig.topic("t", 1);
    assert_eq!(rig.partition(topic, 0).replica, None);
    rig.join(A, 1);
    assert_eq!(rig.partition(topic, 0).replica, Some(A));
    assert_eq!(rig.partition(topic, 0).leader_epoch, LeaderEpoch(1));
}

#[test]
fn sweep_places_what_nobody_leads() {
    let mut rig = Rig::one(Mutants::NONE);
    let topic = rig.topic("t", 600);
    rig.join(A, 1);
    assert_eq!(rig.image().partition_count(A), 256, "one batch's bound");
    rig.pass(Dur::ms(1_100));
    assert_eq!(rig.image().partition_count(A), 600);
    assert_eq!(rig.partition(topic, 599).leader_epoch, LeaderEpoch(1));
}

#[test]
fn shutdown_moves_then_waits_for_streams_and_others() {
    let mut rig = Rig::one(Mutants::NONE);
    let (a, b) = (rig.join(A, 1), rig.join(B, 1));
    let topic = rig.topic("t", 1);
    assert_eq!(rig.open((A, a), 0, 0), opened(0));
    assert_eq!(rig.beat(A, a, false, true), SERVES);
    assert_eq!(rig.partition(topic, 0).replica, Some(B));
    assert!(rig.image().brokers[&A].in_controlled_shutdown);
    assert_eq!(rig.beat(B, b, false, false), SERVES);
    assert_eq!(rig.beat(A, a, false, true), SERVES, "its stream is open");
    assert_eq!(rig.close((A, a), 0, 0), DONE);
    let gone = Ok(ControllerAnswer::Heartbeat { fenced: true, shut_down: true });
    assert_eq!(rig.beat(A, a, false, true), gone);
    assert_eq!(rig.beat(A, a, false, true), gone, "and again, should the answer be lost");
    assert!(rig.image().brokers[&A].fenced);
    assert!(!rig.is_armed(TimerKey::Session(A)));
    // The next process need not wait for a session.
    rig.join(A, 2);
}

#[test]
fn shutdown_waits_until_the_others_know() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = rig.join(A, 1);
    let b = rig.join(B, 1);
    let behind = rig.image().end;
    assert_eq!(rig.beat(A, a, false, true), SERVES);
    let beat = |metadata_offset| ControllerRequest::Heartbeat {
        epoch: b,
        metadata_offset,
        want_fence: false,
        want_shut_down: false,
    };
    assert_eq!(rig.ask(B, beat(behind)), SERVES);
    assert_eq!(rig.beat(A, a, false, true), SERVES);
    assert_eq!(rig.ask(B, beat(behind.next())), SERVES);
    let gone = Ok(ControllerAnswer::Heartbeat { fenced: true, shut_down: true });
    assert_eq!(rig.beat(A, a, false, true), gone);
}

#[test]
fn new_controller_tracks_the_brokers_it_inherits() {
    check_rule(Mutant::ControllerSessionsUnseeded, |mutants| {
        let mut rig = Rig::of(3, mutants);
        rig.join(A, 1);
        let old = rig.active();
        rig.crash(old);
        rig.elect();
        rig.pass(Dur(SESSION.0 - Dur::ms(500).0));
        assert!(!rig.image().brokers[&A].fenced, "a full session");
        rig.pass(Dur::secs(1));
        rig.image().brokers[&A].fenced
    });
}

#[test]
fn unfenced_brokers_inherited_keep_their_sessions() {
    let mut rig = Rig::of(3, Mutants::NONE);
    rig.join(A, 1);
    let old = rig.active();
    rig.crash(old);
    rig.elect();
    // Not heard of yet by the new controller, but it may well serve.
    assert_eq!(rig.register(A, 2), Err(ControllerError::DuplicateBrokerRegistration));
    rig.pass(Dur::secs(10));
    rig.join(A, 2);
}

#[test]
fn fenced_brokers_inherited_may_register_anew_at_once() {
    let mut rig = Rig::of(3, Mutants::NONE);
    rig.join(A, 1);
    rig.pass(Dur::secs(10));
    assert!(rig.image().brokers[&A].fenced);
    let old = rig.active();
    rig.crash(old);
    rig.elect();
    rig.join(A, 2);
    let registers = |record: &Record| matches!(record, Record::RegisterBroker { .. });
    assert_eq!(rig.records().iter().filter(|r| registers(r)).count(), 2);
}
