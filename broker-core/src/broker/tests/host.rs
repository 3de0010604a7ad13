//! The smallest host that runs a cluster: one controller, some brokers, a store and a network that
//! do what they are told after a fixed time.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch::{self, NewRecord, ProducerStamp, TimestampMs};
use crate::broker::Broker;
use crate::config::{BrokerConfig, BrokerLimits, ControllerConfig};
use crate::controller::Controller;
use crate::ids::{
    ConnId, Incarnation, IncarnationId, NodeId, Offset, PartitionIndex, TopicId, TopicPartition,
    ZoneId,
};
use crate::mutants::Mutants;
use crate::probe::Probe;
use crate::protocol::*;
use crate::step::*;
use crate::time::{Dur, Mono, Wall};

pub(super) const CONTROLLER: NodeId = NodeId(0);
pub(super) const A: NodeId = NodeId(1);
pub(super) const B: NodeId = NodeId(2);

/// Long enough for every session, backoff and interval.
pub(super) const LONG: u64 = 60_000_000;

const NETWORK_US: u64 = 1_000;
const STORE_US: u64 = 5_000;

pub(super) struct Host {
    pub(super) now: u64,
    pub(super) mutants: Mutants,
    /// What the brokers' clocks show at `now` = 0.
    pub(super) wall: Wall,
    pub(super) limits: BrokerLimits,
    pub(super) store: BTreeMap<Key, Bytes>,
    pub(super) replies: BTreeMap<(ConnId, u32), Response>,
    pub(super) closed: Vec<ConnId>,
    pub(super) probes: Vec<(NodeId, Probe)>,
    pub(super) halted: Vec<(NodeId, HaltReason)>,
    /// Answers of the store that are never given, by the flow that asked.
    pub(super) mute: Option<(NodeId, Flow)>,
    /// Chance in a hundred that the store does not answer, and as many that it is slow.
    pub(super) trouble: u64,
    /// The gets so far.
    pub(super) gets: Vec<(Key, Option<(u64, u64)>)>,
    nodes: BTreeMap<NodeId, Node>,
    queue: BTreeMap<(u64, u64), (NodeId, Incarnation, Input)>,
    seq: u64,
    conns: u64,
    pub(super) seed: u64,
}

struct Node {
    machine: Option<Process>,
    incarnation: Incarnation,
    timers: BTreeMap<TimerKey, (u64, u64)>,
    log: Vec<u8>,
    state: Bytes,
    cut: bool,
}

enum Process {
    Controller(Box<Controller>),
    Broker(Box<Broker>),
}

impl Host {
    /// A controller and two brokers, all up and serving.
    pub(super) fn new(limits: BrokerLimits) -> Self {
        Self::with(limits, Mutants::NONE)
    }

    pub(super) fn with(limits: BrokerLimits, mutants: Mutants) -> Self {
        let mut host = Self::down(limits, mutants);
        host.boot(CONTROLLER);
        host.boot(A);
        host.boot(B);
        host.run(LONG);
        assert!(host.broker(A).is_serving(), "{:?}", host.broker(A).blocked());
        assert!(host.broker(B).is_serving(), "{:?}", host.broker(B).blocked());
        host
    }

    pub(super) fn down(limits: BrokerLimits, mutants: Mutants) -> Self {
        Self {
            now: 0,
            mutants,
            wall: Wall(1_700_000_000_000_000),
            limits,
            store: BTreeMap::new(),
            replies: BTreeMap::new(),
            closed: Vec::new(),
            probes: Vec::new(),
            halted: Vec::new(),
            mute: None,
            trouble: 0,
            gets: Vec::new(),
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            seq: 0,
            conns: 0,
            seed: 0,
        }
    }

    pub(super) fn boot(&mut self, id: NodeId) {
        let (zone, limits) = (ZoneId(0), self.limits);
        let machine = if id == CONTROLLER {
            let config = ControllerConfig { node: id, voters: vec![CONTROLLER] };
            Process::Controller(Box::new(Controller::new(config)))
        } else {
            let config = BrokerConfig { node: id, zone, controllers: vec![CONTROLLER], limits };
            Process::Broker(Box::new(Broker::new(config)))
        };
        let node = self.nodes.entry(id).or_insert_with(|| Node {
            machine: None,
            incarnation: Incarnation(0),
            timers: BTreeMap::new(),
            log: Vec::new(),
            state: Bytes::new(),
            cut: false,
        });
        node.machine = Some(machine);
        node.incarnation = node.incarnation.next();
        let incarnation = node.incarnation;
        let incarnation_id = IncarnationId(u64::from(id.0) << 32 | u64::from(incarnation.0));
        self.give(id, Input::Boot(BootImage { incarnation, incarnation_id }));
    }

    pub(super) fn kill(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.machine = None;
        node.timers.clear();
    }

    /// Cuts a node off from all other nodes, not from the store and its clients.
    pub(super) fn cut(&mut self, id: NodeId, cut: bool) {
        self.nodes.get_mut(&id).unwrap().cut = cut;
    }

    pub(super) fn broker(&self, id: NodeId) -> &Broker {
        match &self.nodes[&id].machine {
            Some(Process::Broker(broker)) => broker,
            Some(Process::Controller(_)) | None => panic!("{id:?} is no running broker"),
        }
    }

    pub(super) fn is_up(&self, id: NodeId) -> bool {
        self.nodes[&id].machine.is_some()
    }

    pub(super) fn has_timer(&self, id: NodeId, key: TimerKey) -> bool {
        self.nodes[&id].timers.contains_key(&key)
    }

    /// Lets `us` microseconds pass.
    pub(super) fn run(&mut self, us: u64) {
        let until = self.now + us;
        loop {
            let timers = self
                .nodes
                .iter()
                .flat_map(|(&id, node)| node.timers.iter().map(move |(&key, &at)| (at, id, key)));
            let timer = timers.min();
            let event = self.queue.first_key_value().map(|(&at, _)| at);
            let next = [timer.map(|(at, ..)| at), event].into_iter().flatten().min();
            let Some(at) = next.filter(|(time, _)| *time <= until) else { break };
            self.now = at.0;
            if event == Some(at) {
                let (to, incarnation, input) = self.queue.remove(&at).unwrap();
                if self.nodes[&to].incarnation == incarnation {
                    self.give(to, input);
                }
            } else {
                let (_, id, key) = timer.unwrap();
                self.nodes.get_mut(&id).unwrap().timers.remove(&key);
                self.give(id, Input::Timer(key));
            }
        }
        self.now = until;
    }

    pub(super) fn give(&mut self, id: NodeId, input: Input) {
        self.seq += 1;
        let cx = Cx {
            mono: Mono(self.now),
            wall: Wall(self.wall.0 + self.now as i64),
            entropy: self.seq.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            mutants: self.mutants,
        };
        let mut out = Outbox::default();
        match &mut self.nodes.get_mut(&id).unwrap().machine {
            Some(Process::Controller(machine)) => machine.step(&cx, input, &mut out),
            Some(Process::Broker(machine)) => machine.step(&cx, input, &mut out),
            None => {}
        }
        for effect in out.drain().collect::<Vec<_>>() {
            self.effect(id, effect);
        }
    }

    fn later(&mut self, us: u64, to: NodeId, input: Input) {
        self.seq += 1;
        let incarnation = self.nodes[&to].incarnation;
        self.queue.insert((self.now + us, self.seq), (to, incarnation, input));
    }

    fn effect(&mut self, id: NodeId, effect: Effect) {
        match effect {
            Effect::Reply { conn, corr, resp } => {
                assert!(self.replies.insert((conn, corr), resp).is_none(), "answered twice");
            }
            Effect::Close(conn) => self.closed.push(conn),
            Effect::Send { to, msg } => {
                let cut = |id: NodeId| self.nodes.get(&id).is_none_or(|node| node.cut);
                if !cut(id) && !cut(to) {
                    self.later(NETWORK_US, to, Input::Peer { from: id, msg });
                }
            }
            Effect::Log(tok, op) => {
                if let Some(result) = self.nodes.get_mut(&id).unwrap().log(op) {
                    self.later(1, id, Input::LogDone(tok, result));
                }
            }
            Effect::Obj(tok, op) => {
                let (result, us) = self.troubled(op);
                if self.mute != Some((id, tok.flow)) {
                    self.later(us, id, Input::ObjDone(tok, result));
                }
            }
            Effect::Arm { key, after } => {
                self.seq += 1;
                let at = (self.now + after.0, self.seq);
                self.nodes.get_mut(&id).unwrap().timers.insert(key, at);
            }
            Effect::Disarm(key) => {
                self.nodes.get_mut(&id).unwrap().timers.remove(&key);
            }
            Effect::Probe(probe) => self.probes.push((id, probe)),
            Effect::Halt(reason) => {
                self.halted.push((id, reason));
                self.kill(id);
            }
        }
    }

    /// What the store makes of an operation, and when its answer comes.
    fn troubled(&mut self, op: ObjOp) -> (ObjResult, u64) {
        if self.trouble == 0 {
            return (self.object(op), STORE_US);
        }
        let us = 1_000 + self.draw(60_000);
        let chance = self.draw(100);
        if chance < self.trouble {
            if self.draw(2) == 0 {
                self.object(op);
            }
            (ObjResult::Unknown, 1_000_000)
        } else if chance < 2 * self.trouble {
            (ObjResult::SlowDown, us)
        } else {
            (self.object(op), us)
        }
    }

    /// A number below `bound`, from the run's own sequence (splitmix64).
    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn object(&mut self, op: ObjOp) -> ObjResult {
        let etag = Etag(1);
        match op {
            ObjOp::Put { key, body, cond } => {
                if cond == Cond::IfAbsent && self.store.contains_key(&key) {
                    return ObjResult::PreconditionFailed;
                }
                self.store.insert(key, body);
                ObjResult::Done { etag }
            }
            ObjOp::Get { key, range } => {
                self.gets.push((key.clone(), range));
                let Some(body) = self.store.get(&key) else { return ObjResult::NotFound };
                let size = body.len() as u64;
                let (start, end) = range.unwrap_or((0, size));
                let data = body.slice(start as usize..end.min(size) as usize);
                ObjResult::Body { etag, data, size }
            }
            ObjOp::List { prefix, after } => {
                let keys = self.store.keys().filter(|key| key.0.starts_with(&*prefix.0));
                let keys = keys.filter(|key| after.as_ref().is_none_or(|after| *key > after));
                ObjResult::Keys { keys: keys.cloned().collect(), more: false }
            }
            ObjOp::Delete { key } => {
                self.store.remove(&key);
                ObjResult::Done { etag }
            }
        }
    }
}

impl Node {
    fn log(&mut self, op: LogOp) -> Option<LogResult> {
        match op {
            LogOp::Load => Some(LogResult::Loaded {
                log: Bytes::from(self.log.clone()),
                state: self.state.clone(),
            }),
            LogOp::Append { bytes } => {
                self.log.extend_from_slice(&bytes);
                None
            }
            LogOp::Sync => Some(LogResult::Durable { end: self.log.len() as u64 }),
            LogOp::Truncate { end } => {
                self.log.truncate(end as usize);
                Some(LogResult::Durable { end })
            }
            LogOp::WriteState { bytes } => {
                self.state = bytes;
                Some(LogResult::StateDurable)
            }
        }
    }
}

/// What a client does.
impl Host {
    pub(super) fn send(&mut self, to: NodeId, conn: ConnId, corr: u32, req: Request) {
        self.give(to, Input::Client { conn, corr, req });
    }

    pub(super) fn conn(&mut self) -> ConnId {
        self.conns += 1;
        ConnId(self.conns)
    }

    /// Asks on a fresh connection and waits for the answer.
    pub(super) fn call(&mut self, to: NodeId, req: Request) -> Response {
        let conn = self.conn();
        self.send(to, conn, 0, req);
        self.run(2_000_000);
        self.replies.remove(&(conn, 0)).expect("an answer within two seconds")
    }

    /// Creates a topic of one partition, which is led by somebody when this returns.
    pub(super) fn create_topic(&mut self, configs: &[(&str, &str)]) -> TopicPartition {
        let configs = configs.iter().map(|&(k, v)| (k.into(), v.into())).collect();
        let name = "t".into();
        let request = AdminRequest::CreateTopic { name, partitions: 1, configs };
        match self.call(A, Request::Admin(request)) {
            Response::Admin(AdminResponse::Created(topic)) => partition_of(topic),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leader(&self, partition: TopicPartition) -> NodeId {
        let up = [A, B].into_iter().filter(|&id| self.is_up(id));
        let newest = up.map(|id| self.broker(id).image()).max_by_key(|image| image.end).unwrap();
        newest.partitions[&partition].leader.expect("a published leader")
    }

    pub(super) fn try_produce(
        &mut self,
        to: NodeId,
        partition: TopicPartition,
        batch: Bytes,
        acks: Acks,
    ) -> Result<Offset, ErrorCode> {
        match self.call(to, produce(partition, batch, acks)) {
            Response::Produce(results) => results[0].result.map(|produced| produced.base_offset),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn produce(&mut self, partition: TopicPartition, values: &[&str]) -> Offset {
        let (to, batch) = (self.leader(partition), self.batch(values));
        self.try_produce(to, partition, batch, Acks::All).expect("a good produce")
    }

    /// A batch with one record per value, all with the time of now.
    pub(super) fn batch(&self, values: &[&str]) -> Bytes {
        let now = TimestampMs::floor(Wall(self.wall.0 + self.now as i64));
        batch_at(now.0, values)
    }

    pub(super) fn fetch(
        &mut self,
        partition: TopicPartition,
        from: u64,
    ) -> Result<Fetched, ErrorCode> {
        let to = self.leader(partition);
        match self.call(to, fetch(partition, from, 1)) {
            Response::Fetch(mut results) => results.remove(0).result,
            other => panic!("{other:?}"),
        }
    }

    /// Reads everything from offset 0 on, record by record.
    pub(super) fn read_all(&mut self, partition: TopicPartition) -> Vec<(u64, Vec<u8>)> {
        let mut read = Vec::new();
        loop {
            let next = read.last().map_or(0, |(offset, _)| offset + 1);
            let fetched = self.fetch(partition, next).expect("a good fetch");
            if fetched.batches.is_empty() {
                assert_eq!(fetched.high_watermark, Offset(next));
                return read;
            }
            for batch in &fetched.batches {
                batch::verify(batch).expect("a whole batch");
                let records = batch::records(batch).map(|record| record.unwrap());
                let fresh = records.filter(|record| record.offset.0 >= next);
                read.extend(fresh.map(|r| (r.offset.0, r.value.unwrap().to_vec())));
            }
        }
    }

    pub(super) fn saw(&self, node: NodeId, wanted: impl Fn(&Probe) -> bool) -> usize {
        self.probes.iter().filter(|(id, probe)| *id == node && wanted(probe)).count()
    }
}

pub(super) const fn partition_of(topic: TopicId) -> TopicPartition {
    TopicPartition { topic, index: PartitionIndex(0) }
}

pub(super) fn batch_at(time_ms: i64, values: &[&str]) -> Bytes {
    batch_of(values.iter().map(|&value| (time_ms, value)))
}

/// A batch of these times and values.
pub(super) fn batch_of<'a>(records: impl Iterator<Item = (i64, &'a str)>) -> Bytes {
    let records = records.map(|(time_ms, value)| NewRecord {
        timestamp: TimestampMs(time_ms),
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    });
    batch::build(&records.collect::<Vec<_>>(), ProducerStamp::NONE)
}

pub(super) fn produce(partition: TopicPartition, batch: Bytes, acks: Acks) -> Request {
    let batches = vec![(partition, batch)];
    // Counts for batches of transactions only.
    let transactional = Some(("t".into(), TransactionVersion::V1));
    let timeout = Dur::secs(30);
    Request::Produce(ProduceRequest { acks, timeout, transactional, batches })
}

pub(super) fn fetch(partition: TopicPartition, from: u64, bytes_min: u32) -> Request {
    Request::Fetch(FetchRequest {
        isolation: Isolation::ReadUncommitted,
        wait_max: Dur::ms(500),
        bytes_min,
        bytes_max: 1 << 20,
        partitions: vec![part(partition, from)],
    })
}

pub(super) fn part(partition: TopicPartition, from: u64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset: Offset(from),
        current_leader_epoch: None,
        last_fetched_epoch: None,
        bytes_max: 1 << 20,
    }
}
