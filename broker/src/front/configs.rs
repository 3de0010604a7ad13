//! The configs of topics: told and changed.
//!
//! Sources: `ConfigAdminManager.scala`, `ConfigHelper.scala`, `DescribeConfigsResponse.java`.

use broker_core::ids::TopicId;
use broker_core::protocol::{AdminRequest, ErrorCode, Request, Response};

use super::admin::{Outcome, Refusal, all, known, once, refusal, validated};
use super::codes::message;
use super::{Asked, Code, View, answer, repeated};
use crate::wire;
use crate::wire::messages::admin::{alter_configs, describe_configs, incremental_alter_configs};

/// `ConfigResource.Type`: the only one that has configs here.
const TOPIC: i8 = 2;
/// `ConfigResource.Type`: a broker, which has configs in Kafka; here they are the process's.
const BROKER: i8 = 4;

/// A resource by its type and name, and what shall become of its configs.
type Resource<T> = (i8, String, Vec<T>);

/// Asks for changes of topics' configs. `changes` says what a topic's are.
fn all_changes<T>(
    view: View<'_>,
    resources: Vec<Resource<T>>,
    validates: bool,
    changes: impl Fn(TopicId, Vec<T>) -> Result<Changes, Refusal>,
    join: impl FnOnce(Vec<((i8, String), Outcome)>) -> wire::Response + Send + 'static,
) -> Asked {
    let named_as = |(kind, name, _): &Resource<T>| (*kind, name.clone());
    let twice = repeated(resources.iter().map(named_as));
    let item = |(kind, name, configs): Resource<T>| {
        let request = if twice.contains(&(kind, name.clone())) {
            let why = "Each resource must appear at most once.";
            Err(refusal(ErrorCode::InvalidRequest, why))
        } else if kind != TOPIC {
            let why = "only topics have configs that can be changed";
            Err(refusal(ErrorCode::InvalidRequest, why))
        } else {
            known(view, &name).and_then(|topic| {
                let configs = changes(topic, configs)?;
                Ok(validated(validates, AdminRequest::AlterConfigs { topic, configs }))
            })
        };
        ((kind, name), request)
    };
    all(once(resources, named_as).map(item).collect(), join)
}

/// Keys, and their values or none.
type Changes = Vec<(String, Option<String>)>;

pub(super) fn alter(view: View<'_>, request: incremental_alter_configs::Request) -> Asked {
    let resources = request.resources.into_iter();
    let resources = resources.map(|it| (it.resource_type, it.resource_name, it.configs));
    let (resources, validates) = (resources.collect(), request.validate_only);
    all_changes(
        view,
        resources,
        validates,
        |_, configs| changes(configs),
        |outcomes| {
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
        },
    )
}

/// What is named is set, and what is set and not named is so no more, as far as this broker knows
/// what is set (`ConfigurationControlManager.legacyAlterConfigs`; its users must not race).
pub(super) fn replace(view: View<'_>, request: alter_configs::Request) -> Asked {
    let resources = request.resources.into_iter();
    let resources = resources.map(|it| (it.resource_type, it.resource_name, it.configs));
    let replaced = |topic, configs: Vec<alter_configs::AlterableConfig>| {
        let mut changes = Vec::new();
        for alter_configs::AlterableConfig { name, value } in configs {
            changes.push((name.clone(), Some(value.ok_or_else(|| null_value(&name))?)));
        }
        let set = view.image.topics.get(&topic).into_iter().flat_map(|it| it.configs.keys());
        let unset = set.filter(|key| changes.iter().all(|(named, _)| named != *key));
        let unset: Vec<_> = unset.map(|key| (key.clone(), None)).collect();
        changes.extend(unset);
        Ok(changes)
    };
    all_changes(view, resources.collect(), request.validate_only, replaced, |outcomes| {
        let response = |((resource_type, resource_name), outcome): ((i8, String), Outcome)| {
            alter_configs::AlterConfigsResourceResponse {
                error_code: outcome.code,
                error_message: outcome.why,
                resource_type,
                resource_name,
            }
        };
        let responses = outcomes.into_iter().map(response).collect();
        wire::Response::AlterConfigs(alter_configs::Response { responses, ..Default::default() })
    })
}

/// Before anything else (`ConfigAdminManager.preprocess`).
fn null_value(name: &str) -> Refusal {
    refusal(ErrorCode::InvalidRequest, format!("Null value not supported for : {name}"))
}

/// `AlterConfigOp.OpType`: 0 sets, 1 deletes; 2 and 3 are for lists. One config here is one, and it
/// can only be what it is.
fn changes(configs: Vec<incremental_alter_configs::AlterableConfig>) -> Result<Changes, Refusal> {
    let invalid = |why: &str| Err(refusal(ErrorCode::InvalidRequest, why));
    let change = |it: incremental_alter_configs::AlterableConfig| match it.config_operation {
        1 => Ok((it.name, None)),
        _ if it.value.is_none() => Err(null_value(&it.name)),
        0 => Ok((it.name, it.value)),
        2 if it.name == LIST && it.value.as_deref() == Some("delete") => Ok((it.name, it.value)),
        2 | 3 if it.name == LIST => {
            let why = format!("Topics are not compacted here: {LIST} is delete");
            Err(refusal(ErrorCode::InvalidConfig, why))
        }
        // `ConfigurationControlManager.incrementalAlterConfigResource`.
        2 | 3 => {
            let why = format!("Can't append or subtract from non-list config: {}", it.name);
            Err(refusal(ErrorCode::InvalidConfig, why))
        }
        _ => invalid("an operation is 0 (set), 1 (delete), 2 (append) or 3 (subtract)"),
    };
    configs.into_iter().map(change).collect()
}

/// The config that is a list.
const LIST: &str = "cleanup.policy";

pub(super) fn describe(request: describe_configs::Request) -> Asked {
    let describe_configs::Request { resources, include_synonyms, .. } = request;
    let of_topics = resources.iter().filter(|it| it.resource_type == TOPIC);
    let describe = |it: &describe_configs::DescribeConfigsResource| Request::DescribeConfigs {
        topic: it.resource_name.clone(),
    };
    let parts = of_topics.map(describe).collect();
    Asked::new(parts, move |view, answers| {
        let mut answers = answers.into_iter();
        let results = resources.into_iter().map(|resource| match resource.resource_type {
            TOPIC => {
                let answer = answers.next().expect("an answer for each topic");
                let configs = answer!(answer, Response::DescribeConfigs(it) => it);
                let configs = configs.map_err(|code| refusal(code, message(code)));
                described(view, resource, configs, include_synonyms)
            }
            BROKER => {
                let configs = own(view, &resource.resource_name);
                described(view, resource, configs, include_synonyms)
            }
            other => {
                let why = format!("Unsupported resource type: {other}");
                let refused = Err(refusal(ErrorCode::InvalidRequest, why));
                described(view, resource, refused, include_synonyms)
            }
        });
        let results = results.collect();
        wire::Response::DescribeConfigs(describe_configs::Response {
            results,
            ..Default::default()
        })
    })
}

/// This broker's configs, and the default ones of all: none, but it must be this one
/// (`ConfigHelper.describeConfigs`).
fn own(view: View<'_>, name: &str) -> Result<Vec<(String, String)>, Refusal> {
    let own = view.cluster.node.0.to_string();
    if name.is_empty() || name == own {
        return Ok(Vec::new());
    }
    let why = format!("Unexpected broker id, expected {own} or empty string, but received {name}");
    Err(refusal(ErrorCode::InvalidRequest, why))
}

fn described(
    view: View<'_>,
    resource: describe_configs::DescribeConfigsResource,
    configs: Result<Vec<(String, String)>, Refusal>,
    include_synonyms: bool,
) -> describe_configs::DescribeConfigsResult {
    let describe_configs::DescribeConfigsResource {
        resource_type,
        resource_name,
        configuration_keys: keys,
    } = resource;
    let (configs, (error_code, error_message)) = match configs {
        Ok(configs) => (configs, (0, None)),
        Err(Refusal(Code(code), why)) => (Vec::new(), (code, Some(why))),
    };
    let set = view.image.topic_named(&resource_name).map(|(_, topic)| &topic.configs);
    let wanted = |name: &String| keys.as_ref().is_none_or(|keys| keys.contains(name));
    let configs = configs.into_iter().filter(|(name, _)| wanted(name));
    let configs = configs.map(|(name, value)| {
        let is_set = set.is_some_and(|set| set.contains_key(&name));
        config(name, value, is_set, include_synonyms)
    });
    describe_configs::DescribeConfigsResult {
        error_code,
        error_message,
        resource_type,
        configs: configs.collect(),
        resource_name,
    }
}

/// `ConfigSource`: set for the topic, by which it can be altered.
const DYNAMIC_TOPIC_CONFIG: i8 = 1;
/// `ConfigSource`: as it is if nobody says anything.
const DEFAULT_CONFIG: i8 = 5;

/// Each config's `ConfigType`, and the broker's config that is its default
/// (`ServerTopicConfigSynonyms`). `retention.ms` has several such, and the one that Kafka lists
/// here has no default of its own.
const KINDS: &[(&str, i8, Option<&str>)] = &[
    (LIST, 7, Some("log.cleanup.policy")),
    ("max.message.bytes", 3, Some("message.max.bytes")),
    ("message.timestamp.type", 2, Some("log.message.timestamp.type")),
    ("retention.ms", 5, None),
];

/// As `ConfigHelper.createTopicConfigEntry`. Of a config that is set, the default is not listed
/// here.
fn config(
    name: String,
    value: String,
    is_set: bool,
    include_synonyms: bool,
) -> describe_configs::DescribeConfigsResourceResult {
    let kind = KINDS.iter().find(|(key, ..)| *key == name);
    let (config_type, default) = kind.map_or((0, None), |&(_, kind, default)| (kind, default));
    let source = if is_set { DYNAMIC_TOPIC_CONFIG } else { DEFAULT_CONFIG };
    let synonym = if is_set { Some(name.clone()) } else { default.map(str::to_owned) };
    let synonym = synonym.filter(|_| include_synonyms).map(|name| {
        let value = Some(value.clone());
        describe_configs::DescribeConfigsSynonym { name, value, source }
    });
    describe_configs::DescribeConfigsResourceResult {
        name,
        value: Some(value),
        config_source: source,
        synonyms: synonym.into_iter().collect(),
        config_type,
        documentation: None,
        ..Default::default()
    }
}
