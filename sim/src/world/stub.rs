//! Toy machines that stand where the real ones will.
#![allow(missing_docs, reason = "stand-ins")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_core::config::{BrokerConfig, ControllerConfig};
use broker_core::ids::*;
use broker_core::metadata::Image;
use broker_core::peer::{PeerMsg, QuorumMsg};
use broker_core::probe::Probe;
use broker_core::protocol::*;
use broker_core::quorum::Quorum;
use broker_core::step::*;
use broker_core::time::Dur;
use bytes::Bytes;
use invariants::history::SimTime;
use invariants::view::{Evidence, View};
use workloads::client::*;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Controller {
    config: ControllerConfig,
    incarnation: Incarnation,
    image: Image,
    quorum: Quorum,
    seq: u64,
    waiting: BTreeMap<u64, (NodeId, u64)>,
}

impl Controller {
    pub fn new(config: ControllerConfig) -> Self {
        Self {
            config,
            incarnation: Incarnation(0),
            image: Image::default(),
            quorum: Quorum {},
            seq: 0,
            waiting: BTreeMap::new(),
        }
    }
    pub fn image(&self) -> &Image {
        &self.image
    }
    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }
    fn tok(&mut self) -> Tok {
        self.seq += 1;
        Tok { incarnation: self.incarnation, flow: Flow::Quorum, seq: self.seq }
    }
    pub fn step(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        match input {
            Input::Boot(boot) => {
                self.incarnation = boot.incarnation;
                let tok = self.tok();
                out.push(Effect::Log(tok, LogOp::Load));
            }
            Input::LogDone(_, LogResult::Loaded { .. }) => {
                out.arm(QuorumTimer::Fetch, Dur::ms(20));
            }
            Input::Timer(key) => {
                for voter in self.config.voters.clone() {
                    if voter != self.config.node {
                        let msg = QuorumMsg::BeginEpoch { epoch: QuorumEpoch(cx.entropy as u32) };
                        out.push(Effect::Send { to: voter, msg: PeerMsg::Quorum(msg) });
                    }
                }
                out.arm(key, Dur(20_000 + cx.entropy % 1000));
            }
            Input::Peer { from, msg: PeerMsg::Quorum(QuorumMsg::BeginEpoch { epoch }) } => {
                let bytes = Bytes::copy_from_slice(&epoch.0.to_le_bytes());
                let tok = self.tok();
                out.push(Effect::Log(tok, LogOp::Append { bytes }));
                let tok = self.tok();
                out.push(Effect::Log(tok, LogOp::Sync));
                self.waiting.insert(tok.seq, (from, 0));
            }
            Input::LogDone(tok, LogResult::Durable { .. }) => {
                out.probe(Probe::QuorumFlushed { end: MetaOffset(tok.seq) });
                if let Some((from, _)) = self.waiting.remove(&tok.seq) {
                    let msg = QuorumMsg::BeginEpochReply { epoch: QuorumEpoch(1) };
                    out.push(Effect::Send { to: from, msg: PeerMsg::Quorum(msg) });
                }
            }
            Input::LogDone(_, LogResult::SyncFailed | LogResult::Full | LogResult::Io) => {
                out.push(Effect::Halt(HaltReason::Device));
            }
            _ => {}
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    config: BrokerConfig,
    incarnation: Incarnation,
    image: Image,
    seq: u64,
    waiting: BTreeMap<u64, (ConnId, u32)>,
}

impl Broker {
    pub fn new(config: BrokerConfig) -> Self {
        Self {
            config,
            incarnation: Incarnation(0),
            image: Image::default(),
            seq: 0,
            waiting: BTreeMap::new(),
        }
    }
    pub fn image(&self) -> &Image {
        &self.image
    }
    pub fn step(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        match input {
            Input::Boot(boot) => {
                self.incarnation = boot.incarnation;
                out.arm(TimerKey::Heartbeat, Dur::ms(100));
            }
            Input::Client { conn, corr, .. } => {
                self.seq += 1;
                let tok = Tok { incarnation: self.incarnation, flow: Flow::Wal, seq: self.seq };
                self.waiting.insert(self.seq, (conn, corr));
                let node = self.config.node;
                let key = Key(Arc::from(format!("wal/{node}/{}/{}", self.incarnation, self.seq)));
                let body = Bytes::copy_from_slice(&cx.entropy.to_le_bytes());
                out.probe(Probe::WalPutSent {
                    start: Lsn(self.seq),
                    end: Lsn(self.seq + 1),
                    attempt: 0,
                });
                out.push(Effect::Obj(tok, ObjOp::Put { key, body, cond: Cond::IfAbsent }));
            }
            Input::ObjDone(tok, result) => {
                if let Some((conn, corr)) = self.waiting.remove(&tok.seq) {
                    let code = match result {
                        ObjResult::Done { .. } => Ok(Vec::new()),
                        _ => Err(ErrorCode::RequestTimedOut),
                    };
                    let resp = Response::DescribeConfigs(code);
                    out.push(Effect::Reply { conn, corr, resp });
                }
            }
            Input::Timer(key) => {
                for controller in self.config.controllers.clone() {
                    let msg = QuorumMsg::BeginEpoch { epoch: QuorumEpoch(cx.entropy as u32) };
                    out.push(Effect::Send { to: controller, msg: PeerMsg::Quorum(msg) });
                }
                out.arm(key, Dur::ms(100));
            }
            Input::Drain => out.push(Effect::Halt(HaltReason::ShutDown)),
            _ => {}
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Client {
    config: ClientConfig,
    conn: Option<ConnId>,
    next: u64,
    waiting: BTreeSet<u32>,
}

impl Client {
    pub fn new(config: ClientConfig) -> Self {
        Self { config, conn: None, next: 0, waiting: BTreeSet::new() }
    }
    pub fn unfinished(&self) -> Vec<String> {
        self.waiting.iter().map(ToString::to_string).collect()
    }
    fn send(&mut self, op: u32, out: &mut Outbox<ClientOut>) {
        let conn = match self.conn {
            Some(conn) => conn,
            None => {
                self.next += 1;
                let conn = ConnId(u64::from(self.config.client) << 32 | self.next);
                let brokers = &self.config.bootstrap;
                let to = brokers[self.next as usize % brokers.len()];
                out.push(ClientOut::Open { conn, to });
                self.conn = Some(conn);
                conn
            }
        };
        out.push(ClientOut::Send { conn, corr: op, req: Request::Metadata { topics: None } });
    }
    pub fn step(&mut self, _: &Cx, input: ClientIn, out: &mut Outbox<ClientOut>) {
        match input {
            ClientIn::Boot => {}
            ClientIn::Op(op, _) => {
                self.waiting.insert(op);
                let event = CallEvent::Invoke(Call::Admin { topic: None });
                out.push(ClientOut::Observe(Observation { call: op, op, event }));
                self.send(op, out);
            }
            ClientIn::Response { corr, resp, .. } => match resp {
                Response::DescribeConfigs(Ok(_)) => {
                    if self.waiting.remove(&corr) {
                        let event = CallEvent::Ok(Answer::Done);
                        let seen = Observation { call: corr, op: corr, event };
                        out.push(ClientOut::Observe(seen));
                    }
                }
                _ => self.send(corr, out),
            },
            ClientIn::Gone(conn) => {
                if self.conn == Some(conn) {
                    self.conn = None;
                    out.push(ClientOut::Arm { key: ClientTimer::Metadata, after: Dur::ms(100) });
                }
            }
            ClientIn::Timer(_) => {
                for op in self.waiting.clone() {
                    self.send(op, out);
                }
            }
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub property: &'static str,
    pub place: String,
    pub message: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Judge {
    reached: BTreeMap<&'static str, u64>,
    open: BTreeSet<(u16, u32)>,
}

impl Judge {
    pub fn new(_: Option<&str>) -> Self {
        Self { reached: BTreeMap::new(), open: BTreeSet::new() }
    }
    pub fn observe(
        &mut self,
        _: SimTime,
        evidence: &Evidence<'_>,
        _: &dyn View,
    ) -> Result<(), Violation> {
        use invariants::history::EventKind;
        if let Evidence::History(event) = evidence {
            match event.kind {
                EventKind::Invoke(_) => self.open.insert((event.client, event.call)),
                _ => self.open.remove(&(event.client, event.call)),
            };
        }
        if let Evidence::Store { late: true, .. } = evidence {
            *self.reached.entry("late-put").or_default() += 1;
        }
        Ok(())
    }
    pub fn tick(&mut self, _: SimTime, _: &dyn View) -> Result<(), Violation> {
        Ok(())
    }
    pub fn unsettled(&self, _: &dyn View) -> Vec<String> {
        self.open.iter().map(|call| format!("{call:?}")).collect()
    }
    pub fn finish(&mut self, _: SimTime, _: &dyn View) -> Result<(), Violation> {
        let open = self.open.len();
        if open == 0 {
            return Ok(());
        }
        let message = format!("{open} calls never ended");
        Err(Violation { property: "LV1", place: "clients".to_owned(), message })
    }
    pub fn reached(&self) -> &BTreeMap<&'static str, u64> {
        &self.reached
    }
}
