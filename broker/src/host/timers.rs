//! The timers that a node has armed: by name, and by when they are due.

use std::collections::{BTreeMap, BTreeSet};

use broker_core::step::TimerKey;
use broker_core::time::{Dur, Mono};

/// Armed timers.
#[derive(Default)]
pub(super) struct Timers {
    at: BTreeMap<TimerKey, Mono>,
    by_time: BTreeSet<(Mono, TimerKey)>,
}

impl Timers {
    /// Arms a timer, or moves it.
    pub(super) fn arm(&mut self, key: TimerKey, now: Mono, after: Dur) {
        self.disarm(key);
        let at = Mono(now.0.saturating_add(after.0));
        self.at.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// Forgets a timer.
    pub(super) fn disarm(&mut self, key: TimerKey) {
        if let Some(at) = self.at.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// Takes a timer that is due.
    pub(super) fn due(&mut self, now: Mono) -> Option<TimerKey> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.disarm(key);
        Some(key)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_moved_is_due_once_at_its_new_time() {
        let mut timers = Timers::default();
        timers.arm(TimerKey::Sweep, Mono(10), Dur(5));
        timers.arm(TimerKey::Heartbeat, Mono(10), Dur(7));
        timers.arm(TimerKey::Sweep, Mono(11), Dur(20));
        assert_eq!(timers.next(), Some(Mono(17)));
        assert_eq!(timers.due(Mono(16)), None);
        assert_eq!(timers.due(Mono(40)), Some(TimerKey::Heartbeat), "the earlier one first");
        assert_eq!(timers.due(Mono(40)), Some(TimerKey::Sweep));
        assert_eq!(timers.due(Mono(40)), None);
    }

    #[test]
    fn timer_disarmed_is_never_due() {
        let mut timers = Timers::default();
        timers.arm(TimerKey::Sweep, Mono(0), Dur(1));
        timers.disarm(TimerKey::Sweep);
        timers.disarm(TimerKey::Sweep);
        assert_eq!((timers.next(), timers.due(Mono(9))), (None, None));
    }
}
