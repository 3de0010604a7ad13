//! The roles of a voter and the transitions between them, with the timers that belong to each.
//!
//! Sources: KIP-595 and KIP-996; KRaft's `QuorumState` and `LeaderState`. Votes are counted in
//! [`super::election`], the log is [`super::replication`]'s.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;

use super::format::ElectionState;
use super::state::{Ballot, Follower, Leader, Pull, Replica, RoleState, Work};
use super::timing::{
    BEGIN_INTERVAL, CHECK_QUORUM, FETCH_TIMEOUT, FETCH_WAIT_MAX, election_timeout,
};
use super::{Entry, Payload, Quorum, QuorumEvent};
use crate::ids::{NodeId, QuorumEpoch};
use crate::mutants::Mutant;
use crate::peer::QuorumMsg;
use crate::probe::Probe;
use crate::step::{Cx, Effect, Outbox, QuorumTimer};
use crate::time::Dur;

/// How an epoch and its leader came to be heard of.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    pub(super) epoch: QuorumEpoch,
    pub(super) leader: Option<NodeId>,
}

impl Quorum {
    /// Takes up, after a restart, what the state file and the log say (`QuorumState.initialize`).
    pub(super) fn start(
        &mut self,
        cx: &Cx,
        file: ElectionState,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let me = Some(self.node);
        let log_epoch = self.log.last_epoch();
        self.entering = true;
        self.election = file;
        if file.epoch < log_epoch {
            self.election = ElectionState { epoch: log_epoch, leader: None, voted: None };
        } else if file.leader == me {
            // The tail that was not flushed may be gone. Leading on would give its offsets out
            // again in the same epoch (KAFKA-10527), so this epoch is over for this node.
            if cx.mutants.on(Mutant::QuorumRestartAsLeader) {
                self.role = RoleState::Leader(self.new_leader());
            } else {
                self.role =
                    RoleState::Resigned { check_quorum: false, successors: Vec::new(), led: false };
            }
        } else if file.leader.is_some() {
            self.role = RoleState::Follower(Follower { fetched: false, pull: Pull::Due });
        } else if file.voted == me {
            self.role = RoleState::Candidate(Ballot::of(self.node));
        }
        if self.voters == [self.node] && !matches!(self.role, RoleState::Candidate(_)) {
            self.become_candidate(out, events);
        }
    }

    /// The first actions of a role, when epoch, leader and vote are durable.
    pub(super) fn enter(
        &mut self,
        cx: &Cx,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let ElectionState { epoch, leader, .. } = self.election;
        out.probe(Probe::QuorumRole { role: self.role(), epoch, leader });
        match &self.role {
            RoleState::Unattached => {
                if !self.election_armed {
                    self.arm_election(election_timeout(cx.entropy), out);
                }
            }
            RoleState::Prospective(_) => {
                self.arm_election(election_timeout(cx.entropy), out);
                self.ask_votes(out);
                self.count_votes(cx, out, events);
            }
            RoleState::Candidate(_) => {
                out.probe(Probe::QuorumVoted { epoch, candidate: self.node });
                self.arm_election(election_timeout(cx.entropy), out);
                self.ask_votes(out);
                self.count_votes(cx, out, events);
            }
            RoleState::Leader(_) => self.take_office(out, events),
            RoleState::Resigned { .. } => self.leave_office(cx, out),
            RoleState::Follower(_) => {
                self.elections_tried = 0;
                self.disarm_election(out);
                self.arm(QuorumTimer::FetchTimeout, FETCH_TIMEOUT, out);
            }
        }
    }

    /// Handles a timer. One of another role's is late and means nothing.
    pub(super) fn fire(
        &mut self,
        cx: &Cx,
        timer: QuorumTimer,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        match timer {
            QuorumTimer::Election => {
                self.election_armed = false;
                self.election_timed_out(out, events);
            }
            QuorumTimer::FetchTimeout => {
                if let RoleState::Follower(_) = self.role {
                    self.become_prospective(out, events);
                }
            }
            QuorumTimer::VoteRetry => self.ask_votes(out),
            QuorumTimer::Begin => self.begin_epoch(out),
            QuorumTimer::CheckQuorum => {
                if let RoleState::Leader(_) = self.role {
                    if cx.mutants.on(Mutant::QuorumNoCheckQuorum) {
                        self.arm(QuorumTimer::CheckQuorum, CHECK_QUORUM, out);
                    } else {
                        self.become_resigned(true, out, events);
                    }
                }
            }
            QuorumTimer::Fetch => self.on_fetch_timer(out),
            QuorumTimer::Linger => self.on_linger(out),
        }
    }

    fn election_timed_out(&mut self, out: &mut Outbox<Effect>, events: &mut Vec<QuorumEvent>) {
        match &self.role {
            RoleState::Unattached | RoleState::Candidate(_) => {
                self.become_prospective(out, events);
            }
            RoleState::Prospective(_) => self.pre_vote_lost(out, events),
            // It must not stay in the epoch that it led.
            RoleState::Resigned { .. } => {
                self.become_unattached(self.election.epoch.next(), out, events);
            }
            RoleState::Leader(_) | RoleState::Follower(_) => {}
        }
    }

    /// Handles a message whose sender may know a newer epoch or leader.
    pub(super) fn learn(
        &mut self,
        heard: Heard,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let Heard { epoch, leader } = heard;
        let leader = leader.filter(|leader| *leader != self.node);
        if epoch > self.election.epoch {
            match leader {
                Some(leader) => self.become_follower(epoch, leader, out, events),
                None => self.become_unattached(epoch, out, events),
            }
        } else if epoch == self.election.epoch
            && let Some(leader) = leader
        {
            match self.election.leader {
                None => self.become_follower(epoch, leader, out, events),
                Some(known) => {
                    assert_eq!(known, leader, "two leaders of {epoch:?} at {:?}", self.node);
                }
            }
        }
    }

    pub(super) fn become_unattached(
        &mut self,
        epoch: QuorumEpoch,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        self.change_role(RoleState::Unattached, out, events);
        if epoch > self.election.epoch {
            self.election = ElectionState { epoch, leader: None, voted: None };
        }
    }

    pub(super) fn become_follower(
        &mut self,
        epoch: QuorumEpoch,
        leader: NodeId,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let follower = Follower { fetched: false, pull: Pull::Due };
        self.change_role(RoleState::Follower(follower), out, events);
        let voted = if epoch == self.election.epoch { self.election.voted } else { None };
        self.election = ElectionState { epoch, leader: Some(leader), voted };
    }

    /// The epoch, its leader and the vote in it stay.
    pub(super) fn become_prospective(
        &mut self,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        if self.voters.contains(&self.node) {
            self.change_role(RoleState::Prospective(Ballot::of(self.node)), out, events);
        }
    }

    pub(super) fn pre_vote_lost(
        &mut self,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let epoch = self.election.epoch;
        match self.election.leader {
            Some(leader) => self.become_follower(epoch, leader, out, events),
            None => self.become_unattached(epoch, out, events),
        }
    }

    pub(super) fn become_candidate(
        &mut self,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        self.change_role(RoleState::Candidate(Ballot::of(self.node)), out, events);
        self.elections_tried = self.elections_tried.saturating_add(1);
        let epoch = self.election.epoch.next();
        self.election = ElectionState { epoch, leader: None, voted: Some(self.node) };
    }

    /// Won. The state file says so before the first entry is appended: a restart then resigns.
    pub(super) fn become_leader(
        &mut self,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let leader = self.new_leader();
        self.change_role(RoleState::Leader(leader), out, events);
        self.election.leader = Some(self.node);
    }

    pub(super) fn become_resigned(
        &mut self,
        check_quorum: bool,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        let RoleState::Leader(leader) = &self.role else { return };
        let mut ends: Vec<_> =
            leader.replicas.iter().map(|(node, replica)| (replica.end, *node)).collect();
        ends.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let successors = ends.into_iter().map(|(_, node)| node).collect();
        let led = leader.epoch_start.is_some();
        self.change_role(RoleState::Resigned { check_quorum, successors, led }, out, events);
    }

    fn new_leader(&self) -> Leader {
        Leader {
            epoch_start: None,
            replicas: self.others().map(|node| (node, Replica::default())).collect(),
            fetched: BTreeSet::new(),
            fetches: BTreeMap::new(),
            parked: BTreeMap::new(),
            lingering: false,
        }
    }

    /// Ends the old role: its timers, its office, what waits at it.
    fn change_role(
        &mut self,
        role: RoleState,
        out: &mut Outbox<Effect>,
        events: &mut Vec<QuorumEvent>,
    ) {
        match mem::replace(&mut self.role, role) {
            RoleState::Unattached | RoleState::Resigned { .. } => {}
            RoleState::Prospective(_) | RoleState::Candidate(_) => {
                self.disarm(QuorumTimer::VoteRetry, out);
            }
            RoleState::Follower(_) => {
                self.disarm(QuorumTimer::FetchTimeout, out);
                self.disarm(QuorumTimer::Fetch, out);
            }
            RoleState::Leader(leader) => {
                let epoch = self.election.epoch;
                for timer in [
                    QuorumTimer::Begin,
                    QuorumTimer::CheckQuorum,
                    QuorumTimer::Linger,
                    QuorumTimer::Fetch,
                ] {
                    self.disarm(timer, out);
                }
                if leader.epoch_start.is_some() {
                    events.push(QuorumEvent::LostLeadership { epoch });
                }
                // Handled again behind the transition, they are refused.
                self.inbox.extend(leader.parked.into_iter().map(|(from, asked)| Work::Peer {
                    from,
                    msg: QuorumMsg::Fetch {
                        epoch,
                        fetch_offset: asked.fetch_offset,
                        last_fetched_epoch: self.log.epoch_before(asked.fetch_offset),
                        high_watermark: asked.high_watermark,
                        id: asked.id,
                    },
                }));
                self.flush(out);
            }
        }
        self.entering = true;
    }

    fn take_office(&mut self, out: &mut Outbox<Effect>, events: &mut Vec<QuorumEvent>) {
        let (epoch, end) = (self.election.epoch, self.log.end());
        self.elections_tried = 0;
        self.disarm_election(out);
        if let RoleState::Leader(leader) = &mut self.role {
            leader.epoch_start = Some(end);
        }
        out.probe(Probe::QuorumBecameLeader { epoch, end });
        events.push(QuorumEvent::BecameLeader { epoch });
        let (leader, voters) = (self.node, self.voters.clone());
        let payload = Payload::LeaderChange { leader, voters };
        self.append(Vec::from([Entry { epoch, payload }]), out);
        self.flush(out);
        self.begin_epoch(out);
        self.arm(QuorumTimer::Fetch, FETCH_WAIT_MAX, out);
        if self.majority() > 1 {
            self.arm(QuorumTimer::CheckQuorum, CHECK_QUORUM, out);
        }
    }

    fn leave_office(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let RoleState::Resigned { check_quorum, successors, led } = &self.role else { return };
        let epoch = self.election.epoch;
        if *led {
            out.probe(Probe::QuorumResigned { epoch, check_quorum: *check_quorum });
        }
        for to in self.others() {
            let preferred_successors = successors.clone();
            self.send(to, QuorumMsg::EndEpoch { epoch, preferred_successors }, out);
        }
        self.arm_election(election_timeout(cx.entropy), out);
    }

    /// Makes the leader known to voters that do not fetch.
    pub(super) fn begin_epoch(&mut self, out: &mut Outbox<Effect>) {
        let RoleState::Leader(leader) = &mut self.role else { return };
        let silent: Vec<_> = leader
            .replicas
            .iter_mut()
            .filter_map(|(node, replica)| (!mem::take(&mut replica.fetched)).then_some(*node))
            .collect();
        for to in silent {
            self.send(to, QuorumMsg::BeginEpoch { epoch: self.election.epoch }, out);
        }
        if self.voters.len() > 1 {
            self.arm(QuorumTimer::Begin, BEGIN_INTERVAL, out);
        }
    }

    pub(super) fn arm_election(&mut self, after: Dur, out: &mut Outbox<Effect>) {
        self.election_armed = true;
        self.arm(QuorumTimer::Election, after, out);
    }

    fn disarm_election(&mut self, out: &mut Outbox<Effect>) {
        if mem::take(&mut self.election_armed) {
            self.disarm(QuorumTimer::Election, out);
        }
    }

    /// Arms a timer; that it fired before and was not yet handled counts no more.
    pub(super) fn arm(&mut self, timer: QuorumTimer, after: Dur, out: &mut Outbox<Effect>) {
        self.inbox.retain(|work| *work != Work::Timer(timer));
        out.arm(timer, after);
    }

    pub(super) fn disarm(&mut self, timer: QuorumTimer, out: &mut Outbox<Effect>) {
        self.inbox.retain(|work| *work != Work::Timer(timer));
        out.disarm(timer);
    }
}
