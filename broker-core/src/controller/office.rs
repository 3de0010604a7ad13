//! The state of the active controller: the speculative image, the batches under way and the
//! answers parked behind them, and what is known of the brokers' lives. All of it is lost with the
//! office; nothing in it outlives a batch that did not commit.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::controller::SESSION;
use crate::ids::{BrokerEpoch, IncarnationId, MetaOffset, NodeId, ObjectId, QuorumEpoch};
use crate::metadata::Image;
use crate::metadata::record::Record;
use crate::mutants::Mutant;
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest, PeerMsg};
use crate::probe::Probe;
use crate::quorum::Entry;
use crate::step::{Cx, Effect, Outbox, TimerKey};

/// Batches proposed and not committed. The quorum commits in some ten milliseconds; a queue this
/// long means that it does not commit at all, and more would only be work to revert.
pub(super) const PENDING_MAX: usize = 1_024;

/// Answers parked. Each broker has a handful of requests under way.
pub(super) const PARKED_MAX: usize = 4_096;

/// What a broker is told.
pub(super) type Answer = Result<ControllerAnswer, ControllerError>;

/// The active controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Active {
    pub(super) epoch: QuorumEpoch,
    /// The committed image and all batches under way.
    pub(super) image: Image,
    pub(super) pending: VecDeque<Pending>,
    parked: usize,
    /// The brokers whose session timer is armed.
    pub(super) contacts: BTreeMap<NodeId, Contact>,
    /// Sweeps since a prepared object was first seen.
    pub(super) ages: BTreeMap<ObjectId, u32>,
}

/// A batch under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    offset: MetaOffset,
    records: Arc<Vec<Record>>,
    pub(super) parked: Vec<Parked>,
}

/// An answer that waits until what it was decided on is committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Parked {
    pub(super) to: NodeId,
    pub(super) id: u64,
    pub(super) incarnation_id: IncarnationId,
    pub(super) result: Answer,
}

impl Parked {
    pub(super) fn send(self, out: &mut Outbox<Effect>) {
        let Self { to, id, incarnation_id, result } = self;
        out.push(Effect::Send { to, msg: PeerMsg::Answer { id, incarnation_id, result } });
    }
}

/// A broker within its session.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Contact {
    /// Heard of in this term of office; if not, merely presumed alive.
    pub(super) heard: bool,
    /// End of the metadata that it has applied.
    pub(super) metadata_offset: MetaOffset,
    /// End of the metadata that tells the others of its shutdown.
    pub(super) shutdown_end: Option<MetaOffset>,
}

/// What a request leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) records: Vec<Record>,
    pub(super) answer: ControllerAnswer,
    pub(super) barrier: bool,
}

impl Plan {
    /// Changes the metadata.
    pub(super) fn change(records: Vec<Record>, answer: ControllerAnswer) -> Self {
        Self { records, answer, barrier: false }
    }

    /// Has nothing to change: an earlier copy of the request did it.
    pub(super) fn nothing(answer: ControllerAnswer) -> Self {
        Self::change(Vec::new(), answer)
    }

    /// As `nothing`, where a controller that is deposed without knowing could be wrong.
    pub(super) fn nothing_after_barrier(answer: ControllerAnswer) -> Self {
        Self { records: Vec::new(), answer, barrier: true }
    }
}

/// Why a request is refused. Most reasons, once true, stay true: a deposed controller that does not
/// know it yet tells no lie with them. The others go out behind a barrier: an entry, perhaps empty,
/// that commits only if this controller was in office after the request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) error: ControllerError,
    pub(super) barrier: bool,
}

impl Refusal {
    pub(super) fn after_barrier(error: ControllerError) -> Self {
        Self { error, barrier: true }
    }

    /// The request knows of something newer than this controller does: it must be deposed
    /// (KAFKA-14154).
    pub(super) fn ahead() -> Self {
        ControllerError::NotController { leader: None }.into()
    }
}

impl From<ControllerError> for Refusal {
    fn from(error: ControllerError) -> Self {
        Self { error, barrier: false }
    }
}

/// What a request leads to, or why to nothing.
pub(super) type Verdict = Result<Plan, Refusal>;

impl Active {
    /// Takes office with everything committed so far. Each broker gets a full session: how much of
    /// the old one was left died with the last controller (KAFKA-18138).
    pub(super) fn begin(
        cx: &Cx,
        epoch: QuorumEpoch,
        image: &Image,
        out: &mut Outbox<Effect>,
    ) -> Self {
        let mut contacts = BTreeMap::new();
        for (&node, broker) in &image.brokers {
            let left = broker.fenced
                && broker.in_controlled_shutdown
                && image.open_streams(node, broker.epoch).next().is_none();
            if !left && !cx.mutants.on(Mutant::ControllerSessionsUnseeded) {
                let shutdown_end = broker.in_controlled_shutdown.then_some(image.end);
                contacts.insert(node, Contact { shutdown_end, ..Contact::default() });
                out.arm(TimerKey::Session(node), SESSION);
            }
        }
        Self {
            epoch,
            image: image.clone(),
            pending: VecDeque::new(),
            parked: 0,
            contacts,
            ages: BTreeMap::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX || self.parked >= PARKED_MAX
    }

    /// Decides on the speculative image; changes nothing in it.
    pub(super) fn decide(
        &mut self,
        cx: &Cx,
        from: NodeId,
        request: &ControllerRequest,
        out: &mut Outbox<Effect>,
    ) -> Verdict {
        let verdict = match *request {
            ControllerRequest::Register { incarnation_id, zone } => {
                self.register(cx, from, incarnation_id, zone, out)
            }
            ControllerRequest::Heartbeat { .. } => self.heartbeat(cx, from, request, out),
            ControllerRequest::OpenStream { epoch, stream, leader_epoch } => {
                self.open_stream(cx, (from, epoch), stream, leader_epoch)
            }
            ControllerRequest::CloseStream { epoch, stream, leader_epoch } => {
                self.close_stream(cx, (from, epoch), stream, leader_epoch)
            }
            ControllerRequest::AssumeLeadership { epoch, partition, leader_epoch } => {
                self.assume_leadership(cx, (from, epoch), partition, leader_epoch)
            }
            ControllerRequest::PrepareObject { epoch, request } => {
                self.prepare_object(cx, (from, epoch), request)
            }
            ControllerRequest::CommitObject(ref commit) => {
                self.commit_object(cx, from, commit, out)
            }
            ControllerRequest::SealWal { epoch, wal_node, wal_epoch, end } => {
                self.seal_wal((from, epoch), (wal_node, wal_epoch), end)
            }
            ControllerRequest::AllocateProducerIds { epoch } => {
                self.allocate_producer_ids((from, epoch))
            }
            ControllerRequest::Admin { nonce, ref request } => self.admin(cx, nonce, request),
            ControllerRequest::Validate { ref request } => self.validate(cx, request),
        };
        if let Err(refusal) = verdict {
            match refusal.error {
                ControllerError::StaleBrokerEpoch
                | ControllerError::NodeEpochExpired
                | ControllerError::NodeFenced
                | ControllerError::StreamFenced
                | ControllerError::FencedLeaderEpoch => {
                    out.probe(Probe::ControllerFenced { broker: from });
                }
                ControllerError::NotController { .. }
                | ControllerError::DuplicateBrokerRegistration
                | ControllerError::BrokerIdNotRegistered
                | ControllerError::StreamNotExist
                | ControllerError::StreamNotClosed
                | ControllerError::StreamNotOpened
                | ControllerError::ObjectNotExist
                | ControllerError::OffsetNotMatched
                | ControllerError::UnknownTopicOrPartition => {}
            }
        }
        verdict
    }

    /// Takes a batch that the quorum accepted at `offset` into the speculative image.
    pub(super) fn proposed(&mut self, cx: &Cx, offset: MetaOffset, records: Vec<Record>) {
        assert_eq!(offset, self.image.end, "the active controller is the only writer");
        if let Err(error) = self.image.apply_under(cx.mutants, &records) {
            panic!("the controller decided on what can not be: {error:?} in {records:?}");
        }
        let records = Arc::new(records);
        self.pending.push_back(Pending { offset, records, parked: Vec::new() });
    }

    /// Sends the answer when everything that it was decided on is committed: at once, if it is.
    pub(super) fn park(&mut self, parked: Parked, out: &mut Outbox<Effect>) {
        match self.pending.back_mut() {
            Some(last) => {
                last.parked.push(parked);
                self.parked += 1;
            }
            None => parked.send(out),
        }
    }

    /// The oldest batch under way is committed.
    pub(super) fn pop_committed(
        &mut self,
        offset: MetaOffset,
        entry: &Entry,
    ) -> (Arc<Vec<Record>>, Vec<Parked>) {
        assert_eq!(entry.epoch, self.epoch, "entry {offset} of another's epoch while in office");
        let pending = self.pending.pop_front().expect("only proposed batches are committed");
        assert_eq!(offset, pending.offset, "batches are committed in order");
        self.parked -= pending.parked.len();
        (pending.records, pending.parked)
    }

    /// KRaft's check of a broker epoch: `(node, epoch)` is the current registration.
    pub(super) fn check_registration(
        &self,
        (node, epoch): (NodeId, BrokerEpoch),
    ) -> Result<(), Refusal> {
        match self.image.brokers.get(&node).map(|broker| broker.epoch) {
            Some(current) if current == epoch => Ok(()),
            Some(current) if current > epoch => Err(ControllerError::StaleBrokerEpoch.into()),
            None if epoch.0 < self.image.end.0 => {
                Err(ControllerError::BrokerIdNotRegistered.into())
            }
            Some(_) | None => Err(Refusal::ahead()),
        }
    }

    /// AutoMQ's `nodeEpochCheck`: the current registration, and nobody recovers its WAL.
    pub(super) fn check_owner(&self, cx: &Cx, owner: (NodeId, BrokerEpoch)) -> Result<(), Refusal> {
        if cx.mutants.on(Mutant::ControllerEpochUnchecked) && self.image.wals.contains_key(&owner) {
            return Ok(());
        }
        self.check_registration(owner)?;
        self.check_unfenced_wal(owner)
    }

    /// The WAL of a current registration is still its owner's.
    pub(super) fn check_unfenced_wal(&self, owner: (NodeId, BrokerEpoch)) -> Result<(), Refusal> {
        let wal = &self.image.wals[&owner];
        if wal.recoverer.is_some() || wal.sealed.is_some() {
            return Err(ControllerError::NodeFenced.into());
        }
        Ok(())
    }

    /// What the office waits for.
    pub(super) fn blocked(&self, node: NodeId, committed: &Image) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(first) = self.pending.front() {
            let (count, parked, offset) = (self.pending.len(), self.parked, first.offset);
            lines.push(format!(
                "controller {node}: {count} batches from offset {offset} on are not committed, \
                 {parked} answers wait for them"
            ));
        }
        for (id, partition) in &committed.partitions {
            if partition.leader.is_none() {
                let (topic, index) = (&committed.topics[&id.topic].name, id.index);
                let replica = partition.replica.map_or(Box::from("no broker"), |replica| {
                    format!("broker {replica}").into_boxed_str()
                });
                let epoch = partition.leader_epoch;
                lines.push(format!(
                    "partition {topic}-{index}: {replica} does not lead in epoch {epoch}"
                ));
            }
        }
        for (owner, epoch) in committed.unsealed_wals() {
            if let Some((recoverer, _)) = committed.wals[&(owner, epoch)].recoverer {
                lines.push(format!(
                    "WAL of broker {owner} epoch {epoch}: broker {recoverer} has not sealed it"
                ));
            } else if self.is_dead(owner, epoch) {
                lines.push(format!("WAL of broker {owner} epoch {epoch}: nobody recovers it"));
            }
        }
        lines
    }
}
