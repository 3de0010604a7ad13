//! Clients of the workloads over the network: the same machines as in a world, with sockets, the
//! machine's clock, and any broker that speaks Kafka's protocol.
//!
//! What a request looks like on the wire is [`broker::client`]'s; what a history means is the
//! judge's. [`verify`] is a run from its first to its last step.

pub mod connection;
mod finish;
pub mod host;
pub mod load;
pub mod nemesis;
pub mod probe;
pub mod verify;
