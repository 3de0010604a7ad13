//! Whole runs: a sound one under all properties at once, what it counts, and what it costs.

use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Lsn, Offset, ProducerEpoch, ProducerId, TopicPartition};
use broker_core::metadata::record::Record;
use broker_core::probe::Probe;
use broker_core::protocol::{Acks, Generation, Isolation};
use broker_core::step::Flow;

use crate::history::{Answer, Call, EventKind, HistoryEvent, SimTime};
use crate::judge_history;
use crate::testing::{
    A, A_EPOCH, B, B_EPOCH, Case, P, Q, S, fetched, open_stream, produce, produce_in_transaction,
    read, wal_key,
};

/// A quorum, a produce, a commit, a death, a recovery, a new leader, a reader over both.
fn sound_run() -> Case {
    let mut case = Case::new("all");
    quorum(&mut case);
    let mut case = with_cluster(case);
    let (partition, stream, epoch) = (P, S, LeaderEpoch(0));
    let (log_start, next) = (Offset(0), Offset(0));
    case.probe(A, &Probe::PartitionOpened { partition, stream, epoch, next });
    let entries = vec![(epoch, next)];
    case.probe(A, &Probe::PartitionEpochs { partition, entries });
    let (high_watermark, log_end) = (next, next);
    let last_stable = high_watermark;
    let offsets = Probe::PartitionOffsets {
        partition,
        epoch,
        log_start,
        last_stable,
        high_watermark,
        log_end,
    };
    case.probe(A, &offsets);
    let sent = case.produce(100, 2);
    let (base, end) = (Offset(0), Offset(2));
    case.probe(A, &Probe::PartitionAppended { partition, stream, epoch, base, end });
    case.wal_write(0, &[(0, 2, 100)]);
    case.probe(A, &Probe::PartitionAcked { partition, epoch, base, end, acks: Acks::Leader })
        .placed(sent, 0);
    case.reads(0, 0, 2, &[(0, 100, 0), (1, 101, 0)]);
    case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
    case.wal_write(1, &[(2, 3, 102)]);
    let lost = case.produce(102, 1);
    case.unknown(lost);
    fail_over(&mut case);
    case.produced(103, 1, 3).reads(0, 1, 4, &[(0, 100, 0), (1, 101, 0), (2, 102, 0), (3, 103, 1)]);
    case.commit(2, (B, B_EPOCH), (B, B_EPOCH), 1, &[(3, 4, 103)]);
    case
}

fn quorum(case: &mut Case) {
    case.ballot(0, 1, 0).durable(0, 10).durable(1, 10).elected(0, 1);
    case.appends(0, 0, 1, 10).appends(1, 0, 1, 10).commits(0, 1, 1, Some(1));
}

fn with_cluster(mut case: Case) -> Case {
    case.boot(A).boot(B).register(A).register(B);
    case.meta(vec![
        Record::Topic { name: "t".into(), topic: P.topic, nonce: 1 },
        Record::Partition { partition: P, stream: S, replica: Some(A) },
    ]);
    case.lead(A, A_EPOCH, 0, 1).claim(A, A, 1);
    case
}

/// A dies with one record in its WAL; B recovers it and leads.
fn fail_over(case: &mut Case) {
    case.fail_over().claim(B, A, 2);
    case.list(B, Flow::Recovery(A), 7, &alloc::format!("wal/{A}/"));
    let (of, epoch, objects, sealed, end, hole) = (A, A_EPOCH, 2, 0, Lsn(2), false);
    case.probe(B, &Probe::RecoveryListed { of, epoch, objects, sealed, end, hole });
    let (stream, base, end) = (S, Offset(2), Offset(3));
    case.probe(B, &Probe::RecoveryTook { of, epoch, lsn: Lsn(1), stream, base, end });
    case.meta(vec![crate::testing::prepare(1, B, B_EPOCH)]).upload(1, B, 0, &[(2, 3, 102)]);
    case.meta(vec![crate::testing::commit_object(1, (A, A_EPOCH), 0, (2, 3))]).seal(2);
    case.lead(B, B_EPOCH, 1, 3);
    let (partition, epoch, next) = (P, LeaderEpoch(1), Offset(3));
    case.probe(B, &Probe::PartitionOpened { partition, stream, epoch, next });
    case.probe(B, &Probe::BrokerRegistered { epoch: B_EPOCH });
    b_confirms(case, 0, 3, 4);
}

/// B's WAL holds and confirms one record.
fn b_confirms(case: &mut Case, lsn: u64, base: u64, end: u64) {
    case.claim(B, B, 1);
    let records = [(base, end, 103)];
    let (key, body) = crate::testing::wal_object(B, B_EPOCH, lsn, 0, &records);
    let (start, upto) = (Lsn(lsn), Lsn(lsn + 1));
    case.put(B, Flow::Wal, &key, body).probe(B, &Probe::WalPutDone { start, end: upto });
    case.probe(B, &Probe::WalVerifySent { seq: 1, covers: upto });
    case.list(B, Flow::Claim, 1, &alloc::format!("claim/{B}/"));
    case.probe(B, &Probe::WalConfirmed { seq: 1, epoch: B_EPOCH, end: upto });
    case.probe(B, &crate::testing::confirmed(lsn, 1, base, end));
}

#[test]
fn run_that_is_sound_holds_under_all_properties() {
    let mut case = sound_run();
    case.fake.outside.insert(A);
    case.heal();
    assert_eq!(case.judge.unsettled(&case.fake).next(), None);
    assert!(case.finish().holds());
}

#[test]
fn run_counts_what_it_evaluated_and_reached() {
    let mut case = sound_run();
    case.finish();
    let reached = case.judge.reached();
    for id in ["unknown-seen", "epoch-moved", "commit-for-dead", "wal-sealed", "object-read-back"] {
        assert!(reached.contains_key(id), "{id} in {reached:?}");
    }
    for code in ["L1", "L3", "L4", "L7", "W1", "W3", "W4", "O1", "O2", "O4", "R5"] {
        let name = alloc::format!("evaluated:{code}");
        assert!(reached.contains_key(name.as_str()), "{name} in {reached:?}");
    }
    assert!(!reached.contains_key("evaluated:Q2"));
}

#[test]
fn run_judged_for_one_property_ignores_the_others() {
    let mut case = Case::cluster("Q1");
    case.produced(100, 2, 0).produced(200, 2, 1);
    assert!(case.holds());
}

#[test]
fn run_in_which_an_open_stream_is_opened_breaks() {
    let mut case = sound_run();
    case.meta(vec![open_stream(B, B_EPOCH, 2)]);
    assert!(case.breaks("O4"));
}

#[test]
fn store_forgets_nothing_that_a_trimmed_object_held() {
    let mut case = sound_run();
    case.delete(B, &wal_key(A, A_EPOCH, 0, 1)).delete(B, &wal_key(A, A_EPOCH, 1, 2));
    assert!(case.finish().holds());
}

/// How often a property is judged of a history of these calls, each by a client that ends it so.
fn judged(code: &str, calls: &[(u16, Call, EventKind)]) -> u64 {
    let mut events = Vec::new();
    for (number, (client, call, end)) in (0..).zip(calls) {
        for kind in [EventKind::Invoke(call.clone()), end.clone()] {
            events.push(HistoryEvent {
                at: SimTime(0),
                client: *client,
                call: number,
                op: 1,
                kind,
            });
        }
    }
    let summary = judge_history(&events).expect("it holds");
    summary.evaluated().find(|(of, _)| *of == code).expect("a property of histories").1
}

type Ended = (u16, Call, EventKind);

fn placed(value: u64, idempotent: bool, base: u64) -> Ended {
    let (base, log_append_time) = (Offset(base), None);
    let answer = Answer::Produced { base, log_append_time };
    (1, produce(value, 1, idempotent), EventKind::Ok(answer))
}

fn reads(isolation: Isolation, high_watermark: u64, records: &[(u64, u64)]) -> Ended {
    let (offset, reader, leader_epoch) = (Offset(0), 1, Some(LeaderEpoch(0)));
    let call = Call::Fetch { partition: P, offset, reader, leader_epoch, isolation };
    let records = records.iter().map(|(at, value)| read(*at, *value, 0)).collect();
    (2, call, EventKind::Ok(fetched(Offset(high_watermark), Offset(0), records)))
}

#[test]
fn refused_produce_of_a_history_without_readers_is_not_judged() {
    let refused = (1, produce(100, 1, false), EventKind::Fail(None));
    assert_eq!(judged("L3", core::slice::from_ref(&refused)), 0);
    assert_eq!(judged("L3", &[reads(Isolation::ReadUncommitted, 0, &[]), refused]), 1);
}

#[test]
fn refused_commit_of_a_history_that_nobody_could_have_read_is_not_judged() {
    let ends = Call::EndTxn { commit: true, producer: None, id: None };
    let ends = (1, ends, EventKind::Fail(None));
    let writes = produce_in_transaction(P, 100, 1, None);
    let writes = (1, writes, EventKind::Unknown(None));
    let reads = |isolation| reads(isolation, 0, &[]);
    let (any, committed) = (Isolation::ReadUncommitted, Isolation::ReadCommitted);
    assert_eq!(judged("T2", core::slice::from_ref(&ends)), 0);
    assert_eq!(judged("T2", &[reads(committed), ends.clone()]), 0);
    assert_eq!(judged("T2", &[writes.clone(), reads(any), ends.clone()]), 0);
    assert_eq!(judged("T2", &[writes, reads(committed), ends]), 1);
}

#[test]
fn producer_ids_and_batches_of_a_history_are_judged_from_the_second_word_on() {
    let given = |id| {
        let (transactional, timeout, expected) = (false, None, None);
        let asks = Call::InitProducerId { transactional, id: None, timeout, expected };
        let answer = Answer::ProducerId(ProducerId(id), ProducerEpoch(0));
        (1, asks, EventKind::Ok(answer))
    };
    assert_eq!(judged("P1", &[given(1)]), 0);
    assert_eq!(judged("P1", &[given(1), given(2)]), 1);
    let any = Isolation::ReadUncommitted;
    assert_eq!(judged("P1", &[placed(100, true, 0)]), 0);
    assert_eq!(judged("P1", &[placed(100, true, 0), reads(any, 1, &[(0, 100)])]), 1);
    assert_eq!(judged("P1", &[placed(100, false, 0), reads(any, 1, &[(0, 100)])]), 0);
}

#[test]
fn part_of_a_generation_with_one_member_in_a_history_is_not_judged() {
    let told = |client, member: &str, generation, partitions: &[TopicPartition]| {
        let (group, generation) = ("g".into(), Generation(generation));
        let asks = Call::SyncGroup { group, member: member.into(), generation, instance: None };
        (client, asks, EventKind::Ok(Answer::Assigned(partitions.to_vec())))
    };
    assert_eq!(judged("G5", &[told(1, "a", 1, &[P]), told(1, "a", 1, &[P])]), 0);
    assert_eq!(judged("G5", &[told(1, "a", 1, &[P]), told(2, "b", 2, &[P])]), 0);
    assert_eq!(judged("G5", &[told(1, "a", 1, &[P]), told(2, "b", 1, &[])]), 0);
    assert_eq!(judged("G5", &[told(1, "a", 1, &[P]), told(2, "b", 1, &[Q])]), 1);
}

#[test]
fn first_word_of_a_partition_in_a_history_proves_nothing() {
    let any = Isolation::ReadUncommitted;
    for code in ["L1", "L2", "L6"] {
        assert_eq!(judged(code, &[placed(100, false, 0)]), 0, "{code}");
        assert!(judged(code, &[placed(100, false, 0), placed(101, false, 1)]) > 0 || code == "L6");
        let twice = [reads(any, 1, &[]), reads(any, 1, &[])];
        assert_eq!(judged(code, &twice[..1]), 0, "{code}");
        assert_eq!(judged(code, &twice) > 0, code == "L6", "{code}");
    }
}

/// A million records acknowledged and read: near-linear, or this takes minutes.
#[test]
fn history_of_a_million_records_is_judged_in_linear_time() {
    let mut events = Vec::new();
    let mut add = |client: u16, call: u32, kind: EventKind| {
        events.push(HistoryEvent { at: SimTime(u64::from(call)), client, call, op: 0, kind });
    };
    for call in 0..10_000u32 {
        let first = u64::from(call) * 100;
        add(1, call, EventKind::Invoke(produce(first, 100, false)));
        let (base, log_append_time) = (Offset(first), None);
        add(1, call, EventKind::Ok(Answer::Produced { base, log_append_time }));
        let (offset, reader, leader_epoch) = (Offset(first), 1, Some(LeaderEpoch(0)));
        let isolation = Isolation::ReadUncommitted;
        let call_ = Call::Fetch { partition: P, offset, reader, leader_epoch, isolation };
        add(2, call, EventKind::Invoke(call_));
        let records = (first..first + 100).map(|at| read(at, at, 0)).collect();
        let (high_watermark, log_start) = (Offset(first + 100), Offset(0));
        add(2, call, EventKind::Ok(fetched(high_watermark, log_start, records)));
    }
    let summary = judge_history(&events).expect("a sound history");
    assert_eq!((summary.events, summary.ok, summary.partitions), (40_000, 20_000, 1));
    assert_eq!(summary.reached["evaluated:L9"], 1_000_000);
}
