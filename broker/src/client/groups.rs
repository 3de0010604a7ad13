//! Memberships of groups, by both protocols.

use std::collections::BTreeSet;

use broker_core::ids::{PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, ErrorCode, Generation, GroupAnswer, GroupRequest,
    JoinGroup, JoinRefused, Joined, MemberEpoch, MemberIdentity, Response, SyncGroup, Synced,
};
use broker_core::time::Dur;

use super::{Asked, Broken, Directory, Refusal, View, body, ms, number};
use crate::wire::messages::groups::{
    consumer_group_heartbeat, heartbeat, join_group, leave_group, sync_group,
};
use crate::wire::{self, ApiKey};

mod commits;

/// From here on members may be static (KIP-345).
const JOIN_STATIC: i16 = 5;
const SYNC_STATIC: i16 = 3;
const HEARTBEAT_STATIC: i16 = 3;
/// From here on several may be told to leave, by instance, too.
const LEAVE_MANY: i16 = 3;
/// From here on who has no member id is given one and must come again (KIP-394).
const JOIN_TWICE: i16 = 4;
/// From here on a leader can be told to skip the assignment (KIP-814).
const JOIN_SKIPS: i16 = 9;
/// From here on members choose their own id (KIP-1082).
const BEAT_OWN_ID: i16 = 1;

pub(super) fn ask(view: View<'_>, request: &GroupRequest) -> Result<Asked, Refusal> {
    match request {
        GroupRequest::JoinGroup(request) => join(view, request),
        GroupRequest::SyncGroup(request) => sync(view, request),
        GroupRequest::Heartbeat { group, who, generation } => {
            heartbeat(view, group, who, *generation)
        }
        GroupRequest::LeaveGroup { group, members } => leave(view, group, members),
        GroupRequest::ConsumerGroupHeartbeat(request) => beat(view, request),
        GroupRequest::OffsetCommit(request) => commits::commit(view, request),
        GroupRequest::OffsetFetch(request) => commits::fetch(view, request),
        GroupRequest::TxnOffsetCommit(request) => commits::commit_in_transaction(view, request),
        // Tools ask these.
        GroupRequest::OffsetDelete { .. }
        | GroupRequest::DeleteGroup { .. }
        | GroupRequest::ConsumerGroupDescribe { .. }
        | GroupRequest::DescribeGroup { .. }
        | GroupRequest::ListGroups { .. } => Err(Refusal::NotAClients),
    }
}

/// The first version that will do for this member.
fn oldest(who: &MemberIdentity, of_static: i16) -> i16 {
    if who.instance.is_some() { of_static } else { 0 }
}

fn join(view: View<'_>, request: &JoinGroup) -> Result<Asked, Refusal> {
    let (key, oldest) = (ApiKey::JoinGroup, oldest(&request.who, JOIN_STATIC));
    let version = if !request.member_id_required {
        view.versions.pick(key, oldest..JOIN_TWICE)?
    } else if !request.skips_assignment {
        view.versions.pick(key, oldest..JOIN_SKIPS)?
    } else {
        view.versions.pick(key, oldest..)?
    };
    let protocol = |(name, metadata): &(String, bytes::Bytes)| {
        join_group::JoinGroupRequestProtocol { name: name.clone(), metadata: metadata.clone() }
    };
    let body = wire::Request::JoinGroup(join_group::Request {
        group_id: request.group.clone(),
        session_timeout_ms: ms(request.session_timeout),
        rebalance_timeout_ms: ms(request.rebalance_timeout),
        member_id: request.who.member.clone(),
        group_instance_id: request.who.instance.clone(),
        protocol_type: request.protocol_type.clone(),
        protocols: request.protocols.iter().map(protocol).collect(),
        reason: None,
    });
    Ok(Asked::new(version, body, |directory, answer| {
        let answer = body!(answer, wire::Response::JoinGroup(it) => it);
        let result = match directory.outcome(answer.error_code) {
            Ok(()) => Ok(joined(answer)),
            Err(code) => Err(JoinRefused { code, member: answer.member_id }),
        };
        Ok(Response::Group(GroupAnswer::JoinGroup(result)))
    }))
}

fn joined(answer: join_group::Response) -> Joined {
    let told = |it: &String| !it.is_empty();
    let member = |it: join_group::JoinGroupResponseMember| {
        let who = MemberIdentity { member: it.member_id, instance: it.group_instance_id };
        (who, it.metadata)
    };
    Joined {
        member: answer.member_id,
        generation: Generation(answer.generation_id),
        protocol_type: answer.protocol_type,
        protocol: answer.protocol_name.filter(told),
        leader: Some(answer.leader).filter(told),
        skip_assignment: answer.skip_assignment,
        members: answer.members.into_iter().map(member).collect(),
    }
}

fn sync(view: View<'_>, request: &SyncGroup) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::SyncGroup, oldest(&request.who, SYNC_STATIC)..)?;
    let assignment = |(member, assignment): &(String, bytes::Bytes)| {
        let (member_id, assignment) = (member.clone(), assignment.clone());
        sync_group::SyncGroupRequestAssignment { member_id, assignment }
    };
    let body = wire::Request::SyncGroup(sync_group::Request {
        group_id: request.group.clone(),
        generation_id: request.generation.0,
        member_id: request.who.member.clone(),
        group_instance_id: request.who.instance.clone(),
        protocol_type: request.protocol_type.clone(),
        protocol_name: request.protocol.clone(),
        assignments: request.assignments.iter().map(assignment).collect(),
    });
    Ok(Asked::new(version, body, |directory, answer| {
        let answer = body!(answer, wire::Response::SyncGroup(it) => it);
        let result = directory.outcome(answer.error_code).map(|()| Synced {
            protocol_type: answer.protocol_type,
            protocol: answer.protocol_name,
            assignment: answer.assignment,
        });
        Ok(Response::Group(GroupAnswer::SyncGroup(result)))
    }))
}

fn heartbeat(
    view: View<'_>,
    group: &str,
    who: &MemberIdentity,
    generation: Generation,
) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::Heartbeat, oldest(who, HEARTBEAT_STATIC)..)?;
    let body = wire::Request::Heartbeat(heartbeat::Request {
        group_id: group.to_owned(),
        generation_id: generation.0,
        member_id: who.member.clone(),
        group_instance_id: who.instance.clone(),
    });
    Ok(Asked::new(version, body, |directory, answer| {
        let answer = body!(answer, wire::Response::Heartbeat(it) => it);
        let result = directory.outcome(answer.error_code);
        Ok(Response::Group(GroupAnswer::Heartbeat(result)))
    }))
}

fn leave(view: View<'_>, group: &str, members: &[MemberIdentity]) -> Result<Asked, Refusal> {
    let key = ApiKey::LeaveGroup;
    let (version, alone) = match members {
        [MemberIdentity { member, instance: None }] => (view.versions.pick(key, ..)?, Some(member)),
        _ => (view.versions.pick(key, LEAVE_MANY..)?, None),
    };
    let member = |it: &MemberIdentity| leave_group::MemberIdentity {
        member_id: it.member.clone(),
        group_instance_id: it.instance.clone(),
        reason: None,
    };
    let body = wire::Request::LeaveGroup(leave_group::Request {
        group_id: group.to_owned(),
        member_id: alone.filter(|_| version < LEAVE_MANY).cloned().unwrap_or_default(),
        members: members.iter().map(member).collect(),
    });
    let members = members.to_vec();
    Ok(Asked::new(version, body, move |directory, answer| {
        let answer = body!(answer, wire::Response::LeaveGroup(it) => it);
        let result = left(directory, version, answer, members)?;
        Ok(Response::Group(GroupAnswer::LeaveGroup(result)))
    }))
}

/// For each member whether it has left; or why none was asked.
type Left = Result<Vec<(MemberIdentity, Result<(), ErrorCode>)>, ErrorCode>;

fn left(
    directory: &mut Directory,
    version: i16,
    answer: leave_group::Response,
    members: Vec<MemberIdentity>,
) -> Result<Left, Broken> {
    if let Err(code) = directory.outcome(answer.error_code) {
        return Ok(Err(code));
    }
    if version < LEAVE_MANY {
        return Ok(Ok(members.into_iter().map(|who| (who, Ok(()))).collect()));
    }
    let mut left = Vec::new();
    for it in answer.members {
        let who = MemberIdentity { member: it.member_id, instance: it.group_instance_id };
        if !members.contains(&who) {
            return Err(Broken::OtherPartition);
        }
        left.push((who, directory.outcome(it.error_code)));
    }
    Ok(Ok(left))
}

fn beat(view: View<'_>, request: &ConsumerGroupHeartbeat) -> Result<Asked, Refusal> {
    let key = ApiKey::ConsumerGroupHeartbeat;
    let version = if request.who.member.is_empty() {
        view.versions.pick(key, ..BEAT_OWN_ID)?
    } else {
        view.versions.pick(key, ..)?
    };
    let names = &view.directory.names;
    let owned = request.owned.as_ref().map(|owned| {
        let mut topics: Vec<consumer_group_heartbeat::TopicPartitions> = Vec::new();
        for it in owned {
            let topic = it.topic;
            let topic_id = names.uuid(topic).ok_or(Refusal::UnknownTopic { topic })?;
            let index = number(it.index.0);
            match topics.last_mut().filter(|last| last.topic_id == topic_id) {
                Some(last) => last.partitions.push(index),
                None => topics.push(consumer_group_heartbeat::TopicPartitions {
                    topic_id,
                    partitions: vec![index],
                }),
            }
        }
        Ok(topics)
    });
    let body = wire::Request::ConsumerGroupHeartbeat(consumer_group_heartbeat::Request {
        group_id: request.group.clone(),
        member_id: request.who.member.clone(),
        member_epoch: request.epoch.0,
        instance_id: request.who.instance.clone(),
        rack_id: None,
        rebalance_timeout_ms: request.rebalance_timeout.map_or(-1, ms),
        subscribed_topic_names: request.topics.clone(),
        subscribed_topic_regex: None,
        server_assignor: request.assignor.clone(),
        topic_partitions: owned.transpose()?,
    });
    let own = request.who.member.clone();
    Ok(Asked::new(version, body, |directory, answer| {
        let answer = body!(answer, wire::Response::ConsumerGroupHeartbeat(it) => it);
        let result = match directory.outcome(answer.error_code) {
            Ok(()) => Ok(beaten(answer, own)?),
            Err(code) => Err(code),
        };
        Ok(Response::Group(GroupAnswer::ConsumerGroupHeartbeat(result)))
    }))
}

fn beaten(
    answer: consumer_group_heartbeat::Response,
    own: String,
) -> Result<ConsumerGroupBeat, Broken> {
    let assignment = match answer.assignment {
        None => None,
        Some(assignment) => {
            let mut partitions = BTreeSet::new();
            for topic in assignment.topic_partitions {
                for index in topic.partitions {
                    let field = "partitions";
                    let index = u32::try_from(index).map_err(|_| Broken::Value { field })?;
                    let (topic, index) = (TopicId(topic.topic_id.0), PartitionIndex(index));
                    partitions.insert(TopicPartition { topic, index });
                }
            }
            Some(partitions.into_iter().collect())
        }
    };
    Ok(ConsumerGroupBeat {
        member: answer.member_id.unwrap_or(own),
        epoch: MemberEpoch(answer.member_epoch),
        interval: Dur::ms(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0)),
        assignment,
    })
}
