//! From an event to a line.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use broker_core::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, Isolation, OffsetSpec};
use broker_core::time::Wall;
use serde::Serialize;

use super::fields::{AcksWord, At, Flat, Function, IsolationWord, Record, Text, Type};
use super::{HISTORY_VERSION, Header};
use crate::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord};

/// Writes a file's lines.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    topics: BTreeMap<TopicId, String>,
}

impl Writer {
    /// With these names; a topic without one is named by its id.
    #[must_use]
    pub fn new(topics: BTreeMap<TopicId, String>) -> Self {
        Self { topics }
    }

    /// The first line.
    #[must_use]
    pub fn header(&self, broker: &str, note: &str) -> String {
        let (broker, note) = (Some(broker.into()), Some(note.into()));
        text(&Header { history: HISTORY_VERSION, broker, note })
    }

    /// The line of an event, without its end.
    #[must_use]
    pub fn line(&self, event: &HistoryEvent) -> String {
        let flat = Flat {
            time_us: Some(event.at.0),
            client: Some(event.client),
            call: Some(event.call),
            op: Some(event.op),
            ..Flat::default()
        };
        text(&match &event.kind {
            EventKind::Invoke(call) => self.invoked(flat, event.op, call),
            EventKind::Ok(answer) => self.answered(flat, answer),
            EventKind::Fail(code) => Flat {
                type_: Some(Type::Fail),
                error: code.map(|code| Text(Cow::Owned(name(code)))),
                ..flat
            },
            EventKind::Unknown => Flat { type_: Some(Type::Unknown), ..flat },
            EventKind::GaveUp => Flat { type_: Some(Type::GaveUp), ..flat },
        })
    }

    fn topic(&self, topic: TopicId) -> Option<Text<'_>> {
        let name = self.topics.get(&topic).map(|name| Cow::Borrowed(name.as_str()));
        Some(Text(name.unwrap_or_else(|| Cow::Owned(format!("{:032x}", topic.0)))))
    }

    fn invoked<'a>(&'a self, flat: Flat<'a>, op: u32, call: &Call) -> Flat<'a> {
        let of = |function, at: Option<TopicPartition>| Flat {
            type_: Some(Type::Invoke),
            function: Some(function),
            topic: at.and_then(|at| self.topic(at.topic)),
            partition: at.map(|at| at.index.0),
            ..flat.clone()
        };
        match *call {
            Call::Produce {
                partition,
                acks,
                first_value,
                count,
                damaged,
                created,
                idempotent,
                transactional,
            } => Flat {
                acks: Some(acks_word(acks)),
                first_value: Some(first_value),
                count: Some(count),
                damaged: damaged.then_some(true),
                timestamp_us: created.map(|time| time.0),
                idempotent: idempotent.then_some(true),
                txn: transactional.then_some(op),
                ..of(Function::Produce, Some(partition))
            },
            Call::EndTxn { commit, producer } => Flat {
                txn: Some(op),
                commit: Some(commit),
                producer_id: producer.map(|(id, _)| id.0),
                producer_epoch: producer.map(|(_, epoch)| epoch.0),
                ..of(Function::EndTxn, None)
            },
            Call::InitProducerId { transactional } => Flat {
                transactional: transactional.then_some(true),
                ..of(Function::InitProducerId, None)
            },
            Call::Fetch { partition, offset, reader, leader_epoch, isolation } => Flat {
                offset: Some(offset.0),
                reader: Some(reader),
                leader_epoch: epoch(leader_epoch),
                isolation: word(isolation),
                ..of(Function::Fetch, Some(partition))
            },
            Call::ListOffsets { partition, spec, leader_epoch, isolation } => {
                let (at, time) = spec_words(spec);
                Flat {
                    at: Some(at),
                    timestamp_us: micros(time),
                    leader_epoch: epoch(leader_epoch),
                    isolation: word(isolation),
                    ..of(Function::ListOffsets, Some(partition))
                }
            }
            Call::EpochEnd { partition, epoch: asked, leader_epoch } => Flat {
                epoch: epoch(Some(asked)),
                leader_epoch: epoch(leader_epoch),
                ..of(Function::EpochEnd, Some(partition))
            },
            Call::Admin { topic, deletes } => Flat {
                topic: topic.and_then(|topic| self.topic(topic)),
                deletes: deletes.then_some(true),
                ..of(Function::Admin, None)
            },
        }
    }

    fn answered<'a>(&'a self, flat: Flat<'a>, answer: &Answer) -> Flat<'a> {
        let flat = Flat { type_: Some(Type::Ok), ..flat };
        match answer {
            Answer::Produced { base, log_append_time } => {
                Flat { offset: Some(base.0), log_append_time_us: micros(*log_append_time), ..flat }
            }
            Answer::Fetched { high_watermark, last_stable, log_start, records, skipped } => Flat {
                high_watermark: number(*high_watermark),
                last_stable: number(*last_stable),
                log_start: number(*log_start),
                records: Some(records.iter().map(record).collect()),
                skipped: skipped
                    .as_ref()
                    .map(|skipped| skipped.iter().map(|(from, upto)| (from.0, upto.0)).collect()),
                ..flat
            },
            Answer::Listed(Some((offset, time, leader_epoch))) => Flat {
                offset: Some(offset.0),
                timestamp_us: micros(*time),
                leader_epoch: epoch(*leader_epoch),
                ..flat
            },
            Answer::EpochEnd(Some((found, end))) => {
                Flat { epoch: epoch(Some(*found)), offset: Some(end.0), ..flat }
            }
            Answer::ProducerId(id, epoch) => {
                Flat { producer_id: Some(id.0), producer_epoch: Some(epoch.0), ..flat }
            }
            Answer::Created(topic) => Flat { topic: self.topic(*topic), ..flat },
            Answer::Listed(None) | Answer::EpochEnd(None) | Answer::Done => flat,
        }
    }
}

fn record(record: &ReadRecord) -> Record {
    Record {
        offset: record.offset.0,
        value: record.value,
        timestamp_us: micros(record.timestamp),
        leader_epoch: epoch(record.leader_epoch),
        intact: (!record.intact).then_some(false),
    }
}

fn number(offset: Option<Offset>) -> Option<u64> {
    offset.map(|offset| offset.0)
}

fn micros(time: Option<Wall>) -> Option<i64> {
    time.map(|time| time.0)
}

fn epoch(epoch: Option<LeaderEpoch>) -> Option<u32> {
    epoch.map(|epoch| epoch.0)
}

fn word(isolation: Isolation) -> Option<IsolationWord> {
    match isolation {
        Isolation::ReadUncommitted => None,
        Isolation::ReadCommitted => Some(IsolationWord::Committed),
    }
}

/// `NotLeaderOrFollower` is `NOT_LEADER_OR_FOLLOWER`.
fn name(code: ErrorCode) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn text(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("a line has nothing that JSON can not say")
}

fn acks_word(acks: Acks) -> AcksWord {
    match acks {
        Acks::All => AcksWord::All,
        Acks::Leader => AcksWord::Leader,
        Acks::None => AcksWord::None,
    }
}

fn spec_words(spec: OffsetSpec) -> (At, Option<Wall>) {
    match spec {
        OffsetSpec::Latest => (At::Latest, None),
        OffsetSpec::Earliest => (At::Earliest, None),
        OffsetSpec::MaxTimestamp => (At::Max, None),
        OffsetSpec::At(time) => (At::Time, Some(time)),
    }
}
