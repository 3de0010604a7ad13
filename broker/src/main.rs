//! The command `broker`.

#![expect(clippy::disallowed_macros, reason = "a command-line tool prints")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use broker::host::ObjectStore;
use broker::serve::{Cluster, Options};
use broker::store::Store;
use broker_core::config::BrokerLimits;
use broker_core::coordinator::group::GroupLimits;
use broker_core::protocol::MAX_PARTITIONS;
use broker_core::time::Dur;
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
}

#[derive(clap::Args)]
struct Serve {
    /// Folder of the cluster's files: the nodes' own, and the objects if --store says nothing else.
    #[arg(long, default_value = "./data", value_name = "FOLDER")]
    data: PathBuf,
    /// Address of the first broker; the others take the ports behind it. Port 0: free ones.
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "IP:PORT")]
    listen: SocketAddr,
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
    let Command { what: What::Serve(options) } = Command::parse();
    let log =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(options.log_level);
    match options.log {
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
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker: {error}");
            ExitCode::FAILURE
        }
    }
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

async fn serve(options: Serve) -> std::io::Result<()> {
    let objects = options.data.join("objects");
    let (store, objects) = match options.store.as_deref() {
        Some("memory") => (Store::memory(), "memory, gone with the process".to_owned()),
        Some(url) if url.contains("://") => (cloud(url)?, url.to_owned()),
        Some(folder) => (Store::folder(folder.as_ref())?, folder.to_owned()),
        None => (Store::folder(&objects)?, objects.display().to_string()),
    };
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    let limits = BrokerLimits {
        wal_bulk_interval: Dur::ms(options.wal_interval),
        groups: GroupLimits {
            initial_rebalance_delay: Dur::ms(options.rebalance_delay),
            ..GroupLimits::default()
        },
        ..BrokerLimits::default()
    };
    let mut cluster = Cluster::start(
        &Options {
            data: options.data.clone(),
            listen: options.listen,
            brokers: options.brokers,
            limits,
            partitions_default: options.partitions,
            creates_topics: !options.no_auto_create,
        },
        store,
    )
    .await?;
    cluster.serves().await;
    let at: Vec<_> = cluster.listeners.values().map(SocketAddr::to_string).collect();
    say(&format!("cluster    {}", cluster.id));
    say(&format!("brokers    {}", at.join(" ")));
    say(&format!("data       {}", options.data.display()));
    say(&format!("objects    {objects}"));
    say(&format!("connect    bootstrap.servers={}", at[0]));
    say("stop       Ctrl-C, or SIGTERM");
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    say("stopping   the brokers hand over what they lead");
    cluster.stop().await;
    Ok(())
}
