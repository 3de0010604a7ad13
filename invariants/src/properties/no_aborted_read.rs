//! T2 NoAbortedRead: a reader of committed data is given no record of a transaction that was
//! aborted, or that nobody has asked to commit. Source: KIP-98 (isolation.level); Jepsen's G1a;
//! Redpanda #3036, #7043; KAFKA-5376.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// A reader of committed data was given a record of `txn`; `asked`: its commit was asked for.
pub(crate) fn read(partition: TopicPartition, offset: Offset, txn: u32, asked: bool) -> Check {
    require!(
        asked,
        T2,
        (partition, offset),
        "offset {offset} was read as committed, but nobody asked to commit transaction {txn}"
    );
    Ok(())
}

/// The commit of `txn` was refused; `read`: a reader of committed data had been given a part of it.
pub(crate) fn refused(txn: u32, read: bool) -> Check {
    require!(
        !read,
        T2,
        "transaction",
        "the commit of transaction {txn} was refused, and a part of it had been read as committed"
    );
    Ok(())
}

/// A reader of committed data was given a record that the final log holds as aborted or undecided.
pub(crate) fn kept(partition: TopicPartition, offset: Offset, committed: bool) -> Check {
    require!(
        committed,
        T2,
        (partition, offset),
        "offset {offset} was read as committed, and its transaction is not"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::protocol::ErrorCode;

    use crate::testing::{Case, P, Txn};

    #[test]
    fn record_of_a_transaction_nobody_ended_breaks() {
        let mut case = Case::cluster("T2");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0);
        case.reads_committed(1, 1, &[(0, 100, 0)], &[]);
        assert!(case.breaks("T2"));
    }

    #[test]
    fn record_of_an_aborted_transaction_breaks() {
        let mut case = Case::cluster("T2");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).ends(txn, false);
        case.reads_committed(2, 2, &[(0, 100, 0)], &[]);
        assert!(case.breaks("T2"));
    }

    #[test]
    fn record_of_a_commit_that_an_earlier_attempt_may_have_carried_out_holds() {
        for (in_doubt, read_first) in [(true, true), (true, false), (false, true), (false, false)]
        {
            let mut case = Case::cluster("T2");
            let txn = case.begins();
            case.writes(txn, P, 100, 1, 0);
            if in_doubt {
                case.ends_unknown(txn, true);
            }
            let asks = case.asks_end(txn, true);
            let reads = |case: &mut Case| {
                case.reads_committed(2, 2, &[(0, 100, 0)], &[(1, 2)]);
            };
            if read_first {
                reads(&mut case);
            }
            case.fail(asks, ErrorCode::NotCoordinator);
            reads(&mut case);
            assert_eq!(case.breaks("T2"), !in_doubt, "{in_doubt} {read_first}");
        }
    }

    fn committed(in_log: bool) -> Case {
        let mut case = Case::cluster("T2");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).ends(txn, true);
        case.reads_committed(2, 2, &[(0, 100, 0)], &[(1, 2)]);
        case.log(P, &[Txn::Data(0, 100), Txn::End(in_log)]).finish();
        case
    }

    #[test]
    fn record_that_the_log_holds_as_aborted_breaks() {
        assert!(committed(false).breaks("T2"));
    }

    #[test]
    fn record_of_a_committed_transaction_holds() {
        assert!(committed(true).holds());
    }
}
