//! O3 CommitIdem: the log never holds a commit twice, nor that of an object that was never prepared
//! or has expired; and one that is sent again is found applied: it is never refused for ranges that
//! its own first copy has moved on. (That its sender's epoch is stale by then is another matter.)
//! Source: AutoMQ #1055, a458623abd.

use broker_core::ids::ObjectId;

use crate::facts::ledger::Object;
use crate::{Check, require};

/// An object is committed; `was` is its state before.
pub(crate) fn committed(object: ObjectId, was: Option<&Object>) -> Check {
    require!(
        matches!(was, Some(Object::Prepared { .. })),
        O3,
        "metadata",
        "object {object} is committed, but it was {was:?}"
    );
    Ok(())
}

/// A broker is told that the commit of `object` does not fit its streams; `known` is its state.
pub(crate) fn refused(object: ObjectId, known: Option<&Object>) -> Check {
    require!(
        !matches!(known, Some(Object::Committed)),
        O3,
        "metadata",
        "the commit of object {object} is refused for its ranges, and it is committed"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::ObjectId;
    use broker_core::metadata::record::Record;
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, Case, commit_object, prepare};

    #[test]
    fn commit_refused_that_was_applied_breaks() {
        let mut case = Case::cluster("O3");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.probe(A, &Probe::UploadCommitRefused { object: ObjectId(0) });
        assert!(case.breaks("O3"));
    }

    #[test]
    fn commit_refused_that_was_not_applied_holds() {
        let mut case = Case::cluster("O3");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![prepare(1, A, A_EPOCH)]);
        case.probe(A, &Probe::UploadCommitRefused { object: ObjectId(1) });
        assert!(case.holds());
    }

    #[test]
    fn object_committed_twice_breaks() {
        let mut case = Case::cluster("O3");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![commit_object(0, (A, A_EPOCH), 0, (0, 2))]);
        assert!(case.breaks("O3"));
    }

    #[test]
    fn two_objects_committed_hold() {
        let mut case = Case::cluster("O3");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.commit(1, (A, A_EPOCH), (A, A_EPOCH), 0, &[(2, 3, 102)]);
        assert!(case.holds());
    }

    #[test]
    fn expired_object_committed_breaks() {
        let mut case = Case::cluster("O3");
        case.meta(alloc::vec![prepare(0, A, A_EPOCH)]);
        case.meta(alloc::vec![Record::DestroyObject { object: ObjectId(0) }]);
        case.meta(alloc::vec![commit_object(0, (A, A_EPOCH), 0, (0, 2))]);
        assert!(case.breaks("O3"));
    }
}
