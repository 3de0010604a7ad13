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

use std::time::Duration;

use madsim::Config;
use madsim::runtime::Runtime;

use crate::decider::{self, Run, RunOptions, panics};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::world::World;
use bridge::{Bridge, Notes};

/// How long a packet is on its way: within a zone and between zones, as in a world.
const SEND_LATENCY: std::ops::Range<Duration> =
    Duration::from_micros(100)..Duration::from_micros(1_500);

/// Runs a plan to its end, as [`decider::run`] does. The run has a thread of its own: what madsim
/// draws must not depend on what a thread did before.
pub fn run(plan: &Plan, options: RunOptions<'_>) -> Outcome {
    let notes = Notes::wanted(&options);
    #[expect(clippy::disallowed_methods, reason = "one fresh thread per run")]
    let (outcome, notes) = std::thread::scope(|scope| {
        let alone = scope.spawn(|| alone(plan, notes));
        alone.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    notes.give(options);
    outcome
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
