//! `verify` against a cluster of our own in this process: every workload passes; and what a bad
//! broker does is found, here by a proxy that does it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::serve::{self, Cluster};
use broker::store::Store;
use broker_core::config::BrokerLimits;
use broker_core::protocol::TransactionVersion;
use broker_core::time::Dur;
use sim::commands::judge::verdict;
use sim::interrupt::Interrupt;
use sim::live::verify::{Options, Verified, prepare};

#[path = "live/proxy.rs"]
mod proxy;

use proxy::{Proxy, Trick};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("seedbed-live-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn cluster(data: &Path) -> Cluster {
    let options = serve::Options {
        data: data.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        recorder: None,
        brokers: 2,
        limits: BrokerLimits { wal_bulk_interval: Dur::ms(5), ..BrokerLimits::default() },
        partitions_default: 1,
        creates_topics: false,
    };
    let store = Arc::new(Store::folder(&data.join("objects")).expect("a folder"));
    let mut cluster = Cluster::start(&options, store).await.expect("a cluster");
    cluster.serves().await;
    cluster
}

fn options(workload: &str, secs: u64, bootstrap: SocketAddr) -> Options {
    Options {
        bootstrap: vec![(bootstrap.ip().to_string(), bootstrap.port())],
        workload: workloads::by_name(workload).expect("a workload"),
        length: Duration::from_secs(secs),
        seed: 1,
        run: "test".to_owned(),
        first_client: 0,
        protocol: None,
        nemesis: Vec::new(),
        watermarks: true,
        settle: Duration::ZERO,
        patience: Duration::from_secs(120),
    }
}

async fn run(options: &Options) -> Verified {
    let prepared = prepare(options).await.expect("a cluster that can be run against");
    prepared.run(options, &Interrupt::default()).await
}

/// What a workload's clients see of a cluster of ours.
async fn verified(test: &str, workload: &str, change: impl FnOnce(&mut Options)) -> Verified {
    let folder = Folder::new(test);
    let cluster = cluster(&folder.0).await;
    let first = *cluster.listeners.values().next().expect("a broker");
    let mut options = options(workload, 5, first);
    change(&mut options);
    run(&options).await
}

fn passes(verified: &Verified) {
    assert_eq!(verified.stuck, Vec::<String>::new());
    assert!(verified.acknowledged > 0, "{:?}", verified.calls);
    assert_eq!((verified.seen.disorders, verified.seen.lost), (0, 0));
    assert!(verified.seen.refused.is_empty(), "{:?}", verified.seen);
    assert!(verified.seen.unnamed.is_empty(), "{:?}", verified.seen);
    let summary = verdict(&verified.history).expect("a history").expect("it passes");
    let judged = summary.evaluated().filter(|(_, times)| *times > 0).count();
    assert!(judged >= 5, "{:?}", summary.evaluated().collect::<Vec<_>>());
    // Every partition was read to its end, but for those of topics that were deleted.
    assert!(deletes(verified) || summary.unread == 0, "{} unread", summary.unread);
}

/// Whether a topic was to be deleted.
fn deletes(verified: &Verified) -> bool {
    verified.history.contains("\"deletes\":true")
}

macro_rules! workloads_pass {
    ($($test:ident: $workload:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            passes(&verified($workload, $workload, |_| ()).await);
        }
    )*};
}

workloads_pass! {
    verify_append_read_passes: "append-read";
    verify_topic_churn_passes: "topic-churn";
    verify_zone_outage_passes: "zone-outage";
    verify_idempotent_retry_passes: "idempotent-retry";
    verify_transactions_passes: "transactions";
    verify_group_rebalance_passes: "group-rebalance";
    verify_copy_exactly_once_passes: "copy-exactly-once";
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_with_a_nemesis_that_does_nothing_passes() {
    let nemesis = |options: &mut Options| options.nemesis = vec!["true".to_owned()];
    let verified = verified("nemesis", "append-read", nemesis).await;
    assert!(verified.acts.as_ref().is_ok_and(|acts| *acts > 0), "{:?}", verified.acts);
    passes(&verified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_by_the_first_protocol_of_transactions_speaks_it() {
    let first = |options: &mut Options| options.protocol = Some(TransactionVersion::V1);
    let verified = verified("tv1", "transactions", first).await;
    assert_eq!((verified.protocol, verified.stuck.len()), (TransactionVersion::V1, 0));
    assert!(verified.calls["add_partitions"].ok > 0 && verified.calls["end_txn"].ok > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_of_a_broker_that_is_not_there_is_refused() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let told = prepare(&options("append-read", 1, nobody)).await;
    let why = told.expect_err("nobody is there");
    assert!(why.starts_with("no broker can be reached: 127.0.0.1:1: "), "{why}");
}

/// What the clients of a cluster behind a proxy that plays this trick are told.
async fn tricked(trick: Trick, workload: &str) -> Verified {
    let folder = Folder::new(&format!("{trick:?}"));
    let cluster = cluster(&folder.0).await;
    let proxy = Proxy::start(&cluster.listeners, trick).await;
    let mut options = options(workload, 5, proxy.address());
    if trick == Trick::Hang {
        options.patience = Duration::from_secs(3);
    }
    run(&options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_that_has_nothing_acknowledged_says_so() {
    let verified = tricked(Trick::Refuse, "append-read").await;
    assert_eq!(verified.acknowledged, 0);
    assert!(verified.calls["produce"].failed > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_that_can_not_read_to_the_end_is_stuck() {
    let verified = tricked(Trick::Hang, "append-read").await;
    assert!(verified.acknowledged > 0);
    assert!(verified.stuck.iter().any(|what| what.contains("read of")), "{:?}", verified.stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_that_is_not_told_where_a_partition_ends_is_stuck() {
    let verified = tricked(Trick::Untold, "idempotent-retry").await;
    assert!(verified.acknowledged > 0);
    let untold = verified.stuck.iter().filter(|what| what.ends_with("tells where it ends"));
    assert!(untold.count() > 0, "{:?}", verified.stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_whose_nemesis_fails_keeps_what_was_seen() {
    let fails = |options: &mut Options| options.nemesis = vec!["exit 3".to_owned()];
    let verified = verified("nemesis-fails", "append-read", fails).await;
    let why = verified.acts.expect_err("it fails");
    assert!(why.ends_with("(begin 0) failed: exit status: 3"), "{why}");
    assert!(verified.acknowledged > 0 && verified.history.lines().count() > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_of_a_broker_that_lacks_calls_is_refused_or_does_without() {
    let folder = Folder::new("lack");
    let cluster = cluster(&folder.0).await;
    let proxy = Proxy::start(&cluster.listeners, Trick::Lack).await;
    let told = prepare(&options("topic-churn", 1, proxy.address())).await;
    let why = "workload topic-churn can not be run here: CreatePartitions is needed in version 0 \
               to 3, and the broker does not speak it";
    assert_eq!(told.expect_err("it is needed"), why);
    let verified = run(&options("group-rebalance", 5, proxy.address())).await;
    assert!(verified.without_consumer_groups);
    assert!(verified.calls.contains_key("sync_group"), "{:?}", verified.calls);
    verdict(&verified.history).expect("a history").expect("it passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_an_acknowledged_batch_that_was_never_written() {
    let verified = tricked(Trick::Forget, "append-read").await;
    let violation = verdict(&verified.history).expect("a history").expect_err("a lost batch");
    assert_eq!(violation.property, "L3", "{violation}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_batch_that_was_written_twice() {
    let verified = tricked(Trick::Double, "append-read").await;
    let violation = verdict(&verified.history).expect("a history").expect_err("a doubled batch");
    assert_eq!(violation.property, "L1", "{violation}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_byte_that_was_changed() {
    let verified = tricked(Trick::Flip, "append-read").await;
    let violation = verdict(&verified.history).expect("a history").expect_err("a changed byte");
    assert!(["L4", "L9"].contains(&violation.property), "{violation}");
}
