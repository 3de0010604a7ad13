//! What the group coordinator's log is made of: keys and values, each a version byte and a postcard
//! body.
//!
//! What they mean is [`super::fold`]'s business. The kinds are those of Kafka's
//! `__consumer_offsets` (`GroupCoordinatorRecordHelpers.java`), the layout is our own.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::batch::TimestampMs;
use crate::coordinator::LogRecord;
use crate::format::FormatError;
use crate::ids::{TopicId, TopicPartition};
use crate::protocol::{CommittedOffset, Generation, MemberEpoch};
use crate::time::Dur;

/// The newest layout of keys and values that this build reads, and the one it writes.
const VERSION: u8 = 1;

/// One record. A value of `None` is a tombstone.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Record {
    /// A committed offset.
    Offset(String, TopicPartition, Option<CommittedOffset>),
    /// A classic group, members and all.
    Classic(String, Option<StoredClassic>),
    /// A KIP-848 group's epoch, and the topics that it was raised for.
    Epoch(String, Option<StoredEpoch>),
    /// A member of a KIP-848 group, as it describes itself.
    Subscriber(String, String, Option<Subscriber>),
    /// What a member of a KIP-848 group is meant to own.
    Target(String, String, Option<BTreeSet<TopicPartition>>),
    /// The epoch that the targets were made for.
    TargetEpoch(String, Option<MemberEpoch>),
    /// How far a member of a KIP-848 group has come.
    Current(String, String, Option<Current>),
}

/// A classic group in the log (`GroupMetadataValue`).
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StoredClassic {
    /// Of the last rebalance.
    pub generation: Generation,
    /// `None`: nothing but commits was ever made in it.
    pub protocol_type: Option<String>,
    /// The strategy.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: Option<String>,
    /// When it came into its state: the members' group stable, the one without members empty.
    pub since: Option<TimestampMs>,
    /// By member id.
    pub members: BTreeMap<String, StoredMember>,
}

/// A member of a classic group in the log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StoredMember {
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// Its session timeout.
    pub session_timeout: Dur,
    /// Its rebalance timeout.
    pub rebalance_timeout: Dur,
    /// What it sent for the strategy.
    pub metadata: Bytes,
    /// Its part.
    pub assignment: Bytes,
}

/// The epoch of a KIP-848 group in the log.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StoredEpoch {
    /// The epoch.
    pub epoch: MemberEpoch,
    /// The topics of the members' subscriptions that exist, each with its number of partitions; a
    /// change of them raises the epoch.
    pub topics: BTreeMap<String, (TopicId, u32)>,
}

/// A member of a KIP-848 group, as it describes itself.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Subscriber {
    /// `group.instance.id`.
    pub instance: Option<String>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout: Dur,
    /// Its wish.
    pub assignor: Option<String>,
    /// Names of its topics.
    pub topics: BTreeSet<String>,
}

/// How far a member of a KIP-848 group has come.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Current {
    /// The epoch that it has reached.
    pub epoch: MemberEpoch,
    /// The one before.
    pub previous: MemberEpoch,
    /// What it waits for.
    pub state: MemberState,
    /// What it may own, each partition with the epoch in which it got it.
    pub assigned: BTreeMap<TopicPartition, MemberEpoch>,
    /// What it has to give up and has not said that it did.
    pub revoking: BTreeMap<TopicPartition, MemberEpoch>,
}

/// What a member of a KIP-848 group waits for (`MemberState.java`).
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
pub enum MemberState {
    /// Nothing.
    #[default]
    Stable,
    /// It must give partitions up first.
    Unrevoked,
    /// Others must give partitions up that it shall get.
    Unreleased,
}

/// A record's key.
#[derive(Serialize, Deserialize)]
enum Key {
    Offset(String, TopicPartition),
    Classic(String),
    Epoch(String),
    Subscriber(String, String),
    Target(String, String),
    TargetEpoch(String),
    Current(String, String),
}

impl LogRecord for Record {
    fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let one = |group: &String| group.clone();
        let two = |group: &String, member: &String| (group.clone(), member.clone());
        match self {
            Self::Offset(group, at, v) => (write(&Key::Offset(one(group), *at)), body(v)),
            Self::Classic(group, v) => (write(&Key::Classic(one(group))), body(v)),
            Self::Epoch(group, v) => (write(&Key::Epoch(one(group))), body(v)),
            Self::TargetEpoch(group, v) => (write(&Key::TargetEpoch(one(group))), body(v)),
            Self::Subscriber(group, member, v) => {
                let (group, member) = two(group, member);
                (write(&Key::Subscriber(group, member)), body(v))
            }
            Self::Target(group, member, v) => {
                let (group, member) = two(group, member);
                (write(&Key::Target(group, member)), body(v))
            }
            Self::Current(group, member, v) => {
                let (group, member) = two(group, member);
                (write(&Key::Current(group, member)), body(v))
            }
        }
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, FormatError> {
        Ok(match read(key)? {
            Key::Offset(group, at) => Self::Offset(group, at, optional(value)?),
            Key::Classic(group) => Self::Classic(group, optional(value)?),
            Key::Epoch(group) => Self::Epoch(group, optional(value)?),
            Key::Subscriber(group, member) => Self::Subscriber(group, member, optional(value)?),
            Key::Target(group, member) => Self::Target(group, member, optional(value)?),
            Key::TargetEpoch(group) => Self::TargetEpoch(group, optional(value)?),
            Key::Current(group, member) => Self::Current(group, member, optional(value)?),
        })
    }
}

fn write<T: Serialize>(what: &T) -> Vec<u8> {
    let mut bytes = Vec::from([VERSION]);
    bytes.extend(postcard::to_allocvec(what).expect("records have known lengths"));
    bytes
}

fn body<T: Serialize>(value: &Option<T>) -> Option<Vec<u8>> {
    value.as_ref().map(write)
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    let (version, body) = bytes.split_first().ok_or(FormatError::Short)?;
    if *version != VERSION {
        return Err(FormatError::Version(*version));
    }
    let (value, rest) = postcard::take_from_bytes(body).map_err(|_| FormatError::Body)?;
    if rest.is_empty() { Ok(value) } else { Err(FormatError::Body) }
}

fn optional<T: DeserializeOwned>(bytes: Option<&[u8]>) -> Result<Option<T>, FormatError> {
    bytes.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::ids::PartitionIndex;

    #[test]
    fn record_written_reads_again() {
        let at = TopicPartition { topic: TopicId(7), index: PartitionIndex(1) };
        let name = || "g".to_string();
        let records = [
            Record::Offset(name(), at, None),
            Record::Classic(name(), Some(StoredClassic::default())),
            Record::Epoch(name(), Some(StoredEpoch::default())),
            Record::Subscriber(name(), "m".to_string(), Some(Subscriber::default())),
            Record::Target(name(), "m".to_string(), Some(BTreeSet::from([at]))),
            Record::TargetEpoch(name(), Some(MemberEpoch(3))),
            Record::Current(name(), "m".to_string(), Some(Current::default())),
        ];
        for record in records {
            let (key, value) = record.encode();
            assert_eq!(Record::decode(&key, value.as_deref()), Ok(record));
        }
    }

    #[test]
    fn record_of_a_newer_build_is_refused() {
        let (mut key, value) = Record::TargetEpoch("g".to_string(), None).encode();
        key[0] = 2;
        assert_eq!(Record::decode(&key, value.as_deref()), Err(FormatError::Version(2)));
        assert_eq!(Record::decode(&[], None), Err(FormatError::Short));
        key[0] = VERSION;
        key.push(0);
        assert_eq!(Record::decode(&key, None), Err(FormatError::Body));
    }
}
