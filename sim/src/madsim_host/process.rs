//! One process of a node: the host of `broker` on the models of a world.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use broker::front;
use broker::host::{
    self, Clock, Config, Event, Inputs, Links, LogAsk, LogDevice, Meter, Node, ObjectStore,
    Observer, Performing,
};
use broker_core::ids::{Incarnation, NodeId};
use broker_core::step::{Cx, Effect, Input, LogResult, ObjOp, ObjResult, Tok};
use broker_core::time::{Mono, Wall};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant};

use super::bridge::{Bridge, now};
use crate::world::layout::{Endpoint, Layout};
use crate::world::step::Asked;

/// Where brokers listen for clients.
const CLIENTS_PORT: u16 = 9_092;
/// Where nodes listen for one another.
const PEERS_PORT: u16 = 9_093;

/// The address of an endpoint.
pub(super) fn ip(who: Endpoint) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, who.0 + 1)
}

/// Where a broker listens for clients.
pub(super) fn clients_address(broker: Endpoint) -> SocketAddr {
    (ip(broker), CLIENTS_PORT).into()
}

/// What the store owes a process, by who asked; those that ask twice are answered in turn.
type Owed = Arc<Mutex<BTreeMap<Tok, VecDeque<oneshot::Sender<ObjResult>>>>>;

/// What the stage keeps of a process.
pub(super) struct Process {
    pub incarnation: Incarnation,
    pub inputs: Inputs,
    owed: Owed,
    log_done: mpsc::UnboundedSender<(Tok, LogResult)>,
}

impl Process {
    /// The store has answered.
    pub(super) fn stored(&self, tok: Tok, result: ObjResult) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = owed.get_mut(&tok) else { return };
        if let Some(first) = waiting.pop_front() {
            // If its task is gone nobody waits for it.
            let _ = first.send(result);
        }
        if waiting.is_empty() {
            owed.remove(&tok);
        }
    }

    /// The device has done something.
    pub(super) fn logged(&self, tok: Tok, result: LogResult) {
        // If its process is gone nobody waits for it.
        let _ = self.log_done.send((tok, result));
    }
}

/// Who a process is.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub bridge: Bridge,
    pub endpoint: Endpoint,
    pub incarnation: Incarnation,
    /// The plan's random bits.
    pub background: u64,
}

/// A process, and what it does until it ends; to be run on the node of that process.
pub(super) fn process(who: Who) -> (Process, impl Future<Output = ()> + Send + 'static) {
    let (inputs, mut events) = host::inputs_measured(Arc::new(who.clone()));
    let (log_done, done) = mpsc::unbounded_channel();
    let owed = Owed::default();
    let process = Process {
        incarnation: who.incarnation,
        inputs: inputs.clone(),
        owed: owed.clone(),
        log_done,
    };
    let life = async move {
        let layout = who.bridge.look(|scene, _| scene.layout().clone());
        let links = Arc::new(links(&layout, who.endpoint));
        let peers = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PEERS_PORT)).await;
        tokio::spawn(host::listen(peers.expect("a free port"), links.clone(), inputs.clone()));
        let (serving, is_serving) = watch::channel(false);
        if !layout.is_controller(who.endpoint) {
            let clients = TcpListener::bind((Ipv4Addr::UNSPECIFIED, CLIENTS_PORT)).await;
            let clients = clients.expect("a free port");
            tokio::spawn(host::serve_once_serving(is_serving, clients, inputs.clone()));
        }
        let ways = links.connect(who.incarnation, &inputs);
        let mut node = node(&who, &layout, owed, done, serving);
        if let Some(recorder) = who.bridge.recorder() {
            recorder.attach(&mut node);
        }
        node.run(inputs, &mut events, ways).await;
        who.bridge.ended(who.endpoint, who.incarnation);
    };
    (process, life)
}

fn links(layout: &Layout, endpoint: Endpoint) -> Links {
    let nodes = (0..layout.nodes()).map(|index| Endpoint(index as u8));
    let others = nodes.filter(|other| *other != endpoint);
    let address = |other: Endpoint| format!("{}:{PEERS_PORT}", ip(other));
    Links {
        cluster: CLUSTER.to_owned(),
        node: layout.node(endpoint),
        others: others.map(|other| (layout.node(other), address(other))).collect(),
    }
}

/// The cluster's id.
const CLUSTER: &str = "seedbed-under-madsim";

fn node(
    who: &Who,
    layout: &Layout,
    owed: Owed,
    done: mpsc::UnboundedReceiver<(Tok, LogResult)>,
    serving: watch::Sender<bool>,
) -> Node {
    let id = layout.node(who.endpoint);
    let config = if layout.is_controller(who.endpoint) {
        let device = ModelDevice { who: who.clone(), done };
        Config::Controller(layout.controller_config(id), Box::new(device))
    } else {
        let listener = |node: &NodeId| {
            let endpoint = layout.endpoint(*node).expect("a broker of this run");
            (*node, (ip(endpoint).to_string(), CLIENTS_PORT))
        };
        let cluster = front::Cluster {
            id: CLUSTER.to_owned(),
            node: id,
            listeners: layout.brokers().iter().map(listener).collect(),
            partitions_default: 1,
            creates_topics: false,
        };
        Config::Broker(Box::new((layout.broker_config(who.endpoint), cluster)))
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&who.background.to_le_bytes());
    seed[8] = who.endpoint.0;
    seed[16..20].copy_from_slice(&who.incarnation.0.to_le_bytes());
    Node {
        id,
        config,
        incarnation: who.incarnation,
        store: Arc::new(ModelStore { who: who.clone(), owed }),
        clock: Box::new(ModelClock(who.clone())),
        entropy: ChaCha8Rng::from_seed(seed),
        serving,
        observer: Some(Box::new(Watcher(who.clone()))),
        mutants: (layout.mutants, layout.shell_mutants),
    }
}

/// The world's store, asked by one process.
struct ModelStore {
    who: Who,
    owed: Owed,
}

impl ObjectStore for ModelStore {
    fn perform(&self, op: ObjOp) -> Performing {
        unreachable!("a host says for whom: {op:?}")
    }

    fn perform_for(&self, tok: Tok, op: ObjOp) -> Performing {
        let (answer, answered) = oneshot::channel();
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.entry(tok).or_default().push_back(answer);
        drop(owed);
        self.who.bridge.asks(Asked::Store(tok, op));
        Box::pin(async move {
            match answered.await {
                Ok(result) => result,
                // The process is dead.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// A device of the world.
struct ModelDevice {
    who: Who,
    done: mpsc::UnboundedReceiver<(Tok, LogResult)>,
}

impl LogDevice for ModelDevice {
    fn start(self: Box<Self>, _: NodeId, inputs: Inputs) -> LogAsk {
        let Self { who, mut done } = *self;
        tokio::spawn(async move {
            while let Some((tok, result)) = done.recv().await {
                inputs.tell(Event::Log(tok, result)).await;
            }
        });
        Box::new(move |tok, op| who.bridge.asks(Asked::Device(tok, op)))
    }
}

/// A clock of the world.
struct ModelClock(Who);

impl Clock for ModelClock {
    fn mono(&self) -> Mono {
        self.0.bridge.look(|scene, at| scene.clock(self.0.endpoint).mono(at))
    }

    fn wall(&self) -> Wall {
        self.0.bridge.look(|scene, at| scene.clock(self.0.endpoint).wall(at))
    }

    fn instant(&self, at: Mono) -> Instant {
        let when = self.0.bridge.look(|scene, _| scene.clock(self.0.endpoint).when(at));
        // The clock is read in whole µs: at the next one it will have come to this.
        Instant::now() + Duration::from_micros((when.0 + 1).saturating_sub(now().0))
    }
}

/// Nobody here sends what can not be read.
impl Meter for Who {
    fn undecodable(&self, why: &str) {
        self.bridge.broken(self.endpoint, &format!("what a client sent can not be read: {why}"));
    }
}

/// Tells the world of the steps of a process.
struct Watcher(Who);

impl Observer for Watcher {
    fn stepped(&mut self, cx: &Cx, input: &Input, effects: &[Effect]) -> ControlFlow<()> {
        let Who { bridge, endpoint, incarnation, .. } = &self.0;
        bridge.stepped((*endpoint, *incarnation), cx, input, effects);
        let halts = effects.iter().any(|effect| matches!(effect, Effect::Halt(_)));
        match halts || bridge.lives(*endpoint, *incarnation) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    }
}
