//! A broker that answers anything, and a network that loses what it likes.

use broker_core::protocol::{
    AdminResponse, EpochResult, FetchResult, Fetched, ListOffsetsResult, ListedOffset,
};
use broker_core::protocol::{
    ConsumerGroupBeat, FetchedOffset, GroupAnswer, GroupRequest, JoinRefused, Joined, MemberEpoch,
    Synced,
};
use proptest::prelude::*;

use super::*;

/// What happens next; numbers choose among what is possible.
#[derive(Clone, Copy, Debug)]
enum Event {
    Op(u8),
    Answer { which: u8, how: u8 },
    Gone(u8),
    Timer(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => any::<u8>().prop_map(Event::Op),
        6 => (any::<u8>(), any::<u8>()).prop_map(|(which, how)| Event::Answer { which, how }),
        1 => any::<u8>().prop_map(Event::Gone),
        3 => any::<u8>().prop_map(Event::Timer),
    ]
}

fn op_of(kind: u8) -> Op {
    let topic = "t".to_string();
    let spec = crate::op::ListSpec::Latest;
    let committed = kind > 64;
    match kind % 14 {
        0 => produce(0, false),
        1 => produce(1, kind > 128),
        2 => produce(-1, kind > 128),
        3 => Op::Tail { topic, partition: 0, from_start: kind > 128, committed },
        4 => Op::CatchUp { topic, partition: 0, committed },
        5 => Op::ListOffsets { topic, partition: 1, spec, committed },
        6 => Op::EpochEnd { topic, partition: 0, back: 1 },
        7 => Op::CreateTopic { topic, partitions: 1 },
        10 => member(GroupProtocol::Eager, kind > 128),
        11 => member(GroupProtocol::Cooperative, kind > 128),
        12 => member(GroupProtocol::Consumer, kind > 128),
        8 => idempotent(),
        9 => transaction(
            &[0, 1, 0],
            [TxnEnd::Commit, TxnEnd::Abort, TxnEnd::Leave][usize::from(kind % 3)],
        ),
        _ => Op::DeleteTopic { topic },
    }
}

/// An answer to a request: an error, something empty, or something sound.
fn answer_to(req: &Request, how: u8) -> Response {
    let code = CODES[usize::from(how) % CODES.len()];
    let sound = how > 100;
    let n = u64::from(how);
    let epoch = LeaderEpoch(u32::from(how % 4));
    match req {
        Request::Metadata { topics } => {
            let leader = [None, Some(B0), Some(B1)][usize::from(how) % 3];
            let id = TopicId(u128::from(how % 5 / 4));
            let result = || match how % 7 {
                0 => Err(UNKNOWN_TOPIC),
                1 => Err(ErrorCode::LeaderNotAvailable),
                _ => Ok((id, partitions(&[(leader, epoch.0), (Some(B0), epoch.0)]))),
            };
            let names = topics.iter().flatten();
            Response::Metadata(MetadataResponse {
                brokers: if how.is_multiple_of(11) { vec![] } else { vec![B0, B1] },
                topics: names
                    .map(|name| TopicMetadata { name: name.clone(), result: result() })
                    .collect(),
            })
        }
        Request::Produce(request) => {
            let ok = Produced {
                base_offset: Offset(n),
                log_append_time: None,
                log_start_offset: Offset(0),
            };
            let results = request.batches.iter().map(|(partition, _)| ProduceResult {
                partition: *partition,
                result: if sound { Ok(ok) } else { Err(code) },
            });
            Response::Produce(results.collect())
        }
        Request::Fetch(request) => {
            let partition = request.partitions[0].partition;
            let fetched = Fetched {
                high_watermark: Offset(n),
                last_stable_offset: Offset(n / 2),
                log_start_offset: Offset(0),
                aborted: vec![],
                diverging: how.is_multiple_of(10).then_some((epoch, Offset(n / 2))),
                batches: if sound {
                    vec![some_records(request.partitions[0].fetch_offset)]
                } else {
                    vec![]
                },
            };
            let result = if sound { Ok(fetched) } else { Err(code) };
            Response::Fetch(vec![FetchResult { partition, result }])
        }
        Request::ListOffsets { partitions, .. } => {
            let found = ListedOffset { offset: Offset(n), timestamp: None, leader_epoch: epoch };
            let result =
                if sound { Ok((!how.is_multiple_of(10)).then_some(found)) } else { Err(code) };
            let partition = partitions[0].partition;
            Response::ListOffsets(vec![ListOffsetsResult { partition, result }])
        }
        Request::OffsetForLeaderEpoch { partitions } => {
            let found = (!how.is_multiple_of(10)).then_some((epoch, Offset(n)));
            let result = if sound { Ok(found) } else { Err(code) };
            let partition = partitions[0].partition;
            Response::OffsetForLeaderEpoch(vec![EpochResult { partition, result }])
        }
        Request::Admin(_) | Request::Validate(_) => Response::Admin(match how % 3 {
            0 => AdminResponse::Created(T),
            1 => AdminResponse::Done,
            _ => AdminResponse::Error(code),
        }),
        Request::DescribeConfigs { .. } => Response::DescribeConfigs(Err(code)),
        Request::InitProducerId => Response::InitProducerId(match sound {
            true => Ok((ProducerId(n), ProducerEpoch(0))),
            false => Err(code),
        }),
        Request::WriteTxnMarkers { .. } => panic!("clients write no markers"),
        Request::FindCoordinator { .. } => {
            Response::FindCoordinator(if sound { Ok(B1) } else { Err(code) })
        }
        Request::Txn(request) => Response::Txn(match request {
            _ if !sound => request.refusal(code),
            TxnRequest::InitProducerId { .. } => {
                TxnAnswer::InitProducerId(Ok((ProducerId(n), ProducerEpoch(0))))
            }
            TxnRequest::AddPartitions { partitions, .. } => {
                TxnAnswer::AddPartitions(vec![(partitions[0], Ok(()))])
            }
            TxnRequest::AddOffsets { .. } => TxnAnswer::AddOffsets(Ok(())),
            TxnRequest::End { of, .. } => TxnAnswer::End(Ok((of.producer, of.epoch.next()))),
            TxnRequest::Describe { .. } | TxnRequest::List(_) => panic!("{request:?}"),
        }),
        Request::Group(request) if sound => Response::Group(good_word(request)),
        Request::Group(request) => Response::Group(request.refusal(code)),
    }
}

/// What a coordinator says to its group's only member.
fn good_word(request: &GroupRequest) -> GroupAnswer {
    match request {
        GroupRequest::JoinGroup(join) if join.who.member.is_empty() => {
            let (code, member) = (ErrorCode::MemberIdRequired, "m".to_string());
            GroupAnswer::JoinGroup(Err(JoinRefused { code, member }))
        }
        GroupRequest::JoinGroup(join) => GroupAnswer::JoinGroup(Ok(Joined {
            member: join.who.member.clone(),
            generation: Generation(1),
            protocol_type: None,
            protocol: None,
            leader: Some(join.who.member.clone()),
            skip_assignment: false,
            members: vec![(join.who.clone(), join.protocols[0].1.clone())],
        })),
        GroupRequest::SyncGroup(sync) => {
            let own = sync.assignments.first().map(|(_, own)| own.clone());
            let assignment = own.unwrap_or_default();
            GroupAnswer::SyncGroup(Ok(Synced { protocol_type: None, protocol: None, assignment }))
        }
        GroupRequest::Heartbeat { .. } => GroupAnswer::Heartbeat(Ok(())),
        GroupRequest::LeaveGroup { .. } => GroupAnswer::LeaveGroup(Ok(vec![])),
        GroupRequest::ConsumerGroupHeartbeat(beat) => {
            GroupAnswer::ConsumerGroupHeartbeat(Ok(ConsumerGroupBeat {
                member: beat.who.member.clone(),
                epoch: MemberEpoch(beat.epoch.0.max(1)),
                interval: Dur::ms(500),
                assignment: beat.topics.as_ref().map(|_| vec![tp(0), tp(1)]),
            }))
        }
        GroupRequest::OffsetFetch(fetch) => {
            let nothing = |partition: &TopicPartition| FetchedOffset {
                partition: *partition,
                result: Ok(None),
            };
            let all = fetch.partitions.iter().flatten().map(nothing).collect();
            GroupAnswer::OffsetFetch(Ok(all))
        }
        GroupRequest::OffsetCommit(commit) => {
            let done = commit.offsets.iter().map(|it| (it.partition, Ok(())));
            GroupAnswer::OffsetCommit(done.collect())
        }
        GroupRequest::TxnOffsetCommit(commit) => {
            let done = commit.offsets.iter().map(|it| (it.partition, Ok(())));
            GroupAnswer::TxnOffsetCommit(done.collect())
        }
        other => panic!("{other:?}"),
    }
}

fn some_records(at: Offset) -> bytes::Bytes {
    let plain = super::super::values::encode(7, 5, 8, Wall(0), ProducerStamp::NONE);
    broker_core::batch::stamp(plain, at, LeaderEpoch(1))
}

/// The choice for [`answer_to`] that makes it answer well.
fn sound(req: &Request) -> u8 {
    match req {
        // There, and led by B0.
        Request::Metadata { .. } => 103,
        Request::Admin(broker_core::protocol::AdminRequest::CreateTopic { .. }) => 102,
        Request::Admin(_) | Request::Validate(_) => 103,
        _ => 101,
    }
}

fn expects_answer(req: &Request) -> bool {
    !matches!(req, Request::Produce(ProduceRequest { acks: Acks::None, .. }))
}

/// The nth of some things, counted round and round.
fn nth<T: Copy>(things: &[T], n: u8) -> Option<T> {
    things.get(usize::from(n) % things.len().max(1)).copied()
}

fn apply(rig: &mut Rig, event: Event, ops: &mut u32) {
    rig.sent.retain(|sent| expects_answer(&sent.req));
    match event {
        Event::Op(kind) => {
            rig.op(*ops, op_of(kind));
            *ops += 1;
        }
        Event::Answer { which, how } => {
            let open: Vec<ConnId> = rig.open.keys().copied().collect();
            let Some(conn) = nth(&open, which) else { return };
            // Mostly the oldest on its connection; now and then another one.
            let asked: Vec<usize> =
                (0..rig.sent.len()).filter(|at| rig.sent[*at].conn == conn).collect();
            let Some(at) = asked.get(usize::from(how % 50 == 0)).or(asked.first()) else { return };
            let sent = rig.sent.remove(*at).unwrap();
            let resp = answer_to(&sent.req, how);
            rig.answer(&sent, resp);
        }
        Event::Gone(which) => {
            let open: Vec<ConnId> = rig.open.keys().copied().collect();
            if let Some(conn) = nth(&open, which) {
                rig.gone(conn);
            }
        }
        Event::Timer(which) => {
            // The delivery time-out is the last resort of each run below.
            let is_usual = |key: &&ClientTimer| !matches!(key, ClientTimer::Delivery(_));
            let armed: Vec<ClientTimer> = rig.armed.keys().filter(is_usual).copied().collect();
            if let Some(key) = nth(&armed, which) {
                rig.fire(key);
            }
        }
    }
}

fn check(rig: &Rig) {
    let mut open = BTreeMap::new();
    let mut values = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for Observation { call, op, event } in &rig.history {
        match event {
            CallEvent::Invoke(invoked) => {
                assert!(open.insert(*call, *op).is_none(), "call {call} began twice");
                if let Call::Produce { first_value, count, .. } = invoked {
                    for value in *first_value..*first_value + u64::from(*count) {
                        assert!(values.insert(value), "value {value} was used twice");
                    }
                }
            }
            CallEvent::Ok(_) | CallEvent::Fail(_) | CallEvent::Unknown | CallEvent::Doubtful(_) => {
                assert_eq!(open.get(call), Some(op), "call {call} ended and never began");
                assert!(ended.insert(*call), "call {call} ended twice");
            }
            CallEvent::GaveUp => assert!(!open.contains_key(call), "{call} is a call"),
        }
    }
    // At most one call of an operation is open at any time, so each has at most one without end.
    let mut operations = BTreeSet::new();
    for (_, op) in open.iter().filter(|(call, _)| !ended.contains(call)) {
        assert!(operations.insert(op), "operation {op} has two open calls");
    }
}

proptest! {
    #[test]
    fn client_survives_any_broker(events in proptest::collection::vec(event(), 0..150)) {
        let mut rig = Rig::new();
        let mut ops = 0;
        for event in events {
            apply(&mut rig, event, &mut ops);
            check(&rig);
            // Whoever is unfinished has something that will wake him.
            let woken = !rig.armed.is_empty();
            prop_assert!(woken || rig.client.is_idle(), "{:?}", rig.client.blocked());
            prop_assert_eq!(rig.client.blocked().len(), rig.client.unfinished());
        }
        // One that ends may end others that waited for it.
        let is_last = |key: &&ClientTimer| matches!(key, ClientTimer::Delivery(_));
        while let Some(&key) = rig.armed.keys().find(is_last) {
            rig.fire(key);
        }
        prop_assert!(rig.client.is_idle());
        check(&rig);
    }

    #[test]
    fn client_is_a_value(events in proptest::collection::vec(event(), 0..80)) {
        let (mut one, mut other) = (Rig::new(), Rig::new());
        let (mut ops, mut others) = (0, 0);
        for event in events {
            apply(&mut one, event, &mut ops);
            other.client = other.client.clone();
            apply(&mut other, event, &mut others);
            prop_assert_eq!(&one.client, &other.client);
        }
        prop_assert_eq!(one.history, other.history);
    }

    #[test]
    fn client_gets_through_when_all_is_well_again(
        events in proptest::collection::vec(event(), 0..80),
    ) {
        let mut rig = Rig::new();
        let mut ops = 0;
        for event in events {
            apply(&mut rig, event, &mut ops);
        }
        // From now on every broker answers soundly; now and then some timer fires.
        let mut fired = 0;
        for round in 0..4_000 {
            if rig.client.is_idle() {
                break;
            }
            rig.sent.retain(|sent| expects_answer(&sent.req));
            match rig.sent.pop_front() {
                Some(sent) if round % 5 > 0 => {
                    let resp = answer_to(&sent.req, sound(&sent.req));
                    rig.answer(&sent, resp);
                }
                oldest => {
                    oldest.into_iter().for_each(|sent| rig.sent.push_front(sent));
                    let is_usual = |key: &&ClientTimer| !matches!(key, ClientTimer::Delivery(_));
                    let armed: Vec<_> = rig.armed.keys().filter(is_usual).copied().collect();
                    rig.fire(armed[fired % armed.len()]);
                    fired += 1;
                }
            }
        }
        prop_assert!(rig.client.is_idle(), "{:?}", rig.client.blocked());
    }
}
