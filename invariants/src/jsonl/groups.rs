//! From a line to an event, of calls about groups.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex, TopicPartition};
use broker_core::protocol::Generation;

use super::Reader;
use super::fields::{Field, Flat, Function, Part, Text};
use super::read::{EPOCH_MAX, Read, identity, offset, transactional_id, wrong};
use crate::history::Call;

pub(super) fn invoked(reader: &mut Reader, flat: &Flat<'_>, function: Function) -> Read<Call> {
    let (group, member) = (text(flat.group.as_ref()), text(flat.member.as_ref()));
    let generation = match flat.generation {
        Some(generation) if generation < 0 => return Err(wrong(Field::Generation, generation)),
        known => known.map_or(Generation::NONE, Generation),
    };
    Ok(match function {
        Function::FetchOffsets => {
            let require_stable = flat.require_stable.unwrap_or_default();
            Call::FetchOffsets { group, partitions: partitions(reader, flat)?, require_stable }
        }
        Function::SyncGroup => Call::SyncGroup { group, member, instance: None, generation },
        Function::AddOffsets => {
            reader.order.write(flat.txn.unwrap_or_default())?;
            Call::AddOffsets { group, id: transactional_id(reader, flat)? }
        }
        _ => {
            if let Some(txn) = flat.txn {
                reader.order.write(txn)?;
            }
            let (offsets, transactional) = (commits(reader, flat)?, flat.txn.is_some());
            let (producer, id) = (identity(flat)?, transactional_id(reader, flat)?);
            Call::CommitOffsets { group, member, generation, offsets, transactional, producer, id }
        }
    })
}

/// What is to be committed.
fn commits(reader: &mut Reader, flat: &Flat<'_>) -> Read<Vec<(TopicPartition, Offset, Offset)>> {
    let commit = |part: &Part<'_>| {
        let at = place(reader, part, Field::Offsets)?;
        let from = offset(part.from, Field::Offsets)?;
        let upto = offset(part.upto, Field::Offsets)?;
        let Some((from, upto)) = from.zip(upto).filter(|_| part.offset.is_none()) else {
            let why = "a part without `from` or `upto`, or with `offset`";
            return Err(wrong(Field::Offsets, why));
        };
        if upto < from {
            return Err(wrong(Field::Offsets, format_args!("`from` {from} behind `upto` {upto}")));
        }
        Ok((at, from, upto))
    };
    flat.offsets.iter().flatten().map(commit).collect()
}

/// What is committed.
pub(super) fn offsets(
    reader: &mut Reader,
    flat: &Flat<'_>,
) -> Read<Vec<(TopicPartition, Option<Offset>)>> {
    let committed = |part: &Part<'_>| {
        let at = place(reader, part, Field::Offsets)?;
        if part.from.or(part.upto).is_some() {
            return Err(wrong(Field::Offsets, "a part with `from` or `upto`"));
        }
        Ok((at, offset(part.offset, Field::Offsets)?))
    };
    flat.offsets.iter().flatten().map(committed).collect()
}

pub(super) fn partitions(reader: &mut Reader, flat: &Flat<'_>) -> Read<Vec<TopicPartition>> {
    let partition = |part: &Part<'_>| {
        if part.from.or(part.upto).or(part.offset).is_some() {
            return Err(wrong(Field::Partitions, "a part with an offset"));
        }
        place(reader, part, Field::Partitions)
    };
    flat.partitions.iter().flatten().map(partition).collect()
}

fn place(reader: &mut Reader, part: &Part<'_>, field: Field) -> Read<TopicPartition> {
    if part.topic.0.is_empty() {
        return Err(wrong(field, "`topic` of a part is \"\""));
    }
    if part.partition > EPOCH_MAX {
        return Err(wrong(field, format_args!("`partition` of a part is {}", part.partition)));
    }
    let topic = reader.topics.id(&part.topic.0);
    Ok(TopicPartition { topic, index: PartitionIndex(part.partition) })
}

fn text(text: Option<&Text<'_>>) -> String {
    text.map_or_else(String::new, |text| text.0.to_string())
}
