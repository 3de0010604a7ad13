//! S3 OneCommitter: of two starts of a query that live at the same time, one at most commits a
//! batch. Source: KIP-447 (zombie tasks); Spark's `CONCURRENT_STREAM_LOG_UPDATE`, which counts on
//! a checkpoint that creates a file once.

use crate::handoff::{BatchNumber, RunNumber};
use crate::{Check, require};

/// A batch is committed by `run`; `rival` has committed it before, and lives.
pub(crate) fn committed(batch: BatchNumber, run: RunNumber, rival: Option<RunNumber>) -> Check {
    require!(
        rival.is_none(),
        S3,
        "query",
        "batch {} is committed by start {}, and was by start {rival:?}, which still runs",
        batch.0,
        run.0
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn twice(first_is_gone: bool) -> Case {
        let mut case = Case::cluster("S3");
        case.query(Promise::AtLeastOnce).batch_committed(1, 0);
        if first_is_gone {
            case.query_gone(1);
        }
        case.query_starts(2, Promise::AtLeastOnce).batch_committed(2, 0);
        case
    }

    #[test]
    fn batch_committed_by_two_living_starts_breaks() {
        assert!(twice(false).breaks("S3"));
    }

    #[test]
    fn batch_committed_again_after_the_first_start_is_gone_holds() {
        assert!(twice(true).holds());
    }
}
