//! Groups of consumers whose members come, go and vanish while their topic is written to, by all
//! three protocols; now and then the topic is deleted under them, and created again.
//!
//! Tempts the coordinator to give a partition to two members, to take a commit of one that was
//! replaced, to forget what was committed when it moves, to leave a group without an owner of its
//! partitions, and to keep, or take, what was read of a topic that is gone.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::op::GroupProtocol;
use crate::schedule::{OPS_MIN, Schedule, Topic, create_first, usual_produce};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "group-rebalance",
    what: "groups whose members come, go and vanish, by the classic protocol and by KIP-848",
    plan,
};

/// A group of the run.
struct Group {
    name: String,
    protocol: GroupProtocol,
}

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topic = Topic { name: String::from("events"), partitions: s.size(2, 6) };
    create_first(s, core::slice::from_ref(&topic));
    let groups: Vec<Group> = (0..s.between(1, 3)).map(|nth| group(s, nth)).collect();
    for group in &groups {
        for _ in 0..s.between(1, 3) {
            let (client, at) = (s.client(), s.sometime(20, 300));
            s.add(at, client, member(&topic, group, None, (0, false)));
        }
    }
    for _ in 0..*s.pick(&[0, 0, 0, 1, 1, 2]) {
        rebirth(s, &topic);
    }
    // Each membership is many requests.
    let total = s.between(OPS_MIN / 2, OPS_MIN);
    while s.len() < total {
        if s.chance(900) {
            let (client, at) = (s.client(), s.in_load());
            let partition = s.size(0, topic.partitions - 1);
            let op = usual_produce(s, &topic, partition);
            s.add(at, client, op);
            continue;
        }
        let nth = usize::try_from(s.between(0, groups.len() as u64 - 1)).expect("an index");
        let (client, at) = (s.client(), s.in_load());
        // A static member goes and comes back; now and then before it has gone.
        let instance = s.chance(250).then(|| alloc::format!("static-{nth}-{}", s.between(0, 1)));
        let stays_ms = *s.pick(&[1_500, 4_000, 9_000, 20_000]);
        let vanishes = s.chance(400);
        s.add(at, client, member(&topic, &groups[nth], instance, (stays_ms, vanishes)));
    }
    schedule.finish()
}

fn group(s: &mut Schedule<'_>, nth: u64) -> Group {
    let all = [GroupProtocol::Eager, GroupProtocol::Cooperative, GroupProtocol::Consumer];
    let protocol = match s.chance(400) {
        true => GroupProtocol::Consumer,
        false => *s.pick(&all),
    };
    Group { name: alloc::format!("group-{nth}"), protocol }
}

/// The topic is deleted, and created again before the members can have noticed, or long after; now
/// and then not at all.
fn rebirth(s: &mut Schedule<'_>, topic: &Topic) {
    let (deleter, creator, at) = (s.client(), s.client(), s.in_load());
    s.add(at, deleter, Op::DeleteTopic { topic: topic.name.clone() });
    if s.chance(900) {
        let later = *s.pick(&[0, 200_000, 2_000_000, 6_000_000]);
        let again = Dur(at.0 + s.between(later / 2, later));
        s.add(again, creator, topic.create());
    }
}

fn member(
    topic: &Topic,
    group: &Group,
    instance: Option<String>,
    (stays_ms, vanishes): (u32, bool),
) -> Op {
    let (topic, protocol) = (topic.name.clone(), group.protocol);
    let group = group.name.clone();
    let copies_to = None;
    Op::Consume { topic, group, protocol, instance, stays_ms, vanishes, copies_to }
}
