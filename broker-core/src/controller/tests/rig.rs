//! Controllers with their voters, devices and timers on one queue, for tests: messages arrive at
//! once and in order, time passes only when a test says so.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::config::ControllerConfig;
use crate::controller::Controller;
use crate::controller::office::Answer;
use crate::ids::*;
use crate::metadata::Image;
use crate::metadata::image::PartitionState;
use crate::metadata::record::{CommittedRange, ObjectKind, Record};
use crate::mutants::{Mutant, Mutants};
use crate::peer::{CommitRequest, ControllerAnswer, ControllerError, ControllerRequest, PeerMsg};
use crate::probe::Probe;
use crate::protocol::{AdminRequest, AdminResponse};
use crate::step::*;
use crate::time::{Dur, Mono, Wall};

/// Brokers used by the tests.
pub(super) const A: NodeId = NodeId(11);
pub(super) const B: NodeId = NodeId(12);
pub(super) const C: NodeId = NodeId(13);

/// A rule that must hold, and must not hold with the planted bug on.
pub(super) fn check_rule(mutant: Mutant, holds: impl Fn(Mutants) -> bool) {
    assert!(holds(Mutants::NONE), "the rule of {mutant:?}");
    #[cfg(feature = "mutants")]
    assert!(!holds(Mutants::NONE.with(mutant)), "{mutant:?} is not noticed");
}

#[derive(Default)]
struct Device {
    log: Vec<u8>,
    synced: usize,
    state: Bytes,
}

pub(super) struct Rig {
    voters: Vec<NodeId>,
    nodes: BTreeMap<NodeId, Controller>,
    devices: BTreeMap<NodeId, Device>,
    queue: VecDeque<(NodeId, Input)>,
    timers: BTreeMap<(NodeId, TimerKey), u64>,
    answers: BTreeMap<u64, Answer>,
    pub(super) cut: BTreeSet<NodeId>,
    pub(super) probes: Vec<(NodeId, Probe)>,
    pub(super) halted: Vec<(NodeId, HaltReason)>,
    mutants: Mutants,
    now: u64,
    boots: u32,
    steps: u64,
    asked: u64,
}

impl Rig {
    /// One controller, in office.
    pub(super) fn one(mutants: Mutants) -> Self {
        Self::of(1, mutants)
    }

    /// This many controllers, one of them in office.
    pub(super) fn of(voters: u16, mutants: Mutants) -> Self {
        let mut rig = Self {
            voters: (1..=voters).map(NodeId).collect(),
            nodes: BTreeMap::new(),
            devices: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BTreeMap::new(),
            answers: BTreeMap::new(),
            cut: BTreeSet::new(),
            probes: Vec::new(),
            halted: Vec::new(),
            mutants,
            now: 0,
            boots: 0,
            steps: 0,
            asked: 0,
        };
        for node in rig.voters.clone() {
            rig.boot(node);
        }
        rig.elect();
        rig
    }

    pub(super) fn boot(&mut self, node: NodeId) {
        self.boots += 1;
        let config = ControllerConfig { node, voters: self.voters.clone() };
        self.nodes.insert(node, Controller::new(config));
        let incarnation = Incarnation(self.boots);
        let incarnation_id = IncarnationId(u64::from(self.boots));
        self.input(node, Input::Boot(BootImage { incarnation, incarnation_id }));
    }

    pub(super) fn crash(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.timers.retain(|(of, _), _| *of != node);
        let device = self.devices.entry(node).or_default();
        device.log.truncate(device.synced);
    }

    /// Lets time pass until a controller that is not cut off is in office.
    pub(super) fn elect(&mut self) {
        for _ in 0..2_000 {
            if self.active_or_none().is_some() {
                return;
            }
            self.pass(Dur::ms(20));
        }
        panic!("nobody takes office");
    }

    fn active_or_none(&self) -> Option<NodeId> {
        let mut nodes = self.nodes.iter().filter(|(node, _)| !self.cut.contains(node));
        nodes.find(|(_, controller)| controller.is_active()).map(|(&node, _)| node)
    }

    pub(super) fn active(&self) -> NodeId {
        self.active_or_none().expect("a controller in office")
    }

    pub(super) fn controller(&self, node: NodeId) -> &Controller {
        &self.nodes[&node]
    }

    pub(super) fn image(&self) -> &Image {
        self.nodes[&self.active()].image()
    }

    pub(super) fn partition(&self, topic: TopicId, index: u32) -> &PartitionState {
        &self.image().partitions[&TopicPartition { topic, index: PartitionIndex(index) }]
    }

    /// Whether any node left a probe of this kind.
    pub(super) fn saw(&self, name: &str) -> bool {
        self.probes.iter().any(|(_, probe)| probe.name() == name)
    }

    /// All committed records, in order, as the controller in office applied them.
    pub(super) fn records(&self) -> Vec<Record> {
        let active = self.active();
        let mut records = Vec::new();
        for (node, probe) in &self.probes {
            if let (true, Probe::MetaApplied { records: batch, .. }) = (*node == active, probe) {
                records.extend(batch.iter().cloned());
            }
        }
        records
    }

    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        self.queue.push_back((node, input));
        while let Some((node, input)) = self.queue.pop_front() {
            self.step(node, input);
        }
    }

    fn step(&mut self, node: NodeId, input: Input) {
        let Some(controller) = self.nodes.get_mut(&node) else { return };
        self.steps += 1;
        let entropy = self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(node.0) << 40;
        let cx = Cx {
            mono: Mono(self.now),
            wall: Wall(self.now.cast_signed()),
            entropy,
            mutants: self.mutants,
        };
        let mut out = Outbox::default();
        controller.step(&cx, input, &mut out);
        for effect in out.drain() {
            self.effect(node, effect);
        }
    }

    fn effect(&mut self, node: NodeId, effect: Effect) {
        match effect {
            Effect::Send { to, msg } => {
                if self.cut.contains(&node) || self.cut.contains(&to) {
                    return;
                }
                if let PeerMsg::Answer { id, result, .. } = msg {
                    assert!(self.answers.insert(id, result).is_none(), "{id} is answered twice");
                } else {
                    self.queue.push_back((to, Input::Peer { from: node, msg }));
                }
            }
            Effect::Log(tok, op) => {
                if let Some(result) = self.devices.entry(node).or_default().run(op) {
                    self.queue.push_back((node, Input::LogDone(tok, result)));
                }
            }
            Effect::Arm { key, after } => {
                self.timers.insert((node, key), self.now + after.0);
            }
            Effect::Disarm(key) => {
                self.timers.remove(&(node, key));
            }
            Effect::Probe(probe) => self.probes.push((node, probe)),
            Effect::Halt(reason) => {
                self.halted.push((node, reason));
                self.crash(node);
            }
            Effect::Reply { .. } | Effect::Close(_) | Effect::Obj(..) => {
                panic!("a controller has no clients and no store: {effect:?}")
            }
        }
    }

    pub(super) fn pass(&mut self, dur: Dur) {
        let until = self.now + dur.0;
        while let Some((&key, &due)) =
            self.timers.iter().min_by_key(|(key, due)| (**due, **key)).filter(|t| *t.1 <= until)
        {
            self.timers.remove(&key);
            self.now = due;
            self.input(key.0, Input::Timer(key.1));
        }
        self.now = until;
    }

    pub(super) fn is_armed(&self, key: TimerKey) -> bool {
        self.timers.contains_key(&(self.active(), key))
    }

    /// Fires a timer of the active controller now.
    pub(super) fn fire(&mut self, key: TimerKey) {
        let active = self.active();
        self.timers.remove(&(active, key)).expect("an armed timer");
        self.input(active, Input::Timer(key));
        self.pass(Dur::ms(20));
    }

    /// Sends a request to the active controller; no time passes, so what it changes is parked.
    pub(super) fn post(&mut self, from: NodeId, request: ControllerRequest) -> u64 {
        self.post_to(self.active(), from, request)
    }

    pub(super) fn post_to(&mut self, to: NodeId, from: NodeId, request: ControllerRequest) -> u64 {
        self.asked += 1;
        let id = self.asked;
        let msg = PeerMsg::Ask { id, incarnation_id: IncarnationId(0), request };
        self.input(to, Input::Peer { from, msg });
        id
    }

    pub(super) fn answer(&self, id: u64) -> Option<Answer> {
        self.answers.get(&id).cloned()
    }

    /// Sends a request and waits for the answer.
    pub(super) fn ask(&mut self, from: NodeId, request: ControllerRequest) -> Answer {
        let id = self.post(from, request);
        for _ in 0..20 {
            if let Some(answer) = self.answer(id) {
                return answer;
            }
            self.pass(Dur::ms(5));
        }
        panic!("no answer");
    }

    pub(super) fn register(&mut self, node: NodeId, incarnation: u64) -> Answer {
        let incarnation_id = IncarnationId(incarnation);
        self.ask(node, ControllerRequest::Register { incarnation_id, zone: ZoneId(0) })
    }

    pub(super) fn beat(
        &mut self,
        node: NodeId,
        epoch: BrokerEpoch,
        fence: bool,
        leave: bool,
    ) -> Answer {
        let metadata_offset = self.image().end;
        self.ask(
            node,
            ControllerRequest::Heartbeat {
                epoch,
                metadata_offset,
                want_fence: fence,
                want_shut_down: leave,
            },
        )
    }

    /// Registers a broker and brings it into service.
    pub(super) fn join(&mut self, node: NodeId, incarnation: u64) -> BrokerEpoch {
        let epoch = match self.register(node, incarnation) {
            Ok(ControllerAnswer::Registered { epoch }) => epoch,
            other => panic!("{other:?}"),
        };
        let served = ControllerAnswer::Heartbeat { fenced: false, shut_down: false };
        assert_eq!(self.beat(node, epoch, false, false), Ok(served));
        epoch
    }

    /// Time passes in which these brokers, and no others, stay in touch.
    pub(super) fn live(&mut self, brokers: &[(NodeId, BrokerEpoch)], dur: Dur) {
        let end = self.now + dur.0;
        while self.now < end {
            for &(node, epoch) in brokers {
                let _ = self.beat(node, epoch, false, false);
            }
            self.pass(Dur(Dur::secs(1).0.min(end.saturating_sub(self.now))));
        }
    }

    pub(super) fn admin(&mut self, nonce: u64, request: AdminRequest) -> AdminResponse {
        self.ask_admin(ControllerRequest::Admin { nonce, request })
    }

    pub(super) fn validate(&mut self, request: AdminRequest) -> AdminResponse {
        self.ask_admin(ControllerRequest::Validate { request })
    }

    fn ask_admin(&mut self, request: ControllerRequest) -> AdminResponse {
        match self.ask(A, request) {
            Ok(ControllerAnswer::Admin(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn topic(&mut self, name: &str, partitions: u32) -> TopicId {
        let nonce = crate::metadata::digest::digest_of(&name);
        let request =
            AdminRequest::CreateTopic { name: name.to_string(), partitions, configs: Vec::new() };
        match self.admin(nonce, request) {
            AdminResponse::Created(topic) => topic,
            other @ (AdminResponse::Done | AdminResponse::Error(_) | AdminResponse::Quorum(_)) => {
                panic!("{other:?}")
            }
        }
    }

    pub(super) fn open(&mut self, owner: (NodeId, BrokerEpoch), stream: u64, epoch: u32) -> Answer {
        let (stream, leader_epoch) = (StreamId(stream), LeaderEpoch(epoch));
        let (node, epoch) = owner;
        self.ask(node, ControllerRequest::OpenStream { epoch, stream, leader_epoch })
    }

    pub(super) fn close(
        &mut self,
        owner: (NodeId, BrokerEpoch),
        stream: u64,
        epoch: u32,
    ) -> Answer {
        let (stream, leader_epoch) = (StreamId(stream), LeaderEpoch(epoch));
        let (node, epoch) = owner;
        self.ask(node, ControllerRequest::CloseStream { epoch, stream, leader_epoch })
    }

    pub(super) fn assume(
        &mut self,
        owner: (NodeId, BrokerEpoch),
        topic: TopicId,
        index: u32,
        epoch: u32,
    ) -> Answer {
        let partition = TopicPartition { topic, index: PartitionIndex(index) };
        let leader_epoch = LeaderEpoch(epoch);
        let (node, epoch) = owner;
        self.ask(node, ControllerRequest::AssumeLeadership { epoch, partition, leader_epoch })
    }

    pub(super) fn prepare(&mut self, owner: (NodeId, BrokerEpoch), request: u64) -> Answer {
        self.ask(owner.0, ControllerRequest::PrepareObject { epoch: owner.1, request })
    }

    /// Prepares an object and gives its id.
    pub(super) fn prepared(&mut self, owner: (NodeId, BrokerEpoch), request: u64) -> ObjectId {
        match self.prepare(owner, request) {
            Ok(ControllerAnswer::Prepared { object }) => object,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(&mut self, from: NodeId, commit: &CommitRequest) -> Answer {
        self.ask(from, ControllerRequest::CommitObject(commit.clone()))
    }

    pub(super) fn seal(
        &mut self,
        owner: (NodeId, BrokerEpoch),
        wal: (NodeId, BrokerEpoch),
        end: u64,
    ) -> Answer {
        let (wal_node, wal_epoch) = wal;
        let end = Lsn(end);
        self.ask(owner.0, ControllerRequest::SealWal { epoch: owner.1, wal_node, wal_epoch, end })
    }
}

impl Device {
    fn run(&mut self, op: LogOp) -> Option<LogResult> {
        match op {
            LogOp::Load => Some(LogResult::Loaded {
                log: Bytes::from(self.log.clone()),
                state: self.state.clone(),
            }),
            LogOp::Append { bytes } => {
                self.log.extend_from_slice(&bytes);
                None
            }
            LogOp::Sync => {
                self.synced = self.log.len();
                Some(LogResult::Durable { end: self.synced as u64 })
            }
            LogOp::Truncate { end } => {
                self.log.truncate(usize::try_from(end).expect("small"));
                self.synced = self.log.len();
                Some(LogResult::Durable { end })
            }
            LogOp::WriteState { bytes } => {
                self.state = bytes;
                Some(LogResult::StateDurable)
            }
        }
    }
}

/// A commit of `object` by the owner of the WAL, of ranges `(stream, epoch, start, end)`.
pub(super) fn commit_of(
    owner: (NodeId, BrokerEpoch),
    object: ObjectId,
    ranges: &[(u64, u32, u64, u64)],
) -> CommitRequest {
    let range = |&(stream, epoch, start, end): &(u64, u32, u64, u64)| CommittedRange {
        stream: StreamId(stream),
        epoch: LeaderEpoch(epoch),
        start: Offset(start),
        end: Offset(end),
    };
    CommitRequest {
        epoch: owner.1,
        wal_node: owner.0,
        wal_epoch: owner.1,
        object,
        kind: ObjectKind::StreamSet,
        size: 100,
        ranges: ranges.iter().map(range).collect(),
    }
}

pub(super) fn committed(redundant: bool) -> Answer {
    Ok(ControllerAnswer::Committed { redundant })
}

pub(super) fn opened(next: u64) -> Answer {
    Ok(ControllerAnswer::Opened { start_offset: Offset(0), next_offset: Offset(next) })
}

pub(super) const DONE: Answer = Ok(ControllerAnswer::Done);

pub(super) fn deposed() -> Answer {
    Err(ControllerError::NotController { leader: None })
}

impl Rig {
    /// Writes an entry behind the controller's back, and restarts it.
    pub(super) fn smuggle(&mut self, batch: Bytes) {
        use crate::quorum::{Entry, Payload};
        let node = self.active();
        let quorum = self.nodes[&node].quorum();
        let (offset, epoch) = (quorum.end_offset(), quorum.epoch());
        let device = self.devices.get_mut(&node).expect("it wrote");
        let entry = Entry { epoch, payload: Payload::Batch(batch) };
        crate::quorum::format::encode_frame(offset, &entry, &mut device.log);
        device.synced = device.log.len();
        self.crash(node);
        self.boot(node);
    }
}
