//! S6 QueryProgress: in the healthy core a query gets on, over offsets that hold nothing it can
//! see, and comes to stand behind all that was acknowledged in its source. Source: Kafka's
//! `CompletedFetch` (control batches are stepped over, KAFKA-12980); Spark SPARK-24453, SPARK-41375
//! (queries that never go on).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::facts::Facts;

/// What the query still owes, one line for each partition of its source.
pub(crate) fn owed(facts: &Facts) -> Vec<String> {
    let Some(terms) = &facts.handoffs.terms else { return Vec::new() };
    let of_source = |topic| facts.ledger.topics.get(topic).is_some_and(|it| it.0 == terms.source);
    let seen = facts.clients.seen.iter().filter(|seen| of_source(&seen.partition.topic));
    let behind = seen.filter_map(|seen| {
        let index = seen.partition.index;
        let done = facts.handoffs.done.get(&index).copied().unwrap_or_default();
        (done < seen.acked_end).then(|| {
            let acked = seen.acked_end;
            format!("the query stands at offset {done} of partition {index}, whose end is {acked}")
        })
    });
    behind.collect()
}

#[cfg(test)]
mod tests {
    use crate::handoff::Promise;
    use crate::testing::Case;

    fn stands_at(offset: u64) -> Case {
        let mut case = Case::cluster("S6");
        case.query(Promise::AtLeastOnce).produce_source(&[100, 101]).heal();
        case.runs(1, 0, 0, offset).batch_committed(1, 0).finish();
        case
    }

    #[test]
    fn query_that_stands_below_the_end_breaks() {
        assert!(stands_at(1).breaks("S6"));
    }

    #[test]
    fn query_that_finds_its_last_batch_done_holds() {
        let mut case = Case::cluster("S6");
        case.query(Promise::AtLeastOnce).produce_source(&[100, 101]).heal();
        case.runs(1, 0, 0, 2).batch_found(2, 0).finish();
        assert!(case.holds());
    }

    #[test]
    fn query_that_stands_at_the_end_holds() {
        assert!(stands_at(2).holds());
    }
}
