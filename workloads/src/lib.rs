//! What clients ask: a sans-IO Kafka client and the workloads that drive it.
//!
//! A workload proposes operations and never judges; it shares no code with `invariants`.

#![no_std]

extern crate alloc;

pub mod append_read;
pub mod client;
pub mod copy_exactly_once;
pub mod group_rebalance;
pub mod idempotent_retry;
pub mod op;
mod schedule;
pub mod spark;
pub mod spark_handoff;
#[cfg(test)]
mod tests;
pub mod topic_churn;
pub mod transactions;
pub mod zone_outage;

use alloc::vec::Vec;

use broker_core::time::Dur;

pub use op::Op;

/// A source of random numbers; the simulator gives one keyed stream per purpose.
pub trait Draw {
    /// A number in `0..bound`. `bound` is at least 1.
    fn below(&mut self, bound: u64) -> u64;
}

/// What a workload may count on when it lays out its operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Clients `0..clients`; client `i` runs in zone `i % zones`.
    pub clients: u16,
    /// Zones.
    pub zones: u8,
    /// Brokers.
    pub brokers: u16,
    /// Length of the safety phase; operations come before its end.
    pub length: Dur,
}

/// An operation, when and by whom.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PlannedOp {
    /// Simulated time since the start of the run.
    pub at: Dur,
    /// Which client.
    pub client: u16,
    /// What to do.
    pub op: Op,
}

/// A workload.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Stable name.
    pub name: &'static str,
    /// One line on what it tempts the broker to do wrong.
    pub what: &'static str,
    /// Lays out the operations of one run, ascending in time.
    pub plan: fn(&Shape, &mut dyn Draw) -> Vec<PlannedOp>,
}

/// All workloads.
pub const ALL: &[Workload] = &[
    append_read::WORKLOAD,
    topic_churn::WORKLOAD,
    zone_outage::WORKLOAD,
    idempotent_retry::WORKLOAD,
    transactions::WORKLOAD,
    group_rebalance::WORKLOAD,
    copy_exactly_once::WORKLOAD,
    spark_handoff::WORKLOAD,
];

/// The workload of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}
