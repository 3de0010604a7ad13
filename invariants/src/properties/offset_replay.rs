//! G4 OffsetReplay: a coordinator that takes over has the offsets that its log says, and its log
//! has all that was confirmed. With G1, which holds what a coordinator answers to the same fold,
//! what is live is what a replay gives. Source: `OffsetMetadataManager.replay`, KAFKA-15784,
//! Redpanda CORE-17000.

use alloc::sync::Arc;

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// The log was read to this end.
pub(crate) fn read(log: TopicPartition, end: Offset, confirmed: Offset) -> Check {
    require!(
        confirmed <= end,
        G4,
        log,
        "a group coordinator read its log to {end}, but it was confirmed up to {confirmed}"
    );
    Ok(())
}

/// What the coordinator has then, and what the log says.
pub(crate) fn loaded<'a>(
    log: TopicPartition,
    end: Offset,
    has: &[(Arc<str>, TopicPartition, Offset)],
    expected: impl Iterator<Item = (&'a Arc<str>, TopicPartition, Offset)>,
) -> Check {
    let mut has = has.iter().map(|(group, at, offset)| (group, *at, *offset));
    for expected in expected {
        let found = has.next();
        require!(
            found == Some(expected),
            G4,
            log,
            "a group coordinator read its log to {end} and has {found:?} where the log says \
             {expected:?}"
        );
    }
    let more = has.next();
    require!(
        more.is_none(),
        G4,
        log,
        "a group coordinator read its log to {end} and has {more:?}, of which the log says nothing"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::TopicPartition;

    use crate::testing::groups::PRODUCER;
    use crate::testing::{Case, P, Q};

    /// P is committed to 5, and by a transaction to 9; Q to 3; P to 7 without being confirmed.
    fn inherited(end: u64, has: &[(TopicPartition, u64)]) -> Case {
        let mut case = Case::cluster("G4");
        case.log_read(0, 0).stored((0, 0), P, Some(5), None).stored((0, 1), Q, Some(3), None);
        case.stored((0, 2), P, Some(9), Some(PRODUCER)).over((0, 3), true).log_confirmed(0, 4);
        case.stored((0, 4), P, Some(7), None).log_read(1, end).has(1, end, has);
        case
    }

    #[test]
    fn offsets_that_the_log_does_not_say_break() {
        for has in [&[(P, 5), (Q, 3)][..], &[(P, 9)], &[(Q, 3)], &[]] {
            assert!(inherited(4, has).breaks("G4"), "{has:?}");
        }
        let more = TopicPartition { index: broker_core::ids::PartitionIndex(9), ..P };
        assert!(inherited(4, &[(P, 9), (Q, 3), (more, 1)]).breaks("G4"));
        assert!(inherited(4, &[(P, 7), (Q, 3)]).breaks("G4"), "it was not read");
    }

    #[test]
    fn offsets_that_the_log_says_hold() {
        assert!(inherited(4, &[(P, 9), (Q, 3)]).holds());
        assert!(inherited(5, &[(P, 7), (Q, 3)]).holds());
    }

    #[test]
    fn log_that_was_confirmed_further_breaks() {
        assert!(inherited(3, &[(P, 5), (Q, 3)]).breaks("G4"));
    }

    #[test]
    fn commit_staged_before_one_that_is_in_force_stays_behind_it_in_a_replay() {
        // `group-marker-offset-decides`, and `group-txn-offset-at-once`.
        let contended = |open: bool, has| {
            let mut case = Case::cluster("G4");
            case.log_read(0, 0).stored((0, 0), P, Some(9), Some(PRODUCER));
            case.stored((0, 1), P, Some(5), None);
            if !open {
                case.over((0, 2), true);
            }
            case.log_read(1, 3).has(1, 3, &[(P, has)]);
            case
        };
        assert!(contended(false, 9).breaks("G4"));
        assert!(contended(false, 5).holds());
        assert!(contended(true, 9).breaks("G4"));
        assert!(contended(true, 5).holds());
    }

    #[test]
    fn leader_that_was_replaced_before_it_had_read_the_log_is_not_judged() {
        let mut case = inherited(4, &[(P, 9), (Q, 3)]);
        case.log_read(0, 1).has(0, 1, &[(P, 5)]);
        assert!(case.holds());
    }
}
