//! Connections, time-outs, order and metadata.

use super::*;

/// A client with produces 0..n to one broker in flight, in order.
fn pipelined(n: u32) -> (Rig, Vec<Sent>) {
    let mut rig = Rig::new();
    for op in 0..n {
        rig.op(op, produce(-1, false));
    }
    rig.metadata(&[(Some(B1), 4)]);
    let sent = (0..n).map(|_| rig.take()).collect();
    (rig, sent)
}

#[test]
fn requests_to_one_broker_share_a_connection_in_order() {
    let (mut rig, sent) = pipelined(3);
    assert!(sent.iter().all(|one| one.conn == sent[0].conn && one.to == B1));
    assert!(sent.is_sorted_by_key(|one| one.corr));
    for (one, base) in sent.iter().zip([0, 2, 4]) {
        rig.answer(one, produced(base));
    }
    assert_eq!(rig.ends().len(), 3);
    rig.assert_finished();
}

#[test]
fn answer_out_of_order_costs_the_connection() {
    let (mut rig, sent) = pipelined(3);
    rig.answer(&sent[1], produced(2));
    assert_eq!(rig.client.disorders(), 1);
    assert!(!rig.open.contains_key(&sent[0].conn));
    assert_eq!(rig.ends(), [&CallEvent::Unknown; 3]);
    // What still comes on it counts no more.
    rig.answer(&sent[0], produced(0));
    assert_eq!(rig.ends().len(), 3);
}

#[test]
fn answer_of_another_kind_costs_the_connection() {
    for wrong in [
        Response::Fetch(vec![]),
        Response::Produce(vec![]),
        Response::Produce(vec![ProduceResult {
            partition: tp(9),
            result: Err(ErrorCode::InvalidRecord),
        }]),
    ] {
        let (mut rig, sent) = pipelined(2);
        rig.answer(&sent[0], wrong);
        assert_eq!(rig.client.disorders(), 1);
        assert_eq!(rig.ends(), [&CallEvent::Unknown; 2]);
        assert_eq!(rig.client.unfinished(), 2);
    }
}

#[test]
fn request_timed_out_closes_the_connection_and_all_on_it_are_unknown() {
    let (mut rig, sent) = pipelined(3);
    assert_eq!(rig.armed[&ClientTimer::Session(1)], REQUEST_TIMEOUT);
    rig.fire(ClientTimer::Session(1));
    assert!(!rig.open.contains_key(&sent[0].conn));
    assert_eq!(rig.ends(), [&CallEvent::Unknown; 3]);
    // All try again on a new connection, with new values.
    for op in 0..3 {
        assert!(rig.armed[&ClientTimer::Session(op)] <= BACKOFF_MAX);
        rig.fire(ClientTimer::Session(op));
    }
    let again: Vec<Sent> = (0..3).map(|_| rig.take()).collect();
    assert!(again.iter().all(|one| one.conn != sent[0].conn));
    for one in &again {
        rig.answer(one, produced(0));
    }
    rig.assert_finished();
}

#[test]
fn connection_gone_makes_what_is_in_flight_unknown_once() {
    let (mut rig, sent) = pipelined(2);
    rig.answer(&sent[0], produced(0));
    rig.gone(sent[0].conn);
    assert_eq!(rig.ends().len(), 2);
    assert_eq!(rig.ends()[1], &CallEvent::Unknown);
    rig.step(ClientIn::Gone(sent[0].conn));
    assert_eq!(rig.ends().len(), 2, "a second notice changes nothing");
}

#[test]
fn delivery_timed_out_leaves_the_call_unknown_and_ends_the_operation() {
    let (mut rig, sent) = pipelined(2);
    assert_eq!(rig.armed[&ClientTimer::Delivery(0)], DELIVERY_TIMEOUT);
    rig.fire(ClientTimer::Delivery(0));
    assert_eq!(rig.ends(), [&CallEvent::Unknown, &CallEvent::GaveUp]);
    assert_eq!(rig.client.unfinished(), 1);
    // The late answer is nobody's, and the order on the connection still holds.
    rig.answer(&sent[0], produced(0));
    rig.answer(&sent[1], produced(2));
    assert_eq!(rig.ends().len(), 3);
    assert_eq!(rig.client.disorders(), 0);
    rig.assert_finished();
}

#[test]
fn backoff_doubles_up_to_its_limit_and_jitters() {
    for attempts in 0..70 {
        let full = (100_000u64 << attempts.min(10)).min(1_000_000);
        for lot in 0..41 {
            let Dur(us) = super::super::shared::backoff(attempts, lot);
            assert!((full * 8 / 10..=full * 12 / 10).contains(&us), "{attempts} {lot} {us}");
        }
    }
    assert_ne!(super::super::shared::backoff(0, 0), super::super::shared::backoff(0, 1));
}

#[test]
fn leader_moved_is_found_by_new_metadata() {
    let (mut rig, sent) = pipelined(1);
    rig.answer(&sent[0], refused(ErrorCode::NotLeaderOrFollower));
    rig.rested();
    rig.metadata(&[(Some(B0), 5)]);
    rig.fire(ClientTimer::Session(0));
    let again = rig.take();
    assert_eq!(again.to, B0);
    // A broker that lags tells the old story: it is not believed.
    rig.answer(&again, refused(ErrorCode::NotLeaderOrFollower));
    rig.rested();
    rig.metadata(&[(Some(B1), 4)]);
    rig.fire(ClientTimer::Session(0));
    assert_eq!(rig.take().to, B0);
}

#[test]
fn leader_unknown_is_waited_for() {
    let mut rig = Rig::new();
    rig.op(0, produce(-1, false));
    for _ in 0..50 {
        rig.metadata(&[(None, 4)]);
        assert!(rig.invokes().is_empty());
        assert!(rig.client.blocked()[0].contains("metadata"), "{:?}", rig.client.blocked());
        rig.rested();
    }
    rig.metadata(&[(Some(B0), 5)]);
    let sent = rig.take();
    assert!(rig.client.blocked()[0].contains("broker 10"), "{:?}", rig.client.blocked());
    rig.answer(&sent, produced(0));
    rig.assert_finished();
}

#[test]
fn topic_that_never_comes_is_given_up_without_a_call() {
    let mut rig = Rig::new();
    let tail = tail(true);
    rig.op(0, produce(-1, false));
    rig.op(1, tail);
    rig.op(2, Op::DeleteTopic { topic: "t".to_string() });
    let mut rounds = 0;
    while !rig.client.is_idle() {
        rig.metadata_of(None, &[]);
        rig.rested();
        rounds += 1;
        assert!(rounds < 40, "{:?}", rig.client.blocked());
    }
    assert!(rounds >= 15, "a cluster that is slow to start must not be given up: {rounds}");
    assert!(rig.history.is_empty());
    // The reader goes on waiting, and reads when the topic comes.
    rig.metadata(&[(Some(B0), 0)]);
    assert!(matches!(rig.take().req, Request::ListOffsets { .. }));
}

#[test]
fn metadata_unanswered_is_asked_again_and_at_last_at_the_bootstrap() {
    let mut rig = Rig::new();
    rig.op(0, produce(-1, false));
    let mut conns = BTreeSet::new();
    for _ in 0..3 {
        assert_eq!(rig.armed[&ClientTimer::Metadata], REQUEST_TIMEOUT);
        let conn = rig.sent[0].conn;
        conns.insert(conn);
        rig.fire(ClientTimer::Metadata);
        assert!(!rig.open.contains_key(&conn));
        rig.rested();
    }
    assert_eq!(conns.len(), 3);
    // The known brokers are B0 and B1 after an answer; two failures lead back to B0 alone.
    rig.metadata(&[(None, 0)]);
    rig.rested();
    for _ in 0..2 {
        rig.fire(ClientTimer::Metadata);
        rig.rested();
    }
    for _ in 0..8 {
        assert_eq!(rig.sent[0].to, B0);
        rig.fire(ClientTimer::Metadata);
        rig.rested();
    }
}

#[test]
fn metadata_is_refreshed_by_and_by_while_somebody_reads() {
    let mut rig = Rig::new();
    rig.op(1, tail(true));
    rig.metadata(&[(Some(B0), 0)]);
    rig.rested();
    assert_eq!(rig.armed[&ClientTimer::Metadata], METADATA_AGE_MAX);
    rig.fire(ClientTimer::Metadata);
    rig.metadata(&[(Some(B0), 0)]);
    assert!(!rig.sent.iter().any(|sent| is_metadata(&sent.req)));
}

#[test]
fn leader_epoch_is_remembered_while_nobody_needs_the_topic() {
    let (mut rig, sent) = pipelined(1);
    rig.answer(&sent[0], produced(0));
    rig.rested();
    rig.fire(ClientTimer::Metadata);
    rig.op(9, produce(-1, false));
    // A broker that lags names the leader of an earlier epoch.
    rig.metadata(&[(Some(B0), 3)]);
    assert_eq!(rig.take().to, B1);
}

#[test]
fn metadata_is_left_alone_when_nobody_needs_it() {
    let (mut rig, sent) = pipelined(1);
    rig.answer(&sent[0], produced(0));
    rig.rested();
    rig.fire(ClientTimer::Metadata);
    assert!(rig.sent.is_empty());
    assert!(rig.armed.is_empty());
    // The next one in need asks at once.
    rig.op(9, produce(-1, false));
    rig.metadata(&[(Some(B1), 4)]);
    rig.take();
}

#[test]
fn refused_again_and_again_waits_longer_each_time() {
    let (mut rig, mut sent) = pipelined(1);
    let mut waits = Vec::new();
    for _ in 0..5 {
        rig.answer(&sent[0], refused(ErrorCode::ThrottlingQuotaExceeded));
        waits.push(rig.armed[&ClientTimer::Session(0)]);
        rig.fire(ClientTimer::Session(0));
        sent = vec![rig.take()];
    }
    // Doubling outweighs the jitter of 20 % to both sides.
    assert!(waits[..4].is_sorted() && waits[4] >= Dur::ms(800), "{waits:?}");
    assert!(waits[0] <= Dur::ms(120), "{waits:?}");
}

#[test]
fn metadata_that_does_not_help_is_asked_for_less_and_less() {
    let mut rig = Rig::new();
    rig.op(0, produce(-1, false));
    let mut pauses = Vec::new();
    for _ in 0..6 {
        rig.metadata(&[(None, 4)]);
        pauses.push(rig.armed[&ClientTimer::Metadata]);
        rig.rested();
    }
    assert!(pauses[0] <= Dur::ms(120) && pauses[5] >= Dur::ms(800), "{pauses:?}");
    // Whom it helped does not make others wait.
    rig.metadata(&[(Some(B0), 4)]);
    assert!(rig.armed[&ClientTimer::Metadata] <= Dur::ms(120), "{:?}", rig.armed);
}
