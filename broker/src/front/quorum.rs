//! The metadata quorum described, whose log Kafka shows as the only partition of a topic.
//!
//! Source: KIP-595, KIP-836, KIP-853; `KafkaRaftClient.handleDescribeQuorumRequest`, `RaftUtil`.

use broker_core::protocol::{
    AdminRequest, AdminResponse, ErrorCode, QuorumDescription, ReplicaDescription, Request,
    Response,
};

use super::cluster::CLUSTER_METADATA_TOPIC;
use super::codes::message;
use super::records::ms;
use super::{Asked, answer, long, number};
use crate::wire;
use crate::wire::messages::cluster::describe_quorum::{
    self, DescribeQuorumReplica, DescribeQuorumRequestTopic, DescribeQuorumResponseNode,
    DescribeQuorumResponsePartition, DescribeQuorumResponseTopic,
};

pub(super) fn describe(request: describe_quorum::Request) -> Asked {
    if !is_of_the_log(&request.topics) {
        let topics = request.topics.into_iter().map(unknown).collect();
        let answer = describe_quorum::Response { topics, ..Default::default() };
        return Asked::nothing(wire::Response::DescribeQuorum(answer));
    }
    Asked::one(Request::Admin(AdminRequest::DescribeQuorum), |_, answer| {
        wire::Response::DescribeQuorum(match answer!(answer, Response::Admin(it) => it) {
            AdminResponse::Quorum(quorum) => described(&quorum),
            AdminResponse::Error(code) => describe_quorum::Response {
                error_code: code as i16,
                error_message: Some(message(code)),
                ..Default::default()
            },
            other @ (AdminResponse::Created(_) | AdminResponse::Done) => {
                unreachable!("the core answered something else: {other:?}")
            }
        })
    })
}

/// Whether it is asked about the log, and nothing else (`RaftUtil.hasValidTopicPartition`).
fn is_of_the_log(topics: &[DescribeQuorumRequestTopic]) -> bool {
    let [DescribeQuorumRequestTopic { topic_name, partitions }] = topics else { return false };
    topic_name == CLUSTER_METADATA_TOPIC
        && matches!(&partitions[..], [partition] if partition.partition_index == 0)
}

/// All of a request that asks about something else (`getPartitionLevelErrorResponse`).
fn unknown(topic: DescribeQuorumRequestTopic) -> DescribeQuorumResponseTopic {
    let code = ErrorCode::UnknownTopicOrPartition;
    let partitions = topic.partitions.into_iter().map(|it| DescribeQuorumResponsePartition {
        partition_index: it.partition_index,
        error_code: code as i16,
        error_message: Some(message(code)),
        ..Default::default()
    });
    DescribeQuorumResponseTopic { topic_name: topic.topic_name, partitions: partitions.collect() }
}

fn described(quorum: &QuorumDescription) -> describe_quorum::Response {
    // Clients do not reach the voters: of these nodes there is no address to tell.
    let nodes = quorum.voters.iter().map(|it| DescribeQuorumResponseNode {
        node_id: i32::from(it.node.0),
        listeners: Vec::new(),
    });
    let partition = DescribeQuorumResponsePartition {
        leader_id: i32::from(quorum.leader.0),
        leader_epoch: number(quorum.leader_epoch.0),
        high_watermark: quorum.high_watermark.map_or(-1, |it| long(it.0)),
        current_voters: quorum.voters.iter().map(replica).collect(),
        observers: quorum.observers.iter().map(replica).collect(),
        ..Default::default()
    };
    let (topic_name, partitions) = (CLUSTER_METADATA_TOPIC.to_owned(), vec![partition]);
    let topics = vec![DescribeQuorumResponseTopic { topic_name, partitions }];
    describe_quorum::Response { topics, nodes: nodes.collect(), ..Default::default() }
}

/// Without a directory id (KIP-853): the voters are fixed, and go by their numbers.
fn replica(replica: &ReplicaDescription) -> DescribeQuorumReplica {
    DescribeQuorumReplica {
        replica_id: i32::from(replica.node.0),
        log_end_offset: replica.end.map_or(-1, |it| long(it.0)),
        last_fetch_timestamp: replica.last_fetch.map_or(-1, ms),
        last_caught_up_timestamp: replica.last_caught_up.map_or(-1, ms),
        ..Default::default()
    }
}
