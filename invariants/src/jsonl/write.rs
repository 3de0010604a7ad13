//! From an event to a line.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use broker_core::protocol::{Acks, ErrorCode, Isolation, OffsetSpec};
use broker_core::time::Wall;
use serde::Serialize;

use super::fields::{AcksWord, At, Flat, Function, IsolationWord, Part, Record, Text, Type};
use super::{HISTORY_VERSION, Header};
use crate::history::{
    Answer, Call, EventKind, HistoryEvent, NO_PRODUCER_EPOCH, ReadRecord, TransactionalId,
};

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
            EventKind::Unknown(code) => {
                let error = code.map(|code| Text(Cow::Owned(name(code))));
                Flat { type_: Some(Type::Unknown), error, ..flat }
            }
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
        match call.clone() {
            Call::Produce { id, partition, .. } => {
                let flat = by(id, None, of(Function::Produce, Some(partition)));
                produced(flat, op, call)
            }
            Call::AddPartitions { partition, id } => {
                Flat { txn: Some(op), ..by(id, None, of(Function::AddPartitions, Some(partition))) }
            }
            Call::EndTxn { commit, producer, id } => {
                let of = by(id, producer, of(Function::EndTxn, None));
                Flat { txn: Some(op), commit: Some(commit), ..of }
            }
            Call::InitProducerId { transactional, id, timeout, expected } => Flat {
                transactional: transactional.then_some(true),
                timeout_us: timeout.map(|timeout| timeout.0),
                ..by(id, expected, of(Function::InitProducerId, None))
            },
            Call::Fetch { partition, offset, reader, leader_epoch, isolation } => Flat {
                offset: Some(offset.0),
                reader: Some(reader),
                leader_epoch: epoch(leader_epoch),
                isolation: word(isolation),
                ..of(Function::Fetch, Some(partition))
            },
            Call::ListOffsets { partition, spec, leader_epoch, isolation } => Flat {
                at: Some(spec_words(spec).0),
                timestamp_us: micros(spec_words(spec).1),
                leader_epoch: epoch(leader_epoch),
                isolation: word(isolation),
                ..of(Function::ListOffsets, Some(partition))
            },
            Call::EpochEnd { partition, epoch: asked, leader_epoch } => Flat {
                epoch: epoch(Some(asked)),
                leader_epoch: epoch(leader_epoch),
                ..of(Function::EpochEnd, Some(partition))
            },
            Call::AddOffsets { .. }
            | Call::CommitOffsets { .. }
            | Call::FetchOffsets { .. }
            | Call::SyncGroup { .. } => self.asked_of_group(flat, op, call),
            Call::Admin { topic, deletes } => {
                let topic = topic.and_then(|topic| self.topic(topic));
                Flat { topic, deletes: deletes.then_some(true), ..of(Function::Admin, None) }
            }
        }
    }

    fn asked_of_group<'a>(&'a self, flat: Flat<'a>, op: u32, call: &Call) -> Flat<'a> {
        let of = |function, group: &String| Flat {
            type_: Some(Type::Invoke),
            function: Some(function),
            group: owned(group),
            ..flat.clone()
        };
        match call {
            Call::AddOffsets { group, id } => {
                Flat { txn: Some(op), ..by(id.clone(), None, of(Function::AddOffsets, group)) }
            }
            Call::CommitOffsets {
                group,
                member,
                generation,
                offsets,
                transactional,
                producer,
                id,
            } => {
                let part = |&(at, from, upto): &(TopicPartition, Offset, Offset)| Part {
                    from: Some(from.0),
                    upto: Some(upto.0),
                    ..self.part(at)
                };
                Flat {
                    member: owned(member).filter(|_| !member.is_empty()),
                    generation: Some(generation.0).filter(|generation| *generation >= 0),
                    offsets: Some(offsets.iter().map(part).collect()),
                    txn: transactional.then_some(op),
                    ..by(id.clone(), *producer, of(Function::CommitOffsets, group))
                }
            }
            Call::FetchOffsets { group, partitions, require_stable } => Flat {
                partitions: Some(self.parts(partitions)),
                require_stable: require_stable.then_some(true),
                ..of(Function::FetchOffsets, group)
            },
            Call::SyncGroup { group, member, instance, generation } => Flat {
                member: owned(instance.as_ref().unwrap_or(member)),
                generation: Some(generation.0),
                ..of(Function::SyncGroup, group)
            },
            _ => flat,
        }
    }

    fn part(&self, at: TopicPartition) -> Part<'_> {
        let topic = self.topic(at.topic).expect("every topic has a name or an id");
        Part { topic, partition: at.index.0, from: None, upto: None, offset: None }
    }

    fn parts(&self, partitions: &[TopicPartition]) -> Vec<Part<'_>> {
        partitions.iter().map(|at| self.part(*at)).collect()
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
                let told = (*epoch != NO_PRODUCER_EPOCH).then_some(epoch.0);
                Flat { producer_id: Some(id.0), producer_epoch: told, ..flat }
            }
            Answer::Created(topic) => Flat { topic: self.topic(*topic), ..flat },
            Answer::Offsets(offsets) => {
                let part = |(at, offset): &(_, Option<Offset>)| Part {
                    offset: number(*offset),
                    ..self.part(*at)
                };
                Flat { offsets: Some(offsets.iter().map(part).collect()), ..flat }
            }
            Answer::Assigned(partitions) => {
                Flat { partitions: Some(self.parts(partitions)), ..flat }
            }
            Answer::Listed(None) | Answer::EpochEnd(None) | Answer::Done => flat,
        }
    }
}

fn produced<'a>(flat: Flat<'a>, op: u32, call: &Call) -> Flat<'a> {
    let &Call::Produce {
        acks,
        first_value,
        count,
        damaged,
        created,
        idempotent,
        retried,
        transactional,
        ..
    } = call
    else {
        return flat;
    };
    Flat {
        acks: Some(acks_word(acks)),
        first_value: Some(first_value),
        count: Some(count),
        damaged: damaged.then_some(true),
        timestamp_us: created.map(|time| time.0),
        idempotent: idempotent.then_some(true),
        retries: (!idempotent && !retried && !transactional).then_some(0),
        txn: transactional.then_some(op),
        ..flat
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

fn owned<'a>(text: &str) -> Option<Text<'a>> {
    Some(Text(Cow::Owned(String::from(text))))
}

/// By this producer.
fn by(
    id: Option<TransactionalId>,
    producer: Option<(ProducerId, ProducerEpoch)>,
    flat: Flat<'_>,
) -> Flat<'_> {
    Flat {
        transactional_id: id.map(|id| Text(Cow::Owned(String::from(&*id)))),
        producer_id: producer.map(|(id, _)| id.0),
        producer_epoch: producer.map(|(_, epoch)| epoch.0),
        ..flat
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
