//! P3 DedupAnswer: an idempotent producer that is told an offset, be it for the first copy of its
//! batch or for a later one, finds the batch at that offset in the final log. Source: KIP-98,
//! `UnifiedLog.analyzeAndValidateProducerState` (a duplicate is answered with the stored batch's
//! offsets, and only below the high watermark).

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// `told` is where the batch that begins with `value` is, as its producer heard; `found` is what
/// the final log has there.
pub(crate) fn told(
    partition: TopicPartition,
    value: u64,
    told: Offset,
    found: Option<u64>,
) -> Check {
    require!(
        found == Some(value),
        P3,
        partition,
        "the producer of value {value} was told offset {told}; the final log has {found:?} there"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{A, A_EPOCH, Case};

    #[test]
    fn told_an_offset_with_another_batch_breaks() {
        let mut case = Case::cluster("P3");
        case.idempotent(100, 1, 1);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 1, 100), (1, 2, 101)]).finish();
        assert!(case.breaks("P3"));
    }

    #[test]
    fn told_an_offset_beyond_the_log_breaks() {
        let mut case = Case::cluster("P3");
        case.idempotent(100, 1, 1);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 1, 100)]).finish();
        assert!(case.breaks("P3"));
    }

    #[test]
    fn told_the_offset_of_the_batch_holds() {
        let mut case = Case::cluster("P3");
        case.idempotent(100, 1, 0);
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 1, 100)]).finish();
        assert!(case.holds());
    }
}
