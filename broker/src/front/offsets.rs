//! Questions about offsets: by time, and where an epoch ended.

use std::collections::BTreeMap;

use broker_core::ids::LeaderEpoch;
use broker_core::protocol::{
    EpochPartition, ErrorCode, ListOffsetsPartition, ListedOffset, OffsetSpec, Request, Response,
};

use super::records::{epoch, isolation, ms, wall};
use super::{Asked, ByTopic, UNSUPPORTED_VERSION, View, answer, code_by_name, long, number};
use crate::wire;
use crate::wire::messages::records::{list_offsets, offset_for_leader_epoch};

/// What a timestamp asks for. Source: `ListOffsetsRequest.java`.
enum Spec {
    Core(OffsetSpec),
    /// −5, the end of what is in tiered storage: there is none, and Kafka says −1.
    Tiered,
    Unknown,
}

impl Spec {
    fn of(timestamp: i64) -> Self {
        match timestamp {
            -1 => Self::Core(OffsetSpec::Latest),
            // −4, the earliest local one: nothing is tiered, all of the log is.
            -2 | -4 => Self::Core(OffsetSpec::Earliest),
            -3 => Self::Core(OffsetSpec::MaxTimestamp),
            -5 => Self::Tiered,
            time @ 0.. => Self::Core(OffsetSpec::At(wall(time))),
            _ => Self::Unknown,
        }
    }
}

pub(super) fn list_offsets(view: View<'_>, request: list_offsets::Request) -> Asked {
    let mut partitions = Vec::new();
    let mut asked = |topic: &str, it: &list_offsets::ListOffsetsPartition| {
        let partition = match (view.partition(topic, it.partition_index), Spec::of(it.timestamp)) {
            (Err(code), _) => return Err(code as i16),
            (Ok(_), Spec::Tiered) => return Err(0),
            (Ok(_), Spec::Unknown) => return Err(UNSUPPORTED_VERSION),
            (Ok(partition), Spec::Core(spec)) => (partition, spec),
        };
        let (partition, spec) = partition;
        let current_leader_epoch = epoch(it.current_leader_epoch);
        partitions.push(ListOffsetsPartition { partition, current_leader_epoch, spec });
        Ok(partition)
    };
    let topics = request.topics.into_iter().map(|topic| {
        let partitions =
            topic.partitions.iter().map(|it| (it.partition_index, asked(&topic.name, it)));
        let partitions: Vec<_> = partitions.collect();
        (topic.name, partitions)
    });
    let topics: Vec<(String, Vec<_>)> = topics.collect();
    let isolation = isolation(request.isolation_level);
    Asked::one(Request::ListOffsets { isolation, partitions }, |_, answer| {
        let results = answer!(answer, Response::ListOffsets(results) => results);
        let results: BTreeMap<_, _> =
            results.into_iter().map(|it| (it.partition, it.result)).collect();
        let listed = |(partition_index, asked)| {
            let none = list_offsets::ListOffsetsPartitionResponse {
                partition_index,
                ..Default::default()
            };
            let partition = match asked {
                Ok(partition) => partition,
                Err(error_code) => {
                    return list_offsets::ListOffsetsPartitionResponse { error_code, ..none };
                }
            };
            let result = results.get(&partition).unwrap_or(&Err(ErrorCode::InvalidRequest));
            listed(result, none)
        };
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(listed).collect();
            list_offsets::ListOffsetsTopicResponse { name, partitions }
        });
        let topics = topics.collect();
        wire::Response::ListOffsets(list_offsets::Response { topics, ..Default::default() })
    })
}

fn listed(
    result: &Result<Option<ListedOffset>, ErrorCode>,
    none: list_offsets::ListOffsetsPartitionResponse,
) -> list_offsets::ListOffsetsPartitionResponse {
    match result {
        Ok(Some(found)) => list_offsets::ListOffsetsPartitionResponse {
            timestamp: found.timestamp.map_or(-1, ms),
            offset: long(found.offset.0),
            leader_epoch: number(found.leader_epoch.0),
            ..none
        },
        Ok(None) => none,
        Err(_) => {
            list_offsets::ListOffsetsPartitionResponse { error_code: code_by_name(result), ..none }
        }
    }
}

pub(super) fn offset_for_leader_epoch(
    view: View<'_>,
    request: offset_for_leader_epoch::Request,
) -> Asked {
    let mut asked = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let mut named = Vec::new();
        for it in topic.partitions {
            let found = view.partition(&topic.topic, it.partition);
            asked.extend(found.map(|partition| EpochPartition {
                partition,
                current_leader_epoch: epoch(it.current_leader_epoch),
                leader_epoch: epoch(it.leader_epoch).unwrap_or(LeaderEpoch(0)),
            }));
            named.push((it.partition, found));
        }
        (topic.topic, named)
    });
    let topics = ByTopic(topics.collect());
    Asked::one(Request::OffsetForLeaderEpoch { partitions: asked }, |_, answer| {
        let results = answer!(answer, Response::OffsetForLeaderEpoch(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let topics = topics.answer(
            results,
            |partition, result| {
                let error_code = code_by_name(&result);
                let end = result.ok().flatten();
                offset_for_leader_epoch::EpochEndOffset {
                    error_code,
                    partition,
                    leader_epoch: end.map_or(-1, |(epoch, _)| number(epoch.0)),
                    end_offset: end.map_or(-1, |(_, end)| long(end.0)),
                }
            },
            |topic, partitions| offset_for_leader_epoch::OffsetForLeaderTopicResult {
                topic,
                partitions,
            },
        );
        let answer = offset_for_leader_epoch::Response { topics, ..Default::default() };
        wire::Response::OffsetForLeaderEpoch(answer)
    })
}
