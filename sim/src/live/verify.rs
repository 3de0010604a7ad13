//! A live run: a workload of a seed against any Kafka-compatible broker, and what its clients saw,
//! as a history that `seedbed judge` reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::client::{Refusal, Versions};
use broker::wire::ApiKey;
use broker_core::ids::TopicId;
use broker_core::protocol::TransactionVersion;
use invariants::history::{Answer, Call, EventKind, HistoryEvent};
use invariants::jsonl::Writer;
use tokio::sync::watch;
use tokio::time::Instant;
use workloads::op::{GroupProtocol, ListSpec};
use workloads::{Op, Workload, spark_handoff};

use super::finish::{Finished, Terms, finish};
use super::host::{Host, Seen};
use super::load::{self, Can, Round};
use super::{nemesis, probe};
use crate::interrupt::Interrupt;

/// How long a round's last operations may take before the next round begins beside them.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(30);

/// Between two looks at whether a nemesis has healed what it began.
const HEALING_LOOK: Duration = Duration::from_millis(50);

/// What is to be done.
#[derive(Clone)]
pub struct Options {
    /// Brokers to ask first: host and port.
    pub bootstrap: Vec<(String, u16)>,
    /// The workload.
    pub workload: &'static Workload,
    /// How long operations are given.
    pub length: Duration,
    /// Decides operations, and when the nemesis acts.
    pub seed: u64,
    /// A word that stands in the name of every topic and group.
    pub run: String,
    /// The number of the first client: transactional ids are made of it, and two runs at a time on
    /// one cluster must not share any.
    pub first_client: u16,
    /// The protocol of transactions; else what the cluster has finalized.
    pub protocol: Option<TransactionVersion>,
    /// Commands that break and heal the cluster.
    pub nemesis: Vec<String>,
    /// The broker promises that what a fetch shows (high watermark, last stable offset, log start)
    /// never falls: write it down, to be judged.
    pub watermarks: bool,
    /// How long the cluster takes, once healed, until no deposed leader is believed any more.
    pub settle: Duration,
    /// How long each stage of the end may take.
    pub patience: Duration,
}

/// The ends of the calls of one kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Done.
    pub ok: u64,
    /// Definitely not done.
    pub failed: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The history, as JSON lines.
    pub history: String,
    /// By kind.
    pub calls: BTreeMap<&'static str, Tally>,
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// What did not come to its end within the bound.
    pub stuck: Vec<String>,
    /// What happened beside it.
    pub seen: Seen,
    /// Operations that were given.
    pub ops: u64,
    /// Rounds that were begun.
    pub rounds: usize,
    /// Acts of the nemesis; or how it failed, after which nothing was read to its end.
    pub acts: Result<u64, String>,
    /// The protocol of transactions.
    pub protocol: TransactionVersion,
    /// Members that would have followed KIP-848 did not: the broker does not.
    pub without_consumer_groups: bool,
}

/// The workloads that need nothing but clients. A query of Spark's needs its driver, which lives in
/// the simulator.
#[must_use]
pub fn workloads() -> Vec<&'static Workload> {
    workloads::ALL.iter().filter(|it| it.name != spark_handoff::WORKLOAD.name).collect()
}

/// A cluster that can be run against, and what its clients will do.
#[derive(Debug)]
pub struct Prepared {
    protocol: TransactionVersion,
    rounds: Vec<Round>,
}

/// Looks at the cluster, and lays the run out.
///
/// # Errors
/// If no broker can be reached, or if it can not do what the workload needs: one sentence.
pub async fn prepare(options: &Options) -> Result<Prepared, String> {
    let found = probe::probe(&options.bootstrap).await?;
    let protocol = protocol(options.protocol, &found.versions)?;
    let consumer_groups = found.versions.pick(ApiKey::ConsumerGroupHeartbeat, ..).is_ok();
    let can = Can { brokers: found.brokers, consumer_groups };
    let rounds = load::rounds((options.seed, &options.run), options.workload, options.length, can);
    let missing = missing(&rounds, protocol, &found.versions);
    if !missing.is_empty() {
        let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
        let name = options.workload.name;
        return Err(format!("workload {name} can not be run here: {}", missing.join("; ")));
    }
    Ok(Prepared { protocol, rounds })
}

impl Prepared {
    /// Runs it. An interrupt ends the operations early; what follows them is done all the same.
    pub async fn run(self, options: &Options, interrupt: &Interrupt) -> Verified {
        let Self { protocol, rounds } = self;
        let mut host = Host::new(options.seed, options.bootstrap.clone(), protocol);
        let begin = Instant::now();
        let (stop, stopped) = watch::channel(false);
        let nemeses: Vec<_> = (0..)
            .zip(&options.nemesis)
            .map(|(nth, command)| {
                let acts = nemesis::schedule(options.seed, nth, options.length);
                tokio::spawn(nemesis::run(command.clone(), acts, begin, stopped.clone()))
            })
            .collect();
        let given = give_all(&mut host, &rounds, options, interrupt).await;
        let _ = stop.send(true);
        let mut ended = Vec::new();
        for healing in nemeses {
            // Its commands have a bound, and the clients live on meanwhile.
            while !healing.is_finished() {
                host.run(Instant::now() + HEALING_LOOK, |_| false).await;
            }
            ended.push(healing.await.expect("a nemesis does not panic"));
        }
        // All of them have healed what they began, as far as they could.
        let acts = ended.into_iter().sum::<Result<u64, String>>();
        let terms = Terms {
            patience: options.patience,
            settle: options.settle,
            transactions: uses_transactions(&rounds),
        };
        let finished = match &acts {
            Ok(_) => finish(&mut host, given.next_client, given.number, terms).await,
            // Nobody knows what the cluster can still do.
            Err(_) => Finished::default(),
        };
        let seen = host.seen();
        let (calls, acknowledged) = tallied(&host.history);
        Verified {
            history: lines(options, &host.history, &finished, &seen.topics),
            calls,
            acknowledged,
            stuck: finished.stuck,
            seen,
            ops: u64::from(given.number),
            rounds: given.rounds,
            acts,
            protocol,
            without_consumer_groups: rounds.iter().any(|round| round.replaced),
        }
    }
}

fn protocol(
    wanted: Option<TransactionVersion>,
    versions: &Versions,
) -> Result<TransactionVersion, String> {
    match (wanted, versions.transactions()) {
        (Some(TransactionVersion::V2), TransactionVersion::V1) => Err(format!(
            "the cluster does not follow the second protocol of transactions (KIP-890): \
             transaction.version is finalized at {}",
            versions.feature("transaction.version")
        )),
        (Some(wanted), _) => Ok(wanted),
        (None, offered) => Ok(offered),
    }
}

/// What was given to the clients.
struct Given {
    number: u32,
    next_client: u16,
    rounds: usize,
}

async fn give_all(
    host: &mut Host,
    rounds: &[Round],
    options: &Options,
    interrupt: &Interrupt,
) -> Given {
    let mut given = Given { number: 0, next_client: options.first_client, rounds: 0 };
    for (nth, round) in rounds.iter().enumerate() {
        if interrupt.asked() {
            break;
        }
        let first = given.next_client;
        (0..round.clients).for_each(|client| host.add(first + client));
        given.next_client += round.clients;
        given.rounds += 1;
        let begin = Instant::now();
        for it in &round.ops {
            host.run(begin + Duration::from_micros(it.at.0), |_| interrupt.asked()).await;
            if interrupt.asked() {
                break;
            }
            host.give(first + it.client, given.number, it.op.clone());
            given.number += 1;
        }
        host.run(begin + round.length, |_| interrupt.asked()).await;
        if nth + 1 < rounds.len() && !interrupt.asked() {
            host.run(Instant::now() + BETWEEN_ROUNDS, Host::is_idle).await;
            host.end_idle();
        }
    }
    given
}

fn uses_transactions(rounds: &[Round]) -> bool {
    let uses = |op: &Op| match op {
        Op::Transaction { .. } => true,
        Op::Consume { copies_to, .. } => copies_to.is_some(),
        _ => false,
    };
    rounds.iter().flat_map(|round| &round.ops).any(|it| uses(&it.op))
}

/// What the operations need and the broker does not speak.
fn missing(rounds: &[Round], protocol: TransactionVersion, versions: &Versions) -> Vec<Refusal> {
    let mut needed = BTreeSet::from([
        (ApiKey::Metadata, 4),
        (ApiKey::Produce, 3),
        (ApiKey::Fetch, 0),
        (ApiKey::ListOffsets, 1),
        (ApiKey::OffsetForLeaderEpoch, 0),
    ]);
    for it in rounds.iter().flat_map(|round| &round.ops) {
        needed.extend(needs(&it.op, protocol));
    }
    needed.into_iter().filter_map(|(key, oldest)| versions.pick(key, oldest..).err()).collect()
}

/// The calls that an operation needs besides reading and writing, and since which version they do.
fn needs(op: &Op, protocol: TransactionVersion) -> Vec<(ApiKey, i16)> {
    let first = protocol == TransactionVersion::V1;
    let transaction = || {
        let add = first.then_some((ApiKey::AddPartitionsToTxn, 0));
        let all = [(ApiKey::FindCoordinator, 1), (ApiKey::InitProducerId, 0), (ApiKey::EndTxn, 0)];
        all.into_iter().chain(add)
    };
    match op {
        Op::CreateTopic { .. } => vec![(ApiKey::CreateTopics, 0)],
        Op::DeleteTopic { .. } => vec![(ApiKey::DeleteTopics, 0)],
        Op::AddPartitions { .. } => vec![(ApiKey::CreatePartitions, 0)],
        Op::AlterConfig { .. } => vec![(ApiKey::IncrementalAlterConfigs, 0)],
        Op::DescribeConfigs { .. } => vec![(ApiKey::DescribeConfigs, 0)],
        Op::Produce { idempotent: true, .. } => vec![(ApiKey::InitProducerId, 0)],
        Op::Transaction { .. } => transaction().collect(),
        Op::Consume { protocol, copies_to, .. } => {
            let membership = match protocol {
                GroupProtocol::Consumer => {
                    vec![(ApiKey::ConsumerGroupHeartbeat, 0), (ApiKey::OffsetFetch, 9)]
                }
                GroupProtocol::Eager | GroupProtocol::Cooperative => {
                    let calls = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::Heartbeat];
                    calls.into_iter().map(|key| (key, 0)).chain([(ApiKey::LeaveGroup, 0)]).collect()
                }
            };
            let offsets = [(ApiKey::OffsetFetch, 7), (ApiKey::OffsetCommit, 0)];
            let copies = copies_to.iter().flat_map(|_| {
                let add = first.then_some((ApiKey::AddOffsetsToTxn, 0));
                transaction().chain([(ApiKey::TxnOffsetCommit, 3)]).chain(add)
            });
            let find = [(ApiKey::FindCoordinator, 0)];
            membership.into_iter().chain(offsets).chain(copies).chain(find).collect()
        }
        Op::ListOffsets { spec: ListSpec::MaxTimestamp, .. } => vec![(ApiKey::ListOffsets, 7)],
        Op::Produce { .. }
        | Op::Tail { .. }
        | Op::CatchUp { .. }
        | Op::ListOffsets { .. }
        | Op::EpochEnd { .. } => Vec::new(),
    }
}

/// Calls by kind, and how many batches were acknowledged.
fn tallied(history: &[HistoryEvent]) -> (BTreeMap<&'static str, Tally>, u64) {
    let mut open = BTreeMap::new();
    let mut tallies: BTreeMap<&'static str, Tally> = BTreeMap::new();
    let mut acknowledged = 0;
    for event in history {
        let key = (event.client, event.call);
        if let EventKind::Invoke(call) = &event.kind {
            let before = open.insert(key, name(call));
            assert!(before.is_none(), "call {} of client {} began twice", event.call, event.client);
            continue;
        }
        // Who gives an operation up ends no call.
        let Some(name) = open.remove(&key) else { continue };
        let tally = tallies.entry(name).or_default();
        match &event.kind {
            EventKind::Ok(answer) => {
                tally.ok += 1;
                acknowledged += u64::from(matches!(answer, Answer::Produced { .. }));
            }
            EventKind::Fail(_) => tally.failed += 1,
            EventKind::Unknown(_) | EventKind::GaveUp => tally.unknown += 1,
            EventKind::Invoke(_) => unreachable!("seen above"),
        }
    }
    // Nobody has heard of them, and nobody will.
    for name in open.into_values() {
        tallies.entry(name).or_default().unknown += 1;
    }
    (tallies, acknowledged)
}

/// As `docs/history.md` calls it.
fn name(call: &Call) -> &'static str {
    match call {
        Call::Produce { .. } => "produce",
        Call::AddPartitions { .. } => "add_partitions",
        Call::AddOffsets { .. } => "add_offsets",
        Call::EndTxn { .. } => "end_txn",
        Call::InitProducerId { .. } => "init_producer_id",
        Call::CommitOffsets { .. } => "commit_offsets",
        Call::FetchOffsets { .. } => "fetch_offsets",
        Call::SyncGroup { .. } => "sync_group",
        Call::Fetch { .. } => "fetch",
        Call::ListOffsets { .. } => "list_offsets",
        Call::EpochEnd { .. } => "epoch_end",
        Call::Admin { .. } => "admin",
    }
}

fn lines(
    options: &Options,
    history: &[HistoryEvent],
    finished: &Finished,
    topics: &BTreeMap<TopicId, String>,
) -> String {
    let writer = Writer::new(distinct(topics));
    let brokers = options.bootstrap.iter().map(|(host, port)| format!("{host}:{port}"));
    let brokers: Vec<_> = brokers.collect();
    let note = format!("seedbed verify, workload {}", options.workload.name);
    let mut text = writer.header(&brokers.join(","), &note) + "\n";
    for (at, event) in history.iter().enumerate() {
        if let Some((_, when)) = finished.settled.filter(|(before, _)| *before == at) {
            text += &format!("{{\"type\":\"settled\",\"time_us\":{}}}\n", when.0);
        }
        if options.watermarks {
            text += &writer.line(event);
        } else {
            text += &writer.line(&without_watermarks(event.clone()));
        }
        text.push('\n');
    }
    text
}

/// No two topics have one name: the second one of a name has `#2` behind it.
fn distinct(topics: &BTreeMap<TopicId, String>) -> BTreeMap<TopicId, String> {
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    let mut distinct = topics.clone();
    for (topic, name) in topics {
        let nth = used.entry(name).or_default();
        *nth += 1;
        if *nth > 1 {
            distinct.insert(*topic, format!("{name}#{nth}"));
        }
    }
    distinct
}

fn without_watermarks(mut event: HistoryEvent) -> HistoryEvent {
    if let EventKind::Ok(Answer::Fetched { high_watermark, last_stable, log_start, .. }) =
        &mut event.kind
    {
        (*high_watermark, *last_stable, *log_start) = (None, None, None);
    }
    event
}
