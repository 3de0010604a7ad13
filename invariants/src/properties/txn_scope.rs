//! T8 TxnScope: what one marker ends is one transaction: no batch is counted to the transaction
//! before or behind its own. Source: KAFKA-17754, KIP-890; Redpanda #3232.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// The batches from `first` on that one marker ends, or that none ends, are of these transactions.
pub(crate) fn one(partition: TopicPartition, first: Offset, txns: (u32, u32)) -> Check {
    require!(
        txns.0 == txns.1,
        T8,
        partition,
        "what begins at offset {first} holds batches of transactions {} and {}",
        txns.0,
        txns.1
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, P, Txn};

    fn with(log: &[Txn]) -> Case {
        let mut case = Case::cluster("T8");
        for (value, base) in [(100, 0), (101, log.len() as u64 - 2)] {
            let txn = case.begins();
            case.writes(txn, P, value, 1, base).ends(txn, true);
        }
        case.log(P, log).finish();
        case
    }

    #[test]
    fn batches_of_two_transactions_under_one_marker_break() {
        assert!(with(&[Txn::Data(0, 100), Txn::Data(1, 101), Txn::End(true)]).breaks("T8"));
    }

    #[test]
    fn transactions_with_a_marker_each_hold() {
        let log = [Txn::Data(0, 100), Txn::End(true), Txn::Data(1, 101), Txn::End(true)];
        assert!(with(&log).holds());
    }
}
