//! What the judge reads from keys and bytes in the store and on the devices. Keys are read here once
//! more, from their definition; bodies by the core's decoders, whose checksums tell damage.

use alloc::vec::Vec;

use broker_core::batch;
use broker_core::ids::{BrokerEpoch, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, QuorumEpoch};
use broker_core::step::Key;
use bytes::Bytes;

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ballot {
    pub(crate) epoch: QuorumEpoch,
    pub(crate) voted: Option<NodeId>,
}

/// A record as the final log holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Stored {
    pub(crate) offset: Offset,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) value: Option<u64>,
    pub(crate) timestamp_us: i64,
    pub(crate) intact: bool,
}

/// The records of one stored batch. A damaged batch gives one damaged record per offset it claims.
pub(crate) fn records(bytes: &Bytes) -> Option<(Offset, Offset, Option<LeaderEpoch>, Vec<Stored>)> {
    let header = batch::Header::parse(bytes).ok()?;
    let epoch = header.leader_epoch.unwrap_or_default();
    let (base, end) = (header.base_offset, header.end_offset());
    let sound = batch::verify(bytes).is_ok();
    let mut stored = Vec::new();
    for record in batch::records(bytes) {
        let record = record.ok()?;
        let value = record.value.and_then(|value| value.first_chunk::<8>());
        let value = value.map(|value| u64::from_be_bytes(*value));
        let timestamp_us = record.timestamp.wall().0;
        stored.push(Stored { offset: record.offset, epoch, value, timestamp_us, intact: sound });
    }
    Some((base, end, header.leader_epoch, stored))
}
