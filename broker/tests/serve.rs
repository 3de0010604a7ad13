//! A whole cluster behind sockets: what a client may send, and what survives the cluster.

mod client;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker::wire::messages::cluster::api_versions;
use broker::wire::{self, ApiKey, Header, Request, Response};
use broker_core::config::BrokerLimits;
use broker_core::time::Dur;
use client::{Client, Folder, PATIENCE, acknowledged, produce, read_to};
use tokio::io::AsyncWriteExt;
use tokio::time::{Duration, sleep, timeout};

fn options(data: &Path) -> Options {
    let limits = BrokerLimits { wal_bulk_interval: Dur::ms(5), ..BrokerLimits::default() };
    Options {
        data: data.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        brokers: 2,
        limits,
        partitions_default: 1,
        creates_topics: true,
        recorder: None,
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

fn versions() -> Request {
    Request::ApiVersions(api_versions::Request::default())
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_tells_clients_what_is_advertised_and_never_all_addresses() {
    let folder = Folder::new("advertise");
    let all = SocketAddr::from(([0, 0, 0, 0], 0));
    let options = |advertise: Option<&str>| Options {
        listen: all,
        advertise: advertise.map(str::to_owned),
        ..options(&folder.0)
    };
    let store = || Arc::new(Store::folder(&folder.0.join("objects")).unwrap());
    let refused = Cluster::start(&options(None), store()).await.err().unwrap().to_string();
    assert!(refused.contains("--advertise"), "{refused}");
    let cluster = Cluster::start(&options(Some("127.0.0.2")), store()).await.unwrap();
    let mut client = Client::to(cluster.listeners.values().next().unwrap()).await;
    assert_eq!(client.leader("t").await.ip().to_string(), "127.0.0.2");
    cluster.kill().await;
}
