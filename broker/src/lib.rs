//! The process around the core: what a broker needs besides its state machines to serve real
//! clients on real storage. No rule of the broker is here; the machines of `broker-core` have them
//! all.

pub mod client;
pub mod conformance;
pub mod device;
pub mod durable;
pub mod front;
pub mod host;
pub mod serve;
pub mod store;
pub mod wire;
