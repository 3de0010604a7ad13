//! Produce, fetch and offsets: sessions, leaders, special times, silence.

use broker_core::ids::{PartitionEpoch, StreamId};
use broker_core::metadata::image::PartitionState;

use super::*;
use crate::wire::messages::records::list_offsets;

#[test]
fn fetch_in_a_session_is_refused_and_a_full_one_is_not() {
    for (session_id, session_epoch, refused) in
        [(0, 0, false), (0, -1, false), (9, 0, false), (9, -1, false), (9, 1, true), (0, 1, true)]
    {
        let request = fetch::Request { session_id, session_epoch, ..Default::default() };
        let acts = Rig::new().ask(12, Request::Fetch(request));
        assert_eq!(asked(&acts).is_empty(), refused, "{session_id}, {session_epoch}");
        if let Some(Act::Answer { response: Response::Fetch(response), .. }) = acts.first() {
            assert_eq!((response.error_code, response.session_id), (70, 0));
        }
    }
}

/// A cluster in which another broker leads.
fn led_elsewhere() -> Rig {
    let mut rig = Rig::new();
    rig.cluster.listeners.insert(NodeId(2), ("other".to_owned(), 9093));
    let state = PartitionState {
        stream: StreamId(1),
        replica: Some(NodeId(2)),
        leader: Some(NodeId(2)),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(6),
    };
    rig.image.partitions.insert(ORDERS_0, state);
    rig
}

#[test]
fn produce_to_another_brokers_partition_is_told_where_it_is_led() {
    for (version, code, told) in [
        (10, ErrorCode::NotLeaderOrFollower, true),
        (9, ErrorCode::NotLeaderOrFollower, false),
        (10, ErrorCode::KafkaStorageError, false),
    ] {
        let result = ProduceResult { partition: ORDERS_0, result: Err(code) };
        let answer = core::Response::Produce(vec![result]);
        let response = led_elsewhere().through(version, produce_to("orders", -1), answer);
        let Response::Produce(response) = response else { panic!("{response:?}") };
        let leader = &response.responses[0].partition_responses[0].current_leader;
        let expected = if told { (2, 5) } else { (-1, -1) };
        assert_eq!((leader.leader_id, leader.leader_epoch), expected, "version {version}");
        let nodes: Vec<_> =
            response.node_endpoints.iter().map(|it| (it.node_id, &*it.host, it.port)).collect();
        assert_eq!(nodes, if told { vec![(2, "other", 9093)] } else { vec![] });
    }
}

#[test]
fn fetch_of_another_brokers_partition_is_told_where_it_is_led() {
    for (version, code, told) in [
        (16, ErrorCode::NotLeaderOrFollower, true),
        (16, ErrorCode::FencedLeaderEpoch, true),
        (15, ErrorCode::NotLeaderOrFollower, false),
        (16, ErrorCode::UnknownLeaderEpoch, false),
    ] {
        let topic = fetch::FetchTopic {
            topic_id: uuid(ORDERS),
            partitions: vec![fetch::FetchPartition::default()],
            ..Default::default()
        };
        let request = fetch::Request { topics: vec![topic], ..Default::default() };
        let result = FetchResult { partition: ORDERS_0, result: Err(code) };
        let answer = core::Response::Fetch(vec![result]);
        let response = led_elsewhere().through(version, Request::Fetch(request), answer);
        let Response::Fetch(response) = response else { panic!("{response:?}") };
        let leader = &response.responses[0].partitions[0].current_leader;
        let expected = if told { (2, 5) } else { (-1, -1) };
        assert_eq!((leader.leader_id, leader.leader_epoch), expected, "{version} {code:?}");
        assert_eq!(response.node_endpoints.len(), usize::from(told));
    }
}

fn offsets_at(topic: &str, timestamp: i64) -> Request {
    let partition = list_offsets::ListOffsetsPartition { timestamp, ..Default::default() };
    let topic =
        list_offsets::ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    Request::ListOffsets(list_offsets::Request { topics: vec![topic], ..Default::default() })
}

#[test]
fn offsets_by_special_times_are_known_from_their_version_on() {
    for (version, timestamp, known) in [
        (1, -1, true),
        (1, -2, true),
        (6, -3, false),
        (7, -3, true),
        (7, -4, false),
        (8, -4, true),
        (8, -5, false),
        (9, -6, false),
        (9, i64::MIN, false),
        (1, 0, true),
    ] {
        let mut rig = Rig::new();
        let acts = rig.ask(version, offsets_at("orders", timestamp));
        let [(corr, core::Request::ListOffsets { partitions, .. })] = &asked(&acts)[..] else {
            panic!("{acts:?}")
        };
        assert_eq!(partitions.len(), usize::from(known), "version {version}, {timestamp}");
        if !known {
            let acts = rig.answered(*corr, core::Response::ListOffsets(Vec::new()));
            let [Act::Answer { response: Response::ListOffsets(response), .. }] = &acts[..] else {
                panic!("{acts:?}")
            };
            assert_eq!(response.topics[0].partitions[0].error_code, 35);
        }
    }
}

#[test]
fn offsets_in_tiered_storage_are_none_in_partitions_that_are_there() {
    for (mut rig, code) in [(led_elsewhere(), 0), (Rig::new(), 3)] {
        let answer = core::Response::ListOffsets(Vec::new());
        let response = rig.through(9, offsets_at("orders", -5), answer);
        let Response::ListOffsets(response) = response else { panic!("{response:?}") };
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.offset), (code, -1));
    }
}

#[test]
fn offsets_not_available_have_another_name_in_old_versions() {
    for (version, code) in [(4, 5), (5, 78)] {
        let result = Err(ErrorCode::OffsetNotAvailable);
        let result = core::ListOffsetsResult { partition: ORDERS_0, result };
        let answer = core::Response::ListOffsets(vec![result]);
        let response = Rig::new().through(version, offsets_at("orders", -1), answer);
        let Response::ListOffsets(response) = response else { panic!("{response:?}") };
        assert_eq!(response.topics[0].partitions[0].error_code, code);
    }
}

#[test]
fn produce_without_acks_that_is_refused_says_what_and_why() {
    let acts = Rig::new().ask(9, produce_to("nowhere", 0));
    let Some(Act::Close { why }) = acts.last() else { panic!("{acts:?}") };
    assert!(why.contains("nowhere-0 (error 3)"), "{why}");
    assert!(why.contains("correlation id 5"), "{why}");
}

#[test]
fn requests_of_many_parts_on_one_connection_wait_for_one_another_and_none_is_too_many() {
    let mut rig = Rig::new();
    let mut open: VecDeque<u32> = VecDeque::new();
    let (mut told, mut total) = (0, 0);
    let mut acts: Vec<Act> = (0..5).flat_map(|_| rig.ask(7, create(PARTS_MAX))).collect();
    loop {
        open.extend(asked(&acts).iter().map(|(corr, _)| *corr));
        total += asked(&acts).len();
        told += answers(&acts).len();
        assert!(open.len() <= PARTS_MAX, "the core is asked {} at once", open.len());
        let Some(corr) = open.pop_front() else { break };
        let refused = AdminResponse::Error(ErrorCode::TopicAlreadyExists);
        acts = rig.answered(corr, core::Response::Admin(refused));
    }
    assert_eq!((total, told), (5 * PARTS_MAX, 5));
}
