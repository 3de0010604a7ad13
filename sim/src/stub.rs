//! Stands in for what is written elsewhere at the same time; goes when that lands.
#![allow(missing_docs, reason = "goes away")]

use broker_core::time::Dur;
use workloads::op::ListSpec;
use workloads::{Draw, Op, PlannedOp, Shape, Workload};

pub const WORKLOADS: &[Workload] =
    &[Workload { name: "log", what: "produces and tails a few partitions", plan: plan }];

pub const PROPERTIES: &[(&str, &str)] = &[("L3", "acknowledged records are kept")];

pub const DETERMINISM: &[(&str, &str)] = &[("nd-hash-order", "a map in hash order")];

fn plan(shape: &Shape, draw: &mut dyn Draw) -> Vec<PlannedOp> {
    let mut ops = Vec::new();
    for topic in 0..2 {
        let op = Op::CreateTopic { topic: format!("t{topic}"), partitions: 3 };
        ops.push(PlannedOp { at: Dur::ms(500), client: 0, op });
    }
    let clients = u64::from(shape.clients);
    for _ in 0..300 + draw.below(300) {
        let topic = format!("t{}", draw.below(2));
        let partition = draw.below(3) as u32;
        let op = match draw.below(10) {
            0 => Op::Tail { topic, partition, from_start: draw.below(2) == 1 },
            1 => Op::CatchUp { topic, partition },
            2 => Op::ListOffsets { topic, partition, spec: ListSpec::AgoMs(draw.below(9_000)) },
            _ => Op::Produce {
                topic,
                partition,
                records: 1 + draw.below(5) as u32,
                bytes: 8 + draw.below(400) as u32,
                acks: -1,
                damaged: draw.below(50) == 0,
            },
        };
        let at = Dur(1_000_000 + draw.below(shape.length.0 - 1_000_000));
        ops.push(PlannedOp { at, client: draw.below(clients) as u16, op });
    }
    ops.sort_by_key(|op| op.at);
    ops
}
