//! A whole cluster behind sockets: what a client may send, and what survives the cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker::wire::messages::cluster::{api_versions, metadata};
use broker::wire::messages::records::{fetch, produce};
use broker::wire::{self, ApiKey, Header, Request, Response};
use broker_core::batch::{self, NewRecord, ProducerStamp, TimestampMs};
use broker_core::config::BrokerLimits;
use broker_core::time::Dur;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// Longer than any of it takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder that is gone with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("seedbed-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(data: &Path) -> Options {
    let limits = BrokerLimits { wal_bulk_interval: Dur::ms(5), ..BrokerLimits::default() };
    Options {
        data: data.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        brokers: 2,
        limits,
        partitions_default: 1,
        creates_topics: true,
    }
}

async fn start(data: &Path) -> Cluster {
    // A node whose folder is still held by the process before it can not start.
    for _ in 0..50 {
        let store = Arc::new(Store::folder(&data.join("objects")).unwrap());
        match Cluster::start(&options(data), store).await {
            Ok(cluster) => return cluster,
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the cluster does not start")
}

/// A client with one connection.
struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    async fn to(address: &SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), correlation: 0 }
    }

    async fn send(&mut self, version: i16, request: &Request) -> Header {
        self.correlation += 1;
        let (key, correlation) = (request.key(), self.correlation);
        let header = Header { key, version, correlation, client: Some("test".to_owned()) };
        self.stream.write_all(&wire::write_request(&header, request)).await.unwrap();
        header
    }

    /// The next frame; none if the broker has closed the connection.
    async fn frame(&mut self) -> Option<Bytes> {
        let length = timeout(PATIENCE, self.stream.read_i32()).await.expect("an answer").ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        Some(frame.into())
    }

    async fn receive(&mut self, header: &Header) -> Response {
        let frame = self.frame().await.expect("the connection is open");
        let (correlation, response) = wire::read_response(header, frame).unwrap();
        assert_eq!(correlation, header.correlation, "answers in order");
        response
    }

    async fn ask(&mut self, version: i16, request: &Request) -> Response {
        let header = self.send(version, request).await;
        self.receive(&header).await
    }

    /// Asks for the topic until it has a leader, and says where that listens.
    async fn leader(&mut self, topic: &str) -> SocketAddr {
        loop {
            let name = Some(topic.to_owned());
            let topics = Some(vec![metadata::MetadataRequestTopic { name, ..Default::default() }]);
            let request = Request::Metadata(metadata::Request { topics, ..Default::default() });
            let answer = self.ask(9, &request).await;
            let Response::Metadata(answer) = answer else { panic!("{answer:?}") };
            let leader = answer.topics[0].partitions.first().map_or(-1, |it| it.leader_id);
            if let Some(broker) = answer.brokers.iter().find(|it| it.node_id == leader) {
                let port = u16::try_from(broker.port).unwrap();
                return SocketAddr::new(broker.host.parse().unwrap(), port);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn versions() -> Request {
    Request::ApiVersions(api_versions::Request::default())
}

fn produce(value: &[u8]) -> Request {
    let record =
        NewRecord { key: None, value: Some(value), headers: &[], timestamp: TimestampMs(1) };
    let records = Some(batch::build(&[record], ProducerStamp::NONE));
    let partition_data = vec![produce::PartitionProduceData { index: 0, records }];
    let topic_data = vec![produce::TopicProduceData { name: "t".to_owned(), partition_data }];
    let timeout_ms = 30_000;
    Request::Produce(produce::Request { acks: -1, timeout_ms, topic_data, ..Default::default() })
}

fn fetch(fetch_offset: i64) -> Request {
    let partition_max_bytes = 1 << 20;
    let partition =
        fetch::FetchPartition { fetch_offset, partition_max_bytes, ..Default::default() };
    let (topic, partitions) = ("t".to_owned(), vec![partition]);
    let topics = vec![fetch::FetchTopic { topic, partitions, ..Default::default() }];
    Request::Fetch(fetch::Request {
        max_wait_ms: 1_000,
        min_bytes: 1,
        topics,
        ..Default::default()
    })
}

/// Produces, wherever the leader is, until it is acknowledged. Also tells who the leader was.
async fn acknowledged(client: &mut Client, value: &[u8]) -> (i64, Client) {
    loop {
        let mut leader = Client::to(&client.leader("t").await).await;
        let answer = leader.ask(9, &produce(value)).await;
        let Response::Produce(answer) = answer else { panic!("{answer:?}") };
        let partition = &answer.responses[0].partition_responses[0];
        if partition.error_code == 0 {
            return (partition.base_offset, leader);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// All batches up to this offset, fetch by fetch.
async fn read_to(client: &mut Client, end: i64) -> Vec<Bytes> {
    let (mut offset, mut batches) = (0, Vec::new());
    while offset < end {
        let answer = client.ask(12, &fetch(offset)).await;
        let Response::Fetch(answer) = answer else { panic!("{answer:?}") };
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        for batch in batch::split(partition.records.as_ref().unwrap()) {
            let batch = batch.unwrap();
            let header = batch::verify(&batch).unwrap();
            assert_eq!(i64::try_from(header.base_offset.0).unwrap(), offset, "no gap, no overlap");
            offset = i64::try_from(header.end_offset().0).unwrap();
            batches.push(batch);
        }
    }
    batches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_keeps_what_it_acknowledged_over_a_stop_and_over_a_crash() {
    let folder = Folder::new("keeps");
    for round in 0..3 {
        let cluster = start(&folder.0).await;
        let mut first = Client::to(cluster.listeners.values().next().unwrap()).await;
        let value = format!("value {round}");
        let (offset, mut leader) = acknowledged(&mut first, value.as_bytes()).await;
        assert_eq!(offset, round, "no record is lost, and none is there twice");
        for (at, batch) in read_to(&mut leader, offset + 1).await.iter().enumerate() {
            let value = format!("value {at}");
            assert!(batch.ends_with(&[value.as_bytes(), &[0]].concat()), "{value}: {batch:?}");
        }
        if round == 0 {
            timeout(PATIENCE, cluster.stop()).await.expect("stops");
        } else {
            cluster.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_of_another_cluster_is_refused() {
    let (first, second) = (Folder::new("first"), Folder::new("second"));
    start(&first.0).await.kill().await;
    let foreign = Arc::new(Store::folder(&first.0.join("objects")).unwrap());
    let refused = Cluster::start(&options(&second.0), foreign).await.err().unwrap().to_string();
    assert!(refused.contains("belongs to cluster"), "{refused}");
    let empty = Arc::new(Store::memory());
    let refused = Cluster::start(&options(&first.0), empty).await.err().unwrap().to_string();
    assert!(refused.contains("not in this store"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_with_a_bad_frame_is_closed_and_no_other() {
    let folder = Folder::new("bad");
    let cluster = start(&folder.0).await;
    let address = cluster.listeners.values().next().unwrap();
    let mut good = Client::to(address).await;
    let bad: [&[u8]; 5] = [
        // 2^31 − 1 topics in 14 bytes.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 127, 255, 255, 255],
        // Longer than any frame may be, and a negative length.
        &[127, 255, 255, 255],
        &[255, 255, 255, 255],
        // A call that is not spoken.
        &[0, 0, 0, 10, 3, 231, 0, 0, 0, 0, 0, 1, 255, 255],
        // Nothing at all.
        &[0, 0, 0, 0],
    ];
    for frame in bad {
        let mut client = Client::to(address).await;
        client.stream.write_all(frame).await.unwrap();
        assert_eq!(client.frame().await, None, "{frame:?}");
    }
    let answer = good.ask(0, &versions()).await;
    let Response::ApiVersions(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.error_code, 0);
    cluster.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_answers_in_the_order_of_its_requests() {
    let folder = Folder::new("order");
    let cluster = start(&folder.0).await;
    let mut client = Client::to(cluster.listeners.values().next().unwrap()).await;
    let (_, mut leader) = acknowledged(&mut client, b"first").await;
    // A produce waits for the store, the others do not; and many more than may wait at once.
    let mut sent = Vec::new();
    for at in 0..200 {
        let request = if at % 10 == 0 { produce(b"v") } else { versions() };
        let version = if at % 10 == 0 { 9 } else { 0 };
        sent.push(leader.send(version, &request).await);
    }
    for header in &sent {
        leader.receive(header).await;
    }
    // A version of ApiVersions that nobody speaks.
    let header = Header { key: ApiKey::ApiVersions, version: 99, correlation: 7, client: None };
    let mut frame = wire::write_request(&header, &versions()).to_vec();
    frame.truncate(4 + 10);
    frame[3] = 10;
    leader.stream.write_all(&frame).await.unwrap();
    let answer = leader.receive(&Header { version: 0, ..header }).await;
    let Response::ApiVersions(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.error_code, 35);
    cluster.kill().await;
}
