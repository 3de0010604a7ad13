//! The async host of one node: feeds its state machine one input, begins every effect in order,
//! waits for the next input.
//!
//! A node is one task, and nothing else touches its machine. It never waits for anything but the
//! next input: operations on the store run in tasks of their own, the log device has a thread, and
//! what they find out comes back as an input. Inputs that come from outside are bounded in number;
//! a message to a node that has no room is lost, as the core's contract allows.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::ControlFlow;
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
use broker_core::time::{Mono, Wall};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::front::{Act, Cluster, Front};
use crate::wire::{self, Header};

#[cfg(not(madsim))]
mod adapters;
mod clock;
mod connection;
mod levels;
mod limits;
mod meter;
pub mod mutants;
mod peers;
#[cfg(test)]
mod tests;
mod timers;

pub use clock::SystemClock;
pub use connection::{serve, serve_once_serving};
pub use levels::{BrokerLevels, ControllerLevels, GroupLevels, Levels, PartitionLevels};
pub use meter::{Meter, StoreCall, StoreOperation};
use mutants::{Planted, ShellMutant, ShellMutants};
pub use peers::{Links, Peers, listen};
use timers::Timers;

/// Inputs of each kind that wait for a node. Each connection has at most
/// [`connection::PIPELINE_MAX`] of them: this is room for some dozens of busy ones, and the others
/// wait on their sockets.
const INPUTS_MAX: usize = 4_096;

/// Inputs that a node is fed before whatever else has come has a turn. The front makes some of its
/// own: a request of many parts, each answered at once, must not keep the node from its timers, its
/// peers and other clients. As many as one connection may have under way.
const FED_MAX: usize = 64;

/// An operation on the store that is under way.
pub type Performing = Pin<Box<dyn Future<Output = ObjResult> + Send>>;

/// An object store: does one operation, and never tries again by itself.
pub trait ObjectStore: Send + Sync {
    /// Begins an operation.
    fn perform(&self, op: ObjOp) -> Performing;

    /// Begins an operation of this flow; which one it is matters to no real store.
    fn perform_for(&self, _tok: Tok, op: ObjOp) -> Performing {
        self.perform(op)
    }
}

/// A controller's log device. It works in the order in which it is asked, and never blocks who
/// asks.
pub trait LogDevice: Send {
    /// Starts it for this process. What comes of its operations goes to `done`, as
    /// [`Event::Log`]; an append that succeeds has no result.
    fn start(self: Box<Self>, node: NodeId, done: Inputs) -> LogAsk;
}

/// Asks a device that has been started.
pub type LogAsk = Box<dyn FnMut(Tok, LogOp) + Send>;

/// A node's clocks.
pub trait Clock: Send {
    /// Microseconds on the monotonic clock.
    fn mono(&self) -> Mono;
    /// Microseconds since the Unix epoch. Before it: 0.
    fn wall(&self) -> Wall;
    /// When, as far as can be told now, the monotonic clock will have come to this.
    fn instant(&self, at: Mono) -> tokio::time::Instant;
}

/// Sees everything that crosses the boundary of a node's machine.
pub trait Observer: Send {
    /// The machine is about to take a step.
    fn fed(&mut self, _cx: &Cx, _input: &Input) {}

    /// The machine has taken a step, and all its effects are begun. `Break`: the process is dead,
    /// and takes no other one.
    fn stepped(&mut self, cx: &Cx, input: &Input, effects: &[Effect]) -> ControlFlow<()>;
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
    /// Somebody wants to know how it stands.
    Look(oneshot::Sender<Levels>),
}

/// Where to tell a node what happens. Clients have a way of their own, and come last: they could
/// fill any queue, and what the node's peers and the store say must not be lost to them.
#[derive(Clone, Debug)]
pub struct Inputs {
    inside: mpsc::Sender<Event>,
    clients: mpsc::Sender<Event>,
    /// Who measures the node.
    meter: Arc<dyn Meter>,
}

/// Where a node hears of it.
#[derive(Debug)]
pub struct Events {
    inside: mpsc::Receiver<Event>,
    clients: mpsc::Receiver<Event>,
}

impl Inputs {
    /// Tells the node what happened inside the cluster. Nothing happens if it has ended.
    pub async fn tell(&self, event: Event) {
        let _ = self.inside.send(event).await;
    }

    /// The same, from a thread. False if the node has ended.
    pub fn tell_from_thread(&self, event: Event) -> bool {
        self.inside.blocking_send(event).is_ok()
    }

    /// How the node stands, between two of its inputs; none if it has ended, or ends before it
    /// answers.
    pub async fn look(&self) -> Option<Levels> {
        let (answer, levels) = oneshot::channel();
        self.tell(Event::Look(answer)).await;
        levels.await.ok()
    }

    /// Asks the node to hand over what it leads, and to end. Nothing happens if it has ended.
    pub async fn drain(&self) {
        self.tell(Event::Drain).await;
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
    /// Its clocks.
    pub clock: Box<dyn Clock>,
    /// Its random bits.
    pub entropy: ChaCha8Rng,
    /// Told once the node is a broker that serves.
    pub serving: watch::Sender<bool>,
    /// Sees its steps, if anybody does.
    pub observer: Option<Box<dyn Observer>>,
    /// The planted bugs of its core and of its shell; none outside the simulator.
    pub mutants: (Mutants, ShellMutants),
}

/// A channel to a node that is about to run.
#[must_use]
pub fn inputs() -> (Inputs, Events) {
    inputs_measured(Arc::new(meter::Unmeasured))
}

/// The same, to one that is measured.
#[must_use]
pub fn inputs_measured(meter: Arc<dyn Meter>) -> (Inputs, Events) {
    let (inside, inside_events) = mpsc::channel(INPUTS_MAX);
    let (clients, client_events) = mpsc::channel(INPUTS_MAX);
    (Inputs { inside, clients, meter }, Events { inside: inside_events, clients: client_events })
}

enum Role {
    Controller(Box<Controller>),
    Broker(Box<Broker>, Box<Cluster>),
}

struct Running {
    id: NodeId,
    role: Role,
    store: Arc<dyn ObjectStore>,
    log: Option<LogAsk>,
    clock: Box<dyn Clock>,
    entropy: ChaCha8Rng,
    timers: Timers,
    front: Front,
    connections: BTreeMap<ConnId, connection::Answers>,
    peers: Peers,
    inputs: Inputs,
    /// Inputs that the front has made of what came, or of the effects being begun.
    next: VecDeque<Input>,
    serving: watch::Sender<bool>,
    observer: Option<Box<dyn Observer>>,
    mutants: Mutants,
    planted: Planted,
    held: Option<(ConnId, Header, wire::Response)>,
    end: Option<End>,
}

/// Why a node takes no other step.
#[derive(Clone, Copy)]
enum End {
    /// Its machine says so.
    Halted(HaltReason),
    /// Its observer says so.
    Dead,
}

impl Node {
    /// Runs the node until its machine ends, and says why it did.
    pub async fn run(self, inputs: Inputs, events: &mut Events, peers: Peers) -> HaltReason {
        let Self { id, config, incarnation, store, clock, serving, observer, mutants, .. } = self;
        let mut entropy = self.entropy;
        let (role, log) = match config {
            Config::Controller(config, device) => {
                let log = device.start(id, inputs.clone());
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
            observer,
            mutants: mutants.0,
            planted: Planted::new(mutants.1),
            held: None,
            end: None,
        };
        running.inputs.meter.booted();
        running.feed(Input::Boot(BootImage { incarnation, incarnation_id }));
        loop {
            match running.end {
                Some(End::Halted(reason)) => return reason,
                Some(End::Dead) => return std::future::pending().await,
                None => {}
            }
            if let Some(key) = running.timers.due(running.clock.mono()) {
                running.feed(Input::Timer(key));
                // A flow that arms a timer for now lets others go first.
                if let Some(event) = events.ready() {
                    running.event(event);
                }
                // And one that does so again and again must not keep the thread.
                tokio::task::yield_now().await;
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

impl Running {
    fn event(&mut self, event: Event) {
        let Some(event) = self.planted.event(event) else { return };
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
            Event::Look(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(Levels::of(&self.role, self.connections.len()));
            }
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
            if self.end.is_some() {
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
                Act::Answer { header, response } => self.answer(conn, header, response),
            }
        }
    }

    fn answer(&mut self, conn: ConnId, header: Header, response: wire::Response) {
        if self.planted.strikes(ShellMutant::AnswersSwapped, 16) {
            self.held = Some((conn, header, response));
            return;
        }
        let held = self.held.take_if(|held| held.0 == conn);
        let Some(answers) = self.connections.get(&conn) else { return };
        if self.planted.strikes(ShellMutant::AnswerDoubled, 64) {
            answers.send(header.clone(), response.clone());
        }
        answers.send(header, response);
        if let Some((_, header, response)) = held {
            answers.send(header, response);
        }
    }

    fn step(&mut self, input: Input) {
        let cx = Cx {
            mono: self.clock.mono(),
            wall: self.clock.wall(),
            entropy: self.entropy.next_u64(),
            mutants: self.mutants,
        };
        let seen = self.observer.as_mut().map(|observer| {
            observer.fed(&cx, &input);
            input.clone()
        });
        let mut out = Outbox::default();
        match &mut self.role {
            Role::Controller(controller) => controller.step(&cx, input, &mut out),
            Role::Broker(broker, _) => broker.step(&cx, input, &mut out),
        }
        let effects = seen.is_some().then(|| out.as_slice().to_vec());
        let reversed = self.planted.on.on(ShellMutant::EffectsReversed);
        let mut begun = out.drain();
        while let Some(effect) = if reversed { begun.next_back() } else { begun.next() } {
            self.next.extend(self.planted.told_early(&effect));
            self.begin(&cx, effect);
        }
        if let (Some(observer), Some(input), Some(effects)) = (&mut self.observer, seen, effects)
            && observer.stepped(&cx, &input, &effects).is_break()
        {
            self.end = Some(End::Dead);
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
            Effect::Send { to, msg } => self.peers.send(self.id, to, msg),
            Effect::Log(tok, op) => {
                self.log.as_mut().expect("only controllers have a log device")(tok, op);
            }
            Effect::Obj(tok, op) => {
                let (call, begun) = (StoreCall::of(tok, &op), Instant::now());
                let (inputs, operation) = (self.inputs.clone(), self.store.perform_for(tok, op));
                tokio::spawn(async move {
                    let result = operation.await;
                    inputs.meter.store_called(call, &result, begun.elapsed());
                    // If the node is gone nobody waits for it.
                    let _ = inputs.inside.send(Event::Obj(tok, result)).await;
                });
            }
            Effect::Arm { .. } if self.planted.strikes(ShellMutant::TimerLost, 64) => {}
            Effect::Arm { key, after } => self.timers.arm(key, cx.mono, after),
            Effect::Disarm(key) => self.timers.disarm(key),
            Effect::Probe(probe) => {
                self.inputs.meter.probed(cx.mono, &probe);
                tracing::trace!(node = self.id.0, ?probe);
            }
            Effect::Halt(_) if self.planted.on.on(ShellMutant::HaltIgnored) => {}
            Effect::Halt(reason) => self.end = Some(End::Halted(reason)),
        }
    }
}
