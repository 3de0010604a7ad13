//! T5 OutcomeTruth: no transaction is committed unless its producer asked for it and was not told
//! that it is not; once the producer heard how it ended, it has ended so. Coordinators abort what
//! takes too long by themselves. Source: KIP-98 (EndTxn), Redpanda #3616.

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::Outcome;
use crate::{Check, require};

/// What is known of a transaction's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    pub(crate) txn: u32,
    /// What its producer asked for, if it did.
    pub(crate) commit: Option<bool>,
    /// It heard that this is done.
    pub(crate) outcome: Outcome,
    /// Some decision is still to be carried out: whether it ever is, is for LV4 to say.
    pub(crate) pending: bool,
}

/// The batches of a transaction from `first` on ended like this in the final log.
pub(crate) fn ended(
    partition: TopicPartition,
    first: Offset,
    asked: Asked,
    end: Option<bool>,
) -> Check {
    let Asked { txn, commit, outcome, .. } = asked;
    let allowed = commit == Some(true) && outcome != Outcome::Failed;
    require!(
        end != Some(true) || allowed,
        T5,
        partition,
        "transaction {txn}, from offset {first} on, is committed; asked for was commit {commit:?}, \
         and the answer {outcome:?}"
    );
    let awaited = end.is_none() && asked.pending;
    require!(
        outcome != Outcome::Ok || end == commit || awaited,
        T5,
        partition,
        "that transaction {txn} ended with commit {commit:?} was confirmed, but from offset \
         {first} on its end is {end:?}"
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
