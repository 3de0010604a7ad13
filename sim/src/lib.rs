//! The simulator: a [`world`] of nodes, clients and a hostile environment; a [`decider`] that runs a
//! [`plan`] through it; what came of it ([`outcome`], [`trace`]).

pub mod decider;
pub mod draws;
pub mod outcome;
pub mod plan;
pub mod trace;
pub mod world;
