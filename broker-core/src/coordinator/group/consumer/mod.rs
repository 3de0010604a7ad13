//! A KIP-848 group: its members, what each is meant to own, and how far each has come.
//!
//! All of it is in the log, so that a request works on a copy, and the difference is what is
//! written ([`ConsumerGroup::changes`]). How a heartbeat changes it is in [`heartbeat`], how a
//! member comes from what it owns to what it is meant to own in [`reconcile`]. Source:
//! `ConsumerGroup.java`, `ConsumerGroupMember.java`, KIP-848, KIP-1251.

mod heartbeat;
mod reconcile;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::offsets::Commit;
use super::record::{Current, MemberState, Record, StoredEpoch, Subscriber};
use super::timers::Due;
use super::{Groups, Topics};
use crate::coordinator::Outcome;
use crate::ids::{TopicId, TopicPartition};
use crate::mutants::Mutant;
use crate::protocol::{ErrorCode, Generation, GroupState, MemberEpoch};
use crate::step::Cx;

/// A KIP-848 group. A member that has no entry in `current` has epoch 0 and owns nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct ConsumerGroup {
    pub(super) stored: StoredEpoch,
    pub(super) members: BTreeMap<String, Subscriber>,
    pub(super) target: BTreeMap<String, BTreeSet<TopicPartition>>,
    pub(super) target_epoch: MemberEpoch,
    pub(super) current: BTreeMap<String, Current>,
}

impl ConsumerGroup {
    pub(super) fn epoch(&self) -> MemberEpoch {
        self.stored.epoch
    }

    /// How far the member has come.
    pub(super) fn current(&self, member: &str) -> Current {
        self.current.get(member).cloned().unwrap_or_default()
    }

    /// The static member of this instance.
    fn of_instance(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.as_str())
    }

    /// Names of the topics of all subscriptions.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.members.values().flat_map(|member| member.topics.iter().map(String::as_str))
    }

    /// `ConsumerGroup.maybeUpdateGroupState`.
    pub(super) fn state(&self) -> GroupState {
        let reconciled = |member: &String| {
            let current = self.current(member);
            current.state == MemberState::Stable && current.epoch == self.target_epoch
        };
        match () {
            () if self.members.is_empty() => GroupState::Empty,
            () if self.epoch() > self.target_epoch => GroupState::Assigning,
            () if !self.members.keys().all(reconciled) => GroupState::Reconciling,
            () => GroupState::Stable,
        }
    }

    /// `ConsumerGroup.validateOffsetCommit`. A member may commit with an epoch before its own for
    /// what it has owned since (KIP-1251).
    pub(super) fn may_commit(&self, cx: &Cx, commit: &Commit<'_>) -> Result<(), ErrorCode> {
        if commit.generation < Generation(0) && self.members.is_empty() {
            return Ok(());
        }
        if commit.transactional && commit.is_nobodys() {
            return Ok(());
        }
        if !self.members.contains_key(&commit.who.member) {
            return Err(ErrorCode::UnknownMemberId);
        }
        let current = self.current(&commit.who.member);
        let said = MemberEpoch::from(commit.generation);
        if said == current.epoch || cx.mutants.on(Mutant::GroupMemberEpochUnchecked) {
            return Ok(());
        }
        let since = |at: &TopicPartition| {
            current.assigned.get(at).or_else(|| current.revoking.get(at)).copied()
        };
        let owned = |at: &TopicPartition| since(at).is_some_and(|since| since <= said);
        let all_owned = commit.partitions.iter().all(owned);
        match said < current.epoch && all_owned {
            true => Ok(()),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// `ConsumerGroup.validateOffsetFetch`.
    pub(super) fn may_fetch(&self, member: &str, epoch: MemberEpoch) -> Result<(), ErrorCode> {
        if !self.members.contains_key(member) {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.current(member).epoch == epoch {
            true => Ok(()),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// The topics of these subscriptions that exist.
    fn resolve(&self, topics: &impl Topics) -> BTreeMap<String, (TopicId, u32)> {
        let known = |name: &str| Some((name.to_string(), topics.topic(name)?));
        self.topics().filter_map(known).collect()
    }

    fn raise(&mut self) {
        let next = self.stored.epoch.0.checked_add(1).expect("a group's epochs are few");
        self.stored.epoch = MemberEpoch(next);
    }

    fn remove(&mut self, member: &str) {
        self.members.remove(member);
        self.target.remove(member);
        self.current.remove(member);
    }

    /// The records that make `before` this.
    fn changes(&self, before: &Self, group: &str, out: &mut Outcome<Groups>) {
        let one = || group.to_string();
        let mut write = |record| out.records.push(record);
        for member in before.current.keys().filter(|id| !self.current.contains_key(*id)) {
            write(Record::Current(one(), member.clone(), None));
        }
        for member in before.target.keys().filter(|id| !self.target.contains_key(*id)) {
            write(Record::Target(one(), member.clone(), None));
        }
        for member in before.members.keys().filter(|id| !self.members.contains_key(*id)) {
            write(Record::Subscriber(one(), member.clone(), None));
        }
        for (id, member) in changed(&before.members, &self.members) {
            write(Record::Subscriber(one(), id, Some(member)));
        }
        if before.stored != self.stored {
            write(Record::Epoch(one(), Some(self.stored.clone())));
        }
        for (id, target) in changed(&before.target, &self.target) {
            write(Record::Target(one(), id, Some(target)));
        }
        if before.target_epoch != self.target_epoch {
            write(Record::TargetEpoch(one(), Some(self.target_epoch)));
        }
        for (id, current) in changed(&before.current, &self.current) {
            write(Record::Current(one(), id, Some(current)));
        }
    }
}

/// The entries that are new or have another value.
fn changed<T: Clone + PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> Vec<(String, T)> {
    let differs = |(id, value): &(&String, &T)| before.get(*id) != Some(*value);
    after.iter().filter(differs).map(|(id, value)| (id.clone(), value.clone())).collect()
}

impl Groups {
    pub(super) fn consumer_loaded(&mut self, name: &str, out: &mut Outcome<Self>) {
        let Some(group) = self.log.consumer(name) else { return };
        for (id, member) in &group.members {
            let session = self.limits.consumer_session_timeout;
            self.timers.arm(Due::session(name, id), session, out);
            let current = group.current(id);
            let away = current.epoch == MemberEpoch::LEAVE_STATIC;
            if current.state == MemberState::Unrevoked && !away {
                let due = Due::revocation(name, id);
                self.timers.arm(due, member.rebalance_timeout, out);
            }
        }
    }

    /// A member took too long to give its partitions up. The timer is disarmed when it does.
    pub(super) fn revocation_over(&mut self, name: &str, member: String, out: &mut Outcome<Self>) {
        let state = self.log.consumer(name).map(|group| group.current(&member).state);
        if state == Some(MemberState::Unrevoked) {
            self.fence_consumers(name, &[member], out);
        }
    }

    /// Ends memberships (`consumerGroupFenceMembers`). The new target is made by the next
    /// heartbeat.
    pub(super) fn fence_consumers(
        &mut self,
        name: &str,
        members: &[String],
        out: &mut Outcome<Self>,
    ) {
        let Some(before) = self.log.consumer(name) else { return };
        let mut group = before.clone();
        for member in members {
            self.timers.disarm(&Due::session(name, member), out);
            self.timers.disarm(&Due::revocation(name, member), out);
            group.remove(member);
        }
        if group.members.len() < before.members.len() {
            group.stored.topics.retain(|topic, _| {
                group.members.values().any(|member| member.topics.contains(topic))
            });
            group.raise();
        }
        group.changes(before, name, out);
    }
}
