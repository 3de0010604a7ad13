//! G1 CommitLatest: what is read back of a group's offsets is the last commit in force: of a
//! partition the one with the highest record in the coordinator's log among plain commits and those
//! of transactions whose commit marker is there. Who wants to wait for open transactions is not
//! answered while one holds an offset of the partition. What a client heard is committed is in the
//! confirmed log. A coordinator that has seen a topic deleted has no offsets of it, and takes none.
//! Source: `OffsetMetadataManager.java`, KIP-447, Redpanda CORE-17000 and #28554.
//!
//! A coordinator answers from the end of its log, once all of that is confirmed and a check that
//! began behind the question shows that nobody has taken its place. So what a client is told was in
//! force, by what is confirmed, at some time between its question and the answer.
//!
//! Whose commit a record is the coordinator says when it takes it; two commits of one member (or
//! one producer), one generation and one offset can not be told apart.

use alloc::sync::Arc;

use broker_core::ids::{Offset, TopicPartition};
use broker_core::protocol::ErrorCode;

use crate::facts::group_calls::{Commit, FetchOffsets, Part};
use crate::facts::groups::Stands;
use crate::{Check, require};

/// A coordinator that is in charge answers a question about a partition of a group.
pub(crate) fn fetched(
    (group, partition, require_stable): (&str, TopicPartition, bool),
    answer: Result<Option<Offset>, ErrorCode>,
    stands: Stands,
) -> Check {
    let refuses = require_stable && stands.open;
    let expected = match refuses {
        true => Err(ErrorCode::UnstableOffsetCommit),
        false => Ok(stands.committed),
    };
    require!(
        answer == expected,
        G1,
        partition,
        "the coordinator of {group:?} answers {answer:?} where its log says {expected:?}"
    );
    Ok(())
}

/// A client heard that this is committed.
pub(crate) fn committed(commit: &Commit, part: &Part, holds: bool) -> Check {
    require!(
        holds,
        G1,
        part.partition,
        "{:?} was told that offset {} is committed, but the confirmed log holds no record of it \
         (there were {})",
        commit.group,
        part.upto,
        part.places.len()
    );
    Ok(())
}

/// A client heard that this is what is committed.
pub(crate) fn told(
    fetch: &FetchOffsets,
    partition: TopicPartition,
    offset: Option<Offset>,
    known: bool,
) -> Check {
    require!(
        known,
        G1,
        partition,
        "{:?} was told that {offset:?} is committed (stable: {}); meanwhile it stood at {:?}",
        fetch.group,
        fetch.require_stable,
        fetch.stood.get(&partition)
    );
    Ok(())
}

/// `kept`: what the coordinator's log has of topics that it has seen deleted.
pub(crate) fn forgotten(
    coordinator: TopicPartition,
    kept: Option<(Arc<str>, TopicPartition)>,
) -> Check {
    if let Some((group, partition)) = kept {
        require!(
            false,
            G1,
            partition,
            "{group:?} has an offset of it in {coordinator:?}, whose leader has seen the topic \
             deleted"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{ProducerId, TopicPartition};
    use broker_core::protocol::ErrorCode;

    use crate::history::Answer;
    use crate::testing::groups::PRODUCER;
    use crate::testing::{Case, P, Q};

    /// Offset 5 is committed, and an open transaction holds 9.
    fn staged() -> Case {
        let mut case = Case::cluster("G1");
        case.log_read(0, 0).stored((0, 0), P, Some(5), None);
        case.stored((0, 1), P, Some(9), Some(PRODUCER)).log_confirmed(0, 2);
        case
    }

    fn answered(
        case: impl Fn() -> Case,
        stable: bool,
        answer: Result<Option<u64>, ErrorCode>,
    ) -> Case {
        let mut case = case();
        case.answers(0, stable, P, answer);
        case
    }

    #[test]
    fn coordinator_that_answers_what_is_not_in_force_breaks() {
        // `group-txn-offset-at-once`.
        assert!(answered(staged, false, Ok(Some(9))).breaks("G1"));
        assert!(answered(staged, false, Ok(None)).breaks("G1"));
        assert!(answered(staged, false, Ok(Some(5))).holds());
    }

    #[test]
    fn coordinator_that_does_not_wait_for_an_open_transaction_breaks() {
        // `group-require-stable-ignored`.
        assert!(answered(staged, true, Ok(Some(5))).breaks("G1"));
        assert!(answered(staged, true, Err(ErrorCode::UnstableOffsetCommit)).holds());
        assert!(answered(staged, false, Err(ErrorCode::UnstableOffsetCommit)).breaks("G1"));
    }

    #[test]
    fn commit_behind_what_a_transaction_staged_counts_whenever_the_marker_comes() {
        let contended = || {
            let mut case = staged();
            case.stored((0, 2), P, Some(7), None).over((0, 3), true);
            case
        };
        // `group-marker-offset-decides`.
        assert!(answered(contended, true, Ok(Some(9))).breaks("G1"));
        assert!(answered(contended, true, Ok(Some(7))).holds());
    }

    #[test]
    fn transaction_that_ends_gives_its_offset_or_drops_it() {
        for (commit, offset) in [(true, 9), (false, 5)] {
            let over = || {
                let mut case = staged();
                case.over((0, 2), commit);
                case
            };
            assert!(answered(over, true, Ok(Some(offset))).holds());
            assert!(answered(over, true, Ok(Some(14 - offset))).breaks("G1"));
        }
    }

    #[test]
    fn offset_of_a_topic_that_the_coordinator_has_seen_deleted_breaks() {
        let of_deleted = |forgets: bool, late: bool, seen: bool| {
            let mut case = staged();
            case.delete_topic();
            if seen {
                case.sees_topic_removed();
            }
            if forgets {
                case.stored((0, 2), P, None, None);
            }
            if late {
                case.stored((0, 3), P, Some(7), None).taken(0, ("", -1), &[P]);
            } else {
                case.answers(0, false, Q, Ok(None));
            }
            case
        };
        // `group-offset-of-deleted-topic`.
        assert!(of_deleted(false, false, true).breaks("G1"), "kept");
        assert!(of_deleted(true, true, true).breaks("G1"), "taken");
        assert!(of_deleted(true, false, true).holds());
        assert!(of_deleted(false, true, false).holds(), "it can not know");
    }

    #[test]
    fn offset_that_is_forgotten_under_an_open_transaction_is_gone_for_good() {
        let forgotten = || {
            let mut case = staged();
            case.stored((0, 2), P, None, None).over((0, 3), true);
            case
        };
        assert!(answered(forgotten, true, Ok(None)).holds());
        assert!(answered(forgotten, true, Ok(Some(9))).breaks("G1"));
    }

    #[test]
    fn leader_that_was_replaced_may_answer_anything() {
        let replaced = || {
            let mut case = staged();
            case.log_read(1, 2);
            case
        };
        assert!(answered(replaced, false, Ok(Some(100))).holds());
        let mut case = replaced();
        case.stored((0, 2), P, Some(100), None).answers(1, false, P, Ok(Some(100)));
        assert!(case.breaks("G1"));
    }

    #[test]
    fn record_that_a_newer_leader_has_not_read_is_gone() {
        let mut case = staged();
        case.stored((0, 2), P, Some(7), None).log_read(1, 2).answers(1, false, P, Ok(Some(7)));
        assert!(case.breaks("G1"));
        let mut case = staged();
        case.stored((0, 2), P, Some(7), None).log_read(1, 3).answers(1, false, P, Ok(Some(7)));
        assert!(case.holds());
    }

    /// A client hears that offset 7 is committed, when the log says this.
    fn committed(log: impl Fn(&mut Case)) -> Case {
        let mut case = staged();
        let opened = case.asks_commit(1, ("", -1), &[(P, 5, 7)], None);
        log(&mut case);
        case.ok(opened, Answer::Done);
        case
    }

    #[test]
    fn commit_that_is_not_in_the_confirmed_log_breaks() {
        assert!(committed(|_| ()).breaks("G1"), "no record");
        assert!(committed(|case| { case.stored((0, 2), P, Some(7), None); }).breaks("G1"));
        let record = |case: &mut Case, offset, producer| {
            case.stored((0, 2), P, Some(offset), producer).log_confirmed(0, 3);
        };
        assert!(committed(|case| record(case, 6, None)).breaks("G1"), "another offset");
        assert!(committed(|case| record(case, 7, Some(PRODUCER))).breaks("G1"), "a transaction's");
        let lost = |case: &mut Case| { case.stored((0, 2), P, Some(7), None).log_read(1, 2); };
        assert!(committed(|case| {
            lost(case);
            case.stored((1, 2), Q, Some(7), None).log_confirmed(1, 3);
        })
        .breaks("G1"));
    }

    #[test]
    fn commit_that_a_replaced_leader_took_breaks() {
        assert!(
            committed(|case| {
                case.log_read(1, 2).stored((0, 2), P, Some(7), None);
                case.stored((1, 2), Q, Some(7), None).log_confirmed(1, 3);
            })
            .breaks("G1")
        );
    }

    #[test]
    fn commit_of_an_earlier_call_is_none_of_this_one() {
        let mut case = staged();
        case.stored((0, 2), P, Some(7), None).log_confirmed(0, 3);
        let opened = case.asks_commit(1, ("", -1), &[(P, 5, 7)], None);
        assert!(case.ok(opened, Answer::Done).breaks("G1"));
    }

    #[test]
    fn commit_in_the_confirmed_log_holds() {
        let stored = |case: &mut Case| { case.stored((0, 2), P, Some(7), None); };
        assert!(committed(|case| {
            stored(case);
            case.log_confirmed(0, 3);
        })
        .holds());
        // The successor has read it, and another commit has come since.
        assert!(committed(|case| {
            stored(case);
            case.log_read(1, 3).stored((1, 3), P, Some(6), None).log_confirmed(1, 4);
        })
        .holds());
    }

    /// A client asks, the log goes on, and it is told this.
    fn told(stable: bool, log: impl Fn(&mut Case), offset: Option<u64>) -> Case {
        let mut case = staged();
        let opened = case.asks_offsets(2, &[P], stable);
        log(&mut case);
        case.told_offsets(opened, &[(P, offset)]);
        case
    }

    #[test]
    fn client_that_is_told_what_was_not_in_force_meanwhile_breaks() {
        assert!(told(false, |_| (), Some(9)).breaks("G1"), "it is open");
        assert!(told(false, |_| (), None).breaks("G1"));
        let unconfirmed = |case: &mut Case| { case.stored((0, 2), P, Some(6), None); };
        assert!(told(false, unconfirmed, Some(6)).breaks("G1"));
        let lost = |case: &mut Case| { case.stored((0, 2), P, Some(6), None).log_read(1, 2); };
        assert!(told(false, lost, Some(6)).breaks("G1"));
        let mut case = staged();
        case.stored((0, 2), P, Some(6), None).log_confirmed(0, 3);
        let opened = case.asks_offsets(2, &[P], false);
        assert!(case.told_offsets(opened, &[(P, Some(5))]).breaks("G1"), "it was in force before");
    }

    #[test]
    fn client_that_is_told_an_offset_past_an_open_transaction_breaks() {
        assert!(told(true, |_| (), Some(5)).breaks("G1"));
        assert!(told(false, |_| (), Some(5)).holds());
        assert!(told(true, |case| { case.over((0, 2), true); }, Some(9)).breaks("G1"));
        let over = |case: &mut Case| { case.over((0, 2), true).log_confirmed(0, 3); };
        assert!(told(true, over, Some(9)).holds());
    }

    #[test]
    fn client_that_is_told_what_was_in_force_meanwhile_holds() {
        let on = |case: &mut Case| {
            case.stored((0, 2), P, Some(6), None).stored((0, 3), P, Some(8), None);
            case.log_confirmed(0, 4);
        };
        for offset in [5, 6, 8] {
            assert!(told(false, on, Some(offset)).holds());
        }
    }

    #[test]
    fn client_that_is_told_what_was_lost_with_its_leader_breaks() {
        let lost = |case: &mut Case| {
            case.stored((0, 2), P, Some(6), None).log_read(1, 2);
            case.stored((1, 3), Q, Some(6), None).log_confirmed(1, 4);
        };
        assert!(told(false, lost, Some(6)).breaks("G1"));
        assert!(told(false, lost, Some(5)).holds());
    }

    #[test]
    fn client_of_a_coordinator_that_was_replaced_must_not_be_told_how_it_was_then() {
        let replaced = |told: [(TopicPartition, Option<u64>); 2]| {
            let mut case = staged();
            case.over((0, 2), false).log_read(1, 3).stored((1, 3), P, Some(6), None);
            case.stored((1, 4), Q, Some(6), None).log_confirmed(1, 5);
            let opened = case.asks_offsets(2, &[P, Q], true);
            case.told_offsets(opened, &told);
            case
        };
        assert!(replaced([(P, Some(5)), (Q, Some(6))]).breaks("G1"));
        assert!(replaced([(P, Some(6)), (Q, None)]).breaks("G1"));
        assert!(replaced([(P, Some(6)), (Q, Some(6))]).holds());
    }

    #[test]
    fn commit_whose_record_is_of_another_member_breaks() {
        for (who, holds) in [(("a", 1), true), (("b", 1), false), (("a", 2), false)] {
            let mut case = staged();
            let opened = case.asks_commit(1, ("a", 1), &[(P, 5, 7)], None);
            case.stored_by((0, 2), (P, Some(7)), None, who).log_confirmed(0, 3);
            case.ok(opened, Answer::Done);
            assert_eq!(case.breaks("G1"), !holds, "{who:?}");
        }
    }

    #[test]
    fn commit_whose_record_is_of_another_producer_breaks() {
        for (producer, holds) in [(PRODUCER, true), (ProducerId(8), false)] {
            let mut case = staged();
            let opened = case.asks_commit(1, ("", -1), &[(P, 5, 7)], Some(1));
            case.stored((0, 2), P, Some(7), Some(producer)).log_confirmed(0, 3);
            case.ok(opened, Answer::Done);
            assert_eq!(case.breaks("G1"), !holds, "{producer:?}");
        }
    }
}
