//! A request and an answer of every kind that a client asks for.

use std::ops::RangeInclusive;

use broker_core::batch::TimestampMs;
use broker_core::ids::{LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use broker_core::protocol::*;
use broker_core::time::{Dur, Wall};
use bytes::{BufMut, Bytes, BytesMut};

use super::{CLIENT, COPIES, ORDERS, at};
use crate::wire::ApiKey;

pub(super) struct Sample {
    pub(super) key: ApiKey,
    /// The versions that carry all of it.
    pub(super) exact: Vec<i16>,
    pub(super) request: Request,
    pub(super) answer: Response,
}

fn sample(key: ApiKey, exact: RangeInclusive<i16>, request: Request, answer: Response) -> Sample {
    Sample { key, exact: exact.collect(), request, answer }
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = cluster();
    all.extend(records());
    all.extend(offsets());
    all.extend(admin());
    all.extend(transactions());
    all.extend(groups());
    all.extend(commits());
    all
}

fn cluster() -> Vec<Sample> {
    let partition = |index, leader: Option<u16>| PartitionMetadata {
        index: PartitionIndex(index),
        leader: leader.map(NodeId),
        leader_epoch: LeaderEpoch(4),
    };
    let orders = vec![partition(0, Some(2)), partition(1, None)];
    let topic = |name: &str, result| TopicMetadata { name: name.to_owned(), result };
    let topics = vec![
        topic("nowhere", Err(ErrorCode::UnknownTopicOrPartition)),
        topic("orders", Ok((ORDERS, orders))),
    ];
    let names = Some(vec!["nowhere".to_owned(), "orders".to_owned()]);
    let brokers = vec![NodeId(1), NodeId(2)];
    let find = |kind| Request::FindCoordinator { kind, name: "who".to_owned() };
    let unavailable = Err(ErrorCode::CoordinatorNotAvailable);
    vec![
        sample(
            ApiKey::Metadata,
            10..=12,
            Request::Metadata { topics: names },
            Response::Metadata(MetadataResponse { brokers, topics }),
        ),
        sample(
            ApiKey::Metadata,
            4..=12,
            Request::Metadata { topics: None },
            Response::Metadata(MetadataResponse { brokers: vec![], topics: vec![] }),
        ),
        sample(
            ApiKey::FindCoordinator,
            0..=6,
            find(CoordinatorKind::Group),
            Response::FindCoordinator(Ok(NodeId(2))),
        ),
        sample(
            ApiKey::FindCoordinator,
            1..=6,
            find(CoordinatorKind::Transaction),
            Response::FindCoordinator(unavailable),
        ),
    ]
}

pub(super) fn produce(acks: Acks, transactional: Option<TransactionVersion>) -> Request {
    let batch = Bytes::from_static(b"not looked into");
    Request::Produce(ProduceRequest {
        acks,
        timeout: Dur::ms(1_500),
        transactional: transactional.map(|version| ("tx".to_owned(), version)),
        batches: vec![
            (at(ORDERS, 1), batch.clone()),
            (at(COPIES, 0), batch.clone()),
            (at(COPIES, 2), batch),
        ],
    })
}

/// Bytes that say that they are a batch.
fn batch(of: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u64(41);
    bytes.put_i32(i32::try_from(of).unwrap());
    bytes.put_bytes(7, of);
    bytes.freeze()
}

fn records() -> Vec<Sample> {
    let place = |base, log_append_time| {
        let (base_offset, log_start_offset) = (Offset(base), Offset(3));
        Ok(Produced { base_offset, log_append_time, log_start_offset })
    };
    let produced = |partition, result| ProduceResult { partition, result };
    let answer = Response::Produce(vec![
        produced(at(ORDERS, 1), place(1 << 40, None)),
        produced(at(COPIES, 0), Err(ErrorCode::NotLeaderOrFollower)),
        produced(at(COPIES, 2), place(5, Some(Wall(9_000)))),
    ]);
    let fetch = |partition, bytes_max| FetchPartition {
        partition,
        fetch_offset: Offset(17),
        current_leader_epoch: Some(LeaderEpoch(4)),
        last_fetched_epoch: Some(LeaderEpoch(3)),
        bytes_max,
    };
    let request = |isolation| {
        Request::Fetch(FetchRequest {
            isolation,
            wait_max: Dur::ms(500),
            bytes_min: 1,
            bytes_max: 1 << 20,
            partitions: vec![fetch(at(COPIES, 1), 700), fetch(at(ORDERS, 0), 1)],
        })
    };
    let fetched = |aborted, diverging, batches| Fetched {
        high_watermark: Offset(99),
        last_stable_offset: Offset(90),
        log_start_offset: Offset(2),
        aborted,
        diverging,
        batches,
    };
    let result = |partition, result| FetchResult { partition, result };
    let aborted = vec![AbortedTransaction { producer: ProducerId(8), first: Offset(20) }];
    let plain = Response::Fetch(vec![
        result(at(COPIES, 1), Ok(fetched(vec![], None, vec![batch(0), batch(70)]))),
        result(at(ORDERS, 0), Err(ErrorCode::OffsetOutOfRange)),
    ]);
    let diverging = Some((LeaderEpoch(2), Offset(11)));
    let committed = Response::Fetch(vec![
        result(at(COPIES, 1), Ok(fetched(aborted, None, vec![batch(4)]))),
        result(at(ORDERS, 0), Ok(fetched(vec![], diverging, vec![]))),
    ]);
    let (p, f) = (ApiKey::Produce, ApiKey::Fetch);
    vec![
        sample(p, 5..=12, produce(Acks::All, None), answer.clone()),
        sample(p, 5..=12, produce(Acks::Leader, None), answer.clone()),
        sample(p, 5..=11, produce(Acks::All, Some(TransactionVersion::V1)), answer.clone()),
        sample(p, 12..=12, produce(Acks::All, Some(TransactionVersion::V2)), answer),
        sample(f, 12..=16, request(Isolation::ReadUncommitted), plain),
        sample(f, 12..=16, request(Isolation::ReadCommitted), committed),
    ]
}

fn offsets() -> Vec<Sample> {
    let question = |partition, spec| ListOffsetsPartition {
        partition,
        current_leader_epoch: Some(LeaderEpoch(4)),
        spec,
    };
    let found = |offset, timestamp| {
        let (offset, leader_epoch) = (Offset(offset), LeaderEpoch(2));
        Ok(Some(ListedOffset { offset, timestamp, leader_epoch }))
    };
    let listed = |partition, result| ListOffsetsResult { partition, result };
    let old = vec![
        question(at(ORDERS, 0), OffsetSpec::Earliest),
        question(at(ORDERS, 1), OffsetSpec::Latest),
        question(at(COPIES, 1), OffsetSpec::At(Wall(77_000))),
    ];
    let answers = vec![
        listed(at(ORDERS, 0), found(3, None)),
        listed(at(ORDERS, 1), Err(ErrorCode::FencedLeaderEpoch)),
        listed(at(COPIES, 1), found(7, Some(Wall(78_000)))),
    ];
    let newest = vec![question(at(ORDERS, 2), OffsetSpec::MaxTimestamp)];
    let ends = |partition, leader_epoch| EpochPartition {
        partition,
        current_leader_epoch: Some(LeaderEpoch(4)),
        leader_epoch: LeaderEpoch(leader_epoch),
    };
    let ended = |partition, result| EpochResult { partition, result };
    let list = |isolation, partitions| Request::ListOffsets { isolation, partitions };
    vec![
        sample(
            ApiKey::ListOffsets,
            4..=9,
            list(Isolation::ReadCommitted, old),
            Response::ListOffsets(answers),
        ),
        sample(
            ApiKey::ListOffsets,
            7..=9,
            list(Isolation::ReadUncommitted, newest),
            Response::ListOffsets(vec![listed(at(ORDERS, 2), Ok(None))]),
        ),
        sample(
            ApiKey::OffsetForLeaderEpoch,
            2..=4,
            Request::OffsetForLeaderEpoch {
                partitions: vec![ends(at(ORDERS, 0), 0), ends(at(COPIES, 0), 3)],
            },
            Response::OffsetForLeaderEpoch(vec![
                ended(at(ORDERS, 0), Ok(None)),
                ended(at(COPIES, 0), Ok(Some((LeaderEpoch(2), Offset(9))))),
            ]),
        ),
    ]
}

fn admin() -> Vec<Sample> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let create = AdminRequest::CreateTopic {
        name: "new".to_owned(),
        partitions: 3,
        configs: vec![pair("retention.ms", "5")],
    };
    let delete = AdminRequest::DeleteTopic { topic: COPIES };
    let more = AdminRequest::CreatePartitions { topic: ORDERS, count: 9 };
    let alter = AdminRequest::AlterConfigs {
        topic: ORDERS,
        configs: vec![
            ("retention.ms".to_owned(), Some("7".to_owned())),
            ("max.message.bytes".to_owned(), None),
        ],
    };
    let refused = |code| Response::Admin(AdminResponse::Error(code));
    let created = Response::Admin(AdminResponse::Created(TopicId(9)));
    let done = || Response::Admin(AdminResponse::Done);
    let described = Ok(vec![pair("retention.ms", "7"), pair("max.message.bytes", "1")]);
    let describe = |topic: &str| Request::DescribeConfigs { topic: topic.to_owned() };
    let unknown = Err(ErrorCode::UnknownTopicOrPartition);
    vec![
        sample(ApiKey::CreateTopics, 7..=7, Request::Admin(create.clone()), created),
        sample(
            ApiKey::CreateTopics,
            2..=7,
            Request::Admin(create),
            refused(ErrorCode::TopicAlreadyExists),
        ),
        sample(ApiKey::DeleteTopics, 1..=6, Request::Admin(delete.clone()), done()),
        sample(
            ApiKey::DeleteTopics,
            1..=6,
            Request::Admin(delete),
            refused(ErrorCode::RequestTimedOut),
        ),
        sample(ApiKey::CreatePartitions, 0..=3, Request::Admin(more), done()),
        sample(
            ApiKey::IncrementalAlterConfigs,
            0..=1,
            Request::Admin(alter),
            refused(ErrorCode::InvalidConfig),
        ),
        sample(
            ApiKey::DescribeConfigs,
            1..=4,
            describe("orders"),
            Response::DescribeConfigs(described),
        ),
        sample(
            ApiKey::DescribeConfigs,
            1..=4,
            describe("nowhere"),
            Response::DescribeConfigs(unknown),
        ),
    ]
}

use broker_core::ids::TopicId;

const PRODUCER: (ProducerId, ProducerEpoch) = (ProducerId(5_000_000_000), ProducerEpoch(6));

fn transactions() -> Vec<Sample> {
    use TransactionVersion::{V1, V2};
    let of =
        TxnProducer { transactional_id: "tx".to_owned(), producer: PRODUCER.0, epoch: PRODUCER.1 };
    let init = |expected| {
        let (transactional_id, timeout) = ("tx".to_owned(), Dur::secs(10));
        Request::Txn(TxnRequest::InitProducerId { transactional_id, timeout, expected })
    };
    let initialised = |result| Response::Txn(TxnAnswer::InitProducerId(result));
    let (partitions, verify_only) = (vec![at(ORDERS, 0), at(ORDERS, 2), at(COPIES, 1)], false);
    let results = partitions.iter().map(|it| (*it, Ok(()))).collect();
    let add = TxnRequest::AddPartitions { of: of.clone(), partitions, verify_only, version: V1 };
    let offsets = TxnRequest::AddOffsets { of: of.clone(), group: "readers".to_owned() };
    let busy = Err(ErrorCode::ConcurrentTransactions);
    let end = |result, version| Request::Txn(TxnRequest::End { of: of.clone(), result, version });
    let ended = |result| Response::Txn(TxnAnswer::End(result));
    let next = (PRODUCER.0, ProducerEpoch(7));
    let (i, e) = (ApiKey::InitProducerId, ApiKey::EndTxn);
    let (commit, abort) = (TransactionResult::Commit, TransactionResult::Abort);
    vec![
        sample(i, 0..=5, Request::InitProducerId, Response::InitProducerId(Ok(PRODUCER))),
        sample(i, 0..=5, init(None), initialised(busy)),
        sample(i, 3..=5, init(Some(PRODUCER)), initialised(Ok(next))),
        sample(
            ApiKey::AddPartitionsToTxn,
            0..=3,
            Request::Txn(add),
            Response::Txn(TxnAnswer::AddPartitions(results)),
        ),
        sample(
            ApiKey::AddOffsetsToTxn,
            0..=4,
            Request::Txn(offsets),
            Response::Txn(TxnAnswer::AddOffsets(Ok(()))),
        ),
        sample(e, 0..=4, end(commit, V1), ended(Ok(PRODUCER))),
        sample(e, 0..=4, end(abort, V1), ended(Err(ErrorCode::NotCoordinator))),
        sample(e, 5..=5, end(abort, V2), ended(Ok(next))),
    ]
}

fn who(instance: Option<&str>) -> MemberIdentity {
    MemberIdentity { member: "m-1".to_owned(), instance: instance.map(str::to_owned) }
}

fn group(request: GroupRequest) -> Request {
    Request::Group(request)
}

fn groups() -> Vec<Sample> {
    let own = |it: &str| it.to_owned();
    let join = |skips_assignment, instance| {
        group(GroupRequest::JoinGroup(JoinGroup {
            group: own("readers"),
            who: who(instance),
            client: own(CLIENT),
            session_timeout: Dur::secs(6),
            rebalance_timeout: Dur::secs(5),
            protocol_type: own("consumer"),
            protocols: vec![(own("range"), Bytes::from_static(b"said"))],
            member_id_required: true,
            skips_assignment,
        }))
    };
    let joined = Response::Group(GroupAnswer::JoinGroup(Ok(Joined {
        member: own("m-1"),
        generation: Generation(3),
        protocol_type: Some(own("consumer")),
        protocol: Some(own("range")),
        leader: Some(own("m-1")),
        skip_assignment: false,
        members: vec![(who(Some("i")), Bytes::from_static(b"said"))],
    })));
    let refused = JoinRefused { code: ErrorCode::MemberIdRequired, member: own("m-2") };
    let refused = Response::Group(GroupAnswer::JoinGroup(Err(refused)));
    let sync = group(GroupRequest::SyncGroup(SyncGroup {
        group: own("readers"),
        who: who(Some("i")),
        generation: Generation(3),
        protocol_type: Some(own("consumer")),
        protocol: Some(own("range")),
        assignments: vec![(own("m-1"), Bytes::from_static(b"part"))],
    }));
    let synced = Response::Group(GroupAnswer::SyncGroup(Ok(Synced {
        protocol_type: Some(own("consumer")),
        protocol: Some(own("range")),
        assignment: Bytes::from_static(b"part"),
    })));
    let beat = GroupRequest::Heartbeat {
        group: own("readers"),
        who: who(None),
        generation: Generation(3),
    };
    let again = Response::Group(GroupAnswer::Heartbeat(Err(ErrorCode::RebalanceInProgress)));
    let leave = |members| group(GroupRequest::LeaveGroup { group: own("readers"), members });
    let left = |each| Response::Group(GroupAnswer::LeaveGroup(Ok(each)));
    let unknown = Err(ErrorCode::UnknownMemberId);
    let several = vec![who(None), who(Some("i"))];
    vec![
        sample(ApiKey::JoinGroup, 7..=8, join(false, Some("i")), joined.clone()),
        sample(ApiKey::JoinGroup, 9..=9, join(true, None), joined),
        sample(ApiKey::JoinGroup, 9..=9, join(true, Some("i")), refused),
        sample(ApiKey::SyncGroup, 5..=5, sync, synced),
        sample(ApiKey::Heartbeat, 0..=4, group(beat), again),
        sample(ApiKey::LeaveGroup, 0..=5, leave(vec![who(None)]), left(vec![(who(None), Ok(()))])),
        sample(
            ApiKey::LeaveGroup,
            3..=5,
            leave(several),
            left(vec![(who(None), Ok(())), (who(Some("i")), unknown)]),
        ),
    ]
    .into_iter()
    .chain(consumers())
    .collect()
}

/// KIP-848.
fn consumers() -> Vec<Sample> {
    let own = |it: &str| it.to_owned();
    let first = group(GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeat {
        group: own("readers"),
        who: who(Some("i")),
        epoch: MemberEpoch::JOIN,
        rebalance_timeout: Some(Dur::secs(5)),
        topics: Some(vec![own("orders")]),
        assignor: Some(own("uniform")),
        owned: Some(vec![]),
    }));
    let later = group(GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeat {
        group: own("readers"),
        who: who(None),
        epoch: MemberEpoch(4),
        rebalance_timeout: None,
        topics: None,
        assignor: None,
        owned: Some(vec![at(ORDERS, 0), at(ORDERS, 2), at(COPIES, 1)]),
    }));
    let beat = |assignment| {
        Response::Group(GroupAnswer::ConsumerGroupHeartbeat(Ok(ConsumerGroupBeat {
            member: own("m-1"),
            epoch: MemberEpoch(4),
            interval: Dur::secs(1),
            assignment,
        })))
    };
    let fenced = Err(ErrorCode::FencedMemberEpoch);
    let fenced = Response::Group(GroupAnswer::ConsumerGroupHeartbeat(fenced));
    let key = ApiKey::ConsumerGroupHeartbeat;
    vec![
        sample(key, 0..=1, first, beat(Some(vec![at(ORDERS, 1), at(COPIES, 0)]))),
        sample(key, 0..=1, later.clone(), beat(None)),
        sample(key, 0..=1, later, fenced),
    ]
}

fn commits() -> Vec<Sample> {
    let own = |it: &str| it.to_owned();
    let offset = |partition, leader_epoch: Option<u32>| OffsetToCommit {
        partition,
        offset: Offset(12),
        leader_epoch: leader_epoch.map(LeaderEpoch),
        metadata: own("words"),
    };
    let offsets = || vec![offset(at(ORDERS, 0), Some(2)), offset(at(COPIES, 1), None)];
    let commit = group(GroupRequest::OffsetCommit(OffsetCommit {
        group: own("readers"),
        who: who(Some("i")),
        generation: Generation(3),
        offsets: offsets(),
    }));
    let each = || {
        let stale = Err(ErrorCode::StaleMemberEpoch);
        vec![(at(ORDERS, 0), Ok(())), (at(COPIES, 1), stale)]
    };
    let in_transaction = |version| {
        group(GroupRequest::TxnOffsetCommit(TxnOffsetCommit {
            group: own("readers"),
            transactional_id: own("tx"),
            version,
            producer: PRODUCER.0,
            epoch: PRODUCER.1,
            who: who(Some("i")),
            generation: Generation(3),
            offsets: offsets(),
        }))
    };
    let fetch = |member, partitions| {
        let (group, require_stable) = (own("readers"), true);
        let fetch = OffsetFetch { group, member, partitions, require_stable };
        Request::Group(GroupRequest::OffsetFetch(fetch))
    };
    let committed = CommittedOffset {
        offset: Offset(12),
        leader_epoch: Some(LeaderEpoch(2)),
        metadata: own("words"),
        at: TimestampMs::NONE,
    };
    let fetched = |partition, result| FetchedOffset { partition, result };
    let some = vec![
        fetched(at(ORDERS, 0), Ok(Some(committed))),
        fetched(at(ORDERS, 1), Err(ErrorCode::UnstableOffsetCommit)),
        fetched(at(COPIES, 1), Ok(None)),
    ];
    let wanted = || Some(vec![at(ORDERS, 0), at(ORDERS, 1), at(COPIES, 1)]);
    let answer = |result| Response::Group(GroupAnswer::OffsetFetch(result));
    let member = || Some((own("m-1"), MemberEpoch(4)));
    let txn = || Response::Group(GroupAnswer::TxnOffsetCommit(each()));
    let (f, t) = (ApiKey::OffsetFetch, ApiKey::TxnOffsetCommit);
    vec![
        sample(
            ApiKey::OffsetCommit,
            7..=9,
            commit,
            Response::Group(GroupAnswer::OffsetCommit(each())),
        ),
        sample(t, 3..=4, in_transaction(TransactionVersion::V1), txn()),
        sample(t, 5..=5, in_transaction(TransactionVersion::V2), txn()),
        sample(f, 7..=9, fetch(None, wanted()), answer(Ok(some.clone()))),
        sample(f, 9..=9, fetch(member(), wanted()), answer(Err(ErrorCode::StaleMemberEpoch))),
        sample(f, 7..=9, fetch(None, None), answer(Ok(some))),
    ]
}
