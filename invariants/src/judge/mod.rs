//! The judge: takes evidence piece by piece, brings the facts up to date, and asks the properties
//! that the piece concerns. Which piece concerns which property is all that is decided here; the
//! rules are in [`crate::properties`].

pub(crate) mod alone;
mod brokers;
mod clients;
mod coordinators;
mod ending;
mod final_log;
mod groups;
mod handoff;
mod metadata;
mod offset_chains;
mod quorum;
mod store;
#[cfg(test)]
mod tests;
mod transactions;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::NodeId;
use broker_core::probe::Probe;

use crate::Check;
use crate::Violation;
use crate::facts::Facts;
use crate::history::SimTime;
use crate::marks::{Mark, Marks};
use crate::properties::backs_off::BacksOff;
use crate::properties::commit_idem;
use crate::properties::log_matching::LogMatching;
use crate::properties::quorum_leads::QuorumLeads;
use crate::properties::quorum_refines::QuorumRefines;
use crate::properties::readers_progress::ReadersProgress;
use crate::properties::state_machine_safety::StateMachineSafety;
use crate::properties::transactions_refine::TransactionsRefine;
use crate::properties::vote_once::VoteOnce;
use crate::properties::wal_refines::WalRefines;
use crate::table::{Code, Set};
use crate::view::{Evidence, NodeEvent, View};

/// Asks a property, if it is judged, and counts that it was.
macro_rules! ask {
    ($judge:expr, $code:ident, $check:expr) => {
        if $judge.set.has($crate::table::Code::$code) {
            $judge.marks.evaluated($crate::table::Code::$code);
            $check?;
        }
    };
}
use ask;

/// Judges one run. Its state is bounded by what the run stores, not by how long it lasts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Judge {
    set: Set,
    facts: Facts,
    marks: Marks,
    log_matching: LogMatching,
    state_machine: StateMachineSafety,
    votes: VoteOnce,
    /// First digest of the image at each metadata offset, where one was given.
    digests: Vec<Option<u64>>,
    backs_off: BacksOff,
    readers: ReadersProgress,
    quorum_leads: QuorumLeads,
    quorum_refines: QuorumRefines,
    wal_refines: WalRefines,
    transactions_refine: TransactionsRefine,
}

impl Judge {
    /// A judge of all properties, or of the one with this code only.
    #[must_use]
    pub fn new(only: Option<&str>) -> Self {
        Self {
            set: Set::of(only),
            facts: Facts::default(),
            marks: Marks::default(),
            log_matching: LogMatching::default(),
            state_machine: StateMachineSafety::default(),
            votes: VoteOnce::default(),
            digests: Vec::new(),
            backs_off: BacksOff::default(),
            readers: ReadersProgress::default(),
            quorum_leads: QuorumLeads::default(),
            quorum_refines: QuorumRefines::default(),
            wal_refines: WalRefines::default(),
            transactions_refine: TransactionsRefine::default(),
        }
    }

    /// Takes one piece of evidence.
    ///
    /// # Errors
    /// The first property that does not hold. The judge is not to be asked any more then.
    pub fn observe(
        &mut self,
        at: SimTime,
        evidence: &Evidence<'_>,
        view: &dyn View,
    ) -> Result<(), Violation> {
        self.facts.at = at;
        self.facts.pos += 1;
        let outcome = match *evidence {
            Evidence::Probe { node, probe } => {
                let judged = self.probe(node, probe, view);
                judged.and_then(|()| self.transactions_noted(node, probe, view))
            }
            Evidence::Store { node, tok, op, result, late } => {
                self.store(node, tok, op, result, late)
            }
            Evidence::Node { node, event } => {
                self.node(at, node, event);
                Ok(())
            }
            Evidence::History(event) => {
                let judged = self.transactions_heard(event, view);
                judged.and_then(|()| self.history(event))
            }
            Evidence::Handoff(handoff) => self.handoff(handoff),
            Evidence::Healed => self.healed(at, view),
        };
        let outcome = outcome.and_then(|()| self.refines(evidence));
        self.published(outcome)
    }

    /// To be called when a node has taken a step: what it has become is held against the
    /// specifications.
    ///
    /// # Errors
    /// As [`Judge::observe`].
    pub fn stepped(&mut self, at: SimTime, node: NodeId, view: &dyn View) -> Result<(), Violation> {
        self.facts.at = at;
        let outcome = self.refined(node, view);
        self.published(outcome)
    }

    fn refined(&mut self, node: NodeId, view: &dyn View) -> Check {
        if view.controllers().contains(&node) {
            ask!(self, RF1, self.quorum_refines.stepped(node, view, &mut self.marks));
        } else if self.set.has(Code::RF2) {
            self.wal_refines.stepped(node, view, &mut self.marks)?;
        }
        Ok(())
    }

    /// The evidence is held against the specification of WALs; the facts know it.
    fn refines(&mut self, evidence: &Evidence<'_>) -> Check {
        if self.set.has(Code::RF2) {
            self.wal_refines.observe(evidence, &self.facts, &mut self.marks)?;
        }
        Ok(())
    }

    fn published(&mut self, outcome: Check) -> Check {
        if outcome.is_err() {
            self.marks.publish();
        }
        outcome
    }

    /// To be called every 100 ms of simulated time: what must happen in time.
    ///
    /// # Errors
    /// As [`Judge::observe`].
    pub fn tick(&mut self, at: SimTime, view: &dyn View) -> Result<(), Violation> {
        self.facts.at = at;
        self.settle_committed();
        if self.set.has(Code::LV2) {
            self.marks.evaluated(Code::LV2);
            self.quorum_leads.tick(&self.facts, view, &mut self.marks)?;
        }
        Ok(())
    }

    /// As [`Judge::forget_reached`], and forgets the time. For a search, in which two ways to one
    /// state are one.
    #[must_use]
    pub fn forget_way(&mut self) -> BTreeMap<&'static str, u64> {
        self.facts.at = SimTime(0);
        self.forget_reached()
    }

    /// Forgets who has led for how long, and what was reached, which is returned as
    /// [`Judge::reached`] is. Of the evidence only the order is kept by which reads of the store,
    /// producers and groups are judged.
    #[must_use]
    pub fn forget_reached(&mut self) -> BTreeMap<&'static str, u64> {
        self.quorum_leads = QuorumLeads::default();
        self.facts.renumber();
        core::mem::take(&mut self.marks).into_published()
    }

    /// Brings [`Judge::reached`] up to date.
    pub(crate) fn publish(&mut self) {
        self.marks.publish();
    }

    /// What was reached, with counts: the `sometimes` marks, and `evaluated:` and a property's code
    /// for each time its antecedent was true. As of the last violation, or of [`Judge::finish`].
    #[must_use]
    pub fn reached(&self) -> &BTreeMap<&'static str, u64> {
        self.marks.published()
    }

    /// What is still owed in the liveness phase, one line each; nothing: the run may end.
    pub fn unsettled<'a>(&'a self, view: &'a dyn View) -> impl Iterator<Item = String> + 'a {
        self.owed(view).map(|(_, line)| line)
    }

    fn probe(&mut self, node: NodeId, probe: &Probe, view: &dyn View) -> Check {
        self.group_probe(node, probe)?;
        match probe {
            Probe::QuorumLoaded { .. }
            | Probe::QuorumRole { .. }
            | Probe::QuorumVoted { .. }
            | Probe::QuorumBecameLeader { .. }
            | Probe::QuorumResigned { .. }
            | Probe::QuorumAppended { .. }
            | Probe::QuorumReadBack { .. }
            | Probe::QuorumTruncated { .. }
            | Probe::QuorumFlushed { .. }
            | Probe::QuorumFetchSent { .. }
            | Probe::QuorumFetchServed { .. }
            | Probe::QuorumHighWatermark { .. }
            | Probe::QuorumCommitted { .. } => self.quorum(node, probe, view),
            Probe::MetaApplied { offset, records, image } => {
                self.applied(node, *offset, records, *image)
            }
            Probe::PartitionOpened { .. }
            | Probe::PartitionAppended { .. }
            | Probe::PartitionOffsets { .. }
            | Probe::PartitionAcked { .. }
            | Probe::ProducersLoaded { .. }
            | Probe::ProducerOutOfOrder { .. }
            | Probe::ProducerRefused { .. }
            | Probe::PartitionEpochs { .. } => self.partition(node, probe),
            Probe::WalPutDone { .. }
            | Probe::WalVerifySent { .. }
            | Probe::WalConfirmed { .. }
            | Probe::WalRecordConfirmed { .. }
            | Probe::WalTrimmed { .. }
            | Probe::WalDeleteSent { .. }
            | Probe::ClaimTaken { .. } => self.wal(node, probe),
            Probe::RecoveryStarted { .. }
            | Probe::RecoveryListed { .. }
            | Probe::RecoveryTook { .. } => self.recovery(node, probe),
            Probe::CoordinatorLoaded { .. }
            | Probe::TxnRecorded { .. }
            | Probe::TxnVerified { .. } => self.coordinator(node, probe, view),
            Probe::UploadCommitRefused { object } => {
                let state = self.facts.ledger.objects.get(object);
                ask!(self, O3, commit_idem::refused(node, *object, state));
                Ok(())
            }
            other => {
                self.noted(node, other);
                Ok(())
            }
        }
    }

    /// Probes that are states and marks, not matters of judgement.
    fn noted(&mut self, node: NodeId, probe: &Probe) {
        match probe {
            Probe::BrokerRegistered { epoch } => self.facts.nodes.of(node).epoch = Some(*epoch),
            Probe::BrokerFenced { .. } => {
                self.facts.nodes.of(node).fenced = true;
                self.marks.hit(Mark::BrokerFenced);
            }
            Probe::WalFenced { claimed } => {
                self.marks.hit_if(*claimed, Mark::VerifyLostToClaim);
            }
            Probe::ProducerRepeated { earlier, .. } => {
                self.marks.hit(Mark::ProduceRepeated);
                self.marks.hit_if(*earlier, Mark::RepeatedAfterFailover);
            }
            Probe::MarkerRefused { .. } => self.marks.hit(Mark::MarkerRefused),
            Probe::RecoveryDamaged { .. } => self.marks.hit(Mark::RecoveryDamaged),
            Probe::WalBackPressure { on } => {
                self.facts.nodes.of(node).back_pressure = *on;
                self.marks.hit_if(*on, Mark::BackPressure);
            }
            Probe::WalOwnWriteSeen { .. }
            | Probe::ClaimOwnSeen { .. }
            | Probe::UploadOwnWriteSeen { .. } => self.marks.hit(Mark::OwnWriteRefused),
            Probe::ControllerReverted { entries } => {
                self.marks.hit_if(*entries > 0, Mark::SpeculativeReverted);
            }
            Probe::ControllerCommitRedundant { .. } => self.marks.hit(Mark::CommitFoundApplied),
            Probe::ControllerFenced { .. } => self.marks.hit(Mark::ControllerFenced),
            Probe::ControllerPrepareExpired { .. } => self.marks.hit(Mark::PreparedExpired),
            Probe::ReadFromObject { .. } => self.marks.hit(Mark::CatchUpRead),
            Probe::FetchWoken {} => self.marks.hit(Mark::DelayedFetchWoken),
            _ => {}
        }
    }

    fn node(&mut self, at: SimTime, node: NodeId, event: NodeEvent) {
        match event {
            NodeEvent::Booted(_) | NodeEvent::Crashed { .. } => {
                self.quorum_leads.left(node);
                self.facts.wals.verifies.retain(|(of, _), _| *of != node);
                let replica = self.facts.raft.replicas.get_mut(&node);
                if let Some(replica) = replica {
                    replica.leads = None;
                    replica.high_watermark = broker_core::ids::MetaOffset(0);
                }
            }
            NodeEvent::Paused | NodeEvent::Resumed | NodeEvent::Impaired | NodeEvent::Restored => {}
        }
        if let NodeEvent::Crashed { unsynced_lost } = event {
            let controller = self.facts.raft.get(node).is_some();
            self.marks.hit_if(unsynced_lost > 0 && controller, Mark::UnflushedTailLost);
        }
        self.facts.nodes.event(at, node, event);
    }
}
