//! Transactions in the language for evidence: of one producer, client 1, by the transactional id
//! "t", in one or two partitions.

use alloc::vec;

use broker_core::batch::{
    Marker, NewRecord, ProducerStamp, TimestampMs, build, build_transactional, stamp,
};
use broker_core::ids::{
    CoordinatorEpoch, LeaderEpoch, ObjectId, Offset, PartitionEpoch, PartitionIndex, ProducerEpoch,
    ProducerId, StreamId, TopicPartition,
};
use broker_core::metadata::record::{CommittedRange, ObjectKind, Record};
use broker_core::object::{BlockRecord, Builder, ObjectHeader};
use broker_core::probe::Probe;
use broker_core::protocol::{ErrorCode, Isolation, TransactionResult};
use broker_core::step::Flow;
use broker_core::time::Dur;
use bytes::Bytes;

use super::{A, A_EPOCH, Case, Opened, P, S, none, prepare, produce_in_transaction, read, time_of};
use crate::history::{Answer, Call, EventKind};

/// A second partition, and its stream.
pub(crate) const Q: TopicPartition = TopicPartition { topic: P.topic, index: PartitionIndex(1) };
/// How long a transaction may take.
pub(crate) const TIMEOUT_US: u64 = 10_000_000;
const Q_STREAM: StreamId = StreamId(1);

/// One batch of the final log, of producer 7; each takes one offset.
#[derive(Clone, Copy)]
pub(crate) enum Txn {
    /// A record with this sequence number and value.
    Data(i32, u64),
    /// A record of no transaction and no producer, with this value.
    Plain(u64),
    /// A marker that commits or aborts.
    End(bool),
    /// An abort marker of the coordinator of this epoch.
    EndBy(u32),
}

impl Case {
    /// A transaction begins; its number.
    pub(crate) fn begins(&mut self) -> u32 {
        self.op += 1;
        // A client knows both partitions, or nobody judges them.
        for partition in [P, Q] {
            let (offset, leader_epoch) = (Offset(0), Some(LeaderEpoch(0)));
            let isolation = Isolation::ReadUncommitted;
            let call = Call::Fetch { partition, offset, reader: 9, leader_epoch, isolation };
            let opened = self.invoke(9, call);
            self.unknown(opened);
        }
        self.op
    }

    /// A leads the partition, with these offsets.
    pub(crate) fn leads(&mut self, last_stable: u64, high_watermark: u64) -> &mut Self {
        let (partition, epoch, next) = (P, LeaderEpoch(0), Offset(0));
        self.probe(A, &Probe::PartitionOpened { partition, stream: S, epoch, next });
        self.probe(
            A,
            &Probe::PartitionOffsets {
                partition,
                epoch,
                log_start: Offset(0),
                last_stable: Offset(last_stable),
                high_watermark: Offset(high_watermark),
                log_end: Offset(high_watermark),
            },
        );
        self
    }

    /// A batch of the transaction is acknowledged at `base`.
    pub(crate) fn writes(
        &mut self,
        txn: u32,
        partition: TopicPartition,
        first_value: u64,
        count: u32,
        base: u64,
    ) -> &mut Self {
        let opened = self.asks_write(txn, partition, first_value, count);
        self.placed(opened, base)
    }

    fn asks_write(
        &mut self,
        txn: u32,
        partition: TopicPartition,
        first_value: u64,
        count: u32,
    ) -> Opened {
        self.op = txn;
        let id = Some("t".into());
        self.invoke(1, produce_in_transaction(partition, first_value, count, id))
    }

    /// Its end is asked for, and done.
    pub(crate) fn ends(&mut self, txn: u32, commit: bool) -> &mut Self {
        let opened = self.asks_end(txn, commit);
        self.ok(opened, Answer::Done)
    }

    /// Its end is asked for, and nobody hears what became of that.
    pub(crate) fn ends_unknown(&mut self, txn: u32, commit: bool) -> &mut Self {
        let opened = self.asks_end(txn, commit);
        self.unknown(opened)
    }

    /// What follows is of this operation.
    pub(crate) fn op(&mut self, op: u32) -> &mut Self {
        self.op = op;
        self
    }

    /// Its end is asked for.
    pub(crate) fn asks_end(&mut self, txn: u32, commit: bool) -> Opened {
        self.op = txn;
        let producer = Some((ProducerId(7), ProducerEpoch(0)));
        self.invoke(1, Call::EndTxn { commit, producer, id: Some("t".into()) })
    }

    /// The producer of the transactional id, of this epoch.
    pub(crate) fn identity(epoch: i16) -> (ProducerId, ProducerEpoch) {
        (ProducerId(7), ProducerEpoch(epoch))
    }

    pub(crate) fn became(epoch: i16) -> Answer {
        let (producer, epoch) = Self::identity(epoch);
        Answer::ProducerId(producer, epoch)
    }

    /// The client asks to become the producer of the transactional id, or to go on as that.
    pub(crate) fn asks_to_become(
        &mut self,
        client: u16,
        expected: Option<(ProducerId, ProducerEpoch)>,
    ) -> Opened {
        let (transactional, id) = (true, Some("t".into()));
        let timeout = Some(Dur(TIMEOUT_US));
        self.invoke(client, Call::InitProducerId { transactional, id, timeout, expected })
    }

    /// It does, and gets this epoch.
    pub(crate) fn becomes(&mut self, client: u16, epoch: i16) -> &mut Self {
        let asks = self.asks_to_become(client, None);
        self.ok(asks, Self::became(epoch))
    }

    /// The commit of the transaction is refused.
    pub(crate) fn end_refused(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        let asks = self.asks_end(txn, true);
        self.fail(asks, code)
    }

    /// It is refused, and an earlier attempt of it was not.
    pub(crate) fn end_refused_in_doubt(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        let asks = self.asks_end(txn, true);
        self.history(asks, EventKind::Unknown(Some(code)))
    }

    /// A batch of the transaction is refused.
    pub(crate) fn write_refused(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        let asks = self.asks_write(txn, P, 900, 1);
        self.fail(asks, code)
    }

    /// A partition may not become part of the transaction.
    pub(crate) fn adding_refused(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        self.op = txn;
        let asks = self.invoke(1, Call::AddPartitions { partition: P, id: Some("t".into()) });
        self.fail(asks, code)
    }

    /// Offsets of a group may not.
    pub(crate) fn adding_offsets_refused(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        self.op = txn;
        let asks = self.invoke(1, Call::AddOffsets { group: "g".into(), id: Some("t".into()) });
        self.fail(asks, code)
    }

    /// They are not taken.
    pub(crate) fn offsets_refused(&mut self, txn: u32, code: ErrorCode) -> &mut Self {
        let asks = self.asks_commit(1, ("", -1), &[(P, 0, 1)], Some(txn));
        self.fail(asks, code)
    }

    /// Client 2 reads what is committed from the start: `(offset, value, epoch)`s, and what it
    /// steps over.
    pub(crate) fn reads_committed(
        &mut self,
        last_stable: u64,
        high_watermark: u64,
        records: &[(u64, u64, u32)],
        skipped: &[(u64, u64)],
    ) -> &mut Self {
        let (offset, leader_epoch) = (Offset(0), Some(LeaderEpoch(0)));
        let isolation = Isolation::ReadCommitted;
        let call = Call::Fetch { partition: P, offset, reader: 1, leader_epoch, isolation };
        let opened = self.invoke(2, call);
        let records = records.iter().map(|&(offset, value, epoch)| read(offset, value, epoch));
        let skipped = skipped.iter().map(|&(from, upto)| (Offset(from), Offset(upto)));
        self.ok(
            opened,
            Answer::Fetched {
                high_watermark: Some(Offset(high_watermark)),
                last_stable: Some(Offset(last_stable)),
                log_start: Some(Offset(0)),
                records: records.collect(),
                skipped: Some(skipped.collect()),
            },
        )
    }

    /// A commits an object with these batches: all of the partition's log.
    pub(crate) fn log(&mut self, partition: TopicPartition, batches: &[Txn]) -> &mut Self {
        let (object, stream) = if partition == P { (0, S) } else { (1, Q_STREAM) };
        if partition != P {
            self.opens(partition, stream);
        }
        let batches = (0..).zip(batches);
        let batches = batches.map(|(base, it)| stamp(it.encode(), Offset(base), LeaderEpoch(0)));
        self.log_in_object(object, stream, batches)
    }

    /// A leads a partition more, in its first epoch.
    pub(super) fn opens(&mut self, partition: TopicPartition, stream: StreamId) -> &mut Self {
        let (replica, epoch) = (Some(A), LeaderEpoch(0));
        self.meta(vec![
            Record::Partition { partition, stream, replica },
            Record::OpenStream { stream, epoch, node: A, broker_epoch: A_EPOCH },
            Record::PartitionChange {
                partition,
                replica,
                leader: replica,
                leader_epoch: epoch,
                partition_epoch: PartitionEpoch(1),
            },
        ])
    }

    /// A commits an object with a stream's whole log: batches of its first epoch, each of one
    /// offset.
    pub(super) fn log_in_object(
        &mut self,
        object: u64,
        stream: StreamId,
        batches: impl Iterator<Item = Bytes>,
    ) -> &mut Self {
        let epoch = LeaderEpoch(0);
        self.meta(vec![prepare(object, A, A_EPOCH)]);
        let mut builder = Builder::default();
        let mut log_end = Offset(0);
        for batch in batches {
            let base = log_end;
            log_end = Offset(base.0 + 1);
            builder.push(stream, epoch, BlockRecord { base, end: log_end, batch });
        }
        let body = builder.encode(ObjectHeader { node: A, epoch: A_EPOCH, nonce: 1 }, none());
        self.put(A, Flow::Upload, &alloc::format!("obj/{object:020}"), body);
        self.meta(vec![Record::CommitObject {
            object: ObjectId(object),
            kind: ObjectKind::Stream,
            size: 1,
            ranges: vec![CommittedRange { stream, epoch, start: Offset(0), end: log_end }],
            wal_node: A,
            wal_epoch: A_EPOCH,
        }])
    }
}

impl Txn {
    fn encode(self) -> Bytes {
        let ends = |result, coordinator_epoch| {
            let (producer, epoch) = (ProducerId(7), ProducerEpoch(0));
            let coordinator_epoch = CoordinatorEpoch(coordinator_epoch);
            let marker = Marker { producer, epoch, result, coordinator_epoch };
            marker.encode(TimestampMs(0))
        };
        match self {
            Self::Data(base_sequence, value) => {
                let (timestamp, bytes) = (TimestampMs::floor(time_of(value)), value.to_be_bytes());
                let record = NewRecord { timestamp, key: None, value: Some(&bytes), headers: &[] };
                let producer = ProducerStamp { id: 7, epoch: 0, base_sequence };
                build_transactional(&[record], producer)
            }
            Self::Plain(value) => {
                let (timestamp, bytes) = (TimestampMs::floor(time_of(value)), value.to_be_bytes());
                let record = NewRecord { timestamp, key: None, value: Some(&bytes), headers: &[] };
                build(&[record], ProducerStamp::NONE)
            }
            Self::End(true) => ends(TransactionResult::Commit, 0),
            Self::End(false) => ends(TransactionResult::Abort, 0),
            Self::EndBy(epoch) => ends(TransactionResult::Abort, epoch),
        }
    }
}
