//! JoinGroup: who becomes a member of a classic group, and when that makes it rebalance.
//!
//! Source: `GroupMetadataManager.java` (`classicGroupJoinToClassicGroup` and what it calls),
//! KIP-345, KIP-394, KIP-814.

use alloc::format;
use alloc::string::{String, ToString};

use super::{ClassicGroup, Due, Member, State, Turn, refuse_join};
use crate::coordinator::Outcome;
use crate::coordinator::group::Groups;
use crate::partition::Asker;
use crate::protocol::{ErrorCode, GroupAnswer, JoinGroup};
use crate::step::Cx;

impl Groups {
    pub(in crate::coordinator::group) fn join_group(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: JoinGroup,
        out: &mut Outcome<Self>,
    ) {
        let name = request.group.clone();
        if let Err(code) = self.may_join(&request) {
            return out.answers.push((asker, refuse_join(code, request.who.member)));
        }
        let consumers = self.log.consumer(&name).is_some();
        let new = consumers || !self.exists(&name);
        if consumers {
            // It has no members, so it may change its type (`maybeDeleteEmptyConsumerGroup`).
            self.bury(&name, out);
        }
        if new {
            self.classic.insert(name.clone(), ClassicGroup::new());
        }
        self.with_classic(cx, &name, out, |group, turn| {
            let before = turn.out.records.len();
            group.join(turn, asker, request);
            if new && turn.out.records.len() == before {
                group.persist_new(turn);
            }
        });
    }

    /// What can be told before the group is looked at, or made.
    fn may_join(&self, request: &JoinGroup) -> Result<(), ErrorCode> {
        let limits = &self.limits;
        if request.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let bounds = limits.session_timeout_min..=limits.session_timeout_max;
        if !bounds.contains(&request.session_timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        match self.log.consumer(&request.group) {
            Some(group) if !group.members.is_empty() => {
                return Err(ErrorCode::InconsistentGroupProtocol);
            }
            Some(_) | None => {}
        }
        let there = self.peek_classic(&request.group).is_some();
        if !there && !request.who.member.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let empty = request.protocol_type.is_empty() || request.protocols.is_empty();
        if !there && empty {
            // Kafka makes the group first, and leaves an empty one behind.
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }
}

impl ClassicGroup {
    /// The record of a group that has just been made (`newEmptyGroupMetadataRecord`).
    fn persist_new(&self, turn: &mut Turn<'_>) {
        let empty = ClassicGroup { since: self.since, ..ClassicGroup::new() };
        empty.persist(turn);
    }

    fn join(&mut self, turn: &mut Turn<'_>, asker: Asker, request: JoinGroup) {
        let member = request.who.member.clone();
        if !self.has_room(turn.limits.members_max, &member) {
            self.remove(&member);
            let full = ErrorCode::GroupMaxSizeReached;
            return turn.answer(asker, refuse_join(full, String::new()));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            let code = ErrorCode::InconsistentGroupProtocol;
            return turn.answer(asker, refuse_join(code, member));
        }
        match member.is_empty() {
            true => self.join_new(turn, asker, request),
            false => self.join_known(turn, asker, request),
        }
    }

    /// `acceptJoiningMember`.
    fn has_room(&self, members_max: usize, member: &str) -> bool {
        let known = self.members.get(member);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let joining = |member: &&Member| member.joining.is_some();
                known.is_some_and(|known| known.joining.is_some())
                    || self.members.values().filter(joining).count() < members_max
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.members.len() < members_max
            }
        }
    }

    /// `classicGroupJoinNewMember`.
    fn join_new(&mut self, turn: &mut Turn<'_>, asker: Asker, request: JoinGroup) {
        let prefix = request.who.instance.as_deref().unwrap_or(&request.client);
        let member = format!("{prefix}-{:016x}", turn.cx.entropy);
        match &request.who.instance {
            Some(instance) => match self.of_instance(instance).map(ToString::to_string) {
                Some(old) => self.replace(turn, asker, request, &old, member),
                None => self.add(turn, asker, request, member),
            },
            None if request.member_id_required => {
                turn.expect(&member, request.session_timeout);
                self.pending.insert(member.clone());
                turn.answer(asker, refuse_join(ErrorCode::MemberIdRequired, member));
            }
            None => self.add(turn, asker, request, member),
        }
    }

    /// `classicGroupJoinExistingMember`.
    fn join_known(&mut self, turn: &mut Turn<'_>, asker: Asker, request: JoinGroup) {
        let id = request.who.member.clone();
        if self.pending.contains(&id) && request.who.instance.is_none() {
            return self.add(turn, asker, request, id);
        }
        if let Err(code) = self.check(&request.who) {
            return turn.answer(asker, refuse_join(code, id));
        }
        let same = self.members[&id].protocols == request.protocols;
        let leads = self.is_leader(&id);
        match self.state {
            // The answer to its join was lost, perhaps: it is told again.
            State::CompletingRebalance if same => {
                let answer = self.joined(&id, leads, false);
                turn.answer(asker, answer);
            }
            // A leader that joins again knows of a change that its metadata do not show.
            State::Stable if same && !leads => {
                let answer = self.joined(&id, false, false);
                turn.answer(asker, answer);
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(turn, Some(asker), &request, &id);
                self.prepare_or_complete(turn);
            }
            State::Empty => {
                let unknown = ErrorCode::UnknownMemberId;
                turn.answer(asker, refuse_join(unknown, id));
            }
        }
    }

    /// `addMemberThenRebalanceOrCompleteJoin`.
    fn add(&mut self, turn: &mut Turn<'_>, asker: Asker, request: JoinGroup, id: String) {
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.delay.joined = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        let member = Member {
            instance: request.who.instance,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: bytes::Bytes::new(),
            new: true,
            joining: Some(asker),
            syncing: None,
        };
        self.members.insert(id.clone(), member);
        // It may not know its id, so it can not send heartbeats while it waits, and its connection
        // may be gone.
        turn.expect(&id, turn.limits.new_member_join_timeout);
        self.prepare_or_complete(turn);
    }

    /// `ClassicGroup.updateMember`. Of two joins of one member the later counts. Kafka drops the
    /// earlier; here it is answered, for nothing else may be answered before it on its connection.
    fn update(&mut self, turn: &mut Turn<'_>, asker: Option<Asker>, request: &JoinGroup, id: &str) {
        let again = refuse_join(ErrorCode::RebalanceInProgress, id.to_string());
        self.end_join(turn, id, again);
        let member = self.members.get_mut(id).expect("checked by the caller");
        member.protocols.clone_from(&request.protocols);
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.joining = asker;
    }

    /// `updateStaticMemberThenRebalanceOrCompleteJoin`: a static member is back under a new id.
    fn replace(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        request: JoinGroup,
        old: &str,
        id: String,
    ) {
        let led = self.leader.clone();
        let fenced = ErrorCode::FencedInstanceId;
        self.end_join(turn, old, refuse_join(fenced, old.to_string()));
        self.end_sync(turn, old, GroupAnswer::SyncGroup(Err(fenced)));
        turn.disarm(&Due::session(turn.name, old));
        let member = self.members.remove(old).expect("found by its instance");
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        turn.expect(&id, member.session_timeout);
        self.members.insert(id.clone(), member);
        self.update(turn, None, &request, &id);
        match self.state {
            State::Stable if self.protocol == Some(self.select()) => {
                // All goes on as it was. The leader must not assign anew, or others would have to
                // be told: it is told to skip it, or that it does not lead.
                self.persist(turn);
                let leads = self.is_leader(&id) && request.skips_assignment;
                let mut answer = self.joined(&id, leads, leads);
                if let (GroupAnswer::JoinGroup(Ok(joined)), false) =
                    (&mut answer, request.skips_assignment)
                {
                    joined.leader = led;
                }
                turn.answer(asker, answer);
            }
            State::Stable => {
                self.set_joining(&id, asker);
                self.prepare(turn);
            }
            State::CompletingRebalance => {
                // The leader may be assigning to the old id.
                self.set_joining(&id, asker);
                self.prepare(turn);
            }
            State::PreparingRebalance => {
                self.set_joining(&id, asker);
                self.maybe_complete(turn);
            }
            State::Empty => unreachable!("a group with a static member is not empty"),
        }
    }

    fn set_joining(&mut self, id: &str, asker: Asker) {
        self.members.get_mut(id).expect("just inserted").joining = Some(asker);
    }
}
