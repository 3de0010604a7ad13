//! Registration, ownership, death, shutdown and fencing, end to end.

use alloc::vec;
use alloc::vec::Vec;

use super::host::*;
use crate::config::BrokerLimits;
use crate::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::{HaltReason, Input};

fn other(id: NodeId) -> NodeId {
    if id == A { B } else { A }
}

fn values(read: &[(u64, Vec<u8>)]) -> Vec<&str> {
    read.iter().map(|(_, value)| core::str::from_utf8(value).unwrap()).collect()
}

fn epoch_ends(
    host: &mut Host,
    partition: TopicPartition,
    epochs: &[u32],
) -> Vec<Option<(u32, u64)>> {
    let to = host.leader(partition);
    let question = |&epoch: &u32| EpochPartition {
        partition,
        current_leader_epoch: None,
        leader_epoch: LeaderEpoch(epoch),
    };
    let partitions = epochs.iter().map(question).collect();
    match host.call(to, Request::OffsetForLeaderEpoch { partitions }) {
        Response::OffsetForLeaderEpoch(results) => results
            .into_iter()
            .map(|result| result.result.unwrap().map(|(epoch, end)| (epoch.0, end.0)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn broker_produced_records_are_read_back() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    assert_eq!(host.produce(partition, &["a", "b"]), Offset(0));
    assert_eq!(host.produce(partition, &["c"]), Offset(2));
    let read = host.read_all(partition);
    assert_eq!(read.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(values(&read), ["a", "b", "c"]);
    host.run(LONG);
    for id in [A, B] {
        assert!(host.broker(id).is_settled(), "{:?}", host.broker(id).blocked());
    }
}

#[test]
fn broker_killed_successor_serves_every_acknowledged_record() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    host.produce(partition, &["a", "b"]);
    host.run(LONG);
    // This one is acknowledged, and in the WAL only.
    host.produce(partition, &["c"]);
    let dead = host.leader(partition);
    host.kill(dead);
    host.run(LONG);
    assert_eq!(host.leader(partition), other(dead));
    let read = host.read_all(partition);
    assert_eq!(values(&read), ["a", "b", "c"]);
    assert_eq!(host.produce(partition, &["d"]), Offset(3));
    assert_eq!(values(&host.read_all(partition)), ["a", "b", "c", "d"]);
    let epochs = epoch_ends(&mut host, partition, &[0, 1, 2]);
    assert_eq!(epochs, [Some((0, 3)), Some((1, 4)), None]);

    // The dead one comes back: its old WAL is sealed, and it serves again.
    host.boot(dead);
    host.run(LONG);
    assert!(host.broker(dead).is_serving(), "{:?}", host.broker(dead).blocked());
    let last = host.leader(partition);
    host.kill(last);
    host.run(LONG);
    assert_eq!(host.leader(partition), dead);
    assert_eq!(values(&host.read_all(partition)), ["a", "b", "c", "d"]);
}

#[test]
fn broker_alone_restarted_recovers_its_own_wal() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    host.kill(other(leader));
    host.run(LONG);
    host.produce(partition, &["a"]);
    host.kill(leader);
    host.boot(leader);
    host.run(LONG);
    assert_eq!(host.leader(partition), leader);
    assert_eq!(values(&host.read_all(partition)), ["a"]);
    assert_eq!(host.produce(partition, &["b"]), Offset(1));
}

#[test]
fn broker_drained_hands_over_and_stops() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    host.produce(partition, &["a"]);
    let leaving = host.leader(partition);
    host.give(leaving, Input::Drain);
    // No session has to expire for this.
    host.run(8_000_000);
    assert_eq!(host.halted, vec![(leaving, HaltReason::ShutDown)]);
    assert_eq!(host.leader(partition), other(leaving));
    assert_eq!(values(&host.read_all(partition)), ["a"]);
    assert_eq!(host.saw(other(leaving), |p| matches!(p, Probe::RecoveryTook { .. })), 0);
}

#[test]
fn broker_drained_with_produces_under_way_hands_over_what_the_wal_has() {
    let limits = BrokerLimits { wal_unconfirmed_bytes_max: 150, ..BrokerLimits::default() };
    let mut host = Host::new(limits);
    let partition = host.create_topic(&[]);
    let leaving = host.leader(partition);
    let conn = host.conn();
    for (corr, value) in ["in the wal", "in the queue"].into_iter().enumerate() {
        let batch = host.batch(&[value]);
        host.send(leaving, conn, corr as u32, produce(partition, batch, Acks::All));
    }
    host.give(leaving, Input::Drain);
    host.run(8_000_000);
    assert_eq!(host.halted, vec![(leaving, HaltReason::ShutDown)]);
    for corr in 0..2 {
        let Some(Response::Produce(results)) = host.replies.get(&(conn, corr)) else { panic!() };
        assert_eq!(results[0].result, Err(ErrorCode::NotLeaderOrFollower));
    }
    assert_eq!(values(&host.read_all(partition)), ["in the wal"]);
    assert_eq!(host.saw(other(leaving), |p| matches!(p, Probe::RecoveryTook { .. })), 0);
    assert_eq!(host.produce(partition, &["next"]), Offset(1));
}

#[test]
fn broker_back_before_anyone_took_over_goes_on_in_a_new_epoch() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let leader = host.leader(partition);
    host.produce(partition, &["a"]);
    host.kill(other(leader));
    host.run(LONG);
    let leader = host.leader(partition);
    host.cut(leader, true);
    host.run(LONG);
    host.cut(leader, false);
    host.run(LONG);
    assert!(host.halted.is_empty(), "{:?}", host.halted);
    assert_eq!(host.leader(partition), leader);
    assert_eq!(host.produce(partition, &["b"]), Offset(1));
    assert_eq!(values(&host.read_all(partition)), ["a", "b"]);
}

#[test]
fn broker_cut_off_is_fenced_and_acknowledges_nothing_more() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    host.produce(partition, &["a"]);
    let zombie = host.leader(partition);
    host.cut(zombie, true);
    host.run(LONG);
    let batch = host.batch(&["z"]);
    let conn = host.conn();
    host.send(zombie, conn, 0, produce(partition, batch, Acks::All));
    host.run(LONG);
    assert_eq!(host.halted, vec![(zombie, HaltReason::WalFenced)]);
    assert!(!host.replies.contains_key(&(conn, 0)));
    assert_eq!(host.saw(zombie, |p| matches!(p, Probe::BrokerFenced { .. })), 1);
    assert_eq!(values(&host.read_all(partition)), ["a"]);
}

#[test]
fn broker_back_from_a_cut_is_told_that_it_is_fenced() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    let zombie = host.leader(partition);
    host.cut(zombie, true);
    host.run(LONG);
    host.cut(zombie, false);
    host.run(LONG);
    assert_eq!(host.halted, vec![(zombie, HaltReason::NodeFenced)]);
}

#[cfg(feature = "mutants")]
#[test]
fn broker_survives_fencing_mutant_goes_on() {
    use crate::mutants::{Mutant, Mutants};
    let mutants = Mutants::NONE.with(Mutant::BrokerSurvivesFencing);
    let mut host = Host::with(BrokerLimits::default(), mutants);
    let partition = host.create_topic(&[]);
    let zombie = host.leader(partition);
    host.cut(zombie, true);
    host.run(LONG);
    host.cut(zombie, false);
    host.run(1_000);
    host.run(LONG);
    assert!(host.halted.is_empty());
    assert!(host.saw(zombie, |p| matches!(p, Probe::BrokerFenced { .. })) > 0);
}

#[test]
fn broker_topic_deleted_answers_unknown_topic() {
    let mut host = Host::new(BrokerLimits::default());
    let partition = host.create_topic(&[]);
    host.produce(partition, &["a"]);
    let leader = host.leader(partition);
    let delete = AdminRequest::DeleteTopic { topic: partition.topic };
    assert_eq!(
        host.call(other(leader), Request::Admin(delete)),
        Response::Admin(AdminResponse::Done)
    );
    let batch = host.batch(&["b"]);
    let refused = host.try_produce(leader, partition, batch, Acks::All);
    assert_eq!(refused, Err(ErrorCode::UnknownTopicId));
    assert!(host.broker(leader).partition(partition).is_none());
    host.run(LONG);
    assert!(host.broker(leader).is_settled(), "{:?}", host.broker(leader).blocked());
}

#[test]
fn broker_passes_the_question_about_the_quorum_to_the_controller_in_office() {
    let mut host = Host::new(BrokerLimits::default());
    let ask = |host: &mut Host| host.call(B, Request::Admin(AdminRequest::DescribeQuorum));
    let Response::Admin(AdminResponse::Quorum(quorum)) = ask(&mut host) else { panic!("refused") };
    let now = host.wall.0 + host.now as i64;
    assert_eq!((quorum.leader, quorum.voters.len()), (CONTROLLER, 1));
    let nodes: Vec<_> = quorum.observers.iter().map(|it| it.node).collect();
    assert_eq!(nodes, [A, B]);
    for it in &quorum.observers {
        assert_eq!((it.end, it.last_fetch), (quorum.high_watermark, it.last_caught_up));
        assert!(it.last_fetch.is_some_and(|at| now - at.0 < 3_000_000), "{it:?} at {now}");
    }
    // The answer that nobody gives.
    host.kill(CONTROLLER);
    let conn = host.conn();
    host.send(B, conn, 0, Request::Admin(AdminRequest::DescribeQuorum));
    host.run(LONG);
    let timed_out = Response::Admin(AdminResponse::Error(ErrorCode::RequestTimedOut));
    assert_eq!(host.replies.remove(&(conn, 0)), Some(timed_out));
}
