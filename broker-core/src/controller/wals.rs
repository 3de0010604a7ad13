//! The WALs of dead registrations: who recovers them, and their seal.
//!
//! A node's WALs are recovered oldest first, one at a time: the next one starts where the last one
//! is sealed. Source: AutoMQ's `FailoverControlManager`, here keyed by node and epoch (#3049) and
//! without its wall clock.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::controller::office::{Active, Plan, Refusal, Verdict};
use crate::ids::{BrokerEpoch, Lsn, NodeId};
use crate::metadata::record::Record;
use crate::peer::{ControllerAnswer, ControllerError};

impl Active {
    pub(super) fn seal_wal(
        &self,
        asker: (NodeId, BrokerEpoch),
        wal: (NodeId, BrokerEpoch),
        end: Lsn,
    ) -> Verdict {
        self.check_registration(asker)?;
        let Some(state) = self.image.wals.get(&wal) else {
            return Err(if wal.1.0 >= self.image.end.0 {
                Refusal::ahead()
            } else {
                ControllerError::NodeEpochExpired.into()
            });
        };
        if state.sealed == Some(end) && state.recoverer == Some(asker) {
            return Ok(Plan::nothing(ControllerAnswer::Done));
        }
        if state.sealed.is_some() {
            return Err(ControllerError::NodeFenced.into());
        }
        if state.recoverer != Some(asker) {
            return Err(Refusal::after_barrier(ControllerError::NodeFenced));
        }
        let (node, epoch) = wal;
        let mut records = Vec::new();
        for stream in self.image.open_streams(node, epoch) {
            let epoch = self.image.streams[&stream].epoch.expect("an open stream has an epoch");
            records.push(Record::CloseStream { stream, epoch });
        }
        records.push(Record::SealWal { node, epoch, end });
        let next = self.image.unsealed_wals_of(node).find(|&later| later > epoch);
        if let Some(next) = next.filter(|&next| self.is_dead(node, next)) {
            records.extend(self.assign(node, next, &mut self.loads()));
        }
        Ok(Plan::change(records, ControllerAnswer::Done))
    }

    /// Whether nobody will write to this WAL again: there is a newer registration, or the session
    /// of this one is over.
    pub(super) fn is_dead(&self, node: NodeId, epoch: BrokerEpoch) -> bool {
        let broker = &self.image.brokers[&node];
        broker.epoch > epoch || (broker.fenced && !self.contacts.contains_key(&node))
    }

    /// Dead WALs without a recoverer, or with one that is dead itself, get one.
    pub(super) fn assign_recoveries(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut loads = self.loads();
        let mut last = None;
        for (node, epoch) in self.image.unsealed_wals() {
            if last.replace(node) != Some(node) && self.is_dead(node, epoch) {
                records.extend(self.assign(node, epoch, &mut loads));
            }
        }
        records
    }

    /// The oldest WAL of a broker whose session ends now gets a recoverer, if there is one.
    pub(super) fn assign_oldest_of(&self, node: NodeId) -> Option<Record> {
        let epoch = self.image.unsealed_wals_of(node).next()?;
        self.assign(node, epoch, &mut self.loads())
    }

    /// Other brokers that serve come first, those with the fewest recoveries before the rest. Else
    /// the node itself, in a newer registration: it serves only when its old WALs are sealed, so
    /// a cluster that restarts as a whole must not wait for others.
    fn assign(
        &self,
        node: NodeId,
        epoch: BrokerEpoch,
        loads: &mut BTreeMap<NodeId, usize>,
    ) -> Option<Record> {
        if self.image.wals[&(node, epoch)].recoverer.is_some_and(|r| self.can_recover(node, r)) {
            return None;
        }
        let load = |other: &NodeId| loads.get(other).copied().unwrap_or(0);
        let others = self.image.brokers.keys().copied();
        let others = others.filter(|&other| other != node && self.image.can_lead(other));
        let recoverer = others.min_by_key(|other| (load(other), *other)).or_else(|| {
            let again = self.image.brokers[&node].epoch > epoch;
            (again && self.contacts.contains_key(&node)).then_some(node)
        })?;
        *loads.entry(recoverer).or_default() += 1;
        let recoverer_epoch = self.image.brokers[&recoverer].epoch;
        Some(Record::AssignRecovery { node, epoch, recoverer, recoverer_epoch })
    }

    /// Whether an assigned recoverer can still be counted on.
    fn can_recover(&self, node: NodeId, (recoverer, epoch): (NodeId, BrokerEpoch)) -> bool {
        let broker = &self.image.brokers[&recoverer];
        let alive = self.contacts.contains_key(&recoverer);
        broker.epoch == epoch && (!broker.fenced || (recoverer == node && alive))
    }

    /// Recoveries under way, by recoverer.
    fn loads(&self) -> BTreeMap<NodeId, usize> {
        let mut loads = BTreeMap::new();
        for wal in self.image.unsealed_wals() {
            if let Some((recoverer, _)) = self.image.wals[&wal].recoverer {
                *loads.entry(recoverer).or_default() += 1;
            }
        }
        loads
    }
}
