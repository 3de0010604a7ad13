//! The life of a broker process: register, follow the metadata, send heartbeats, open the own WAL,
//! recover the WALs of the dead, leave in good order, and end at once when fenced.
//!
//! Partitions come and go in `ownership`. Sources: KIP-631 (`BrokerLifecycleManager.java`),
//! AutoMQ's failover (`FailoverControlManager`, `StorageFailureHandlerChain`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::asks::Purpose;
use super::{Broker, Phase};
use crate::ids::{BrokerEpoch, MetaOffset, NodeId};
use crate::metadata::Image;
use crate::metadata::record::{Record, decode_batch};
use crate::mutants::Mutant;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::quorum::{Entry, Payload, QuorumEvent};
use crate::recovery::{Recovery, RecoveryEvent};
use crate::step::{BootImage, Cx, Effect, HaltReason, Outbox, TimerKey};
use crate::time::Dur;

/// `broker.heartbeat.interval.ms`.
const HEARTBEAT_INTERVAL: Dur = Dur::secs(2);

/// A registration refused because the last process' session still lives is tried again after this
/// long; the session ends 9 s after its last heartbeat.
const REGISTER_BACKOFF: Dur = Dur::ms(500);

/// WALs recovered side by side. Each holds one WAL's listing and one block in memory.
const RECOVERIES_MAX: usize = 2;

/// The session with the controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Heartbeat {
    /// The heartbeat that waits for its answer.
    asked: Option<u64>,
    /// As the controller said last.
    fenced: bool,
    /// Controlled shutdown was asked for.
    draining: bool,
    /// The controller has nothing left for us to lead.
    may_stop: bool,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { asked: None, fenced: true, draining: false, may_stop: false }
    }
}

impl Broker {
    pub(super) fn boot(&mut self, cx: &Cx, boot: BootImage, out: &mut Outbox<Effect>) {
        self.asks.boot(boot.incarnation_id);
        self.peers.boot(boot.incarnation_id);
        self.reads.boot(boot.incarnation);
        self.snapshots.boot(boot.incarnation);
        self.observer.boot(cx, boot.incarnation, out);
        self.boot = boot;
        self.phase = Phase::Registering;
        self.register(out);
    }

    /// This process' registration, once it has one.
    #[must_use]
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        match self.phase {
            Phase::Registered(epoch) | Phase::Running(epoch) => Some(epoch),
            Phase::Down | Phase::Registering | Phase::Ended => None,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.heartbeat.draining
    }

    pub(super) fn is_unfenced(&self) -> bool {
        !self.heartbeat.fenced
    }

    fn register(&mut self, out: &mut Outbox<Effect>) {
        let (incarnation_id, zone) = (self.boot.incarnation_id, self.config.zone);
        let request = ControllerRequest::Register { incarnation_id, zone };
        self.asks.ask(Purpose::Register, request, out);
    }

    fn registered(
        &mut self,
        cx: &Cx,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        let Ok(ControllerAnswer::Registered { epoch }) = result else {
            // The last process' session lives on, or the question was misunderstood.
            return out.arm(TimerKey::Heartbeat, REGISTER_BACKOFF);
        };
        self.phase = Phase::Registered(epoch);
        out.probe(Probe::BrokerRegistered { epoch });
        self.send_heartbeat(out);
        self.look_at_own_node(cx, out);
        self.look_for_recoveries(cx, out);
    }

    /// The heartbeat's timer fired.
    pub(super) fn heartbeat_due(&mut self, out: &mut Outbox<Effect>) {
        match self.phase {
            Phase::Registering => self.register(out),
            Phase::Registered(_) | Phase::Running(_) => self.send_heartbeat(out),
            Phase::Down | Phase::Ended => {}
        }
    }

    /// Sends a heartbeat with what is true now, in place of one that is still unanswered.
    fn send_heartbeat(&mut self, out: &mut Outbox<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        if let Some(asked) = self.heartbeat.asked.take() {
            self.asks.forget(asked, out);
        }
        let request = ControllerRequest::Heartbeat {
            epoch,
            metadata_offset: self.image.end,
            want_fence: !self.wal.is_open(),
            want_shut_down: self.heartbeat.draining,
        };
        self.heartbeat.asked = Some(self.asks.ask(Purpose::Heartbeat, request, out));
        out.arm(TimerKey::Heartbeat, HEARTBEAT_INTERVAL);
    }

    fn heartbeat_answered(
        &mut self,
        cx: &Cx,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        self.heartbeat.asked = None;
        let Ok(ControllerAnswer::Heartbeat { fenced, shut_down }) = result else {
            return self.fenced_by(cx, result, out);
        };
        if !fenced && self.heartbeat.fenced {
            out.probe(Probe::BrokerUnfenced {});
        }
        self.heartbeat.fenced = fenced;
        if shut_down && self.heartbeat.draining {
            self.heartbeat.may_stop = true;
            self.stop_if_drained(out);
        }
    }

    /// A definite answer of the controller goes to whom it was for.
    pub(super) fn answered(
        &mut self,
        cx: &Cx,
        purpose: Purpose,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        match purpose {
            Purpose::Register => self.registered(cx, result, out),
            Purpose::Heartbeat => self.heartbeat_answered(cx, result, out),
            Purpose::Open(stream, epoch) => self.open_answered(cx, stream, epoch, result, out),
            Purpose::Close(stream, epoch) => self.close_answered(cx, stream, epoch, result, out),
            Purpose::Assume(partition, epoch) => {
                self.assume_answered(cx, partition, epoch, result, out);
            }
            Purpose::Upload(id) => {
                let mut events = Vec::new();
                self.upload.answered(cx, id, result, out, &mut events);
                self.upload_events(cx, events, out);
                self.stop_if_drained(out);
            }
            Purpose::Recovery(of, epoch, id) => {
                if self.recoveries.get(&of).is_some_and(|(current, _)| *current == epoch) {
                    self.with_recovery(cx, of, out, |recovery, image, out, events| {
                        recovery.answered(cx, id, result, image, out, events);
                    });
                }
            }
            Purpose::ProducerIds => self.producer_ids_answered(cx, result, out),
            // The image will show it, or the next client who asks for its coordinator tries again.
            Purpose::InternalTopic(_) => {}
            Purpose::Admin(asker) => self.admin_answered(asker, result, out),
        }
    }

    /// Ends the process if a refusal says that its registration or its WAL is no longer its own.
    pub(super) fn fenced_by(
        &mut self,
        cx: &Cx,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
    ) {
        match result {
            Err(
                ControllerError::StaleBrokerEpoch
                | ControllerError::BrokerIdNotRegistered
                | ControllerError::NodeEpochExpired
                | ControllerError::NodeFenced,
            ) => self.fenced(cx, HaltReason::NodeFenced, out),
            Err(
                ControllerError::NotController { .. }
                | ControllerError::DuplicateBrokerRegistration
                | ControllerError::StreamNotExist
                | ControllerError::StreamFenced
                | ControllerError::StreamNotClosed
                | ControllerError::StreamNotOpened
                | ControllerError::ObjectNotExist
                | ControllerError::OffsetNotMatched
                | ControllerError::FencedLeaderEpoch
                | ControllerError::UnknownTopicOrPartition,
            )
            | Ok(_) => {}
        }
    }

    /// Someone else may act for this node: nothing is acknowledged any more.
    pub(super) fn fenced(&mut self, cx: &Cx, reason: HaltReason, out: &mut Outbox<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        out.probe(Probe::BrokerFenced { epoch });
        if !cx.mutants.on(Mutant::BrokerSurvivesFencing) {
            self.halt(reason, out);
        }
    }

    fn halt(&mut self, reason: HaltReason, out: &mut Outbox<Effect>) {
        self.phase = Phase::Ended;
        out.probe(Probe::Halted { reason });
        out.push(Effect::Halt(reason));
    }

    /// Committed entries of the metadata log change the image, and the image decides.
    pub(super) fn follow(&mut self, cx: &Cx, events: Vec<QuorumEvent>, out: &mut Outbox<Effect>) {
        if let Some((leader, _)) = self.observer.leader() {
            self.asks.prefer(leader);
        }
        for event in events {
            match event {
                QuorumEvent::Committed { offset, entry } => self.apply(cx, offset, entry, out),
                // An observer is never elected.
                QuorumEvent::BecameLeader { .. } | QuorumEvent::LostLeadership { .. } => {}
            }
            if self.phase == Phase::Ended {
                return;
            }
        }
        let behind: Vec<NodeId> = self.recoveries.keys().copied().collect();
        for of in behind {
            self.with_recovery(cx, of, out, |recovery, image, out, events| {
                recovery.image_changed(cx, image, out, events);
            });
        }
    }

    fn apply(&mut self, cx: &Cx, offset: MetaOffset, entry: Entry, out: &mut Outbox<Effect>) {
        assert_eq!(offset, self.image.end, "committed entries come in order");
        let records = match entry.payload {
            Payload::LeaderChange { .. } => Ok(Vec::new()),
            Payload::Batch(bytes) => decode_batch(&bytes),
        };
        let Ok(records) = records else { return self.halt(HaltReason::Unapplicable, out) };
        // Partitions of a topic that goes are found before it is gone.
        let before = self.partitions_removed(&records);
        if self.image.apply_under(cx.mutants, &records).is_err() {
            return self.halt(HaltReason::Unapplicable, out);
        }
        let records = Arc::new(records);
        let image = self.image.checkpoint();
        out.probe(Probe::MetaApplied { offset, records: Arc::clone(&records), image });
        for partition in before {
            self.reconcile(cx, partition, out);
        }
        for record in records.iter() {
            self.look_at(cx, record, out);
            if self.phase == Phase::Ended {
                return;
            }
        }
    }

    /// What a committed record means for this broker. The image already holds the whole batch.
    fn look_at(&mut self, cx: &Cx, record: &Record, out: &mut Outbox<Effect>) {
        match record {
            Record::RegisterBroker { node, .. } if *node == self.config.node => {
                self.look_at_own_node(cx, out);
            }
            Record::AssignRecovery { node, .. } | Record::SealWal { node, .. } => {
                if *node == self.config.node {
                    self.look_at_own_node(cx, out);
                }
                self.look_for_recoveries(cx, out);
            }
            Record::Partition { partition, .. } | Record::PartitionChange { partition, .. } => {
                self.reconcile(cx, *partition, out);
            }
            Record::OpenStream { stream, .. } | Record::CloseStream { stream, .. } => {
                if let Some(state) = self.image.streams.get(stream) {
                    self.reconcile(cx, state.partition, out);
                }
            }
            Record::RemoveTopic { .. } => {
                self.streams_removed(out);
                self.forget_gone_offsets(cx, out);
            }
            Record::CommitObject { ranges, .. } => self.ranges_committed(ranges, out),
            Record::RegisterBroker { .. }
            | Record::BrokerChange { .. }
            | Record::Topic { .. }
            | Record::Config { .. }
            | Record::ProducerIds { .. }
            | Record::AdminDone { .. }
            | Record::PrepareObject { .. }
            | Record::DestroyObject { .. } => {}
        }
    }

    /// Looks at what the image says of this node: fenced, or free to open its WAL?
    fn look_at_own_node(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let (node, Some(epoch)) = (self.config.node, self.epoch()) else { return };
        let Some(known) = self.image.brokers.get(&node).map(|broker| broker.epoch) else { return };
        let own = self.image.wals.get(&(node, epoch));
        if known > epoch || own.is_some_and(|wal| wal.recoverer.is_some() || wal.sealed.is_some()) {
            return self.fenced(cx, HaltReason::NodeFenced, out);
        }
        if self.phase != Phase::Registered(epoch) || known < epoch {
            return;
        }
        if self.image.unsealed_wals_of(node).next() != Some(epoch) {
            return;
        }
        let start = self.image.wal_start(node, epoch).expect("the earlier ones are sealed");
        self.phase = Phase::Running(epoch);
        self.upload.open(self.boot.incarnation, epoch, start);
        self.wal.open(cx, self.boot.incarnation, epoch, start, out);
    }

    /// The own WAL is claimed: from here on this broker can lead.
    pub(super) fn wal_opened(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        self.send_heartbeat(out);
        self.reconcile_all(cx, out);
    }

    /// Starts the recoveries that the image assigns to this process, oldest epoch of a node first.
    fn look_for_recoveries(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let Some(epoch) = self.epoch() else { return };
        let mine = Some((self.config.node, epoch));
        // One that is done stays until the image knows of it, or it would be begun again.
        let wals = &self.image.wals;
        self.recoveries.retain(|&of, (of_epoch, recovery)| {
            let wal = wals.get(&(of, *of_epoch));
            let pending = wal.is_some_and(|wal| wal.recoverer == mine && wal.sealed.is_none());
            pending || !recovery.is_done()
        });
        while self.recoveries.len() < RECOVERIES_MAX {
            let next = {
                let mut assigned = self.image.recoveries_of(self.config.node, epoch);
                assigned.find(|(of, _)| !self.recoveries.contains_key(of))
            };
            let Some((of, of_epoch)) = next else { return };
            let (node, limits) = (self.config.node, self.config.limits);
            let recovery = Recovery::new(node, epoch, of, of_epoch, limits);
            self.recoveries.insert(of, (of_epoch, recovery));
            let incarnation = self.boot.incarnation;
            self.with_recovery(cx, of, out, |recovery, image, out, events| {
                recovery.start(cx, incarnation, image, out, events);
            });
        }
    }

    /// Runs a step of one recovery and does what it asks for.
    pub(super) fn with_recovery(
        &mut self,
        cx: &Cx,
        of: NodeId,
        out: &mut Outbox<Effect>,
        step: impl FnOnce(&mut Recovery, &Image, &mut Outbox<Effect>, &mut Vec<RecoveryEvent>),
    ) {
        let Some((epoch, recovery)) = self.recoveries.get_mut(&of) else { return };
        let (epoch, mut events) = (*epoch, Vec::new());
        step(recovery, &self.image, out, &mut events);
        for event in events {
            match event {
                RecoveryEvent::Ask { id, request } => {
                    self.asks.ask(Purpose::Recovery(of, epoch, id), request, out);
                }
                RecoveryEvent::Sealed { .. } | RecoveryEvent::Abandoned => {
                    self.look_for_recoveries(cx, out);
                }
            }
        }
    }

    /// Controlled shutdown: the partitions go first, then the process.
    pub(super) fn drain(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        self.heartbeat.draining = true;
        if self.epoch().is_none() {
            return self.halt(HaltReason::ShutDown, out);
        }
        self.send_heartbeat(out);
        self.seal_now(cx, out);
    }

    /// Ends the process when the controller lets it go and nothing is left to hand over.
    pub(super) fn stop_if_drained(&mut self, out: &mut Outbox<Effect>) {
        let left = self.partitions.is_empty()
            && self.loading.is_empty()
            && self.closing.is_empty()
            && self.upload.is_idle();
        if self.heartbeat.draining && self.heartbeat.may_stop && left {
            self.halt(HaltReason::ShutDown, out);
        }
    }
}
