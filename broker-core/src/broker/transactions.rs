//! The transaction coordinator in its broker: requests to it, and the markers that it owes.
//!
//! Source: `TransactionCoordinator.scala`, `TransactionMarkerChannelManager.scala`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::coordinators::{Coordinator, Hosted};
use super::peers::PeerPurpose;
use super::unproven::Answer;
use super::{Broker, Phase};
use crate::coordinator::txn::{Decision, Fate, Transactions};
use crate::coordinator::{Host, Outcome};
use crate::ids::{CoordinatorEpoch, LeaderEpoch, NodeId, Offset, ProducerId, TopicPartition};
use crate::mutants::{Mutant, Mutants};
use crate::partition::{Asker, Partition};
use crate::probe::Probe;
use crate::protocol::{
    CoordinatorKind, ErrorCode, Request, Response, TxnAnswer, TxnMarker, TxnRequest,
};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// Markers that could not be written are sent again after this long (Kafka's `retry.backoff.ms`).
const MARKERS_BACKOFF: Dur = Dur::ms(100);

impl Hosted for Transactions {
    fn of(coordinator: &mut Coordinator) -> Option<&mut Host<Self>> {
        match coordinator {
            Coordinator::Transactions(host) => Some(host),
            Coordinator::Groups(_) => None,
        }
    }

    fn answer(answer: TxnAnswer) -> Answer {
        Answer::Txn(answer)
    }

    fn recorded(
        outcome: &Outcome<Self>,
        (coordinator, epoch): (TopicPartition, LeaderEpoch),
        at: Offset,
        out: &mut Outbox<Effect>,
    ) {
        for (record, at) in outcome.records.iter().zip(at.0..) {
            let (id, at) = (record.id.as_str().into(), Offset(at));
            let txn = record.txn.as_ref();
            let txn = txn.map(|txn| (txn.producer, txn.epoch, txn.state));
            out.probe(Probe::TxnRecorded { coordinator, epoch, id, at, txn });
        }
    }

    /// What only tells the client to ask again can do no harm.
    fn must_be_proven(answer: &TxnAnswer, mutants: Mutants) -> bool {
        let code = match answer {
            TxnAnswer::InitProducerId(result) | TxnAnswer::End(result) => result.err(),
            TxnAnswer::AddPartitions(results) => results.first().and_then(|(_, it)| it.err()),
            TxnAnswer::AddOffsets(result) => result.err(),
            TxnAnswer::Describe(_) | TxnAnswer::List(_) => None,
        };
        let patience = [ErrorCode::ConcurrentTransactions, ErrorCode::CoordinatorLoadInProgress];
        let patience = code.is_some_and(|code| patience.contains(&code));
        !patience && !mutants.on(Mutant::TxnAnsweredUnproven)
    }

    fn answers_early(mutants: Mutants) -> bool {
        mutants.on(Mutant::TxnAnsweredUnconfirmed)
    }
}

impl Broker {
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
            TxnRequest::AddPartitions { of, .. }
            | TxnRequest::AddOffsets { of, .. }
            | TxnRequest::End { of, .. } => &of.transactional_id,
            TxnRequest::Describe { transactional_ids } => {
                return self.describe_transactions(cx, asker, transactional_ids, out);
            }
            TxnRequest::List(_) => return self.list_transactions(cx, asker, &request, out),
        };
        let partition = match self.admitted(id, &request) {
            Ok(partition) => partition,
            Err(code) => return self.reply(asker, Response::Txn(request.refusal(code)), out),
        };
        if let TxnRequest::AddOffsets { of, group } = &request {
            let Some(offsets) = self.coordinator_partition(CoordinatorKind::Group, group) else {
                self.create_internal(cx, CoordinatorKind::Group, out);
                let answer = request.refusal(ErrorCode::CoordinatorNotAvailable);
                return self.reply(asker, Response::Txn(answer), out);
            };
            return self.with_shard(cx, partition, out, |state: &mut Transactions, _, outcome| {
                state.add_offsets(cx, asker, (of, offsets), outcome);
            });
        }
        self.ask_transactions(cx, partition, (asker, &request), out);
        self.keep_ids_at_hand(out);
    }

    fn ask_transactions(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (asker, request): (Asker, &TxnRequest),
        out: &mut Outbox<Effect>,
    ) {
        self.with_shard(cx, partition, out, |state: &mut Transactions, lent, outcome| {
            state.handle(cx, asker, request, &mut || lent.ids.take(), outcome);
        });
    }

    /// Each id is the business of its own coordinator.
    fn describe_transactions(
        &mut self,
        cx: &Cx,
        asker: Asker,
        ids: &[String],
        out: &mut Outbox<Effect>,
    ) {
        let (mut by_shard, mut refused) = (BTreeMap::<_, Vec<String>>::new(), Vec::new());
        for id in ids {
            match self.shard_of(CoordinatorKind::Transaction, id) {
                Ok(partition) => by_shard.entry(partition).or_default().push(id.clone()),
                Err(code) => refused.push((id.clone(), Err(code))),
            }
        }
        let refused = Answer::Txn(TxnAnswer::Describe(refused));
        self.gather(asker, (refused, by_shard.len()), out);
        for (partition, transactional_ids) in by_shard {
            let request = TxnRequest::Describe { transactional_ids };
            self.ask_transactions(cx, partition, (asker, &request), out);
        }
    }

    fn list_transactions(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: &TxnRequest,
        out: &mut Outbox<Effect>,
    ) {
        let shards = match self.all_shards(CoordinatorKind::Transaction) {
            Ok(shards) => shards,
            Err(code) => return self.reply(asker, Response::Txn(request.refusal(code)), out),
        };
        let none = Answer::Txn(TxnAnswer::List(Ok(Vec::new())));
        self.gather(asker, (none, shards.len()), out);
        for partition in shards {
            self.ask_transactions(cx, partition, (asker, request), out);
        }
    }

    /// The shard that may be asked for this on behalf of `id`.
    fn admitted(&self, id: &str, request: &TxnRequest) -> Result<TopicPartition, ErrorCode> {
        let partition = self.shard_of(CoordinatorKind::Transaction, id)?;
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
            | TxnRequest::AddOffsets { .. }
            | TxnRequest::End { .. }
            | TxnRequest::Describe { .. }
            | TxnRequest::List(_) => Ok(partition),
        }
    }

    /// These transactions are decided, and that is confirmed.
    pub(super) fn decided(
        &mut self,
        cx: &Cx,
        coordinator: TopicPartition,
        decided: &[Decision],
        out: &mut Outbox<Effect>,
    ) {
        let epoch = self.partitions[&coordinator].epoch();
        for Decision { id, at } in decided {
            let (id, at) = (id.as_str().into(), *at);
            out.probe(Probe::TxnDecided { coordinator, epoch, id, at });
        }
        if !decided.is_empty() {
            self.send_markers(cx, coordinator, out);
        }
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
        self.with_shard(cx, coordinator, out, |state: &mut Transactions, _, outcome| {
            state.marked(cx, decision, fates.iter().copied(), outcome);
        });
    }
}
