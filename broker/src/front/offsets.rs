//! Questions about offsets: by time, and where an epoch ended.

use broker_core::ids::LeaderEpoch;
use broker_core::protocol::{
    EpochPartition, ErrorCode, ListOffsetsPartition, ListedOffset, OffsetSpec, Request, Response,
};

use super::codes::older;
use super::records::{epoch, isolation, ms, wall};
use super::{Asked, ByTopic, Code, View, answer, code_by_name, long, number};
use crate::wire::messages::records::{list_offsets, offset_for_leader_epoch};
use crate::wire::{self, Header};

/// What a timestamp asks for. Sources: `ListOffsetsRequest.java`,
/// `ReplicaManager.isListOffsetsTimestampUnsupported`.
enum Spec {
    Core(OffsetSpec),
    /// −5, the end of what is in tiered storage: there is none, and Kafka says −1.
    Tiered,
    /// No time, and no special one that this version has.
    Unknown,
}

impl Spec {
    fn of(timestamp: i64, version: i16) -> Self {
        match timestamp {
            -1 => Self::Core(OffsetSpec::Latest),
            -2 => Self::Core(OffsetSpec::Earliest),
            -3 if version >= 7 => Self::Core(OffsetSpec::MaxTimestamp),
            // The earliest local one: nothing is tiered, all of the log is.
            -4 if version >= 8 => Self::Core(OffsetSpec::Earliest),
            -5 if version >= 9 => Self::Tiered,
            time @ 0.. => Self::Core(OffsetSpec::At(wall(time))),
            _ => Self::Unknown,
        }
    }
}

pub(super) fn list_offsets(
    view: View<'_>,
    header: &Header,
    request: list_offsets::Request,
) -> Asked {
    let mut partitions = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let questions = topic.partitions.into_iter().map(|it| (it.partition_index, it));
        (topic.name, questions.collect())
    });
    let topics =
        ByTopic::find(topics, |topic: &String, index, it: list_offsets::ListOffsetsPartition| {
            let spec = Spec::of(it.timestamp, header.version);
            if matches!(spec, Spec::Unknown) {
                return Err(Code::UNSUPPORTED_VERSION);
            }
            let partition = view.partition(topic, index)?;
            let Spec::Core(spec) = spec else {
                let known = view.image.partitions.contains_key(&partition);
                let unknown = ErrorCode::UnknownTopicOrPartition.into();
                return Err(if known { Code::NONE } else { unknown });
            };
            let current_leader_epoch = epoch(it.current_leader_epoch);
            partitions.push(ListOffsetsPartition { partition, current_leader_epoch, spec });
            Ok(partition)
        });
    let isolation = isolation(request.isolation_level);
    let header = header.clone();
    Asked::one(Request::ListOffsets { isolation, partitions }, move |_, answer| {
        let results = answer!(answer, Response::ListOffsets(results) => results);
        let results = results.into_iter().map(|it| (it.partition, it.result));
        let topics = topics.answer(
            results,
            |index, result| listed(&header, index, result),
            |name, partitions| list_offsets::ListOffsetsTopicResponse { name, partitions },
        );
        wire::Response::ListOffsets(list_offsets::Response { topics, ..Default::default() })
    })
}

fn listed(
    header: &Header,
    partition_index: i32,
    result: Result<Option<ListedOffset>, Code>,
) -> list_offsets::ListOffsetsPartitionResponse {
    // `KafkaApis.handleListOffsetRequest`: the newer name came with version 5 (KIP-207).
    let names = [(ErrorCode::OffsetNotAvailable, ErrorCode::LeaderNotAvailable)];
    let error_code = older(header, 5, &names, code_by_name(&result));
    let none = list_offsets::ListOffsetsPartitionResponse {
        partition_index,
        error_code,
        ..Default::default()
    };
    let Ok(Some(found)) = result else { return none };
    list_offsets::ListOffsetsPartitionResponse {
        timestamp: found.timestamp.map_or(-1, ms),
        offset: long(found.offset.0),
        leader_epoch: number(found.leader_epoch.0),
        ..none
    }
}

pub(super) fn offset_for_leader_epoch(
    view: View<'_>,
    request: offset_for_leader_epoch::Request,
) -> Asked {
    let mut asked = Vec::new();
    let topics = request.topics.into_iter().map(|topic| {
        let questions = topic.partitions.into_iter().map(|it| (it.partition, it));
        (topic.topic, questions.collect())
    });
    let topics = ByTopic::find(
        topics,
        |topic: &String, index, it: offset_for_leader_epoch::OffsetForLeaderPartition| {
            let partition = view.partition(topic, index)?;
            asked.push(EpochPartition {
                partition,
                current_leader_epoch: epoch(it.current_leader_epoch),
                leader_epoch: epoch(it.leader_epoch).unwrap_or(LeaderEpoch(0)),
            });
            Ok(partition)
        },
    );
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
