//! Which processes run, for how long they really ran, and what each knows of itself.

use alloc::collections::{BTreeMap, BTreeSet};

use broker_core::ids::{BrokerEpoch, Incarnation, NodeId, TopicId};

use crate::history::SimTime;
use crate::view::NodeEvent;

/// All nodes that were heard of.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Nodes(BTreeMap<NodeId, Node>);

/// One node's present process.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) incarnation: Incarnation,
    pub(crate) up: bool,
    paused_since: Option<SimTime>,
    paused_us: u64,
    /// Its registration, as it knows it.
    pub(crate) epoch: Option<BrokerEpoch>,
    /// It learned that its registration is refused.
    pub(crate) fenced: bool,
    /// The claim on its own WAL.
    pub(crate) claim: Option<u64>,
    /// Appends wait for room.
    pub(crate) back_pressure: bool,
    /// Topics that it has seen deleted.
    pub(crate) topics_gone: BTreeSet<TopicId>,
}

impl Node {
    /// Its process is frozen.
    pub(crate) fn paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// For how long its processes have run and not been paused: the clock of its timers.
    pub(crate) fn ran_us(&self, at: SimTime) -> u64 {
        let now = self.paused_since.unwrap_or(at);
        now.0.saturating_sub(self.paused_us)
    }
}

impl Nodes {
    pub(crate) fn get(&self, node: NodeId) -> Option<&Node> {
        self.0.get(&node)
    }

    pub(crate) fn of(&mut self, node: NodeId) -> &mut Node {
        self.0.entry(node).or_default()
    }

    pub(crate) fn event(&mut self, at: SimTime, node: NodeId, event: NodeEvent) {
        let node = self.of(node);
        match event {
            NodeEvent::Booted(incarnation) => {
                *node = Node { incarnation, up: true, ..Node::default() };
            }
            NodeEvent::Crashed { .. } => node.up = false,
            NodeEvent::Paused => {
                node.paused_since.get_or_insert(at);
            }
            NodeEvent::Resumed => {
                if let Some(since) = node.paused_since.take() {
                    node.paused_us += at.0.saturating_sub(since.0);
                }
            }
            NodeEvent::Impaired | NodeEvent::Restored => {}
        }
    }
}
