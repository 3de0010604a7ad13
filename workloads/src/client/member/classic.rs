//! Membership by the classic protocol: join, get the assignment from whoever leads the group, say
//! that one lives; at a rebalance, come again.
//!
//! Eager: everything is given up before each join. Cooperative: only what was taken away is, and
//! then the member comes again. Source: `AbstractCoordinator.java`, `ConsumerCoordinator.java`,
//! KIP-345, KIP-394, KIP-429, KIP-814.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::{TopicId, TopicPartition};
use broker_core::protocol::{
    ErrorCode, Generation, GroupAnswer, GroupRequest, JoinGroup, Joined, MemberIdentity, SyncGroup,
};
use bytes::Bytes;

use super::balance::{self, Known};
use super::{Call, Charge, Claim, REBALANCE_TIMEOUT, SESSION_TIMEOUT, Standing, of_coordinator};

const PROTOCOL_TYPE: &str = "consumer";

/// A membership.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Classic {
    cooperative: bool,
    /// The newest that it was part of.
    generation: Generation,
    stage: Stage,
    /// It was a member until now, and has not yet begun to come again.
    comes_again: bool,
    part: BTreeSet<TopicPartition>,
    /// The topic that its part is of.
    topic: Option<TopicId>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Must join.
    Out,
    /// Must ask for its part; the leader, tell all members: their ids, and what they said.
    Joined(Vec<(String, Bytes)>),
    In,
}

impl Classic {
    pub(super) fn new(cooperative: bool) -> Self {
        let (stage, part) = (Stage::Out, BTreeSet::new());
        let (generation, comes_again, topic) = (Generation::NONE, false, None);
        Self { cooperative, generation, stage, comes_again, part, topic }
    }

    pub(super) fn is_cooperative(&self) -> bool {
        self.cooperative
    }

    pub(super) fn is_in(&self) -> bool {
        self.stage == Stage::In
    }

    pub(super) fn is_settled(&self, claims: &BTreeMap<TopicPartition, Claim>) -> bool {
        self.is_in() && claims.keys().eq(&self.part)
    }

    pub(super) fn must_speak(&self) -> bool {
        !self.is_in()
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Which topic has the name now, as far as known. Another one than its part is of: it comes
    /// again (`ConsumerCoordinator.rejoinNeededOrPending`; there the name is all that counts,
    /// KAFKA-12257).
    pub(super) fn topic_is(&mut self, topic: Option<TopicId>) {
        if self.is_in() && topic.is_some() && topic != self.topic {
            self.goes_out();
        }
    }

    /// What must be let go now.
    pub(super) fn gives_up(&self, claims: &BTreeMap<TopicPartition, Claim>) -> Vec<TopicPartition> {
        let gives = |at: &&TopicPartition| match self.stage {
            Stage::Out => !self.cooperative,
            Stage::Joined(_) => false,
            Stage::In => !self.part.contains(at),
        };
        claims.keys().filter(gives).copied().collect()
    }

    /// Something was let go: by the cooperative protocol it comes again, so that another can have
    /// that.
    pub(super) fn gave_up(&mut self) {
        if self.is_in() {
            self.goes_out();
        }
    }

    /// Whether it is about to come again; true once.
    pub(super) fn comes_again(&mut self) -> bool {
        core::mem::take(&mut self.comes_again)
    }

    fn goes_out(&mut self) {
        self.comes_again = self.is_in();
        self.stage = Stage::Out;
    }

    pub(super) fn ask(
        &self,
        charge: &Charge,
        who: MemberIdentity,
        claims: &BTreeMap<TopicPartition, Claim>,
        partitions: u32,
    ) -> (Option<Call>, GroupRequest) {
        let (group, generation) = (charge.group.clone(), self.generation);
        match &self.stage {
            Stage::In => (None, GroupRequest::Heartbeat { group, who, generation }),
            Stage::Out => {
                let has = claims.keys().map(|at| at.index);
                let metadata = balance::subscription(&charge.topic, has);
                (
                    None,
                    GroupRequest::JoinGroup(JoinGroup {
                        group,
                        client: format!("reader-of-{}", charge.topic),
                        who,
                        session_timeout: SESSION_TIMEOUT,
                        rebalance_timeout: REBALANCE_TIMEOUT,
                        protocol_type: PROTOCOL_TYPE.to_string(),
                        protocols: vec![(self.strategy().to_string(), metadata)],
                        member_id_required: true,
                        skips_assignment: true,
                    }),
                )
            }
            Stage::Joined(members) => {
                let call = Call::SyncGroup {
                    group: group.clone(),
                    member: who.member.clone(),
                    instance: who.instance.clone(),
                    generation,
                };
                (
                    Some(call),
                    GroupRequest::SyncGroup(SyncGroup {
                        group,
                        who,
                        generation,
                        protocol_type: Some(PROTOCOL_TYPE.to_string()),
                        protocol: Some(self.strategy().to_string()),
                        assignments: self.assigns(&charge.topic, members, partitions),
                    }),
                )
            }
        }
    }

    fn strategy(&self) -> &'static str {
        if self.cooperative { "cooperative-sticky" } else { "range" }
    }

    fn assigns(
        &self,
        topic: &str,
        members: &[(String, Bytes)],
        partitions: u32,
    ) -> Vec<(String, Bytes)> {
        let known = members.iter().map(|(member, said)| {
            let (reads, has) = balance::read_subscription(said, topic);
            Known { member: member.clone(), reads, has }
        });
        let known: Vec<_> = known.collect();
        let parts = match self.cooperative {
            true => balance::sticky(&known, partitions),
            false => balance::range(&known, partitions),
        };
        let part = |member: &Known| {
            let part = parts.get(&member.member).cloned().unwrap_or_default();
            (member.member.clone(), balance::assignment(topic, &part))
        };
        known.iter().map(part).collect()
    }

    /// `None`: this is no answer to the request.
    pub(super) fn answered(
        &mut self,
        answer: GroupAnswer,
        (topic, id): (&str, Option<TopicId>),
        who: &mut MemberIdentity,
    ) -> Option<Standing> {
        Some(match (&self.stage, answer) {
            (Stage::In, GroupAnswer::Heartbeat(Ok(()))) => Standing::Fine,
            (Stage::In, GroupAnswer::Heartbeat(Err(code))) => self.turned_away(code, who),
            (Stage::Out, GroupAnswer::JoinGroup(Ok(joined))) => {
                let Joined { member, generation, members, .. } = joined;
                who.member = member;
                self.generation = generation;
                let said = members.into_iter().map(|(member, said)| (member.member, said));
                self.stage = Stage::Joined(said.collect());
                Standing::Fine
            }
            (Stage::Out, GroupAnswer::JoinGroup(Err(refused))) => {
                if refused.code == ErrorCode::MemberIdRequired {
                    who.member = refused.member;
                    return Some(Standing::Fine);
                }
                self.turned_away(refused.code, who)
            }
            (Stage::Joined(_), GroupAnswer::SyncGroup(Ok(synced))) => {
                let part = balance::read_assignment(&synced.assignment, topic, id?)?;
                (self.stage, self.part, self.topic) = (Stage::In, part.clone(), id);
                Standing::Assigned(part)
            }
            (Stage::Joined(_), GroupAnswer::SyncGroup(Err(code))) => self.turned_away(code, who),
            _ => return None,
        })
    }

    /// What a refusal means, of whatever was asked.
    pub(super) fn turned_away(&mut self, code: ErrorCode, who: &mut MemberIdentity) -> Standing {
        if let Some(standing) = of_coordinator(code) {
            return standing;
        }
        match code {
            // A rebalance: it comes again, with what it has.
            ErrorCode::RebalanceInProgress => {
                self.goes_out();
                Standing::Again(code)
            }
            ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId => {
                self.stage = Stage::Out;
                self.generation = Generation::NONE;
                if code == ErrorCode::UnknownMemberId {
                    who.member.clear();
                }
                Standing::Expelled(code)
            }
            // FencedInstanceId; or a group of another protocol, and what else does not pass.
            _ => Standing::Over(code),
        }
    }
}
