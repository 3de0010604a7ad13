//! The other nodes, in this process or behind sockets. What is said to them is the core's affair,
//! and that it may be lost, too.
//!
//! Between two processes each node opens one connection to each other and only speaks on it; the
//! other's words come on the other's connection. A connection begins with a greeting that says
//! which node of which cluster speaks to which. Both sides then show at least once in
//! [`PING_EVERY`] that they are alive, and one that hears nothing for [`SILENCE_MAX`] gives the
//! connection up. What was on its way is lost then, and never sent again: messages of one process
//! to another come in order, and none comes twice.
//!
//! Nothing here proves who speaks. The network between nodes must be trusted, as Kafka's
//! `PLAINTEXT` listeners ask for; what is checked keeps mistakes apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_core::ids::{Incarnation, NodeId};
use broker_core::peer::PeerMsg;
use broker_core::peer::frame::Hello;
use tokio::sync::mpsc;
use tokio::time::Duration;

use super::{Event, Inputs};
use crate::wire;

mod frames;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

pub use incoming::listen;

/// Messages that wait for a connection to one node, as many as the quorum keeps of those that came.
/// One more is lost.
const QUEUE_MAX: usize = 1_024;

/// The longest frame. What a broker passes on to the controller for a client is at most as long as
/// a client's frame, and the rest of the message is small; a quorum's fetch answer is 1 MiB, or one
/// entry that holds what a client asked for.
const FRAME_BYTES_MAX: usize = wire::FRAME_BYTES_MAX + (1 << 20);

/// The longest greeting: a cluster's id and some numbers.
const HELLO_BYTES_MAX: usize = 1 << 10;

/// How long a connection may take to be opened and greeted on. Shorter than the quorum's fetch
/// time-out, so that one lost packet does not cost an election.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Who has nothing to say shows after this that it is alive.
const PING_EVERY: Duration = Duration::from_secs(1);

/// Who is silent for this long is taken for dead: several pings, or a packet sent again and again.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// A connection that failed is tried again after this …
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// … and after twice as long each time, up to this: a node that is back is found soon.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The nodes that one process of a node can speak to. Dropping it ends the connections.
#[derive(Clone, Debug, Default)]
pub struct Peers(BTreeMap<NodeId, Way>);

#[derive(Clone, Debug)]
enum Way {
    Memory(Inputs),
    Socket(mpsc::Sender<PeerMsg>),
}

impl Peers {
    /// Nodes of this process.
    #[must_use]
    pub fn in_memory(nodes: BTreeMap<NodeId, Inputs>) -> Self {
        Self(nodes.into_iter().map(|(node, inputs)| (node, Way::Memory(inputs))).collect())
    }

    /// Sends a message, and never waits: where there is no room, or nobody, it is lost.
    pub(super) fn send(&self, from: NodeId, to: NodeId, msg: PeerMsg) {
        let lost = match self.0.get(&to) {
            Some(Way::Memory(inputs)) => inputs.inside.try_send(Event::Peer(from, msg)).is_err(),
            Some(Way::Socket(queue)) => queue.try_send(msg).is_err(),
            None => true,
        };
        if lost {
            tracing::debug!(node = from.0, to = to.0, "no room for a message: lost");
        }
    }
}

/// A node's place among those of other processes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Links {
    /// The cluster of all of them.
    pub cluster: String,
    /// The node itself.
    pub node: NodeId,
    /// All others, and where they listen for their peers: `HOST:PORT`.
    pub others: BTreeMap<NodeId, String>,
}

impl Links {
    /// Opens the connections of one process of the node. `inputs` are its own: it may speak to
    /// itself.
    #[must_use]
    pub fn connect(&self, incarnation: Incarnation, inputs: &Inputs) -> Peers {
        let mut ways = BTreeMap::from([(self.node, Way::Memory(inputs.clone()))]);
        for (to, address) in &self.others {
            let (queue, messages) = mpsc::channel(QUEUE_MAX);
            let (cluster, from) = (self.cluster.clone(), self.node);
            let hello = Hello { cluster, from, to: *to, incarnation };
            tokio::spawn(outgoing::speak_to(
                Arc::from(address.as_str()),
                hello,
                messages,
                inputs.meter.clone(),
            ));
            ways.insert(*to, Way::Socket(queue));
        }
        Peers(ways)
    }
}
