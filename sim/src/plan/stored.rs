//! Stored seeds: a minimised plan with the story of how it was found, and the planted bug that
//! re-introduces what it found. `seeds/regress/<slug>.toml` holds one each.

use serde::{Deserialize, Serialize};

use super::Plan;

/// How many reseeds of its background a stored seed is replayed with, besides the exact plan.
pub const RESEEDS: u64 = 16;

/// A plan that is kept for ever.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSeed {
    /// The plan, without the mutant in [`Found::mutant`].
    pub plan: Plan,
    /// Where it comes from.
    pub found: Found,
}

/// The story of a stored seed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Code of the property that it broke; `panic` for an assertion in the core.
    pub property: String,
    /// Where it broke.
    pub place: String,
    /// What found it: `sweep`, `model wal`, a person.
    pub by: String,
    /// At which commit.
    pub commit: String,
    /// From which seed, if from one.
    #[serde(default, skip_serializing, deserialize_with = "seed")]
    pub seed: Option<u64>,
    /// What goes wrong, for a reader.
    pub why: String,
    /// The planted bug that re-introduces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<String>,
    /// Why whole processes under madsim do not show it, if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen_by_madsim: Option<String>,
}

impl StoredSeed {
    /// The exact plan and its reseeds, with the mutant on or off.
    pub fn plans(&self, with_mutant: bool) -> impl Iterator<Item = Plan> + '_ {
        (0..=RESEEDS).map(move |nth| {
            let mut plan = self.plan.reseeded(nth);
            if with_mutant {
                plan.mutants.extend(self.found.mutant.clone());
            }
            plan
        })
    }
}

impl Plan {
    /// The same plan with another background; the 0th is the plan itself.
    #[must_use]
    pub fn reseeded(&self, nth: u64) -> Self {
        // The golden ratio's bits: reseeds of neighbouring seeds do not meet.
        let background = self.background.wrapping_add(nth.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self { background, ..self.clone() }
    }
}

fn seed<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    u64::from_str_radix(digits, 16).map(Some).map_err(serde::de::Error::custom)
}
