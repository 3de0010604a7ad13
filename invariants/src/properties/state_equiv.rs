//! P4 StateEquiv: what a new leader knows of the producers when it opens a partition, from a
//! snapshot and the log behind it, is the fold of the whole log: of each producer the newest epoch,
//! the last five batches, the transaction that is open, the newest coordinator; and the aborted
//! transactions. (Nobody expires: no run lasts a day.) Source: `ProducerStateManager.java`
//! (truncateAndReload), KIP-98.

use alloc::vec::Vec;

use broker_core::ids::{Offset, ProducerId, TopicPartition};
use broker_core::probe::KnownProducer;

use crate::bytes::Entry;
use crate::facts::folded::{Folded, Producer};
use crate::{Check, require};

/// What a leader knew when it opened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Loaded {
    /// The log's end then.
    pub(crate) end: Offset,
    pub(crate) snapshot: Option<Offset>,
    pub(crate) producers: Vec<KnownProducer>,
    pub(crate) aborted: Vec<(ProducerId, Offset, Offset)>,
}

/// `log` holds the partition's batches, ascending.
pub(crate) fn loaded(partition: TopicPartition, loaded: &Loaded, log: &[Entry]) -> Check {
    let folded = Folded::of(log.iter().take_while(|entry| entry.base < loaded.end));
    let Loaded { end, snapshot, producers, aborted } = loaded;
    let known = |id: ProducerId| {
        let known = producers.iter().find(|known| known.id == id)?;
        Some(as_folded(known))
    };
    let ids = producers.iter().map(|known| known.id).chain(folded.producers.keys().copied());
    for id in ids {
        let (known, folded) = (known(id), folded.producers.get(&id));
        require!(
            known.as_ref() == folded,
            P4,
            partition,
            "opened at {end} with the snapshot {snapshot:?}, its leader knew of producer {id} \
             {known:?}; the log says {folded:?}"
        );
    }
    let expected = folded.aborted();
    require!(
        *aborted == expected,
        P4,
        partition,
        "opened at {end} with the snapshot {snapshot:?}, its leader knew of the aborted \
         transactions {aborted:?}; the log says {expected:?}"
    );
    Ok(())
}

fn as_folded(known: &KnownProducer) -> Producer {
    Producer {
        epoch: known.standing.epoch,
        batches: known.batches.iter().copied().collect(),
        open: known.standing.open,
        coordinator_epoch: known.standing.coordinator_epoch,
    }
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
    use broker_core::partition::producers::Standing;
    use broker_core::probe::{KnownProducer, Probe};

    use crate::testing::{B, Case, P, Txn};

    const PLAIN: Standing =
        Standing { epoch: ProducerEpoch(0), open: None, coordinator_epoch: None };

    /// The log has a batch at 0 and at 2; a leader that opens at `end` knows of these.
    fn opened(end: u64, known: &[(u32, u64)]) -> Case {
        let mut case = Case::cluster("P4");
        let batches = known.iter().map(|&(first, base)| (Sequence(first), Offset(base))).collect();
        let (id, standing, aborted) = (ProducerId(7), PLAIN, alloc::vec![]);
        let producers = alloc::vec![KnownProducer { id, standing, batches }];
        let (partition, end, snapshot) = (P, Offset(end), None);
        case.probe(B, &Probe::ProducersLoaded { partition, end, snapshot, producers, aborted });
        case.commit_numbered(&[(0, 2, 100, 0), (2, 3, 102, 2)]).finish();
        case
    }

    #[test]
    fn batch_of_the_log_not_known_breaks() {
        assert!(opened(3, &[(0, 0)]).breaks("P4"));
    }

    #[test]
    fn batch_known_that_is_not_in_the_log_breaks() {
        assert!(opened(2, &[(0, 0), (2, 2)]).breaks("P4"));
    }

    #[test]
    fn all_batches_below_the_opening_known_hold() {
        assert!(opened(3, &[(0, 0), (2, 2)]).holds());
        assert!(opened(2, &[(0, 0)]).holds());
    }

    /// The log has a batch at 0 that was aborted at 1, and one at 2 that is open.
    fn opened_in_a_transaction(open: Option<u64>, aborted: &[(u64, u64)]) -> Case {
        let mut case = Case::cluster("P4");
        case.begins();
        let (epoch, coordinator_epoch) = (ProducerEpoch(0), Some(CoordinatorEpoch(0)));
        let standing = Standing { epoch, open: open.map(Offset), coordinator_epoch };
        let batches = alloc::vec![(Sequence(0), Offset(0)), (Sequence(1), Offset(2))];
        let id = ProducerId(7);
        let producers = alloc::vec![KnownProducer { id, standing, batches }];
        let (partition, end, snapshot) = (P, Offset(3), None);
        let aborted = aborted.iter().map(|&(first, last)| (id, Offset(first), Offset(last)));
        let aborted = aborted.collect();
        case.probe(B, &Probe::ProducersLoaded { partition, end, snapshot, producers, aborted });
        case.log(P, &[Txn::Data(0, 100), Txn::End(false), Txn::Data(1, 101)]).finish();
        case
    }

    #[test]
    fn open_transaction_not_known_breaks() {
        assert!(opened_in_a_transaction(None, &[(0, 1)]).breaks("P4"));
    }

    #[test]
    fn aborted_transaction_not_known_breaks() {
        assert!(opened_in_a_transaction(Some(2), &[]).breaks("P4"));
    }

    #[test]
    fn open_and_aborted_transactions_known_hold() {
        assert!(opened_in_a_transaction(Some(2), &[(0, 1)]).holds());
    }
}
