//! Stands in for what is written elsewhere at the same time; goes when that lands.
#![allow(missing_docs, reason = "goes away")]

pub const PROPERTIES: &[(&str, &str)] = &[("L3", "acknowledged records are kept")];

pub const DETERMINISM: &[(&str, &str)] = &[("nd-hash-order", "a map in hash order")];

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
        #[allow(deprecated, reason = "goes away")]
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
