//! The two clocks of a node and the length of time between two instants, all in whole microseconds.

use serde::{Deserialize, Serialize};

/// A node's monotonic clock, µs since an arbitrary start. It may drift and pause, never go back.
/// State keeps no `Mono`: a wait is a named, relative timer.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

/// A node's wall clock, µs since the Unix epoch. It may jump both ways: it is data, never a reason.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// A length of time in µs.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Dur(pub u64);

impl Dur {
    /// `ms` milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// `s` seconds.
    #[must_use]
    pub const fn secs(s: u64) -> Self {
        Self(s * 1_000_000)
    }

    /// This length `by` times over.
    #[must_use]
    pub const fn times(self, by: u64) -> Self {
        Self(self.0 * by)
    }
}
