//! The process around the core: what a broker needs besides its state machines to serve real
//! clients on real storage. No rule of the broker is here; the machines of `broker-core` have them
//! all.

#[cfg(not(madsim))]
mod belonging;
pub mod client;
#[cfg(not(madsim))]
pub mod conformance;
#[cfg(not(madsim))]
pub mod device;
#[cfg(not(madsim))]
pub mod durable;
pub mod front;
pub mod host;
#[cfg(not(madsim))]
pub mod inspect;
#[cfg(not(madsim))]
mod life;
#[cfg(not(madsim))]
pub mod metrics;
#[cfg(not(madsim))]
pub mod node;
pub mod recording;
#[cfg(not(madsim))]
pub mod serve;
#[cfg(not(madsim))]
pub mod store;
pub mod wire;
