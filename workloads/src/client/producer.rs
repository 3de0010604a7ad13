//! One batch on its way to one partition, with attempt after attempt until an answer is final.
//!
//! Without idempotence an attempt whose outcome is unknown may still take effect, so the next one
//! carries new values and is a call of its own. With it all attempts carry the same values. What
//! each error code proves is decided in [`super::outcome`], whose turn it is in
//! [`super::idempotence`]. Source: Kafka's `Sender.java`, `ProducerBatch.java`.

use alloc::string::String;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, ProduceRequest, ProduceResult, Request, Response};
use broker_core::step::Cx;
use broker_core::time::Wall;

use super::idempotence::Place;
use super::metadata::{Route, Target};
use super::outcome::{self, Next, Refusal};
use super::session::{Asked, Verdict};
use super::{Answer, Call, CallEvent, Numbers, PRODUCE_TIMEOUT, values};

/// Most records of one batch: a plan written by hand must not fill the memory.
pub(super) const RECORDS_MAX: u32 = 10_000;

/// Most bytes of one value, for the same reason; beyond every broker's limit on batches.
pub(super) const VALUE_BYTES_MAX: u32 = 4 << 20;

/// A produce.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Produce {
    pub(super) topic: String,
    pub(super) partition: PartitionIndex,
    pub(super) records: u32,
    pub(super) bytes: u32,
    pub(super) acks: Acks,
    pub(super) damaged: bool,
    pub(super) idempotent: bool,
    /// The first value, the time and the topic of the first attempt of an idempotent produce.
    sent: Option<(u64, Wall, TopicId)>,
}

impl Produce {
    pub(super) fn new(
        topic: String,
        partition: PartitionIndex,
        (records, bytes): (u32, u32),
        acks: i8,
        (damaged, idempotent): (bool, bool),
    ) -> Self {
        Self {
            topic,
            partition,
            records: records.clamp(1, RECORDS_MAX),
            bytes: bytes.clamp(values::NUMBER_BYTES, VALUE_BYTES_MAX),
            // Kafka knows −1, 0 and 1. What else a plan may say is taken as "all".
            acks: match acks {
                0 if !idempotent => Acks::None,
                1 if !idempotent => Acks::Leader,
                _ => Acks::All,
            },
            damaged,
            idempotent,
            sent: None,
        }
    }

    pub(super) fn route(&self) -> Route {
        Route::Leader(self.partition)
    }

    /// The place in whose line an idempotent batch waits for its turn.
    pub(super) fn place(&self) -> Option<Place> {
        self.idempotent.then(|| (self.topic.clone(), self.partition))
    }

    pub(super) fn ask(
        &mut self,
        target: &Target,
        stamp: ProducerStamp,
        cx: &Cx,
        numbers: &mut Numbers,
    ) -> Asked {
        let partition = self.partition(target.topic);
        let again = self.sent.is_some();
        let (first_value, at, topic) =
            self.sent.unwrap_or_else(|| (numbers.values(self.records), cx.wall, partition.topic));
        if self.idempotent {
            self.sent = Some((first_value, at, topic));
        }
        let batch = values::encode(first_value, self.records, self.bytes, at, stamp);
        let batch = if self.damaged { values::damage(&batch, cx.entropy) } else { batch };
        let call = Call::Produce {
            partition,
            acks: self.acks,
            first_value,
            count: self.records,
            damaged: self.damaged,
            created: values::created(at),
            idempotent: self.idempotent,
            transactional: None,
        };
        Asked {
            call: (!again).then_some(call),
            request: Request::Produce(ProduceRequest {
                transactional: None,
                acks: self.acks,
                timeout: PRODUCE_TIMEOUT,
                batches: [(partition, batch)].into(),
            }),
            answered: self.acks != Acks::None,
        }
    }

    /// Whether it was sent to another topic of the same name, which is gone.
    pub(super) fn was_for_another(&self, topic: Option<TopicId>) -> bool {
        self.sent.is_some_and(|(.., sent)| Some(sent) != topic)
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(&self, topic: Option<TopicId>, response: Response) -> Option<Verdict> {
        let Response::Produce(results) = response else { return None };
        let partition = self.partition(topic);
        let [ProduceResult { partition: of, result }] = results.as_slice() else { return None };
        if *of != partition {
            return None;
        }
        Some(match result {
            Ok(produced) => Verdict {
                event: CallEvent::Ok(Answer::Produced {
                    base: produced.base_offset,
                    log_append_time: produced.log_append_time,
                }),
                next: Next::Done,
            },
            Err(code) => {
                let Refusal { definite, next } = self.refused(*code);
                let event = if definite { CallEvent::Fail(*code) } else { CallEvent::Unknown };
                Verdict { event, next }
            }
        })
    }

    fn refused(&self, code: ErrorCode) -> Refusal {
        let refusal = outcome::of_produce(code, self.acks);
        // The damage is ours; sending it again would not make it better.
        if self.damaged && code == ErrorCode::CorruptMessage {
            return Refusal { next: Next::Done, ..refusal };
        }
        refusal
    }

    fn partition(&self, topic: Option<TopicId>) -> TopicPartition {
        let topic = topic.expect("the route of a produce gives the topic's id");
        TopicPartition { topic, index: self.partition }
    }
}
