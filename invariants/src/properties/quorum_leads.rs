//! LV2 QuorumLeads: (a) some time after the core is healed it has a leader, no split votes for
//! ever; (b) a leader that no majority fetches from resigns, however long it is cut off, measured
//! in time that it really runs. Source: KIP-595, KIP-996; KAFKA-15489.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{NodeId, QuorumEpoch};

use crate::facts::Facts;
use crate::history::SimTime;
use crate::marks::{Mark, Marks};
use crate::view::View;
use crate::{Check, require};

/// Kafka's defaults: `controller.quorum.fetch.timeout.ms`, `controller.quorum.election.timeout.ms`.
const FETCH_TIMEOUT_US: u64 = 2_000_000;
const ELECTION_TIMEOUT_US: u64 = 1_000_000;

/// Three rounds of noticing and electing, and one for booting.
const LEADERLESS_US_MAX: u64 = 4 * (FETCH_TIMEOUT_US + ELECTION_TIMEOUT_US);

/// Check-quorum is due after 1.5 fetch timeouts; twice that and some drift is well beyond.
const STUCK_US_MAX: u64 = 2 * (FETCH_TIMEOUT_US + FETCH_TIMEOUT_US / 2) + 1_000_000;

/// Leaders in office.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct QuorumLeads {
    offices: BTreeMap<NodeId, Office>,
    /// Since when the healthy core has had no leader.
    leaderless_since: Option<SimTime>,
}

/// One leader; instants are of its own running time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Office {
    epoch: QuorumEpoch,
    since_us: u64,
    fetched_us: BTreeMap<NodeId, u64>,
}

impl QuorumLeads {
    /// A node took office.
    pub(crate) fn took(&mut self, node: NodeId, epoch: QuorumEpoch, since_us: u64) {
        let office = Office { epoch, since_us, fetched_us: BTreeMap::new() };
        self.offices.insert(node, office);
    }

    /// A node gave up office or died.
    pub(crate) fn left(&mut self, node: NodeId) {
        self.offices.remove(&node);
    }

    /// A leader served a fetch.
    pub(crate) fn served(&mut self, node: NodeId, from: NodeId, now_us: u64) {
        if let Some(office) = self.offices.get_mut(&node) {
            office.fetched_us.insert(from, now_us);
        }
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, facts: &Facts, view: &dyn View, marks: &mut Marks) -> Check {
        let voters = view.controllers();
        let others_needed = voters.len() / 2;
        for (node, office) in &self.offices {
            let Some(ran_us) = facts.nodes.get(*node).map(|known| known.ran_us(facts.at)) else {
                continue;
            };
            let mut ages: Vec<u64> = voters
                .iter()
                .filter(|voter| *voter != node)
                .map(|voter| office.fetched_us.get(voter).copied().unwrap_or(office.since_us))
                .map(|last_us| ran_us.saturating_sub(last_us))
                .collect();
            ages.sort_unstable();
            let Some(alone_us) = others_needed.checked_sub(1).map(|nth| ages[nth]) else {
                continue;
            };
            marks.hit_if(alone_us > FETCH_TIMEOUT_US, Mark::StuckLeaderWatched);
            require!(
                alone_us <= STUCK_US_MAX,
                LV2,
                "controller",
                "node {node} leads epoch {} though no majority has fetched for {alone_us} µs",
                office.epoch
            );
        }
        self.leader_due(facts, view)
    }

    fn leader_due(&mut self, facts: &Facts, view: &dyn View) -> Check {
        let Some(healed) = facts.healed else { return Ok(()) };
        if self.offices.keys().any(|node| view.in_core(*node)) {
            self.leaderless_since = None;
            return Ok(());
        }
        let since = *self.leaderless_since.get_or_insert(healed.max(facts.at));
        let for_us = facts.at.0.saturating_sub(since.0);
        require!(
            for_us <= LEADERLESS_US_MAX,
            LV2,
            "controller",
            "the healthy core has had no leader for {for_us} µs"
        );
        Ok(())
    }

    /// What is owed.
    pub(crate) fn owed(&self, facts: &Facts, view: &dyn View) -> Vec<String> {
        let led = self.offices.keys().any(|node| view.in_core(*node));
        let missing = facts.healed.is_some() && !led;
        missing.then(|| String::from("LV2: the core has no leader")).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch};
    use broker_core::probe::Probe;

    use crate::view::NodeEvent;
    use crate::testing::{C, Case};

    fn served(case: &mut Case, from: u16) {
        let (from, fetch_offset) = (NodeId(from), MetaOffset(0));
        case.probe(C, &Probe::QuorumFetchServed { from, fetch_offset });
    }

    #[test]
    fn leader_that_nobody_fetches_from_breaks() {
        let mut case = Case::new("LV2");
        case.event(C, NodeEvent::Booted(Incarnation(1))).elected(0, 1).wait_ms(8_000);
        assert!(case.breaks("LV2"));
    }

    #[test]
    fn leader_that_one_other_of_three_fetches_from_holds() {
        let mut case = Case::new("LV2");
        case.event(C, NodeEvent::Booted(Incarnation(1))).elected(0, 1);
        for _ in 0..10 {
            served(&mut case, 1);
            case.wait_ms(3_000);
        }
        assert!(case.holds());
    }

    #[test]
    fn leader_that_resigned_holds() {
        let mut case = Case::new("LV2");
        case.event(C, NodeEvent::Booted(Incarnation(1))).elected(0, 1).wait_ms(4_000);
        let (epoch, check_quorum) = (QuorumEpoch(1), true);
        case.probe(C, &Probe::QuorumResigned { epoch, check_quorum }).wait_ms(8_000);
        assert!(case.holds());
    }

    #[test]
    fn leader_that_is_frozen_holds_until_it_runs_again() {
        let mut case = Case::new("LV2");
        case.event(C, NodeEvent::Booted(Incarnation(1))).elected(0, 1);
        case.event(C, NodeEvent::Paused).wait_ms(30_000).event(C, NodeEvent::Resumed);
        case.wait_ms(5_000);
        assert!(case.holds());
        case.wait_ms(3_000);
        assert!(case.breaks("LV2"));
    }

    #[test]
    fn healed_core_without_a_leader_breaks() {
        let mut case = Case::new("LV2");
        case.heal().wait_ms(11_000);
        assert!(case.holds());
        case.wait_ms(2_000);
        assert!(case.breaks("LV2"));
    }
}
