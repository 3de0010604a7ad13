//! A Kafka client of raw frames, and what tests of whole clusters need besides.

use std::net::SocketAddr;

use broker::wire::messages::cluster::metadata;
use broker::wire::messages::records::{fetch, produce};
use broker::wire::{self, Header, Request, Response};
use broker_core::batch::{self, NewRecord, ProducerStamp, TimestampMs};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// Longer than any of it takes on a busy machine; only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A folder that is gone with the test.
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
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

/// A client with one connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: i32,
}

impl Client {
    pub(crate) async fn to(address: &SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), correlation: 0 }
    }

    pub(crate) async fn send(&mut self, version: i16, request: &Request) -> Header {
        self.correlation += 1;
        let (key, correlation) = (request.key(), self.correlation);
        let header = Header { key, version, correlation, client: Some("test".to_owned()) };
        self.stream.write_all(&wire::write_request(&header, request)).await.unwrap();
        header
    }

    /// The next frame; none if the broker has closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let length = timeout(PATIENCE, self.stream.read_i32()).await.expect("an answer").ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        Some(frame.into())
    }

    pub(crate) async fn receive(&mut self, header: &Header) -> Response {
        let frame = self.frame().await.expect("the connection is open");
        let (correlation, response) = wire::read_response(header, frame).unwrap();
        assert_eq!(correlation, header.correlation, "answers in order");
        response
    }

    pub(crate) async fn ask(&mut self, version: i16, request: &Request) -> Response {
        let header = self.send(version, request).await;
        self.receive(&header).await
    }

    /// Asks for the topic until it has a leader, and says where that listens.
    pub(crate) async fn leader(&mut self, topic: &str) -> SocketAddr {
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

pub(crate) fn produce(value: &[u8]) -> Request {
    let record =
        NewRecord { key: None, value: Some(value), headers: &[], timestamp: TimestampMs(1) };
    let records = Some(batch::build(&[record], ProducerStamp::NONE));
    let partition_data = vec![produce::PartitionProduceData { index: 0, records }];
    let topic_data = vec![produce::TopicProduceData {
        name: "t".to_owned(),
        partition_data,
        ..Default::default()
    }];
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
pub(crate) async fn acknowledged(client: &mut Client, value: &[u8]) -> (i64, Client) {
    loop {
        let address = client.leader("t").await;
        let Ok(stream) = TcpStream::connect(address).await else {
            // It has just ended, and is not known to have.
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        let mut leader = Client { stream, correlation: 0 };
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
pub(crate) async fn read_to(client: &mut Client, end: i64) -> Vec<Bytes> {
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
