//! Clients of the workloads over the network: the same machines as in a world, with sockets, the
//! machine's clock, and any broker that speaks Kafka's protocol.
//!
//! What a request looks like on the wire is [`broker::client`]'s; what a history means is the
//! judge's. [`verify`] is a run from its first to its last step.

pub mod connection;
#[cfg(not(madsim))]
mod finish;
#[cfg(not(madsim))]
pub mod host;
#[cfg(not(madsim))]
pub mod load;
#[cfg(not(madsim))]
pub mod nemesis;
#[cfg(not(madsim))]
pub mod probe;
#[cfg(not(madsim))]
pub mod verify;
