//! Clusters whose nodes speak to one another through sockets: what they survive, and what
//! strangers can do to them.

mod client;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use broker::metrics::Metrics;
use broker::node::{NodeConfig, Running, Sockets};
use broker::store::Store;
use broker_core::ids::{Incarnation, NodeId};
use broker_core::peer::frame::{self, Frame, Hello};
use client::{Client, Folder, PATIENCE, acknowledged, read_to};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// A cluster on ports of this machine: for each node that for its peers, and for its clients.
struct Layout<'a> {
    data: &'a Path,
    ports: BTreeMap<u16, (u16, u16)>,
}

impl<'a> Layout<'a> {
    /// Controllers are nodes 101 and so on, brokers 1 and so on. The ports are free now.
    fn new(data: &'a Path, controllers: u16, brokers: u16) -> Self {
        let mut held = Vec::new();
        let mut free = || {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            held.push(socket);
            port
        };
        let nodes = (101..101 + controllers).chain(1..=brokers);
        let ports = nodes.map(|node| (node, (free(), free()))).collect();
        Self { data, ports }
    }

    /// The file of a node.
    fn text(&self, node: u16) -> String {
        let (peers, clients) = self.ports[&node];
        let data = self.data.display();
        let mut text = format!("cluster = \"test\"\nnode = {node}\ndata = \"{data}/{node}\"\n");
        text += &format!("store = \"{data}/objects\"\nlisten_peers = \"127.0.0.1:{peers}\"\n");
        if node < 100 {
            text += &format!("listen_clients = \"127.0.0.1:{clients}\"\n");
        }
        text += "nodes = [\n";
        for (node, (peers, clients)) in &self.ports {
            let peers = format!("peers = \"127.0.0.1:{peers}\"");
            text += &match node {
                1..100 => format!(
                    "  {{ id = {node}, role = \"broker\", zone = {node}, {peers}, \
                     clients = \"127.0.0.1:{clients}\" }},\n"
                ),
                _ => format!("  {{ id = {node}, role = \"controller\", zone = 0, {peers} }},\n"),
            };
        }
        text += "]\n[limits]\nwal_interval_ms = 5\npartitions = 1\n";
        text
    }

    async fn start(&self, node: u16) -> Running {
        let config = NodeConfig::parse("test.toml", &self.text(node)).unwrap();
        let sockets = Sockets::open(&config).await.unwrap();
        let store = Arc::new(Store::folder(config.store.as_ref()).unwrap());
        // A node whose folder is still held by the process before it can not start.
        Running::start(&config, sockets, store, None).await.unwrap()
    }

    async fn start_all(&self) -> BTreeMap<u16, Running> {
        let mut running = BTreeMap::new();
        for node in self.ports.keys() {
            running.insert(*node, self.start(*node).await);
        }
        running
    }

    fn peers(&self, node: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[&node].0))
    }

    fn clients(&self, node: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[&node].1))
    }

    /// The broker that a client is connected to.
    fn node_of(&self, client: &Client) -> u16 {
        let port = client.stream.peer_addr().unwrap().port();
        *self.ports.iter().find(|(_, (_, clients))| *clients == port).unwrap().0
    }
}

/// The topic holds these values, one batch each.
async fn holds(leader: &mut Client, values: &[&str]) {
    let batches = read_to(leader, i64::try_from(values.len()).unwrap()).await;
    assert_eq!(batches.len(), values.len());
    for (batch, value) in batches.iter().zip(values) {
        assert!(batch.ends_with(&[value.as_bytes(), &[0]].concat()), "{value}: {batch:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_go_on_without_a_broker_and_a_controller() {
    let folder = Folder::new("nodes");
    let layout = Layout::new(&folder.0, 3, 3);
    let mut running = layout.start_all().await;
    for node in 1..=3 {
        timeout(PATIENCE, running[&node].serves()).await.expect("serves");
    }
    let mut client = Client::to(&layout.clients(1)).await;
    let (offset, leader) = acknowledged(&mut client, b"one").await;
    assert_eq!(offset, 0);
    let dead = layout.node_of(&leader);
    running.remove(&dead).unwrap().kill().await;
    running.remove(&102).unwrap().kill().await;
    let other = if dead == 1 { 2 } else { 1 };
    let mut client = Client::to(&layout.clients(other)).await;
    let (offset, mut leader) = acknowledged(&mut client, b"two").await;
    assert_eq!(offset, 1, "no record is lost, and none is there twice");
    assert_ne!(layout.node_of(&leader), dead);
    holds(&mut leader, &["one", "two"]).await;
    // They come back, and the cluster lives without others.
    running.insert(dead, layout.start(dead).await);
    running.insert(102, layout.start(102).await);
    timeout(PATIENCE, running[&dead].serves()).await.expect("serves again");
    let drained = layout.node_of(&leader);
    timeout(PATIENCE, running.remove(&drained).unwrap().stop()).await.expect("stops");
    running.remove(&101).unwrap().kill().await;
    let mut client = Client::to(&layout.clients(dead)).await;
    let (offset, mut leader) = acknowledged(&mut client, b"three").await;
    assert_eq!(offset, 2);
    holds(&mut leader, &["one", "two", "three"]).await;
    for (_, node) in running {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_tells_of_its_bytes_from_zone_to_zone() {
    let folder = Folder::new("zones");
    let layout = Layout::new(&folder.0, 1, 1);
    let controller = layout.start(101).await;
    let config = NodeConfig::parse("test.toml", &layout.text(1)).unwrap();
    let sockets = Sockets::open(&config).await.unwrap();
    let store = Arc::new(Store::folder(config.store.as_ref()).unwrap());
    let metrics = Metrics::default();
    let node = Running::start_measured(&config, sockets, (store, None), &metrics).await.unwrap();
    timeout(PATIENCE, node.serves()).await.expect("serves");
    let text = metrics.scrape().await;
    let sent = "seedbed_peer_sent_bytes_total{node=\"1\",from_zone=\"1\",to_zone=\"0\"} ";
    let bytes = text.lines().find_map(|line| line.strip_prefix(sent)).expect("it has sent some");
    assert!(bytes.parse::<u64>().unwrap() > 100, "{bytes}");
    node.kill().await;
    controller.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_close_strangers_and_go_on() {
    let folder = Folder::new("strangers");
    let layout = Layout::new(&folder.0, 1, 1);
    let running = layout.start_all().await;
    let hello = |cluster: &str, from, to| {
        let (cluster, incarnation) = (cluster.to_owned(), Incarnation(1));
        let (from, to) = (NodeId(from), NodeId(to));
        frame::encode(&Frame::Hello(Hello { cluster, from, to, incarnation }))
    };
    let mut huge = frame::encode(&Frame::Ping);
    huge[5..9].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut client = Client::to(&layout.clients(1)).await;
    for (at, bytes) in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &huge,
        &hello("another", 1, 101),
        &hello("test", 7, 101),
        &hello("test", 101, 1),
    ]
    .into_iter()
    .enumerate()
    {
        for node in [1, 101] {
            let mut stream = TcpStream::connect(layout.peers(node)).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let closed = async {
                let mut told = [0];
                // The last one is a good greeting for node 1, whom 101 greets: it is let in.
                let is_good = at == 4 && node == 1;
                is_good || !matches!(stream.read(&mut told).await, Ok(1))
            };
            assert!(timeout(PATIENCE, closed).await.expect("closed"), "{at} at {node}");
        }
        let value = format!("value {at}");
        let (offset, _) = acknowledged(&mut client, value.as_bytes()).await;
        assert_eq!(offset, i64::try_from(at).unwrap());
    }
    for (_, node) in running {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_in_a_folder_or_store_of_another_cluster_is_refused() {
    let folder = Folder::new("others");
    let layout = Layout::new(&folder.0, 1, 1);
    layout.start(101).await.kill().await;
    for (from, to, why) in [
        ("cluster = \"test\"", "cluster = \"b\"", "belongs to cluster test, and this is b"),
        ("/objects\"", "/elsewhere\"", "its objects are not in this store"),
    ] {
        let config = NodeConfig::parse("x", &layout.text(101).replace(from, to)).unwrap();
        let sockets = Sockets::open(&config).await.unwrap();
        let store = Arc::new(Store::folder(config.store.as_ref()).unwrap());
        let refused =
            Running::start(&config, sockets, store, None).await.err().unwrap().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    let held = layout.start(1).await;
    let mut config = NodeConfig::parse("x", &layout.text(1)).unwrap();
    config.listen_peers.set_port(0);
    config.listen_clients = None;
    let sockets = Sockets::open(&config).await.unwrap();
    let refused = Running::start(&config, sockets, Arc::new(Store::memory()), None).await.err();
    let refused = refused.unwrap().to_string();
    assert!(refused.contains("another process's"), "{refused}");
    held.kill().await;
}

/// A process that is killed with the test.
struct Process(Child);

impl Process {
    fn start(layout: &Layout<'_>, node: u16) -> Self {
        let file = layout.data.join(format!("{node}.toml"));
        std::fs::write(&file, layout.text(node)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.args(["serve", "--log-level", "error", "--node"]).arg(file).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects as soon as the process listens.
async fn connect(address: SocketAddr) -> Client {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        Client::to(&address).await
    };
    timeout(PATIENCE, connected).await.expect("listens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_killed_and_drained_lose_nothing() {
    let folder = Folder::new("processes");
    std::fs::create_dir_all(&folder.0).unwrap();
    let layout = Layout::new(&folder.0, 3, 2);
    let nodes = layout.ports.keys();
    let mut processes: BTreeMap<u16, Process> =
        nodes.map(|node| (*node, Process::start(&layout, *node))).collect();
    let mut client = connect(layout.clients(1)).await;
    let (offset, leader) = acknowledged(&mut client, b"one").await;
    assert_eq!(offset, 0);
    let killed = layout.node_of(&leader);
    processes.get_mut(&killed).unwrap().kill();
    processes.get_mut(&101).unwrap().kill();
    let other = 3 - killed;
    let mut client = connect(layout.clients(other)).await;
    let (offset, mut leader) = acknowledged(&mut client, b"two").await;
    assert_eq!(offset, 1, "no record is lost, and none is there twice");
    holds(&mut leader, &["one", "two"]).await;
    processes.insert(killed, Process::start(&layout, killed));
    processes.insert(101, Process::start(&layout, 101));
    let mut back = connect(layout.clients(killed)).await;
    // It serves again once it answers.
    back.leader("t").await;
    let mut drained = processes.remove(&other).unwrap();
    let told = Command::new("kill").args(["-TERM", &drained.0.id().to_string()]).status().unwrap();
    assert!(told.success());
    let ended = async {
        loop {
            if let Some(status) = drained.0.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, ended).await.expect("ends").success());
    let (offset, mut leader) = acknowledged(&mut back, b"three").await;
    assert_eq!(offset, 2);
    holds(&mut leader, &["one", "two", "three"]).await;
}
