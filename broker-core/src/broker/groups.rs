//! The group coordinator in its broker: requests to it, and offsets that are part of transactions.
//!
//! Source: `GroupCoordinatorService.java`, `CoordinatorPartitionWriter.java`,
//! `KafkaApis.handleTxnOffsetCommitRequest`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Broker;
use super::coordinators::{Coordinator, Hosted};
use super::unproven::Answer;
use super::verify::Waiting;
use crate::coordinator::group::{Groups, Record, Topics};
use crate::coordinator::{Host, Outcome};
use crate::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::metadata::Image;
use crate::mutants::Mutants;
use crate::partition::Asker;
use crate::probe::Probe;
use crate::protocol::{
    CoordinatorKind, ErrorCode, FetchedOffset, Generation, GroupAnswer, GroupRequest, OffsetFetch,
    Response, TxnOffsetCommit,
};
use crate::step::{Cx, Effect, Outbox};

impl Hosted for Groups {
    fn of(coordinator: &mut Coordinator) -> Option<&mut Host<Self>> {
        match coordinator {
            Coordinator::Groups(host) => Some(host),
            Coordinator::Transactions(_) => None,
        }
    }

    fn answer(answer: GroupAnswer) -> Answer {
        Answer::Group(answer)
    }

    /// Where a member begins to read must not be out of date, nor what tools are shown. That a
    /// member lives may be said to anyone.
    fn must_be_proven(answer: &GroupAnswer, _mutants: Mutants) -> bool {
        matches!(
            answer,
            GroupAnswer::OffsetFetch(Ok(_))
                | GroupAnswer::DescribeGroup(_)
                | GroupAnswer::ConsumerGroupDescribe(_)
                | GroupAnswer::ListGroups(_)
        )
    }

    fn recorded(
        outcome: &Outcome<Self>,
        (coordinator, epoch): (TopicPartition, LeaderEpoch),
        at: Offset,
        out: &mut Outbox<Effect>,
    ) {
        let producer = outcome.producer.map(|(producer, _)| producer);
        for (record, at) in outcome.records.iter().zip((at.0..).map(Offset)) {
            match record {
                Record::Offset(group, partition, offset) => {
                    let (group, partition) = (group.as_str().into(), *partition);
                    let offset = offset.as_ref().map(|it| it.offset);
                    out.probe(Probe::OffsetRecorded {
                        coordinator,
                        epoch,
                        at,
                        group,
                        partition,
                        offset,
                        producer,
                    });
                }
                Record::Classic(group, stored) => {
                    let group = group.as_str().into();
                    let generation = stored.as_ref().map(|it| it.generation);
                    let members = stored.iter().flat_map(|it| it.members.keys());
                    let members = members.map(|id| id.as_str().into()).collect();
                    let probe = Probe::GenerationRecorded {
                        coordinator,
                        epoch,
                        at,
                        group,
                        generation,
                        members,
                    };
                    out.probe(probe);
                }
                Record::Current(group, member, current) => {
                    let (group, member) = (group.as_str().into(), member.as_str().into());
                    let reached = current.as_ref().map(|it| it.epoch);
                    let owns =
                        current.iter().flat_map(|it| it.assigned.keys().chain(it.revoking.keys()));
                    let owns = owns.copied().collect();
                    out.probe(Probe::MemberRecorded {
                        coordinator,
                        epoch,
                        at,
                        group,
                        member,
                        reached,
                        owns,
                    });
                }
                Record::Epoch(..)
                | Record::Subscriber(..)
                | Record::Target(..)
                | Record::TargetEpoch(..) => {}
            }
        }
    }
}

impl Topics for Image {
    fn topic(&self, name: &str) -> Option<(TopicId, u32)> {
        self.topic_named(name).map(|(id, topic)| (id, topic.partitions))
    }

    fn partitions(&self, topic: TopicId) -> Option<u32> {
        self.topics.get(&topic).map(|topic| topic.partitions)
    }
}

impl Broker {
    /// A request to the coordinator of a group.
    pub(super) fn group(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: GroupRequest,
        out: &mut Outbox<Effect>,
    ) {
        let Some(group) = request.group() else {
            return self.list_groups(cx, asker, &request, out);
        };
        let room = match self.queue_has_room(0) {
            // A shard's own records always have room; what asks for more has to wait for it.
            true => self.shard_of(CoordinatorKind::Group, group),
            false => Err(ErrorCode::CoordinatorNotAvailable),
        };
        let partition = match room {
            Ok(partition) => partition,
            Err(code) => return self.reply(asker, Response::Group(request.refusal(code)), out),
        };
        if let GroupRequest::TxnOffsetCommit(commit) = request {
            return self.txn_offset_commit(cx, partition, (asker, commit), out);
        }
        if let GroupRequest::OffsetFetch(fetch) = request {
            return self.offset_fetch(cx, partition, (asker, fetch), out);
        }
        self.ask_groups(cx, partition, (asker, request), out);
    }

    fn ask_groups(
        &mut self,
        cx: &Cx,
        coordinator: TopicPartition,
        (asker, request): (Asker, GroupRequest),
        out: &mut Outbox<Effect>,
    ) {
        let epoch = self.partitions[&coordinator].epoch();
        let committer = committer(&request);
        let mut partitions: Vec<TopicPartition> = Vec::new();
        self.with_shard(cx, coordinator, out, |groups: &mut Groups, lent, outcome| {
            groups.handle(cx, lent.topics, asker, request, outcome);
            partitions = outcome.records.iter().filter_map(Record::commits).collect();
        });
        if let Some((group, member, generation)) = committer.filter(|_| !partitions.is_empty()) {
            out.probe(Probe::CommitTaken {
                coordinator,
                epoch,
                group,
                member,
                generation,
                partitions,
            });
        }
    }

    fn offset_fetch(
        &mut self,
        cx: &Cx,
        coordinator: TopicPartition,
        (asker, fetch): (Asker, OffsetFetch),
        out: &mut Outbox<Effect>,
    ) {
        let (group, require_stable) = (fetch.group.as_str().into(), fetch.require_stable);
        let epoch = self.partitions[&coordinator].epoch();
        let mut offsets = Vec::new();
        self.with_shard(cx, coordinator, out, |groups: &mut Groups, lent, outcome| {
            groups.handle(cx, lent.topics, asker, GroupRequest::OffsetFetch(fetch), outcome);
            if let [(_, GroupAnswer::OffsetFetch(Ok(fetched)))] = outcome.answers.as_slice() {
                let offset = |it: &FetchedOffset| {
                    let found = it.result.as_ref().map(|it| it.as_ref().map(|it| it.offset));
                    (it.partition, found.map_err(|code| *code))
                };
                offsets = fetched.iter().map(offset).collect();
            }
        });
        out.probe(Probe::OffsetsFetched { coordinator, epoch, group, require_stable, offsets });
    }

    /// The shard is read to the end of its log.
    pub(super) fn groups_loaded(
        &mut self,
        cx: &Cx,
        (coordinator, epoch): (TopicPartition, LeaderEpoch),
        end: Offset,
        out: &mut Outbox<Effect>,
    ) {
        let mut offsets = Vec::new();
        self.with_shard(cx, coordinator, out, |groups: &mut Groups, lent, outcome| {
            let all = groups.fold().iter();
            offsets = all.map(|(group, at, offset)| (group.into(), at, offset.offset)).collect();
            groups.loaded(cx, lent.topics, outcome);
        });
        out.probe(Probe::OffsetsLoaded { coordinator, epoch, end, offsets });
    }

    /// Offsets that are part of a transaction: the first ones of it wait until its coordinator has
    /// been asked whether this partition is. It is not asked about nothing
    /// (`KafkaApis.handleTxnOffsetCommitRequest`, where `authorizedTopicCommittedOffsets.isEmpty`).
    fn txn_offset_commit(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (asker, commit): (Asker, TxnOffsetCommit),
        out: &mut Outbox<Effect>,
    ) {
        // GroupCoordinatorService.commitTransactionalOffsets.
        if commit.group.is_empty() {
            return self.refuse_commit((asker, commit), ErrorCode::InvalidGroupId, out);
        }
        let (version, of) = (commit.version, (commit.producer, commit.epoch));
        let mut offsets = commit.offsets.iter();
        if !offsets.any(|offset| self.image.partitions.contains_key(&offset.partition)) {
            let nothing = GroupRequest::TxnOffsetCommit(commit);
            return self.ask_groups(cx, partition, (asker, nothing), out);
        }
        match self.unverified(cx, partition, of, version) {
            true => {
                let id = commit.transactional_id.clone();
                let held = (partition, of.0, of.1);
                self.verify(cx, held, (&id, version), Waiting::Commit(asker, commit), out);
            }
            false => self.commit_in_transaction(cx, partition, (asker, commit), out),
        }
    }

    /// As [`Self::txn_offset_commit`], free to begin a transaction here.
    pub(super) fn commit_in_transaction(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (asker, commit): (Asker, TxnOffsetCommit),
        out: &mut Outbox<Effect>,
    ) {
        let replaced = self.partitions[&partition].is_replaced(commit.producer, commit.epoch);
        let request = GroupRequest::TxnOffsetCommit(commit);
        if replaced {
            let answer = request.refusal(ErrorCode::InvalidProducerEpoch);
            return self.reply(asker, Response::Group(answer), out);
        }
        self.ask_groups(cx, partition, (asker, request), out);
    }

    /// They can not become part of the transaction.
    pub(super) fn refuse_commit(
        &mut self,
        (asker, commit): (Asker, TxnOffsetCommit),
        code: ErrorCode,
        out: &mut Outbox<Effect>,
    ) {
        // GroupCoordinatorService.handleOperationException.
        let code = if code == ErrorCode::NotEnoughReplicas {
            ErrorCode::CoordinatorNotAvailable
        } else {
            code
        };
        let answer = GroupRequest::TxnOffsetCommit(commit).refusal(code);
        self.reply(asker, Response::Group(answer), out);
    }

    fn list_groups(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: &GroupRequest,
        out: &mut Outbox<Effect>,
    ) {
        let shards = match self.all_shards(CoordinatorKind::Group) {
            Ok(shards) => shards,
            Err(code) => return self.reply(asker, Response::Group(request.refusal(code)), out),
        };
        let none = Answer::Group(GroupAnswer::ListGroups(Ok(Vec::new())));
        self.gather(asker, (none, shards.len()), out);
        for partition in shards {
            self.ask_groups(cx, partition, (asker, request.clone()), out);
        }
    }

    /// A topic is gone, and with it what groups have read of it.
    pub(super) fn forget_gone_offsets(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        for partition in self.coordinators.keys().copied().collect::<Vec<_>>() {
            self.with_shard(cx, partition, out, |groups: &mut Groups, lent, outcome| {
                groups.forget_gone(cx, lent.topics, outcome);
            });
        }
    }
}

/// Who wants to commit, if it is a commit: the group, its member and the generation.
fn committer(request: &GroupRequest) -> Option<(Arc<str>, Arc<str>, Generation)> {
    let (group, who, generation) = if let GroupRequest::OffsetCommit(it) = request {
        (&it.group, &it.who, it.generation)
    } else if let GroupRequest::TxnOffsetCommit(it) = request {
        (&it.group, &it.who, it.generation)
    } else {
        return None;
    };
    Some((group.as_str().into(), who.member.as_str().into(), generation))
}

impl Record {
    /// The partition whose offset it commits.
    fn commits(&self) -> Option<TopicPartition> {
        match self {
            Self::Offset(_, partition, Some(_)) => Some(*partition),
            Self::Offset(_, _, None)
            | Self::Classic(..)
            | Self::Epoch(..)
            | Self::Subscriber(..)
            | Self::Target(..)
            | Self::TargetEpoch(..)
            | Self::Current(..) => None,
        }
    }
}
