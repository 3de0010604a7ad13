//! Which fields a line must have and may have, by its type and by what is called.

use super::fields::{Field, Fields, Function, Type};

/// The fields of a kind of line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) must: Fields,
    pub(super) may: Fields,
}

const CALL: &[Field] = &[Field::Type, Field::Time, Field::Client, Field::Call];
const ALWAYS: Fields = Fields::of(CALL).and(Fields::of(&[Field::Op, Field::Function]));

const fn shape(must: &[Field], may: &[Field]) -> Shape {
    let must = Fields::of(must).and(Fields::of(CALL));
    Shape { must, may: must.and(Fields::of(may)).and(ALWAYS) }
}

/// The shape of a line of this type about this call.
pub(super) fn of(type_: Type, function: Function) -> Shape {
    use Field::{
        Acks, At, Commit, Count, Damaged, Deletes, Epoch, Error, FirstValue, Generation, Group,
        HighWatermark, Idempotent, Isolation, LastStable, LeaderEpoch, LogAppendTime, LogStart,
        Member, Offset, Offsets, Partition, Partitions, ProducerEpoch, ProducerId, Reader, Records,
        RequireStable, Retries, Skipped, Timeout, Timestamp, Topic, Transactional, TransactionalId,
        Txn,
    };
    match (type_, function) {
        (Type::Invoke, Function::Produce) => shape(
            &[Field::Function, Topic, Partition, FirstValue, Count],
            &[Acks, Damaged, Idempotent, Retries, Txn, TransactionalId, Timestamp],
        ),
        (Type::Invoke, Function::AddPartitions) => {
            shape(&[Field::Function, Txn, Topic, Partition], &[TransactionalId])
        }
        (Type::Invoke, Function::AddOffsets) => {
            shape(&[Field::Function, Txn, Group], &[TransactionalId])
        }
        (Type::Invoke, Function::EndTxn) => {
            shape(&[Field::Function, Txn, Commit], &[ProducerId, ProducerEpoch, TransactionalId])
        }
        (Type::Invoke, Function::InitProducerId) => shape(
            &[Field::Function],
            &[Transactional, TransactionalId, Timeout, ProducerId, ProducerEpoch],
        ),
        (Type::Invoke, Function::Fetch) => {
            shape(&[Field::Function, Topic, Partition, Offset], &[Reader, LeaderEpoch, Isolation])
        }
        (Type::Invoke, Function::ListOffsets) => {
            shape(&[Field::Function, Topic, Partition, At], &[Timestamp, LeaderEpoch, Isolation])
        }
        (Type::Invoke, Function::EpochEnd) => {
            shape(&[Field::Function, Topic, Partition, Epoch], &[LeaderEpoch])
        }
        (Type::Invoke, Function::Admin) => shape(&[Field::Function], &[Topic, Deletes]),
        (Type::Invoke, Function::CommitOffsets) => shape(
            &[Field::Function, Group, Offsets],
            &[Member, Generation, Txn, TransactionalId, ProducerId, ProducerEpoch],
        ),
        (Type::Invoke, Function::FetchOffsets) => {
            shape(&[Field::Function, Group, Partitions], &[RequireStable])
        }
        (Type::Invoke, Function::SyncGroup) => {
            shape(&[Field::Function, Group, Member, Generation], &[])
        }
        (Type::Ok, Function::CommitOffsets) => shape(&[], &[]),
        (Type::Ok, Function::FetchOffsets) => shape(&[Offsets], &[]),
        (Type::Ok, Function::SyncGroup) => shape(&[Partitions], &[]),
        (Type::Ok, Function::Produce) => shape(&[], &[Offset, LogAppendTime]),
        (Type::Ok, Function::AddPartitions | Function::AddOffsets | Function::EndTxn) => {
            shape(&[], &[])
        }
        (Type::Ok, Function::InitProducerId) => shape(&[ProducerId], &[ProducerEpoch]),
        (Type::Ok, Function::Fetch) => {
            shape(&[Records], &[HighWatermark, LastStable, LogStart, Skipped])
        }
        (Type::Ok, Function::ListOffsets) => shape(&[], &[Offset, Timestamp, LeaderEpoch]),
        (Type::Ok, Function::EpochEnd) => shape(&[], &[Epoch, Offset]),
        (Type::Ok, Function::Admin) => shape(&[], &[Topic]),
        (Type::Fail | Type::Unknown, _) => shape(&[], &[Error]),
        (Type::GaveUp | Type::Settled, _) => shape(&[], &[]),
    }
}

/// The shape of `settled`, which is no client's.
pub(super) const SETTLED: Shape = {
    let fields = Fields::of(&[Field::Type, Field::Time]);
    Shape { must: fields, may: fields }
};
