//! T7 MarkerOnce: in each partition a transaction is ended by one marker, and none comes between
//! its batches. (A marker that comes again when nothing is open changes nothing.) Source: KIP-98,
//! KIP-890 (hanging transactions), KAFKA-19446, Redpanda #3232.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// Batches of `txn` begin at `first`; a group of it that began at `before` had ended already.
pub(crate) fn begins(
    partition: TopicPartition,
    txn: u32,
    first: Offset,
    before: Option<Offset>,
) -> Check {
    require!(
        before.is_none(),
        T7,
        partition,
        "transaction {txn} goes on at offset {first}, though a marker ended what began at \
         {before:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, P, Txn};

    fn with(log: &[Txn]) -> Case {
        let mut case = Case::cluster("T7");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).writes(txn, P, 101, 1, log.len() as u64 - 2);
        case.ends(txn, true);
        case.log(P, log).finish();
        case
    }

    #[test]
    fn marker_between_the_batches_of_a_transaction_breaks() {
        let log = [Txn::Data(0, 100), Txn::End(true), Txn::Data(1, 101), Txn::End(true)];
        assert!(with(&log).breaks("T7"));
    }

    #[test]
    fn marker_behind_all_batches_holds() {
        assert!(with(&[Txn::Data(0, 100), Txn::Data(1, 101), Txn::End(true)]).holds());
    }
}
