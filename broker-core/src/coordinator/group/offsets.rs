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
use crate::ids::{TopicId, TopicPartition};
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
    pub(super) offsets: &'a [OffsetToCommit],
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
        request: OffsetCommit,
        out: &mut Outcome<Self>,
    ) -> GroupAnswer {
        let OffsetCommit { group, who, generation, offsets } = request;
        let commit = Commit { who: &who, generation, offsets: &offsets, transactional: false };
        let may = self.may_commit(cx, &group, &commit, out);
        GroupAnswer::OffsetCommit(self.write_offsets(cx, &group, offsets, may, out))
    }

    pub(super) fn txn_offset_commit(
        &mut self,
        cx: &Cx,
        request: TxnOffsetCommit,
        out: &mut Outcome<Self>,
    ) -> GroupAnswer {
        let TxnOffsetCommit { group, producer, epoch, who, generation, offsets, .. } = request;
        let commit = Commit { who: &who, generation, offsets: &offsets, transactional: true };
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

    /// `OffsetMetadataManager.validateOffsetCommit`, `validateTransactionalOffsetCommit`.
    fn may_commit(
        &mut self,
        cx: &Cx,
        group: &str,
        commit: &Commit<'_>,
        out: &mut Outcome<Self>,
    ) -> Result<(), ErrorCode> {
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
        offsets: Vec<OffsetToCommit>,
        may: Result<(), ErrorCode>,
        out: &mut Outcome<Self>,
    ) -> Each<TopicPartition> {
        let now = now(cx);
        let mut write = |offset: OffsetToCommit| {
            let OffsetToCommit { partition, offset, leader_epoch, metadata } = offset;
            if let Err(code) = may {
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

    /// `OffsetMetadataManager.onPartitionsDeleted`. A coordinator that takes over later may find
    /// some again: they expire.
    pub fn topic_deleted(&mut self, topic: TopicId, out: &mut Outcome<Self>) {
        for group in self.log.groups.keys() {
            let offsets = self.log.all_offsets(group).into_iter();
            let of_topic = offsets.filter(|at| at.topic == topic);
            out.records.extend(of_topic.map(|at| Record::Offset(group.clone(), at, None)));
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
