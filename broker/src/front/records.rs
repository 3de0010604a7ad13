//! Produce and fetch.

use broker_core::batch::TimestampMs;
use broker_core::ids::{LeaderEpoch, Offset, TopicId};
use broker_core::protocol::{
    Acks, FetchPartition, FetchRequest, Fetched, Isolation, ProduceRequest, Produced, Request,
    Response, TransactionVersion,
};
use broker_core::time::{Dur, Wall};
use bytes::{Bytes, BytesMut};

use super::{
    Act, Asked, ByTopic, UNSUPPORTED_VERSION, View, answer, code, code_by_name, long, number,
    partition, renamed,
};
use crate::wire::codec::Uuid;
use crate::wire::messages::records::{fetch, produce};
use crate::wire::{self, Header};

/// Produce: acks that Kafka does not know.
const INVALID_REQUIRED_ACKS: i16 = 21;
/// Produce: a partition without a batch.
const INVALID_RECORD: i16 = 87;
/// The most that one fetch is answered with, whatever it asks for (Kafka's `fetch.max.bytes`).
const FETCH_BYTES_MAX: u32 = 55 << 20;
/// Fetch in a session: there are none.
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

/// Whether a request has no answer: a produce with acks 0.
pub(crate) fn is_silent(request: &wire::Request) -> bool {
    partitions_if_silent(request).is_some()
}

/// How many partitions a produce names that has no answer.
pub(super) fn partitions_if_silent(request: &wire::Request) -> Option<usize> {
    match request {
        wire::Request::Produce(request) if request.acks == 0 => {
            Some(request.topic_data.iter().map(|topic| topic.partition_data.len()).sum())
        }
        _ => None,
    }
}

/// A produce that has no answer, neither the core's nor ours. If a partition was refused here, the
/// connection is closed (`KafkaApis.handleProduceRequest`).
pub(super) fn silently(parts: Vec<Request>, partitions: usize) -> Vec<Act> {
    let batches = |part: &Request| match part {
        Request::Produce(request) => request.batches.len(),
        other => unreachable!("a produce became {other:?}"),
    };
    let refused = parts.iter().map(batches).sum::<usize>() < partitions;
    let asks = parts.into_iter().map(|request| Act::Ask { corr: 0, request });
    asks.chain(refused.then_some(Act::Close)).collect()
}

pub(super) fn produce(view: View<'_>, header: &Header, request: produce::Request) -> Asked {
    let produce::Request { transactional_id, acks, timeout_ms, topic_data } = request;
    let acks = match acks {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        _ => return refused(topic_data, INVALID_REQUIRED_ACKS),
    };
    if header.version < 3 {
        return refused(topic_data, UNSUPPORTED_VERSION);
    }
    let partitions = || topic_data.iter().flat_map(|topic| &topic.partition_data);
    if partitions().any(|partition| partition.records.as_ref().is_none_or(Bytes::is_empty)) {
        return refused(topic_data, INVALID_RECORD);
    }
    // From version 12 on the leader makes its partition part of the transaction (KIP-890).
    let version =
        if header.version >= 12 { TransactionVersion::V2 } else { TransactionVersion::V1 };
    let mut batches = Vec::new();
    let topics = topic_data.into_iter().map(|topic| {
        let mut partitions = Vec::new();
        for produce::PartitionProduceData { index, records } in topic.partition_data {
            let partition = view.partition(&topic.name, index);
            batches.extend(partition.ok().zip(records));
            partitions.push((index, partition));
        }
        (topic.name, partitions)
    });
    let topics = ByTopic(topics.collect());
    let request = ProduceRequest {
        acks,
        timeout: millis(timeout_ms),
        transactional: transactional_id.map(|id| (id, version)),
        batches,
    };
    let header = header.clone();
    Asked::one(Request::Produce(request), move |_, answer| {
        let results = answer!(answer, Response::Produce(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let produced = |index, result| {
            let partition = produced(index, result);
            let error_code = renamed(&header, 11, partition.error_code);
            produce::PartitionProduceResponse { error_code, ..partition }
        };
        let responses = topics.answer(results, produced, |name, partition_responses| {
            produce::TopicProduceResponse { name, partition_responses }
        });
        wire::Response::Produce(produce::Response { responses, ..Default::default() })
    })
}

fn produced(
    index: i32,
    result: Result<Produced, broker_core::protocol::ErrorCode>,
) -> produce::PartitionProduceResponse {
    let error_code = code_by_name(&result);
    let none = produce::PartitionProduceResponse { index, error_code, ..Default::default() };
    let Ok(Produced { base_offset, log_append_time, log_start_offset }) = result else {
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
fn refused(topics: Vec<produce::TopicProduceData>, error_code: i16) -> Asked {
    let responses = topics.into_iter().map(|topic| produce::TopicProduceResponse {
        name: topic.name,
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
    if request.session_id != 0 {
        return Asked::nothing(wire::Response::Fetch(fetch::Response {
            error_code: FETCH_SESSION_ID_NOT_FOUND,
            ..Default::default()
        }));
    }
    let by_id = header.version >= 13;
    let mut asked = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let fetch::FetchTopic { topic, topic_id, partitions } = topic;
        let mut named = Vec::new();
        for it in partitions {
            let found = if by_id {
                partition(TopicId(topic_id.0), it.partition)
            } else {
                view.partition(&topic, it.partition)
            };
            asked.extend(found.map(|partition| FetchPartition {
                partition,
                // A negative offset is out of range, and no offset is as large as this.
                fetch_offset: u64::try_from(it.fetch_offset).map_or(Offset(u64::MAX >> 1), Offset),
                current_leader_epoch: epoch(it.current_leader_epoch),
                last_fetched_epoch: epoch(it.last_fetched_epoch),
                bytes_max: size(it.partition_max_bytes),
            }));
            named.push((it.partition, found));
        }
        ((topic, topic_id), named)
    });
    let topics = ByTopic(topics.collect());
    let isolation = isolation(request.isolation_level);
    let request = FetchRequest {
        isolation,
        wait_max: millis(request.max_wait_ms),
        bytes_min: size(request.min_bytes),
        bytes_max: size(request.max_bytes).min(FETCH_BYTES_MAX),
        partitions: asked,
    };
    Asked::one(Request::Fetch(request), move |_, answer| {
        let results = answer!(answer, Response::Fetch(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let code = if by_id { code } else { code_by_name };
        let responses = topics.answer(
            results,
            |index, result| fetched(index, code(&result), result.ok(), isolation),
            |(topic, topic_id): (String, Uuid), partitions| fetch::FetchableTopicResponse {
                topic,
                topic_id,
                partitions,
            },
        );
        wire::Response::Fetch(fetch::Response { responses, ..Default::default() })
    })
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
