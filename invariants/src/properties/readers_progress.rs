//! LV1 ReadersProgress: in the healthy core a fetch is answered, with data or when its wait is
//! over, and readers reach the end of what any client was shown or acknowledged. Owed as long as a
//! reader lags behind that, or its newest fetch hangs or ended without an answer; but for one that
//! its client gave up early, as it does when its own time is over, or whose operation has ended.
//! Clients that may be cut off are
//! left out until they get an answer. Source: Kafka's DelayedFetch; AutoMQ f205638ccb.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::facts::Facts;
use crate::facts::clients::OpenCall;
use crate::view::{Tail, View};

/// How long a fetch may be open: several times the wait that clients ask for, and a slow read of an
/// object.
const FETCH_OPEN_US_MAX: u64 = 2_000_000;

/// Readers since the core was healed.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReadersProgress {
    /// Clients' operations whose newest call, begun in the healthy core, was a fetch without an
    /// answer.
    hanging: BTreeMap<(u16, u32), Hanging>,
}

/// Fetches in a row that ended without an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Hanging {
    partition: u32,
    times: u32,
    open_us_max: u64,
}

impl Hanging {
    /// A client whose time is over leaves at most one fetch, and that one may be young.
    fn is_owed(self) -> bool {
        self.times > 1 || self.open_us_max > FETCH_OPEN_US_MAX
    }
}

impl ReadersProgress {
    /// An operation of a client got an answer in the healthy core, be it an error.
    pub(crate) fn answered(&mut self, client: u16, op: u32) {
        self.hanging.remove(&(client, op));
    }

    /// A fetch, begun in the healthy core, got no answer while it was open.
    pub(crate) fn hung(&mut self, (client, op): (u16, u32), partition: u32, open_us: u64) {
        let hanging = self.hanging.entry((client, op)).or_default();
        hanging.partition = partition;
        hanging.times += 1;
        hanging.open_us_max = hanging.open_us_max.max(open_us);
    }

    /// What is owed.
    pub(crate) fn owed(&self, facts: &Facts, view: &dyn View) -> Vec<String> {
        let Some(healed) = facts.healed else { return Vec::new() };
        let judged = |client: u16| is_connected(client, facts, view);
        // The readers of a topic that is deleted find nobody to ask.
        let place = |place: u32| facts.clients.seen[place as usize].partition;
        let gone = |of: u32| !facts.ledger.partitions.contains_key(&place(of));
        let mut owed: Vec<String> = self
            .hanging
            .iter()
            .filter(|((client, op), hanging)| {
                hanging.is_owed()
                    && judged(*client)
                    && !gone(hanging.partition)
                    && view.is_under_way(*client, *op)
            })
            .map(|((client, op), Hanging { partition, times, .. })| {
                let index = place(*partition).index;
                alloc::format!(
                    "LV1: client {client}, operation {op}: {times} fetches of partition {index} \
                     without an answer"
                )
            })
            .collect();
        for Tail { client, partition, next } in view.tails() {
            let end = facts.clients.shown_end(partition);
            let behind = next.is_none_or(|next| next < end);
            if behind && judged(client) && facts.ledger.partitions.contains_key(&partition) {
                let index = partition.index;
                owed.push(alloc::format!(
                    "LV1: a reader of client {client} is at {next:?} of partition {index}, which \
                     goes on up to {end}"
                ));
            }
        }
        for ((client, _), open) in &facts.clients.open {
            let OpenCall::Fetch { read, offset, .. } = &open.what else { continue };
            let for_us = facts.at.0.saturating_sub(open.since.0.max(healed.0));
            if judged(*client) && !gone(read.partition) && for_us > FETCH_OPEN_US_MAX {
                let (op, index) = (open.op, place(read.partition).index);
                owed.push(alloc::format!(
                    "LV1: client {client}, operation {op}: the fetch of partition {index} from \
                     {offset} is open for {for_us} µs"
                ));
            }
        }
        owed
    }
}

/// Whether a client is not cut off from the healthy core. It may be if a node outside of the core
/// still answers it, until it gets an answer that proves the contrary.
pub(crate) fn is_connected(client: u16, facts: &Facts, view: &dyn View) -> bool {
    let all_in_core = view.brokers().iter().all(|broker| view.in_core(*broker));
    all_in_core || facts.clients.answered.contains(&client)
}

#[cfg(test)]
mod tests {
    use broker_core::ids::Offset;

    use crate::testing::{A, A_EPOCH, B, Case, P};
    use crate::view::Tail;

    #[test]
    fn fetches_without_an_answer_break() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.wait_ms(2_100).unknown(hangs);
        assert!(case.owes("LV1"));
        case.finish();
        assert!(case.breaks("LV1"));
    }

    #[test]
    fn tail_reader_behind_what_others_were_shown_breaks() {
        let tail = |next| Tail { client: 2, partition: P, next };
        for (next, holds) in [(None, false), (Some(2), false), (Some(3), true)] {
            let mut case = Case::cluster("LV1");
            case.fake.tails.push(tail(next.map(Offset)));
            case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]);
            case.heal().reads(0, 0, 3, &[(0, 100, 0), (1, 101, 0), (2, 102, 0)]);
            assert_eq!(case.owes("LV1"), !holds, "{next:?}");
            case.finish();
            assert!(if holds { case.holds() } else { case.breaks("LV1") }, "{next:?}");
        }
    }

    #[test]
    fn fetch_given_up_early_holds_and_a_second_one_breaks() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let given_up = case.fetch(2, 0, 0);
        case.unknown(given_up);
        assert!(!case.owes("LV1"));
        let again = case.fetch(2, 0, 0);
        case.unknown(again).finish();
        assert!(case.breaks("LV1"));
    }

    #[test]
    fn fetches_without_an_answer_hold_when_who_read_is_gone() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.wait_ms(2_100).unknown(hangs);
        assert!(case.owes("LV1"));
        case.fake.over.insert((2, 0));
        assert!(!case.owes("LV1"));
    }

    #[test]
    fn fetch_that_is_answered_after_one_that_was_not_holds() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.wait_ms(2_100).unknown(hangs).reads(0, 0, 0, &[]);
        assert!(!case.owes("LV1"));
        case.finish();
        assert!(case.holds());
    }

    #[test]
    fn fetches_without_an_answer_hold_when_the_topic_is_deleted() {
        let mut case = Case::cluster("LV1");
        case.heal();
        let hangs = case.fetch(2, 0, 0);
        case.wait_ms(2_100).unknown(hangs);
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
        case.wait_ms(2_100).unknown(hangs).finish();
        assert!(case.holds());
    }
}
