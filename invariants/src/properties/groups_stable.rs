//! LV6 GroupsStable: in the healthy core every member of a group comes to have its part, and the
//! members together have the whole topic, each partition once. Where a member may be cut off, only
//! the others are judged, and only by what each has itself. Source: KIP-848 ("Group State"),
//! Kafka's `ClassicGroupState.STABLE`, KAFKA-18060.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{TopicId, TopicPartition};

use super::readers_progress::is_connected;
use crate::facts::Facts;
use crate::view::{Membership, View};

pub(crate) fn owed(facts: &Facts, view: &dyn View) -> Vec<String> {
    let exists = |of: &Membership| {
        let topic = of.topic;
        topic.is_some_and(|topic| partitions(facts, topic).next().is_some())
    };
    let members: Vec<Membership> = view.memberships().into_iter().filter(exists).collect();
    let judged = |member: &Membership| is_connected(member.client, facts, view);
    let unsettled = members.iter().filter(|member| judged(member) && !member.settled);
    let mut owed: Vec<String> = unsettled
        .map(|Membership { client, op, group, .. }| {
            alloc::format!("LV6: client {client}, operation {op} has no part in {group:?} yet")
        })
        .collect();
    let mut by_group: BTreeMap<(&str, TopicId), Vec<&Membership>> = BTreeMap::new();
    for member in &members {
        let topic = member.topic.expect("just filtered");
        by_group.entry((&member.group, topic)).or_default().push(member);
    }
    for ((group, topic), members) in by_group {
        if !members.iter().all(|member| judged(member) && member.settled) {
            continue;
        }
        let mut free: BTreeSet<TopicPartition> = partitions(facts, topic).collect();
        for at in members.iter().flat_map(|member| &member.claims) {
            if !free.remove(at) {
                owed.push(alloc::format!("LV6: two members of {group:?} have {:?}", at.index));
            }
        }
        if let Some(at) = free.first() {
            owed.push(alloc::format!("LV6: nobody in {group:?} has {:?}", at.index));
        }
    }
    owed
}

/// Whether several members of a group have something.
pub(crate) fn is_shared(view: &dyn View) -> bool {
    let mut groups = BTreeSet::new();
    let having = view.memberships().into_iter().filter(|member| !member.claims.is_empty());
    having.map(|member| member.group).any(|group| !groups.insert(group))
}

fn partitions(facts: &Facts, topic: TopicId) -> impl Iterator<Item = TopicPartition> {
    let all = facts.ledger.partitions.keys().copied();
    all.filter(move |partition| partition.topic == topic)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::testing::{A, A_EPOCH, B, Case, P};

    fn member(op: u32, claims: &[TopicPartition], settled: bool) -> Membership {
        let (client, group, topic, stays) = (2, "g".into(), Some(P.topic), true);
        Membership { client, op, group, topic, settled, stays, claims: claims.to_vec() }
    }

    fn at_rest(members: Vec<Membership>) -> Case {
        let mut case = Case::cluster("LV6");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]);
        case.fake.memberships = members;
        case.heal().finish();
        case
    }

    #[test]
    fn member_without_a_part_breaks() {
        assert!(at_rest(vec![member(0, &[P], true), member(1, &[], false)]).breaks("LV6"));
    }

    #[test]
    fn partition_that_nobody_has_breaks() {
        assert!(at_rest(vec![member(0, &[], true)]).breaks("LV6"));
    }

    #[test]
    fn partition_that_two_have_breaks() {
        assert!(at_rest(vec![member(0, &[P], true), member(1, &[P], true)]).breaks("LV6"));
    }

    #[test]
    fn whole_topic_in_one_hand_holds() {
        assert!(at_rest(vec![member(0, &[P], true), member(1, &[], true)]).holds());
    }

    #[test]
    fn group_without_members_and_one_that_may_be_cut_off_hold() {
        assert!(at_rest(vec![]).holds());
        let mut case = Case::cluster("LV6");
        case.commit(0, (A, A_EPOCH), (A, A_EPOCH), 0, &[(0, 3, 100)]);
        case.fake.outside.insert(B);
        case.fake.memberships = vec![member(0, &[], false)];
        case.heal().finish();
        assert!(case.holds());
    }
}
