//! W2 TrimAfterCommit: the WAL lets go only of records that are in committed objects under their
//! own epoch, or whose stream is deleted. What lies behind a WAL's sealed end was never
//! acknowledged and may go. At the end of the safety phase, and at the end of a run, everything
//! confirmed is in one of the two. Source: AutoMQ DefaultUploadWriteAheadLogTask, #205, #3064.

use broker_core::ids::{BrokerEpoch, Lsn, NodeId};

use crate::facts::ledger::Ledger;
use crate::facts::wals::{Confirmed, WalFacts};
use crate::{Check, require};

/// Everything confirmed from place `from` to before `upto` must be committed: it is trimmed, or an
/// object that ends there was deleted.
pub(crate) fn let_go(
    (node, epoch): (NodeId, BrokerEpoch),
    wal: &WalFacts,
    from: usize,
    upto: Lsn,
    ledger: &Ledger,
) -> Check {
    let sealed = ledger.wals.get(&(node, epoch)).and_then(|wal| wal.sealed);
    for (lsn, record) in wal.records(from, upto) {
        let Confirmed { stream, epoch: stream_epoch, base, end } = record;
        let beyond = sealed.is_some_and(|seal| lsn >= seal.end);
        require!(
            beyond || ledger.covers(stream, stream_epoch, base, end),
            W2,
            "wal",
            "node {node}, WAL {epoch}: record {lsn} (stream {stream}, epoch {stream_epoch}, \
             [{base}, {end})) is let go before it is committed"
        );
    }
    Ok(())
}

/// A confirmed record is not committed, and `object_there` tells whether the object
/// that holds it is in the store.
pub(crate) fn still_there(
    node: NodeId,
    lsn: Lsn,
    record: &Confirmed,
    object_there: bool,
) -> Check {
    let Confirmed { stream, base, end, .. } = *record;
    require!(
        object_there,
        W2,
        "wal",
        "node {node}: record {lsn} (stream {stream}, [{base}, {end})) is neither committed nor in \
         the WAL"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Lsn;
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, B, Case, wal_key};

    fn trims(case: &mut Case, upto: u64) {
        case.probe(A, &Probe::WalTrimmed { upto: Lsn(upto) });
    }

    #[test]
    fn trimmed_before_the_commit_breaks() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100), (2, 3, 102)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        trims(&mut case, 2);
        assert!(case.breaks("W2"));
    }

    #[test]
    fn trimmed_behind_the_commit_holds() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100), (2, 3, 102)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        trims(&mut case, 1);
        assert!(case.holds());
    }

    #[test]
    fn object_deleted_before_the_commit_breaks() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100)]).delete(A, &wal_key(A, A_EPOCH, 0, 1));
        assert!(case.breaks("W2"));
    }

    #[test]
    fn object_deleted_behind_the_commit_holds() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.delete(A, &wal_key(A, A_EPOCH, 0, 1)).finish();
        assert!(case.holds());
    }

    #[test]
    fn object_of_a_zombie_deleted_behind_the_seal_holds() {
        let mut case = Case::cluster("W2");
        case.fail_over().seal(0).wal_put(0, &[(0, 2, 100)]).record_confirmed(0, 0, 2);
        case.delete(B, &wal_key(A, A_EPOCH, 0, 1));
        assert!(case.holds());
    }

    #[test]
    fn confirmed_and_nowhere_at_the_end_breaks() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100)]);
        case.fake.objects.clear();
        case.finish();
        assert!(case.breaks("W2"));
    }

    #[test]
    fn confirmed_and_nowhere_when_the_safety_phase_ends_breaks() {
        let mut case = Case::cluster("W2");
        case.wal_write(0, &[(0, 2, 100)]).heal();
        assert!(case.holds());
        case.fake.objects.clear();
        case.heal();
        assert!(case.breaks("W2"));
    }
}
