//! The bounds that are searched, and what the last search of each found.

use std::sync::Arc;

use broker_core::mutants::Mutants;
use invariants::{EVALUATED, SPECIFIED};
use serde::Deserialize;

use super::Watch;
use super::forward::Line;
use super::quorum::{self, Action, QuorumModel};
use super::scenarios::{self, Scenario};
use super::search::{Found, Order, Walks, search, walk};
use crate::outcome::Verdict;
use crate::plan::Protocol;

/// How much time a search may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Some minutes, all together: for every change.
    Pr,
    /// Longer: for every night.
    Nightly,
}

/// A model within bounds.
#[derive(Debug)]
pub struct Configuration {
    /// Its name on the command line and in the ledger.
    pub name: &'static str,
    /// When it is searched.
    pub tier: Tier,
    /// What is searched.
    pub subject: Subject,
}

/// What is searched: the right core by the second protocol of transactions, or something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Planted bugs.
    pub mutants: Mutants,
    /// What transactional clients of a world speak.
    pub protocol: Protocol,
}

impl Variant {
    /// Nothing may break.
    pub const RIGHT: Self = Self { mutants: Mutants::NONE, protocol: Protocol::Tv2 };

    /// With planted bugs.
    #[must_use]
    pub const fn planted(mutants: Mutants) -> Self {
        Self { mutants, ..Self::RIGHT }
    }
}

/// What a configuration searches.
#[derive(Debug)]
pub enum Subject {
    /// Three voters, and what may happen how often.
    Quorum(quorum::Bounds),
    /// Five voters, on random ways.
    Walks(quorum::Bounds, Walks),
    /// A world.
    World(Scenario),
}

/// Voters of the quorum's model, and of its walks.
const VOTERS: u16 = 3;
const WALKING_VOTERS: u16 = 5;

impl Configuration {
    /// The bounds, in words.
    #[must_use]
    pub fn bounds(&self) -> String {
        match &self.subject {
            Subject::Quorum(bounds) => bounds.to_string(),
            Subject::Walks(bounds, Walks { count, steps_max }) => {
                format!("{bounds}; {count} walks of {steps_max} steps at most")
            }
            Subject::World(scenario) => scenario.bounds.to_string(),
        }
    }

    /// Searches it with so many threads; what is found is told in words.
    ///
    /// # Errors
    /// If a property is violated before the search begins: how that ended.
    pub fn search(
        &self,
        variant: Variant,
        watch: &Arc<Watch>,
        (order, threads): (Order, usize),
    ) -> Result<Found<Line>, Verdict> {
        let mutants = variant.mutants;
        match &self.subject {
            Subject::Quorum(bounds) => {
                let model = quorum_model(*bounds, mutants, watch.clone());
                Ok(search(model, order, threads).told(story))
            }
            Subject::Walks(bounds, walks) => {
                let (voters, bounds, watch) = (WALKING_VOTERS, *bounds, watch.clone());
                let model = QuorumModel { voters, bounds, mutants, watch };
                Ok(walk(&model, *walks, threads).told(story))
            }
            Subject::World(scenario) => {
                let model = scenario.model(variant, watch.clone())?;
                Ok(search(model.clone(), order, threads).told(|way| model.story(&way)))
            }
        }
    }

    /// What it must reach, or it shows nothing: each property of its protocol, each kind of action
    /// that its bounds allow.
    #[must_use]
    pub fn reaches(&self) -> Vec<&'static str> {
        match &self.subject {
            Subject::Quorum(bounds) => quorum_reaches(*bounds),
            Subject::Walks(bounds, _) => {
                let specified = SPECIFIED.iter().flat_map(|actions| actions.iter().copied());
                let specified = specified.filter(|action| action.starts_with("RF1:"));
                quorum_reaches(*bounds).into_iter().chain(specified).collect()
            }
            Subject::World(scenario) => scenario.reaches(),
        }
    }
}

fn story(way: Vec<Action>) -> Vec<Line> {
    let line = |step: Action| Line { name: String::new(), words: step.to_string() };
    way.into_iter().map(line).collect()
}

/// The model of a quorum within bounds.
#[must_use]
pub fn quorum_model(bounds: quorum::Bounds, mutants: Mutants, watch: Arc<Watch>) -> QuorumModel {
    QuorumModel { voters: VOTERS, bounds, mutants, watch }
}

fn quorum_reaches(bounds: quorum::Bounds) -> Vec<&'static str> {
    let quorum::Bounds { suspicions, retries: _, crashes, proposals, disorders } = bounds;
    let actions = [
        (true, "deliver"),
        (suspicions > 0, "fire"),
        (suspicions > 0, "second-leader"),
        (crashes > 0, "work"),
        (crashes > 0, "crash"),
        (crashes > 0, "unflushed-tail-lost"),
        (proposals > 0, "propose"),
        (disorders > 0, "lose"),
        (disorders > 0, "double"),
        (disorders > 0, "overtake"),
    ];
    let actions = actions.into_iter().filter(|(may, _)| *may).map(|(_, name)| name);
    evaluated(&["R1", "R2", "R3", "R4", "R5", "R6", "R9"]).chain(actions).collect()
}

/// The marks of these properties' evaluation.
pub(super) fn evaluated(properties: &[&str]) -> impl Iterator<Item = &'static str> {
    let of =
        |name: &&str| name.strip_prefix("evaluated:").is_some_and(|it| properties.contains(&it));
    EVALUATED.iter().copied().filter(of)
}

const fn quorum(name: &'static str, tier: Tier, bounds: quorum::Bounds) -> Configuration {
    Configuration { name, tier, subject: Subject::Quorum(bounds) }
}

/// Walks on which much goes wrong, and each of the actions of the specification is taken.
const fn walks(name: &'static str, tier: Tier, count: u64) -> Configuration {
    let bounds =
        quorum::Bounds { suspicions: 12, retries: 30, crashes: 8, proposals: 10, disorders: 12 };
    let subject = Subject::Walks(bounds, Walks { count, steps_max: 500 });
    Configuration { name, tier, subject }
}

const fn world(name: &'static str, tier: Tier, scenario: Scenario) -> Configuration {
    Configuration { name, tier, subject: Subject::World(scenario) }
}

/// No way for anything to go wrong in a quorum.
const CALM: quorum::Bounds =
    quorum::Bounds { suspicions: 0, retries: 0, crashes: 0, proposals: 0, disorders: 0 };

/// All configurations.
pub const ALL: &[Configuration] = &[
    quorum("quorum-elections", Tier::Pr, quorum::Bounds { suspicions: 2, ..CALM }),
    quorum("quorum-appends", Tier::Pr, quorum::Bounds { suspicions: 1, proposals: 2, ..CALM }),
    quorum(
        "quorum-disorders",
        Tier::Pr,
        quorum::Bounds { suspicions: 1, proposals: 1, disorders: 1, ..CALM },
    ),
    quorum(
        "quorum-retries",
        Tier::Pr,
        quorum::Bounds { suspicions: 1, retries: 1, proposals: 1, ..CALM },
    ),
    quorum("quorum-crashes", Tier::Pr, quorum::Bounds { crashes: 1, proposals: 1, ..CALM }),
    walks("quorum-walks", Tier::Pr, 2_000),
    walks("quorum-long-walks", Tier::Nightly, 1_000_000),
    quorum("quorum-terms", Tier::Nightly, quorum::Bounds { suspicions: 2, proposals: 1, ..CALM }),
    quorum(
        "quorum-batches",
        Tier::Nightly,
        quorum::Bounds { suspicions: 1, retries: 1, proposals: 3, ..CALM },
    ),
    world("controllers-crash", Tier::Pr, scenarios::CONTROLLERS_CRASH),
    world("controllers-diverge", Tier::Pr, scenarios::CONTROLLERS_DIVERGE),
    world("controllers-elections", Tier::Pr, scenarios::CONTROLLERS_ELECTIONS),
    world("wal-store", Tier::Pr, scenarios::WAL_STORE),
    world("wal-failover", Tier::Pr, scenarios::WAL_FAILOVER),
    world("wal-controller", Tier::Pr, scenarios::WAL_CONTROLLER),
    world("wal-crash", Tier::Pr, scenarios::WAL_CRASH),
    world("wal-late-crash", Tier::Nightly, scenarios::WAL_LATE_CRASH),
    world("wal-late", Tier::Nightly, scenarios::WAL_LATE),
    world("wal-store-failover", Tier::Nightly, scenarios::WAL_STORE_FAILOVER),
    world("producer-retries", Tier::Pr, scenarios::PRODUCER_RETRIES),
    world("producer-failover", Tier::Nightly, scenarios::PRODUCER_FAILOVER),
    world("txn-late", Tier::Pr, scenarios::TRANSACTIONS_LATE),
    world("txn-failover", Tier::Pr, scenarios::TRANSACTIONS_FAILOVER),
    world("txn-links", Tier::Pr, scenarios::TRANSACTIONS_LINKS),
    world("txn-late-end", Tier::Pr, scenarios::TRANSACTIONS_LATE_END),
    world("txn-partitions", Tier::Pr, scenarios::PARTITIONS_LATE),
    world("txn-partitions-failover", Tier::Pr, scenarios::PARTITIONS_FAILOVER),
    world("txn-crash", Tier::Nightly, scenarios::TRANSACTIONS_CRASH),
    world("txn-late-failover", Tier::Nightly, scenarios::TRANSACTIONS_LATE_FAILOVER),
    world("group-classic", Tier::Pr, scenarios::CLASSIC_LATE),
    world("group-classic-failover", Tier::Pr, scenarios::CLASSIC_FAILOVER),
    world("group-consumer", Tier::Pr, scenarios::CONSUMER_LATE),
    world("group-consumer-failover", Tier::Pr, scenarios::CONSUMER_FAILOVER),
];

/// A planted bug of the core, and its shortest counterexample.
#[derive(Debug)]
pub struct Kill {
    /// The bug.
    pub mutant: &'static str,
    /// Where it is found.
    pub configuration: &'static str,
    /// Steps of the shortest counterexample; none if it shows before the first one.
    pub steps: usize,
    /// The property that does not hold.
    pub property: &'static str,
}

/// The planted bugs that the models find.
pub const KILLS: &[Kill] = &[
    kill("quorum-ack-before-fsync", "quorum-elections", 0, "R9"),
    kill("quorum-vote-not-persisted", "quorum-elections", 0, "R9"),
    kill("quorum-restart-as-leader", "quorum-crashes", 1, "R1"),
    kill("quorum-hw-prior-epoch", "quorum-crashes", 14, "R3"),
    kill("quorum-fetch-unvalidated", "quorum-crashes", 17, "R5"),
    kill("quorum-truncate-skipped", "quorum-crashes", 17, "R5"),
    kill("quorum-hw-prior-epoch", "controllers-crash", 20, "R3"),
    kill("quorum-restart-as-leader", "controllers-crash", 5, "R1"),
    kill("quorum-fetch-unvalidated", "controllers-diverge", 51, "R5"),
    kill("quorum-truncate-skipped", "controllers-diverge", 51, "R5"),
    kill("controller-continuity-first", "wal-store", 29, "O3"),
    kill("controller-end-set-back", "wal-store", 28, "O3"),
    kill("wal-ack-before-verify", "wal-store", 7, "W1"),
    kill("wal-verify-before-put", "wal-store", 14, "W1"),
    kill("wal-confirm-max", "wal-store", 11, "RF2"),
    kill("wal-cache-on-put-order", "wal-store", 20, "L5"),
    kill("wal-unknown-is-failure", "wal-store", 10, "L2"),
    kill("upload-trim-before-commit", "wal-store", 19, "W2"),
    kill("upload-unconfirmed", "wal-store", 16, "L5"),
    kill("upload-unknown-deletes", "wal-store", 26, "O7"),
    kill("controller-epoch-unchecked", "wal-failover", 9, "O4"),
    kill("controller-open-unchecked", "wal-failover", 16, "O4"),
    kill("controller-epoch-kept", "wal-failover", 3, "L8"),
    kill("wal-claim-overwrites", "wal-failover", 8, "RF2"),
    kill("recovery-without-claim", "wal-failover", 7, "W4"),
    kill("recovery-dedupe-skipped", "wal-failover", 30, "RF2"),
    kill("recovery-hole-ignored", "wal-failover", 30, "RF2"),
    kill("produce-ack-on-append", "wal-store", 4, "W1"),
    kill("producer-repeat-unconfirmed", "producer-retries", 20, "W1"),
    kill("partition-hw-is-leo", "producer-retries", 17, "L5"),
    kill("partition-hw-stale", "producer-failover", 75, "L6"),
    kill("txn-fetch-to-the-end", "txn-late", 31, "T3"),
    kill("txn-last-stable-off-by-one", "txn-late", 0, "RF3"),
    kill("txn-epoch-unchecked", "txn-late", 40, "RF3"),
    kill("txn-marker-unconfirmed-counts", "txn-late", 41, "RF3"),
    kill("txn-aborted-untold-after-wait", "txn-late", 46, "T2"),
    kill("txn-commit-taken-for-abort", "txn-late", 10, "T1"),
    kill("txn-epoch-not-raised", "txn-late", 14, "L2"),
    kill("txn-marker-answered-early", "txn-late", 34, "T5"),
    kill("txn-aborted-untold-from-objects", "txn-failover", 156, "T2"),
    kill("group-given-before-revoked", "group-consumer-failover", 8, "G5"),
    kill("txn-open-forgotten", "txn-failover", 110, "RF3"),
    kill("txn-marker-given-up", "txn-failover", 109, "T5"),
];

const fn kill(
    mutant: &'static str,
    configuration: &'static str,
    steps: usize,
    property: &'static str,
) -> Kill {
    Kill { mutant, configuration, steps, property }
}

/// What a search found when its bounds were last decided.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerRow {
    /// The configuration.
    pub name: String,
    /// Its bounds, in words: with other bounds the figures mean nothing.
    pub bounds: String,
    /// States.
    pub unique: usize,
    /// Transitions.
    pub generated: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    configuration: Vec<LedgerRow>,
}

/// The configuration of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Configuration> {
    ALL.iter().find(|it| it.name == name)
}

/// The ledger, as it was when this was built: `sim/src/model/ledger.toml`.
///
/// # Panics
/// If it is no ledger.
#[must_use]
pub fn ledger() -> Vec<LedgerRow> {
    let text = include_str!("ledger.toml");
    toml::from_str::<Ledger>(text).expect("a ledger").configuration
}
