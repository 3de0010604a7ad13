//! O5 EndMonotone: a stream's committed end never goes back. Source: AutoMQ a458623abd.

use broker_core::metadata::record::CommittedRange;

use crate::facts::ledger::Stream;
use crate::{Check, require};

/// A range is committed to `stream`, as it is before.
pub(crate) fn committed(range: &CommittedRange, stream: &Stream) -> Check {
    let CommittedRange { stream: id, end, .. } = *range;
    let was = stream.end;
    require!(end >= was, O5, "metadata", "stream {id} ended at {was} and now ends at {end}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{A, A_EPOCH, Case, commit_object};

    #[test]
    fn end_set_back_breaks() {
        let mut case = Case::cluster("O5");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 4, 100)]);
        case.meta(alloc::vec![commit_object(0, (A, A_EPOCH), 0, (0, 2))]);
        assert!(case.breaks("O5"));
    }

    #[test]
    fn end_moved_on_holds() {
        let mut case = Case::cluster("O5");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 4, 100)]);
        case.commit(1, (A, A_EPOCH), (A, A_EPOCH), 0, &[(4, 5, 104)]);
        assert!(case.holds());
    }
}
