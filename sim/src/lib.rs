//! The simulator: a [`world`] of nodes, clients and a hostile environment; a [`decider`] that runs a
//! [`plan`] through it; what came of it ([`outcome`], [`trace`]); where plans come from
//! ([`generate`]); and the [`commands`].

pub mod cli;
pub mod commands;
pub mod decider;
pub mod draws;
pub mod execute;
pub mod generate;
pub mod interrupt;
pub mod outcome;
pub mod plan;
pub mod profiles;
pub mod registry;
pub mod report;
pub mod seed;
pub mod shrink;
pub mod stub;
pub mod sweep;
pub mod trace;
pub mod twice;
pub mod wallclock;
pub mod world;
