//! Lays operations out over a run: the dice, the clock and the crowd that all workloads share.
//!
//! What is done is the workloads' part.

use alloc::string::String;
use alloc::vec::Vec;

use broker_core::time::Dur;

use crate::{Draw, Op, PlannedOp, Shape};

/// Fewest operations of one run.
pub(crate) const OPS_MIN: u64 = 300;

/// Most operations of one run: a run must stay small enough to be read after shrinking.
pub(crate) const OPS_MAX: u64 = 600;

/// Operations come in this part of the run, in per mille of its length; topics are created before.
pub(crate) const LOAD: core::ops::Range<u64> = 100..900;

/// No operation comes later than this, in per mille of the run.
const LAST: u64 = 990;

/// A plan in the making.
pub(crate) struct Schedule<'a> {
    shape: Shape,
    draw: &'a mut dyn Draw,
    ops: Vec<PlannedOp>,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(shape: &Shape, draw: &'a mut dyn Draw) -> Self {
        assert!(shape.clients > 0 && shape.zones > 0, "nobody is there to ask: {shape:?}");
        Self { shape: *shape, draw, ops: Vec::new() }
    }

    /// The operations, ascending in time; those of one moment in the order in which they were
    /// added.
    pub(crate) fn finish(mut self) -> Vec<PlannedOp> {
        self.ops.sort_by_key(|op| op.at);
        self.ops
    }

    pub(crate) fn len(&self) -> u64 {
        self.ops.len() as u64
    }

    /// What would come too late comes at the last moment.
    pub(crate) fn add(&mut self, at: Dur, client: u16, op: Op) {
        let at = at.min(self.moment(LAST));
        self.ops.push(PlannedOp { at, client, op });
    }

    /// A number in `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw.below(to - from + 1)
    }

    /// As [`Self::between`], for sizes and counts.
    pub(crate) fn size(&mut self, from: u32, to: u32) -> u32 {
        u32::try_from(self.between(from.into(), to.into())).expect("drawn below a u32")
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.draw.below(1_000) < per_mille
    }

    pub(crate) fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        let at = self.draw.below(from.len() as u64);
        &from[usize::try_from(at).expect("an index")]
    }

    pub(crate) fn zones(&self) -> u8 {
        self.shape.zones
    }

    pub(crate) fn client(&mut self) -> u16 {
        self.client_in(0, 1)
    }

    /// A client of this zone, or any if the zone has none.
    pub(crate) fn client_of(&mut self, zone: u8) -> u16 {
        match u16::from(zone) < self.shape.clients {
            true => self.client_in(zone.into(), self.shape.zones.into()),
            false => self.client(),
        }
    }

    /// This many per mille of the run.
    pub(crate) fn moment(&self, per_mille: u64) -> Dur {
        Dur(self.shape.length.0 / 1_000 * per_mille)
    }

    /// Some time between two moments, in per mille of the run.
    pub(crate) fn sometime(&mut self, from: u64, to: u64) -> Dur {
        let (from, to) = (self.moment(from), self.moment(to));
        Dur(self.between(from.0, to.0.max(from.0 + 1) - 1))
    }

    /// Some time while there is load.
    pub(crate) fn in_load(&mut self) -> Dur {
        self.sometime(LOAD.start, LOAD.end)
    }

    /// One of the clients `first`, `first + step`, …
    fn client_in(&mut self, first: u16, step: u16) -> u16 {
        let choices = (self.shape.clients - first).div_ceil(step);
        let nth = self.draw.below(choices.into());
        first + step * u16::try_from(nth).expect("fewer than the clients")
    }
}

/// A topic of a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: u32,
}

impl Topic {
    pub(crate) fn create(&self) -> Op {
        Op::CreateTopic { topic: self.name.clone(), partitions: self.partitions }
    }
}

/// Creates the topics before anything else happens.
pub(crate) fn create_first(schedule: &mut Schedule<'_>, topics: &[Topic]) {
    for topic in topics {
        let client = schedule.client();
        // All at the very start: whatever comes later finds them in the plan before it.
        schedule.add(Dur(0), client, topic.create());
    }
}

/// A produce of a usual size with usual acks.
pub(crate) fn usual_produce(schedule: &mut Schedule<'_>, topic: &Topic, partition: u32) -> Op {
    let (records, bytes) = match schedule.between(0, 9) {
        0..=5 => (schedule.size(1, 4), schedule.size(8, 64)),
        6..=8 => (schedule.size(1, 20), schedule.size(8, 200)),
        _ => (schedule.size(1, 3), schedule.size(500, 3_000)),
    };
    let acks = *schedule.pick(&[-1, -1, -1, -1, -1, -1, 1, 1, 1, 0]);
    let (topic, damaged, idempotent) = (topic.name.clone(), false, false);
    Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent }
}

/// Tail from the start or the end.
pub(crate) fn tail(topic: &Topic, partition: u32, from_start: bool) -> Op {
    Op::Tail { topic: topic.name.clone(), partition, from_start, committed: false }
}

/// Read to the end once.
pub(crate) fn catch_up(topic: &Topic, partition: u32) -> Op {
    Op::CatchUp { topic: topic.name.clone(), partition, committed: false }
}
