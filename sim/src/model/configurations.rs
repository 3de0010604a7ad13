//! The bounds that are searched, and what the last search of each found.

use std::sync::Arc;

use broker_core::mutants::Mutants;
use invariants::EVALUATED;
use serde::Deserialize;

use super::Watch;
use super::quorum::{Bounds, QuorumModel};

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
    /// How often what may happen.
    pub bounds: Bounds,
}

/// Voters of the quorum's model.
const VOTERS: u16 = 3;

impl Configuration {
    /// Its model.
    #[must_use]
    pub fn model(&self, mutants: Mutants, watch: Arc<Watch>) -> QuorumModel {
        QuorumModel { voters: VOTERS, bounds: self.bounds, mutants, watch }
    }

    /// What it must reach, or it shows nothing: each property of the quorum's, each kind of action
    /// that its bounds allow.
    pub fn reaches(&self) -> impl Iterator<Item = &'static str> {
        let Bounds { suspicions, retries: _, crashes, proposals, disorders } = self.bounds;
        let properties = ["R1", "R2", "R3", "R4", "R5", "R6", "R9"];
        let evaluated = EVALUATED.iter().copied().filter(move |name| {
            properties.iter().any(|code| name.strip_prefix("evaluated:") == Some(*code))
        });
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
        evaluated.chain(actions.into_iter().filter(|(may, _)| *may).map(|(_, name)| name))
    }
}

/// All configurations, the quick ones first.
pub const ALL: &[Configuration] = &[
    Configuration {
        name: "quorum-elections",
        tier: Tier::Pr,
        bounds: Bounds { suspicions: 2, retries: 0, crashes: 0, proposals: 0, disorders: 0 },
    },
    Configuration {
        name: "quorum-appends",
        tier: Tier::Pr,
        bounds: Bounds { suspicions: 1, retries: 0, crashes: 0, proposals: 2, disorders: 0 },
    },
    Configuration {
        name: "quorum-disorders",
        tier: Tier::Pr,
        bounds: Bounds { suspicions: 1, retries: 0, crashes: 0, proposals: 1, disorders: 1 },
    },
    Configuration {
        name: "quorum-retries",
        tier: Tier::Pr,
        bounds: Bounds { suspicions: 1, retries: 1, crashes: 0, proposals: 1, disorders: 0 },
    },
    Configuration {
        name: "quorum-crashes",
        tier: Tier::Pr,
        bounds: Bounds { suspicions: 0, retries: 0, crashes: 1, proposals: 1, disorders: 0 },
    },
    Configuration {
        name: "quorum-terms",
        tier: Tier::Nightly,
        bounds: Bounds { suspicions: 2, retries: 0, crashes: 0, proposals: 1, disorders: 0 },
    },
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
