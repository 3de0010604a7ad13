//! Opening and closing streams, and publishing leaders.

use super::rig::*;
use crate::ids::*;
use crate::mutants::{Mutant, Mutants};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::protocol::AdminRequest;
use crate::time::Dur;

const FENCED: Result<ControllerAnswer, ControllerError> = Err(ControllerError::StreamFenced);

/// Two brokers; partition 0 is A's, partition 1 is B's, their streams are 0 and 1.
fn two(mutants: Mutants) -> (Rig, TopicId, (NodeId, BrokerEpoch), (NodeId, BrokerEpoch)) {
    let mut rig = Rig::one(mutants);
    let (a, b) = ((A, rig.join(A, 1)), (B, rig.join(B, 1)));
    let topic = rig.topic("t", 2);
    (rig, topic, a, b)
}

#[test]
fn open_retried_is_answered_alike_and_written_once() {
    let (mut rig, _, a, _) = two(Mutants::NONE);
    let request = ControllerRequest::OpenStream {
        epoch: a.1,
        stream: StreamId(0),
        leader_epoch: LeaderEpoch(0),
    };
    let ids = [rig.post(A, request.clone()), rig.post(A, request)];
    rig.pass(Dur::ms(20));
    assert_eq!(ids.map(|id| rig.answer(id)), [Some(opened(0)), Some(opened(0))]);
    assert_eq!(rig.image().streams[&StreamId(0)].ranges.len(), 1);
    assert_eq!(rig.open(a, 0, 0), opened(0));
}

#[test]
fn open_refusals_are_as_specified() {
    let (mut rig, topic, a, b) = two(Mutants::NONE);
    assert_eq!(rig.open((A, BrokerEpoch(0)), 0, 0), Err(ControllerError::StaleBrokerEpoch));
    assert_eq!(rig.open((C, a.1), 0, 0), Err(ControllerError::BrokerIdNotRegistered));
    assert_eq!(rig.open(a, 9, 0), deposed(), "a stream of the future");
    assert_eq!(rig.open(a, 0, 1), deposed(), "a leader epoch of the future");
    assert_eq!(rig.open(b, 0, 0), FENCED, "not the replica");
    assert_eq!(rig.open(a, 0, 0), opened(0));
    assert_eq!(rig.open(b, 0, 0), FENCED, "the same epoch, another owner");
    assert!(rig.beat(A, a.1, false, true).is_ok());
    assert_eq!(rig.open(b, 0, 1), Err(ControllerError::StreamNotClosed));
    assert_eq!(rig.open(a, 0, 0), opened(0), "it may go on until it has closed");
    assert_eq!(rig.close(a, 0, 0), DONE);
    assert_eq!(rig.open(a, 0, 0), FENCED, "closed is closed");
    assert_eq!(rig.open(b, 0, 1), opened(0));
    assert_eq!(rig.open(a, 0, 0), FENCED, "an older epoch");
    rig.admin(77, AdminRequest::DeleteTopic { topic });
    assert_eq!(rig.open(b, 0, 1), Err(ControllerError::StreamNotExist));
    assert_eq!(rig.close(b, 0, 1), Err(ControllerError::StreamNotExist));
}

#[test]
fn open_by_a_replica_that_was_replaced_before_is_refused() {
    let (mut rig, _, a, b) = two(Mutants::NONE);
    assert!(rig.beat(A, a.1, false, true).is_ok());
    assert_eq!(rig.open(a, 0, 0), FENCED);
    assert_eq!(rig.open(b, 0, 1), opened(0));
}

#[test]
fn open_waits_until_everything_is_committed() {
    check_rule(Mutant::ControllerOpenUnchecked, |mutants| {
        let (mut rig, _, a, b) = two(mutants);
        assert_eq!(rig.open(a, 0, 0), opened(0));
        assert!(rig.beat(A, a.1, false, true).is_ok());
        rig.open(b, 0, 1) == Err(ControllerError::StreamNotClosed)
    });
}

#[test]
fn open_with_an_older_wal_unsealed_waits() {
    let mut rig = Rig::one(Mutants::NONE);
    let old = (A, rig.join(A, 1));
    rig.topic("t", 1);
    rig.pass(Dur::secs(10));
    let new = (A, rig.join(A, 2));
    assert_eq!(rig.partition_epoch(0), 2);
    assert_eq!(rig.open(new, 0, 2), Err(ControllerError::StreamNotClosed));
    rig.live(&[new], Dur::secs(1));
    assert_eq!(rig.seal(new, old, 0), DONE);
    assert_eq!(rig.open(new, 0, 2), opened(0));
}

#[test]
fn close_is_idempotent_and_checks_the_owner() {
    let (mut rig, _, a, b) = two(Mutants::NONE);
    assert_eq!(rig.close(a, 0, 0), Err(ControllerError::StreamNotOpened));
    assert_eq!(rig.open(a, 0, 0), opened(0));
    assert_eq!(rig.close(b, 0, 0), FENCED);
    assert_eq!(rig.close(a, 0, 1), Err(ControllerError::StreamNotOpened));
    assert_eq!(rig.close((A, BrokerEpoch(0)), 0, 0), Err(ControllerError::StaleBrokerEpoch));
    assert_eq!(rig.close(a, 0, 0), DONE);
    assert_eq!(rig.close(a, 0, 0), DONE);
    assert!(rig.beat(A, a.1, false, true).is_ok());
    assert_eq!(rig.open(b, 0, 1), opened(0));
    assert_eq!(rig.close(a, 0, 0), DONE, "a late copy finds its work done");
    assert!(rig.image().streams[&StreamId(0)].open, "and does no more");
}

#[test]
fn stale_epochs_open_and_close_nothing() {
    check_rule(Mutant::ControllerEpochUnchecked, |mutants| {
        let (mut rig, _, a, b) = two(mutants);
        assert_eq!(rig.open(a, 0, 0), opened(0));
        rig.live(&[b], Dur::secs(10));
        assert_eq!(rig.image().wals[&a].recoverer, Some(b));
        rig.close(a, 0, 0) == Err(ControllerError::NodeFenced)
    });
}

#[test]
fn assume_publishes_who_has_opened() {
    let (mut rig, topic, a, b) = two(Mutants::NONE);
    let not_opened = Err(ControllerError::StreamNotOpened);
    assert_eq!(rig.assume(a, topic, 0, 0), not_opened);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    assert_eq!(rig.assume(b, topic, 0, 0), Err(ControllerError::FencedLeaderEpoch));
    assert_eq!(rig.assume(a, topic, 0, 1), deposed());
    assert_eq!(rig.assume(a, TopicId(1), 0, 0), Err(ControllerError::UnknownTopicOrPartition));
    let stale = (A, BrokerEpoch(0));
    assert_eq!(rig.assume(stale, topic, 0, 0), Err(ControllerError::StaleBrokerEpoch));
    assert_eq!(rig.partition(topic, 0).leader, None);
    assert_eq!(rig.assume(a, topic, 0, 0), DONE);
    assert_eq!(rig.partition(topic, 0).leader, Some(A));
    assert_eq!(rig.assume(a, topic, 0, 0), DONE);
    assert_eq!(rig.partition(topic, 0).partition_epoch, PartitionEpoch(1), "once");
    assert!(rig.beat(A, a.1, false, true).is_ok());
    assert_eq!(rig.assume(a, topic, 0, 0), Err(ControllerError::FencedLeaderEpoch));
    assert_eq!(rig.assume(b, topic, 0, 1), not_opened, "A has it open");
}

impl Rig {
    fn partition_epoch(&self, stream: u64) -> u32 {
        let partition = self.image().streams[&StreamId(stream)].partition;
        self.image().partitions[&partition].leader_epoch.0
    }
}
