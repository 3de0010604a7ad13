//! What the judge reads from keys and bytes in the store and on the devices. Keys are read here
//! once more, from their definition; bodies by the core's decoders, whose checksums tell damage.

use alloc::vec::Vec;

use broker_core::batch::{self, ProducerStamp};
use broker_core::coordinator::LogRecord;
use broker_core::coordinator::txn::TxnRecord;
use broker_core::format::FormatError;
use broker_core::ids::{
    BrokerEpoch, CoordinatorEpoch, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, ProducerEpoch,
    ProducerId, QuorumEpoch, Sequence, StreamId,
};
use broker_core::object::{BlockRecord, decode_object};
use broker_core::protocol::TransactionResult;
use broker_core::quorum::format::{ElectionState, decode_state};
use broker_core::step::Key;
use broker_core::wal::WalRecord;
use broker_core::wal::record::{decode_wal_header, decode_wal_object};
use bytes::Bytes;

use crate::view::View;

/// What a key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    /// `wal/<node>/<epoch>/<start>-<end>`.
    Wal { node: NodeId, epoch: BrokerEpoch, start: Lsn, end: Lsn },
    /// `claim/<of>/<number>`.
    Claim { of: NodeId, number: u64 },
    /// `obj/<id>`.
    Data(ObjectId),
}

/// Reads a key.
pub(crate) fn named(key: &Key) -> Option<Named> {
    let mut parts = key.0.split('/');
    let kind = parts.next()?;
    let first: u64 = parts.next()?.parse().ok()?;
    let name = match kind {
        "wal" => {
            let epoch = BrokerEpoch(parts.next()?.parse().ok()?);
            let (start, end) = parts.next()?.split_once('-')?;
            let (start, end) = (Lsn(start.parse().ok()?), Lsn(end.parse().ok()?));
            Named::Wal { node: NodeId(u16::try_from(first).ok()?), epoch, start, end }
        }
        "claim" => {
            let number = parts.next()?.parse().ok()?;
            Named::Claim { of: NodeId(u16::try_from(first).ok()?), number }
        }
        "obj" => Named::Data(ObjectId(first)),
        _ => return None,
    };
    parts.next().is_none().then_some(name)
}

/// What a list's prefix is about.
pub(crate) fn listed(prefix: &Key) -> Option<(bool, NodeId)> {
    let mut parts = prefix.0.split('/');
    let claims = match parts.next()? {
        "claim" => true,
        "wal" => false,
        _ => return None,
    };
    Some((claims, NodeId(parts.next()?.parse().ok()?)))
}

/// A voter's state file.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ballot {
    pub(crate) epoch: QuorumEpoch,
    pub(crate) leader: Option<NodeId>,
    pub(crate) voted: Option<NodeId>,
}

/// Reads a voter's state file.
pub(crate) fn ballot(state: &[u8]) -> Option<Ballot> {
    let ElectionState { epoch, leader, voted } = decode_state(state).ok()?;
    Some(Ballot { epoch, leader, voted })
}

/// The trim position that a WAL object's header carries.
pub(crate) fn trim_of(object: &[u8]) -> Option<Lsn> {
    decode_wal_header(object).ok().map(|header| header.trim)
}

/// A batch in a WAL or data object, as its container names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Contained {
    pub(crate) stream: StreamId,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) batch: Bytes,
}

/// The batches of a WAL object, in lsn order.
fn wal_batches(object: &Bytes) -> Option<Vec<Contained>> {
    let (_, records) = decode_wal_object(object).ok()?;
    let contained = |record: WalRecord| {
        let WalRecord { stream, epoch, base, end, batch } = record;
        Contained { stream, epoch, base, end, batch }
    };
    Some(records.into_iter().map(contained).collect())
}

/// The batches of a data object, in the order of its index.
pub(crate) fn data_batches(object: &Bytes) -> Result<Vec<Contained>, FormatError> {
    let mut all = Vec::new();
    for (entry, records) in decode_object(object)? {
        for BlockRecord { base, end, batch } in records {
            let (stream, epoch) = (entry.stream, entry.epoch);
            all.push(Contained { stream, epoch, base, end, batch });
        }
    }
    Ok(all)
}

/// A record as the final log holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stored {
    pub(crate) offset: Offset,
    /// Unknown only of records that are known from reads.
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) value: Option<u64>,
    pub(crate) timestamp_us: Option<i64>,
    pub(crate) intact: bool,
    /// A marker's, or another broker's own.
    pub(crate) control: bool,
}

/// How an idempotent producer numbered a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Numbered {
    pub(crate) id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) first: Sequence,
    pub(crate) count: u32,
    pub(crate) base: Offset,
    pub(crate) transactional: bool,
}

/// What a batch's header, and a marker's record, say of its producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    pub(crate) producer: Option<(ProducerId, ProducerEpoch)>,
    pub(crate) numbered: Option<Numbered>,
    pub(crate) transactional: bool,
    pub(crate) control: bool,
    /// Whether it commits, and its coordinator's epoch.
    pub(crate) marker: Option<(bool, CoordinatorEpoch)>,
}

/// A stored batch: its own offsets and epoch, and its records. Nothing if it can not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: Option<LeaderEpoch>,
    pub(crate) entry: Entry,
    pub(crate) records: Vec<Stored>,
}

/// Reads a stored batch.
pub(crate) fn batch(bytes: &Bytes) -> Option<Batch> {
    let header = batch::Header::parse(bytes).ok()?;
    let epoch = Some(header.leader_epoch.unwrap_or_default());
    let intact = batch::verify(bytes).is_ok();
    let control = header.attributes.control();
    let mut records = Vec::new();
    for record in batch::records(bytes) {
        let record = record.ok()?;
        let value = record.value.and_then(|value| value.first_chunk::<8>());
        let value = value.filter(|_| !control).map(|value| u64::from_be_bytes(*value));
        let timestamp_us = Some(record.timestamp.wall().0);
        records.push(Stored { offset: record.offset, epoch, value, timestamp_us, intact, control });
    }
    Some(Batch { epoch: header.leader_epoch, entry: entry(bytes, &header), records })
}

/// The batches of a WAL object, if it is in the store.
pub(crate) fn wal_object(
    view: &dyn View,
    (node, epoch): (NodeId, BrokerEpoch),
    (start, end): (Lsn, Lsn),
) -> Option<Vec<Contained>> {
    let key = alloc::format!("wal/{node}/{:020}/{:020}-{:020}", epoch.0, start.0, end.0);
    wal_batches(&view.object(&Key(key.into()))?)
}

/// A data object, if it is in the store.
pub(crate) fn data_object(view: &dyn View, object: ObjectId) -> Option<Bytes> {
    view.object(&Key(alloc::format!("obj/{:020}", object.0).into()))
}

/// What a stored batch says, if it is of a transaction, or a marker.
pub(crate) fn transactional(bytes: &Bytes) -> Option<Entry> {
    let header = batch::Header::parse(bytes).ok()?;
    header.attributes.transactional().then(|| entry(bytes, &header))
}

/// The records of a transaction coordinator in a stored batch; `None`: they can not be read.
pub(crate) fn txn_records(bytes: &Bytes) -> Option<Vec<TxnRecord>> {
    let decoded = batch::records(bytes).map(|record| {
        let record = record.ok()?;
        TxnRecord::decode(record.key?, record.value).ok()
    });
    decoded.collect()
}

fn entry(bytes: &Bytes, header: &batch::Header) -> Entry {
    let control = header.attributes.control();
    let (base, end) = (header.base_offset, header.end_offset());
    let ProducerStamp { id, epoch, base_sequence } = header.producer;
    let id = u64::try_from(id).ok().map(ProducerId);
    let producer = id.map(|id| (id, ProducerEpoch(epoch)));
    let first = u32::try_from(base_sequence).ok().map(Sequence);
    let transactional = header.attributes.transactional();
    let numbered = producer.zip(first).map(|((id, epoch), first)| {
        let count = header.records;
        Numbered { id, epoch, first, count, base, transactional }
    });
    let marker = batch::Marker::read(bytes, header)
        .map(|marker| (marker.result == TransactionResult::Commit, marker.coordinator_epoch));
    Entry { base, end, producer, numbered, transactional, control, marker }
}
