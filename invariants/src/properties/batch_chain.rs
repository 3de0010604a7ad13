//! S7 BatchChain: each batch begins where the one before it ended, and a batch that runs again
//! reads what it read the first time. Source: Spark's `MicroBatchExecution` (the offset log is
//! written before a batch runs) and `HDFSMetadataLog`.

use crate::handoff::{BatchNumber, Span};
use crate::{Check, require};

/// A batch runs again.
pub(crate) fn again(batch: BatchNumber, spans: &[Span], before: &[Span]) -> Check {
    require!(
        spans == before,
        S7,
        "query",
        "batch {} runs again with other ranges: {spans:?}, before {before:?}",
        batch.0
    );
    Ok(())
}

/// A batch reads a partition; an earlier one read it last.
pub(crate) fn follows(
    (batch, span): (BatchNumber, &Span),
    (at, prior): (BatchNumber, &Span),
) -> Check {
    require!(
        span.from == prior.to,
        S7,
        "query",
        "batch {} begins at offset {} of partition {}, where batch {} ended at {}",
        batch.0,
        span.from,
        span.partition,
        at.0,
        prior.to
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn batches(all: &[(u64, u64, u64)]) -> Case {
        let mut case = Case::cluster("S7");
        case.query(Promise::AtLeastOnce);
        for (batch, from, to) in all {
            case.runs(1, *batch, *from, *to);
        }
        case
    }

    #[test]
    fn batch_behind_a_gap_breaks() {
        assert!(batches(&[(0, 0, 5), (1, 6, 9)]).breaks("S7"));
    }

    #[test]
    fn batch_that_overlaps_the_one_before_breaks() {
        assert!(batches(&[(0, 0, 5), (1, 4, 9)]).breaks("S7"));
    }

    #[test]
    fn batch_run_again_with_another_end_breaks() {
        assert!(batches(&[(0, 0, 5), (0, 0, 7)]).breaks("S7"));
    }

    #[test]
    fn batches_that_follow_one_another_and_run_again_hold() {
        assert!(batches(&[(0, 0, 5), (1, 5, 9), (1, 5, 9), (2, 9, 10)]).holds());
    }
}
