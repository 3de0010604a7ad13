//! The steps of a classic group's rebalance, from the call to join again to the new generation.
//!
//! Source: `GroupMetadataManager.java` (`prepareRebalance`, `completeClassicGroupJoin`,
//! `expireClassicGroupMemberHeartbeat`, `expirePendingSync` and what they call).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{ClassicGroup, Delay, Due, State, Turn, refuse_join};
use crate::protocol::{ErrorCode, Generation, GroupAnswer};
use crate::time::Dur;

impl ClassicGroup {
    /// `maybePrepareRebalanceOrCompleteJoin`.
    pub(super) fn prepare_or_complete(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(turn),
            State::PreparingRebalance => self.maybe_complete(turn),
        }
    }

    /// `prepareRebalance`.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.withdraw(turn, ErrorCode::RebalanceInProgress);
        }
        self.unsynced.clear();
        turn.disarm(&Due::Sync(turn.name.to_string()));
        let first = self.state == State::Empty;
        self.enter(turn.cx, State::PreparingRebalance);
        if first {
            // Those who start together shall not rebalance one after the other.
            let current = turn.limits.initial_rebalance_delay;
            let remaining = Dur(self.rebalance_timeout().0.saturating_sub(current.0));
            self.delay = Delay { current, remaining, joined: false };
            turn.timers.arm(Due::Join(turn.name.to_string()), current, turn.out);
        } else if self.all_joined() {
            self.complete(turn);
        } else {
            let wait = self.rebalance_timeout();
            turn.timers.arm(Due::Join(turn.name.to_string()), wait, turn.out);
        }
    }

    /// `maybeCompleteJoinPhase`: the first rebalance waits for its timer, come who may.
    pub(super) fn maybe_complete(&mut self, turn: &mut Turn<'_>) {
        let later = self.state == State::PreparingRebalance && self.previous != State::Empty;
        if later && self.all_joined() {
            self.complete(turn);
        }
    }

    /// `hasAllMembersJoined`.
    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    fn rebalance_timeout(&self) -> Dur {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    /// The timer of the joining fired.
    pub(super) fn join_over(&mut self, turn: &mut Turn<'_>) {
        if self.state != State::PreparingRebalance {
            return;
        }
        let Delay { current, remaining, joined } = self.delay;
        if self.previous == State::Empty && joined && remaining > Dur(0) {
            // `tryCompleteInitialRebalanceElseSchedule`.
            let next = turn.limits.initial_rebalance_delay.min(remaining);
            let remaining = Dur(remaining.0.saturating_sub(current.0));
            self.delay = Delay { current: next, remaining, joined: false };
            turn.timers.arm(Due::Join(turn.name.to_string()), next, turn.out);
        } else {
            self.complete(turn);
        }
    }

    /// `completeClassicGroupJoin`.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        turn.disarm(&Due::Join(turn.name.to_string()));
        let gone = |(_, member): &(&String, &super::Member)| {
            member.joining.is_none() && member.instance.is_none()
        };
        let gone: Vec<String> =
            self.members.iter().filter(gone).map(|(id, _)| id.clone()).collect();
        for member in gone {
            self.remove(&member);
            turn.disarm(&Due::session(turn.name, &member));
        }
        if !self.elect_joined() && !self.members.is_empty() {
            // Only static members are left, and none is here: their sessions decide.
            let wait = self.rebalance_timeout();
            turn.timers.arm(Due::Join(turn.name.to_string()), wait, turn.out);
            return;
        }
        let next = self.generation.0.checked_add(1).expect("a group's generations are few");
        self.generation = Generation(next);
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(turn.cx, State::Empty);
            return self.persist(turn);
        }
        self.protocol = Some(self.select());
        self.enter(turn.cx, State::CompletingRebalance);
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member in members {
            let answer = self.joined(&member, self.is_leader(&member), false);
            self.end_join(turn, &member, answer);
            let it = self.members.get_mut(&member).expect("just listed");
            it.new = false;
            turn.expect(&member, it.session_timeout);
            self.unsynced.insert(member);
        }
        let wait = self.rebalance_timeout();
        turn.timers.arm(Due::Sync(turn.name.to_string()), wait, turn.out);
    }

    /// `maybeElectNewJoinedLeader`: whether somebody leads who is here.
    fn elect_joined(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(leader).is_some_and(|leader| leader.joining.is_some()) {
            return true;
        }
        let joined = self.members.iter().find(|(_, member)| member.joining.is_some());
        let Some((joined, _)) = joined else { return false };
        self.leader = Some(joined.clone());
        true
    }

    /// `selectProtocol`: of those that all members can follow, the one that most like best. A tie
    /// is Kafka's hash order, and the first by name here.
    pub(super) fn select(&self) -> String {
        let for_all = |name: &str| self.supporters(name) == self.members.len();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|(name, _)| for_all(name));
            if let Some((name, _)) = vote {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.iter().rev().max_by_key(|(_, votes)| **votes);
        (*most.expect("whoever joins has a protocol in common with all").0).to_string()
    }

    fn supporters(&self, protocol: &str) -> usize {
        let knows = |member: &&super::Member| member.protocols.iter().any(|(n, _)| n == protocol);
        self.members.values().filter(knows).count()
    }

    /// `supportsProtocols`.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| self.supporters(name) == self.members.len())
    }

    /// `resetAndPropagateAssignmentWithError`.
    fn withdraw(&mut self, turn: &mut Turn<'_>, code: ErrorCode) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member in members {
            if let Some(it) = self.members.get_mut(&member) {
                it.assignment = Bytes::new();
            }
            self.end_sync(turn, &member, GroupAnswer::SyncGroup(Err(code)));
        }
    }

    /// `expireClassicGroupMemberHeartbeat`.
    pub(super) fn session_over(&mut self, turn: &mut Turn<'_>, member: &str) {
        if self.pending.contains(member) {
            self.remove(member);
            return self.complete_if_all_joined(turn);
        }
        let Some(it) = self.members.get(member) else { return };
        // Who waits for others can not send heartbeats; only a new member may be gone for good.
        if !it.new && (it.joining.is_some() || it.syncing.is_some()) {
            return;
        }
        self.expel(turn, member);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(turn),
            State::PreparingRebalance => self.complete_if_all_joined(turn),
            State::Empty => {}
        }
    }

    /// Even in the first rebalance: `removePendingMemberAndUpdateClassicGroup` and
    /// `removeMemberAndUpdateClassicGroup` do not ask.
    fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance && self.all_joined() {
            self.complete(turn);
        }
    }

    /// Ends a membership. Whoever waits in its name is told to begin anew.
    pub(super) fn expel(&mut self, turn: &mut Turn<'_>, member: &str) {
        let unknown = ErrorCode::UnknownMemberId;
        self.end_join(turn, member, refuse_join(unknown, String::new()));
        self.end_sync(turn, member, GroupAnswer::SyncGroup(Err(unknown)));
        self.remove(member);
        turn.disarm(&Due::session(turn.name, member));
    }

    /// `expirePendingSync`.
    pub(super) fn sync_over(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::Empty | State::PreparingRebalance => {}
            State::CompletingRebalance | State::Stable if self.unsynced.is_empty() => {}
            State::CompletingRebalance | State::Stable => {
                let silent = core::mem::take(&mut self.unsynced);
                for member in silent {
                    self.expel(turn, &member);
                }
                self.prepare(turn);
            }
        }
    }
}
