//! Committed offsets.

use broker_core::ids::Offset;
use broker_core::protocol::{
    CommittedOffset, ErrorCode, FetchedOffset, GroupAnswer, GroupRequest, MemberEpoch,
    OffsetCommit, OffsetFetch, OffsetToCommit, Request, Response,
};

use super::{generation, who};
use crate::front::records::epoch;
use crate::front::{
    Asked, ByTopic, Code, View, answer, by_topic, code, code_by_name, index, long, number,
};
use crate::wire::messages::groups::{offset_commit, offset_delete, offset_fetch};
use crate::wire::{self, Header};

/// What is to be committed: offset, leader epoch (−1: none) and the client's own words.
pub(in crate::front) type Commit = (i64, i32, Option<String>);

/// The partitions that offsets are committed for, and what the core is to commit.
pub(in crate::front) fn to_commit(
    view: View<'_>,
    topics: impl IntoIterator<Item = (String, Vec<(i32, Commit)>)>,
) -> (ByTopic<String>, Vec<OffsetToCommit>) {
    let mut offsets = Vec::new();
    let topics = ByTopic::find(topics, |topic: &String, index, it: Commit| {
        let partition = view.partition(topic, index)?;
        let (offset, leader_epoch, metadata) = it;
        let offset = u64::try_from(offset).map(Offset).map_err(|_| ErrorCode::InvalidRequest)?;
        let (leader_epoch, metadata) = (epoch(leader_epoch), metadata.unwrap_or_default());
        offsets.push(OffsetToCommit { partition, offset, leader_epoch, metadata });
        Ok(partition)
    });
    (topics, offsets)
}

pub(in crate::front) fn offset_commit(view: View<'_>, request: offset_commit::Request) -> Asked {
    let topics = request.topics.into_iter().map(|topic| {
        let commit = |it: offset_commit::OffsetCommitRequestPartition| {
            let commit = (it.committed_offset, it.committed_leader_epoch, it.committed_metadata);
            (it.partition_index, commit)
        };
        (topic.name, topic.partitions.into_iter().map(commit).collect())
    });
    let (topics, offsets) = to_commit(view, topics);
    let request = OffsetCommit {
        group: request.group_id,
        who: who(request.member_id, request.group_instance_id),
        generation: generation(request.generation_id_or_member_epoch),
        offsets,
    };
    Asked::one(Request::Group(GroupRequest::OffsetCommit(request)), |_, answer| {
        let results = answer!(answer, Response::Group(GroupAnswer::OffsetCommit(it)) => it);
        let topics = topics.answer(
            results,
            |partition_index, result| offset_commit::OffsetCommitResponsePartition {
                partition_index,
                error_code: code_by_name(&result),
            },
            |name, partitions| offset_commit::OffsetCommitResponseTopic { name, partitions },
        );
        wire::Response::OffsetCommit(offset_commit::Response { topics, ..Default::default() })
    })
}

/// A member of a KIP-848 group, by its id, and its epoch.
type Member = (String, MemberEpoch);

/// What is asked of one group: topics with their partitions; none: all that it has.
type Wanted = Option<Vec<(String, Vec<i32>)>>;

pub(in crate::front) fn offset_fetch(
    view: View<'_>,
    header: &Header,
    request: offset_fetch::Request,
) -> Asked {
    let many = header.version >= 8;
    let require_stable = request.require_stable;
    let groups: Vec<(String, Option<Member>, Wanted)> = if many {
        let group = |it: offset_fetch::OffsetFetchRequestGroup| {
            let member = it.member_id.filter(|_| it.member_epoch >= 0);
            let member = member.map(|member| (member, MemberEpoch(it.member_epoch)));
            let topics = it.topics.map(|topics| {
                topics.into_iter().map(|it| (it.name, it.partition_indexes)).collect()
            });
            (it.group_id, member, topics)
        };
        request.groups.into_iter().map(group).collect()
    } else {
        let topics = request
            .topics
            .map(|topics| topics.into_iter().map(|it| (it.name, it.partition_indexes)).collect());
        vec![(request.group_id, None, topics)]
    };
    let mut parts = Vec::new();
    let wanted = groups.into_iter().map(|(group, member, wanted)| {
        let wanted = wanted.map(|topics| ByTopic::named(view, topics));
        let partitions = wanted.as_ref().map(|topics| topics.partitions().collect());
        let request = OffsetFetch { group: group.clone(), member, partitions, require_stable };
        parts.push(Request::Group(GroupRequest::OffsetFetch(request)));
        (group, wanted)
    });
    let wanted: Vec<_> = wanted.collect();
    Asked::new(parts, move |view, answers| {
        let groups = wanted.into_iter().zip(answers).map(|((group_id, wanted), answer)| {
            let result = answer!(answer, Response::Group(GroupAnswer::OffsetFetch(it)) => it);
            let error_code = code(&result);
            let topics = fetched(view, wanted, result);
            offset_fetch::OffsetFetchResponseGroup { group_id, topics, error_code }
        });
        let mut groups: Vec<_> = groups.collect();
        let mut response = offset_fetch::Response::default();
        if many {
            response.groups = groups;
        } else if let Some(only) = groups.pop() {
            response.error_code = only.error_code;
            response.topics = only.topics.into_iter().map(old).collect();
        }
        wire::Response::OffsetFetch(response)
    })
}

fn fetched(
    view: View<'_>,
    wanted: Option<ByTopic<String>>,
    result: Result<Vec<FetchedOffset>, ErrorCode>,
) -> Vec<offset_fetch::OffsetFetchResponseTopics> {
    let topic = |name, partitions| offset_fetch::OffsetFetchResponseTopics { name, partitions };
    match (wanted, result) {
        // Before version 2 an error of the group can only be said partition by partition; later
        // clients look at the group's own.
        (Some(topics), Err(refused)) => {
            let refused: Vec<_> = topics.partitions().map(|it| (it, Err(refused))).collect();
            topics.answer(refused, offset, topic)
        }
        (None, Err(_)) => Vec::new(),
        (Some(topics), Ok(offsets)) => {
            topics.answer(offsets.into_iter().map(|it| (it.partition, it.result)), offset, topic)
        }
        (None, Ok(offsets)) => {
            let topics = by_topic(offsets.into_iter().map(|it| (it.partition, it.result)));
            let topics = topics.into_iter().filter_map(|(id, partitions)| {
                let partitions = partitions.into_iter();
                let partitions = partitions
                    .map(|(partition, it)| offset(index(partition), it.map_err(Code::from)));
                Some(topic(view.name(id)?.to_owned(), partitions.collect()))
            });
            topics.collect()
        }
    }
}

fn offset(
    partition_index: i32,
    result: Result<Option<CommittedOffset>, Code>,
) -> offset_fetch::OffsetFetchResponsePartitions {
    // Of what is not there nothing is committed.
    let unknown = ErrorCode::UnknownTopicOrPartition as i16;
    let error_code = Some(code_by_name(&result)).filter(|code| *code != unknown).unwrap_or(0);
    let none = offset_fetch::OffsetFetchResponsePartitions {
        partition_index,
        error_code,
        committed_offset: -1,
        metadata: Some(String::new()),
        ..Default::default()
    };
    let Ok(Some(committed)) = result else { return none };
    offset_fetch::OffsetFetchResponsePartitions {
        committed_offset: long(committed.offset.0),
        committed_leader_epoch: committed.leader_epoch.map_or(-1, |epoch| number(epoch.0)),
        metadata: Some(committed.metadata),
        ..none
    }
}

/// As before version 8.
fn old(topic: offset_fetch::OffsetFetchResponseTopics) -> offset_fetch::OffsetFetchResponseTopic {
    let partition = |it: offset_fetch::OffsetFetchResponsePartitions| {
        offset_fetch::OffsetFetchResponsePartition {
            partition_index: it.partition_index,
            committed_offset: it.committed_offset,
            committed_leader_epoch: it.committed_leader_epoch,
            metadata: it.metadata,
            error_code: it.error_code,
        }
    };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    offset_fetch::OffsetFetchResponseTopic { name: topic.name, partitions }
}

pub(in crate::front) fn offset_delete(view: View<'_>, request: offset_delete::Request) -> Asked {
    let indexes = |topic: offset_delete::OffsetDeleteRequestTopic| {
        (topic.name, topic.partitions.into_iter().map(|it| it.partition_index).collect())
    };
    let topics = ByTopic::named(view, request.topics.into_iter().map(indexes));
    let partitions = topics.partitions().collect();
    let request = GroupRequest::OffsetDelete { group: request.group_id, partitions };
    Asked::one(Request::Group(request), |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::OffsetDelete(it)) => it);
        let error_code = code(&result);
        let topics = result.map_or_else(
            |_| Vec::new(),
            |results| {
                topics.answer(
                    results,
                    |partition_index, result| offset_delete::OffsetDeleteResponsePartition {
                        partition_index,
                        error_code: code_by_name(&result),
                    },
                    |name, partitions| offset_delete::OffsetDeleteResponseTopic {
                        name,
                        partitions,
                    },
                )
            },
        );
        let answer = offset_delete::Response { error_code, topics, ..Default::default() };
        wire::Response::OffsetDelete(answer)
    })
}
