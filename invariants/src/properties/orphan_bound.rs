//! O6 OrphanBound, as far as WAL objects go: of a live node's WAL no object stays that lies wholly
//! before the trim position written in its newest object, but such as landed after the second
//! deletion took effect (a hedged put may land behind the first, which is why there is a second).
//! Source: AutoMQ feaf4f0248.

use alloc::string::String;

use broker_core::ids::{BrokerEpoch, Lsn, NodeId};

use crate::facts::wals::WalObject;
use crate::{Check, require};

/// What is owed for an object `[start, end)` that is in the store, if anything.
pub(crate) fn owed(
    (node, epoch): (NodeId, BrokerEpoch),
    (start, end): (Lsn, Lsn),
    trim: Lsn,
    object: &WalObject,
) -> Option<String> {
    (end <= trim && !object.second_done).then(|| {
        alloc::format!(
            "O6: object {start}-{end} of the WAL {epoch} of node {node} lies before its trim {trim}"
        )
    })
}

/// The run ends, and this is still owed.
pub(crate) fn left(owed: String) -> Check {
    require!(false, O6, "wal", "{owed}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Lsn;
    use broker_core::probe::Probe;
    use broker_core::step::Flow;

    use crate::testing::{A, A_EPOCH, Case, wal_key, wal_object};

    /// The first object is committed and trimmed; the second says so.
    fn trimmed() -> Case {
        let mut case = Case::cluster("O6");
        case.wal_write(0, &[(0, 2, 100)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        let (key, body) = wal_object(A, A_EPOCH, 1, 1, &[(2, 3, 102)]);
        case.put(A, Flow::Wal, &key, body).wal_done(1, 2).heal();
        case
    }

    fn deletes(case: &mut Case, again: bool) {
        let (start, end) = (Lsn(0), Lsn(1));
        case.probe(A, &Probe::WalDeleteSent { start, end, again });
        case.delete(A, &wal_key(A, A_EPOCH, 0, 1));
    }

    #[test]
    fn late_put_behind_the_only_deletion_breaks() {
        let mut case = trimmed();
        deletes(&mut case, false);
        case.wal_put(0, &[(0, 2, 100)]);
        assert!(case.owes("O6"));
        case.finish();
        assert!(case.breaks("O6"));
    }

    #[test]
    fn late_put_removed_by_the_second_deletion_holds() {
        let mut case = trimmed();
        deletes(&mut case, false);
        case.wal_put(0, &[(0, 2, 100)]);
        deletes(&mut case, true);
        assert!(!case.owes("O6"));
        case.finish();
        assert!(case.holds());
    }

    #[test]
    fn late_put_behind_the_second_deletion_holds() {
        let mut case = trimmed();
        deletes(&mut case, false);
        deletes(&mut case, true);
        case.wal_put(0, &[(0, 2, 100)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn object_whose_deletions_the_store_refused_breaks() {
        let mut case = trimmed();
        for again in [false, true] {
            case.probe(A, &Probe::WalDeleteSent { start: Lsn(0), end: Lsn(1), again });
        }
        assert!(case.owes("O6"));
        case.finish();
        assert!(case.breaks("O6"));
    }

    #[test]
    fn object_before_an_unwritten_trim_holds() {
        let mut case = Case::cluster("O6");
        case.wal_write(0, &[(0, 2, 100)]);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.probe(A, &Probe::WalTrimmed { upto: Lsn(1) }).heal().finish();
        assert!(case.holds());
    }
}
