//! T10 RefusedForCause: no producer of a transactional id is told that it is none any more, or that
//! its transaction is, unless there is a cause: somebody else asked to become the producer, its
//! transaction took longer than it may by the coordinator's clock, or its id had been idle for
//! days. That a transaction is not open it may be told, too, where it asked for its end before, or
//! has not heard that anything is a part of it. Whatever it asks for within a transaction may be
//! refused so: a batch, a partition or a group that is to become a part of it, offsets of a group,
//! its end. Where only clients' word is known, a transaction may have begun when the first call
//! within it did, or a call that got no answer before (`txnStartTimestamp` is when the coordinator
//! takes the first AddPartitionsToTxn). An InitProducerId that fails may have ended it, too: the
//! coordinator aborts what is open, under a new epoch, and has the client ask again
//! (`PREPARE_EPOCH_FENCE`). Source: KIP-98, KIP-360, KIP-447, KIP-890; KAFKA-18464, KAFKA-18575,
//! KAFKA-18660.

use broker_core::protocol::ErrorCode;

use crate::facts::producers::Cause;
use crate::history::TransactionalId;
use crate::{Check, require};

/// Whether this says that a producer or its transaction is over.
pub(crate) fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState
            | ErrorCode::TransactionAbortable
    )
}

/// Whether this says no more than that the transaction is not open, or that this is no part of it.
pub(crate) fn says_it_is_not_open(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidTxnState | ErrorCode::TransactionAbortable)
}

/// A client was told so.
pub(crate) fn told(
    client: u16,
    id: &TransactionalId,
    code: ErrorCode,
    cause: Option<Cause>,
) -> Check {
    require!(
        cause.is_some(),
        T10,
        "coordinator",
        "client {client}, the producer of {id:?}, was told {code:?}, and nobody had asked to take \
         its place, nor had its transaction taken too long"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::ErrorCode as E;
    use broker_core::protocol::TxnState as S;
    use broker_core::time::Dur;

    use crate::history::{Answer, Call, EventKind, HistoryEvent, SimTime, TransactionalId};
    use crate::testing::{A, B, Case, P, TIMEOUT_US};

    /// Client 1 is the producer, and writes in a transaction.
    fn writes() -> (Case, u32) {
        let mut case = Case::cluster("T10");
        case.becomes(1, 0);
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        (case, txn)
    }

    /// The coordinator at `node` writes down that the id stands so, at this offset.
    fn records(case: &mut Case, node: broker_core::ids::NodeId, at: u64, state: Option<S>) {
        let txn = state.map(|state| (Case::identity(0).0, Case::identity(0).1, state));
        let (coordinator, epoch, at) = (P, LeaderEpoch(0), Offset(at));
        case.probe(node, &Probe::TxnRecorded { coordinator, epoch, id: "t".into(), at, txn });
    }

    #[test]
    fn refusal_without_a_cause_breaks() {
        let (id, part) = (E::InvalidProducerIdMapping, E::TransactionAbortable);
        for code in [E::ProducerFenced, E::InvalidProducerEpoch, E::InvalidTxnState, id, part] {
            let (mut case, txn) = writes();
            assert!(case.end_refused(txn, code).breaks("T10"), "{code:?}");
            let (mut case, txn) = writes();
            assert!(case.end_refused_in_doubt(txn, code).breaks("T10"), "{code:?}");
            let (mut case, txn) = writes();
            assert!(case.write_refused(txn, code).breaks("T10"), "{code:?}");
            let (mut case, txn) = writes();
            assert!(case.adding_refused(txn, code).breaks("T10"), "{code:?}");
            let (mut case, txn) = writes();
            assert!(case.adding_offsets_refused(txn, code).breaks("T10"), "{code:?}");
            let (mut case, txn) = writes();
            assert!(case.offsets_refused(txn, code).breaks("T10"), "{code:?}");
        }
    }

    #[test]
    fn refusal_of_offsets_in_a_transaction_without_batches_is_judged() {
        for replaced in [false, true] {
            let mut case = Case::cluster("T10");
            case.becomes(1, 0);
            if replaced {
                case.becomes(2, 1);
            }
            case.offsets_refused(3, E::ProducerFenced);
            assert_eq!(case.breaks("T10"), !replaced);
        }
    }

    #[test]
    fn refusal_of_a_member_or_of_offsets_without_a_transaction_says_nothing_of_the_producer() {
        let (mut case, txn) = writes();
        assert!(case.offsets_refused(txn, E::IllegalGeneration).holds());
        let asks = case.asks_commit(1, ("", -1), &[(P, 0, 1)], None);
        assert!(case.fail(asks, E::ProducerFenced).holds());
    }

    #[test]
    fn refusal_that_says_nothing_of_the_producer_holds() {
        let (mut case, txn) = writes();
        assert!(case.end_refused(txn, E::NotCoordinator).holds());
    }

    #[test]
    fn refusal_behind_another_init_holds() {
        let (mut case, txn) = writes();
        case.becomes(2, 1);
        assert!(case.end_refused(txn, E::ProducerFenced).holds());
        let (mut case, txn) = writes();
        case.asks_to_become(2, None);
        assert!(case.end_refused(txn, E::ProducerFenced).holds(), "not answered yet");
        let (mut case, txn) = writes();
        let asks = case.asks_to_become(2, None);
        case.unknown(asks);
        assert!(case.end_refused(txn, E::ProducerFenced).holds(), "never answered");
    }

    #[test]
    fn refusal_behind_an_init_that_may_have_been_done_holds_and_behind_one_that_was_not_breaks() {
        for (end, holds) in [
            (EventKind::Unknown(Some(E::RequestTimedOut)), true),
            (EventKind::Fail(Some(E::CoordinatorLoadInProgress)), false),
            (EventKind::Fail(None), false),
        ] {
            let (mut case, txn) = writes();
            let asks = case.asks_to_become(2, None);
            case.history(asks, end.clone()).ends(txn, true);
            let txn = case.begins();
            case.end_refused(txn, E::ProducerFenced);
            assert_eq!(case.breaks("T10"), !holds, "{end:?}");
        }
    }

    #[test]
    fn refusal_behind_an_init_that_was_over_before_breaks() {
        let mut case = Case::cluster("T10");
        case.becomes(2, 0).becomes(1, 1);
        let txn = case.begins();
        assert!(case.end_refused(txn, E::ProducerFenced).breaks("T10"));
    }

    #[test]
    fn refusal_behind_an_init_that_was_under_way_holds() {
        let mut case = Case::cluster("T10");
        let asks = case.asks_to_become(2, None);
        let own = case.asks_to_become(1, None);
        case.ok(asks, Case::became(0)).ok(own, Case::became(1));
        let txn = case.begins();
        assert!(case.end_refused(txn, E::ProducerFenced).holds(), "in either order");
    }

    #[test]
    fn refusal_behind_an_end_that_was_done_after_the_other_init_breaks() {
        let mut case = Case::cluster("T10");
        let asks = case.asks_to_become(2, None);
        case.becomes(1, 1).ok(asks, Case::became(0));
        let txn = case.begins();
        case.ends(txn, true);
        let txn = case.begins();
        assert!(case.end_refused(txn, E::ProducerFenced).breaks("T10"));
    }

    #[test]
    fn time_out_that_elapsed_by_the_coordinators_clock_holds_and_a_sooner_one_breaks() {
        for (waits_us, ahead_us, holds) in [
            (TIMEOUT_US, 0, true),
            (TIMEOUT_US - 1_000, 0, false),
            (0, TIMEOUT_US as i64, true),
            (TIMEOUT_US, -2_000, false),
        ] {
            let (mut case, txn) = writes();
            records(&mut case, A, 0, Some(S::Empty));
            records(&mut case, A, 1, Some(S::Ongoing));
            case.at_us += waits_us;
            case.fake.clocks_ahead_us.insert(B, ahead_us);
            records(&mut case, B, 2, Some(S::PrepareAbort));
            case.end_refused(txn, E::ProducerFenced);
            assert_eq!(case.breaks("T10"), !holds, "{waits_us} {ahead_us}");
        }
    }

    #[test]
    fn time_out_of_a_transaction_before_breaks() {
        let (mut case, txn) = writes();
        records(&mut case, A, 0, Some(S::Ongoing));
        case.at_us += TIMEOUT_US;
        records(&mut case, A, 1, Some(S::PrepareAbort));
        case.ends(txn, true);
        let txn = case.begins();
        assert!(case.end_refused(txn, E::ProducerFenced).breaks("T10"));
    }

    #[test]
    fn time_of_a_transaction_begins_with_its_first_partition() {
        let (mut case, txn) = writes();
        records(&mut case, A, 0, Some(S::Ongoing));
        case.at_us += TIMEOUT_US;
        records(&mut case, A, 1, Some(S::Ongoing));
        records(&mut case, A, 2, Some(S::PrepareAbort));
        assert!(case.end_refused(txn, E::ProducerFenced).holds());
    }

    #[test]
    fn abort_without_an_open_transaction_is_no_time_out() {
        let (mut case, txn) = writes();
        for (at, state) in (0..).zip([S::Ongoing, S::PrepareCommit, S::CompleteCommit]) {
            records(&mut case, A, at, Some(state));
        }
        case.at_us += TIMEOUT_US;
        records(&mut case, A, 3, Some(S::PrepareAbort));
        assert!(case.end_refused(txn, E::ProducerFenced).breaks("T10"));
    }

    #[test]
    fn refusal_of_what_was_asked_before_the_client_became_the_producer_is_not_judged() {
        let mut case = Case::cluster("T10");
        let txn = case.begins();
        let asks = case.asks_end(txn, true);
        case.becomes(1, 0).fail(asks, E::ProducerFenced);
        assert!(case.holds());
    }

    #[test]
    fn abort_that_nobody_asked_for_is_no_time_out() {
        let (mut case, txn) = writes();
        case.at_us += TIMEOUT_US;
        records(&mut case, A, 0, Some(S::Ongoing));
        records(&mut case, A, 1, Some(S::PrepareAbort));
        assert!(case.end_refused(txn, E::ProducerFenced).breaks("T10"));
    }

    #[test]
    fn id_forgotten_after_a_week_holds_and_sooner_breaks() {
        for (days, holds) in [(7, true), (6, false)] {
            let (mut case, txn) = writes();
            records(&mut case, A, 0, Some(S::Empty));
            case.at_us += days * 24 * 3_600 * 1_000_000;
            records(&mut case, A, 1, None);
            case.adding_refused(txn, E::InvalidProducerIdMapping);
            assert_eq!(case.breaks("T10"), !holds, "{days}");
        }
    }

    #[test]
    fn init_that_goes_on_as_before_is_not_refused_for_its_own_earlier_attempt() {
        for (before, holds) in [(Some(Case::identity(0)), false), (None, true)] {
            let (code, refused) = (Some(E::ConcurrentTransactions), Some(E::ProducerFenced));
            for (end, refused) in [
                (EventKind::Unknown(None), EventKind::Fail(refused)),
                (EventKind::Fail(code), EventKind::Fail(refused)),
                (EventKind::Fail(code), EventKind::Unknown(refused)),
            ] {
                let mut case = Case::cluster("T10");
                case.becomes(1, 0);
                let lost = case.asks_to_become(1, before);
                case.history(lost, end);
                let again = case.asks_to_become(1, Some(Case::identity(0)));
                case.history(again, refused);
                assert_eq!(case.breaks("T10"), !holds, "KIP-360");
            }
        }
    }

    #[test]
    fn producer_of_whom_nobody_knows_since_when_is_not_judged() {
        let mut case = Case::cluster("T10");
        let txn = case.begins();
        assert!(case.end_refused(txn, E::ProducerFenced).holds());
    }

    /// When, by which operation, what, and what became of it.
    type Asks = (u64, u32, Does, Ends);

    /// Of a history alone: client 1 becomes the producer at 0 s, asks these at these times, in
    /// seconds, and is refused at last. Whether that breaks.
    fn alone_breaks(calls: &[Asks]) -> bool {
        let becomes = (0, 0, BECOMES, Ends::Ok);
        let calls = [becomes].iter().chain(calls).map(|asks| (1, *asks)).collect::<Vec<_>>();
        break_together(&calls)
    }

    /// As [`alone_breaks`], of several clients.
    fn break_together(calls: &[(u16, Asks)]) -> bool {
        let mut events = Vec::new();
        for (call, &(client, (at, op, does, ends))) in (0..).zip(calls) {
            let answer = match does {
                Does::Becomes(_) | Does::GoesOn(_) => Case::became(0),
                Does::Adds | Does::Commits => Answer::Done,
            };
            let end = match ends {
                Ends::Ok => Some(EventKind::Ok(answer)),
                Ends::Unknown => Some(EventKind::Unknown(None)),
                Ends::Refused => Some(EventKind::Fail(Some(E::ProducerFenced))),
                Ends::Concurrent => Some(EventKind::Fail(Some(E::ConcurrentTransactions))),
                Ends::Never => None,
            };
            for kind in [EventKind::Invoke(does.call())].into_iter().chain(end) {
                let at = SimTime(at * 1_000_000);
                events.push(HistoryEvent { at, client, call, op, kind });
            }
        }
        crate::judge_history(&events).is_err_and(|found| found.property == "T10")
    }

    #[derive(Clone, Copy)]
    enum Does {
        /// With this time for its transactions, in seconds.
        Becomes(Option<u64>),
        /// As who it was before.
        GoesOn(Option<u64>),
        Adds,
        Commits,
    }

    #[derive(Clone, Copy)]
    enum Ends {
        Ok,
        Unknown,
        Refused,
        Concurrent,
        Never,
    }

    impl Does {
        fn call(self) -> Call {
            let id = Some(TransactionalId::from("t"));
            let becomes = |id, timeout: Option<u64>, expected| {
                let timeout = timeout.map(Dur::secs);
                Call::InitProducerId { transactional: true, id, timeout, expected }
            };
            match self {
                Self::Becomes(timeout) => becomes(id, timeout, None),
                Self::GoesOn(timeout) => becomes(id, timeout, Some(Case::identity(0))),
                Self::Adds => Call::AddPartitions { partition: P, id },
                Self::Commits => Call::EndTxn { commit: true, producer: None, id },
            }
        }
    }

    use Does::{Adds, Becomes, Commits, GoesOn};
    use Ends::{Concurrent, Never, Ok as Done, Refused, Unknown};

    const BECOMES: Does = Becomes(Some(60));

    #[test]
    fn time_of_a_transaction_of_a_history_begins_with_its_first_call() {
        assert!(alone_breaks(&[(70, 1, Adds, Refused)]), "idle before");
        assert!(alone_breaks(&[(70, 1, Adds, Done), (129, 1, Commits, Refused)]));
        assert!(!alone_breaks(&[(70, 1, Adds, Done), (130, 1, Commits, Refused)]));
        let again = [(70, 1, Adds, Done), (100, 1, Adds, Done), (130, 1, Adds, Refused)];
        assert!(!alone_breaks(&again), "the first counts");
        let next = [(0, 1, Adds, Done), (10, 1, Commits, Done), (80, 2, Adds, Refused)];
        assert!(alone_breaks(&next), "it was over");
        assert!(!alone_breaks(&[(7 * 24 * 3_600, 1, Adds, Refused)]), "an id that was idle");
    }

    #[test]
    fn call_of_a_history_without_an_answer_may_have_begun_a_transaction_later() {
        let late = [(0, 1, Adds, Unknown), (10, 1, Commits, Done), (70, 2, Adds, Refused)];
        assert!(!alone_breaks(&late), "behind the end");
        let late = [(0, 1, Adds, Unknown), (10, 1, Commits, Done), (69, 2, Adds, Refused)];
        assert!(alone_breaks(&late), "not before it");
        let anew = [(0, 1, Adds, Unknown), (10, 0, BECOMES, Done), (70, 2, Adds, Refused)];
        assert!(alone_breaks(&anew), "it was another producer's");
        let doubtful = [(0, 1, Adds, Done), (1, 1, Commits, Unknown), (60, 2, Adds, Refused)];
        assert!(!alone_breaks(&doubtful), "it may be open yet");
    }

    #[test]
    fn time_out_of_a_history_is_that_of_the_newest_init() {
        let after = |first: Option<u64>, (by, second): (u16, Option<u64>), refused: u64| {
            let inits = [(1, (0, 0, Becomes(first), Done)), (by, (0, 0, Becomes(second), Done))];
            let then = [(by, (0, 1, Adds, Done)), (by, (refused, 1, Commits, Refused))];
            break_together(&[inits, then].concat())
        };
        for by in [1, 2] {
            assert!(!after(Some(60), (by, None), 30), "nobody knows it");
            assert!(after(None, (by, Some(60)), 30));
            assert!(after(Some(10), (by, Some(60)), 30));
            assert!(after(Some(60), (by, Some(10)), 9));
            assert!(!after(Some(60), (by, Some(10)), 10));
        }
        let after = |lost: &[Option<u64>]| {
            let mut calls = vec![(0, 1, Adds, Done)];
            calls.extend(lost.iter().map(|timeout| (1, 0, GoesOn(*timeout), Unknown)));
            calls.push((30, 0, GoesOn(Some(5)), Refused));
            alone_breaks(&calls)
        };
        assert!(after(&[]), "that which is refused was not done");
        assert!(after(&[Some(60)]));
        assert!(!after(&[Some(10)]), "it may have been done");
        assert!(!after(&[None]) && !after(&[Some(60), None]) && !after(&[None, Some(60)]));
    }

    #[test]
    fn init_of_a_history_that_failed_may_have_ended_the_transaction_before() {
        for client in [1, 2] {
            let fails = |then: &[Asks]| {
                let begun = [(1, (0, 0, BECOMES, Done)), (1, (0, 1, Adds, Done))];
                let fails = (client, (1, 0, BECOMES, Concurrent));
                let then = then.iter().map(|asks| (1, *asks));
                break_together(&begun.into_iter().chain([fails]).chain(then).collect::<Vec<_>>())
            };
            assert!(!fails(&[(2, 1, Adds, Refused)]), "{client}");
            assert!(!fails(&[(2, 1, Commits, Refused)]), "{client}");
            let well = [(2, 0, BECOMES, Done), (3, 2, Adds, Refused)];
            assert!(fails(&well), "{client}: it is the producer again");
            assert!(fails(&[(2, 1, Commits, Done), (3, 2, Adds, Refused)]), "{client}: as before");
        }
        assert!(alone_breaks(&[(1, 0, BECOMES, Refused)]), "that is no cause of itself");
    }

    #[test]
    fn call_of_a_history_that_is_never_answered_is_its_own_producers() {
        let opens = [(2, (0, 0, BECOMES, Done)), (2, (0, 77, Adds, Never))];
        let then = [(1, (10, 0, BECOMES, Done)), (1, (200, 1, Adds, Refused))];
        assert!(break_together(&[opens, then].concat()), "another was the producer");
        assert!(!alone_breaks(&[(0, 1, Adds, Never), (60, 1, Adds, Refused)]));
        assert!(alone_breaks(&[(0, 1, Adds, Never), (59, 1, Adds, Refused)]));
    }
}
