//! Produce and fetch.

use std::collections::BTreeSet;

use broker_core::batch::TimestampMs;
use broker_core::ids::{LeaderEpoch, Offset, TopicId};
use broker_core::protocol::{
    Acks, ErrorCode, FetchPartition, FetchRequest, Fetched, Isolation, ProduceRequest,
    ProduceResult, Produced, Request, Response,
};
use broker_core::time::{Dur, Wall};
use bytes::{Bytes, BytesMut};

use super::{
    Act, Asked, ByTopic, Code, View, answer, code, code_by_name, long, number, partition, renamed,
    transaction_version,
};
use crate::wire::codec::Uuid;
use crate::wire::messages::records::{fetch, produce};
use crate::wire::{self, Header};

/// The most that one fetch is answered with, whatever it asks for (Kafka's `fetch.max.bytes`).
const FETCH_BYTES_MAX: u32 = 55 << 20;
/// `FetchMetadata.java`: a fetch of this epoch is a full one, and wants a session; a full one that
/// wants none.
const FULL_EPOCHS: [i32; 2] = [0, -1];

/// Whether a request has no answer: a produce with acks 0.
pub(crate) fn is_silent(request: &wire::Request) -> bool {
    matches!(request, wire::Request::Produce(request) if request.acks == 0)
}

/// A produce that has no answer, neither the core's nor ours. If a partition was refused here, the
/// connection is closed, and the log says why (`KafkaApis.handleProduceRequest`).
pub(super) fn silently(view: View<'_>, header: &Header, asked: Asked) -> Vec<Act> {
    let Asked { parts, join } = asked;
    // As if the core took everything that it is asked: what is left is refused here.
    let taken = parts.iter().map(|part| {
        let request = answer!(part, Request::Produce(request) => request);
        let offset = Offset(0);
        let taken =
            Produced { base_offset: offset, log_append_time: None, log_start_offset: offset };
        let taken = request.batches.iter().map(|&(partition, _)| (partition, Ok(taken)));
        let result = |(partition, result)| ProduceResult { partition, result };
        Response::Produce(taken.map(result).collect())
    });
    let answer = answer!(join(view, taken.collect()), wire::Response::Produce(answer) => answer);
    let refused = answer.responses.iter().flat_map(|topic| {
        let refused = topic.partition_responses.iter().filter(|it| it.error_code != 0);
        let name = match topic.name.as_str() {
            "" => format!("{:032x}", topic.topic_id.0),
            name => name.to_owned(),
        };
        refused.map(move |it| format!("{name}-{} (error {})", it.index, it.error_code))
    });
    let refused: Vec<String> = refused.collect();
    let asks = parts.into_iter().map(|request| Act::Ask { corr: 0, request });
    let mut acts: Vec<Act> = asks.collect();
    if !refused.is_empty() {
        let (client, refused) = (header.client.as_deref().unwrap_or_default(), refused.join(", "));
        let correlation = header.correlation;
        let why = format!(
            "client '{client}' produces with acks 0 (correlation id {correlation}), and it was \
             refused: {refused}"
        );
        acts.push(Act::Close { why });
    }
    acts
}

pub(super) fn produce(view: View<'_>, header: &Header, request: produce::Request) -> Asked {
    let produce::Request { transactional_id, acks, timeout_ms, topic_data } = request;
    let acks = match acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return refused(topic_data, ErrorCode::InvalidRequiredAcks.into()),
    };
    if header.version < 3 {
        return refused(topic_data, Code::UNSUPPORTED_VERSION);
    }
    let partitions = || topic_data.iter().flat_map(|topic| &topic.partition_data);
    if partitions().any(|partition| partition.records.as_ref().is_none_or(Bytes::is_empty)) {
        return refused(topic_data, ErrorCode::InvalidRecord.into());
    }
    // By KIP-890 the leader makes its partition part of the transaction.
    let version = transaction_version(header, 12);
    let mut batches = Vec::new();
    let topics = topic_data.into_iter().map(|topic| {
        let records = topic.partition_data.into_iter().map(|it| (it.index, it.records));
        ((topic.name, topic.topic_id), records.collect())
    });
    let by_id = header.version >= 13;
    let topics = ByTopic::find(topics, |(topic, id): &(String, Uuid), index, records| {
        let partition = match by_id {
            true => partition(TopicId(id.0), index)?,
            false => view.partition(topic, index)?,
        };
        batches.extend(records.map(|records| (partition, records)));
        Ok(partition)
    });
    let request = ProduceRequest {
        acks,
        timeout: millis(timeout_ms),
        transactional: transactional_id.map(|id| (id, version)),
        batches,
    };
    let header = header.clone();
    Asked::one(Request::Produce(request), move |view, answer| {
        let results = answer!(answer, Response::Produce(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let produced = |index, result| {
            let error_code = if by_id { code(&result) } else { code_by_name(&result) };
            let partition = produced(index, error_code, result.ok());
            let error_code = renamed(&header, 11, partition.error_code);
            produce::PartitionProduceResponse { error_code, ..partition }
        };
        let responses =
            topics.answer(results, produced, |(name, topic_id), partition_responses| {
                produce::TopicProduceResponse { name, topic_id, partition_responses }
            });
        let answer = produce::Response { responses, ..Default::default() };
        wire::Response::Produce(if header.version >= 10 {
            with_leaders(view, answer)
        } else {
            answer
        })
    })
}

/// KIP-951: who is told that this broker does not lead is told who does, and where that listens.
fn with_leaders(view: View<'_>, mut answer: produce::Response) -> produce::Response {
    let mut leaders = BTreeSet::new();
    for topic in &mut answer.responses {
        for it in &mut topic.partition_responses {
            if it.error_code == ErrorCode::NotLeaderOrFollower as i16
                && let Ok(partition) = match topic.name.as_str() {
                    "" => partition(TopicId(topic.topic_id.0), it.index),
                    name => view.partition(name, it.index),
                }
            {
                let (leader_id, leader_epoch) = view.current_leader(partition);
                it.current_leader = produce::LeaderIdAndEpoch { leader_id, leader_epoch };
                leaders.insert(leader_id);
            }
        }
    }
    let endpoints = leaders.into_iter().filter_map(|node_id| {
        let (host, port, rack) = view.endpoint(node_id)?;
        Some(produce::NodeEndpoint { node_id, host, port, rack })
    });
    answer.node_endpoints = endpoints.collect();
    answer
}

fn produced(
    index: i32,
    error_code: i16,
    produced: Option<Produced>,
) -> produce::PartitionProduceResponse {
    let none = produce::PartitionProduceResponse { index, error_code, ..Default::default() };
    let Some(Produced { base_offset, log_append_time, log_start_offset }) = produced else {
        return produce::PartitionProduceResponse { base_offset: -1, ..none };
    };
    produce::PartitionProduceResponse {
        base_offset: long(base_offset.0),
        log_append_time_ms: log_append_time.map_or(-1, ms),
        log_start_offset: long(log_start_offset.0),
        ..none
    }
}

/// Refuses every partition of a produce.
fn refused(topics: Vec<produce::TopicProduceData>, Code(error_code): Code) -> Asked {
    let responses = topics.into_iter().map(|topic| produce::TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .into_iter()
            .map(|partition| produce::PartitionProduceResponse {
                index: partition.index,
                error_code,
                base_offset: -1,
                ..Default::default()
            })
            .collect(),
    });
    let responses = responses.collect();
    Asked::nothing(wire::Response::Produce(produce::Response { responses, ..Default::default() }))
}

pub(super) fn fetch(view: View<'_>, header: &Header, request: fetch::Request) -> Asked {
    // `FetchManager.newContext`: a full fetch is answered whatever session it names; any other goes
    // on with a session, and none is kept here.
    if !FULL_EPOCHS.contains(&request.session_epoch) {
        let Code(error_code) = Code::FETCH_SESSION_ID_NOT_FOUND;
        let answer = fetch::Response { error_code, ..Default::default() };
        return Asked::nothing(wire::Response::Fetch(answer));
    }
    let by_id = header.version >= 13;
    let mut asked = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let questions = topic.partitions.into_iter().map(|it| (it.partition, it));
        ((topic.topic, topic.topic_id), questions.collect())
    });
    let topics = ByTopic::find(
        topics,
        |(topic, topic_id): &(String, Uuid), index, it: fetch::FetchPartition| {
            let partition = match by_id {
                true => partition(TopicId(topic_id.0), index)?,
                false => view.partition(topic, index)?,
            };
            asked.push(FetchPartition {
                partition,
                // A negative offset is out of range, and no offset is as large as this.
                fetch_offset: u64::try_from(it.fetch_offset).map_or(Offset(u64::MAX >> 1), Offset),
                current_leader_epoch: epoch(it.current_leader_epoch),
                last_fetched_epoch: epoch(it.last_fetched_epoch),
                bytes_max: size(it.partition_max_bytes),
            });
            Ok(partition)
        },
    );
    let isolation = isolation(request.isolation_level);
    let request = FetchRequest {
        isolation,
        wait_max: millis(request.max_wait_ms),
        bytes_min: size(request.min_bytes),
        bytes_max: size(request.max_bytes).min(FETCH_BYTES_MAX),
        partitions: asked,
    };
    let names_leaders = header.version >= 16;
    Asked::one(Request::Fetch(request), move |view, answer| {
        let results = answer!(answer, Response::Fetch(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let code = |result: &_| if by_id { code(result) } else { code_by_name(result) };
        let responses = topics.answer(
            results,
            |index, result| fetched(index, code(&result), result.ok(), isolation),
            |(topic, topic_id): (String, Uuid), partitions| fetch::FetchableTopicResponse {
                topic,
                topic_id,
                partitions,
            },
        );
        let answer = fetch::Response { responses, ..Default::default() };
        wire::Response::Fetch(if names_leaders { naming_leaders(view, answer) } else { answer })
    })
}

/// As [`with_leaders`], for fetches: by version 16 they name topics by id.
fn naming_leaders(view: View<'_>, mut answer: fetch::Response) -> fetch::Response {
    const ELSEWHERE: [i16; 2] =
        [ErrorCode::NotLeaderOrFollower as i16, ErrorCode::FencedLeaderEpoch as i16];
    let mut leaders = BTreeSet::new();
    for topic in &mut answer.responses {
        for it in &mut topic.partitions {
            if ELSEWHERE.contains(&it.error_code)
                && let Ok(partition) = partition(TopicId(topic.topic_id.0), it.partition_index)
            {
                let (leader_id, leader_epoch) = view.current_leader(partition);
                it.current_leader = fetch::LeaderIdAndEpoch { leader_id, leader_epoch };
                leaders.insert(leader_id);
            }
        }
    }
    let endpoints = leaders.into_iter().filter_map(|node_id| {
        let (host, port, rack) = view.endpoint(node_id)?;
        Some(fetch::NodeEndpoint { node_id, host, port, rack })
    });
    answer.node_endpoints = endpoints.collect();
    answer
}

fn fetched(
    partition_index: i32,
    error_code: i16,
    fetched: Option<Fetched>,
    isolation: Isolation,
) -> fetch::PartitionData {
    // Never null: librdkafka takes that for a message set of a negative size.
    let none = fetch::PartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    let Some(fetched) = fetched else { return none };
    let aborted = fetched.aborted.iter().map(|it| fetch::AbortedTransaction {
        producer_id: long(it.producer.0),
        first_offset: long(it.first.0),
    });
    let diverging = fetched.diverging.map(|(epoch, end)| fetch::EpochEndOffset {
        epoch: number(epoch.0),
        end_offset: long(end.0),
    });
    fetch::PartitionData {
        high_watermark: long(fetched.high_watermark.0),
        last_stable_offset: long(fetched.last_stable_offset.0),
        log_start_offset: long(fetched.log_start_offset.0),
        diverging_epoch: diverging.unwrap_or_default(),
        aborted_transactions: match isolation {
            Isolation::ReadUncommitted => None,
            Isolation::ReadCommitted => Some(aborted.collect()),
        },
        records: Some(joined(fetched.batches)),
        ..none
    }
}

/// Batches one behind the other; a single one is not copied.
fn joined(mut batches: Vec<Bytes>) -> Bytes {
    if batches.len() <= 1 {
        return batches.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(batches.iter().map(Bytes::len).sum());
    batches.iter().for_each(|batch| all.extend_from_slice(batch));
    all.freeze()
}

/// Kafka's `IsolationLevel`: 0 sees everything, anything else only what is decided.
pub(super) fn isolation(level: i8) -> Isolation {
    if level == 0 { Isolation::ReadUncommitted } else { Isolation::ReadCommitted }
}

/// A leader epoch; negative: none.
pub(super) fn epoch(epoch: i32) -> Option<LeaderEpoch> {
    u32::try_from(epoch).ok().map(LeaderEpoch)
}

/// A length of time; a negative one is none.
pub(super) fn millis(ms: i32) -> Dur {
    Dur::ms(u64::try_from(ms).unwrap_or(0))
}

/// A point in time.
pub(super) fn wall(ms: i64) -> Wall {
    Wall(ms.saturating_mul(1_000))
}

/// A point in time, as the wire says it.
pub(super) fn ms(wall: Wall) -> i64 {
    TimestampMs::floor(wall).0
}

fn size(bytes: i32) -> u32 {
    u32::try_from(bytes).unwrap_or(0)
}
