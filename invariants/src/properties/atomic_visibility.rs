//! T1 AtomicVisibility: a transaction is committed in all its partitions or in none, and a reader
//! of committed data steps over nothing but markers and what was aborted. Source: KIP-98
//! (atomic writes across partitions), Jepsen on Bufstream 0.1.0 (torn transactions).

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// Transaction `txn` was decided one way in `partition`, and another way in one before.
pub(crate) fn decided(partition: TopicPartition, txn: u32, commit: bool, before: bool) -> Check {
    let name = |commit| if commit { "committed" } else { "aborted" };
    require!(
        commit == before,
        T1,
        partition,
        "transaction {txn} is {} here and {} in another partition",
        name(commit),
        name(before)
    );
    Ok(())
}

/// Transaction `txn` is committed: its producer heard so, or a reader of committed data was given a
/// part of it; `missing` is a part that such a reader passed over.
pub(crate) fn part_missing(txn: u32, missing: Option<(TopicPartition, Offset)>) -> Check {
    let Some((partition, offset)) = missing else { return Ok(()) };
    require!(
        false,
        T1,
        (partition, offset),
        "transaction {txn} is committed, and a reader of committed data passed over its record at \
         offset {offset}"
    );
    Ok(())
}

/// A reader stepped over the batch at `offset`; `rightly`: it is a marker, or was aborted.
pub(crate) fn stepped_over(partition: TopicPartition, offset: Offset, rightly: bool) -> Check {
    require!(
        rightly,
        T1,
        partition,
        "a reader stepped over the batch at offset {offset}, which is no marker and not aborted"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, P, Q, Txn};

    fn two_partitions(other: bool) -> Case {
        let mut case = Case::cluster("T1");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).writes(txn, Q, 101, 1, 0).ends(txn, true);
        case.log(P, &[Txn::Data(0, 100), Txn::End(true)]);
        case.log(Q, &[Txn::Data(0, 101), Txn::End(other)]).finish();
        case
    }

    #[test]
    fn transaction_torn_between_partitions_breaks() {
        assert!(two_partitions(false).breaks("T1"));
    }

    #[test]
    fn transaction_committed_in_all_its_partitions_holds() {
        assert!(two_partitions(true).holds());
    }

    fn steps_over(commit: bool) -> Case {
        let mut case = Case::cluster("T1");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).ends(txn, commit);
        case.reads_committed(2, 2, &[], &[(0, 2)]);
        case.log(P, &[Txn::Data(0, 100), Txn::End(commit)]).finish();
        case
    }

    #[test]
    fn committed_batch_stepped_over_breaks() {
        assert!(steps_over(true).breaks("T1"));
    }

    #[test]
    fn aborted_batch_and_marker_stepped_over_hold() {
        assert!(steps_over(false).holds());
    }
}
