//! One test per rule of the uploads; the mutants must flip theirs.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

use super::*;
use crate::ids::{Offset, StreamId};
use crate::metadata::image::ObjectState;
use crate::metadata::record::ObjectKind;
use crate::mutants::Mutants;
use crate::object::{decode_object, object_key};
use crate::peer::CommitRequest;
use crate::step::{Etag, ObjOp};
use crate::store::fake::*;
use crate::time::Dur;

const NODE: NodeId = NodeId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(10);

struct Rig {
    upload: Upload,
    desk: Desk,
    store: FakeStore,
    controller: FakeController,
    events: Vec<UploadEvent>,
    asks: Vec<(u64, ControllerRequest)>,
    mutants: Mutants,
    next: [u64; 3],
    lsn: Lsn,
}

impl Rig {
    fn new(mutants: Mutants) -> Self {
        let mut controller = FakeController::default();
        controller.register(NODE, EPOCH);
        for stream in 0..3 {
            controller.open_stream(StreamId(stream), crate::ids::LeaderEpoch(1), (NODE, EPOCH));
        }
        let mut rig = Self {
            upload: Upload::new(NODE, limits()),
            desk: Desk::default(),
            store: FakeStore::new(9),
            controller,
            events: Vec::new(),
            asks: Vec::new(),
            mutants,
            next: [0; 3],
            lsn: Lsn(100),
        };
        rig.upload.open(INCARNATION, EPOCH, rig.lsn);
        rig
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Upload, &Cx, &mut Outbox<Effect>, &mut Vec<UploadEvent>),
    ) {
        let mut events = Vec::new();
        step(&mut self.upload, &cx(self.mutants), &mut self.desk.out, &mut events);
        self.desk.sort();
        for event in events {
            match event {
                UploadEvent::Ask { id, request } => self.asks.push((id, request)),
                event => self.events.push(event),
            }
        }
    }

    fn confirm(&mut self, stream: u64) {
        let base = &mut self.next[stream as usize];
        let (record, lsn) = (record(stream, *base), self.lsn);
        *base += 1;
        self.lsn = lsn.next();
        self.step(|upload, cx, out, events| upload.confirmed(cx, lsn, &record, out, events));
    }

    /// Fills one block.
    fn block(&mut self, streams: [u64; 3]) {
        for stream in streams {
            self.confirm(stream);
        }
    }

    fn done(&mut self, tok: Tok, result: ObjResult) {
        self.step(|upload, cx, out, events| upload.obj_done(cx, tok, result, out, events));
    }

    fn put(&mut self, at: usize) {
        let (tok, op) = self.desk.ops.remove(at);
        let result = self.store.apply(&op);
        self.done(tok, result);
    }

    fn answer(&mut self) {
        let (id, request) = self.asks.remove(0);
        let result = self.controller.handle(NODE, &request);
        self.answer_with(id, result);
    }

    fn answer_with(&mut self, id: u64, result: Result<ControllerAnswer, ControllerError>) {
        self.step(|upload, cx, out, events| upload.answered(cx, id, result, out, events));
    }

    fn fire_upload(&mut self) -> Dur {
        let is_upload = |key: &&TimerKey| matches!(key, TimerKey::Upload(_));
        let key = *self.desk.timers.keys().find(is_upload).expect("armed");
        self.fire(key)
    }

    fn fire(&mut self, key: TimerKey) -> Dur {
        let after = self.desk.timers.remove(&key).expect("armed");
        self.step(|upload, cx, out, events| upload.timer(cx, key, out, events));
        after
    }

    fn settle(&mut self) {
        while !self.asks.is_empty() || !self.desk.ops.is_empty() {
            if self.asks.is_empty() { self.put(0) } else { self.answer() }
        }
    }

    fn committed(&self) -> Vec<u64> {
        let upto = |event: &UploadEvent| match event {
            UploadEvent::Committed { upto, .. } => Some(upto.0),
            _ => None,
        };
        self.events.iter().filter_map(upto).collect()
    }

    /// What readers find in the committed objects: (stream, base) in order of object and block.
    fn readable(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for (&object, state) in &self.controller.image.objects {
            if !matches!(state, ObjectState::Committed { .. }) {
                continue;
            }
            let Some((_, body)) = self.store.objects.get(&object_key(object)) else { continue };
            for (entry, records) in decode_object(body).expect("whole") {
                found.extend(records.iter().map(|record| (entry.stream.0, record.base.0)));
            }
        }
        found
    }
}

fn is_prepare(request: &ControllerRequest) -> bool {
    matches!(request, ControllerRequest::PrepareObject { .. })
}

fn commit_of(request: &ControllerRequest) -> &CommitRequest {
    match request {
        ControllerRequest::CommitObject(commit) => commit,
        other => panic!("{other:?} is no commit"),
    }
}

#[test]
fn block_full_is_prepared_put_committed_and_reported() {
    let mut rig = Rig::new(none());
    rig.block([1, 0, 1]);
    assert_eq!(rig.asks[0].1, ControllerRequest::PrepareObject { epoch: EPOCH, request: 0 });
    rig.answer();
    assert!(rig.asks.is_empty() && rig.committed().is_empty());
    rig.put(0);
    let commit = commit_of(&rig.asks[0].1).clone();
    assert_eq!((commit.wal_node, commit.wal_epoch, commit.epoch), (NODE, EPOCH, EPOCH));
    assert_eq!(commit.kind, ObjectKind::StreamSet);
    let ranges: Vec<_> = commit.ranges.iter().map(|it| (it.stream.0, it.end.0)).collect();
    assert_eq!(ranges, [(0, 1), (1, 2)]);
    assert_eq!(commit.size, rig.store.objects[&object_key(commit.object)].1.len() as u64);
    assert!(rig.committed().is_empty());
    rig.answer();
    let (ranges, object) = (commit.ranges, commit.object);
    assert_eq!(rig.events, [UploadEvent::Committed { upto: Lsn(103), ranges, object }]);
    assert!(rig.upload.is_idle() && rig.upload.backlog_bytes() == 0);
    assert_eq!(rig.readable(), [(0, 0), (1, 0), (1, 1)]);
}

#[test]
fn block_of_one_stream_becomes_a_stream_object() {
    let mut rig = Rig::new(none());
    rig.block([2, 2, 2]);
    rig.answer();
    rig.put(0);
    assert_eq!(commit_of(&rig.asks[0].1).kind, ObjectKind::Stream);
}

#[test]
fn block_small_is_sealed_by_its_timer_or_on_demand() {
    let mut rig = Rig::new(none());
    rig.confirm(1);
    assert!(rig.asks.is_empty() && !rig.upload.is_idle());
    assert_eq!(rig.upload.blocked(), ["upload: 40 bytes wait to be sealed"]);
    assert_eq!(rig.fire(TimerKey::UploadSeal), limits().upload_block_interval);
    assert_eq!(rig.asks.len(), 1);
    rig.confirm(1);
    rig.step(|upload, cx, out, events| upload.seal_now(cx, out, events));
    assert!(rig.desk.timers.is_empty());
    rig.step(|upload, cx, out, events| upload.seal_now(cx, out, events));
    rig.settle();
    assert_eq!(rig.committed(), [101, 102]);
}

#[test]
fn commits_go_in_order_though_puts_end_out_of_order() {
    let mut rig = Rig::new(none());
    rig.block([1, 1, 1]);
    rig.block([1, 1, 1]);
    assert_eq!(rig.asks.len(), 1, "one prepare at a time");
    rig.answer();
    rig.answer();
    assert_eq!(rig.desk.ops.len(), 2, "puts side by side");
    rig.put(1);
    assert!(rig.asks.is_empty(), "the second waits for the first");
    rig.put(0);
    assert_eq!(rig.asks.len(), 1, "one commit at a time");
    rig.settle();
    assert_eq!(rig.committed(), [103, 106]);
}

#[test]
fn put_unanswered_is_put_again_and_found_own() {
    let mut rig = Rig::new(none());
    rig.block([1, 1, 1]);
    rig.answer();
    let (tok, op) = rig.desk.ops.remove(0);
    rig.store.apply(&op);
    rig.done(tok, ObjResult::Unknown);
    assert_eq!(rig.fire_upload(), Dur::ms(100));
    assert_eq!(rig.desk.ops[0].1, op);
    rig.settle();
    assert_eq!(rig.committed(), [103]);
    assert_eq!(rig.desk.saw(|probe| matches!(probe, Probe::UploadOwnWriteSeen { .. })), 1);
}

#[test]
fn put_throttled_backs_off() {
    flips(Mutant::UploadNoBackoff, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.block([1, 1, 1]);
        rig.answer();
        let (tok, _) = rig.desk.ops.remove(0);
        rig.done(tok, ObjResult::SlowDown);
        rig.desk.ops.is_empty() && rig.fire_upload() == Dur::ms(100)
    });
}

#[test]
fn put_over_a_foreign_object_takes_another_id() {
    let mut rig = Rig::new(none());
    rig.store.insert(&object_key(ObjectId(0)), alloc::vec![1; 80]);
    rig.block([1, 1, 1]);
    rig.answer();
    rig.put(0);
    rig.put(0);
    assert_eq!(rig.asks[0].1, ControllerRequest::PrepareObject { epoch: EPOCH, request: 1 });
    rig.settle();
    assert_eq!(rig.committed(), [103]);
    assert_eq!(rig.readable(), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn commit_of_an_expired_object_uploads_anew() {
    let mut rig = Rig::new(none());
    rig.block([1, 1, 1]);
    rig.block([1, 1, 1]);
    rig.answer();
    rig.answer();
    rig.put(0);
    rig.put(0);
    rig.controller.expire(ObjectId(0));
    rig.settle();
    assert_eq!(rig.committed(), [103, 106]);
    assert_eq!(rig.controller.image.streams[&StreamId(1)].end, Offset(6));
    assert_eq!(rig.readable().len(), 6);
}

#[test]
fn commit_refused_for_a_stale_node_fences_once() {
    for error in [
        ControllerError::NodeFenced,
        ControllerError::NodeEpochExpired,
        ControllerError::StaleBrokerEpoch,
        ControllerError::OffsetNotMatched,
    ] {
        let mut rig = Rig::new(none());
        rig.block([1, 1, 1]);
        rig.answer();
        rig.put(0);
        let (id, _) = rig.asks.remove(0);
        rig.answer_with(id, Err(error));
        assert_eq!(rig.events, [UploadEvent::Fenced], "{error:?}");
        rig.block([1, 1, 1]);
        assert!(rig.asks.is_empty());
    }
}

#[test]
fn commit_unanswered_leaves_the_object_alone() {
    flips(Mutant::UploadUnknownDeletes, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.block([1, 1, 1]);
        rig.answer();
        rig.put(0);
        // The controller commits, the answer does not come.
        let (_, request) = rig.asks[0].clone();
        rig.controller.handle(NODE, &request).expect("committed");
        if !rig.desk.timers.is_empty() {
            rig.fire_upload();
        }
        rig.settle();
        rig.readable().len() == 3 && rig.committed() == [103]
    });
}

#[test]
fn commit_not_definite_is_asked_again_unchanged() {
    let mut rig = Rig::new(none());
    rig.block([1, 1, 1]);
    rig.answer();
    rig.put(0);
    let (id, request) = rig.asks.remove(0);
    rig.controller.handle(NODE, &request).expect("committed");
    rig.answer_with(id, Err(ControllerError::NotController { leader: None }));
    assert_eq!(rig.asks[0].1, request);
    rig.settle();
    assert_eq!(rig.committed(), [103]);
    let redundant = |probe: &Probe| matches!(probe, Probe::UploadCommitted { redundant: true, .. });
    assert_eq!(rig.desk.saw(redundant), 1);
}

#[test]
fn prepare_not_definite_is_asked_again() {
    flips(Mutant::UploadPrepareWedges, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.block([1, 1, 1]);
        let (id, request) = rig.asks.remove(0);
        let again = asks_again(&cx(mutants), &request);
        rig.answer_with(id, Err(ControllerError::NotController { leader: None }));
        let asked = rig.asks.first().is_some_and(|(_, request)| is_prepare(request));
        rig.settle();
        again && asked && rig.committed() == [103]
    });
}

#[test]
fn trim_is_allowed_only_by_the_commit() {
    flips(Mutant::UploadTrimBeforeCommit, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.block([1, 1, 1]);
        rig.answer();
        rig.put(0);
        let early = rig.committed();
        rig.settle();
        early.is_empty() && rig.committed() == [103]
    });
}

#[test]
fn objects_read_back_what_was_confirmed() {
    flips(Mutant::UploadWrongIndex, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.block([0, 1, 1]);
        rig.settle();
        rig.readable() == [(0, 0), (1, 0), (1, 1)]
    });
}

#[test]
fn backlog_full_says_so_and_then_has_room() {
    let mut rig = Rig::new(none());
    for _ in 0..2 {
        rig.block([0, 1, 2]);
    }
    rig.confirm(0);
    assert!(rig.upload.has_room());
    rig.confirm(0);
    assert!(!rig.upload.has_room());
    rig.settle();
    let rooms = rig.events.iter().filter(|event| **event == UploadEvent::Room).count();
    assert_eq!((rooms, rig.upload.has_room()), (1, true));
}

#[test]
fn answer_nobody_waits_for_is_ignored() {
    let mut rig = Rig::new(none());
    rig.block([1, 1, 1]);
    rig.answer();
    let before = rig.upload.clone();
    let (tok, _) = rig.desk.ops[0];
    let done = ObjResult::Done { etag: Etag(1) };
    rig.done(Tok { incarnation: Incarnation(2), ..tok }, done.clone());
    rig.done(Tok { seq: tok.seq + 9, ..tok }, done);
    rig.answer_with(99, Ok(ControllerAnswer::Done));
    assert_eq!(rig.upload, before);
    assert!(matches!(rig.desk.ops[0].1, ObjOp::Put { .. }));
}

#[test]
#[should_panic(expected = "expected Offset(1)")]
fn record_out_of_order_is_a_bug() {
    let mut rig = Rig::new(none());
    rig.confirm(1);
    rig.next[1] = 2;
    rig.confirm(1);
}
