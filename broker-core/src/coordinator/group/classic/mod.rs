//! A classic group: its members, its state, and who waits for whom.
//!
//! The log holds it whenever a generation has its assignment, or nobody is left; this is what there
//! is beside the log. It is made from the log ([`ClassicGroup::load`]) and written to it
//! ([`ClassicGroup::store`]). The steps of a rebalance are in [`rebalance`], how requests lead to
//! them in [`join`] and [`sync`]. Source: `ClassicGroup.java`, `ClassicGroupMember.java`.

mod join;
mod rebalance;
mod sync;

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::expiry::Since;
use super::offsets::{Commit, now};
use super::record::{Record, StoredClassic, StoredMember};
use super::subscription::{CONSUMER, Subscribed, topics_of};
use super::timers::{Due, Timers};
use super::{GroupLimits, Groups, Topics};
use crate::batch::TimestampMs;
use crate::coordinator::Outcome;
use crate::mutants::Mutant;
use crate::partition::Asker;
use crate::protocol::{
    ErrorCode, Generation, GroupAnswer, GroupState, JoinRefused, Joined, MemberIdentity, Synced,
};
use crate::step::Cx;
use crate::time::Dur;

/// Where a classic group stands (`ClassicGroupState`). One that is dead is not there any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum State {
    /// Without members.
    Empty,
    /// Members are called to join again.
    PreparingRebalance,
    /// All joined; the leader has yet to say who does what.
    CompletingRebalance,
    /// Everyone knows, or can ask.
    Stable,
}

impl State {
    /// As tools are told.
    pub(super) fn told(self) -> GroupState {
        match self {
            Self::Empty => GroupState::Empty,
            Self::PreparingRebalance => GroupState::PreparingRebalance,
            Self::CompletingRebalance => GroupState::CompletingRebalance,
            Self::Stable => GroupState::Stable,
        }
    }
}

/// A classic group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ClassicGroup {
    pub(super) state: State,
    previous: State,
    pub(super) generation: Generation,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    leader: Option<String>,
    /// When it came into its state.
    since: Option<TimestampMs>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids that were given out and have not joined.
    pending: BTreeSet<String>,
    /// Members that know of the generation and have not asked for their part of it.
    unsynced: BTreeSet<String>,
    /// Of the first rebalance.
    delay: Delay,
}

/// How the first rebalance of a group waits for more members.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Delay {
    /// The wait that is on.
    current: Dur,
    /// What may be added to it.
    remaining: Dur,
    /// Somebody joined since it began.
    joined: bool,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Member {
    instance: Option<String>,
    session_timeout: Dur,
    rebalance_timeout: Dur,
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// It was in no generation yet.
    new: bool,
    joining: Option<Asker>,
    syncing: Option<Asker>,
}

/// What a step of a group may use beside the group.
pub(super) struct Turn<'a> {
    pub(super) cx: &'a Cx,
    pub(super) name: &'a str,
    pub(super) limits: &'a GroupLimits,
    pub(super) timers: &'a mut Timers,
    pub(super) out: &'a mut Outcome<Groups>,
}

impl Turn<'_> {
    fn answer(&mut self, asker: Asker, answer: GroupAnswer) {
        self.out.answers.push((asker, answer));
    }

    fn expect(&mut self, member: &str, within: Dur) {
        self.timers.arm(Due::session(self.name, member), within, self.out);
    }

    fn disarm(&mut self, due: &Due) {
        self.timers.disarm(due, self.out);
    }
}

impl Member {
    fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let chosen = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        chosen.map_or(Bytes::new(), |(_, metadata)| metadata.clone())
    }

    /// Its metadata and its part.
    pub(super) fn part(&self, protocol: &str) -> (Bytes, Bytes) {
        (self.metadata(Some(protocol)), self.assignment.clone())
    }

    pub(super) fn identity(&self, member: &str) -> MemberIdentity {
        MemberIdentity { member: member.to_string(), instance: self.instance.clone() }
    }
}

impl ClassicGroup {
    /// A group that nobody is in.
    pub(super) fn new() -> Self {
        Self::load(&StoredClassic::default())
    }

    /// As the log has it.
    pub(super) fn load(stored: &StoredClassic) -> Self {
        let empty = stored.members.is_empty();
        let state = if empty { State::Empty } else { State::Stable };
        let load = |(id, member): (&String, &StoredMember)| {
            let protocol = stored.protocol.clone().unwrap_or_default();
            let member = Member {
                instance: member.instance.clone(),
                session_timeout: member.session_timeout,
                rebalance_timeout: member.rebalance_timeout,
                protocols: Vec::from([(protocol, member.metadata.clone())]),
                assignment: member.assignment.clone(),
                new: false,
                joining: None,
                syncing: None,
            };
            (id.clone(), member)
        };
        Self {
            state,
            previous: state,
            generation: stored.generation,
            protocol_type: stored.protocol_type.clone(),
            protocol: stored.protocol.clone(),
            leader: stored.leader.clone(),
            since: stored.since,
            members: stored.members.iter().map(load).collect(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            delay: Delay::default(),
        }
    }

    /// As the log shall have it.
    pub(super) fn store(&self) -> StoredClassic {
        let protocol = self.protocol.as_deref();
        let store = |(id, member): (&String, &Member)| {
            let stored = StoredMember {
                instance: member.instance.clone(),
                session_timeout: member.session_timeout,
                rebalance_timeout: member.rebalance_timeout,
                metadata: member.metadata(protocol),
                assignment: member.assignment.clone(),
            };
            (id.clone(), stored)
        };
        StoredClassic {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self.members.iter().map(store).collect(),
        }
    }

    fn persist(&self, turn: &mut Turn<'_>) {
        turn.out.records.push(Record::Classic(turn.name.to_string(), Some(self.store())));
    }

    /// No members; somebody may have been given an id.
    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Its members are consumers.
    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// `ClassicGroup.isSubscribedToTopic`.
    pub(super) fn subscribed(&self, topics: &impl Topics) -> Subscribed {
        if !self.is_of_consumers() {
            return Subscribed::Nothing;
        }
        if self.protocol.is_none() && !self.members.is_empty() {
            return Subscribed::Unknown;
        }
        let protocol = self.protocol.as_deref();
        let each = self.members.values().map(|member| topics_of(&member.metadata(protocol)));
        match each.collect::<Option<Vec<_>>>() {
            None => Subscribed::Unknown,
            Some(names) => Subscribed::by_name(topics, names.iter().flatten().map(String::as_str)),
        }
    }

    /// `ClassicGroup.offsetExpirationCondition`.
    pub(super) fn offsets_age_since(&self) -> Since {
        if self.protocol_type.is_none() {
            return Since::Commit;
        }
        match self.state {
            State::Empty => self.since.map_or(Since::Commit, Since::At),
            State::Stable if self.is_of_consumers() => Since::Commit,
            State::Stable | State::PreparingRebalance | State::CompletingRebalance => Since::Never,
        }
    }

    /// `ClassicGroup.validateOffsetCommit`; keeps the member's session going.
    pub(super) fn may_commit(
        &self,
        turn: &mut Turn<'_>,
        commit: &Commit<'_>,
    ) -> Result<(), ErrorCode> {
        let unchecked = turn.cx.mutants.on(Mutant::GroupGenerationUnchecked);
        if commit.generation < Generation(0) && self.is_empty() {
            return Ok(());
        }
        let who = commit.who;
        let named = !who.member.is_empty() || who.instance.is_some();
        if commit.generation >= Generation(0) || named {
            self.check(who)?;
            if commit.generation != self.generation && !unchecked {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !commit.transactional && !self.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if commit.transactional {
            return Ok(());
        }
        match self.state {
            // The member knows of the generation, and not yet of its part of it.
            State::CompletingRebalance => return Err(ErrorCode::RebalanceInProgress),
            State::Stable | State::PreparingRebalance => {
                let member = &self.members[&who.member];
                turn.expect(&who.member, member.session_timeout);
            }
            State::Empty => {}
        }
        Ok(())
    }

    /// `ClassicGroup.validateMember`.
    fn check(&self, who: &MemberIdentity) -> Result<(), ErrorCode> {
        if let Some(instance) = &who.instance {
            match self.of_instance(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(member) if member != who.member => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        match self.members.contains_key(&who.member) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// The member id of a static member.
    fn of_instance(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.as_str())
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn enter(&mut self, cx: &Cx, state: State) {
        self.previous = self.state;
        self.state = state;
        self.since = Some(now(cx));
    }

    /// `ClassicGroup.remove`. Who waits with it is answered before.
    fn remove(&mut self, member: &str) {
        self.members.remove(member);
        self.pending.remove(member);
        self.unsynced.remove(member);
        if self.is_leader(member) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Those who wait, and how to tell them that it is in vain.
    pub(super) fn parked(&self) -> Vec<(Asker, GroupAnswer)> {
        let lost = ErrorCode::NotCoordinator;
        let of = |(id, member): (&String, &Member)| {
            let joining = member.joining.map(|asker| (asker, refuse_join(lost, id.clone())));
            let syncing = member.syncing.map(|asker| (asker, GroupAnswer::SyncGroup(Err(lost))));
            joining.into_iter().chain(syncing)
        };
        self.members.iter().flat_map(of).collect()
    }

    /// The answer to a join: the generation as it is.
    fn joined(&self, member: &str, list: bool, skip_assignment: bool) -> GroupAnswer {
        let protocol = self.protocol.as_deref();
        let listed = self.members.iter().filter(|_| list);
        let members =
            listed.map(|(id, each)| (each.identity(id), each.metadata(protocol))).collect();
        GroupAnswer::JoinGroup(Ok(Joined {
            member: member.to_string(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            skip_assignment,
            members,
        }))
    }

    fn synced(&self, member: &str) -> GroupAnswer {
        GroupAnswer::SyncGroup(Ok(Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members[member].assignment.clone(),
        }))
    }

    /// Ends a member's wait for others to join, if it waits.
    fn end_join(&mut self, turn: &mut Turn<'_>, member: &str, answer: GroupAnswer) {
        if let Some(asker) = self.members.get_mut(member).and_then(|it| it.joining.take()) {
            turn.answer(asker, answer);
        }
    }

    /// Ends a member's wait for its part, if it waits; its session begins anew.
    fn end_sync(&mut self, turn: &mut Turn<'_>, member: &str, answer: GroupAnswer) {
        let Some(it) = self.members.get_mut(member) else { return };
        if let Some(asker) = it.syncing.take() {
            turn.answer(asker, answer);
            turn.expect(member, it.session_timeout);
        }
    }
}

fn refuse_join(code: ErrorCode, member: String) -> GroupAnswer {
    GroupAnswer::JoinGroup(Err(JoinRefused { code, member }))
}

impl Groups {
    /// The classic group of this name as it is now, if there is one.
    pub(super) fn peek_classic(&self, name: &str) -> Option<Cow<'_, ClassicGroup>> {
        match self.classic.get(name) {
            Some(group) => Some(Cow::Borrowed(group)),
            None => Some(Cow::Owned(ClassicGroup::load(self.log.classic(name)?))),
        }
    }

    /// Lets the classic group of this name take a step, if there is one.
    pub(super) fn with_classic<R>(
        &mut self,
        cx: &Cx,
        name: &str,
        out: &mut Outcome<Self>,
        step: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>) -> R,
    ) -> Option<R> {
        if !self.classic.contains_key(name) {
            let loaded = ClassicGroup::load(self.log.classic(name)?);
            self.classic.insert(name.to_string(), loaded);
        }
        let group = self.classic.get_mut(name)?;
        let timers = &mut self.timers;
        let mut turn = Turn { cx, name, limits: &self.limits, timers, out };
        Some(step(group, &mut turn))
    }

    pub(super) fn classic_loaded(&mut self, cx: &Cx, name: &str, out: &mut Outcome<Self>) {
        self.with_classic(cx, name, out, |group, turn| {
            for (member, it) in &group.members {
                turn.expect(member, it.session_timeout);
            }
            // The limit was another one then: whoever comes first may stay.
            if group.members.len() > turn.limits.members_max {
                group.prepare(turn);
            }
        });
    }

    pub(super) fn classic_session_over(
        &mut self,
        cx: &Cx,
        name: &str,
        member: &str,
        out: &mut Outcome<Self>,
    ) {
        self.with_classic(cx, name, out, |group, turn| group.session_over(turn, member));
    }

    pub(super) fn classic_join_over(&mut self, cx: &Cx, name: &str, out: &mut Outcome<Self>) {
        self.with_classic(cx, name, out, |group, turn| group.join_over(turn));
    }

    pub(super) fn classic_sync_over(&mut self, cx: &Cx, name: &str, out: &mut Outcome<Self>) {
        self.with_classic(cx, name, out, |group, turn| group.sync_over(turn));
    }
}
