//! A whole cluster in one process: three controllers, some brokers, one object store.
//!
//! Each node is a task of its own and lives in a folder of its own; they speak to one another
//! through memory, and to clients through sockets. A node whose machine ends is booted again, as an
//! init system would do it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use broker_core::config::{BrokerConfig, BrokerLimits, ControllerConfig};
use broker_core::ids::{NodeId, ZoneId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::belonging::{self, folder};
use crate::front;
use crate::host::{self, Inputs, ObjectStore, Peers};
use crate::life::{DRAIN_WITHIN, Kind, Life, Ways};
use crate::metrics::Metrics;
use crate::recording::Recorder;

/// The brokers' ids begin here.
const FIRST_BROKER: u16 = 1;
/// The controllers' ids begin here: one numbering for both.
const FIRST_CONTROLLER: u16 = 101;
/// Voters of the metadata quorum: one may be lost.
const CONTROLLERS: u16 = 3;

/// What a cluster is to be.
pub struct Options {
    /// Where nodes and clients keep their files; created if it is not there.
    pub data: PathBuf,
    /// The first broker listens here, the others on the ports behind it; with port 0 each on a free
    /// one.
    pub listen: SocketAddr,
    /// The host that clients are told, instead of the address listened on.
    pub advertise: Option<String>,
    /// How many brokers, 1 to 100. Each is in a zone of its own.
    pub brokers: u16,
    /// The brokers' limits.
    pub limits: BrokerLimits,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Whether asking for a topic's metadata creates it.
    pub creates_topics: bool,
    /// Records all nodes, if it is wanted.
    pub recorder: Option<Recorder>,
}

/// A cluster that runs.
pub struct Cluster {
    /// Kafka's cluster id.
    pub id: String,
    /// Where the brokers listen.
    pub listeners: BTreeMap<NodeId, SocketAddr>,
    /// Where clients are told that they do: host and port.
    pub advertised: BTreeMap<NodeId, (String, u16)>,
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
        Self::start_measured(options, store, &Metrics::default()).await
    }

    /// The same; its nodes are told of in `metrics`.
    ///
    /// # Errors
    /// If an address can not be listened on, or the data folder can not be used.
    pub async fn start_measured(
        options: &Options,
        store: Arc<dyn ObjectStore>,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let host = belonging::advertised(options.listen, options.advertise.as_deref())?;
        let id = belonging::id_of_folder(&options.data)?;
        let has_run = folder(&options.data, NodeId(FIRST_CONTROLLER)).exists();
        belonging::claim_store(&id, (&options.data, has_run), &*store).await?;
        let (listeners, sockets) = listen(options).await?;
        let voters: Vec<_> = (0..CONTROLLERS).map(|at| NodeId(FIRST_CONTROLLER + at)).collect();
        let mut channels = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for node in voters.iter().chain(listeners.keys()) {
            // They speak through memory: no byte goes from zone to zone.
            let (inputs, events) = metrics.inputs(*node, BTreeMap::new());
            peers.insert(*node, inputs.clone());
            channels.insert(*node, (inputs, events));
        }
        let peers = Peers::in_memory(peers);
        let told = |(node, at): (&NodeId, &SocketAddr)| (*node, (host.clone(), at.port()));
        let public: BTreeMap<_, _> = listeners.iter().map(told).collect();
        let mut controllers = Vec::new();
        for node in &voters {
            let (inputs, events) = channels.remove(node).expect("made above");
            let folder = folder(&options.data, *node);
            let config = ControllerConfig { node: *node, voters: voters.clone() };
            let (kind, ways) = (Kind::Controller(config), Ways::Memory(peers.clone()));
            let (store, serving) = (store.clone(), watch::Sender::new(false));
            let recorder = options.recorder.clone();
            let life = Life { node: *node, folder, kind, store, ways, serving, recorder };
            life.check_folder()?;
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
                listeners: public.clone(),
                partitions_default: options.partitions_default,
                creates_topics: options.creates_topics,
            };
            let kind = Kind::Broker(Box::new((config, cluster)));
            let folder = folder(&options.data, node);
            let (told, serving) = watch::channel(false);
            let (store, ways) = (store.clone(), Ways::Memory(peers.clone()));
            let recorder = options.recorder.clone();
            let life = Life { node, folder, kind, store, ways, serving: told, recorder };
            life.check_folder()?;
            tokio::spawn(host::serve_once_serving(serving.clone(), socket, inputs.clone()));
            let life = tokio::spawn(life.live(inputs.clone(), events));
            brokers.push(Broker { node, inputs, serving, life });
        }
        Ok(Self { id, listeners, advertised: public, brokers, controllers })
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
