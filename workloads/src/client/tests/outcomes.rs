//! What each error code makes of a call.

use broker_core::batch;
use broker_core::protocol::{AdminRequest, AdminResponse};

use super::*;

/// A client with one produce in flight.
fn producing(acks: i8, damaged: bool) -> (Rig, Sent) {
    let mut rig = Rig::new();
    rig.op(1, produce(acks, damaged));
    rig.metadata(&[(Some(B1), 4)]);
    let sent = rig.take();
    (rig, sent)
}

#[test]
fn produce_answered_ok_is_ok() {
    let (mut rig, sent) = producing(-1, false);
    assert_eq!(sent.to, B1);
    let header = batch::verify_produced(&batch_of(&sent.req)).unwrap();
    assert_eq!(header.records, 2);
    let (first_value, acks) = (4 << 40, Acks::All);
    let created = header.max_timestamp.wall();
    let (partition, count, damaged, idempotent) = (tp(0), 2, false, false);
    let transactional = None;
    let call = Call::Produce {
        partition,
        acks,
        first_value,
        count,
        damaged,
        created,
        idempotent,
        transactional,
    };
    assert_eq!(rig.invokes(), [&call]);
    assert!(!rig.client.is_idle());
    rig.answer(&sent, produced(5));
    let answer = Answer::Produced { base: Offset(5), log_append_time: None };
    assert_eq!(rig.ends(), [&CallEvent::Ok(answer)]);
    rig.assert_finished();
}

#[test]
fn produce_refused_is_failed_only_where_the_code_proves_it() {
    use ErrorCode as E;
    for acks in [-1i8, 1] {
        for code in CODES {
            let (mut rig, sent) = producing(acks, false);
            rig.answer(&sent, refused(*code));
            let (definite, done) = match code {
                E::MessageTooLarge
                | E::InvalidTimestamp
                | E::InvalidRecord
                | E::InvalidTopicException
                | E::InvalidRequiredAcks
                | E::InvalidRequest
                | E::InvalidTxnState
                | E::InvalidProducerIdMapping
                | E::TransactionalIdAuthorizationFailed
                | E::TransactionAbortable => (true, true),
                E::CorruptMessage
                | E::NotEnoughReplicas
                | E::ThrottlingQuotaExceeded
                | E::OutOfOrderSequenceNumber
                | E::InvalidProducerEpoch => (true, false),
                E::UnknownTopicOrPartition | E::UnknownTopicId => (acks == 1, false),
                _ => (false, false),
            };
            let expected = if definite { CallEvent::Fail(*code) } else { CallEvent::Unknown };
            assert_eq!(rig.ends(), [&expected], "{code:?} with acks {acks}");
            assert_eq!(rig.client.is_idle(), done, "{code:?} with acks {acks}");
        }
    }
}

#[test]
fn produce_tried_again_is_a_new_call_with_new_values() {
    for code in [ErrorCode::RequestTimedOut, ErrorCode::ThrottlingQuotaExceeded] {
        let (mut rig, first) = producing(-1, false);
        rig.answer(&first, refused(code));
        rig.fire(ClientTimer::Session(1));
        let second = rig.take();
        assert_ne!(batch_of(&first.req), batch_of(&second.req));
        let values: Vec<_> = rig
            .invokes()
            .iter()
            .map(|call| match call {
                Call::Produce { first_value, .. } => *first_value,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values, [4 << 40, (4 << 40) + 2]);
        let calls: BTreeSet<u32> = rig.history.iter().map(|seen| seen.call).collect();
        assert_eq!(calls.len(), 2);
        rig.answer(&second, produced(1));
        rig.assert_finished();
    }
}

#[test]
fn produce_damaged_is_refused_once_and_for_all() {
    let (mut rig, sent) = producing(1, true);
    assert_eq!(batch::verify(&batch_of(&sent.req)), Err(batch::BatchError::Checksum));
    assert!(matches!(rig.invokes()[..], [Call::Produce { damaged: true, .. }]));
    rig.answer(&sent, refused(ErrorCode::CorruptMessage));
    assert_eq!(rig.ends(), [&CallEvent::Fail(ErrorCode::CorruptMessage)]);
    rig.assert_finished();
}

#[test]
fn produce_without_acks_is_unknown_at_once() {
    let (mut rig, sent) = producing(0, false);
    assert!(matches!(sent.req, Request::Produce(ProduceRequest { acks: Acks::None, .. })));
    assert_eq!(rig.ends(), [&CallEvent::Unknown]);
    rig.assert_finished();
    // Whoever answers all the same breaks the protocol.
    rig.answer(&sent, produced(0));
    assert_eq!(rig.client.disorders(), 1);
}

#[test]
fn admin_refused_is_failed_only_where_the_code_proves_it() {
    use ErrorCode as E;
    for code in CODES {
        let mut rig = Rig::new();
        rig.op(1, Op::CreateTopic { topic: "t".to_string(), partitions: 1 });
        let sent = rig.take();
        rig.answer(&sent, Response::Admin(AdminResponse::Error(*code)));
        let (definite, done) = match code {
            E::TopicAlreadyExists
            | E::InvalidTopicException
            | E::InvalidPartitions
            | E::InvalidConfig
            | E::InvalidRequest
            | E::UnknownTopicOrPartition
            | E::UnknownTopicId => (true, true),
            E::ThrottlingQuotaExceeded => (true, false),
            _ => (false, false),
        };
        let expected = if definite { CallEvent::Fail(*code) } else { CallEvent::Unknown };
        assert_eq!(rig.ends(), [&expected], "{code:?}");
        assert_eq!(rig.client.is_idle(), done, "{code:?}");
    }
}

#[test]
fn admin_created_gives_the_id() {
    let mut rig = Rig::new();
    rig.op(1, Op::CreateTopic { topic: "t".to_string(), partitions: 3 });
    let sent = rig.take();
    let Request::Admin(AdminRequest::CreateTopic { partitions: 3, .. }) = &sent.req else {
        panic!("{:?}", sent.req)
    };
    rig.answer(&sent, Response::Admin(AdminResponse::Created(T)));
    assert_eq!(rig.ends(), [&CallEvent::Ok(Answer::Created(T))]);
    rig.assert_finished();
}

#[test]
fn admin_delete_tried_again_does_not_mean_the_namesake() {
    let mut rig = Rig::new();
    rig.op(1, Op::DeleteTopic { topic: "t".to_string() });
    rig.metadata(&[(Some(B0), 0)]);
    let sent = rig.take();
    rig.gone(sent.conn);
    assert_eq!(rig.ends(), [&CallEvent::Unknown]);
    rig.rested();
    rig.metadata_of(Some(TopicId(8)), &[(Some(B0), 0)]);
    rig.fire(ClientTimer::Session(1));
    let again = rig.take();
    let Request::Admin(AdminRequest::DeleteTopic { topic }) = again.req else {
        panic!("{:?}", again.req)
    };
    assert_eq!(topic, T);
}

#[test]
fn query_refused_is_failed_and_asked_again_unless_pointless() {
    for code in CODES {
        let mut rig = Rig::new();
        let spec = crate::op::ListSpec::AgoMs(1_000);
        let (topic, committed) = ("t".to_string(), false);
        rig.op(1, Op::ListOffsets { topic, partition: 0, spec, committed });
        rig.metadata(&[(Some(B1), 4)]);
        let sent = rig.take();
        let asked = Call::ListOffsets {
            partition: tp(0),
            spec: OffsetSpec::At(Wall(8_000_000)),
            leader_epoch: Some(LeaderEpoch(4)),
            isolation: Isolation::ReadUncommitted,
        };
        assert_eq!(rig.invokes(), [&asked]);
        let results =
            vec![broker_core::protocol::ListOffsetsResult { partition: tp(0), result: Err(*code) }];
        rig.answer(&sent, Response::ListOffsets(results));
        assert_eq!(rig.ends(), [&CallEvent::Fail(*code)]);
        let again = matches!(
            code,
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::OffsetNotAvailable
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::KafkaStorageError
                | ErrorCode::RequestTimedOut
                | ErrorCode::StaleBrokerEpoch
                | ErrorCode::NotController
                | ErrorCode::ThrottlingQuotaExceeded
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::OffsetOutOfRange
                | ErrorCode::CorruptMessage
        );
        assert_eq!(!rig.client.is_idle(), again, "{code:?}");
    }
}
