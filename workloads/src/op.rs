//! What a client can be told to do. Data: plans hold these as `[[op]]` tables, the shrinker removes
//! them one by one, and none may depend on another having run.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// One operation of one client.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Op {
    /// Create a topic.
    CreateTopic {
        /// Its name.
        topic: String,
        /// Number of partitions.
        partitions: u32,
    },
    /// Delete a topic.
    DeleteTopic {
        /// Its name.
        topic: String,
    },
    /// Raise a topic's number of partitions to `count`.
    AddPartitions {
        /// Its name.
        topic: String,
        /// The new total.
        count: u32,
    },
    /// Set a topic config.
    AlterConfig {
        /// The topic's name.
        topic: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Read a topic's configs.
    DescribeConfigs {
        /// The topic's name.
        topic: String,
    },
    /// Produce one batch.
    Produce {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: u32,
        /// Records in the batch, 1 or more.
        records: u32,
        /// Bytes of each record's value, 8 or more (the first 8 are the value's unique number).
        bytes: u32,
        /// 0, 1 or -1 (all).
        acks: i8,
        /// Send it with a broken checksum: it must be refused and never be seen.
        #[serde(default, skip_serializing_if = "is_false")]
        damaged: bool,
        /// Send it under the client's producer id, and again under the same number until it is
        /// acknowledged. Acks are then all, whatever `acks` says, as Kafka demands.
        #[serde(default, skip_serializing_if = "is_false")]
        idempotent: bool,
    },
    /// Run a transaction: its batches one after the other, then its end.
    Transaction {
        /// The topic's name.
        topic: String,
        /// The transactional id, which other clients may use, too; then one fences the other.
        /// Without one it is an id of the client's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The partition of each batch, 1 or more.
        partitions: Vec<u32>,
        /// Records in each batch, 1 or more.
        records: u32,
        /// Bytes of each record's value, 8 or more.
        bytes: u32,
        /// Its client thinks for so long between its last batch and its end.
        #[serde(default, skip_serializing_if = "is_zero")]
        think_ms: u32,
        /// How it ends.
        #[serde(default, skip_serializing_if = "is_commit")]
        end: TxnEnd,
    },
    /// Read a partition from its end (`from_start`: from its start) and go on until the run ends.
    Tail {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: u32,
        /// Start at the log start offset.
        #[serde(default, skip_serializing_if = "is_false")]
        from_start: bool,
        /// Read only what is committed.
        #[serde(default, skip_serializing_if = "is_false")]
        committed: bool,
    },
    /// Read a topic as a member of a group, and commit how far it came.
    Consume {
        /// The topic's name.
        topic: String,
        /// The group's name.
        group: String,
        /// How members and coordinator agree on who reads what.
        protocol: GroupProtocol,
        /// `group.instance.id`: a static member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// How long it stays, in ms; 0: as long as the run.
        #[serde(default, skip_serializing_if = "is_zero")]
        stays_ms: u32,
        /// It goes without a word, as if its process ended.
        #[serde(default, skip_serializing_if = "is_false")]
        vanishes: bool,
        /// Each record is copied to the same partition of this topic, and the offset is committed
        /// with the copy, in one transaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copies_to: Option<String>,
    },
    /// Read a partition once from its start to the high watermark (or last stable offset) seen at
    /// the beginning.
    CatchUp {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: u32,
        /// Read only what is committed.
        #[serde(default, skip_serializing_if = "is_false")]
        committed: bool,
    },
    /// Ask for an offset.
    ListOffsets {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: u32,
        /// `earliest`, `latest`, `max-timestamp`, or `at` with `ago_ms` before the client's clock.
        spec: ListSpec,
        /// Count only what is committed.
        #[serde(default, skip_serializing_if = "is_false")]
        committed: bool,
    },
    /// Ask where a leader epoch ended; `back` epochs before the newest the client knows.
    EpochEnd {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: u32,
        /// How many epochs back.
        back: u32,
    },
}

impl Op {
    /// The name of the topic that it is about.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self {
            Self::CreateTopic { topic, .. }
            | Self::DeleteTopic { topic }
            | Self::AddPartitions { topic, .. }
            | Self::AlterConfig { topic, .. }
            | Self::DescribeConfigs { topic }
            | Self::Produce { topic, .. }
            | Self::Transaction { topic, .. }
            | Self::Consume { topic, .. }
            | Self::Tail { topic, .. }
            | Self::CatchUp { topic, .. }
            | Self::ListOffsets { topic, .. }
            | Self::EpochEnd { topic, .. } => topic,
        }
    }

    /// The names of all topics that it is about, to be changed.
    pub fn topics_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let (topic, other) = match self {
            Self::Consume { topic, copies_to, .. } => (topic, copies_to.as_mut()),
            Self::CreateTopic { topic, .. }
            | Self::DeleteTopic { topic }
            | Self::AddPartitions { topic, .. }
            | Self::AlterConfig { topic, .. }
            | Self::DescribeConfigs { topic }
            | Self::Produce { topic, .. }
            | Self::Transaction { topic, .. }
            | Self::Tail { topic, .. }
            | Self::CatchUp { topic, .. }
            | Self::ListOffsets { topic, .. }
            | Self::EpochEnd { topic, .. } => (topic, None),
        };
        core::iter::once(topic).chain(other)
    }
}

/// How a transaction ends.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TxnEnd {
    /// With its commit.
    #[default]
    Commit,
    /// With its abort.
    Abort,
    /// Not at all, as if the client's process ended: the coordinator aborts it by and by.
    Leave,
}

/// How a group's members and its coordinator agree on who reads what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupProtocol {
    /// The classic one: at each rebalance all give everything up.
    Eager,
    /// The classic one, with KIP-429: only what another gets is given up.
    Cooperative,
    /// KIP-848: the coordinator assigns.
    Consumer,
}

/// Which offset to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListSpec {
    /// The log's start.
    Earliest,
    /// The high watermark.
    Latest,
    /// The largest timestamp.
    MaxTimestamp,
    /// The first record at or after the client's wall clock, less this many milliseconds.
    AgoMs(u64),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_commit(end: &TxnEnd) -> bool {
    *end == TxnEnd::Commit
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}
