//! A node's two clocks as functions of true time: offset, drift and steps. That a paused node gets
//! its late events in a burst is the decider's doing.
//!
//! Sources: `CLOCK_MONOTONIC` is slewed, never stepped (clock_gettime(2)), so drift moves both
//! clocks and a step only the wall clock; NTP slews by at most 500 ppm; quartz drifts by tens of
//! ppm.

use broker_core::time::{Dur, Mono, Wall};
use invariants::history::SimTime;

/// Wall time of the start of every run, µs since the Unix epoch: 2026-01-01T00:00:00Z.
pub const WALL_AT_START_US: i64 = 1_767_225_600_000_000;

/// Fastest and slowest that a clock may be told to run.
pub const DRIFT_PPM_MAX: i32 = 500_000;

const MILLION: i64 = 1_000_000;

/// The clocks of one endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Clock {
    /// Since when the drift is what it is.
    since: SimTime,
    /// The monotonic clock at that time.
    mono_since: Mono,
    drift_ppm: i32,
    /// What to add to the monotonic clock.
    wall_offset_us: i64,
}

impl Clock {
    /// A clock that is off by `offset_us` and drifts by `drift_ppm` from the start.
    #[must_use]
    pub fn new(offset_us: i64, drift_ppm: i32) -> Self {
        assert!(drift_ppm.abs() <= DRIFT_PPM_MAX, "a clock drifts by {drift_ppm} ppm");
        Self {
            since: SimTime(0),
            mono_since: Mono(0),
            drift_ppm,
            wall_offset_us: WALL_AT_START_US + offset_us,
        }
    }

    /// The monotonic clock.
    #[must_use]
    pub fn mono(&self, at: SimTime) -> Mono {
        let passed = (at.0 - self.since.0) as i64;
        let off = (passed * i64::from(self.drift_ppm)).div_euclid(MILLION);
        Mono(self.mono_since.0 + (passed + off) as u64)
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self, at: SimTime) -> Wall {
        Wall(self.mono(at).0 as i64 + self.wall_offset_us)
    }

    /// The first true time at which the monotonic clock shows `mono` or later, unless the drift
    /// changes before.
    #[must_use]
    pub fn when(&self, mono: Mono) -> SimTime {
        let Some(ahead) = mono.0.checked_sub(self.mono_since.0) else { return self.since };
        let rate = (MILLION + i64::from(self.drift_ppm)) as u128;
        let mut at = self.since.0 + (u128::from(ahead) * MILLION as u128 / rate) as u64;
        while self.mono(SimTime(at)) < mono {
            at += 1;
        }
        SimTime(at)
    }

    /// The instant `after` from now, on the monotonic clock.
    #[must_use]
    pub fn after(&self, at: SimTime, after: Dur) -> Mono {
        Mono(self.mono(at).0.saturating_add(after.0))
    }

    /// The wall clock jumps.
    pub fn step(&mut self, by_us: i64) {
        self.wall_offset_us += by_us;
    }

    /// Parts per million by which it runs fast.
    #[must_use]
    pub fn drift_ppm(&self) -> i32 {
        self.drift_ppm
    }

    /// From now on it runs fast (or slow) by this.
    pub fn set_drift(&mut self, at: SimTime, ppm: i32) {
        self.mono_since = self.mono(at);
        self.since = at;
        self.drift_ppm = ppm.clamp(-DRIFT_PPM_MAX, DRIFT_PPM_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn clock_drift_moves_both_clocks_and_a_step_only_the_wall() {
        for (ppm, step, mono, wall) in [
            (0, 0, 10 * S as i64, 10 * S as i64),
            (100, 0, 10_001_000, 10_001_000),
            (-100, 0, 9_999_000, 9_999_000),
            (0, -5_000_000, 10 * S as i64, 5_000_000),
            (500, 7, 10_005_000, 10_005_007),
        ] {
            let mut clock = Clock::new(0, ppm);
            clock.step(step);
            assert_eq!(clock.mono(SimTime(10 * S)).0 as i64, mono);
            assert_eq!(clock.wall(SimTime(10 * S)).0 - WALL_AT_START_US, wall);
        }
    }

    #[test]
    fn clock_mono_never_goes_back_when_the_drift_changes() {
        let mut clock = Clock::new(3, 400);
        let mut last = Mono(0);
        for at in 0..2_000_u64 {
            if at % 97 == 0 {
                clock.set_drift(SimTime(at), if at % 2 == 0 { 500_000 } else { -500_000 });
            }
            let now = clock.mono(SimTime(at));
            assert!(now >= last, "{now:?} after {last:?}");
            last = now;
        }
    }

    #[test]
    fn clock_when_is_the_first_instant_that_shows_it() {
        for ppm in [-500_000, -30, 0, 1, 30, 333_333] {
            let mut clock = Clock::new(0, 17);
            clock.set_drift(SimTime(12_345), ppm);
            for mono in [12_346, 20_000, 999_999, 7_000_001] {
                let at = clock.when(Mono(mono));
                assert!(clock.mono(at) >= Mono(mono), "{ppm} {mono}");
                assert!(clock.mono(SimTime(at.0 - 1)) < Mono(mono), "{ppm} {mono}");
            }
        }
    }
}
