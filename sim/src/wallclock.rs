//! The only place that reads the machine's clock: for progress, budgets of real time and the start
//! seed of a sweep. Nothing of it reaches a run.
#![expect(clippy::disallowed_types, reason = "real time, for people and budgets")]

use std::time::{Duration, Instant, SystemTime};

/// Measures real time from its making.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default that differs each time misleads")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Since its making.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The time of day, µs since 1970, for clients of real brokers.
#[must_use]
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A seed that no earlier sweep began with: thousands of seeds for each second of the calendar.
#[must_use]
pub fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs()) * 1_000
}
