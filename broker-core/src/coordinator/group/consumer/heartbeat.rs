//! ConsumerGroupHeartbeat: joining, staying in and leaving a KIP-848 group.
//!
//! Source: `GroupMetadataManager.java` (`consumerGroupHeartbeat`, `consumerGroupLeave` and what
//! they call), KIP-848, KIP-1082, KAFKA-17306, KAFKA-19233.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::ConsumerGroup;
use crate::coordinator::Outcome;
use crate::coordinator::group::record::{Current, MemberState, Record};
use crate::coordinator::group::timers::Due;
use crate::coordinator::group::{Groups, Topics, assignor};
use crate::ids::TopicPartition;
use crate::protocol::{
    ConsumerGroupBeat, ConsumerGroupHeartbeat, ErrorCode, MemberEpoch, MemberIdentity,
};
use crate::step::Cx;

impl Groups {
    pub(in crate::coordinator::group) fn consumer_heartbeat(
        &mut self,
        cx: &Cx,
        topics: &impl Topics,
        request: ConsumerGroupHeartbeat,
        out: &mut Outcome<Self>,
    ) -> Result<ConsumerGroupBeat, ErrorCode> {
        check_form(&request)?;
        if request.epoch < MemberEpoch::JOIN {
            return self.consumer_leave(&request, out);
        }
        let before = self.group_to_join(&request)?;
        let mut group = before.clone();
        let known = group.admit(&request, self.limits.members_max)?;
        // All checks are passed.
        let name = request.group.as_str();
        let member = request.who.member.as_str();
        if self.log.consumer(name).is_none() && self.exists(name) {
            // It has no members, so it may change its type (`maybeDeleteEmptyClassicGroup`).
            self.forget_group(name, out);
            out.records.push(Record::Classic(name.into(), None));
        }
        let replaced = known.is_some_and(|old| old != member);
        for old in before.members.keys().filter(|id| !group.members.contains_key(*id)) {
            self.timers.disarm(&Due::session(name, old), out);
            self.timers.disarm(&Due::revocation(name, old), out);
        }
        let read = group.members.get(member).map(|it| it.topics.clone());
        group.describe(&request);
        // Kafka lets a member that reads nothing in without it, in epoch 0 if it is the first.
        let resubscribed = read.as_ref() != group.members.get(member).map(|it| &it.topics);
        let found = group.resolve(topics);
        if resubscribed || found != group.stored.topics {
            group.stored.topics = found;
            group.raise();
        }
        if group.epoch() > group.target_epoch || replaced {
            let assignor = assignor::chosen(&group.members);
            group.target = assignor.assign(topics, &group.members, &group.target);
            group.target_epoch = group.epoch();
        }
        let was = group.current(member);
        let is = group.reconcile(cx, topics, member, request.owned.as_deref());
        group.current.insert(member.to_string(), is.clone());
        group.changes(&before, name, out);
        self.watch(&request, &group, (&was, &is), out);
        let full = request.rebalance_timeout.is_some()
            && request.topics.is_some()
            && request.owned.is_some();
        let told = request.epoch == MemberEpoch::JOIN || full || was.assigned != is.assigned;
        Ok(ConsumerGroupBeat {
            member: request.who.member,
            epoch: is.epoch,
            interval: self.limits.consumer_heartbeat_interval,
            assignment: told.then(|| is.assigned.keys().copied().collect()),
        })
    }

    /// The group as it is; a new one for who joins. A classic group with members can not be joined
    /// (`getOrMaybeCreateConsumerGroup`).
    fn group_to_join(&self, request: &ConsumerGroupHeartbeat) -> Result<ConsumerGroup, ErrorCode> {
        if let Some(group) = self.log.consumer(&request.group) {
            return Ok(group.clone());
        }
        let classic = self.peek_classic(&request.group);
        let may_change = classic.is_none_or(|group| group.is_empty());
        match request.epoch == MemberEpoch::JOIN && may_change {
            true => Ok(ConsumerGroup::default()),
            false => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// Keeps the member's timers in step with it.
    fn watch(
        &mut self,
        request: &ConsumerGroupHeartbeat,
        group: &ConsumerGroup,
        (was, is): (&Current, &Current),
        out: &mut Outcome<Self>,
    ) {
        let (name, member) = (request.group.as_str(), request.who.member.as_str());
        let session = self.limits.consumer_session_timeout;
        self.timers.arm(Due::session(name, member), session, out);
        if was == is {
            return;
        }
        let due = Due::revocation(name, member);
        match is.state {
            MemberState::Unrevoked => {
                let wait = group.members[member].rebalance_timeout;
                self.timers.arm(due, wait, out);
            }
            MemberState::Stable | MemberState::Unreleased => self.timers.disarm(&due, out),
        }
    }

    /// `consumerGroupLeave`.
    fn consumer_leave(
        &mut self,
        request: &ConsumerGroupHeartbeat,
        out: &mut Outcome<Self>,
    ) -> Result<ConsumerGroupBeat, ErrorCode> {
        let name = request.group.as_str();
        let before = self.log.consumer(name).ok_or(ErrorCode::GroupIdNotFound)?;
        let member = before.find(&request.who)?.to_string();
        if request.epoch == MemberEpoch::LEAVE_STATIC {
            // It keeps what it is assigned until its session is over, or somebody comes in its
            // place; what it was to give up it has given up.
            let mut group = before.clone();
            let mut current = group.current(&member);
            current.epoch = MemberEpoch::LEAVE_STATIC;
            current.revoking = BTreeMap::new();
            group.current.insert(member.clone(), current);
            group.changes(before, name, out);
            self.timers.disarm(&Due::revocation(name, &member), out);
        } else {
            self.fence_consumers(name, core::slice::from_ref(&member), out);
        }
        Ok(ConsumerGroupBeat {
            member,
            epoch: request.epoch,
            interval: self.limits.consumer_heartbeat_interval,
            assignment: None,
        })
    }
}

impl ConsumerGroup {
    /// Lets the sender in, or says why not. The member id that it had so far: another one, if a
    /// static member is back under a new id, whose place it takes.
    fn admit(
        &mut self,
        request: &ConsumerGroupHeartbeat,
        members_max: usize,
    ) -> Result<Option<String>, ErrorCode> {
        let ConsumerGroupHeartbeat { who, epoch, owned, .. } = request;
        let joins = *epoch == MemberEpoch::JOIN;
        let known = self.members.contains_key(&who.member);
        if joins && self.members.len() >= members_max && !known {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !joins {
            let member = self.find(who)?.to_string();
            self.check_epoch(&member, *epoch, owned.as_deref())?;
            return Ok(Some(member));
        }
        let holder = who.instance.as_deref().and_then(|instance| self.of_instance(instance));
        let Some(holder) = holder.map(ToString::to_string) else {
            return Ok(known.then(|| who.member.clone()));
        };
        let current = self.current(&holder);
        if current.epoch != MemberEpoch::LEAVE_STATIC {
            return Err(ErrorCode::UnreleasedInstanceId);
        }
        // It takes over what the holder was and owned (`replaceMember`).
        let subscriber = self.members[&holder].clone();
        let target = self.target.get(&holder).cloned();
        self.remove(&holder);
        self.members.insert(who.member.clone(), subscriber);
        let current = Current { epoch: MemberEpoch::JOIN, ..current };
        self.current.insert(who.member.clone(), current);
        self.target.extend(target.map(|target| (who.member.clone(), target)));
        Ok(Some(holder))
    }

    /// The member that is meant.
    fn find(&self, who: &MemberIdentity) -> Result<&str, ErrorCode> {
        let Some(instance) = &who.instance else {
            let known = self.members.get_key_value(&who.member);
            return known.map(|(id, _)| id.as_str()).ok_or(ErrorCode::UnknownMemberId);
        };
        match self.of_instance(instance) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(member) if member != who.member => Err(ErrorCode::FencedInstanceId),
            Some(member) => Ok(member),
        }
    }

    /// `throwIfConsumerGroupMemberEpochIsInvalid`: the epoch before is good as long as the answer
    /// with the newer one may have been lost. A fenced member that joins again is not asked
    /// (KAFKA-19233).
    fn check_epoch(
        &self,
        member: &str,
        epoch: MemberEpoch,
        owned: Option<&[TopicPartition]>,
    ) -> Result<(), ErrorCode> {
        let current = self.current(member);
        let subset =
            || owned.is_some_and(|owned| owned.iter().all(|at| current.assigned.contains_key(at)));
        let lost = epoch < current.epoch && epoch == current.previous && subset();
        match epoch == current.epoch || lost {
            true => Ok(()),
            false => Err(ErrorCode::FencedMemberEpoch),
        }
    }

    /// Takes over what the member says of itself.
    fn describe(&mut self, request: &ConsumerGroupHeartbeat) {
        let member = self.members.entry(request.who.member.clone()).or_default();
        if let Some(instance) = &request.who.instance {
            member.instance = Some(instance.clone());
        }
        if let Some(timeout) = request.rebalance_timeout {
            member.rebalance_timeout = timeout;
        }
        if let Some(topics) = &request.topics {
            member.topics = topics.iter().cloned().collect();
        }
        if let Some(assignor) = &request.assignor {
            member.assignor = Some(assignor.clone());
        }
    }
}

/// `throwIfConsumerGroupHeartbeatRequestIsInvalid`.
fn check_form(request: &ConsumerGroupHeartbeat) -> Result<(), ErrorCode> {
    let ConsumerGroupHeartbeat { group, who, epoch, .. } = request;
    // KIP-1082: a client makes its member id up itself.
    let nameless = group.is_empty() || who.member.is_empty();
    let empty_instance = who.instance.as_ref().is_some_and(String::is_empty);
    let incomplete = *epoch == MemberEpoch::JOIN
        && (request.rebalance_timeout.is_none()
            || request.topics.is_none()
            || request.owned.as_ref().is_none_or(|owned: &Vec<_>| !owned.is_empty()));
    let nobody_static = *epoch == MemberEpoch::LEAVE_STATIC && who.instance.is_none();
    let nonsense = *epoch < MemberEpoch::LEAVE_STATIC;
    if nameless || empty_instance || incomplete || nobody_static || nonsense {
        return Err(ErrorCode::InvalidRequest);
    }
    match &request.assignor {
        Some(name) if assignor::by_name(name).is_none() => Err(ErrorCode::UnsupportedAssignor),
        Some(_) | None => Ok(()),
    }
}
