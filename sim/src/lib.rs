//! The simulator: a [`world`] of nodes, clients and a hostile environment; a [`decider`] that runs a
//! [`plan`] through it; what came of it ([`outcome`], [`trace`]); where plans come from
//! ([`generate`]).

pub mod draws;
pub mod generate;
pub mod outcome;
pub mod plan;
pub mod profiles;
pub mod registry;
mod stub;
pub mod trace;
pub mod world;
