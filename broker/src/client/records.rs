//! Produce and fetch.

use broker_core::batch::TimestampMs;
use broker_core::ids::{LeaderEpoch, Offset, ProducerId};
use broker_core::protocol::{
    AbortedTransaction, Acks, ErrorCode, FetchRequest, FetchResult, Fetched, Isolation,
    ProduceRequest, ProduceResult, Produced, Response, TransactionVersion,
};
use bytes::Bytes;

use super::directory::{Places, Topics};
use super::versions::PRODUCE_V2;
use super::{Asked, Broken, Directory, Refusal, View, body, long, ms};
use crate::wire::messages::records::{fetch, produce};
use crate::wire::{self, ApiKey};

/// From here on Produce takes record batches of the format that we make.
const PRODUCE_BATCHES: i16 = 3;
/// From here on Produce names topics by their ids (KIP-516): what is meant for one topic can not
/// end up in another of the same name.
const PRODUCE_BY_ID: i16 = 13;
/// From here on Fetch names topics by their ids.
const FETCH_BY_ID: i16 = 13;
/// Not part of a fetch session (`FetchMetadata.LEGACY`).
const NO_SESSION: i32 = -1;
/// A record batch: its base offset and length, which counts what is behind it.
const BATCH_HEAD: usize = 12;

pub(super) fn produce(view: View<'_>, request: &ProduceRequest) -> Result<Asked, Refusal> {
    let key = ApiKey::Produce;
    let names = &view.directory.names;
    let all_have_ids = request.batches.iter().all(|(it, _)| names.uuid(it.topic).is_some());
    let last = if all_have_ids { i16::MAX } else { PRODUCE_BY_ID - 1 };
    let version = match &request.transactional {
        None => view.versions.pick(key, PRODUCE_BATCHES..=last)?,
        Some((_, TransactionVersion::V1)) => {
            view.versions.pick(key, PRODUCE_BATCHES..PRODUCE_V2)?
        }
        Some((_, TransactionVersion::V2)) => view.versions.pick(key, PRODUCE_V2..=last)?,
    };
    let batches = request.batches.iter().cloned();
    let partition = |(index, batch)| produce::PartitionProduceData { index, records: Some(batch) };
    let (places, topic_data) = if version >= PRODUCE_BY_ID {
        let (places, topics) = Places::by_id(names, batches)?;
        let topic = |(topic_id, batches): (_, Vec<_>)| {
            let partition_data = batches.into_iter().map(partition).collect();
            produce::TopicProduceData { topic_id, partition_data, ..Default::default() }
        };
        (places, topics.into_iter().map(topic).collect())
    } else {
        let (places, topics) = Places::named(names, batches)?;
        let topic = |(name, batches): (_, Vec<_>)| {
            let partition_data = batches.into_iter().map(partition).collect();
            produce::TopicProduceData { name, partition_data, ..Default::default() }
        };
        (places, topics.into_iter().map(topic).collect())
    };
    let acks = match request.acks {
        Acks::None => 0,
        Acks::Leader => 1,
        Acks::All => -1,
    };
    let body = wire::Request::Produce(produce::Request {
        transactional_id: request.transactional.as_ref().map(|(id, _)| id.clone()),
        acks,
        timeout_ms: ms(request.timeout),
        topic_data,
    });
    let asked = Asked::new(version, body, move |directory, answer| {
        let answer = body!(answer, wire::Response::Produce(it) => it);
        let mut results = Vec::new();
        for topic in answer.responses {
            for it in topic.partition_responses {
                let partition = if version >= PRODUCE_BY_ID {
                    places.of_uuid(topic.topic_id, it.index)?
                } else {
                    places.of_name(&topic.name, it.index)?
                };
                let result = match directory.outcome(it.error_code) {
                    Ok(()) => Ok(produced(&it)?),
                    Err(code) => Err(code),
                };
                results.push(ProduceResult { partition, result });
            }
        }
        Ok(Response::Produce(results))
    });
    let silent = request.acks == Acks::None;
    Ok(Asked { join: asked.join.filter(|_| !silent), ..asked })
}

fn produced(it: &produce::PartitionProduceResponse) -> Result<Produced, Broken> {
    Ok(Produced {
        base_offset: offset(it.base_offset, "base_offset")?,
        log_append_time: (it.log_append_time_ms >= 0)
            .then(|| TimestampMs(it.log_append_time_ms).wall()),
        // Before version 5 it is not told.
        log_start_offset: Offset(u64::try_from(it.log_start_offset).unwrap_or(0)),
    })
}

/// What is asked of one partition, but for the partition.
type Wanted = (i64, i32, i32, i32);

pub(super) fn fetch(view: View<'_>, request: &FetchRequest) -> Result<Asked, Refusal> {
    let names = &view.directory.names;
    let all_have_ids = request.partitions.iter().all(|it| names.uuid(it.partition.topic).is_some());
    let version = if all_have_ids {
        view.versions.pick(ApiKey::Fetch, ..)?
    } else {
        view.versions.pick(ApiKey::Fetch, ..FETCH_BY_ID)?
    };
    let partitions = request.partitions.iter().map(|it| {
        let current = epoch(view.directory, it.partition.topic, it.current_leader_epoch);
        let last = epoch(view.directory, it.partition.topic, it.last_fetched_epoch);
        (it.partition, (long(it.fetch_offset.0), current, last, size(it.bytes_max)))
    });
    let (places, topics) = if version >= FETCH_BY_ID {
        let (places, topics) = Places::by_id(names, partitions)?;
        let topic = |(topic_id, wanted): (_, Vec<_>)| {
            let topic = String::new();
            fetch::FetchTopic { topic, topic_id, partitions: wanted.into_iter().map(one).collect() }
        };
        (places, topics.into_iter().map(topic).collect())
    } else {
        let (places, topics): (_, Topics<String, Wanted>) = Places::named(names, partitions)?;
        let topic = |(topic, wanted): (_, Vec<_>)| {
            let partitions = wanted.into_iter().map(one).collect();
            fetch::FetchTopic { topic, partitions, ..Default::default() }
        };
        (places, topics.into_iter().map(topic).collect())
    };
    let isolation = request.isolation;
    let body = wire::Request::Fetch(fetch::Request {
        max_wait_ms: ms(request.wait_max),
        min_bytes: size(request.bytes_min),
        max_bytes: size(request.bytes_max),
        isolation_level: level(isolation),
        session_epoch: NO_SESSION,
        topics,
        ..Default::default()
    });
    let all: Vec<_> = request.partitions.iter().map(|it| it.partition).collect();
    Ok(Asked::new(version, body, move |directory, answer| {
        let answer = body!(answer, wire::Response::Fetch(it) => it);
        if let Err(code) = directory.outcome(answer.error_code) {
            let result = |partition| FetchResult { partition, result: Err(code) };
            return Ok(Response::Fetch(all.into_iter().map(result).collect()));
        }
        let mut results = Vec::new();
        for topic in answer.responses {
            for it in topic.partitions {
                let partition = if version >= FETCH_BY_ID {
                    places.of_uuid(topic.topic_id, it.partition_index)?
                } else {
                    places.of_name(&topic.topic, it.partition_index)?
                };
                let result = fetched(directory, it, isolation)?;
                results.push(FetchResult { partition, result });
            }
        }
        Ok(Response::Fetch(results))
    }))
}

fn one((partition, wanted): (i32, Wanted)) -> fetch::FetchPartition {
    let (fetch_offset, current_leader_epoch, last_fetched_epoch, partition_max_bytes) = wanted;
    fetch::FetchPartition {
        partition,
        current_leader_epoch,
        fetch_offset,
        last_fetched_epoch,
        partition_max_bytes,
        ..Default::default()
    }
}

fn fetched(
    directory: &mut Directory,
    it: fetch::PartitionData,
    isolation: Isolation,
) -> Result<Result<Fetched, ErrorCode>, Broken> {
    if let Err(code) = directory.outcome(it.error_code) {
        return Ok(Err(code));
    }
    let high_watermark = offset(it.high_watermark, "high_watermark")?;
    let last_stable_offset = match (it.last_stable_offset, isolation) {
        // Old brokers do not tell it to who did not ask for what is committed.
        (-1, Isolation::ReadUncommitted) => high_watermark,
        (told, _) => offset(told, "last_stable_offset")?,
    };
    let mut aborted = Vec::new();
    for it in it.aborted_transactions.unwrap_or_default() {
        let producer = ProducerId(offset(it.producer_id, "producer_id")?.0);
        let first = offset(it.first_offset, "first_offset")?;
        aborted.push(AbortedTransaction { producer, first });
    }
    let diverging = match u32::try_from(it.diverging_epoch.epoch) {
        Ok(epoch) => {
            Some((LeaderEpoch(epoch), offset(it.diverging_epoch.end_offset, "end_offset")?))
        }
        Err(_) => None,
    };
    Ok(Ok(Fetched {
        high_watermark,
        last_stable_offset,
        // Before version 5 it is not told.
        log_start_offset: Offset(u64::try_from(it.log_start_offset).unwrap_or(0)),
        aborted,
        diverging,
        batches: whole_batches(it.records.unwrap_or_default()),
    }))
}

/// The batches, but for a last one that was cut (KIP-74). A length that no batch has ends them:
/// what is left is passed on as it is, for whoever reads it to find.
fn whole_batches(mut records: Bytes) -> Vec<Bytes> {
    let mut batches = Vec::new();
    while let Some(head) = records.get(..BATCH_HEAD) {
        let length = head[8..].try_into().expect("4 bytes");
        let Ok(length) = usize::try_from(i32::from_be_bytes(length)) else {
            batches.push(records);
            return batches;
        };
        if records.len() - BATCH_HEAD < length {
            return batches;
        }
        batches.push(records.split_to(BATCH_HEAD + length));
    }
    batches
}

/// An offset that was told; a negative one is none.
pub(super) fn offset(at: i64, field: &'static str) -> Result<Offset, Broken> {
    u64::try_from(at).map(Offset).map_err(|_| Broken::Value { field })
}

/// A leader epoch as it is said; −1: none, or the leaders of this topic have none.
pub(super) fn epoch(
    directory: &Directory,
    topic: broker_core::ids::TopicId,
    epoch: Option<LeaderEpoch>,
) -> i32 {
    let epoch = epoch.filter(|_| !directory.names.is_epochless(topic));
    epoch.map_or(-1, |epoch| super::number(epoch.0))
}

/// Kafka's `IsolationLevel`.
pub(super) fn level(isolation: Isolation) -> i8 {
    match isolation {
        Isolation::ReadUncommitted => 0,
        Isolation::ReadCommitted => 1,
    }
}

fn size(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
