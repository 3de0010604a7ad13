//! Runs a plan with whole processes: every node is a host of `broker` on a node of madsim, with
//! its sockets, codec and tasks; clients speak Kafka's protocol to them over simulated TCP.
//!
//! The environment, the faults, the clients' machines and the judge are the same as in a world that
//! runs everything itself ([`crate::world`]): its object store and log devices stand behind the
//! host's adapters, its clocks are the nodes' clocks, and it says when to kill, freeze, cut and
//! start. What madsim decides is the order of tasks and what TCP does.
//!
//! Not carried out here are faults of single messages ([`crate::plan::What::Lossy`], `SlowLink`
//! between nodes, `Stall`): a message is part of a stream of bytes. Known to be unlike a real
//! network: who is killed closes its connections at once, even across a cut; a stream has no
//! bound; a connection through a cut is refused after some milliseconds.

mod bridge;
mod process;
mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use madsim::Config;
use madsim::runtime::Runtime;
use workloads::Op;

use crate::decider::{self, Run, RunOptions, panics};
use crate::outcome::Outcome;
use crate::plan::{OpAt, Plan};
use crate::world::World;
use bridge::{Bridge, Notes};

/// How long a packet is on its way: within a zone and between zones, as in a world.
const SEND_LATENCY: std::ops::Range<Duration> =
    Duration::from_micros(100)..Duration::from_micros(1_500);

/// Runs a plan to its end, as [`decider::run`] does. The run has a thread of its own: what madsim
/// draws must not depend on what a thread did before.
pub fn run(plan: &Plan, options: RunOptions<'_>) -> Outcome {
    let (plan, notes) = (&without_namesakes(plan), Notes::wanted(&options));
    #[expect(clippy::disallowed_methods, reason = "one fresh thread per run")]
    let (outcome, notes) = std::thread::scope(|scope| {
        let alone = scope.spawn(|| alone(plan, notes));
        alone.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    notes.give(options);
    outcome
}

/// The plan with another name for each topic that is created where one was deleted. Most calls of
/// Kafka's protocol name topics by name: what was meant for one topic may happen to its namesake,
/// which a client can not see, and nobody could judge. (A world names all by id, and keeps them.)
fn without_namesakes(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let mut deleted: BTreeMap<String, u32> = BTreeMap::new();
    let mut ops: Vec<_> = plan.ops.iter_mut().collect();
    ops.sort_by_key(|op| op.at_us);
    for OpAt { op, .. } in ops {
        let ends = matches!(op, Op::DeleteTopic { .. }).then(|| op.topic().to_owned());
        for name in op.topics_mut() {
            if let Some(times) = deleted.get(name) {
                *name = format!("{name}-{}", times + 1);
            }
        }
        if let Some(name) = ends {
            *deleted.entry(name).or_default() += 1;
        }
    }
    plan
}

fn alone(plan: &Plan, mut notes: Notes) -> (Outcome, Notes) {
    let world = World::elsewhere(plan, notes.only.as_deref());
    let run = match world.map(|world| notes.with(|options| Run::new(plan, world, options))) {
        Ok(run) => run,
        Err(bad) => return (decider::not_run(bad), notes),
    };
    let bridge = Bridge::new(run, notes);
    let end = panics::caught(|| {
        let mut config = Config::default();
        config.net.send_latency = SEND_LATENCY;
        let runtime = Runtime::with_seed_and_config(plan.background, config);
        runtime.block_on(stage::play(plan.background, bridge.clone()))
    });
    let (mut run, mut notes) = bridge.take_down();
    notes.history = notes.history.map(|_| run.take_history());
    (run.outcome(decider::verdict(end)), notes)
}
