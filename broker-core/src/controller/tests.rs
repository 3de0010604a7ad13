//! Tests of the controller, one file per area, on a small rig of controllers with real voters.

mod brokers;
mod objects;
mod office;
mod quorum;
mod rig;
mod streams;
mod topics;
mod wals;
