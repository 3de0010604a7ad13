//! O1 RangeContig: what is committed tiles each stream: a range starts where the last one ended, is
//! not empty, and belongs to the epoch under which the stream is open. Source: AutoMQ
//! verifyStreamContinuous.

use broker_core::metadata::record::CommittedRange;

use crate::facts::ledger::{Ledger, Stream};
use crate::{Check, require};

/// A range is committed to `stream`, as it is before.
pub(crate) fn committed(range: &CommittedRange, stream: &Stream) -> Check {
    let CommittedRange { stream: id, epoch, start, end } = *range;
    let at = stream.end;
    require!(
        start == at && start < end,
        O1,
        "metadata",
        "stream {id} ends at {at}; [{start}, {end}) of epoch {epoch} is committed"
    );
    let last = stream.ranges.last();
    require!(
        last.is_some_and(|last| last.epoch == epoch && last.start <= start),
        O1,
        "metadata",
        "stream {id}: [{start}, {end}) of epoch {epoch} is committed into {last:?}"
    );
    Ok(())
}

/// At the end: every stream's ranges ascend by epoch and start, and its pieces tile it.
pub(crate) fn tiled(ledger: &Ledger) -> Check {
    for (id, stream) in &ledger.streams {
        let ordered = stream
            .ranges
            .windows(2)
            .all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start <= pair[1].start);
        let mut at = broker_core::ids::Offset(0);
        let tiles = stream.pieces.iter().all(|piece| {
            let fits = piece.start == at;
            at = piece.end;
            fits
        });
        require!(
            ordered && tiles && at == stream.end,
            O1,
            "metadata",
            "stream {id} up to {}: {:?} do not tile it, or {:?} are not in order",
            stream.end,
            stream.pieces,
            stream.ranges
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{A, A_EPOCH, B, B_EPOCH, Case};

    #[test]
    fn commit_behind_a_gap_breaks() {
        let mut case = Case::cluster("O1");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.commit(1, (A, A_EPOCH), (A, A_EPOCH), 0, &[(3, 4, 103)]);
        assert!(case.breaks("O1"));
    }

    #[test]
    fn commit_at_the_end_holds() {
        let mut case = Case::cluster("O1");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        case.commit(1, (A, A_EPOCH), (A, A_EPOCH), 0, &[(2, 4, 102)]).finish();
        assert!(case.holds());
    }

    #[test]
    fn commit_under_an_earlier_epoch_breaks() {
        let mut case = Case::cluster("O1");
        case.fail_over().seal(0).lead(B, B_EPOCH, 1, 3);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 2, 100)]);
        assert!(case.breaks("O1"));
    }
}
