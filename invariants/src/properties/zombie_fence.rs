//! T6 ZombieFence: once InitProducerId has given somebody an epoch, nothing that a producer of a
//! smaller epoch asks for afterwards commits a transaction. Epochs that the ends of transactions
//! raise (KIP-890) fence nobody: such an end may be asked for again under the old one. Source:
//! KIP-98 (zombie fencing), KIP-360, KAFKA-6119.

use crate::facts::producers::Identity;
use crate::history::NO_PRODUCER_EPOCH;
use crate::{Check, require};

/// Whether the one takes the place of the other. Who asks to go on as an old producer twice is
/// given the same epoch twice (KIP-360): nobody was replaced.
pub(crate) fn replaces(newer: Identity, own: Identity) -> bool {
    newer.0 != own.0 || own.1 != NO_PRODUCER_EPOCH && newer.1 > own.1
}

/// The producer with this identity asked for the commit of `txn` after `fence` had been given out.
pub(crate) fn committed(
    txn: u32,
    (producer, epoch): Identity,
    (newer, raised): Identity,
    committed: bool,
) -> Check {
    require!(
        !committed,
        T6,
        "coordinator",
        "transaction {txn} was committed by producer {producer} of epoch {epoch}, after another \
         had become producer {newer} of epoch {raised}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{ProducerEpoch, ProducerId};

    use crate::history::{Answer, Call};
    use crate::testing::{Case, P, Txn};

    /// Producer 7 of epoch 0 writes; somebody becomes producer 7 of `given`; then it commits.
    fn fenced(given: i16, log: &[Txn]) -> Case {
        let mut case = Case::cluster("T6");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        let asked = case.invoke(2, Call::InitProducerId {
            transactional: true,
            id: None,
            timeout: None,
            expected: None,
        });
        case.ok(asked, Answer::ProducerId(ProducerId(7), ProducerEpoch(given)));
        case.ends_unknown(txn, true);
        case.log(P, log).finish();
        case
    }

    #[test]
    fn commit_by_a_fenced_producer_breaks() {
        assert!(fenced(1, &[Txn::Data(0, 100), Txn::End(true)]).breaks("T6"));
    }

    /// Client 1 writes as producer 7; client 2 becomes this one, at this moment of that.
    fn fenced_by_id(producer: u64, meanwhile: bool) -> Case {
        let mut case = Case::cluster("T6");
        let asks = case.asks_to_become(1, None);
        let other = meanwhile.then(|| case.asks_to_become(2, None));
        case.ok(asks, Case::became(0));
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        let other = other.unwrap_or_else(|| case.asks_to_become(2, None));
        case.ok(other, Answer::ProducerId(ProducerId(producer), ProducerEpoch(0)));
        case.ends_unknown(txn, true);
        case.log(P, &[Txn::Data(0, 100), Txn::End(true)]).finish();
        case
    }

    #[test]
    fn commit_by_a_producer_whose_id_was_replaced_breaks() {
        assert!(fenced_by_id(8, false).breaks("T6"));
    }

    #[test]
    fn commit_by_a_producer_who_may_have_come_later_holds() {
        assert!(fenced_by_id(8, true).holds());
    }

    #[test]
    fn abort_of_a_fenced_producers_transaction_holds() {
        assert!(fenced(1, &[Txn::Data(0, 100), Txn::End(false)]).holds());
    }

    #[test]
    fn commit_by_the_newest_producer_holds() {
        assert!(fenced(0, &[Txn::Data(0, 100), Txn::End(true)]).holds());
    }
}
