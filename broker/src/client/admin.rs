//! Topics and their configs.

use broker_core::ids::TopicId;
use broker_core::protocol::{AdminRequest, AdminResponse, Response};

use super::{Asked, Broken, Directory, Refusal, View, body, number};
use crate::wire::codec::Uuid;
use crate::wire::messages::admin::{
    create_partitions, create_topics, delete_topics, describe_configs, incremental_alter_configs,
};
use crate::wire::{self, ApiKey};

/// How long the broker may take; a client waits for an answer a little longer than that.
const TIMEOUT_MS: i32 = 3_000;
/// `ConfigResource.Type`: a topic.
const TOPIC: i8 = 2;
/// `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// From here on DeleteTopics takes ids.
const DELETE_BY_ID: i16 = 6;
/// From here on the replication factor may be left to the broker (KIP-464).
const DEFAULT_REPLICATION: i16 = 4;

pub(super) fn change(view: View<'_>, request: &AdminRequest) -> Result<Asked, Refusal> {
    match request {
        AdminRequest::CreateTopic { name, partitions, configs } => {
            create_topic(view, name, *partitions, configs)
        }
        AdminRequest::DeleteTopic { topic } => delete_topic(view, *topic),
        AdminRequest::CreatePartitions { topic, count } => create_partitions(view, *topic, *count),
        AdminRequest::AlterConfigs { topic, configs } => alter_configs(view, *topic, configs),
        AdminRequest::DescribeQuorum => Err(Refusal::NotAClients),
    }
}

/// The one result that there must be.
fn only<T>(results: Vec<T>, is_it: impl Fn(&T) -> bool) -> Result<T, Broken> {
    let mut results = results.into_iter();
    let only = results.next().filter(is_it).ok_or(Broken::OtherPartition)?;
    if results.next().is_some() { Err(Broken::OtherPartition) } else { Ok(only) }
}

/// Done, or why not.
fn outcome(directory: &mut Directory, code: i16) -> Response {
    Response::Admin(match directory.outcome(code) {
        Ok(()) => AdminResponse::Done,
        Err(code) => AdminResponse::Error(code),
    })
}

fn create_topic(
    view: View<'_>,
    name: &str,
    partitions: u32,
    configs: &[(String, String)],
) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::CreateTopics, ..)?;
    let config = |(name, value): &(String, String)| create_topics::CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    };
    let topic = create_topics::CreatableTopic {
        name: name.to_owned(),
        num_partitions: number(partitions),
        replication_factor: if version >= DEFAULT_REPLICATION { -1 } else { 1 },
        assignments: Vec::new(),
        configs: configs.iter().map(config).collect(),
    };
    let request = wire::Request::CreateTopics(create_topics::Request {
        topics: vec![topic],
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    });
    let name = name.to_owned();
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::CreateTopics(it) => it);
        let created = only(answer.topics, |it| it.name == name)?;
        Ok(Response::Admin(match directory.outcome(created.error_code) {
            Ok(()) => AdminResponse::Created(directory.names.learn(&name, created.topic_id)),
            Err(code) => AdminResponse::Error(code),
        }))
    }))
}

fn delete_topic(view: View<'_>, topic: TopicId) -> Result<Asked, Refusal> {
    let (key, names) = (ApiKey::DeleteTopics, &view.directory.names);
    let by_id = names.uuid(topic).zip(view.versions.pick(key, DELETE_BY_ID..).ok());
    let (version, request) = match by_id {
        Some((topic_id, version)) => {
            let topics = vec![delete_topics::DeleteTopicState { name: None, topic_id }];
            (version, delete_topics::Request { topics, ..Default::default() })
        }
        None => {
            let topic_names = vec![names.current(topic)?.to_owned()];
            let version = view.versions.pick(key, ..DELETE_BY_ID)?;
            (version, delete_topics::Request { topic_names, ..Default::default() })
        }
    };
    let asked = request.topic_names.first().cloned();
    let request =
        wire::Request::DeleteTopics(delete_topics::Request { timeout_ms: TIMEOUT_MS, ..request });
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::DeleteTopics(it) => it);
        let deleted = only(answer.responses, |it| match &asked {
            Some(_) => it.name == asked,
            None => it.topic_id == Uuid(topic.0),
        })?;
        Ok(outcome(directory, deleted.error_code))
    }))
}

fn create_partitions(view: View<'_>, topic: TopicId, count: u32) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::CreatePartitions, ..)?;
    let name = view.directory.names.current(topic)?.to_owned();
    let more = create_partitions::CreatePartitionsTopic {
        name: name.clone(),
        count: number(count),
        assignments: None,
    };
    let request = wire::Request::CreatePartitions(create_partitions::Request {
        topics: vec![more],
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    });
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::CreatePartitions(it) => it);
        let created = only(answer.results, |it| it.name == name)?;
        Ok(outcome(directory, created.error_code))
    }))
}

fn alter_configs(
    view: View<'_>,
    topic: TopicId,
    configs: &[(String, Option<String>)],
) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::IncrementalAlterConfigs, ..)?;
    let name = view.directory.names.current(topic)?.to_owned();
    let config =
        |(name, value): &(String, Option<String>)| incremental_alter_configs::AlterableConfig {
            name: name.clone(),
            config_operation: if value.is_some() { SET } else { DELETE },
            value: value.clone(),
        };
    let resource = incremental_alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.clone(),
        configs: configs.iter().map(config).collect(),
    };
    let (resources, validate_only) = (vec![resource], false);
    let request = incremental_alter_configs::Request { resources, validate_only };
    let request = wire::Request::IncrementalAlterConfigs(request);
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::IncrementalAlterConfigs(it) => it);
        let altered = only(answer.responses, |it| it.resource_name == name)?;
        Ok(outcome(directory, altered.error_code))
    }))
}

pub(super) fn describe_configs(view: View<'_>, topic: &str) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::DescribeConfigs, ..)?;
    let resource = describe_configs::DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        configuration_keys: None,
    };
    let request = wire::Request::DescribeConfigs(describe_configs::Request {
        resources: vec![resource],
        ..Default::default()
    });
    let topic = topic.to_owned();
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::DescribeConfigs(it) => it);
        let described = only(answer.results, |it| it.resource_name == topic)?;
        let configs = described.configs.into_iter();
        let configs = configs.map(|it| (it.name, it.value.unwrap_or_default())).collect();
        let result = directory.outcome(described.error_code).map(|()| configs);
        Ok(Response::DescribeConfigs(result))
    }))
}
