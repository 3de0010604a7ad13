//! The group coordinator: who reads which partitions of a group's topics, and how far they came.
//!
//! [`Groups`] is one shard of it, for the groups that one partition of the coordinator's log is in
//! charge of. It leaves to its host to append records, to hold answers back until they are
//! confirmed, and to lose all of it with the leadership. What the log says is folded in [`fold`];
//! the rebalances of classic groups ([`classic`]) run beside it, as in Kafka: the log holds a
//! generation once its assignment is there, and whoever takes over goes on from that one.
//!
//! Left out: regular expressions in subscriptions, racks, and the change of a group that has
//! members from the classic protocol to KIP-848 or back. Kafka's
//! `group.consumer.migration.policy=disabled` is what is here: a group without members changes its
//! type, one with members refuses who speaks the other protocol.
//!
//! Source: `GroupCoordinatorService.java`, `GroupCoordinatorShard.java`,
//! `GroupMetadataManager.java`, `OffsetMetadataManager.java`, KIP-848.

mod answer;
mod assignor;
mod classic;
mod consumer;
mod describe;
mod expiry;
mod fold;
mod offsets;
mod record;
mod subscription;
mod timers;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Outcome, Shard};
use crate::ids::{Offset, ProducerId, TopicId};
use crate::mutants::{Mutant, Mutants};
use crate::partition::Asker;
use crate::protocol::{GroupAnswer, GroupRequest, TransactionResult};
use crate::step::Cx;
use crate::time::Dur;

use classic::ClassicGroup;
use fold::Group;
use timers::{Due, Timers};

pub use fold::Fold;
pub use record::{
    Current, MemberState, Record, StoredClassic, StoredEpoch, StoredMember, Subscriber,
};

/// The topics there are, as the broker's image knows them.
pub trait Topics {
    /// The topic of this name: its id and its number of partitions.
    fn topic(&self, name: &str) -> Option<(TopicId, u32)>;

    /// How many partitions this topic has; `None`: there is no such topic.
    fn partitions(&self, topic: TopicId) -> Option<u32>;
}

/// The coordinator's limits; Kafka's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct GroupLimits {
    /// Members of one group (`group.max.size`, `group.consumer.max.size`).
    pub members_max: usize,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Dur,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Dur,
    /// How long the first rebalance of a group waits for more members
    /// (`group.initial.rebalance.delay.ms`).
    pub initial_rebalance_delay: Dur,
    /// How long a new member may wait in its first rebalance (`NewMemberJoinTimeoutMs`).
    pub new_member_join_timeout: Dur,
    /// `group.consumer.session.timeout.ms`.
    pub consumer_session_timeout: Dur,
    /// `group.consumer.heartbeat.interval.ms`.
    pub consumer_heartbeat_interval: Dur,
    /// Offsets of nobody are forgotten after this long (`offsets.retention.minutes`).
    pub offsets_retention: Dur,
    /// How often to look for such (`offsets.retention.check.interval.ms`).
    pub offsets_retention_check: Dur,
    /// Bytes of an offset's metadata (`offset.metadata.max.bytes`).
    pub offset_metadata_bytes_max: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            // Kafka has no limit for classic groups; this bounds what one of them can hold.
            members_max: 1_000,
            session_timeout_min: Dur::secs(6),
            session_timeout_max: Dur::secs(1_800),
            initial_rebalance_delay: Dur::secs(3),
            new_member_join_timeout: Dur::secs(300),
            consumer_session_timeout: Dur::secs(45),
            consumer_heartbeat_interval: Dur::secs(5),
            offsets_retention: Dur::secs(7 * 86_400),
            offsets_retention_check: Dur::secs(600),
            offset_metadata_bytes_max: 4_096,
        }
    }
}

/// One shard of the group coordinator.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Groups {
    limits: GroupLimits,
    /// For the two methods of [`Shard`], which are given none.
    mutants: Mutants,
    /// What the log says.
    log: Fold,
    /// Classic groups that somebody has asked for since the shard was loaded.
    classic: BTreeMap<String, ClassicGroup>,
    timers: Timers,
}

impl Shard for Groups {
    type Record = Record;
    type Answer = GroupAnswer;

    fn replay(&mut self, at: Offset, record: Record, of: Option<ProducerId>) {
        let at_once = self.mutants.on(Mutant::GroupTxnOffsetAtOnce);
        self.log.replay(at, record, of.filter(|_| !at_once));
    }

    fn ended(&mut self, at: Offset, producer: ProducerId, result: TransactionResult) {
        let by_marker = self.mutants.on(Mutant::GroupMarkerOffsetDecides);
        self.log.ended(producer, result, by_marker.then_some(at));
    }
}

impl Groups {
    /// Of an empty log.
    #[must_use]
    pub fn new(limits: GroupLimits, mutants: Mutants) -> Self {
        Self {
            limits,
            mutants,
            log: Fold::default(),
            classic: BTreeMap::new(),
            timers: Timers::default(),
        }
    }

    /// What the log says.
    #[must_use]
    pub fn fold(&self) -> &Fold {
        &self.log
    }

    /// The log was read to its end, and this shard is in charge from now on: all sessions start
    /// again (`GroupMetadataManager.onLoaded`). What is gone by now is forgotten.
    pub fn loaded(&mut self, cx: &Cx, topics: &impl Topics, out: &mut Outcome<Self>) {
        self.timers.arm(Due::Cleanup, self.limits.offsets_retention_check, out);
        self.forget_gone(cx, topics, out);
        if cx.mutants.on(Mutant::GroupSessionsUnseeded) {
            return;
        }
        let names: Vec<String> = self.log.groups.keys().cloned().collect();
        for name in names {
            match &self.log.groups[&name] {
                Group::Classic(stored) if stored.members.is_empty() => {}
                Group::Classic(_) => self.classic_loaded(cx, &name, out),
                Group::Consumer(_) => self.consumer_loaded(&name, out),
            }
        }
    }

    /// Handles a request. Its answer comes in an outcome: this one, or that of a later call.
    /// `out` is empty before.
    pub fn handle(
        &mut self,
        cx: &Cx,
        topics: &impl Topics,
        asker: Asker,
        request: GroupRequest,
        out: &mut Outcome<Self>,
    ) {
        let answer = match request {
            GroupRequest::OffsetCommit(request) => self.offset_commit(cx, topics, request, out),
            GroupRequest::TxnOffsetCommit(request) => {
                self.txn_offset_commit(cx, topics, request, out)
            }
            GroupRequest::OffsetFetch(request) => self.offset_fetch(cx, request),
            GroupRequest::OffsetDelete { group, partitions } => {
                let deleted = self.offset_delete(topics, &group, &partitions, out);
                GroupAnswer::OffsetDelete(deleted)
            }
            GroupRequest::DeleteGroup { group } => {
                GroupAnswer::DeleteGroup(self.delete_group(&group, out))
            }
            GroupRequest::JoinGroup(request) => return self.join_group(cx, asker, request, out),
            GroupRequest::SyncGroup(request) => return self.sync_group(cx, asker, request, out),
            GroupRequest::Heartbeat { group, who, generation } => {
                GroupAnswer::Heartbeat(self.heartbeat(cx, &group, &who, generation, out))
            }
            GroupRequest::LeaveGroup { group, members } => {
                GroupAnswer::LeaveGroup(self.leave_group(cx, &group, members, out))
            }
            GroupRequest::ConsumerGroupHeartbeat(request) => {
                let beat = self.consumer_heartbeat(cx, topics, request, out);
                GroupAnswer::ConsumerGroupHeartbeat(beat)
            }
            GroupRequest::ConsumerGroupDescribe { group } => self.describe_consumer(&group),
            GroupRequest::DescribeGroup { group } => self.describe_classic(&group),
            GroupRequest::ListGroups { states, types } => {
                GroupAnswer::ListGroups(Ok(self.list(&states, &types)))
            }
        };
        out.answers.push((asker, answer));
    }

    /// A timer fired; it is not armed any more.
    pub fn timer(&mut self, cx: &Cx, topics: &impl Topics, number: u64, out: &mut Outcome<Self>) {
        match self.timers.fired(number) {
            None => {}
            Some(Due::Session(group, member)) => match self.log.consumer(&group) {
                Some(_) => self.fence_consumers(&group, &[member], out),
                None => self.classic_session_over(cx, &group, &member, out),
            },
            Some(Due::Join(group)) => self.classic_join_over(cx, &group, out),
            Some(Due::Sync(group)) => self.classic_sync_over(cx, &group, out),
            Some(Due::Revocation(group, member)) => self.revocation_over(&group, member, out),
            Some(Due::Cleanup) => self.clean_up(cx, topics, out),
        }
    }

    /// Those who wait for others, and what to tell them when the leadership is lost. Those whose
    /// answers are in an outcome already are the host's business.
    #[must_use]
    pub fn parked(&self) -> Vec<(Asker, GroupAnswer)> {
        self.classic.values().flat_map(ClassicGroup::parked).collect()
    }

    /// The numbers of the timers that are armed.
    pub fn armed(&self) -> impl Iterator<Item = u64> {
        self.timers.armed()
    }

    /// Forgets a group's volatile side: the log's is about to go.
    fn forget_group(&mut self, group: &str, out: &mut Outcome<Self>) {
        self.classic.remove(group);
        self.timers.disarm_group(group, out);
    }
}

#[cfg(test)]
mod tests;
