//! SyncGroup, Heartbeat and LeaveGroup of a classic group.
//!
//! An assignment becomes the group's when its record is appended, and is told when that is
//! confirmed. Kafka waits for the confirmation before the group is stable; here the group goes on
//! at once, as everything else of the coordinator does, and the answers wait. Source:
//! `GroupMetadataManager.java` (`classicGroupSync`, `classicGroupHeartbeat`, `classicGroupLeave`),
//! KIP-345.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{ClassicGroup, Due, State, Turn};
use crate::coordinator::Outcome;
use crate::coordinator::group::Groups;
use crate::mutants::Mutant;
use crate::partition::Asker;
use crate::protocol::{Each, ErrorCode, Generation, GroupAnswer, MemberIdentity, SyncGroup};
use crate::step::Cx;

type Left = Each<MemberIdentity>;

impl Groups {
    pub(in crate::coordinator::group) fn sync_group(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: SyncGroup,
        out: &mut Outcome<Self>,
    ) {
        let name = request.group.clone();
        if name.is_empty() {
            let invalid = GroupAnswer::SyncGroup(Err(ErrorCode::InvalidGroupId));
            return out.answers.push((asker, invalid));
        }
        let there = self.with_classic(cx, &name, out, |group, turn| {
            if let Err(code) = group.sync(turn, asker, request) {
                turn.answer(asker, GroupAnswer::SyncGroup(Err(code)));
            }
        });
        if there.is_none() {
            let unknown = GroupAnswer::SyncGroup(Err(ErrorCode::UnknownMemberId));
            out.answers.push((asker, unknown));
        }
    }

    pub(in crate::coordinator::group) fn heartbeat(
        &mut self,
        cx: &Cx,
        name: &str,
        who: &MemberIdentity,
        generation: Generation,
        out: &mut Outcome<Self>,
    ) -> Result<(), ErrorCode> {
        if name.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let beat = |group: &mut ClassicGroup, turn: &mut Turn<'_>| {
            group.check(who)?;
            let unchecked = turn.cx.mutants.on(Mutant::GroupGenerationUnchecked);
            if generation != group.generation && !unchecked {
                return Err(ErrorCode::IllegalGeneration);
            }
            turn.expect(&who.member, group.members[&who.member].session_timeout);
            match group.state {
                State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
                State::CompletingRebalance | State::Stable => Ok(()),
                State::Empty => Err(ErrorCode::UnknownMemberId),
            }
        };
        self.with_classic(cx, name, out, beat).unwrap_or(Err(ErrorCode::UnknownMemberId))
    }

    pub(in crate::coordinator::group) fn leave_group(
        &mut self,
        cx: &Cx,
        name: &str,
        members: Vec<MemberIdentity>,
        out: &mut Outcome<Self>,
    ) -> Result<Left, ErrorCode> {
        if name.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let left = self.with_classic(cx, name, out, |group, turn| group.leave(turn, members));
        left.ok_or(ErrorCode::UnknownMemberId)
    }
}

impl ClassicGroup {
    /// `classicGroupSyncToClassicGroup`.
    fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        request: SyncGroup,
    ) -> Result<(), ErrorCode> {
        self.check(&request.who)?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs =
            |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let id = request.who.member;
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => return Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                // Of two of one member the later counts, as with joins.
                let again = GroupAnswer::SyncGroup(Err(ErrorCode::RebalanceInProgress));
                self.end_sync(turn, &id, again);
                self.members.get_mut(&id).expect("checked").syncing = Some(asker);
                self.synced_once(turn, &id);
                if self.is_leader(&id) {
                    self.assign(turn, request.assignments);
                }
            }
            State::Stable => {
                self.synced_once(turn, &id);
                let answer = self.synced(&id);
                turn.answer(asker, answer);
            }
        }
        Ok(())
    }

    /// `removePendingSyncMember`.
    fn synced_once(&mut self, turn: &mut Turn<'_>, member: &str) {
        self.unsynced.remove(member);
        if self.unsynced.is_empty() {
            turn.disarm(&Due::Sync(turn.name.into()));
        }
    }

    /// The leader has spoken. Whom it does not name gets nothing.
    fn assign(&mut self, turn: &mut Turn<'_>, assignments: Vec<(String, Bytes)>) {
        let mut parts: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = parts.remove(id).unwrap_or_default();
        }
        self.enter(turn.cx, State::Stable);
        if !turn.cx.mutants.on(Mutant::GroupAssignmentNotStored) {
            self.persist(turn);
        }
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member in members {
            let answer = self.synced(&member);
            self.end_sync(turn, &member, answer);
        }
    }

    /// `classicGroupLeaveToClassicGroup`.
    fn leave(&mut self, turn: &mut Turn<'_>, members: Vec<MemberIdentity>) -> Left {
        let mut leave = |who: MemberIdentity| {
            let result = self.leave_one(turn, &who);
            (who, result)
        };
        let left: Left = members.into_iter().map(&mut leave).collect();
        if left.iter().any(|(_, result)| result.is_ok()) {
            match self.state {
                State::Stable | State::CompletingRebalance => self.prepare(turn),
                State::PreparingRebalance => self.maybe_complete(turn),
                State::Empty => {}
            }
        }
        left
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, who: &MemberIdentity) -> Result<(), ErrorCode> {
        if who.member.is_empty() {
            // A tool expels a static member without knowing its id.
            let instance = who.instance.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
            let id = self.of_instance(instance).ok_or(ErrorCode::UnknownMemberId)?;
            self.expel(turn, &String::from(id));
            return Ok(());
        }
        if self.pending.contains(&who.member) {
            self.remove(&who.member);
            turn.disarm(&Due::session(turn.name, &who.member));
            return Ok(());
        }
        self.check(who)?;
        self.expel(turn, &who.member);
        Ok(())
    }
}
