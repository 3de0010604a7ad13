//! Topics come, go, and come again under the same name, grow and change their configs, while others
//! produce to them and read them.
//!
//! Tempts the broker to take a topic for its namesake, to serve what is deleted, to open a stream
//! that is still closing, and to forget a config on the way.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::op::ListSpec;
use crate::schedule::usual_produce;
use crate::schedule::{OPS_MAX, OPS_MIN, Schedule, Topic, catch_up, create_first, tail};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "topic-churn",
    what: "topics created, deleted, created anew, grown and configured under load",
    plan,
};

/// Configs that may be set: known and sound, known and unsound, unknown.
const CONFIGS: &[(&str, &str)] = &[
    ("message.timestamp.type", "LogAppendTime"),
    ("message.timestamp.type", "CreateTime"),
    ("max.message.bytes", "1500"),
    ("max.message.bytes", "1048588"),
    ("retention.ms", "-1"),
    ("max.message.bytes", "-5"),
    ("message.timestamp.type", "Yesterday"),
    ("no.such.config", "1"),
];

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topics: Vec<Topic> = (0..s.size(2, 4))
        .map(|n| Topic { name: format!("churn-{n}"), partitions: s.size(1, 3) })
        .collect();
    create_first(s, &topics);
    for topic in &topics {
        for partition in 0..topic.partitions {
            let (client, at) = (s.client(), s.sometime(20, 300));
            s.add(at, client, tail(topic, partition, true));
        }
        for _ in 0..s.between(1, 4) {
            rebirth(s, topic);
        }
        growth(s, topic);
    }
    let total = s.between(OPS_MIN, OPS_MAX);
    while s.len() < total {
        let (client, at) = (s.client(), s.in_load());
        let op = any_op(s, &topics);
        s.add(at, client, op);
    }
    schedule.finish()
}

/// A topic is deleted and soon created again, often by another client, in the midst of produces to
/// it. Sometimes the new one comes first and is refused.
fn rebirth(s: &mut Schedule<'_>, topic: &Topic) {
    let at = s.in_load();
    let (deleter, creator) = (s.client(), s.client());
    s.add(at, deleter, Op::DeleteTopic { topic: topic.name.clone() });
    let again = Dur(at.0.saturating_sub(20_000) + s.between(0, 400_000));
    s.add(again, creator, topic.create());
    for _ in 0..s.between(2, 8) {
        let around = Dur(at.0.saturating_sub(100_000) + s.between(0, 1_000_000));
        let (client, partition) = (s.client(), s.size(0, topic.partitions - 1));
        let op = usual_produce(s, topic, partition);
        s.add(around, client, op);
    }
}

/// Partitions are added, and written to at once.
fn growth(s: &mut Schedule<'_>, topic: &Topic) {
    for step in 1..=s.size(0, 2) {
        let (client, at) = (s.client(), s.in_load());
        let count = topic.partitions + step;
        s.add(at, client, Op::AddPartitions { topic: topic.name.clone(), count });
        let (client, reader) = (s.client(), s.client());
        s.add(at, reader, tail(topic, count - 1, true));
        for _ in 0..s.between(1, 5) {
            let later = Dur(at.0 + s.between(0, 2_000_000));
            let op = usual_produce(s, topic, count - 1);
            s.add(later, client, op);
        }
    }
}

fn any_op(s: &mut Schedule<'_>, topics: &[Topic]) -> Op {
    let topic = s.pick(topics).clone();
    let partition = s.size(0, topic.partitions - 1);
    match s.between(0, 99) {
        0..=64 => usual_produce(s, &topic, partition),
        65..=72 => catch_up(&topic, partition),
        73..=79 => {
            let spec = *s.pick(&[ListSpec::Earliest, ListSpec::Latest, ListSpec::MaxTimestamp]);
            Op::ListOffsets { topic: topic.name, partition, spec, committed: false }
        }
        80..=83 => Op::EpochEnd { topic: topic.name, partition, back: s.size(0, 2) },
        84..=92 => {
            let (key, value) = *s.pick(CONFIGS);
            let (key, value) = (String::from(key), String::from(value));
            Op::AlterConfig { topic: topic.name, key, value }
        }
        93..=97 => Op::DescribeConfigs { topic: topic.name },
        // Mostly refused: it is there already.
        _ => topic.create(),
    }
}
