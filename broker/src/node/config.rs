//! The file that tells a process which node of which cluster it is, in TOML.
//!
//! All nodes can have the same list of `nodes`: who votes and who is where follows from it. What is
//! wrong is told with the file, the line, the key and what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use broker_core::config::BrokerLimits;
use broker_core::coordinator::group::GroupLimits;
use broker_core::ids::{NodeId, ZoneId};
use broker_core::protocol::MAX_PARTITIONS;
use broker_core::time::Dur;
use serde::Deserialize;
use toml::Spanned;

use crate::belonging::stands_for_all;

/// The longest wait that a limit may ask for.
const MILLIS_MAX: u64 = 60_000;

/// Characters of a cluster's id; Kafka's has 22.
const CLUSTER_ID_MAX: usize = 64;

/// One node of a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeConfig {
    /// The cluster's id, the same for all its nodes.
    pub cluster: String,
    /// The node that runs here.
    pub node: NodeId,
    /// Folder of its files.
    pub data: PathBuf,
    /// Where the objects are: a folder that all nodes see, or `s3://BUCKET`.
    pub store: String,
    /// Where it listens for the other nodes.
    pub listen_peers: SocketAddr,
    /// Where it listens for clients, if it is a broker.
    pub listen_clients: Option<SocketAddr>,
    /// All nodes, this one among them.
    pub members: BTreeMap<NodeId, Member>,
    /// A broker's limits.
    pub limits: BrokerLimits,
    /// Partitions of a topic that is created without a number.
    pub partitions_default: u32,
    /// Whether asking for a topic's metadata creates it.
    pub creates_topics: bool,
}

/// What every node knows of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// Where it runs.
    pub zone: ZoneId,
    /// Where the other nodes reach it: `HOST:PORT`.
    pub peers: String,
    /// Where clients reach it, if it is a broker.
    pub clients: Option<(String, u16)>,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A voter of the metadata quorum.
    Controller,
    /// A broker.
    Broker,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cluster: Spanned<String>,
    node: Spanned<u16>,
    data: Spanned<PathBuf>,
    store: Spanned<String>,
    listen_peers: SocketAddr,
    listen_clients: Option<Spanned<SocketAddr>>,
    nodes: Spanned<Vec<FileNode>>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileNode {
    id: Spanned<u16>,
    role: Role,
    zone: u8,
    peers: Spanned<String>,
    clients: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    wal_interval_ms: Option<Spanned<u64>>,
    rebalance_delay_ms: Option<Spanned<u64>>,
    partitions: Option<Spanned<u32>>,
    auto_create: Option<bool>,
}

/// What is wrong, and where in the text.
struct Wrong(Range<usize>, String);

impl NodeConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&name.to_string(), &text)
    }

    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let place = |at: usize| {
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            format!("{name}:{line}")
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let message = error.message();
            match error.span().filter(|span| *span != (0..0) && *span != (0..text.len())) {
                Some(span) => {
                    let from = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
                    let line = text[from..].lines().next().unwrap_or_default().trim();
                    format!("{}: {message}, in `{line}`", place(span.start))
                }
                None => format!("{name}: {message}"),
            }
        })?;
        file.check().map_err(|Wrong(span, why)| format!("{}: {why}", place(span.start)))
    }

    /// The nodes that vote.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        let voters = self.members.iter().filter(|(_, member)| member.role == Role::Controller);
        voters.map(|(node, _)| *node).collect()
    }

    /// This node.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.members[&self.node]
    }

    /// Where clients reach the brokers.
    #[must_use]
    pub fn advertised(&self) -> BTreeMap<NodeId, (String, u16)> {
        let brokers = self.members.iter();
        brokers.filter_map(|(node, member)| Some((*node, member.clients.clone()?))).collect()
    }
}

impl File {
    fn check(self) -> Result<NodeConfig, Wrong> {
        let Self { cluster, node, data, store, listen_peers, listen_clients, nodes, limits } = self;
        check_cluster(&cluster)?;
        check_store(&store)?;
        if data.get_ref().as_os_str().is_empty() {
            return Err(Wrong(data.span(), "data: a folder is needed".to_owned()));
        }
        let members = members(&nodes)?;
        let id = NodeId(*node.get_ref());
        let Some(member) = members.get(&id) else {
            let ids: Vec<_> = members.keys().map(NodeId::to_string).collect();
            let why = format!("node: {id} is none of `nodes`, which are {}", ids.join(", "));
            return Err(Wrong(node.span(), why));
        };
        match (member.role, &listen_clients) {
            (Role::Broker, None) => {
                let why = format!("node: {id} is a broker, and needs `listen_clients`");
                return Err(Wrong(node.span(), why));
            }
            (Role::Controller, Some(listen)) => {
                let why = format!("listen_clients: {id} is a controller, which has no clients");
                return Err(Wrong(listen.span(), why));
            }
            (Role::Broker, Some(_)) | (Role::Controller, None) => {}
        }
        Ok(NodeConfig {
            cluster: cluster.into_inner(),
            node: id,
            data: data.into_inner(),
            store: store.into_inner(),
            listen_peers,
            listen_clients: listen_clients.map(Spanned::into_inner),
            members,
            limits: limits.of_broker()?,
            partitions_default: limits.partitions_default()?,
            creates_topics: limits.auto_create.unwrap_or(true),
        })
    }
}

fn check_cluster(cluster: &Spanned<String>) -> Result<(), Wrong> {
    let id = cluster.get_ref();
    let known = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    if (1..=CLUSTER_ID_MAX).contains(&id.len()) && id.bytes().all(known) {
        return Ok(());
    }
    let why = format!("cluster: 1 to {CLUSTER_ID_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`");
    Err(Wrong(cluster.span(), why))
}

fn check_store(store: &Spanned<String>) -> Result<(), Wrong> {
    let allowed = "store: a folder that all nodes see, or s3://BUCKET";
    match store.get_ref().as_str() {
        "" => Err(Wrong(store.span(), allowed.to_owned())),
        "memory" => {
            let why = format!("{allowed}; memory is of one process (./memory: the folder)");
            Err(Wrong(store.span(), why))
        }
        _ => Ok(()),
    }
}

/// All nodes, each with what its role needs, and nothing twice.
fn members(nodes: &Spanned<Vec<FileNode>>) -> Result<BTreeMap<NodeId, Member>, Wrong> {
    let (mut members, mut addresses) = (BTreeMap::new(), BTreeSet::new());
    for FileNode { id, role, zone, peers, clients } in nodes.get_ref() {
        address("peers", peers)?;
        let clients_at = match (role, clients) {
            (Role::Broker, Some(clients)) => Some(address("clients", clients)?),
            (Role::Controller, None) => None,
            (Role::Broker, None) => {
                let why = "clients: a broker needs the HOST:PORT that its clients are told";
                return Err(Wrong(id.span(), why.to_owned()));
            }
            (Role::Controller, Some(clients)) => {
                return Err(Wrong(clients.span(), "clients: a controller has none".to_owned()));
            }
        };
        for address in [Some(peers), clients.as_ref()].into_iter().flatten() {
            if !addresses.insert(address.get_ref()) {
                let why = format!("{} is the address of something else above", address.get_ref());
                return Err(Wrong(address.span(), why));
            }
        }
        let (zone, peers) = (ZoneId(*zone), peers.get_ref().clone());
        let member = Member { role: *role, zone, peers, clients: clients_at };
        if members.insert(NodeId(*id.get_ref()), member).is_some() {
            let why = format!("id: there is a node {} already; each has its own", id.get_ref());
            return Err(Wrong(id.span(), why));
        }
    }
    for role in [Role::Controller, Role::Broker] {
        if !members.values().any(|member| member.role == role) {
            let role = format!("{role:?}").to_lowercase();
            return Err(Wrong(nodes.span(), format!("nodes: at least one {role} is needed")));
        }
    }
    Ok(members)
}

/// `HOST:PORT` that others can connect to.
fn address(key: &str, text: &Spanned<String>) -> Result<(String, u16), Wrong> {
    let wrong = |why: &str| Err(Wrong(text.span(), format!("{key}: {why}")));
    let parts = text.get_ref().rsplit_once(':');
    let Some((host, port)) = parts.filter(|(host, _)| is_host(host)) else {
        return wrong("HOST:PORT is needed, as in kafka.example:9092, 10.0.0.1:9092, [::1]:9092");
    };
    if stands_for_all(host) {
        return wrong("nobody can connect to an address that stands for all of a machine");
    }
    match port.parse() {
        Ok(port) if port > 0 => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((host.to_owned(), port))
        }
        Ok(_) | Err(_) => wrong("a port is a number from 1 to 65535"),
    }
}

fn is_host(host: &str) -> bool {
    let is_in_brackets = host.starts_with('[') && host.ends_with(']');
    let graphic = !host.is_empty() && host.bytes().all(|it| it.is_ascii_graphic());
    graphic && (is_in_brackets || !host.contains([':', '[', ']']))
}

impl Limits {
    fn of_broker(&self) -> Result<BrokerLimits, Wrong> {
        let millis = 0..=MILLIS_MAX;
        let interval = within("wal_interval_ms", self.wal_interval_ms.as_ref(), 10, &millis)?;
        let delay = within("rebalance_delay_ms", self.rebalance_delay_ms.as_ref(), 0, &millis)?;
        Ok(broker_limits(interval, delay))
    }

    fn partitions_default(&self) -> Result<u32, Wrong> {
        within("partitions", self.partitions.as_ref(), 3, &(1..=MAX_PARTITIONS))
    }
}

/// The limits of a broker for real clients, by the waits that can be chosen, in milliseconds.
#[must_use]
pub fn broker_limits(wal_interval: u64, rebalance_delay: u64) -> BrokerLimits {
    BrokerLimits {
        wal_bulk_interval: Dur::ms(wal_interval),
        groups: GroupLimits {
            initial_rebalance_delay: Dur::ms(rebalance_delay),
            ..GroupLimits::default()
        },
        ..BrokerLimits::default()
    }
}

fn within<T: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: Option<&Spanned<T>>,
    default: T,
    allowed: &RangeInclusive<T>,
) -> Result<T, Wrong> {
    match value {
        Some(value) if !allowed.contains(value.get_ref()) => {
            let (start, end) = (allowed.start(), allowed.end());
            Err(Wrong(value.span(), format!("{key}: {start} to {end} are allowed")))
        }
        Some(value) => Ok(*value.get_ref()),
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the readme.
    fn example() -> &'static str {
        let readme = include_str!("../../../README.md");
        let (_, example) = readme.split_once("```toml\n").expect("an example");
        example.split_once("```").expect("it ends").0
    }

    /// How the example is refused with one text in the place of another.
    fn refused(from: &str, to: &str) -> String {
        let at = example().find(from).unwrap_or_else(|| panic!("no {from}"));
        let text = example().replacen(from, to, 1);
        let error = NodeConfig::parse("n.toml", &text).expect_err(to);
        let line = example()[..at].matches('\n').count() + 1;
        let place = format!("n.toml:{line}: ");
        error.strip_prefix(&place).unwrap_or_else(|| panic!("{error}, not at {place}")).to_owned()
    }

    #[test]
    fn config_example_of_the_readme_is_right() {
        let config = NodeConfig::parse("n.toml", example()).expect("it is right");
        assert_eq!(config.voters(), [101, 102, 103].map(NodeId));
        assert_eq!(config.node, NodeId(1));
        let told: Vec<_> = config.advertised().into_values().collect();
        assert_eq!(told[0], ("broker-1.example".to_owned(), 9092));
        assert_eq!(told.len(), 3);
        assert_eq!(config.member().zone, ZoneId(0));
        assert_eq!(config.limits.wal_bulk_interval, Dur::ms(10));
        assert_eq!((config.partitions_default, config.creates_topics), (3, true));
    }

    #[test]
    fn config_that_is_no_toml_or_has_wrong_keys_names_line_key_and_what_is_allowed() {
        let wrong = refused("cluster =", "claster =");
        assert!(wrong.contains("unknown field `claster`, expected one of `cluster`"), "{wrong}");
        let wrong = refused("node = 1 ", "node = \"1\" ");
        assert!(wrong.contains("expected u16, in `node = \"1\" "), "{wrong}");
        let wrong = refused("node = 1 ", "node = 70000 ");
        assert!(wrong.contains("in `node = 70000 "), "{wrong}");
        let wrong = refused("node = 1 ", "node = ");
        assert!(wrong.contains("in `node = "), "{wrong}");
        let wrong = refused("listen_peers = \"0.0.0.0:9192\"", "listen_peers = \"0.0.0.0\"");
        assert!(wrong.contains("invalid socket address"), "{wrong}");
        let wrong = refused("role = \"broker\"", "role = \"leader\"");
        assert!(wrong.contains("expected `controller` or `broker`"), "{wrong}");
        let wrong = refused("zone = 0, ", "");
        assert!(wrong.contains("missing field `zone`"), "{wrong}");
        let text = example().replacen("node = 1 ", "# ", 1);
        let wrong = NodeConfig::parse("n.toml", &text).expect_err("no node");
        assert_eq!(wrong, "n.toml: missing field `node`");
    }

    #[test]
    fn config_that_makes_no_sense_names_line_key_and_what_is_allowed() {
        for (from, to, why) in [
            (
                "node = 1 ",
                "node = 4 ",
                "node: 4 is none of `nodes`, which are 1, 2, 3, 101, 102, 103",
            ),
            ("id = 2", "id = 1", "id: there is a node 1 already"),
            ("id = 3,", "id = 103,", "id: there is a node 103 already"),
            ("cluster = \"", "cluster = \"my cluster", "cluster: 1 to 64 of"),
            ("store = \"s3://my-bucket\"", "store = \"memory\"", "store: a folder that all"),
            ("store = \"s3://my-bucket\"", "store = \"\"", "store: a folder that all"),
            ("broker-1.example:9192", "broker-1.example", "peers: HOST:PORT is needed"),
            ("broker-1.example:9192", "broker-1.example:0", "peers: a port is a number"),
            ("broker-1.example:9192", "::1:9192", "peers: HOST:PORT is needed"),
            ("broker-1.example:9092", "0.0.0.0:9092", "clients: nobody can connect"),
            ("broker-1.example:9092", "[::]:9092", "clients: nobody can connect"),
            ("broker-2.example:9192", "broker-1.example:9192", "broker-1.example:9192 is the"),
            ("wal_interval_ms = 10", "wal_interval_ms = 60001", "wal_interval_ms: 0 to 60000"),
            ("partitions = 3", "partitions = 0", "partitions: 1 to 1024 are allowed"),
        ] {
            let error = refused(from, to);
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn config_without_controllers_or_with_their_clients_is_refused() {
        let none =
            example().replace("role = \"controller\"", "role = \"broker\", clients = \"a:1\"");
        let wrong = NodeConfig::parse("n.toml", &none).expect_err("an address twice");
        assert!(wrong.contains("a:1 is the address of something else"), "{wrong}");
        let lines = example().lines().filter(|line| !line.contains("\"controller\""));
        let none: String = lines.map(|line| format!("{line}\n")).collect();
        let wrong = NodeConfig::parse("n.toml", &none).expect_err("no controllers");
        assert!(wrong.contains("nodes: at least one controller is needed"), "{wrong}");
        let wrong = refused("role = \"controller\"", "role = \"controller\", clients = \"a:1\"");
        assert_eq!(wrong, "clients: a controller has none");
        let controller = example().replacen("node = 1 ", "node = 101 ", 1);
        let wrong = NodeConfig::parse("n.toml", &controller).expect_err("clients");
        assert!(wrong.starts_with("n.toml:7: listen_clients: 101 is a controller"), "{wrong}");
        let none = example().replacen("listen_clients =", "# none:", 1);
        let wrong = NodeConfig::parse("n.toml", &none).expect_err("no clients");
        assert!(wrong.contains("node: 1 is a broker, and needs `listen_clients`"), "{wrong}");
    }
}
