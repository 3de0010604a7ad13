//! Groups and transactions: codes by version, and what is refused here.

use super::*;
use crate::wire::messages::groups::consumer_group_heartbeat;
use crate::wire::messages::transactions::{init_producer_id, txn_offset_commit, write_txn_markers};

#[test]
fn describe_of_an_unknown_group_is_dead_before_it_is_an_error() {
    for (version, code, state, told) in [
        (5, ErrorCode::GroupIdNotFound, "Dead", 0),
        (6, ErrorCode::GroupIdNotFound, "Dead", 69),
        (5, ErrorCode::NotCoordinator, "", 16),
    ] {
        let groups = vec!["g".to_owned()];
        let request = describe_groups::Request { groups, ..Default::default() };
        let answer = core::Response::Group(GroupAnswer::DescribeGroup(Err(code)));
        let response = Rig::new().through(version, Request::DescribeGroups(request), answer);
        let Response::DescribeGroups(response) = response else { panic!("{response:?}") };
        let group = &response.groups[0];
        assert_eq!((group.error_code, &*group.group_state), (told, state), "version {version}");
        assert_eq!(group.error_message.is_some(), told != 0);
    }
}

#[test]
fn heartbeat_that_is_refused_says_why() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::KafkaStorageError] {
        let request = consumer_group_heartbeat::Request::default();
        let answer = core::Response::Group(GroupAnswer::ConsumerGroupHeartbeat(Err(code)));
        let response = Rig::new().through(1, Request::ConsumerGroupHeartbeat(request), answer);
        let Response::ConsumerGroupHeartbeat(response) = response else { panic!("{response:?}") };
        assert_eq!(response.error_code, code as i16);
        assert!(response.error_message.is_some_and(|it| !it.is_empty()));
    }
}

#[test]
fn producer_id_without_its_epoch_or_the_reverse_is_refused() {
    for (producer_id, producer_epoch, refused) in
        [(-1, -1, false), (4, 2, false), (4, -1, true), (-1, 2, true), (-5, 2, false)]
    {
        let request = init_producer_id::Request {
            transactional_id: Some("t".to_owned()),
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let acts = Rig::new().ask(4, Request::InitProducerId(request));
        assert_eq!(asked(&acts).is_empty(), refused, "{producer_id}, {producer_epoch}");
        if let Some(Act::Answer { response: Response::InitProducerId(it), .. }) = acts.first() {
            assert_eq!((it.error_code, it.producer_id, it.producer_epoch), (42, -1, -1));
        }
    }
}

#[test]
fn offsets_of_a_transaction_have_codes_that_old_producers_know() {
    for (version, code, told) in [
        (1, ErrorCode::CoordinatorLoadInProgress, 15),
        (2, ErrorCode::CoordinatorLoadInProgress, 14),
        (3, ErrorCode::TransactionAbortable, 48),
        (4, ErrorCode::TransactionAbortable, 120),
    ] {
        let partition = txn_offset_commit::TxnOffsetCommitRequestPartition::default();
        let topic = txn_offset_commit::TxnOffsetCommitRequestTopic {
            name: "orders".to_owned(),
            partitions: vec![partition],
        };
        let request = txn_offset_commit::Request { topics: vec![topic], ..Default::default() };
        let results = vec![(ORDERS_0, Err(code))];
        let answer = core::Response::Group(GroupAnswer::TxnOffsetCommit(results));
        let response = Rig::new().through(version, Request::TxnOffsetCommit(request), answer);
        let Response::TxnOffsetCommit(response) = response else { panic!("{response:?}") };
        assert_eq!(response.topics[0].partitions[0].error_code, told, "version {version}");
    }
}

#[test]
fn markers_of_one_producer_have_one_answer_by_partition_and_it_keeps_its_id() {
    let orders_1 = TopicPartition { topic: ORDERS, index: PartitionIndex(1) };
    let marker = |producer_id, partitions: &[i32]| {
        let topics = vec![write_txn_markers::WritableTxnMarkerTopic {
            name: "orders".to_owned(),
            partition_indexes: partitions.to_vec(),
        }];
        write_txn_markers::WritableTxnMarker { producer_id, topics, ..Default::default() }
    };
    let markers = vec![marker(-7, &[0]), marker(4, &[0, 1]), marker(-8, &[1]), marker(4, &[0])];
    let nobody = broker_core::ids::ProducerId(u64::MAX >> 1);
    let producer = broker_core::ids::ProducerId(4);
    // As the core answers: marker by marker.
    let results = vec![
        (nobody, ORDERS_0, Err(ErrorCode::InvalidProducerEpoch)),
        (producer, ORDERS_0, Ok(())),
        (producer, orders_1, Ok(())),
        (nobody, orders_1, Err(ErrorCode::NotLeaderOrFollower)),
        (producer, ORDERS_0, Err(ErrorCode::TransactionCoordinatorFenced)),
    ];
    let request = Request::WriteTxnMarkers(write_txn_markers::Request { markers });
    let response = Rig::new().through(1, request, core::Response::WriteTxnMarkers(results));
    let Response::WriteTxnMarkers(response) = response else { panic!("{response:?}") };
    let told = response.markers.iter().map(|it| {
        let partitions = it.topics.iter().flat_map(|topic| &topic.partitions);
        let codes = partitions.map(|it| (it.partition_index, it.error_code)).collect();
        (it.producer_id, codes)
    });
    let told: Vec<(i64, Vec<_>)> = told.collect();
    assert_eq!(told, [(-8, vec![(1, 6)]), (-7, vec![(0, 47)]), (4, vec![(0, 52), (1, 0)])]);
}
