//! Groups in the language for evidence: one group, whose coordinator's log is [`LOG`].

use alloc::string::ToString;
use alloc::vec::Vec;

use broker_core::ids::{
    LeaderEpoch, MetaOffset, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId,
    TopicPartition,
};
use broker_core::metadata::record::Record;
use broker_core::probe::Probe;
use broker_core::protocol::{ErrorCode, Generation, MemberEpoch, TransactionResult};

use super::{A, Case, Opened, P};
use crate::history::{Answer, Call};

/// The coordinator's log.
pub(crate) const LOG: TopicPartition =
    TopicPartition { topic: TopicId(9), index: PartitionIndex(0) };

/// The producer of transactions.
pub(crate) const PRODUCER: ProducerId = ProducerId(7);

/// What a commit says of one partition: from where it was read, and where to read on.
pub(crate) type Read = (TopicPartition, u64, u64);

impl Case {
    // The coordinator. Every epoch is another leader.

    /// A leader reads the log to this end and is in charge.
    pub(crate) fn log_read(&mut self, epoch: u32, end: u64) -> &mut Self {
        let (epoch, end) = (LeaderEpoch(epoch), Offset(end));
        self.probe(A, &Probe::CoordinatorLoaded { partition: LOG, epoch, end })
    }

    /// It has these offsets then.
    pub(crate) fn has(
        &mut self,
        epoch: u32,
        end: u64,
        offsets: &[(TopicPartition, u64)],
    ) -> &mut Self {
        let (coordinator, epoch, end) = (LOG, LeaderEpoch(epoch), Offset(end));
        let offset = |&(at, offset): &(TopicPartition, u64)| ("g".into(), at, Offset(offset));
        let offsets = offsets.iter().map(offset).collect();
        self.probe(A, &Probe::OffsetsLoaded { coordinator, epoch, end, offsets })
    }

    /// An offset gets its place in the log, as part of the producer's transaction or of none, and
    /// it is nobody's.
    pub(crate) fn stored(
        &mut self,
        place: (u32, u64),
        partition: TopicPartition,
        offset: Option<u64>,
        producer: Option<ProducerId>,
    ) -> &mut Self {
        self.stored_by(place, (partition, offset), producer, ("", -1))
    }

    /// As [`Self::stored`], by this member in this generation.
    pub(crate) fn stored_by(
        &mut self,
        (epoch, at): (u32, u64),
        (partition, offset): (TopicPartition, Option<u64>),
        producer: Option<ProducerId>,
        who: (&str, i32),
    ) -> &mut Self {
        let commits = offset.is_some();
        let log_epoch = epoch;
        let (coordinator, epoch, at) = (LOG, LeaderEpoch(epoch), Offset(at));
        let (group, offset) = ("g".into(), offset.map(Offset));
        self.probe(
            A,
            &Probe::OffsetRecorded { coordinator, epoch, at, group, partition, offset, producer },
        );
        if commits { self.taken(log_epoch, who, &[partition]) } else { self }
    }

    /// The producer's transaction is over.
    pub(crate) fn over(&mut self, (epoch, at): (u32, u64), commit: bool) -> &mut Self {
        let (coordinator, epoch, at, producer) = (LOG, LeaderEpoch(epoch), Offset(at), PRODUCER);
        let result = match commit {
            true => TransactionResult::Commit,
            false => TransactionResult::Abort,
        };
        self.probe(A, &Probe::OffsetsDecided { coordinator, epoch, at, producer, result })
    }

    /// The coordinator takes a commit.
    pub(crate) fn taken(
        &mut self,
        epoch: u32,
        (member, generation): (&str, i32),
        partitions: &[TopicPartition],
    ) -> &mut Self {
        let (coordinator, epoch, group) = (LOG, LeaderEpoch(epoch), "g".into());
        let (member, generation) = (member.into(), Generation(generation));
        let partitions = partitions.to_vec();
        let probe =
            Probe::CommitTaken { coordinator, epoch, group, member, generation, partitions };
        self.probe(A, &probe)
    }

    /// A generation gets its place in the log.
    pub(crate) fn generation(
        &mut self,
        (epoch, at): (u32, u64),
        generation: Option<i32>,
        members: &[&str],
    ) -> &mut Self {
        let (coordinator, epoch, at, group) = (LOG, LeaderEpoch(epoch), Offset(at), "g".into());
        let generation = generation.map(Generation);
        let members = members.iter().map(|id| (*id).into()).collect();
        let probe =
            Probe::GenerationRecorded { coordinator, epoch, at, group, generation, members };
        self.probe(A, &probe)
    }

    /// What a member of a KIP-848 group has come to gets its place in the log.
    pub(crate) fn member(
        &mut self,
        (epoch, at): (u32, u64),
        member: &str,
        reached: Option<i32>,
        owns: &[TopicPartition],
    ) -> &mut Self {
        let (coordinator, epoch, at, group) = (LOG, LeaderEpoch(epoch), Offset(at), "g".into());
        let (member, reached) = (member.into(), reached.map(MemberEpoch));
        let owns = owns.to_vec();
        let probe = Probe::MemberRecorded { coordinator, epoch, at, group, member, reached, owns };
        self.probe(A, &probe)
    }

    /// The log is confirmed up to here.
    pub(crate) fn log_confirmed(&mut self, epoch: u32, upto: u64) -> &mut Self {
        let (partition, epoch, log_start) = (LOG, LeaderEpoch(epoch), Offset(0));
        let end = Offset(upto);
        let (last_stable, high_watermark, log_end) = (end, end, end);
        self.probe(
            A,
            &Probe::PartitionOffsets {
                partition,
                epoch,
                log_start,
                last_stable,
                high_watermark,
                log_end,
            },
        )
    }

    /// The coordinator answers a question for a partition.
    pub(crate) fn answers(
        &mut self,
        epoch: u32,
        require_stable: bool,
        partition: TopicPartition,
        answer: Result<Option<u64>, ErrorCode>,
    ) -> &mut Self {
        let (coordinator, epoch, group) = (LOG, LeaderEpoch(epoch), "g".into());
        let offsets = alloc::vec![(partition, answer.map(|offset| offset.map(Offset)))];
        let probe = Probe::OffsetsFetched { coordinator, epoch, group, require_stable, offsets };
        self.probe(A, &probe)
    }

    /// The coordinator applies the newest entry of the metadata: the topic of [`P`] is deleted.
    pub(crate) fn sees_topic_removed(&mut self) -> &mut Self {
        let (newest, records) =
            (MetaOffset(self.meta - 1), [Record::RemoveTopic { topic: P.topic }]);
        self.applied(A, newest, records.into(), None)
    }

    // Clients.

    /// A client asks for a commit that names this member and generation; in this transaction, if in
    /// one.
    pub(crate) fn asks_commit(
        &mut self,
        client: u16,
        (member, generation): (&str, i32),
        read: &[Read],
        txn: Option<u32>,
    ) -> Opened {
        self.op = txn.unwrap_or(self.op);
        let (group, member) = ("g".to_string(), member.to_string());
        let generation = Generation(generation);
        let offsets = read.iter().map(|&(at, from, upto)| (at, Offset(from), Offset(upto)));
        let (offsets, transactional) = (offsets.collect(), txn.is_some());
        let producer = txn.map(|_| (PRODUCER, ProducerEpoch(0)));
        let id = txn.map(|_| "t".into());
        let call =
            Call::CommitOffsets { group, member, generation, offsets, transactional, producer, id };
        self.invoke(client, call)
    }

    /// Client 1, nobody's member, commits this in a transaction and hears that it did; the record
    /// is at `at` of the log.
    pub(crate) fn stages(&mut self, txn: u32, at: u64, read: Read) -> &mut Self {
        let opened = self.asks_commit(1, ("", -1), &[read], Some(txn));
        self.stored((0, at), read.0, Some(read.2), Some(PRODUCER)).log_confirmed(0, at + 1);
        self.ok(opened, Answer::Done)
    }

    /// It asks for the transaction's end, hears that it is done, and the marker is at `at`.
    pub(crate) fn ends_at(&mut self, txn: u32, at: u64, commit: bool) -> &mut Self {
        self.op = txn;
        let producer = Some((PRODUCER, ProducerEpoch(0)));
        let opened = self.invoke(1, Call::EndTxn { commit, producer, id: None });
        self.over((0, at), commit).log_confirmed(0, at + 1);
        self.ok(opened, Answer::Done)
    }

    pub(crate) fn asks_offsets(
        &mut self,
        client: u16,
        partitions: &[TopicPartition],
        require_stable: bool,
    ) -> Opened {
        let (group, partitions) = ("g".to_string(), partitions.to_vec());
        self.invoke(client, Call::FetchOffsets { group, partitions, require_stable })
    }

    pub(crate) fn told_offsets(
        &mut self,
        opened: Opened,
        offsets: &[(TopicPartition, Option<u64>)],
    ) -> &mut Self {
        let offsets: Vec<_> =
            offsets.iter().map(|(at, offset)| (*at, offset.map(Offset))).collect();
        self.ok(opened, Answer::Offsets(offsets))
    }

    pub(crate) fn asks_part(&mut self, client: u16, member: &str, generation: i32) -> Opened {
        let (group, member, generation) =
            ("g".to_string(), member.to_string(), Generation(generation));
        let instance = None;
        self.invoke(client, Call::SyncGroup { group, member, instance, generation })
    }

    pub(crate) fn told_part(&mut self, opened: Opened, partitions: &[TopicPartition]) -> &mut Self {
        self.ok(opened, Answer::Assigned(partitions.to_vec()))
    }
}
