//! The group coordinator, through its host and a log of real batches.

mod classic;
mod consumer;
mod offsets;
#[cfg(feature = "mutants")]
mod planted;
mod random;
mod rig;
