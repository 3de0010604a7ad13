//! The planted bugs of the Spark actor: a registry, and a bitset that switches them on.
//!
//! They are slips that a hand-written driver or sink makes, each against one rule of Spark's. They
//! are always compiled in, for no broker ships this actor.

use super::handoff::Property;

/// One planted bug.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SparkMutantRow {
    /// The bug.
    pub mutant: SparkMutant,
    /// Stable name.
    pub id: &'static str,
    /// What the actor does wrong.
    pub what: &'static str,
    /// What must show.
    pub property: Property,
}

macro_rules! mutants {
    ($($variant:ident = $id:literal, $what:literal, $property:ident;)*) => {
        /// The planted bugs, by name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum SparkMutant {
            $(#[doc = $what] $variant,)*
        }

        /// All planted bugs of the actor.
        pub const REGISTRY: &[SparkMutantRow] = &[$(SparkMutantRow {
            mutant: SparkMutant::$variant,
            id: $id,
            what: $what,
            property: Property::$property,
        }),*];
    };
}

mutants! {
    LogsSwapped = "spark-logs-swapped",
        "commits/N is written where offsets/N belongs, and offsets/N where commits/N belongs",
        Stuck;
    CommitUnchecked = "spark-commit-unchecked",
        "a commit log entry that is there already is taken for one's own",
        CommittedTwice;
    StartAtLatestEntry = "spark-start-at-latest-entry",
        "a batch that is run again begins at offsets/N, not at offsets/N-1",
        Lost;
    ReplayToLatest = "spark-replay-to-latest",
        "a batch that is run again ends at what is the latest offset by now",
        RangeChanged;
    TimeoutEndsRange = "spark-timeout-ends-range",
        "a read that times out is taken for the end of the range",
        Lost;
    DedupeByBatchId = "spark-dedupe-by-batch-id",
        "a sink's marker holds the batch's number only, not what the batch reads",
        Lost;
    CommitBeforeFlush = "spark-commit-before-flush",
        "a task is done when its records are sent, before they are acknowledged",
        Lost;
    TransactionalIdPerRun = "spark-transactional-id-per-run",
        "each start of the query has a transactional id of its own, which fences nobody",
        Doubled;
    GroupOffsets = "spark-group-offsets",
        "a query that starts goes on at the consumer group's offsets, not at its own",
        Lost;
    NewerCommitIgnored = "spark-newer-commit-ignored",
        "a commit log that is ahead of the offset log is taken as it is",
        Doubled;
    PurgeTooFar = "spark-purge-too-far",
        "the purge leaves the newest entry of the offset log only",
        Stuck;
    NewPartitionsAtLatest = "spark-new-partitions-at-latest",
        "partitions that were added are read from their end",
        Lost;
    LateSendForgotten = "spark-late-send-forgotten",
        "the answer to a send of an earlier batch is dropped, and a flush waits for it for ever",
        Stuck;
}

/// Which planted bugs are on.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct SparkMutants(u16);

impl SparkMutants {
    /// None.
    pub const NONE: Self = Self(0);

    /// With `mutant` on, too.
    #[must_use]
    pub const fn with(self, mutant: SparkMutant) -> Self {
        Self(self.0 | 1 << mutant as u16)
    }

    /// Whether `mutant` is on.
    #[must_use]
    pub const fn on(self, mutant: SparkMutant) -> bool {
        self.0 >> (mutant as u16) & 1 == 1
    }
}

const _: () = assert!(REGISTRY.len() <= 16, "SparkMutants is a u16");

/// The row of the mutant with this id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static SparkMutantRow> {
    REGISTRY.iter().find(|row| row.id == id)
}
