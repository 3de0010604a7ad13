//! When the armed timers of one endpoint are due. A timer that is moved later, as most are with
//! every message, costs no new event: the one in the queue is pushed on when it comes up.

use broker_core::time::Mono;
use invariants::history::SimTime;

/// The timers of one endpoint, ascending by name.
#[derive(Clone, Debug)]
pub(super) struct Alarms<K>(Vec<Alarm<K>>);

#[derive(Clone, Copy, Debug)]
struct Alarm<K> {
    key: K,
    /// On the endpoint's own clock.
    due: Mono,
    /// When its one valid event in the queue comes up.
    queued: SimTime,
}

/// What to do with a timer's event that came up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ring {
    /// It is not the valid one.
    Stale,
    /// The timer was moved: push it on to this instant of the endpoint's clock.
    Later(Mono),
    /// Now.
    Now,
}

impl<K> Default for Alarms<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy> Alarms<K> {
    /// Arms or moves a timer. `when` says when the endpoint's clock will show `due`. True if an
    /// event must be queued for that time.
    pub(super) fn arm(&mut self, key: K, due: Mono, when: SimTime) -> bool {
        match self.0.binary_search_by(|alarm| alarm.key.cmp(&key)) {
            Ok(place) => {
                let alarm = &mut self.0[place];
                alarm.due = due;
                let sooner = when < alarm.queued;
                if sooner {
                    alarm.queued = when;
                }
                sooner
            }
            Err(place) => {
                self.0.insert(place, Alarm { key, due, queued: when });
                true
            }
        }
    }

    /// A timer's event came up at `at`, when the endpoint's clock shows `now`.
    pub(super) fn ring(&mut self, key: K, at: SimTime, now: Mono) -> Ring {
        let Ok(place) = self.0.binary_search_by(|alarm| alarm.key.cmp(&key)) else {
            return Ring::Stale;
        };
        let alarm = self.0[place];
        if alarm.queued != at {
            return Ring::Stale;
        }
        if alarm.due > now {
            return Ring::Later(alarm.due);
        }
        self.0.remove(place);
        Ring::Now
    }

    /// The valid event of this timer now comes up at `when`.
    pub(super) fn requeue(&mut self, key: K, when: SimTime) {
        if let Ok(place) = self.0.binary_search_by(|alarm| alarm.key.cmp(&key)) {
            self.0[place].queued = when;
        }
    }

    /// The clock changed its pace: calls `queue` for each timer that is now due sooner.
    pub(super) fn retime(
        &mut self,
        when: impl Fn(Mono) -> SimTime,
        mut queue: impl FnMut(K, SimTime),
    ) {
        for alarm in &mut self.0 {
            let at = when(alarm.due);
            if at < alarm.queued {
                alarm.queued = at;
                queue(alarm.key, at);
            }
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarm_moved_later_needs_no_event_and_rings_when_due() {
        let mut alarms = Alarms::default();
        assert!(alarms.arm('a', Mono(10), SimTime(10)));
        assert!(!alarms.arm('a', Mono(30), SimTime(30)));
        assert_eq!(alarms.ring('a', SimTime(10), Mono(10)), Ring::Later(Mono(30)));
        alarms.requeue('a', SimTime(30));
        assert_eq!(alarms.ring('a', SimTime(30), Mono(30)), Ring::Now);
        assert_eq!(alarms.ring('a', SimTime(30), Mono(30)), Ring::Stale);
    }

    #[test]
    fn alarm_moved_sooner_rings_once() {
        let mut alarms = Alarms::default();
        alarms.arm('a', Mono(30), SimTime(30));
        assert!(alarms.arm('a', Mono(10), SimTime(10)));
        assert_eq!(alarms.ring('a', SimTime(10), Mono(10)), Ring::Now);
        assert!(alarms.arm('a', Mono(50), SimTime(50)));
        assert_eq!(alarms.ring('a', SimTime(30), Mono(30)), Ring::Stale);
    }

    #[test]
    fn alarm_on_a_faster_clock_is_queued_again() {
        let mut alarms = Alarms::default();
        alarms.arm('a', Mono(30), SimTime(30));
        let mut queued = Vec::new();
        alarms.retime(|due| SimTime(due.0 / 2), |key, at| queued.push((key, at)));
        assert_eq!(queued, [('a', SimTime(15))]);
        assert_eq!(alarms.ring('a', SimTime(15), Mono(30)), Ring::Now);
    }
}
