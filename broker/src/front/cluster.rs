//! What is spoken here, who is there, who leads and who coordinates.

use std::collections::BTreeMap;

use broker_core::ids::{NodeId, TopicId};
use broker_core::protocol::{
    AdminRequest, AdminResponse, CoordinatorKind, ErrorCode, MetadataResponse, PartitionMetadata,
    Request, Response, TopicMetadata,
};

use super::{Asked, Code, View, answer, code, number, operations, uuid};
use crate::wire::messages::cluster::{api_versions, describe_cluster, find_coordinator, metadata};
use crate::wire::{self, ApiKey, Header};

/// The log of the metadata quorum, which Kafka shows as a topic (KIP-595), and which is none here.
pub(super) const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";

/// The features that clients go by: name and level. Clients choose the transaction protocol by
/// the finalized level of `transaction.version`, not by versions of calls (KIP-890), and KIP-848 by
/// `group.version`.
const FEATURES: &[(&str, i16)] = &[("group.version", 1), ("transaction.version", 2)];

/// The answer to ApiVersions, in any version.
pub(super) fn versions(Code(error_code): Code) -> api_versions::Response {
    let api_keys = ApiKey::ALL.iter().map(|key| {
        let (min_version, max_version) = key.versions();
        api_versions::ApiVersion { api_key: *key as i16, min_version, max_version }
    });
    let supported = FEATURES.iter().map(|(name, level)| api_versions::SupportedFeatureKey {
        name: (*name).to_owned(),
        min_version: 0,
        max_version: *level,
    });
    let finalized = FEATURES.iter().map(|(name, level)| api_versions::FinalizedFeatureKey {
        name: (*name).to_owned(),
        max_version_level: *level,
        min_version_level: *level,
    });
    api_versions::Response {
        error_code,
        api_keys: api_keys.collect(),
        supported_features: supported.collect(),
        finalized_features_epoch: 0,
        finalized_features: finalized.collect(),
        ..Default::default()
    }
}

/// A client names itself from version 3 on (KIP-511), by letters, digits, `-` and `.`
/// (`ApiVersionsRequest.isValid`).
pub(super) fn api_versions(header: &Header, request: &api_versions::Request) -> Asked {
    let named = |name: &str| {
        let edge = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
        edge(name.chars().next())
            && edge(name.chars().next_back())
            && name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '.')
    };
    let valid = header.version < 3
        || named(&request.client_software_name) && named(&request.client_software_version);
    let answer = if valid {
        let mut versions = versions(Code::NONE);
        if header.version < 4 {
            // Old Java clients refuse a feature whose lowest version is 0 (KAFKA-17011).
            versions.supported_features.clear();
        }
        versions
    } else {
        let error_code = ErrorCode::InvalidRequest as i16;
        api_versions::Response { error_code, ..Default::default() }
    };
    Asked::nothing(wire::Response::ApiVersions(answer))
}

pub(super) fn metadata(view: View<'_>, header: &Header, request: metadata::Request) -> Asked {
    let metadata::Request { topics, allow_auto_topic_creation, .. } = request;
    let of_cluster = operations::on_cluster(request.include_cluster_authorized_operations);
    let of_topics = operations::on_topic(request.include_topic_authorized_operations);
    // In version 0 no topics mean all of them.
    let topics = topics.filter(|topics| header.version > 0 || !topics.is_empty());
    let mut unknown_ids = Vec::new();
    let names: Option<Vec<String>> = topics.map(|topics| {
        let name = |topic: metadata::MetadataRequestTopic| {
            let known =
                topic.name.or_else(|| view.name(TopicId(topic.topic_id.0)).map(str::to_owned));
            if known.is_none() {
                unknown_ids.push(metadata::MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId as i16,
                    topic_id: topic.topic_id,
                    ..Default::default()
                });
            }
            known
        };
        let mut names: Vec<_> = topics.into_iter().filter_map(name).collect();
        // Named twice, answered once.
        names.sort_unstable();
        names.dedup();
        names
    });
    let all = names.is_none();
    let missing: Vec<String> = if view.cluster.creates_topics && allow_auto_topic_creation {
        // The log of the controllers is no topic that can be created (`ControllerApis`).
        let missing = |name: &&String| {
            view.image.topic_named(name).is_none() && *name != CLUSTER_METADATA_TOPIC
        };
        names.iter().flatten().filter(missing).cloned().collect()
    } else {
        Vec::new()
    };
    let create = |name: &String| match CoordinatorKind::of_topic(name) {
        // Created as coordinators want it (`AutoTopicCreationManager`): the core knows how.
        Some(kind) => Request::FindCoordinator { kind, name: String::new() },
        None => Request::Admin(AdminRequest::CreateTopic {
            name: name.clone(),
            partitions: view.cluster.partitions_default,
            configs: Vec::new(),
        }),
    };
    let parts = missing.iter().map(create).chain([Request::Metadata { topics: names }]).collect();
    Asked::new(parts, move |view, mut answers| {
        let last = answers.pop().expect("one part at least");
        let answer = answer!(last, Response::Metadata(answer) => answer);
        let created: BTreeMap<_, _> =
            missing.into_iter().zip(answers.into_iter().map(created)).collect();
        let mut response = described(view, answer, &created);
        response.topics.retain(|topic| !all || has_been_led(topic));
        for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = of_topics;
        }
        response.cluster_authorized_operations = of_cluster;
        response.topics.extend(unknown_ids);
        wire::Response::Metadata(response)
    })
}

/// What who asked for a topic that is being created is told: that it is not there, as yet
/// (`AutoTopicCreationManager`).
fn created(answer: Response) -> ErrorCode {
    match answer {
        Response::Admin(AdminResponse::Error(code)) if code != ErrorCode::TopicAlreadyExists => {
            code
        }
        Response::Admin(_) | Response::FindCoordinator(_) => ErrorCode::UnknownTopicOrPartition,
        other => unreachable!("the core answered something else: {other:?}"),
    }
}

fn described(
    view: View<'_>,
    MetadataResponse { brokers, topics }: MetadataResponse,
    created: &BTreeMap<String, ErrorCode>,
) -> metadata::Response {
    let brokers = brokers.into_iter().filter_map(|node| {
        let node_id = i32::from(node.0);
        let (host, port, rack) = view.endpoint(node_id)?;
        Some(metadata::MetadataResponseBroker { node_id, host, port, rack })
    });
    let brokers: Vec<_> = brokers.collect();
    let topics = topics.into_iter().map(|TopicMetadata { name, result }| {
        let is_internal = CoordinatorKind::of_topic(&name).is_some();
        match result {
            Ok((topic, partitions)) => metadata::MetadataResponseTopic {
                error_code: 0,
                name: Some(name),
                topic_id: uuid(topic),
                is_internal,
                partitions: partitions.into_iter().map(partition).collect(),
                ..Default::default()
            },
            Err(code) => metadata::MetadataResponseTopic {
                error_code: *created.get(&name).unwrap_or(&code) as i16,
                name: Some(name),
                is_internal,
                ..Default::default()
            },
        }
    });
    let topics = topics.collect();
    metadata::Response {
        controller_id: controller(view, brokers.iter().map(|it| it.node_id)),
        brokers,
        cluster_id: Some(view.cluster.id.clone()),
        topics,
        ..Default::default()
    }
}

/// Whether a topic is there for who asks for all of them. One that nobody has led as yet is not, as
/// if the news had not come to this broker: in Kafka a partition has its leader from its creation
/// on, and some clients (rskafka) keep a list of everything, and never ask again about a partition
/// that has none there. Who asks for it by its name is told that its leaders are not available.
fn has_been_led(topic: &metadata::MetadataResponseTopic) -> bool {
    let led = |it: &metadata::MetadataResponsePartition| it.leader_id >= 0 || it.leader_epoch > 0;
    topic.partitions.iter().any(led)
}

/// Whom to ask for changes: any broker that is listed passes them on to the controller, which
/// clients do not reach. This one if it is, else the first; −1 if there is none.
fn controller(view: View<'_>, mut brokers: impl Iterator<Item = i32> + Clone) -> i32 {
    let own = i32::from(view.cluster.node.0);
    if brokers.clone().any(|it| it == own) { own } else { brokers.next().unwrap_or(-1) }
}

/// One replica on shared storage: the leader is all there is.
fn partition(
    PartitionMetadata { index: at, leader, leader_epoch }: PartitionMetadata,
) -> metadata::MetadataResponsePartition {
    let nodes: Vec<i32> = leader.iter().map(|node| i32::from(node.0)).collect();
    metadata::MetadataResponsePartition {
        error_code: leader.map_or(ErrorCode::LeaderNotAvailable as i16, |_| 0),
        partition_index: number(at.0),
        leader_id: leader.map_or(-1, |node| i32::from(node.0)),
        leader_epoch: number(leader_epoch.0),
        replica_nodes: nodes.clone(),
        isr_nodes: nodes,
        offline_replicas: Vec::new(),
    }
}

pub(super) fn describe_cluster(request: &describe_cluster::Request) -> Asked {
    let endpoint_type = request.endpoint_type;
    let of_cluster = operations::on_cluster(request.include_cluster_authorized_operations);
    if endpoint_type != 1 {
        return Asked::nothing(wire::Response::DescribeCluster(describe_cluster::Response {
            error_code: Code::MISMATCHED_ENDPOINT_TYPE.0,
            error_message: Some("only brokers can be described here".to_owned()),
            endpoint_type,
            ..Default::default()
        }));
    }
    let all = Request::Metadata { topics: Some(Vec::new()) };
    Asked::one(all, move |view, answer| {
        let MetadataResponse { brokers, .. } = answer!(answer, Response::Metadata(it) => it);
        let brokers = brokers.into_iter().filter_map(|node| {
            let (host, port) = view.listener(node)?;
            Some(describe_cluster::DescribeClusterBroker {
                broker_id: i32::from(node.0),
                host: host.clone(),
                port: i32::from(*port),
                rack: view.rack(node),
            })
        });
        let brokers: Vec<_> = brokers.collect();
        wire::Response::DescribeCluster(describe_cluster::Response {
            cluster_id: view.cluster.id.clone(),
            controller_id: controller(view, brokers.iter().map(|it| it.broker_id)),
            brokers,
            cluster_authorized_operations: of_cluster,
            ..Default::default()
        })
    })
}

pub(super) fn find_coordinator(header: &Header, request: find_coordinator::Request) -> Asked {
    let find_coordinator::Request { key, key_type, coordinator_keys } = request;
    let many = header.version >= 4;
    let names = if many { coordinator_keys } else { vec![key] };
    let kind = match key_type {
        0 => Some(CoordinatorKind::Group),
        1 => Some(CoordinatorKind::Transaction),
        _ => None,
    };
    let find = |name: &String| Some(Request::FindCoordinator { kind: kind?, name: name.clone() });
    let parts = names.iter().filter_map(find).collect();
    Asked::new(parts, move |view, answers| {
        let mut answers = answers.into_iter();
        let found = names.into_iter().map(|key| {
            let found = answers.next().map(|it| answer!(it, Response::FindCoordinator(it) => it));
            coordinator(view, key, found)
        });
        let mut coordinators: Vec<_> = found.collect();
        let mut response = find_coordinator::Response::default();
        if many {
            response.coordinators = coordinators;
        } else if let Some(only) = coordinators.pop() {
            let find_coordinator::Coordinator { node_id, host, port, .. } = only;
            (response.node_id, response.host, response.port) = (node_id, host, port);
            response.error_code = only.error_code;
            response.error_message = only.error_message;
        }
        wire::Response::FindCoordinator(response)
    })
}

fn coordinator(
    view: View<'_>,
    key: String,
    found: Option<Result<NodeId, ErrorCode>>,
) -> find_coordinator::Coordinator {
    let none = find_coordinator::Coordinator { key, node_id: -1, port: -1, ..Default::default() };
    let known =
        |node| view.listener(node).ok_or(ErrorCode::CoordinatorNotAvailable).map(|it| (node, it));
    // Neither a group's nor a transactional id's.
    let found = found.unwrap_or(Err(ErrorCode::InvalidRequest)).and_then(known);
    let error_code = code(&found);
    match found {
        Err(_) => find_coordinator::Coordinator { error_code, ..none },
        Ok((node, (host, port))) => find_coordinator::Coordinator {
            node_id: i32::from(node.0),
            host: host.clone(),
            port: i32::from(*port),
            ..none
        },
    }
}
