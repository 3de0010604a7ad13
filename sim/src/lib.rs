//! The simulator: the only place that knows the core, the clients, the judges and the world.

pub mod generate;
pub mod outcome;
pub mod plan;
pub mod profiles;
pub mod registry;
mod stub;
