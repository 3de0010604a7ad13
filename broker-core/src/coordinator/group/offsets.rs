//! Committing, reading and deleting offsets, within transactions and without.
//!
//! Who may commit is decided by the kind of group ([`super::classic`], [`super::consumer`]).
//! Source: `OffsetMetadataManager.java`, KIP-447, KIP-496, KAFKA-18060.

use alloc::vec::Vec;

use super::fold::Group;
use super::record::Record;
use super::{Groups, Topics, subscription};
use crate::batch::TimestampMs;
use crate::coordinator::Outcome;
use crate::ids::TopicPartition;
use crate::mutants::Mutant;
use crate::protocol::{
    CommittedOffset, Each, ErrorCode, FetchedOffset, Generation, GroupAnswer, MemberEpoch,
    MemberIdentity, OffsetCommit, OffsetFetch, OffsetToCommit, TxnOffsetCommit,
};
use crate::step::Cx;

/// Who wants to commit what.
pub(super) struct Commit<'a> {
    pub(super) who: &'a MemberIdentity,
    pub(super) generation: Generation,
    /// Of which partitions, among those that there are.
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) transactional: bool,
}

impl Commit<'_> {
    /// Nothing is said of a member: a consumer without a group, a tool, or (in a transaction) a
    /// producer older than KIP-447.
    pub(super) fn is_nobodys(&self) -> bool {
        let Self { who, generation, .. } = self;
        *generation == Generation::NONE && who.member.is_empty() && who.instance.is_none()
    }
}

impl Groups {
    pub(super) fn offset_commit(
        &mut self,
        cx: &Cx,
        topics: &impl Topics,
        request: OffsetCommit,
        out: &mut Outcome<Self>,
    ) -> GroupAnswer {
        let OffsetCommit { group, who, generation, offsets } = request;
        let offsets = sorted_out(cx, topics, offsets, ErrorCode::UnknownTopicId);
        let partitions = there(&offsets);
        let commit = Commit { who: &who, generation, partitions, transactional: false };
        let may = self.may_commit(cx, &group, &commit, out);
        GroupAnswer::OffsetCommit(self.write_offsets(cx, &group, offsets, may, out))
    }

    pub(super) fn txn_offset_commit(
        &mut self,
        cx: &Cx,
        topics: &impl Topics,
        request: TxnOffsetCommit,
        out: &mut Outcome<Self>,
    ) -> GroupAnswer {
        let TxnOffsetCommit { group, producer, epoch, who, generation, offsets, .. } = request;
        // The protocol names topics, and has no code for an id.
        let offsets = sorted_out(cx, topics, offsets, ErrorCode::UnknownTopicOrPartition);
        let partitions = there(&offsets);
        let commit = Commit { who: &who, generation, partitions, transactional: true };
        let may = if cx.mutants.on(Mutant::GroupTxnCommitUnfenced) {
            Ok(())
        } else if cx.mutants.on(Mutant::GroupNobodyRefused) && commit.is_nobodys() {
            Err(ErrorCode::UnknownMemberId)
        } else {
            self.may_commit(cx, &group, &commit, out)
        };
        // The protocol has no word for a member epoch that is not the newest one.
        let may = may.map_err(|code| match code == ErrorCode::StaleMemberEpoch {
            true => ErrorCode::IllegalGeneration,
            false => code,
        });
        let results = self.write_offsets(cx, &group, offsets, may, out);
        if !out.records.is_empty() {
            out.producer = Some((producer, epoch));
        }
        GroupAnswer::TxnOffsetCommit(results)
    }

    /// `OffsetMetadataManager.validateOffsetCommit`, `validateTransactionalOffsetCommit`. The group
    /// is not asked about nothing (`KafkaApis`, where `authorizedTopicsRequest.isEmpty`).
    fn may_commit(
        &mut self,
        cx: &Cx,
        group: &str,
        commit: &Commit<'_>,
        out: &mut Outcome<Self>,
    ) -> Result<(), ErrorCode> {
        if commit.partitions.is_empty() {
            return Ok(());
        }
        if let Some(group) = self.log.consumer(group) {
            return group.may_commit(cx, commit);
        }
        let asked = self.with_classic(cx, group, out, |group, turn| group.may_commit(turn, commit));
        match asked {
            Some(may) => may,
            // A group of nothing but commits begins with the first one.
            None if commit.generation < Generation(0) => Ok(()),
            None if commit.transactional => Err(ErrorCode::IllegalGeneration),
            None => Err(ErrorCode::GroupIdNotFound),
        }
    }

    fn write_offsets(
        &self,
        cx: &Cx,
        group: &str,
        offsets: Vec<SortedOut>,
        may: Result<(), ErrorCode>,
        out: &mut Outcome<Self>,
    ) -> Each<TopicPartition> {
        let now = now(cx);
        let mut write = |(offset, there): SortedOut| {
            let OffsetToCommit { partition, offset, leader_epoch, metadata } = offset;
            if let Err(code) = there.and(may) {
                return (partition, Err(code));
            }
            if metadata.len() > self.limits.offset_metadata_bytes_max {
                return (partition, Err(ErrorCode::OffsetMetadataTooLarge));
            }
            let value = CommittedOffset { offset, leader_epoch, metadata, at: now };
            out.records.push(Record::Offset(group.into(), partition, Some(value)));
            (partition, Ok(()))
        };
        offsets.into_iter().map(&mut write).collect()
    }

    pub(super) fn offset_fetch(&self, cx: &Cx, request: OffsetFetch) -> GroupAnswer {
        let OffsetFetch { group, member, partitions, require_stable } = request;
        if let (Some(group), Some((member, epoch))) = (self.log.consumer(&group), member)
            && let Err(code) = group.may_fetch(&member, epoch)
        {
            return GroupAnswer::OffsetFetch(Err(code));
        }
        let require_stable = require_stable && !cx.mutants.on(Mutant::GroupRequireStableIgnored);
        let fetch = |partition| {
            let result = match require_stable && self.log.is_pending(&group, partition) {
                true => Err(ErrorCode::UnstableOffsetCommit),
                false => Ok(self.log.committed(&group, partition).cloned()),
            };
            FetchedOffset { partition, result }
        };
        let fetched = match partitions {
            Some(partitions) => partitions.into_iter().map(fetch).collect(),
            None => self.log.all_committed(&group).map(|(at, _)| fetch(at)).collect(),
        };
        GroupAnswer::OffsetFetch(Ok(fetched))
    }

    /// `OffsetMetadataManager.deleteOffsets`, `validateOffsetDelete` of both kinds of group.
    pub(super) fn offset_delete(
        &mut self,
        topics: &impl Topics,
        group: &str,
        partitions: &[TopicPartition],
        out: &mut Outcome<Self>,
    ) -> Result<Each<TopicPartition>, ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if !self.exists(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if let Some(classic) = self.peek_classic(group)
            && !classic.is_empty()
            && !classic.is_of_consumers()
        {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let subscribed = self.subscribed(topics, group);
        let mut delete = |partition: &TopicPartition| {
            // `KafkaApis.handleOffsetDeleteRequest`.
            if topics.partitions(partition.topic).is_none_or(|count| partition.index.0 >= count) {
                return (*partition, Err(ErrorCode::UnknownTopicOrPartition));
            }
            if subscribed.contains(partition.topic) {
                return (*partition, Err(ErrorCode::GroupSubscribedToTopic));
            }
            let known = self.log.committed(group, *partition).is_some();
            if known || self.log.is_pending(group, *partition) {
                out.records.push(Record::Offset(group.into(), *partition, None));
            }
            (*partition, Ok(()))
        };
        Ok(partitions.iter().map(&mut delete).collect())
    }

    /// Forgets the offsets of topics that there are no more, also those that open transactions hold
    /// (`OffsetMetadataManager.onPartitionsDeleted`). To be called when the image has lost a topic,
    /// and by a coordinator that takes over: the image of the one before may have lagged. But it
    /// did not show the change of the leadership, and this one does. So it is the newer one, and a
    /// topic that it does not know is gone, not new.
    pub fn forget_gone(&self, cx: &Cx, topics: &impl Topics, out: &mut Outcome<Self>) {
        if cx.mutants.on(Mutant::GroupOffsetOfDeletedTopic) {
            return;
        }
        for group in self.log.groups.keys() {
            let offsets = self.log.all_offsets(group).into_iter();
            let gone = offsets.filter(|at| topics.partitions(at.topic).is_none());
            out.records.extend(gone.map(|at| Record::Offset(group.clone(), at, None)));
        }
    }

    /// `GroupCoordinatorShard.deleteGroups`.
    pub(super) fn delete_group(
        &mut self,
        group: &str,
        out: &mut Outcome<Self>,
    ) -> Result<(), ErrorCode> {
        if !self.exists(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let empty = match self.log.consumer(group) {
            Some(consumer) => consumer.members.is_empty(),
            None => self.peek_classic(group).is_none_or(|classic| classic.is_empty()),
        };
        if !empty {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let tombstone = |at| Record::Offset(group.into(), at, None);
        out.records.extend(self.log.all_offsets(group).into_iter().map(tombstone));
        self.bury(group, out);
        Ok(())
    }

    /// Whether there is such a group, of whatever kind.
    pub(super) fn exists(&self, group: &str) -> bool {
        self.log.groups.contains_key(group) || self.classic.contains_key(group)
    }

    /// The records that end a group without members, and the end of its volatile side.
    pub(super) fn bury(&mut self, group: &str, out: &mut Outcome<Self>) {
        self.forget_group(group, out);
        match self.log.groups.get(group) {
            Some(Group::Consumer(_)) => {
                out.records.push(Record::TargetEpoch(group.into(), None));
                out.records.push(Record::Epoch(group.into(), None));
            }
            Some(Group::Classic(_)) | None => {
                out.records.push(Record::Classic(group.into(), None));
            }
        }
    }

    /// The topics that a group's members read.
    pub(super) fn subscribed(&self, topics: &impl Topics, group: &str) -> subscription::Subscribed {
        match self.log.consumer(group) {
            Some(consumer) => subscription::Subscribed::by_name(topics, consumer.topics()),
            None => match self.peek_classic(group) {
                Some(classic) => classic.subscribed(topics),
                None => subscription::Subscribed::default(),
            },
        }
    }
}

/// An offset to commit, and whether there is such a partition.
type SortedOut = (OffsetToCommit, Result<(), ErrorCode>);

/// Offsets are taken of partitions that there are: the others are refused before their group is
/// asked, whatever that says of the rest (`KafkaApis.handleOffsetCommitRequest`,
/// `handleTxnOffsetCommitRequest`). Kafka's image may change between this check and the append;
/// here both are one step, so that no commit comes behind the deletion of its topic. A topic that
/// the image does not know may be one just created: clients ask again.
fn sorted_out(
    cx: &Cx,
    topics: &impl Topics,
    offsets: Vec<OffsetToCommit>,
    no_topic: ErrorCode,
) -> Vec<SortedOut> {
    let sort = |offset: OffsetToCommit| {
        let at = offset.partition;
        let there = match topics.partitions(at.topic) {
            None if cx.mutants.on(Mutant::GroupOffsetOfDeletedTopic) => Ok(()),
            None => Err(no_topic),
            Some(partitions) if at.index.0 >= partitions => Err(ErrorCode::UnknownTopicOrPartition),
            Some(_) => Ok(()),
        };
        (offset, there)
    };
    offsets.into_iter().map(sort).collect()
}

fn there(offsets: &[SortedOut]) -> Vec<TopicPartition> {
    let there = offsets.iter().filter(|(_, there)| there.is_ok());
    there.map(|(offset, _)| offset.partition).collect()
}

/// The wall clock, for records.
pub(super) fn now(cx: &Cx) -> TimestampMs {
    TimestampMs(cx.wall.0.div_euclid(1_000))
}

impl From<Generation> for MemberEpoch {
    /// What a commit says of a KIP-848 member's epoch.
    fn from(generation: Generation) -> Self {
        Self(generation.0)
    }
}
