//! From a line to an event.

use alloc::format;
use alloc::string::{String, ToString};

use broker_core::ids::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
use broker_core::protocol::{Acks, ErrorCode, Isolation, OffsetSpec};
use broker_core::time::{Dur, Wall};

use super::fields::{AcksWord, At, FIELDS, Field, Flat, Function, IsolationWord, Record, Type};
use super::order::{Begun, By, Wrong};
use super::shape::{self, Shape};
use super::{Line, OFFSET_MAX, Reader, complain, errors, groups};
use crate::history::{
    Answer, Call, EventKind, HistoryEvent, NO_PRODUCER_EPOCH, ReadRecord, SimTime, TransactionalId,
};

/// Whole numbers that every JSON library keeps exact.
const VALUE_MAX: u64 = (1 << 53) - 1;
const COUNT_MAX: u32 = 1_000_000;
pub(super) const EPOCH_MAX: u32 = i32::MAX as u32;

pub(super) type Read<T> = Result<T, Wrong>;

/// Reads a line behind the header.
pub(super) fn line(reader: &mut Reader, text: &str) -> Result<Line, String> {
    let flat: Flat<'_> =
        serde_json::from_str(text).map_err(|error| complain::about(text, &error))?;
    event(reader, flat).map_err(|fault| match fault {
        Fault::Shape(sentence) => sentence,
        Fault::Field((field, why)) => format!("field `{}`: {why}", field.name()),
    })
}

enum Fault {
    Shape(String),
    Field(Wrong),
}

impl From<Wrong> for Fault {
    fn from(wrong: Wrong) -> Self {
        Self::Field(wrong)
    }
}

fn event(reader: &mut Reader, flat: Flat<'_>) -> Result<Line, Fault> {
    let Some(type_) = flat.type_ else { return Err(missing(Field::Type as usize)) };
    let time_us = flat.time_us.ok_or_else(|| missing(Field::Time as usize))?;
    reader.order.time(time_us)?;
    if type_ == Type::Settled {
        fits(&flat, shape::SETTLED, "settled")?;
        return Ok(Line::Settled);
    }
    let client = flat.client.ok_or_else(|| missing(Field::Client as usize))?;
    let call = flat.call.ok_or_else(|| missing(Field::Call as usize))?;
    let key = (client, call);
    let (at, line) = (SimTime(time_us), reader.line);
    let done = |op: u32, kind: EventKind, began: Option<u64>| {
        Ok(Line::Event { event: HistoryEvent { at, client, call, op, kind }, began })
    };
    match type_ {
        Type::Invoke => {
            let Some(function) = flat.function else {
                return Err(missing(Field::Function as usize));
            };
            fits(&flat, shape::of(type_, function), "the invoke of this `f`")?;
            if let Some(txn) = flat.txn {
                let id = transactional_id(reader, &flat)?;
                reader.order.belongs(txn, By { client, id, line })?;
            }
            let call = invoked(reader, &flat, function)?;
            let decides = flat.txn.filter(|_| function == Function::EndTxn);
            let placed = function == Function::Produce && flat.acks != Some(AcksWord::None);
            reader.order.begin(key, Begun { function, line, placed, decides })?;
            done(flat.txn.or(flat.op).unwrap_or_default(), EventKind::Invoke(call), None)
        }
        Type::GaveUp => {
            fits(&flat, shape::of(type_, Function::Admin), "gave_up")?;
            done(flat.op.unwrap_or_default(), EventKind::GaveUp, None)
        }
        Type::Ok | Type::Fail | Type::Unknown | Type::Settled => {
            let begun = reader.order.end(key, flat.function)?;
            fits(&flat, shape::of(type_, begun.function), "the end of this call")?;
            let kind = match type_ {
                Type::Ok => EventKind::Ok(answered(reader, &flat, begun)?),
                Type::Fail => EventKind::Fail(error(&flat)?),
                _ => EventKind::Unknown(error(&flat)?),
            };
            if let Some(txn) = begun.decides {
                reader.order.decided(
                    txn,
                    match type_ {
                        Type::Ok => Some(true),
                        Type::Fail => Some(false),
                        _ => None,
                    },
                );
            }
            done(begun.decides.or(flat.op).unwrap_or_default(), kind, Some(begun.line))
        }
    }
}

fn missing(place: usize) -> Fault {
    let (name, allowed) = FIELDS[place];
    Fault::Shape(format!("field `{name}` is missing; allowed: {allowed}"))
}

fn fits(flat: &Flat<'_>, shape: Shape, what: &str) -> Result<(), Fault> {
    let present = flat.present();
    if let Some(place) = shape.must.first_outside(present) {
        return Err(missing(place));
    }
    if let Some(place) = present.first_outside(shape.may) {
        let (name, allowed) = (FIELDS[place].0, shape.may.names().join(", "));
        let why = format!("field `{name}` does not belong to {what}; allowed: {allowed}");
        return Err(Fault::Shape(why));
    }
    Ok(())
}

fn invoked(reader: &mut Reader, flat: &Flat<'_>, function: Function) -> Read<Call> {
    let leader_epoch = epoch(flat.leader_epoch, Field::LeaderEpoch)?;
    let isolation = match flat.isolation {
        Some(IsolationWord::Committed) => Isolation::ReadCommitted,
        Some(IsolationWord::Uncommitted) | None => Isolation::ReadUncommitted,
    };
    Ok(match function {
        Function::Produce => produce(reader, flat)?,
        Function::EndTxn => {
            let (txn, commit) = (flat.txn.unwrap_or_default(), flat.commit.unwrap_or_default());
            reader.order.decide(txn, commit)?;
            let id = transactional_id(reader, flat)?;
            Call::EndTxn { commit, producer: identity(flat)?, id }
        }
        Function::AddPartitions => {
            reader.order.write(flat.txn.unwrap_or_default())?;
            let id = transactional_id(reader, flat)?;
            Call::AddPartitions { partition: partition(reader, flat)?, id }
        }
        Function::InitProducerId => {
            let id = transactional_id(reader, flat)?;
            let transactional = flat.transactional.unwrap_or(id.is_some());
            if flat.timeout_us == Some(0) {
                return Err(wrong(Field::Timeout, 0));
            }
            let (timeout, expected) = (flat.timeout_us.map(Dur), identity(flat)?);
            Call::InitProducerId { transactional, id, timeout, expected }
        }
        Function::Fetch => Call::Fetch {
            partition: partition(reader, flat)?,
            offset: offset(flat.offset, Field::Offset)?.unwrap_or_default(),
            reader: flat.reader.unwrap_or_default(),
            leader_epoch,
            isolation,
        },
        Function::ListOffsets => {
            let partition = partition(reader, flat)?;
            let spec = spec(flat)?;
            Call::ListOffsets { partition, spec, leader_epoch, isolation }
        }
        Function::EpochEnd => {
            let partition = partition(reader, flat)?;
            let epoch = epoch(flat.epoch, Field::Epoch)?.unwrap_or_default();
            Call::EpochEnd { partition, epoch, leader_epoch }
        }
        Function::Admin => {
            let deletes = flat.deletes.unwrap_or_default();
            Call::Admin { topic: topic(reader, flat)?, deletes }
        }
        Function::AddOffsets
        | Function::CommitOffsets
        | Function::FetchOffsets
        | Function::SyncGroup => groups::invoked(reader, flat, function)?,
    })
}

fn produce(reader: &mut Reader, flat: &Flat<'_>) -> Read<Call> {
    let partition = partition(reader, flat)?;
    let (first_value, count) = (flat.first_value.unwrap_or_default(), flat.count.unwrap_or(1));
    if count == 0 || count > COUNT_MAX {
        return Err(wrong(Field::Count, count));
    }
    if first_value > VALUE_MAX - u64::from(count) {
        return Err(wrong(Field::FirstValue, first_value));
    }
    reader.order.send(first_value, count)?;
    if let Some(txn) = flat.txn {
        reader.order.write(txn)?;
    }
    let acks = match flat.acks {
        Some(AcksWord::All) | None => Acks::All,
        Some(AcksWord::Leader) => Acks::Leader,
        Some(AcksWord::None) => Acks::None,
    };
    if let Some(retries) = flat.retries.filter(|retries| *retries > i32::MAX as u32) {
        return Err(wrong(Field::Retries, u64::from(retries)));
    }
    let (idempotent, transactional) = (flat.idempotent.unwrap_or_default(), flat.txn.is_some());
    Ok(Call::Produce {
        partition,
        acks,
        first_value,
        count,
        damaged: flat.damaged.unwrap_or_default(),
        created: wall(flat.timestamp_us, Field::Timestamp)?,
        idempotent,
        retried: !idempotent && !transactional && flat.retries != Some(0),
        transactional,
        id: transactional_id(reader, flat)?,
    })
}

fn spec(flat: &Flat<'_>) -> Read<OffsetSpec> {
    let time = wall(flat.timestamp_us, Field::Timestamp)?;
    match (flat.at.unwrap_or(At::Latest), time) {
        (At::Latest, None) => Ok(OffsetSpec::Latest),
        (At::Earliest, None) => Ok(OffsetSpec::Earliest),
        (At::Max, None) => Ok(OffsetSpec::MaxTimestamp),
        (At::Time, Some(time)) => Ok(OffsetSpec::At(time)),
        (At::Time, None) => {
            Err((Field::Timestamp, "missing; allowed: with \"at\": \"timestamp\"".to_string()))
        }
        (At::Latest | At::Earliest | At::Max, Some(time)) => {
            let why = format!("{}; allowed: only with \"at\": \"timestamp\"", time.0);
            Err((Field::Timestamp, why))
        }
    }
}

/// A producer, if the line names one: its id and its epoch.
pub(super) fn identity(flat: &Flat<'_>) -> Read<Option<(ProducerId, ProducerEpoch)>> {
    match (flat.producer_id, flat.producer_epoch) {
        (None, None) => Ok(None),
        (Some(id), Some(epoch)) => producer(id, epoch).map(Some),
        (Some(id), None) => {
            let why = format!("{id} without `producer_epoch`; allowed: both, or none of them");
            Err((Field::ProducerId, why))
        }
        (None, Some(epoch)) => {
            let why = format!("{epoch} without `producer_id`; allowed: both, or none of them");
            Err((Field::ProducerEpoch, why))
        }
    }
}

fn producer(id: u64, epoch: i16) -> Read<(ProducerId, ProducerEpoch)> {
    if i64::try_from(id).is_err() {
        return Err(wrong(Field::ProducerId, id));
    }
    if epoch < 0 {
        return Err(wrong(Field::ProducerEpoch, epoch));
    }
    Ok((ProducerId(id), ProducerEpoch(epoch)))
}

/// The code of the error that the line names, if this broker has it.
fn error(flat: &Flat<'_>) -> Read<Option<ErrorCode>> {
    let Some(name) = &flat.error else { return Ok(None) };
    errors::code(&name.0).ok_or_else(|| wrong(Field::Error, format_args!("{:?}", name.0)))
}

fn answered(reader: &mut Reader, flat: &Flat<'_>, begun: Begun) -> Read<Answer> {
    let offset = offset(flat.offset, Field::Offset)?;
    Ok(match begun.function {
        Function::Produce => match offset {
            Some(base) => {
                let time = wall(flat.log_append_time_us, Field::LogAppendTime)?;
                Answer::Produced { base, log_append_time: time }
            }
            None if begun.placed => {
                let why = "missing; allowed: nothing else where acks is not \"0\" (a client that \
                    does not see it writes `unknown`)";
                return Err((Field::Offset, why.to_string()));
            }
            None => Answer::Done,
        },
        Function::AddPartitions | Function::AddOffsets | Function::EndTxn => Answer::Done,
        Function::InitProducerId => {
            let (id, told) = (flat.producer_id.unwrap_or_default(), flat.producer_epoch);
            let (id, epoch) = producer(id, told.unwrap_or_default())?;
            Answer::ProducerId(id, told.map_or(NO_PRODUCER_EPOCH, |_| epoch))
        }
        Function::Fetch => fetched(flat)?,
        Function::ListOffsets => {
            let time = wall(flat.timestamp_us, Field::Timestamp)?;
            let epoch = epoch(flat.leader_epoch, Field::LeaderEpoch)?;
            Answer::Listed(offset.map(|offset| (offset, time, epoch)))
        }
        Function::EpochEnd => match (epoch(flat.epoch, Field::Epoch)?, offset) {
            (Some(epoch), Some(end)) => Answer::EpochEnd(Some((epoch, end))),
            (None, None) => Answer::EpochEnd(None),
            (Some(_), None) | (None, Some(_)) => {
                let why = "alone; allowed: `epoch` and `offset`, or none of them";
                return Err((Field::Epoch, why.to_string()));
            }
        },
        Function::Admin => match topic(reader, flat)? {
            Some(topic) => Answer::Created(topic),
            None => Answer::Done,
        },
        Function::CommitOffsets => Answer::Done,
        Function::FetchOffsets => Answer::Offsets(groups::offsets(reader, flat)?),
        Function::SyncGroup => Answer::Assigned(groups::partitions(reader, flat)?),
    })
}

fn fetched(flat: &Flat<'_>) -> Read<Answer> {
    let records = flat.records.as_deref().unwrap_or_default();
    let records: Read<_> = records.iter().map(record).collect();
    let skipped = flat.skipped.as_deref().map(|skipped| {
        let mut before = 0;
        let ranges = skipped.iter().map(|&(from, upto)| {
            if from < before || upto <= from || upto > OFFSET_MAX {
                return Err(wrong(Field::Skipped, format_args!("[{from}, {upto}]")));
            }
            before = upto;
            Ok((Offset(from), Offset(upto)))
        });
        ranges.collect()
    });
    Ok(Answer::Fetched {
        high_watermark: offset(flat.high_watermark, Field::HighWatermark)?,
        last_stable: offset(flat.last_stable, Field::LastStable)?,
        log_start: offset(flat.log_start, Field::LogStart)?,
        records: records?,
        skipped: skipped.transpose()?,
    })
}

fn record(record: &Record) -> Read<ReadRecord> {
    let bad = |what: &str, value: &dyn core::fmt::Display| {
        Err(wrong(Field::Records, format_args!("`{what}` of a record is {value}")))
    };
    if record.offset >= OFFSET_MAX {
        return bad("offset", &record.offset);
    }
    if let Some(epoch) = record.leader_epoch.filter(|epoch| *epoch > EPOCH_MAX) {
        return bad("leader_epoch", &epoch);
    }
    if let Some(time) = record.timestamp_us.filter(|time| *time < 0) {
        return bad("timestamp_us", &time);
    }
    if let Some(value) = record.value.filter(|value| *value > VALUE_MAX) {
        return bad("value", &value);
    }
    Ok(ReadRecord {
        offset: Offset(record.offset),
        value: record.value,
        timestamp: record.timestamp_us.map(Wall),
        leader_epoch: record.leader_epoch.map(LeaderEpoch),
        intact: record.intact.unwrap_or(true),
    })
}

fn partition(reader: &mut Reader, flat: &Flat<'_>) -> Read<TopicPartition> {
    let index = flat.partition.unwrap_or_default();
    if index > EPOCH_MAX {
        return Err(wrong(Field::Partition, index));
    }
    let topic = topic(reader, flat)?.unwrap_or_default();
    Ok(TopicPartition { topic, index: PartitionIndex(index) })
}

fn topic(reader: &mut Reader, flat: &Flat<'_>) -> Read<Option<TopicId>> {
    let Some(name) = &flat.topic else { return Ok(None) };
    if name.0.is_empty() {
        return Err(wrong(Field::Topic, "\"\""));
    }
    Ok(Some(reader.topics.id(&name.0)))
}

pub(super) fn transactional_id(
    reader: &mut Reader,
    flat: &Flat<'_>,
) -> Read<Option<TransactionalId>> {
    let Some(name) = &flat.transactional_id else { return Ok(None) };
    if name.0.is_empty() {
        return Err(wrong(Field::TransactionalId, "\"\""));
    }
    Ok(Some(reader.transactional_id(&name.0)))
}

pub(super) fn offset(offset: Option<u64>, field: Field) -> Read<Option<Offset>> {
    match offset {
        Some(offset) if offset >= OFFSET_MAX => Err(wrong(field, offset)),
        known => Ok(known.map(Offset)),
    }
}

fn epoch(epoch: Option<u32>, field: Field) -> Read<Option<LeaderEpoch>> {
    match epoch {
        Some(epoch) if epoch > EPOCH_MAX => Err(wrong(field, epoch)),
        known => Ok(known.map(LeaderEpoch)),
    }
}

fn wall(time_us: Option<i64>, field: Field) -> Read<Option<Wall>> {
    match time_us {
        Some(time_us) if time_us < 0 => Err(wrong(field, time_us)),
        known => Ok(known.map(Wall)),
    }
}

pub(super) fn wrong(field: Field, value: impl core::fmt::Display) -> Wrong {
    (field, format!("{value}; allowed: {}", field.allowed()))
}
