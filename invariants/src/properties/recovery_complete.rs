//! W3 RecoveryComplete: when a WAL is sealed, every record confirmed in it is committed under its
//! own epoch; when a stream is opened again, everything ever confirmed in it is. Also a
//! confirmation that reaches its broker late must lie in what was recovered. Source: AutoMQ
//! WALRecovery, FailoverControlManager.

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

#[cfg(test)]
mod tests {
    use crate::testing::{A, A_EPOCH, B, B_EPOCH, Case, change, open_stream};

    #[test]
    fn sealed_without_a_confirmed_record_breaks() {
        let mut case = Case::cluster("W3");
        case.wal_write(0, &[(0, 2, 100), (2, 3, 102)]).fail_over();
        case.commit(0, (B, B_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).seal(2);
        assert!(case.breaks("W3"));
    }

    #[test]
    fn sealed_with_all_confirmed_records_holds() {
        let mut case = Case::cluster("W3");
        case.wal_write(0, &[(0, 2, 100), (2, 3, 102)]).fail_over();
        case.commit(0, (B, B_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]).seal(2);
        case.lead(B, B_EPOCH, 1, 3);
        assert!(case.holds());
    }

    #[test]
    fn opened_below_what_is_confirmed_breaks() {
        let mut case = Case::cluster("W3");
        case.wal_write(0, &[(0, 2, 100)]);
        case.meta(alloc::vec![change(Some(B), None, 1, 2), open_stream(B, B_EPOCH, 1)]);
        assert!(case.breaks("W3"));
    }

    #[test]
    fn confirmed_late_holds_in_what_was_recovered() {
        let mut case = Case::cluster("W3");
        case.fail_over().commit(0, (B, B_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]).seal(1);
        case.record_confirmed(0, 0, 2);
        assert!(case.holds());
        case.record_confirmed(1, 2, 3);
        assert!(case.breaks("W3"));
    }

    #[test]
    fn confirmed_record_replaced_under_a_later_epoch_breaks() {
        let mut case = Case::cluster("W3");
        case.fail_over().seal(0).lead(B, B_EPOCH, 1, 3);
        case.commit(0, (B, B_EPOCH), (B, B_EPOCH), 1, &[(0, 2, 200)]).record_confirmed(0, 0, 2);
        assert!(case.breaks("W3"));
    }
}
