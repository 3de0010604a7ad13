//! The broker node: one machine that composes registration, metadata, WAL, upload, recoveries,
//! partitions and clients, and hands every input to the part it belongs to.
//!
//! Each part's rules are in its own file. Order matters in one place only: a confirmed record goes
//! to the log cache and the upload before anyone hears of it (AutoMQ #3064). Sources: KIP-631 for
//! the life cycle, AutoMQ's `ElasticReplicaManager`, `S3Storage` and `StorageFailureHandlerChain`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::cache::LogCache;
use crate::config::BrokerConfig;
use crate::connection::Connections;
use crate::ids::{
    BrokerEpoch, ConnId, Incarnation, IncarnationId, NodeId, StreamId, TopicPartition,
};
use crate::metadata::Image;
use crate::partition::{Asker, Partition};
use crate::peer::{ControllerRequest, PeerMsg};
use crate::protocol::{Acks, ProduceRequest, Request, Response};
use crate::quorum::Observer;
use crate::read::Reads;
use crate::recovery::Recovery;
use crate::step::{
    BootImage, Cx, Effect, Flow, HaltReason, Input, Machine, ObjResult, Outbox, TimerKey, Tok,
};
use crate::upload::{Upload, UploadEvent};
use crate::wal::{Wal, WalEvent};

mod asks;
mod coordinators;
mod fetch;
mod gathered;
mod groups;
mod lifecycle;
mod loading;
mod ownership;
mod peers;
mod produce;
mod producer_ids;
mod queries;
mod report;
mod search;
mod snapshots;
#[cfg(test)]
mod tests;
mod transactions;
mod unproven;
mod verify;

use asks::{Asks, Purpose};

/// A broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Broker {
    config: BrokerConfig,
    phase: Phase,
    boot: BootImage,
    observer: Observer,
    image: Image,
    asks: Asks,
    heartbeat: lifecycle::Heartbeat,
    wal: Wal,
    upload: Upload,
    /// Recoveries under way, one per dead node.
    recoveries: BTreeMap<NodeId, (BrokerEpoch, Recovery)>,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// Open partitions by their streams.
    led: BTreeMap<StreamId, TopicPartition>,
    opening: BTreeMap<StreamId, ownership::Opening>,
    /// Streams open here whose partitions are not, yet.
    loading: BTreeMap<StreamId, loading::Loading>,
    closing: BTreeMap<StreamId, ownership::Closing>,
    cache: LogCache,
    reads: Reads,
    connections: Connections,
    produces: BTreeMap<Asker, produce::Produce>,
    /// Batches that are to be refused by what their partition remembers, and who waits for that, by
    /// the number of the WAL's proof. Bounded by the requests that clients may have open.
    refusals: BTreeMap<u64, produce::Refusal>,
    /// Answers that rest on what is remembered here, by the number of the WAL's proof that they
    /// wait for. Bounded as those.
    unproven: BTreeMap<u64, unproven::Unproven>,
    /// Questions to several coordinators that are not all answered. Bounded as those.
    gathered: BTreeMap<Asker, gathered::Gathered>,
    /// Batches that have offsets and wait for room in the WAL, oldest first.
    queue: VecDeque<produce::Queued>,
    fetches: BTreeMap<Asker, fetch::Fetch>,
    searches: BTreeMap<Asker, search::Search>,
    producer_ids: producer_ids::ProducerIds,
    snapshots: snapshots::Snapshots,
    coordinators: BTreeMap<TopicPartition, coordinators::Coordinator>,
    peers: peers::Peers,
    /// Batches of transactions that wait for the coordinator's word.
    verifying: BTreeMap<verify::Held, verify::Verifying>,
}

/// How far the process has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// Not started.
    Down,
    /// Asks to be let into the cluster.
    Registering,
    /// Part of the cluster; the own WAL waits for the node's earlier ones to be sealed.
    Registered(BrokerEpoch),
    /// The own WAL is being opened, or is open.
    Running(BrokerEpoch),
    /// The process ends with this step.
    Ended,
}

impl Broker {
    /// A broker that has not been booted.
    #[must_use]
    pub fn new(config: BrokerConfig) -> Self {
        let (node, limits) = (config.node, config.limits);
        Self {
            phase: Phase::Down,
            boot: BootImage { incarnation: Incarnation(0), incarnation_id: IncarnationId(0) },
            observer: Observer::new(node, config.controllers.clone()),
            image: Image::default(),
            asks: Asks::new(config.controllers.clone()),
            heartbeat: lifecycle::Heartbeat::default(),
            wal: Wal::new(node, limits),
            upload: Upload::new(node, limits),
            recoveries: BTreeMap::new(),
            partitions: BTreeMap::new(),
            led: BTreeMap::new(),
            opening: BTreeMap::new(),
            loading: BTreeMap::new(),
            closing: BTreeMap::new(),
            cache: LogCache::new(limits.cache_bytes_max),
            reads: Reads::default(),
            connections: Connections::default(),
            produces: BTreeMap::new(),
            refusals: BTreeMap::new(),
            unproven: BTreeMap::new(),
            gathered: BTreeMap::new(),
            queue: VecDeque::new(),
            fetches: BTreeMap::new(),
            searches: BTreeMap::new(),
            producer_ids: producer_ids::ProducerIds::default(),
            snapshots: snapshots::Snapshots::default(),
            coordinators: BTreeMap::new(),
            peers: peers::Peers::default(),
            verifying: BTreeMap::new(),
            config,
        }
    }

    fn client(
        &mut self,
        cx: &Cx,
        conn: ConnId,
        corr: u32,
        request: Request,
        out: &mut Outbox<Effect>,
    ) {
        if let Request::Produce(request @ ProduceRequest { acks: Acks::None, .. }) = request {
            return self.produce_silently(cx, conn, request, out);
        }
        let Some(asker) = self.connections.begin(cx, conn, corr) else {
            out.push(Effect::Close(conn));
            return self.gone(conn, out);
        };
        self.request(cx, asker, request, out);
    }

    fn request(&mut self, cx: &Cx, asker: Asker, request: Request, out: &mut Outbox<Effect>) {
        match request {
            Request::Produce(request) => self.produce(cx, asker, request, out),
            Request::Fetch(request) => self.fetch(cx, asker, request, out),
            Request::ListOffsets { isolation, partitions } => {
                self.list_offsets(cx, asker, (isolation, &partitions), out);
            }
            Request::Metadata { topics } => self.metadata(asker, topics, out),
            Request::OffsetForLeaderEpoch { partitions } => {
                self.epoch_ends(cx, asker, &partitions, out);
            }
            Request::DescribeConfigs { topic } => self.describe_configs(asker, &topic, out),
            Request::Admin(request) => self.admin(cx, asker, request, out),
            Request::Validate(request) => {
                let request = ControllerRequest::Validate { request };
                self.asks.ask(Purpose::Admin(asker), request, out);
            }
            Request::InitProducerId => self.init_producer_id(asker, out),
            Request::WriteTxnMarkers { markers } => self.write_txn_markers(cx, asker, markers, out),
            Request::FindCoordinator { kind, name } => {
                self.find_coordinator(cx, asker, (kind, &name), out);
            }
            Request::Txn(request) => self.txn(cx, asker, request, out),
            Request::Group(request) => self.group(cx, asker, request, out),
        }
    }

    /// Answers a client, unless the process is over: then nothing may leave it.
    fn reply(&mut self, asker: Asker, answer: Response, out: &mut Outbox<Effect>) {
        if self.phase != Phase::Ended {
            self.connections.answer(asker, answer, out);
        }
    }

    /// A connection is gone: nobody waits for its answers. What it appended stays appended.
    fn gone(&mut self, conn: ConnId, out: &mut Outbox<Effect>) {
        self.connections.gone(conn);
        self.asks.gone(|(of, _)| of == conn, out);
        self.drop_produces(conn, out);
        self.drop_fetches(conn, out);
        self.drop_searches(conn, out);
        for coordinator in self.coordinators.values_mut() {
            coordinator.gone(conn);
        }
        self.unproven_gone(conn);
        self.gathered_gone(conn);
    }

    fn peer(&mut self, cx: &Cx, from: NodeId, msg: PeerMsg, out: &mut Outbox<Effect>) {
        match msg {
            PeerMsg::Quorum(msg) => {
                let mut events = Vec::new();
                self.observer.peer(cx, from, msg, out, &mut events);
                self.follow(cx, events, out);
            }
            PeerMsg::Answer { id, incarnation_id, result } => {
                let answer = self.asks.answered(from, id, incarnation_id, result, out);
                if let Some((purpose, result)) = answer {
                    self.answered(cx, purpose, result, out);
                }
            }
            PeerMsg::Request { id, incarnation_id, request } => {
                let asker = self.connections.begin_peer(from, incarnation_id, id);
                self.request(cx, asker, request, out);
            }
            PeerMsg::Response { id, incarnation_id, response } => {
                self.peer_answered(cx, id, incarnation_id, response, out);
            }
            // Only controllers are asked; a message that lost its way.
            PeerMsg::Ask { .. } => {}
        }
    }

    fn obj_done(&mut self, cx: &Cx, tok: Tok, result: ObjResult, out: &mut Outbox<Effect>) {
        if tok.incarnation != self.boot.incarnation {
            return;
        }
        match tok.flow {
            Flow::Wal | Flow::Claim => {
                let mut events = Vec::new();
                self.wal.obj_done(cx, tok, result, out, &mut events);
                self.wal_events(cx, events, out);
            }
            Flow::Upload => {
                let mut events = Vec::new();
                self.upload.obj_done(cx, tok, result, out, &mut events);
                self.upload_events(cx, events, out);
            }
            Flow::Recovery(of) => {
                self.with_recovery(cx, of, out, |recovery, image, out, events| {
                    recovery.obj_done(cx, tok, result, image, out, events);
                });
            }
            Flow::Read => {
                if let Some(read) = self.reads.obj_done(tok, result, &self.image, out) {
                    self.read_done(cx, read, out);
                }
            }
            Flow::Snapshots => self.snapshot_done(cx, tok, result, out),
            // A broker has no log device.
            Flow::Quorum => {}
        }
    }

    fn timer(&mut self, cx: &Cx, key: TimerKey, out: &mut Outbox<Effect>) {
        match key {
            TimerKey::Observe => {
                self.observer.timer(cx, out);
            }
            TimerKey::Heartbeat => self.heartbeat_due(out),
            TimerKey::Ask(id) => {
                if let Some(Purpose::Admin(asker)) = self.asks.timer(cx, id, out) {
                    self.admin_timed_out(asker, out);
                }
            }
            TimerKey::WalBulk
            | TimerKey::WalPut(_)
            | TimerKey::WalVerify
            | TimerKey::WalRedelete
            | TimerKey::Claim => {
                let mut events = Vec::new();
                self.wal.timer(cx, key, out, &mut events);
                self.wal_events(cx, events, out);
            }
            TimerKey::UploadSeal | TimerKey::Upload(_) => {
                let mut events = Vec::new();
                self.upload.timer(cx, key, out, &mut events);
                self.upload_events(cx, events, out);
            }
            TimerKey::Recovery(of) => {
                self.with_recovery(cx, of, out, |recovery, image, out, events| {
                    recovery.timer(cx, image, out, events);
                });
            }
            TimerKey::Open(stream, epoch) => self.open_again(cx, stream, epoch, out),
            TimerKey::ProduceWait(conn, number) => self.produce_timed_out((conn, number), out),
            TimerKey::FetchWait(conn, number) => self.fetch_timed_out(cx, (conn, number), out),
            TimerKey::Search(conn, number) => self.search(cx, (conn, number), out),
            TimerKey::Read(seq) => {
                if let Some(read) = self.reads.timer(seq, &self.image, out) {
                    self.read_done(cx, read, out);
                }
            }
            TimerKey::Load(stream) => self.load_again(cx, stream, out),
            TimerKey::Peer(id) => self.peer_done(cx, id, None, out),
            TimerKey::Verify(partition, producer, epoch) => {
                self.ask_again(cx, (partition, producer, epoch), out);
            }
            TimerKey::Coordinator(partition, number) => {
                self.coordinator_timer(cx, partition, number, out);
            }
            TimerKey::Markers(partition) => self.send_markers(cx, partition, out),
            // Timers of controllers.
            TimerKey::Quorum(_) | TimerKey::Session(_) | TimerKey::Sweep => {}
        }
    }

    fn wal_events(&mut self, cx: &Cx, events: Vec<WalEvent>, out: &mut Outbox<Effect>) {
        for event in events {
            if self.phase == Phase::Ended {
                return;
            }
            match event {
                WalEvent::Opened => self.wal_opened(cx, out),
                WalEvent::Stored { lsn, record } => self.stored(cx, lsn, &record, out),
                WalEvent::Confirmed { lsn, record } => self.confirmed(cx, lsn, &record, out),
                WalEvent::Room => self.let_in(cx, out),
                WalEvent::Proven { before } => {
                    self.proven(before, out);
                    self.answers_proven(cx, before, out);
                }
                WalEvent::Failed { lsn: _, record } => self.failed(&record, out),
                WalEvent::Fenced => self.fenced(cx, HaltReason::WalFenced, out),
            }
        }
    }

    fn upload_events(&mut self, cx: &Cx, events: Vec<UploadEvent>, out: &mut Outbox<Effect>) {
        for event in events {
            match event {
                UploadEvent::Ask { id, request } => {
                    self.asks.ask(Purpose::Upload(id), request, out);
                }
                UploadEvent::Committed { upto, .. } => self.wal.trim(cx, upto, out),
                UploadEvent::Room => self.let_in(cx, out),
                UploadEvent::Fenced => self.fenced(cx, HaltReason::NodeFenced, out),
            }
        }
    }
}

impl Machine for Broker {
    type In = Input;
    type Out = Effect;

    fn step(&mut self, cx: &Cx, input: Input, out: &mut Outbox<Effect>) {
        match (self.phase, input) {
            (Phase::Down, Input::Boot(image)) => self.boot(cx, image, out),
            // The process is over, or has not begun: what still arrives was for another one.
            (Phase::Down | Phase::Ended, _) => {}
            (_, Input::Boot(image)) => panic!("booted twice: {image:?} after {:?}", self.boot),
            (_, Input::Client { conn, corr, req }) => self.client(cx, conn, corr, req, out),
            (_, Input::Gone(conn)) => self.gone(conn, out),
            (_, Input::Peer { from, msg }) => self.peer(cx, from, msg, out),
            // A broker has no log device.
            (_, Input::LogDone(..)) => {}
            (_, Input::ObjDone(tok, result)) => self.obj_done(cx, tok, result, out),
            (_, Input::Timer(key)) => self.timer(cx, key, out),
            (_, Input::Drain) => self.drain(cx, out),
        }
    }
}
