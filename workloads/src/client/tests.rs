//! The client against a scripted broker: every error code, time-outs, lost connections, order.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId};
use broker_core::protocol::{
    Acks, ErrorCode, Generation, Isolation, MetadataResponse, OffsetSpec, PartitionMetadata,
    ProduceRequest, ProduceResult, Produced, TopicMetadata, TxnAnswer, TxnRequest,
};
use broker_core::time::{Mono, Wall};

use super::*;
use crate::op::{GroupProtocol, TxnEnd};

mod fuzz;
mod members;
mod outcomes;
mod readers;
mod transactions;
mod transport;

const T: TopicId = TopicId(7);
const B0: NodeId = NodeId(10);
const B1: NodeId = NodeId(11);

/// Every error code that the requests made here can get, and some that they can not.
const CODES: &[ErrorCode] = &[
    ErrorCode::OffsetOutOfRange,
    ErrorCode::CorruptMessage,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::RequestTimedOut,
    ErrorCode::MessageTooLarge,
    ErrorCode::InvalidTopicException,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::InvalidRequiredAcks,
    ErrorCode::InvalidTimestamp,
    ErrorCode::TopicAlreadyExists,
    ErrorCode::InvalidPartitions,
    ErrorCode::InvalidConfig,
    ErrorCode::NotController,
    ErrorCode::InvalidRequest,
    ErrorCode::KafkaStorageError,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::StaleBrokerEpoch,
    ErrorCode::OffsetNotAvailable,
    ErrorCode::InvalidRecord,
    ErrorCode::UnknownTopicId,
    ErrorCode::DuplicateBrokerRegistration,
    ErrorCode::BrokerIdNotRegistered,
    ErrorCode::InconsistentClusterId,
    ErrorCode::ThrottlingQuotaExceeded,
    ErrorCode::CoordinatorLoadInProgress,
    ErrorCode::OutOfOrderSequenceNumber,
    ErrorCode::InvalidProducerEpoch,
    ErrorCode::InvalidTxnState,
    ErrorCode::TransactionCoordinatorFenced,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::NotCoordinator,
    ErrorCode::InvalidProducerIdMapping,
    ErrorCode::InvalidTransactionTimeout,
    ErrorCode::ConcurrentTransactions,
    ErrorCode::TransactionalIdAuthorizationFailed,
    ErrorCode::ProducerFenced,
    ErrorCode::TransactionAbortable,
];

/// A request on its way.
#[derive(Clone, Debug)]
struct Sent {
    conn: ConnId,
    to: NodeId,
    corr: u32,
    req: Request,
}

/// A client and the host's part: connections, timers, the history.
struct Rig {
    client: Client,
    entropy: u64,
    open: BTreeMap<ConnId, NodeId>,
    ever_open: BTreeSet<ConnId>,
    armed: BTreeMap<ClientTimer, Dur>,
    sent: VecDeque<Sent>,
    history: Vec<Observation>,
}

impl Rig {
    fn new() -> Self {
        Self::of(TransactionVersion::V2)
    }

    fn of(protocol: TransactionVersion) -> Self {
        let config = ClientConfig { client: 3, zone: ZoneId(0), bootstrap: vec![B0], protocol };
        Self {
            client: Client::new(config),
            entropy: 1,
            open: BTreeMap::new(),
            ever_open: BTreeSet::new(),
            armed: BTreeMap::new(),
            sent: VecDeque::new(),
            history: Vec::new(),
        }
    }

    fn step(&mut self, input: ClientIn) {
        self.entropy = mixed(self.entropy, 1);
        let cx = Cx {
            mono: Mono(0),
            wall: Wall(9_000_000),
            entropy: self.entropy,
            mutants: Default::default(),
        };
        let mut out = Outbox::default();
        self.client.step(&cx, input, &mut out);
        for effect in out.drain() {
            match effect {
                ClientOut::Open { conn, to } => {
                    assert!(self.ever_open.insert(conn), "{conn:?} was used before");
                    assert_eq!(conn.0 >> 32, 3, "the client's own numbers");
                    self.open.insert(conn, to);
                }
                ClientOut::Send { conn, corr, req } => {
                    let to = *self.open.get(&conn).expect("sent on an open connection");
                    self.sent.push_back(Sent { conn, to, corr, req });
                }
                ClientOut::Close(conn) => self.drop_connection(conn),
                ClientOut::Arm { key, after } => {
                    self.armed.insert(key, after);
                }
                ClientOut::Disarm(key) => {
                    self.armed.remove(&key);
                }
                ClientOut::Observe(observation) => self.history.push(observation),
            }
        }
    }

    fn drop_connection(&mut self, conn: ConnId) {
        assert!(self.open.remove(&conn).is_some(), "{conn:?} was not open");
        self.sent.retain(|sent| sent.conn != conn);
    }

    fn op(&mut self, op: u32, what: Op) {
        self.step(ClientIn::Op(op, what));
    }

    fn fire(&mut self, key: ClientTimer) {
        assert!(self.armed.remove(&key).is_some(), "{key:?} is not armed: {:?}", self.armed);
        self.step(ClientIn::Timer(key));
    }

    fn gone(&mut self, conn: ConnId) {
        self.drop_connection(conn);
        self.step(ClientIn::Gone(conn));
    }

    /// Takes the oldest request out that is none for metadata.
    fn take(&mut self) -> Sent {
        let at = self.sent.iter().position(|sent| !is_metadata(&sent.req));
        let at = at.unwrap_or_else(|| panic!("nothing was asked: {:?}", self.client));
        self.sent.remove(at).unwrap()
    }

    fn answer(&mut self, sent: &Sent, resp: Response) {
        self.step(ClientIn::Response { conn: sent.conn, corr: sent.corr, resp });
    }

    /// Answers the outstanding request for metadata. Leaders and epochs of `T`'s partitions.
    fn metadata(&mut self, leaders: &[(Option<NodeId>, u32)]) {
        self.metadata_of(Some(T), leaders);
    }

    fn metadata_of(&mut self, topic: Option<TopicId>, leaders: &[(Option<NodeId>, u32)]) {
        let at = self.sent.iter().position(|sent| is_metadata(&sent.req));
        let sent = self.sent.remove(at.expect("metadata is asked for")).unwrap();
        let Request::Metadata { topics: Some(names) } = &sent.req else {
            panic!("asked for all topics")
        };
        let answer = |name: &String| TopicMetadata {
            name: name.clone(),
            result: topic.map(|id| (id, partitions(leaders))).ok_or(UNKNOWN_TOPIC),
        };
        let topics = names.iter().map(answer).collect();
        let brokers = vec![B0, B1];
        self.answer(&sent, Response::Metadata(MetadataResponse { brokers, topics }));
    }

    /// The pause after a request for metadata is over; there may be a new request then.
    fn rested(&mut self) {
        self.fire(ClientTimer::Metadata);
    }

    /// Events of the history that are no invocations.
    fn ends(&self) -> Vec<&CallEvent> {
        let ends = self.history.iter().map(|observation| &observation.event);
        ends.filter(|event| !matches!(event, CallEvent::Invoke(_))).collect()
    }

    fn invokes(&self) -> Vec<&Call> {
        let calls = self.history.iter().map(|observation| match &observation.event {
            CallEvent::Invoke(call) => Some(call),
            _ => None,
        });
        calls.flatten().collect()
    }

    /// No operation, and nothing that would bother the host.
    fn assert_finished(&self) {
        assert!(self.client.is_idle(), "{:?}", self.client.blocked());
        assert_eq!(self.client.unfinished(), 0);
        let sessions = self.armed.keys().filter(|key| **key != ClientTimer::Metadata);
        assert_eq!(sessions.count(), 0, "{:?}", self.armed);
    }
}

const UNKNOWN_TOPIC: ErrorCode = ErrorCode::UnknownTopicOrPartition;

fn is_metadata(req: &Request) -> bool {
    matches!(req, Request::Metadata { .. })
}

fn partitions(leaders: &[(Option<NodeId>, u32)]) -> Vec<PartitionMetadata> {
    (0..)
        .zip(leaders)
        .map(|(index, (leader, epoch))| PartitionMetadata {
            index: PartitionIndex(index),
            leader: *leader,
            leader_epoch: LeaderEpoch(*epoch),
        })
        .collect()
}

fn tp(index: u32) -> TopicPartition {
    TopicPartition { topic: T, index: PartitionIndex(index) }
}

fn tail(from_start: bool) -> Op {
    Op::Tail { topic: "t".to_string(), partition: 0, from_start, committed: false }
}

fn catch_up() -> Op {
    Op::CatchUp { topic: "t".to_string(), partition: 0, committed: false }
}

fn transaction(partitions: &[u32], end: TxnEnd) -> Op {
    let (topic, partitions) = ("t".to_string(), Vec::from(partitions));
    let (records, bytes, think_ms) = (2, 16, 0);
    Op::Transaction { topic, id: None, partitions, records, bytes, think_ms, end }
}

/// A membership that ends by itself.
fn member(protocol: GroupProtocol, copies: bool) -> Op {
    let copies_to = copies.then(|| "copies".to_string());
    let (topic, group, instance) = ("t".to_string(), "g".to_string(), None);
    let (stays_ms, vanishes) = (5_000, false);
    Op::Consume { topic, group, protocol, instance, stays_ms, vanishes, copies_to }
}

fn produce(acks: i8, damaged: bool) -> Op {
    let (topic, partition, records, bytes, idempotent) = ("t".to_string(), 0, 2, 16, false);
    Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent }
}

fn idempotent() -> Op {
    let (topic, partition, records, bytes) = ("t".to_string(), 0, 2, 16);
    let (acks, damaged, idempotent) = (-1, false, true);
    Op::Produce { topic, partition, records, bytes, acks, damaged, idempotent }
}

fn produced(base: u64) -> Response {
    let ok =
        Produced { base_offset: Offset(base), log_append_time: None, log_start_offset: Offset(0) };
    Response::Produce(vec![ProduceResult { partition: tp(0), result: Ok(ok) }])
}

fn refused(code: ErrorCode) -> Response {
    Response::Produce(vec![ProduceResult { partition: tp(0), result: Err(code) }])
}

fn batch_of(req: &Request) -> bytes::Bytes {
    let Request::Produce(ProduceRequest { batches, .. }) = req else { panic!("{req:?}") };
    batches[0].1.clone()
}
