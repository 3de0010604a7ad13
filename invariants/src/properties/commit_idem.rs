//! O3 CommitIdem: a commit that is sent again is found applied, or refused; the log never holds it
//! twice, nor the commit of an object that was never prepared or has expired. And it is *found*
//! applied: whoever asks again about a commit that is in the log is not told that it cannot be.
//! Source: AutoMQ #1055, a458623abd.

use broker_core::ids::{NodeId, ObjectId};

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

/// An uploader was told that its commit of this object is refused, for what it says.
pub(crate) fn refused(node: NodeId, object: ObjectId, state: Option<&Object>) -> Check {
    require!(
        state != Some(&Object::Committed),
        O3,
        "metadata",
        "node {node}'s commit of object {object} was refused, and it is in the log"
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
    fn commit_in_the_log_and_refused_breaks() {
        let mut case = Case::cluster("O3");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.probe(A, &Probe::UploadCommitRefused { object: ObjectId(0) });
        assert!(case.breaks("O3"));
    }

    #[test]
    fn commit_of_an_expired_object_refused_holds() {
        let mut case = Case::cluster("O3");
        case.meta(alloc::vec![prepare(0, A, A_EPOCH)]);
        case.meta(alloc::vec![Record::DestroyObject { object: ObjectId(0) }]);
        case.probe(A, &Probe::UploadCommitRefused { object: ObjectId(0) });
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
