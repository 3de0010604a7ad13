//! Clients of the workloads over the network: the same machines as in a world, with sockets.
//!
//! What a request looks like on the wire is [`broker::client`]'s.

pub mod connection;
