//! Directs a run: the nodes of madsim, the network between them, the clients' connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::client::Refusal;
use broker_core::ids::{ConnId, TopicPartition};
use broker_core::protocol::{ErrorCode, Response};
use broker_core::step::Input;
use invariants::Violation;
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};
use workloads::client::{ClientIn, ClientOut};

use super::bridge::{Bridge, Cue, now};
use super::process::{Process, Who, clients_address, ip, process};
use crate::live::connection::{self, Connection, Event, Shared};
use crate::world::layout::{Endpoint, Layout};
use crate::world::step::{HandOver, Told};

/// Runs the plan of a bridge to its end.
pub(super) async fn play(background: u64, bridge: Bridge) -> Result<(), Violation> {
    let mut stage = Stage::new(background, bridge);
    loop {
        match stage.bridge.go_on() {
            Cue::Over(judged) => return judged,
            Cue::HandedOver(all) => all.into_iter().for_each(|one| stage.carry_out(one)),
            Cue::Ended(all) => {
                for (node, incarnation) in all {
                    if stage.processes.get(&node).is_some_and(|it| it.incarnation == incarnation) {
                        stage.bury(node);
                    }
                }
            }
            Cue::Wait(next) => {
                let next = next.expect("the judge's next look is always due");
                let wait = Duration::from_micros(next.0.saturating_sub(now().0));
                tokio::select! { biased;
                    () = stage.bridge.news() => {}
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

struct Stage {
    bridge: Bridge,
    background: u64,
    layout: Arc<Layout>,
    handle: Handle,
    /// Of madsim: nodes and clients, by endpoint.
    nodes: Vec<NodeId>,
    processes: BTreeMap<Endpoint, Process>,
    clients: BTreeMap<Endpoint, Client>,
}

/// A client's connections.
struct Client {
    shared: Shared,
    events: mpsc::UnboundedSender<(ConnId, Event)>,
    open: BTreeMap<ConnId, Connection>,
}

impl Stage {
    fn new(background: u64, bridge: Bridge) -> Self {
        let handle = Handle::current();
        let layout = bridge.look(|scene, _| scene.layout().clone());
        let everyone = (0..layout.nodes() + layout.clients()).map(|index| Endpoint(index as u8));
        let node = |who| handle.create_node().name(layout.name(who)).ip(ip(who).into()).build();
        let nodes: Vec<_> = everyone.map(|who| node(who).id()).collect();
        let clients = layout.all_clients().iter().map(|who| {
            let ((events, heard), shared) = (mpsc::unbounded_channel(), Shared::default());
            let hearing = hear(bridge.clone(), who, shared.clone(), heard);
            on(&handle, nodes[who.index()]).spawn(hearing);
            (who, Client { shared, events, open: BTreeMap::new() })
        });
        let clients = clients.collect();
        Self { bridge, background, layout, handle, nodes, processes: BTreeMap::new(), clients }
    }

    fn carry_out(&mut self, what: HandOver) {
        match what {
            HandOver::Boot(node, incarnation) => {
                // The sockets of the process before are only closed by killing it.
                self.bury(node);
                self.handle.restart(self.nodes[node.index()]);
                let (bridge, background) = (self.bridge.clone(), self.background);
                let who = Who { bridge, endpoint: node, incarnation, background };
                let (process, life) = process(who);
                on(&self.handle, self.nodes[node.index()]).spawn(life);
                self.processes.insert(node, process);
            }
            HandOver::Bury(node) => self.bury(node),
            HandOver::Pause(node) => self.handle.pause(self.nodes[node.index()]),
            HandOver::Resume(node) => self.handle.resume(self.nodes[node.index()]),
            HandOver::Input(node, input) => self.tell(node, input),
            HandOver::Client(client, out) => self.client(client, out),
            HandOver::Weather => self.weather(),
        }
    }

    fn bury(&mut self, node: Endpoint) {
        self.processes.remove(&node);
        self.handle.kill(self.nodes[node.index()]);
    }

    fn tell(&self, node: Endpoint, input: Input) {
        let Some(process) = self.processes.get(&node) else { return };
        match input {
            Input::ObjDone(tok, result) => process.stored(tok, result),
            Input::LogDone(tok, result) => process.logged(tok, result),
            Input::Drain => {
                let inputs = process.inputs.clone();
                on(&self.handle, self.nodes[node.index()])
                    .spawn(async move { inputs.drain().await });
            }
            Input::Boot(_)
            | Input::Client { .. }
            | Input::Gone(_)
            | Input::Peer { .. }
            | Input::Timer(_) => unreachable!("a world has no such input for others: {input:?}"),
        }
    }

    fn client(&mut self, who: Endpoint, out: ClientOut) {
        let client = self.clients.get_mut(&who).expect("a client of this run");
        match out {
            ClientOut::Open { conn, to } => {
                let Some(broker) = self.layout.endpoint(to) else { return };
                let stream = TcpStream::connect(clients_address(broker));
                let (shared, events) = (client.shared.clone(), client.events.clone());
                let name = self.layout.name(who);
                let (connection, talk) = connection::open(conn, name, shared, stream, events);
                on(&self.handle, self.nodes[who.index()]).spawn(talk);
                client.open.insert(conn, connection);
            }
            ClientOut::Send { conn, corr, req } => {
                if let Some(connection) = client.open.get(&conn) {
                    connection.send(corr, req);
                }
            }
            ClientOut::Close(conn) => drop(client.open.remove(&conn)),
            ClientOut::Arm { .. } | ClientOut::Disarm(_) | ClientOut::Observe(_) => {
                unreachable!("that is the world's: {out:?}")
            }
        }
    }

    /// The cuts between endpoints have changed.
    fn weather(&self) {
        let net = NetSim::current();
        self.bridge.look(|scene, _| {
            for (from, source) in self.nodes.iter().enumerate() {
                for (to, target) in self.nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                    let (from, to) = (Endpoint(from as u8), Endpoint(to as u8));
                    match scene.weather().cut(from, to) {
                        Some(_) => net.clog_link(*source, *target),
                        None => net.unclog_link(*source, *target),
                    }
                }
            }
        });
    }
}

/// A node of madsim as it is now: what spawns on an older handle of a node that was restarted since
/// is never run.
fn on(handle: &Handle, node: NodeId) -> NodeHandle {
    handle.get_node(node).expect("a node of this run")
}

/// Tells a client's machine what it hears on its connections.
async fn hear(
    bridge: Bridge,
    client: Endpoint,
    shared: Shared,
    mut heard: mpsc::UnboundedReceiver<(ConnId, Event)>,
) {
    while let Some((conn, event)) = heard.recv().await {
        let input = match event {
            Event::Response { corr, response } => {
                let resp = unmistaken(&bridge, &shared, response);
                ClientIn::Response { conn, corr, resp }
            }
            Event::Gone { why, broken } => {
                if broken {
                    bridge.broken(client, &why);
                }
                ClientIn::Gone(conn)
            }
            // The client knows the topic no more, and hears so.
            Event::Refused(Refusal::UnknownTopic { .. }) => continue,
            Event::Refused(refusal) => {
                bridge.broken(client, &refusal.to_string());
                continue;
            }
        };
        bridge.told(Told::Heard(client, input));
    }
}

/// Questions about offsets name topics by their names, in every version: where a topic has been
/// deleted and another one of the same name created, the answer may be about the other one, and the
/// client can not know. Kafka leaves that to its users; here such an answer is taken for none.
fn unmistaken(bridge: &Bridge, shared: &Shared, mut response: Response) -> Response {
    let is_sure = |partition: TopicPartition| {
        let Some(name) = shared.lock().names.name(partition.topic).map(str::to_owned) else {
            return false;
        };
        bridge.look(|scene, _| {
            let slots = (0..scene.layout().nodes()).map(|index| scene.slot(Endpoint(index as u8)));
            let images = slots
                .filter(|slot| slot.is_ready())
                .filter_map(|slot| Some(slot.process.as_ref()?.image()));
            let known = images.filter_map(|image| image.topic_named(&name));
            let topics: BTreeSet<_> = known.map(|(topic, _)| topic).collect();
            topics == BTreeSet::from([partition.topic])
        })
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    match &mut response {
        Response::ListOffsets(results) => {
            let unsure = results.iter_mut().filter(|it| !is_sure(it.partition));
            unsure.for_each(|it| it.result = Err(unknown));
        }
        Response::OffsetForLeaderEpoch(results) => {
            let unsure = results.iter_mut().filter(|it| !is_sure(it.partition));
            unsure.for_each(|it| it.result = Err(unknown));
        }
        Response::Metadata(_)
        | Response::Produce(_)
        | Response::Fetch(_)
        | Response::Admin(_)
        | Response::DescribeConfigs(_)
        | Response::InitProducerId(_)
        | Response::WriteTxnMarkers(_)
        | Response::FindCoordinator(_)
        | Response::Txn(_)
        | Response::Group(_) => {}
    }
    response
}
