//! What is due when: a heap of events ordered by time, and among those of one instant by the order
//! in which they were scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use invariants::history::SimTime;

use crate::draws::StreamKey;
use crate::world::determinism;
use crate::world::layout::Endpoint;
use crate::world::step::Step;
use crate::world::weather::FaultId;

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Due {
    /// A step of the world.
    Step(Step),
    /// A fault begins, for this node where it says `self`.
    Begin(FaultId, Option<Endpoint>),
    /// A fault ends.
    End(FaultId),
    /// The safety phase ends.
    Safety,
}

/// Something that is due at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub at: SimTime,
    tie: u64,
    pub due: Due,
    /// The stream of the draw that chose the time.
    pub stream: StreamKey,
    /// The step that set it going.
    pub cause: u64,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

/// All that is due.
#[derive(Clone, Default, Debug)]
pub(super) struct Queue {
    /// What was scheduled before the run began, latest first: hundreds of operations that would
    /// only make the heap deep.
    planned: Vec<Event>,
    heap: BinaryHeap<Event>,
    scheduled: u64,
    /// Set for the planted bug `nd-address-key`.
    address_key: bool,
    #[expect(clippy::vec_box, reason = "their addresses are the planted bug")]
    kept: Vec<Box<u64>>,
}

impl Queue {
    /// An empty one.
    pub(super) fn new(address_key: bool) -> Self {
        Self { address_key, heap: BinaryHeap::with_capacity(256), ..Self::default() }
    }

    /// Schedules something.
    pub(super) fn push(&mut self, at: SimTime, due: Due, stream: StreamKey, cause: u64) {
        self.scheduled += 1;
        let tie = match self.address_key {
            true => determinism::address(&mut self.kept),
            false => self.scheduled,
        };
        self.heap.push(Event { at, tie, due, stream, cause });
    }

    /// All that was scheduled so far was planned; the run begins.
    pub(super) fn seal(&mut self) {
        self.planned = std::mem::take(&mut self.heap).into_sorted_vec();
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<SimTime> {
        self.planned.last().max(self.heap.peek()).map(|event| event.at)
    }

    /// Takes out what is due next.
    pub(super) fn pop(&mut self) -> Option<Event> {
        // The greater event is the earlier one.
        if self.planned.last() > self.heap.peek() { self.planned.pop() } else { self.heap.pop() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_gives_planned_and_scheduled_in_order_of_time_then_of_scheduling() {
        let mut queue = Queue::new(false);
        let push = |queue: &mut Queue, at: u64, mark: u16| {
            queue.push(SimTime(at), Due::End(FaultId(mark)), StreamKey::PLAN, 0);
        };
        push(&mut queue, 5, 1);
        push(&mut queue, 3, 2);
        push(&mut queue, 5, 3);
        queue.seal();
        push(&mut queue, 5, 4);
        push(&mut queue, 2, 5);
        push(&mut queue, 9, 6);
        let order: Vec<Due> = std::iter::from_fn(|| queue.pop()).map(|event| event.due).collect();
        assert_eq!(order, [5, 2, 1, 3, 4, 6].map(|mark| Due::End(FaultId(mark))));
    }
}
