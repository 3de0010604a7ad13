//! Typed marks that machines leave behind: evidence for the monitors, anchors for faults,
//! proof that a run reached something. They are effects like any other and change nothing.

mod define;
mod group;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ids::{
    BrokerEpoch, LeaderEpoch, Lsn, MetaOffset, NodeId, ObjectId, Offset, ProducerEpoch, ProducerId,
    QuorumEpoch, StreamId, TopicPartition,
};
use crate::metadata::record::Record;
pub use crate::partition::producers::KnownProducer;
use crate::protocol::{Acks, ErrorCode, Generation, MemberEpoch, TransactionResult, TxnState};
use crate::step::HaltReason;

use define::probes;
use group::with_group_probes;

with_group_probes! {
    // Quorum.
    /// The log was read at boot.
    QuorumLoaded = "quorum.loaded" {
        /// Its end after cutting the torn tail.
        end: MetaOffset,
        /// Whether a torn tail was cut.
        torn: bool,
    };
    /// An entry was read at boot, behind `quorum.loaded`: a cut that was under way when the process
    /// died may or may not have happened.
    QuorumReadBack = "quorum.read_back" {
        /// Its offset.
        offset: MetaOffset,
        /// Its epoch.
        epoch: QuorumEpoch,
        /// As in `quorum.appended`.
        prefix: u64,
        /// As in `quorum.appended`.
        byte_end: u64,
    };
    /// The role or epoch changed.
    QuorumRole = "quorum.role" {
        /// The new role.
        role: crate::quorum::Role,
        /// The epoch.
        epoch: QuorumEpoch,
        /// The leader known in it.
        leader: Option<NodeId>,
    };
    /// A vote is durable and is being granted.
    QuorumVoted = "quorum.voted" {
        /// In which epoch.
        epoch: QuorumEpoch,
        /// For whom.
        candidate: NodeId,
    };
    /// Won an election.
    QuorumBecameLeader = "quorum.became_leader" {
        /// Of this epoch.
        epoch: QuorumEpoch,
        /// The log's end before the leader's own first entry.
        end: MetaOffset,
    };
    /// Gave up leadership.
    QuorumResigned = "quorum.resigned" {
        /// Of this epoch.
        epoch: QuorumEpoch,
        /// Because no majority fetched any more.
        check_quorum: bool,
    };
    /// An entry was appended, not yet durable.
    QuorumAppended = "quorum.appended" {
        /// Its offset.
        offset: MetaOffset,
        /// Its epoch.
        epoch: QuorumEpoch,
        /// Digest of the log up to and with this entry.
        prefix: u64,
        /// End of its frame in the device's log, in bytes.
        byte_end: u64,
    };
    /// The log was cut because it diverged from the leader's.
    QuorumTruncated = "quorum.truncated" {
        /// New end.
        to: MetaOffset,
        /// The end before.
        from: MetaOffset,
    };
    /// The log is durable up to here.
    QuorumFlushed = "quorum.flushed" {
        /// Exclusive end.
        end: MetaOffset,
    };
    /// A fetch was sent; it promises that all before its offset is durable here.
    QuorumFetchSent = "quorum.fetch_sent" {
        /// End of the durable log.
        fetch_offset: MetaOffset,
    };
    /// The leader took a voter's fetch as valid.
    QuorumFetchServed = "quorum.fetch_served" {
        /// Who fetched.
        from: NodeId,
        /// What it has.
        fetch_offset: MetaOffset,
    };
    /// The high watermark rose.
    QuorumHighWatermark = "quorum.high_watermark" {
        /// Exclusive.
        high_watermark: MetaOffset,
        /// Epoch of the last entry below it.
        entry_epoch: QuorumEpoch,
        /// Set by the leader of this epoch; a follower merely heard of it.
        leader_of: Option<QuorumEpoch>,
    };
    /// An entry was handed to the state machine.
    QuorumCommitted = "quorum.committed" {
        /// Its offset.
        offset: MetaOffset,
        /// Its epoch.
        epoch: QuorumEpoch,
        /// As in `quorum.appended`.
        prefix: u64,
    };

    // Metadata.
    /// A committed entry was applied to a node's image.
    MetaApplied = "meta.applied" {
        /// Its offset.
        offset: MetaOffset,
        /// The records, empty for a leader change.
        records: Arc<Vec<Record>>,
        /// Digest of the image after it, at every 16th offset.
        image: Option<u64>,
    };
    /// The new active controller took office.
    ControllerActivated = "controller.activated" {
        /// In this epoch.
        epoch: QuorumEpoch,
    };
    /// Speculative state was thrown away with the office.
    ControllerReverted = "controller.reverted" {
        /// Entries dropped.
        entries: u64,
    };
    /// A broker's session ended.
    ControllerSessionExpired = "controller.session_expired" {
        /// The broker.
        broker: NodeId,
    };
    /// A commit was found already applied.
    ControllerCommitRedundant = "controller.commit_redundant" {
        /// The object.
        object: ObjectId,
    };
    /// A request was refused because of a stale epoch or owner.
    ControllerFenced = "controller.fenced" {
        /// The broker that asked.
        broker: NodeId,
    };
    /// An object's prepare expired before its commit.
    ControllerPrepareExpired = "controller.prepare_expired" {
        /// The object.
        object: ObjectId,
    };

    // Claims and the WAL.
    /// A claim's put was sent.
    ClaimSent = "claim.sent" {
        /// On whose WAL.
        of: NodeId,
        /// The claim's number.
        number: u64,
    };
    /// The claim is ours.
    ClaimTaken = "claim.taken" {
        /// On whose WAL.
        of: NodeId,
        /// The claim's number.
        number: u64,
    };
    /// The claim's put was refused because our own earlier attempt had been applied.
    ClaimOwnSeen = "claim.own_seen" {
        /// On whose WAL.
        of: NodeId,
    };
    /// A WAL object's put was sent.
    WalPutSent = "wal.put.sent" {
        /// First record.
        start: Lsn,
        /// Exclusive end.
        end: Lsn,
        /// 0 for the first attempt.
        attempt: u32,
    };
    /// A WAL object is known to be durable.
    WalPutDone = "wal.put.done" {
        /// First record.
        start: Lsn,
        /// Exclusive end.
        end: Lsn,
    };
    /// A put was refused, and what is there turned out to be our own.
    WalOwnWriteSeen = "wal.own_write_seen" {
        /// First record.
        start: Lsn,
    };
    /// The check of ownership was sent; it covers the objects durable at this moment.
    WalVerifySent = "wal.verify.sent" {
        /// The check's number, as `Tok::seq` of its first list.
        seq: u64,
        /// Contiguously durable up to here.
        covers: Lsn,
    };
    /// Ownership was confirmed: all before `end` may be acknowledged.
    WalConfirmed = "wal.confirmed" {
        /// The check's number.
        seq: u64,
        /// The registration whose WAL this is.
        epoch: BrokerEpoch,
        /// Exclusive end.
        end: Lsn,
    };
    /// One record became confirmed.
    WalRecordConfirmed = "wal.record_confirmed" {
        /// Its place in the WAL.
        lsn: Lsn,
        /// Its stream.
        stream: StreamId,
        /// The stream's epoch.
        epoch: LeaderEpoch,
        /// First offset.
        base: Offset,
        /// Exclusive end.
        end: Offset,
    };
    /// The WAL belongs to someone else, or it can not be known.
    WalFenced = "wal.fenced" {
        /// A later claim was found.
        claimed: bool,
    };
    /// An idempotent producer sent a batch again that is in the log.
    ProducerRepeated = "producer.repeated" {
        /// The partition.
        partition: TopicPartition,
        /// First offset of the batch.
        base: Offset,
        /// It was appended under an earlier leader epoch.
        earlier: bool,
    };
    /// A snapshot of a partition's producers was sent.
    ProducersSnapshot = "producers.snapshot" {
        /// The partition.
        partition: TopicPartition,
        /// The log below it.
        end: Offset,
    };
    /// A partition's producers are known again: it opens.
    ProducersLoaded = "producers.loaded" {
        /// The partition.
        partition: TopicPartition,
        /// From the log below it.
        end: Offset,
        /// The snapshot that it began with, if any: the log below that offset was not read.
        snapshot: Option<Offset>,
        /// Every producer.
        producers: Vec<KnownProducer>,
        /// Every aborted transaction: its producer, its first offset, its marker's.
        aborted: Vec<(ProducerId, Offset, Offset)>,
    };
    /// A batch is to be refused by what its partition remembers of its producer: it does not
    /// continue what was appended before.
    ProducerOutOfOrder = "producer.out_of_order" {
        /// The partition.
        partition: TopicPartition,
        /// Of the leader.
        epoch: LeaderEpoch,
        /// Number of the WAL's proof of ownership that it waits for.
        proof: u64,
    };
    /// The batch that waited for this proof is refused.
    ProducerRefused = "producer.refused" {
        /// The partition.
        partition: TopicPartition,
        /// Number of the proof.
        proof: u64,
    };
    /// A marker was given its place in the log.
    MarkerAppended = "txn.marker_appended" {
        /// The partition.
        partition: TopicPartition,
    };
    /// A marker of a transaction or a coordinator before the newest was refused.
    MarkerRefused = "txn.marker_refused" {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        code: ErrorCode,
    };
    /// The coordinator has said whether a producer may begin a transaction in a partition.
    TxnVerified = "txn.verified" {
        /// The partition.
        partition: TopicPartition,
        /// The producer.
        producer: ProducerId,
        /// Why not, if not.
        refused: Option<ErrorCode>,
    };
    /// A coordinator read its log to the end and is in charge.
    CoordinatorLoaded = "coordinator.loaded" {
        /// The partition that is its log.
        partition: TopicPartition,
        /// Its leader epoch.
        epoch: LeaderEpoch,
        /// The log's end.
        end: Offset,
    };
    /// A change of a transactional id got its place in the coordinator's log.
    TxnRecorded = "txn.recorded" {
        /// The partition that is the log.
        coordinator: TopicPartition,
        /// Its leader epoch.
        epoch: LeaderEpoch,
        /// The transactional id.
        id: Arc<str>,
        /// Its offset.
        at: Offset,
        /// The producer, its epoch and the state from then on; `None`: the id is forgotten.
        txn: Option<(ProducerId, ProducerEpoch, TxnState)>,
    };
    /// The decision about a transaction is durable.
    TxnDecided = "txn.decided" {
        /// The partition that is the coordinator's log.
        coordinator: TopicPartition,
        /// Its leader epoch.
        epoch: LeaderEpoch,
        /// The transactional id.
        id: Arc<str>,
        /// Of the decision's record.
        at: Offset,
    };
    /// Appends wait, or go on again.
    WalBackPressure = "wal.back_pressure" {
        /// Whether they wait.
        on: bool,
    };
    /// Records before `upto` are no longer needed in the WAL.
    WalTrimmed = "wal.trimmed" {
        /// Exclusive.
        upto: Lsn,
    };
    /// A trimmed WAL object is being deleted.
    WalDeleteSent = "wal.delete.sent" {
        /// First record.
        start: Lsn,
        /// Exclusive end.
        end: Lsn,
        /// Whether it is the second time.
        again: bool,
    };

    // Upload.
    /// A block was sealed for upload.
    UploadSealed = "upload.sealed" {
        /// Its last record's end in the WAL.
        upto: Lsn,
    };
    /// An object's put was sent.
    UploadPutSent = "upload.put.sent" {
        /// The object.
        object: ObjectId,
    };
    /// An object is known to be durable.
    UploadPutDone = "upload.put.done" {
        /// The object.
        object: ObjectId,
    };
    /// A put was refused, and what is there turned out to be our own.
    UploadOwnWriteSeen = "upload.own_write_seen" {
        /// The object.
        object: ObjectId,
    };
    /// The commit was sent.
    UploadCommitSent = "upload.commit.sent" {
        /// The object.
        object: ObjectId,
    };
    /// The commit is definite.
    UploadCommitted = "upload.committed" {
        /// The object.
        object: ObjectId,
        /// An earlier copy of the request had done it.
        redundant: bool,
    };
    /// The commit was refused for what it says, or because its object has expired; not because of
    /// who sent it.
    UploadCommitRefused = "upload.commit.refused" {
        /// The object.
        object: ObjectId,
    };

    // Recovery.
    /// Recovery of a WAL began.
    RecoveryStarted = "recovery.started" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
    };
    /// The WAL was listed after the claim.
    RecoveryListed = "recovery.listed" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
        /// Objects found.
        objects: u32,
        /// Of these, ignored as belonging to sealed epochs.
        sealed: u32,
        /// Exclusive end of the contiguous run.
        end: Lsn,
        /// Whether objects behind a hole were dropped.
        hole: bool,
    };
    /// A record from the WAL was taken into an upload.
    RecoveryTook = "recovery.took" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
        /// Its place in the WAL.
        lsn: Lsn,
        /// Its stream.
        stream: StreamId,
        /// First offset.
        base: Offset,
        /// Exclusive end.
        end: Offset,
    };
    /// A record of the run does not continue its stream; it is left out.
    RecoveryGap = "recovery.gap" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
        /// Its place in the WAL.
        lsn: Lsn,
        /// Its stream.
        stream: StreamId,
        /// Where the next record should start.
        expected: Offset,
        /// Where it starts.
        base: Offset,
    };
    /// A WAL object came damaged from the store; it is read again.
    RecoveryDamaged = "recovery.damaged" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
        /// The object's first record.
        start: Lsn,
    };
    /// The WAL is recovered and sealed.
    RecoverySealed = "recovery.sealed" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
        /// Exclusive end.
        end: Lsn,
    };
    /// The recovery was given to someone else.
    RecoveryAbandoned = "recovery.abandoned" {
        /// Whose WAL.
        of: NodeId,
        /// Which epoch.
        epoch: BrokerEpoch,
    };

    // Partitions.
    /// A partition is open for appends.
    PartitionOpened = "partition.opened" {
        /// Which.
        partition: TopicPartition,
        /// Its stream.
        stream: StreamId,
        /// Its leader epoch.
        epoch: LeaderEpoch,
        /// Its end.
        next: Offset,
    };
    /// A batch got its offsets.
    PartitionAppended = "partition.appended" {
        /// Which.
        partition: TopicPartition,
        /// Its stream.
        stream: StreamId,
        /// Leader epoch.
        epoch: LeaderEpoch,
        /// First offset.
        base: Offset,
        /// Exclusive end.
        end: Offset,
    };
    /// A partition's offsets moved.
    PartitionOffsets = "partition.offsets" {
        /// Which.
        partition: TopicPartition,
        /// Leader epoch.
        epoch: LeaderEpoch,
        /// Log start offset.
        log_start: Offset,
        /// Last stable offset.
        last_stable: Offset,
        /// High watermark.
        high_watermark: Offset,
        /// Log end offset.
        log_end: Offset,
    };
    /// A produce was answered with success (acks 1 or all).
    PartitionAcked = "partition.acked" {
        /// Which.
        partition: TopicPartition,
        /// Leader epoch.
        epoch: LeaderEpoch,
        /// First offset.
        base: Offset,
        /// Exclusive end.
        end: Offset,
        /// When its producer wanted to hear.
        acks: Acks,
    };
    /// A partition was given up.
    PartitionClosed = "partition.closed" {
        /// Which.
        partition: TopicPartition,
        /// Its leader epoch here.
        epoch: LeaderEpoch,
    };
    /// The leader-epoch cache, after it changed.
    PartitionEpochs = "partition.epochs" {
        /// Which.
        partition: TopicPartition,
        /// Epochs and their start offsets, ascending.
        entries: Vec<(LeaderEpoch, Offset)>,
    };
    /// A produce waits for room in the WAL.
    PartitionQueued = "partition.queued" {
        /// Which.
        partition: TopicPartition,
    };

    // Broker.
    /// The broker is registered.
    BrokerRegistered = "broker.registered" {
        /// Its epoch.
        epoch: BrokerEpoch,
    };
    /// The broker serves.
    BrokerUnfenced = "broker.unfenced" {};
    /// The broker learned that its epoch is refused.
    BrokerFenced = "broker.fenced" {
        /// Its epoch.
        epoch: BrokerEpoch,
    };
    /// A read beyond the log cache went to a committed object.
    ReadFromObject = "read.from_object" {
        /// The object.
        object: ObjectId,
    };
    /// A search by timestamp has to read an object.
    SearchBeyondCache = "search.beyond_cache" {};
    /// A read was answered from the log cache.
    ReadFromCache = "read.from_cache" {};
    /// Committed data left the log cache.
    CacheEvicted = "cache.evicted" {
        /// Bytes freed.
        bytes: u64,
    };
    /// A fetch waits for data.
    FetchDelayed = "fetch.delayed" {};
    /// A delayed fetch was answered because data came.
    FetchWoken = "fetch.woken" {};
    /// An answer about the log's end waits for the proof of the WAL.
    EndUnproven = "partition.end_unproven" {};
    /// The process ends itself.
    Halted = "node.halted" {
        /// Why.
        reason: HaltReason,
    };
}
