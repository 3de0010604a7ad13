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
    use crate::testing::{Case, P};

    /// A's last stable offset when the run ends with a high watermark of 2.
    fn hangs(case: &mut Case, last_stable: u64) {
        case.leads(last_stable, 2).heal().finish();
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
