//! Admin requests.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::rig::*;
use crate::ids::*;
use crate::mutants::Mutants;
use crate::peer::{ControllerAnswer, ControllerRequest};
use crate::protocol::{AdminRequest, AdminResponse, ErrorCode, MAX_PARTITIONS};
use crate::time::Dur;

fn create(name: &str, partitions: u32, configs: &[(&str, &str)]) -> AdminRequest {
    let configs = configs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    AdminRequest::CreateTopic { name: name.to_string(), partitions, configs }
}

fn alter(topic: TopicId, configs: &[(&str, Option<&str>)]) -> AdminRequest {
    let configs =
        configs.iter().map(|(k, v)| (k.to_string(), v.map(ToString::to_string))).collect();
    AdminRequest::AlterConfigs { topic, configs }
}

#[test]
fn create_topic_refusals_are_kafkas() {
    let mut rig = Rig::one(Mutants::NONE);
    rig.topic("taken", 1);
    rig.topic("a.b", 1);
    let long = "x".repeat(250);
    let bytes = |value| [("max.message.bytes", value)];
    let cases = [
        (create("", 1, &[]), ErrorCode::InvalidTopicException),
        (create(".", 1, &[]), ErrorCode::InvalidTopicException),
        (create("..", 1, &[]), ErrorCode::InvalidTopicException),
        (create("sl/ash", 1, &[]), ErrorCode::InvalidTopicException),
        (create("ümlaut", 1, &[]), ErrorCode::InvalidTopicException),
        (create(&long, 1, &[]), ErrorCode::InvalidTopicException),
        (create("a_b", 1, &[]), ErrorCode::InvalidTopicException),
        (create("taken", 0, &[]), ErrorCode::TopicAlreadyExists),
        (create("t", 0, &[]), ErrorCode::InvalidPartitions),
        (create("t", MAX_PARTITIONS + 1, &[]), ErrorCode::InvalidPartitions),
        (create("t", 1, &[("no.such", "1")]), ErrorCode::InvalidConfig),
        (create("t", 1, &bytes("-1")), ErrorCode::InvalidConfig),
        (create("t", 1, &bytes("2147483648")), ErrorCode::InvalidConfig),
        (create("t", 1, &bytes("many")), ErrorCode::InvalidConfig),
        (create("t", 1, &[("retention.ms", "-2")]), ErrorCode::InvalidConfig),
        (create("t", 1, &[("message.timestamp.type", "Now")]), ErrorCode::InvalidConfig),
        (create("t", 1, &[("cleanup.policy", "compact")]), ErrorCode::InvalidConfig),
        (
            create("t", 1, &[("retention.ms", "1"), ("retention.ms", "2")]),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (nonce, (request, expected)) in (100..).zip(cases) {
        let refused = AdminResponse::Error(expected);
        assert_eq!(rig.admin(nonce, request.clone()), refused, "{request:?}");
        assert_eq!(rig.validate(request.clone()), refused, "{request:?}");
    }
    // Only whether it could be: with an id, as Kafka has it, and no topic of it.
    let only = create("t", 1, &[("cleanup.policy", "delete")]);
    for _ in 0..2 {
        assert!(matches!(rig.validate(only.clone()), AdminResponse::Created(_)));
    }
    assert_eq!(rig.image().topics.len(), 2, "no refusal leaves a trace");
    let name = "x".repeat(249);
    let configs = [
        ("max.message.bytes", " 5 "),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "-1"),
    ];
    let AdminResponse::Created(topic) = rig.admin(1, create(&name, MAX_PARTITIONS, &configs))
    else {
        panic!()
    };
    let state = &rig.image().topics[&topic];
    assert_eq!((state.partitions, state.configs.len()), (MAX_PARTITIONS, 3));
    assert_eq!(state.configs["max.message.bytes"], "5");
}

#[test]
fn create_topic_retried_gets_its_own_topic() {
    let mut rig = Rig::one(Mutants::NONE);
    let request = ControllerRequest::Admin { nonce: 7, request: create("t", 1, &[]) };
    let ids = [rig.post(A, request.clone()), rig.post(A, request.clone())];
    rig.pass(Dur::ms(20));
    let first = rig.answer(ids[0]);
    assert!(matches!(first, Some(Ok(ControllerAnswer::Admin(AdminResponse::Created(_))))));
    assert_eq!(rig.answer(ids[1]), first);
    let exists = AdminResponse::Error(ErrorCode::TopicAlreadyExists);
    assert_eq!(rig.admin(8, create("t", 1, &[])), exists);
    let topic = rig.image().topic_ids["t"];
    assert_eq!(rig.admin(9, AdminRequest::DeleteTopic { topic }), AdminResponse::Done);
    assert_eq!(Some(rig.ask(A, request)), first, "a late retry does not bring it back");
    assert!(rig.image().topics.is_empty());
}

#[test]
fn delete_topic_takes_everything_along() {
    let mut rig = Rig::one(Mutants::NONE);
    let a = (A, rig.join(A, 1));
    let topic = rig.topic("t", 3);
    assert_eq!(rig.open(a, 0, 0), opened(0));
    let delete = AdminRequest::DeleteTopic { topic };
    assert_eq!(rig.admin(1, delete.clone()), AdminResponse::Done);
    assert_eq!(rig.admin(1, delete.clone()), AdminResponse::Done, "a retry");
    assert_eq!(rig.admin(2, delete), AdminResponse::Error(ErrorCode::UnknownTopicId));
    let image = rig.image();
    assert!(image.partitions.is_empty() && image.streams.is_empty() && image.topic_ids.is_empty());
    assert_eq!(image.open_streams(A, a.1).count() + image.partition_count(A), 0);
    assert_ne!(rig.topic("t2", 1), topic);
}

#[test]
fn create_partitions_only_adds() {
    let mut rig = Rig::one(Mutants::NONE);
    rig.join(A, 1);
    let topic = rig.topic("t", 2);
    let raise = |count| AdminRequest::CreatePartitions { topic, count };
    let invalid = AdminResponse::Error(ErrorCode::InvalidPartitions);
    assert_eq!(rig.admin(1, raise(2)), invalid);
    assert_eq!(rig.admin(2, raise(1)), invalid);
    assert_eq!(rig.admin(3, raise(MAX_PARTITIONS + 1)), invalid);
    assert_eq!(rig.admin(4, raise(5)), AdminResponse::Done);
    assert_eq!(rig.admin(4, raise(5)), AdminResponse::Done, "a retry");
    assert_eq!(rig.admin(5, raise(5)), invalid, "another request");
    assert_eq!(rig.image().topics[&topic].partitions, 5);
    assert_eq!(rig.image().partition_count(A), 5);
    let unknown = AdminRequest::CreatePartitions { topic: TopicId(1), count: 5 };
    assert_eq!(rig.admin(6, unknown), AdminResponse::Error(ErrorCode::UnknownTopicId));
}

#[test]
fn alter_configs_is_whole_or_nothing() {
    let mut rig = Rig::one(Mutants::NONE);
    let topic = rig.topic("t", 1);
    let (bytes, retention) = ("max.message.bytes", "retention.ms");
    let set = alter(topic, &[(bytes, Some("10")), (retention, Some("20"))]);
    assert_eq!(rig.admin(1, set.clone()), AdminResponse::Done);
    let end = rig.image().end;
    assert_eq!(rig.admin(1, set), AdminResponse::Done);
    assert_eq!(rig.image().end, end, "a retry writes nothing");
    let configs = |rig: &Rig| -> Vec<(String, String)> {
        rig.image().topics[&topic].configs.clone().into_iter().collect()
    };
    let before = configs(&rig);
    assert_eq!(before, [(bytes.into(), "10".into()), (retention.into(), "20".into())]);
    let cases = [
        (alter(topic, &[(bytes, Some("1")), (retention, Some("x"))]), ErrorCode::InvalidConfig),
        (alter(topic, &[(bytes, Some("1")), ("no.such", None)]), ErrorCode::InvalidConfig),
        (alter(topic, &[(bytes, None), (bytes, None)]), ErrorCode::InvalidRequest),
        (alter(TopicId(1), &[(bytes, None)]), ErrorCode::UnknownTopicId),
    ];
    for (nonce, (request, expected)) in (10..).zip(cases) {
        assert_eq!(rig.admin(nonce, request), AdminResponse::Error(expected));
    }
    assert_eq!(configs(&rig), before);
    let unset = alter(topic, &[(bytes, None)]);
    assert_eq!(rig.admin(20, unset), AdminResponse::Done);
    assert_eq!(configs(&rig), [(retention.into(), "20".into())]);
}

#[test]
fn admin_retried_at_the_next_controller_gets_the_same_answer() {
    let mut rig = Rig::of(3, Mutants::NONE);
    rig.join(A, 1);
    let topic = rig.topic("t", 1);
    let raise = AdminRequest::CreatePartitions { topic, count: 2 };
    assert_eq!(rig.admin(1, raise.clone()), AdminResponse::Done);
    let old = rig.active();
    rig.crash(old);
    rig.elect();
    assert_eq!(rig.admin(1, raise), AdminResponse::Done);
    assert_eq!(rig.topic("t", 1), topic);
}
