//! LV3: when the healthy core has come to rest, the last stable offset of every partition is at its
//! high watermark: no transaction hangs, for what its producer left is aborted in time. Source:
//! KIP-890 (hanging transactions), KIP-664.

use alloc::string::String;
use alloc::vec::Vec;

use crate::facts::Facts;

/// What is owed.
pub(crate) fn owed(facts: &Facts) -> Vec<String> {
    let partitions = facts.ledger.partitions.keys();
    let behind = partitions.filter_map(|partition| {
        let newest = facts.served.terms(*partition).last()?;
        let (_, high_watermark) = newest.high_watermark?;
        let (index, stable) = (partition.index, newest.last_stable);
        let hangs = stable < high_watermark;
        hangs.then(|| {
            alloc::format!(
                "LV3: the last stable offset of partition {index} is {stable}, its high watermark \
                 {high_watermark}"
            )
        })
    });
    behind.collect()
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;

    use crate::testing::{A, Case, P, S};

    /// A's last stable offset when the run ends with a high watermark of 2.
    fn hangs(case: &mut Case, last_stable: u64) {
        let (partition, epoch, next) = (P, LeaderEpoch(0), Offset(0));
        case.probe(A, &Probe::PartitionOpened { partition, stream: S, epoch, next });
        case.probe(
            A,
            &Probe::PartitionOffsets {
                partition,
                epoch,
                log_start: Offset(0),
                last_stable: Offset(last_stable),
                high_watermark: Offset(2),
                log_end: Offset(2),
            },
        );
        case.heal().finish();
    }

    fn at_rest(last_stable: u64) -> Case {
        let mut case = Case::cluster("LV3");
        hangs(&mut case, last_stable);
        case
    }

    #[test]
    fn transaction_that_hangs_breaks() {
        assert!(at_rest(1).breaks("LV3"));
    }

    #[test]
    fn last_stable_offset_at_the_end_holds() {
        assert!(at_rest(2).holds());
    }

    #[test]
    fn transaction_left_by_its_producer_is_no_excuse() {
        let mut case = Case::cluster("LV3");
        let txn = case.begins();
        case.writes(txn, P, 100, 1, 0).gives_up(1);
        hangs(&mut case, 1);
        assert!(case.breaks("LV3"));
    }
}
