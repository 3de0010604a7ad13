//! What a run leaves behind: a rolling hash over every step, checkpoints of it to find the first
//! difference between two runs, and, on demand, one line per step.

use std::hash::Hash;

use broker_core::hash::Rolling;
use invariants::history::SimTime;

use crate::draws::StreamKey;

/// Steps between two checkpoints.
pub const CHECKPOINT_STEPS: u64 = 1_024;

/// The rolling hash at one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Steps so far.
    pub step: u64,
    /// Simulated time.
    pub at: SimTime,
    /// Hash of all of them.
    pub hash: u128,
}

/// One step, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceLine {
    /// The step's number, from 1.
    pub seq: u64,
    /// The step that set it going; 0: the plan.
    pub cause: u64,
    /// When.
    pub at: SimTime,
    /// Where: `controller-0`, `broker-1`, `client-2`, `store`, `world`.
    pub node: String,
    /// What kind of step, such as `deliver` or `store.take`.
    pub kind: &'static str,
    /// From where, for what arrives from elsewhere.
    pub from: Option<String>,
    /// What happened.
    pub what: String,
    /// What it had as effects, in order.
    pub effects: Vec<TraceEffect>,
    /// The stream of the draw that timed it.
    pub stream: StreamKey,
    /// The rolling hash after it.
    pub hash: u128,
}

/// One effect of a step, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceEffect {
    /// `probe`, `send`, `reply`, `store`, `log`, `arm`, `history` and so on.
    pub kind: &'static str,
    /// The probe's name, if it is one.
    pub probe: Option<&'static str>,
    /// In full.
    pub what: String,
}

/// The rolling hash of a run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TraceHash {
    rolling: Rolling,
    steps: u64,
}

impl TraceHash {
    /// A step begins.
    pub fn step<T: Hash>(&mut self, at: SimTime, step: &T) {
        self.steps += 1;
        self.rolling.word(at.0);
        step.hash(&mut self.rolling);
    }

    /// Something belongs to the step that began last.
    pub fn content<T: Hash>(&mut self, content: &T) {
        content.hash(&mut self.rolling);
    }

    /// Steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The hash so far.
    #[must_use]
    pub fn value(&self) -> u128 {
        self.rolling.value()
    }
}
