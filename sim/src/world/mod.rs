//! The world: nodes, clients, the environment between and under them, and the judge. A value that
//! only [`World::apply`] changes; what can be done next is [`World::enabled`]. It draws nothing and
//! keeps no time: who picks the steps (a run of a plan, a replay, a search) lives outside, and so do
//! history, trace and counters.
//!
//! Latencies are in [`latency`], the rules of each model in a file of its own. Sources of the design:
//! FoundationDB's simulation and TigerBeetle's VOPR for one world under one seed; stateright for
//! state and action as plain values.

pub mod clock;
pub mod connection;
pub mod determinism;
pub mod hash;
pub mod latency;
pub mod layout;
pub mod log_device;
pub mod node;
pub mod object_store;
pub mod observer;
pub mod scene;
pub mod slab;
pub mod step;
pub mod weather;

use std::mem;

use broker_core::ids::{ConnId, IncarnationId};
use broker_core::step::{BootImage, Cx, Effect, Input, ObjResult, Outbox};
use invariants::history::SimTime;
use invariants::view::{Evidence, NodeEvent};
use invariants::{Judge, Violation};
use workloads::client::{ClientIn, ClientOut};

use crate::plan::{Keep, Plan};
use crate::world::connection::{Connection, Down, Up};
use crate::world::layout::{BadPlan, Endpoint};
use crate::world::log_device::Loss;
use crate::world::node::Node;
use crate::world::scene::{Asked, Message, Scene, StoreAsk};
use crate::world::slab::Handle;
use crate::world::step::{Launch, Sink, Step};
use crate::world::weather::FaultId;

/// Everything that a run's future depends on, but for its draws.
#[derive(Clone, Debug)]
pub struct World {
    /// What the judge looks at.
    scene: Scene,
    judge: Judge,
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

impl World {
    /// The world of a plan before its first step: nothing runs. With `only`, one property is judged.
    ///
    /// # Errors
    /// If the plan can not be run.
    pub fn new(plan: &Plan, only: Option<&str>) -> Result<Self, BadPlan> {
        Ok(Self {
            scene: Scene::new(plan)?,
            judge: Judge::new(only),
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
            Step::Lose(handle) => {
                self.scene.messages.remove(handle);
                Ok(())
            }
            Step::Duplicate(handle) => {
                let copy = self.scene.messages.get(handle).expect("enabled").clone();
                sink.launched(Launch::Message(self.scene.messages.insert(copy)));
                Ok(())
            }
            Step::Up(conn) => self.arrive_up(at, conn, sink),
            Step::Down(conn) => self.arrive_down(at, conn, sink),
            Step::Break(conn) => {
                self.break_off(conn, sink);
                Ok(())
            }
            Step::StoreTake(handle) => self.store_take(at, handle, sink),
            Step::StoreRefuse(handle) => self.store_refuse(at, handle, ObjResult::SlowDown, sink),
            Step::StoreConflict(handle) => {
                self.store_refuse(at, handle, ObjResult::PreconditionFailed, sink)
            }
            Step::StoreAnswer(handle) => self.store_answer(at, handle, sink),
            Step::StoreForget(handle) => {
                self.store_forget(handle);
                Ok(())
            }
            Step::StoreGiveUp(handle) => self.store_give_up(at, handle, sink),
            Step::StoreDuplicate(handle) => {
                let mut copy = self.scene.asks.get(handle).expect("enabled").clone();
                copy.orphan = true;
                sink.launched(Launch::Copy(self.scene.asks.insert(copy)));
                Ok(())
            }
            Step::Device(node, _) => self.device(at, node, sink),
            Step::Crash(node, keep) => self.bury(at, node, Some(keep), sink),
            Step::Pause(node) => {
                self.scene.slots[node.index()].paused = true;
                self.node_event(at, node, NodeEvent::Paused, sink)
            }
            Step::Resume(node) => {
                self.scene.slots[node.index()].paused = false;
                self.node_event(at, node, NodeEvent::Resumed, sink)
            }
            Step::ClockStep(who, by_us) => {
                self.scene.clocks[who.index()].step(by_us);
                Ok(())
            }
            Step::ClockDrift(who, ppm) => {
                self.scene.clocks[who.index()].set_drift(at, ppm);
                Ok(())
            }
            Step::Drain(node) => self.feed(at, node, Input::Drain, sink),
            Step::SyncFail(node, fail) => {
                self.scene.devices[node.index()].fail_next_sync(fail);
                Ok(())
            }
            Step::DeviceFull(node, full) => {
                if self.scene.devices[node.index()].set_full(full) {
                    sink.launched(Launch::Device(node));
                }
                Ok(())
            }
            Step::BitRot(node, rot) => {
                self.scene.devices[node.index()].rot_at_crash(rot);
                Ok(())
            }
            Step::Impose(fault, on) => self.impose(at, fault, on, sink),
            Step::Lift(fault) => self.change_weather(at, sink, |scene| scene.weather.lift(fault)),
            Step::Exile(node) => {
                self.scene.outside.insert(node);
                Ok(())
            }
            Step::Outlast(fault) => {
                self.scene.lasting.push(fault);
                Ok(())
            }
            Step::Heal => self.heal(at, sink),
            Step::Tick => self.judge.tick(at, &self.scene),
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
        let incarnation_id = IncarnationId(sink.entropy(who));
        self.feed(at, who, Input::Boot(BootImage { incarnation, incarnation_id }), sink)
    }

    /// Feeds a running node and carries out what it asks for.
    fn feed<S: Sink>(&mut self, at: SimTime, node: Endpoint, input: Input, sink: &mut S) -> Judged {
        if self.scene.slots[node.index()].process.is_none() {
            return Ok(());
        }
        let cx = self.cx(at, node, sink);
        let process = self.scene.slots[node.index()].process.as_mut().expect("seen above");
        process.step(&cx, input, &mut self.effects);
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
        judged
    }

    fn carry_out<S: Sink>(
        &mut self,
        at: SimTime,
        node: Endpoint,
        effect: Effect,
        sink: &mut S,
    ) -> Judged {
        let scene = &mut self.scene;
        match effect {
            Effect::Reply { conn, corr, resp } => {
                let found = scene.connection_mut(conn).filter(|found| found.broker == node);
                if found.is_some_and(|found| found.reply(corr, resp)) {
                    sink.launched(Launch::Down { conn, end: false });
                }
            }
            Effect::Close(conn) => {
                let found = scene.connection_mut(conn).filter(|found| found.broker == node);
                if found.is_some_and(Connection::close_by_broker) {
                    sink.launched(Launch::Down { conn, end: true });
                }
                scene.forget_if_over(conn);
            }
            Effect::Send { to, msg } => {
                if let Some(to) = scene.layout.endpoint(to) {
                    let handle = scene.messages.insert(Message { from: node, to, msg });
                    sink.launched(Launch::Message(handle));
                }
            }
            Effect::Log(tok, op) => {
                let device = scene.devices.get_mut(node.index());
                if device.expect("only controllers have a log device").submit(tok, op) {
                    sink.launched(Launch::Device(node));
                }
            }
            Effect::Obj(tok, op) => {
                let ask = StoreAsk { node, tok, op, stage: Asked::OnItsWay, orphan: false };
                sink.launched(Launch::Store(scene.asks.insert(ask)));
            }
            Effect::Arm { key, after } => {
                scene.slots[node.index()].timers.arm(key);
                sink.launched(Launch::Timer(node, key, after));
            }
            Effect::Disarm(key) => {
                scene.slots[node.index()].timers.disarm(key);
            }
            Effect::Probe(probe) => {
                let node = scene.layout.node(node);
                return self.show(at, &Evidence::Probe { node, probe: &probe }, sink);
            }
            Effect::Halt(_) => {
                self.bury(at, node, None, sink)?;
                sink.launched(Launch::Halted(node));
            }
        }
        Ok(())
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

    fn carry_out_client<S: Sink>(
        &mut self,
        at: SimTime,
        client: Endpoint,
        effect: ClientOut,
        sink: &mut S,
    ) -> Judged {
        let scene = &mut self.scene;
        match effect {
            ClientOut::Open { conn, to } => {
                let Some(broker) = scene.layout.endpoint(to) else { return Ok(()) };
                let mut connection = Connection::new(conn, client, broker);
                // Nobody listens: refused, as soon as word of it is back.
                if scene.slots[broker.index()].process.is_none() && connection.close_by_broker() {
                    sink.launched(Launch::Down { conn, end: true });
                }
                scene.client_mut(client).connections.push(connection);
            }
            ClientOut::Send { conn, corr, req } => {
                if scene.connection_mut(conn).is_some_and(|found| found.send(corr, req)) {
                    sink.launched(Launch::Up { conn, end: false });
                }
            }
            ClientOut::Close(conn) => {
                if scene.connection_mut(conn).is_some_and(Connection::close_by_client) {
                    sink.launched(Launch::Up { conn, end: true });
                }
                scene.forget_if_over(conn);
            }
            ClientOut::Arm { key, after } => {
                scene.client_mut(client).timers.arm(key);
                sink.launched(Launch::ClientTimer(client, key, after));
            }
            ClientOut::Disarm(key) => {
                scene.client_mut(client).timers.disarm(key);
            }
            ClientOut::Observe(observation) => {
                let number = scene.layout.client_number(client);
                let event = observer::history_event(at, number, observation);
                return self.show(at, &Evidence::History(&event), sink);
            }
        }
        Ok(())
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

    fn break_off<S: Sink>(&mut self, conn: ConnId, sink: &mut S) {
        let (up, down) = self.scene.connection_mut(conn).expect("enabled").break_off();
        if up {
            sink.launched(Launch::Up { conn, end: true });
        }
        if down {
            sink.launched(Launch::Down { conn, end: true });
        }
    }

    fn store_take<S: Sink>(&mut self, at: SimTime, handle: Handle, sink: &mut S) -> Judged {
        let ask = self.scene.asks.get(handle).expect("enabled");
        let (node, tok, op, late) = (ask.node, ask.tok, ask.op.clone(), ask.orphan);
        let result = self.scene.store.perform(&op);
        let node = self.scene.layout.node(node);
        self.show(at, &Evidence::Store { node, tok, op: &op, result: &result, late }, sink)?;
        self.store_settle(handle, result);
        Ok(())
    }

    /// The store answers without doing anything.
    fn store_refuse<S: Sink>(
        &mut self,
        at: SimTime,
        handle: Handle,
        result: ObjResult,
        sink: &mut S,
    ) -> Judged {
        let ask = self.scene.asks.get(handle).expect("enabled");
        let (node, tok, op, late) = (ask.node, ask.tok, ask.op.clone(), ask.orphan);
        let node = self.scene.layout.node(node);
        self.show(at, &Evidence::Store { node, tok, op: &op, result: &result, late }, sink)?;
        self.store_settle(handle, result);
        Ok(())
    }

    fn store_settle(&mut self, handle: Handle, result: ObjResult) {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        if ask.orphan {
            self.scene.asks.remove(handle);
        } else {
            ask.stage = Asked::Answered(result);
        }
    }

    fn store_answer<S: Sink>(&mut self, at: SimTime, handle: Handle, sink: &mut S) -> Judged {
        let ask = self.scene.asks.remove(handle).expect("enabled");
        let Asked::Answered(result) = ask.stage else { unreachable!("enabled") };
        self.feed(at, ask.node, Input::ObjDone(ask.tok, result), sink)
    }

    fn store_forget(&mut self, handle: Handle) {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        ask.stage = Asked::Lost;
        if ask.orphan {
            self.scene.asks.remove(handle);
        }
    }

    fn store_give_up<S: Sink>(&mut self, at: SimTime, handle: Handle, sink: &mut S) -> Judged {
        let ask = self.scene.asks.get_mut(handle).expect("enabled");
        let (node, tok) = (ask.node, ask.tok);
        ask.orphan = true;
        if ask.stage == Asked::OnItsWay && ask.changes_the_store() {
            sink.launched(Launch::Orphan(handle));
        } else {
            self.scene.asks.remove(handle);
        }
        self.feed(at, node, Input::ObjDone(tok, ObjResult::Unknown), sink)
    }

    fn device<S: Sink>(&mut self, at: SimTime, node: Endpoint, sink: &mut S) -> Judged {
        let device = &mut self.scene.devices[node.index()];
        let (tok, result) = device.work().expect("enabled");
        if device.head().is_some() {
            sink.launched(Launch::Device(node));
        }
        self.feed(at, node, Input::LogDone(tok, result), sink)
    }

    /// A process is gone, with its machine (`keep`) or by itself.
    fn bury<S: Sink>(
        &mut self,
        at: SimTime,
        node: Endpoint,
        keep: Option<Keep>,
        sink: &mut S,
    ) -> Judged {
        let scene = &mut self.scene;
        let slot = &mut scene.slots[node.index()];
        slot.process = None;
        slot.paused = false;
        slot.timers.clear();
        let loss = match (scene.devices.get_mut(node.index()), keep) {
            (Some(device), Some(keep)) => device.crash(keep),
            (Some(device), None) => device.exit(),
            (None, _) => Loss::default(),
        };
        if loss.rotted {
            sink.launched(Launch::Rotted(node));
        }
        for conn in scene.connections_of(node) {
            let connection = scene.connection_mut(conn).expect("listed");
            if connection.close_by_broker() {
                sink.launched(Launch::Down { conn, end: true });
            }
            scene.forget_if_over(conn);
        }
        for handle in scene.asks_of(node) {
            let ask = scene.asks.get_mut(handle).expect("listed");
            ask.orphan = true;
            if ask.stage == Asked::OnItsWay && ask.changes_the_store() {
                sink.launched(Launch::Orphan(handle));
            } else {
                scene.asks.remove(handle);
            }
        }
        self.node_event(at, node, NodeEvent::Crashed { unsynced_lost: loss.lost }, sink)
    }

    fn impose<S: Sink>(
        &mut self,
        at: SimTime,
        fault: FaultId,
        on: Option<Endpoint>,
        sink: &mut S,
    ) -> Judged {
        self.change_weather(at, sink, |scene| {
            let what = &scene.layout.faults[usize::from(fault.0)].what;
            scene.weather.impose(&scene.layout, fault, what, on);
        })
    }

    fn heal<S: Sink>(&mut self, at: SimTime, sink: &mut S) -> Judged {
        self.change_weather(at, sink, |scene| {
            scene.weather.heal(&scene.layout, &scene.lasting, scene.outside);
            scene.healed = true;
        })?;
        self.show(at, &Evidence::Healed, sink)
    }

    /// Changes the weather and says whom it cut off or joined again.
    fn change_weather<S: Sink>(
        &mut self,
        at: SimTime,
        sink: &mut S,
        change: impl FnOnce(&mut Scene),
    ) -> Judged {
        let before = self.scene.weather.impaired();
        change(&mut self.scene);
        let after = self.scene.weather.impaired();
        let steps = [(NodeEvent::Impaired, after.without(before))];
        for (event, whom) in steps.into_iter().chain([(NodeEvent::Restored, before.without(after))])
        {
            for who in whom.iter().filter(|who| self.scene.layout.is_node(*who)).collect::<Vec<_>>()
            {
                self.node_event(at, who, event, sink)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
