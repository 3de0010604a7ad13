//! Recovery of dead WALs: who gets it, who gets it next, and the seal.

use super::rig::*;
use crate::ids::*;
use crate::mutants::Mutants;
use crate::peer::ControllerError;
use crate::time::Dur;

const FENCED: Result<crate::peer::ControllerAnswer, ControllerError> =
    Err(ControllerError::NodeFenced);

#[test]
fn seal_closes_the_open_streams_in_the_same_batch() {
    let mut rig = Rig::one(Mutants::NONE);
    let (a, b) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)));
    let topic = rig.topic("t", 4);
    assert_eq!((rig.open(a, 0, 0), rig.open(a, 2, 0)), (opened(0), opened(0)));
    assert_eq!(rig.seal(b, a, 7), FENCED, "not assigned");
    rig.live(&[b], Dur::secs(10));
    assert_eq!(rig.open(b, 0, 1), Err(ControllerError::StreamNotClosed));
    assert_eq!(rig.seal(a, a, 7), FENCED, "not by the owner");
    let before = rig.image().end;
    assert_eq!(rig.seal(b, a, 7), DONE);
    assert_eq!(rig.image().end, before.next());
    assert_eq!(rig.image().wals[&a].sealed, Some(Lsn(7)));
    assert_eq!(rig.image().open_streams(A, a.1).count(), 0);
    assert_eq!(rig.seal(b, a, 7), DONE, "again");
    assert_eq!(rig.image().end, before.next());
    assert_eq!(rig.seal(b, a, 8), FENCED, "another end");
    assert_eq!(rig.open(b, 0, 1), opened(0));
    assert_eq!(rig.assume(b, topic, 0, 1), DONE);
    let unknown = rig.seal(b, (A, BrokerEpoch(0)), 0);
    assert_eq!(unknown, Err(ControllerError::NodeEpochExpired));
    assert_eq!(rig.seal(b, (A, BrokerEpoch(1_000)), 0), deposed());
    assert_eq!(rig.seal((B, BrokerEpoch(0)), a, 7), Err(ControllerError::StaleBrokerEpoch));
}

#[test]
fn recovery_goes_to_another_when_the_recoverer_dies() {
    let mut rig = Rig::one(Mutants::NONE);
    let (a, b, c) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)), (C, rig.join(C, 1)));
    rig.live(&[b, c], Dur::secs(10));
    assert_eq!(rig.image().wals[&a].recoverer, Some(b));
    rig.live(&[c], Dur::secs(11));
    assert_eq!(rig.image().wals[&a].recoverer, Some(c));
    assert_eq!(rig.image().wals[&b].recoverer, Some(c));
    assert_eq!(rig.seal(b, a, 0), FENCED);
    assert_eq!(rig.seal(c, a, 0), DONE);
}

#[test]
fn recoveries_are_spread() {
    let mut rig = Rig::one(Mutants::NONE);
    let brokers: [_; 4] =
        core::array::from_fn(|n| (NodeId(11 + n as u16), rig.join(NodeId(11 + n as u16), 1)));
    rig.live(&brokers[2..], Dur::secs(11));
    let mut recoverers = [0, 1].map(|n| rig.image().wals[&brokers[n]].recoverer);
    recoverers.sort();
    assert_eq!(recoverers, [Some(brokers[2]), Some(brokers[3])]);
}

#[test]
fn recovery_of_the_only_broker_is_its_own_in_a_new_registration() {
    let mut rig = Rig::one(Mutants::NONE);
    let old = (A, rig.join(A, 1));
    rig.pass(Dur::secs(10));
    assert_eq!(rig.image().wals[&old].recoverer, None, "nobody is there");
    let Ok(crate::peer::ControllerAnswer::Registered { epoch }) = rig.register(A, 2) else {
        panic!()
    };
    rig.pass(Dur::ms(600));
    assert_eq!(rig.image().wals[&old].recoverer, Some((A, epoch)), "fenced, but alive");
    assert_eq!(rig.image().wal_start(A, epoch), None);
    // It dies again before it is done: the oldest WAL first.
    rig.pass(Dur::secs(10));
    let Ok(crate::peer::ControllerAnswer::Registered { epoch: third }) = rig.register(A, 3) else {
        panic!()
    };
    rig.pass(Dur::ms(600));
    assert_eq!(rig.image().wals[&old].recoverer, Some((A, third)));
    assert_eq!(rig.image().wals[&(A, epoch)].recoverer, None);
    assert_eq!(rig.seal((A, third), old, 4), DONE);
    assert_eq!(rig.image().wals[&(A, epoch)].recoverer, Some((A, third)), "in the same batch");
    assert_eq!(rig.seal((A, third), (A, epoch), 4), DONE);
    assert_eq!(rig.image().wal_start(A, third), Some(Lsn(4)));
    assert_eq!(rig.image().wals[&(A, third)].recoverer, None, "its own it keeps");
}

#[test]
fn recovery_prefers_others_to_the_broker_that_came_back() {
    let mut rig = Rig::one(Mutants::NONE);
    let old = (A, rig.join(A, 1));
    rig.pass(Dur::secs(10));
    let b = (B, rig.join(B, 1));
    assert!(rig.register(A, 2).is_ok());
    rig.pass(Dur::ms(600));
    assert_eq!(rig.image().wals[&old].recoverer, Some(b));
}

#[test]
fn recovery_waits_for_a_fenced_broker_that_is_alive() {
    let mut rig = Rig::one(Mutants::NONE);
    let (a, b) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)));
    assert!(rig.beat(A, a.1, false, true).is_ok());
    rig.live(&[b], Dur::secs(7));
    assert_eq!(rig.image().wals[&a].recoverer, None);
    rig.live(&[b], Dur::secs(3));
    assert_eq!(rig.image().wals[&a].recoverer, Some(b), "its session is over, fenced or not");
}
