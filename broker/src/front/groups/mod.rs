//! Memberships of groups, by both protocols.

use broker_core::ids::TopicId;
use broker_core::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, Generation, GroupAnswer, GroupRequest, JoinGroup,
    JoinRefused, Joined, MemberEpoch, MemberIdentity, Request, Response, SyncGroup,
};
use broker_core::time::Dur;

use super::codes::message;
use super::records::millis;
use super::{Asked, Code, answer, by_topic, code, index, partition, uuid};
use crate::wire::messages::groups::{
    consumer_group_heartbeat, heartbeat, join_group, leave_group, sync_group,
};
use crate::wire::{self, Header};

pub(super) mod commits;
pub(super) mod tools;

/// Who a member says that it is.
pub(super) fn who(member: String, instance: Option<String>) -> MemberIdentity {
    MemberIdentity { member, instance }
}

pub(super) fn generation(generation: i32) -> Generation {
    Generation(generation)
}

/// A length of time as the wire says it; none of ours is so long that it does not fit.
pub(super) fn ms(dur: Dur) -> i32 {
    i32::try_from(dur.0 / 1_000).unwrap_or(i32::MAX)
}

pub(super) fn join(header: &Header, request: join_group::Request) -> Asked {
    let version = header.version;
    // Version 0 has one time for both.
    let rebalance = match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        own => own,
    };
    let protocols = request.protocols.into_iter().map(|it| (it.name, it.metadata));
    let request = JoinGroup {
        group: request.group_id,
        who: who(request.member_id, request.group_instance_id),
        client: header.client.clone().unwrap_or_default(),
        session_timeout: millis(request.session_timeout_ms),
        rebalance_timeout: millis(rebalance),
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        member_id_required: version >= 4,
        skips_assignment: version >= 9,
    };
    Asked::one(Request::Group(GroupRequest::JoinGroup(request)), move |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::JoinGroup(it)) => it);
        // From version 7 on "none" has a word of its own.
        let none = || if version >= 7 { None } else { Some(String::new()) };
        wire::Response::JoinGroup(match result {
            Ok(joined) => self::joined(joined, none),
            Err(JoinRefused { code, member }) => join_group::Response {
                error_code: code as i16,
                member_id: member,
                protocol_name: none(),
                ..Default::default()
            },
        })
    })
}

fn joined(joined: Joined, none: impl Fn() -> Option<String>) -> join_group::Response {
    let member = |(who, metadata): (MemberIdentity, _)| join_group::JoinGroupResponseMember {
        member_id: who.member,
        group_instance_id: who.instance,
        metadata,
    };
    join_group::Response {
        generation_id: joined.generation.0,
        protocol_type: joined.protocol_type,
        protocol_name: joined.protocol.or_else(none),
        leader: joined.leader.unwrap_or_default(),
        skip_assignment: joined.skip_assignment,
        member_id: joined.member,
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

pub(super) fn sync(request: sync_group::Request) -> Asked {
    let assignments = request.assignments.into_iter().map(|it| (it.member_id, it.assignment));
    let request = SyncGroup {
        group: request.group_id,
        who: who(request.member_id, request.group_instance_id),
        generation: generation(request.generation_id),
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: assignments.collect(),
    };
    Asked::one(Request::Group(GroupRequest::SyncGroup(request)), |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::SyncGroup(it)) => it);
        let error_code = code(&result);
        let none = sync_group::Response { error_code, ..Default::default() };
        wire::Response::SyncGroup(match result {
            Ok(synced) => sync_group::Response {
                protocol_type: synced.protocol_type,
                protocol_name: synced.protocol,
                assignment: synced.assignment,
                ..none
            },
            Err(_) => none,
        })
    })
}

pub(super) fn heartbeat(request: heartbeat::Request) -> Asked {
    let request = GroupRequest::Heartbeat {
        group: request.group_id,
        who: who(request.member_id, request.group_instance_id),
        generation: generation(request.generation_id),
    };
    Asked::one(Request::Group(request), |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::Heartbeat(it)) => it);
        let answer = heartbeat::Response { error_code: code(&result), ..Default::default() };
        wire::Response::Heartbeat(answer)
    })
}

pub(super) fn leave(header: &Header, request: leave_group::Request) -> Asked {
    let leave_group::Request { group_id: group, member_id, members } = request;
    let many = header.version >= 3;
    let members = if many {
        members.into_iter().map(|it| who(it.member_id, it.group_instance_id)).collect()
    } else {
        vec![who(member_id, None)]
    };
    Asked::one(Request::Group(GroupRequest::LeaveGroup { group, members }), move |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::LeaveGroup(it)) => it);
        let mut response =
            leave_group::Response { error_code: code(&result), ..Default::default() };
        let left = result.unwrap_or_default();
        if many {
            let member = |(who, result): (MemberIdentity, _)| leave_group::MemberResponse {
                member_id: who.member,
                group_instance_id: who.instance,
                error_code: code(&result),
            };
            response.members = left.into_iter().map(member).collect();
        } else if let Some((_, result)) = left.first() {
            // Before version 3 there is one member, whose outcome is the whole answer.
            response.error_code = code(result);
        }
        wire::Response::LeaveGroup(response)
    })
}

pub(super) fn consumer_heartbeat(request: consumer_group_heartbeat::Request) -> Asked {
    if request.subscribed_topic_regex.as_ref().is_some_and(|regex| !regex.is_empty()) {
        return Asked::nothing(wire::Response::ConsumerGroupHeartbeat(
            consumer_group_heartbeat::Response {
                error_code: Code::INVALID_REGULAR_EXPRESSION.0,
                error_message: Some("subscriptions by pattern are not known here".to_owned()),
                ..Default::default()
            },
        ));
    }
    let owned = request.topic_partitions.map(|topics| {
        let of_topic = |it: consumer_group_heartbeat::TopicPartitions| {
            let topic = TopicId(it.topic_id.0);
            it.partitions.into_iter().filter_map(move |index| partition(topic, index).ok())
        };
        topics.into_iter().flat_map(of_topic).collect()
    });
    let rebalance = request.rebalance_timeout_ms;
    let request = ConsumerGroupHeartbeat {
        group: request.group_id,
        who: who(request.member_id, request.instance_id),
        epoch: MemberEpoch(request.member_epoch),
        rebalance_timeout: (rebalance >= 0).then(|| millis(rebalance)),
        topics: request.subscribed_topic_names,
        assignor: request.server_assignor,
        owned,
    };
    Asked::one(Request::Group(GroupRequest::ConsumerGroupHeartbeat(request)), |_, answer| {
        let result =
            answer!(answer, Response::Group(GroupAnswer::ConsumerGroupHeartbeat(it)) => it);
        let error_code = code(&result);
        let error_message = result.as_ref().err().copied().map(message);
        let none =
            consumer_group_heartbeat::Response { error_code, error_message, ..Default::default() };
        wire::Response::ConsumerGroupHeartbeat(match result {
            Ok(beat) => self::beat(beat, none),
            Err(_) => none,
        })
    })
}

fn beat(
    beat: ConsumerGroupBeat,
    none: consumer_group_heartbeat::Response,
) -> consumer_group_heartbeat::Response {
    let assignment = beat.assignment.map(|partitions| {
        let topics = by_topic(partitions.into_iter().map(|it| (it, ())));
        let topic = |(topic, partitions): (_, Vec<_>)| consumer_group_heartbeat::TopicPartitions {
            topic_id: uuid(topic),
            partitions: partitions.into_iter().map(|(partition, ())| index(partition)).collect(),
        };
        let topic_partitions = topics.into_iter().map(topic).collect();
        consumer_group_heartbeat::Assignment { topic_partitions }
    });
    consumer_group_heartbeat::Response {
        member_id: Some(beat.member),
        member_epoch: beat.epoch.0,
        heartbeat_interval_ms: ms(beat.interval),
        assignment,
        ..none
    }
}
