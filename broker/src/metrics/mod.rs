//! What a process tells Prometheus of its nodes: counted at their boundary as things happen, and
//! read off their machines when somebody asks.
//!
//! The names are documented in `docs/metrics.md`. Sources: Prometheus's "Metric and label naming",
//! the OpenMetrics text format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use broker_core::ids::{Lsn, NodeId, ZoneId};
use broker_core::probe::Probe;
use broker_core::step::{Flow, ObjResult};
use broker_core::time::Mono;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{Duration, timeout};

use crate::host::{self, Events, Inputs, Meter, StoreCall, StoreOperation};
use crate::wire::ApiKey;

mod http;
mod standing;

pub use http::serve;

/// Before every name.
const PREFIX: &str = "seedbed";

/// A node that does not say within this how it stands is told of as one that does not answer.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Bounds of the histograms' buckets, in seconds: from a read out of memory to a call that the
/// store has given up.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Puts of a WAL whose time is taken; more are never under way.
const PUTS_MAX: usize = 1_024;

/// The metrics of a process.
pub struct Metrics {
    registry: Registry,
    counted: Arc<Counted>,
    /// The nodes of this process.
    nodes: Mutex<BTreeMap<NodeId, Inputs>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let counted = Counted::default();
        let mut registry = Registry::with_prefix(PREFIX);
        counted.register(&mut registry);
        Self { registry, counted: Arc::new(counted), nodes: Mutex::default() }
    }
}

impl Metrics {
    /// A channel to a node that is about to run, and is measured. `zones`: where the nodes are
    /// whose bytes cross a network.
    #[must_use]
    pub fn inputs(&self, node: NodeId, zones: BTreeMap<NodeId, ZoneId>) -> (Inputs, Events) {
        let meter =
            NodeMeter { node, zones, counted: self.counted.clone(), puts: Mutex::default() };
        let (inputs, events) = host::inputs_measured(Arc::new(meter));
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(node, inputs.clone());
        (inputs, events)
    }

    /// All there is to tell, in the OpenMetrics text format.
    pub async fn scrape(&self) -> String {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // All are asked at once: one that does not answer must not keep the others waiting.
        let looks = nodes.into_iter().map(|(node, inputs)| {
            let look = async move { timeout(LOOK_WITHIN, inputs.look()).await.ok().flatten() };
            (node, tokio::spawn(look))
        });
        let looks: Vec<_> = looks.collect();
        let mut levels = BTreeMap::new();
        for (node, look) in looks {
            levels.insert(node, look.await.unwrap_or_default());
        }
        let mut standing = Registry::with_prefix(PREFIX);
        standing::register(&levels, &mut standing);
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &standing))
            .and_then(|()| encode_eof(&mut text))
            .expect("a text takes all");
        text
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfNode {
    node: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfRequest {
    node: u16,
    request: Name<ApiKey>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfCall {
    node: u16,
    purpose: &'static str,
    operation: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfResult {
    node: u16,
    purpose: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OfZones {
    node: u16,
    from_zone: u8,
    to_zone: u8,
}

/// A value whose name in the code is its name in Kafka.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Name<T>(T);

impl<T: fmt::Debug> EncodeLabelValue for Name<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&format!("{:?}", self.0), encoder)
    }
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

fn times<L: Clone + Eq + std::hash::Hash>() -> Times<L> {
    Family::new_with_constructor(|| Histogram::new(SECONDS))
}

/// What is counted as it happens.
#[derive(Debug)]
struct Counted {
    boots: Family<OfNode, Counter>,
    requests: Times<OfRequest>,
    undecodable: Family<OfNode, Counter>,
    calls: Times<OfCall>,
    results: Family<OfResult, Counter>,
    put_bytes: Family<OfCall, Counter>,
    read_bytes: Family<OfCall, Counter>,
    wal_puts: Times<OfNode>,
    peer_bytes: Family<OfZones, Counter>,
    rebalances: Family<OfNode, Counter>,
    reconciliations: Family<OfNode, Counter>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            boots: Family::default(),
            requests: times(),
            undecodable: Family::default(),
            calls: times(),
            results: Family::default(),
            put_bytes: Family::default(),
            read_bytes: Family::default(),
            wal_puts: times(),
            peer_bytes: Family::default(),
            rebalances: Family::default(),
            reconciliations: Family::default(),
        }
    }
}

impl Counted {
    fn register(&self, to: &mut Registry) {
        to.register("node_boots", "Processes of a node", self.boots.clone());
        let help = "From a request read to its answer handed to the socket";
        to.register_with_unit("request_duration", help, Unit::Seconds, self.requests.clone());
        let help = "Connections closed for what is no request that is spoken here";
        to.register("undecodable_requests", help, self.undecodable.clone());
        let help = "From a call of the object store to its answer, or to giving it up";
        to.register_with_unit("store_call_duration", help, Unit::Seconds, self.calls.clone());
        let help = "Calls of the object store that have ended";
        to.register("store_calls", help, self.results.clone());
        let help = "Bytes of objects that were put";
        to.register_with_unit("store_put", help, Unit::Bytes, self.put_bytes.clone());
        let help = "Bytes of objects that were read";
        to.register_with_unit("store_read", help, Unit::Bytes, self.read_bytes.clone());
        let help = "From the first put of a WAL object to the knowledge that it is durable";
        to.register_with_unit("wal_put_duration", help, Unit::Seconds, self.wal_puts.clone());
        let help = "Bytes sent to other nodes through sockets";
        to.register_with_unit("peer_sent", help, Unit::Bytes, self.peer_bytes.clone());
        let help = "Generations of classic groups that were recorded";
        to.register("group_rebalances", help, self.rebalances.clone());
        let help = "Epochs that members of KIP-848 groups have reached";
        to.register("group_reconciliations", help, self.reconciliations.clone());
    }
}

/// Measures one node, over all its processes.
#[derive(Debug)]
struct NodeMeter {
    node: NodeId,
    zones: BTreeMap<NodeId, ZoneId>,
    counted: Arc<Counted>,
    /// WAL objects on their way: when each was put first.
    puts: Mutex<BTreeMap<Lsn, Mono>>,
}

impl NodeMeter {
    fn of_node(&self) -> OfNode {
        OfNode { node: self.node.0 }
    }

    fn puts(&self, change: impl FnOnce(&mut BTreeMap<Lsn, Mono>)) {
        change(&mut self.puts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Meter for NodeMeter {
    fn booted(&self) {
        self.counted.boots.get_or_create(&self.of_node()).inc();
        self.puts(BTreeMap::clear);
    }

    fn answered(&self, key: ApiKey, after: Duration) {
        let of = OfRequest { node: self.node.0, request: Name(key) };
        self.counted.requests.get_or_create(&of).observe(after.as_secs_f64());
    }

    fn undecodable(&self, _why: &str) {
        self.counted.undecodable.get_or_create(&self.of_node()).inc();
    }

    fn store_called(&self, call: StoreCall, result: &ObjResult, after: Duration) {
        let (node, counted) = (self.node.0, &self.counted);
        let (purpose, operation) = (purpose(call.flow), operation(call.operation));
        let of = OfCall { node, purpose, operation };
        counted.calls.get_or_create(&of).observe(after.as_secs_f64());
        match result {
            ObjResult::Done { .. } if call.operation == StoreOperation::Put => {
                counted.put_bytes.get_or_create(&of).inc_by(call.put_bytes as u64);
            }
            ObjResult::Body { data, .. } => {
                counted.read_bytes.get_or_create(&of).inc_by(data.len() as u64);
            }
            ObjResult::Done { .. }
            | ObjResult::Keys { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed
            | ObjResult::SlowDown
            | ObjResult::Unknown => {}
        }
        let of = OfResult { node, purpose, operation, result: name_of(result) };
        counted.results.get_or_create(&of).inc();
    }

    fn sent(&self, to: NodeId, bytes: usize) {
        let zone = |node: NodeId| self.zones.get(&node).map(|zone| zone.0);
        if let (Some(from_zone), Some(to_zone)) = (zone(self.node), zone(to)) {
            let of = OfZones { node: self.node.0, from_zone, to_zone };
            self.counted.peer_bytes.get_or_create(&of).inc_by(bytes as u64);
        }
    }

    fn probed(&self, at: Mono, probe: &Probe) {
        match probe {
            Probe::WalPutSent { start, attempt: 0, .. } => self.puts(|puts| {
                puts.insert(*start, at);
                if puts.len() > PUTS_MAX {
                    puts.pop_first();
                }
            }),
            Probe::WalPutDone { start, .. } => self.puts(|puts| {
                let Some(sent) = puts.remove(start) else { return };
                let after = Duration::from_micros(at.0.saturating_sub(sent.0));
                self.counted.wal_puts.get_or_create(&self.of_node()).observe(after.as_secs_f64());
            }),
            Probe::GenerationRecorded { generation: Some(_), .. } => {
                self.counted.rebalances.get_or_create(&self.of_node()).inc();
            }
            Probe::MemberRecorded { reached: Some(_), .. } => {
                self.counted.reconciliations.get_or_create(&self.of_node()).inc();
            }
            _ => {}
        }
    }
}

fn purpose(flow: Flow) -> &'static str {
    match flow {
        Flow::Quorum => "quorum",
        Flow::Wal => "wal",
        Flow::Claim => "claim",
        Flow::Upload => "upload",
        Flow::Recovery(_) => "recovery",
        Flow::Read => "read",
        Flow::Snapshots => "snapshots",
    }
}

fn operation(operation: StoreOperation) -> &'static str {
    match operation {
        StoreOperation::Put => "put",
        StoreOperation::Get => "get",
        StoreOperation::List => "list",
        StoreOperation::Delete => "delete",
    }
}

fn name_of(result: &ObjResult) -> &'static str {
    match result {
        ObjResult::Done { .. } | ObjResult::Body { .. } | ObjResult::Keys { .. } => "ok",
        ObjResult::NotFound => "not_found",
        ObjResult::PreconditionFailed => "precondition_failed",
        ObjResult::SlowDown => "slow_down",
        ObjResult::Unknown => "unknown",
    }
}
