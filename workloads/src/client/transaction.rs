//! One transaction: its batches, one after the other, and its end in every partition.
//!
//! There is no transaction coordinator yet: the client decides, and writes the markers itself. A
//! producer ends one transaction before it begins another. By V1 it keeps its epoch and counts on;
//! by V2 each end raises the epoch, and the numbers begin anew (KIP-890). A V1 marker that got no
//! answer is sent again under a raised coordinator epoch, as by a coordinator's successor: the one
//! that is still on its way could end the producer's next transaction, and nothing else in V1 tells
//! the two apart. (Kafka's coordinator has that hole.) What an error code proves is decided in
//! [`super::outcome`]. Source: KIP-98, `TransactionManager.java`,
//! `TransactionMarkerChannelManager.scala`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{
    CoordinatorEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
};
use broker_core::protocol::{
    Acks, ErrorCode, ProduceRequest, ProduceResult, Request, Response, TransactionResult,
    TransactionVersion, TxnMarker,
};
use broker_core::step::Cx;
use broker_core::time::Wall;

use super::idempotence::Turn;
use super::metadata::{Route, Target};
use super::outcome::{self, Next};
use super::producer::{RECORDS_MAX, VALUE_BYTES_MAX};
use super::session::Asked;
use super::{Answer, Call, Numbers, PRODUCE_TIMEOUT, values};

/// Epochs end at 32,767, which only markers may carry (`TransactionMetadata.isEpochExhausted`).
const EPOCH_MAX: i16 = i16::MAX - 2;

/// A transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Transaction {
    pub(super) topic: String,
    /// The partition of each batch.
    writes: Vec<PartitionIndex>,
    records: u32,
    bytes: u32,
    result: TransactionResult,
    producer: Option<Producer>,
    /// The topic that the first batch was sent to.
    sent_to: Option<TopicId>,
    stage: Stage,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Sends the batch with this number; once sent, its first value and the time.
    Write(usize, Option<(u64, Wall)>),
    /// Ends it in these partitions, the last one first; whether that was asked for already.
    End(Vec<PartitionIndex>, bool),
}

/// A transactional producer of a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
    version: TransactionVersion,
    coordinator_epoch: CoordinatorEpoch,
    next: BTreeMap<TopicPartition, Sequence>,
}

/// Transactional producers of one client. Each has one transaction at a time; what comes when all
/// have one waits, so that producers begin their next transaction as soon as one has ended.
const PRODUCERS_MAX: usize = 3;

/// The transactional producers of a client.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Producers {
    /// In no transaction.
    idle: Vec<Producer>,
    /// The operations whose transactions are under way.
    busy: BTreeSet<u32>,
    /// One became free.
    changed: bool,
}

impl Producers {
    /// Whether one became free since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }
}

/// What an answer means for the transaction.
pub(super) enum Step {
    /// The call is done; the transaction goes on.
    Done(Answer),
    /// The last call is done, and with it the transaction.
    Ended(Answer),
    /// The call goes on with another partition.
    Partly,
    /// The attempt was refused; nothing was done by it if `definite`.
    Refused { code: ErrorCode, definite: bool, next: Next },
}

impl Producer {
    pub(super) fn new(id: ProducerId, epoch: ProducerEpoch, lot: u64) -> Self {
        let version = match lot % 2 {
            0 => TransactionVersion::V1,
            _ => TransactionVersion::V2,
        };
        let coordinator_epoch = CoordinatorEpoch(0);
        Self { id, epoch, version, coordinator_epoch, next: BTreeMap::new() }
    }

    /// The epoch of its marker, which is that of its next transaction.
    fn end_epoch(&self) -> ProducerEpoch {
        match self.version {
            TransactionVersion::V1 => self.epoch,
            TransactionVersion::V2 => self.epoch.next(),
        }
    }
}

impl Transaction {
    pub(super) fn new(
        topic: String,
        writes: &[u32],
        (records, bytes): (u32, u32),
        abort: bool,
    ) -> Self {
        let result = if abort { TransactionResult::Abort } else { TransactionResult::Commit };
        Self {
            topic,
            writes: writes.iter().map(|partition| PartitionIndex(*partition)).collect(),
            records: records.clamp(1, RECORDS_MAX),
            bytes: bytes.clamp(values::NUMBER_BYTES, VALUE_BYTES_MAX),
            result,
            producer: None,
            sent_to: None,
            stage: Stage::Write(0, None),
        }
    }

    pub(super) fn route(&self) -> Route {
        Route::Leader(self.partition())
    }

    fn partition(&self) -> PartitionIndex {
        match &self.stage {
            Stage::Write(at, _) => self.writes.get(*at).copied().unwrap_or_default(),
            Stage::End(left, _) => left.last().copied().unwrap_or_default(),
        }
    }

    /// Whether it may go on with a producer, ask for an id of one, or must wait for another
    /// transaction to end.
    pub(super) fn turn(&mut self, producers: &mut Producers, op: u32) -> Turn {
        if producers.busy.len() == PRODUCERS_MAX && !producers.busy.contains(&op) {
            return Turn::Wait;
        }
        producers.busy.insert(op);
        self.producer = self.producer.take().or_else(|| producers.idle.pop());
        match self.producer {
            Some(_) => Turn::Send(ProducerStamp::NONE),
            None => Turn::AskId,
        }
    }

    pub(super) fn adopt(&mut self, producer: Producer) {
        self.producer = Some(producer);
    }

    /// The operation is over: gives the producer back, if its transaction has ended.
    pub(super) fn give_back(&mut self, producers: &mut Producers, op: u32) {
        producers.changed |= producers.busy.remove(&op);
        let ended = matches!(&self.stage, Stage::End(left, _) if left.is_empty());
        let Some(mut producer) = self.producer.take().filter(|_| ended) else { return };
        producer.epoch = producer.end_epoch();
        if producer.version == TransactionVersion::V2 {
            producer.next.clear();
        }
        if producer.epoch.0 < EPOCH_MAX {
            producers.idle.push(producer);
        }
    }

    /// Whether it began in another topic of the same name, which is gone.
    pub(super) fn was_for_another(&self, topic: Option<TopicId>) -> bool {
        self.sent_to.is_some_and(|sent_to| Some(sent_to) != topic)
    }

    pub(super) fn ask(&mut self, target: &Target, cx: &Cx, numbers: &mut Numbers) -> Asked {
        let topic = target.topic.expect("the route of a transaction gives the topic's id");
        self.sent_to = Some(topic);
        let partition = TopicPartition { topic, index: self.partition() };
        let (records, bytes) = (self.records, self.bytes);
        let producer = self.producer.as_mut().expect("it asks with a producer");
        match &mut self.stage {
            Stage::Write(_, sent) => {
                let again = sent.is_some();
                let (first_value, at) =
                    *sent.get_or_insert_with(|| (numbers.values(records), cx.wall));
                let first = producer.next.get(&partition).copied().unwrap_or_default();
                let stamp = ProducerStamp {
                    id: i64::try_from(producer.id.0).expect("Kafka's producer ids are signed"),
                    epoch: producer.epoch.0,
                    base_sequence: i32::try_from(first.0).expect("below 2^31"),
                };
                let batch = values::encode_transactional(first_value, (records, bytes), at, stamp);
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
                Asked {
                    call: (!again).then_some(call),
                    request: Request::Produce(ProduceRequest {
                        acks: Acks::All,
                        timeout: PRODUCE_TIMEOUT,
                        batches: [(partition, batch)].into(),
                    }),
                    answered: true,
                }
            }
            Stage::End(_, asked) => {
                let again = core::mem::replace(asked, true);
                let marker = TxnMarker {
                    producer: producer.id,
                    epoch: producer.end_epoch(),
                    result: self.result,
                    coordinator_epoch: producer.coordinator_epoch,
                    version: producer.version,
                    partitions: vec![partition],
                };
                let commit = self.result == TransactionResult::Commit;
                Asked {
                    call: (!again).then_some(Call::EndTxn { commit }),
                    request: Request::WriteTxnMarkers { markers: vec![marker] },
                    answered: true,
                }
            }
        }
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&mut self, topic: Option<TopicId>, response: Response) -> Option<Step> {
        let partition = TopicPartition { topic: topic?, index: self.partition() };
        let producer = self.producer.as_mut()?;
        match (&mut self.stage, response) {
            (&mut Stage::Write(at, _), Response::Produce(results)) => {
                let [ProduceResult { partition: of, result }] = results.as_slice() else {
                    return None;
                };
                if *of != partition {
                    return None;
                }
                Some(match result {
                    Ok(produced) => {
                        let (base, log_append_time) =
                            (produced.base_offset, produced.log_append_time);
                        let next = producer.next.entry(partition).or_default();
                        *next = next.plus(self.records);
                        self.stage = Stage::Write(at + 1, None);
                        if at + 1 >= self.writes.len() {
                            self.end();
                        }
                        Step::Done(Answer::Produced { base, log_append_time })
                    }
                    Err(code) => {
                        let refusal = outcome::of_produce(*code, Acks::All);
                        Step::Refused {
                            code: *code,
                            definite: refusal.definite,
                            next: refusal.next,
                        }
                    }
                })
            }
            (Stage::End(left, _), Response::WriteTxnMarkers(results)) => {
                let [(of, at, result)] = results.as_slice() else { return None };
                if (*of, *at) != (producer.id, partition) {
                    return None;
                }
                Some(match result {
                    Ok(()) => {
                        left.pop();
                        match left.is_empty() {
                            true => Step::Ended(Answer::Done),
                            false => Step::Partly,
                        }
                    }
                    Err(code) => {
                        let next = outcome::of_marker(*code);
                        Step::Refused { code: *code, definite: false, next }
                    }
                })
            }
            _ => None,
        }
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

    /// A batch is given up: the transaction is aborted where batches were sent to.
    pub(super) fn abort(&mut self) {
        self.result = TransactionResult::Abort;
        if let Stage::Write(at, _) = self.stage {
            self.writes.truncate(at + 1);
        }
        self.end();
    }

    /// The newest request got no answer.
    pub(super) fn unanswered(&mut self) {
        if let (Stage::End(..), Some(producer)) = (&self.stage, &mut self.producer)
            && producer.version == TransactionVersion::V1
        {
            producer.coordinator_epoch = producer.coordinator_epoch.next();
        }
    }

    fn end(&mut self) {
        let mut left = self.writes.clone();
        left.sort_unstable();
        left.dedup();
        self.stage = Stage::End(left, false);
    }
}
