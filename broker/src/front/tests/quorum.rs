//! The quorum described: what may be asked, and how absence is said.

use broker_core::ids::{MetaOffset, QuorumEpoch};
use broker_core::time::Wall;

use super::*;
use crate::wire::messages::cluster::describe_quorum::{
    self, DescribeQuorumReplica, DescribeQuorumRequestPartition, DescribeQuorumRequestTopic,
};

const LOG: &str = "__cluster_metadata";

fn about(topics: &[(&str, &[i32])]) -> Request {
    let partition = |at: &i32| DescribeQuorumRequestPartition { partition_index: *at };
    let topic = |(name, partitions): &(&str, &[i32])| DescribeQuorumRequestTopic {
        topic_name: (*name).to_owned(),
        partitions: partitions.iter().map(partition).collect(),
    };
    let topics = topics.iter().map(topic).collect();
    Request::DescribeQuorum(describe_quorum::Request { topics })
}

fn through(answer: AdminResponse) -> describe_quorum::Response {
    let request = about(&[(LOG, &[0])]);
    let acts = Rig::new().ask(2, request.clone());
    let [(_, asked)] = asked(&acts)[..] else { panic!("{acts:?}") };
    assert_eq!(*asked, core::Request::Admin(AdminRequest::DescribeQuorum));
    match Rig::new().through(2, request, core::Response::Admin(answer)) {
        Response::DescribeQuorum(response) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn quorum_is_told_as_kafka_tells_it_and_what_is_unknown_by_minus_one() {
    let replica = |node, known: Option<u64>| core::ReplicaDescription {
        node: NodeId(node),
        end: known.map(MetaOffset),
        last_fetch: known.map(|_| Wall(1_700_000_000_000_999)),
        last_caught_up: known.map(|_| Wall(-1)),
    };
    let quorum = core::QuorumDescription {
        leader: NodeId(101),
        leader_epoch: QuorumEpoch(4),
        high_watermark: None,
        voters: vec![replica(101, Some(9)), replica(102, None)],
        observers: vec![replica(1, Some(0))],
    };
    let told = |node, end, last_fetch_timestamp, last_caught_up_timestamp| DescribeQuorumReplica {
        replica_id: node,
        log_end_offset: end,
        last_fetch_timestamp,
        last_caught_up_timestamp,
        ..Default::default()
    };
    let response = through(AdminResponse::Quorum(quorum.clone()));
    assert_eq!((response.error_code, response.error_message.as_deref()), (0, Some("")));
    let nodes: Vec<_> = response.nodes.iter().map(|it| (it.node_id, it.listeners.len())).collect();
    assert_eq!(nodes, [(101, 0), (102, 0)]);
    let [topic] = &response.topics[..] else { panic!("{response:?}") };
    let [partition] = &topic.partitions[..] else { panic!("{response:?}") };
    assert_eq!((&*topic.topic_name, partition.partition_index), (LOG, 0));
    assert_eq!((partition.error_code, partition.error_message.as_deref()), (0, Some("")));
    assert_eq!((partition.leader_id, partition.leader_epoch), (101, 4));
    assert_eq!(partition.high_watermark, -1);
    let at = 1_700_000_000_000;
    assert_eq!(partition.current_voters, [told(101, 9, at, -1), told(102, -1, -1, -1)]);
    assert_eq!(partition.observers, [told(1, 0, at, -1)]);

    let known = core::QuorumDescription { high_watermark: Some(MetaOffset(7)), ..quorum };
    let response = through(AdminResponse::Quorum(known));
    assert_eq!(response.topics[0].partitions[0].high_watermark, 7);
}

#[test]
fn quorum_that_no_controller_describes_in_time_is_an_error_of_the_whole() {
    let response = through(AdminResponse::Error(ErrorCode::RequestTimedOut));
    assert_eq!((response.error_code, response.topics.len()), (7, 0));
    assert!(response.error_message.is_some_and(|it| !it.is_empty()));
}

#[test]
fn quorum_of_anything_but_the_metadata_log_is_unknown() {
    let questions: [&[(&str, &[i32])]; 7] = [
        &[],
        &[(LOG, &[])],
        &[(LOG, &[1])],
        &[(LOG, &[0, 0])],
        &[(LOG, &[0]), (LOG, &[0])],
        &[(LOG, &[0]), ("orders", &[0])],
        &[("orders", &[0, 2])],
    ];
    for topics in questions {
        let acts = Rig::new().ask(2, about(topics));
        let [Act::Answer { response: Response::DescribeQuorum(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        assert_eq!(response.error_code, 0);
        let told: Vec<_> = response
            .topics
            .iter()
            .map(|topic| {
                let partition = |it: &describe_quorum::DescribeQuorumResponsePartition| {
                    assert_eq!(it.error_code, 3);
                    it.partition_index
                };
                (&*topic.topic_name, topic.partitions.iter().map(partition).collect::<Vec<_>>())
            })
            .collect();
        let asked: Vec<_> = topics.iter().map(|(name, at)| (*name, at.to_vec())).collect();
        assert_eq!(told, asked);
    }
}
