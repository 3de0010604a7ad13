//! Who is there, who leads and who coordinates.

use broker_core::ids::{LeaderEpoch, PartitionIndex};
use broker_core::protocol::{
    CoordinatorKind, MetadataResponse, PartitionMetadata, Response, TopicMetadata,
};

use super::{Asked, Broken, Directory, Refusal, View, body};
use crate::wire::messages::cluster::{find_coordinator, metadata};
use crate::wire::{self, ApiKey};

/// Before version 4 asking about a topic may create it.
const DOES_NOT_CREATE: i16 = 4;

pub(super) fn metadata(view: View<'_>, topics: Option<&[String]>) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::Metadata, DOES_NOT_CREATE..)?;
    let topic = |name: &String| metadata::MetadataRequestTopic {
        name: Some(name.clone()),
        ..Default::default()
    };
    let request = metadata::Request {
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    Ok(Asked::new(version, wire::Request::Metadata(request), |directory, answer| {
        let answer = body!(answer, wire::Response::Metadata(it) => it);
        let mut brokers = Vec::new();
        for it in answer.brokers {
            brokers.push(directory.brokers.learn(it.node_id, &it.host, it.port)?);
        }
        let mut topics = Vec::new();
        for topic in answer.topics {
            // Nameless: an id was asked for, and we ask for none.
            let name = topic.name.clone().ok_or(Broken::Value { field: "name" })?;
            topics.push(TopicMetadata { result: described(directory, &name, topic)?, name });
        }
        Ok(Response::Metadata(MetadataResponse { brokers, topics }))
    }))
}

/// A topic as it stands, or why not.
type Described =
    Result<(broker_core::ids::TopicId, Vec<PartitionMetadata>), broker_core::protocol::ErrorCode>;

fn described(
    directory: &mut Directory,
    name: &str,
    topic: metadata::MetadataResponseTopic,
) -> Result<Described, Broken> {
    if let Err(code) = directory.outcome(topic.error_code) {
        return Ok(Err(code));
    }
    let id = directory.names.learn(name, topic.topic_id);
    directory.names.has_epochs(id, topic.partitions.iter().all(|it| it.leader_epoch >= 0));
    let mut partitions = Vec::new();
    for it in topic.partitions {
        let field = "partition_index";
        let index = u32::try_from(it.partition_index).map_err(|_| Broken::Value { field })?;
        // Its own error says no more than that there is no leader, or that a replica is missing.
        let leader = match it.leader_id {
            ..0 => None,
            id => Some(directory.brokers.node(id)?),
        };
        partitions.push(PartitionMetadata {
            index: PartitionIndex(index),
            leader,
            leader_epoch: LeaderEpoch(u32::try_from(it.leader_epoch).unwrap_or(0)),
        });
    }
    Ok(Ok((id, partitions)))
}

pub(super) fn find_coordinator(
    view: View<'_>,
    kind: CoordinatorKind,
    name: &str,
) -> Result<Asked, Refusal> {
    let (key_type, oldest) = match kind {
        CoordinatorKind::Group => (0, 0),
        CoordinatorKind::Transaction => (1, 1),
    };
    let version = view.versions.pick(ApiKey::FindCoordinator, oldest..)?;
    let many = version >= 4;
    let request = find_coordinator::Request {
        key: if many { String::new() } else { name.to_owned() },
        key_type,
        coordinator_keys: if many { vec![name.to_owned()] } else { Vec::new() },
    };
    let name = name.to_owned();
    let request = wire::Request::FindCoordinator(request);
    Ok(Asked::new(version, request, move |directory, answer| {
        let mut answer = body!(answer, wire::Response::FindCoordinator(it) => it);
        let found = if many {
            let only = answer.coordinators.pop().filter(|it| it.key == name);
            only.filter(|_| answer.coordinators.is_empty()).ok_or(Broken::OtherPartition)?
        } else {
            let find_coordinator::Response { error_code, node_id, host, port, .. } = answer;
            find_coordinator::Coordinator { error_code, node_id, host, port, ..Default::default() }
        };
        let node = match directory.outcome(found.error_code) {
            Ok(()) if found.node_id < 0 => return Err(Broken::Value { field: "node_id" }),
            Ok(()) => Ok(directory.brokers.learn(found.node_id, &found.host, found.port)?),
            Err(code) => Err(code),
        };
        Ok(Response::FindCoordinator(node))
    }))
}
