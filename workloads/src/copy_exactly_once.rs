//! Groups whose members copy what they read to another topic, each record once: consume, transform,
//! produce, and commit the offset in the same transaction, while members come, go and vanish.
//!
//! Tempts the coordinators to let a replaced member commit, to show a successor an offset while the
//! transaction before is undecided, and to keep half of a copy.

use alloc::string::String;
use alloc::vec::Vec;

use crate::op::GroupProtocol;
use crate::schedule::{OPS_MIN, Schedule, Topic, create_first, usual_produce};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "copy-exactly-once",
    what: "groups that copy a topic to another one, record and offset in one transaction",
    plan,
};

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let partitions = s.size(2, 4);
    let source = Topic { name: String::from("orders"), partitions };
    let copy = Topic { name: String::from("invoices"), partitions };
    create_first(s, &[source.clone(), copy.clone()]);
    let all = [GroupProtocol::Eager, GroupProtocol::Cooperative, GroupProtocol::Consumer];
    let protocol = *s.pick(&all);
    for _ in 0..s.between(1, 3) {
        let (client, at) = (s.client(), s.sometime(20, 300));
        s.add(at, client, member((&source, &copy), protocol, None, (0, false)));
    }
    for partition in 0..partitions {
        let (client, at) = (s.client(), s.sometime(20, 200));
        let (topic, from_start, committed) = (copy.name.clone(), true, true);
        s.add(at, client, Op::Tail { topic, partition, from_start, committed });
    }
    // Each membership is many requests.
    let total = s.between(OPS_MIN / 3, OPS_MIN / 2);
    while s.len() < total {
        let (client, at) = (s.client(), s.in_load());
        if s.chance(900) {
            let partition = s.size(0, partitions - 1);
            let op = usual_produce(s, &source, partition);
            s.add(at, client, op);
            continue;
        }
        // A static member goes and comes back, perhaps before it has gone: both have one
        // transactional id.
        let instance = s.chance(300).then(|| alloc::format!("static-{}", s.between(0, 1)));
        let stays = (*s.pick(&[1_500, 4_000, 9_000, 20_000]), s.chance(500));
        s.add(at, client, member((&source, &copy), protocol, instance, stays));
    }
    schedule.finish()
}

fn member(
    (source, copy): (&Topic, &Topic),
    protocol: GroupProtocol,
    instance: Option<String>,
    (stays_ms, vanishes): (u32, bool),
) -> Op {
    let (topic, copies_to) = (source.name.clone(), Some(copy.name.clone()));
    let group = String::from("billing");
    Op::Consume { topic, group, protocol, instance, stays_ms, vanishes, copies_to }
}
