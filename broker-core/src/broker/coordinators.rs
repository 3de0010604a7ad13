//! The coordinators of this broker: one for each partition of an internal topic that it leads.
//!
//! A shard is loaded with its partition, from the whole log; lives as long as the leadership, whose
//! epoch is the coordinator's; and writes through the partition as any producer does. What it
//! decides is in [`crate::coordinator`]; what only transactions or only groups need is in
//! [`super::transactions`] and [`super::groups`]. Source: `CoordinatorRuntime.java`,
//! `AutoTopicCreationManager`, `KafkaApis.handleFindCoordinatorRequest`.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Broker;
use super::asks::Purpose;
use super::producer_ids::ProducerIds;
use super::unproven::Answer;
use crate::batch::{Header, TimestampMs};
use crate::config::BrokerLimits;
use crate::coordinator::group::Groups;
use crate::coordinator::txn::Transactions;
use crate::coordinator::{Host, Outcome, Shard, partition_for};
use crate::ids::{
    ConnId, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, TopicId, TopicPartition,
};
use crate::metadata::Image;
use crate::mutants::{Mutant, Mutants};
use crate::partition::Asker;
use crate::peer::ControllerRequest;
use crate::probe::Probe;
use crate::protocol::{AdminRequest, CoordinatorKind, ErrorCode, Response};
use crate::step::{Cx, Effect, Outbox, TimerKey};

/// A coordinator that is being loaded, or at work.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Coordinator {
    Groups(Host<Groups>),
    Transactions(Host<Transactions>),
}

/// A shard that a broker can host.
pub(super) trait Hosted: Shard {
    /// The shard, if it is of this kind.
    fn of(coordinator: &mut Coordinator) -> Option<&mut Host<Self>>;

    /// Its answer, as one of any kind.
    fn answer(answer: Self::Answer) -> Answer;

    /// Its records get their places, the first one `at`.
    fn recorded(
        outcome: &Outcome<Self>,
        of: (TopicPartition, LeaderEpoch),
        at: Offset,
        out: &mut Outbox<Effect>,
    );

    /// Whether an answer that leaves no record must not come from a coordinator that was replaced.
    fn must_be_proven(answer: &Self::Answer, mutants: Mutants) -> bool;

    /// A planted bug: its answers do not wait.
    fn answers_early(_mutants: Mutants) -> bool {
        false
    }
}

/// What a shard is lent when it is asked.
pub(super) struct Lent<'a> {
    pub(super) topics: &'a Image,
    pub(super) ids: &'a mut ProducerIds,
}

impl Coordinator {
    /// Of an empty log.
    pub(super) fn new(kind: CoordinatorKind, limits: &BrokerLimits, mutants: Mutants) -> Self {
        match kind {
            CoordinatorKind::Group => Self::Groups(Host::new(Groups::new(limits.groups, mutants))),
            CoordinatorKind::Transaction => {
                let epoch_max = ProducerEpoch(limits.producer_epoch_max);
                Self::Transactions(Host::new(Transactions::new(epoch_max)))
            }
        }
    }

    /// The next batch of its log.
    pub(super) fn fold(&mut self, batch: &[u8], header: &Header) {
        match self {
            Self::Groups(host) => host.fold(batch, header),
            Self::Transactions(host) => host.fold(batch, header),
        }
    }

    /// A connection is gone: nobody waits for its answers.
    pub(super) fn gone(&mut self, conn: ConnId) {
        match self {
            Self::Groups(host) => host.gone(conn),
            Self::Transactions(host) => host.gone(conn),
        }
    }

    pub(super) fn blocked(&self) -> Vec<String> {
        match self {
            Self::Groups(_) => Vec::new(),
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

    /// The partition of the shard in charge of `name`, if that is at work here.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn shard_of(
        &self,
        kind: CoordinatorKind,
        name: &str,
    ) -> Result<TopicPartition, ErrorCode> {
        let partition = self.coordinator_partition(kind, name);
        let partition = partition.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        if self.coordinators.contains_key(&partition) {
            return Ok(partition);
        }
        let state = self.image.partitions.get(&partition);
        let coming = state.is_some_and(|state| state.replica == Some(self.config.node));
        Err(match coming {
            true => ErrorCode::CoordinatorLoadInProgress,
            false => ErrorCode::NotCoordinator,
        })
    }

    pub(super) fn find_coordinator(
        &mut self,
        cx: &Cx,
        asker: Asker,
        (kind, name): (CoordinatorKind, &str),
        out: &mut Outbox<Effect>,
    ) {
        // A group may have no name, as it may in commits; a transactional id must.
        let found = match name.is_empty() && kind == CoordinatorKind::Transaction {
            true => Err(ErrorCode::InvalidRequest),
            false => self.coordinator_of(kind, name).map(|(_, node)| node),
        };
        self.create_internal(cx, kind, out);
        self.reply(asker, Response::FindCoordinator(found), out);
    }

    /// Has the internal topic created, if there is none.
    pub(super) fn create_internal(
        &mut self,
        cx: &Cx,
        kind: CoordinatorKind,
        out: &mut Outbox<Effect>,
    ) {
        let absent = self.image.topic_named(kind.topic()).is_none();
        if absent && !self.asks.is_waiting(Purpose::InternalTopic(kind)) {
            let partitions = self.config.limits.coordinator_partitions;
            let (name, configs) = (kind.topic().to_string(), Vec::new());
            let request = AdminRequest::CreateTopic { name, partitions, configs };
            let request = ControllerRequest::Admin { nonce: cx.entropy, request };
            self.asks.ask(Purpose::InternalTopic(kind), request, out);
        }
    }

    /// Asks a shard, if it is at work here, and does what it says.
    pub(super) fn with_shard<S: Hosted>(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
        ask: impl FnOnce(&mut S, Lent<'_>, &mut Outcome<S>),
    ) {
        let Some(host) = self.coordinators.get_mut(&partition).and_then(S::of) else { return };
        let mut outcome = Outcome::default();
        let lent = Lent { topics: &self.image, ids: &mut self.producer_ids };
        ask(host.state_mut(), lent, &mut outcome);
        self.carry_out(cx, partition, outcome, out);
    }

    /// Appends the records, parks the answers, arms the timers.
    fn carry_out<S: Hosted>(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        outcome: Outcome<S>,
        out: &mut Outbox<Effect>,
    ) {
        let epoch = self.partitions[&partition].epoch();
        if let Some(batch) = outcome.batch(TimestampMs::floor(cx.wall)) {
            let at = self.partitions[&partition].log_end();
            S::recorded(&outcome, (partition, epoch), at, out);
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
        for (asker, answer) in outcome.answers {
            let unproven = outcome.records.is_empty() && S::must_be_proven(&answer, cx.mutants);
            let answer = (asker, S::answer(answer));
            match unproven {
                true => self.answer_when_proven(cx, partition, answer, out),
                false => self.park_answer(partition, answer),
            }
        }
        let end = self.partitions[&partition].log_end();
        let Some(host) = self.coordinators.get_mut(&partition).and_then(S::of) else { return };
        if S::answers_early(cx.mutants) {
            let ready = host.confirmed(end).collect();
            self.tell::<S>(ready, out);
        }
        self.coordinator_moved(cx, partition, out);
    }

    /// Keeps an answer until all that is in the log is confirmed.
    pub(super) fn park_answer(
        &mut self,
        partition: TopicPartition,
        (asker, answer): (Asker, Answer),
    ) {
        let end = self.partitions[&partition].log_end();
        match (self.coordinators.get_mut(&partition), answer) {
            (Some(Coordinator::Groups(host)), Answer::Group(answer)) => {
                host.park(end, asker, answer);
            }
            (Some(Coordinator::Transactions(host)), Answer::Txn(answer)) => {
                host.park(end, asker, answer);
            }
            (Some(_), answer) => unreachable!("{answer:?} of {partition:?}"),
            (None, _) => {}
        }
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
        match &self.coordinators[&partition] {
            Coordinator::Groups(_) => self.groups_loaded(cx, (partition, epoch), end, out),
            Coordinator::Transactions(_) => {
                self.with_shard(cx, partition, out, |state: &mut Transactions, _, outcome| {
                    state.loaded(cx, end, outcome);
                });
                self.send_markers(cx, partition, out);
            }
        }
    }

    /// More of the log is confirmed: answers leave, and what is decided is carried out.
    pub(super) fn coordinator_moved(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        let Some(coordinator) = self.coordinators.get_mut(&partition) else { return };
        let confirmed = self.partitions[&partition].high_watermark();
        match coordinator {
            Coordinator::Groups(host) => {
                let ready = host.confirmed(confirmed).collect();
                self.tell::<Groups>(ready, out);
            }
            Coordinator::Transactions(host) => {
                let early = cx.mutants.on(Mutant::TxnMarkersUnconfirmed);
                let end = self.partitions[&partition].log_end();
                let decided = host.state_mut().confirmed(if early { end } else { confirmed });
                let ready = host.confirmed(confirmed).collect();
                self.tell::<Transactions>(ready, out);
                self.decided(cx, partition, &decided, out);
            }
        }
    }

    /// The partition is not led here any more: nothing of the shard goes on.
    pub(super) fn coordinator_lost(&mut self, partition: TopicPartition, out: &mut Outbox<Effect>) {
        match self.coordinators.remove(&partition) {
            None => {}
            Some(Coordinator::Groups(host)) => {
                for number in host.state().armed() {
                    out.disarm(TimerKey::Coordinator(partition, number));
                }
                let waiting = host.state().parked();
                self.tell::<Groups>(host.close().chain(waiting).collect(), out);
            }
            Some(Coordinator::Transactions(host)) => {
                out.disarm(TimerKey::Coordinator(partition, crate::coordinator::txn::CLEANUP));
                out.disarm(TimerKey::Markers(partition));
                self.tell::<Transactions>(host.close().collect(), out);
            }
        }
        self.stop_proving(partition, out);
    }

    fn tell<S: Hosted>(&mut self, answers: Vec<(Asker, S::Answer)>, out: &mut Outbox<Effect>) {
        for (asker, answer) in answers {
            self.answer(asker, S::answer(answer), out);
        }
    }

    pub(super) fn coordinator_timer(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        number: u64,
        out: &mut Outbox<Effect>,
    ) {
        match self.coordinators.get(&partition) {
            None => {}
            Some(Coordinator::Groups(_)) => {
                self.with_shard(cx, partition, out, |groups: &mut Groups, lent, outcome| {
                    groups.timer(cx, lent.topics, number, outcome);
                });
            }
            Some(Coordinator::Transactions(_)) => {
                self.with_shard(cx, partition, out, |state: &mut Transactions, lent, outcome| {
                    state.timer(cx, number, &mut || lent.ids.take(), outcome);
                });
                self.keep_ids_at_hand(out);
            }
        }
    }
}
