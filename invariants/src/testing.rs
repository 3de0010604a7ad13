//! A small language for evidence, so that a property's tests read as what happened. It knows the
//! formats and the orders of a sound run; each test leaves that path at one point.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use broker_core::batch::{NewRecord, ProducerStamp, TimestampMs, build, stamp};
use broker_core::ids::{
    BrokerEpoch, Incarnation, IncarnationId, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId,
    Offset, PartitionEpoch, PartitionIndex, QuorumEpoch, StreamId, TopicId, TopicPartition, ZoneId,
};
use broker_core::metadata::Image;
use broker_core::metadata::record::{CommittedRange, ObjectKind, Record};
use broker_core::object::{BlockRecord, Builder, ObjectHeader};
use broker_core::probe::Probe;
use broker_core::protocol::{Acks, ErrorCode, Isolation};
use broker_core::quorum::Quorum;
use broker_core::quorum::format::{ElectionState, encode_state};
use broker_core::step::{Cond, Etag, Flow, Key, ObjOp, ObjResult, Tok};
use broker_core::time::Wall;
use broker_core::wal::record::{WalHeader, encode_wal_object};
use broker_core::wal::{Wal, WalRecord};
use bytes::Bytes;

use crate::history::{Answer, Call, EventKind, HistoryEvent, ReadRecord, SimTime, TransactionalId};
use crate::view::{Evidence, Membership, NodeEvent, Tail, View};
use crate::{Judge, Violation};

pub(crate) mod groups;
mod handoff;
pub(crate) mod transactions;

pub(crate) use transactions::{Q, TIMEOUT_US, Txn};

/// Two brokers.
pub(crate) const A: NodeId = NodeId(10);
pub(crate) const B: NodeId = NodeId(11);
/// Their registrations in [`Case::cluster`].
pub(crate) const A_EPOCH: BrokerEpoch = BrokerEpoch(0);
pub(crate) const B_EPOCH: BrokerEpoch = BrokerEpoch(2);
/// The partition of [`Case::cluster`], and its stream.
pub(crate) const P: TopicPartition = TopicPartition { topic: TopicId(1), index: PartitionIndex(0) };
pub(crate) const S: StreamId = StreamId(0);
/// A controller.
pub(crate) const C: NodeId = NodeId(0);

/// What the fake world holds.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) controllers: Vec<NodeId>,
    pub(crate) brokers: Vec<NodeId>,
    pub(crate) down: BTreeSet<NodeId>,
    pub(crate) outside: BTreeSet<NodeId>,
    pub(crate) images: BTreeMap<NodeId, Image>,
    pub(crate) device_ends: BTreeMap<NodeId, u64>,
    pub(crate) states: BTreeMap<NodeId, Bytes>,
    pub(crate) objects: BTreeMap<Key, Bytes>,
    pub(crate) tails: Vec<Tail>,
    pub(crate) memberships: Vec<Membership>,
    /// Operations that have ended.
    pub(crate) over: BTreeSet<(u16, u32)>,
    pub(crate) clocks_ahead_us: BTreeMap<NodeId, i64>,
}

impl View for Fake {
    fn controllers(&self) -> &[NodeId] {
        &self.controllers
    }
    fn brokers(&self) -> &[NodeId] {
        &self.brokers
    }
    fn is_up(&self, node: NodeId) -> bool {
        !self.down.contains(&node)
    }
    fn wall(&self, node: NodeId, at: SimTime) -> Option<Wall> {
        let ahead = self.clocks_ahead_us.get(&node).copied().unwrap_or_default();
        Some(Wall(at.0 as i64 + ahead))
    }
    fn wal(&self, _node: NodeId) -> Option<&Wal> {
        None
    }

    fn quorum(&self, _node: NodeId) -> Option<&Quorum> {
        None
    }
    fn image(&self, node: NodeId) -> Option<&Image> {
        self.images.get(&node)
    }
    fn device_end(&self, node: NodeId) -> u64 {
        self.device_ends.get(&node).copied().unwrap_or_default()
    }
    fn device_state(&self, node: NodeId) -> Bytes {
        self.states.get(&node).cloned().unwrap_or_default()
    }
    fn object(&self, key: &Key) -> Option<Bytes> {
        self.objects.get(key).cloned()
    }
    fn keys(&self, prefix: &str) -> Vec<Key> {
        self.objects.keys().filter(|key| key.0.starts_with(prefix)).cloned().collect()
    }
    fn in_core(&self, node: NodeId) -> bool {
        !self.outside.contains(&node)
    }
    fn tails(&self) -> Vec<Tail> {
        self.tails.clone()
    }
    fn memberships(&self) -> Vec<Membership> {
        self.memberships.clone()
    }
    fn is_under_way(&self, client: u16, op: u32) -> bool {
        !self.over.contains(&(client, op))
    }
    fn blocked(&self) -> Vec<String> {
        vec!["nothing".to_string()]
    }
}

/// A run under construction. Stops listening at the first violation.
pub(crate) struct Case {
    pub(crate) judge: Judge,
    pub(crate) fake: Fake,
    pub(crate) at_us: u64,
    meta: u64,
    calls: u32,
    /// The operation that calls belong to.
    op: u32,
    seq: u64,
    bytes: BTreeMap<NodeId, u64>,
    violation: Option<Violation>,
}

/// An open call.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    client: u16,
    call: u32,
    op: u32,
}

impl Case {
    /// Nothing has happened; only this property is judged.
    pub(crate) fn new(only: &str) -> Self {
        let fake = Fake {
            controllers: vec![NodeId(0), NodeId(1), NodeId(2)],
            brokers: vec![A, B],
            ..Fake::default()
        };
        let (at_us, meta, calls, op, seq) = (0, 0, 0, 0, 100);
        let (bytes, violation) = (BTreeMap::new(), None);
        let only = Some(only).filter(|only| *only != "all");
        Self { judge: Judge::new(only), fake, at_us, meta, calls, op, seq, bytes, violation }
    }

    /// Two brokers serve; A leads the partition under epoch 0.
    pub(crate) fn cluster(only: &str) -> Self {
        let mut case = Self::new(only);
        case.boot(A).boot(B).register(A).register(B);
        case.meta(vec![
            Record::Topic { name: "t".to_string(), topic: P.topic, nonce: 1 },
            Record::Partition { partition: P, stream: S, replica: Some(A) },
        ]);
        case.lead(A, A_EPOCH, 0, 1);
        case.claim(A, A, 1);
        case
    }

    /// The verdict.
    pub(crate) fn breaks(&self, code: &str) -> bool {
        self.violation.as_ref().is_some_and(|violation| violation.property == code)
    }

    /// Nothing was found; if something was, says what.
    pub(crate) fn holds(&self) -> bool {
        assert_eq!(self.violation, None);
        true
    }

    /// As [`Self::holds`].
    pub(crate) fn holds_now(&self) -> bool {
        self.violation.is_none()
    }

    /// One piece of evidence.
    pub(crate) fn see(&mut self, evidence: &Evidence<'_>) -> &mut Self {
        self.at_us += 1;
        if self.violation.is_none() {
            let at = SimTime(self.at_us);
            self.violation = self.judge.observe(at, evidence, &self.fake).err();
        }
        self
    }

    pub(crate) fn probe(&mut self, node: NodeId, probe: &Probe) -> &mut Self {
        self.see(&Evidence::Probe { node, probe })
    }

    pub(crate) fn event(&mut self, node: NodeId, event: NodeEvent) -> &mut Self {
        self.see(&Evidence::Node { node, event })
    }

    pub(crate) fn boot(&mut self, node: NodeId) -> &mut Self {
        self.event(node, NodeEvent::Booted(Incarnation(1)))
    }

    pub(crate) fn heal(&mut self) -> &mut Self {
        self.see(&Evidence::Healed)
    }

    /// Ticks through so many milliseconds.
    pub(crate) fn wait_ms(&mut self, ms: u64) -> &mut Self {
        for _ in 0..ms / 100 {
            self.at_us += 100_000;
            if self.violation.is_none() {
                self.violation = self.judge.tick(SimTime(self.at_us), &self.fake).err();
            }
        }
        self
    }

    pub(crate) fn finish(&mut self) -> &mut Self {
        if self.violation.is_none() {
            self.violation = self.judge.finish(SimTime(self.at_us), &self.fake).err();
        }
        self
    }

    pub(crate) fn owes(&self, code: &str) -> bool {
        self.judge.unsettled(&self.fake).any(|line| line.starts_with(code))
    }

    // Metadata.

    /// The next entry of the metadata log is applied.
    pub(crate) fn meta(&mut self, records: Vec<Record>) -> &mut Self {
        let offset = MetaOffset(self.meta);
        self.meta += 1;
        self.applied(C, offset, records, None)
    }

    pub(crate) fn applied(
        &mut self,
        node: NodeId,
        offset: MetaOffset,
        records: Vec<Record>,
        image: Option<u64>,
    ) -> &mut Self {
        self.probe(node, &Probe::MetaApplied { offset, records: Arc::new(records), image })
    }

    pub(crate) fn register(&mut self, node: NodeId) -> &mut Self {
        let epoch = BrokerEpoch(self.meta);
        let incarnation_id = IncarnationId(1);
        self.meta(vec![Record::RegisterBroker { node, incarnation_id, zone: ZoneId(0) }]);
        self.meta(vec![broker_change(node, epoch, false, false)]);
        self.probe(node, &Probe::BrokerRegistered { epoch })
    }

    /// The node opens the stream and is published as leader.
    pub(crate) fn lead(
        &mut self,
        node: NodeId,
        broker_epoch: BrokerEpoch,
        epoch: u32,
        partition_epoch: u32,
    ) -> &mut Self {
        self.meta(vec![open_stream(node, broker_epoch, epoch)]);
        self.meta(vec![change(Some(node), Some(node), epoch, partition_epoch)])
    }

    /// Broker D = A dies; B is to recover it and to lead under epoch 1.
    pub(crate) fn fail_over(&mut self) -> &mut Self {
        self.meta(vec![
            broker_change(A, A_EPOCH, true, false),
            change(Some(B), None, 1, 2),
            assign(A, A_EPOCH, B, B_EPOCH),
        ])
    }

    /// The topic is deleted.
    pub(crate) fn delete_topic(&mut self) -> &mut Self {
        let topic = Some(P.topic);
        self.invoke(1, Call::Admin { topic, deletes: true });
        self.meta(vec![Record::RemoveTopic { topic: P.topic }])
    }

    /// The WAL of A is sealed at `end`.
    pub(crate) fn seal(&mut self, end: u64) -> &mut Self {
        self.meta(vec![
            Record::CloseStream { stream: S, epoch: LeaderEpoch(0) },
            Record::SealWal { node: A, epoch: A_EPOCH, end: Lsn(end) },
        ])
    }

    /// The object with these batches of the stream is prepared, uploaded and committed.
    pub(crate) fn commit(
        &mut self,
        object: u64,
        by: (NodeId, BrokerEpoch),
        wal: (NodeId, BrokerEpoch),
        epoch: u32,
        batches: &[(u64, u64, u64)],
    ) -> &mut Self {
        self.meta(vec![prepare(object, by.0, by.1)]);
        self.upload(object, by.0, epoch, batches);
        self.meta(vec![commit_object(object, wal, epoch, span(batches))])
    }

    /// A commits an object with the batches `(base, end, first value, first sequence number)` of
    /// one idempotent producer.
    pub(crate) fn commit_numbered(&mut self, batches: &[(u64, u64, u64, i32)]) -> &mut Self {
        let (by, epoch) = ((A, A_EPOCH), LeaderEpoch(0));
        // A client knows the partition, or nobody judges it.
        self.reads(0, 0, 0, &[]);
        self.meta(vec![prepare(0, A, A_EPOCH)]);
        let mut builder = Builder::default();
        for &(base, end, first, base_sequence) in batches {
            let producer = ProducerStamp { id: 7, epoch: 0, base_sequence };
            let batch = numbered(base, end, first, 0, producer);
            builder.push(S, epoch, BlockRecord { base: Offset(base), end: Offset(end), batch });
        }
        let body = builder.encode(ObjectHeader { node: A, epoch: A_EPOCH, nonce: 1 }, none());
        self.put(A, Flow::Upload, &alloc::format!("obj/{:020}", 0), body);
        let span = (batches[0].0, batches[batches.len() - 1].1);
        self.meta(vec![commit_object(0, by, 0, span)])
    }

    /// The object is put.
    pub(crate) fn upload(
        &mut self,
        object: u64,
        node: NodeId,
        epoch: u32,
        batches: &[(u64, u64, u64)],
    ) -> &mut Self {
        let body = data_object(epoch, batches);
        self.put(node, Flow::Upload, &alloc::format!("obj/{object:020}"), body)
    }

    // The store.

    pub(crate) fn store(&mut self, node: NodeId, tok: Tok, op: &ObjOp, result: &ObjResult) {
        self.see(&Evidence::Store { node, tok, op, result, late: false });
    }

    pub(crate) fn put(&mut self, node: NodeId, flow: Flow, key: &str, body: Bytes) -> &mut Self {
        let key = Key(key.into());
        self.fake.objects.insert(key.clone(), body.clone());
        let op = ObjOp::Put { key, body, cond: Cond::IfAbsent };
        self.store(node, tok(flow, 1), &op, &ObjResult::Done { etag: Etag(1) });
        self
    }

    pub(crate) fn delete(&mut self, node: NodeId, key: &str) -> &mut Self {
        let key = Key(key.into());
        self.fake.objects.remove(&key);
        let done = ObjResult::Done { etag: Etag(1) };
        self.store(node, tok(Flow::Wal, 2), &ObjOp::Delete { key }, &done);
        self
    }

    pub(crate) fn list(&mut self, node: NodeId, flow: Flow, seq: u64, prefix: &str) -> &mut Self {
        let op = ObjOp::List { prefix: Key(prefix.into()), after: None };
        let result = ObjResult::Keys { keys: vec![], more: false };
        self.store(node, tok(flow, seq), &op, &result);
        self
    }

    /// `node` takes claim `number` on the WAL of `of`.
    pub(crate) fn claim(&mut self, node: NodeId, of: NodeId, number: u64) -> &mut Self {
        let flow = if node == of { Flow::Claim } else { Flow::Recovery(of) };
        self.put(node, flow, &alloc::format!("claim/{of}/{number:020}"), Bytes::new());
        self.probe(node, &Probe::ClaimTaken { of, number })
    }

    // The WAL of A.

    /// A puts the records `(base, end, first value)` of the stream at `start`.
    pub(crate) fn wal_put(&mut self, start: u64, records: &[(u64, u64, u64)]) -> &mut Self {
        let (key, body) = wal_object(A, A_EPOCH, start, 0, records);
        self.put(A, Flow::Wal, &key, body)
    }

    pub(crate) fn wal_done(&mut self, start: u64, end: u64) -> &mut Self {
        self.probe(A, &Probe::WalPutDone { start: Lsn(start), end: Lsn(end) })
    }

    pub(crate) fn verify_sent(&mut self) -> u64 {
        self.seq += 1;
        let seq = self.seq;
        let newest = self.fake.keys(&alloc::format!("wal/{A}/")).pop();
        let end = newest.and_then(|key| key.0.rsplit('-').next()?.parse().ok());
        self.probe(A, &Probe::WalVerifySent { seq, covers: Lsn(end.unwrap_or(0)) });
        seq
    }

    pub(crate) fn verify_listed(&mut self, seq: u64) -> &mut Self {
        self.list(A, Flow::Claim, seq, &alloc::format!("claim/{A}/"))
    }

    pub(crate) fn wal_confirmed(&mut self, seq: u64, end: u64) -> &mut Self {
        self.probe(A, &Probe::WalConfirmed { seq, epoch: A_EPOCH, end: Lsn(end) })
    }

    pub(crate) fn record_confirmed(&mut self, lsn: u64, base: u64, end: u64) -> &mut Self {
        self.probe(A, &confirmed(lsn, 0, base, end))
    }

    /// The whole path: put, done, verify, confirmed.
    pub(crate) fn wal_write(&mut self, start: u64, records: &[(u64, u64, u64)]) -> &mut Self {
        let end = start + records.len() as u64;
        self.wal_put(start, records).wal_done(start, end);
        let seq = self.verify_sent();
        self.verify_listed(seq).wal_confirmed(seq, end);
        for (lsn, (base, to, _)) in (start..).zip(records) {
            self.record_confirmed(lsn, *base, *to);
        }
        self
    }

    // Clients.

    pub(crate) fn invoke(&mut self, client: u16, call: Call) -> Opened {
        self.calls += 1;
        let opened = Opened { client, call: self.calls, op: self.op };
        self.history(opened, EventKind::Invoke(call));
        opened
    }

    pub(crate) fn history(&mut self, opened: Opened, kind: EventKind) -> &mut Self {
        let Opened { client, call, op } = opened;
        let event = HistoryEvent { at: SimTime(self.at_us), client, call, op, kind };
        self.see(&Evidence::History(&event))
    }

    pub(crate) fn produce(&mut self, first_value: u64, count: u32) -> Opened {
        self.invoke(1, produce(first_value, count, false))
    }

    /// An idempotent producer hears that its batch is at `base`.
    pub(crate) fn idempotent(&mut self, first_value: u64, count: u32, base: u64) -> &mut Self {
        let opened = self.invoke(1, produce(first_value, count, true));
        self.placed(opened, base)
    }

    pub(crate) fn ok(&mut self, opened: Opened, answer: Answer) -> &mut Self {
        self.history(opened, EventKind::Ok(answer))
    }

    pub(crate) fn placed(&mut self, opened: Opened, base: u64) -> &mut Self {
        self.ok(opened, Answer::Produced { base: Offset(base), log_append_time: None })
    }

    pub(crate) fn fail(&mut self, opened: Opened, code: ErrorCode) -> &mut Self {
        self.history(opened, EventKind::Fail(Some(code)))
    }

    pub(crate) fn unknown(&mut self, opened: Opened) -> &mut Self {
        self.history(opened, EventKind::Unknown(None))
    }

    /// The client gives the whole operation up.
    pub(crate) fn gives_up(&mut self, client: u16) -> &mut Self {
        self.calls += 1;
        let opened = Opened { client, call: self.calls, op: self.op };
        self.history(opened, EventKind::GaveUp)
    }

    /// Produces and hears that it is at `base`.
    pub(crate) fn produced(&mut self, first_value: u64, count: u32, base: u64) -> &mut Self {
        let opened = self.produce(first_value, count);
        self.placed(opened, base)
    }

    pub(crate) fn fetch(&mut self, client: u16, offset: u64, epoch: u32) -> Opened {
        self.fetch_as((client, 1), offset, epoch)
    }

    /// A client fetches as the reader of this number.
    pub(crate) fn fetch_as(
        &mut self,
        (client, reader): (u16, u32),
        offset: u64,
        epoch: u32,
    ) -> Opened {
        let offset = Offset(offset);
        let leader_epoch = Some(LeaderEpoch(epoch));
        let isolation = Isolation::ReadUncommitted;
        self.invoke(client, Call::Fetch { partition: P, offset, reader, leader_epoch, isolation })
    }

    pub(crate) fn fetched(
        &mut self,
        opened: Opened,
        high_watermark: u64,
        records: &[(u64, u64, u32)],
    ) -> &mut Self {
        let records = records.iter().map(|(offset, value, epoch)| read(*offset, *value, *epoch));
        let (high_watermark, log_start) = (Offset(high_watermark), Offset(0));
        self.ok(opened, fetched(high_watermark, log_start, records.collect()))
    }

    /// Client 2 reads `(offset, value, epoch)`s from `offset` under `epoch`.
    pub(crate) fn reads(
        &mut self,
        offset: u64,
        epoch: u32,
        high_watermark: u64,
        records: &[(u64, u64, u32)],
    ) -> &mut Self {
        let opened = self.fetch(2, offset, epoch);
        self.fetched(opened, high_watermark, records)
    }

    // The quorum.

    /// The node's device holds this much.
    pub(crate) fn durable(&mut self, node: u16, bytes: u64) -> &mut Self {
        self.fake.device_ends.insert(NodeId(node), bytes);
        self
    }

    pub(crate) fn ballot(&mut self, node: u16, epoch: u32, voted: u16) -> &mut Self {
        let (epoch, leader, voted) = (QuorumEpoch(epoch), None, Some(NodeId(voted)));
        let state = encode_state(&ElectionState { epoch, leader, voted });
        self.fake.states.insert(NodeId(node), state);
        self
    }

    /// The node appends an entry of 10 bytes.
    pub(crate) fn appends(&mut self, node: u16, offset: u64, epoch: u32, prefix: u64) -> &mut Self {
        let byte_end = (offset + 1) * 10;
        self.bytes.insert(NodeId(node), byte_end);
        let (offset, epoch) = (MetaOffset(offset), QuorumEpoch(epoch));
        self.probe(NodeId(node), &Probe::QuorumAppended { offset, epoch, prefix, byte_end })
    }

    pub(crate) fn elected(&mut self, node: u16, epoch: u32) -> &mut Self {
        let (epoch, end) = (QuorumEpoch(epoch), MetaOffset(0));
        self.probe(NodeId(node), &Probe::QuorumBecameLeader { epoch, end })
    }

    pub(crate) fn commits(
        &mut self,
        node: u16,
        high_watermark: u64,
        entry_epoch: u32,
        leader_of: Option<u32>,
    ) -> &mut Self {
        let high_watermark = MetaOffset(high_watermark);
        let (entry_epoch, leader_of) = (QuorumEpoch(entry_epoch), leader_of.map(QuorumEpoch));
        let probe = Probe::QuorumHighWatermark { high_watermark, entry_epoch, leader_of };
        self.probe(NodeId(node), &probe)
    }
}

pub(crate) fn tok(flow: Flow, seq: u64) -> Tok {
    Tok { incarnation: Incarnation(1), flow, seq }
}

pub(crate) fn read(offset: u64, value: u64, epoch: u32) -> ReadRecord {
    ReadRecord {
        offset: Offset(offset),
        value: Some(value),
        timestamp: Some(time_of(value)),
        leader_epoch: Some(LeaderEpoch(epoch)),
        intact: true,
    }
}

/// The answer to a fetch of everything.
pub(crate) fn fetched(
    high_watermark: Offset,
    log_start: Offset,
    records: Vec<ReadRecord>,
) -> Answer {
    let (high_watermark, log_start) = (Some(high_watermark), Some(log_start));
    let (last_stable, skipped) = (high_watermark, Some(vec![]));
    Answer::Fetched { high_watermark, last_stable, log_start, records, skipped }
}

/// A value's timestamp: so many milliseconds.
pub(crate) fn time_of(value: u64) -> Wall {
    Wall(i64::try_from(value).expect("a small value") * 1_000)
}

pub(crate) fn broker_change(
    node: NodeId,
    epoch: BrokerEpoch,
    fenced: bool,
    in_controlled_shutdown: bool,
) -> Record {
    Record::BrokerChange { node, epoch, fenced, in_controlled_shutdown }
}

pub(crate) fn open_stream(node: NodeId, broker_epoch: BrokerEpoch, epoch: u32) -> Record {
    Record::OpenStream { stream: S, epoch: LeaderEpoch(epoch), node, broker_epoch }
}

pub(crate) fn change(
    replica: Option<NodeId>,
    leader: Option<NodeId>,
    leader_epoch: u32,
    partition_epoch: u32,
) -> Record {
    let (leader_epoch, partition_epoch) =
        (LeaderEpoch(leader_epoch), PartitionEpoch(partition_epoch));
    Record::PartitionChange { partition: P, replica, leader, leader_epoch, partition_epoch }
}

pub(crate) fn assign(
    node: NodeId,
    epoch: BrokerEpoch,
    recoverer: NodeId,
    recoverer_epoch: BrokerEpoch,
) -> Record {
    Record::AssignRecovery { node, epoch, recoverer, recoverer_epoch }
}

pub(crate) fn prepare(object: u64, node: NodeId, epoch: BrokerEpoch) -> Record {
    Record::PrepareObject { object: ObjectId(object), node, epoch, request: object }
}

pub(crate) fn commit_object(
    object: u64,
    (wal_node, wal_epoch): (NodeId, BrokerEpoch),
    epoch: u32,
    (start, end): (u64, u64),
) -> Record {
    let (start, end) = (Offset(start), Offset(end));
    Record::CommitObject {
        object: ObjectId(object),
        kind: ObjectKind::Stream,
        size: 1,
        ranges: vec![CommittedRange { stream: S, epoch: LeaderEpoch(epoch), start, end }],
        wal_node,
        wal_epoch,
    }
}

pub(crate) fn confirmed(lsn: u64, epoch: u32, base: u64, end: u64) -> Probe {
    Probe::WalRecordConfirmed {
        lsn: Lsn(lsn),
        stream: S,
        epoch: LeaderEpoch(epoch),
        base: Offset(base),
        end: Offset(end),
    }
}

fn span(batches: &[(u64, u64, u64)]) -> (u64, u64) {
    (batches[0].0, batches[batches.len() - 1].1)
}

pub(crate) fn produce(first_value: u64, count: u32, idempotent: bool) -> Call {
    produce_to(P, first_value, count, idempotent)
}

/// A transactional producer is idempotent, too.
pub(crate) fn produce_in_transaction(
    partition: TopicPartition,
    first_value: u64,
    count: u32,
    of: Option<TransactionalId>,
) -> Call {
    let mut call = produce_to(partition, first_value, count, true);
    if let Call::Produce { transactional, id, .. } = &mut call {
        (*transactional, *id) = (true, of);
    }
    call
}

fn produce_to(partition: TopicPartition, first_value: u64, count: u32, idempotent: bool) -> Call {
    let (acks, damaged, created) = (Acks::All, false, None);
    let transactional = false;
    Call::Produce {
        partition,
        acks,
        first_value,
        count,
        damaged,
        created,
        idempotent,
        retried: false,
        transactional,
        id: None,
    }
}

/// A stamped batch with the values from `first` on.
pub(crate) fn batch(base: u64, end: u64, first: u64, epoch: u32) -> Bytes {
    numbered(base, end, first, epoch, ProducerStamp::NONE)
}

fn numbered(base: u64, end: u64, first: u64, epoch: u32, producer: ProducerStamp) -> Bytes {
    let values: Vec<[u8; 8]> = (first..first + (end - base)).map(u64::to_be_bytes).collect();
    let records: Vec<NewRecord<'_>> = (first..)
        .zip(&values)
        .map(|(number, value)| NewRecord {
            timestamp: TimestampMs::floor(time_of(number)),
            key: None,
            value: Some(value),
            headers: &[],
        })
        .collect();
    stamp(build(&records, producer), Offset(base), LeaderEpoch(epoch))
}

/// A data object with batches `(base, end, first value)` of the stream.
pub(crate) fn data_object(epoch: u32, batches: &[(u64, u64, u64)]) -> Bytes {
    let mut builder = Builder::default();
    for (base, end, first) in batches {
        let batch = batch(*base, *end, *first, epoch);
        let (base, end) = (Offset(*base), Offset(*end));
        builder.push(S, LeaderEpoch(epoch), BlockRecord { base, end, batch });
    }
    builder.encode(ObjectHeader { node: A, epoch: A_EPOCH, nonce: 1 }, none())
}

/// The set of planted bugs is a unit in one build and a bitset in the other.
fn none<T: Default>() -> T {
    T::default()
}

/// A WAL object with records `(base, end, first value)` of the stream under epoch 0, and its key.
pub(crate) fn wal_object(
    node: NodeId,
    epoch: BrokerEpoch,
    start: u64,
    trim: u64,
    records: &[(u64, u64, u64)],
) -> (String, Bytes) {
    let end = start + records.len() as u64;
    let records: Vec<WalRecord> = records
        .iter()
        .map(|(base, end, first)| WalRecord {
            stream: S,
            epoch: LeaderEpoch(0),
            base: Offset(*base),
            end: Offset(*end),
            batch: batch(*base, *end, *first, 0),
        })
        .collect();
    let (first, last, trim) = (Lsn(start), Lsn(end), Lsn(trim));
    let header = WalHeader { node, epoch, nonce: 1, start: first, end: last, trim };
    let key = wal_key(node, epoch, start, end);
    (key, encode_wal_object(header, &records))
}

pub(crate) fn wal_key(node: NodeId, epoch: BrokerEpoch, start: u64, end: u64) -> String {
    alloc::format!("wal/{node}/{:020}/{start:020}-{end:020}", epoch.0)
}
