//! The commands that tell what is there, run against a cluster in this process.

mod client;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker::wire::messages::groups::offset_commit;
use broker::wire::messages::transactions::init_producer_id;
use broker::wire::{Request, Response};
use broker_core::config::BrokerLimits;
use broker_core::time::Dur;
use client::{Client, Folder, PATIENCE, acknowledged, read_to};
use serde_json::Value;
use tokio::time::{Duration, sleep, timeout};

/// Runs the command, which shall succeed, and returns what it prints.
fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_broker")).args(args).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {why}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the command, which shall fail, and returns why.
fn refused(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_broker")).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn rows(args: &[&str]) -> Vec<Value> {
    let text = run(args);
    let Ok(Value::Array(rows)) = serde_json::from_str(&text) else { panic!("{text}") };
    rows
}

/// Commits for a group without members, as soon as it has a coordinator.
async fn committed(client: &mut Client) {
    let partition =
        offset_commit::OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() };
    let (name, partitions) = ("t".to_owned(), vec![partition]);
    let topic = offset_commit::OffsetCommitRequestTopic { name, partitions };
    let request = Request::OffsetCommit(offset_commit::Request {
        group_id: "readers".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    });
    loop {
        let answer = client.ask(2, &request).await;
        let Response::OffsetCommit(answer) = answer else { panic!("{answer:?}") };
        if answer.topics[0].partitions[0].error_code == 0 {
            return;
        }
        client.leader("__consumer_offsets").await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Takes a transactional id, as soon as it has a coordinator.
async fn taken(client: &mut Client) {
    let request = Request::InitProducerId(init_producer_id::Request {
        transactional_id: Some("copier".to_owned()),
        transaction_timeout_ms: 30_000,
        ..Default::default()
    });
    loop {
        let answer = client.ask(4, &request).await;
        let Response::InitProducerId(answer) = answer else { panic!("{answer:?}") };
        if answer.error_code == 0 {
            return;
        }
        client.leader("__transaction_state").await;
        sleep(Duration::from_millis(100)).await;
    }
}

/// Three controllers and a broker, which follow the log and are not far behind.
fn the_quorum(at: &str) {
    let replicas = rows(&["quorum", "--bootstrap", at, "--json"]);
    let status: Vec<_> = replicas.iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["Leader", "Follower", "Follower", "Observer"], "{replicas:?}");
    assert_eq!(replicas[3]["node"], 1);
    let nodes: BTreeSet<_> = replicas.iter().map(|it| it["node"].to_string()).collect();
    assert_eq!(nodes.len(), 4, "{replicas:?}");
    let number =
        |it: &Value, name: &str| it[name].as_i64().unwrap_or_else(|| panic!("{name}: {it}"));
    // The leader's own times are now.
    let (end, now) =
        (number(&replicas[0], "log_end_offset"), number(&replicas[0], "last_fetch_ms"));
    assert!(now > 1_700_000_000_000, "{now}");
    for it in &replicas {
        assert!(number(it, "leader_epoch") > 0 && number(it, "high_watermark") > 1, "{it}");
        assert_eq!(number(it, "lag"), end - number(it, "log_end_offset"), "{it}");
        for time in ["last_fetch_ms", "last_caught_up_ms"] {
            assert!((now - 60_000..=now).contains(&number(it, time)), "{time} of {it}, now {now}");
        }
    }
    assert_eq!(replicas[0]["lag"], 0);
    let text = run(&["quorum", "--bootstrap", at]);
    assert!(text.starts_with("NODE  STATUS "), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    let why = refused(&["quorum", "--bootstrap", at, "nowhere"]);
    assert!(why.contains("unexpected argument"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_tell_what_is_there() {
    let folder = Folder::new("inspect");
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
    let objects = folder.0.join("objects");
    let store = Arc::new(Store::folder(&objects).unwrap());
    let mut cluster = Cluster::start(&options, store).await.unwrap();
    timeout(PATIENCE, cluster.serves()).await.expect("serves");
    let address = *cluster.listeners.values().next().unwrap();
    let at = address.to_string();
    assert_eq!(rows(&["topics", "--bootstrap", &at, "--json"]), Vec::<Value>::new());
    let mut client = Client::to(&address).await;
    for value in [b"one", b"two", b"333"] {
        acknowledged(&mut client, value).await;
    }
    read_to(&mut client, 3).await;
    committed(&mut client).await;
    taken(&mut client).await;

    let topics = rows(&["topics", "--bootstrap", &at, "--json", "t"]);
    let [topic] = &topics[..] else { panic!("{topics:?}") };
    assert_eq!((&topic["topic"], &topic["partition"]), (&"t".into(), &0.into()));
    assert_eq!((&topic["leader"], &topic["end_offset"]), (&1.into(), &3.into()));
    assert_eq!((&topic["start_offset"], &topic["error"]), (&0.into(), &Value::Null));
    let text = run(&["topics", "--bootstrap", &at]);
    assert!(text.starts_with("TOPIC "), "{text}");
    assert!(text.contains("__consumer_offsets") && text.contains("\nt "), "{text}");

    let groups = rows(&["groups", "--bootstrap", &at, "--json"]);
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((&group["group"], &group["type"]), (&"readers".into(), &"classic".into()));
    assert_eq!((&group["state"], &group["members"]), (&"Empty".into(), &0.into()));
    assert_eq!((&group["offset"], &group["lag"]), (&1.into(), &2.into()));

    let ids = rows(&["transactions", "--bootstrap", &at, "--json"]);
    let [id] = &ids[..] else { panic!("{ids:?}") };
    assert_eq!((&id["transactional_id"], &id["state"]), (&"copier".into(), &"Empty".into()));
    assert_eq!((&id["timeout_ms"], &id["partitions"]), (&30_000.into(), &Value::Null));

    the_quorum(&at);

    for (command, kind) in [("topics", "topic"), ("groups", "group"), ("transactions", "id")] {
        let why = refused(&[command, "--bootstrap", &at, "nowhere"]);
        assert!(why.contains(&format!("{kind} nowhere: ")), "{why}");
    }
    timeout(PATIENCE, cluster.stop()).await.expect("stops");
    for command in ["topics", "quorum"] {
        let why = refused(&[command, "--bootstrap", &at]);
        assert!(why.contains(&at), "{why}");
    }

    // All that was acknowledged is in data objects now.
    let mut records: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows(&["objects", "--json", "--store", objects.to_str().unwrap()]) {
        assert!(row["bytes"].as_u64().is_some(), "{row}");
        if row["kind"] == "data" {
            assert_eq!(row["node"], 1);
            let number = |name: &str| row[name].as_u64().unwrap();
            *records.entry(row["stream"].to_string()).or_default() +=
                number("end") - number("start");
        }
    }
    assert!(records.values().any(|it| *it == 3), "{records:?}");
}

#[test]
fn objects_of_a_store_that_is_not_there_are_refused_and_nothing_is_made() {
    let folder = Folder::new("inspect-nowhere");
    let why = refused(&["objects", "--store", folder.0.to_str().unwrap()]);
    assert!(why.contains("--store") && why.contains("no such folder"), "{why}");
    assert!(!folder.0.exists());
}
