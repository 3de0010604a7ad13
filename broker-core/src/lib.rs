//! The broker core: the state machines of a Kafka-compatible broker on shared storage.
//!
//! Value in, value out. This crate never reads a clock, a file, a socket or a random source, starts
//! no thread, prints nothing and has no randomly ordered map; [`step`] is the whole contract.

#![no_std]
#![deny(clippy::wildcard_enum_match_arm)]

extern crate alloc;

pub mod batch;
pub mod broker;
pub mod cache;
pub mod config;
pub mod connection;
pub mod controller;
pub mod coordinator;
mod cursor;
pub mod format;
pub mod hash;
pub mod ids;
pub mod metadata;
pub mod mutants;
pub mod object;
pub mod partition;
pub mod peer;
pub mod probe;
pub mod protocol;
pub mod quorum;
pub mod read;
pub mod recovery;
pub mod step;
mod store;
pub mod time;
pub mod upload;
pub mod wal;
