//! Pre-votes, votes, and how an epoch is announced and ended: the messages of an election.
//!
//! Sources: KIP-595 and KIP-996; `KafkaRaftClient`, `EpochElection`. Which role follows is
//! [`super::roles`]'s.

use alloc::vec::Vec;

use super::format::ElectionState;
use super::roles::Heard;
use super::state::{Ballot, RoleState, Work};
use super::timing::{VOTE_RETRY, election_timeout, lost_election_backoff, successor_backoff};
use super::{Quorum, QuorumEvent};
use crate::ids::{MetaOffset, NodeId, QuorumEpoch};
use crate::peer::QuorumMsg;
use crate::probe::Probe;
use crate::step::{Cx, Effect, Outbox, QuorumTimer};
use crate::time::Dur;

/// What a vote request says.
#[derive(Clone, Copy)]
pub(super) struct VoteAsked {
    pub(super) epoch: QuorumEpoch,
    pub(super) last_epoch: QuorumEpoch,
    pub(super) end_offset: MetaOffset,
    pub(super) pre_vote: bool,
}

impl VoteAsked {
    /// A candidate's log is of earlier epochs than the one it stands for; a prospective one may
    /// have entries of the epoch it is still in.
    fn is_valid(self) -> bool {
        if self.pre_vote { self.last_epoch <= self.epoch } else { self.last_epoch < self.epoch }
    }
}

impl Quorum {
    pub(super) fn on_vote(
        &mut self,
        cx: &Cx,
        from: NodeId,
        asked: VoteAsked,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if !self.voters.contains(&from) || !asked.is_valid() {
            return;
        }
        let VoteAsked { epoch, pre_vote, .. } = asked;
        self.learn(Heard { epoch, leader: None }, out, events);
        let granted = epoch == self.election.epoch && self.would_vote(from, asked);
        if granted && !pre_vote {
            self.election.voted = Some(from);
        }
        if !self.is_settled() {
            let VoteAsked { last_epoch, end_offset, .. } = asked;
            return self.again(from, QuorumMsg::Vote { epoch, last_epoch, end_offset, pre_vote });
        }
        if granted && !pre_vote {
            out.probe(Probe::QuorumVoted { epoch, candidate: from });
            if !matches!(self.role, RoleState::Follower(_)) {
                // The candidate gets its time before this voter stands itself.
                self.arm_election(election_timeout(cx.entropy), out);
            }
        }
        let ElectionState { epoch: my_epoch, leader, .. } = self.election;
        let reply =
            QuorumMsg::VoteReply { epoch: my_epoch, asked_epoch: epoch, leader, granted, pre_vote };
        self.send(from, reply, out);
    }

    /// Whether a request of this voter's own epoch gets its vote.
    fn would_vote(&self, from: NodeId, asked: VoteAsked) -> bool {
        let mine = (self.log.last_epoch(), self.log.end());
        let up_to_date = (asked.last_epoch, asked.end_offset) >= mine;
        if asked.pre_vote {
            return up_to_date
                && match &self.role {
                    RoleState::Unattached
                    | RoleState::Prospective(_)
                    | RoleState::Candidate(_)
                    | RoleState::Resigned { .. } => true,
                    // A leader that was reached is not to be disturbed.
                    RoleState::Follower(follower) => !follower.fetched,
                    RoleState::Leader(_) => false,
                };
        }
        match (self.election.voted, self.election.leader) {
            // Asked again. Who stood itself has given its vote to itself.
            (Some(voted), _) => voted == from,
            (None, Some(_)) => false,
            (None, None) => up_to_date,
        }
    }

    pub(super) fn on_vote_reply(
        &mut self,
        cx: &Cx,
        from: NodeId,
        asked_epoch: QuorumEpoch,
        answer: (bool, bool),
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let (granted, pre_vote) = answer;
        if asked_epoch != self.election.epoch || !self.voters.contains(&from) {
            return;
        }
        let ballot = match &mut self.role {
            RoleState::Prospective(ballot) if pre_vote => ballot,
            RoleState::Candidate(ballot) if !pre_vote => ballot,
            RoleState::Unattached
            | RoleState::Prospective(_)
            | RoleState::Candidate(_)
            | RoleState::Leader(_)
            | RoleState::Resigned { .. }
            | RoleState::Follower(_) => return,
        };
        if ballot.answered(from) {
            return;
        }
        if granted { &mut ballot.granted } else { &mut ballot.rejected }.insert(from);
        self.count_votes(cx, out, events);
    }

    pub(super) fn count_votes(
        &mut self,
        cx: &Cx,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let (majority, voters) = (self.majority(), self.voters.len());
        let standing = |ballot: &Ballot| {
            (ballot.granted.len() >= majority, ballot.rejected.len() > voters - majority)
        };
        match &mut self.role {
            RoleState::Prospective(ballot) => match standing(ballot) {
                (true, _) => self.become_candidate(out, events),
                (false, true) => self.pre_vote_lost(out, events),
                (false, false) => {}
            },
            RoleState::Candidate(ballot) if !ballot.lost => match standing(ballot) {
                (true, _) => self.become_leader(out, events),
                (false, true) => {
                    ballot.lost = true;
                    let backoff = lost_election_backoff(self.elections_tried, cx.entropy);
                    self.arm_election(backoff, out);
                }
                (false, false) => {}
            },
            RoleState::Candidate(_)
            | RoleState::Unattached
            | RoleState::Leader(_)
            | RoleState::Resigned { .. }
            | RoleState::Follower(_) => {}
        }
    }

    pub(super) fn on_begin_epoch(
        &mut self,
        from: NodeId,
        epoch: QuorumEpoch,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if !self.voters.contains(&from) {
            return;
        }
        self.learn(Heard { epoch, leader: Some(from) }, out, events);
        if self.is_settled() {
            self.send(from, QuorumMsg::BeginEpochReply { epoch: self.election.epoch }, out);
        } else {
            self.again(from, QuorumMsg::BeginEpoch { epoch });
        }
    }

    pub(super) fn on_end_epoch(
        &mut self,
        from: NodeId,
        epoch: QuorumEpoch,
        preferred_successors: Vec<NodeId>,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if epoch < self.election.epoch || !self.voters.contains(&from) {
            return;
        }
        self.learn(Heard { epoch, leader: Some(from) }, out, events);
        if !self.is_settled() || self.entering {
            return self.again(from, QuorumMsg::EndEpoch { epoch, preferred_successors });
        }
        if !matches!(self.role, RoleState::Follower(_)) {
            return;
        }
        let me = |node: &NodeId| *node == self.node;
        // Whoever is not named stands at once, as in KRaft: a leader that resigns because it was
        // restarted knows nobody's end and names nobody.
        let position = preferred_successors.iter().position(me).unwrap_or(0);
        match successor_backoff(position, preferred_successors.len()) {
            Dur(0) => self.become_prospective(out, events),
            backoff => self.arm(QuorumTimer::FetchTimeout, backoff, out),
        }
    }

    /// Asks every voter that has not answered yet.
    pub(super) fn ask_votes(&mut self, out: &mut Outbox<Effect>) {
        let (ballot, pre_vote) = match &self.role {
            RoleState::Prospective(ballot) => (ballot, true),
            RoleState::Candidate(ballot) => (ballot, false),
            RoleState::Unattached
            | RoleState::Leader(_)
            | RoleState::Resigned { .. }
            | RoleState::Follower(_) => return,
        };
        if ballot.lost {
            return;
        }
        // Only what is durable counts: a restart in this epoch asks the same voters again, and they
        // have voted already and do not compare the logs once more.
        let end_offset = self.log.flushed_end();
        let last_epoch = self.log.epoch_before(end_offset);
        let epoch = self.election.epoch;
        for to in self.others().filter(|voter| !ballot.answered(*voter)) {
            self.send(to, QuorumMsg::Vote { epoch, last_epoch, end_offset, pre_vote }, out);
        }
        if self.voters.len() > 1 {
            self.arm(QuorumTimer::VoteRetry, VOTE_RETRY, out);
        }
    }

    /// Puts a message back, to be handled once the state file is written.
    pub(super) fn again(&mut self, from: NodeId, msg: QuorumMsg) {
        self.inbox.push_front(Work::Peer { from, msg });
    }
}
