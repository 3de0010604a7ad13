//! LV1 ReadersProgress: in the healthy core a fetch is answered, with data or when its wait is over,
//! and so readers reach the high watermark. Owed as long as a reader's newest fetch hangs or ended
//! without an answer. Clients that may be cut off are left out until they get an answer. Source:
//! Kafka's DelayedFetch; AutoMQ f205638ccb.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::TopicPartition;

use crate::facts::Facts;
use crate::facts::clients::OpenCall;
use crate::view::View;

/// How long a fetch may be open: several times the wait that clients ask for, and a slow read of an
/// object.
const FETCH_OPEN_US_MAX: u64 = 2_000_000;

/// Readers since the core was healed.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReadersProgress {
    answered: BTreeSet<u16>,
    /// Readers whose newest fetch, begun in the healthy core, ended without an answer: by client
    /// and operation, for a reader that starts over (after a reset, a truncation) is still the same
    /// reader, only under another number.
    hanging: BTreeMap<(u16, u32), Hanging>,
}

/// A reader's fetches without an answer, in a row.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Hanging {
    /// The reader's number and partition in the newest of them.
    reader: u32,
    partition: TopicPartition,
    times: u32,
}

impl ReadersProgress {
    /// A client got an answer in the healthy core.
    pub(crate) fn answered(&mut self, client: u16) {
        self.answered.insert(client);
    }

    /// The reader of an operation got data, an empty answer or an error.
    pub(crate) fn fetched(&mut self, client: u16, op: u32) {
        self.hanging.remove(&(client, op));
    }

    /// Its fetch, begun in the healthy core, got no answer.
    pub(crate) fn hung(&mut self, client: u16, op: u32, reader: u32, partition: TopicPartition) {
        let times = self.hanging.get(&(client, op)).map_or(0, |before| before.times) + 1;
        self.hanging.insert((client, op), Hanging { reader, partition, times });
    }

    /// What is owed.
    pub(crate) fn owed(&self, facts: &Facts, view: &dyn View) -> Vec<String> {
        let Some(healed) = facts.healed else { return Vec::new() };
        let all_in_core = view.brokers().iter().all(|broker| view.in_core(*broker));
        let judged = |client: u16| all_in_core || self.answered.contains(&client);
        let mut owed: Vec<String> = self
            .hanging
            .iter()
            .filter(|((client, _), _)| judged(*client))
            // A reader whose topic is deleted ends with it.
            .filter(|(_, hanging)| facts.ledger.partitions.contains_key(&hanging.partition))
            .map(|((client, _), Hanging { reader, times, .. })| {
                alloc::format!(
                    "LV1: client {client}, reader {reader}: {times} fetches without an answer"
                )
            })
            .collect();
        for ((client, _), open) in &facts.clients.open {
            let OpenCall::Fetch { read, offset, reader } = &open.what else { continue };
            let for_us = facts.at.0.saturating_sub(open.since.0.max(healed.0));
            if judged(*client) && for_us > FETCH_OPEN_US_MAX {
                let partition = facts.clients.seen[read.partition as usize].partition.index;
                owed.push(alloc::format!(
                    "LV1: client {client}, reader {reader}: the fetch of partition {partition} from \
                     {offset} is open for {for_us} µs"
                ));
            }
        }
        owed
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{B, Case};

    #[test]
    fn fetches_without_an_answer_break() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.unknown(hangs);
        assert!(case.owes("LV1"));
        case.finish();
        assert!(case.breaks("LV1"));
    }

    #[test]
    fn fetch_that_is_answered_after_one_that_was_not_holds() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.unknown(hangs).reads(0, 0, 0, &[]);
        assert!(!case.owes("LV1"));
        case.finish();
        assert!(case.holds());
    }

    #[test]
    fn reader_that_started_over_and_is_answered_holds() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch_as((2, 1), 7, 0);
        case.unknown(hangs);
        let again = case.fetch_as((2, 2), 0, 0);
        case.fetched(again, 0, &[]);
        assert!(!case.owes("LV1"));
        case.finish();
        assert!(case.holds());
    }

    #[test]
    fn reader_that_started_over_and_hangs_again_breaks() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let answered = case.fetch_as((2, 1), 7, 0);
        case.fetched(answered, 0, &[]);
        let hangs = case.fetch_as((2, 2), 0, 0);
        case.unknown(hangs);
        assert!(case.owes("LV1"));
        case.finish();
        assert!(case.breaks("LV1"));
    }

    #[test]
    fn reader_of_another_operation_that_is_answered_breaks() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.unknown(hangs).next_op().reads(0, 0, 0, &[]);
        assert!(case.owes("LV1"));
        case.finish();
        assert!(case.breaks("LV1"));
    }

    #[test]
    fn fetches_without_an_answer_hold_when_the_topic_is_deleted() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.unknown(hangs);
        assert!(case.owes("LV1"));
        case.delete_topic();
        assert!(!case.owes("LV1"));
    }

    #[test]
    fn fetch_open_for_long_is_owed() {
        let mut case = Case::cluster("LV1");
        case.heal();
        case.fetch(2, 0, 0);
        assert!(!case.wait_ms(1_900).owes("LV1"));
        assert!(case.wait_ms(200).owes("LV1"));
    }

    #[test]
    fn client_that_may_be_cut_off_holds() {
        let mut case = Case::cluster("LV1");
        case.fake.outside.insert(B);
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.unknown(hangs).finish();
        assert!(case.holds());
    }
}
