//! Rules of observers: find the leader, hand on what is committed, hold nothing else.

use alloc::vec;
use alloc::vec::Vec;

use super::rig::{at, cx, entry, epoch};
use crate::ids::{Incarnation, MetaOffset, NodeId};
use crate::peer::{FetchBody, PeerMsg, QuorumMsg};
use crate::quorum::{Observer, QuorumEvent};
use crate::step::{Effect, Outbox};

struct Watch {
    observer: Observer,
    events: Vec<MetaOffset>,
    /// The last fetch: to whom, epoch, offset, id.
    last: (NodeId, u32, MetaOffset, u64),
    fetches: usize,
}

impl Watch {
    fn boot() -> Self {
        let observer = Observer::new(NodeId(9), vec![NodeId(1), NodeId(2), NodeId(3)]);
        let last = (NodeId(0), 0, at(0), 0);
        let mut watch = Self { observer, events: Vec::new(), last, fetches: 0 };
        watch.act(|observer, out, _| observer.boot(&cx(), Incarnation(1), out));
        watch
    }

    /// Follows node 2 in epoch 5.
    fn following() -> Self {
        let mut watch = Self::boot();
        watch.refuse(5, Some(2));
        assert_eq!(watch.observer.leader(), Some((NodeId(2), epoch(5))));
        watch
    }

    fn act(&mut self, act: impl FnOnce(&mut Observer, &mut Outbox<Effect>, &mut Vec<QuorumEvent>)) {
        let (mut out, mut events) = (Outbox::default(), Vec::new());
        act(&mut self.observer, &mut out, &mut events);
        for event in events {
            if let QuorumEvent::Committed { offset, .. } = event {
                self.events.push(offset);
            }
        }
        for effect in out.drain() {
            if let Effect::Send { to, msg: PeerMsg::Quorum(msg) } = effect
                && let QuorumMsg::Fetch { epoch, fetch_offset, id, .. } = msg
            {
                self.last = (to, epoch.0, fetch_offset, id);
                self.fetches += 1;
            }
        }
    }

    fn reply(&mut self, from: NodeId, id: u64, of: u32, leader: Option<u16>, body: FetchBody) {
        let (epoch, leader) = (epoch(of), leader.map(NodeId));
        let msg = QuorumMsg::FetchReply { epoch, leader, id, body };
        self.act(|observer, out, events| observer.peer(&cx(), from, msg, out, events));
    }

    fn refuse(&mut self, of: u32, leader: Option<u16>) {
        self.reply(self.last.0, self.last.3, of, leader, FetchBody::Refused);
    }

    fn timer(&mut self) {
        self.act(|observer, out, _| observer.timer(&cx(), out));
    }
}

#[test]
fn observer_hands_on_only_what_is_committed() {
    let mut watch = Watch::following();
    let body = FetchBody::Entries { entries: vec![entry(4); 3], high_watermark: at(2) };
    let (to, id) = (watch.last.0, watch.last.3);
    watch.reply(to, id, 5, Some(2), body.clone());
    assert_eq!((watch.events.clone(), watch.last.2), (vec![at(0), at(1)], at(2)));
    // The same answer once more is not awaited.
    watch.reply(to, id, 5, Some(2), body);
    assert_eq!(watch.events.len(), 2);
    // The next leader's log has another entry there.
    let body = FetchBody::Entries { entries: vec![entry(5)], high_watermark: at(3) };
    watch.reply(watch.last.0, watch.last.3, 5, Some(2), body);
    assert_eq!((watch.events.len(), watch.observer.next_offset()), (3, at(3)));
}

#[test]
fn observer_goes_where_it_is_sent() {
    let mut watch = Watch::boot();
    let first = watch.last.0;
    watch.refuse(5, Some(2));
    assert_eq!((watch.last.0, watch.last.1, watch.fetches), (NodeId(2), 5, 2));
    // It leads no more and knows nobody: wait, then ask the others.
    watch.refuse(5, None);
    assert_eq!((watch.observer.leader(), watch.fetches), (None, 2));
    watch.timer();
    assert_ne!(watch.last.0, first);
    watch.refuse(6, Some(3));
    assert_eq!((watch.last.0, watch.last.1), (NodeId(3), 6));
    // Someone who knows less changes nothing, and is not asked for ever.
    watch.refuse(5, Some(2));
    assert_eq!((watch.observer.leader(), watch.fetches), (None, 4));
}

#[test]
fn observer_unanswered_asks_all_in_turn() {
    let mut watch = Watch::following();
    let mut asked = Vec::new();
    for _ in 0..3 {
        watch.timer();
        asked.push(watch.last.0.0);
    }
    asked.sort_unstable();
    assert_eq!((watch.observer.leader(), asked), (None, vec![1, 2, 3]));
}

#[test]
fn observer_drops_answers_of_others_and_of_earlier_boots() {
    let mut watch = Watch::following();
    let body = FetchBody::Entries { entries: vec![entry(4)], high_watermark: at(1) };
    let id = watch.last.3;
    watch.reply(NodeId(3), id, 5, Some(2), body.clone());
    watch.act(|observer, out, _| observer.boot(&cx(), Incarnation(2), out));
    let to = watch.last.0;
    watch.reply(to, id, 5, Some(2), body);
    assert!(watch.events.is_empty());
}

#[test]
#[should_panic(expected = "committed entries are gone")]
fn observer_diverging_from_a_leader_is_a_bug() {
    let mut watch = Watch::following();
    let body = FetchBody::Diverging { epoch: epoch(1), end_offset: at(0) };
    watch.reply(watch.last.0, watch.last.3, 5, Some(2), body);
}

/// A voter stands for epoch 6, is cut off, and the others, healthy in epoch 5, never hear of it.
#[test]
fn observer_told_of_an_epoch_nobody_leads_follows_the_leader_of_an_earlier_one() {
    let mut watch = Watch::following();
    watch.timer();
    assert_ne!(watch.last.0, NodeId(2), "it did not answer: another is asked");
    watch.refuse(6, None);
    watch.timer();
    while watch.last.0 != NodeId(2) {
        watch.timer();
    }
    assert_eq!(watch.last.1, 6);
    watch.refuse(5, Some(2));
    assert_eq!((watch.last.0, watch.last.1), (NodeId(2), 5), "asked at once, in its epoch");
    let (to, id) = (watch.last.0, watch.last.3);
    let body = FetchBody::Entries { entries: vec![entry(5)], high_watermark: at(1) };
    watch.reply(to, id, 5, Some(2), body);
    assert_eq!(watch.events, [at(0)]);
    // Another who names that leader is no witness: it may know less than we do.
    watch.refuse(6, Some(3));
    watch.refuse(5, Some(2));
    assert_eq!((watch.last.0, watch.last.1), (NodeId(3), 6));
}

#[test]
fn observer_that_holds_an_entry_of_a_later_epoch_leaves_a_deposed_leader_alone() {
    let mut watch = Watch::following();
    watch.refuse(6, Some(3));
    let body = FetchBody::Entries { entries: vec![entry(6)], high_watermark: at(1) };
    watch.reply(NodeId(3), watch.last.3, 6, Some(3), body);
    while watch.last.0 != NodeId(2) {
        watch.timer();
    }
    watch.refuse(5, Some(2));
    assert_eq!(watch.observer.leader(), None);
    watch.timer();
    assert_eq!((watch.last.0, watch.last.1), (NodeId(3), 6));
}
