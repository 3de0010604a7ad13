//! The front without sockets: order of answers, parts of requests, names and codes of old versions.

use broker_core::ids::{BrokerEpoch, IncarnationId, LeaderEpoch, Offset, ZoneId};
use broker_core::metadata::image::{BrokerState, TopicState};
use broker_core::protocol::{
    AdminRequest, AdminResponse, FetchResult, Fetched, GroupAnswer, GroupRequest, ProduceResult,
    TxnAnswer,
};
use bytes::Bytes;

use super::*;
use crate::wire::messages::admin::create_topics;
use crate::wire::messages::cluster::metadata;
use crate::wire::messages::groups::{describe_groups, offset_fetch};
use crate::wire::messages::records::{fetch, produce};
use crate::wire::messages::transactions::{add_partitions_to_txn, end_txn, list_transactions};
use crate::wire::{ApiKey, Request, Response};

mod admin;
mod groups;
mod quorum;
mod records;

const CONN: ConnId = ConnId(1);
const ORDERS: TopicId = TopicId(7);
const ORDERS_0: TopicPartition = TopicPartition { topic: ORDERS, index: PartitionIndex(0) };

/// One that is registered.
pub(crate) fn broker() -> BrokerState {
    BrokerState {
        epoch: BrokerEpoch(1),
        incarnation_id: IncarnationId(1),
        zone: ZoneId(0),
        fenced: false,
        in_controlled_shutdown: false,
    }
}

/// A front with the cluster that it stands in: one topic, `orders`.
struct Rig {
    front: Front,
    cluster: Cluster,
    image: Image,
}

impl Rig {
    fn new() -> Self {
        let mut image = Image::default();
        let (nonce, partitions, configs) = (0, 1, BTreeMap::new());
        let name = "orders".to_owned();
        image.topic_ids.insert(name.clone(), ORDERS);
        image.topics.insert(ORDERS, TopicState { name, nonce, partitions, configs });
        image.brokers.insert(NodeId(1), broker());
        let cluster = Cluster {
            id: "cluster".to_owned(),
            node: NodeId(1),
            listeners: BTreeMap::from([(NodeId(1), ("host".to_owned(), 9092))]),
            partitions_default: 3,
            creates_topics: true,
        };
        Self { front: Front::default(), cluster, image }
    }

    fn ask(&mut self, version: i16, request: Request) -> Vec<Act> {
        let header = Header { key: request.key(), version, correlation: 5, client: None };
        self.front.request((&self.cluster, &self.image), CONN, (header, request))
    }

    fn answered(&mut self, corr: u32, answer: core::Response) -> Vec<Act> {
        self.front.answered((&self.cluster, &self.image), CONN, (corr, answer))
    }

    /// Asks, lets the core give one answer, and returns ours.
    fn through(&mut self, version: i16, request: Request, answer: core::Response) -> Response {
        let acts = self.ask(version, request);
        let [(corr, _)] = asked(&acts)[..] else { panic!("{acts:?}") };
        let acts = self.answered(corr, answer);
        let [Act::Answer { response, .. }] = &acts[..] else { panic!("{acts:?}") };
        response.clone()
    }
}

fn asked(acts: &[Act]) -> Vec<(u32, &core::Request)> {
    let ask = |act| match act {
        &Act::Ask { corr, ref request } => Some((corr, request)),
        Act::Answer { .. } | Act::Close { .. } => None,
    };
    acts.iter().filter_map(ask).collect()
}

fn answers(acts: &[Act]) -> Vec<ApiKey> {
    let answer = |act: &Act| match act {
        Act::Ask { .. } | Act::Close { .. } => None,
        Act::Answer { response, .. } => Some(response.key()),
    };
    acts.iter().filter_map(answer).collect()
}

fn create(names: usize) -> Request {
    let topic = |at| create_topics::CreatableTopic {
        name: format!("t{at}"),
        num_partitions: -1,
        replication_factor: -1,
        ..Default::default()
    };
    let topics = (0..names).map(topic).collect();
    Request::CreateTopics(create_topics::Request { topics, ..Default::default() })
}

fn produce_to(topic: &str, acks: i16) -> Request {
    let records = Some(Bytes::from_static(b"batch"));
    let partition_data = vec![produce::PartitionProduceData { index: 0, records }];
    let topic_data = vec![produce::TopicProduceData {
        name: topic.to_owned(),
        partition_data,
        ..Default::default()
    }];
    Request::Produce(produce::Request { acks, topic_data, ..Default::default() })
}

#[test]
fn front_answers_leave_in_the_order_of_the_requests() {
    let mut rig = Rig::new();
    let first = rig.ask(7, create(1));
    let [(corr, _)] = asked(&first)[..] else { panic!("{first:?}") };
    let versions = rig.ask(3, Request::ApiVersions(named("librdkafka")));
    assert_eq!(answers(&versions), [], "the one before it is not answered");
    let done = rig.answered(corr, core::Response::Admin(AdminResponse::Created(TopicId(9))));
    assert_eq!(answers(&done), [ApiKey::CreateTopics, ApiKey::ApiVersions]);
    assert!(rig.answered(corr, core::Response::Admin(AdminResponse::Done)).is_empty(), "twice");
}

fn named(name: &str) -> crate::wire::messages::cluster::api_versions::Request {
    crate::wire::messages::cluster::api_versions::Request {
        client_software_name: name.to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

#[test]
fn front_request_of_many_parts_asks_some_at_a_time() {
    let mut rig = Rig::new();
    let acts = rig.ask(7, create(PARTS_MAX + 2));
    assert_eq!(asked(&acts).len(), PARTS_MAX);
    let refused = || core::Response::Admin(AdminResponse::Error(ErrorCode::TopicAlreadyExists));
    let mut open: VecDeque<u32> = asked(&acts).iter().map(|(corr, _)| *corr).collect();
    let mut last = Vec::new();
    while let Some(corr) = open.pop_back() {
        assert!(answers(&last).is_empty(), "before the last part is answered");
        last = rig.answered(corr, refused());
        open.extend(asked(&last).iter().map(|(corr, _)| *corr));
    }
    let [Act::Answer { response: Response::CreateTopics(response), .. }] = &last[..] else {
        panic!("{last:?}")
    };
    let names: Vec<_> = response.topics.iter().map(|it| it.name.clone()).collect();
    let expected: Vec<_> = (0..PARTS_MAX + 2).map(|at| format!("t{at}")).collect();
    assert_eq!(names, expected, "in the order of the request");
    assert!(response.topics.iter().all(|it| it.error_code == 36));
}

#[test]
fn front_gone_connection_is_forgotten() {
    let mut rig = Rig::new();
    let acts = rig.ask(7, create(1));
    let corr = asked(&acts)[0].0;
    rig.front.gone(CONN);
    assert!(rig.answered(corr, core::Response::Admin(AdminResponse::Done)).is_empty());
}

#[test]
fn versions_in_an_unknown_version_are_answered_in_the_oldest() {
    let mut rig = Rig::new();
    let header = Header { key: ApiKey::ApiVersions, version: 0, correlation: 5, client: None };
    let acts = rig.front.unknown_version(CONN, header);
    let [Act::Answer { response: Response::ApiVersions(response), .. }] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!((response.error_code, response.api_keys.is_empty()), (35, false));
}

#[test]
fn versions_of_a_client_without_a_name_are_refused() {
    for (name, code) in [("", 42), ("-a", 42), ("a b", 42), ("apache-kafka.java", 0)] {
        let acts = Rig::new().ask(3, Request::ApiVersions(named(name)));
        let [Act::Answer { response: Response::ApiVersions(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        assert_eq!(response.error_code, code, "{name:?}");
    }
}

#[test]
fn produce_without_acks_is_asked_and_never_answered() {
    let mut rig = Rig::new();
    let acts = rig.ask(9, produce_to("orders", 0));
    assert_eq!((asked(&acts).len(), answers(&acts).len()), (1, 0));
    let versions = rig.ask(3, Request::ApiVersions(named("a")));
    assert_eq!(answers(&versions), [ApiKey::ApiVersions], "nothing before it waits");
}

#[test]
fn produce_without_acks_that_is_refused_closes_the_connection() {
    for (topic, version, closes) in
        [("orders", 9, false), ("nowhere", 9, true), ("orders", 2, true)]
    {
        let acts = Rig::new().ask(version, produce_to(topic, 0));
        assert_eq!(matches!(acts.last(), Some(Act::Close { .. })), closes, "{acts:?}");
    }
}

#[test]
fn produce_that_is_refused_by_the_front_does_not_reach_the_core() {
    for (version, acks, code) in [(9, 2, 21), (2, 1, 35)] {
        let acts = Rig::new().ask(version, produce_to("orders", acks));
        let [Act::Answer { response: Response::Produce(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (code, -1));
    }
}

#[test]
fn produce_names_topics_by_id_to_the_core_and_by_name_to_the_client() {
    let answer = |code| {
        let result = ProduceResult { partition: ORDERS_0, result: Err(code) };
        core::Response::Produce(vec![result])
    };
    // Who names topics by name knows no error about ids, and who is old no TRANSACTION_ABORTABLE.
    for (version, code, told) in [
        (9, ErrorCode::UnknownTopicId, 3),
        (10, ErrorCode::TransactionAbortable, 48),
        (11, ErrorCode::TransactionAbortable, 120),
    ] {
        let response = Rig::new().through(version, produce_to("orders", -1), answer(code));
        let Response::Produce(response) = response else { panic!("{response:?}") };
        assert_eq!(response.responses[0].name, "orders");
        assert_eq!(response.responses[0].partition_responses[0].error_code, told);
    }
    let acts = Rig::new().ask(9, produce_to("nowhere", -1));
    let [(_, core::Request::Produce(asked))] = &asked(&acts)[..] else { panic!("{acts:?}") };
    assert_eq!(asked.batches, [], "the core is not asked about what is not there");
}

#[test]
fn fetch_of_a_partition_named_twice_is_answered_once() {
    let partitions = vec![fetch::FetchPartition::default(); 2];
    let topics =
        vec![fetch::FetchTopic { topic: "orders".to_owned(), partitions, ..Default::default() }];
    let request = Request::Fetch(fetch::Request { topics, ..Default::default() });
    let result = || FetchResult { partition: ORDERS_0, result: Err(ErrorCode::KafkaStorageError) };
    let response = Rig::new().through(12, request, core::Response::Fetch(vec![result()]));
    let Response::Fetch(response) = response else { panic!("{response:?}") };
    let codes: Vec<_> = response.responses[0].partitions.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [56, 42]);
}

#[test]
fn list_of_transactions_of_any_age_is_asked_for() {
    for duration_filter in [i64::MIN, -1, 0, i64::MAX] {
        let request = list_transactions::Request { duration_filter, ..Default::default() };
        let acts = Rig::new().ask(1, Request::ListTransactions(request));
        assert_eq!(asked(&acts).len(), 1);
    }
}

#[test]
fn fetch_that_fails_has_records_that_are_not_null() {
    for (version, code) in [(12, 3), (13, 100)] {
        let partition = fetch::FetchPartition { fetch_offset: -7, ..Default::default() };
        let topic = fetch::FetchTopic {
            topic: "orders".to_owned(),
            topic_id: uuid(ORDERS),
            partitions: vec![partition],
        };
        let request = fetch::Request { topics: vec![topic], ..Default::default() };
        let result = Err(ErrorCode::UnknownTopicId);
        let answer = core::Response::Fetch(vec![FetchResult { partition: ORDERS_0, result }]);
        let response = Rig::new().through(version, Request::Fetch(request), answer);
        let Response::Fetch(response) = response else { panic!("{response:?}") };
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.records, Some(Bytes::new()));
        assert_eq!((partition.error_code, partition.high_watermark), (code, -1));
    }
}

#[test]
fn fetch_names_aborted_transactions_to_who_reads_committed_only() {
    for (isolation_level, aborted) in [(0, None), (1, Some(1))] {
        let partitions = vec![fetch::FetchPartition::default()];
        let topic = "orders".to_owned();
        let topics = vec![fetch::FetchTopic { topic, partitions, ..Default::default() }];
        let request = fetch::Request { isolation_level, topics, ..Default::default() };
        let fetched = Fetched {
            high_watermark: Offset(9),
            last_stable_offset: Offset(8),
            log_start_offset: Offset(1),
            aborted: vec![core::AbortedTransaction {
                producer: broker_core::ids::ProducerId(4),
                first: Offset(2),
            }],
            diverging: Some((LeaderEpoch(3), Offset(6))),
            batches: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
        };
        let result = FetchResult { partition: ORDERS_0, result: Ok(fetched) };
        let answer = core::Response::Fetch(vec![result]);
        let response = Rig::new().through(12, Request::Fetch(request), answer);
        let Response::Fetch(response) = response else { panic!("{response:?}") };
        let it = &response.responses[0].partitions[0];
        assert_eq!(it.aborted_transactions.as_ref().map(Vec::len), aborted);
        let offsets = (it.high_watermark, it.last_stable_offset, it.log_start_offset);
        assert_eq!(offsets, (9, 8, 1));
        assert_eq!((it.diverging_epoch.epoch, it.diverging_epoch.end_offset), (3, 6));
        assert_eq!(it.records, Some(Bytes::from_static(b"abc")));
    }
}

#[test]
fn end_of_a_fenced_producer_has_another_name_in_old_versions() {
    for (version, code) in [(1, 47), (2, 90)] {
        let request = Request::EndTxn(end_txn::Request::default());
        let answer = core::Response::Txn(TxnAnswer::End(Err(ErrorCode::ProducerFenced)));
        let response = Rig::new().through(version, request, answer);
        let Response::EndTxn(response) = response else { panic!("{response:?}") };
        assert_eq!(response.error_code, code);
    }
}

#[test]
fn add_partitions_of_which_one_is_not_there_adds_none() {
    let topic = |name: &str| add_partitions_to_txn::AddPartitionsToTxnTopic {
        name: name.to_owned(),
        partitions: vec![0],
    };
    let request = add_partitions_to_txn::Request {
        v3_and_below_topics: vec![topic("orders"), topic("nowhere")],
        ..Default::default()
    };
    let acts = Rig::new().ask(3, Request::AddPartitionsToTxn(request));
    let [Act::Answer { response: Response::AddPartitionsToTxn(response), .. }] = &acts[..] else {
        panic!("{acts:?}")
    };
    let results = response.results_by_topic_v3_and_below.iter();
    let codes: Vec<_> = results.map(|it| it.results_by_partition[0].partition_error_code).collect();
    assert_eq!(codes, [55, 3]);
}

#[test]
fn metadata_of_a_missing_topic_creates_it_if_the_client_wishes() {
    for (allowed, parts) in [(true, 2), (false, 1)] {
        let name = Some("new".to_owned());
        let topics = Some(vec![metadata::MetadataRequestTopic { name, ..Default::default() }]);
        let allow_auto_topic_creation = allowed;
        let request = metadata::Request { topics, allow_auto_topic_creation, ..Default::default() };
        let mut rig = Rig::new();
        let acts = rig.ask(9, Request::Metadata(request));
        let asked = asked(&acts);
        assert_eq!(asked.len(), parts);
        let creates = matches!(
            asked[0].1,
            core::Request::Admin(AdminRequest::CreateTopic { partitions: 3, .. })
        );
        assert_eq!(creates, allowed);
        let topics = vec![core::TopicMetadata {
            name: "new".to_owned(),
            result: Err(ErrorCode::UnknownTopicOrPartition),
        }];
        let brokers = vec![NodeId(1), NodeId(2)];
        let corrs: Vec<_> = asked.iter().map(|(corr, _)| *corr).collect();
        let mut acts = Vec::new();
        for (at, corr) in corrs.iter().enumerate() {
            let described =
                core::MetadataResponse { brokers: brokers.clone(), topics: topics.clone() };
            acts = rig.answered(
                *corr,
                if at + 1 == parts {
                    core::Response::Metadata(described)
                } else {
                    core::Response::Admin(AdminResponse::Created(TopicId(9)))
                },
            );
        }
        let [Act::Answer { response: Response::Metadata(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        // It is not there as yet: the client asks again.
        assert_eq!(response.topics[0].error_code, 3);
        assert_eq!(response.brokers.len(), 1, "a broker whose address is not known is left out");
    }
}

#[test]
fn metadata_of_a_topic_that_can_not_be_created_says_why() {
    for (told, code) in [(ErrorCode::InvalidTopicException, 17), (ErrorCode::TopicAlreadyExists, 3)]
    {
        let name = Some("new".to_owned());
        let topics = Some(vec![metadata::MetadataRequestTopic { name, ..Default::default() }]);
        let request = metadata::Request { topics, ..Default::default() };
        let mut rig = Rig::new();
        let acts = rig.ask(9, Request::Metadata(request));
        let [(create, _), (describe, _)] = asked(&acts)[..] else { panic!("{acts:?}") };
        rig.answered(create, core::Response::Admin(AdminResponse::Error(told)));
        let result = Err(ErrorCode::UnknownTopicOrPartition);
        let topics = vec![core::TopicMetadata { name: "new".to_owned(), result }];
        let described = core::MetadataResponse { brokers: Vec::new(), topics };
        let acts = rig.answered(describe, core::Response::Metadata(described));
        let [Act::Answer { response: Response::Metadata(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        assert_eq!(response.topics[0].error_code, code);
    }
}

#[test]
fn metadata_of_all_topics_leaves_out_what_nobody_has_led_as_yet() {
    let leader = Some(NodeId(1));
    for (by_name, led, there) in [
        (false, [None, None], false),
        (true, [None, None], true),
        (false, [None, Some((3, None))], true),
        (false, [Some((1, leader)), None], true),
    ] {
        let partitions = led.iter().zip(0..).map(|(led, index)| {
            let (epoch, leader) = led.unwrap_or((0, None));
            let (index, leader_epoch) = (PartitionIndex(index), LeaderEpoch(epoch));
            core::PartitionMetadata { index, leader, leader_epoch }
        });
        let result = Ok((ORDERS, partitions.collect()));
        let topics = vec![core::TopicMetadata { name: "orders".to_owned(), result }];
        let answer = core::Response::Metadata(core::MetadataResponse { brokers: vec![], topics });
        let name = Some("orders".to_owned());
        let named = vec![metadata::MetadataRequestTopic { name, ..Default::default() }];
        let topics = by_name.then_some(named);
        let request = Request::Metadata(metadata::Request { topics, ..Default::default() });
        let response = Rig::new().through(9, request, answer);
        let Response::Metadata(response) = response else { panic!("{response:?}") };
        assert_eq!(response.topics.len(), usize::from(there), "{by_name} {led:?}");
    }
}

#[test]
fn metadata_names_a_controller_that_is_listed() {
    for (brokers, controller_id) in [(vec![2, 1], 1), (vec![2], 2), (vec![], -1)] {
        let mut rig = Rig::new();
        rig.cluster.listeners.insert(NodeId(2), ("other".to_owned(), 9093));
        let brokers = brokers.into_iter().map(NodeId).collect();
        let described = core::MetadataResponse { brokers, topics: Vec::new() };
        let request = Request::Metadata(metadata::Request::default());
        let response = rig.through(9, request, core::Response::Metadata(described));
        let Response::Metadata(response) = response else { panic!("{response:?}") };
        assert_eq!(response.controller_id, controller_id);
    }
}

#[test]
fn describe_asks_for_each_group_and_answers_in_order() {
    let groups = vec!["a".to_owned(), "b".to_owned()];
    let request =
        Request::DescribeGroups(describe_groups::Request { groups, ..Default::default() });
    let mut rig = Rig::new();
    let acts = rig.ask(6, request);
    let [(first, _), (second, core::Request::Group(GroupRequest::DescribeGroup { group }))] =
        asked(&acts)[..]
    else {
        panic!("{acts:?}")
    };
    assert_eq!(group, "b");
    let refused = |code| core::Response::Group(GroupAnswer::DescribeGroup(Err(code)));
    assert!(rig.answered(second, refused(ErrorCode::NotCoordinator)).is_empty());
    let acts = rig.answered(first, refused(ErrorCode::GroupIdNotFound));
    let [Act::Answer { response: Response::DescribeGroups(response), .. }] = &acts[..] else {
        panic!("{acts:?}")
    };
    let told: Vec<_> = response.groups.iter().map(|it| (&*it.group_id, it.error_code)).collect();
    assert_eq!(told, [("a", 69), ("b", 16)]);
}

#[test]
fn offset_fetch_of_a_refused_group_says_so_where_each_version_looks() {
    let topic = || offset_fetch::OffsetFetchRequestTopic {
        name: "orders".to_owned(),
        partition_indexes: vec![0],
    };
    let request = offset_fetch::Request {
        group_id: "g".to_owned(),
        topics: Some(vec![topic()]),
        ..Default::default()
    };
    let code = ErrorCode::NotCoordinator;
    let answer = core::Response::Group(GroupAnswer::OffsetFetch(Err(code)));
    let response = Rig::new().through(1, Request::OffsetFetch(request), answer);
    let Response::OffsetFetch(response) = response else { panic!("{response:?}") };
    assert_eq!(response.error_code, 16);
    assert_eq!(response.topics[0].partitions[0].error_code, 16, "version 1 looks nowhere else");
}
