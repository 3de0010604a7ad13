//! Membership by KIP-848: one request says it all, and the coordinator assigns.
//!
//! What was said once is not said again, unless an answer was lost. A partition that is taken away
//! is given up, and that is said at once; one that is given is free. Source:
//! `ConsumerHeartbeatRequestManager.java`, `AbstractMembershipManager.java`, KIP-848.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::TopicPartition;
use broker_core::protocol::{
    ConsumerGroupHeartbeat, ErrorCode, Generation, GroupAnswer, GroupRequest, MemberEpoch,
    MemberIdentity,
};
use broker_core::time::Dur;

use super::{Charge, Claim, HEARTBEAT_INTERVAL, REBALANCE_TIMEOUT, Standing, of_coordinator};

/// A membership.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Consumer {
    epoch: MemberEpoch,
    /// What it may own, by the coordinator's newest word.
    part: BTreeSet<TopicPartition>,
    /// What it said that it owns; `None`: all must be said again.
    said: Option<BTreeSet<TopicPartition>>,
}

impl Consumer {
    pub(super) fn new() -> Self {
        Self { epoch: MemberEpoch::JOIN, part: BTreeSet::new(), said: None }
    }

    pub(super) fn epoch(&self) -> MemberEpoch {
        self.epoch
    }

    pub(super) fn generation(&self) -> Generation {
        Generation(self.epoch.0)
    }

    pub(super) fn is_in(&self) -> bool {
        self.epoch != MemberEpoch::JOIN
    }

    pub(super) fn is_settled(&self, claims: &BTreeMap<TopicPartition, Claim>) -> bool {
        self.is_in() && claims.keys().eq(&self.part)
    }

    pub(super) fn must_speak(&self, claims: &BTreeMap<TopicPartition, Claim>) -> bool {
        !self.is_in() || !self.said.as_ref().is_some_and(|said| claims.keys().eq(said))
    }

    pub(super) fn gives_up(&self, claims: &BTreeMap<TopicPartition, Claim>) -> Vec<TopicPartition> {
        claims.keys().filter(|at| !self.part.contains(at)).copied().collect()
    }

    pub(super) fn ask(
        &mut self,
        charge: &Charge,
        who: MemberIdentity,
        claims: &BTreeMap<TopicPartition, Claim>,
    ) -> GroupRequest {
        let owned: BTreeSet<_> = claims.keys().copied().collect();
        let all = self.said.is_none() || !self.is_in();
        let news = all || self.said.as_ref() != Some(&owned);
        let listed = owned.iter().copied().collect();
        self.said = Some(owned);
        GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeat {
            group: charge.group.clone(),
            who,
            epoch: self.epoch,
            rebalance_timeout: all.then_some(REBALANCE_TIMEOUT),
            topics: all.then(|| vec![charge.topic.clone()]),
            assignor: None,
            owned: news.then_some(listed),
        })
    }

    pub(super) fn leave(&self, charge: &Charge, who: MemberIdentity) -> GroupRequest {
        let epoch = match who.instance {
            Some(_) => MemberEpoch::LEAVE_STATIC,
            None => MemberEpoch::LEAVE,
        };
        GroupRequest::ConsumerGroupHeartbeat(ConsumerGroupHeartbeat {
            group: charge.group.clone(),
            who,
            epoch,
            rebalance_timeout: None,
            topics: None,
            assignor: None,
            owned: None,
        })
    }

    /// `None`: this is no answer to the request. With it, when to come again.
    pub(super) fn answered(&mut self, answer: GroupAnswer) -> Option<(Standing, Dur)> {
        let GroupAnswer::ConsumerGroupHeartbeat(result) = answer else { return None };
        Some(match result {
            Ok(beat) => {
                self.epoch = beat.epoch;
                let standing = match beat.assignment {
                    None => Standing::Fine,
                    Some(part) => {
                        self.part = part.into_iter().collect();
                        Standing::Assigned(self.part.clone())
                    }
                };
                (standing, beat.interval)
            }
            Err(code) => (self.turned_away(code), HEARTBEAT_INTERVAL),
        })
    }

    /// What a refusal means, of whatever was asked.
    pub(super) fn turned_away(&mut self, code: ErrorCode) -> Standing {
        self.said = None;
        if let Some(standing) = of_coordinator(code) {
            return standing;
        }
        match code {
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => {
                (self.epoch, self.part) = (MemberEpoch::JOIN, BTreeSet::new());
                Standing::Expelled(code)
            }
            // The coordinator has raised it, and its answer is on its way or was lost; or the one
            // that had the instance has not left.
            ErrorCode::StaleMemberEpoch | ErrorCode::UnreleasedInstanceId => Standing::Wait(code),
            _ => Standing::Over(code),
        }
    }

    /// The newest request got no answer: the coordinator may not have heard it.
    pub(super) fn unanswered(&mut self) {
        self.said = None;
    }
}
