//! The simulator, the only crate that knows everything: a [`generate`]d [`plan`], a [`world`] of
//! nodes, clients and a hostile environment, a [`decider`] that runs the one through the other, and
//! what came of it ([`outcome`], [`trace`]). Around them the commands of `seedbed` ([`cli`]).

pub mod cli;
pub mod commands;
pub mod decider;
pub mod draws;
pub mod flight;
pub mod generate;
pub mod host;
pub mod interrupt;
pub mod live;
#[cfg(madsim)]
pub mod madsim_host;
pub mod model;
pub mod outcome;
pub mod plan;
pub mod profiles;
pub mod recording;
pub mod registry;
pub mod report;
pub mod seed;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod twice;
pub mod wallclock;
pub mod world;
