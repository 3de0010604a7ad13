//! The simulator: the only place that knows the core, the clients, the judges and the world.

pub mod cli;
pub mod commands;
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
pub mod twice;
pub mod wallclock;

pub use stub::{decider, trace};
