//! The world: nodes, clients, the environment between and under them, and the judge. A value that
//! only [`World::apply`] changes; what can be done next is [`World::enabled`]. It draws nothing and
//! keeps no time: who picks the steps (a run of a plan, a replay, a search) lives outside, and so
//! do history, trace and counters.
//!
//! Latencies are in [`latency`], the rules of each model in a file of its own. Sources of the
//! design: FoundationDB's simulation and TigerBeetle's VOPR for one world under one seed;
//! stateright for state and action as plain values.

mod carry;
pub mod clock;
pub mod connection;
pub mod determinism;
mod elsewhere;
mod environment;
pub mod latency;
pub mod layout;
pub mod log_device;
pub mod node;
pub mod object_store;
pub mod observer;
pub mod scene;
pub mod slab;
pub mod spark;
pub mod step;
pub mod weather;

use std::collections::BTreeMap;
use std::mem;

use broker_core::ids::{ConnId, IncarnationId};
use broker_core::step::{BootImage, Cx, Effect, Input, Outbox};
use invariants::history::SimTime;
use invariants::view::{Evidence, NodeEvent};
use invariants::{Judge, Violation};
use workloads::client::{ClientIn, ClientOut};

use crate::plan::Plan;
use crate::world::connection::{Down, Up};
use crate::world::layout::{BadPlan, Endpoint, Set};
use crate::world::node::Node;
use crate::world::scene::Scene;
use crate::world::slab::Handle;
use crate::world::step::{HandOver, Sink, Step};

/// Everything that a run's future depends on, but for its draws.
#[derive(Clone, Debug)]
pub struct World {
    /// What the judge looks at.
    scene: Scene,
    judge: Judge,
    /// If the nodes' processes and the clients' connections are elsewhere: those nodes whose
    /// process has ended by itself and has not been started again.
    elsewhere: Option<Set>,
    /// Empty between steps; kept for their memory.
    effects: Outbox<Effect>,
    client_effects: Outbox<ClientOut>,
}

impl std::hash::Hash for World {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.scene.hash(state);
        self.judge.hash(state);
    }
}

type Judged = Result<(), Violation>;

/// Marks of the judge, with counts.
type Reached = BTreeMap<&'static str, u64>;

impl World {
    /// The world of a plan before its first step: nothing runs. With `only`, one property is
    /// judged.
    ///
    /// # Errors
    /// If the plan can not be run.
    pub fn new(plan: &Plan, only: Option<&str>) -> Result<Self, BadPlan> {
        Ok(Self {
            scene: Scene::new(plan)?,
            judge: Judge::new(only),
            elsewhere: None,
            effects: Outbox::default(),
            client_effects: Outbox::default(),
        })
    }

    /// Everything but the judge.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The judge.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The run is over: the judge draws its conclusions.
    ///
    /// # Errors
    /// If a property does not hold at the end.
    pub fn finish(&mut self, at: SimTime) -> Judged {
        self.judge.finish(at, &self.scene)
    }

    /// For a search, in which two ways to one world are one: forgets what was reached on them, and
    /// returns it.
    pub(crate) fn forget_reached(&mut self) -> Reached {
        self.judge.forget_reached()
    }

    /// What the judge would say if the run ended here. Not of a healed core, where it would ask for
    /// what is still to come.
    pub(crate) fn conclude(&self, at: SimTime) -> Judged {
        match self.scene.healed {
            true => Ok(()),
            false => self.judge.clone().finish(at, &self.scene),
        }
    }

    /// Adds every step that an orderly environment could take next. What only a hostile one does
    /// (lose, double, break, refuse, crash, pause, cut) is left to the caller's budget.
    pub fn enabled(&self, steps: &mut Vec<Step>) {
        self.scene.enabled(steps);
    }

    /// Whether a step would change anything.
    #[must_use]
    pub fn is_enabled(&self, step: &Step) -> bool {
        self.scene.is_enabled(step)
    }

    /// Takes a step at a true time that is not before the last one's.
    ///
    /// # Errors
    /// If a property is violated; the world is then not to be used any more.
    pub fn apply<S: Sink>(&mut self, at: SimTime, step: &Step, sink: &mut S) -> Judged {
        if !self.is_enabled(step) {
            return Ok(());
        }
        self.take(at, step, sink)?;
        match self.scene.spark {
            Some(_) => self.run_spark(at, sink),
            None => Ok(()),
        }
    }

    fn take<S: Sink>(&mut self, at: SimTime, step: &Step, sink: &mut S) -> Judged {
        match *step {
            Step::Boot(who) => self.boot(at, who, sink),
            Step::Timer(node, key) => {
                self.scene.slots[node.index()].timers.disarm(key);
                self.feed(at, node, Input::Timer(key), sink)
            }
            Step::ClientTimer(client, key) => {
                self.scene.client_mut(client).timers.disarm(key);
                self.tell(at, client, ClientIn::Timer(key), sink)
            }
            Step::Op(number) => {
                let op = &self.scene.layout.ops[number as usize];
                let (client, op) = (self.scene.layout.client(op.client.into()), op.op.clone());
                self.scene.client_mut(client).begin(number);
                self.tell(at, client, ClientIn::Op(number, op), sink)
            }
            Step::Deliver(handle) => self.deliver(at, handle, sink),
            Step::Up(conn) => self.arrive_up(at, conn, sink),
            Step::Down(conn) => self.arrive_down(at, conn, sink),
            Step::Drain(node) => self.feed(at, node, Input::Drain, sink),
            Step::Device(node, _) => self.device(at, node, sink),
            Step::StoreTake(_)
            | Step::StoreRefuse(_)
            | Step::StoreConflict(_)
            | Step::StoreEmptyPage(_)
            | Step::StoreDamage(..)
            | Step::StoreAnswer(_)
            | Step::StoreForget(_)
            | Step::StoreGiveUp(_)
            | Step::StoreDuplicate(_) => self.apply_to_store(at, step, sink),
            Step::Spark(place, step) => self.apply_to_spark(at, place, step, sink),
            Step::Tick => self.judge.tick(at, &self.scene),
            Step::Lose(_)
            | Step::Duplicate(_)
            | Step::Break(_)
            | Step::Crash(..)
            | Step::Pause(_)
            | Step::Resume(_)
            | Step::ClockStep(..)
            | Step::ClockDrift(..)
            | Step::SyncFail(..)
            | Step::DeviceFull(..)
            | Step::BitRot(..)
            | Step::Impose(..)
            | Step::Lift(_)
            | Step::Exile(_)
            | Step::Outlast(_)
            | Step::Heal => self.apply_mishap(at, step, sink),
        }
    }

    fn boot<S: Sink>(&mut self, at: SimTime, who: Endpoint, sink: &mut S) -> Judged {
        if !self.scene.layout.is_node(who) {
            self.scene.client_mut(who).booted = true;
            return self.tell(at, who, ClientIn::Boot, sink);
        }
        let process = Node::new(&self.scene.layout, who);
        let slot = &mut self.scene.slots[who.index()];
        slot.incarnation = slot.incarnation.next();
        slot.process = Some(process);
        let incarnation = slot.incarnation;
        self.node_event(at, who, NodeEvent::Booted(incarnation), sink)?;
        if let Some(ended) = &mut self.elsewhere {
            ended.remove(who);
            sink.handed_over(HandOver::Boot(who, incarnation));
            return Ok(());
        }
        sink.begun(&self.scene.layout, who, incarnation);
        let incarnation_id = IncarnationId(sink.entropy(who));
        self.feed(at, who, Input::Boot(BootImage { incarnation, incarnation_id }), sink)
    }

    /// Feeds a running node and carries out what it asks for.
    fn feed<S: Sink>(&mut self, at: SimTime, node: Endpoint, input: Input, sink: &mut S) -> Judged {
        if self.scene.slots[node.index()].process.is_none() {
            return Ok(());
        }
        if self.elsewhere.is_some() {
            sink.handed_over(HandOver::Input(node, input));
            return Ok(());
        }
        let cx = self.cx(at, node, sink);
        let process = self.scene.slots[node.index()].process.as_mut().expect("seen above");
        sink.fed(node, &cx, &input);
        process.step(&cx, input, &mut self.effects);
        sink.stepped(node, self.effects.as_slice());
        let mut effects = mem::take(&mut self.effects);
        let mut judged = Ok(());
        for effect in effects.drain() {
            // What a process asked for after its own end, or after it was judged, is void.
            if judged.is_ok() && self.scene.slots[node.index()].process.is_some() {
                sink.effect(node, &effect);
                judged = self.carry_out(at, node, effect, sink);
            }
        }
        self.effects = effects;
        judged?;
        self.judge_step(at, node)
    }

    /// A node has become what it is: its step is over.
    fn judge_step(&mut self, at: SimTime, node: Endpoint) -> Judged {
        self.judge.stepped(at, self.scene.layout.node(node), &self.scene)
    }

    /// Tells a client something and carries out what it asks for.
    fn tell<S: Sink>(
        &mut self,
        at: SimTime,
        client: Endpoint,
        input: ClientIn,
        sink: &mut S,
    ) -> Judged {
        let cx = self.cx(at, client, sink);
        self.scene.client_mut(client).client.step(&cx, input, &mut self.client_effects);
        let mut effects = mem::take(&mut self.client_effects);
        let mut judged = Ok(());
        for effect in effects.drain() {
            if judged.is_ok() {
                sink.client_effect(client, &effect);
                judged = self.carry_out_client(at, client, effect, sink);
            }
        }
        self.client_effects = effects;
        judged
    }

    fn cx<S: Sink>(&self, at: SimTime, who: Endpoint, sink: &mut S) -> Cx {
        let clock = &self.scene.clocks[who.index()];
        let entropy = sink.entropy(who);
        let mutants = self.scene.layout.mutants;
        Cx { mono: clock.mono(at), wall: clock.wall(at), entropy, mutants }
    }

    fn show<S: Sink>(&mut self, at: SimTime, evidence: &Evidence<'_>, sink: &mut S) -> Judged {
        sink.evidence(evidence);
        self.judge.observe(at, evidence, &self.scene)
    }

    fn node_event<S: Sink>(
        &mut self,
        at: SimTime,
        node: Endpoint,
        event: NodeEvent,
        sink: &mut S,
    ) -> Judged {
        let node = self.scene.layout.node(node);
        self.show(at, &Evidence::Node { node, event }, sink)
    }

    fn deliver<S: Sink>(&mut self, at: SimTime, handle: Handle, sink: &mut S) -> Judged {
        let message = self.scene.messages.remove(handle).expect("enabled");
        let from = self.scene.layout.node(message.from);
        self.feed(at, message.to, Input::Peer { from, msg: message.msg }, sink)
    }

    fn arrive_up<S: Sink>(&mut self, at: SimTime, conn: ConnId, sink: &mut S) -> Judged {
        let connection = self.scene.connection_mut(conn).expect("enabled");
        let broker = connection.broker;
        let arrived = connection.arrive_up().expect("enabled");
        self.scene.forget_if_over(conn);
        let input = match arrived {
            Up::Request(corr, req) => Input::Client { conn, corr, req },
            Up::Gone => Input::Gone(conn),
        };
        self.feed(at, broker, input, sink)
    }

    fn arrive_down<S: Sink>(&mut self, at: SimTime, conn: ConnId, sink: &mut S) -> Judged {
        let connection = self.scene.connection_mut(conn).expect("enabled");
        let client = connection.client;
        let arrived = connection.arrive_down().expect("enabled");
        self.scene.forget_if_over(conn);
        let input = match arrived {
            Down::Response(corr, resp) => ClientIn::Response { conn, corr, resp },
            Down::Gone => ClientIn::Gone(conn),
        };
        self.tell(at, client, input, sink)
    }
}

#[cfg(test)]
mod tests;
