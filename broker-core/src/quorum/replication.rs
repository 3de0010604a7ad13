//! The log: batches in, fetches answered and sent, the high watermark, what is committed.
//!
//! Sources: KIP-595 (Fetch with diverging epochs), KIP-1166 (the fetcher says its high watermark);
//! `KafkaRaftClient`, `LeaderState`, `ReplicatedLog`. Durability is [`super::device`]'s.

use alloc::vec::Vec;

use bytes::Bytes;

use super::election::VoteAsked;
use super::roles::Heard;
use super::state::{Asked, Leader, Pull, RoleState};
use super::timing::{
    CHECK_QUORUM, FETCH_BYTES_MAX, FETCH_ENTRIES_MAX, FETCH_RETRY, FETCH_TIMEOUT, FETCH_WAIT_MAX,
    LINGER, UNCOMMITTED_MAX, refused_backoff,
};
use super::{Entry, Payload, Quorum, QuorumEvent, fetch_id};
use crate::ids::{MetaOffset, NodeId, QuorumEpoch};
use crate::mutants::Mutant;
use crate::peer::{FetchBody, QuorumMsg};
use crate::probe::Probe;
use crate::step::{Cx, Effect, Outbox, QuorumTimer};

/// What a fetch request says.
#[derive(Clone, Copy)]
struct FetchAsked {
    epoch: QuorumEpoch,
    last_fetched_epoch: QuorumEpoch,
    asked: Asked,
}

/// What a fetch answer says, apart from the leader.
struct FetchAnswer {
    from: NodeId,
    epoch: QuorumEpoch,
    id: u64,
    body: FetchBody,
}

impl Quorum {
    /// Handles a message that has waited its turn.
    pub(super) fn handle(
        &mut self,
        cx: &Cx,
        from: NodeId,
        msg: QuorumMsg,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        match msg {
            QuorumMsg::Vote { epoch, last_epoch, end_offset, pre_vote } => {
                let asked = VoteAsked { epoch, last_epoch, end_offset, pre_vote };
                self.on_vote(cx, from, asked, out, events);
            }
            QuorumMsg::VoteReply { epoch, asked_epoch, leader, granted, pre_vote } => {
                self.learn(Heard { epoch, leader }, out, events);
                self.on_vote_reply(cx, from, asked_epoch, (granted, pre_vote), out, events);
            }
            QuorumMsg::BeginEpoch { epoch } => self.on_begin_epoch(from, epoch, out, events),
            QuorumMsg::BeginEpochReply { epoch } => {
                self.learn(Heard { epoch, leader: None }, out, events);
            }
            QuorumMsg::EndEpoch { epoch, preferred_successors } => {
                self.on_end_epoch(from, epoch, preferred_successors, out, events);
            }
            QuorumMsg::Fetch { epoch, fetch_offset, last_fetched_epoch, high_watermark, id } => {
                let asked = Asked { fetch_offset, high_watermark, id };
                self.on_fetch(
                    cx,
                    from,
                    FetchAsked { epoch, last_fetched_epoch, asked },
                    out,
                    events,
                );
            }
            QuorumMsg::FetchReply { epoch, leader, id, body } => {
                self.learn(Heard { epoch, leader }, out, events);
                self.on_fetch_reply(cx, FetchAnswer { from, epoch, id, body }, out, events);
            }
        }
    }

    pub(super) fn append_batch(
        &mut self,
        batch: Bytes,
        out: &mut Outbox<Effect>,
    ) -> Option<MetaOffset> {
        let (offset, epoch) = (self.log.end(), self.election.epoch);
        if !self.is_active() || offset.0 - self.high_watermark.0 >= UNCOMMITTED_MAX {
            return None;
        }
        self.append(Vec::from([Entry { epoch, payload: Payload::Batch(batch) }]), out);
        if let RoleState::Leader(leader) = &mut self.role
            && !core::mem::replace(&mut leader.lingering, true)
        {
            self.arm(QuorumTimer::Linger, LINGER, out);
        }
        Some(offset)
    }

    /// Flushes what was gathered, and sends it to those that wait for it, side by side.
    pub(super) fn on_linger(&mut self, out: &mut Outbox<Effect>) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        leader.lingering = false;
        self.flush(out);
        self.answer_parked(false, out);
    }

    /// The fetch timer: a leader's waiting fetches have waited enough, a follower asks (again).
    pub(super) fn on_fetch_timer(&mut self, out: &mut Outbox<Effect>) {
        match &mut self.role {
            RoleState::Leader(_) => {
                self.answer_parked(true, out);
                self.arm(QuorumTimer::Fetch, FETCH_WAIT_MAX, out);
            }
            RoleState::Follower(follower) => follower.pull = Pull::Due,
            RoleState::Unattached
            | RoleState::Prospective(_)
            | RoleState::Candidate(_)
            | RoleState::Resigned { .. } => {}
        }
    }

    fn on_fetch(
        &mut self,
        cx: &Cx,
        from: NodeId,
        fetch: FetchAsked,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let FetchAsked { epoch, last_fetched_epoch, asked } = fetch;
        if epoch != self.election.epoch || !self.is_active() {
            return self.reply(from, asked.id, FetchBody::Refused, out);
        }
        if cx.mutants.on(Mutant::QuorumFetchUnvalidated) {
            let end = asked.fetch_offset.min(self.log.end());
            self.note_replica(cx, from, end, out, events);
        }
        if let Some(diverging) = self.divergence(asked.fetch_offset, last_fetched_epoch) {
            return self.reply(from, asked.id, diverging, out);
        }
        if let RoleState::Leader(leader) = &mut self.role {
            let fetches = leader.fetches.entry(from).or_default();
            fetches.note(cx.wall, asked.fetch_offset, self.log.end());
        }
        self.note_replica(cx, from, asked.fetch_offset, out, events);
        if self.has_news(from, &asked) {
            return self.answer(from, &asked, out);
        }
        if let RoleState::Leader(leader) = &mut self.role {
            let parked = leader.parked.entry(from).or_insert(asked);
            // Messages overtake one another; the fetcher waits for the answer to its last one.
            if parked.id < asked.id {
                *parked = asked;
            }
        }
    }

    /// Where the fetcher's log leaves this one, if it does (`validateOffsetAndEpoch`).
    fn divergence(&self, offset: MetaOffset, epoch: QuorumEpoch) -> Option<FetchBody> {
        if offset == self.log.start() {
            return None;
        }
        let (known, end_offset) = self.log.end_offset_for_epoch(epoch);
        let diverging = known != epoch || end_offset < offset;
        diverging.then_some(FetchBody::Diverging { epoch: known, end_offset })
    }

    /// Takes a voter's word that all before `end` is durable there. Observers have no say.
    fn note_replica(
        &mut self,
        cx: &Cx,
        from: NodeId,
        end: MetaOffset,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let needed = self.majority() - 1;
        let RoleState::Leader(leader) = &mut self.role else { return };
        let Some(replica) = leader.replicas.get_mut(&from) else { return };
        replica.fetched = true;
        // A late fetch does not take back what an earlier one said, a restarted voter does not lose
        // what it had made durable.
        let raised = replica.end < Some(end);
        replica.end = replica.end.max(Some(end));
        leader.fetched.insert(from);
        let satisfied = leader.fetched.len() >= needed;
        if satisfied {
            leader.fetched.clear();
        }
        out.probe(Probe::QuorumFetchServed { from, fetch_offset: end });
        if satisfied {
            self.arm(QuorumTimer::CheckQuorum, CHECK_QUORUM, out);
        }
        if raised {
            self.advance_high_watermark(cx, out, events);
        }
    }

    /// Raises the leader's high watermark to what a majority has durable, if that includes an entry
    /// of its own epoch: entries of earlier ones are safe only below such an entry.
    pub(super) fn advance_high_watermark(
        &mut self,
        cx: &Cx,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let RoleState::Leader(Leader { epoch_start: Some(epoch_start), replicas, .. }) = &self.role
        else {
            return;
        };
        let durable = |voter: &NodeId| match replicas.get(voter) {
            Some(replica) => replica.end.unwrap_or(self.log.start()),
            None => self.log.flushed_end(),
        };
        let mut ends: Vec<_> = self.voters.iter().map(durable).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        let majority_end = ends[ends.len() / 2];
        let own_epoch = if cx.mutants.on(Mutant::QuorumHwPriorEpoch) {
            majority_end >= *epoch_start
        } else {
            majority_end > *epoch_start
        };
        if own_epoch && majority_end > self.high_watermark {
            self.commit(majority_end, Some(self.election.epoch), out, events);
            self.answer_parked(false, out);
        }
    }

    /// Raises the high watermark and hands on what is below it.
    fn commit(
        &mut self,
        to: MetaOffset,
        leader_of: Option<QuorumEpoch>,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let entry_epoch = self.log.epoch_before(to);
        out.probe(Probe::QuorumHighWatermark { high_watermark: to, entry_epoch, leader_of });
        for offset in (self.high_watermark.0..to.0).map(MetaOffset) {
            let entry = self.log.entry(offset).expect("committed entries are in the log").clone();
            let prefix = self.log.prefix(offset).expect("committed entries are in the log");
            out.probe(Probe::QuorumCommitted { offset, epoch: entry.epoch, prefix });
            events.push(QuorumEvent::Committed { offset, entry });
        }
        self.high_watermark = to;
    }

    /// How far this fetcher may read: observers get committed entries only.
    fn readable_end(&self, fetcher: NodeId) -> MetaOffset {
        if self.voters.contains(&fetcher) { self.log.end() } else { self.high_watermark }
    }

    fn has_news(&self, from: NodeId, asked: &Asked) -> bool {
        asked.fetch_offset < self.readable_end(from) || asked.high_watermark < self.high_watermark
    }

    /// Answers the waiting fetches for which there is something new, or all of them if `overdue`.
    fn answer_parked(&mut self, overdue: bool, out: &mut Outbox<Effect>) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let mut waiting = core::mem::take(&mut leader.parked);
        waiting.retain(|from, asked| {
            let due = overdue || self.has_news(*from, asked);
            if due {
                self.answer(*from, asked, out);
            }
            !due
        });
        if let RoleState::Leader(leader) = &mut self.role {
            leader.parked = waiting;
        }
    }

    fn answer(&self, to: NodeId, asked: &Asked, out: &mut Outbox<Effect>) {
        let end = self.readable_end(to);
        let entries = self.log.read(asked.fetch_offset, end, FETCH_ENTRIES_MAX, FETCH_BYTES_MAX);
        let high_watermark = self.high_watermark;
        self.reply(to, asked.id, FetchBody::Entries { entries, high_watermark }, out);
    }

    fn reply(&self, to: NodeId, id: u64, body: FetchBody, out: &mut Outbox<Effect>) {
        // One that resigned names nobody: it is not to be fetched from.
        let resigned = matches!(self.role, RoleState::Resigned { .. });
        let leader = self.election.leader.filter(|_| !resigned);
        let epoch = self.election.epoch;
        self.send(to, QuorumMsg::FetchReply { epoch, leader, id, body }, out);
    }

    /// Sends the next fetch if this node follows, it is due, and all of the log is durable.
    pub(super) fn pull(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let (flushed, clean) = (self.log.flushed_end(), self.device.is_clean());
        let RoleState::Follower(follower) = &mut self.role else { return };
        if follower.pull != Pull::Due {
            return;
        }
        let fetch_offset = if cx.mutants.on(Mutant::QuorumAckBeforeFsync) {
            self.log.end()
        } else if clean && flushed == self.log.end() {
            flushed
        } else {
            return;
        };
        let id = fetch_id(self.incarnation, self.fetches_sent);
        self.fetches_sent += 1;
        follower.pull = Pull::Sent { id, fetch_offset };
        let epoch = self.election.epoch;
        let last_fetched_epoch = if cx.mutants.on(Mutant::QuorumTruncateSkipped) {
            epoch
        } else {
            self.log.epoch_before(fetch_offset)
        };
        let high_watermark = self.high_watermark;
        let leader = self.election.leader.expect("a follower has a leader");
        out.probe(Probe::QuorumFetchSent { fetch_offset });
        let fetch =
            QuorumMsg::Fetch { epoch, fetch_offset, last_fetched_epoch, high_watermark, id };
        self.send(leader, fetch, out);
        self.arm(QuorumTimer::Fetch, FETCH_RETRY, out);
    }

    fn on_fetch_reply(
        &mut self,
        cx: &Cx,
        answer: FetchAnswer,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let FetchAnswer { from, epoch, id, body } = answer;
        let awaited = epoch == self.election.epoch && Some(from) == self.election.leader;
        let RoleState::Follower(follower) = &mut self.role else { return };
        let Pull::Sent { id: sent, fetch_offset } = follower.pull else { return };
        if !awaited || sent != id {
            return;
        }
        match body {
            FetchBody::Entries { mut entries, high_watermark } => {
                assert_eq!(fetch_offset, self.log.end(), "the log moved under a fetch");
                if cx.mutants.on(Mutant::QuorumTruncateSkipped) {
                    // Behind a kept part of a later epoch: no assertion is to find the bug first.
                    let least = self.log.last_epoch();
                    entries.iter_mut().for_each(|entry| entry.epoch = entry.epoch.max(least));
                }
                follower.fetched = true;
                follower.pull = Pull::Due;
                self.arm(QuorumTimer::FetchTimeout, FETCH_TIMEOUT, out);
                self.append(entries, out);
                self.flush(out);
                let committed = high_watermark.min(self.log.end());
                if committed > self.high_watermark {
                    self.commit(committed, None, out, events);
                }
            }
            FetchBody::Diverging { epoch, end_offset } => {
                if cx.mutants.on(Mutant::QuorumTruncateSkipped) {
                    follower.pull = Pull::BackingOff;
                    return self.arm(QuorumTimer::Fetch, refused_backoff(cx.entropy), out);
                }
                follower.pull = Pull::Due;
                self.arm(QuorumTimer::FetchTimeout, FETCH_TIMEOUT, out);
                let (known, end) = self.log.end_offset_for_epoch(epoch);
                let to = if known == epoch { end.min(end_offset) } else { end };
                assert!(to < self.log.end(), "{to} is no cut of a log that ends at {fetch_offset}");
                self.truncate(to, out);
            }
            FetchBody::Refused => {
                follower.pull = Pull::BackingOff;
                self.arm(QuorumTimer::Fetch, refused_backoff(cx.entropy), out);
            }
        }
    }
}
