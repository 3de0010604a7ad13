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

pub mod decider {
    use crate::outcome::{Outcome, Verdict};
    use crate::plan::Plan;
    use std::collections::BTreeMap;
    use std::hash::{Hash, Hasher};

    use super::trace::{Checkpoint, TraceLine};

    #[derive(Default)]
    pub struct RunOptions<'a> {
        pub only: Option<&'a str>,
        pub trace: Option<&'a mut dyn FnMut(&TraceLine)>,
        pub checkpoints: Option<&'a mut Vec<Checkpoint>>,
        pub stop_after_steps: Option<u64>,
    }
    pub fn run(plan: &Plan, _options: RunOptions<'_>) -> Outcome {
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new();
        plan.hash(&mut hasher);
        let hash = hasher.finish();
        let verdict = if plan.mutants.is_empty() || plan.faults.is_empty() {
            Verdict::Passed
        } else {
            Verdict::Violated {
                property: "L3".into(),
                place: "wal".into(),
                message: "offset 3 acknowledged and lost".into(),
            }
        };
        Outcome {
            verdict,
            trace_hash: u128::from(hash),
            steps: 1000 + hash % 100,
            sim_us: plan.safety_us,
            calls_ok: 200 + hash % 100,
            faults: BTreeMap::new(),
            probes: Vec::new(),
            reached: BTreeMap::new(),
        }
    }
}

pub mod trace {
    use invariants::history::SimTime;
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Checkpoint {
        pub step: u64,
        pub at: SimTime,
        pub hash: u128,
    }
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct TraceLine {
        pub seq: u64,
        pub cause: u64,
        pub at: SimTime,
        pub node: String,
        pub kind: &'static str,
        pub from: Option<String>,
        pub what: String,
        pub effects: Vec<TraceEffect>,
        pub stream: StreamKey,
        pub hash: u128,
    }
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct TraceEffect {
        pub kind: &'static str,
        pub probe: Option<&'static str>,
        pub what: String,
    }
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Purpose {
        Link,
    }
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct StreamKey {
        pub purpose: Purpose,
        pub entity: u64,
    }
}
