//! A run up to a point of interest, and what is done there: steps by name, or a search.

use invariants::Violation;
use invariants::history::SimTime;

use super::{Judged, Run, RunOptions, ahead, not_run, panics, verdict};
use crate::draws::StreamKey;
use crate::outcome::Verdict;
use crate::plan::Plan;
use crate::plan::then::{Then, Until};
use crate::world::World;

/// The world of a plan there, and the true time; none if the run ends sooner.
///
/// # Errors
/// How the run ended, if that was by a failure.
pub fn world_at(plan: &Plan, until: Until) -> Result<Option<(World, SimTime)>, Verdict> {
    let mut options = RunOptions::default();
    let world = World::new(plan, None).map_err(|bad| not_run(bad).verdict)?;
    let mut run = Run::new(plan, world, &options);
    match panics::caught(|| run.advance_to(until, &mut options)) {
        Ok(Ok(true)) => Ok(Some((run.world, run.now))),
        Ok(Ok(false)) => Ok(None),
        Ok(Err(violation)) => Err(verdict(Ok(Err(violation)))),
        Err(panicked) => Err(verdict(Err(panicked))),
    }
}

impl Run {
    /// Goes on until there. False if the run is over sooner.
    fn advance_to(
        &mut self,
        until: Until,
        options: &mut RunOptions<'_>,
    ) -> Result<bool, Violation> {
        let is_there = |run: &Self| match until {
            Until::At(at) => run.next_at().is_some_and(|next| next > at),
            Until::Seen { probe, nth } => run.ledger.probes[probe] >= nth,
        };
        let there = self.advance_until(is_there, options)?;
        if let Until::At(at) = until
            && there
        {
            self.now = at;
        }
        Ok(there)
    }

    /// Takes the steps of a plan's [`Then`], as a search does: nothing follows from one by itself,
    /// no fault begins, and nobody waits for the end.
    pub(super) fn follow(&mut self, then: &Then, options: &mut RunOptions<'_>) -> Judged {
        let until = Until::parse(&then.from).expect("the plan was checked");
        if !self.advance_to(until, options)? {
            return Ok(());
        }
        for name in &then.steps {
            if let Some(step) = ahead::by_name(&self.world, name) {
                self.then_taken += 1;
                self.ledger.bits = Some(ahead::bits(&self.world, &step));
                self.take(step, StreamKey::PLAN, 0, options)?;
                self.world.conclude(self.now)?;
            }
        }
        Ok(())
    }
}
