//! Several producers, tail and catch-up readers, and questions about offsets and epochs, on a few
//! partitions that stay.
//!
//! Tempts the broker to acknowledge what it may lose, to show what is not durable, to give an
//! offset twice, and to accept what is damaged or too large.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::op::ListSpec;
use crate::schedule::usual_produce;
use crate::schedule::{OPS_MAX, OPS_MIN, Schedule, Topic, catch_up, create_first, tail};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "append-read",
    what: "appends with all acks, tail and catch-up reads, queries, damaged and large batches",
    plan,
};

/// `max.message.bytes` of the topic whose batches go to the limit.
const SMALL_LIMIT: u32 = 4_000;

/// No broker takes a batch with a value of this size: it is Kafka's default limit on batches.
const LARGE_LIMIT: u32 = 1 << 20;

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topics = [
        Topic { name: String::from("orders"), partitions: s.size(2, 4) },
        Topic { name: String::from("audit"), partitions: s.size(1, 2) },
    ];
    create_first(s, &topics);
    let limited = Op::AlterConfig {
        topic: topics[1].name.clone(),
        key: String::from("max.message.bytes"),
        value: SMALL_LIMIT.to_string(),
    };
    let client = s.client();
    s.add(s.moment(50), client, limited);
    for topic in &topics {
        for partition in 0..topic.partitions {
            let (client, at) = (s.client(), s.sometime(20, 200));
            s.add(at, client, tail(topic, partition, true));
            if s.chance(500) {
                let (client, at) = (s.client(), s.in_load());
                s.add(at, client, tail(topic, partition, false));
            }
        }
    }
    let total = s.between(OPS_MIN, OPS_MAX);
    while s.len() < total {
        if s.chance(10) {
            burst(s, &topics, total);
            continue;
        }
        let (client, at) = (s.client(), s.in_load());
        let op = any_op(s, &topics);
        s.add(at, client, op);
    }
    schedule.finish()
}

/// Many produces at nearly the same moment, mostly by one client to one partition: they fill WAL
/// bulks, queues and back-pressure.
fn burst(s: &mut Schedule<'_>, topics: &[Topic], total: u64) {
    let topic = s.pick(topics).clone();
    let (client, partition) = (s.client(), s.size(0, topic.partitions - 1));
    let begin = s.in_load();
    for _ in 0..s.between(8, 25).min(total - s.len()) {
        let at = broker_core::time::Dur(begin.0 + s.between(0, 30_000));
        let elsewhere = s.chance(200);
        let client = if elsewhere { s.client() } else { client };
        let partition = if elsewhere { s.size(0, topic.partitions - 1) } else { partition };
        let op = usual_produce(s, &topic, partition);
        s.add(at, client, op);
    }
}

fn any_op(s: &mut Schedule<'_>, topics: &[Topic]) -> Op {
    let topic = s.pick(topics).clone();
    let partition = s.size(0, topic.partitions - 1);
    match s.between(0, 99) {
        0..=66 => usual_produce(s, &topic, partition),
        67..=70 => damaged(s, &topic, partition),
        71..=74 => near_the_limit(s, &topics[1]),
        75 if s.chance(100) => huge(s, &topic, partition),
        75..=80 => catch_up(&topic, partition),
        81..=92 => {
            let spec = match s.between(0, 5) {
                0 => ListSpec::Earliest,
                1 | 2 => ListSpec::Latest,
                3 => ListSpec::MaxTimestamp,
                _ => ListSpec::AgoMs(s.between(0, 20_000)),
            };
            Op::ListOffsets { topic: topic.name, partition, spec, committed: false }
        }
        _ => Op::EpochEnd { topic: topic.name, partition, back: s.size(0, 3) },
    }
}

fn damaged(s: &mut Schedule<'_>, topic: &Topic, partition: u32) -> Op {
    let mut op = usual_produce(s, topic, partition);
    if let Op::Produce { damaged, .. } = &mut op {
        *damaged = true;
    }
    op
}

/// One record about as large as the topic's limit: some batches pass by a byte, some do not.
fn near_the_limit(s: &mut Schedule<'_>, topic: &Topic) -> Op {
    Op::Produce {
        topic: topic.name.clone(),
        partition: s.size(0, topic.partitions - 1),
        records: 1,
        bytes: s.size(SMALL_LIMIT - 120, SMALL_LIMIT),
        acks: -1,
        damaged: false,
        idempotent: false,
    }
}

/// Always too large. Rarely drawn: a megabyte goes a long way in a simulated cluster.
fn huge(s: &mut Schedule<'_>, topic: &Topic, partition: u32) -> Op {
    let bytes = LARGE_LIMIT + s.size(0, 200);
    let topic = topic.name.clone();
    Op::Produce { topic, partition, records: 1, bytes, acks: -1, damaged: false, idempotent: false }
}
