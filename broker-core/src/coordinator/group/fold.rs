//! What the group coordinator's log says, record by record: groups, offsets, and the offsets of
//! transactions that are not decided yet.
//!
//! Nothing else ever changes it, so that a successor that reads the same log has the same. Who may
//! write what is decided elsewhere. Source: `GroupMetadataManager.replay`,
//! `OffsetMetadataManager.replay`, `OffsetMetadataManager.replayEndTransactionMarker`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use super::consumer::ConsumerGroup;
use super::record::{Record, StoredClassic};
use crate::ids::{Offset, ProducerId, TopicPartition};
use crate::protocol::{CommittedOffset, TransactionResult};

/// Offsets of a group, each with the place of its record in the coordinator's log.
type OffsetsOfGroup = BTreeMap<TopicPartition, (Offset, CommittedOffset)>;

/// The fold of the log.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Fold {
    pub(super) groups: BTreeMap<String, Group>,
    /// By group; no group without any.
    committed: BTreeMap<String, OffsetsOfGroup>,
    /// Of transactions that are open, by producer and group; no entry without any.
    pending: BTreeMap<ProducerId, BTreeMap<String, OffsetsOfGroup>>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Group {
    Classic(StoredClassic),
    Consumer(ConsumerGroup),
}

impl Group {
    /// Whether it has members, as far as the log knows.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.members.is_empty(),
            Self::Consumer(group) => group.members.is_empty(),
        }
    }
}

impl Fold {
    /// The classic group of this name.
    pub(super) fn classic(&self, group: &str) -> Option<&StoredClassic> {
        match self.groups.get(group)? {
            Group::Classic(group) => Some(group),
            Group::Consumer(_) => None,
        }
    }

    /// The KIP-848 group of this name.
    pub(super) fn consumer(&self, group: &str) -> Option<&ConsumerGroup> {
        match self.groups.get(group)? {
            Group::Classic(_) => None,
            Group::Consumer(group) => Some(group),
        }
    }

    /// The offset of a partition.
    #[must_use]
    pub fn committed(&self, group: &str, at: TopicPartition) -> Option<&CommittedOffset> {
        Some(&self.committed.get(group)?.get(&at)?.1)
    }

    /// All offsets: group, partition, what was committed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TopicPartition, &CommittedOffset)> {
        self.committed.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(|(at, (_, offset))| (group.as_str(), *at, offset))
        })
    }

    /// All offsets of a group.
    pub(super) fn all_committed(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (TopicPartition, &CommittedOffset)> {
        let offsets = self.committed.get(group).into_iter().flatten();
        offsets.map(|(at, (_, offset))| (*at, offset))
    }

    /// Whether an open transaction holds an offset of the partition.
    #[must_use]
    pub fn is_pending(&self, group: &str, at: TopicPartition) -> bool {
        self.all_pending(group).any(|pending| pending == at)
    }

    /// The partitions of which open transactions hold offsets.
    pub(super) fn all_pending(&self, group: &str) -> impl Iterator<Item = TopicPartition> {
        let of_group = self.pending.values().filter_map(move |groups| groups.get(group));
        of_group.flat_map(|offsets| offsets.keys().copied())
    }

    /// The partitions of which a group has offsets, be they of open transactions.
    pub(super) fn all_offsets(&self, group: &str) -> BTreeSet<TopicPartition> {
        self.all_committed(group).map(|(at, _)| at).chain(self.all_pending(group)).collect()
    }

    /// A record is in the log, perhaps as part of an open transaction.
    pub(super) fn replay(&mut self, at: Offset, record: Record, of: Option<ProducerId>) {
        match record {
            Record::Offset(group, partition, Some(offset)) => {
                // Commits alone make a group, too: one without members and protocol.
                self.groups
                    .entry(group.clone())
                    .or_insert_with(|| Group::Classic(StoredClassic::default()));
                let offsets = match of {
                    None => self.committed.entry(group).or_default(),
                    Some(of) => self.pending.entry(of).or_default().entry(group).or_default(),
                };
                offsets.insert(partition, (at, offset));
            }
            Record::Offset(group, partition, None) => self.forget(&group, partition),
            Record::Classic(group, Some(stored)) => {
                self.groups.insert(group, Group::Classic(stored));
            }
            Record::Classic(group, None) => {
                if self.classic(&group).is_some() {
                    self.groups.remove(&group);
                }
            }
            Record::Epoch(group, None) => {
                if self.consumer(&group).is_some() {
                    self.groups.remove(&group);
                }
            }
            Record::Epoch(group, Some(stored)) => self.of(group).stored = stored,
            Record::Subscriber(group, member, Some(subscriber)) => {
                self.of(group).members.insert(member, subscriber);
            }
            Record::Subscriber(group, member, None) => {
                self.of(group).members.remove(&member);
            }
            Record::Target(group, member, Some(target)) => {
                self.of(group).target.insert(member, target);
            }
            Record::Target(group, member, None) => {
                self.of(group).target.remove(&member);
            }
            Record::TargetEpoch(group, epoch) => {
                self.of(group).target_epoch = epoch.unwrap_or_default();
            }
            Record::Current(group, member, Some(current)) => {
                self.of(group).current.insert(member, current);
            }
            Record::Current(group, member, None) => {
                self.of(group).current.remove(&member);
            }
        }
    }

    /// The KIP-848 group that a record is about. One of nothing but commits becomes it.
    fn of(&mut self, group: String) -> &mut ConsumerGroup {
        let entry = self.groups.entry(group);
        let group = entry.or_insert_with(|| Group::Consumer(ConsumerGroup::default()));
        if let Group::Classic(_) = group {
            *group = Group::Consumer(ConsumerGroup::default());
        }
        match group {
            Group::Consumer(group) => group,
            Group::Classic(_) => unreachable!("just replaced"),
        }
    }

    fn forget(&mut self, group: &str, partition: TopicPartition) {
        if let Some(offsets) = self.committed.get_mut(group) {
            offsets.remove(&partition);
        }
        self.committed.retain(|_, offsets| !offsets.is_empty());
        for groups in self.pending.values_mut() {
            if let Some(offsets) = groups.get_mut(group) {
                offsets.remove(&partition);
            }
            groups.retain(|_, offsets| !offsets.is_empty());
        }
        self.pending.retain(|_, groups| !groups.is_empty());
    }

    /// A transaction is over. Of its offsets count those that were staged behind what is committed
    /// now: the log keeps the later record of a key when it is compacted, whenever the marker came
    /// (the compaction rule of `replayEndTransactionMarker`). `marker`: its place, if that is to
    /// decide instead.
    pub(super) fn ended(
        &mut self,
        producer: ProducerId,
        result: TransactionResult,
        marker: Option<Offset>,
    ) {
        let Some(groups) = self.pending.remove(&producer) else { return };
        if result == TransactionResult::Abort {
            return;
        }
        for (group, offsets) in groups {
            let committed = self.committed.entry(group).or_default();
            for (partition, (at, offset)) in offsets {
                let place = marker.unwrap_or(at);
                if committed.get(&partition).is_none_or(|(existing, _)| place > *existing) {
                    committed.insert(partition, (place, offset));
                }
            }
        }
    }
}
