//! Bounded models: what a sweep samples, searched exhaustively. A model's states are made of the
//! production machines and of the world's own models of network and devices, its properties are
//! the judge's; only who chooses the next step differs.
//!
//! Rules, each for a trap that others fell into:
//! * Bounds are counters in the state, never a depth: stateright's depth-bounded depth-first search
//!   skips states that it comes to late (`tests/model.rs` shows it).
//! * Perturbations are bounded, healing is not, but for the retries that would go on for ever.
//! * What a property reads is in the state, and in its hash.
//! * A search that stops early, for want of memory or time, has failed.

pub mod configurations;
pub mod forward;
pub mod quorum;
pub mod scenarios;
pub mod search;

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

/// Between two looks at the memory, in steps.
const LOOK_EVERY: u64 = 1 << 14;

/// A page of Linux.
const PAGE_BYTES: u64 = 4_096;

/// Keeps an eye on a search: what it reaches, and what it takes.
#[derive(Debug)]
pub struct Watch(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    memory_max: u64,
    memory: u64,
    transitions: u64,
    reached: BTreeMap<&'static str, u64>,
}

impl Watch {
    /// Of a search that may take so much of this process's memory, in bytes.
    #[must_use]
    pub fn new(memory_max: u64) -> Self {
        let seen = Seen { memory_max, memory: 0, transitions: 0, reached: BTreeMap::new() };
        Self(Mutex::new(seen))
    }

    /// This was reached.
    pub(crate) fn reach(&self, what: impl IntoIterator<Item = (&'static str, u64)>) {
        self.with(|seen| {
            for (name, times) in what {
                *seen.reached.entry(name).or_default() += times;
            }
        });
    }

    /// A step was taken, and this was reached.
    pub(crate) fn note(&self, what: impl IntoIterator<Item = (&'static str, u64)>) {
        self.reach(what);
        self.with(|seen| {
            if seen.transitions.is_multiple_of(LOOK_EVERY) {
                seen.memory = seen.memory.max(resident());
            }
            seen.transitions += 1;
        });
    }

    /// Whether the search has taken more than it may: it is to end now, and has failed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.with(|seen| seen.memory > seen.memory_max)
    }

    /// Resident memory at most, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.with(|seen| {
            seen.memory = seen.memory.max(resident());
            seen.memory
        })
    }

    /// What was reached, with counts: marks of the judge, and kinds of actions.
    #[must_use]
    pub fn reached(&self) -> BTreeMap<&'static str, u64> {
        self.with(|seen| seen.reached.clone())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Resident memory of this process, in bytes; 0 where nobody tells.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
