//! The group coordinator's requests and answers as plain data: offsets, the classic protocol,
//! KIP-848, and what tools ask.
//!
//! What they mean is [`crate::coordinator::group`]'s business; older versions of them, which name
//! topics by name or know fewer fields, are the shell's. Source: Kafka's protocol guide, KIP-345,
//! KIP-394, KIP-447, KIP-496, KIP-800, KIP-848.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ErrorCode, TransactionVersion};
use crate::batch::TimestampMs;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::time::Dur;

/// Counts the rebalances of a classic group. In commits −1 stands for "none", and for a member of a
/// KIP-848 group it is the member's epoch.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub i32);

impl Generation {
    /// What who is not a member of any group says.
    pub const NONE: Self = Self(-1);
}

/// The epoch of a KIP-848 group, of its target assignment, or that a member has reached.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MemberEpoch(pub i32);

impl MemberEpoch {
    /// Joins, or joins again after it was fenced.
    pub const JOIN: Self = Self(0);
    /// Leaves.
    pub const LEAVE: Self = Self(-1);
    /// A static member that leaves and means to come back.
    pub const LEAVE_STATIC: Self = Self(-2);
}

/// What a client can ask of a group coordinator.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum GroupRequest {
    /// Commit offsets.
    OffsetCommit(OffsetCommit),
    /// Commit offsets as part of a transaction.
    TxnOffsetCommit(TxnOffsetCommit),
    /// Read committed offsets.
    OffsetFetch(OffsetFetch),
    /// Forget committed offsets (KIP-496).
    OffsetDelete {
        /// The group.
        group: String,
        /// Whose offsets.
        partitions: Vec<TopicPartition>,
    },
    /// Forget a group that has no members. Of this and the two below, Kafka's protocol has several
    /// in one request: the shell splits them.
    DeleteGroup {
        /// The group.
        group: String,
    },
    /// Become a member, or take part in a rebalance.
    JoinGroup(JoinGroup),
    /// Tell (the leader) or ask for (everyone) the assignment of a generation.
    SyncGroup(SyncGroup),
    /// Stay a member.
    Heartbeat {
        /// The group.
        group: String,
        /// Who.
        who: MemberIdentity,
        /// The member's generation.
        generation: Generation,
    },
    /// End memberships.
    LeaveGroup {
        /// The group.
        group: String,
        /// Whose. With an instance id, an empty member id stands for whoever has it now.
        members: Vec<MemberIdentity>,
    },
    /// KIP-848: join, stay, leave, all in one.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeat),
    /// A KIP-848 group in detail.
    ConsumerGroupDescribe {
        /// Which.
        group: String,
    },
    /// A classic group in detail.
    DescribeGroup {
        /// Which.
        group: String,
    },
    /// All groups.
    ListGroups {
        /// Only in these states; none: all.
        states: Vec<String>,
        /// Only of these types; none: all.
        types: Vec<GroupType>,
    },
}

impl GroupRequest {
    /// The group whose coordinator must answer; `None`: every broker answers for those it has.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::OffsetCommit(OffsetCommit { group, .. })
            | Self::TxnOffsetCommit(TxnOffsetCommit { group, .. })
            | Self::OffsetFetch(OffsetFetch { group, .. })
            | Self::OffsetDelete { group, .. }
            | Self::JoinGroup(JoinGroup { group, .. })
            | Self::SyncGroup(SyncGroup { group, .. })
            | Self::Heartbeat { group, .. }
            | Self::LeaveGroup { group, .. }
            | Self::ConsumerGroupHeartbeat(ConsumerGroupHeartbeat { group, .. })
            | Self::DeleteGroup { group }
            | Self::ConsumerGroupDescribe { group }
            | Self::DescribeGroup { group } => Some(group),
            Self::ListGroups { .. } => None,
        }
    }

    /// The answer that says nothing but this.
    #[must_use]
    pub fn refusal(&self, code: ErrorCode) -> GroupAnswer {
        fn commit(offsets: &[OffsetToCommit], code: ErrorCode) -> Each<TopicPartition> {
            offsets.iter().map(|it| (it.partition, Err(code))).collect()
        }
        match self {
            Self::OffsetCommit(request) => {
                GroupAnswer::OffsetCommit(commit(&request.offsets, code))
            }
            Self::TxnOffsetCommit(request) => {
                GroupAnswer::TxnOffsetCommit(commit(&request.offsets, code))
            }
            Self::OffsetFetch(_) => GroupAnswer::OffsetFetch(Err(code)),
            Self::OffsetDelete { .. } => GroupAnswer::OffsetDelete(Err(code)),
            Self::DeleteGroup { .. } => GroupAnswer::DeleteGroup(Err(code)),
            Self::JoinGroup(request) => {
                let member = request.who.member.clone();
                GroupAnswer::JoinGroup(Err(JoinRefused { code, member }))
            }
            Self::SyncGroup(_) => GroupAnswer::SyncGroup(Err(code)),
            Self::Heartbeat { .. } => GroupAnswer::Heartbeat(Err(code)),
            Self::LeaveGroup { .. } => GroupAnswer::LeaveGroup(Err(code)),
            Self::ConsumerGroupHeartbeat(_) => GroupAnswer::ConsumerGroupHeartbeat(Err(code)),
            Self::ConsumerGroupDescribe { .. } => GroupAnswer::ConsumerGroupDescribe(Err(code)),
            Self::DescribeGroup { .. } => GroupAnswer::DescribeGroup(Err(code)),
            Self::ListGroups { .. } => GroupAnswer::ListGroups(Err(code)),
        }
    }
}

/// Which protocol a group's members speak.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum GroupType {
    /// JoinGroup and SyncGroup, or nothing but commits.
    Classic,
    /// KIP-848.
    Consumer,
}

/// Where a group stands, by Kafka's words (`ClassicGroupState`, `ConsumerGroupState`). One that is
/// dead is not there any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum GroupState {
    /// Without members.
    Empty,
    /// Classic: members are called to join again.
    PreparingRebalance,
    /// Classic: all joined; the leader has yet to say who does what.
    CompletingRebalance,
    /// KIP-848: there is no target assignment yet for the newest epoch.
    Assigning,
    /// KIP-848: members give up and take on partitions.
    Reconciling,
    /// Everyone has what is meant for it.
    Stable,
}

impl GroupState {
    /// As tools print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// Names a member.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MemberIdentity {
    /// As the coordinator gave it (KIP-848: as the client chose it); empty: none.
    pub member: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
}

/// An offset to commit.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct OffsetToCommit {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Where to read on.
    pub offset: Offset,
    /// Leader epoch of the record before it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own words.
    pub metadata: String,
}

/// Commit offsets.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct OffsetCommit {
    /// The group.
    pub group: String,
    /// Who; empty for who is not a member.
    pub who: MemberIdentity,
    /// The member's generation or member epoch.
    pub generation: Generation,
    /// What.
    pub offsets: Vec<OffsetToCommit>,
}

/// Commit offsets as part of a transaction, whose markers will come to the coordinator's partition.
/// By the first protocol that partition must have been made part of it (`AddOffsets`), by the
/// second one the group's coordinator makes it so.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TxnOffsetCommit {
    /// The group.
    pub group: String,
    /// The producer's transactional id.
    pub transactional_id: String,
    /// The producer's protocol.
    pub version: TransactionVersion,
    /// Whose transaction.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// KIP-447: the consumer whose offsets they are; empty in older versions.
    pub who: MemberIdentity,
    /// KIP-447: its generation or member epoch.
    pub generation: Generation,
    /// What.
    pub offsets: Vec<OffsetToCommit>,
}

/// Read committed offsets.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct OffsetFetch {
    /// The group.
    pub group: String,
    /// KIP-848: the member and its epoch, to be checked.
    pub member: Option<(String, MemberEpoch)>,
    /// Of which partitions; `None`: of all that have one.
    pub partitions: Option<Vec<TopicPartition>>,
    /// KIP-447: refuse a partition as long as a transaction holds an offset for it.
    pub require_stable: bool,
}

/// Become a member, or take part in a rebalance.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct JoinGroup {
    /// The group.
    pub group: String,
    /// Who; an empty member id asks for one.
    pub who: MemberIdentity,
    /// The client's name for itself, the beginning of its member id.
    pub client: String,
    /// Expelled when not heard of for this long.
    pub session_timeout: Dur,
    /// Expelled when not back this long after a rebalance began.
    pub rebalance_timeout: Dur,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Assignment strategies that it can follow, best first, each with what its leader must know.
    pub protocols: Vec<(String, Bytes)>,
    /// Version 4 and later (KIP-394): who has no member id is given one and must come again.
    pub member_id_required: bool,
    /// Version 9 and later (KIP-814): a leader can be told to skip the assignment.
    pub skips_assignment: bool,
}

/// Tell or ask for the assignment of a generation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SyncGroup {
    /// The group.
    pub group: String,
    /// Who.
    pub who: MemberIdentity,
    /// The generation.
    pub generation: Generation,
    /// Checked if given.
    pub protocol_type: Option<String>,
    /// Checked if given.
    pub protocol: Option<String>,
    /// The leader's word: each member's part.
    pub assignments: Vec<(String, Bytes)>,
}

/// KIP-848: join, stay, leave. `None` stands for "as before".
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ConsumerGroupHeartbeat {
    /// The group.
    pub group: String,
    /// Who.
    pub who: MemberIdentity,
    /// The epoch it has reached, or one of the constants of [`MemberEpoch`].
    pub epoch: MemberEpoch,
    /// How long it may take to give partitions up; must be given with epoch 0.
    pub rebalance_timeout: Option<Dur>,
    /// Names of topics; must be given with epoch 0.
    pub topics: Option<Vec<String>>,
    /// `range` or `uniform`.
    pub assignor: Option<String>,
    /// What it owns; must be given, and empty, with epoch 0.
    pub owned: Option<Vec<TopicPartition>>,
}

/// For each of what was asked for: whether it was done.
pub type Each<T> = Vec<(T, Result<(), ErrorCode>)>;

/// Answers, each to the request of the same name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum GroupAnswer {
    /// To `OffsetCommit`.
    OffsetCommit(Each<TopicPartition>),
    /// To `TxnOffsetCommit`.
    TxnOffsetCommit(Each<TopicPartition>),
    /// To `OffsetFetch`.
    OffsetFetch(Result<Vec<FetchedOffset>, ErrorCode>),
    /// To `OffsetDelete`.
    OffsetDelete(Result<Each<TopicPartition>, ErrorCode>),
    /// To `DeleteGroup`.
    DeleteGroup(Result<(), ErrorCode>),
    /// To `JoinGroup`.
    JoinGroup(Result<Joined, JoinRefused>),
    /// To `SyncGroup`.
    SyncGroup(Result<Synced, ErrorCode>),
    /// To `Heartbeat`.
    Heartbeat(Result<(), ErrorCode>),
    /// To `LeaveGroup`.
    LeaveGroup(Result<Each<MemberIdentity>, ErrorCode>),
    /// To `ConsumerGroupHeartbeat`.
    ConsumerGroupHeartbeat(Result<ConsumerGroupBeat, ErrorCode>),
    /// To `ConsumerGroupDescribe`.
    ConsumerGroupDescribe(Result<DescribedConsumerGroup, ErrorCode>),
    /// To `DescribeGroup`.
    DescribeGroup(Result<DescribedGroup, ErrorCode>),
    /// To `ListGroups`.
    ListGroups(Result<Vec<ListedGroup>, ErrorCode>),
}

/// The committed offset of one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// `None` inside: nothing is committed (Kafka answers −1).
    pub result: Result<Option<CommittedOffset>, ErrorCode>,
}

/// What was committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// Where to read on.
    pub offset: Offset,
    /// Leader epoch of the record before it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own words.
    pub metadata: String,
    /// When, by the coordinator's wall clock. Clients are not told.
    pub at: TimestampMs,
}

/// A member of a new generation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// Its id.
    pub member: String,
    /// The generation.
    pub generation: Generation,
    /// As the group has it.
    pub protocol_type: Option<String>,
    /// The strategy that was chosen.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: Option<String>,
    /// Told to the leader: the assignment stands as it is.
    pub skip_assignment: bool,
    /// Told to the leader only: all members, with what they sent for the chosen strategy.
    pub members: Vec<(MemberIdentity, Bytes)>,
}

/// Why somebody is not a member of a new generation.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct JoinRefused {
    /// Why.
    pub code: ErrorCode,
    /// With `MemberIdRequired`: the id to come again with. Else the one it came with, or none.
    pub member: String,
}

/// A member's part.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Synced {
    /// As the group has it.
    pub protocol_type: Option<String>,
    /// The strategy.
    pub protocol: Option<String>,
    /// In the leader's words.
    pub assignment: Bytes,
}

/// The answer to a KIP-848 heartbeat.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ConsumerGroupBeat {
    /// Its member id.
    pub member: String,
    /// The epoch that it has now.
    pub epoch: MemberEpoch,
    /// When to come again.
    pub interval: Dur,
    /// What it may own from now on; `None`: as before.
    pub assignment: Option<Vec<TopicPartition>>,
}

/// One KIP-848 group.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DescribedConsumerGroup {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: MemberEpoch,
    /// The epoch that its target assignment was made for.
    pub assignment_epoch: MemberEpoch,
    /// Who makes it.
    pub assignor: String,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// One member of a KIP-848 group.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DescribedConsumer {
    /// Who.
    pub who: MemberIdentity,
    /// The epoch it has reached.
    pub epoch: MemberEpoch,
    /// Names of its topics.
    pub topics: Vec<String>,
    /// What it may own.
    pub assignment: Vec<TopicPartition>,
    /// What it is meant to own.
    pub target: Vec<TopicPartition>,
}

/// One classic group.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct DescribedGroup {
    /// Its state.
    pub state: GroupState,
    /// `consumer`, `connect`, …; empty for a group of nothing but commits.
    pub protocol_type: String,
    /// The strategy, once the group is stable.
    pub protocol: String,
    /// Its members, with metadata and assignment, once the group is stable.
    pub members: Vec<(MemberIdentity, Bytes, Bytes)>,
}

/// One group among all.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ListedGroup {
    /// Its name.
    pub group: String,
    /// Its type.
    pub kind: GroupType,
    /// Its state.
    pub state: GroupState,
    /// `consumer`, `connect`, …; empty for a group of nothing but commits.
    pub protocol_type: String,
}
