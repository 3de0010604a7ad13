//! What the evidence adds up to so far. Facts judge nothing: they keep what several properties ask
//! for, in shapes that answer each question in constant or logarithmic time.

pub(crate) mod clients;
pub(crate) mod coordinators;
pub(crate) mod folded;
pub(crate) mod group_calls;
pub(crate) mod groups;
pub(crate) mod handoff;
pub(crate) mod horizon;
pub(crate) mod ledger;
pub(crate) mod nodes;
mod positions;
pub(crate) mod producer_ids;
pub(crate) mod producers;
pub(crate) mod raft;
pub(crate) mod sends;
pub(crate) mod served;
pub(crate) mod transaction;
pub(crate) mod wals;

use crate::history::SimTime;

/// Everything known.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Facts {
    /// Simulated time of the newest evidence.
    pub(crate) at: SimTime,
    /// Its number: evidence is totally ordered.
    pub(crate) pos: u64,
    /// There is nothing but what clients saw: no ledger, no final log.
    pub(crate) alone: bool,
    /// When the safety phase ended.
    pub(crate) healed: Option<SimTime>,
    pub(crate) clients: clients::Clients,
    pub(crate) coordinators: coordinators::Coordinators,
    pub(crate) group_calls: group_calls::GroupCalls,
    pub(crate) groups: groups::Groups,
    pub(crate) handoffs: handoff::Handoffs,
    pub(crate) ledger: ledger::Ledger,
    pub(crate) nodes: nodes::Nodes,
    pub(crate) raft: raft::Raft,
    pub(crate) served: served::Served,
    pub(crate) wals: wals::Wals,
}
