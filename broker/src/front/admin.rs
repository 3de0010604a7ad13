//! Topics: created, deleted, made wider. Their configs are in `configs`.
//!
//! Source: `ControllerApis.scala`. What a request names twice is refused once for both, and the
//! rest is done.

use std::collections::BTreeSet;

use broker_core::ids::TopicId;
use broker_core::protocol::{AdminRequest, AdminResponse, ErrorCode, Request, Response};

use super::cluster::CLUSTER_METADATA_TOPIC;
use super::codes::message;
use super::{Asked, Code, View, answer, code_by_name, repeated, uuid};
use crate::wire::codec::Uuid;
use crate::wire::messages::admin::{create_partitions, create_topics, delete_topics};
use crate::wire::{self, Header};

/// A refusal with its reason.
#[derive(Debug)]
pub(super) struct Refusal(pub Code, pub String);

/// Refuses, for a reason.
pub(super) fn refusal(code: impl Into<Code>, why: impl Into<String>) -> Refusal {
    Refusal(code.into(), why.into())
}

/// One thing that a request asks for: its name, and what the core is asked, or why not.
pub(super) type Item<T> = (T, Result<Request, Refusal>);

/// Asks the core for everything that is not refused, and makes the answer out of all outcomes, in
/// the request's order.
pub(super) fn all<T: Send + 'static>(
    items: Vec<Item<T>>,
    join: impl FnOnce(Vec<(T, Outcome)>) -> wire::Response + Send + 'static,
) -> Asked {
    let mut parts = Vec::new();
    let items = items.into_iter().map(|(of, item)| {
        let asked = item.map(|request| parts.push(request));
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
                Err(Refusal(Code(code), why)) => Outcome { code, why: Some(why), created: None },
            };
            (of, outcome)
        });
        join(outcomes.collect())
    })
}

/// How one thing went.
pub(super) struct Outcome {
    pub code: i16,
    pub why: Option<String>,
    created: Option<TopicId>,
}

impl Outcome {
    fn of(answer: AdminResponse) -> Self {
        match answer {
            AdminResponse::Created(topic) => Self { code: 0, why: None, created: Some(topic) },
            AdminResponse::Done => Self { code: 0, why: None, created: None },
            // Whoever names a topic by its id says so.
            AdminResponse::Quorum(_) => unreachable!("the quorum was not asked about"),
            AdminResponse::Error(code) => {
                let why = Some(message(code));
                Self { code: code_by_name(&Err::<(), _>(code)), why, created: None }
            }
        }
    }
}

/// As it was asked for, or only what would come of it.
pub(super) fn validated(only: bool, request: AdminRequest) -> Request {
    if only { Request::Validate(request) } else { Request::Admin(request) }
}

fn duplicate_name() -> Refusal {
    refusal(ErrorCode::InvalidRequest, "Duplicate topic name.")
}

pub(super) fn create_topics(view: View<'_>, request: create_topics::Request) -> Asked {
    let validates = request.validate_only;
    let partitions_default = view.cluster.partitions_default;
    let twice = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    let topics = once(request.topics, |topic| topic.name.clone());
    let item = |topic: create_topics::CreatableTopic| {
        let partitions = match topic.num_partitions {
            -1 => partitions_default,
            // The core refuses 0, and so it does what is below it.
            number => u32::try_from(number).unwrap_or(0),
        };
        let request = if twice.contains(&topic.name) {
            Err(duplicate_name())
        } else {
            create(view, &topic, partitions).map(|request| validated(validates, request))
        };
        ((topic.name, partitions), request)
    };
    all(topics.map(item).collect(), |outcomes| {
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

/// One topic, if it can be had here.
fn create(
    view: View<'_>,
    topic: &create_topics::CreatableTopic,
    partitions: u32,
) -> Result<AdminRequest, Refusal> {
    if topic.name == CLUSTER_METADATA_TOPIC {
        return Err(refusal(Code::TOPIC_AUTHORIZATION_FAILED, "Authorization failed."));
    }
    if !topic.assignments.is_empty() {
        let why = "replicas are placed by the controller";
        return Err(refusal(Code::INVALID_REPLICA_ASSIGNMENT, why));
    }
    if topic.replication_factor == 0 || topic.replication_factor < -1 {
        let why = "the replication factor is 1 or more, or -1";
        return Err(refusal(Code::INVALID_REPLICATION_FACTOR, why));
    }
    let (wanted, brokers) = (topic.replication_factor, view.image.brokers.len());
    // `StripedReplicaPlacer`.
    if usize::try_from(wanted).is_ok_and(|wanted| wanted > brokers) {
        let why = format!(
            "The target replication factor of {wanted} cannot be reached because only {brokers} \
             broker(s) are registered."
        );
        return Err(refusal(Code::INVALID_REPLICATION_FACTOR, why));
    }
    // `ReplicationControlManager.computeConfigChanges`.
    let config = |it: &create_topics::CreatableTopicConfig| {
        let value = it.value.clone().ok_or_else(|| {
            let why = format!("Null value not supported for topic configs: {}", it.name);
            refusal(ErrorCode::InvalidConfig, why)
        });
        Ok((it.name.clone(), value?))
    };
    let configs = topic.configs.iter().map(config).collect::<Result<_, _>>()?;
    Ok(AdminRequest::CreateTopic { name: topic.name.clone(), partitions, configs })
}

/// The first of each name: what stands behind it is refused with it.
pub(super) fn once<T, K: Ord>(items: Vec<T>, name: impl Fn(&T) -> K) -> impl Iterator<Item = T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(move |item| seen.insert(name(item)))
}

pub(super) fn delete_topics(
    view: View<'_>,
    header: &Header,
    request: delete_topics::Request,
) -> Asked {
    let delete_topics::Request { topics, topic_names, .. } = request;
    let named = |name| delete_topics::DeleteTopicState { name: Some(name), topic_id: Uuid(0) };
    let topics: Vec<_> =
        if header.version >= 6 { topics } else { topic_names.into_iter().map(named).collect() };
    let twice = repeated(topics.iter().map(named_as));
    // A topic by its name that also comes by its id.
    let ids: BTreeSet<_> =
        topics.iter().filter(|it| it.name.is_none()).map(|it| it.topic_id).collect();
    let also_by_id = |name: &String| view.topic(name).filter(|id| ids.contains(&uuid(*id)));
    let by_both: BTreeSet<_> = topics
        .iter()
        .filter(|it| it.topic_id == Uuid(0) && !twice.contains(&named_as(it)))
        .filter_map(|it| it.name.as_ref().and_then(also_by_id))
        .map(uuid)
        .collect();
    // Its answer is the name's.
    let answered = |it: &delete_topics::DeleteTopicState| {
        by_both.contains(&it.topic_id) && !twice.contains(&named_as(it))
    };
    let topics = once(topics, named_as).filter(|it| it.name.is_some() || !answered(it));
    let item = |it: delete_topics::DeleteTopicState| {
        let topic = if twice.contains(&named_as(&it)) {
            Err(match it.name {
                Some(_) => duplicate_name(),
                None => refusal(ErrorCode::InvalidRequest, "Duplicate topic id."),
            })
        } else {
            topic_to_delete(view, &it, &by_both)
        };
        let by_id = it.name.is_none();
        let id = match (&topic, it.name.as_ref().and_then(also_by_id)) {
            (&Ok(topic), _) | (Err(_), Some(topic)) => topic,
            (Err(_), None) => TopicId(it.topic_id.0),
        };
        let name = it.name.or_else(|| view.name(*topic.as_ref().ok()?).map(str::to_owned));
        let delete = |topic| Request::Admin(AdminRequest::DeleteTopic { topic });
        ((name, uuid(id), by_id), topic.map(delete))
    };
    all(topics.map(item).collect(), |outcomes| {
        let topic = |((name, topic_id, by_id), outcome): ((_, _, bool), Outcome)| {
            let gone = outcome.code == ErrorCode::UnknownTopicOrPartition as i16;
            let unknown = ErrorCode::UnknownTopicId;
            delete_topics::DeletableTopicResult {
                name,
                topic_id,
                error_code: if by_id && gone { unknown as i16 } else { outcome.code },
                error_message: outcome.why,
            }
        };
        let responses = outcomes.into_iter().map(topic).collect();
        wire::Response::DeleteTopics(delete_topics::Response { responses, ..Default::default() })
    })
}

/// How a topic is named: once by this is once.
fn named_as(it: &delete_topics::DeleteTopicState) -> (Option<String>, Uuid) {
    (it.name.clone(), it.topic_id)
}

fn topic_to_delete(
    view: View<'_>,
    it: &delete_topics::DeleteTopicState,
    by_both: &BTreeSet<Uuid>,
) -> Result<TopicId, Refusal> {
    let invalid = |why: &str| Err(refusal(ErrorCode::InvalidRequest, why));
    match (&it.name, it.topic_id) {
        (None, Uuid(0)) => invalid("Neither topic name nor id were specified."),
        (None, Uuid(id)) => Ok(TopicId(id)),
        (Some(name), Uuid(0)) => match known(view, name) {
            Ok(topic) if by_both.contains(&uuid(topic)) => {
                invalid("The provided topic name maps to an ID that was already supplied.")
            }
            other => other,
        },
        (Some(_), _) => invalid("You may not specify both topic name and topic id."),
    }
}

/// A topic by its name, for a change of it.
pub(super) fn known(view: View<'_>, name: &str) -> Result<TopicId, Refusal> {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    view.topic(name).ok_or_else(|| refusal(unknown, message(unknown)))
}

pub(super) fn create_partitions(view: View<'_>, request: create_partitions::Request) -> Asked {
    let validates = request.validate_only;
    let twice = repeated(request.topics.iter().map(|topic| topic.name.clone()));
    let topics = once(request.topics, |topic| topic.name.clone());
    let item = |it: create_partitions::CreatePartitionsTopic| {
        let request = if twice.contains(&it.name) {
            Err(duplicate_name())
        } else if it.assignments.is_some() {
            let why = "replicas are placed by the controller";
            Err(refusal(Code::INVALID_REPLICA_ASSIGNMENT, why))
        } else {
            let count = u32::try_from(it.count).unwrap_or(0);
            let change = |topic| AdminRequest::CreatePartitions { topic, count };
            known(view, &it.name).map(|topic| validated(validates, change(topic)))
        };
        (it.name, request)
    };
    all(topics.map(item).collect(), |outcomes| {
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
