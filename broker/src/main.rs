//! The command `broker`.

#![expect(clippy::disallowed_macros, reason = "a command-line tool prints")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use broker::host::ObjectStore;
use broker::inspect;
use broker::metrics::{self, Metrics};
use broker::node::{NodeConfig, Role, Running, Sockets, broker_limits};
use broker::recording::{self, Recorder};
use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker_core::protocol::MAX_PARTITIONS;
use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand, ValueEnum, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;

/// A Kafka-compatible broker on shared storage, around the core that Seedbed simulates.
#[derive(Parser)]
#[command(name = "broker", version)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a cluster in this process: three controllers and some brokers, ready for Kafka clients.
    Serve(Serve),
    /// Tell of topics: each partition with its leader and its offsets.
    Topics(Asked),
    /// Tell of groups: state, members, and how far each is behind in each partition.
    Groups(Asked),
    /// Tell of transactional ids: producer, state, and the partitions of the transaction.
    Transactions(Asked),
    /// Tell of the metadata quorum: its leader, and how far each voter and broker is behind it.
    Quorum(Quorum),
    /// Tell of the objects in a store: WAL objects by node, data objects by stream.
    Objects(Stored),
}

#[derive(clap::Args)]
struct Asked {
    /// Any broker of the cluster.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// Print an array of JSON objects.
    #[arg(long)]
    json: bool,
    /// Only those of these names [default: all].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(clap::Args)]
struct Quorum {
    /// Any broker of the cluster.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT")]
    bootstrap: String,
    /// Print an array of JSON objects.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Stored {
    /// Where the objects are: a folder, or with the feature `s3` `s3://BUCKET`.
    #[arg(long, default_value = "./data/objects", value_name = "STORE")]
    store: String,
    /// Print an array of JSON objects.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Serve {
    /// Run one node of a cluster of several processes instead, as this TOML file says.
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "data", "listen", "advertise", "brokers", "store", "wal_interval", "rebalance_delay",
        "partitions", "no_auto_create",
    ])]
    node: Option<PathBuf>,
    /// Folder of the cluster's files: the nodes' own, and the objects if --store says nothing else.
    #[arg(long, default_value = "./data", value_name = "FOLDER")]
    data: PathBuf,
    /// Address of the first broker; the others take the ports behind it. Port 0: free ones.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Host that clients are told to connect to, if it is not the address listened on.
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Number of brokers, each in a zone of its own.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = brokers())]
    brokers: u16,
    /// Where the objects are: `memory` (gone with the process), a folder, or with the feature `s3`
    /// `s3://BUCKET`, whose place and keys come from AWS's usual variables [default: DATA/objects].
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// A record waits at most this long for others before it is written.
    #[arg(long, default_value_t = 10, value_name = "MS", value_parser = millis())]
    wal_interval: u64,
    /// A new group waits this long for more members before its first rebalance.
    #[arg(long, default_value_t = 0, value_name = "MS", value_parser = millis())]
    rebalance_delay: u64,
    /// Partitions of a topic that is created without a number.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = partitions())]
    partitions: u32,
    /// Do not create a topic because its metadata is asked for.
    #[arg(long)]
    no_auto_create: bool,
    /// Record all that the nodes' machines are told, for `seedbed replay`. A recording that is
    /// there already is kept, as FILE.old.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// A recording grows to this at most; then it ends, and the nodes go on.
    #[arg(long, default_value_t = recording::BYTES_MAX, value_name = "BYTES", requires = "record")]
    #[arg(value_parser = value_parser!(u64).range(recording::BYTES_MIN..))]
    record_bytes_max: u64,
    /// Tell Prometheus of all nodes of this process: `GET /metrics`, for anybody who can connect.
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// How the log is written, to standard error.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log: Format,
    /// What the log tells: error, warn, info, debug or trace.
    #[arg(long, default_value_t = Level::INFO, value_name = "LEVEL")]
    log_level: Level,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn brokers() -> impl TypedValueParser<Value = u16> {
    value_parser!(u16).range(1..=100)
}

/// Up to a minute.
fn millis() -> impl TypedValueParser<Value = u64> {
    value_parser!(u64).range(0..=60_000)
}

fn partitions() -> impl TypedValueParser<Value = u32> {
    value_parser!(u32).range(1..=i64::from(MAX_PARTITIONS))
}

fn main() -> ExitCode {
    let Command { what } = Command::parse();
    let (format, level) = match &what {
        What::Serve(options) => (options.log, options.log_level),
        _ => (Format::Text, Level::WARN),
    };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().init(),
    }
    // A machine that has found its state wrong must not go on, nor the cluster without it.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    match runtime.block_on(run(what)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(what: What) -> std::io::Result<()> {
    let (table, json) = match what {
        What::Serve(options) => return serve(options).await,
        What::Topics(it) => (inspect::topics(&it.bootstrap, &it.names).await, it.json),
        What::Groups(it) => (inspect::groups(&it.bootstrap, &it.names).await, it.json),
        What::Transactions(it) => (inspect::transactions(&it.bootstrap, &it.names).await, it.json),
        What::Quorum(it) => (inspect::quorum(&it.bootstrap).await, it.json),
        What::Objects(it) => (inspect::objects(&there(&it.store)?).await, it.json),
    };
    let table = table.map_err(std::io::Error::other)?;
    let text = if json { table.json() } else { table.text() };
    // Whoever reads it may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// A store that is there: who only looks makes no folder.
fn there(store: &str) -> std::io::Result<Store> {
    if !store.contains("://") && !Path::new(store).is_dir() {
        let why = format!("--store {store}: no such folder");
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, why));
    }
    open(store)
}

#[cfg(feature = "s3")]
fn cloud(url: &str) -> std::io::Result<Store> {
    Store::s3(url)
}

#[cfg(not(feature = "s3"))]
fn cloud(url: &str) -> std::io::Result<Store> {
    let why = format!("--store {url}: this broker was built without S3 (--features s3)");
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, why))
}

/// A line for whoever started the cluster, who may not listen any more.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// The store at a URL, or in a folder.
fn open(store: &str) -> std::io::Result<Store> {
    match store {
        url if url.contains("://") => cloud(url),
        folder => Store::folder(folder.as_ref()),
    }
}

async fn serve(options: Serve) -> std::io::Result<()> {
    let record = options.record.as_deref();
    let recorder =
        record.map(|file| Recorder::create(file, options.record_bytes_max)).transpose()?;
    let metrics = Arc::new(Metrics::default());
    if let Some(address) = options.metrics {
        let why =
            |e: std::io::Error| std::io::Error::new(e.kind(), format!("--metrics {address}: {e}"));
        let listener = tokio::net::TcpListener::bind(address).await.map_err(why)?;
        say(&format!("metrics    http://{}/metrics", listener.local_addr()?));
        tokio::spawn(metrics::serve(listener, metrics.clone()));
    }
    match &options.node {
        Some(file) => serve_node(file, recorder, &metrics).await,
        None => serve_cluster(options, recorder, &metrics).await,
    }
}

async fn serve_cluster(
    options: Serve,
    recorder: Option<Recorder>,
    metrics: &Metrics,
) -> std::io::Result<()> {
    let (store, objects) = match options.store.as_deref() {
        Some("memory") => (Store::memory(), "memory, gone with the process".to_owned()),
        Some(store) => (open(store)?, store.to_owned()),
        None => {
            let folder = options.data.join("objects");
            (Store::folder(&folder)?, folder.display().to_string())
        }
    };
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    let mut cluster = Cluster::start_measured(
        &Options {
            data: options.data.clone(),
            listen: options.listen,
            advertise: options.advertise,
            brokers: options.brokers,
            limits: broker_limits(options.wal_interval, options.rebalance_delay),
            partitions_default: options.partitions,
            creates_topics: !options.no_auto_create,
            recorder,
        },
        store,
        metrics,
    )
    .await?;
    cluster.serves().await;
    let at: Vec<_> = cluster.advertised.values().map(|(host, port)| address(host, *port)).collect();
    say(&format!("cluster    {}", cluster.id));
    say(&format!("brokers    {}", at.join(" ")));
    say(&format!("data       {}", options.data.display()));
    say(&format!("objects    {objects}"));
    say(&format!("connect    bootstrap.servers={}", at[0]));
    say("stop       Ctrl-C, or SIGTERM");
    told_to_stop()?.await;
    say("stopping   the brokers hand over what they lead");
    cluster.stop().await;
    Ok(())
}

async fn serve_node(
    file: &Path,
    recorder: Option<Recorder>,
    metrics: &Metrics,
) -> std::io::Result<()> {
    let config = NodeConfig::read(file).map_err(std::io::Error::other)?;
    let stop = told_to_stop()?;
    let store: Arc<dyn ObjectStore> = Arc::new(open(&config.store)?);
    let sockets = Sockets::open(&config).await?;
    let node = Running::start_measured(&config, sockets, (store, recorder), metrics).await?;
    let role = match config.member().role {
        Role::Controller => "controller",
        Role::Broker => "broker",
    };
    say(&format!("cluster    {}", config.cluster));
    say(&format!("node       {}, {role}", config.node));
    say(&format!("data       {}", config.data.display()));
    say(&format!("objects    {}", config.store));
    say("stop       SIGTERM, or Ctrl-C");
    let served = async {
        node.serves().await;
        if let Some((host, port)) = &config.member().clients {
            say(&format!("serves     {}", address(host, *port)));
        }
        std::future::pending().await
    };
    tokio::select! { biased;
        () = stop => {}
        () = served => {}
    }
    say("stopping   a broker hands over what it leads");
    node.stop().await;
    Ok(())
}

/// As a client's `bootstrap.servers` wants it.
fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Ends when the process is told to. From now on it is not killed by that.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! { biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
