//! Rules of the log: fetch, divergence, cuts, high watermark, group commit, the failing device.

use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::rig::{Rig, at, cx, entry, epoch, state};
use crate::ids::{Incarnation, NodeId};
use crate::peer::{FetchBody, QuorumMsg};
use crate::probe::Probe;
use crate::quorum::format::{encode_frame, encode_state};
use crate::quorum::timing::{FETCH_ENTRIES_MAX, LINGER};
use crate::quorum::{QuorumEvent, Role};
use crate::step::{LogOp, LogResult, QuorumTimer, Tok};

#[test]
fn quorum_fetch_is_checked_against_the_log() {
    // Leads epoch 7 behind entries of 3, 3, 5, 5: its own first one is at 4, the end is 5.
    let check = |asked, offset, last, answer: Option<FetchBody>| {
        let mut rig = Rig::leader(7, &[3, 3, 5, 5]);
        let body = rig.fetch_in(2, epoch(asked), offset, last);
        match (body, answer) {
            (Some(FetchBody::Entries { entries, .. }), None) => {
                assert_eq!(entries.len() as u64, 5 - offset, "{asked} {offset} {last}");
            }
            (body, answer) => assert_eq!(body, answer, "{asked} {offset} {last}"),
        }
    };
    let diverging = |of, end| Some(FetchBody::Diverging { epoch: epoch(of), end_offset: at(end) });
    check(7, 0, 0, None);
    check(7, 1, 3, None);
    check(7, 2, 3, None);
    check(7, 4, 5, None);
    check(7, 3, 3, diverging(3, 2));
    check(7, 5, 5, diverging(5, 4));
    check(7, 3, 4, diverging(3, 2));
    check(7, 6, 7, diverging(7, 5));
    check(7, 1, 2, diverging(0, 0));
    check(6, 4, 5, Some(FetchBody::Refused));
    check(8, 4, 5, Some(FetchBody::Refused));
    let mut follower = Rig::follower(7, &[3], true);
    assert_eq!(follower.fetch(3, 1, 3), Some(FetchBody::Refused));
    assert_eq!(follower.quorum.epoch(), epoch(7));
}

#[test]
fn quorum_diverging_follower_cuts_to_what_is_common() {
    let check = |log: &[u32], of, end, cut_to| {
        let mut rig = Rig::follower(9, log, false);
        rig.answer(FetchBody::Diverging { epoch: epoch(of), end_offset: at(end) });
        assert_eq!(rig.quorum.end_offset(), at(cut_to), "{log:?}, leader's {of} ends at {end}");
        let next = rig.sent.last().map(|(_, msg)| msg.clone());
        let fetched = match next {
            Some(QuorumMsg::Fetch { fetch_offset, .. }) => fetch_offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(fetched, at(cut_to));
    };
    check(&[1, 1, 2, 2], 2, 3, 3);
    check(&[1, 1, 2, 2], 1, 5, 2);
    check(&[1, 1, 2, 2], 1, 1, 1);
    check(&[1, 1, 3, 3], 2, 4, 2);
    check(&[3, 3], 2, 4, 0);
    check(&[3, 3], 0, 0, 0);
}

#[test]
#[should_panic(expected = "below high watermark")]
fn quorum_cut_below_the_high_watermark_is_a_bug() {
    let mut rig = Rig::follower(9, &[1, 1, 2], false);
    rig.answer_fetch(Vec::new(), 3);
    rig.answer(FetchBody::Diverging { epoch: epoch(1), end_offset: at(2) });
}

#[test]
fn quorum_follower_fetches_again_only_when_durable() {
    let mut rig = Rig::follower(5, &[4], true);
    let body = FetchBody::Entries { entries: vec![entry(5), entry(5)], high_watermark: at(2) };
    let (id, leader) = (rig.last_fetch_id(), Some(NodeId(2)));
    rig.sent.clear();
    rig.peer(2, QuorumMsg::FetchReply { epoch: epoch(5), leader, id, body });
    assert_eq!((rig.quorum.end_offset(), rig.quorum.flushed_end()), (at(3), at(1)));
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    assert_eq!(rig.quorum.high_watermark(), at(2));
    rig.settle();
    assert!(matches!(
        rig.sent[..],
        [(NodeId(2), QuorumMsg::Fetch { fetch_offset, last_fetched_epoch, .. })]
            if fetch_offset == at(3) && last_fetched_epoch == epoch(5)
    ));
}

#[test]
fn quorum_fetch_answers_not_awaited_are_dropped() {
    let check = |name, from, of, id_off: u64| {
        let mut rig = Rig::follower(5, &[4], true);
        let id = rig.last_fetch_id() + id_off;
        let body = FetchBody::Entries { entries: vec![entry(5)], high_watermark: at(2) };
        rig.peer(from, QuorumMsg::FetchReply { epoch: epoch(of), leader: None, id, body });
        rig.settle();
        assert_eq!(rig.quorum.end_offset(), at(1), "{name}");
    };
    check("not of the leader", 3, 5, 0);
    check("of an earlier epoch", 2, 4, 0);
    check("another id", 2, 5, 1);
    // Control: the awaited one is taken.
    let mut rig = Rig::follower(5, &[4], true);
    rig.answer_fetch(vec![entry(5)], 0);
    assert_eq!(rig.quorum.end_offset(), at(2));
}

#[test]
fn quorum_high_watermark_needs_a_majority_and_an_own_entry() {
    // Leads epoch 5; its own first entry is at 2, its log ends at 3 and is flushed.
    let check = |fetches: &[(u16, u64, u32)], high_watermark| {
        let mut rig = Rig::leader(5, &[4, 4]);
        for (from, offset, last) in fetches {
            rig.fetch(*from, *offset, *last);
        }
        assert_eq!(rig.quorum.high_watermark(), at(high_watermark), "{fetches:?}");
        let committed = |event: &&QuorumEvent| matches!(event, QuorumEvent::Committed { .. });
        assert_eq!(rig.events.iter().filter(committed).count() as u64, high_watermark);
    };
    check(&[], 0);
    // KAFKA-12619: up to the start of the epoch is not enough.
    check(&[(2, 2, 4)], 0);
    check(&[(2, 2, 4), (3, 2, 4)], 0);
    check(&[(2, 3, 5)], 3);
    check(&[(2, 3, 5), (2, 1, 4), (3, 1, 4)], 3);
    // KAFKA-16530: who has no vote has no say.
    check(&[(9, 3, 5), (8, 3, 5)], 0);
    // What diverges says nothing.
    check(&[(2, 3, 4)], 0);
}

#[test]
fn quorum_leader_counts_only_what_it_flushed() {
    let mut rig = Rig::leader(5, &[]);
    rig.fetch(2, 1, 5);
    assert_eq!(rig.propose(), Some(at(1)));
    assert_eq!(rig.fetch(2, 1, 5).map(entries), Some(1));
    assert_eq!(rig.fetch(2, 2, 5).map(entries), None);
    assert_eq!(rig.quorum.high_watermark(), at(1));
    rig.fire(QuorumTimer::Linger);
    assert_eq!(rig.quorum.high_watermark(), at(2));
}

#[test]
fn quorum_commits_in_batches_with_one_sync_in_flight() {
    let mut rig = Rig::leader(5, &[]);
    let syncs = |rig: &Rig| rig.device.iter().filter(|(_, op)| matches!(op, LogOp::Sync)).count();
    rig.propose();
    rig.propose();
    assert_eq!((syncs(&rig), rig.timer(QuorumTimer::Linger)), (0, Some(LINGER)));
    let linger = |rig: &mut Rig| {
        rig.act(|quorum, out, events| quorum.timer(&cx(), QuorumTimer::Linger, out, events));
    };
    linger(&mut rig);
    assert_eq!(syncs(&rig), 1);
    rig.propose();
    linger(&mut rig);
    assert_eq!(syncs(&rig), 1);
    while rig.quorum.flushed_end() == at(1) {
        rig.device_step();
    }
    assert_eq!((rig.quorum.flushed_end(), syncs(&rig)), (at(3), 1));
    rig.settle();
    assert_eq!(rig.quorum.flushed_end(), at(4));
}

#[test]
fn quorum_waiting_fetch_is_answered_by_news_or_by_time() {
    let park = || {
        let mut rig = Rig::leader(5, &[]);
        rig.fetch(2, 1, 5);
        assert_eq!(rig.fetch(2, 1, 5), None);
        assert_eq!(rig.fetch(9, 1, 5), None);
        rig
    };
    let answered = |rig: &Rig| rig.sent.iter().map(|(to, _)| to.0).collect::<Vec<_>>();
    let mut rig = park();
    rig.fire(QuorumTimer::Fetch);
    assert_eq!(answered(&rig), [2, 9]);
    // A voter hears of an entry when the leader has gathered it, an observer when it is committed.
    let mut rig = park();
    rig.propose();
    rig.fire(QuorumTimer::Linger);
    assert_eq!(answered(&rig), [2]);
    rig.fetch(2, 2, 5);
    assert_eq!(rig.quorum.high_watermark(), at(2));
    assert!(answered(&rig).contains(&9));
    let mut rig = park();
    rig.peer(3, QuorumMsg::BeginEpoch { epoch: epoch(6) });
    rig.settle();
    let refused = |(_, msg): &&(NodeId, QuorumMsg)| {
        matches!(msg, QuorumMsg::FetchReply { body: FetchBody::Refused, leader, .. }
            if *leader == Some(NodeId(3)))
    };
    assert_eq!(rig.sent.iter().filter(refused).count(), 2);
}

#[test]
fn quorum_observer_is_given_only_what_is_committed() {
    let mut rig = Rig::leader(5, &[4, 4]);
    assert_eq!(rig.fetch(9, 0, 0), None);
    rig.fire(QuorumTimer::Fetch);
    let nothing = FetchBody::Entries { entries: Vec::new(), high_watermark: at(0) };
    assert!(
        matches!(&rig.sent[..], [(NodeId(9), QuorumMsg::FetchReply { body, .. })]
            if *body == nothing),
        "{:?}",
        rig.sent
    );
    rig.fetch(2, 3, 5);
    assert_eq!(rig.fetch(9, 0, 0).map(entries), Some(3));
}

#[test]
fn quorum_fetch_overtaken_by_a_later_one_is_dropped() {
    for ids in [[3, 5], [5, 3]] {
        let mut rig = Rig::leader(5, &[4]);
        rig.fetch(2, 2, 5);
        rig.sent.clear();
        for id in ids {
            let (epoch, last_fetched_epoch) = (epoch(5), epoch(5));
            let (fetch_offset, high_watermark) = (at(2), rig.quorum.high_watermark());
            rig.peer(
                2,
                QuorumMsg::Fetch { epoch, fetch_offset, last_fetched_epoch, high_watermark, id },
            );
        }
        rig.fire(QuorumTimer::Fetch);
        let last = matches!(rig.sent[..], [(_, QuorumMsg::FetchReply { id: 5, .. })]);
        assert!(last, "{ids:?}: {:?}", rig.sent);
    }
}

#[test]
fn quorum_fetch_answer_is_a_bounded_prefix() {
    let mut rig = Rig::leader(5, &[4; FETCH_ENTRIES_MAX + 10]);
    assert_eq!(rig.fetch(2, 0, 0).map(entries), Some(FETCH_ENTRIES_MAX));
    let rest = rig.fetch(2, FETCH_ENTRIES_MAX as u64, 4).map(entries);
    assert_eq!(rest, Some(11));
}

#[test]
fn quorum_load_cuts_a_torn_tail_before_anything_else() {
    let mut log = Vec::new();
    for offset in 0..3 {
        encode_frame(at(offset), &entry(4), &mut log);
    }
    let whole = log.len() / 3 * 2;
    log.truncate(log.len() - 1);
    let mut rig = Rig::on_device(&[1, 2, 3], log, encode_state(&state(5, Some(2), None)));
    rig.device_step();
    let cut = LogOp::Truncate { end: whole as u64 };
    assert_eq!(rig.device.front().map(|(_, op)| op), Some(&cut));
    assert!(!rig.quorum.is_loaded() && rig.sent.is_empty());
    rig.settle();
    assert!(rig.probes.contains(&Probe::QuorumLoaded { end: at(2), torn: true }));
    assert_eq!((rig.quorum.role(), rig.quorum.flushed_end()), (Role::Follower, at(2)));
}

#[test]
fn quorum_damaged_state_file_ends_the_process() {
    let mut file = encode_state(&state(5, Some(2), None)).to_vec();
    *file.last_mut().expect("a body") ^= 1;
    let mut rig = Rig::on_device(&[1, 2, 3], Vec::new(), Bytes::from(file));
    rig.settle();
    assert!(rig.halted);
}

#[test]
fn quorum_gives_up_a_failing_device() {
    for result in [LogResult::Full, LogResult::SyncFailed, LogResult::Io] {
        let mut rig = Rig::leader(5, &[]);
        rig.propose();
        let (tok, _) = rig.device.pop_front().expect("an append");
        rig.log_done(Tok { incarnation: Incarnation(0), ..tok }, result.clone());
        rig.log_done(Tok { seq: tok.seq + 1_000, ..tok }, result.clone());
        assert!(!rig.halted, "a stale completion of {result:?} was taken");
        rig.log_done(tok, result);
        assert!(rig.halted);
        assert_eq!((rig.propose(), rig.fetch(2, 0, 0)), (None, None));
    }
}

#[test]
fn quorum_stale_durable_is_ignored() {
    let mut rig = Rig::leader(5, &[]);
    rig.propose();
    let (tok, _) = rig.device.pop_front().expect("an append");
    for stale in [Tok { incarnation: Incarnation(0), ..tok }, Tok { seq: 0, ..tok }, tok] {
        rig.log_done(stale, LogResult::Durable { end: 1_000_000 });
        rig.log_done(stale, LogResult::StateDurable);
    }
    assert_eq!(rig.quorum.flushed_end(), at(1));
}

fn entries(body: FetchBody) -> usize {
    match body {
        FetchBody::Entries { entries, .. } => entries.len(),
        other => panic!("{other:?}"),
    }
}
