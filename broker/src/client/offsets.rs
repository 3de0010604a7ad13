//! Questions about offsets: by time, and where an epoch ended.

use broker_core::batch::TimestampMs;
use broker_core::ids::LeaderEpoch;
use broker_core::protocol::{
    EpochPartition, EpochResult, Isolation, ListOffsetsPartition, ListOffsetsResult, ListedOffset,
    OffsetSpec, Response,
};

use super::directory::Places;
use super::records::{epoch, level, offset};
use super::{Asked, Refusal, View, body, number};
use crate::wire::messages::records::{list_offsets, offset_for_leader_epoch};
use crate::wire::{self, ApiKey};

/// The epoch of a listed offset whose epoch the broker does not tell. No leader has one so large.
pub const UNTOLD_EPOCH: LeaderEpoch = LeaderEpoch(u32::MAX);

/// A consumer, in `replica_id`.
const CONSUMER: i32 = -1;

pub(super) fn list_offsets(
    view: View<'_>,
    isolation: Isolation,
    partitions: &[ListOffsetsPartition],
) -> Result<Asked, Refusal> {
    // KIP-734; what is committed can be asked for since transactions are there.
    let by_spec = partitions.iter().map(|it| match it.spec {
        OffsetSpec::MaxTimestamp => 7,
        OffsetSpec::Earliest | OffsetSpec::Latest | OffsetSpec::At(_) => 1,
    });
    let oldest = by_spec.max().unwrap_or(1).max(match isolation {
        Isolation::ReadUncommitted => 1,
        Isolation::ReadCommitted => 2,
    });
    let version = view.versions.pick(ApiKey::ListOffsets, oldest..)?;
    let questions = partitions.iter().map(|it| {
        let current = epoch(view.directory, it.partition.topic, it.current_leader_epoch);
        (it.partition, (current, timestamp(it.spec)))
    });
    let (places, topics) = Places::named(&view.directory.names, questions)?;
    let question = |(partition_index, (current_leader_epoch, timestamp))| {
        list_offsets::ListOffsetsPartition { partition_index, current_leader_epoch, timestamp }
    };
    let topic = |(name, questions): (_, Vec<_>)| list_offsets::ListOffsetsTopic {
        name,
        partitions: questions.into_iter().map(question).collect(),
    };
    let request = wire::Request::ListOffsets(list_offsets::Request {
        replica_id: CONSUMER,
        isolation_level: level(isolation),
        topics: topics.into_iter().map(topic).collect(),
    });
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::ListOffsets(it) => it);
        let mut results = Vec::new();
        for topic in answer.topics {
            for it in topic.partitions {
                let partition = places.of_name(&topic.name, it.partition_index)?;
                let result = directory.outcome(it.error_code).map(|()| listed(&it));
                results.push(ListOffsetsResult { partition, result });
            }
        }
        Ok(Response::ListOffsets(results))
    }))
}

/// Source: `ListOffsetsRequest.java`.
fn timestamp(spec: OffsetSpec) -> i64 {
    match spec {
        OffsetSpec::Latest => -1,
        OffsetSpec::Earliest => -2,
        OffsetSpec::MaxTimestamp => -3,
        // The first record that is not earlier: records have whole milliseconds.
        OffsetSpec::At(wall) => TimestampMs::ceil(wall).0.max(0),
    }
}

/// −1: there is no such record.
fn listed(it: &list_offsets::ListOffsetsPartitionResponse) -> Option<ListedOffset> {
    let offset = offset(it.offset, "offset").ok()?;
    Some(ListedOffset {
        offset,
        timestamp: (it.timestamp >= 0).then(|| TimestampMs(it.timestamp).wall()),
        leader_epoch: u32::try_from(it.leader_epoch).map_or(UNTOLD_EPOCH, LeaderEpoch),
    })
}

pub(super) fn epoch_ends(view: View<'_>, partitions: &[EpochPartition]) -> Result<Asked, Refusal> {
    let version = view.versions.pick(ApiKey::OffsetForLeaderEpoch, ..)?;
    let questions = partitions.iter().map(|it| {
        let current = epoch(view.directory, it.partition.topic, it.current_leader_epoch);
        (it.partition, (current, number(it.leader_epoch.0)))
    });
    let (places, topics) = Places::named(&view.directory.names, questions)?;
    let question = |(partition, (current_leader_epoch, leader_epoch))| {
        offset_for_leader_epoch::OffsetForLeaderPartition {
            partition,
            current_leader_epoch,
            leader_epoch,
        }
    };
    let topic = |(topic, questions): (_, Vec<_>)| offset_for_leader_epoch::OffsetForLeaderTopic {
        topic,
        partitions: questions.into_iter().map(question).collect(),
    };
    let request = wire::Request::OffsetForLeaderEpoch(offset_for_leader_epoch::Request {
        replica_id: CONSUMER,
        topics: topics.into_iter().map(topic).collect(),
    });
    Ok(Asked::new(version, request, move |directory, answer| {
        let answer = body!(answer, wire::Response::OffsetForLeaderEpoch(it) => it);
        let mut results = Vec::new();
        for topic in answer.topics {
            for it in topic.partitions {
                let partition = places.of_name(&topic.topic, it.partition)?;
                let end = u32::try_from(it.leader_epoch).ok().map(LeaderEpoch);
                let end = end.zip(offset(it.end_offset, "end_offset").ok());
                let result = directory.outcome(it.error_code).map(|()| end);
                results.push(EpochResult { partition, result });
            }
        }
        Ok(Response::OffsetForLeaderEpoch(results))
    }))
}
