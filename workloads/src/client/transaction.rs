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

use broker_core::ids::{PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{
    Acks, CoordinatorKind, ErrorCode, ProduceRequest, ProduceResult, Request, Response,
    TransactionResult, TransactionVersion, TxnAnswer, TxnRequest,
};
use broker_core::step::Cx;
use broker_core::time::{Dur, Wall};

use super::metadata::{Route, Target};
use super::outcome::{self, Next, Refusal};
use super::producer::{RECORDS_MAX, VALUE_BYTES_MAX};
use super::session::Asked;
use super::transactional::{Producer, Producers};
use super::{Answer, Call, Numbers, PRODUCE_TIMEOUT, values};

/// How long a transaction may be open (`transaction.timeout.ms`; Kafka's default is a minute, and a
/// run is not much longer).
pub(super) const TRANSACTION_TIMEOUT: Dur = Dur::secs(10);

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
    producer: Option<Producer>,
    /// Partitions that are part of it, as far as known (first protocol).
    added: BTreeSet<PartitionIndex>,
    /// The topic that the first batch was sent to.
    sent_to: Option<TopicId>,
    stage: Stage,
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
    /// Sends the batch with this number; once sent, its first value and the time.
    Write(usize, Option<(u64, Wall)>),
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
    /// Asked for the producer id that it got.
    Became(Answer),
    /// What was asked for beside the calls is done, or the call goes on.
    Partly,
    /// The attempt was refused; nothing was done by it if `definite`.
    Refused { code: ErrorCode, definite: bool, next: Next },
    /// The attempt did nothing, and nothing that the producer asks for will be done any more.
    Fenced(ErrorCode),
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
            producer: None,
            added: BTreeSet::new(),
            sent_to: None,
            stage: Stage::Write(0, None),
        }
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
            Stage::End(_) | Stage::Over(_) => Route::Node(coordinator),
        }
    }

    fn partition(&self) -> PartitionIndex {
        match &self.stage {
            Stage::Write(at, _) => self.writes.get(*at).copied().unwrap_or_default(),
            Stage::End(_) | Stage::Over(_) => PartitionIndex(0),
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
        let partition = self.partition();
        let producer = self.producer.as_mut().expect("it asks with a producer");
        let beside = |request| Asked { call: None, request, answered: true };
        if producer.coordinator.is_none() {
            let (kind, name) = (CoordinatorKind::Transaction, producer.transactional_id.clone());
            return beside(Request::FindCoordinator { kind, name });
        }
        let Some(of) = producer.named() else {
            let transactional_id = producer.transactional_id.clone();
            let (timeout, expected) = (TRANSACTION_TIMEOUT, producer.expected);
            let request = TxnRequest::InitProducerId { transactional_id, timeout, expected };
            let call = Some(Call::InitProducerId { transactional: true });
            return Asked { call, request: Request::Txn(request), answered: true };
        };
        let version = producer.version;
        match &mut self.stage {
            Stage::Write(..) if must_add => {
                let topic = target.topic.expect("the route gives the topic's id");
                let partitions = [TopicPartition { topic, index: partition }].into();
                let verify_only = false;
                beside(Request::Txn(TxnRequest::AddPartitions {
                    of,
                    partitions,
                    verify_only,
                    version,
                }))
            }
            Stage::Write(_, sent) => {
                let topic = target.topic.expect("the route gives the topic's id");
                self.sent_to = Some(topic);
                let partition = TopicPartition { topic, index: partition };
                let (again, records) = (sent.is_some(), self.records);
                let (first_value, at) =
                    *sent.get_or_insert_with(|| (numbers.values(records), cx.wall));
                let stamp = producer.stamp(partition);
                let size = (records, self.bytes);
                let batch = values::encode_transactional(first_value, size, at, stamp);
                let call = Call::Produce {
                    partition,
                    acks: Acks::All,
                    first_value,
                    count: records,
                    damaged: false,
                    created: values::created(at),
                    idempotent: true,
                    transactional: true,
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
            Stage::End(asked) => {
                let again = core::mem::replace(asked, true);
                let End::Decide(result) = self.end else { unreachable!("it has left") };
                let commit = result == TransactionResult::Commit;
                let producer = (of.producer, of.epoch);
                let call = (!again).then_some(Call::EndTxn { commit, producer });
                let request = TxnRequest::End { of, result, version };
                Asked { call, request: Request::Txn(request), answered: true }
            }
            Stage::Over(_) => unreachable!("nothing is asked for when it is over"),
        }
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&mut self, topic: Option<TopicId>, response: Response) -> Option<Step> {
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
                    Step::Became(Answer::ProducerId(id, epoch))
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
                        Step::Partly
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
            End::Decide(_) => Stage::End(false),
            End::Leave => Stage::Over(false),
        };
    }

    /// The newest request got no answer: if the coordinator was asked, it is looked for again.
    pub(super) fn unanswered(&mut self) {
        if !matches!(self.route(), Route::Leader(_))
            && let Some(producer) = &mut self.producer
        {
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
        matches!(self.stage, Stage::Write(..)) && (parted || next == Next::Done)
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
