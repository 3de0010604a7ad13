//! Probes of group coordinators; they come behind all others.

macro_rules! with_group_probes {
    ($($others:tt)*) => {
        probes! {
            $($others)*

            /// An offset of a group got its place in the coordinator's log.
            OffsetRecorded = "group.offset_recorded" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The record's offset.
                at: Offset,
                /// The group.
                group: Arc<str>,
                /// Of which partition.
                partition: TopicPartition,
                /// Where to read on; `None`: it is forgotten.
                offset: Option<Offset>,
                /// It counts when this producer's transaction is committed.
                producer: Option<ProducerId>,
            };
            /// A transaction that may hold offsets of groups is over.
            OffsetsDecided = "group.offsets_decided" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The marker's offset.
                at: Offset,
                /// Whose transaction.
                producer: ProducerId,
                /// How it ended.
                result: TransactionResult,
            };
            /// A member's commit of offsets was taken: its records got their places.
            CommitTaken = "group.commit_taken" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The group.
                group: Arc<str>,
                /// The member; empty: nobody's.
                member: Arc<str>,
                /// Its generation or member epoch.
                generation: Generation,
                /// Of which partitions.
                partitions: Vec<TopicPartition>,
            };
            /// A generation of a classic group got its place in the coordinator's log.
            GenerationRecorded = "group.generation_recorded" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The record's offset.
                at: Offset,
                /// The group.
                group: Arc<str>,
                /// The generation; `None`: the group is gone.
                generation: Option<Generation>,
                /// Its members.
                members: Vec<Arc<str>>,
            };
            /// How far a member of a KIP-848 group has come got its place in the coordinator's log.
            MemberRecorded = "group.member_recorded" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The record's offset.
                at: Offset,
                /// The group.
                group: Arc<str>,
                /// The member.
                member: Arc<str>,
                /// The epoch that it has reached; `None`: it is no member any more.
                reached: Option<MemberEpoch>,
                /// What it may own, and what it has not given up yet.
                owns: Vec<TopicPartition>,
            };
            /// A group coordinator read its log to the end.
            OffsetsLoaded = "group.offsets_loaded" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The log's end.
                end: Offset,
                /// What is committed: group, partition, where to read on.
                offsets: Vec<(Arc<str>, TopicPartition, Offset)>,
            };
            /// A group coordinator was asked for offsets.
            OffsetsFetched = "group.offsets_fetched" {
                /// The partition that is the log.
                coordinator: TopicPartition,
                /// Its leader epoch.
                epoch: LeaderEpoch,
                /// The group.
                group: Arc<str>,
                /// Offsets of open transactions were to be waited for.
                require_stable: bool,
                /// What is answered: where to read on, nothing, or why neither.
                offsets: Vec<(TopicPartition, Result<Option<Offset>, ErrorCode>)>,
            };
        }
    };
}

pub(super) use with_group_probes;
