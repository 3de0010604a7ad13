//! How a member of a KIP-848 group comes from what it owns to what it is meant to own.
//!
//! First it gives up what it must, and stays in its epoch until it says that it did; then it comes
//! to the target's epoch, with what nobody else owns any more. Source:
//! `CurrentAssignmentBuilder.java`, KIP-848 ("Reconciliation").

use alloc::collections::{BTreeMap, BTreeSet};

use super::ConsumerGroup;
use crate::coordinator::group::Topics;
use crate::coordinator::group::record::{Current, MemberState};
use crate::ids::TopicPartition;
use crate::mutants::Mutant;
use crate::protocol::MemberEpoch;
use crate::step::Cx;

impl ConsumerGroup {
    /// The member's next step. `owned` is what it says that it owns.
    pub(super) fn reconcile(
        &self,
        cx: &Cx,
        topics: &impl Topics,
        member: &str,
        owned: Option<&[TopicPartition]>,
    ) -> Current {
        let current = self.current(member);
        let next = match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => false,
            MemberState::Unrevoked => !holds(owned, &current.revoking),
            MemberState::Stable | MemberState::Unreleased => true,
        };
        if next { self.advance(cx, topics, member, &current, owned) } else { current }
    }

    /// `computeNextAssignment`.
    fn advance(
        &self,
        cx: &Cx,
        topics: &impl Topics,
        member: &str,
        current: &Current,
        owned: Option<&[TopicPartition]>,
    ) -> Current {
        let target = self.reachable(topics, member);
        let (kept, revoking): (BTreeMap<_, _>, BTreeMap<_, _>) = current
            .assigned
            .iter()
            .map(|(at, since)| (*at, *since))
            .partition(|(at, _)| target.contains(at));
        let early = cx.mutants.on(Mutant::GroupGivenBeforeRevoked);
        if !revoking.is_empty() && holds(owned, &revoking) {
            return Current {
                epoch: current.epoch,
                previous: current.epoch,
                state: MemberState::Unrevoked,
                assigned: kept,
                revoking,
            };
        }
        // What the member itself was about to give up it can have back at once.
        let wanted = target.iter().filter(|at| !kept.contains_key(*at));
        let (taken, free): (BTreeSet<TopicPartition>, BTreeSet<TopicPartition>) =
            wanted.partition(|at| !early && self.is_owned_by_another(member, **at));
        let mut assigned = kept;
        assigned.extend(free.into_iter().map(|at| (at, self.target_epoch)));
        let state = match taken.is_empty() {
            true => MemberState::Stable,
            false => MemberState::Unreleased,
        };
        Current {
            epoch: self.target_epoch,
            previous: current.epoch,
            state,
            assigned,
            revoking: BTreeMap::new(),
        }
    }

    /// The member's target, without topics that it does not read any more or that are gone.
    fn reachable(&self, topics: &impl Topics, member: &str) -> BTreeSet<TopicPartition> {
        let Some(target) = self.target.get(member) else { return BTreeSet::new() };
        let names = self.members.get(member).map(|member| &member.topics);
        let ids: BTreeSet<_> =
            names.into_iter().flatten().filter_map(|name| Some(topics.topic(name)?.0)).collect();
        target.iter().filter(|at| ids.contains(&at.topic)).copied().collect()
    }

    /// `currentPartitionEpoch` is not −1: somebody owns it, or has not said that it gave it up.
    fn is_owned_by_another(&self, member: &str, at: TopicPartition) -> bool {
        let mut others = self.current.iter().filter(|(id, _)| *id != member);
        others.any(|(_, it)| it.assigned.contains_key(&at) || it.revoking.contains_key(&at))
    }
}

/// `ownsRevokedPartitions`: who does not say what it owns may own all of it.
fn holds(
    owned: Option<&[TopicPartition]>,
    revoking: &BTreeMap<TopicPartition, MemberEpoch>,
) -> bool {
    owned.is_none_or(|owned| owned.iter().any(|at| revoking.contains_key(at)))
}
