//! Topics and their configs.

use broker_core::ids::TopicId;
use broker_core::protocol::{AdminRequest, AdminResponse, ErrorCode, Request, Response};

use super::{Asked, View, answer, uuid};
use crate::wire::codec::Uuid;
use crate::wire::messages::admin::{
    create_partitions, create_topics, delete_topics, describe_configs, incremental_alter_configs,
};
use crate::wire::{self, Header};

/// What Kafka answers to what can not be asked here.
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_REQUEST: i16 = 42;

/// `ConfigResource.Type`: the only one that has configs here.
const TOPIC: i8 = 2;
/// `ConfigResource.Type`: a broker, which has configs in Kafka; here they are the process's.
const BROKER: i8 = 4;

/// A refusal with its reason.
type Refusal = (i16, &'static str);

/// One thing that a request asks for: its name, and what the core is asked, or why not.
type Item<T> = (T, Result<AdminRequest, Refusal>);

/// Asks the core for everything that is not refused, and makes the answer out of all outcomes, in
/// the request's order.
fn all<T: Send + 'static>(
    items: Vec<Item<T>>,
    join: impl FnOnce(Vec<(T, Outcome)>) -> wire::Response + Send + 'static,
) -> Asked {
    let mut parts = Vec::new();
    let items = items.into_iter().map(|(of, item)| {
        let asked = item.map(|request| parts.push(Request::Admin(request)));
        (of, asked)
    });
    let items: Vec<_> = items.collect();
    Asked::new(parts, |_, answers| {
        let mut answers = answers.into_iter();
        let outcomes = items.into_iter().map(|(of, asked)| {
            let outcome = match asked {
                Ok(()) => {
                    let answer = answers.next().expect("an answer for each part");
                    Outcome::of(answer!(answer, Response::Admin(answer) => answer))
                }
                Err((code, why)) => Outcome { code, why: Some(why.to_owned()), created: None },
            };
            (of, outcome)
        });
        join(outcomes.collect())
    })
}

/// How one thing went.
struct Outcome {
    code: i16,
    why: Option<String>,
    created: Option<TopicId>,
}

impl Outcome {
    fn of(answer: AdminResponse) -> Self {
        match answer {
            AdminResponse::Created(topic) => Self { code: 0, why: None, created: Some(topic) },
            AdminResponse::Done => Self { code: 0, why: None, created: None },
            AdminResponse::Error(code) => {
                Self { code: code as i16, why: Some(format!("{code:?}")), created: None }
            }
        }
    }
}

const ONLY_VALIDATES: Refusal = (INVALID_REQUEST, "validate_only is not known here");

pub(super) fn create_topics(view: View<'_>, request: create_topics::Request) -> Asked {
    let validates = request.validate_only;
    let partitions_default = view.cluster.partitions_default;
    let item = |topic: create_topics::CreatableTopic| {
        let partitions = match topic.num_partitions {
            -1 => partitions_default,
            // The core refuses 0, and so it does what is below it.
            number => u32::try_from(number).unwrap_or(0),
        };
        let request = if validates {
            Err(ONLY_VALIDATES)
        } else if !topic.assignments.is_empty() {
            Err((INVALID_REPLICA_ASSIGNMENT, "replicas are placed by the controller"))
        } else if topic.replication_factor == 0 || topic.replication_factor < -1 {
            Err((INVALID_REPLICATION_FACTOR, "the replication factor is 1 or more, or -1"))
        } else {
            let config = |it: create_topics::CreatableTopicConfig| Some((it.name, it.value?));
            let configs = topic.configs.into_iter().filter_map(config).collect();
            Ok(AdminRequest::CreateTopic { name: topic.name.clone(), partitions, configs })
        };
        ((topic.name, partitions), request)
    };
    all(request.topics.into_iter().map(item).collect(), |outcomes| {
        let topic = |((name, partitions), outcome): ((String, u32), Outcome)| {
            let known = outcome.created.is_some();
            create_topics::CreatableTopicResult {
                name,
                topic_id: outcome.created.map_or(Uuid(0), uuid),
                error_code: outcome.code,
                error_message: outcome.why,
                num_partitions: if known { super::number(partitions) } else { -1 },
                // Whatever was asked for: one, and the store replicates.
                replication_factor: if known { 1 } else { -1 },
                configs: known.then(Vec::new),
                ..Default::default()
            }
        };
        let topics = outcomes.into_iter().map(topic).collect();
        wire::Response::CreateTopics(create_topics::Response { topics, ..Default::default() })
    })
}

pub(super) fn delete_topics(
    view: View<'_>,
    header: &Header,
    request: delete_topics::Request,
) -> Asked {
    let delete_topics::Request { topics, topic_names, .. } = request;
    let named = |name| delete_topics::DeleteTopicState { name: Some(name), topic_id: Uuid(0) };
    let topics =
        if header.version >= 6 { topics } else { topic_names.into_iter().map(named).collect() };
    let item = |it: delete_topics::DeleteTopicState| {
        let topic = match &it.name {
            Some(name) => view.image.topic_named(name).map(|(topic, _)| topic).ok_or((
                ErrorCode::UnknownTopicOrPartition as i16,
                "there is no topic of this name",
            )),
            None => Ok(TopicId(it.topic_id.0)),
        };
        let name = it.name.clone().or_else(|| view.name(topic.ok()?).map(str::to_owned));
        let of = (name, topic.map_or(it.topic_id, uuid), it.name.is_none());
        (of, topic.map(|topic| AdminRequest::DeleteTopic { topic }))
    };
    all(topics.into_iter().map(item).collect(), |outcomes| {
        let topic = |((name, topic_id, by_id), outcome): ((_, _, bool), Outcome)| {
            let gone = outcome.code == ErrorCode::UnknownTopicOrPartition as i16;
            delete_topics::DeletableTopicResult {
                name,
                topic_id,
                error_code: if by_id && gone {
                    ErrorCode::UnknownTopicId as i16
                } else {
                    outcome.code
                },
                error_message: outcome.why,
            }
        };
        let responses = outcomes.into_iter().map(topic).collect();
        wire::Response::DeleteTopics(delete_topics::Response { responses, ..Default::default() })
    })
}

/// A topic by its name, for a change of it.
fn known(view: View<'_>, name: &str) -> Result<TopicId, Refusal> {
    let unknown = (ErrorCode::UnknownTopicOrPartition as i16, "there is no topic of this name");
    view.image.topic_named(name).map(|(topic, _)| topic).ok_or(unknown)
}

pub(super) fn create_partitions(view: View<'_>, request: create_partitions::Request) -> Asked {
    let validates = request.validate_only;
    let item = |it: create_partitions::CreatePartitionsTopic| {
        let request = if validates {
            Err(ONLY_VALIDATES)
        } else if it.assignments.is_some() {
            Err((INVALID_REPLICA_ASSIGNMENT, "replicas are placed by the controller"))
        } else {
            let count = u32::try_from(it.count).unwrap_or(0);
            known(view, &it.name).map(|topic| AdminRequest::CreatePartitions { topic, count })
        };
        (it.name, request)
    };
    all(request.topics.into_iter().map(item).collect(), |outcomes| {
        let result =
            |(name, outcome): (String, Outcome)| create_partitions::CreatePartitionsTopicResult {
                name,
                error_code: outcome.code,
                error_message: outcome.why,
            };
        let results = outcomes.into_iter().map(result).collect();
        let answer = create_partitions::Response { results, ..Default::default() };
        wire::Response::CreatePartitions(answer)
    })
}

pub(super) fn alter_configs(view: View<'_>, request: incremental_alter_configs::Request) -> Asked {
    let validates = request.validate_only;
    let item = |it: incremental_alter_configs::AlterConfigsResource| {
        let request = if validates {
            Err(ONLY_VALIDATES)
        } else if it.resource_type != TOPIC {
            Err((INVALID_REQUEST, "only topics have configs that can be changed"))
        } else {
            let topic = known(view, &it.resource_name);
            topic.and_then(|topic| {
                Ok(AdminRequest::AlterConfigs { topic, configs: changes(it.configs)? })
            })
        };
        ((it.resource_type, it.resource_name), request)
    };
    all(request.resources.into_iter().map(item).collect(), |outcomes| {
        let response = |((resource_type, resource_name), outcome): ((i8, String), Outcome)| {
            incremental_alter_configs::AlterConfigsResourceResponse {
                error_code: outcome.code,
                error_message: outcome.why,
                resource_type,
                resource_name,
            }
        };
        let responses = outcomes.into_iter().map(response).collect();
        let answer = incremental_alter_configs::Response { responses, ..Default::default() };
        wire::Response::IncrementalAlterConfigs(answer)
    })
}

/// `AlterConfigOp.OpType`: 0 sets, 1 deletes; 2 and 3 are for lists, and no config here is one.
fn changes(
    configs: Vec<incremental_alter_configs::AlterableConfig>,
) -> Result<Vec<(String, Option<String>)>, Refusal> {
    let invalid = ErrorCode::InvalidConfig as i16;
    let change = |it: incremental_alter_configs::AlterableConfig| match it.config_operation {
        0 if it.value.is_none() => Err((INVALID_REQUEST, "a value that is set must not be null")),
        0 => Ok((it.name, it.value)),
        1 => Ok((it.name, None)),
        2 | 3 => Err((invalid, "only lists can be appended to or subtracted from")),
        _ => Err((
            INVALID_REQUEST,
            "an operation is 0 (set), 1 (delete), 2 (append) or 3 (subtract)",
        )),
    };
    configs.into_iter().map(change).collect()
}

pub(super) fn describe_configs(request: describe_configs::Request) -> Asked {
    let resources = request.resources;
    let of_topics = resources.iter().filter(|it| it.resource_type == TOPIC);
    let describe = |it: &describe_configs::DescribeConfigsResource| Request::DescribeConfigs {
        topic: it.resource_name.clone(),
    };
    let parts = of_topics.map(describe).collect();
    Asked::new(parts, |_, answers| {
        let mut answers = answers.into_iter();
        let results = resources.into_iter().map(|resource| match resource.resource_type {
            TOPIC => {
                let answer = answers.next().expect("an answer for each topic");
                described(resource, answer!(answer, Response::DescribeConfigs(it) => it))
            }
            BROKER => described(resource, Ok(Vec::new())),
            _ => described(resource, Err(ErrorCode::InvalidRequest)),
        });
        let results = results.collect();
        wire::Response::DescribeConfigs(describe_configs::Response {
            results,
            ..Default::default()
        })
    })
}

fn described(
    resource: describe_configs::DescribeConfigsResource,
    configs: Result<Vec<(String, String)>, ErrorCode>,
) -> describe_configs::DescribeConfigsResult {
    let describe_configs::DescribeConfigsResource {
        resource_type,
        resource_name,
        configuration_keys,
    } = resource;
    let error_code = super::code(&configs);
    let wanted = |name: &String| configuration_keys.as_ref().is_none_or(|keys| keys.contains(name));
    let configs = configs.unwrap_or_default().into_iter().filter(|(name, _)| wanted(name));
    let configs = configs.map(|(name, value)| describe_configs::DescribeConfigsResourceResult {
        name,
        value: Some(value),
        // `ConfigSource.DYNAMIC_TOPIC_CONFIG`: it can be altered.
        config_source: 1,
        ..Default::default()
    });
    describe_configs::DescribeConfigsResult {
        error_code,
        error_message: None,
        resource_type,
        resource_name,
        configs: configs.collect(),
    }
}
