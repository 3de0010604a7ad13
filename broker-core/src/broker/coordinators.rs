//! The coordinators of this broker: one for each partition of an internal topic that it leads.
//!
//! A shard is loaded with its partition, from the whole log; lives as long as the leadership, whose
//! epoch is the coordinator's; and writes through the partition as any producer does. What it
//! decides is in [`crate::coordinator`]. Source: `TransactionCoordinator.scala`,
//! `AutoTopicCreationManager`, `KafkaApis.handleFindCoordinatorRequest`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::asks::Purpose;
use super::peers::PeerPurpose;
use super::{Broker, Phase};
use crate::batch::{Header, TimestampMs};
use crate::config::BrokerLimits;
use crate::coordinator::txn::{Decision, Fate, Transactions};
use crate::coordinator::{Host, Outcome, partition_for};
use crate::ids::{
    ConnId, CoordinatorEpoch, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch,
    ProducerId, TopicId, TopicPartition,
};
use crate::mutants::Mutant;
use crate::partition::{Asker, Partition};
use crate::peer::ControllerRequest;
use crate::probe::Probe;
use crate::protocol::{
    AdminRequest, CoordinatorKind, ErrorCode, Request, Response, TxnAnswer, TxnMarker, TxnRequest,
};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// Markers that could not be written are sent again after this long (Kafka's `retry.backoff.ms`).
const MARKERS_BACKOFF: Dur = Dur::ms(100);

/// A coordinator that is being loaded, or at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Coordinator {
    Transactions(Host<Transactions>),
}

impl Coordinator {
    /// Of an empty log.
    pub(super) fn new(kind: CoordinatorKind, limits: &BrokerLimits) -> Self {
        match kind {
            CoordinatorKind::Transaction => {
                let epoch_max = ProducerEpoch(limits.producer_epoch_max);
                Self::Transactions(Host::new(Transactions::new(epoch_max)))
            }
        }
    }

    /// The next batch of its log.
    pub(super) fn fold(&mut self, batch: &[u8], header: &Header) {
        match self {
            Self::Transactions(host) => host.fold(batch, header),
        }
    }

    /// A connection is gone: nobody waits for its answers.
    pub(super) fn gone(&mut self, conn: ConnId) {
        match self {
            Self::Transactions(host) => host.gone(conn),
        }
    }

    pub(super) fn blocked(&self) -> Vec<String> {
        match self {
            Self::Transactions(host) => host.state().blocked().collect(),
        }
    }
}

impl Broker {
    /// What this topic's partitions are the logs of, if it is internal.
    pub(super) fn coordinator_kind(&self, topic: TopicId) -> Option<CoordinatorKind> {
        self.image.topics.get(&topic).and_then(|topic| CoordinatorKind::of_topic(&topic.name))
    }

    /// The partition whose leader is in charge of `name`; `None`: there is no such topic yet.
    pub(super) fn coordinator_partition(
        &self,
        kind: CoordinatorKind,
        name: &str,
    ) -> Option<TopicPartition> {
        let (topic, state) = self.image.topic_named(kind.topic())?;
        let index = PartitionIndex(partition_for(name, state.partitions));
        Some(TopicPartition { topic, index })
    }

    /// Which broker is in charge of `name`, and the partition of its log.
    ///
    /// # Errors
    /// `CoordinatorNotAvailable` if nobody is, as far as this broker knows.
    pub(super) fn coordinator_of(
        &self,
        kind: CoordinatorKind,
        name: &str,
    ) -> Result<(TopicPartition, NodeId), ErrorCode> {
        let partition = self.coordinator_partition(kind, name);
        let partition = partition.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let leader = self.image.partitions.get(&partition).and_then(|state| state.leader);
        Ok((partition, leader.ok_or(ErrorCode::CoordinatorNotAvailable)?))
    }

    pub(super) fn find_coordinator(
        &mut self,
        cx: &Cx,
        asker: Asker,
        (kind, name): (CoordinatorKind, &str),
        out: &mut Outbox<Effect>,
    ) {
        let found = match name.is_empty() {
            true => Err(ErrorCode::InvalidRequest),
            false => self.coordinator_of(kind, name).map(|(_, node)| node),
        };
        let absent = self.image.topic_named(kind.topic()).is_none();
        if absent && !self.asks.is_waiting(Purpose::InternalTopic(kind)) {
            let partitions = self.config.limits.coordinator_partitions;
            let (name, configs) = (kind.topic().to_string(), Vec::new());
            let request = AdminRequest::CreateTopic { name, partitions, configs };
            let request = ControllerRequest::Admin { nonce: cx.entropy, request };
            self.asks.ask(Purpose::InternalTopic(kind), request, out);
        }
        self.reply(asker, Response::FindCoordinator(found), out);
    }

    /// A request to the coordinator of a transactional id.
    pub(super) fn txn(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: TxnRequest,
        out: &mut Outbox<Effect>,
    ) {
        let id = match &request {
            TxnRequest::InitProducerId { transactional_id, .. } => transactional_id,
            TxnRequest::AddPartitions { of, .. } | TxnRequest::End { of, .. } => {
                &of.transactional_id
            }
            TxnRequest::Describe { transactional_ids } => {
                let described = transactional_ids.iter().map(|id| {
                    let found = self.transactions_of(id);
                    (id.clone(), found.and_then(|(_, host)| host.state().describe(id)))
                });
                let answer = TxnAnswer::Describe(described.collect());
                return self.reply(asker, Response::Txn(answer), out);
            }
            TxnRequest::List(filter) => {
                let hosts = self.coordinators.values();
                let listed = hosts
                    .flat_map(|Coordinator::Transactions(host)| host.state().list(cx.wall, filter));
                let answer = TxnAnswer::List(Ok(listed.collect()));
                return self.reply(asker, Response::Txn(answer), out);
            }
        };
        let partition = match self.admitted(id, &request) {
            Ok(partition) => partition,
            Err(code) => return self.reply(asker, Response::Txn(request.refusal(code)), out),
        };
        self.with_transactions(cx, partition, out, |state, fresh, outcome| {
            state.handle(cx, asker, &request, fresh, outcome);
        });
        self.keep_ids_at_hand(out);
    }

    /// The shard that may be asked for this on behalf of `id`.
    fn admitted(&self, id: &str, request: &TxnRequest) -> Result<TopicPartition, ErrorCode> {
        let (partition, _) = self.transactions_of(id)?;
        // A shard's own records always have room; what asks for more has to wait for it.
        if !self.queue_has_room(0) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let unknown = |partition: &TopicPartition| !self.image.partitions.contains_key(partition);
        match request {
            TxnRequest::AddPartitions { partitions, .. } if partitions.iter().any(unknown) => {
                Err(ErrorCode::UnknownTopicOrPartition)
            }
            TxnRequest::InitProducerId { .. }
            | TxnRequest::AddPartitions { .. }
            | TxnRequest::End { .. }
            | TxnRequest::Describe { .. }
            | TxnRequest::List(_) => Ok(partition),
        }
    }

    /// The shard in charge of `id`, if it is here.
    fn transactions_of(
        &self,
        id: &str,
    ) -> Result<(TopicPartition, &Host<Transactions>), ErrorCode> {
        let partition = self.coordinator_partition(CoordinatorKind::Transaction, id);
        let partition = partition.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        if let Some(Coordinator::Transactions(host)) = self.coordinators.get(&partition) {
            return Ok((partition, host));
        }
        let state = self.image.partitions.get(&partition);
        let coming = state.is_some_and(|state| state.replica == Some(self.config.node));
        Err(match coming {
            true => ErrorCode::CoordinatorLoadInProgress,
            false => ErrorCode::NotCoordinator,
        })
    }

    /// Asks a shard, and does what it says.
    fn with_transactions(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
        ask: impl FnOnce(
            &mut Transactions,
            &mut dyn FnMut() -> Option<ProducerId>,
            &mut Outcome<Transactions>,
        ),
    ) {
        let Some(Coordinator::Transactions(host)) = self.coordinators.get_mut(&partition) else {
            return;
        };
        let mut outcome = Outcome::default();
        let ids = &mut self.producer_ids;
        ask(host.state_mut(), &mut || ids.take(), &mut outcome);
        self.carry_out(cx, partition, outcome, out);
    }

    /// Appends the records, parks the answers, arms the timers.
    fn carry_out(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        outcome: Outcome<Transactions>,
        out: &mut Outbox<Effect>,
    ) {
        let epoch = self.partitions[&partition].epoch();
        if let Some(batch) = outcome.batch(TimestampMs::floor(cx.wall)) {
            let at = self.partitions[&partition].log_end();
            for (record, at) in outcome.records.iter().zip(at.0..) {
                let (id, at) = (record.id.as_str().into(), Offset(at));
                let txn = record.txn.as_ref();
                let txn = txn.map(|txn| (txn.producer, txn.epoch, txn.state));
                out.probe(Probe::TxnRecorded { coordinator: partition, epoch, id, at, txn });
            }
            let records = outcome.records.len() as u64;
            self.place(cx, partition, (batch, records), None, out);
        }
        for (number, after) in outcome.timers {
            let key = TimerKey::Coordinator(partition, number);
            match after {
                Some(after) => out.arm(key, after),
                None => out.disarm(key),
            }
        }
        let end = self.partitions[&partition].log_end();
        let Some(Coordinator::Transactions(host)) = self.coordinators.get_mut(&partition) else {
            return;
        };
        for (asker, answer) in outcome.answers {
            host.park(end, asker, answer);
        }
        if cx.mutants.on(Mutant::TxnAnsweredUnconfirmed) {
            let ready = host.confirmed(end).collect();
            self.tell(ready, out);
        }
        self.coordinator_moved(cx, partition, out);
    }

    /// The partition is open here, and the shard read to the end of its log.
    pub(super) fn coordinator_opened(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        coordinator: Coordinator,
        out: &mut Outbox<Effect>,
    ) {
        let open = &self.partitions[&partition];
        let (epoch, end) = (open.epoch(), open.high_watermark());
        out.probe(Probe::CoordinatorLoaded { partition, epoch, end });
        self.coordinators.insert(partition, coordinator);
        self.with_transactions(cx, partition, out, |state, _, outcome| {
            state.loaded(cx, end, outcome);
        });
        self.send_markers(cx, partition, out);
    }

    /// More of the log is confirmed: answers leave, and what is decided is carried out.
    pub(super) fn coordinator_moved(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        let Some(Coordinator::Transactions(host)) = self.coordinators.get_mut(&partition) else {
            return;
        };
        let open = &self.partitions[&partition];
        let (epoch, confirmed, end) = (open.epoch(), open.high_watermark(), open.log_end());
        let early = cx.mutants.on(Mutant::TxnMarkersUnconfirmed);
        let decided = host.state_mut().confirmed(if early { end } else { confirmed });
        let ready = host.confirmed(confirmed).collect();
        self.tell(ready, out);
        for Decision { id, at } in &decided {
            let (id, at) = (id.as_str().into(), *at);
            out.probe(Probe::TxnDecided { coordinator: partition, epoch, id, at });
        }
        if !decided.is_empty() {
            self.send_markers(cx, partition, out);
        }
    }

    /// The partition is not led here any more: nothing of the shard goes on.
    pub(super) fn coordinator_lost(&mut self, partition: TopicPartition, out: &mut Outbox<Effect>) {
        let Some(Coordinator::Transactions(host)) = self.coordinators.remove(&partition) else {
            return;
        };
        out.disarm(TimerKey::Coordinator(partition, crate::coordinator::txn::CLEANUP));
        out.disarm(TimerKey::Markers(partition));
        self.tell(host.close().collect(), out);
    }

    fn tell(&mut self, answers: Vec<(Asker, TxnAnswer)>, out: &mut Outbox<Effect>) {
        for (asker, answer) in answers {
            self.reply(asker, Response::Txn(answer), out);
        }
    }

    pub(super) fn coordinator_timer(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        number: u64,
        out: &mut Outbox<Effect>,
    ) {
        self.with_transactions(cx, partition, out, |state, fresh, outcome| {
            state.timer(cx, number, fresh, outcome);
        });
        self.keep_ids_at_hand(out);
    }

    /// Sends every marker that this coordinator owes and that is not on its way, one request per
    /// leader.
    pub(super) fn send_markers(
        &mut self,
        cx: &Cx,
        coordinator: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        let Some(open) = self.partitions.get(&coordinator) else { return };
        let epoch = open.epoch();
        let coordinator_epoch = CoordinatorEpoch(epoch.0);
        let Some(Coordinator::Transactions(host)) = self.coordinators.get_mut(&coordinator) else {
            return;
        };
        let mut by_leader: BTreeMap<NodeId, (Vec<TxnMarker>, Vec<_>)> = BTreeMap::new();
        let mut settled = Vec::new();
        for decision in host.state().decisions().collect::<Vec<_>>() {
            let mut fates = Vec::new();
            let Some(owed) = host.state_mut().due(&decision) else { continue };
            for partition in owed.partitions {
                let leader = match self.image.partitions.get(&partition) {
                    Some(state) => state.leader.ok_or(Fate::Unwritten),
                    // A partition is made before a transaction can have it, and this image is at
                    // least as new as the one by which it was let in: its topic is gone.
                    None => Err(Fate::Written),
                };
                let leader = match leader {
                    Ok(leader) => leader,
                    Err(fate) => {
                        fates.push((partition, fate));
                        continue;
                    }
                };
                let (markers, sent) = by_leader.entry(leader).or_default();
                sent.push((decision.clone(), owed.producer, partition));
                let same = markers.last_mut().filter(|marker| marker.producer == owed.producer);
                match same {
                    Some(marker) => marker.partitions.push(partition),
                    None => markers.push(TxnMarker {
                        producer: owed.producer,
                        epoch: owed.epoch,
                        result: owed.result,
                        coordinator_epoch,
                        version: owed.version,
                        partitions: [partition].into(),
                    }),
                }
            }
            settled.push((decision, fates));
        }
        for (leader, (markers, sent)) in by_leader {
            let purpose = PeerPurpose::Markers((coordinator, epoch), sent);
            self.peers.ask(leader, Request::WriteTxnMarkers { markers }, purpose, out);
        }
        for (decision, fates) in settled {
            self.marked(cx, coordinator, &decision, &fates, out);
        }
    }

    /// The leader of these partitions answered, or (`None`) did not.
    pub(super) fn markers_answered(
        &mut self,
        cx: &Cx,
        (coordinator, epoch): (TopicPartition, LeaderEpoch),
        sent: &[(Decision, ProducerId, TopicPartition)],
        response: Option<Response>,
        out: &mut Outbox<Effect>,
    ) {
        // What an earlier leadership sent says nothing about what this one owes.
        let current = self.partitions.get(&coordinator).map(Partition::epoch);
        if current != Some(epoch) {
            return;
        }
        let results = match response {
            Some(Response::WriteTxnMarkers(results)) => results,
            // No answer, or one to something else.
            _ => Vec::new(),
        };
        for (decision, producer, partition) in sent {
            let result = results.iter().find(|(of, at, _)| (of, at) == (producer, partition));
            let fate = result.map_or(Fate::Unwritten, |(.., result)| Fate::of(*result));
            self.marked(cx, coordinator, decision, &[(*partition, fate)], out);
        }
    }

    fn marked(
        &mut self,
        cx: &Cx,
        coordinator: TopicPartition,
        decision: &Decision,
        fates: &[(TopicPartition, Fate)],
        out: &mut Outbox<Effect>,
    ) {
        if self.phase == Phase::Ended {
            return;
        }
        if fates.iter().any(|(_, fate)| *fate == Fate::Unwritten) {
            out.arm(TimerKey::Markers(coordinator), MARKERS_BACKOFF);
        }
        self.with_transactions(cx, coordinator, out, |state, _, outcome| {
            state.marked(cx, decision, fates.iter().copied(), outcome);
        });
    }
}
