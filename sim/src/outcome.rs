//! How a run ended and what it reached.

use std::collections::BTreeMap;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every property held, every operation finished.
    Passed,
    /// A property did not hold.
    Violated {
        /// Its code, such as `L3`.
        property: String,
        /// Where: the module, node or partition, stable over seeds; failures are grouped by it.
        place: String,
        /// With the numbers.
        message: String,
    },
    /// An assertion in the core failed.
    Panicked {
        /// Source file and line.
        place: String,
        /// The message.
        message: String,
    },
}

/// What stands for a property when an assertion in the core failed.
pub const PANIC: &str = "panic";

impl Verdict {
    /// The broken property's code, [`PANIC`] for an assertion; `None` if the run passed.
    #[must_use]
    pub fn property(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Violated { property, .. } => Some(property),
            Self::Panicked { .. } => Some(PANIC),
        }
    }

    /// Where it broke.
    #[must_use]
    pub fn place(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Violated { place, .. } | Self::Panicked { place, .. } => place,
        }
    }

    /// What broke, with the numbers.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Violated { message, .. } | Self::Panicked { message, .. } => message,
        }
    }
}

/// A finished run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// Rolling hash of every step.
    pub trace_hash: u128,
    /// Steps taken.
    pub steps: u64,
    /// Simulated time at the end, µs.
    pub sim_us: u64,
    /// Client calls that ended ok.
    pub calls_ok: u64,
    /// Faults by kind: planned, begun, and with effect (something was lost, delayed, refused,
    /// killed because of it).
    pub faults: BTreeMap<&'static str, FaultCount>,
    /// How often each probe was seen, by `Probe::index`.
    pub probes: Vec<u64>,
    /// Of the steps of the plan's `[then]`: how many were taken.
    pub then_taken: usize,
    /// `sometimes` marks that were reached, with counts.
    pub reached: BTreeMap<&'static str, u64>,
}

/// What became of the faults of one kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FaultCount {
    /// In the plan.
    pub planned: u64,
    /// Its anchor came.
    pub begun: u64,
    /// It changed something.
    pub effective: u64,
}
