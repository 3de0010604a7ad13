//! One test per rule of the WAL; the mutants must flip theirs.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at what it is about")]

use alloc::vec;

use super::*;
use crate::mutants::Mutants;
use crate::object::{WalKey, claim_key, parse_claim_key, wal_key};
use crate::step::{Etag, ObjOp};
use crate::store::fake::*;
use crate::time::Dur;
use crate::wal::record::{ClaimBody, decode_claim, decode_wal_object, encode_claim};

const NODE: NodeId = NodeId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(10);
const DONE: ObjResult = ObjResult::Done { etag: Etag(0) };

struct Rig {
    wal: Wal,
    desk: Desk,
    store: FakeStore,
    events: Vec<WalEvent>,
    mutants: Mutants,
    next: u64,
}

impl Rig {
    /// Asks for the claim and stops there.
    fn opening(mutants: Mutants, store: FakeStore) -> Self {
        let wal = Wal::new(NODE, limits());
        let (desk, events) = (Desk::default(), Vec::new());
        let mut rig = Self { wal, desk, store, events, mutants, next: 0 };
        rig.wal.open(&cx(mutants), INCARNATION, EPOCH, Lsn(100), &mut rig.desk.out);
        rig.desk.sort();
        rig
    }

    /// Open and quiet.
    fn open(mutants: Mutants) -> Self {
        let mut rig = Self::opening(mutants, FakeStore::new(2));
        rig.settle();
        assert_eq!(core::mem::take(&mut rig.events), [WalEvent::Opened]);
        rig
    }

    fn done(&mut self, tok: Tok, result: ObjResult) {
        let cx = cx(self.mutants);
        self.wal.obj_done(&cx, tok, result, &mut self.desk.out, &mut self.events);
        self.desk.sort();
    }

    /// Applies and answers the first operation that matches.
    fn answer(&mut self, matches: impl Fn(&ObjOp) -> bool) {
        let (tok, op) = self.desk.take(matches);
        let result = self.store.apply(&op);
        self.done(tok, result);
    }

    /// Answers the first operation that matches without applying it.
    fn answer_with(&mut self, matches: impl Fn(&ObjOp) -> bool, result: ObjResult) -> ObjOp {
        let (tok, op) = self.desk.take(matches);
        self.done(tok, result);
        op
    }

    fn settle(&mut self) {
        while !self.desk.ops.is_empty() {
            self.answer(|_| true);
        }
    }

    fn fire(&mut self, key: TimerKey) -> Dur {
        let after = self.desk.timers.remove(&key).expect("armed");
        self.wal.timer(&cx(self.mutants), key, &mut self.desk.out, &mut self.events);
        self.desk.sort();
        after
    }

    fn fire_put(&mut self) -> Dur {
        let is_put = |key: &&TimerKey| matches!(key, TimerKey::WalPut(_));
        let key = *self.desk.timers.keys().find(is_put).expect("armed");
        self.fire(key)
    }

    fn append(&mut self) -> Result<Lsn, WalRecord> {
        let record = record(1, self.next);
        let lsn = self.wal.append(&cx(self.mutants), record, &mut self.desk.out);
        self.desk.sort();
        self.next += u64::from(lsn.is_ok());
        lsn
    }

    /// Fills one bulk.
    fn bulk(&mut self) {
        self.append().expect("room");
        self.append().expect("room");
    }

    fn prove(&mut self) -> u64 {
        let number = self.wal.prove(&cx(self.mutants), &mut self.desk.out);
        self.desk.sort();
        number
    }

    fn trim(&mut self, upto: u64) {
        self.wal.trim(&cx(self.mutants), Lsn(upto), &mut self.desk.out);
        self.desk.sort();
    }

    fn confirmed(&self) -> Vec<u64> {
        let lsn = |event: &WalEvent| match event {
            WalEvent::Confirmed { lsn, .. } => Some(lsn.0),
            _ => None,
        };
        self.events.iter().filter_map(lsn).collect()
    }

    fn fenced(&self) -> bool {
        self.events.contains(&WalEvent::Fenced)
    }

    fn claimed(&mut self, number: u64) {
        let key = claim_key(NODE, number);
        self.store.insert(&key, foreign_claim(number));
    }
}

fn foreign_claim(number: u64) -> bytes::Bytes {
    let (claimant, epoch) = (NodeId(2), BrokerEpoch(11));
    encode_claim(ClaimBody { of: NODE, number, claimant, epoch, nonce: 7 })
}

fn is_claim(op: &ObjOp) -> bool {
    matches!(op, ObjOp::Put { key, .. } if parse_claim_key(key).is_some())
}

fn is_verify(op: &ObjOp) -> bool {
    matches!(op, ObjOp::List { after: Some(key), .. } if parse_claim_key(key).is_some())
}

fn is_put_of(start: u64) -> impl Fn(&ObjOp) -> bool {
    let key = wal_key(WalKey { node: NODE, epoch: EPOCH, start: Lsn(start), end: Lsn(start + 2) });
    move |op| matches!(op, ObjOp::Put { key: put, .. } if *put == key)
}

#[test]
fn claim_many_pages_listed_takes_next_and_sweeps_older() {
    let mut store = FakeStore::new(2);
    for number in 1..=5 {
        store.insert(&claim_key(NODE, number), foreign_claim(number));
    }
    store.insert(&claim_key(NodeId(11), 9), foreign_claim(9));
    let mut rig = Rig::opening(none(), store);
    rig.settle();
    assert_eq!(rig.wal.phase, Phase::Open(6));
    let claims = rig.store.keys("claim/1/");
    assert_eq!(claims, [&*claim_key(NODE, 6).0]);
    let (_, body) = &rig.store.objects[&claim_key(NODE, 6)];
    let claim = decode_claim(body).expect("whole");
    assert_eq!((claim.claimant, claim.epoch), (NODE, EPOCH));
}

#[test]
fn claim_unanswered_is_put_again_and_found_own() {
    let mut rig = Rig::opening(none(), FakeStore::new(2));
    rig.answer(is_list);
    let (tok, op) = rig.desk.take(is_claim);
    rig.store.apply(&op);
    rig.done(tok, ObjResult::Unknown);
    assert_eq!(rig.fire(TimerKey::Claim), Dur::ms(100));
    rig.settle();
    assert_eq!(rig.wal.phase, Phase::Open(1));
    assert_eq!(rig.desk.saw(|probe| matches!(probe, Probe::ClaimOwnSeen { .. })), 1);
}

#[test]
fn claim_listing_unanswered_is_listed_again() {
    let mut rig = Rig::opening(none(), FakeStore::new(2));
    rig.answer_with(is_list, ObjResult::SlowDown);
    assert_eq!(rig.wal.blocked(), ["wal: claim waits for time to list claims again"]);
    rig.fire(TimerKey::Claim);
    rig.settle();
    assert_eq!(rig.events, [WalEvent::Opened]);
}

const EMPTY_PAGE: ObjResult = ObjResult::Keys { keys: Vec::new(), more: true };

#[test]
fn claim_listing_with_an_empty_page_is_listed_again() {
    flips(Mutant::ListEmptyPageEnds, |mutants| {
        let mut store = FakeStore::new(2);
        store.insert(&claim_key(NODE, 5), foreign_claim(5));
        let mut rig = Rig::opening(mutants, store);
        rig.answer_with(is_list, EMPTY_PAGE);
        if rig.desk.timers.contains_key(&TimerKey::Claim) {
            rig.fire(TimerKey::Claim);
        }
        rig.settle();
        rig.wal.phase == Phase::Open(6)
    });
}

/// Another claims the same number between our list and our put.
fn lost_race(mutants: Mutants) -> Rig {
    let mut rig = Rig::opening(mutants, FakeStore::new(2));
    rig.answer(is_list);
    rig.claimed(1);
    rig.settle();
    rig
}

#[test]
fn claim_race_lost_takes_a_later_number() {
    flips(Mutant::WalRefusedIsDone, |mutants| lost_race(mutants).wal.phase == Phase::Open(2));
}

#[test]
fn claim_race_lost_leaves_the_winner_in_place() {
    flips(Mutant::WalClaimOverwrites, |mutants| lost_race(mutants).wal.phase == Phase::Open(2));
}

#[test]
fn ack_put_done_waits_for_the_ownership_check() {
    flips(Mutant::WalAckBeforeVerify, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        rig.answer(is_put);
        let early = rig.confirmed();
        rig.settle();
        early.is_empty() && rig.confirmed() == [100, 101] && rig.wal.confirmed_end() == Lsn(102)
    });
}

#[test]
fn ack_check_begun_before_a_put_does_not_cover_it() {
    flips(Mutant::WalVerifyBeforePut, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        rig.bulk();
        rig.answer(is_put_of(100));
        rig.answer(is_put_of(102));
        rig.answer(is_verify);
        let first = rig.confirmed();
        rig.settle();
        first == [100, 101] && rig.confirmed() == [100, 101, 102, 103]
    });
}

#[test]
fn ack_hole_in_front_holds_back_what_follows() {
    flips(Mutant::WalConfirmMax, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        rig.bulk();
        rig.answer(is_put_of(102));
        while rig.desk.ops.iter().any(|(_, op)| is_verify(op)) {
            rig.answer(is_verify);
        }
        let early = rig.confirmed();
        rig.settle();
        early.is_empty() && rig.confirmed() == [100, 101, 102, 103]
    });
}

#[test]
fn records_put_out_of_order_are_handed_on_in_lsn_order() {
    flips(Mutant::WalCacheOnPutOrder, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        rig.bulk();
        rig.answer(is_put_of(102));
        rig.answer(is_put_of(100));
        rig.settle();
        let handed = |event: &WalEvent| match event {
            WalEvent::Confirmed { lsn, .. } | WalEvent::Stored { lsn, .. } => Some(*lsn),
            _ => None,
        };
        rig.events.iter().filter_map(handed).is_sorted()
    });
}

#[test]
fn ack_later_claim_found_fences_for_good() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.bulk();
    rig.answer(is_put_of(100));
    rig.claimed(2);
    rig.answer(is_verify);
    assert_eq!(rig.events, [WalEvent::Fenced]);
    rig.settle();
    assert_eq!(rig.events, [WalEvent::Fenced]);
    assert_eq!(rig.append(), Err(record(1, 4)));
    assert_eq!(rig.wal.confirmed_end(), Lsn(100));
    assert_eq!(rig.desk.saw(|probe| matches!(probe, Probe::WalFenced { claimed: true })), 1);
}

#[test]
fn put_unanswered_is_put_again_unchanged_and_found_own() {
    flips(Mutant::WalUnknownIsFailure, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        let (tok, first) = rig.desk.take(is_put);
        rig.store.apply(&first);
        rig.done(tok, ObjResult::Unknown);
        if rig.events.iter().any(|event| matches!(event, WalEvent::Failed { .. })) {
            return false;
        }
        rig.fire_put();
        let same = rig.desk.ops[0].1 == first;
        rig.settle();
        let own = rig.desk.saw(|probe| matches!(probe, Probe::WalOwnWriteSeen { .. }));
        same && own == 1 && rig.confirmed() == [100, 101]
    });
}

#[test]
fn put_refused_by_a_foreign_object_fences() {
    flips(Mutant::WalRefusedIsDone, |mutants| {
        let mut rig = Rig::open(mutants);
        let (start, end) = (Lsn(100), Lsn(102));
        let key = wal_key(WalKey { node: NODE, epoch: EPOCH, start, end });
        rig.store.insert(&key, vec![0; 99]);
        rig.bulk();
        rig.settle();
        rig.fenced() && rig.confirmed().is_empty()
    });
}

#[test]
fn put_refused_with_nothing_in_its_place_is_put_again() {
    flips(Mutant::WalRefusedIsDone, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        // S3's 409 for conflicting requests, which adapters report like a 412.
        rig.answer_with(is_put, ObjResult::PreconditionFailed);
        rig.settle();
        if rig.confirmed().is_empty() {
            rig.fire_put();
            rig.settle();
        }
        rig.confirmed() == [100, 101] && rig.store.keys("wal/").len() == 1
    });
}

#[test]
fn put_slow_is_hedged_once_and_either_answer_counts() {
    for first in [true, false] {
        let mut rig = Rig::open(none());
        rig.bulk();
        assert_eq!(rig.fire_put(), Dur::ms(400));
        assert_eq!(rig.desk.ops.len(), 2);
        assert_eq!(rig.desk.ops[0].1, rig.desk.ops[1].1);
        assert!(rig.desk.timers.is_empty(), "two copies are enough");
        let at = usize::from(!first);
        let (tok, op) = rig.desk.ops.remove(at);
        assert!(matches!(rig.store.apply(&op), ObjResult::Done { .. }));
        rig.done(tok, DONE);
        rig.settle();
        assert_eq!(rig.confirmed(), [100, 101]);
        assert_eq!(rig.store.keys("wal/").len(), 1);
    }
}

#[test]
fn put_hedged_with_one_copy_lost_waits_for_the_other() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.fire_put();
    rig.answer_with(is_put, ObjResult::Unknown);
    assert!(rig.desk.timers.is_empty());
    rig.answer_with(is_put, ObjResult::SlowDown);
    assert_eq!(rig.fire_put(), Dur::ms(100));
    rig.settle();
    assert_eq!(rig.confirmed(), [100, 101]);
}

#[test]
fn put_failing_again_and_again_backs_off() {
    let mut rig = Rig::open(none());
    rig.bulk();
    let mut waits = Vec::new();
    for result in [ObjResult::Unknown, ObjResult::SlowDown].into_iter().cycle().take(8) {
        rig.answer_with(is_put, result);
        waits.push(rig.fire_put().0 / 1_000);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 3_200, 3_200]);
    rig.settle();
    assert_eq!(rig.confirmed(), [100, 101]);
}

#[test]
fn put_without_any_answer_fences_after_a_while() {
    let mut rig = Rig::open(none());
    rig.bulk();
    for result in [ObjResult::Unknown, ObjResult::SlowDown] {
        for _ in 1..UNKNOWN_MAX {
            rig.answer_with(is_put, result.clone());
            rig.fire_put();
        }
    }
    for _ in 1..UNKNOWN_MAX {
        rig.answer_with(is_put, ObjResult::Unknown);
        rig.fire_put();
    }
    assert!(!rig.fenced(), "an answer in between began the count anew");
    rig.answer_with(is_put, ObjResult::Unknown);
    assert!(rig.fenced());
    assert_eq!(rig.confirmed(), []);
}

#[test]
fn look_unanswered_is_repeated() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.answer_with(is_put, ObjResult::PreconditionFailed);
    rig.answer_with(is_get, ObjResult::Unknown);
    rig.fire_put();
    rig.answer(is_get);
    rig.fire_put();
    rig.settle();
    assert_eq!(rig.confirmed(), [100, 101]);
}

#[test]
fn check_unanswered_is_repeated_and_bounded() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.answer(is_put);
    for _ in 1..UNKNOWN_MAX {
        rig.answer_with(is_verify, ObjResult::Unknown);
        assert!(!rig.fenced());
        rig.fire(TimerKey::WalVerify);
    }
    rig.answer_with(is_verify, ObjResult::Unknown);
    assert!(rig.fenced());
    assert_eq!(rig.confirmed(), []);
}

#[test]
fn check_throttled_is_repeated_without_bound_and_then_covers_more() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.bulk();
    rig.answer(is_put_of(100));
    for _ in 0..3 * UNKNOWN_MAX {
        rig.answer_with(is_verify, ObjResult::SlowDown);
        rig.fire(TimerKey::WalVerify);
    }
    rig.answer(is_put_of(102));
    rig.answer_with(is_verify, ObjResult::SlowDown);
    rig.fire(TimerKey::WalVerify);
    rig.answer(is_verify);
    assert_eq!(rig.confirmed(), [100, 101, 102, 103]);
}

fn proven(rig: &mut Rig) -> Vec<u64> {
    let events = core::mem::take(&mut rig.events).into_iter();
    let proven = events.filter_map(|event| match event {
        WalEvent::Proven { before } => Some(before),
        _ => None,
    });
    proven.collect()
}

#[test]
fn proof_is_a_check_begun_after_it_was_asked_for() {
    let mut rig = Rig::open(Mutants::NONE);
    assert_eq!(rig.prove(), 0);
    assert_eq!([rig.prove(), rig.prove()], [1, 2]);
    rig.answer(is_verify);
    assert_eq!(proven(&mut rig), [1], "the check was on its way when the others were asked for");
    rig.answer(is_verify);
    assert_eq!(proven(&mut rig), [3]);
    assert!(!rig.desk.ops.iter().any(|(_, op)| is_verify(op)), "no more is asked for");
    // One that rides on a check for records.
    rig.bulk();
    assert_eq!(rig.prove(), 3);
    rig.settle();
    assert_eq!((proven(&mut rig), rig.wal.blocked()), (vec![4], vec![]));
}

#[test]
fn proof_is_not_given_by_a_wal_that_another_has_claimed() {
    let mut rig = Rig::open(Mutants::NONE);
    rig.claimed(2);
    rig.prove();
    rig.answer(is_verify);
    assert!(rig.fenced() && proven(&mut rig).is_empty());
    assert_eq!(rig.prove(), 1, "and none after that");
    assert!(!rig.desk.ops.iter().any(|(_, op)| is_verify(op)));
}

#[test]
fn append_without_room_hands_the_record_back_until_confirmed() {
    let mut rig = Rig::open(none());
    for _ in 0..8 {
        rig.append().expect("room");
    }
    assert_eq!(rig.append(), Err(record(1, 8)));
    assert_eq!(rig.append(), Err(record(1, 8)));
    assert_eq!(rig.desk.saw(|probe| *probe == Probe::WalBackPressure { on: true }), 1);
    rig.settle();
    assert_eq!(rig.events.iter().filter(|event| **event == WalEvent::Room).count(), 1);
    assert_eq!(rig.append(), Ok(Lsn(108)));
}

#[test]
fn append_larger_than_the_window_goes_alone() {
    let mut rig = Rig::open(none());
    let large = WalRecord { batch: vec![0; 1_000].into(), ..record(1, 0) };
    let lsn = rig.wal.append(&cx(none()), large, &mut rig.desk.out);
    assert_eq!(lsn, Ok(Lsn(100)));
    rig.desk.sort();
    assert!(rig.append().is_err());
    rig.settle();
    assert_eq!(rig.append(), Ok(Lsn(101)));
}

#[test]
fn bulk_closes_by_size_or_interval_and_puts_are_bounded() {
    let mut rig = Rig::open(none());
    rig.append().expect("room");
    assert!(rig.desk.ops.is_empty());
    assert_eq!(rig.fire(TimerKey::WalBulk), limits().wal_bulk_interval);
    assert_eq!(rig.desk.ops.len(), 1);
    for _ in 0..3 {
        rig.bulk();
    }
    assert_eq!(rig.desk.ops.len(), 3, "the fourth waits");
    assert!(!rig.desk.timers.contains_key(&TimerKey::WalBulk));
    rig.settle();
    assert_eq!(rig.confirmed(), (100..107).collect::<Vec<u64>>());
    assert_eq!(rig.wal.blocked(), Vec::<String>::new());
}

#[test]
fn object_encoded_holds_its_records_and_the_trim() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.settle();
    rig.trim(102);
    rig.bulk();
    rig.settle();
    let (_, body) = rig.store.objects.iter().next_back().expect("one").1;
    let (header, records) = decode_wal_object(body).expect("whole");
    assert_eq!((header.start, header.end, header.trim), (Lsn(102), Lsn(104), Lsn(102)));
    assert_eq!(records, [record(1, 2), record(1, 3)]);
}

#[test]
fn trim_deletes_nothing_before_a_later_object_says_so() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.bulk();
    rig.settle();
    rig.trim(104);
    rig.settle();
    assert_eq!(rig.store.keys("wal/").len(), 2);
    rig.bulk();
    assert_eq!(rig.store.keys("wal/").len(), 2);
    rig.settle();
    let left = rig.store.keys("wal/");
    assert_eq!(left.len(), 1, "the last one never goes: {left:?}");
    assert!(left[0].ends_with("106"));
}

#[test]
fn trim_inside_an_object_keeps_it() {
    let mut rig = Rig::open(none());
    rig.bulk();
    rig.settle();
    rig.trim(101);
    rig.bulk();
    rig.settle();
    assert_eq!(rig.store.keys("wal/").len(), 2);
}

#[test]
fn trimmed_object_put_late_is_deleted_a_second_time() {
    flips(Mutant::WalSingleDelete, |mutants| {
        let mut rig = Rig::open(mutants);
        rig.bulk();
        rig.fire_put();
        let (_, hedge) = rig.desk.ops.pop().expect("a second copy");
        rig.settle();
        rig.trim(102);
        rig.bulk();
        rig.settle();
        rig.store.apply(&hedge);
        while rig.desk.timers.contains_key(&TimerKey::WalRedelete) {
            rig.fire(TimerKey::WalRedelete);
        }
        rig.settle();
        rig.store.keys("wal/").len() == 1
    });
}

/// Two bulks are durable and committed; the first one's object has been deleted once.
fn trimmed() -> Rig {
    let mut rig = Rig::open(none());
    for upto in [102, 104] {
        rig.bulk();
        rig.settle();
        rig.trim(upto);
    }
    rig.settle();
    rig
}

#[test]
fn redelete_refused_is_sent_again() {
    let mut rig = trimmed();
    rig.fire(TimerKey::WalRedelete);
    rig.fire(TimerKey::WalRedelete);
    for refusal in [ObjResult::SlowDown, ObjResult::Unknown] {
        let (tok, op) = rig.desk.ops.pop().expect("a second delete");
        assert!(matches!(op, ObjOp::Delete { .. }), "{op:?}");
        rig.done(tok, refusal);
        rig.fire(TimerKey::WalRedelete);
        rig.fire(TimerKey::WalRedelete);
    }
    rig.settle();
    assert!(!rig.desk.timers.contains_key(&TimerKey::WalRedelete));
}

#[test]
fn redelete_waits_its_time_also_for_what_came_between() {
    let mut rig = trimmed();
    let sent = |rig: &Rig, again: bool| {
        rig.desk
            .saw(|probe| matches!(probe, Probe::WalDeleteSent { again: it, .. } if *it == again))
    };
    assert_eq!((sent(&rig, false), sent(&rig, true)), (1, 0));
    assert_eq!(rig.fire(TimerKey::WalRedelete), Dur::secs(10));
    assert_eq!((sent(&rig, false), sent(&rig, true)), (1, 0));
    rig.bulk();
    rig.settle();
    assert_eq!(sent(&rig, false), 2);
    rig.fire(TimerKey::WalRedelete);
    assert_eq!(sent(&rig, true), 1, "the second object is not old enough");
    rig.fire(TimerKey::WalRedelete);
    assert_eq!(sent(&rig, true), 2);
    assert!(!rig.desk.timers.contains_key(&TimerKey::WalRedelete));
}

#[test]
fn open_sweeps_what_older_epochs_left() {
    let mut store = FakeStore::new(2);
    let key = |node, epoch, start| {
        let (node, epoch) = (NodeId(node), BrokerEpoch(epoch));
        wal_key(WalKey { node, epoch, start: Lsn(start), end: Lsn(start + 2) })
    };
    for start in 0..7 {
        store.insert(&key(1, 3, start), vec![]);
    }
    store.insert(&key(11, 3, 0), vec![]);
    let mut rig = Rig::opening(none(), store);
    rig.bulk_after_open();
    assert_eq!(rig.store.keys("wal/1/").len(), 1);
    assert_eq!(rig.store.keys("wal/11/").len(), 1);
}

impl Rig {
    fn bulk_after_open(&mut self) {
        self.settle();
        self.bulk();
        self.settle();
    }
}

#[test]
fn answer_of_another_process_is_ignored() {
    let mut rig = Rig::open(none());
    rig.bulk();
    let before = rig.wal.clone();
    let (tok, _) = rig.desk.ops[0];
    rig.done(Tok { incarnation: Incarnation(2), ..tok }, DONE);
    rig.done(Tok { seq: tok.seq + 99, ..tok }, DONE);
    assert_eq!(rig.wal, before);
}
