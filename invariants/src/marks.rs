//! Counters that prove a run reached something: `sometimes` marks, and how often each property was
//! evaluated with its antecedent true. A property that was never evaluated proves nothing.

use alloc::collections::BTreeMap;

use crate::table::{Code, EVALUATED, PROPERTIES};

/// An interesting state that runs should reach now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SometimesRow {
    /// Stable name.
    pub id: &'static str,
    /// What was reached.
    pub what: &'static str,
}

macro_rules! sometimes {
    ($($variant:ident = $id:literal, $what:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Mark { $($variant,)* }

        /// Every `sometimes` mark.
        pub const SOMETIMES: &[SometimesRow] = &[$(SometimesRow { id: $id, what: $what }),*];
    };
}

sometimes! {
    ZombiePutAfterList = "zombie-put-after-list",
        "a WAL object landed after the successor had listed that WAL";
    OwnWriteRefused = "own-write-refused",
        "a create-only put was refused because an earlier attempt of its own had been applied";
    RecoveryOfRecovery = "recovery-of-recovery",
        "a recovery was given to another broker after it had begun";
    DivergingTruncation = "diverging-truncation",
        "a controller cut entries that its leader does not have";
    UnflushedTailLost = "unflushed-tail-lost",
        "a controller died with entries appended and not yet durable";
    CommitFoundApplied = "commit-found-applied",
        "a retried commit was found already applied";
    FailoverServed = "failover-served",
        "a partition acknowledged under another broker than before";
    BackPressure = "back-pressure",
        "appends had to wait for room in the WAL";
    CatchUpRead = "catch-up-read",
        "a read was answered from a committed object";
    DelayedFetchWoken = "delayed-fetch-woken",
        "a waiting fetch was answered because data came";
    PreparedExpired = "prepared-expired",
        "a prepared object expired before its commit";
    SpeculativeReverted = "speculative-reverted",
        "a controller threw away changes that were not committed";
    CheckQuorumResigned = "check-quorum-resigned",
        "a leader resigned because no majority fetched any more";
    UnknownSeen = "unknown-seen",
        "a produce with an unknown outcome turned out to be in the log";
    UnknownLost = "unknown-lost",
        "a produce with an unknown outcome turned out not to be in the log";
    DefiniteFailure = "definite-failure",
        "a produce definitely failed";
    TopicGone = "asked-after-deletion",
        "a group coordinator that has seen a topic deleted was asked about offsets";
    GroupShared = "group-shared",
        "at the end several members of a group had a part of its topic";
    DamagedRefused = "damaged-refused",
        "a damaged batch was refused";
    ReadAgain = "read-again",
        "an offset was read a second time";
    ReadAfterFailover = "read-after-failover",
        "an offset read under one leader epoch was read again under another";
    AppendAfterAck = "append-after-ack",
        "a produce began after an earlier one of the same partition had been acknowledged";
    ListedAfterFailover = "listed-after-failover",
        "an end offset was listed under a later leader epoch than the data it must cover";
    TimestampFound = "timestamp-found",
        "a timestamp lookup found a record";
    TimestampNotFound = "timestamp-not-found",
        "a timestamp lookup found nothing in a partition that holds records";
    PastEpochEnd = "past-epoch-end",
        "the end of an epoch before the leader's was asked for";
    EpochWithoutRecords = "epoch-without-records",
        "a leader epoch began that holds no record";
    EpochMoved = "epoch-moved",
        "records of two leader epochs were confirmed in one stream";
    VerifiedInFlight = "verified-in-flight",
        "an ownership check was confirmed while later puts were in flight";
    VerifyLostToClaim = "verify-lost-to-claim",
        "a broker found a later claim on its WAL";
    LateConfirm = "late-confirm",
        "a confirmation reached its broker after the successor had listed the WAL";
    WalTrimmed = "wal-trimmed",
        "a WAL object was deleted behind its commit";
    WalRedeleted = "wal-redeleted",
        "a late put was removed by the second deletion";
    WalSealed = "wal-sealed",
        "a dead broker's WAL with confirmed records was sealed";
    RecoveryHole = "recovery-hole",
        "recovery dropped objects behind a hole";
    RecoverySkippedSealed = "recovery-skipped-sealed",
        "recovery left out objects of a sealed epoch";
    ProduceRepeated = "produce-repeated",
        "a batch came a second time and was found in the log";
    RepeatedAfterFailover = "repeated-after-failover",
        "a batch came a second time, to a later leader than the first time";
    OutOfOrderRefused = "out-of-order-refused",
        "a batch was refused because one before it was missing";
    OutOfOrderAtReplaced = "out-of-order-at-replaced",
        "a batch was found out of order by a leader that had been replaced";
    TransactionCommitted = "transaction-committed",
        "a transaction was committed, and its producer heard of it";
    TransactionAborted = "transaction-aborted",
        "a transaction was aborted, and its producer heard of it";
    CommittedRead = "committed-read",
        "a record of a transaction was read by a reader of committed data";
    AbortedSkipped = "aborted-skipped",
        "a reader of committed data stepped over an aborted transaction";
    StableHeldBack = "stable-held-back",
        "the last stable offset was below the high watermark";
    CoordinatorMoved = "coordinator-moved",
        "a transaction coordinator took over a log that was not empty";
    DecisionInherited = "decision-inherited",
        "a transaction coordinator took over with a decision left to carry out";
    BeginRefused = "begin-refused",
        "a leader refused a batch, for its transaction could not begin there";
    ZombieCommits = "zombie-commits",
        "a producer asked for a commit after another had taken its place";
    RefusedReplaced = "refused-replaced",
        "a producer was refused for another that had taken its place, or asked for it";
    RefusedTimedOut = "refused-timed-out",
        "a producer was refused because its transaction had taken too long";
    MarkerIdle = "idle-marker",
        "a marker came when no transaction of its producer was open";
    MarkerRefused = "marker-refused",
        "a marker of an older transaction or coordinator was refused";
    OpenAcrossFailover = "open-across-failover",
        "a partition was opened with a transaction open";
    SnapshotLoaded = "snapshot-loaded",
        "a partition was opened with a snapshot of its producers";
    OffsetsStaged = "offsets-staged",
        "offsets of a group became part of a transaction";
    UnstableRefused = "unstable-refused",
        "offsets were not told because an open transaction holds some";
    OffsetsInherited = "offsets-inherited",
        "a group coordinator took over a log that holds offsets";
    SupersededCommit = "superseded-commit",
        "a member asked for a commit after it or its generation had been replaced";
    GenerationShared = "generation-shared",
        "two members of a generation were told their parts";
    EmptyPage = "empty-page",
        "a list was answered with an empty page that was not the last";
    RecoveryDamaged = "recovery-damaged",
        "a recoverer read a WAL object that came damaged, and read it again";
    ObjectReadBack = "object-read-back",
        "a committed object's blocks were compared with what was acknowledged";
    TailReadBack = "tail-read-back",
        "confirmed records not yet uploaded were read back from the WAL";
    CommitForDead = "commit-for-dead",
        "a recoverer committed data of a dead broker's WAL";
    ControllerFenced = "controller-fenced",
        "the controller refused a stale epoch or owner";
    ObjectDestroyed = "object-destroyed",
        "an object was marked for deletion";
    ImagesCompared = "images-compared",
        "two nodes' images at one offset were compared";
    SecondLeader = "second-leader",
        "the quorum elected a second leader";
    VotedAgain = "voted-again",
        "a controller voted, died, and voted again";
    HighWatermarkWaited = "high-watermark-waited",
        "a new leader's high watermark rose over entries of earlier epochs";
    TornTailCut = "torn-tail-cut",
        "a controller cut a torn tail at boot";
    BrokerFenced = "broker-fenced",
        "a broker learned that it is fenced";
    LeaderMoved = "leader-moved",
        "a partition was given to another broker";
    StuckLeaderWatched = "stuck-leader-watched",
        "a leader ran for a fetch timeout without a majority of fetches";
    ThrottledPut = "throttled-put",
        "a put was refused with SlowDown";
    BacklogDrained = "backlog-drained",
        "everything confirmed was committed before the run ended";
    AnsweredAcrossHealing = "answered-across-healing",
        "a call begun before the core was healed was answered after it";
    HealedWithWork = "healed-with-work",
        "the safety phase ended with partitions or WALs that needed failover";
    QueryIdle = "query-idle",
        "a query found nothing more to hand over";
    QueryRestarted = "query-restarted",
        "a query was started on a checkpoint of an earlier start";
    TwoDrivers = "two-drivers",
        "two starts of a query lived at the same time";
    BatchRunAgain = "batch-run-again",
        "a batch of a query ran a second time";
    RangeReadAgain = "range-read-again",
        "a query read a range of its source a second time";
    ListedEndRead = "listed-end-read",
        "a query read what had been listed as a partition's end";
    RowsTriedTwice = "rows-tried-twice",
        "a row was sent twice to a sink that promises it once";
    RowsDoubled = "rows-doubled",
        "a row came twice to a sink that may double";
    MarkedRow = "marked-row",
        "a visible marker covered a record whose rows were looked for";
    ReadToTheEnd = "read-to-the-end",
        "a reader in the healthy core reached the end of its partition";
}

const MARKS: usize = SOMETIMES.len();
const CODES: usize = PROPERTIES.len();

/// The counters of one run.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Marks {
    marks: [u64; MARKS],
    evaluated: [u64; CODES],
    /// Actions of specifications.
    taken: BTreeMap<&'static str, u64>,
    published: BTreeMap<&'static str, u64>,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            marks: [0; MARKS],
            evaluated: [0; CODES],
            taken: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }
}

impl Marks {
    pub(crate) fn hit(&mut self, mark: Mark) {
        self.marks[mark as usize] += 1;
    }

    pub(crate) fn add(&mut self, times: u64, mark: Mark) {
        self.marks[mark as usize] += times;
    }

    pub(crate) fn hit_if(&mut self, condition: bool, mark: Mark) {
        self.marks[mark as usize] += u64::from(condition);
    }

    pub(crate) fn evaluated(&mut self, code: Code) {
        self.evaluated[code as usize] += 1;
    }

    /// An action of a specification was taken.
    pub(crate) fn taken(&mut self, action: &'static str) {
        *self.taken.entry(action).or_default() += 1;
    }

    /// Brings the map that is shown outside up to date; too slow for every event.
    pub(crate) fn publish(&mut self) {
        for (row, count) in SOMETIMES.iter().zip(self.marks) {
            if count > 0 {
                self.published.insert(row.id, count);
            }
        }
        for (name, count) in EVALUATED.iter().zip(self.evaluated) {
            if count > 0 {
                self.published.insert(name, count);
            }
        }
        self.published.extend(&self.taken);
    }

    pub(crate) fn into_published(mut self) -> BTreeMap<&'static str, u64> {
        self.publish();
        self.published
    }

    pub(crate) fn published(&self) -> &BTreeMap<&'static str, u64> {
        &self.published
    }
}
