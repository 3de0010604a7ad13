//! What tools ask of groups: DescribeGroups, ConsumerGroupDescribe, ListGroups.
//!
//! Source: `GroupMetadataManager.java` (`describeGroups`, `consumerGroupDescribe`, `listGroups`).

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::classic::State;
use super::consumer::ConsumerGroup;
use super::{Groups, assignor};
use crate::protocol::{
    DescribedConsumer, DescribedConsumerGroup, DescribedGroup, ErrorCode, GroupAnswer, GroupType,
    ListedGroup, MemberIdentity,
};

impl Groups {
    pub(super) fn describe_consumer(&self, group: &str) -> GroupAnswer {
        let described = self.log.consumer(group).map(ConsumerGroup::described);
        GroupAnswer::ConsumerGroupDescribe(described.ok_or(ErrorCode::GroupIdNotFound))
    }

    /// KIP-1043: a group that is not there, or is of the other kind, is said not to be found.
    pub(super) fn describe_classic(&self, group: &str) -> GroupAnswer {
        let Some(group) = self.peek_classic(group) else {
            return GroupAnswer::DescribeGroup(Err(ErrorCode::GroupIdNotFound));
        };
        let stable = group.state == State::Stable;
        let protocol = group.protocol.clone().filter(|_| stable).unwrap_or_default();
        let member = |(id, member): (&String, &super::classic::Member)| {
            let (metadata, assignment) = match stable {
                true => member.part(&protocol),
                false => (Bytes::new(), Bytes::new()),
            };
            (member.identity(id), metadata, assignment)
        };
        GroupAnswer::DescribeGroup(Ok(DescribedGroup {
            state: group.state.told(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            members: group.members.iter().map(member).collect(),
            protocol,
        }))
    }

    /// All groups of this shard, or those in these states and of these types.
    #[must_use]
    pub fn list(&self, states: &[String], types: &[GroupType]) -> Vec<ListedGroup> {
        let mut names: Vec<&String> = self.log.groups.keys().chain(self.classic.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let listed = |name: &String| {
            let (kind, state, protocol_type) = match self.log.consumer(name) {
                Some(group) => {
                    (GroupType::Consumer, group.state(), super::subscription::CONSUMER.into())
                }
                None => {
                    let group = self.peek_classic(name)?;
                    let protocol_type = group.protocol_type.clone().unwrap_or_default();
                    (GroupType::Classic, group.state.told(), protocol_type)
                }
            };
            let wanted = states.is_empty()
                || states.iter().any(|wanted| wanted.eq_ignore_ascii_case(state.name()));
            let wanted = wanted && (types.is_empty() || types.contains(&kind));
            wanted.then(|| ListedGroup { group: name.clone(), kind, state, protocol_type })
        };
        names.into_iter().filter_map(listed).collect()
    }
}

impl ConsumerGroup {
    fn described(&self) -> DescribedConsumerGroup {
        let member = |(id, member): (&String, &super::record::Subscriber)| {
            let current = self.current(id);
            let target = self.target.get(id).into_iter().flatten();
            DescribedConsumer {
                who: MemberIdentity { member: id.clone(), instance: member.instance.clone() },
                epoch: current.epoch,
                topics: member.topics.iter().cloned().collect(),
                assignment: current.assigned.keys().copied().collect(),
                target: target.copied().collect(),
            }
        };
        DescribedConsumerGroup {
            state: self.state(),
            epoch: self.epoch(),
            assignment_epoch: self.target_epoch,
            assignor: assignor::chosen(&self.members).name().into(),
            members: self.members.iter().map(member).collect(),
        }
    }
}
