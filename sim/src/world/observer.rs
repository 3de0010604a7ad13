//! The judge's window on a scene, and the translation of what clients report into history. The two
//! sides share no type on purpose: who asks shares no code with who judges.

use broker_core::ids::NodeId;
use broker_core::metadata::Image;
use broker_core::quorum::Quorum;
use broker_core::step::Key;
use broker_core::time::Wall;
use broker_core::wal::Wal;
use bytes::Bytes;
use invariants::history::{self, EventKind, HistoryEvent, SimTime, TransactionalId};
use invariants::view::{Membership, Tail, View};
use workloads::client::{self, Becomes, CallEvent, Observation};

use crate::world::World;
use crate::world::node::Node;
use crate::world::scene::{Asked, Scene};
use crate::world::spark::Spark;

/// Bounds what [`View::blocked`] says: a screen, not a dump.
const BLOCKED_LINES_MAX: usize = 60;

impl View for Scene {
    fn controllers(&self) -> &[NodeId] {
        self.layout.controllers()
    }

    fn brokers(&self) -> &[NodeId] {
        self.layout.brokers()
    }

    fn is_up(&self, node: NodeId) -> bool {
        process(self, node).is_some()
    }

    fn wall(&self, node: NodeId, at: SimTime) -> Option<Wall> {
        self.layout.endpoint(node).map(|endpoint| self.clock(endpoint).wall(at))
    }

    fn quorum(&self, node: NodeId) -> Option<&Quorum> {
        process(self, node)?.quorum()
    }

    fn wal(&self, node: NodeId) -> Option<&Wal> {
        process(self, node)?.wal()
    }

    fn image(&self, node: NodeId) -> Option<&Image> {
        process(self, node).map(Node::image)
    }

    fn device_end(&self, node: NodeId) -> u64 {
        let endpoint = self.layout.endpoint(node);
        endpoint.and_then(|one| self.device(one)).map_or(0, |device| device.durable_end())
    }

    fn device_state(&self, node: NodeId) -> Bytes {
        let endpoint = self.layout.endpoint(node);
        let device = endpoint.and_then(|one| self.device(one));
        device.map_or_else(Bytes::new, |device| device.state().clone())
    }

    fn object(&self, key: &Key) -> Option<Bytes> {
        self.store.object(key).cloned()
    }

    fn keys(&self, prefix: &str) -> Vec<Key> {
        self.store.keys(prefix).cloned().collect()
    }

    fn in_core(&self, node: NodeId) -> bool {
        self.layout.endpoint(node).is_some_and(|one| !self.outside.holds(one))
    }

    fn tails(&self) -> Vec<Tail> {
        let clients = (0..).zip(&self.clients);
        let tails = clients.flat_map(|(client, slot)| {
            slot.client.tails().map(move |(partition, next)| Tail { client, partition, next })
        });
        tails.collect()
    }

    fn memberships(&self) -> Vec<Membership> {
        let clients = (0..).zip(&self.clients);
        let all = clients.flat_map(|(client, slot)| {
            slot.client.memberships().map(move |(op, member)| Membership {
                client,
                op,
                group: member.group.to_owned(),
                topic: member.topic,
                settled: member.settled,
                stays: member.stays,
                claims: member.claims.into_iter().map(|(at, _)| at).collect(),
            })
        });
        all.collect()
    }

    fn is_under_way(&self, client: u16, op: u32) -> bool {
        let slot = self.clients.get(usize::from(client));
        slot.is_some_and(|slot| slot.client.is_under_way(op))
    }

    fn blocked(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in self.controllers().iter().chain(self.brokers()) {
            let Some(endpoint) = self.layout.endpoint(*node) else { continue };
            let (name, slot) = (self.layout.name(endpoint), self.slot(endpoint));
            if slot.process.is_none() {
                lines.push(format!("{name} is down"));
            } else if slot.paused {
                lines.push(format!("{name} is frozen"));
            }
            let armed: Vec<_> = slot.timers.iter().map(|key| format!("{key:?}")).collect();
            if !armed.is_empty() {
                lines.push(format!("{name} has armed {}", armed.join(", ")));
            }
            let machine = slot.process.as_ref().map(Node::blocked).unwrap_or_default();
            lines.extend(machine.into_iter().map(|line| format!("{name}: {line}")));
            if let Some((tok, op)) = self.device(endpoint).and_then(|device| device.head()) {
                lines.push(format!("{name} waits for its device: {op:?} {tok:?}"));
            }
        }
        for (_, ask) in self.asks.iter() {
            let name = self.layout.name(ask.node);
            let stage = match &ask.stage {
                Asked::OnItsWay => "on its way",
                Asked::Answered(_) => "answered",
                Asked::Lost => "lost",
            };
            let who = if ask.orphan { "nobody waits" } else { "waits" };
            lines.push(format!("{name}: {:?} {stage}, {who}: {}", ask.ticket, brief(&ask.op)));
        }
        for (number, slot) in self.clients.iter().enumerate() {
            for line in slot.client.blocked() {
                lines.push(format!("client-{number}: {line}"));
            }
        }
        lines.extend(self.spark().map(Spark::blocked).unwrap_or_default());
        lines.truncate(BLOCKED_LINES_MAX);
        lines
    }
}

impl View for World {
    fn controllers(&self) -> &[NodeId] {
        self.scene.controllers()
    }

    fn brokers(&self) -> &[NodeId] {
        self.scene.brokers()
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.scene.is_up(node)
    }

    fn wall(&self, node: NodeId, at: SimTime) -> Option<Wall> {
        self.scene.wall(node, at)
    }

    fn quorum(&self, node: NodeId) -> Option<&Quorum> {
        self.scene.quorum(node)
    }

    fn wal(&self, node: NodeId) -> Option<&Wal> {
        self.scene.wal(node)
    }

    fn image(&self, node: NodeId) -> Option<&Image> {
        self.scene.image(node)
    }

    fn device_end(&self, node: NodeId) -> u64 {
        self.scene.device_end(node)
    }

    fn device_state(&self, node: NodeId) -> Bytes {
        self.scene.device_state(node)
    }

    fn object(&self, key: &Key) -> Option<Bytes> {
        self.scene.object(key)
    }

    fn keys(&self, prefix: &str) -> Vec<Key> {
        self.scene.keys(prefix)
    }

    fn in_core(&self, node: NodeId) -> bool {
        self.scene.in_core(node)
    }

    fn tails(&self) -> Vec<Tail> {
        self.scene.tails()
    }

    fn memberships(&self) -> Vec<Membership> {
        self.scene.memberships()
    }

    fn is_under_way(&self, client: u16, op: u32) -> bool {
        self.scene.is_under_way(client, op)
    }

    fn blocked(&self) -> Vec<String> {
        self.scene.blocked()
    }
}

fn process(scene: &Scene, node: NodeId) -> Option<&Node> {
    scene.slot(scene.layout.endpoint(node)?).process.as_ref()
}

/// An operation on the store in a few words.
#[must_use]
pub fn brief(op: &broker_core::step::ObjOp) -> String {
    use broker_core::step::ObjOp;
    match op {
        ObjOp::Put { key, body, cond } => format!("put {key} {} bytes {cond:?}", body.len()),
        ObjOp::Get { key, range: None } => format!("get {key}"),
        ObjOp::Get { key, range: Some((start, end)) } => format!("get {key} [{start}, {end})"),
        ObjOp::List { prefix, after: None } => format!("list {prefix}"),
        ObjOp::List { prefix, after: Some(after) } => format!("list {prefix} after {after}"),
        ObjOp::Delete { key } => format!("delete {key}"),
    }
}

/// What a client reports, as history.
#[must_use]
pub fn history_event(at: SimTime, client: u16, observation: Observation) -> HistoryEvent {
    let Observation { call, op, event } = observation;
    let kind = match event {
        CallEvent::Invoke(call) => EventKind::Invoke(history_call(call)),
        CallEvent::Ok(answer) => EventKind::Ok(history_answer(answer)),
        CallEvent::Fail(code) => EventKind::Fail(Some(code)),
        CallEvent::Unknown => EventKind::Unknown(None),
        CallEvent::Doubtful(code) => EventKind::Unknown(Some(code)),
        CallEvent::GaveUp => EventKind::GaveUp,
    };
    HistoryEvent { at, client, call, op, kind }
}

fn produced(call: client::Call) -> history::Call {
    let client::Call::Produce {
        partition,
        acks,
        first_value,
        count,
        damaged,
        created,
        idempotent,
        transactional,
    } = call
    else {
        unreachable!("the caller saw it")
    };
    let id: Option<TransactionalId> = transactional.map(Into::into);
    history::Call::Produce {
        partition,
        acks,
        first_value,
        count,
        damaged,
        created: Some(created),
        idempotent,
        // Each attempt of a plain one is a call of its own.
        retried: false,
        transactional: id.is_some(),
        id,
    }
}

fn history_call(call: client::Call) -> history::Call {
    match call {
        client::Call::Produce { .. } => produced(call),
        client::Call::AddPartitions { partition, id } => {
            history::Call::AddPartitions { partition, id: Some(id.into()) }
        }
        client::Call::AddOffsets { group, id } => {
            history::Call::AddOffsets { group, id: Some(id.into()) }
        }
        client::Call::EndTxn { commit, producer, id } => {
            history::Call::EndTxn { commit, producer: Some(producer), id: Some(id.into()) }
        }
        client::Call::InitProducerId(None) => {
            let (transactional, id, timeout, expected) = (false, None, None, None);
            history::Call::InitProducerId { transactional, id, timeout, expected }
        }
        client::Call::InitProducerId(Some(Becomes { id, timeout, expected })) => {
            let (transactional, id, timeout) = (true, Some(id.into()), Some(timeout));
            history::Call::InitProducerId { transactional, id, timeout, expected }
        }
        client::Call::CommitOffsets { group, member, generation, offsets, transactional } => {
            let producer = transactional.as_ref().map(|of| (of.producer, of.epoch));
            let id: Option<TransactionalId> = transactional.map(|of| of.transactional_id.into());
            history::Call::CommitOffsets {
                group,
                member,
                generation,
                offsets,
                transactional: id.is_some(),
                producer,
                id,
            }
        }
        client::Call::FetchOffsets { group, partitions, require_stable } => {
            history::Call::FetchOffsets { group, partitions, require_stable }
        }
        client::Call::SyncGroup { group, member, instance, generation } => {
            history::Call::SyncGroup { group, member, instance, generation }
        }
        client::Call::Fetch { partition, offset, reader, leader_epoch, isolation } => {
            history::Call::Fetch { partition, offset, reader, leader_epoch, isolation }
        }
        client::Call::ListOffsets { partition, spec, leader_epoch, isolation } => {
            history::Call::ListOffsets { partition, spec, leader_epoch, isolation }
        }
        client::Call::EpochEnd { partition, epoch, leader_epoch } => {
            history::Call::EpochEnd { partition, epoch, leader_epoch }
        }
        client::Call::Admin { topic, deletes } => history::Call::Admin { topic, deletes },
    }
}

fn history_answer(answer: client::Answer) -> history::Answer {
    match answer {
        client::Answer::Produced { base, log_append_time } => {
            history::Answer::Produced { base, log_append_time }
        }
        client::Answer::Fetched { high_watermark, last_stable, log_start, records, skipped } => {
            history::Answer::Fetched {
                high_watermark: Some(high_watermark),
                last_stable: Some(last_stable),
                log_start: Some(log_start),
                records: records.into_iter().map(history_record).collect(),
                skipped: Some(skipped),
            }
        }
        client::Answer::Listed(found) => {
            let known = |(offset, time, epoch)| (offset, time, Some(epoch));
            history::Answer::Listed(found.map(known))
        }
        client::Answer::EpochEnd(found) => history::Answer::EpochEnd(found),
        client::Answer::ProducerId(id, epoch) => history::Answer::ProducerId(id, epoch),
        client::Answer::Offsets(offsets) => history::Answer::Offsets(offsets),
        client::Answer::Assigned(partitions) => history::Answer::Assigned(partitions),
        client::Answer::Created(topic) => history::Answer::Created(topic),
        client::Answer::Done => history::Answer::Done,
    }
}

fn history_record(record: client::ReadRecord) -> history::ReadRecord {
    let client::ReadRecord { offset, value, timestamp, leader_epoch, intact } = record;
    let (timestamp, leader_epoch) = (Some(timestamp), Some(leader_epoch));
    history::ReadRecord { offset, value, timestamp, leader_epoch, intact }
}
