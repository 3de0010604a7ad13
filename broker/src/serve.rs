//! A whole cluster in one process: three controllers, some brokers, one object store.
//!
//! Each node is a task of its own and lives in a folder of its own; they speak to one another
//! through memory, and to clients through sockets. A node whose machine ends is booted again, as an
//! init system would do it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker_core::config::{BrokerConfig, BrokerLimits, ControllerConfig};
use broker_core::ids::{NodeId, ZoneId};
use broker_core::step::{Cond, HaltReason, Key, ObjOp, ObjResult};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::device::Device;
use crate::durable;
use crate::front;
use crate::host::{self, Clock, Config, Events, Inputs, Node, ObjectStore, Peers};

/// The brokers' ids begin here.
const FIRST_BROKER: u16 = 1;
/// The controllers' ids begin here: one numbering for both.
const FIRST_CONTROLLER: u16 = 101;
/// Voters of the metadata quorum: one may be lost.
const CONTROLLERS: u16 = 3;
/// How long a node that ended is dead before it is booted again.
const REBOOT_AFTER: Duration = Duration::from_secs(1);
/// How long brokers may take to hand over their partitions before the process ends all the same.
const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// What a cluster is to be.
pub struct Options {
    /// Where nodes and clients keep their files; created if it is not there.
    pub data: PathBuf,
    /// The first broker listens here, the others on the ports behind it; with port 0 each on a free
    /// one.
    pub listen: SocketAddr,
    /// How many brokers, 1 to 100. Each is in a zone of its own.
    pub brokers: u16,
    /// The brokers' limits.
    pub limits: BrokerLimits,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Whether asking for a topic's metadata creates it.
    pub creates_topics: bool,
}

/// A cluster that runs.
pub struct Cluster {
    /// Kafka's cluster id.
    pub id: String,
    /// Where the brokers listen.
    pub listeners: BTreeMap<NodeId, SocketAddr>,
    brokers: Vec<Broker>,
    controllers: Vec<JoinHandle<()>>,
}

/// A broker of a cluster that runs.
struct Broker {
    node: NodeId,
    inputs: Inputs,
    serving: watch::Receiver<bool>,
    life: JoinHandle<()>,
}

impl Cluster {
    /// Starts a cluster, or goes on with the one in the data folder.
    ///
    /// # Errors
    /// If an address can not be listened on, or the data folder can not be used.
    pub async fn start(options: &Options, store: Arc<dyn ObjectStore>) -> io::Result<Self> {
        let id = cluster_id(&options.data)?;
        claim_store(&id, &options.data, &*store).await?;
        let (listeners, sockets) = listen(options).await?;
        let voters: Vec<_> = (0..CONTROLLERS).map(|at| NodeId(FIRST_CONTROLLER + at)).collect();
        let mut channels = BTreeMap::new();
        let mut peers = Peers::new();
        for node in voters.iter().chain(listeners.keys()) {
            let (inputs, events) = host::inputs();
            peers.insert(*node, inputs.clone());
            channels.insert(*node, (inputs, events));
        }
        let public = |addresses: &BTreeMap<NodeId, SocketAddr>| {
            addresses.iter().map(|(node, at)| (*node, (at.ip().to_string(), at.port()))).collect()
        };
        let mut controllers = Vec::new();
        for node in &voters {
            let (inputs, events) = channels.remove(node).expect("made above");
            let folder = folder(&options.data, *node);
            // Fails at once if another process has the folder.
            drop(Device::open(&folder)?);
            let config = ControllerConfig { node: *node, voters: voters.clone() };
            let kind = Kind::Controller(config);
            let (store, peers, serving) = (store.clone(), peers.clone(), watch::Sender::new(false));
            let life = Life { node: *node, folder, kind, store, peers, serving };
            controllers.push(tokio::spawn(life.live(inputs, events)));
        }
        let mut brokers = Vec::new();
        for (zone, (node, socket)) in sockets.into_iter().enumerate() {
            let (inputs, events) = channels.remove(&node).expect("made above");
            let config = BrokerConfig {
                node,
                zone: ZoneId(u8::try_from(zone).expect("at most 100 brokers")),
                controllers: voters.clone(),
                limits: options.limits,
            };
            let cluster = front::Cluster {
                id: id.clone(),
                node,
                listeners: public(&listeners),
                partitions_default: options.partitions_default,
                creates_topics: options.creates_topics,
            };
            let kind = Kind::Broker(Box::new((config, cluster)));
            let folder = folder(&options.data, node);
            // Fails at once if the folder is of no use.
            durable::next_incarnation(&folder)?;
            let (told, serving) = watch::channel(false);
            let (store, peers) = (store.clone(), peers.clone());
            let life = Life { node, folder, kind, store, peers, serving: told };
            tokio::spawn(accept(serving.clone(), socket, inputs.clone()));
            let life = tokio::spawn(life.live(inputs.clone(), events));
            brokers.push(Broker { node, inputs, serving, life });
        }
        Ok(Self { id, listeners, brokers, controllers })
    }

    /// Waits until every broker serves: it is registered, and has seen so in the metadata.
    pub async fn serves(&mut self) {
        for broker in &mut self.brokers {
            // A broker that has ended before will never serve.
            let _ = broker.serving.wait_for(|serving| *serving).await;
        }
    }

    /// Lets the brokers hand over what they lead, then ends.
    pub async fn stop(self) {
        let drained = async {
            for broker in &self.brokers {
                broker.inputs.drain().await;
            }
            for Broker { node, life, .. } in self.brokers {
                if let Err(error) = life.await {
                    tracing::error!(node = node.0, %error, "ended in a panic");
                }
            }
        };
        if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
            tracing::warn!("not all brokers have handed over in time");
        }
        self.controllers.iter().for_each(JoinHandle::abort);
    }
}

impl Cluster {
    /// Ends at once, as a process that is killed. What runs on the store may still be done.
    pub async fn kill(self) {
        let brokers = self.brokers.into_iter().map(|broker| broker.life);
        for life in self.controllers.into_iter().chain(brokers) {
            life.abort();
            // It was aborted, or had panicked, which its log has told.
            let _ = life.await;
        }
    }
}

/// Clients are let in once the broker serves, as Kafka does: who asked before would be told of a
/// cluster that is half there.
async fn accept(mut serving: watch::Receiver<bool>, socket: TcpListener, inputs: Inputs) {
    if serving.wait_for(|serving| *serving).await.is_ok() {
        host::serve(socket, inputs).await;
    }
}

/// Opens the brokers' sockets.
async fn listen(
    options: &Options,
) -> io::Result<(BTreeMap<NodeId, SocketAddr>, Vec<(NodeId, TcpListener)>)> {
    let (mut listeners, mut sockets) = (BTreeMap::new(), Vec::new());
    for at in 0..options.brokers {
        let mut address = options.listen;
        if address.port() != 0 {
            let port = address.port().checked_add(at).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{address}: no port behind it"))
            })?;
            address.set_port(port);
        }
        let socket = TcpListener::bind(address)
            .await
            .map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
        let node = NodeId(FIRST_BROKER + at);
        listeners.insert(node, socket.local_addr()?);
        sockets.push((node, socket));
    }
    Ok((listeners, sockets))
}

fn folder(data: &Path, node: NodeId) -> PathBuf {
    data.join(format!("node-{node}"))
}

/// The cluster's id, made at its first start: 22 characters, as Kafka's.
fn cluster_id(data: &Path) -> io::Result<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    durable::create_folder(data)?;
    if let Some(id) = durable::read(&data.join("cluster-id"))? {
        return Ok(String::from_utf8_lossy(&id).trim().to_owned());
    }
    let mut entropy = ChaCha8Rng::from_os_rng();
    let letter = |_| char::from(LETTERS[(entropy.next_u32() % 64) as usize]);
    let id: String = (0..22).map(letter).collect();
    durable::replace(data, "cluster-id", format!("{id}\n").as_bytes())?;
    durable::sync_folder(data)?;
    Ok(id)
}

/// Makes the store this cluster's, or sees that it is: two clusters on one store would take each
/// other's logs away.
async fn claim_store(id: &str, data: &Path, store: &dyn ObjectStore) -> io::Result<()> {
    let key = Key(Arc::from("cluster-id"));
    let body = Bytes::copy_from_slice(id.as_bytes());
    let put = ObjOp::Put { key: key.clone(), body: body.clone(), cond: Cond::IfAbsent };
    let has_run = folder(data, NodeId(FIRST_CONTROLLER)).exists();
    let why = match store.perform(put).await {
        ObjResult::Done { .. } if !has_run => return Ok(()),
        ObjResult::Done { .. } => {
            let data = data.display();
            format!("the cluster in {data} has run before, and its objects are not in this store")
        }
        ObjResult::PreconditionFailed => {
            match store.perform(ObjOp::Get { key, range: None }).await {
                ObjResult::Body { data, .. } if data == body => return Ok(()),
                ObjResult::Body { data, .. } => {
                    let other = String::from_utf8_lossy(&data).into_owned();
                    format!("the store belongs to cluster {other}, and this is {id}")
                }
                other => format!("the store does not tell whose it is: {other:?}"),
            }
        }
        other => format!("the store can not be used: {other:?}"),
    };
    Err(io::Error::other(why))
}

/// What a node is, each time it is booted.
enum Kind {
    Controller(ControllerConfig),
    Broker(Box<(BrokerConfig, front::Cluster)>),
}

/// A node over all its processes.
struct Life {
    node: NodeId,
    folder: PathBuf,
    kind: Kind,
    store: Arc<dyn ObjectStore>,
    peers: Peers,
    serving: watch::Sender<bool>,
}

impl Life {
    /// Boots the node again and again, until it has been drained.
    async fn live(self, inputs: Inputs, mut events: Events) {
        let mut failed = 0_u64;
        loop {
            match self.boot() {
                Ok(node) => {
                    failed = 0;
                    let reason = node.run(inputs.clone(), &mut events, self.peers.clone()).await;
                    if reason == HaltReason::ShutDown {
                        return;
                    }
                    tracing::warn!(node = self.node.0, ?reason, "ended, boots again");
                }
                // It may be mended while the others run. Told less and less often: a folder that is
                // gone stays so.
                Err(error) => {
                    failed += 1;
                    if failed.is_power_of_two() {
                        let node = self.node.0;
                        tracing::error!(node, %error, failed, "can not boot: tried every second");
                    }
                }
            }
            tokio::time::sleep(REBOOT_AFTER).await;
        }
    }

    fn boot(&self) -> io::Result<Node> {
        let config = match &self.kind {
            Kind::Controller(config) => {
                Config::Controller(config.clone(), Box::new(Device::open(&self.folder)?))
            }
            Kind::Broker(both) => Config::Broker(both.clone()),
        };
        Ok(Node {
            id: self.node,
            config,
            incarnation: durable::next_incarnation(&self.folder)?,
            store: self.store.clone(),
            clock: Clock::start(),
            entropy: ChaCha8Rng::from_os_rng(),
            serving: self.serving.clone(),
        })
    }
}
