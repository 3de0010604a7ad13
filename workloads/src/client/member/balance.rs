//! What members of classic groups tell each other: which topics they read and what they have, and,
//! by their leader, who gets which partition.
//!
//! Only the leader's own topic is assigned. Source: `ConsumerProtocolSubscription.json`,
//! `ConsumerProtocolAssignment.json`, `RangeAssignor.java`, KIP-429 (who has a partition must give
//! it up in one rebalance before another gets it in the next).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{PartitionIndex, TopicId, TopicPartition};
use bytes::Bytes;

/// A member as its leader sees it: its id, whether it reads the topic, and what it has.
pub(super) struct Known {
    pub(super) member: String,
    pub(super) reads: bool,
    pub(super) has: BTreeSet<PartitionIndex>,
}

/// Version 1 of a subscription.
pub(super) fn subscription(topic: &str, has: impl Iterator<Item = PartitionIndex>) -> Bytes {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&1i16.to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    text(topic, &mut bytes);
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    partitions_of(topic, has, &mut bytes);
    bytes.into()
}

/// Whether it reads `topic`, and what it has of it. What makes no sense reads nothing.
pub(super) fn read_subscription(bytes: &[u8], topic: &str) -> (bool, BTreeSet<PartitionIndex>) {
    let read = || {
        let mut rest = bytes.get(2..)?;
        let mut reads = false;
        for _ in 0..number(&mut rest)? {
            reads |= word(&mut rest)? == topic.as_bytes();
        }
        let user = number(&mut rest)?;
        rest = rest.get(usize::try_from(user).unwrap_or(0)..)?;
        Some((reads, read_partitions(&mut rest, topic)?))
    };
    read().unwrap_or_default()
}

/// Version 1 of an assignment.
pub(super) fn assignment(topic: &str, part: &BTreeSet<PartitionIndex>) -> Bytes {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&1i16.to_be_bytes());
    partitions_of(topic, part.iter().copied(), &mut bytes);
    bytes.extend_from_slice(&(-1i32).to_be_bytes());
    bytes.into()
}

/// A member's part. An empty one is none at all.
pub(super) fn read_assignment(
    bytes: &[u8],
    topic: &str,
    id: TopicId,
) -> Option<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut rest = bytes.get(2..)?;
    let part = read_partitions(&mut rest, topic)?;
    Some(part.into_iter().map(|index| TopicPartition { topic: id, index }).collect())
}

/// Each its equal part, one after the other, whatever anybody has.
pub(super) fn range(
    members: &[Known],
    partitions: u32,
) -> BTreeMap<String, BTreeSet<PartitionIndex>> {
    let readers: Vec<_> = members.iter().filter(|member| member.reads).collect();
    let count = u32::try_from(readers.len()).expect("a group is small");
    let mut parts = BTreeMap::new();
    let mut next = 0;
    for (nth, member) in (0..).zip(readers) {
        let size = partitions / count + u32::from(nth < partitions % count);
        parts.insert(member.member.clone(), (next..next + size).map(PartitionIndex).collect());
        next += size;
    }
    parts
}

/// Each keeps what it has as far as that is fair. What another has still is nobody's for now.
pub(super) fn sticky(
    members: &[Known],
    partitions: u32,
) -> BTreeMap<String, BTreeSet<PartitionIndex>> {
    let readers: Vec<_> = members.iter().filter(|member| member.reads).collect();
    let fair = (partitions as usize).div_ceil(readers.len().max(1));
    let mut parts: BTreeMap<String, BTreeSet<PartitionIndex>> = BTreeMap::new();
    let mut left: BTreeSet<PartitionIndex> = (0..partitions).map(PartitionIndex).collect();
    for member in &readers {
        let part = parts.entry(member.member.clone()).or_default();
        for index in &member.has {
            if part.len() < fair && left.remove(index) {
                part.insert(*index);
            }
        }
    }
    for index in left {
        let Some((_, part)) = parts.iter_mut().min_by_key(|(_, part)| part.len()) else { break };
        if !members.iter().any(|member| member.has.contains(&index)) {
            part.insert(index);
        }
    }
    parts
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    let length = i16::try_from(text.len()).expect("names of topics are short");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn partitions_of(
    topic: &str,
    partitions: impl Iterator<Item = PartitionIndex>,
    bytes: &mut Vec<u8>,
) {
    let partitions: Vec<_> = partitions.collect();
    bytes.extend_from_slice(&i32::from(!partitions.is_empty()).to_be_bytes());
    if partitions.is_empty() {
        return;
    }
    text(topic, bytes);
    let count = i32::try_from(partitions.len()).expect("a topic has few partitions");
    bytes.extend_from_slice(&count.to_be_bytes());
    for index in partitions {
        bytes.extend_from_slice(&index.0.to_be_bytes());
    }
}

fn read_partitions(rest: &mut &[u8], topic: &str) -> Option<BTreeSet<PartitionIndex>> {
    let mut read = BTreeSet::new();
    for _ in 0..number(rest)? {
        let of_topic = word(rest)? == topic.as_bytes();
        for _ in 0..number(rest)? {
            let index = u32::try_from(number(rest)?).ok()?;
            if of_topic {
                read.insert(PartitionIndex(index));
            }
        }
    }
    Some(read)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(i32::from_be_bytes(*first))
}

fn word<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let (word, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(word)
}
