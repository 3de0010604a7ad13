//! What both sides of a connection speak.
//!
//! Source: `NodeApiVersions.java`, KIP-35, KIP-584, KIP-890.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use broker_core::protocol::TransactionVersion;

use super::Refusal;
use crate::wire::ApiKey;
use crate::wire::messages::cluster::api_versions;

/// From here on these calls follow KIP-890.
pub(super) const PRODUCE_V2: i16 = 12;
pub(super) const END_TXN_V2: i16 = 5;
pub(super) const TXN_OFFSET_COMMIT_V2: i16 = 5;

/// The versions of each call that a broker speaks, and its features.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Versions {
    calls: BTreeMap<ApiKey, (i16, i16)>,
    /// Finalized levels by name.
    features: BTreeMap<String, i16>,
}

impl Versions {
    /// As an answer to ApiVersions tells them.
    #[must_use]
    pub fn of(told: &api_versions::Response) -> Self {
        let calls = told
            .api_keys
            .iter()
            .filter_map(|it| Some((ApiKey::of(it.api_key)?, (it.min_version, it.max_version))));
        let features = told.finalized_features.iter();
        let features = features.map(|it| (it.name.clone(), it.max_version_level));
        Self { calls: calls.collect(), features: features.collect() }
    }

    /// The highest version of a call that both sides speak, of those that will do.
    ///
    /// # Errors
    /// If there is none.
    pub fn pick(&self, key: ApiKey, will_do: impl RangeBounds<i16>) -> Result<i16, Refusal> {
        let (mut oldest, mut newest) = key.versions();
        match will_do.start_bound() {
            Bound::Included(from) => oldest = oldest.max(*from),
            Bound::Excluded(before) => oldest = oldest.max(before.saturating_add(1)),
            Bound::Unbounded => {}
        }
        match will_do.end_bound() {
            Bound::Included(upto) => newest = newest.min(*upto),
            Bound::Excluded(end) => newest = newest.min(end.saturating_sub(1)),
            Bound::Unbounded => {}
        }
        let offered = self.calls.get(&key).copied();
        let refusal = Refusal::NotSpoken { key, needed: (oldest, newest), offered };
        let (from, upto) = offered.ok_or(refusal)?;
        let best = newest.min(upto);
        if best >= oldest.max(from) { Ok(best) } else { Err(refusal) }
    }

    /// Which protocol of transactions the broker follows: the second one only if the cluster has
    /// finalized it, and all calls are there that it is spoken with.
    #[must_use]
    pub fn transactions(&self) -> TransactionVersion {
        let speaks = |key, from: i16| self.pick(key, from..).is_ok();
        let second = self.features.get("transaction.version").is_some_and(|level| *level >= 2)
            && speaks(ApiKey::Produce, PRODUCE_V2)
            && speaks(ApiKey::EndTxn, END_TXN_V2)
            && speaks(ApiKey::TxnOffsetCommit, TXN_OFFSET_COMMIT_V2);
        if second { TransactionVersion::V2 } else { TransactionVersion::V1 }
    }

    /// The finalized level of a feature; 0 if there is none.
    #[must_use]
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
}
