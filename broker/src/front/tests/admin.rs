//! Topics and configs: what is refused here, and how.

use super::*;
use crate::wire::messages::admin::{
    alter_configs, create_partitions, delete_topics, describe_configs, incremental_alter_configs,
};

/// Lets the core do everything that it is asked, and returns the answer and what was asked.
fn done(rig: &mut Rig, version: i16, request: Request) -> (Response, Vec<core::Request>) {
    let mut acts = rig.ask(version, request);
    let open: Vec<_> = asked(&acts).into_iter().map(|(corr, it)| (corr, it.clone())).collect();
    for (corr, request) in &open {
        let created = matches!(request, core::Request::Admin(AdminRequest::CreateTopic { .. }));
        let answer = if created { AdminResponse::Created(TopicId(9)) } else { AdminResponse::Done };
        acts = rig.answered(*corr, core::Response::Admin(answer));
    }
    let [Act::Answer { response, .. }] = &acts[..] else { panic!("{acts:?}") };
    (response.clone(), open.into_iter().map(|(_, request)| request).collect())
}

fn topic(name: &str) -> create_topics::CreatableTopic {
    create_topics::CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

#[test]
fn create_of_a_topic_named_twice_refuses_it_once_and_does_the_others() {
    let topics = vec![topic("a"), topic("b"), topic("a")];
    let request = create_topics::Request { topics, ..Default::default() };
    let (response, asked) = done(&mut Rig::new(), 7, Request::CreateTopics(request));
    let Response::CreateTopics(response) = response else { panic!("{response:?}") };
    let told: Vec<_> = response.topics.iter().map(|it| (&*it.name, it.error_code)).collect();
    assert_eq!(told, [("a", 42), ("b", 0)]);
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[test]
fn create_with_more_replicas_than_there_are_brokers_is_refused() {
    for (replicas, code) in [(-2, 38), (-1, 0), (0, 38), (1, 0), (2, 38), (i16::MAX, 38)] {
        let topics =
            vec![create_topics::CreatableTopic { replication_factor: replicas, ..topic("a") }];
        let request = create_topics::Request { topics, ..Default::default() };
        let (response, _) = done(&mut Rig::new(), 7, Request::CreateTopics(request));
        let Response::CreateTopics(response) = response else { panic!("{response:?}") };
        assert_eq!(response.topics[0].error_code, code, "{replicas}");
    }
}

#[test]
fn changes_that_are_only_validated_are_asked_for_as_such() {
    let topics = vec![topic("a")];
    let create = create_topics::Request { topics, validate_only: true, ..Default::default() };
    let more = create_partitions::CreatePartitionsTopic {
        name: "orders".to_owned(),
        count: 5,
        assignments: None,
    };
    let more = create_partitions::Request {
        topics: vec![more],
        validate_only: true,
        ..Default::default()
    };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: 2,
        resource_name: "orders".to_owned(),
        configs: Vec::new(),
    };
    let alter = alter_configs::Request { resources: vec![resource], validate_only: true };
    for (version, request) in [
        (7, Request::CreateTopics(create)),
        (3, Request::CreatePartitions(more)),
        (2, Request::AlterConfigs(alter)),
    ] {
        let acts = Rig::new().ask(version, request);
        let [(_, core::Request::Validate(_))] = asked(&acts)[..] else { panic!("{acts:?}") };
    }
}

#[test]
fn create_of_the_metadata_log_is_not_authorized() {
    let topics = vec![topic("__cluster_metadata")];
    let request = create_topics::Request { topics, ..Default::default() };
    let (response, asked) = done(&mut Rig::new(), 7, Request::CreateTopics(request));
    let Response::CreateTopics(response) = response else { panic!("{response:?}") };
    assert_eq!((response.topics[0].error_code, asked.len()), (29, 0));
    // Nor does asking for it create it.
    let name = Some("__cluster_metadata".to_owned());
    let topics = Some(vec![metadata::MetadataRequestTopic { name, ..Default::default() }]);
    let request = metadata::Request { topics, ..Default::default() };
    let acts = Rig::new().ask(9, Request::Metadata(request));
    assert!(matches!(super::asked(&acts)[..], [(_, core::Request::Metadata { .. })]), "{acts:?}");
}

#[test]
fn metadata_of_a_coordinators_topic_leaves_its_creation_to_the_core() {
    let name = Some("__consumer_offsets".to_owned());
    let topics = Some(vec![metadata::MetadataRequestTopic { name, ..Default::default() }]);
    let request = metadata::Request { topics, ..Default::default() };
    let acts = Rig::new().ask(9, Request::Metadata(request));
    let [(_, core::Request::FindCoordinator { kind, .. }), _] = asked(&acts)[..] else {
        panic!("{acts:?}")
    };
    assert_eq!(*kind, core::CoordinatorKind::Group);
}

#[test]
fn create_with_a_config_without_a_value_is_refused() {
    let config =
        create_topics::CreatableTopicConfig { name: "retention.ms".to_owned(), value: None };
    let topics = vec![create_topics::CreatableTopic { configs: vec![config], ..topic("a") }];
    let request = create_topics::Request { topics, ..Default::default() };
    let (response, asked) = done(&mut Rig::new(), 7, Request::CreateTopics(request));
    let Response::CreateTopics(response) = response else { panic!("{response:?}") };
    assert_eq!((response.topics[0].error_code, asked.len()), (40, 0));
}

fn by(name: Option<&str>, id: u128) -> delete_topics::DeleteTopicState {
    delete_topics::DeleteTopicState { name: name.map(str::to_owned), topic_id: Uuid(id) }
}

#[test]
fn delete_refuses_what_is_named_twice_or_in_two_ways() {
    let topics = vec![
        by(Some("orders"), ORDERS.0),
        by(None, 0),
        by(Some("twice"), 0),
        by(None, 5),
        by(Some("twice"), 0),
        by(None, 5),
        by(Some("nowhere"), 0),
    ];
    let request = delete_topics::Request { topics, ..Default::default() };
    let (response, asked) = done(&mut Rig::new(), 6, Request::DeleteTopics(request));
    let Response::DeleteTopics(response) = response else { panic!("{response:?}") };
    let told =
        response.responses.iter().map(|it| (it.name.as_deref(), it.topic_id.0, it.error_code));
    let told: Vec<_> = told.collect();
    let expected = [
        (Some("orders"), ORDERS.0, 42),
        (None, 0, 42),
        (Some("twice"), 0, 42),
        (None, 5, 42),
        (Some("nowhere"), 0, 3),
    ];
    assert_eq!(told, expected);
    assert_eq!(asked, []);
}

#[test]
fn delete_of_a_topic_by_its_name_and_by_its_id_is_refused_once() {
    for topics in
        [[by(Some("orders"), 0), by(None, ORDERS.0)], [by(None, ORDERS.0), by(Some("orders"), 0)]]
    {
        let request = delete_topics::Request { topics: topics.to_vec(), ..Default::default() };
        let (response, asked) = done(&mut Rig::new(), 6, Request::DeleteTopics(request));
        let Response::DeleteTopics(response) = response else { panic!("{response:?}") };
        let [told] = &response.responses[..] else { panic!("{response:?}") };
        assert_eq!((told.name.as_deref(), told.error_code), (Some("orders"), 42));
        assert_eq!(told.topic_id, uuid(ORDERS));
        assert_eq!(asked, []);
    }
}

#[test]
fn delete_of_what_is_gone_meanwhile_has_the_error_of_its_naming() {
    for (version, name, code) in [(5, Some("orders"), 3), (6, Some("orders"), 3), (6, None, 100)] {
        let id = if name.is_none() { ORDERS.0 } else { 0 };
        let request = delete_topics::Request {
            topics: vec![by(name, id)],
            topic_names: vec!["orders".to_owned()],
            ..Default::default()
        };
        let gone = AdminResponse::Error(ErrorCode::UnknownTopicId);
        let answer = core::Response::Admin(gone);
        let response = Rig::new().through(version, Request::DeleteTopics(request), answer);
        let Response::DeleteTopics(response) = response else { panic!("{response:?}") };
        assert_eq!(response.responses[0].error_code, code, "version {version}, {name:?}");
    }
}

#[test]
fn partitions_for_a_topic_named_twice_are_refused_once() {
    let topic = || create_partitions::CreatePartitionsTopic {
        name: "orders".to_owned(),
        count: 5,
        assignments: None,
    };
    let request =
        create_partitions::Request { topics: vec![topic(), topic()], ..Default::default() };
    let (response, asked) = done(&mut Rig::new(), 3, Request::CreatePartitions(request));
    let Response::CreatePartitions(response) = response else { panic!("{response:?}") };
    let told: Vec<_> = response.results.iter().map(|it| (&*it.name, it.error_code)).collect();
    assert_eq!((told, asked.len()), (vec![("orders", 42)], 0));
}

fn altered(resources: Vec<incremental_alter_configs::AlterConfigsResource>) -> (Vec<i16>, usize) {
    let request = incremental_alter_configs::Request { resources, validate_only: false };
    let (response, asked) = done(&mut Rig::new(), 1, Request::IncrementalAlterConfigs(request));
    let Response::IncrementalAlterConfigs(response) = response else { panic!("{response:?}") };
    (response.responses.iter().map(|it| it.error_code).collect(), asked.len())
}

#[test]
fn configs_are_changed_once_and_never_to_null() {
    let change = |config_operation, value: Option<&str>| {
        let name = "retention.ms".to_owned();
        let value = value.map(str::to_owned);
        let config = incremental_alter_configs::AlterableConfig { name, config_operation, value };
        incremental_alter_configs::AlterConfigsResource {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            configs: vec![config],
        }
    };
    for (operation, value, code, parts) in [
        (0, Some("1"), 0, 1),
        (1, None, 0, 1),
        (0, None, 42, 0),
        (2, None, 42, 0),
        (2, Some("1"), 40, 0),
        (9, Some("1"), 42, 0),
    ] {
        let told = altered(vec![change(operation, value)]);
        assert_eq!(told, (vec![code], parts), "{operation}, {value:?}");
    }
    assert_eq!(altered(vec![change(1, None), change(1, None)]), (vec![42], 0));
}

#[test]
fn configs_tell_their_source_type_and_synonyms() {
    let mut rig = Rig::new();
    let topic = rig.image.topics.get_mut(&ORDERS).unwrap();
    topic.configs.insert("retention.ms".to_owned(), "5".to_owned());
    for include_synonyms in [true, false] {
        let resource = describe_configs::DescribeConfigsResource {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            configuration_keys: None,
        };
        let request = describe_configs::Request {
            resources: vec![resource],
            include_synonyms,
            ..Default::default()
        };
        let values = [("max.message.bytes", "9"), ("retention.ms", "5")];
        let values = values.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let answer = core::Response::DescribeConfigs(Ok(values.to_vec()));
        let response = rig.through(4, Request::DescribeConfigs(request), answer);
        let Response::DescribeConfigs(response) = response else { panic!("{response:?}") };
        let configs = &response.results[0].configs;
        let told: Vec<_> = configs.iter().map(|it| (it.config_source, it.config_type)).collect();
        assert_eq!(told, [(5, 3), (1, 5)]);
        assert!(configs.iter().all(|it| it.documentation.is_none()));
        let synonyms = configs.iter().flat_map(|it| &it.synonyms);
        let synonyms: Vec<_> = synonyms.map(|it| (&*it.name, it.source)).collect();
        let all = [("message.max.bytes", 5), ("retention.ms", 1)];
        assert_eq!(synonyms, if include_synonyms { &all[..] } else { &[] });
    }
}

#[test]
fn configs_of_brokers_are_those_of_the_one_that_is_asked() {
    for (resource_type, name, code) in [(4, "1", 0), (4, "", 0), (4, "2", 42), (32, "g", 42)] {
        let resource = describe_configs::DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: None,
        };
        let request = describe_configs::Request { resources: vec![resource], ..Default::default() };
        let acts = Rig::new().ask(4, Request::DescribeConfigs(request));
        let [Act::Answer { response: Response::DescribeConfigs(response), .. }] = &acts[..] else {
            panic!("{acts:?}")
        };
        let result = &response.results[0];
        assert_eq!(result.error_code, code, "{resource_type} {name:?}");
        assert_eq!(result.error_message.is_some(), code != 0);
    }
}

#[test]
fn configs_replaced_unset_what_is_not_named() {
    let mut rig = Rig::new();
    let set = &mut rig.image.topics.get_mut(&ORDERS).unwrap().configs;
    for key in ["retention.ms", "max.message.bytes"] {
        set.insert(key.to_owned(), "5".to_owned());
    }
    for (value, code) in [(Some("6"), 0), (None, 42)] {
        let (name, value) = ("retention.ms".to_owned(), value.map(str::to_owned));
        let resource = alter_configs::AlterConfigsResource {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            configs: vec![alter_configs::AlterableConfig { name, value }],
        };
        let request = alter_configs::Request { resources: vec![resource], validate_only: false };
        let (response, asked) = done(&mut rig, 2, Request::AlterConfigs(request));
        let Response::AlterConfigs(response) = response else { panic!("{response:?}") };
        assert_eq!(response.responses[0].error_code, code);
        let changes = [("retention.ms", Some("6")), ("max.message.bytes", None)];
        let changes = changes.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        let expected = AdminRequest::AlterConfigs { topic: ORDERS, configs: changes.to_vec() };
        let expected = [core::Request::Admin(expected)];
        assert_eq!(asked, if code == 0 { &expected[..] } else { &[] });
    }
}

#[test]
fn operations_are_all_of_them_for_who_asks() {
    for (asks, of_topic, of_cluster) in [(true, 3_576, 8_096), (false, i32::MIN, i32::MIN)] {
        let request = metadata::Request {
            include_topic_authorized_operations: asks,
            include_cluster_authorized_operations: asks,
            ..Default::default()
        };
        let (index, leader, leader_epoch) = (PartitionIndex(0), Some(NodeId(1)), LeaderEpoch(1));
        let partition = core::PartitionMetadata { index, leader, leader_epoch };
        let result = Ok((ORDERS, vec![partition]));
        let topics = vec![core::TopicMetadata { name: "orders".to_owned(), result }];
        let described = core::MetadataResponse { brokers: Vec::new(), topics };
        let answer = core::Response::Metadata(described);
        let response = Rig::new().through(9, Request::Metadata(request), answer);
        let Response::Metadata(response) = response else { panic!("{response:?}") };
        assert_eq!(response.topics[0].topic_authorized_operations, of_topic);
        assert_eq!(response.cluster_authorized_operations, of_cluster);
    }
}
