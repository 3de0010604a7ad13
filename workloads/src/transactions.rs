//! Transactions over several partitions, committed and aborted, with readers of committed data and
//! of everything, and some plain batches between them.
//!
//! Some transactions share one transactional id over clients, and some are left without an end.
//! Tempts the broker to show what is not decided or was aborted, to hide what was committed, to let
//! a late marker end the wrong transaction, and to forget a transaction when its leader changes.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::op::{ListSpec, TxnEnd};
use crate::schedule::{OPS_MAX, OPS_MIN, Schedule, Topic, create_first, usual_produce};
use crate::{Draw, Op, PlannedOp, Shape, Workload};

/// The workload.
pub const WORKLOAD: Workload = Workload {
    name: "transactions",
    what: "transactions over several partitions, readers of committed data and of everything",
    plan,
};

/// Most operations of one run.
const OPS_TRANSACTIONS_MAX: u64 = (OPS_MIN + OPS_MAX) / 2;

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut schedule = Schedule::new(shape, draw);
    let s = &mut schedule;
    let topic = Topic { name: String::from("ledger"), partitions: s.size(2, 5) };
    create_first(s, core::slice::from_ref(&topic));
    for partition in 0..topic.partitions {
        for committed in [true, s.chance(500)] {
            let (client, at, topic) = (s.client(), s.sometime(20, 200), topic.name.clone());
            let from_start = s.chance(800);
            s.add(at, client, Op::Tail { topic, partition, from_start, committed });
        }
    }
    // Each transaction is several requests.
    let total = s.between(OPS_MIN, OPS_TRANSACTIONS_MAX);
    while s.len() < total {
        match s.between(0, 99) {
            0..=69 => transactions(s, &topic, total),
            70..=79 => {
                let (client, at, partition) = anywhere(s, &topic);
                let op = usual_produce(s, &topic, partition);
                s.add(at, client, op);
            }
            80..=89 => {
                let (client, at, partition) = anywhere(s, &topic);
                let (topic, committed) = (topic.name.clone(), s.chance(800));
                s.add(at, client, Op::CatchUp { topic, partition, committed });
            }
            _ => {
                let (client, at, partition) = anywhere(s, &topic);
                let spec = match s.between(0, 3) {
                    0 | 1 => ListSpec::Latest,
                    2 => ListSpec::MaxTimestamp,
                    _ => ListSpec::AgoMs(s.between(0, 20_000)),
                };
                let (topic, committed) = (topic.name.clone(), s.chance(800));
                s.add(at, client, Op::ListOffsets { topic, partition, spec, committed });
            }
        }
    }
    schedule.finish()
}

fn anywhere(s: &mut Schedule<'_>, topic: &Topic) -> (u16, Dur, u32) {
    (s.client(), s.in_load(), s.size(0, topic.partitions - 1))
}

/// Some transactions of one client: at nearly the same moment, so that each has a producer of its
/// own, or one after the other by the same producer, in few partitions or in many.
fn transactions(s: &mut Schedule<'_>, topic: &Topic, total: u64) {
    let (client, begin) = (s.client(), s.in_load());
    let pace_us = (*s.pick(&[60_000, 600_000, 6_000_000])).min(s.moment(100).0);
    // Some ids are used by several clients, each of which fences the others.
    let shared = s.chance(100).then(|| alloc::format!("shared-{}", s.between(0, 2)));
    let many = shared.is_none() && s.chance(150);
    let (count, few) = (if many { 8 } else { s.between(1, 3) }, s.chance(500));
    let first = s.size(0, topic.partitions - 1);
    for _ in 0..count.min(total - s.len()) {
        let at = Dur(begin.0 + s.between(0, pace_us));
        let batches = s.between(1, 5);
        let any = |s: &mut Schedule<'_>| if few { first } else { s.size(0, topic.partitions - 1) };
        let partitions = (0..batches).map(|_| any(s)).collect();
        let (records, bytes) = (s.size(1, 4), s.size(8, 200));
        let end = match s.between(0, 99) {
            0..=29 => TxnEnd::Abort,
            30..=34 => TxnEnd::Leave,
            _ => TxnEnd::Commit,
        };
        let id = shared.clone();
        // Long enough for another one to take the producer's place; now and then for the time-out.
        let think_ms = match (id.is_some(), s.between(0, 99)) {
            (true, 0..=49) => *s.pick(&[500, 1_000, 2_000, 4_000]),
            (false, 0..=1) => 15_000,
            _ => 0,
        };
        let topic = topic.name.clone();
        s.add(at, client, Op::Transaction { topic, id, partitions, records, bytes, think_ms, end });
    }
}
