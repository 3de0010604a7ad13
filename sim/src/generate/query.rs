//! What a run with a query has beyond its operations: the query, and what is done to it.
//!
//! Drawn is what a query promises to survive. Files that the checkpoint loses are not, but for the
//! commit log, whose loss costs a batch that comes twice.

use workloads::spark_handoff;

use super::draft::Draft;
use super::draw::{Purpose, Stream};
use super::shape;
use crate::plan::{Act, Anchor, Fault, Plan, What, When};
use crate::world::spark::MARKS;

/// `spark.sql.streaming.minBatchesToRetain` as Spark has it: more than a run has batches.
const RETAIN: u64 = 100;

/// Draws query and faults.
pub(super) fn add(seed: u64, plan: &mut Plan) {
    let mut stream = Stream::new(seed, Purpose::Query, 0);
    plan.query = Some(spark_handoff::query(&shape(plan), &mut stream));
    let mut stream = Stream::new(seed, Purpose::QueryFaults, 0);
    let draft = Draft::new(plan);
    let count = stream.between(1, 5);
    let mut faults: Vec<_> = (0..count).map(|_| fault(&draft, &mut stream)).collect();
    let waits = |fault: &Fault| match fault.when {
        When::At { at_us } => at_us,
        When::On { .. } => u64::MAX,
    };
    // A rival that sleeps while the logs are purged, or lost, finds its place in them free.
    let lost = What::Query { act: Act::LoseCommits };
    if faults.iter().any(|fault| fault.what == What::Query { act: Act::Rival })
        && let Some(query) = &mut plan.query
    {
        query.retain = RETAIN;
        faults.retain(|fault| fault.what != lost);
    }
    plan.faults.extend(faults);
    plan.faults.sort_by_key(waits);
}

fn fault(draft: &Draft, stream: &mut Stream) -> Fault {
    let act = match stream.below(100) {
        0..45 => Act::Kill,
        45..55 => Act::Stop,
        55..75 => Act::Rival,
        75..85 => Act::LoseExecutor,
        85..97 => Act::FailTask,
        _ => Act::LoseCommits,
    };
    let lasting_us = match act {
        Act::FailTask | Act::LoseCommits => 0,
        _ => stream.steps(100_000, 8_000_000, 100_000),
    };
    let when = if stream.chance(750) {
        let nth = stream.between(1, 4) as u32;
        let after_us = if stream.chance(300) { stream.steps(0, 1_000_000, 10_000) } else { 0 };
        let probe = stream.pick(&MARKS).0.to_owned();
        When::On { on: Anchor { probe, node: None, nth, after_us } }
    } else {
        When::At { at_us: draft.time(stream, lasting_us) }
    };
    Fault { when, lasting_us, what: What::Query { act } }
}
