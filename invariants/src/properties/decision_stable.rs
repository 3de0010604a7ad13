//! T4 DecisionStable: once a coordinator has written down how a transaction ends, the only record
//! that follows is that it is complete, in the same way; and no state comes before its time.
//! Source: `TransactionState.validPreviousStates`, KIP-98, KIP-890.

use broker_core::ids::ProducerEpoch;
use broker_core::protocol::TxnState;

use crate::facts::coordinators::Standing;
use crate::{Check, require};

pub(crate) fn follows(id: &str, before: Option<Standing>, now: Option<Standing>) -> Check {
    use TxnState as S;
    let state = |standing: Option<Standing>| standing.map(|(.., state)| state);
    let next = state(now);
    let allowed = match state(before) {
        Some(S::PrepareCommit) => next == Some(S::CompleteCommit),
        Some(S::PrepareAbort) => next == Some(S::CompleteAbort),
        None | Some(S::Dead) => next == Some(S::Empty),
        Some(S::Ongoing) => {
            matches!(next, Some(S::Ongoing | S::PrepareCommit | S::PrepareAbort))
        }
        Some(S::Empty | S::CompleteCommit | S::CompleteAbort) => {
            matches!(next, None | Some(S::Empty | S::Ongoing | S::PrepareAbort | S::Dead))
        }
    };
    require!(
        allowed,
        T4,
        "coordinator",
        "the transaction of {id:?} goes from {:?} to {next:?}",
        state(before)
    );
    let (Some((was, epoch_was, _)), Some((is, epoch_is, _))) = (before, now) else { return Ok(()) };
    // An end and a fence raise the epoch by one; another id begins at 0, and only between two
    // transactions.
    let between = matches!(next, Some(S::Empty | S::CompleteCommit | S::CompleteAbort));
    let goes_on = is == was && (epoch_is == epoch_was || epoch_is == epoch_was.next());
    require!(
        goes_on || (is != was && epoch_is == ProducerEpoch(0) && between),
        T4,
        "coordinator",
        "the producer of {id:?} goes from {was:?}, {epoch_was:?} to {is:?}, {epoch_is:?} at \
         {next:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
    use broker_core::probe::Probe;
    use broker_core::protocol::TxnState as S;

    use crate::testing::{A, Case, P};

    fn goes(states: &[(u32, u64, S)]) -> Case {
        let mut case = Case::cluster("T4");
        for &(epoch, at, state) in states {
            let txn = Some((ProducerId(1), ProducerEpoch(0), state));
            let (coordinator, epoch, at) = (P, LeaderEpoch(epoch), Offset(at));
            let id = "t".into();
            case.probe(A, &Probe::TxnRecorded { coordinator, epoch, id, at, txn });
        }
        case
    }

    #[test]
    fn decision_that_is_changed_breaks() {
        let states = [(0, 0, S::Empty), (0, 1, S::Ongoing), (0, 2, S::PrepareCommit)];
        for next in [S::PrepareAbort, S::CompleteAbort, S::Ongoing, S::Empty] {
            let states: alloc::vec::Vec<_> = states.into_iter().chain([(0, 3, next)]).collect();
            assert!(goes(&states).breaks("T4"), "{next:?}");
        }
    }

    #[test]
    fn decision_carried_out_holds() {
        assert!(
            goes(&[
                (0, 0, S::Empty),
                (0, 1, S::Ongoing),
                (0, 2, S::PrepareCommit),
                (1, 3, S::CompleteCommit),
                (1, 4, S::Ongoing),
            ])
            .holds()
        );
    }

    fn producers(before: (u64, i16), now: (u64, i16, S)) -> Case {
        let mut case = Case::cluster("T4");
        let rows = [(before.0, before.1, S::Empty), now];
        for (at, (producer, epoch, state)) in (0..).map(Offset).zip(rows) {
            let txn = Some((ProducerId(producer), ProducerEpoch(epoch), state));
            let (coordinator, epoch, id) = (P, LeaderEpoch(0), "t".into());
            case.probe(A, &Probe::TxnRecorded { coordinator, epoch, id, at, txn });
        }
        case
    }

    #[test]
    fn epoch_that_falls_or_leaps_breaks() {
        for epoch in [2, 5] {
            assert!(producers((1, 3), (1, epoch, S::Empty)).breaks("T4"), "{epoch}");
        }
        assert!(producers((1, 3), (2, 1, S::Empty)).breaks("T4"), "another begins at 0");
        assert!(producers((1, 3), (2, 0, S::Ongoing)).breaks("T4"), "and not in a transaction");
    }

    #[test]
    fn epoch_raised_and_producer_replaced_hold() {
        assert!(producers((1, 3), (1, 4, S::Empty)).holds());
        assert!(producers((1, 3), (2, 0, S::Empty)).holds());
    }

    #[test]
    fn decision_lost_with_its_leader_is_none() {
        let lost = [(0, 0, S::Empty), (0, 1, S::Ongoing), (0, 2, S::PrepareCommit)];
        let states: alloc::vec::Vec<_> =
            lost.into_iter().chain([(1, 2, S::PrepareAbort), (0, 3, S::CompleteCommit)]).collect();
        assert!(goes(&states).holds());
    }
}
