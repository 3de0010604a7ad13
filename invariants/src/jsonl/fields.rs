//! The fields of a line, each with its type and with what it may hold; which of them belong to
//! which line is in [`super::shape`].

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
        pub(super) enum $name { $(#[serde(rename = $word)] $variant,)* }
    };
}

words! {
    /// What a line says.
    Type {
        Invoke = "invoke", Ok = "ok", Fail = "fail", Unknown = "unknown", GaveUp = "gave_up",
        Settled = "settled",
    }
}
words! {
    /// What is called: Jepsen's `:f`.
    Function {
        Produce = "produce", AddPartitions = "add_partitions", AddOffsets = "add_offsets",
        EndTxn = "end_txn",
        InitProducerId = "init_producer_id", Fetch = "fetch", ListOffsets = "list_offsets",
        EpochEnd = "epoch_end", Admin = "admin", CommitOffsets = "commit_offsets",
        FetchOffsets = "fetch_offsets", SyncGroup = "sync_group",
    }
}
words! {
    /// Acks.
    AcksWord { All = "all", Leader = "1", None = "0", }
}
words! {
    /// Isolation level.
    IsolationWord { Uncommitted = "read_uncommitted", Committed = "read_committed", }
}
words! {
    /// Which offset is listed.
    At { Latest = "latest", Earliest = "earliest", Max = "max_timestamp", Time = "timestamp", }
}

/// Text that is borrowed from the line where nothing in it is escaped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(String::from(text))))
            }
        }
        deserializer.deserialize_str(Reads)
    }
}

/// A record that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) offset: u64,
    #[serde(default)]
    pub(super) value: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) leader_epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) intact: Option<bool>,
}

/// A partition that a group reads, and where in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) topic: Text<'a>,
    pub(super) partition: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) upto: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) offset: Option<u64>,
}

macro_rules! fields {
    ($(
        $(#[$attribute:meta])*
        $variant:ident $name:ident $json:literal: $type:ty, $allowed:literal;
    )*) => {
        /// A line as it is written.
        #[derive(Clone, Default, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Flat<'a> {
            $(
                $(#[$attribute])*
                #[serde(rename = $json, skip_serializing_if = "Option::is_none", default)]
                pub(super) $name: Option<$type>,
            )*
        }

        /// A field.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Field { $($variant,)* }

        /// Name, and what it may hold, by [`Field`].
        pub(super) const FIELDS: &[(&str, &str)] = &[$(($json, $allowed)),*];

        impl Flat<'_> {
            /// Which fields the line has.
            pub(super) fn present(&self) -> Fields {
                Fields(0 $(| u64::from(self.$name.is_some()) << Field::$variant as u64)*)
            }
        }
    };
}

fields! {
    Type type_ "type": Type, "invoke, ok, fail, unknown, gave_up or settled";
    Time time_us "time_us": u64, "a whole number of µs, not less than the line before has";
    Client client "client": u16, "0 to 65,535";
    Call call "call": u32, "0 to 4,294,967,295";
    Op op "op": u32, "0 to 4,294,967,295";
    Function function "f": Function,
        "produce, add_partitions, add_offsets, end_txn, init_producer_id, fetch, list_offsets, \
        epoch_end, admin, commit_offsets, fetch_offsets or sync_group";
    #[serde(borrow)] Topic topic "topic": Text<'a>, "a name, not empty";
    Partition partition "partition": u32, "0 to 2,147,483,647";
    Acks acks "acks": AcksWord, "\"all\", \"1\" or \"0\"";
    FirstValue first_value "first_value": u64, "0 to 9,007,199,254,740,991";
    Count count "count": u32, "1 to 1,000,000";
    Damaged damaged "damaged": bool, "true or false";
    Idempotent idempotent "idempotent": bool, "true or false";
    Retries retries "retries": u32, "0 to 2,147,483,647";
    Txn txn "txn": u32, "0 to 4,294,967,295";
    Commit commit "commit": bool, "true or false";
    Offset offset "offset": u64, "0 to 67,108,863";
    Reader reader "reader": u32, "0 to 4,294,967,295";
    LeaderEpoch leader_epoch "leader_epoch": u32,
        "0 to 2,147,483,647; where it is not known (Kafka: -1) it is left out";
    Isolation isolation "isolation": IsolationWord, "read_uncommitted or read_committed";
    At at "at": At, "latest, earliest, max_timestamp or timestamp";
    Timestamp timestamp_us "timestamp_us": i64,
        "µs since 1970, not negative; where there is none (Kafka: -1) it is left out";
    Epoch epoch "epoch": u32, "0 to 2,147,483,647";
    HighWatermark high_watermark "high_watermark": u64, "0 to 67,108,863";
    LastStable last_stable "last_stable_offset": u64, "0 to 67,108,863";
    LogStart log_start "log_start_offset": u64, "0 to 67,108,863";
    Records records "records": Vec<Record>,
        "a list of {\"offset\", \"value\", \"timestamp_us\", \"leader_epoch\", \"intact\"}, \
        of which \"offset\" must be there";
    Skipped skipped "skipped": Vec<(u64, u64)>,
        "a list of [from, upto], from below upto, ascending";
    LogAppendTime log_append_time_us "log_append_time_us": i64, "µs since 1970, not negative";
    ProducerId producer_id "producer_id": u64, "0 to 9,223,372,036,854,775,807";
    ProducerEpoch producer_epoch "producer_epoch": i16, "0 to 32,767";
    Transactional transactional "transactional": bool, "true or false";
    #[serde(borrow)] TransactionalId transactional_id "transactional_id": Text<'a>,
        "a name, not empty";
    Timeout timeout_us "timeout_us": u64, "a whole number of µs, not 0";
    Deletes deletes "deletes": bool, "true or false";
    #[serde(borrow)] Group group "group": Text<'a>, "the group's name";
    #[serde(borrow)] Member member "member": Text<'a>, "the member's id";
    Generation generation "generation": i32,
        "0 to 2,147,483,647; where there is none (Kafka: -1) it is left out";
    RequireStable require_stable "require_stable": bool, "true or false";
    #[serde(borrow)] Offsets offsets "offsets": Vec<Part<'a>>,
        "a list of {\"topic\", \"partition\"} with, in a commit, \"from\" and \"upto\", and where \
        they are read, \"offset\" where there is one";
    #[serde(borrow)] Partitions partitions "partitions": Vec<Part<'a>>,
        "a list of {\"topic\", \"partition\"}";
    #[serde(borrow)] Error error "error": Text<'a>,
        "the name of one of Kafka's errors, such as NOT_LEADER_OR_FOLLOWER; an error that only a \
        client has is left out";
}

impl Field {
    pub(super) fn name(self) -> &'static str {
        FIELDS[self as usize].0
    }

    pub(super) fn allowed(self) -> &'static str {
        FIELDS[self as usize].1
    }
}

/// A set of fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fields(u64);

impl Fields {
    pub(super) const fn of(fields: &[Field]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < fields.len() {
            set |= 1 << fields[at] as u64;
            at += 1;
        }
        Self(set)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The first field that the other set lacks.
    pub(super) fn first_outside(self, other: Self) -> Option<usize> {
        let outside = self.0 & !other.0;
        (outside != 0).then_some(outside.trailing_zeros() as usize)
    }

    /// Names, for people.
    pub(super) fn names(self) -> Vec<&'static str> {
        let within = |place: &usize| self.0 >> place & 1 == 1;
        (0..FIELDS.len()).filter(within).map(|place| FIELDS[place].0).collect()
    }
}
