//! Brokers that are older than we are, and others.

use super::*;
use crate::wire::codec::Uuid;
use crate::wire::messages::cluster::metadata;

/// Everything that we speak, and no features.
pub(super) fn all_versions() -> api_versions::Response {
    let key = |key: &ApiKey| {
        let (min_version, max_version) = key.versions();
        api_versions::ApiVersion { api_key: *key as i16, min_version, max_version }
    };
    let api_keys = ApiKey::ALL.iter().map(key).collect();
    api_versions::Response { api_keys, ..Default::default() }
}

#[test]
fn dialog_asks_an_older_broker_again_in_the_version_that_it_speaks() {
    let (mut dialog, hello) = Dialog::hello(CLIENT);
    let mut directory = Directory::default();
    let (header, _) = wire::read_request(unframed(&hello)).unwrap();
    assert_eq!(header.version, 4);
    let mut told = all_versions();
    told.error_code = 35;
    told.api_keys.retain(|it| it.api_key != ApiKey::ApiVersions as i16);
    told.api_keys.push(api_versions::ApiVersion { api_key: 18, min_version: 0, max_version: 2 });
    let oldest = Header { version: 0, ..header };
    let frame = wire::write_response(&oldest, &wire::Response::ApiVersions(told.clone()));
    let acts = dialog.frame(&mut directory, unframed(&frame)).unwrap();
    let [Act::Send(again)] = &acts[..] else { panic!("{acts:?}") };
    let (header, _) = wire::read_request(unframed(again)).unwrap();
    assert_eq!((header.key, header.version), (ApiKey::ApiVersions, 2));
    told.error_code = 0;
    let frame = wire::write_response(&header, &wire::Response::ApiVersions(told));
    assert!(dialog.frame(&mut directory, unframed(&frame)).unwrap().is_empty());
    assert!(dialog.versions().is_some());
}

#[test]
fn dialog_of_a_broker_that_keeps_its_versions_to_itself_is_broken() {
    for (version, error_code) in [(4, 42), (0, 35)] {
        let (mut dialog, hello) = Dialog::hello(CLIENT);
        let (header, _) = wire::read_request(unframed(&hello)).unwrap();
        let told = api_versions::Response { error_code, ..Default::default() };
        let header = Header { version, ..header };
        let frame = wire::write_response(&header, &wire::Response::ApiVersions(told));
        let told = dialog.frame(&mut Directory::default(), unframed(&frame));
        assert!(matches!(told, Err(Broken::NoVersions(_))), "{told:?}");
    }
}

/// A broker that tells this of topic `old`.
fn told(rig: &mut Rig, topic_id: Uuid, leader_epoch: i32) -> Response {
    let names = Request::Metadata { topics: Some(vec!["old".to_owned()]) };
    let sent = rig.say(1, &names).unwrap();
    let (header, _) = wire::read_request(unframed(&sent)).unwrap();
    let partition = metadata::MetadataResponsePartition {
        leader_id: 100_001,
        leader_epoch,
        ..metadata_partition()
    };
    let topic = metadata::MetadataResponseTopic {
        name: Some("old".to_owned()),
        topic_id,
        partitions: vec![partition],
        ..Default::default()
    };
    let broker = metadata::MetadataResponseBroker {
        node_id: 100_001,
        host: "far".to_owned(),
        port: 9_092,
        rack: None,
    };
    let (brokers, topics) = (vec![broker], vec![topic]);
    let response = metadata::Response { brokers, topics, ..Default::default() };
    let acts = rig.hear(&header, &wire::Response::Metadata(response)).unwrap();
    let [Act::Answer { response, .. }] = &acts[..] else { panic!("{acts:?}") };
    response.clone()
}

fn metadata_partition() -> metadata::MetadataResponsePartition {
    metadata::MetadataResponsePartition {
        error_code: 0,
        partition_index: 0,
        leader_id: 0,
        leader_epoch: 0,
        replica_nodes: Vec::new(),
        isr_nodes: Vec::new(),
        offline_replicas: Vec::new(),
    }
}

#[test]
fn dialog_topics_of_a_broker_without_ids_are_asked_about_by_name_and_without_epochs() {
    let mut rig = Rig::speaking(&[]);
    let Response::Metadata(known) = told(&mut rig, Uuid(0), -1) else { panic!("metadata") };
    let Ok((topic, partitions)) = &known.topics[0].result else { panic!("{known:?}") };
    let leader = partitions[0].leader.unwrap();
    assert_eq!(known.brokers, [leader]);
    assert_eq!(rig.directory.brokers.address(leader), Some(&("far".to_owned(), 9_092)));
    assert_eq!(rig.directory.brokers.id(leader), Some(100_001));
    let fetch = core::FetchPartition {
        partition: at(*topic, 0),
        fetch_offset: broker_core::ids::Offset(0),
        current_leader_epoch: Some(partitions[0].leader_epoch),
        last_fetched_epoch: None,
        bytes_max: 1,
    };
    let fetch = Request::Fetch(core::FetchRequest {
        isolation: core::Isolation::ReadUncommitted,
        wait_max: broker_core::time::Dur(0),
        bytes_min: 0,
        bytes_max: 1,
        partitions: vec![fetch],
    });
    let sent = rig.say(2, &fetch).unwrap();
    let (header, request) = wire::read_request(unframed(&sent)).unwrap();
    let wire::Request::Fetch(request) = request else { panic!("{request:?}") };
    assert_eq!((header.version, &*request.topics[0].topic), (12, "old"));
    assert_eq!(request.topics[0].partitions[0].current_leader_epoch, -1);
    // The same for every client of this cluster.
    let mut other = Rig::speaking(&[]);
    assert_eq!(told(&mut other, Uuid(0), -1), Response::Metadata(known));
}

#[test]
fn dialog_error_without_a_name_is_told_as_unknown_and_counted() {
    let mut rig = Rig::speaking(&[]);
    let (sent, refused) = (rig.say(1, &Request::InitProducerId).unwrap(), 31);
    let (header, _) = wire::read_request(unframed(&sent)).unwrap();
    let response = wire::messages::transactions::init_producer_id::Response {
        error_code: refused,
        ..Default::default()
    };
    let acts = rig.hear(&header, &wire::Response::InitProducerId(response)).unwrap();
    let [Act::Answer { response, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(*response, Response::InitProducerId(Err(ErrorCode::UnknownServerError)));
    assert_eq!(rig.directory.unnamed(), &BTreeMap::from([(refused, 1)]));
}

#[test]
fn dialog_fetched_batch_that_is_cut_is_left_out() {
    let Sample { request, answer, .. } =
        samples().into_iter().find(|it| it.key == ApiKey::Fetch).unwrap();
    let mut rig = Rig::speaking(&[]);
    let sent = rig.say(1, &request).unwrap();
    let (header, _, frame) = rig.answer(&sent, &answer);
    let (_, mut response) = wire::read_response(&header, frame).unwrap();
    let wire::Response::Fetch(fetched) = &mut response else { panic!("{response:?}") };
    let records = &mut fetched.responses[0].partitions[0].records;
    *records = records.as_ref().map(|records| records.slice(..records.len() - 1));
    let acts = rig.hear(&header, &response).unwrap();
    let [Act::Answer { response: Response::Fetch(told), .. }] = &acts[..] else {
        panic!("{acts:?}")
    };
    let batches = told[0].result.as_ref().unwrap().batches.iter().map(Bytes::len);
    assert_eq!(batches.collect::<Vec<_>>(), [12], "the second one is cut");
}

#[test]
fn brokers_get_their_own_node_ids_if_they_can() {
    let mut brokers = Brokers::default();
    let first = brokers.bootstrap("a", 1);
    assert_eq!(first, NodeId(u16::MAX));
    assert_eq!(brokers.node(5).unwrap(), NodeId(5));
    let taken = i32::from(u16::MAX);
    assert_eq!(brokers.node(taken).unwrap(), NodeId(u16::MAX - 1));
    assert_eq!(brokers.node(-7).unwrap(), NodeId(u16::MAX - 2));
    assert_eq!(brokers.node(taken).unwrap(), NodeId(u16::MAX - 1), "and keep them");
}
