//! What Prometheus is told: of a cluster in this process, and by the command.

mod client;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use broker::metrics::{self, Metrics};
use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker::wire::messages::groups::offset_commit;
use broker::wire::{Request, Response};
use broker_core::config::BrokerLimits;
use broker_core::time::Dur;
use client::{Client, Folder, PATIENCE, acknowledged, read_to};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep, timeout};

/// Sends bytes, and returns all that comes until the other side closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("closes").unwrap();
    answer
}

/// All samples, by name and labels.
async fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let answer = raw(address, b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let mut samples = BTreeMap::new();
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let before = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "twice: {name}");
    }
    samples
}

fn commit(offset: i64) -> Request {
    let partition = offset_commit::OffsetCommitRequestPartition {
        committed_offset: offset,
        ..Default::default()
    };
    let (name, partitions) = ("t".to_owned(), vec![partition]);
    let topic = offset_commit::OffsetCommitRequestTopic { name, partitions };
    Request::OffsetCommit(offset_commit::Request {
        group_id: "readers".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    })
}

/// Commits for a group without members, as soon as it has a coordinator.
async fn committed(client: &mut Client, offset: i64) {
    loop {
        let answer = client.ask(2, &commit(offset)).await;
        let Response::OffsetCommit(answer) = answer else { panic!("{answer:?}") };
        if answer.topics[0].partitions[0].error_code == 0 {
            return;
        }
        client.leader("__consumer_offsets").await;
        sleep(Duration::from_millis(100)).await;
    }
}

async fn told() -> (Arc<Metrics>, SocketAddr) {
    let metrics = Arc::new(Metrics::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(metrics::serve(listener, metrics.clone()));
    (metrics, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_move_with_the_traffic() {
    let folder = Folder::new("metrics");
    let options = Options {
        data: folder.0.clone(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        brokers: 1,
        limits: BrokerLimits { wal_bulk_interval: Dur::ms(5), ..BrokerLimits::default() },
        partitions_default: 1,
        creates_topics: true,
        recorder: None,
    };
    let (metrics, address) = told().await;
    let store = Arc::new(Store::memory());
    let mut cluster = Cluster::start_measured(&options, store, &metrics).await.unwrap();
    timeout(PATIENCE, cluster.serves()).await.expect("serves");
    let before = scrape(address).await;
    let produces = "seedbed_request_duration_seconds_count{node=\"1\",request=\"Produce\"}";
    assert_eq!(before.get(produces), None);
    let mut client = Client::to(&cluster.listeners[&broker_core::ids::NodeId(1)]).await;
    for value in [b"one", b"two", b"333"] {
        acknowledged(&mut client, value).await;
    }
    read_to(&mut client, 3).await;
    committed(&mut client, 1).await;
    let after = scrape(address).await;
    let of = |name: &str| *after.get(name).unwrap_or_else(|| panic!("no {name} in {after:#?}"));
    assert!(of(produces) >= 3.0);
    let all = produces.replace("_count{", "_bucket{le=\"+Inf\",");
    assert_eq!(of(&all), of(produces));
    assert!(of(&produces.replace("_count", "_sum")) > 0.0);
    assert!(of(&produces.replace("Produce", "Fetch")) >= 1.0);
    assert!(of("seedbed_wal_put_duration_seconds_count{node=\"1\"}") >= 3.0);
    let wal = "node=\"1\",purpose=\"wal\",operation=\"put\"";
    assert!(of(&format!("seedbed_store_calls_total{{{wal},result=\"ok\"}}")) >= 3.0);
    assert!(of(&format!("seedbed_store_call_duration_seconds_count{{{wal}}}")) >= 3.0);
    assert!(of(&format!("seedbed_store_put_bytes_total{{{wal}}}")) > 200.0);
    let partition = "{node=\"1\",topic=\"t\",partition=\"0\"}";
    assert_eq!(of(&format!("seedbed_partition_high_watermark_offset{partition}")), 3.0);
    assert_eq!(of(&format!("seedbed_partition_last_stable_offset_lag_records{partition}")), 0.0);
    assert!(of(&format!("seedbed_partition_commit_lag_records{partition}")) <= 3.0);
    let group = "{node=\"1\",group=\"readers\",topic=\"t\",partition=\"0\"}";
    assert_eq!(of(&format!("seedbed_group_committed_offset{group}")), 1.0);
    assert_eq!(of(&format!("seedbed_group_lag_records{group}")), 2.0);
    assert_eq!(of("seedbed_node_boots_total{node=\"1\"}"), 1.0);
    assert_eq!(of("seedbed_broker_serving{node=\"1\"}"), 1.0);
    assert!(of("seedbed_broker_connections{node=\"1\"}") >= 1.0);
    assert!(of("seedbed_broker_metadata_offset{node=\"1\"}") > 0.0);
    let active = (101..104).map(|it| of(&format!("seedbed_controller_active{{node=\"{it}\"}}")));
    assert_eq!(active.filter(|it| *it == 1.0).count(), 1);
    cluster.kill().await;
    let after = scrape(address).await;
    assert_eq!(after["seedbed_node_answering{node=\"1\"}"], 0.0);
    assert_eq!(after.get("seedbed_broker_serving{node=\"1\"}"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_asked_for_wrongly_are_refused() {
    let (_metrics, address) = told().await;
    for (asked, status) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
        (b"GET /metrics\r\n\r\n", "400"),
        (b"\xff\xfe\r\n\r\n", "400"),
        (&[b'a'; 8 << 10], "400"),
    ] {
        let answer = raw(address, asked).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    scrape(address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_tells_where_its_metrics_are_and_what_is_wrong_with_the_address() {
    let folder = Folder::new("metrics-command");
    let command = |metrics: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--brokers", "1", "--store", "memory"]);
        command.args(["--metrics", metrics, "--data"]).arg(&folder.0);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let mut process = command("127.0.0.1:0").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics    http://").expect("where they are");
    let samples = scrape(address.strip_suffix("/metrics").unwrap().parse().unwrap()).await;
    process.kill().unwrap();
    process.wait().unwrap();
    // Perhaps its nodes have only just begun.
    assert!(samples.keys().all(|name| name.starts_with("seedbed_")), "{samples:#?}");
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let _held = TcpListener::bind(&held).await.unwrap();
    let refused = command(&held).stderr(Stdio::piped()).output().unwrap();
    assert!(!refused.status.success());
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains(&format!("--metrics {held}")), "{why}");
}
