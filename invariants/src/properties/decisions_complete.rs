//! LV4: when the healthy core has come to rest, every transaction that was decided is complete.
//! Source: KIP-98 (the coordinator sends markers until all are written), KAFKA-9777, KAFKA-19999.

use alloc::string::String;
use alloc::vec::Vec;

use crate::facts::Facts;

pub(crate) fn owed(facts: &Facts) -> Vec<String> {
    let decided = facts.coordinators.decided().into_iter();
    let line = |id| alloc::format!("LV4: the transaction of {id:?} is decided, not complete");
    decided.map(line).collect()
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
    use broker_core::probe::Probe;
    use broker_core::protocol::TxnState as S;

    use crate::testing::{A, Case, P};

    fn at_rest(states: &[S]) -> Case {
        let mut case = Case::cluster("LV4");
        for (at, state) in (0..).map(Offset).zip(states) {
            let (coordinator, epoch) = (P, LeaderEpoch(0));
            let (id, txn) = ("t".into(), Some((ProducerId(1), ProducerEpoch(0), *state)));
            case.probe(A, &Probe::TxnRecorded { coordinator, epoch, id, at, txn });
        }
        case.heal().finish();
        case
    }

    #[test]
    fn decision_that_is_not_carried_out_breaks() {
        assert!(at_rest(&[S::Empty, S::Ongoing, S::PrepareAbort]).breaks("LV4"));
    }

    #[test]
    fn decision_that_is_carried_out_holds() {
        let states = [S::Empty, S::Ongoing, S::PrepareAbort, S::CompleteAbort, S::Ongoing];
        assert!(at_rest(&states).holds());
    }
}
