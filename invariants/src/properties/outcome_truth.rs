//! T5 OutcomeTruth: a transaction ends as its producer asked, or not at all; once the producer
//! heard that it has ended, it has. Source: KIP-98 (EndTxn), Redpanda #3616.

use broker_core::ids::{Offset, TopicPartition};

use crate::{Check, require};

/// What is known of a transaction's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) txn: u32,
    /// What its producer asked for, if it did.
    pub(crate) commit: Option<bool>,
    /// It heard that this is done.
    pub(crate) ok: bool,
}

/// The batches of a transaction from `first` on ended like this in the final log.
pub(crate) fn ended(
    partition: TopicPartition,
    first: Offset,
    asked: Asked,
    end: Option<bool>,
) -> Check {
    let Asked { txn, commit, ok } = asked;
    require!(
        end.is_none() || end == commit,
        T5,
        partition,
        "transaction {txn}, from offset {first} on, ended with commit {end:?}; asked for was \
         {commit:?}"
    );
    require!(
        !ok || end.is_some(),
        T5,
        partition,
        "the end of transaction {txn} was confirmed, but from offset {first} on it has no marker"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, P, Txn};

    fn ended(asked: bool, log: &[Txn]) -> Case {
        let mut case = Case::cluster("T5");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).ends(txn, asked);
        case.log(P, log).finish();
        case
    }

    #[test]
    fn confirmed_end_without_a_marker_breaks() {
        assert!(ended(true, &[Txn::Data(0, 100)]).breaks("T5"));
    }

    #[test]
    fn end_that_was_not_asked_for_breaks() {
        assert!(ended(false, &[Txn::Data(0, 100), Txn::End(true)]).breaks("T5"));
    }

    #[test]
    fn end_as_asked_for_holds() {
        assert!(ended(false, &[Txn::Data(0, 100), Txn::End(false)]).holds());
    }
}
