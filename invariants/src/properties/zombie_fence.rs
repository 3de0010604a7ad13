//! T6 ZombieFence: once InitProducerId has given somebody an epoch, nothing that a producer of a
//! smaller epoch asks for afterwards commits a transaction. Source: KIP-98 (zombie fencing),
//! KIP-360, KAFKA-6119.

use broker_core::ids::{ProducerEpoch, ProducerId};

use crate::{Check, require};

/// The producer with this identity asked for the commit of `txn` after `fence` had been given out.
pub(crate) fn committed(
    txn: u32,
    (producer, epoch): (ProducerId, ProducerEpoch),
    fence: ProducerEpoch,
    committed: bool,
) -> Check {
    require!(
        !committed,
        T6,
        "coordinator",
        "transaction {txn} was committed by producer {producer} of epoch {epoch}, after another \
         had been given epoch {fence}"
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
        let asked = case.invoke(2, Call::InitProducerId { transactional: true });
        case.ok(asked, Answer::ProducerId(ProducerId(7), ProducerEpoch(given)));
        case.ends_unknown(txn, true);
        case.log(P, log).finish();
        case
    }

    #[test]
    fn commit_by_a_fenced_producer_breaks() {
        assert!(fenced(1, &[Txn::Data(0, 100), Txn::End(true)]).breaks("T6"));
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
