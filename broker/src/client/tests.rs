//! What a dialog says is what the front hears, and what the front answers is what a dialog tells:
//! every kind, in every version. And brokers that are old, odd or hostile.

use std::collections::BTreeMap;

use broker_core::ids::{ConnId, NodeId, TopicId, TopicPartition};
use broker_core::metadata::Image;
use broker_core::metadata::image::TopicState;
use broker_core::protocol::{ErrorCode, Request, Response};
use bytes::{Buf, Bytes};

use super::*;
use crate::front::{self, Front};
use crate::wire::Header;

mod hostile;
mod old;
mod samples;

use samples::{Sample, samples};

const ORDERS: TopicId = TopicId(7);
const COPIES: TopicId = TopicId(1 << 100);
const CONN: ConnId = ConnId(1);
/// The client's name for itself.
const CLIENT: &str = "me";

fn at(topic: TopicId, index: u32) -> TopicPartition {
    TopicPartition { topic, index: broker_core::ids::PartitionIndex(index) }
}

/// A dialog, and the front of a broker behind it.
struct Rig {
    dialog: Dialog,
    directory: Directory,
    front: Front,
    cluster: front::Cluster,
    image: Image,
}

impl Rig {
    /// A broker that speaks these versions of a call, and all others that we know.
    fn speaking(limits: &[(ApiKey, (i16, i16))]) -> Self {
        let mut image = Image::default();
        image.brokers.insert(NodeId(1), front::tests::broker());
        for (name, topic) in [("orders", ORDERS), ("copies", COPIES)] {
            let (nonce, partitions, configs) = (0, 3, BTreeMap::new());
            let name = name.to_owned();
            image.topic_ids.insert(name.clone(), topic);
            image.topics.insert(topic, TopicState { name, nonce, partitions, configs });
        }
        let listener = |node: u16| (NodeId(node), (format!("host-{node}"), 9_000 + node));
        let cluster = front::Cluster {
            id: "cluster".to_owned(),
            node: NodeId(1),
            listeners: [1, 2].map(listener).into(),
            partitions_default: 1,
            creates_topics: true,
        };
        let (dialog, hello) = Dialog::hello(CLIENT);
        let (directory, front) = (Directory::default(), Front::default());
        let mut rig = Self { dialog, directory, front, cluster, image };
        let (header, request) = wire::read_request(unframed(&hello)).unwrap();
        let (header, response) = rig.at_once(header, request);
        let wire::Response::ApiVersions(mut told) = response else { panic!("{response:?}") };
        for &(key, (min_version, max_version)) in limits {
            told.api_keys.retain(|it| it.api_key != key as i16);
            let api_key = key as i16;
            told.api_keys.push(api_versions::ApiVersion { api_key, min_version, max_version });
        }
        assert!(rig.hear(&header, &wire::Response::ApiVersions(told)).unwrap().is_empty());
        rig.directory.names.learn("orders", crate::wire::codec::Uuid(ORDERS.0));
        rig.directory.names.learn("copies", crate::wire::codec::Uuid(COPIES.0));
        rig
    }

    /// What the front answers without the core.
    fn at_once(&mut self, header: Header, request: wire::Request) -> (Header, wire::Response) {
        let acts = self.front.request((&self.cluster, &self.image), CONN, (header, request));
        let [front::Act::Answer { header, response }] = &acts[..] else { panic!("{acts:?}") };
        (header.clone(), response.clone())
    }

    fn hear(&mut self, header: &Header, response: &wire::Response) -> Result<Vec<Act>, Broken> {
        let frame = wire::write_response(header, response);
        self.dialog.frame(&mut self.directory, unframed(&frame))
    }

    /// What is sent for a request; a refusal if it can not be said.
    fn say(&mut self, corr: u32, request: &Request) -> Result<Bytes, Refusal> {
        let mut acts = self.dialog.request(&self.directory, corr, request.clone());
        assert_eq!(acts.len(), 1, "{acts:?}");
        match acts.pop() {
            Some(Act::Send(frame)) => Ok(frame),
            Some(Act::Refused { refusal, .. }) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// What the core is asked, by which call, and the frame of its answer.
    fn answer(&mut self, sent: &Bytes, answer: &Response) -> (Header, Request, Bytes) {
        let read = wire::read_request(unframed(sent)).unwrap();
        let view = (&self.cluster, &self.image);
        let acts = self.front.request(view, CONN, read);
        let [front::Act::Ask { corr, request }] = &acts[..] else { panic!("{acts:?}") };
        let acts = self.front.answered(view, CONN, (*corr, answer.clone()));
        let [front::Act::Answer { header, response }] = &acts[..] else { panic!("{acts:?}") };
        let frame = unframed(&wire::write_response(header, response));
        (header.clone(), request.clone(), frame)
    }
}

/// A frame without its length, which must be right.
fn unframed(frame: &Bytes) -> Bytes {
    let mut frame = frame.clone();
    let length = frame.get_i32();
    assert_eq!(usize::try_from(length).unwrap(), frame.len());
    frame
}

/// The versions of a call that both sides could speak.
fn versions(key: ApiKey) -> impl Iterator<Item = i16> {
    let (oldest, newest) = key.versions();
    oldest..=newest
}

#[test]
fn dialog_says_what_the_front_hears_and_tells_what_it_answers_in_every_version() {
    for Sample { key, exact, request, answer } in samples() {
        let mut same = 0;
        for version in versions(key) {
            let mut rig = Rig::speaking(&[(key, (0, version))]);
            let at = format!("{key:?} {version}: {request:?}");
            let Ok(sent) = rig.say(9, &request) else {
                assert!(!exact.contains(&version), "{at}: refused");
                continue;
            };
            let (header, heard, frame) = rig.answer(&sent, &answer);
            let told = rig.dialog.frame(&mut rig.directory, frame);
            let told = told.unwrap_or_else(|broken| panic!("{at}: {broken}"));
            let [Act::Answer { corr: 9, response }] = &told[..] else { panic!("{at}: {told:?}") };
            assert!(header.version <= version, "{at}");
            if exact.contains(&version) {
                assert_eq!((header.key, header.version), (key, version), "{at}");
                assert_eq!(heard, request, "{at}");
                assert_eq!(*response, answer, "{at}");
                same += 1;
            }
        }
        assert_eq!(same, exact.len(), "{key:?}: {request:?}");
    }
}

#[test]
fn dialog_produce_without_acks_waits_for_nothing() {
    let mut rig = Rig::speaking(&[]);
    let request = samples::produce(core::Acks::None, None);
    let sent = rig.say(1, &request).unwrap();
    let read = wire::read_request(unframed(&sent)).unwrap();
    let acts = rig.front.request((&rig.cluster, &rig.image), CONN, read);
    let [front::Act::Ask { request: heard, .. }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(*heard, request);
    let versions =
        Request::FindCoordinator { kind: core::CoordinatorKind::Group, name: "readers".to_owned() };
    let sent = rig.say(2, &versions).unwrap();
    let (.., frame) = rig.answer(&sent, &Response::FindCoordinator(Ok(NodeId(2))));
    let told = rig.dialog.frame(&mut rig.directory, frame).unwrap();
    assert!(matches!(told[..], [Act::Answer { corr: 2, .. }]), "{told:?}");
    let address = rig.directory.brokers.address(NodeId(2));
    assert_eq!(address, Some(&("host-2".to_owned(), 9_002)));
}

#[test]
fn dialog_requests_before_the_versions_are_known_wait_and_keep_their_order() {
    let (mut dialog, hello) = Dialog::hello(CLIENT);
    let mut directory = Directory::default();
    let asked = [Request::InitProducerId, Request::Metadata { topics: None }];
    for (corr, request) in (0..).zip(asked) {
        assert!(dialog.request(&directory, corr, request).is_empty());
    }
    assert_eq!(dialog.transaction_version(), None);
    let (header, _) = wire::read_request(unframed(&hello)).unwrap();
    let told = wire::Response::ApiVersions(old::all_versions());
    let frame = unframed(&wire::write_response(&header, &told));
    let acts = dialog.frame(&mut directory, frame).unwrap();
    let sent = |act: &Act| match act {
        Act::Send(frame) => wire::read_request(unframed(frame)).unwrap().0.key,
        other => panic!("{other:?}"),
    };
    let keys: Vec<_> = acts.iter().map(sent).collect();
    assert_eq!(keys, [ApiKey::InitProducerId, ApiKey::Metadata]);
    // Without the feature the calls alone do not make the second protocol.
    assert_eq!(dialog.transaction_version(), Some(TransactionVersion::V1));
}

#[test]
fn dialog_follows_the_second_transaction_protocol_of_our_own_broker() {
    assert_eq!(Rig::speaking(&[]).dialog.transaction_version(), Some(TransactionVersion::V2));
    let old = Rig::speaking(&[(ApiKey::EndTxn, (0, 4))]);
    assert_eq!(old.dialog.transaction_version(), Some(TransactionVersion::V1));
}

#[test]
fn dialog_refusal_is_told_behind_the_answers_before_it() {
    let mut rig = Rig::speaking(&[(ApiKey::InitProducerId, (90, 91))]);
    let first = Request::DescribeConfigs { topic: "orders".to_owned() };
    let sent = rig.say(1, &first).unwrap();
    let acts = rig.dialog.request(&rig.directory, 2, Request::InitProducerId);
    assert!(acts.is_empty(), "{acts:?}");
    let (.., frame) = rig.answer(&sent, &Response::DescribeConfigs(Ok(Vec::new())));
    let told = rig.dialog.frame(&mut rig.directory, frame).unwrap();
    let [Act::Answer { corr: 1, .. }, Act::Refused { corr: 2, refusal, response }] = &told[..]
    else {
        panic!("{told:?}")
    };
    let code = ErrorCode::UnsupportedVersion;
    assert_eq!(response, &Some(Response::InitProducerId(Err(code))));
    let text = "InitProducerId is needed in version 0 to 5, and the broker speaks 90 to 91";
    assert_eq!(refusal.to_string(), text);
}

#[test]
fn dialog_of_a_topic_whose_name_is_another_ones_now_does_not_ask_by_name() {
    let mut rig = Rig::speaking(&[]);
    let asked = core::ListOffsetsPartition {
        partition: at(ORDERS, 0),
        current_leader_epoch: None,
        spec: core::OffsetSpec::Latest,
    };
    let isolation = core::Isolation::ReadUncommitted;
    let by_name = Request::ListOffsets { isolation, partitions: vec![asked] };
    rig.directory.names.learn("orders", crate::wire::codec::Uuid(8));
    assert_eq!(rig.say(1, &by_name), Err(Refusal::UnknownTopic { topic: ORDERS }));
    // What is asked by id is asked all the same.
    let delete = Request::Admin(core::AdminRequest::DeleteTopic { topic: ORDERS });
    let produce = samples::produce(core::Acks::All, None);
    assert!([delete, produce].iter().all(|by_id| rig.say(2, by_id).is_ok()));
    // Before version 13 Produce names topics by name, too.
    let mut rig = Rig::speaking(&[(ApiKey::Produce, (3, 12))]);
    rig.directory.names.learn("orders", crate::wire::codec::Uuid(8));
    let produce = samples::produce(core::Acks::All, None);
    assert_eq!(rig.say(1, &produce), Err(Refusal::UnknownTopic { topic: ORDERS }));
}
