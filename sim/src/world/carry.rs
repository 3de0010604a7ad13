//! Carries out what processes and clients ask of their host.

use broker_core::step::Effect;
use invariants::history::SimTime;
use invariants::view::Evidence;
use workloads::client::ClientOut;

use crate::world::connection::Connection;
use crate::world::layout::Endpoint;
use crate::world::scene::{Asked, Message, StoreAsk, Ticket};
use crate::world::step::{HandOver, Launch, Sink};
use crate::world::{Judged, World, observer};

impl World {
    pub(super) fn carry_out<S: Sink>(
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
                let ticket = Ticket::Node(tok);
                let ask = StoreAsk { node, ticket, op, stage: Asked::OnItsWay, orphan: false };
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

    pub(super) fn carry_out_client<S: Sink>(
        &mut self,
        at: SimTime,
        client: Endpoint,
        effect: ClientOut,
        sink: &mut S,
    ) -> Judged {
        let scene = &mut self.scene;
        match effect {
            ClientOut::Open { .. } | ClientOut::Send { .. } | ClientOut::Close(_)
                if self.elsewhere.is_some() =>
            {
                sink.handed_over(HandOver::Client(client, effect));
            }
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
                let event = observer::history_event(at, number, observation.clone());
                self.show(at, &Evidence::History(&event), sink)?;
                return self.spark_observed(at, client, &observation, sink);
            }
        }
        Ok(())
    }
}
