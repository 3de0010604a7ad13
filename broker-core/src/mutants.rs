//! The planted bugs of the core: a registry, and a bitset that switches them on at run time.
//!
//! Without the feature `mutants` the set is a zero-sized value that is always empty, and every
//! planted bug vanishes from the binary. Each row says where the bug was seen in the real world and
//! which properties must notice it.

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MutantRow {
    /// The bug.
    pub mutant: Mutant,
    /// Stable name, as commands and plans use it.
    pub id: &'static str,
    /// What the core does wrong.
    pub what: &'static str,
    /// Where it was seen.
    pub provenance: &'static str,
    /// Properties of which one must fire.
    pub properties: &'static [&'static str],
}

macro_rules! mutants {
    ($($variant:ident = $id:literal, $what:literal, $provenance:literal,
        [$($property:literal),*];)*) => {
        /// The planted bugs, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Mutant {
            $(#[doc = $what] $variant,)*
        }

        const ROWS: &[MutantRow] = &[$(MutantRow {
            mutant: Mutant::$variant,
            id: $id,
            what: $what,
            provenance: $provenance,
            properties: &[$($property),*],
        }),*];
    };
}

mutants! {
    QuorumHwPriorEpoch = "quorum-hw-prior-epoch",
        "the high watermark rises to the epoch's start before an own-epoch entry is replicated",
        "KAFKA-12619", ["R3", "RF1"];
    QuorumRestartAsLeader = "quorum-restart-as-leader",
        "a leader that restarts leads on in the same epoch",
        "KAFKA-10527", ["R1", "R2", "R4", "RF1"];
    QuorumAckBeforeFsync = "quorum-ack-before-fsync",
        "a follower reports entries that it has not made durable",
        "KAFKA-10533", ["R9", "R5", "RF1"];
    QuorumNoCheckQuorum = "quorum-no-check-quorum",
        "a leader without a majority never resigns",
        "KAFKA-15489", ["LV2"];
    QuorumVoteNotPersisted = "quorum-vote-not-persisted",
        "the state file holds the epoch, and not the vote that was given in it",
        "synthetic (Raft, figure 2: votedFor is persistent state)", ["R6", "R9", "RF1"];
    QuorumFetchUnvalidated = "quorum-fetch-unvalidated",
        "the leader counts a follower's offset before checking that the logs agree",
        "KIP-595 (validateOffsetAndEpoch comes first)", ["R5", "RF1"];
    QuorumTruncateSkipped = "quorum-truncate-skipped",
        "a follower keeps the part of its log that diverges from the leader's",
        "KAFKA-7164", ["R2", "R4", "R5", "R3", "RF1"];
    ControllerContinuityFirst = "controller-continuity-first",
        "a retried commit is checked for continuity before it is found already applied",
        "AutoMQ #1055 (067c3f0fe0)", ["O3"];
    ControllerEpochUnchecked = "controller-epoch-unchecked",
        "commits, opens and closes of a stale node epoch or WAL are applied",
        "synthetic (AutoMQ nodeEpochCheck left out)", ["O4", "RF2"];
    ControllerTargetFenced = "controller-target-fenced",
        "a fenced broker can be chosen as leader",
        "KAFKA-13916 (KIP-841)", ["C3"];
    ControllerLeaderlessKept = "controller-leaderless-kept",
        "partitions of a fenced broker are not moved",
        "AutoMQ 44047d63d8", ["LV7", "LV5"];
    ControllerOpenUnchecked = "controller-open-unchecked",
        "a stream opens although its last owner's data is not all committed",
        "synthetic (AutoMQ openStream without STREAM_NOT_CLOSED)", ["W3", "L7", "O4", "RF2"];
    ControllerEpochKept = "controller-epoch-kept",
        "a partition moves to another broker under the same leader epoch",
        "KAFKA-15021 turned round", ["C2", "L8"];
    ControllerSpeculativeKept = "controller-speculative-kept",
        "uncommitted changes survive the loss of leadership",
        "KRaft: state outside the timeline (broker lifecycle rules)", ["M1"];
    ControllerSessionsUnseeded = "controller-sessions-unseeded",
        "a new controller does not track the brokers it inherits",
        "KAFKA-18138", ["LV7"];
    ControllerEndSetBack = "controller-end-set-back",
        "a commit found already applied sets the stream's end again",
        "AutoMQ a458623abd", ["O5", "O3", "O1", "RF2"];
    WalAckBeforeVerify = "wal-ack-before-verify",
        "records are acknowledged when their put is done, without checking ownership",
        "AutoMQ ObjectWALService (ack before verify)", ["W1", "W3", "L7", "RF2"];
    WalVerifyBeforePut = "wal-verify-before-put",
        "an ownership check that began before the put was done is taken as good",
        "AutoMQ ObjectWALService (verify before put)", ["W1", "RF2"];
    WalClaimOverwrites = "wal-claim-overwrites",
        "a claim is put without IfAbsent, over someone else's",
        "AutoMQ ObjectReservationService (unconditional put)", ["W1", "W3", "L7", "RF2"];
    WalConfirmMax = "wal-confirm-max",
        "the confirmed offset is the largest durable one, not the contiguous prefix",
        "AutoMQ #743 (62025d20cd)", ["W1", "L3", "L4", "L7", "RF2"];
    WalCacheOnPutOrder = "wal-cache-on-put-order",
        "records reach the upload block in the order of their puts, not of the WAL",
        "AutoMQ #3064 (3678dc2647)", ["L5", "W2", "L3", "O2", "RF2"];
    WalUnknownIsFailure = "wal-unknown-is-failure",
        "an unanswered put counts as failed: the client hears so, and the place is used again",
        "synthetic (MUST rule: never re-use the range with other bytes)",
        ["L2", "L1", "L3", "L4", "L9", "LV7", "LV8", "W1", "RF2"];
    WalRefusedIsDone = "wal-refused-is-done",
        "a refused create-only put counts as success without looking whose object is there",
        "aws-sdk-java-v2 #6580 turned round", ["W1", "W4", "L3", "RF2"];
    WalSingleDelete = "wal-single-delete",
        "trimmed WAL objects are deleted once, so that a hedged put that lands later stays",
        "AutoMQ feaf4f0248", ["O6"];
    UploadTrimBeforeCommit = "upload-trim-before-commit",
        "the WAL is trimmed when the object is uploaded, before the commit is definite",
        "AutoMQ #205", ["W2", "L3", "RF2"];
    UploadUnconfirmed = "upload-unconfirmed",
        "records are uploaded as soon as they are appended, before they are confirmed",
        "Redpanda #11840", ["L5", "RF2"];
    UploadUnknownDeletes = "upload-unknown-deletes",
        "an unanswered commit counts as failed and the object is deleted",
        "Inkless isSafeToDeleteFile", ["O7", "L3"];
    UploadWrongIndex = "upload-wrong-index",
        "the index of an object gives one stream's block to the next stream",
        "synthetic", ["O2", "L9", "L4", "L1", "L2", "T3"];
    UploadNoBackoff = "upload-no-backoff",
        "a throttled put is retried at once",
        "synthetic (S3: retry after 2 s, then 4 s)", ["LV10"];
    UploadPrepareWedges = "upload-prepare-wedges",
        "an unanswered prepare is never asked again",
        "AutoMQ 0e459685e3", ["LV8", "LV5", "LV7"];
    RecoveryOverlapFirst = "recovery-overlap-first",
        "of the zombie objects of a sealed epoch only the first is left out",
        "AutoMQ skipOverlapObjects at f1ce98ec89", ["W3", "W4", "RF2"];
    RecoverySealIgnored = "recovery-seal-ignored",
        "objects that a zombie put after its epoch was sealed are recovered",
        "AutoMQ 8c333115a2", ["W4", "W3", "RF2"];
    RecoveryDedupeSkipped = "recovery-dedupe-skipped",
        "recovery starts at the oldest object and uploads what is already committed",
        "AutoMQ automq-for-rocketmq #573", ["LV7", "LV5", "W3", "RF2"];
    RecoveryFirstPage = "recovery-first-page",
        "only the first page of the WAL's list is read",
        "synthetic (S3 lists at most 1,000 keys a page)", ["W3", "L3", "L7", "RF2"];
    RecoveryDamageSkipped = "recovery-damage-skipped",
        "a WAL object that comes damaged from the store counts as empty",
        "synthetic (KAFKA-18723: a damaged batch must not be stepped over)", ["L3", "W3", "RF2"];
    ListEmptyPageEnds = "list-empty-page-ends",
        "a list ends at an empty page, though the store says that there is more",
        "synthetic (S3: a page may hold fewer keys than asked for, IsTruncated says what is left)",
        ["W4", "W3", "L3", "L7", "RF2"];
    RecoveryHoleIgnored = "recovery-hole-ignored",
        "the run starts at the first object found, not at the trim offset, and goes on over holes",
        "AutoMQ efd674a7f4", ["O2", "L3", "LV7", "RF2"];
    RecoveryWithoutClaim = "recovery-without-claim",
        "a WAL is read before it is claimed",
        "AutoMQ failover order (acquire, then list)", ["W4", "W3", "L3", "L7", "RF2"];
    BrokerSurvivesFencing = "broker-survives-fencing",
        "a broker that learns it is fenced goes on",
        "AutoMQ 8f9a584b4f", ["C1", "LV7", "LV4", "RF2"];
    PartitionHwIsLeo = "partition-hw-is-leo",
        "fetches see records that are not durable yet",
        "Redpanda #3003", ["L5", "L4"];
    PartitionHwStale = "partition-hw-stale",
        "a new leader starts with the high watermark at the start of the last epoch",
        "Inkless 707a85ae96", ["L6", "Q1"];
    PartitionEpochOnAppend = "partition-epoch-on-append",
        "the leader-epoch cache learns of an epoch at its first append, not when it begins",
        "KAFKA-7415", ["Q2", "L8"];
    PartitionEpochEndIsLeo = "partition-epoch-end-is-leo",
        "OffsetForLeaderEpoch answers with the log's end for every epoch",
        "Redpanda #5435", ["Q2"];
    PartitionCrcUnchecked = "partition-crc-unchecked",
        "a damaged batch is accepted",
        "synthetic (KAFKA-18723)", ["L9"];
    PartitionTimeOverwritten = "partition-time-overwritten",
        "the broker sets the timestamps of every topic, not only with LogAppendTime",
        "synthetic (KIP-32)", ["L9"];
    PartitionQueueReordered = "partition-queue-reordered",
        "produces that waited for room in the WAL are let in newest first",
        "AutoMQ S3Storage backoff queue", ["L2", "RF2"];
    ProducerSequenceUnchecked = "producer-sequence-unchecked",
        "a batch is appended whatever its sequence number",
        "KIP-98 (the reason for sequence numbers)", ["P2", "P1"];
    ProducerUnknownAnywhere = "producer-unknown-anywhere",
        "a producer that is not known may begin with any sequence number",
        "KAFKA-15591, KAFKA-19880, AutoMQ #584", ["P2"];
    TxnFetchToTheEnd = "txn-fetch-to-the-end",
        "readers of committed data are given all below the high watermark",
        "synthetic (UnifiedLog.read: the last stable offset bounds it)", ["T2", "T3"];
    TxnLastStableOffByOne = "txn-last-stable-off-by-one",
        "the last stable offset lies behind the first record of the oldest open transaction",
        "Redpanda #3036", ["T2", "T3", "RF3"];
    TxnMarkerUnconfirmedCounts = "txn-marker-unconfirmed-counts",
        "a transaction counts as decided when its marker is appended, before that is confirmed",
        "synthetic (UnifiedLog.firstUnstableOffset: unreplicated transactions)",
        ["T2", "T3", "RF3"];
    TxnAbortedUntoldAfterWait = "txn-aborted-untold-after-wait",
        "a fetch that had to wait is not told the aborted transactions",
        "KAFKA-5376", ["T2"];
    TxnAbortedUntoldFromObjects = "txn-aborted-untold-from-objects",
        "a fetch answered from objects is not told the aborted transactions",
        "Redpanda #7043", ["T2"];
    TxnSnapshotWithoutAborted = "txn-snapshot-without-aborted",
        "snapshots leave the aborted transactions out",
        "synthetic (KAFKA-10706: an index not rebuilt)", ["P4", "T2", "RF3"];
    TxnOpenForgotten = "txn-open-forgotten",
        "a new leader takes the transactions that are open for ended",
        "synthetic (ProducerStateManager.loadFromSnapshot without open transactions)",
        ["P4", "T2", "T3", "RF3"];
    TxnCommitTakenForAbort = "txn-commit-taken-for-abort",
        "committed transactions are told as aborted, so that readers leave them out",
        "synthetic", ["T1", "P4", "RF3"];
    TxnMarkerOfTheSameEpoch = "txn-marker-of-the-same-epoch",
        "a late marker ends the transaction behind the one that it is for",
        "KAFKA-19446", ["T5", "T7", "T1", "RF3"];
    TxnMarkerRetryRefused = "txn-marker-retry-refused",
        "a marker that comes again is refused",
        "KAFKA-19999", ["LV4"];
    TxnMarkerEpochUnchecked = "txn-marker-epoch-unchecked",
        "a marker ends whatever transaction its producer has open",
        "Redpanda #3232", ["T5", "T7", "RF3"];
    TxnCoordinatorUnchecked = "txn-coordinator-unchecked",
        "a marker of a coordinator that was replaced is taken",
        "synthetic (ProducerAppendInfo.checkCoordinatorEpoch left out)", ["T9", "RF3"];
    TxnEpochNotRaised = "txn-epoch-not-raised",
        "a marker that raises the epoch does not begin the numbers anew",
        "KIP-890 (ProducerStateEntry.maybeUpdateProducerEpoch left out)",
        ["L2", "L1", "L3", "P3", "P4"];
    TxnMarkerAnsweredEarly = "txn-marker-answered-early",
        "a marker is answered when the WAL has taken it, before it is durable",
        "synthetic (WriteTxnMarkers appends with acks=all)", ["T5", "T2", "T8", "T1", "LV3", "RF3"];
    TxnListedEndIsHw = "txn-listed-end-is-hw",
        "the latest offset for readers of committed data is the high watermark",
        "synthetic (UnifiedLog.fetchOffsetByTimestamp)", ["T3"];
    TxnSearchUnbounded = "txn-search-unbounded",
        "a lookup by time finds records that are not decided yet",
        "KAFKA-5522", ["T3"];
    ProducerRefusedUnproven = "producer-refused-unproven",
        "a batch is refused as out of order by a leader that was replaced and does not know it",
        "Kafka (ProducerAppendInfo.checkSequence on a leader that lags; ADR 0009)", ["P2"];
    ProducerWindowOne = "producer-window-one",
        "only the newest batch of a producer is remembered",
        "KAFKA-5494, Redpanda #3039 (five may be in flight)", ["P1", "P2", "P4", "L1"];
    ProducerStateLost = "producer-state-lost",
        "a new leader knows nothing of the producers",
        "AutoMQ #437; Inkless 12cb1e23b8", ["P1", "P2", "P4", "L1", "T2", "T3", "RF3"];
    ProducerSnapshotAhead = "producer-snapshot-ahead",
        "a snapshot of the producers holds what is not confirmed yet",
        "KAFKA-6683; Redpanda #11840", ["P4", "L1", "T2", "RF3"];
    ProducerSnapshotOnly = "producer-snapshot-only",
        "a new leader takes the newest snapshot for all there is to know of the producers",
        "synthetic (recovery is the latest snapshot and the log behind it)",
        ["P4", "P2", "P1", "L1", "T2", "T3", "RF3"];
    ProducerStateFirst = "producer-state-first",
        "a producer's state moves on before its batch is let in",
        "KAFKA-6683", ["P3", "P2", "L1", "L3", "L4", "W1", "RF2"];
    ProducerRepeatAtEnd = "producer-repeat-at-end",
        "a batch that came again is answered with the offset of the log's end",
        "KAFKA-14920", ["P3", "P1", "L1", "L3", "L6", "W1", "L2"];
    ProducerRepeatUnconfirmed = "producer-repeat-unconfirmed",
        "a batch that came again is answered before it is durable",
        "KIP-98; KAFKA-5494", ["P3", "L1", "L3", "W1", "RF2"];
    ProduceWaiterByCorr = "produce-waiter-by-corr",
        "who waits for a batch is known by a correlation id, which the client may use again",
        "synthetic (Kafka gives correlation ids back and never looks at them)",
        ["L1", "L2", "L3", "L4", "W1", "RF2"];
    ProduceAckOnAppend = "produce-ack-on-append",
        "acks=all is answered when the WAL has taken the batch, as acks=1 is",
        "synthetic (Kafka's DelayedProduce left out)", ["W1", "L3", "RF2"];
    SearchUnfenced = "search-unfenced",
        "a timestamp lookup answers although its partition was given up while it read an object",
        "synthetic (ReplicaManager.fetchOffset checks leadership with every answer)", ["Q1"];
    SearchUnproven = "search-unproven",
        "a leader that was replaced and does not know it tells where its log ends",
        "Kafka (ReplicaManager.fetchOffset on a leader that lags; KIP-207, ADR 0009)", ["Q1", "S6"];
    SearchForgotten = "search-forgotten",
        "a timestamp lookup begins at the log's start, whatever an earlier one has seen",
        "synthetic (Kafka's TimeIndex outlives the request)", ["LV5"];
    PartitionListedZero = "partition-listed-zero",
        "a timestamp lookup answers 0 when it finds nothing in the cache",
        "Bufstream 0.1.0 (Jepsen: spurious zero offsets)", ["Q1"];
    FetchNeverWoken = "fetch-never-woken",
        "a delayed fetch is neither woken by data nor by its timer",
        "AutoMQ f205638ccb", ["LV1"];
    FetchRefusedUnproven = "fetch-refused-unproven",
        "a leader that was replaced and does not know it answers that an offset is out of range",
        "Kafka (ReplicaManager.readFromLog on a leader that lags; KIP-320, ADR 0009)", ["S5", "L4"];
    TxnEpochNotBumped = "txn-epoch-not-bumped",
        "the end of a transaction by the second protocol leaves the producer's epoch as it is",
        "KAFKA-17754 (Bufstream 0.1.0, Jepsen)", ["L2", "LV4", "RF3"];
    TxnEpochUnchecked = "txn-epoch-unchecked",
        "a coordinator lets a producer that was replaced end the transaction of its successor",
        "KAFKA-9600 (an epoch compared the wrong way)", ["T2", "T5", "T6", "T10", "RF3"];
    TxnTimeoutDecided = "txn-timeout-decided",
        "a transaction that takes too long is aborted although it was decided otherwise",
        "synthetic (TransactionStateManager.timedOutTransactions looks at Ongoing only)",
        ["T4", "RF3"];
    TxnCompletionLost = "txn-completion-lost",
        "a transaction with a marker that had to be sent again never gets complete",
        "KAFKA-9777", ["LV4"];
    TxnTimeoutUnfenced = "txn-timeout-unfenced",
        "a transaction that timed out is aborted under its producer's own epoch",
        "KAFKA-6119", ["LV4", "RF3"];
    TxnTimeoutNeverLooked = "txn-timeout-never-looked",
        "a coordinator that takes over does not look for transactions that are open for too long",
        "KAFKA-18137 (timers of the shard are lost with a reload)", ["LV3"];
    TxnPreparedForgotten = "txn-prepared-forgotten",
        "a coordinator that takes over does not send the markers that are owed",
        "KAFKA-9777 (a completion is lost)", ["LV4"];
    TxnMarkerGivenUp = "txn-marker-given-up",
        "a marker that a broker could not write is taken for written",
        "KAFKA-12671 (hanging transactions)", ["T2", "T8", "LV3", "RF3"];
    TxnAnsweredUnconfirmed = "txn-answered-unconfirmed",
        "a coordinator answers before the records that the answer rests on are confirmed",
        "KAFKA-15784", ["T5", "T2", "T8", "T10", "RF3"];
    TxnMarkersUnconfirmed = "txn-markers-unconfirmed",
        "markers are sent before the decision is confirmed",
        "synthetic (TransactionStateManager.appendTransactionToLog left out)", ["T5", "T1", "RF3"];
    TxnUnverified = "txn-unverified",
        "a leader takes a transaction's batch without asking the coordinator",
        "KAFKA-14402 (before KIP-890)", ["T8", "T5", "T10", "RF3"];
    TxnAnsweredUnproven = "txn-answered-unproven",
        "a coordinator that was replaced and does not know it answers from what it remembers",
        "synthetic (TransactionCoordinator.endTransaction refuses without an append)", ["T10"];
    TxnPendingLooked = "txn-pending-looked",
        "the end of a transaction is compared with an epoch that is not settled yet",
        "KAFKA-18464", ["T10"];
    TxnOverflowOldId = "txn-overflow-old-id",
        "a producer whose epochs are used up is told its old id, not the next one",
        "KAFKA-18660", ["T10"];
    TxnConcurrentIsFinal = "txn-concurrent-is-final",
        "a leader refuses a batch because its producer's last transaction is still being ended",
        "KAFKA-18575", ["T10"];
    TxnGuardLossFinal = "txn-guard-loss-final",
        "a batch is refused because the marker of its producer's last transaction came meanwhile",
        "Kafka (UnifiedLog.analyzeAndValidateProducerState without the VerificationGuard)", ["T10"];
    GroupRequireStableIgnored = "group-require-stable-ignored",
        "offsets are read past those of a transaction that is open",
        "Redpanda #28554", ["G1", "G3"];
    GroupTxnCommitUnfenced = "group-txn-commit-unfenced",
        "offsets of a transaction are taken from a member that was replaced",
        "KIP-447 (validateTransactionalOffsetCommit left out)", ["G2", "G3"];
    GroupGenerationUnchecked = "group-generation-unchecked",
        "commits and heartbeats of any generation are taken from members of classic groups",
        "synthetic (ClassicGroup.validateOffsetCommit without the generation)", ["G2"];
    GroupMemberEpochUnchecked = "group-member-epoch-unchecked",
        "commits of any member epoch are taken from members of KIP-848 groups",
        "synthetic (ConsumerGroup.validateOffsetCommit without the epoch)", ["G2"];
    GroupGivenBeforeRevoked = "group-given-before-revoked",
        "a partition is given to a member before the one that has it says that it gave it up",
        "synthetic (CurrentAssignmentBuilder without unreleased partitions)", ["G5"];
    GroupTxnOffsetAtOnce = "group-txn-offset-at-once",
        "offsets of a transaction count when they are written, not when it is committed",
        "KAFKA-15784 turned round", ["G1", "G3", "G4"];
    GroupSessionsUnseeded = "group-sessions-unseeded",
        "a new coordinator does not watch the members that it inherits",
        "KAFKA-18138 (the same slip in a group coordinator: onLoaded)", ["LV6"];
    GroupAssignmentNotStored = "group-assignment-not-stored",
        "the leader's assignment is told and not written",
        "synthetic (classicGroupSync without its record)", ["G5"];
    GroupOffsetOfDeletedTopic = "group-offset-of-deleted-topic",
        "offsets of a topic that is deleted are taken and kept",
        "Kafka (KafkaApis looks into an image that may change before the append)", ["G1"];
    // What these do no run can notice: unit tests show them.
    GroupMarkerOffsetDecides = "group-marker-offset-decides",
        "of two commits of one offset the one whose marker comes later counts, not the later one",
        "Redpanda CORE-17000", [];
    GroupNobodyRefused = "group-nobody-refused",
        "offsets of a transaction are refused when they name no member",
        "KAFKA-18060", [];
    GroupPendingExpires = "group-pending-expires",
        "offsets expire under an open transaction, and the group with them",
        "KAFKA-19163", [];
}

/// The planted bugs that a run can meet.
pub const REGISTRY: &[MutantRow] = ROWS.split_at(promised()).0;

/// Those that no run can notice, which promise nothing: unit tests show them.
pub const UNHOSTED: &[MutantRow] = ROWS.split_at(promised()).1;

/// The rows that promise something come first.
const fn promised() -> usize {
    let mut rows = 0;
    while rows < ROWS.len() && !ROWS[rows].properties.is_empty() {
        rows += 1;
    }
    rows
}

/// Which planted bugs are on.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Mutants(u128);

/// Which planted bugs are on: none, they are not compiled in.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Mutants;

#[cfg(feature = "mutants")]
impl Mutants {
    /// None.
    pub const NONE: Self = Self(0);

    /// With `mutant` on, too.
    #[must_use]
    pub fn with(self, mutant: Mutant) -> Self {
        Self(self.0 | 1 << mutant as u64)
    }

    /// Whether `mutant` is on.
    #[must_use]
    pub fn on(self, mutant: Mutant) -> bool {
        self.0 >> (mutant as u64) & 1 == 1
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutants {
    /// None, the only value.
    pub const NONE: Self = Self;

    /// None all the same: a planted bug that is not compiled in can not be switched on.
    #[must_use]
    pub const fn with(self, _mutant: Mutant) -> Self {
        self
    }

    /// Always no.
    #[must_use]
    pub const fn on(self, _mutant: Mutant) -> bool {
        false
    }
}

const _: () = assert!(ROWS.len() <= 128, "Mutants is a u128");

/// The row of the mutant with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static MutantRow> {
    REGISTRY.iter().find(|row| row.id == id)
}
