//! P4 StateEquiv: what a new leader knows of the producers when it opens a partition, from a
//! snapshot and the log behind it, is the fold of the whole log: of each producer the newest epoch
//! and the last five batches. (Nobody expires: no run lasts a day.) Source:
//! `ProducerStateManager.java` (truncateAndReload), KIP-98.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use broker_core::ids::{Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use broker_core::probe::KnownProducer;

use crate::bytes::Numbered;
use crate::{Check, require};

/// Batches that a broker remembers of each producer.
const REMEMBERED: usize = 5;

/// A producer: its epoch, and its newest batches, oldest first.
type Known = (ProducerEpoch, VecDeque<(Sequence, Offset)>);

/// What a leader knew when it opened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Loaded {
    /// The log's end then.
    pub(crate) end: Offset,
    pub(crate) snapshot: Option<Offset>,
    pub(crate) producers: Vec<KnownProducer>,
}

/// `log` holds the partition's numbered batches, ascending.
pub(crate) fn loaded(partition: TopicPartition, loaded: &Loaded, log: &[Numbered]) -> Check {
    let mut folded: BTreeMap<ProducerId, Known> = BTreeMap::new();
    for batch in log.iter().take_while(|batch| batch.base < loaded.end) {
        let (epoch, batches) = folded.entry(batch.id).or_default();
        if *epoch != batch.epoch {
            (*epoch, *batches) = (batch.epoch, VecDeque::new());
        }
        batches.push_back((batch.first, batch.base));
        if batches.len() > REMEMBERED {
            batches.pop_front();
        }
    }
    let Loaded { end, snapshot, producers } = loaded;
    let known = producers.iter().map(|KnownProducer { id, epoch, batches }| {
        let batches = batches.iter().copied().collect();
        (*id, (*epoch, batches))
    });
    let known: BTreeMap<ProducerId, Known> = known.collect();
    let ids = known.keys().chain(folded.keys());
    let differs = ids.into_iter().find(|id| known.get(id) != folded.get(id));
    let Some(id) = differs else { return Ok(()) };
    require!(
        false,
        P4,
        partition,
        "opened at {end} with the snapshot {snapshot:?}, its leader knew of producer {id} {:?}; \
         the log says {:?}",
        known.get(id),
        folded.get(id)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
    use broker_core::probe::{KnownProducer, Probe};

    use crate::testing::{B, Case, P};

    /// The log has a batch at 0 and at 2; a leader that opens at `end` knows of these.
    fn opened(end: u64, known: &[(u32, u64)]) -> Case {
        let mut case = Case::cluster("P4");
        let batches = known.iter().map(|&(first, base)| (Sequence(first), Offset(base))).collect();
        let (id, epoch) = (ProducerId(7), ProducerEpoch(0));
        let producers = alloc::vec![KnownProducer { id, epoch, batches }];
        let (partition, end, snapshot) = (P, Offset(end), None);
        case.probe(B, &Probe::ProducersLoaded { partition, end, snapshot, producers });
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
}
