//! A run up to a point of interest, for whoever goes on from there.

use invariants::history::SimTime;

use super::{Run, RunOptions, not_run, panics, verdict};
use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::world::World;

/// Where a run is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Before the first step that is later than this.
    At(SimTime),
    /// Behind the step in which a probe is seen for the nth time, from 1 on.
    Seen {
        /// Its number in `Probe::NAMES`.
        probe: usize,
        /// How often.
        nth: u64,
    },
}

/// The world of a plan there, and the true time; none if the run ends sooner.
///
/// # Errors
/// How the run ended, if that was by a failure.
pub fn world_at(plan: &Plan, until: Until) -> Result<Option<(World, SimTime)>, Verdict> {
    let mut options = RunOptions::default();
    let world = World::new(plan, None).map_err(|bad| not_run(bad).verdict)?;
    let mut run = Run::new(plan, world, &options);
    let there = |run: &Run| match until {
        Until::At(at) => run.next_at().is_some_and(|next| next > at) && !run.done,
        Until::Seen { probe, nth } => run.ledger.probes[probe] >= nth,
    };
    let end = panics::caught(|| {
        while !there(&run) {
            if !run.advance(&mut options)? {
                return Ok(false);
            }
        }
        Ok(true)
    });
    match end {
        Ok(Ok(true)) => {
            let at = if let Until::At(at) = until { at } else { run.now };
            Ok(Some((run.world, at)))
        }
        Ok(Ok(false)) => Ok(None),
        Ok(Err(violation)) => Err(verdict(Ok(Err(violation)))),
        Err(panicked) => Err(verdict(Err(panicked))),
    }
}
