//! The metadata quorum: KRaft's pull-based Raft (KIP-595, KIP-996) as a pure state machine.
//!
//! A [`Quorum`] is one voter: it elects, replicates and tells the machine above what is committed.
//! What the entries mean is [`crate::metadata`]'s; brokers follow the log with an [`Observer`].
//!
//! One rule keeps "durable before visible" simple, and it is KRaft's: epoch, leader and vote are
//! changed in memory, then written to the state file, and until that is durable the voter neither
//! sends nor handles anything. The message that caused the change is handled again afterwards,
//! finds nothing left to change, and is answered.
//!
//! Not here yet: snapshots (the log has a start) and changes of the voters (they are a value).

mod describe;
mod device;
mod election;
pub mod format;
mod log;
mod numbers;
mod observer;
mod replication;
mod roles;
mod state;
#[cfg(test)]
mod tests;
pub mod timing;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use describe::OBSERVER_SESSION;
pub use observer::Observer;

use self::device::{Device, Phase};
use self::format::ElectionState;
use self::log::Log;
use self::state::{RoleState, Work};
use self::timing::INBOX_MAX;
use crate::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch};
use crate::peer::{PeerMsg, QuorumMsg};
use crate::step::{Cx, Effect, Flow, LogResult, Outbox, QuorumTimer, Tok};

/// A voter's state (KIP-595, KIP-996).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Knows an epoch, perhaps a leader, may have voted.
    Unattached,
    /// Asks for pre-votes.
    Prospective,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Gave up leading; stays in its epoch until the election timeout.
    Resigned,
    /// Fetches from a leader.
    Follower,
}

/// An entry of the metadata log.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch of the leader that appended it.
    pub epoch: QuorumEpoch,
    /// What it holds.
    pub payload: Payload,
}

/// What an entry holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Payload {
    /// A leader's first entry (Kafka's LeaderChangeMessage).
    LeaderChange {
        /// The leader.
        leader: NodeId,
        /// The voters.
        voters: Vec<NodeId>,
    },
    /// One atomic batch of records, encoded by [`crate::metadata::record`].
    Batch(Bytes),
}

/// What the quorum tells the state machine on top of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum QuorumEvent {
    /// This node leads; its own log is the newest, but not all of it is committed yet.
    BecameLeader {
        /// The epoch.
        epoch: QuorumEpoch,
    },
    /// This node leads no more; entries it proposed and not seen committed are in doubt.
    LostLeadership {
        /// The epoch.
        epoch: QuorumEpoch,
    },
    /// An entry is committed; they come in order, each once per boot.
    Committed {
        /// Its offset.
        offset: MetaOffset,
        /// The entry.
        entry: Entry,
    },
}

/// A voter.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Quorum {
    node: NodeId,
    voters: Vec<NodeId>,
    incarnation: Incarnation,
    phase: Phase,
    device: Device,
    log: Log,
    /// In memory; the state file may be behind, and then nothing goes out.
    election: ElectionState,
    role: RoleState,
    /// The role is new and its first actions are still to be done, once it is durable.
    entering: bool,
    /// All before it is committed.
    high_watermark: MetaOffset,
    inbox: VecDeque<Work>,
    election_armed: bool,
    /// Elections tried since a leader was last known, for the backoff.
    elections_tried: u32,
    fetches_sent: u64,
}

/// Names a fetch: different for each of a node, over all its processes (up to 2^24 of them).
fn fetch_id(incarnation: Incarnation, sent: u64) -> u64 {
    u64::from(incarnation.0) << 40 | sent
}

impl Quorum {
    /// A voter that is not booted.
    #[must_use]
    pub fn new(node: NodeId, voters: Vec<NodeId>) -> Self {
        Self {
            node,
            voters,
            incarnation: Incarnation(0),
            phase: Phase::Down,
            device: Device::default(),
            log: Log::default(),
            election: ElectionState::default(),
            role: RoleState::Unattached,
            entering: false,
            high_watermark: MetaOffset(0),
            inbox: VecDeque::new(),
            election_armed: false,
            elections_tried: 0,
            fetches_sent: 0,
        }
    }

    /// Starts the process; everything else is read from the device.
    pub fn boot(&mut self, _cx: &Cx, incarnation: Incarnation, out: &mut Outbox<Effect>) {
        *self = Self::new(self.node, core::mem::take(&mut self.voters));
        self.incarnation = incarnation;
        self.load(out);
    }

    /// Handles a message.
    pub fn peer(
        &mut self,
        cx: &Cx,
        from: NodeId,
        msg: QuorumMsg,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        // Whoever does not listen yet, or has no room, loses messages as a socket would.
        if self.is_loaded() && self.inbox.len() < INBOX_MAX {
            self.inbox.push_back(Work::Peer { from, msg });
            self.drive(cx, out, events);
        }
    }

    /// Handles a completion of the log device.
    pub fn log_done(
        &mut self,
        cx: &Cx,
        tok: Tok,
        result: LogResult,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let ours = tok.incarnation == self.incarnation && tok.flow == Flow::Quorum;
        if ours && self.phase != Phase::Halted {
            self.on_log_done(cx, tok.seq, result, out, events);
            self.drive(cx, out, events);
        }
    }

    /// Handles a timer that fired.
    pub fn timer(
        &mut self,
        cx: &Cx,
        timer: QuorumTimer,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if self.is_loaded() {
            self.inbox.push_back(Work::Timer(timer));
            self.drive(cx, out, events);
        }
    }

    /// Appends a batch if this node leads. `None` if it does not, or has too much in doubt already.
    /// That the batch is committed is said by an event, or never.
    pub fn propose(
        &mut self,
        _cx: &Cx,
        batch: Bytes,
        out: &mut Outbox<Effect>,
    ) -> Option<MetaOffset> {
        self.append_batch(batch, out)
    }

    /// Gives leadership up, if this node has it, and asks the others to elect (for a shutdown).
    pub fn resign(&mut self, cx: &Cx, out: &mut Outbox<Effect>, events: &mut Vec<QuorumEvent>) {
        if self.is_loaded() && matches!(self.role, RoleState::Leader(_)) {
            self.become_resigned(false, out, events);
            self.drive(cx, out, events);
        }
    }

    /// The role. Its duties begin when the state file says so: see [`Quorum::is_active`].
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.name()
    }

    /// Whether this node is in office as leader: it may propose.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.role, RoleState::Leader(_)) && !self.entering && self.is_loaded()
    }

    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> QuorumEpoch {
        self.election.epoch
    }

    /// The leader of the epoch, if known.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.election.leader
    }

    /// The exclusive end of the log.
    #[must_use]
    pub fn end_offset(&self) -> MetaOffset {
        self.log.end()
    }

    /// The exclusive end of what is known to be durable here.
    #[must_use]
    pub fn flushed_end(&self) -> MetaOffset {
        self.log.flushed_end()
    }

    /// The exclusive end of what is known to be committed.
    #[must_use]
    pub fn high_watermark(&self) -> MetaOffset {
        self.high_watermark
    }

    /// An entry, if the log has it.
    #[must_use]
    pub fn entry(&self, offset: MetaOffset) -> Option<&Entry> {
        self.log.entry(offset)
    }

    /// An entry's epoch, if the log has it.
    #[must_use]
    pub fn entry_epoch(&self, offset: MetaOffset) -> Option<QuorumEpoch> {
        self.log.entry(offset).map(|entry| entry.epoch)
    }

    /// Digest of the log up to and with this entry.
    #[must_use]
    pub fn prefix(&self, offset: MetaOffset) -> Option<u64> {
        self.log.prefix(offset)
    }

    /// Where this entry's frame ends on the device, in bytes.
    #[must_use]
    pub fn byte_end(&self, offset: MetaOffset) -> Option<u64> {
        self.log.byte_end(offset)
    }

    /// The voters.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Whether the device was read and the process goes on.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Does what can be done: writes the state file if it is behind; only while it is not, enters
    /// the new role and handles what waits.
    fn drive(&mut self, cx: &Cx, out: &mut Outbox<Effect>, events: &mut Vec<QuorumEvent>) {
        while self.is_loaded() && !self.device.is_writing() {
            if !self.device.holds(&self.election) {
                self.write_state(cx, out);
            } else if self.entering {
                self.entering = false;
                self.enter(cx, out, events);
            } else {
                match self.inbox.pop_front() {
                    Some(Work::Peer { from, msg }) => self.handle(cx, from, msg, out, events),
                    Some(Work::Timer(timer)) => self.fire(cx, timer, out, events),
                    None => return self.pull(cx, out),
                }
            }
        }
    }

    /// Whether what this step changed is on the device, so that it may be shown.
    fn is_settled(&self) -> bool {
        self.device.holds(&self.election)
    }

    fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.voters.iter().copied().filter(|voter| *voter != self.node)
    }

    fn send(&self, to: NodeId, msg: QuorumMsg, out: &mut Outbox<Effect>) {
        out.push(Effect::Send { to, msg: PeerMsg::Quorum(msg) });
    }
}
