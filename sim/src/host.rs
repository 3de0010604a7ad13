//! The host on which this binary runs plans: a world that runs its processes itself, or, in a build
//! with `--cfg madsim`, whole processes under madsim.

use crate::decider::RunOptions;
use crate::outcome::Outcome;
use crate::plan::Plan;

/// Whether plans are run with whole processes.
pub const IS_MADSIM: bool = cfg!(madsim);

/// Kinds of faults that this host does not carry out: under madsim a message is part of a stream.
pub const NOT_CARRIED_OUT: &[&str] = if IS_MADSIM { &["lossy", "slow-link", "stall"] } else { &[] };

/// The command that a person repeats a run with.
pub const COMMAND: &str = if IS_MADSIM { "cargo madsim" } else { "cargo seedbed" };

/// Runs a plan to its end.
pub fn run(plan: &Plan, options: RunOptions<'_>) -> Outcome {
    #[cfg(madsim)]
    return crate::madsim_host::run(plan, options);
    #[cfg(not(madsim))]
    crate::decider::run(plan, options)
}
