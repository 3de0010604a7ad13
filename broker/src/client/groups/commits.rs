//! Committed offsets.

use broker_core::batch::TimestampMs;
use broker_core::ids::{LeaderEpoch, TopicPartition};
use broker_core::protocol::{
    CommittedOffset, ErrorCode, FetchedOffset, Generation, GroupAnswer, OffsetCommit, OffsetFetch,
    OffsetToCommit, Response, TransactionVersion, TxnOffsetCommit,
};

use super::oldest;
use crate::client::directory::Places;
use crate::client::records::offset;
use crate::client::versions::TXN_OFFSET_COMMIT_V2;
use crate::client::{Asked, Broken, Directory, Refusal, View, body, long, number};
use crate::wire::messages::groups::{offset_commit, offset_fetch};
use crate::wire::messages::transactions::txn_offset_commit;
use crate::wire::{self, ApiKey};

/// From here on members may be static (KIP-345).
const COMMIT_STATIC: i16 = 7;
/// From here on several groups can be asked about at once.
const FETCH_MANY: i16 = 8;
/// From here on a member says who it is (KIP-848).
const FETCH_MEMBER: i16 = 9;
/// From here on offsets of open transactions can be waited for (KIP-447).
const FETCH_STABLE: i16 = 7;
/// From here on all offsets of a group can be asked for.
const FETCH_ALL: i16 = 2;
/// From here on a consumer says who it is (KIP-447).
const TXN_COMMIT_MEMBER: i16 = 3;

/// A commit as it is said: offset, leader epoch, the client's own words.
type Commit = (i64, i32, Option<String>);

fn said(it: &OffsetToCommit) -> (TopicPartition, Commit) {
    let epoch = it.leader_epoch.map_or(-1, |epoch| number(epoch.0));
    (it.partition, (long(it.offset.0), epoch, Some(it.metadata.clone())))
}

pub(super) fn commit(view: View<'_>, request: &OffsetCommit) -> Result<Asked, Refusal> {
    let oldest = oldest(&request.who, COMMIT_STATIC);
    let version = view.versions.pick(ApiKey::OffsetCommit, oldest..)?;
    let (places, topics) = Places::named(&view.directory.names, request.offsets.iter().map(said))?;
    let partition = |(partition_index, commit): (_, Commit)| {
        let (committed_offset, committed_leader_epoch, committed_metadata) = commit;
        offset_commit::OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            committed_metadata,
        }
    };
    let topic = |(name, commits): (_, Vec<_>)| offset_commit::OffsetCommitRequestTopic {
        name,
        partitions: commits.into_iter().map(partition).collect(),
    };
    let body = wire::Request::OffsetCommit(offset_commit::Request {
        group_id: request.group.clone(),
        generation_id_or_member_epoch: request.generation.0,
        member_id: request.who.member.clone(),
        group_instance_id: request.who.instance.clone(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    });
    Ok(Asked::new(version, body, move |directory, answer| {
        let answer = body!(answer, wire::Response::OffsetCommit(it) => it);
        let mut results = Vec::new();
        for topic in answer.topics {
            for it in topic.partitions {
                let partition = places.of_name(&topic.name, it.partition_index)?;
                results.push((partition, directory.outcome(it.error_code)));
            }
        }
        Ok(Response::Group(GroupAnswer::OffsetCommit(results)))
    }))
}

pub(super) fn commit_in_transaction(
    view: View<'_>,
    request: &TxnOffsetCommit,
) -> Result<Asked, Refusal> {
    let (key, who) = (ApiKey::TxnOffsetCommit, &request.who);
    let is_member =
        !who.member.is_empty() || who.instance.is_some() || request.generation != Generation::NONE;
    let oldest = if is_member { TXN_COMMIT_MEMBER } else { 0 };
    let version = match request.version {
        TransactionVersion::V1 => view.versions.pick(key, oldest..TXN_OFFSET_COMMIT_V2)?,
        TransactionVersion::V2 => view.versions.pick(key, TXN_OFFSET_COMMIT_V2..)?,
    };
    let (places, topics) = Places::named(&view.directory.names, request.offsets.iter().map(said))?;
    let partition = |(partition_index, commit): (_, Commit)| {
        let (committed_offset, committed_leader_epoch, committed_metadata) = commit;
        txn_offset_commit::TxnOffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            committed_leader_epoch,
            committed_metadata,
        }
    };
    let topic = |(name, commits): (_, Vec<_>)| txn_offset_commit::TxnOffsetCommitRequestTopic {
        name,
        partitions: commits.into_iter().map(partition).collect(),
    };
    let body = wire::Request::TxnOffsetCommit(txn_offset_commit::Request {
        transactional_id: request.transactional_id.clone(),
        group_id: request.group.clone(),
        producer_id: long(request.producer.0),
        producer_epoch: request.epoch.0,
        generation_id: request.generation.0,
        member_id: who.member.clone(),
        group_instance_id: who.instance.clone(),
        topics: topics.into_iter().map(topic).collect(),
    });
    Ok(Asked::new(version, body, move |directory, answer| {
        let answer = body!(answer, wire::Response::TxnOffsetCommit(it) => it);
        let mut results = Vec::new();
        for topic in answer.topics {
            for it in topic.partitions {
                let partition = places.of_name(&topic.name, it.partition_index)?;
                results.push((partition, directory.outcome(it.error_code)));
            }
        }
        Ok(Response::Group(GroupAnswer::TxnOffsetCommit(results)))
    }))
}

pub(super) fn fetch(view: View<'_>, request: &OffsetFetch) -> Result<Asked, Refusal> {
    let mut oldest = if request.require_stable { FETCH_STABLE } else { 0 };
    if request.member.is_some() {
        oldest = FETCH_MEMBER;
    }
    if request.partitions.is_none() {
        oldest = oldest.max(FETCH_ALL);
    }
    let version = view.versions.pick(ApiKey::OffsetFetch, oldest..)?;
    let names = &view.directory.names;
    let (places, topics) = match &request.partitions {
        None => (None, None),
        Some(partitions) => {
            let (places, topics) = Places::named(names, partitions.iter().map(|it| (*it, ())))?;
            let bare = |(name, indexes): (String, Vec<_>)| {
                (name, indexes.into_iter().map(|(index, ())| index).collect::<Vec<i32>>())
            };
            (Some(places), Some(topics.into_iter().map(bare)))
        }
    };
    let many = version >= FETCH_MANY;
    let mut body =
        offset_fetch::Request { require_stable: request.require_stable, ..Default::default() };
    if many {
        let topic = |(name, partition_indexes)| offset_fetch::OffsetFetchRequestTopics {
            name,
            partition_indexes,
        };
        let (member, epoch) = request.member.clone().unzip();
        body.groups = vec![offset_fetch::OffsetFetchRequestGroup {
            group_id: request.group.clone(),
            member_id: member,
            member_epoch: epoch.map_or(-1, |epoch| epoch.0),
            topics: topics.map(|topics| topics.map(topic).collect()),
        }];
    } else {
        let topic = |(name, partition_indexes)| offset_fetch::OffsetFetchRequestTopic {
            name,
            partition_indexes,
        };
        body.group_id = request.group.clone();
        body.topics = topics.map(|topics| topics.map(topic).collect());
    }
    let group = request.group.clone();
    Ok(Asked::new(version, wire::Request::OffsetFetch(body), move |directory, answer| {
        let mut answer = body!(answer, wire::Response::OffsetFetch(it) => it);
        let told = if many {
            let only = answer.groups.pop().filter(|it| it.group_id == group);
            only.filter(|_| answer.groups.is_empty()).ok_or(Broken::OtherPartition)?
        } else {
            let topics = answer.topics.into_iter().map(renewed).collect();
            let (group_id, error_code) = (group, answer.error_code);
            offset_fetch::OffsetFetchResponseGroup { group_id, topics, error_code }
        };
        let result = fetched(directory, places.as_ref(), told)?;
        Ok(Response::Group(GroupAnswer::OffsetFetch(result)))
    }))
}

/// As from version 8 on.
fn renewed(
    topic: offset_fetch::OffsetFetchResponseTopic,
) -> offset_fetch::OffsetFetchResponseTopics {
    let partition = |it: offset_fetch::OffsetFetchResponsePartition| {
        offset_fetch::OffsetFetchResponsePartitions {
            partition_index: it.partition_index,
            committed_offset: it.committed_offset,
            committed_leader_epoch: it.committed_leader_epoch,
            metadata: it.metadata,
            error_code: it.error_code,
        }
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    offset_fetch::OffsetFetchResponseTopics { name: topic.name, partitions }
}

/// What a group has committed, or why that is not told.
type Fetched = Result<Vec<FetchedOffset>, ErrorCode>;

fn fetched(
    directory: &mut Directory,
    places: Option<&Places>,
    told: offset_fetch::OffsetFetchResponseGroup,
) -> Result<Fetched, Broken> {
    if let Err(code) = directory.outcome(told.error_code) {
        return Ok(Err(code));
    }
    let mut offsets = Vec::new();
    for topic in told.topics {
        for it in topic.partitions {
            let partition = match places {
                Some(places) => places.of_name(&topic.name, it.partition_index)?,
                // All were asked for; one of a topic that nobody here has asked about is left out.
                None => match directory.names.partition(&topic.name, it.partition_index) {
                    Some(partition) => partition,
                    None => continue,
                },
            };
            let result = directory.outcome(it.error_code).map(|()| committed(it));
            offsets.push(FetchedOffset { partition, result });
        }
    }
    Ok(Ok(offsets))
}

/// −1: nothing.
fn committed(it: offset_fetch::OffsetFetchResponsePartitions) -> Option<CommittedOffset> {
    Some(CommittedOffset {
        offset: offset(it.committed_offset, "committed_offset").ok()?,
        leader_epoch: u32::try_from(it.committed_leader_epoch).ok().map(LeaderEpoch),
        metadata: it.metadata.unwrap_or_default(),
        at: TimestampMs::NONE,
    })
}
