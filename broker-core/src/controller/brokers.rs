//! The life of brokers: registration, heartbeats, fencing, controlled shutdown, and which broker
//! shall lead which partition. Opening streams there is the brokers' own work.
//!
//! Sources: KRaft's `ReplicationControlManager` and `BrokerHeartbeatManager`, KIP-631, KIP-841.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::controller::SESSION;
use crate::controller::office::{Active, Contact, Plan, Verdict};
use crate::ids::{BrokerEpoch, IncarnationId, MetaOffset, NodeId, TopicPartition, ZoneId};
use crate::metadata::Image;
use crate::metadata::record::Record;
use crate::mutants::{Mutant, Mutants};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::step::{Cx, Effect, Outbox, TimerKey};

/// Partitions placed by one sweep; the next one goes on. Bounds a batch of work that can wait, in
/// contrast to fencing, whose batch must be whole.
const PLACED_PER_SWEEP: usize = 256;

impl Active {
    pub(super) fn register(
        &mut self,
        cx: &Cx,
        node: NodeId,
        incarnation_id: IncarnationId,
        zone: ZoneId,
        out: &mut Outbox<Effect>,
    ) -> Verdict {
        let mut records = Vec::new();
        if let Some(broker) = self.image.brokers.get(&node) {
            if broker.incarnation_id == incarnation_id {
                let epoch = broker.epoch;
                return Ok(Plan::nothing(ControllerAnswer::Registered { epoch }));
            }
            // Only heard-of or unfenced brokers have a session that counts (`hasValidSession`).
            let contact = self.contacts.get(&node);
            if contact.is_some_and(|contact| contact.heard || !broker.fenced) {
                return Err(ControllerError::DuplicateBrokerRegistration.into());
            }
            records = self.vacate(cx, node);
        }
        records.push(Record::RegisterBroker { node, incarnation_id, zone });
        self.contacts.insert(node, Contact { heard: true, ..Contact::default() });
        out.arm(TimerKey::Session(node), SESSION);
        let epoch = BrokerEpoch(self.image.end.0);
        Ok(Plan::change(records, ControllerAnswer::Registered { epoch }))
    }

    /// KRaft's `calculateNextBrokerState`.
    pub(super) fn heartbeat(
        &mut self,
        cx: &Cx,
        node: NodeId,
        request: &ControllerRequest,
        out: &mut Outbox<Effect>,
    ) -> Verdict {
        let &ControllerRequest::Heartbeat { epoch, metadata_offset, want_fence, want_shut_down } =
            request
        else {
            panic!("a heartbeat, not {request:?}");
        };
        self.check_registration((node, epoch))?;
        self.check_unfenced_wal((node, epoch))?;
        let contact = self.contacts.entry(node).or_default();
        contact.heard = true;
        contact.metadata_offset = contact.metadata_offset.max(metadata_offset);
        out.arm(TimerKey::Session(node), SESSION);
        let broker = &self.image.brokers[&node];
        if want_shut_down || broker.in_controlled_shutdown {
            return Ok(self.shut_down(cx, node, out));
        }
        let change =
            |fenced| Record::BrokerChange { node, epoch, fenced, in_controlled_shutdown: false };
        let mut records = Vec::new();
        let mut fenced = broker.fenced;
        // `metadata_offset` is an exclusive end: it has applied its own registration. A process
        // wants to be fenced until its WAL is open, and never again: from an unfenced one that wish
        // is a copy that came late, over a network that keeps no order as KRaft's connections do.
        if fenced && !want_fence && metadata_offset.0 > epoch.0 {
            fenced = false;
            records.push(change(fenced));
            records.extend(self.adopt(cx, node));
        }
        Ok(Plan::change(records, ControllerAnswer::Heartbeat { fenced, shut_down: false }))
    }

    /// Leaderships go first; then the broker closes its streams; then, when all others know of it,
    /// it may stop.
    fn shut_down(&mut self, cx: &Cx, node: NodeId, out: &mut Outbox<Effect>) -> Plan {
        let broker = self.image.brokers[&node].clone();
        let mut records = Vec::new();
        if !broker.in_controlled_shutdown {
            records = self.vacate(cx, node);
            let shutdown_end = Some(self.image.end.next());
            self.contacts.entry(node).or_default().shutdown_end = shutdown_end;
        }
        let idle = (broker.in_controlled_shutdown || broker.fenced)
            && self.image.open_streams(node, broker.epoch).next().is_none()
            && (broker.fenced || self.shutdown_is_known(node));
        let fenced = broker.fenced || idle;
        if fenced != broker.fenced || !broker.in_controlled_shutdown {
            let epoch = broker.epoch;
            let in_controlled_shutdown = true;
            records.push(Record::BrokerChange { node, epoch, fenced, in_controlled_shutdown });
        }
        if idle {
            // Its next process may register at once.
            self.contacts.remove(&node);
            out.disarm(TimerKey::Session(node));
        }
        Plan::change(records, ControllerAnswer::Heartbeat { fenced, shut_down: idle })
    }

    /// Whether every broker that serves has applied the metadata that tells of this shutdown.
    fn shutdown_is_known(&self, node: NodeId) -> bool {
        let told = self.contacts.get(&node).and_then(|contact| contact.shutdown_end);
        let told = told.unwrap_or(self.image.end);
        let has_applied = |other: &NodeId| {
            let applied = self.contacts.get(other).map(|contact| contact.metadata_offset);
            applied.unwrap_or(MetaOffset(0)) >= told
        };
        let brokers = self.image.brokers.keys();
        brokers.filter(|&&other| other != node && self.image.can_lead(other)).all(has_applied)
    }

    /// A session ended: one broker is fenced, its partitions move and its WAL gets a recoverer, all
    /// in one batch, decided on the state at this moment (KAFKA-13173).
    pub(super) fn expire(&self, cx: &Cx, node: NodeId) -> Vec<Record> {
        let Some(broker) = self.image.brokers.get(&node) else { return Vec::new() };
        let mut records = Vec::new();
        if !broker.fenced {
            records = self.vacate(cx, node);
            records.push(Record::BrokerChange {
                node,
                epoch: broker.epoch,
                fenced: true,
                in_controlled_shutdown: broker.in_controlled_shutdown,
            });
        }
        records.extend(self.assign_oldest_of(node));
        records
    }

    /// Moves all partitions away from a broker that is about to be fenced or to leave.
    fn vacate(&self, cx: &Cx, node: NodeId) -> Vec<Record> {
        let mut placement = Placement::of(&self.image, cx.mutants, Some(node));
        let kept = cx.mutants.on(Mutant::ControllerLeaderlessKept);
        let partitions = self.image.partitions_of(node);
        let partitions = partitions
            .filter(|partition| !kept || self.image.partitions[partition].leader.is_some());
        partitions
            .map(|partition| {
                let target = if kept { Some(node) } else { placement.next() };
                self.moved(cx, partition, target)
            })
            .collect()
    }

    /// Gives a broker that is about to be unfenced its share of the partitions nobody leads.
    fn adopt(&self, cx: &Cx, node: NodeId) -> Vec<Record> {
        if cx.mutants.on(Mutant::ControllerLeaderlessKept) {
            return Vec::new();
        }
        let mut placement = Placement::of(&self.image, cx.mutants, None);
        placement.counts.insert(node, self.image.partition_count(node));
        let unplaced = self.image.unplaced().take(PLACED_PER_SWEEP);
        unplaced.map(|partition| self.moved(cx, partition, placement.next())).collect()
    }

    /// Partitions that nobody, or nobody eligible, shall lead get a broker (AutoMQ 44047d63d8).
    pub(super) fn place_leaderless(&self, cx: &Cx) -> Vec<Record> {
        if cx.mutants.on(Mutant::ControllerLeaderlessKept) {
            return Vec::new();
        }
        let mut placement = Placement::of(&self.image, cx.mutants, None);
        if placement.counts.is_empty() {
            return Vec::new();
        }
        let idle = self.image.brokers.keys().filter(|&&node| !self.image.can_lead(node));
        let held = idle.flat_map(|&node| self.image.partitions_of(node));
        let leaderless = self.image.unplaced().chain(held).take(PLACED_PER_SWEEP);
        leaderless.map(|partition| self.moved(cx, partition, placement.next())).collect()
    }

    /// The change that gives `partition` another replica. The leader is published only when the new
    /// replica has opened the partition.
    fn moved(&self, cx: &Cx, partition: TopicPartition, replica: Option<NodeId>) -> Record {
        let state = &self.image.partitions[&partition];
        let same = state.replica == replica || cx.mutants.on(Mutant::ControllerEpochKept);
        Record::PartitionChange {
            partition,
            replica,
            leader: None,
            leader_epoch: if same { state.leader_epoch } else { state.leader_epoch.next() },
            partition_epoch: state.partition_epoch.next(),
        }
    }
}

/// Spreads partitions over the brokers that may lead: fewest first, then the lowest id.
pub(super) struct Placement {
    counts: BTreeMap<NodeId, usize>,
}

impl Placement {
    /// Over all brokers that may lead, except one.
    pub(super) fn of(image: &Image, mutants: Mutants, except: Option<NodeId>) -> Self {
        let any = mutants.on(Mutant::ControllerTargetFenced);
        let brokers = image.brokers.keys().copied();
        let eligible =
            brokers.filter(|&node| any || (Some(node) != except && image.can_lead(node)));
        Self { counts: eligible.map(|node| (node, image.partition_count(node))).collect() }
    }

    /// The next one to get a partition.
    pub(super) fn next(&mut self) -> Option<NodeId> {
        let (&node, count) = self.counts.iter_mut().min_by_key(|(_, count)| **count)?;
        *count += 1;
        Some(node)
    }
}
