//! A broker's view of the metadata log: it finds the leader, follows it, and hands on what is
//! committed.
//!
//! An observer has no vote, no device and no uncommitted entry: what it asks for is always the end
//! of what it was given, so nothing it holds is ever cut. What the entries mean is the broker's.
//! Source: KIP-595 (observers), KIP-1166; KRaft's `UnattachedState` and `FollowerState`.

use alloc::vec::Vec;

use super::fetch_id;
use super::format::prefix_digest;
use super::timing::{FETCH_RETRY, refused_backoff};
use super::{Entry, QuorumEvent};
use crate::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch};
use crate::peer::{FetchBody, PeerMsg, QuorumMsg};
use crate::probe::Probe;
use crate::step::{Cx, Effect, Outbox, TimerKey};

/// An observer of the quorum.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Observer {
    node: NodeId,
    voters: Vec<NodeId>,
    incarnation: Incarnation,
    epoch: QuorumEpoch,
    leader: Option<NodeId>,
    /// The voter asked last while no leader was known.
    last_tried: usize,
    /// All before it was handed on.
    next_offset: MetaOffset,
    last_epoch: QuorumEpoch,
    prefix: u64,
    fetch: Fetch,
    fetches_sent: u64,
}

/// Where the next fetch is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Fetch {
    /// Not booted.
    Down,
    /// Sent, not answered; the timer gives it up.
    Sent { to: NodeId, id: u64 },
    /// Refused; the timer sends the next one.
    BackingOff,
}

impl Observer {
    /// An observer that is not booted.
    #[must_use]
    pub fn new(node: NodeId, voters: Vec<NodeId>) -> Self {
        assert!(!voters.is_empty(), "node {node} has nobody to observe");
        Self {
            node,
            voters,
            incarnation: Incarnation(0),
            epoch: QuorumEpoch(0),
            leader: None,
            last_tried: 0,
            next_offset: MetaOffset(0),
            last_epoch: QuorumEpoch(0),
            prefix: 0,
            fetch: Fetch::Down,
            fetches_sent: 0,
        }
    }

    /// Starts to look for the leader, and to read from the log's start.
    pub fn boot(&mut self, cx: &Cx, incarnation: Incarnation, out: &mut Outbox<Effect>) {
        *self = Self::new(self.node, core::mem::take(&mut self.voters));
        self.incarnation = incarnation;
        self.last_tried = (cx.entropy % self.voters.len() as u64) as usize;
        self.send(out);
    }

    /// Handles a message. Only answers to the fetch in flight mean something.
    pub fn peer(
        &mut self,
        cx: &Cx,
        from: NodeId,
        msg: QuorumMsg,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let QuorumMsg::FetchReply { epoch, leader, id, body } = msg else { return };
        if self.fetch != (Fetch::Sent { to: from, id }) {
            return;
        }
        let news = match body {
            FetchBody::Refused if leader == Some(from) && epoch >= self.last_epoch => {
                self.follow(epoch, from)
            }
            FetchBody::Refused | FetchBody::Entries { .. } | FetchBody::Diverging { .. } => {
                self.learn(epoch, leader)
            }
        };
        match body {
            FetchBody::Entries { entries, high_watermark } => {
                assert_eq!(epoch, self.epoch, "a fetch was served in an epoch not asked for");
                self.take(entries, high_watermark, out, events);
                self.send(out);
            }
            FetchBody::Diverging { epoch, end_offset } => panic!(
                "committed entries are gone: {from} ends {epoch:?} at {end_offset}, {} has {}, \
                {:?}",
                self.node, self.next_offset, self.last_epoch
            ),
            FetchBody::Refused if news => self.send(out),
            FetchBody::Refused => {
                // It leads no more, or not yet, or knows less than we do.
                self.leader = self.leader.filter(|leader| *leader != from);
                self.fetch = Fetch::BackingOff;
                out.arm(TimerKey::Observe, refused_backoff(cx.entropy));
            }
        }
    }

    /// Handles [`TimerKey::Observe`]: gives an unanswered fetch up, and asks the next one.
    pub fn timer(&mut self, _cx: &Cx, out: &mut Outbox<Effect>) {
        match self.fetch {
            Fetch::Down => {}
            Fetch::Sent { to, .. } => {
                self.leader = self.leader.filter(|leader| *leader != to);
                self.send(out);
            }
            Fetch::BackingOff => self.send(out),
        }
    }

    /// The leader and its epoch, as far as known.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, QuorumEpoch)> {
        self.leader.map(|leader| (leader, self.epoch))
    }

    /// The offset of the next entry to be handed on.
    #[must_use]
    pub fn next_offset(&self) -> MetaOffset {
        self.next_offset
    }

    /// Takes up a newer epoch, or the leader of this one. Whether that was news.
    fn learn(&mut self, epoch: QuorumEpoch, leader: Option<NodeId>) -> bool {
        let before = (self.epoch, self.leader);
        if epoch > self.epoch {
            (self.epoch, self.leader) = (epoch, leader);
        } else if epoch == self.epoch && self.leader.is_none() {
            self.leader = leader;
        }
        self.leader.is_some() && before != (self.epoch, self.leader)
    }

    /// Follows the one who says that it leads, be it in an earlier epoch than we know: a later one
    /// that somebody stands for in vain, and no voter ever takes up, must not shut us out. Whoever
    /// leads, it serves committed entries only; but who leads in an earlier epoch than that of an
    /// entry we hold is deposed, and may lack it. Whether that was news.
    fn follow(&mut self, epoch: QuorumEpoch, leader: NodeId) -> bool {
        let before = (self.epoch, self.leader);
        (self.epoch, self.leader) = (epoch, Some(leader));
        before != (self.epoch, self.leader)
    }

    fn take(
        &mut self,
        entries: Vec<Entry>,
        high_watermark: MetaOffset,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        for entry in entries {
            let offset = self.next_offset;
            if offset >= high_watermark {
                return;
            }
            self.prefix = prefix_digest(self.prefix, offset, &entry);
            self.last_epoch = entry.epoch;
            self.next_offset = offset.next();
            out.probe(Probe::QuorumCommitted { offset, epoch: entry.epoch, prefix: self.prefix });
            events.push(QuorumEvent::Committed { offset, entry });
        }
    }

    fn send(&mut self, out: &mut Outbox<Effect>) {
        let to = self.leader.unwrap_or_else(|| {
            self.last_tried = (self.last_tried + 1) % self.voters.len();
            self.voters[self.last_tried]
        });
        let id = fetch_id(self.incarnation, self.fetches_sent);
        self.fetches_sent += 1;
        self.fetch = Fetch::Sent { to, id };
        let msg = PeerMsg::Quorum(QuorumMsg::Fetch {
            epoch: self.epoch,
            fetch_offset: self.next_offset,
            last_fetched_epoch: self.last_epoch,
            high_watermark: self.next_offset,
            id,
        });
        out.push(Effect::Send { to, msg });
        out.arm(TimerKey::Observe, FETCH_RETRY);
    }
}
