//! A voter in a vice: node 1 of voters 1, 2, 3, its device in memory, what it says kept in lists.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch};
use crate::peer::{FetchBody, PeerMsg, QuorumMsg};
use crate::probe::Probe;
use crate::quorum::format::{ElectionState, encode_frame, encode_state};
use crate::quorum::{Entry, Payload, Quorum, QuorumEvent, Role};
use crate::step::{Cx, Effect, LogOp, LogResult, Outbox, QuorumTimer, TimerKey, Tok};
use crate::time::{Dur, Mono, Wall};

pub(super) fn cx() -> Cx {
    Cx { mono: Mono(0), wall: Wall(0), entropy: 7, mutants: Default::default() }
}

pub(super) fn at(offset: u64) -> MetaOffset {
    MetaOffset(offset)
}

pub(super) fn epoch(epoch: u32) -> QuorumEpoch {
    QuorumEpoch(epoch)
}

pub(super) fn entry(of: u32) -> Entry {
    Entry { epoch: epoch(of), payload: Payload::Batch(Bytes::from_static(b"batch")) }
}

pub(super) fn state(of: u32, leader: Option<u16>, voted: Option<u16>) -> ElectionState {
    ElectionState { epoch: epoch(of), leader: leader.map(NodeId), voted: voted.map(NodeId) }
}

pub(super) struct Rig {
    pub(super) quorum: Quorum,
    pub(super) sent: Vec<(NodeId, QuorumMsg)>,
    pub(super) probes: Vec<Probe>,
    pub(super) events: Vec<QuorumEvent>,
    pub(super) timers: BTreeMap<TimerKey, Dur>,
    /// Operations on the device not yet done.
    pub(super) device: VecDeque<(Tok, LogOp)>,
    pub(super) halted: bool,
    /// What the wall clock shows when a message comes.
    pub(super) wall: Wall,
    log: Vec<u8>,
    state: Bytes,
}

impl Rig {
    /// A voter booted on a device with this state and entries of these epochs, and settled.
    pub(super) fn boot(state: ElectionState, log_epochs: &[u32]) -> Self {
        let mut log = Vec::new();
        for (offset, of) in log_epochs.iter().enumerate() {
            encode_frame(MetaOffset(offset as u64), &entry(*of), &mut log);
        }
        let mut rig = Self::on_device(&[1, 2, 3], log, encode_state(&state));
        rig.settle();
        rig
    }

    pub(super) fn on_device(voters: &[u16], log: Vec<u8>, state: Bytes) -> Self {
        let voters = voters.iter().copied().map(NodeId).collect();
        let mut rig = Self {
            quorum: Quorum::new(NodeId(1), voters),
            sent: Vec::new(),
            probes: Vec::new(),
            events: Vec::new(),
            timers: BTreeMap::new(),
            device: VecDeque::new(),
            halted: false,
            wall: Wall(0),
            log,
            state,
        };
        rig.act(|quorum, out, _| quorum.boot(&cx(), Incarnation(1), out));
        rig
    }

    /// Follows node 2 in `of` with entries of these epochs, after one successful empty fetch if
    /// `fetched`.
    pub(super) fn follower(of: u32, log_epochs: &[u32], fetched: bool) -> Self {
        let mut rig = Self::boot(state(of, Some(2), None), log_epochs);
        if fetched {
            rig.answer_fetch(Vec::new(), 0);
        }
        rig
    }

    /// Leads `of` behind entries of these epochs; nothing of its own is flushed beyond its first.
    pub(super) fn leader(of: u32, log_epochs: &[u32]) -> Self {
        let mut rig = Self::boot(state(of, None, Some(1)), log_epochs);
        rig.peer(2, vote_reply(of, of, true, false));
        rig.settle();
        assert_eq!(rig.quorum.role(), Role::Leader);
        rig.sent.clear();
        rig
    }

    pub(super) fn prospective(of: u32, leader: Option<u16>, log_epochs: &[u32]) -> Self {
        let mut rig = Self::boot(state(of, leader, None), log_epochs);
        let timer = match leader {
            Some(_) => QuorumTimer::FetchTimeout,
            None => QuorumTimer::Election,
        };
        rig.fire(timer);
        assert_eq!(rig.quorum.role(), Role::Prospective);
        rig
    }

    /// Gives the follower's fetch in flight an answer of its leader.
    pub(super) fn answer_fetch(&mut self, entries: Vec<Entry>, high_watermark: u64) {
        self.answer(FetchBody::Entries { entries, high_watermark: at(high_watermark) });
    }

    pub(super) fn answer(&mut self, body: FetchBody) {
        let id = self.last_fetch_id();
        let (epoch, leader) = (self.quorum.epoch(), self.quorum.leader());
        let from = leader.expect("a leader").0;
        self.peer(from, QuorumMsg::FetchReply { epoch, leader, id, body });
        self.settle();
    }

    pub(super) fn last_fetch_id(&self) -> u64 {
        let id = |(_, msg): &(NodeId, QuorumMsg)| match msg {
            QuorumMsg::Fetch { id, .. } => Some(*id),
            QuorumMsg::Vote { .. }
            | QuorumMsg::VoteReply { .. }
            | QuorumMsg::BeginEpoch { .. }
            | QuorumMsg::BeginEpochReply { .. }
            | QuorumMsg::EndEpoch { .. }
            | QuorumMsg::FetchReply { .. } => None,
        };
        self.sent.iter().rev().find_map(id).expect("a fetch was sent")
    }

    pub(super) fn peer(&mut self, from: u16, msg: QuorumMsg) {
        let cx = Cx { wall: self.wall, ..cx() };
        self.act(|quorum, out, events| quorum.peer(&cx, NodeId(from), msg, out, events));
    }

    pub(super) fn fire(&mut self, timer: QuorumTimer) {
        self.timers.remove(&TimerKey::Quorum(timer));
        self.act(|quorum, out, events| quorum.timer(&cx(), timer, out, events));
        self.settle();
    }

    pub(super) fn propose(&mut self) -> Option<MetaOffset> {
        let mut offset = None;
        self.act(|quorum, out, _| offset = quorum.propose(&cx(), Bytes::from_static(b"b"), out));
        offset
    }

    /// A fetch by `from` in the voter's epoch, and the answer if there is one at once.
    pub(super) fn fetch(&mut self, from: u16, offset: u64, last: u32) -> Option<FetchBody> {
        let asked = self.quorum.epoch();
        self.fetch_in(from, asked, offset, last)
    }

    pub(super) fn fetch_in(
        &mut self,
        from: u16,
        asked: QuorumEpoch,
        offset: u64,
        last: u32,
    ) -> Option<FetchBody> {
        self.sent.clear();
        let high_watermark = self.quorum.high_watermark();
        self.peer(
            from,
            QuorumMsg::Fetch {
                epoch: asked,
                fetch_offset: at(offset),
                last_fetched_epoch: epoch(last),
                high_watermark,
                id: 1,
            },
        );
        match self.sent.pop() {
            Some((_, QuorumMsg::FetchReply { body, .. })) => Some(body),
            _ => None,
        }
    }

    /// Completes all operations on the device, in order.
    pub(super) fn settle(&mut self) {
        while self.device_step() {}
    }

    /// Completes the first operation on the device. Whether there was one.
    pub(super) fn device_step(&mut self) -> bool {
        let Some((tok, op)) = self.device.pop_front() else { return false };
        let result = match op {
            LogOp::Load => LogResult::Loaded {
                log: Bytes::copy_from_slice(&self.log),
                state: self.state.clone(),
            },
            LogOp::Append { bytes } => {
                self.log.extend_from_slice(&bytes);
                return true;
            }
            LogOp::Sync => LogResult::Durable { end: self.log.len() as u64 },
            LogOp::Truncate { end } => {
                self.log.truncate(end as usize);
                LogResult::Durable { end }
            }
            LogOp::WriteState { bytes } => {
                self.state = bytes;
                LogResult::StateDurable
            }
        };
        self.log_done(tok, result);
        true
    }

    pub(super) fn log_done(&mut self, tok: Tok, result: LogResult) {
        self.act(|quorum, out, events| quorum.log_done(&cx(), tok, result, out, events));
    }

    pub(super) fn act(
        &mut self,
        act: impl FnOnce(&mut Quorum, &mut Outbox<Effect>, &mut Vec<QuorumEvent>),
    ) {
        let mut out = Outbox::default();
        act(&mut self.quorum, &mut out, &mut self.events);
        for effect in out.drain() {
            match effect {
                Effect::Send { to, msg: PeerMsg::Quorum(msg) } => self.sent.push((to, msg)),
                Effect::Log(tok, op) => self.device.push_back((tok, op)),
                Effect::Arm { key, after } => drop(self.timers.insert(key, after)),
                Effect::Disarm(key) => drop(self.timers.remove(&key)),
                Effect::Probe(probe) => self.probes.push(probe),
                Effect::Halt(_) => self.halted = true,
                other => panic!("not the quorum's business: {other:?}"),
            }
        }
    }

    pub(super) fn timer(&self, timer: QuorumTimer) -> Option<Dur> {
        self.timers.get(&TimerKey::Quorum(timer)).copied()
    }
}

pub(super) fn vote(of: u32, last_epoch: u32, end: u64, pre_vote: bool) -> QuorumMsg {
    let (last_epoch, end_offset) = (epoch(last_epoch), at(end));
    QuorumMsg::Vote { epoch: epoch(of), last_epoch, end_offset, pre_vote }
}

pub(super) fn vote_reply(of: u32, asked: u32, granted: bool, pre_vote: bool) -> QuorumMsg {
    let (epoch, asked_epoch) = (epoch(of), epoch(asked));
    QuorumMsg::VoteReply { epoch, asked_epoch, leader: None, granted, pre_vote }
}
