//! What the clients of a live run are told to do: the operations that a seed gives a workload, laid
//! out over the asked length, on topics and groups that no other run has.
//!
//! A run of more than a minute is several rounds, each with clients, topics and groups of its own:
//! one after the other, as so many runs of the simulator. A topic that a workload deletes is
//! created anew under another name: whoever names topics by name (Produce before version 13) can
//! not say which one it means, and nobody could judge what became of it (ADR 0016).

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::time::Dur;
use workloads::op::GroupProtocol;
use workloads::{Op, PlannedOp, Shape, Workload};

use crate::generate::draw::{Purpose, Stream};

/// A round takes about so long.
const ROUND: Duration = Duration::from_secs(60);
/// A run has no more rounds than this: numbers of operations and clients have an end.
const ROUNDS_MAX: u64 = 64;
/// Times that a workload states in milliseconds are meant for runs of this length.
const USUAL: Duration = Duration::from_secs(45);
/// As in the simulator's clusters.
const ZONES: u8 = 3;
/// Fewest and most clients of a round.
const CLIENTS: (u64, u64) = (4, 12);
/// More than all rounds can have.
pub const CLIENTS_MAX: u16 = 1_000;

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    /// Its length.
    pub length: Duration,
    /// How many clients it has.
    pub clients: u16,
    /// Ascending in time.
    pub ops: Vec<PlannedOp>,
    /// Members that would follow KIP-848 do not.
    pub replaced: bool,
}

/// What a broker makes possible.
#[derive(Clone, Copy, Debug)]
pub struct Can {
    /// How many brokers there are.
    pub brokers: u16,
    /// Groups by KIP-848; else such members follow the cooperative protocol.
    pub consumer_groups: bool,
}

/// The rounds of a run. `run` stands in every name.
#[must_use]
pub fn rounds(
    (seed, run): (u64, &str),
    workload: &Workload,
    length: Duration,
    can: Can,
) -> Vec<Round> {
    let count = (length.as_secs() / ROUND.as_secs()).clamp(1, ROUNDS_MAX);
    let each = length / u32::try_from(count).expect("at most ROUNDS_MAX");
    let round = |nth: u64| {
        let seed = seed.wrapping_add(nth);
        let (least, most) = CLIENTS;
        let clients = Stream::new(seed, Purpose::Topology, 0).between(least, most);
        let clients = u16::try_from(clients).expect("a few");
        let us = u64::try_from(each.as_micros()).expect("below 2^64");
        let shape = Shape { clients, zones: ZONES, brokers: can.brokers.max(1), length: Dur(us) };
        let planned = (workload.plan)(&shape, &mut Stream::new(seed, Purpose::Operations, 0));
        let mut names = Names { prefix: format!("seedbed-{run}-{nth}"), ..Names::default() };
        let op =
            |it: PlannedOp| PlannedOp { op: names.apply(it.op, each, can.consumer_groups), ..it };
        let ops = planned.into_iter().map(op).collect();
        Round { length: each, clients, ops, replaced: names.replaced }
    };
    (0..count).map(round).collect()
}

/// Gives operations the names of this run.
#[derive(Default)]
struct Names {
    prefix: String,
    /// How often a topic was deleted before, by the order of the plan.
    deleted: BTreeMap<String, u32>,
    replaced: bool,
}

impl Names {
    fn topic(&self, name: &mut String) {
        *name = match self.deleted.get(name) {
            None => format!("{}-{name}", self.prefix),
            Some(times) => format!("{}-{name}-{}", self.prefix, times + 1),
        };
    }

    fn own(&self, name: &mut String) {
        *name = format!("{}-{name}", self.prefix);
    }

    fn apply(&mut self, mut op: Op, length: Duration, consumer_groups: bool) -> Op {
        let ends = matches!(op, Op::DeleteTopic { .. }).then(|| op.topic().to_owned());
        op.topics_mut().for_each(|topic| self.topic(topic));
        if let Some(plain) = ends {
            *self.deleted.entry(plain).or_default() += 1;
        }
        match &mut op {
            Op::Transaction { id, think_ms, .. } => {
                id.iter_mut().for_each(|id| self.own(id));
                *think_ms = scaled(*think_ms, length);
            }
            Op::Consume { group, protocol, stays_ms, .. } => {
                self.own(group);
                *stays_ms = scaled(*stays_ms, length);
                if *protocol == GroupProtocol::Consumer && !consumer_groups {
                    *protocol = GroupProtocol::Cooperative;
                    self.replaced = true;
                }
            }
            Op::CreateTopic { .. }
            | Op::DeleteTopic { .. }
            | Op::AddPartitions { .. }
            | Op::AlterConfig { .. }
            | Op::DescribeConfigs { .. }
            | Op::Produce { .. }
            | Op::Tail { .. }
            | Op::CatchUp { .. }
            | Op::ListOffsets { .. }
            | Op::EpochEnd { .. } => {}
        }
        op
    }
}

/// A time of a workload in a run that is shorter than usual; 0 stays 0, which has a meaning.
fn scaled(ms: u32, length: Duration) -> u32 {
    if length >= USUAL || ms == 0 {
        return ms;
    }
    let scaled = u128::from(ms) * length.as_millis() / USUAL.as_millis();
    u32::try_from(scaled).expect("less than it was").max(1)
}
