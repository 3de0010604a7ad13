//! For tests: a store, a controller and a desk that sorts a machine's effects.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use bytes::Bytes;

use crate::config::BrokerLimits;
use crate::ids::{
    BrokerEpoch, Incarnation, LeaderEpoch, Lsn, NodeId, ObjectId, Offset, PartitionIndex, StreamId,
    TopicId, TopicPartition,
};
use crate::metadata::Image;
use crate::metadata::image::{ObjectState, StreamRange, StreamState, WalState};
use crate::mutants::{Mutant, Mutants};
use crate::peer::{CommitRequest, ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::step::{Cond, Cx, Effect, Etag, Key, ObjOp, ObjResult, Outbox, TimerKey, Tok};
use crate::time::{Dur, Mono, Wall};
use crate::wal::WalRecord;

/// No bug is on.
pub(crate) fn none() -> Mutants {
    Default::default()
}

pub(crate) fn cx(mutants: Mutants) -> Cx {
    Cx { mono: Mono(0), wall: Wall(0), entropy: 7, mutants }
}

/// Runs a scenario that tells right (`true`) from wrong: it must be right, and with the bug wrong.
pub(crate) fn flips(mutant: Mutant, scenario: impl Fn(Mutants) -> bool) {
    assert!(scenario(none()), "the correct core fails");
    #[cfg(feature = "mutants")]
    assert!(!scenario(none().with(mutant)), "{mutant:?} is not noticed");
    #[cfg(not(feature = "mutants"))]
    let _ = mutant;
}

/// Small limits: two records to a bulk, three puts, little room.
pub(crate) fn limits() -> BrokerLimits {
    BrokerLimits {
        wal_bulk_bytes_max: 2 * 40,
        wal_puts_in_flight_max: 3,
        wal_unconfirmed_bytes_max: 8 * 40,
        upload_backlog_bytes_max: 8 * 40,
        upload_block_bytes_max: 3 * 40,
        ..BrokerLimits::default()
    }
}

/// A record of `stream` with one offset; takes up 40 bytes of a WAL object.
pub(crate) fn record(stream: u64, base: u64) -> WalRecord {
    let batch = [stream.to_be_bytes(), base.to_be_bytes()].concat();
    WalRecord {
        stream: StreamId(stream),
        epoch: LeaderEpoch(1),
        base: Offset(base),
        end: Offset(base + 1),
        batch: Bytes::copy_from_slice(&batch[4..12]),
    }
}

/// A store whose operations take effect when they are applied.
#[derive(Clone, Debug)]
pub(crate) struct FakeStore {
    pub(crate) objects: BTreeMap<Key, (Etag, Bytes)>,
    pub(crate) page: usize,
    puts: u64,
}

impl FakeStore {
    pub(crate) fn new(page: usize) -> Self {
        Self { objects: BTreeMap::new(), page, puts: 0 }
    }

    pub(crate) fn keys(&self, prefix: &str) -> Vec<&str> {
        self.objects.keys().map(|key| &*key.0).filter(|key| key.starts_with(prefix)).collect()
    }

    pub(crate) fn insert(&mut self, key: &Key, body: impl Into<Bytes>) {
        let (key, body) = (key.clone(), body.into());
        let put = ObjOp::Put { key, body, cond: Cond::None };
        assert!(matches!(self.apply(&put), ObjResult::Done { .. }));
    }

    pub(crate) fn apply(&mut self, op: &ObjOp) -> ObjResult {
        match op {
            ObjOp::Put { key, body, cond } => {
                let allowed = match cond {
                    Cond::None => true,
                    Cond::IfAbsent => !self.objects.contains_key(key),
                    Cond::IfMatch(etag) => self.objects.get(key).is_some_and(|o| o.0 == *etag),
                };
                if !allowed {
                    return ObjResult::PreconditionFailed;
                }
                self.puts += 1;
                let etag = Etag(self.puts);
                self.objects.insert(key.clone(), (etag, body.clone()));
                ObjResult::Done { etag }
            }
            ObjOp::Get { key, range } => match self.objects.get(key) {
                None => ObjResult::NotFound,
                Some((etag, body)) => {
                    let size = body.len();
                    let (start, end) = range.map_or((0, size), |(start, end)| {
                        ((start as usize).min(size), (end as usize).min(size))
                    });
                    let data = body.slice(start..end);
                    ObjResult::Body { etag: *etag, data, size: size as u64 }
                }
            },
            ObjOp::List { prefix, after } => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let behind = self.objects.range((from, Bound::Unbounded)).map(|(key, _)| key);
                let mut keys: Vec<Key> =
                    behind.filter(|key| key.0.starts_with(&*prefix.0)).cloned().collect();
                let more = keys.len() > self.page;
                keys.truncate(self.page);
                ObjResult::Keys { keys, more }
            }
            ObjOp::Delete { key } => {
                self.objects.remove(key);
                ObjResult::Done { etag: Etag(0) }
            }
        }
    }
}

/// Takes a machine's effects and sorts them.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) out: Outbox<Effect>,
    pub(crate) ops: Vec<(Tok, ObjOp)>,
    pub(crate) timers: BTreeMap<TimerKey, Dur>,
    pub(crate) probes: Vec<Probe>,
}

impl Desk {
    pub(crate) fn sort(&mut self) {
        for effect in self.out.drain() {
            match effect {
                Effect::Obj(tok, op) => self.ops.push((tok, op)),
                Effect::Arm { key, after } => {
                    self.timers.insert(key, after);
                }
                Effect::Disarm(key) => {
                    self.timers.remove(&key);
                }
                Effect::Probe(probe) => self.probes.push(probe),
                Effect::Reply { .. }
                | Effect::Close(_)
                | Effect::Send { .. }
                | Effect::Log(..)
                | Effect::Halt(_) => panic!("unexpected {effect:?}"),
            }
        }
    }

    /// Takes out the first operation that matches.
    pub(crate) fn take(&mut self, matches: impl Fn(&ObjOp) -> bool) -> (Tok, ObjOp) {
        let at = self.ops.iter().position(|(_, op)| matches(op));
        let at = at.unwrap_or_else(|| panic!("no such operation in {:?}", self.ops));
        self.ops.remove(at)
    }

    pub(crate) fn saw(&self, matches: impl Fn(&Probe) -> bool) -> usize {
        self.probes.iter().filter(|probe| matches(probe)).count()
    }
}

pub(crate) fn is_put(op: &ObjOp) -> bool {
    matches!(op, ObjOp::Put { .. })
}

pub(crate) fn is_get(op: &ObjOp) -> bool {
    matches!(op, ObjOp::Get { .. })
}

pub(crate) fn is_list(op: &ObjOp) -> bool {
    matches!(op, ObjOp::List { .. })
}

/// The rules of a controller that matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeController {
    pub(crate) image: Image,
}

impl FakeController {
    pub(crate) fn register(&mut self, node: NodeId, epoch: BrokerEpoch) {
        self.image.wals.insert((node, epoch), WalState::default());
    }

    pub(crate) fn assign(&mut self, wal: (NodeId, BrokerEpoch), to: (NodeId, BrokerEpoch)) {
        self.image.wals.get_mut(&wal).expect("registered").recoverer = Some(to);
    }

    /// Opens a stream, which must be closed, and returns its end.
    pub(crate) fn open_stream(
        &mut self,
        stream: StreamId,
        epoch: LeaderEpoch,
        (node, broker_epoch): (NodeId, BrokerEpoch),
    ) -> Offset {
        let partition = TopicPartition { topic: TopicId(1), index: PartitionIndex(0) };
        let state = self.image.streams.entry(stream).or_insert_with(|| StreamState {
            partition,
            epoch: None,
            open: false,
            start: Offset(0),
            end: Offset(0),
            ranges: Vec::new(),
            objects: BTreeMap::new(),
        });
        assert!(!state.open && state.epoch < Some(epoch), "{stream:?} is open");
        (state.open, state.epoch) = (true, Some(epoch));
        state.ranges.push(StreamRange { epoch, node, broker_epoch, start: state.end });
        state.end
    }

    pub(crate) fn handle(
        &mut self,
        from: NodeId,
        request: &ControllerRequest,
    ) -> Result<ControllerAnswer, ControllerError> {
        match request {
            &ControllerRequest::PrepareObject { epoch, request } => {
                let prepared = ObjectState::Prepared { node: from, epoch, request };
                let known = self.image.objects.iter().find(|(_, state)| **state == prepared);
                if let Some((&object, _)) = known {
                    return Ok(ControllerAnswer::Prepared { object });
                }
                let object = self.image.next_object;
                self.image.next_object = object.next();
                self.image.objects.insert(object, prepared);
                Ok(ControllerAnswer::Prepared { object })
            }
            ControllerRequest::CommitObject(commit) => self.commit(from, commit),
            &ControllerRequest::SealWal { epoch, wal_node, wal_epoch, end } => {
                self.seal((from, epoch), (wal_node, wal_epoch), end)
            }
            other => panic!("not asked by these machines: {other:?}"),
        }
    }

    fn commit(
        &mut self,
        from: NodeId,
        commit: &CommitRequest,
    ) -> Result<ControllerAnswer, ControllerError> {
        let wal = (commit.wal_node, commit.wal_epoch);
        let state = &self.image.wals[&wal];
        let owner = state.recoverer.unwrap_or(wal);
        if owner != (from, commit.epoch) || state.sealed.is_some() {
            return Err(ControllerError::NodeFenced);
        }
        match self.image.objects.get(&commit.object) {
            Some(ObjectState::Prepared { .. }) => {}
            Some(ObjectState::Committed { .. }) => {
                return Ok(ControllerAnswer::Committed { redundant: true });
            }
            Some(ObjectState::Destroyed) | None => return Err(ControllerError::ObjectNotExist),
        }
        for range in &commit.ranges {
            let stream = &self.image.streams[&range.stream];
            if stream.epoch != Some(range.epoch) || !stream.open {
                return Err(ControllerError::StreamFenced);
            }
            if stream.end != range.start {
                return Err(ControllerError::OffsetNotMatched);
            }
        }
        for range in &commit.ranges {
            let stream = self.image.streams.get_mut(&range.stream).expect("just seen");
            stream.end = range.end;
            stream.objects.insert(range.start, (range.end, commit.object));
        }
        let (kind, size) = (commit.kind, commit.size);
        let ranges = commit.ranges.iter().copied().collect();
        let committed = ObjectState::Committed { kind, size, ranges, wal };
        self.image.objects.insert(commit.object, committed);
        Ok(ControllerAnswer::Committed { redundant: false })
    }

    fn seal(
        &mut self,
        from: (NodeId, BrokerEpoch),
        wal: (NodeId, BrokerEpoch),
        end: Lsn,
    ) -> Result<ControllerAnswer, ControllerError> {
        let state = self.image.wals.get_mut(&wal).expect("registered");
        if state.sealed == Some(end) && state.recoverer == Some(from) {
            return Ok(ControllerAnswer::Done);
        }
        if state.sealed.is_some() || state.recoverer != Some(from) {
            return Err(ControllerError::NodeFenced);
        }
        state.sealed = Some(end);
        for stream in self.image.streams.values_mut() {
            let owner = stream.ranges.last().map(|range| (range.node, range.broker_epoch));
            stream.open &= owner != Some(wal);
        }
        Ok(ControllerAnswer::Done)
    }

    /// Expires a prepared object.
    pub(crate) fn expire(&mut self, object: ObjectId) {
        self.image.objects.insert(object, ObjectState::Destroyed);
    }
}

pub(crate) const INCARNATION: Incarnation = Incarnation(1);
