//! The async host of one node: feeds its state machine one input, begins every effect in order,
//! waits for the next input.
//!
//! A node is one task, and nothing else touches its machine. It never waits for anything but the
//! next input: operations on the store run in tasks of their own, the log device has a thread, and
//! what they find out comes back as an input. Inputs that come from outside are bounded in number;
//! a message to a node that has no room is lost, as the core's contract allows.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use broker_core::broker::Broker;
use broker_core::config::{BrokerConfig, ControllerConfig};
use broker_core::controller::Controller;
use broker_core::ids::{ConnId, Incarnation, IncarnationId, NodeId};
use broker_core::mutants::Mutants;
use broker_core::peer::PeerMsg;
use broker_core::step::{
    BootImage, Cx, Effect, HaltReason, Input, LogOp, LogResult, Machine, ObjOp, ObjResult, Outbox,
    Tok,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use tokio::sync::{mpsc, watch};

use crate::front::{Act, Cluster, Front};
use crate::wire::{self, Header};

mod adapters;
mod clock;
mod connection;
mod limits;
#[cfg(test)]
mod tests;
mod timers;

pub use clock::Clock;
pub use connection::serve;
use timers::Timers;

/// Inputs of each kind that wait for a node. Each connection has at most
/// [`connection::PIPELINE_MAX`] of them: this is room for some dozens of busy ones, and the others
/// wait on their sockets.
const INPUTS_MAX: usize = 4_096;

/// Inputs that a node is fed before whatever else has come has a turn. The front makes some of its
/// own: a request of many parts, each answered at once, must not keep the node from its timers, its
/// peers and other clients. As many as one connection may have under way.
const FED_MAX: usize = 64;

/// An object store: does one operation, and never tries again by itself.
pub trait ObjectStore: Send + Sync {
    /// Begins an operation.
    fn perform(&self, op: ObjOp) -> Pin<Box<dyn Future<Output = ObjResult> + Send>>;
}

/// A controller's log device. Its operations are asked one after the other, on a thread of its own.
pub trait LogDevice: Send {
    /// Does an operation. An append that succeeds has no result.
    fn perform(&mut self, op: LogOp) -> Option<LogResult>;
}

/// What a node is.
pub enum Config {
    /// A voter of the metadata quorum, and its log device.
    Controller(ControllerConfig, Box<dyn LogDevice>),
    /// A broker, and the cluster as its clients see it.
    Broker(Box<(BrokerConfig, Cluster)>),
}

/// What can happen to a node.
#[derive(Debug)]
pub enum Event {
    /// A client has connected; its answers go here.
    Opened(ConnId, connection::Answers),
    /// A client asks. What its frame holds of the broker's room is given back when it is taken.
    Request(ConnId, Header, wire::Request, limits::Held),
    /// A client asks for the versions that are spoken here in one that is not.
    UnknownVersion(ConnId, Header),
    /// A client is gone.
    Gone(ConnId),
    /// Another node says something.
    Peer(NodeId, PeerMsg),
    /// The store has done an operation.
    Obj(Tok, ObjResult),
    /// The log device has done an operation.
    Log(Tok, LogResult),
    /// The node shall stop.
    Drain,
}

/// Where to tell a node what happens. Clients have a way of their own, and come last: they could
/// fill any queue, and what the node's peers and the store say must not be lost to them.
#[derive(Clone, Debug)]
pub struct Inputs {
    inside: mpsc::Sender<Event>,
    clients: mpsc::Sender<Event>,
}

/// Where a node hears of it.
#[derive(Debug)]
pub struct Events {
    inside: mpsc::Receiver<Event>,
    clients: mpsc::Receiver<Event>,
}

impl Inputs {
    /// Asks the node to hand over what it leads, and to end. Nothing happens if it has ended.
    pub async fn drain(&self) {
        let _ = self.inside.send(Event::Drain).await;
    }
}

impl Events {
    async fn next(&mut self) -> Event {
        tokio::select! { biased;
            event = self.inside.recv() => event.expect("the node itself holds a sender"),
            event = self.clients.recv() => event.expect("the node itself holds a sender"),
        }
    }

    fn ready(&mut self) -> Option<Event> {
        self.inside.try_recv().or_else(|_| self.clients.try_recv()).ok()
    }
}

/// The other nodes.
pub type Peers = BTreeMap<NodeId, Inputs>;

/// A node before it runs.
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its zone and role.
    pub config: Config,
    /// The number of its process.
    pub incarnation: Incarnation,
    /// Its share of the object store.
    pub store: Arc<dyn ObjectStore>,
    /// Its clock.
    pub clock: Clock,
    /// Its random bits.
    pub entropy: ChaCha8Rng,
    /// Told once the node is a broker that serves.
    pub serving: watch::Sender<bool>,
}

/// A channel to a node that is about to run.
#[must_use]
pub fn inputs() -> (Inputs, Events) {
    let (inside, inside_events) = mpsc::channel(INPUTS_MAX);
    let (clients, client_events) = mpsc::channel(INPUTS_MAX);
    (Inputs { inside, clients }, Events { inside: inside_events, clients: client_events })
}

enum Role {
    Controller(Box<Controller>),
    Broker(Box<Broker>, Box<Cluster>),
}

struct Running {
    id: NodeId,
    role: Role,
    store: Arc<dyn ObjectStore>,
    log: Option<mpsc::UnboundedSender<(Tok, LogOp)>>,
    clock: Clock,
    entropy: ChaCha8Rng,
    timers: Timers,
    front: Front,
    connections: BTreeMap<ConnId, connection::Answers>,
    peers: Peers,
    inputs: Inputs,
    /// Inputs that the front has made of what came, or of the effects being begun.
    next: VecDeque<Input>,
    serving: watch::Sender<bool>,
    halted: Option<HaltReason>,
}

impl Node {
    /// Runs the node until its machine ends, and says why it did.
    pub async fn run(self, inputs: Inputs, events: &mut Events, peers: Peers) -> HaltReason {
        let Self { id, config, incarnation, store, clock, mut entropy, serving } = self;
        let (role, log) = match config {
            Config::Controller(config, device) => {
                let log = log_thread(id, device, inputs.clone());
                (Role::Controller(Box::new(Controller::new(config))), Some(log))
            }
            Config::Broker(both) => {
                let (config, cluster) = *both;
                (Role::Broker(Box::new(Broker::new(config)), Box::new(cluster)), None)
            }
        };
        let incarnation_id = IncarnationId(entropy.next_u64());
        let mut running = Running {
            id,
            role,
            store,
            log,
            clock,
            entropy,
            timers: Timers::default(),
            front: Front::default(),
            connections: BTreeMap::new(),
            peers,
            inputs,
            next: VecDeque::new(),
            serving,
            halted: None,
        };
        running.feed(Input::Boot(BootImage { incarnation, incarnation_id }));
        loop {
            if let Some(reason) = running.halted {
                return reason;
            }
            if let Some(key) = running.timers.due(running.clock.mono()) {
                running.feed(Input::Timer(key));
                // A flow that arms a timer for now lets others go first.
                if let Some(event) = events.ready() {
                    running.event(event);
                }
                continue;
            }
            if !running.next.is_empty() {
                match events.ready() {
                    Some(event) => running.event(event),
                    None => running.go_on(),
                }
                tokio::task::yield_now().await;
                continue;
            }
            let next = running.timers.next().map(|at| running.clock.instant(at));
            let event = tokio::select! { biased;
                event = events.next() => event,
                () = sleep_until(next) => continue,
            };
            running.event(event);
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The device works in order, and may block: it has a thread.
fn log_thread(
    id: NodeId,
    mut device: Box<dyn LogDevice>,
    inputs: Inputs,
) -> mpsc::UnboundedSender<(Tok, LogOp)> {
    // Not bounded: the quorum has one operation of each kind in flight, and its appends are bounded
    // by what it may propose.
    let (sender, mut ops) = mpsc::unbounded_channel();
    let work = move || {
        while let Some((tok, op)) = ops.blocking_recv() {
            if let Some(result) = device.perform(op)
                && inputs.inside.blocking_send(Event::Log(tok, result)).is_err()
            {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name(format!("log-{id}"));
    thread.spawn(work).expect("a thread for the log device");
    sender
}

impl Running {
    fn event(&mut self, event: Event) {
        match event {
            Event::Opened(conn, answers) => {
                self.connections.insert(conn, answers);
            }
            Event::Request(conn, header, request, _held) => {
                let Role::Broker(broker, cluster) = &self.role else { return };
                let known = (&**cluster, broker.image());
                let acts = self.front.request(known, conn, (header, request));
                self.act(conn, acts);
            }
            Event::UnknownVersion(conn, header) => {
                let acts = self.front.unknown_version(conn, header);
                self.act(conn, acts);
            }
            Event::Gone(conn) => {
                self.connections.remove(&conn);
                self.front.gone(conn);
                self.next.push_back(Input::Gone(conn));
            }
            Event::Peer(from, msg) => self.next.push_back(Input::Peer { from, msg }),
            Event::Obj(tok, result) => self.next.push_back(Input::ObjDone(tok, result)),
            Event::Log(tok, result) => self.next.push_back(Input::LogDone(tok, result)),
            Event::Drain => self.next.push_back(Input::Drain),
        }
        self.go_on();
    }

    fn feed(&mut self, input: Input) {
        self.next.push_back(input);
        self.go_on();
    }

    /// Some inputs, one after the other, each to the end of its effects. Others may be left.
    fn go_on(&mut self) {
        for _ in 0..FED_MAX {
            if self.halted.is_some() {
                break;
            }
            let Some(input) = self.next.pop_front() else { break };
            self.step(input);
        }
        if let Role::Broker(broker, _) = &self.role
            && !*self.serving.borrow()
            && broker.is_serving()
        {
            self.serving.send_replace(true);
        }
    }

    fn act(&mut self, conn: ConnId, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Ask { corr, request } => {
                    self.next.push_back(Input::Client { conn, corr, req: request });
                }
                Act::Close { why } => {
                    tracing::info!(node = self.id.0, conn = conn.0, "closed: {why}");
                    self.connections.remove(&conn);
                }
                Act::Answer { header, response } => {
                    if let Some(answers) = self.connections.get(&conn) {
                        answers.send(header, response);
                    }
                }
            }
        }
    }

    fn step(&mut self, input: Input) {
        let cx = Cx {
            mono: self.clock.mono(),
            wall: self.clock.wall(),
            entropy: self.entropy.next_u64(),
            mutants: Mutants::NONE,
        };
        let mut out = Outbox::default();
        match &mut self.role {
            Role::Controller(controller) => controller.step(&cx, input, &mut out),
            Role::Broker(broker, _) => broker.step(&cx, input, &mut out),
        }
        for effect in out.drain() {
            self.begin(&cx, effect);
        }
    }

    fn begin(&mut self, cx: &Cx, effect: Effect) {
        match effect {
            Effect::Reply { conn, corr, resp } => {
                let Role::Broker(broker, cluster) = &self.role else { return };
                let acts = self.front.answered((cluster, broker.image()), conn, (corr, resp));
                self.act(conn, acts);
            }
            Effect::Close(conn) => {
                // The core does not say why: it refused a produce that has no answer, or too many
                // requests wait, which the front does not let happen.
                tracing::info!(node = self.id.0, conn = conn.0, "closed: refused with acks 0");
                self.connections.remove(&conn);
                self.front.gone(conn);
            }
            Effect::Send { to, msg } => {
                if let Some(peer) = self.peers.get(&to) {
                    // No room, or not there: lost.
                    let _ = peer.inside.try_send(Event::Peer(self.id, msg));
                }
            }
            Effect::Log(tok, op) => {
                let log = self.log.as_ref().expect("only controllers have a log device");
                // The thread only ends with the node.
                let _ = log.send((tok, op));
            }
            Effect::Obj(tok, op) => {
                let (inputs, operation) = (self.inputs.inside.clone(), self.store.perform(op));
                tokio::spawn(async move {
                    // If the node is gone nobody waits for it.
                    let _ = inputs.send(Event::Obj(tok, operation.await)).await;
                });
            }
            Effect::Arm { key, after } => self.timers.arm(key, cx.mono, after),
            Effect::Disarm(key) => self.timers.disarm(key),
            Effect::Probe(probe) => tracing::trace!(node = self.id.0, ?probe),
            Effect::Halt(reason) => self.halted = Some(reason),
        }
    }
}
