//! A run as data: topology, limits, operations and faults, all explicit. What is left to chance
//! (latencies, ties) comes from keyed streams of `background`.
//!
//! A plan survives changes of the code where a bare seed does not; it can be read, edited and
//! shrunk. Reading and writing it as TOML is in [`toml`]; what a file may hold is in [`schema`];
//! what a plan must keep to beyond that is in [`check`].

pub mod check;
pub mod micros;
pub mod schema;
pub mod stored;
pub mod then;
pub mod toml;

use broker_core::protocol::TransactionVersion;
use serde::{Deserialize, Serialize};
use workloads::Op;
use workloads::spark_handoff::Query;

/// The plan format this build writes, and the newest it reads.
pub const PLAN_VERSION: u32 = 1;

/// A run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Plan {
    /// Format version.
    pub version: u32,
    /// Seed of everything random that is left: the same plan with another `background` is a reseed.
    pub background: u64,
    /// Which profile drew the faults (information only).
    pub profile: String,
    /// Which workload drew the operations (information only).
    pub workload: String,
    /// Which protocol transactional clients speak.
    #[serde(skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// Planted bugs that are on: core and determinism mutants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mutants: Vec<String>,
    /// Length of the safety phase, µs. Then the core is healed and the liveness phase begins.
    #[serde(rename = "safety", with = "micros")]
    pub safety_us: u64,
    /// The nodes.
    pub topology: Topology,
    /// Sizes and limits of the brokers, small enough to be reached.
    pub limits: Limits,
    /// Faults.
    #[serde(rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// A query that hands one topic over to another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
    /// Client operations.
    #[serde(rename = "op", skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<OpAt>,
    /// Steps that a search found, from somewhere in the run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<then::Then>,
}

/// Which protocol transactional clients speak (Kafka's feature `transaction.version`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// KIP-98, whose holes are known (KAFKA-17754): never drawn, only asked for.
    Tv1,
    /// KIP-890.
    #[default]
    Tv2,
}

impl Protocol {
    /// Its names in plans and commands.
    pub const NAMES: [&'static str; 2] = ["tv1", "tv2"];

    /// The protocol of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "tv1" => Some(Self::Tv1),
            "tv2" => Some(Self::Tv2),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tv1 => "tv1",
            Self::Tv2 => "tv2",
        }
    }

    /// As the core says it.
    #[must_use]
    pub const fn version(self) -> TransactionVersion {
        match self {
            Self::Tv1 => TransactionVersion::V1,
            Self::Tv2 => TransactionVersion::V2,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The nodes. Zones are numbered from 0; controller `i`, broker `i`, client `i` stand in zone
/// `i % zones`. Names in plans: `controller-0`, `broker-0`, `client-0`, `store`, `zone-0`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// 1 to 3.
    pub zones: u8,
    /// 1, 3 or 5.
    pub controllers: u16,
    /// 1 to 9.
    pub brokers: u16,
    /// 1 to 64.
    pub clients: u16,
}

/// Scaled-down limits: see `broker_core::config::BrokerLimits`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "named as in BrokerLimits, which documents them")]
pub struct Limits {
    pub wal_bulk_bytes_max: u64,
    #[serde(rename = "wal_bulk_interval", with = "micros")]
    pub wal_bulk_interval_us: u64,
    pub wal_puts_in_flight_max: usize,
    pub wal_unconfirmed_bytes_max: u64,
    pub upload_backlog_bytes_max: u64,
    pub upload_block_bytes_max: u64,
    #[serde(rename = "upload_block_interval", with = "micros")]
    pub upload_block_interval_us: u64,
    pub cache_bytes_max: u64,
    pub produce_queue_max: usize,
    /// Keys per page of a store's list; S3 has 1,000.
    pub list_page_max: usize,
}

/// An operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct OpAt {
    /// Simulated time since the start.
    #[serde(rename = "at", with = "micros")]
    pub at_us: u64,
    /// Client number.
    pub client: u16,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// A fault: when, what, for how long.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Fault {
    /// When it begins.
    #[serde(flatten)]
    pub when: When,
    /// How long it lasts, µs; faults of a single moment ignore it. All end with the safety phase,
    /// but those that keep a node out of the core.
    #[serde(rename = "lasting", with = "micros")]
    pub lasting_us: u64,
    /// What happens.
    #[serde(flatten)]
    pub what: What,
}

/// The anchor of a fault, in time or in events.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(untagged)]
pub enum When {
    /// At this simulated time.
    At {
        /// µs since the start.
        #[serde(rename = "at", with = "micros")]
        at_us: u64,
    },
    /// `after_us` behind the `nth` (from 1) time that `probe` is seen (on `node`, if given).
    On {
        /// The event.
        on: Anchor,
    },
}

/// An event that a fault waits for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Name of the probe.
    pub probe: String,
    /// On which node, or on any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Which occurrence, from 1.
    pub nth: u32,
    /// How long behind it, µs.
    #[serde(default, rename = "after", with = "micros", skip_serializing_if = "is_zero")]
    pub after_us: u64,
}

/// What can go wrong. A node named `self` is the one on which the anchor's probe was seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// All nodes of a zone go down and are cut off at once; they boot again at the end. The zone's
    /// clients are cut off, too.
    ZoneFail {
        /// `zone-N`.
        zone: String,
    },
    /// A zone is cut off from the other zones and the store.
    ZoneCut {
        /// `zone-N`.
        zone: String,
        /// In, out or both.
        direction: Direction,
    },
    /// The store can not be reached from a zone; all else can.
    ZoneStoreLost {
        /// `zone-N`.
        zone: String,
    },
    /// A process dies; it boots again at the end.
    Crash {
        /// `controller-N` or `broker-N`.
        node: String,
        /// What its device keeps of what was not synced.
        keep: Keep,
    },
    /// A process is frozen; late events come in a burst at the end.
    Pause {
        /// The node.
        node: String,
    },
    /// A wall clock steps.
    ClockStep {
        /// The node.
        node: String,
        /// Forward or back.
        #[serde(rename = "by", with = "micros::signed")]
        by_us: i64,
    },
    /// A clock runs fast or slow.
    ClockDrift {
        /// The node.
        node: String,
        /// Parts per million.
        ppm: i32,
    },
    /// Messages from these to those are lost. Names of nodes, clients, zones or `store`.
    Cut {
        /// Senders.
        from: Vec<String>,
        /// Receivers.
        to: Vec<String>,
    },
    /// Messages between nodes are lost, doubled or held back.
    Lossy {
        /// Lost, per mille.
        drop_pm: u32,
        /// Doubled, per mille.
        duplicate_pm: u32,
        /// Held back, per mille, by up to `hold_us_max`.
        hold_pm: u32,
        /// µs.
        #[serde(rename = "hold_max", with = "micros")]
        hold_us_max: u64,
    },
    /// Links from these to those are slower.
    SlowLink {
        /// Senders.
        from: Vec<String>,
        /// Receivers.
        to: Vec<String>,
        /// Added to each message, µs.
        #[serde(rename = "by", with = "micros")]
        by_us: u64,
    },
    /// What clients send is held back, and what they send behind it on the same connection.
    Stall {
        /// Per mille of the requests.
        per_mille: u32,
        /// By at most, µs.
        #[serde(rename = "by_max", with = "micros")]
        by_us_max: u64,
    },
    /// The store answers `SlowDown`.
    StoreSlowDown {
        /// Per mille of the operations.
        per_mille: u32,
    },
    /// The store answers lists with an empty page that is not the last.
    StoreEmptyPage {
        /// Per mille of the lists.
        per_mille: u32,
    },
    /// What the store gives comes with a bit flipped.
    StoreDamage {
        /// Per mille of the gets.
        per_mille: u32,
    },
    /// The store is `factor` times slower.
    StoreBrownOut {
        /// Factor.
        factor: u32,
    },
    /// Answers of the store are lost.
    StoreLoseAnswer {
        /// For this node's operations, or all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Per mille of the operations.
        per_mille: u32,
        /// What becomes of the operation itself.
        fate: Fate,
        /// At most this many operations; 0: no limit.
        #[serde(default, skip_serializing_if = "is_none")]
        times: u32,
    },
    /// Puts are delivered a second time, later (a hedged request).
    StoreDuplicate {
        /// For this node's operations, or all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<String>,
        /// Per mille of the puts.
        per_mille: u32,
        /// By how much later at most, µs.
        #[serde(rename = "later_max", with = "micros")]
        later_us_max: u64,
    },
    /// A controller's device fails its next sync.
    DeviceSyncFail {
        /// The node.
        node: String,
    },
    /// A controller's device is full.
    DeviceFull {
        /// The node.
        node: String,
    },
    /// A controller's device flips bits in what was not synced, when the node dies next.
    DeviceBitRot {
        /// The node.
        node: String,
    },
    /// A broker is asked to shut down in order; it boots again at the end.
    Drain {
        /// The broker.
        node: String,
    },
    /// Something is done to the plan's query.
    Query {
        /// What.
        act: Act,
    },
}

/// What can be done to a query. Its driver is the one that an anchor's mark was seen on, or the
/// first that runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The driver dies with its executors; it is started again at the end.
    Kill,
    /// The query is stopped in order, and started again at the end.
    Stop,
    /// The driver is frozen, and another one is started on its checkpoint; at the end the first one
    /// goes on.
    Rival,
    /// An executor dies; another one is there at the end.
    LoseExecutor,
    /// The next read of a task times out, so that the task fails.
    FailTask,
    /// The checkpoint loses the newest entry of its offset log.
    LoseEntry,
    /// The checkpoint loses its commit log.
    LoseCommits,
}

impl Act {
    /// Their names in plans.
    pub const NAMES: [&'static str; 7] =
        ["kill", "stop", "rival", "lose-executor", "fail-task", "lose-entry", "lose-commits"];
}

impl What {
    /// The kind's stable name, as in plans.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ZoneFail { .. } => "zone-fail",
            Self::ZoneCut { .. } => "zone-cut",
            Self::ZoneStoreLost { .. } => "zone-store-lost",
            Self::Crash { .. } => "crash",
            Self::Pause { .. } => "pause",
            Self::ClockStep { .. } => "clock-step",
            Self::ClockDrift { .. } => "clock-drift",
            Self::Cut { .. } => "cut",
            Self::Lossy { .. } => "lossy",
            Self::SlowLink { .. } => "slow-link",
            Self::Stall { .. } => "stall",
            Self::StoreSlowDown { .. } => "store-slow-down",
            Self::StoreEmptyPage { .. } => "store-empty-page",
            Self::StoreDamage { .. } => "store-damage",
            Self::StoreBrownOut { .. } => "store-brown-out",
            Self::StoreLoseAnswer { .. } => "store-lose-answer",
            Self::StoreDuplicate { .. } => "store-duplicate",
            Self::DeviceSyncFail { .. } => "device-sync-fail",
            Self::DeviceFull { .. } => "device-full",
            Self::DeviceBitRot { .. } => "device-bit-rot",
            Self::Drain { .. } => "drain",
            Self::Query { .. } => "query",
        }
    }
}

/// Direction of a cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Nothing comes in.
    In,
    /// Nothing goes out.
    Out,
    /// Neither.
    Both,
}

/// What a device keeps of its unsynced writes when the node dies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Nothing.
    None,
    /// All.
    All,
    /// The first writes; how many is drawn, but not all of them.
    Prefix,
    /// Some writes, by lot; the lost ones, of which there is one at least, read as zeroes.
    Subset,
    /// All, but from the last write's end some bytes are cut; how many is drawn.
    Torn,
}

/// What becomes of an operation whose answer is lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fate {
    /// It is done at once.
    Applied,
    /// It is never done.
    Dropped,
    /// It is done later than its answer was given up: up to minutes.
    Late {
        /// At most, µs.
        #[serde(rename = "by_max", with = "micros")]
        by_us_max: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(us: &u64) -> bool {
    *us == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_none(times: &u32) -> bool {
    *times == 0
}
