//! Who takes part in a run, under which number and name, and where: fixed for its whole length.

use std::fmt;

use broker::host::mutants::ShellMutants;
use broker_core::config::{BrokerConfig, BrokerLimits, ControllerConfig};
use broker_core::coordinator::group::GroupLimits;
use broker_core::ids::{NodeId, ZoneId};
use broker_core::mutants::{self, Mutants};
use broker_core::probe::Probe;
use broker_core::protocol::TransactionVersion;
use broker_core::time::Dur;
use workloads::client::ClientConfig;
use workloads::spark::mutants::SparkMutants;
use workloads::spark_handoff::Query;

use crate::plan::{Fault, OpAt, Plan, What, When};
use crate::world::determinism::Nondeterminism;
use crate::world::spark::{self, PLACES, Place};

/// Node id of the first broker; controllers count from 0.
pub const FIRST_BROKER: u16 = 100;

/// The name that stands for the node on which an anchor's probe was seen.
pub const SELF: &str = "self";

/// One end of a link, by number: first the controllers, then brokers, clients and the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint(pub u8);

impl Endpoint {
    /// Its place in tables of nodes (and clients behind them).
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// Some endpoints.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Set(u128);

impl Set {
    /// Whether the endpoint is in it.
    #[must_use]
    pub fn holds(self, endpoint: Endpoint) -> bool {
        self.0 >> endpoint.0 & 1 == 1
    }

    /// With one more.
    pub fn insert(&mut self, endpoint: Endpoint) {
        self.0 |= 1 << endpoint.0;
    }

    /// With one less.
    pub fn remove(&mut self, endpoint: Endpoint) {
        self.0 &= !(1 << endpoint.0);
    }

    /// All of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, ascending.
    pub fn iter(self) -> impl Iterator<Item = Endpoint> {
        (0..128).map(Endpoint).filter(move |one| self.holds(*one))
    }
}

impl FromIterator<Endpoint> for Set {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut set = Self::default();
        endpoints.into_iter().for_each(|one| set.insert(one));
        set
    }
}

/// Why a plan can not be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPlan(pub String);

impl fmt::Display for BadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPlan {}

/// Everything about a run that never changes.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    controllers: Vec<NodeId>,
    brokers: Vec<NodeId>,
    /// Those of the plan's operations; behind them are a query's.
    clients: u16,
    zones: u8,
    limits: BrokerLimits,
    protocol: TransactionVersion,
    /// Keys per page of a list.
    pub list_page_max: usize,
    /// The core's mutants that are on.
    pub mutants: Mutants,
    /// The shell's mutants that are on; a world that runs its processes itself has no shell.
    pub shell_mutants: ShellMutants,
    /// Determinism mutants that are on.
    pub nondeterminism: Nondeterminism,
    /// The query.
    pub query: Option<Query>,
    /// Its mutants that are on.
    pub spark_mutants: SparkMutants,
    /// The plan's operations.
    pub ops: Vec<OpAt>,
    /// The plan's faults.
    pub faults: Vec<Fault>,
}

impl Layout {
    /// The layout of a plan.
    ///
    /// # Errors
    /// If the plan names something that is not there, or has too much or too little of something.
    pub fn new(plan: &Plan) -> Result<Self, BadPlan> {
        let topology = plan.topology;
        let within = |what: &str, number: u16, most: u16| {
            if (1..=most).contains(&number) {
                return Ok(());
            }
            Err(BadPlan(format!("{what}: {number} is not in 1..={most}")))
        };
        within("zones", topology.zones.into(), 3)?;
        within("controllers", topology.controllers, 5)?;
        within("brokers", topology.brokers, 9)?;
        within("clients", topology.clients, 64)?;
        let (mutants, shell_mutants, nondeterminism, spark_mutants) = planted(&plan.mutants)?;
        if let Some(query) = &plan.query {
            within("executors", query.executors, EXECUTORS_MAX)?;
        }
        let layout = Self {
            controllers: (0..topology.controllers).map(NodeId).collect(),
            brokers: (0..topology.brokers).map(|at| NodeId(FIRST_BROKER + at)).collect(),
            clients: topology.clients,
            zones: topology.zones,
            limits: limits(plan),
            protocol: plan.protocol.version(),
            list_page_max: plan.limits.list_page_max,
            mutants,
            shell_mutants,
            nondeterminism,
            query: plan.query.clone(),
            spark_mutants,
            ops: plan.ops.clone(),
            faults: plan.faults.clone(),
        };
        if let Some(op) = layout.ops.iter().find(|op| op.client >= layout.clients) {
            return Err(BadPlan(format!("client-{} of an operation does not exist", op.client)));
        }
        layout.faults.iter().try_for_each(|fault| layout.check(fault))?;
        Ok(layout)
    }

    /// The controllers, ascending.
    #[must_use]
    pub fn controllers(&self) -> &[NodeId] {
        &self.controllers
    }

    /// The brokers, ascending.
    #[must_use]
    pub fn brokers(&self) -> &[NodeId] {
        &self.brokers
    }

    /// Number of controllers and brokers.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.controllers.len() + self.brokers.len()
    }

    /// Number of clients, those of a query's processes included.
    #[must_use]
    pub fn clients(&self) -> usize {
        let of_query = PLACES.len() * self.query.as_ref().map_or(0, processes);
        usize::from(self.clients) + of_query
    }

    /// Number of clients that the plan's operations are for.
    #[must_use]
    pub fn plain_clients(&self) -> usize {
        self.clients.into()
    }

    /// The clients of a query's processes at a place: the driver's, then the executors'.
    #[must_use]
    pub fn spark_clients(&self, place: Place) -> Vec<Endpoint> {
        let each = self.query.as_ref().map_or(0, processes);
        let first = self.plain_clients() + usize::from(place.0) * each;
        (first..first + each).map(|client| self.client(client)).collect()
    }

    /// A node's id.
    #[must_use]
    pub fn node(&self, endpoint: Endpoint) -> NodeId {
        match self.controllers.get(endpoint.index()) {
            Some(node) => *node,
            None => self.brokers[endpoint.index() - self.controllers.len()],
        }
    }

    /// The endpoint of a node, if there is such a node.
    #[must_use]
    pub fn endpoint(&self, node: NodeId) -> Option<Endpoint> {
        let count = self.controllers.len();
        let index = match node.0.checked_sub(FIRST_BROKER) {
            None => Some(usize::from(node.0)).filter(|at| *at < count),
            Some(at) => {
                Some(usize::from(at)).filter(|at| *at < self.brokers.len()).map(|at| at + count)
            }
        };
        index.map(|index| Endpoint(index as u8))
    }

    /// The endpoint of a client.
    #[must_use]
    pub fn client(&self, client: usize) -> Endpoint {
        Endpoint((self.nodes() + client) as u8)
    }

    /// The number of a client.
    #[must_use]
    pub fn client_number(&self, client: Endpoint) -> u16 {
        (client.index() - self.nodes()) as u16
    }

    /// The store's endpoint.
    #[must_use]
    pub fn store(&self) -> Endpoint {
        self.client(self.clients())
    }

    /// Whether it is a controller or broker.
    #[must_use]
    pub fn is_node(&self, endpoint: Endpoint) -> bool {
        endpoint.index() < self.nodes()
    }

    /// Whether it is a controller.
    #[must_use]
    pub fn is_controller(&self, endpoint: Endpoint) -> bool {
        endpoint.index() < self.controllers.len()
    }

    /// Where an endpoint stands; the store stands in no zone.
    #[must_use]
    pub fn zone(&self, endpoint: Endpoint) -> Option<ZoneId> {
        let (controllers, nodes) = (self.controllers.len(), self.nodes());
        let number = match endpoint.index() {
            index if index < controllers => index,
            index if index < nodes => index - controllers,
            index if index < nodes + self.clients() => index - nodes,
            _ => return None,
        };
        Some(ZoneId((number % usize::from(self.zones)) as u8))
    }

    /// Nodes and clients of a zone.
    #[must_use]
    pub fn zone_members(&self, zone: ZoneId) -> Set {
        self.everyone().iter().filter(|one| self.zone(*one) == Some(zone)).collect()
    }

    /// All endpoints.
    #[must_use]
    pub fn everyone(&self) -> Set {
        (0..=self.store().0).map(Endpoint).collect()
    }

    /// All clients.
    #[must_use]
    pub fn all_clients(&self) -> Set {
        (0..self.clients()).map(|client| self.client(client)).collect()
    }

    /// An endpoint's name in plans.
    #[must_use]
    pub fn name(&self, endpoint: Endpoint) -> String {
        let (controllers, nodes) = (self.controllers.len(), self.nodes());
        match endpoint.index() {
            index if index < controllers => format!("controller-{index}"),
            index if index < nodes => format!("broker-{}", index - controllers),
            index if index < nodes + self.plain_clients() => format!("client-{}", index - nodes),
            index if index < nodes + self.clients() => {
                let each = self.query.as_ref().map_or(1, processes);
                let number = index - nodes - self.plain_clients();
                match (number / each, number % each) {
                    (place, 0) => format!("driver-{place}"),
                    (place, executor) => {
                        format!("executor-{}", place * (each - 1) + executor - 1)
                    }
                }
            }
            _ => "store".to_owned(),
        }
    }

    /// The endpoint of this name; `on` is who `self` stands for.
    #[must_use]
    pub fn by_name(&self, name: &str, on: Option<Endpoint>) -> Option<Endpoint> {
        if name == SELF {
            return on;
        }
        if name == "store" {
            return Some(self.store());
        }
        let (kind, number) = name.split_once('-')?;
        let number: usize = number.parse().ok()?;
        let (first, count) = match kind {
            "controller" => (0, self.controllers.len()),
            "broker" => (self.controllers.len(), self.brokers.len()),
            "client" => (self.nodes(), self.plain_clients()),
            "driver" | "executor" => {
                let all =
                    (self.nodes() + self.plain_clients()..self.store().index()).map(|it| it as u8);
                return all.map(Endpoint).find(|one| self.name(*one) == name);
            }
            _ => return None,
        };
        (number < count).then(|| Endpoint((first + number) as u8))
    }

    /// The zone of this name, `zone-N`; `self` is the zone of `on`.
    #[must_use]
    pub fn zone_by_name(&self, name: &str, on: Option<Endpoint>) -> Option<ZoneId> {
        if name == SELF {
            return self.zone(on?);
        }
        let number: u8 = name.strip_prefix("zone-")?.parse().ok()?;
        (number < self.zones).then_some(ZoneId(number))
    }

    /// The endpoints of these names; a zone's name stands for its members.
    #[must_use]
    pub fn set_by_names(&self, names: &[String], on: Option<Endpoint>) -> Option<Set> {
        names.iter().try_fold(Set::default(), |mut set, name| {
            if name != SELF
                && let Some(zone) = self.zone_by_name(name, on)
            {
                return Some(set.or(self.zone_members(zone)));
            }
            set.insert(self.by_name(name, on)?);
            Some(set)
        })
    }

    /// A controller's configuration.
    #[must_use]
    pub fn controller_config(&self, node: NodeId) -> ControllerConfig {
        ControllerConfig { node, voters: self.controllers.clone() }
    }

    /// A broker's configuration.
    #[must_use]
    pub fn broker_config(&self, endpoint: Endpoint) -> BrokerConfig {
        BrokerConfig {
            node: self.node(endpoint),
            zone: self.zone(endpoint).expect("a broker stands in a zone"),
            controllers: self.controllers.clone(),
            limits: self.limits,
        }
    }

    /// A client's configuration: it asks the brokers in turn, the first by its own number.
    #[must_use]
    pub fn client_config(&self, client: usize) -> ClientConfig {
        let mut bootstrap = self.brokers.clone();
        bootstrap.rotate_left(client % self.brokers.len());
        ClientConfig {
            client: client as u16,
            zone: self.zone(self.client(client)).expect("a client stands in a zone"),
            bootstrap,
            protocol: self.protocol,
        }
    }

    fn check(&self, fault: &Fault) -> Result<(), BadPlan> {
        let unknown = |name: &str| BadPlan(format!("no such node, zone or probe: {name}"));
        let on = match &fault.when {
            When::At { .. } => None,
            When::On { on } => {
                let marks = spark::MARKS.iter().map(|row| row.0);
                if !Probe::NAMES.iter().copied().chain(marks).any(|name| name == on.probe) {
                    return Err(unknown(&on.probe));
                }
                if let Some(name) = &on.node {
                    let node = self.by_name(name, None).filter(|one| *one != self.store());
                    node.ok_or_else(|| unknown(name))?;
                }
                // Any node does for the check.
                Some(Endpoint(0))
            }
        };
        let node = |name: &String, fits: fn(&Self, Endpoint) -> bool| {
            let found = self.by_name(name, on);
            let found = found.filter(|one| name == SELF || fits(self, *one));
            found.map(|_| ()).ok_or_else(|| unknown(name))
        };
        let set = |names: &[String]| {
            let found = self.set_by_names(names, on);
            found.map(|_| ()).ok_or_else(|| unknown(&names.join(", ")))
        };
        match &fault.what {
            What::ZoneFail { zone } | What::ZoneCut { zone, .. } | What::ZoneStoreLost { zone } => {
                self.zone_by_name(zone, on).map(|_| ()).ok_or_else(|| unknown(zone))
            }
            What::Crash { node: name, .. } | What::Pause { node: name } => {
                node(name, Self::is_node)
            }
            What::ClockStep { node: name, .. } | What::ClockDrift { node: name, .. } => {
                node(name, |layout, one| one != layout.store())
            }
            What::Cut { from, to } | What::SlowLink { from, to, .. } => {
                set(from).and_then(|()| set(to))
            }
            What::StoreLoseAnswer { node: Some(name), .. }
            | What::StoreDuplicate { node: Some(name), .. } => node(name, Self::is_node),
            What::DeviceSyncFail { node: name }
            | What::DeviceFull { node: name }
            | What::DeviceBitRot { node: name } => node(name, Self::is_controller),
            What::Drain { node: name } => {
                node(name, |layout, one| layout.is_node(one) && !layout.is_controller(one))
            }
            What::Query { .. } if self.query.is_none() => {
                Err(BadPlan("a fault of a query, and the plan has none".to_owned()))
            }
            What::Query { .. }
            | What::Lossy { .. }
            | What::StoreSlowDown { .. }
            | What::StoreEmptyPage { .. }
            | What::StoreDamage { .. }
            | What::Stall { .. }
            | What::StoreBrownOut { .. }
            | What::StoreLoseAnswer { node: None, .. }
            | What::StoreDuplicate { node: None, .. } => Ok(()),
        }
    }
}

/// Endpoints are few, and a query has two places for its executors.
pub const EXECUTORS_MAX: u16 = 4;

/// A driver and its executors.
fn processes(query: &Query) -> usize {
    1 + usize::from(query.executors)
}

/// Few, so that a run's producers use them up.
const PRODUCER_EPOCH_MAX: i16 = 6;

/// Few, so that a run's coordinators meet faults.
const COORDINATOR_PARTITIONS: u32 = 3;

/// Short, for runs are.
fn groups() -> GroupLimits {
    GroupLimits {
        initial_rebalance_delay: Dur::ms(500),
        consumer_session_timeout: Dur::secs(6),
        consumer_heartbeat_interval: Dur::secs(1),
        ..GroupLimits::default()
    }
}

fn limits(plan: &Plan) -> BrokerLimits {
    let limits = plan.limits;
    BrokerLimits {
        wal_bulk_bytes_max: limits.wal_bulk_bytes_max,
        wal_bulk_interval: Dur(limits.wal_bulk_interval_us),
        wal_puts_in_flight_max: limits.wal_puts_in_flight_max,
        wal_unconfirmed_bytes_max: limits.wal_unconfirmed_bytes_max,
        upload_backlog_bytes_max: limits.upload_backlog_bytes_max,
        upload_block_bytes_max: limits.upload_block_bytes_max,
        upload_block_interval: Dur(limits.upload_block_interval_us),
        cache_bytes_max: limits.cache_bytes_max,
        produce_queue_max: limits.produce_queue_max,
        coordinator_partitions: COORDINATOR_PARTITIONS,
        producer_epoch_max: PRODUCER_EPOCH_MAX,
        groups: groups(),
        ..BrokerLimits::default()
    }
}

type Planted = (Mutants, ShellMutants, Nondeterminism, SparkMutants);

fn planted(ids: &[String]) -> Result<Planted, BadPlan> {
    let mut core = Mutants::default();
    let mut shell = ShellMutants::NONE;
    let mut spark = SparkMutants::NONE;
    let mut own = Nondeterminism::default();
    for id in ids {
        if let Some(row) = mutants::by_id(id) {
            core = core.with(row.mutant);
        } else if let Some(row) = workloads::spark::mutants::by_id(id) {
            spark = spark.with(row.mutant);
        } else if let Some(row) = broker::host::mutants::by_id(id) {
            shell = shell.with(row.mutant);
        } else if !own.switch_on(id) {
            let known = crate::registry::mutants().len();
            return Err(BadPlan(format!("mutant {id} is none of the {known} known ones")));
        }
    }
    Ok((core, shell, own, spark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decider::tests::{at, plan};
    use crate::plan::Anchor;

    #[test]
    fn layout_names_and_ids_name_each_endpoint_once() {
        let layout = Layout::new(&plan(Vec::new())).expect("a good plan");
        assert_eq!(layout.everyone().iter().count(), 10);
        for endpoint in layout.everyone().iter() {
            assert_eq!(layout.by_name(&layout.name(endpoint), None), Some(endpoint));
            if layout.is_node(endpoint) {
                assert_eq!(layout.endpoint(layout.node(endpoint)), Some(endpoint));
            }
        }
        for nobody in [NodeId(3), NodeId(99), NodeId(103), NodeId(u16::MAX)] {
            assert_eq!(layout.endpoint(nobody), None, "{nobody}");
        }
        assert_eq!(layout.by_name("broker-4", None).map(|one| layout.zone(one)), None);
        assert_eq!(
            layout.zone(layout.by_name("client-1", None).expect("a client")),
            Some(ZoneId(1))
        );
    }

    #[test]
    fn layout_of_a_plan_that_names_what_is_not_there_is_refused() {
        let name = |name: &str| name.to_owned();
        let on = |probe: &str, node: Option<&str>| Fault {
            when: When::On {
                on: Anchor { probe: name(probe), node: node.map(name), nth: 1, after_us: 0 },
            },
            lasting_us: 0,
            what: What::Pause { node: name(SELF) },
        };
        for (fault, good) in [
            (at(1, 1, What::Pause { node: name("broker-2") }), true),
            (at(1, 1, What::Pause { node: name("broker-3") }), false),
            (at(1, 1, What::Pause { node: name("client-0") }), false),
            (at(1, 1, What::Pause { node: name(SELF) }), false),
            (at(1, 1, What::Drain { node: name("controller-0") }), false),
            (at(1, 1, What::DeviceFull { node: name("broker-0") }), false),
            (at(1, 1, What::ZoneFail { zone: name("zone-3") }), false),
            (at(1, 1, What::ClockStep { node: name("client-2"), by_us: 1 }), true),
            (on("wal.put.sent", None), true),
            (on("wal.put.sent", Some("broker-1")), true),
            (on("wal.put.sent", Some("broker-7")), false),
            (on("no.such.probe", None), false),
        ] {
            let shown = format!("{fault:?}");
            assert_eq!(Layout::new(&plan(vec![fault])).is_ok(), good, "{shown}");
        }
        for mutant in ["wal-ack-before-verify", "nd-hash-order"] {
            let mut planted = plan(Vec::new());
            planted.mutants.push(name(mutant));
            assert!(Layout::new(&planted).is_ok());
            planted.mutants.push(name("no-such-mutant"));
            assert!(Layout::new(&planted).is_err());
        }
    }
}
