//! Idempotent producers that keep several batches of a partition in flight while answers are lost
//! and leaders change, so that batches are sent again, to the same leader and to the next.
//!
//! Tempts the broker to append a batch twice, or behind one that is missing, and to tell a producer
//! an offset at which its batch is not.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::schedule::{OPS_MAX, OPS_MIN, Schedule, Topic, catch_up, create_first, tail};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "idempotent-retry",
    what: "idempotent producers with several batches in flight, some plain ones beside them",
    plan,
};

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topic = Topic { name: String::from("payments"), partitions: s.size(2, 6) };
    create_first(s, core::slice::from_ref(&topic));
    for partition in 0..topic.partitions {
        for _ in 0..s.between(1, 2) {
            let (client, at) = (s.client(), s.sometime(20, 200));
            s.add(at, client, tail(&topic, partition, true));
        }
    }
    let total = s.between(OPS_MIN, OPS_MAX);
    while s.len() < total {
        if s.chance(60) {
            let (client, at) = (s.client(), s.in_load());
            let partition = s.size(0, topic.partitions - 1);
            s.add(at, client, catch_up(&topic, partition));
        } else {
            burst(s, &topic, total);
        }
    }
    schedule.finish()
}

/// Some batches of one client to one partition, within a moment or over a change of leader; rarely,
/// plain ones.
fn burst(s: &mut Schedule<'_>, topic: &Topic, total: u64) {
    let (client, partition) = (s.client(), s.size(0, topic.partitions - 1));
    let (begin, idempotent) = (s.in_load(), !s.chance(100));
    let pace_us = (*s.pick(&[60_000, 600_000, 6_000_000])).min(s.moment(400).0);
    for _ in 0..s.between(1, 8).min(total - s.len()) {
        let at = Dur(begin.0 + s.between(0, pace_us));
        let (records, bytes) = (s.size(1, 5), s.size(8, 200));
        let topic = topic.name.clone();
        let (acks, damaged) = (-1, false);
        let op = Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent };
        s.add(at, client, op);
    }
}
