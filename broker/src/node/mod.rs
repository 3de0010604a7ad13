//! One node of a cluster, in a process of its own: the others are behind sockets, and the object
//! store is shared by all.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use broker_core::config::{BrokerConfig, ControllerConfig};
use broker_core::ids::NodeId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::belonging;
use crate::durable;
use crate::front;
use crate::host::{self, Inputs, Links, ObjectStore};
use crate::life::{DRAIN_WITHIN, Kind, Life, Ways};
use crate::metrics::Metrics;
use crate::recording::Recorder;

mod config;

pub use config::{Member, NodeConfig, Role, broker_limits};

/// Where a node listens.
pub struct Sockets {
    /// For the other nodes.
    pub peers: TcpListener,
    /// For clients, if it is a broker.
    pub clients: Option<TcpListener>,
}

impl Sockets {
    /// Opens them.
    ///
    /// # Errors
    /// If an address can not be listened on.
    pub async fn open(config: &NodeConfig) -> io::Result<Self> {
        let clients = match config.listen_clients {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        Ok(Self { peers: bind(config.listen_peers).await?, clients })
    }
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let why = |e: io::Error| io::Error::new(e.kind(), format!("{address}: {e}"));
    TcpListener::bind(address).await.map_err(why)
}

/// A node that runs.
pub struct Running {
    node: NodeId,
    is_broker: bool,
    inputs: Inputs,
    serving: watch::Receiver<bool>,
    life: JoinHandle<()>,
    listeners: Vec<JoinHandle<()>>,
    /// Held as long as the process has the folder.
    _lock: File,
}

impl Running {
    /// Starts the node, or goes on with the one in the data folder. Records it, if a recorder is
    /// given.
    ///
    /// # Errors
    /// If the folder or the store is another cluster's or can not be used, or another process has
    /// the folder.
    pub async fn start(
        config: &NodeConfig,
        sockets: Sockets,
        store: Arc<dyn ObjectStore>,
        recorder: Option<Recorder>,
    ) -> io::Result<Self> {
        Self::start_measured(config, sockets, (store, recorder), &Metrics::default()).await
    }

    /// The same; it is told of in `metrics`.
    ///
    /// # Errors
    /// If the folder or the store is another cluster's or can not be used, or another process has
    /// the folder.
    pub async fn start_measured(
        config: &NodeConfig,
        sockets: Sockets,
        (store, recorder): (Arc<dyn ObjectStore>, Option<Recorder>),
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let node = config.node;
        let lock = lock(config)?;
        belonging::claim_folder(&config.cluster, &config.data)?;
        let folder = belonging::folder(&config.data, node);
        let has_run = folder.exists();
        belonging::claim_store(&config.cluster, (&config.data, has_run), &*store).await?;
        let links = Arc::new(config.links());
        let (told, serving) = watch::channel(false);
        let (kind, ways) = (kind(config), Ways::Sockets(links.clone()));
        let is_broker = matches!(kind, Kind::Broker(_));
        let life = Life { node, folder, kind, store, ways, serving: told, recorder };
        life.check_folder()?;
        let zones = config.members.iter().map(|(node, member)| (*node, member.zone)).collect();
        let (inputs, events) = metrics.inputs(node, zones);
        let mut listeners = vec![tokio::spawn(host::listen(sockets.peers, links, inputs.clone()))];
        if let Some(socket) = sockets.clients {
            let accepting = host::serve_once_serving(serving.clone(), socket, inputs.clone());
            listeners.push(tokio::spawn(accepting));
        }
        let life = tokio::spawn(life.live(inputs.clone(), events));
        Ok(Self { node, is_broker, inputs, serving, life, listeners, _lock: lock })
    }

    /// Waits until a broker serves: it is registered, and has seen so in the metadata. Never ends
    /// for a controller.
    pub async fn serves(&self) {
        let mut serving = self.serving.clone();
        if serving.wait_for(|serving| *serving).await.is_err() {
            // It has ended, and will never serve.
            std::future::pending().await
        }
    }

    /// Lets a broker hand over what it leads, then ends.
    pub async fn stop(mut self) {
        if self.is_broker {
            self.inputs.drain().await;
            match tokio::time::timeout(DRAIN_WITHIN, &mut self.life).await {
                Ok(Ok(())) => return end(self.listeners).await,
                Ok(Err(error)) => {
                    tracing::error!(node = self.node.0, %error, "ended in a panic");
                    return end(self.listeners).await;
                }
                Err(_) => tracing::warn!(node = self.node.0, "not handed over in time"),
            }
        }
        self.kill().await;
    }

    /// Ends at once, as a process that is killed. What runs on the store may still be done.
    pub async fn kill(self) {
        end(self.listeners).await;
        end([self.life]).await;
    }
}

async fn end(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        // It was aborted, had ended, or had panicked, which its log has told.
        let _ = task.await;
    }
}

/// One process has a data folder.
fn lock(config: &NodeConfig) -> io::Result<File> {
    durable::create_folder(&config.data)?;
    let lock = File::create(config.data.join("lock"))?;
    lock.try_lock().map_err(|error| {
        let (data, error) = (config.data.display(), io::Error::from(error));
        io::Error::new(error.kind(), format!("{data} is another process's: {error}"))
    })?;
    Ok(lock)
}

fn kind(config: &NodeConfig) -> Kind {
    let (node, voters) = (config.node, config.voters());
    let member = config.member();
    match member.role {
        Role::Controller => Kind::Controller(ControllerConfig { node, voters }),
        Role::Broker => {
            let broker = BrokerConfig {
                node,
                zone: member.zone,
                controllers: voters,
                limits: config.limits,
            };
            let cluster = front::Cluster {
                id: config.cluster.clone(),
                node,
                listeners: config.advertised(),
                partitions_default: config.partitions_default,
                creates_topics: config.creates_topics,
            };
            Kind::Broker(Box::new((broker, cluster)))
        }
    }
}

impl NodeConfig {
    fn links(&self) -> Links {
        let others = self.members.iter().filter(|(node, _)| **node != self.node);
        Links {
            cluster: self.cluster.clone(),
            node: self.node,
            others: others.map(|(node, member)| (*node, member.peers.clone())).collect(),
        }
    }
}
