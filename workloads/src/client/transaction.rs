//! One transaction: its batches, one after the other, and its end, which its coordinator decides.
//!
//! A transactional producer finds its coordinator, becomes the producer of its transactional id
//! ([`super::transactional`]), and has one transaction at a time. By the first protocol it makes
//! each partition part of the transaction itself, before its first batch there; by the second one
//! the partition's leader does. What an error code proves is decided in [`super::outcome`]. Source:
//! KIP-98, KIP-360, KIP-890, `TransactionManager.java`.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{
    Acks, CoordinatorKind, ErrorCode, ProduceRequest, ProduceResult, Request, Response,
    TransactionResult, TransactionVersion, TxnAnswer, TxnProducer, TxnRequest,
};
use broker_core::step::Cx;
use broker_core::time::{Dur, Wall};

use super::errand::TxnStep;
use super::metadata::{Route, Target};
use super::outcome::{self, Next, Refusal};
use super::producer::{RECORDS_MAX, VALUE_BYTES_MAX};
use super::session::Asked;
use super::transactional::{Producer, Producers};
use super::{Answer, Becomes, Call, Numbers, PRODUCE_TIMEOUT, values};

mod offsets;

pub(super) use offsets::GroupOffsets;

/// How long a transaction may be open (`transaction.timeout.ms`; Kafka's default is a minute, and a
/// run is not much longer).
pub(super) const TRANSACTION_TIMEOUT: Dur = Dur::secs(10);

/// As that, of an application whose transactions are large: Kafka's default.
const APPLICATION_TIMEOUT: Dur = Dur::secs(60);

/// Bytes of each value that an application sends.
pub const APPLICATION_BYTES: u32 = 24;

/// A transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Transaction {
    pub(super) topic: String,
    /// The transactional id that it asks for; `None`: any of the client's own.
    id: Option<String>,
    /// The partition of each batch.
    writes: Vec<PartitionIndex>,
    records: u32,
    bytes: u32,
    /// Its client thinks for so long before its end.
    think: Dur,
    end: End,
    /// What it was made of, to be committed with it.
    offsets: Option<GroupOffsets>,
    producer: Option<Producer>,
    /// Partitions that are part of it, as far as known (first protocol).
    added: BTreeSet<PartitionIndex>,
    /// The topic that the first batch was sent to.
    sent_to: Option<TopicId>,
    stage: Stage,
    /// It is told each step by its application.
    told: bool,
}

/// How a transaction shall end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum End {
    Decide(TransactionResult),
    /// Not at all, as if the process ended: its coordinator finds out.
    Leave,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Only becomes its producer.
    Become,
    /// Waits to be told the next step.
    Wait,
    /// Sends the batch with this number; once sent, its first value and the time.
    Write(usize, Option<(u64, Wall)>),
    /// Commits the offsets; whether that was asked for already.
    Offsets(bool),
    /// Asks for its end; whether that was done already.
    End(bool),
    /// It is over; whether its producer can have another one.
    Over(bool),
}

/// What an answer means for the transaction.
pub(super) enum Step {
    /// The call is done; the transaction goes on.
    Done(Answer),
    /// The call is done, and with it the transaction.
    Ended(Answer),
    /// What comes before its batches is done, and the call with it.
    Prepared(Answer),
    /// What was asked for beside the calls is done.
    Partly,
    /// The attempt was refused; nothing was done by it if `definite`.
    Refused { code: ErrorCode, definite: bool, next: Next },
    /// The attempt did nothing, and nothing that the producer asks for will be done any more.
    Fenced(ErrorCode),
    /// As that, and another producer is made in its place.
    Replaced(ErrorCode),
}

impl Transaction {
    pub(super) fn new(
        (topic, id): (String, Option<String>),
        writes: &[u32],
        (records, bytes): (u32, u32),
        (think, end): (Dur, End),
    ) -> Self {
        Self {
            topic,
            id,
            writes: writes.iter().map(|partition| PartitionIndex(*partition)).collect(),
            records: records.clamp(1, RECORDS_MAX),
            bytes: bytes.clamp(values::NUMBER_BYTES, VALUE_BYTES_MAX),
            think,
            end,
            offsets: None,
            producer: None,
            added: BTreeSet::new(),
            sent_to: None,
            stage: Stage::Write(0, None),
            told: false,
        }
    }

    /// One that is made of what a group has read.
    #[must_use]
    pub(super) fn with_offsets(self, offsets: GroupOffsets) -> Self {
        Self { offsets: Some(offsets), ..self }
    }

    /// What it is made of: which partition, from where, and where to read on.
    pub(super) fn read(&self) -> Option<(TopicPartition, Offset, Offset)> {
        self.offsets.as_ref().map(|offsets| offsets.read)
    }

    /// Whether it is over, and was committed as far as is known.
    pub(super) fn is_committed(&self) -> bool {
        self.stage == Stage::Over(true) && self.end == End::Decide(TransactionResult::Commit)
    }

    /// One whose application tells it each step.
    pub(super) fn told(topic: String, id: String) -> Self {
        let (size, end) = ((1, APPLICATION_BYTES), End::Decide(TransactionResult::Commit));
        let new = Self::new((topic, Some(id)), &[], size, (Dur(0), end));
        Self { stage: Stage::Wait, told: true, ..new }
    }

    /// One that is over as soon as its producer is known.
    pub(super) fn becoming(topic: String, id: String) -> Self {
        Self { stage: Stage::Become, ..Self::told(topic, id) }
    }

    /// The next step.
    pub(super) fn tell(&mut self, step: TxnStep) {
        // One that is being aborted is past it.
        if self.stage != Stage::Wait {
            return;
        }
        self.stage = match step {
            TxnStep::Send { partition, records } => {
                self.writes.push(partition);
                self.records = records.clamp(1, RECORDS_MAX);
                Stage::Write(self.writes.len() - 1, None)
            }
            TxnStep::Commit => Stage::End(false),
        };
    }

    /// Whether it waits to be told the next step.
    pub(super) fn waits_to_be_told(&self) -> bool {
        self.stage == Stage::Wait
    }

    /// Whether it has just got a producer, or has it already. `None`: it must wait for another
    /// transaction to end.
    pub(super) fn take_turn(&mut self, producers: &mut Producers, op: u32) -> Option<bool> {
        if self.producer.is_some() {
            return Some(false);
        }
        self.producer = producers.take(op, self.id.as_deref());
        self.producer.is_some().then_some(true)
    }

    /// The operation is over: gives the producer back.
    pub(super) fn give_back(&mut self, producers: &mut Producers, op: u32) {
        let Some(mut producer) = self.producer.take() else { return };
        if self.stage != Stage::Over(true) {
            producer.forget();
        }
        producers.give_back(op, producer);
    }

    /// Where its next request goes.
    pub(super) fn route(&self) -> Route {
        let Some(producer) = &self.producer else { return Route::Any };
        let Some(coordinator) = producer.coordinator else { return Route::Any };
        match &self.stage {
            _ if producer.identity.is_none() => Route::Node(coordinator),
            Stage::Write(..) if self.must_add() => Route::TopicAt(coordinator),
            Stage::Write(..) => Route::Leader(self.partition()),
            Stage::Offsets(_) if self.must_add_offsets() => Route::Node(coordinator),
            Stage::Offsets(_) => {
                let of_group = self.offsets.as_ref().and_then(|offsets| offsets.coordinator);
                of_group.map_or(Route::Any, Route::Node)
            }
            Stage::Become | Stage::Wait | Stage::End(_) | Stage::Over(_) => {
                Route::Node(coordinator)
            }
        }
    }

    fn partition(&self) -> PartitionIndex {
        match &self.stage {
            Stage::Write(at, _) => self.writes.get(*at).copied().unwrap_or_default(),
            Stage::Become | Stage::Wait | Stage::Offsets(_) | Stage::End(_) | Stage::Over(_) => {
                PartitionIndex(0)
            }
        }
    }

    fn must_add(&self) -> bool {
        let first = self.producer.as_ref().is_some_and(|it| it.version == TransactionVersion::V1);
        first && !self.added.contains(&self.partition())
    }

    /// Whether it began in another topic of the same name, which is gone.
    pub(super) fn was_for_another(&self, topic: Option<TopicId>) -> bool {
        self.sent_to.is_some_and(|sent_to| topic.is_some_and(|topic| sent_to != topic))
    }

    pub(super) fn ask(&mut self, target: &Target, cx: &Cx, numbers: &mut Numbers) -> Asked {
        let must_add = self.must_add();
        let must_add_offsets = self.must_add_offsets();
        let partition = self.partition();
        let producer = self.producer.as_mut().expect("it asks with a producer");
        let beside = |request| Asked { call: None, request, answered: true };
        if producer.coordinator.is_none() {
            let (kind, name) = (CoordinatorKind::Transaction, producer.transactional_id.clone());
            return beside(Request::FindCoordinator { kind, name });
        }
        let Some(of) = producer.named() else {
            let transactional_id = producer.transactional_id.clone();
            let timeout = if self.told { APPLICATION_TIMEOUT } else { TRANSACTION_TIMEOUT };
            let expected = producer.expected;
            let id = transactional_id.clone();
            let call = Some(Call::InitProducerId(Some(Becomes { id, timeout, expected })));
            let request = TxnRequest::InitProducerId { transactional_id, timeout, expected };
            return Asked { call, request: Request::Txn(request), answered: true };
        };
        let version = producer.version;
        match &mut self.stage {
            Stage::Write(..) if must_add => {
                let topic = target.topic.expect("the route gives the topic's id");
                let partition = TopicPartition { topic, index: partition };
                let call = Call::AddPartitions { partition, id: of.transactional_id.clone() };
                let (partitions, verify_only) = ([partition].into(), false);
                let request = TxnRequest::AddPartitions { of, partitions, verify_only, version };
                Asked { call: Some(call), request: Request::Txn(request), answered: true }
            }
            Stage::Write(..) => self.ask_write(target, (of, version), cx, numbers),
            Stage::Offsets(asked) => {
                let offsets = self.offsets.as_ref().expect("else there is no such stage");
                if must_add_offsets {
                    return offsets.ask_to_add(of);
                }
                offsets.ask(of, version, asked)
            }
            Stage::End(asked) => {
                let again = core::mem::replace(asked, true);
                let End::Decide(result) = self.end else { unreachable!("it has left") };
                let commit = result == TransactionResult::Commit;
                let producer = (of.producer, of.epoch);
                let id = of.transactional_id.clone();
                let call = (!again).then_some(Call::EndTxn { commit, producer, id });
                let request = TxnRequest::End { of, result, version };
                Asked { call, request: Request::Txn(request), answered: true }
            }
            stage => unreachable!("nothing is asked for in {stage:?}"),
        }
    }

    /// Its next batch, as it was sent before if it was.
    fn ask_write(
        &mut self,
        target: &Target,
        (of, version): (TxnProducer, TransactionVersion),
        cx: &Cx,
        numbers: &mut Numbers,
    ) -> Asked {
        let topic = target.topic.expect("the route gives the topic's id");
        let partition = TopicPartition { topic, index: self.partition() };
        let producer = self.producer.as_mut().expect("it asks with a producer");
        let Stage::Write(_, sent) = &mut self.stage else { unreachable!("the caller saw it") };
        self.sent_to = Some(topic);
        let (again, records) = (sent.is_some(), self.records);
        let (first_value, at) = *sent.get_or_insert_with(|| (numbers.values(records), cx.wall));
        let stamp = producer.stamp(partition);
        let batch = values::encode_transactional(first_value, (records, self.bytes), at, stamp);
        let call = Call::Produce {
            partition,
            acks: Acks::All,
            first_value,
            count: records,
            damaged: false,
            created: values::created(at),
            idempotent: true,
            transactional: Some(of.transactional_id.clone()),
        };
        let request = ProduceRequest {
            acks: Acks::All,
            timeout: PRODUCE_TIMEOUT,
            transactional: Some((of.transactional_id, version)),
            batches: [(partition, batch)].into(),
        };
        let call = (!again).then_some(call);
        Asked { call, request: Request::Produce(request), answered: true }
    }

    fn seeks_coordinator(&self) -> bool {
        self.producer.as_ref().is_none_or(|producer| producer.coordinator.is_none())
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&mut self, topic: Option<TopicId>, response: Response) -> Option<Step> {
        if let (Stage::Offsets(_), false) = (&self.stage, self.seeks_coordinator()) {
            return self.offsets_answered(response);
        }
        let must_add = self.must_add();
        let index = self.partition();
        let producer = self.producer.as_mut()?;
        Some(match (response, &self.stage) {
            (Response::FindCoordinator(found), _) if producer.coordinator.is_none() => {
                producer.coordinator = found.ok();
                found.map_or_else(refused, |_| Step::Partly)
            }
            (Response::Txn(TxnAnswer::InitProducerId(result)), _) => match result {
                Ok((id, epoch)) => {
                    producer.become_known(id, epoch);
                    let answer = Answer::ProducerId(id, epoch);
                    if self.stage == Stage::Become {
                        self.stage = Stage::Over(true);
                        return Some(Step::Ended(answer));
                    }
                    Step::Prepared(answer)
                }
                Err(code) => producer.not_known(code),
            },
            (Response::Txn(TxnAnswer::AddPartitions(results)), Stage::Write(..)) if must_add => {
                let [(of, result)] = results.as_slice() else { return None };
                if *of != (TopicPartition { topic: topic?, index }) {
                    return None;
                }
                match *result {
                    Ok(()) => {
                        self.added.insert(index);
                        Step::Prepared(Answer::Done)
                    }
                    Err(code) => producer.refused(code),
                }
            }
            (Response::Produce(results), &Stage::Write(at, _)) => {
                let [ProduceResult { partition: of, result }] = results.as_slice() else {
                    return None;
                };
                let partition = TopicPartition { topic: topic?, index };
                if *of != partition {
                    return None;
                }
                match result {
                    Ok(produced) => {
                        let (base, log_append_time) =
                            (produced.base_offset, produced.log_append_time);
                        producer.count_on(partition, self.records);
                        self.wrote(at + 1);
                        Step::Done(Answer::Produced { base, log_append_time })
                    }
                    Err(code) => {
                        let Refusal { definite, next } = outcome::of_produce(*code, Acks::All);
                        Step::Refused { code: *code, definite, next }
                    }
                }
            }
            (Response::Txn(TxnAnswer::End(result)), Stage::End(_)) => match result {
                Ok((id, epoch)) => {
                    producer.ended(id, epoch);
                    self.stage = Stage::Over(true);
                    Step::Ended(Answer::Done)
                }
                Err(code) => producer.refused(code),
            },
            _ => return None,
        })
    }

    /// The batches before `next` are written.
    fn wrote(&mut self, next: usize) {
        self.stage = match self.end {
            _ if next < self.writes.len() => Stage::Write(next, None),
            End::Decide(TransactionResult::Commit) if self.offsets.is_some() => {
                Stage::Offsets(false)
            }
            _ if self.told => Stage::Wait,
            End::Decide(_) => Stage::End(false),
            End::Leave => Stage::Over(false),
        };
    }

    /// Whether its newest request asks for a producer id.
    pub(super) fn asks_for_id(&self) -> bool {
        let asks =
            |producer: &Producer| producer.coordinator.is_some() && producer.identity.is_none();
        self.producer.as_ref().is_some_and(asks)
    }

    /// The newest request got no answer: if the coordinator was asked, it is looked for again.
    pub(super) fn unanswered(&mut self) {
        let (route, at_group) = (self.route(), matches!(self.stage, Stage::Offsets(_)));
        if matches!(route, Route::Leader(_)) {
            return;
        }
        if let (true, false, Some(offsets)) = (at_group, self.must_add_offsets(), &mut self.offsets)
        {
            offsets.coordinator = None;
        } else if let Some(producer) = &mut self.producer {
            producer.coordinator = None;
        }
    }

    /// How long its client thinks now.
    pub(super) fn thinks(&mut self) -> Option<Dur> {
        let before_end = self.stage == Stage::End(false);
        before_end.then(|| core::mem::take(&mut self.think)).filter(|think| think.0 > 0)
    }

    /// Whether it is over without having been ended.
    pub(super) fn has_left(&self) -> bool {
        self.stage == Stage::Over(false)
    }

    /// Whether a batch that was refused can not be sent again, so that only the abort is left.
    pub(super) fn must_abort(&self, code: ErrorCode, next: Next) -> bool {
        // TransactionManager.handleFailedBatch: fatal or abortable, but never sent again.
        let parted = matches!(
            code,
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::InvalidTxnState
        );
        match self.stage {
            Stage::Write(..) => parted || next == Next::Done,
            Stage::Offsets(_) => next == Next::Done,
            Stage::Become | Stage::Wait | Stage::End(_) | Stage::Over(_) => false,
        }
    }

    /// A batch is given up: the transaction is aborted. By the first protocol the producer's
    /// numbers are in doubt then, and it asks for a raised epoch (KIP-360).
    pub(super) fn abort(&mut self) {
        self.end = End::Decide(TransactionResult::Abort);
        self.stage = Stage::End(false);
        if let Some(producer) = &mut self.producer {
            producer.renew = producer.version == TransactionVersion::V1;
        }
    }
}

/// What was asked beside the calls was refused, and is asked again.
fn refused(code: ErrorCode) -> Step {
    Step::Refused { code, definite: true, next: Next::Retry }
}
