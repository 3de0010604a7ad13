//! The one table of properties: code → definition → source → module → evidence that it bites.

/// A property that must hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PropertyRow {
    /// Its code, such as `L3`.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What must hold.
    pub what: &'static str,
    /// Where the rule comes from.
    pub source: &'static str,
    /// Its file in `properties`.
    pub module: &'static str,
    /// The anomaly classes of Jepsen's Kafka workload that it covers, if any.
    pub jepsen: Option<&'static str>,
    /// Marks that prove runs reach what it is about.
    pub sometimes: &'static [&'static str],
    /// Planted bugs that it must notice.
    pub mutants: &'static [&'static str],
}

macro_rules! properties {
    ($($code:ident $module:ident $name:literal: $what:literal;
        from $source:literal; jepsen $jepsen:expr;
        sometimes [$($mark:literal),+]; mutants [$($mutant:literal),*];)*) => {
        /// A property's place in [`PROPERTIES`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) enum Code { $($code,)* }

        impl Code {
            pub(crate) fn text(self) -> &'static str {
                PROPERTIES[self as usize].code
            }
        }

        /// Every property.
        pub const PROPERTIES: &[PropertyRow] = &[$(PropertyRow {
            code: stringify!($code),
            name: $name,
            what: $what,
            source: $source,
            module: stringify!($module),
            jepsen: $jepsen,
            sometimes: &[$($mark),+],
            mutants: &[$($mutant),*],
        }),*];

        /// Names of the counters of evaluations with a true antecedent, in the same order.
        pub const EVALUATED: &[&str] = &[$(concat!("evaluated:", stringify!($code))),*];
    };
}

properties! {
    L1 offset_unique "OffsetUnique":
        "an offset holds at most one record for ever, and a record has at most one offset";
        from "KIP-98 (log as a total order); Jepsen kafka workload";
        jepsen Some("inconsistent-offsets, duplicate");
        sometimes ["unknown-seen", "failover-served"];
        mutants ["wal-unknown-is-failure", "produce-waiter-by-corr", "upload-wrong-index",
            "producer-window-one", "producer-state-lost", "producer-state-first",
            "producer-repeat-at-end", "producer-repeat-unconfirmed", "producer-snapshot-ahead",
            "producer-snapshot-only", "txn-epoch-not-raised"];
    L2 offset_dense "OffsetDense":
        "offsets have no gaps or overlaps and grow in the order of appends";
        from "Kafka LogValidator (offset assignment); Redpanda chaos max_offset";
        jepsen Some("nonmonotonic-send, poll-skip, nonmonotonic-poll");
        sometimes ["append-after-ack", "back-pressure"];
        mutants ["wal-unknown-is-failure", "partition-queue-reordered", "produce-waiter-by-corr",
            "txn-epoch-not-raised", "upload-wrong-index", "producer-repeat-at-end",
            "txn-epoch-not-bumped"];
    L3 acked_durable "AckedDurable":
        "what was acknowledged with acks=all stays; what definitely failed never shows";
        from "Kafka producer contract (acks=all); Jepsen kafka workload";
        jepsen Some("lost-write, G1a");
        sometimes ["failover-served", "definite-failure", "unknown-lost"];
        mutants ["wal-confirm-max", "wal-cache-on-put-order", "wal-unknown-is-failure",
            "wal-refused-is-done", "upload-trim-before-commit", "upload-unknown-deletes",
            "recovery-first-page", "recovery-hole-ignored", "recovery-without-claim",
            "produce-waiter-by-corr", "produce-ack-on-append", "recovery-damage-skipped",
            "list-empty-page-ends", "producer-state-first", "producer-repeat-at-end",
            "producer-repeat-unconfirmed", "txn-epoch-not-raised"];
    L4 read_stable "ReadStable":
        "a record that was read is what every later read of its offset returns";
        from "KIP-101, Redpanda #3003"; jepsen Some("inconsistent-offsets");
        sometimes ["read-again", "read-after-failover"];
        mutants ["wal-confirm-max", "wal-unknown-is-failure", "upload-wrong-index",
            "partition-hw-is-leo", "produce-waiter-by-corr", "producer-state-first",
            "fetch-refused-unproven"];
    L5 watermark_order "WatermarkOrder":
        "log start ≤ high watermark ≤ what is confirmed ≤ log end; nothing else is read or \
        committed";
        from "Kafka LogOffsetMetadata; AutoMQ confirmOffset; Redpanda #11840"; jepsen None;
        sometimes ["verified-in-flight"];
        mutants ["wal-cache-on-put-order", "upload-unconfirmed", "partition-hw-is-leo"];
    L6 monotone "Monotone":
        "high watermark and log start never go back, neither for a client nor from leader to \
        leader";
        from "KIP-207; Inkless 707a85ae96"; jepsen None;
        sometimes ["failover-served"];
        mutants ["partition-hw-stale", "producer-repeat-at-end"];
    L7 single_writer "SingleWriter":
        "under one stream epoch one broker acknowledges; epochs follow one another in a stream";
        from "AutoMQ StreamControlManager.openStream"; jepsen None;
        sometimes ["epoch-moved"];
        mutants ["controller-open-unchecked", "wal-ack-before-verify", "wal-claim-overwrites",
            "wal-confirm-max", "recovery-first-page", "recovery-without-claim",
            "list-empty-page-ends"];
    L8 epoch_chain "EpochChain":
        "leader epochs grow along the log, the epoch cache follows it, no epoch in the metadata \
        falls";
        from "KIP-101, KIP-279, KAFKA-7415, KAFKA-15021"; jepsen None;
        sometimes ["read-after-failover", "epoch-without-records"];
        mutants ["controller-epoch-kept", "partition-epoch-on-append"];
    L9 no_phantom "NoPhantom":
        "every record read was sent, before, to that partition, and is intact";
        from "KAFKA-18723; Jepsen kafka workload"; jepsen Some("garbage read");
        sometimes ["damaged-refused"];
        mutants ["wal-unknown-is-failure", "upload-wrong-index", "partition-crc-unchecked",
            "partition-time-overwritten"];
    W1 ack_after_verify "AckAfterVerify":
        "a record is confirmed only behind durable puts and a later check that the WAL is still \
        owned";
        from "AutoMQ ObjectWALService, #743"; jepsen None;
        sometimes ["verified-in-flight", "own-write-refused", "verify-lost-to-claim"];
        mutants ["wal-ack-before-verify", "wal-verify-before-put", "wal-claim-overwrites",
            "wal-confirm-max", "wal-refused-is-done", "produce-ack-on-append",
            "produce-waiter-by-corr", "producer-repeat-at-end", "producer-repeat-unconfirmed",
            "producer-state-first", "wal-unknown-is-failure"];
    W2 trim_after_commit "TrimAfterCommit":
        "a WAL object goes only when all its records are in committed objects";
        from "AutoMQ DefaultUploadWriteAheadLogTask, #205, #3064"; jepsen None;
        sometimes ["wal-trimmed"];
        mutants ["wal-cache-on-put-order", "upload-trim-before-commit"];
    W3 recovery_complete "RecoveryComplete":
        "a WAL is sealed, and a stream opened again, only when everything confirmed is committed";
        from "AutoMQ WALRecovery, FailoverControlManager"; jepsen None;
        sometimes ["wal-sealed", "recovery-of-recovery", "late-confirm", "empty-page",
            "recovery-damaged"];
        mutants ["controller-open-unchecked", "wal-ack-before-verify", "wal-claim-overwrites",
            "recovery-overlap-first", "recovery-seal-ignored", "recovery-first-page",
            "recovery-without-claim", "recovery-dedupe-skipped", "recovery-damage-skipped",
            "list-empty-page-ends"];
    W4 sealed_epoch "SealedEpoch":
        "WAL objects of a sealed epoch, or that appear behind the successor's list, never \
        contribute";
        from "AutoMQ 8c333115a2, ObjectUtils.skipOverlapObjects"; jepsen None;
        sometimes ["zombie-put-after-list", "recovery-skipped-sealed"];
        mutants ["recovery-seal-ignored", "recovery-without-claim", "wal-refused-is-done",
            "recovery-overlap-first", "list-empty-page-ends"];
    O1 range_contig "RangeContig":
        "the committed ranges of a stream tile it, in order of epochs, each with one owner";
        from "AutoMQ verifyStreamContinuous"; jepsen None;
        sometimes ["epoch-moved", "commit-for-dead"];
        mutants ["controller-end-set-back"];
    O2 coverage "Coverage":
        "every committed offset is in exactly one committed object, with the bytes acknowledged";
        from "AutoMQ StreamReader.continuousCheck, #2653"; jepsen None;
        sometimes ["object-read-back"];
        mutants ["upload-wrong-index", "recovery-hole-ignored", "wal-cache-on-put-order"];
    O3 commit_idem "CommitIdem":
        "a commit sent again is applied once, and never refused for what its first copy did";
        from "AutoMQ #1055, a458623abd"; jepsen None;
        sometimes ["commit-found-applied", "prepared-expired"];
        mutants ["controller-continuity-first", "controller-end-set-back"];
    O4 fenced_commit "FencedCommit":
        "nothing is applied whose broker, stream or WAL epoch was stale at its place in the log";
        from "AutoMQ nodeEpochCheck, KIP-631"; jepsen None;
        sometimes ["controller-fenced", "commit-for-dead"];
        mutants ["controller-epoch-unchecked", "controller-open-unchecked"];
    O5 end_monotone "EndMonotone":
        "a stream's end never goes back";
        from "AutoMQ a458623abd"; jepsen None;
        sometimes ["commit-found-applied"];
        mutants ["controller-end-set-back"];
    O6 orphan_bound "OrphanBound":
        "no trimmed WAL object stays but one that landed behind its last deletion";
        from "AutoMQ feaf4f0248"; jepsen None;
        sometimes ["wal-redeleted"];
        mutants ["wal-single-delete"];
    O7 no_dangling "NoDangling":
        "no committed object is missing from the store";
        from "Inkless isSafeToDeleteFile; AutoMQ #2653"; jepsen None;
        sometimes ["object-destroyed", "object-read-back"];
        mutants ["upload-unknown-deletes"];
    M1 image_equiv "ImageEquiv":
        "two nodes at one metadata offset hold the same image, and it is what the log says";
        from "KIP-630, KIP-631"; jepsen None;
        sometimes ["images-compared", "speculative-reverted"];
        mutants ["controller-speculative-kept"];
    R1 election_safety "ElectionSafety":
        "an epoch of the quorum has at most one leader, in one process";
        from "Raft §5.2; KAFKA-10527"; jepsen None;
        sometimes ["second-leader"];
        mutants ["quorum-restart-as-leader"];
    R2 log_matching "LogMatching":
        "entries of one offset and epoch have one and the same log before them";
        from "Raft §5.3; KAFKA-7164"; jepsen None;
        sometimes ["diverging-truncation"];
        mutants ["quorum-restart-as-leader", "quorum-truncate-skipped"];
    R3 leader_completeness "LeaderCompleteness":
        "what is committed is in every later leader's log; a leader commits through an entry of \
        its own";
        from "Raft §5.4; KAFKA-12619"; jepsen None;
        sometimes ["second-leader", "high-watermark-waited"];
        mutants ["quorum-hw-prior-epoch", "quorum-truncate-skipped"];
    R4 state_machine_safety "StateMachineSafety":
        "no two nodes apply different records at an offset; nothing committed is cut";
        from "Raft §5.4.3; KAFKA-12460"; jepsen None;
        sometimes ["diverging-truncation", "second-leader"];
        mutants ["quorum-restart-as-leader", "quorum-truncate-skipped"];
    R5 hw_monotone "HwMonotone":
        "a high watermark never falls and covers only what a majority would keep through a crash";
        from "KIP-595; KAFKA-10533, KAFKA-12619"; jepsen None;
        sometimes ["unflushed-tail-lost", "torn-tail-cut"];
        mutants ["quorum-ack-before-fsync", "quorum-fetch-unvalidated", "quorum-truncate-skipped"];
    R6 vote_once "VoteOnce":
        "a voter votes for one candidate per epoch, also across its own restarts";
        from "Raft figure 2 (votedFor)"; jepsen None;
        sometimes ["voted-again"];
        mutants ["quorum-vote-not-persisted"];
    R9 durable_before_reply "DurableBeforeReply":
        "votes, epochs and entries are durable before anyone hears of them";
        from "KIP-595; KAFKA-10533"; jepsen None;
        sometimes ["unflushed-tail-lost"];
        mutants ["quorum-ack-before-fsync", "quorum-vote-not-persisted"];
    C1 broker_fence "BrokerFence":
        "a broker that knows it is fenced acknowledges nothing more, nor does the controller \
        obey it";
        from "KIP-631; AutoMQ 8f9a584b4f"; jepsen None;
        sometimes ["broker-fenced"];
        mutants ["broker-survives-fencing"];
    C2 one_leader "OneLeader":
        "under one leader epoch of a partition one broker acknowledges produces";
        from "KIP-101; KAFKA-15021"; jepsen None;
        sometimes ["failover-served"];
        mutants ["controller-epoch-kept"];
    C3 leader_eligible "LeaderEligible":
        "a leader is registered, unfenced and staying when it is chosen";
        from "KIP-841 (KAFKA-13916)"; jepsen None;
        sometimes ["leader-moved"];
        mutants ["controller-target-fenced"];
    T1 atomic_visibility "AtomicVisibility":
        "a transaction is committed in all its partitions or in none, and no reader misses a part";
        from "KIP-98; Jepsen Bufstream 0.1.0"; jepsen Some("G1b, fractured read");
        sometimes ["transaction-committed", "committed-read", "aborted-skipped"];
        mutants ["txn-commit-taken-for-abort", "txn-marker-of-the-same-epoch",
            "txn-marker-answered-early", "txn-markers-unconfirmed"];
    T2 no_aborted_read "NoAbortedRead":
        "a reader of committed data sees nothing that is aborted or undecided";
        from "KIP-98 (isolation.level)"; jepsen Some("G1a");
        sometimes ["committed-read", "transaction-aborted", "aborted-skipped"];
        mutants ["txn-fetch-to-the-end", "txn-last-stable-off-by-one",
            "txn-marker-unconfirmed-counts", "txn-aborted-untold-after-wait",
            "txn-aborted-untold-from-objects", "txn-snapshot-without-aborted", "txn-open-forgotten",
            "txn-marker-answered-early", "producer-state-lost", "producer-snapshot-ahead",
            "producer-snapshot-only", "txn-epoch-unchecked", "txn-marker-given-up",
            "txn-answered-unconfirmed"];
    T3 last_stable "LsoRule":
        "the last stable offset is the first of the oldest undecided transaction, and bounds what \
        readers of committed data are told";
        from "UnifiedLog.lastStableOffset; KAFKA-5522"; jepsen None;
        sometimes ["stable-held-back", "committed-read"];
        mutants ["txn-fetch-to-the-end", "txn-last-stable-off-by-one",
            "txn-marker-unconfirmed-counts", "txn-open-forgotten", "txn-listed-end-is-hw",
            "txn-search-unbounded", "upload-wrong-index", "producer-state-lost",
            "producer-snapshot-only"];
    T4 decision_stable "DecisionStable":
        "a transaction that is decided is completed so, and no state comes before its time";
        from "KIP-98, KIP-890, TransactionState.java"; jepsen None;
        sometimes ["decision-inherited"];
        mutants ["txn-timeout-decided"];
    T5 outcome_truth "OutcomeTruth":
        "a transaction ends as its producer asked, and has ended when it is told so";
        from "KIP-98 (EndTxn); Redpanda #3616"; jepsen None;
        sometimes ["transaction-committed", "transaction-aborted"];
        mutants ["txn-marker-answered-early", "txn-marker-of-the-same-epoch",
            "txn-marker-epoch-unchecked", "txn-epoch-unchecked", "txn-answered-unconfirmed",
            "txn-markers-unconfirmed", "txn-unverified"];
    T6 zombie_fence "ZombieFence":
        "a producer in whose place another was put commits nothing any more";
        from "KIP-98, KIP-360, KAFKA-6119"; jepsen None;
        sometimes ["zombie-commits"];
        mutants ["txn-epoch-unchecked"];
    T7 marker_once "MarkerOnce":
        "in each partition one marker ends a transaction, and none comes between its batches";
        from "KIP-98, KIP-890; KAFKA-19446"; jepsen None;
        sometimes ["marker-refused", "idle-marker"];
        mutants ["txn-marker-of-the-same-epoch", "txn-marker-epoch-unchecked"];
    T8 txn_scope "TxnScope":
        "what one marker ends is one transaction";
        from "KAFKA-17754, KIP-890"; jepsen None;
        sometimes ["transaction-committed", "open-across-failover"];
        mutants ["txn-marker-answered-early", "txn-marker-given-up", "txn-unverified",
            "txn-answered-unconfirmed"];
    T9 coordinator_epoch "CoordEpochMonotone":
        "the coordinator epochs of a producer's markers never fall";
        from "ProducerAppendInfo.checkCoordinatorEpoch"; jepsen None;
        sometimes ["marker-refused"];
        mutants ["txn-coordinator-unchecked"];
    T10 refused_for_cause "RefusedForCause":
        "no producer is told that it or its transaction is over unless another asked for its \
        place, its transaction took too long, or its id was idle for days";
        from "KIP-98, KIP-360, KIP-890; KAFKA-18464, KAFKA-18575, KAFKA-18660"; jepsen None;
        sometimes ["refused-replaced", "refused-timed-out"];
        mutants ["txn-answered-unproven", "txn-pending-looked", "txn-overflow-old-id",
            "txn-concurrent-is-final", "txn-guard-loss-final", "txn-epoch-unchecked",
            "txn-answered-unconfirmed", "txn-unverified"];
    G1 commit_latest "CommitLatest":
        "what is read back of a group's offsets is the last commit in force; who is told that it \
        committed did; a topic that is gone has none";
        from "OffsetMetadataManager.java, KIP-447; Redpanda CORE-17000, #28554"; jepsen None;
        sometimes ["offsets-staged", "unstable-refused", "asked-after-deletion"];
        mutants ["group-require-stable-ignored", "group-txn-offset-at-once",
            "group-offset-of-deleted-topic"];
    G2 generation_fence "GenFence":
        "no commit of a member or a generation that was replaced takes effect";
        from "KIP-447, KIP-848, KIP-1251"; jepsen None;
        sometimes ["superseded-commit"];
        mutants ["group-txn-commit-unfenced", "group-generation-unchecked",
            "group-member-epoch-unchecked"];
    G3 exactly_once "ExactlyOnce":
        "committed transactions read each input once, and hand over their outputs with that";
        from "KIP-129, KIP-447; KAFKA-17507, Redpanda #9571"; jepsen None;
        sometimes ["offsets-staged"];
        mutants ["group-require-stable-ignored", "group-txn-commit-unfenced",
            "group-txn-offset-at-once"];
    G4 offset_replay "OffsetReplay":
        "a group coordinator that takes over has the offsets that its log says";
        from "OffsetMetadataManager.replay, KAFKA-15784; Redpanda CORE-17000"; jepsen None;
        sometimes ["offsets-inherited"];
        mutants ["group-txn-offset-at-once"];
    G5 exclusive "Exclusive":
        "no partition is owned by two members of a group at a time";
        from "KIP-429, KIP-848"; jepsen None;
        sometimes ["generation-shared"];
        mutants ["group-given-before-revoked", "group-assignment-not-stored"];
    Q1 list_offsets "ListOffsets":
        "listed offsets agree with what was acknowledged and read before, and with the timestamps";
        from "KIP-79, KIP-207, KIP-734; Bufstream 0.1.0 (Jepsen)"; jepsen None;
        sometimes ["listed-after-failover", "timestamp-found", "timestamp-not-found"];
        mutants ["partition-hw-stale", "search-unfenced", "partition-listed-zero",
            "search-unproven"];
    Q2 epoch_end "EpochEnd":
        "OffsetForLeaderEpoch gives the largest epoch up to the one asked for and where it ended";
        from "KIP-101, KIP-279, KIP-320; KAFKA-7415, Redpanda #5435"; jepsen None;
        sometimes ["past-epoch-end", "epoch-without-records"];
        mutants ["partition-epoch-on-append", "partition-epoch-end-is-leo"];
    P1 no_dup "NoDup":
        "a batch of an idempotent producer is in the log once at most; a producer id is given once";
        from "KIP-98, KIP-730"; jepsen Some("duplicate");
        sometimes ["produce-repeated", "repeated-after-failover"];
        mutants ["producer-window-one", "producer-state-lost", "producer-repeat-at-end",
            "producer-snapshot-only", "producer-sequence-unchecked"];
    P2 order_no_gap "OrderNoGap":
        "what a producer has in a partition counts on without a gap, in the order of sending";
        from "KIP-98, KIP-360"; jepsen Some("nonmonotonic-send");
        sometimes ["out-of-order-refused", "out-of-order-at-replaced"];
        mutants ["producer-refused-unproven", "producer-sequence-unchecked",
            "producer-unknown-anywhere", "producer-state-lost",
            "producer-state-first", "producer-window-one", "producer-snapshot-only"];
    P3 dedup_answer "DedupAnswer":
        "an idempotent producer finds its batch at the offset it was told";
        from "KIP-98, UnifiedLog.analyzeAndValidateProducerState"; jepsen None;
        sometimes ["produce-repeated"];
        mutants ["producer-state-first", "producer-repeat-at-end", "producer-repeat-unconfirmed",
            "txn-epoch-not-raised"];
    P4 state_equiv "StateEquiv":
        "what a new leader knows of the producers is the fold of the log";
        from "KIP-98, ProducerStateManager.truncateAndReload"; jepsen None;
        sometimes ["snapshot-loaded", "repeated-after-failover"];
        mutants ["producer-window-one", "producer-state-lost", "producer-snapshot-ahead",
            "producer-snapshot-only", "txn-snapshot-without-aborted", "txn-open-forgotten",
            "txn-epoch-not-raised", "txn-commit-taken-for-abort"];
    LV1 readers_progress "ReadersProgress":
        "in the healthy core every fetch is answered and readers reach the high watermark";
        from "Kafka DelayedFetch; AutoMQ f205638ccb"; jepsen Some("unseen");
        sometimes ["delayed-fetch-woken", "read-to-the-end"];
        mutants ["fetch-never-woken"];
    LV2 quorum_leads "QuorumLeads":
        "the healthy core elects a leader; a leader that lost its majority resigns";
        from "KIP-595, KIP-996; KAFKA-15489"; jepsen None;
        sometimes ["check-quorum-resigned", "stuck-leader-watched"];
        mutants ["quorum-no-check-quorum"];
    LV3 stable_reaches_end "StableReachesEnd":
        "no transaction hangs: every last stable offset reaches its high watermark";
        from "KIP-890, KIP-664"; jepsen None;
        sometimes ["transaction-committed", "stable-held-back", "begin-refused"];
        mutants ["txn-marker-answered-early", "txn-timeout-never-looked", "txn-marker-given-up"];
    LV4 decisions_complete "DecisionsComplete":
        "in the healthy core every transaction that is decided gets complete";
        from "KIP-98; KAFKA-9777, KAFKA-19999"; jepsen None;
        sometimes ["decision-inherited", "coordinator-moved"];
        mutants ["txn-completion-lost", "txn-prepared-forgotten", "txn-timeout-unfenced",
            "txn-marker-retry-refused", "broker-survives-fencing", "txn-epoch-not-bumped"];
    LV5 clients_progress "ClientsProgress":
        "in the healthy core no client tries an operation in vain until its time is over";
        from "Kafka delivery.timeout.ms; Bufstream 0.1.0 (Jepsen: stuck producers)"; jepsen None;
        sometimes ["answered-across-healing"];
        mutants ["controller-leaderless-kept", "upload-prepare-wedges", "recovery-dedupe-skipped",
            "search-forgotten"];
    LV6 groups_stable "GroupsStable":
        "in the healthy core every group gets stable, and its members have the whole topic";
        from "KIP-848; KAFKA-18060"; jepsen None;
        sometimes ["group-shared"];
        mutants ["group-sessions-unseeded"];
    LV7 failover_done "FailoverDone":
        "in the healthy core every partition gets a leader and every dead WAL is recovered";
        from "KAFKA-18138; AutoMQ 44047d63d8, 730aa9fb8c"; jepsen None;
        sometimes ["healed-with-work"];
        mutants ["controller-leaderless-kept", "controller-sessions-unseeded",
            "recovery-dedupe-skipped", "recovery-hole-ignored", "broker-survives-fencing",
            "wal-unknown-is-failure", "upload-prepare-wedges"];
    LV8 backlog_drains "BacklogDrains":
        "in the healthy core all that is confirmed gets committed, and back-pressure ends";
        from "AutoMQ #1055, 0e459685e3"; jepsen None;
        sometimes ["backlog-drained", "back-pressure"];
        mutants ["upload-prepare-wedges", "wal-unknown-is-failure"];
    LV10 backs_off "BacksOff":
        "a throttled put is retried with growing pauses";
        from "S3 error best practices (SlowDown)"; jepsen None;
        sometimes ["throttled-put"];
        mutants ["upload-no-backoff"];
    S1 exact_copy "ExactCopy":
        "a sink that promises each row of a query once shows none twice, in the source's order";
        from "Kafka transactions_test; Delta txnVersion, Hudi, Paimon"; jepsen None;
        sometimes ["rows-tried-twice", "query-restarted"];
        mutants ["spark-transactional-id-per-run"];
    S2 marker_atomic "MarkerAtomic":
        "a marker sent with a batch in one transaction is visible exactly when its rows are";
        from "KIP-98, KIP-447"; jepsen None;
        sometimes ["marked-row"];
        mutants [];
    S3 one_committer "OneCommitter":
        "of two living starts of a query one at most commits a batch";
        from "KIP-447; Spark CONCURRENT_STREAM_LOG_UPDATE"; jepsen None;
        sometimes ["two-drivers"];
        mutants ["spark-commit-unchecked"];
    S4 replay_same "ReplaySame":
        "a range of a query's source gives the same records whenever it is read";
        from "Spark KafkaMicroBatchStream"; jepsen None;
        sometimes ["range-read-again"];
        mutants [];
    S5 listed_readable "ListedReadable":
        "what a query was told to be a partition's end is there to be read";
        from "KIP-207; Spark failOnDataLoss"; jepsen None;
        sometimes ["listed-end-read"];
        mutants ["fetch-refused-unproven"];
    S6 query_progress "QueryProgress":
        "in the healthy core a query comes to stand behind all that its source acknowledged";
        from "KAFKA-12980; SPARK-24453, SPARK-41375"; jepsen None;
        sometimes ["query-idle"];
        mutants ["spark-logs-swapped", "spark-purge-too-far", "spark-late-send-forgotten",
            "search-unproven"];
    S7 batch_chain "BatchChain":
        "a query's batches follow one another without gap or overlap, and run again as they ran";
        from "Spark MicroBatchExecution, HDFSMetadataLog"; jepsen None;
        sometimes ["batch-run-again"];
        mutants ["spark-replay-to-latest"];
    S8 at_least_once "AtLeastOnce":
        "what a query stands behind is in its sink, and comes twice within the bound only";
        from "Spark's Kafka guide; MicroBatchExecution"; jepsen None;
        sometimes ["rows-doubled", "query-restarted"];
        mutants ["spark-start-at-latest-entry", "spark-timeout-ends-range",
            "spark-dedupe-by-batch-id", "spark-commit-before-flush", "spark-group-offsets",
            "spark-newer-commit-ignored", "spark-new-partitions-at-latest"];
    S9 one_topic "OneTopic":
        "a query's offsets count in the topic that it began with, not in one of the same name";
        from "KIP-516; Spark's checkpoint knows no topic id"; jepsen None;
        sometimes ["query-restarted"];
        mutants [];
    RF1 quorum_refines "QuorumRefines":
        "whatever a controller does is a few steps of the specification of the quorum";
        from "Raft, KIP-595, KIP-996; specification/quorum.rs"; jepsen None;
        sometimes ["second-leader", "diverging-truncation", "unflushed-tail-lost"];
        mutants ["quorum-restart-as-leader", "quorum-ack-before-fsync",
            "quorum-vote-not-persisted", "quorum-hw-prior-epoch", "quorum-truncate-skipped",
            "quorum-fetch-unvalidated"];
    RF2 wal_refines "WalRefines":
        "what happens to WALs, claims and streams is what their specification lets happen";
        from "AutoMQ ObjectWALService, RecoverIterator; specification/wal.rs"; jepsen None;
        sometimes ["wal-sealed", "zombie-put-after-list", "verify-lost-to-claim"];
        mutants ["controller-end-set-back", "controller-open-unchecked",
            "partition-queue-reordered", "produce-ack-on-append", "produce-waiter-by-corr",
            "producer-repeat-unconfirmed", "producer-state-first", "controller-epoch-unchecked",
            "recovery-dedupe-skipped", "recovery-first-page", "recovery-hole-ignored",
            "recovery-damage-skipped", "recovery-seal-ignored", "recovery-without-claim",
            "upload-trim-before-commit", "upload-unconfirmed", "wal-ack-before-verify",
            "wal-cache-on-put-order", "wal-claim-overwrites", "wal-confirm-max",
            "wal-refused-is-done", "wal-unknown-is-failure", "wal-verify-before-put",
            "list-empty-page-ends", "recovery-overlap-first", "broker-survives-fencing"];
    RF3 transactions_refine "TransactionsRefine":
        "whatever the logs say of transactions is steps of the specification of transactions";
        from "KIP-98, KIP-360, KIP-890; specification/transactions.rs"; jepsen None;
        sometimes ["transaction-committed", "transaction-aborted", "decision-inherited"];
        mutants ["txn-last-stable-off-by-one", "txn-marker-unconfirmed-counts",
            "txn-snapshot-without-aborted", "txn-open-forgotten", "txn-commit-taken-for-abort",
            "txn-marker-of-the-same-epoch", "txn-marker-epoch-unchecked",
            "txn-coordinator-unchecked", "txn-marker-answered-early", "producer-state-lost",
            "producer-snapshot-ahead", "producer-snapshot-only", "txn-epoch-not-bumped",
            "txn-epoch-unchecked", "txn-timeout-decided", "txn-timeout-unfenced",
            "txn-marker-given-up", "txn-answered-unconfirmed", "txn-markers-unconfirmed",
            "txn-unverified"];
}

const _: () = assert!(PROPERTIES.len() <= 128, "the set of properties is a u128");

/// Which properties are judged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Set(u128);

impl Set {
    /// All, or the one with this code. An unknown code gives the empty set.
    pub(crate) fn of(only: Option<&str>) -> Self {
        let Some(only) = only else { return Self(u128::MAX) };
        let place = PROPERTIES.iter().position(|row| row.code == only);
        Self(place.map_or(0, |place| 1 << place))
    }

    pub(crate) fn has(self, code: Code) -> bool {
        self.0 >> (code as u64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use broker_core::mutants::REGISTRY;

    use super::*;
    use crate::marks::SOMETIMES;

    #[test]
    fn table_and_registry_of_planted_bugs_promise_the_same() {
        for property in PROPERTIES {
            // A query's bugs are registered elsewhere.
            let of_core = property.mutants.iter().filter(|id| !id.starts_with("spark-"));
            for mutant in of_core {
                let row = REGISTRY.iter().find(|row| row.id == *mutant).expect(mutant);
                assert!(row.properties.contains(&property.code), "{} of {mutant}", property.code);
            }
        }
        for row in REGISTRY {
            for code in row.properties {
                let property = PROPERTIES.iter().find(|property| property.code == *code);
                let mutants = property.expect(code).mutants;
                assert!(mutants.contains(&row.id), "{} of {code}", row.id);
            }
        }
    }

    #[test]
    fn table_names_only_marks_that_exist_and_every_mark() {
        let named: BTreeSet<&str> =
            PROPERTIES.iter().flat_map(|row| row.sometimes).copied().collect();
        let known: BTreeSet<&str> = SOMETIMES.iter().map(|row| row.id).collect();
        assert!(named.is_subset(&known), "{:?}", named.difference(&known));
        // What a run must reach whatever is judged.
        let general = ["catch-up-read", "recovery-hole", "tail-read-back"];
        let unnamed: BTreeSet<&str> = known.difference(&named).copied().collect();
        assert_eq!(unnamed, general.into_iter().collect());
    }

    #[test]
    fn table_has_each_code_once() {
        let codes: BTreeSet<&str> = PROPERTIES.iter().map(|row| row.code).collect();
        assert_eq!(codes.len(), PROPERTIES.len());
    }

    #[test]
    fn set_of_one_code_has_only_that() {
        let set = Set::of(Some("L3"));
        assert!(set.has(Code::L3) && !set.has(Code::L1));
        assert!(!Set::of(Some("no such")).has(Code::L3));
    }
}
