//! One test per rule of the recovery; the mutants must flip theirs.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

use super::*;
use crate::ids::{LeaderEpoch, ObjectId, Offset, StreamId};
use crate::metadata::image::ObjectState;
use crate::mutants::Mutants;
use crate::object::{claim_key, decode_object, object_key};
use crate::store::fake::*;
use crate::wal::WalRecord;
use crate::wal::record::{WalHeader, encode_wal_object};

const DEAD: NodeId = NodeId(1);
const OLD: BrokerEpoch = BrokerEpoch(10);
const EPOCH: BrokerEpoch = BrokerEpoch(20);
const ME: (NodeId, BrokerEpoch) = (NodeId(2), BrokerEpoch(30));

struct Rig {
    recovery: Recovery,
    desk: Desk,
    store: FakeStore,
    controller: FakeController,
    events: Vec<RecoveryEvent>,
    asks: Vec<(u64, ControllerRequest)>,
    mutants: Mutants,
    by: (NodeId, BrokerEpoch),
}

impl Rig {
    /// Epoch `OLD` is sealed at 100; in `EPOCH` the streams 0, 1 and 2 are open at offset 50.
    fn new(mutants: Mutants) -> Self {
        let mut controller = FakeController::default();
        controller.register(DEAD, OLD);
        controller.register(DEAD, EPOCH);
        let old = controller.image.wals.get_mut(&(DEAD, OLD)).expect("registered");
        old.sealed = Some(Lsn(100));
        for stream in 0..3 {
            let (stream, epoch) = (StreamId(stream), LeaderEpoch(1));
            controller.open_stream(stream, epoch, (DEAD, EPOCH));
            controller.image.streams.get_mut(&stream).expect("just opened").end = Offset(50);
        }
        controller.assign((DEAD, EPOCH), ME);
        Self {
            recovery: Recovery::new(ME.0, ME.1, DEAD, EPOCH, limits()),
            desk: Desk::default(),
            store: FakeStore::new(2),
            controller,
            events: Vec::new(),
            asks: Vec::new(),
            mutants,
            by: ME,
        }
    }

    fn step(
        &mut self,
        step: impl FnOnce(&mut Recovery, &Cx, &Image, &mut Outbox<Effect>, &mut Vec<RecoveryEvent>),
    ) {
        let mut events = Vec::new();
        let (cx, image) = (cx(self.mutants), &self.controller.image);
        step(&mut self.recovery, &cx, image, &mut self.desk.out, &mut events);
        self.desk.sort();
        for event in events {
            match event {
                RecoveryEvent::Ask { id, request } => self.asks.push((id, request)),
                event => self.events.push(event),
            }
        }
    }

    fn start(&mut self) {
        self.step(|it, cx, image, out, events| it.start(cx, INCARNATION, image, out, events));
    }

    fn image_changed(&mut self) {
        self.step(|it, cx, image, out, events| it.image_changed(cx, image, out, events));
    }

    /// Another process, or this one again, is assigned and starts from nothing.
    fn reassign(&mut self, to: (NodeId, BrokerEpoch)) {
        self.controller.assign((DEAD, EPOCH), to);
        self.recovery = Recovery::new(to.0, to.1, DEAD, EPOCH, limits());
        self.by = to;
        self.asks.clear();
        self.desk.ops.clear();
        self.start();
    }

    fn done(&mut self, tok: Tok, result: ObjResult) {
        self.step(|it, cx, image, out, events| it.obj_done(cx, tok, result, image, out, events));
    }

    fn op(&mut self) {
        let (tok, op) = self.desk.ops.remove(0);
        let result = self.store.apply(&op);
        self.done(tok, result);
    }

    fn answer(&mut self) {
        let (id, request) = self.asks.remove(0);
        let result = self.controller.handle(self.by.0, &request);
        self.answer_with(id, result);
    }

    fn answer_with(&mut self, id: u64, result: Result<ControllerAnswer, ControllerError>) {
        self.step(|it, cx, image, out, events| it.answered(cx, id, result, image, out, events));
    }

    fn fire(&mut self) {
        self.desk.timers.remove(&replay::timer(DEAD)).expect("armed");
        self.step(|it, cx, image, out, events| it.timer(cx, image, out, events));
    }

    /// Runs until it waits for nothing but a timer.
    fn run(&mut self) {
        while !self.asks.is_empty() || !self.desk.ops.is_empty() {
            if self.asks.is_empty() { self.op() } else { self.answer() }
        }
    }

    /// Runs, timers included; gives up when it does not come to an end.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.run();
            if self.desk.timers.is_empty() {
                return;
            }
            self.fire();
        }
    }

    fn recover(&mut self) {
        self.start();
        self.settle();
    }

    /// Puts a WAL object with one record per (stream, base).
    fn wal(&mut self, epoch: BrokerEpoch, start: u64, trim: u64, records: &[(u64, u64)]) -> Key {
        let records: Vec<WalRecord> = records.iter().map(|&(s, base)| record(s, base)).collect();
        let (start, end) = (Lsn(start), Lsn(start + records.len() as u64));
        let key = wal_key(WalKey { node: DEAD, epoch, start, end });
        let trim = Lsn(trim);
        let header = WalHeader { node: DEAD, epoch, nonce: start.0, start, end, trim };
        self.store.insert(&key, encode_wal_object(header, &records));
        key
    }

    fn sealed(&self) -> Option<u64> {
        self.controller.image.wals[&(DEAD, EPOCH)].sealed.map(|end| end.0)
    }

    fn ends(&self) -> Vec<u64> {
        self.controller.image.streams.values().map(|stream| stream.end.0).collect()
    }

    /// What was committed: (stream, base), sorted.
    fn committed(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for (&object, state) in &self.controller.image.objects {
            if let ObjectState::Committed { .. } = state {
                let (_, body) = &self.store.objects[&object_key(object)];
                for (entry, records) in decode_object(body).expect("whole") {
                    found.extend(records.iter().map(|it| (entry.stream.0, it.base.0)));
                }
            }
        }
        found.sort_unstable();
        found
    }
}

#[test]
fn wal_without_objects_is_sealed_where_it_started() {
    let mut rig = Rig::new(none());
    rig.recover();
    assert_eq!(rig.sealed(), Some(100));
    assert_eq!(rig.events, [RecoveryEvent::Sealed { end: Lsn(100) }]);
    assert!(rig.recovery.is_done());
    assert!(rig.controller.image.streams.values().all(|stream| !stream.open));
}

#[test]
fn wal_of_a_node_without_earlier_ones_starts_at_zero() {
    let mut rig = Rig::new(none());
    rig.controller.image.wals.remove(&(DEAD, OLD));
    rig.recover();
    assert_eq!(rig.sealed(), Some(0));
}

#[test]
fn run_is_committed_once_then_sealed_and_swept() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50), (1, 50)]);
    rig.wal(EPOCH, 102, 100, &[(0, 51), (0, 52)]);
    rig.wal(EPOCH, 104, 100, &[(1, 51)]);
    rig.wal(OLD, 90, 80, &[(0, 40)]);
    rig.recover();
    assert_eq!(rig.committed(), [(0, 50), (0, 51), (0, 52), (1, 50), (1, 51)]);
    assert_eq!(rig.ends(), [53, 52, 50]);
    assert_eq!(rig.sealed(), Some(105));
    assert_eq!(rig.store.keys("wal/"), Vec::<&str>::new());
}

#[test]
fn objects_are_bounded_in_size() {
    let mut rig = Rig::new(none());
    rig.recovery.limits.upload_block_bytes_max = 16;
    for at in 0..9 {
        rig.wal(EPOCH, 100 + at, 100, &[(0, 50 + at)]);
    }
    rig.recover();
    assert_eq!(rig.ends(), [59, 50, 50]);
    assert_eq!(rig.store.keys("obj/").len(), 5, "two records of 8 bytes each, one left over");
}

#[test]
fn claim_is_taken_before_the_list() {
    flips(Mutant::RecoveryWithoutClaim, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.store.insert(&claim_key(DEAD, 1), alloc::vec![]);
        rig.start();
        while !rig.desk.ops.is_empty() && rig.store.keys("claim/1/00000000000000000002").is_empty()
        {
            let wal = wal_prefix(DEAD);
            let is_wal_list = |(_, op): &(Tok, ObjOp)| match op {
                ObjOp::List { prefix, .. } => *prefix == wal,
                _ => false,
            };
            if rig.desk.ops.iter().any(is_wal_list) {
                return false;
            }
            rig.op();
        }
        rig.settle();
        rig.sealed() == Some(100)
    });
}

#[test]
fn list_is_read_to_its_last_page() {
    flips(Mutant::RecoveryFirstPage, |mutants| {
        let mut rig = Rig::new(mutants);
        for at in 0..5 {
            rig.wal(EPOCH, 100 + at, 100, &[(0, 50 + at)]);
        }
        rig.recover();
        rig.sealed() == Some(105) && rig.ends() == [55, 50, 50]
    });
}

#[test]
fn run_starts_at_the_newest_trim_position_and_stops_at_a_hole() {
    let mut rig = Rig::new(none());
    rig.controller.image.streams.get_mut(&StreamId(0)).expect("open").end = Offset(52);
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    // 101 was trimmed and deleted.
    rig.wal(EPOCH, 102, 100, &[(0, 52)]);
    rig.wal(EPOCH, 103, 102, &[(0, 53)]);
    // 104 never landed.
    rig.wal(EPOCH, 105, 102, &[(1, 50)]);
    rig.recover();
    assert_eq!(rig.ends(), [54, 50, 50]);
    assert_eq!(rig.sealed(), Some(104));
    assert_eq!(rig.store.keys("wal/"), Vec::<&str>::new(), "what is behind the hole goes, too");
    let hole = |probe: &Probe| matches!(probe, Probe::RecoveryListed { hole: true, .. });
    assert_eq!(rig.desk.saw(hole), 1);
}

#[test]
fn run_behind_a_hole_at_the_trim_position_is_empty() {
    flips(Mutant::RecoveryHoleIgnored, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.wal(EPOCH, 101, 100, &[(1, 50)]);
        rig.recover();
        rig.sealed() == Some(100) && rig.ends() == [50, 50, 50]
    });
}

#[test]
fn run_starts_inside_an_object_when_trimmed_there() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 49), (0, 50)]);
    rig.wal(EPOCH, 102, 101, &[(0, 51)]);
    rig.recover();
    assert_eq!((rig.committed(), rig.sealed()), (Vec::from([(0, 50), (0, 51)]), Some(103)));
}

#[test]
fn records_committed_before_are_skipped() {
    flips(Mutant::RecoveryDedupeSkipped, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.wal(EPOCH, 100, 100, &[(0, 48), (0, 49)]);
        rig.wal(EPOCH, 102, 100, &[(0, 50), (1, 49), (1, 50)]);
        rig.recover();
        let gaps = rig.desk.saw(|probe| matches!(probe, Probe::RecoveryGap { .. }));
        gaps == 0 && rig.committed() == [(0, 50), (1, 50)] && rig.sealed() == Some(105)
    });
}

#[test]
fn records_of_streams_gone_closed_or_of_other_epochs_are_skipped() {
    let mut rig = Rig::new(none());
    rig.controller.image.streams.remove(&StreamId(0));
    rig.controller.image.streams.get_mut(&StreamId(1)).expect("open").open = false;
    let moved = rig.controller.image.streams.get_mut(&StreamId(2)).expect("open");
    moved.ranges[0].broker_epoch = BrokerEpoch(21);
    rig.controller.open_stream(StreamId(3), LeaderEpoch(9), (DEAD, EPOCH));
    rig.wal(EPOCH, 100, 100, &[(0, 50), (1, 50), (2, 50), (3, 0)]);
    rig.recover();
    assert_eq!((rig.committed(), rig.sealed()), (Vec::new(), Some(104)));
}

#[test]
fn record_that_does_not_continue_its_stream_is_left_out() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 51), (1, 50), (0, 52)]);
    rig.recover();
    assert_eq!(rig.committed(), [(1, 50)]);
    assert_eq!(rig.desk.saw(|probe| matches!(probe, Probe::RecoveryGap { .. })), 2);
}

/// Two objects that a zombie of the old epoch put after its seal, over the new epoch's place.
fn with_zombies(mutants: Mutants) -> Rig {
    let mut rig = Rig::new(mutants);
    rig.wal(OLD, 100, 90, &[(0, 30)]);
    rig.wal(OLD, 101, 90, &[(0, 31), (0, 32), (0, 33)]);
    rig.wal(EPOCH, 100, 100, &[(0, 50), (0, 51)]);
    rig.wal(EPOCH, 102, 100, &[(0, 52)]);
    rig.recover();
    rig
}

#[test]
fn objects_of_sealed_epochs_count_for_nothing() {
    flips(Mutant::RecoverySealIgnored, |mutants| {
        let rig = with_zombies(mutants);
        rig.ends() == [53, 50, 50] && rig.sealed() == Some(103)
    });
}

#[test]
fn objects_of_sealed_epochs_are_left_out_one_and_all() {
    flips(Mutant::RecoveryOverlapFirst, |mutants| {
        let rig = with_zombies(mutants);
        rig.ends() == [53, 50, 50] && rig.sealed() == Some(103)
    });
}

#[test]
fn objects_of_later_epochs_are_neither_read_nor_deleted() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    let later = rig.wal(BrokerEpoch(25), 101, 101, &[(0, 51)]);
    rig.recover();
    assert_eq!((rig.ends()[0], rig.sealed()), (51, Some(101)));
    assert_eq!(rig.store.keys("wal/"), [&*later.0]);
}

#[test]
fn every_step_is_repeated_while_the_store_does_not_answer() {
    for result in [ObjResult::Unknown, ObjResult::SlowDown] {
        let mut rig = Rig::new(none());
        rig.wal(EPOCH, 100, 100, &[(0, 50)]);
        rig.wal(EPOCH, 101, 100, &[(0, 51)]);
        rig.start();
        let mut seen = 0;
        while !rig.recovery.is_done() {
            // Each operation fails once before it gets through.
            let failing: Vec<_> = rig.desk.ops.drain(..).collect();
            for (tok, _) in failing {
                rig.done(tok, result.clone());
                seen += 1;
            }
            if rig.desk.timers.contains_key(&replay::timer(DEAD)) {
                rig.fire();
            }
            let again: Vec<_> = rig.desk.ops.drain(..).collect();
            for (tok, op) in again {
                let result = rig.store.apply(&op);
                rig.done(tok, result);
            }
            while !rig.asks.is_empty() {
                rig.answer();
            }
        }
        assert!(seen >= 6, "claim list, claim, list, header, gets, put: {seen}");
        assert_eq!((rig.committed(), rig.sealed()), (Vec::from([(0, 50), (0, 51)]), Some(102)));
    }
}

/// Answers the operations until one of this kind is next.
fn run_to(rig: &mut Rig, is: impl Fn(&ObjOp) -> bool) {
    while !is(&rig.desk.ops[0].1) {
        rig.op();
    }
}

#[test]
fn list_with_an_empty_page_is_listed_again() {
    flips(Mutant::ListEmptyPageEnds, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.wal(EPOCH, 100, 100, &[(0, 50)]);
        rig.start();
        let wal = wal_prefix(DEAD);
        run_to(&mut rig, |op| matches!(op, ObjOp::List { prefix, .. } if *prefix == wal));
        let (tok, _) = rig.desk.ops.remove(0);
        rig.done(tok, ObjResult::Keys { keys: Vec::new(), more: true });
        rig.settle();
        rig.sealed() == Some(101)
    });
}

/// Lets the next operation of this kind bring the object with a bit flipped.
fn spoil(rig: &mut Rig, is: impl Fn(&ObjOp) -> bool) {
    run_to(rig, is);
    let (tok, op) = rig.desk.ops.remove(0);
    let ObjResult::Body { etag, data, size } = rig.store.apply(&op) else { panic!("{op:?}") };
    let mut data = data.to_vec();
    *data.last_mut().expect("it has bytes") ^= 1;
    rig.done(tok, ObjResult::Body { etag, data: data.into(), size });
}

#[test]
fn object_that_comes_damaged_is_read_again_and_never_stepped_over() {
    flips(Mutant::RecoveryDamageSkipped, |mutants| {
        let mut rig = Rig::new(mutants);
        rig.wal(EPOCH, 100, 100, &[(0, 50)]);
        rig.start();
        spoil(&mut rig, |op| matches!(op, ObjOp::Get { range: None, .. }));
        rig.run();
        if rig.sealed().is_none() {
            let line = "recovery of 1: Lsn(100) came damaged, waits for time to get it again";
            assert_eq!(rig.recovery.blocked(), [line]);
            rig.settle();
        }
        rig.committed() == [(0, 50)] && rig.sealed() == Some(101)
    });
}

#[test]
fn header_that_comes_damaged_is_read_again() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    rig.start();
    spoil(&mut rig, |op| matches!(op, ObjOp::Get { range: Some(_), .. }));
    rig.settle();
    assert_eq!(rig.sealed(), Some(101));
    assert_eq!(rig.desk.saw(|probe| matches!(probe, Probe::RecoveryDamaged { .. })), 1);
}

#[test]
fn refusal_by_a_controller_does_not_end_what_the_log_assigns() {
    for refusals in 1..=3 {
        let mut rig = Rig::new(none());
        rig.wal(EPOCH, 100, 100, &[(0, 50)]);
        rig.start();
        for _ in 0..refusals {
            while rig.asks.is_empty() {
                match rig.desk.ops.is_empty() {
                    true => rig.fire(),
                    false => rig.op(),
                }
            }
            let (id, _) = rig.asks.remove(0);
            rig.answer_with(id, Err(ControllerError::NodeEpochExpired));
        }
        rig.settle();
        assert_eq!((rig.ends()[0], rig.sealed()), (51, Some(101)));
    }
}

#[test]
fn put_in_doubt_does_not_stop_the_gets_that_wait() {
    let mut rig = Rig::new(none());
    rig.recovery.limits.upload_block_bytes_max = 8;
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    rig.wal(EPOCH, 101, 100, &[(0, 51)]);
    rig.start();
    while !rig.desk.ops.iter().any(|(_, op)| matches!(op, ObjOp::Get { range: None, .. })) {
        rig.op();
    }
    let (second, _) = rig.desk.ops.remove(1);
    rig.op();
    rig.answer();
    rig.done(second, ObjResult::SlowDown);
    rig.op();
    assert!(rig.desk.timers.contains_key(&replay::timer(DEAD)), "the put's end disarmed it");
    rig.settle();
    assert_eq!(rig.sealed(), Some(102));
}

#[test]
fn crash_at_any_step_leaves_a_recoverable_wal() {
    for steps in 0.. {
        let mut rig = Rig::new(none());
        rig.wal(EPOCH, 100, 100, &[(0, 50), (1, 50)]);
        rig.wal(EPOCH, 102, 100, &[(0, 51), (1, 51)]);
        rig.start();
        for _ in 0..steps {
            if rig.asks.is_empty() {
                rig.op()
            } else {
                rig.answer()
            }
            if rig.recovery.is_done() {
                break;
            }
        }
        if rig.recovery.is_done() {
            assert!(steps >= 10, "{steps} steps");
            return;
        }
        rig.reassign((NodeId(3), BrokerEpoch(31)));
        rig.settle();
        assert_eq!(rig.committed(), [(0, 50), (0, 51), (1, 50), (1, 51)], "after {steps} steps");
        assert_eq!(rig.sealed(), Some(104));
    }
}

#[test]
fn commit_refused_because_the_image_is_behind_lists_again() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50), (1, 50)]);
    rig.start();
    while !matches!(rig.asks.first(), Some((_, ControllerRequest::CommitObject(_)))) {
        if rig.asks.is_empty() { rig.op() } else { rig.answer() }
    }
    // A commit of an earlier attempt gets through first.
    rig.controller.image.streams.get_mut(&StreamId(0)).expect("open").end = Offset(51);
    rig.settle();
    assert_eq!((rig.committed(), rig.sealed()), (Vec::from([(1, 50)]), Some(102)));
}

#[test]
fn commit_of_an_expired_object_uploads_anew() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    rig.start();
    while !matches!(rig.asks.first(), Some((_, ControllerRequest::CommitObject(_)))) {
        if rig.asks.is_empty() { rig.op() } else { rig.answer() }
    }
    rig.controller.expire(ObjectId(0));
    rig.settle();
    assert_eq!((rig.committed(), rig.sealed()), (Vec::from([(0, 50)]), Some(101)));
}

#[test]
fn object_trimmed_by_the_zombie_owner_after_the_list_lists_again() {
    let mut rig = Rig::new(none());
    let first = rig.wal(EPOCH, 100, 100, &[(0, 49)]);
    rig.wal(EPOCH, 101, 100, &[(0, 50)]);
    rig.start();
    while !rig.desk.ops.iter().any(|(_, op)| matches!(op, ObjOp::Get { range: None, .. })) {
        rig.op();
    }
    rig.wal(EPOCH, 102, 101, &[(0, 51)]);
    rig.store.objects.remove(&first);
    rig.settle();
    assert_eq!((rig.committed(), rig.sealed()), (Vec::from([(0, 50), (0, 51)]), Some(103)));
}

#[test]
fn assignment_withdrawn_abandons() {
    let mut rig = Rig::new(none());
    rig.wal(EPOCH, 100, 100, &[(0, 50)]);
    rig.start();
    rig.image_changed();
    assert!(!rig.recovery.is_done());
    rig.controller.assign((DEAD, EPOCH), (NodeId(3), BrokerEpoch(31)));
    rig.image_changed();
    assert_eq!(rig.events, [RecoveryEvent::Abandoned]);
    rig.image_changed();
    rig.settle();
    assert_eq!((rig.events.len(), rig.sealed()), (1, None));
}

#[test]
fn seal_seen_in_the_log_before_its_answer_counts_once() {
    let mut rig = Rig::new(none());
    rig.start();
    while rig.asks.is_empty() {
        rig.op();
    }
    let (id, request) = rig.asks.remove(0);
    let answer = rig.controller.handle(ME.0, &request);
    rig.image_changed();
    assert_eq!(rig.events, [RecoveryEvent::Sealed { end: Lsn(100) }]);
    rig.answer_with(id, answer);
    assert_eq!(rig.events.len(), 1);
}

#[test]
fn earlier_wal_unsealed_is_waited_for() {
    let mut rig = Rig::new(none());
    rig.controller.image.wals.get_mut(&(DEAD, OLD)).expect("registered").sealed = None;
    rig.start();
    assert!(rig.desk.ops.is_empty());
    assert_eq!(rig.recovery.blocked(), ["recovery of 1: waits for the seal of an earlier WAL"]);
    rig.image_changed();
    assert!(rig.desk.ops.is_empty());
    rig.controller.image.wals.get_mut(&(DEAD, OLD)).expect("registered").sealed = Some(Lsn(140));
    rig.image_changed();
    rig.settle();
    assert_eq!(rig.sealed(), Some(140));
}

#[test]
fn recoveries_of_one_node_share_no_numbers() {
    let mut rig = Rig::new(none());
    rig.start();
    let (first, _) = rig.desk.ops[0];
    let mut other = Rig::new(none());
    let later = BrokerEpoch(EPOCH.0 + 1);
    other.controller.image.wals.get_mut(&(DEAD, EPOCH)).expect("registered").sealed =
        Some(Lsn(100));
    other.controller.register(DEAD, later);
    other.controller.assign((DEAD, later), ME);
    other.recovery = Recovery::new(ME.0, ME.1, DEAD, later, limits());
    other.start();
    assert!(other.desk.ops[0].0.seq.abs_diff(first.seq) > 1 << 40);
}
