//! O7 NoDangling: a committed object is in the store from its commit on, nobody deletes it, and the
//! log does not give it up while a stream has data in it.
//! Source: Inkless isSafeToDeleteFile; AutoMQ #2653.

use broker_core::ids::ObjectId;

use crate::facts::ledger::{Ledger, Object};
use crate::{Check, require};

/// A deletion took effect.
pub(crate) fn deleted(object: ObjectId, state: Option<&Object>) -> Check {
    require!(
        state != Some(&Object::Committed),
        O7,
        "store",
        "object {object} was deleted, and it is committed"
    );
    Ok(())
}

/// The log gives an object up.
pub(crate) fn destroyed(object: ObjectId, ledger: &Ledger) -> Check {
    let held = ledger.streams.iter().find_map(|(stream, state)| {
        let piece = state.pieces.iter().find(|piece| piece.object == object)?;
        Some((*stream, piece.start, piece.end))
    });
    require!(
        held.is_none(),
        O7,
        "metadata",
        "object {object} is given up, and holds {held:?}: stream, first offset and end"
    );
    Ok(())
}

/// An object is committed, or the run ends and it still is.
pub(crate) fn committed(object: ObjectId, there: bool) -> Check {
    require!(there, O7, "store", "object {object} is committed, and not in the store");
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::ObjectId;
    use broker_core::metadata::record::Record;

    use crate::testing::{A, A_EPOCH, Case, commit_object, prepare};

    #[test]
    fn committed_object_deleted_breaks() {
        let mut case = Case::cluster("O7");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.delete(A, "obj/00000000000000000000");
        assert!(case.breaks("O7"));
    }

    #[test]
    fn committed_object_given_up_breaks() {
        let mut case = Case::cluster("O7");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![Record::DestroyObject { object: ObjectId(0) }]);
        assert!(case.breaks("O7"));
    }

    #[test]
    fn expired_object_deleted_holds() {
        let mut case = Case::cluster("O7");
        case.meta(alloc::vec![prepare(0, A, A_EPOCH)]).upload(0, A, 0, &[(0, 2, 100)]);
        case.meta(alloc::vec![Record::DestroyObject { object: ObjectId(0) }]);
        case.delete(A, "obj/00000000000000000000").finish();
        assert!(case.holds());
    }

    #[test]
    fn object_committed_when_it_is_gone_breaks() {
        let mut case = Case::cluster("O7");
        case.meta(alloc::vec![prepare(0, A, A_EPOCH)]).upload(0, A, 0, &[(0, 2, 100)]);
        case.delete(A, "obj/00000000000000000000");
        case.meta(alloc::vec![commit_object(0, (A, A_EPOCH), 0, (0, 2))]);
        assert!(case.breaks("O7"));
    }
}
