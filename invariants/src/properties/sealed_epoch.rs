//! W4 SealedEpoch: a recoverer works from a list that began behind its claim, takes nothing from an
//! object that landed behind that list, and nothing that is not in the WAL of the epoch it recovers:
//! what a zombie put when its own epoch was sealed lies under other keys. Source: AutoMQ ObjectUtils.skipOverlapObjects, 8c333115a2.

use broker_core::ids::{BrokerEpoch, Lsn, NodeId, Offset, StreamId};

use crate::facts::ledger::Seal;
use crate::facts::wals::{Takeover, WalFacts};
use crate::{Check, require};

/// A record taken into an upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) of: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) lsn: Lsn,
    pub(crate) stream: StreamId,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

/// A recoverer has listed a WAL.
pub(crate) fn listed(of: NodeId, takeover: &Takeover) -> Check {
    let Takeover { claimed, listed, .. } = *takeover;
    require!(
        claimed.zip(listed).is_some_and(|(claimed, (first, _))| claimed < first),
        W4,
        "recovery",
        "the WAL of node {of} was listed at events {listed:?}, claimed at event {claimed:?}"
    );
    Ok(())
}

/// A recoverer takes a record.
pub(crate) fn took(
    taken: Taken,
    wal: Option<&WalFacts>,
    seal: Option<Seal>,
    takeover: &Takeover,
) -> Check {
    let Taken { of, epoch, lsn, stream, base, end } = taken;
    // A recoverer that does not know yet may go on; its commits are refused, which is O4's matter.
    if seal.is_some() {
        return Ok(());
    }
    let Some((wal, (key, object))) = wal.and_then(|wal| Some((wal, wal.object_at(lsn)?))) else {
        require!(false, W4, "recovery", "node {of}, WAL {epoch}: no object holds record {lsn}");
        return Ok(());
    };
    let put = object.put_first.unwrap_or(u64::MAX);
    let listed = takeover.listed;
    require!(
        listed.is_some_and(|(_, last)| put < last),
        W4,
        "recovery",
        "node {of}, WAL {epoch}: record {lsn} taken from {key:?}, put at event {put}, listed at \
         {listed:?}"
    );
    let known = wal.record(lsn);
    require!(
        known.is_none_or(|known| (known.stream, known.base, known.end) == (stream, base, end)),
        W4,
        "recovery",
        "node {of}, WAL {epoch}: record {lsn} was confirmed as {known:?}, taken as stream {stream} \
         [{base}, {end})"
    );
    Ok(())
}
