//! One node over all its processes: booted again when its machine ends, as an init system would do
//! it. Which nodes there are, and where, is its user's affair.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use broker_core::config::{BrokerConfig, ControllerConfig};
use broker_core::ids::{Incarnation, NodeId};
use broker_core::mutants::Mutants;
use broker_core::step::HaltReason;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::sync::watch;

use crate::device::Device;
use crate::durable;
use crate::front;
use crate::host::mutants::ShellMutants;
use crate::host::{Config, Events, Inputs, Links, Node, ObjectStore, Peers, SystemClock};
use crate::recording::Recorder;

/// How long a node that ended is dead before it is booted again.
const REBOOT_AFTER: Duration = Duration::from_secs(1);

/// How long brokers may take to hand over their partitions before the process ends all the same.
pub(crate) const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// What a node is, each time it is booted.
pub(crate) enum Kind {
    Controller(ControllerConfig),
    Broker(Box<(BrokerConfig, front::Cluster)>),
}

/// How a node reaches the others.
pub(crate) enum Ways {
    /// All are in this process.
    Memory(Peers),
    /// Each is in a process of its own.
    Sockets(Arc<Links>),
}

impl Ways {
    fn of(&self, incarnation: Incarnation, inputs: &Inputs) -> Peers {
        match self {
            Self::Memory(peers) => peers.clone(),
            Self::Sockets(links) => links.connect(incarnation, inputs),
        }
    }
}

/// A node over all its processes.
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) folder: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) ways: Ways,
    pub(crate) serving: watch::Sender<bool>,
    pub(crate) recorder: Option<Recorder>,
}

impl Life {
    /// Fails if the node's folder is of no use, or another process has its log.
    pub(crate) fn check_folder(&self) -> io::Result<()> {
        match self.kind {
            Kind::Controller(_) => Device::open(&self.folder).map(drop),
            Kind::Broker(_) => durable::next_incarnation(&self.folder).map(drop),
        }
    }

    /// Boots the node again and again, until it has been drained.
    pub(crate) async fn live(self, inputs: Inputs, mut events: Events) {
        let mut failed = 0_u64;
        loop {
            match self.boot() {
                Ok(node) => {
                    failed = 0;
                    let peers = self.ways.of(node.incarnation, &inputs);
                    let reason = node.run(inputs.clone(), &mut events, peers).await;
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
        let mut node = Node {
            id: self.node,
            config,
            incarnation: durable::next_incarnation(&self.folder)?,
            store: self.store.clone(),
            clock: Box::new(SystemClock::start()),
            entropy: ChaCha8Rng::from_os_rng(),
            serving: self.serving.clone(),
            observer: None,
            mutants: (Mutants::NONE, ShellMutants::NONE),
        };
        if let Some(recorder) = &self.recorder {
            recorder.attach(&mut node);
        }
        Ok(node)
    }
}
