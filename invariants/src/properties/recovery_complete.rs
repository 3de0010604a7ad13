//! W3 RecoveryComplete: when a WAL is sealed, every record confirmed in it is committed under its
//! own epoch; when a stream is opened again, everything ever confirmed in it is. Also a confirmation
//! that reaches its broker late must lie in what was recovered. Source: AutoMQ WALRecovery,
//! FailoverControlManager.

use broker_core::ids::{BrokerEpoch, Lsn, NodeId, Offset, StreamId};

use crate::facts::ledger::{Ledger, Seal};
use crate::facts::wals::{Confirmed, WalFacts};
use crate::{Check, require};

/// The WAL is sealed at `end`, after the records of `ledger`.
pub(crate) fn sealed(
    (node, epoch): (NodeId, BrokerEpoch),
    end: Lsn,
    wal: &WalFacts,
    ledger: &Ledger,
) -> Check {
    for (lsn, record) in wal.records(wal.committed_below, Lsn(u64::MAX)) {
        recovered((node, epoch), lsn, &record, end, ledger)?;
    }
    Ok(())
}

/// A record is confirmed in a WAL that is sealed already.
pub(crate) fn late(
    wal: (NodeId, BrokerEpoch),
    lsn: Lsn,
    record: &Confirmed,
    seal: Seal,
    ledger: &Ledger,
) -> Check {
    recovered(wal, lsn, record, seal.end, ledger)
}

fn recovered(
    (node, epoch): (NodeId, BrokerEpoch),
    lsn: Lsn,
    record: &Confirmed,
    sealed: Lsn,
    ledger: &Ledger,
) -> Check {
    let Confirmed { stream, epoch: stream_epoch, base, end } = *record;
    require!(
        ledger.covers(stream, stream_epoch, base, end),
        W3,
        "recovery",
        "node {node}, WAL {epoch}, sealed at {sealed}: record {lsn} (stream {stream}, epoch \
         {stream_epoch}, [{base}, {end})) was confirmed and is not committed"
    );
    Ok(())
}

/// A stream that ends at `end` is opened; `confirmed` is the end of what was ever confirmed in it.
pub(crate) fn reopened(stream: StreamId, end: Offset, confirmed: Option<Offset>) -> Check {
    require!(
        confirmed.is_none_or(|confirmed| confirmed <= end),
        W3,
        "metadata",
        "stream {stream} opens at {end}, but {confirmed:?} was confirmed"
    );
    Ok(())
}
