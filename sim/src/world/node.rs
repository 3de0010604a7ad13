//! The processes of a world: a controller or broker with what the host keeps for it, and a client
//! with its connections.

use std::collections::VecDeque;

use broker_core::broker::Broker;
use broker_core::controller::Controller;
use broker_core::ids::Incarnation;
use broker_core::metadata::Image;
use broker_core::quorum::Quorum;
use broker_core::step::{Cx, Effect, Input, Machine, Outbox, TimerKey};
use broker_core::wal::Wal;
use workloads::client::{Client, ClientTimer};

use crate::world::connection::Connection;
use crate::world::layout::{Endpoint, Layout};

/// A node's state machine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Node {
    /// A voter of the metadata quorum.
    Controller(Box<Controller>),
    /// A broker.
    Broker(Box<Broker>),
}

impl Node {
    /// A new process of this endpoint.
    #[must_use]
    pub fn new(layout: &Layout, endpoint: Endpoint) -> Self {
        if layout.is_controller(endpoint) {
            let config = layout.controller_config(layout.node(endpoint));
            Self::Controller(Box::new(Controller::new(config)))
        } else {
            Self::Broker(Box::new(Broker::new(layout.broker_config(endpoint))))
        }
    }

    /// Feeds it one input.
    pub fn step(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        match self {
            Self::Controller(controller) => controller.step(cx, input, out),
            Self::Broker(broker) => broker.step(cx, input, out),
        }
    }

    /// Its committed metadata.
    #[must_use]
    pub fn image(&self) -> &Image {
        match self {
            Self::Controller(controller) => controller.image(),
            Self::Broker(broker) => broker.image(),
        }
    }

    /// What its flows wait for, one line each.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        match self {
            Self::Controller(controller) => controller.blocked(),
            Self::Broker(broker) => broker.blocked(),
        }
    }

    /// A broker's write-ahead log.
    #[must_use]
    pub fn wal(&self) -> Option<&Wal> {
        match self {
            Self::Controller(_) => None,
            Self::Broker(broker) => Some(broker.wal()),
        }
    }

    /// A controller's quorum.
    #[must_use]
    pub fn quorum(&self) -> Option<&Quorum> {
        match self {
            Self::Controller(controller) => Some(controller.quorum()),
            Self::Broker(_) => None,
        }
    }
}

/// A node as its host sees it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Slot {
    /// The process, if it runs.
    pub process: Option<Node>,
    /// Of the process that runs, or ran last; 0 before the first.
    pub incarnation: Incarnation,
    /// It is frozen.
    pub paused: bool,
    /// Armed timers, ascending.
    pub timers: Armed<TimerKey>,
}

impl Slot {
    /// Whether it can take a step now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.process.is_some() && !self.paused
    }
}

/// A client as its host sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientSlot {
    /// The client.
    pub client: Client,
    /// Whether it has started.
    pub booted: bool,
    /// Its connections, in the order in which it opened them.
    pub connections: Vec<Connection>,
    /// The plan's operations that it has not been told to do yet, in order of their times.
    pub ops: VecDeque<u32>,
    /// Armed timers, ascending.
    pub timers: Armed<ClientTimer>,
}

impl ClientSlot {
    /// It was told to do this operation of the plan.
    pub fn begin(&mut self, op: u32) {
        if let Some(place) = self.ops.iter().position(|one| *one == op) {
            self.ops.remove(place);
        }
    }
}

/// The timers that are armed, ascending, so that equal sets hash equal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Armed<K>(Vec<K>);

impl<K> Default for Armed<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy> Armed<K> {
    /// Arms one; it may be armed already.
    pub fn arm(&mut self, key: K) {
        if let Err(place) = self.0.binary_search(&key) {
            self.0.insert(place, key);
        }
    }

    /// Disarms one. True if it was armed.
    pub fn disarm(&mut self, key: K) -> bool {
        let found = self.0.binary_search(&key);
        if let Ok(place) = found {
            self.0.remove(place);
        }
        found.is_ok()
    }

    /// Whether it is armed.
    #[must_use]
    pub fn holds(&self, key: K) -> bool {
        self.0.binary_search(&key).is_ok()
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All that are armed.
    pub fn iter(&self) -> impl Iterator<Item = K> + '_ {
        self.0.iter().copied()
    }
}
