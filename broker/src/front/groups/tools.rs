//! What tools ask about groups.

use broker_core::ids::TopicPartition;
use broker_core::protocol::{
    DescribedConsumer, DescribedGroup, ErrorCode, GroupAnswer, GroupRequest, GroupType, Request,
    Response,
};
use bytes::Bytes;

use crate::front::codes::message;
use crate::front::operations;
use crate::front::{Asked, View, answer, by_topic, code, index, uuid};
use crate::wire::messages::groups::{
    consumer_group_describe, delete_groups, describe_groups, list_groups,
};
use crate::wire::{self, Header};

/// The names of types, by Kafka's `Group.GroupType`.
const TYPES: &[(GroupType, &str)] =
    &[(GroupType::Classic, "classic"), (GroupType::Consumer, "consumer")];

pub(in crate::front) fn describe(header: &Header, request: describe_groups::Request) -> Asked {
    // KIP-1043: before version 6 a group that is not there is called dead.
    let dead_is_fine = header.version < 6;
    let operations = operations::on_group(request.include_authorized_operations);
    let groups = request.groups;
    let describe = |group: &String| GroupRequest::DescribeGroup { group: group.clone() };
    let parts = groups.iter().map(describe).map(Request::Group).collect();
    Asked::new(parts, move |_, answers| {
        let described = groups.into_iter().zip(answers).map(|(group_id, answer)| {
            let result = answer!(answer, Response::Group(GroupAnswer::DescribeGroup(it)) => it);
            let none = describe_groups::DescribedGroup { group_id, ..Default::default() };
            let error_code = code(&result);
            match result {
                Ok(group) => {
                    let group = classic(group, none);
                    describe_groups::DescribedGroup { authorized_operations: operations, ..group }
                }
                Err(ErrorCode::GroupIdNotFound) if dead_is_fine => {
                    describe_groups::DescribedGroup { group_state: DEAD.to_owned(), ..none }
                }
                Err(refused) => {
                    let dead = refused == ErrorCode::GroupIdNotFound;
                    let group_state = if dead { DEAD.to_owned() } else { String::new() };
                    let error_message = Some(message(refused));
                    let none =
                        describe_groups::DescribedGroup { error_code, error_message, ..none };
                    describe_groups::DescribedGroup { group_state, ..none }
                }
            }
        });
        let groups = described.collect();
        wire::Response::DescribeGroups(describe_groups::Response { groups, ..Default::default() })
    })
}

/// `ClassicGroupState.DEAD`.
const DEAD: &str = "Dead";

fn classic(
    group: DescribedGroup,
    none: describe_groups::DescribedGroup,
) -> describe_groups::DescribedGroup {
    let member = |(who, member_metadata, member_assignment): (_, Bytes, Bytes)| {
        let broker_core::protocol::MemberIdentity { member, instance } = who;
        describe_groups::DescribedGroupMember {
            member_id: member,
            group_instance_id: instance,
            member_metadata,
            member_assignment,
            ..Default::default()
        }
    };
    describe_groups::DescribedGroup {
        group_state: group.state.name().to_owned(),
        protocol_type: group.protocol_type,
        protocol_data: group.protocol,
        members: group.members.into_iter().map(member).collect(),
        ..none
    }
}

pub(in crate::front) fn list(request: list_groups::Request) -> Asked {
    let list_groups::Request { states_filter: states, types_filter } = request;
    let known = |name: &String| TYPES.iter().find(|(_, it)| it.eq_ignore_ascii_case(name));
    let types: Vec<_> = types_filter.iter().filter_map(known).map(|(kind, _)| *kind).collect();
    // Filters of which none is known would be no filter at all.
    if types.is_empty() && !types_filter.is_empty() {
        return Asked::nothing(wire::Response::ListGroups(list_groups::Response::default()));
    }
    Asked::one(Request::Group(GroupRequest::ListGroups { states, types }), |_, answer| {
        let result = answer!(answer, Response::Group(GroupAnswer::ListGroups(it)) => it);
        let error_code = code(&result);
        let groups = result.unwrap_or_default().into_iter().map(|it| list_groups::ListedGroup {
            group_id: it.group,
            protocol_type: it.protocol_type,
            group_state: it.state.name().to_owned(),
            group_type: TYPES
                .iter()
                .find(|(kind, _)| *kind == it.kind)
                .map_or_else(String::new, |(_, name)| (*name).to_owned()),
        });
        let groups = groups.collect();
        let answer = list_groups::Response { error_code, groups, ..Default::default() };
        wire::Response::ListGroups(answer)
    })
}

pub(in crate::front) fn delete(request: delete_groups::Request) -> Asked {
    let groups = request.groups_names;
    let delete = |group: &String| GroupRequest::DeleteGroup { group: group.clone() };
    let parts = groups.iter().map(delete).map(Request::Group).collect();
    Asked::new(parts, |_, answers| {
        let deleted = groups.into_iter().zip(answers).map(|(group_id, answer)| {
            let result = answer!(answer, Response::Group(GroupAnswer::DeleteGroup(it)) => it);
            delete_groups::DeletableGroupResult { group_id, error_code: code(&result) }
        });
        let results = deleted.collect();
        wire::Response::DeleteGroups(delete_groups::Response { results, ..Default::default() })
    })
}

pub(in crate::front) fn consumer_describe(request: consumer_group_describe::Request) -> Asked {
    let operations = operations::on_group(request.include_authorized_operations);
    let groups = request.group_ids;
    let describe = |group: &String| GroupRequest::ConsumerGroupDescribe { group: group.clone() };
    let parts = groups.iter().map(describe).map(Request::Group).collect();
    Asked::new(parts, move |view, answers| {
        let described = groups.into_iter().zip(answers).map(|(group_id, answer)| {
            let answer =
                answer!(answer, Response::Group(GroupAnswer::ConsumerGroupDescribe(it)) => it);
            let error_code = code(&answer);
            let error_message = answer.as_ref().err().copied().map(message);
            let none = consumer_group_describe::DescribedGroup {
                error_code,
                error_message,
                group_id,
                ..Default::default()
            };
            let Ok(group) = answer else { return none };
            let members = group.members.into_iter().map(|it| member(view, it));
            consumer_group_describe::DescribedGroup {
                group_state: group.state.name().to_owned(),
                group_epoch: group.epoch.0,
                assignment_epoch: group.assignment_epoch.0,
                assignor_name: group.assignor,
                members: members.collect(),
                authorized_operations: operations,
                ..none
            }
        });
        let groups = described.collect();
        let answer = consumer_group_describe::Response { groups, ..Default::default() };
        wire::Response::ConsumerGroupDescribe(answer)
    })
}

/// `ConsumerGroupMember` type: one that speaks KIP-848.
const CONSUMER: i8 = 1;

fn member(view: View<'_>, it: DescribedConsumer) -> consumer_group_describe::Member {
    consumer_group_describe::Member {
        member_id: it.who.member,
        instance_id: it.who.instance,
        member_epoch: it.epoch.0,
        subscribed_topic_names: it.topics,
        assignment: assignment(view, it.assignment),
        target_assignment: assignment(view, it.target),
        member_type: CONSUMER,
        ..Default::default()
    }
}

fn assignment(
    view: View<'_>,
    partitions: Vec<TopicPartition>,
) -> consumer_group_describe::Assignment {
    let topics = by_topic(partitions.into_iter().map(|it| (it, ())));
    let topics =
        topics.into_iter().map(|(topic, partitions)| consumer_group_describe::TopicPartitions {
            topic_id: uuid(topic),
            topic_name: view.name(topic).unwrap_or_default().to_owned(),
            partitions: partitions.into_iter().map(|(partition, ())| index(partition)).collect(),
        });
    consumer_group_describe::Assignment { topic_partitions: topics.collect() }
}
