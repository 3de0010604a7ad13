//! A client's idempotent producer: its id, and per partition which batch has which sequence number
//! and may be sent when.
//!
//! No batch is sent while the fifth one before it is not acknowledged: a broker remembers five. A
//! batch that came back is sent again under its number, and only when all before it are done;
//! nothing overtakes it. If the broker does not know what comes next, the epoch is raised and the
//! partition is numbered anew; so it is when a batch was given up, but only when nothing is left
//! that might be stored under its old number. A topic created again under the same name is another
//! one, and numbered from 0. Kafka's producer counts what is in flight per connection, so that
//! after a change of leader a batch that the old one has not answered can fall out of the new one's
//! memory; this one does not. Source: KIP-98, KIP-360, `TransactionManager.java`,
//! `RecordAccumulator.shouldStopDrainBatchesForPartition`, `Sender.canRetry`,
//! `TransactionManager.maybeResolveSequences`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId};

/// `max.in.flight.requests.per.connection`: as many as a broker remembers.
const IN_FLIGHT_MAX: usize = 5;

/// A partition, by the topic's name.
pub(super) type Place = (String, PartitionIndex);

/// The producer.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Idempotence {
    id: Option<(ProducerId, ProducerEpoch)>,
    /// The operation that asks for an id.
    asking: Option<u32>,
    lines: BTreeMap<Place, Line>,
    /// Somebody may be able to go on who was not before.
    changed: bool,
}

/// The batches of one partition, in the order in which they were given to the producer.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Line {
    /// The topic that the numbers are for.
    topic: Option<TopicId>,
    /// What the numbers count under; `None` before the first.
    stamp: Option<(ProducerId, ProducerEpoch)>,
    next: Sequence,
    /// Behind the last batch that is acknowledged.
    acked: Sequence,
    /// A batch that had a number was given up: nobody knows whether the broker expects the next
    /// number. Those behind it find out.
    unresolved: bool,
    /// Numbered anew, under a raised epoch, when nothing is in flight any more.
    renew: bool,
    batches: VecDeque<Batch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Batch {
    op: u32,
    records: u32,
    first: Option<Sequence>,
    /// When it was sent last, all before it were done.
    led: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum State {
    /// To be sent, or to be sent again.
    Waits,
    InFlight,
    /// Acknowledged, before one in front of it.
    Done,
}

/// What an operation may do now.
pub(super) enum Turn {
    /// Ask for a producer id.
    AskId,
    /// Wait for others.
    Wait,
    /// Send its batch with this stamp.
    Send(ProducerStamp),
}

impl Idempotence {
    /// A batch of `records` joins the end of its line.
    pub(super) fn join(&mut self, place: Place, op: u32, records: u32) {
        let batch = Batch { op, records, first: None, led: false, state: State::Waits };
        self.lines.entry(place).or_default().batches.push_back(batch);
    }

    /// Whether it is this batch's turn to go to `topic`; if so, it is in flight from now on.
    pub(super) fn turn(&mut self, place: &Place, topic: TopicId, op: u32) -> Turn {
        let Some((id, epoch)) = self.id else {
            return match *self.asking.get_or_insert(op) == op {
                true => Turn::AskId,
                false => Turn::Wait,
            };
        };
        let line = self.lines.get_mut(place).expect("the batch has joined");
        if line.topic != Some(topic) {
            line.topic = Some(topic);
            line.begin_anew(None);
        }
        line.resolve();
        if line.renew && line.batches.iter().all(|batch| batch.state != State::InFlight) {
            // Raised by one for this partition; others take it up when they begin anew.
            let epoch = epoch.next();
            self.id = Some((id, epoch));
            line.begin_anew(Some((id, epoch)));
        }
        let at = line.batches.iter().position(|batch| batch.op == op);
        let at = at.expect("the batch has joined");
        let all_before =
            |rule: fn(State) -> bool| line.batches.iter().take(at).all(|batch| rule(batch.state));
        let led = all_before(|state| state == State::Done);
        let in_order = match line.batches[at].first {
            Some(_) => led,
            None => !line.unresolved && all_before(|state| state != State::Waits),
        };
        if line.renew || at >= IN_FLIGHT_MAX || !in_order {
            return Turn::Wait;
        }
        let (id, epoch) = *line.stamp.get_or_insert((id, epoch));
        let batch = &mut line.batches[at];
        let first = *batch.first.get_or_insert_with(|| {
            let first = line.next;
            line.next = first.plus(batch.records);
            first
        });
        (batch.state, batch.led) = (State::InFlight, led);
        self.changed = true;
        Turn::Send(ProducerStamp {
            id: i64::try_from(id.0).expect("Kafka's producer ids are signed"),
            epoch: epoch.0,
            base_sequence: i32::try_from(first.0).expect("below 2^31"),
        })
    }

    /// The answer to the question for an id came, or none will come.
    pub(super) fn answered(&mut self, id: Option<(ProducerId, ProducerEpoch)>) {
        self.id = id.or(self.id);
        self.asking = None;
        self.changed = true;
    }

    /// The batch came back, and is to be sent again. `unexpected`: the broker was not waiting for
    /// its number. That is usual behind another that came back, too; for one that was sent when all
    /// before it were done it means that the broker and this producer have parted. (Kafka's asks
    /// whether they are done by now, which proves nothing.)
    pub(super) fn came_back(&mut self, place: &Place, op: u32, unexpected: bool) {
        let line = self.lines.get_mut(place).expect("the batch has joined");
        if let Some(batch) = line.batches.iter_mut().find(|batch| batch.op == op) {
            batch.state = State::Waits;
            line.renew |= unexpected && batch.led;
        }
        self.changed = true;
    }

    /// The broker does not let this producer's epoch append any more.
    pub(super) fn renew(&mut self, place: &Place) {
        self.lines.get_mut(place).expect("the batch has joined").renew = true;
    }

    /// The operation is over; `stored`: its batch is in the log. If that is not known, the number
    /// of the next batch is not, either.
    pub(super) fn leave(&mut self, place: &Place, op: u32, stored: bool) {
        if self.asking == Some(op) {
            self.asking = None;
        }
        let line = self.lines.get_mut(place).expect("the batch has joined");
        if let Some(at) = line.batches.iter().position(|batch| batch.op == op) {
            if stored {
                let batch = &mut line.batches[at];
                batch.state = State::Done;
                if let Some(first) = batch.first {
                    line.acked = first.plus(batch.records);
                }
            } else {
                let batch = line.batches.remove(at).expect("just found");
                line.unresolved |= batch.first.is_some();
            }
        }
        while line.batches.front().is_some_and(|batch| batch.state == State::Done) {
            line.batches.pop_front();
        }
        self.changed = true;
    }

    /// Whether anything changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }
}

impl Line {
    /// With no batch left that has a number and is not acknowledged, it shows whether the one that
    /// was given up is stored: if one behind it was acknowledged.
    fn resolve(&mut self) {
        let open = |batch: &Batch| batch.first.is_some() && batch.state != State::Done;
        if self.unresolved && !self.batches.iter().any(open) {
            self.unresolved = false;
            self.renew |= self.acked != self.next;
        }
    }

    fn begin_anew(&mut self, stamp: Option<(ProducerId, ProducerEpoch)>) {
        (self.stamp, self.next, self.acked) = (stamp, Sequence(0), Sequence(0));
        (self.renew, self.unresolved) = (false, false);
        self.batches.retain(|batch| batch.state != State::Done);
        for batch in &mut self.batches {
            batch.first = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn place() -> Place {
        (String::from("t"), PartitionIndex(0))
    }

    /// A producer with an id and this many batches of two records in line.
    fn producer(batches: u32) -> Idempotence {
        let mut producer = Idempotence::default();
        for op in 0..batches {
            producer.join(place(), op, 2);
        }
        assert!(matches!(producer.turn(&place(), TopicId(1), 0), Turn::AskId));
        assert!(matches!(producer.turn(&place(), TopicId(1), 1), Turn::Wait), "one asks for all");
        producer.answered(Some((ProducerId(7), ProducerEpoch(0))));
        producer
    }

    /// (epoch, first sequence number) if it may be sent.
    fn sent(producer: &mut Idempotence, op: u32) -> Option<(i16, i32)> {
        match producer.turn(&place(), TopicId(1), op) {
            Turn::Send(ProducerStamp { id: 7, epoch, base_sequence }) => {
                Some((epoch, base_sequence))
            }
            Turn::Send(_) | Turn::AskId | Turn::Wait => None,
        }
    }

    #[test]
    fn producer_has_five_batches_in_flight_in_their_order() {
        let mut producer = producer(7);
        assert_eq!(sent(&mut producer, 1), None, "the first goes first");
        let all: Vec<_> = (0..7).map(|op| sent(&mut producer, op)).collect();
        let flying = [Some((0, 0)), Some((0, 2)), Some((0, 4)), Some((0, 6)), Some((0, 8))];
        assert_eq!(all, [&flying[..], &[None, None]].concat());
        producer.leave(&place(), 0, true);
        assert_eq!(sent(&mut producer, 5), Some((0, 10)));
    }

    #[test]
    fn producer_sends_nothing_that_would_push_an_unanswered_batch_out_of_the_brokers_memory() {
        let mut producer = producer(6);
        for op in 0..5 {
            assert!(sent(&mut producer, op).is_some());
        }
        for op in 1..5 {
            producer.leave(&place(), op, true);
        }
        assert_eq!(sent(&mut producer, 5), None, "the fifth before it is not acknowledged");
        producer.came_back(&place(), 0, false);
        assert_eq!(sent(&mut producer, 0), Some((0, 0)));
        producer.leave(&place(), 0, true);
        assert_eq!(sent(&mut producer, 5), Some((0, 10)));
    }

    #[test]
    fn producer_sends_again_one_by_one_under_the_same_numbers() {
        let mut producer = producer(4);
        for op in 0..3 {
            assert!(sent(&mut producer, op).is_some());
        }
        producer.came_back(&place(), 1, true);
        producer.came_back(&place(), 0, false);
        assert_eq!([1, 3].map(|op| sent(&mut producer, op)), [None, None]);
        assert_eq!(sent(&mut producer, 0), Some((0, 0)));
        assert_eq!(sent(&mut producer, 1), None, "not before the first is done");
        producer.leave(&place(), 0, true);
        assert_eq!(sent(&mut producer, 1), Some((0, 2)));
        assert_eq!(sent(&mut producer, 3), Some((0, 6)), "a new one may follow");
    }

    #[test]
    fn producer_whose_first_batch_is_not_expected_begins_anew_when_all_are_back() {
        let mut producer = producer(2);
        assert!(sent(&mut producer, 0).is_some() && sent(&mut producer, 1).is_some());
        producer.came_back(&place(), 0, true);
        assert_eq!(sent(&mut producer, 0), None);
        producer.came_back(&place(), 1, true);
        assert_eq!([0, 1].map(|op| sent(&mut producer, op)), [Some((1, 0)), Some((1, 2))]);
    }

    #[test]
    fn producer_with_a_batch_given_up_begins_anew() {
        let mut producer = producer(2);
        assert!(sent(&mut producer, 0).is_some());
        producer.leave(&place(), 0, false);
        assert_eq!(sent(&mut producer, 1), Some((1, 0)));
    }

    #[test]
    fn producer_sends_what_may_be_stored_under_its_old_number_after_one_was_given_up() {
        let mut producer = producer(4);
        for op in 0..3 {
            assert!(sent(&mut producer, op).is_some());
        }
        for op in 0..3 {
            producer.came_back(&place(), op, false);
        }
        producer.leave(&place(), 0, false);
        assert_eq!(sent(&mut producer, 3), None, "nobody knows its number");
        assert_eq!(sent(&mut producer, 1), Some((0, 2)));
        producer.leave(&place(), 1, true);
        assert_eq!(sent(&mut producer, 2), Some((0, 4)));
        producer.leave(&place(), 2, true);
        assert_eq!(sent(&mut producer, 3), Some((0, 6)), "the one given up is stored");
    }

    #[test]
    fn producer_begins_anew_if_one_behind_the_one_given_up_is_not_expected() {
        let mut producer = producer(2);
        assert!(sent(&mut producer, 0).is_some() && sent(&mut producer, 1).is_some());
        producer.leave(&place(), 0, false);
        producer.came_back(&place(), 1, true);
        assert_eq!(sent(&mut producer, 1), Some((0, 2)), "it was refused behind another one");
        producer.came_back(&place(), 1, true);
        assert_eq!(sent(&mut producer, 1), Some((1, 0)));
    }

    #[test]
    fn producer_refused_behind_one_that_was_not_done_keeps_its_number() {
        let mut producer = producer(2);
        assert!(sent(&mut producer, 0).is_some() && sent(&mut producer, 1).is_some());
        producer.leave(&place(), 0, true);
        producer.came_back(&place(), 1, true);
        assert_eq!(sent(&mut producer, 1), Some((0, 2)));
    }

    #[test]
    fn producer_numbers_a_topic_created_again_from_zero() {
        let mut producer = producer(2);
        assert!(sent(&mut producer, 0).is_some());
        producer.leave(&place(), 0, true);
        match producer.turn(&place(), TopicId(2), 1) {
            Turn::Send(stamp) => assert_eq!((stamp.epoch, stamp.base_sequence), (0, 0)),
            Turn::AskId | Turn::Wait => panic!("its turn"),
        }
    }
}
