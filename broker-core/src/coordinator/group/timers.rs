//! What the group coordinator's numbered timers stand for.
//!
//! Volatile: a successor arms its own. What happens when one fires is decided by who armed it.
//! Source: `CoordinatorTimer.java` and the keys in `GroupMetadataManager.java`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use super::Groups;
use crate::coordinator::Outcome;
use crate::time::Dur;

/// What a timer is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Due {
    /// A member was not heard of.
    Session(String, String),
    /// The joining of a classic group has lasted long enough.
    Join(String),
    /// Members of a classic group have not asked for their part of the new generation.
    Sync(String),
    /// A member of a KIP-848 group has not given its partitions up.
    Revocation(String, String),
    /// Look for offsets that expired.
    Cleanup,
}

impl Due {
    pub(super) fn session(group: &str, member: &str) -> Self {
        Self::Session(group.to_string(), member.to_string())
    }

    pub(super) fn revocation(group: &str, member: &str) -> Self {
        Self::Revocation(group.to_string(), member.to_string())
    }

    fn group(&self) -> Option<&str> {
        match self {
            Self::Session(group, _)
            | Self::Join(group)
            | Self::Sync(group)
            | Self::Revocation(group, _) => Some(group),
            Self::Cleanup => None,
        }
    }
}

/// The armed timers.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Timers {
    numbers: BTreeMap<Due, u64>,
    dues: BTreeMap<u64, Due>,
    next: u64,
}

impl Timers {
    /// Arms (or moves) the timer.
    pub(super) fn arm(&mut self, due: Due, after: Dur, out: &mut Outcome<Groups>) {
        let number = *self.numbers.entry(due.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.dues.insert(number, due);
        out.timers.push((number, Some(after)));
    }

    /// Forgets the timer; nothing happens if it is not armed.
    pub(super) fn disarm(&mut self, due: &Due, out: &mut Outcome<Groups>) {
        if let Some(number) = self.numbers.remove(due) {
            self.dues.remove(&number);
            out.timers.push((number, None));
        }
    }

    /// Forgets all timers of a group.
    pub(super) fn disarm_group(&mut self, group: &str, out: &mut Outcome<Groups>) {
        let of_group = |due: &&Due| due.group() == Some(group);
        let all: alloc::vec::Vec<Due> = self.numbers.keys().filter(of_group).cloned().collect();
        for due in all {
            self.disarm(&due, out);
        }
    }

    /// The numbers of all that are armed.
    pub(super) fn armed(&self) -> impl Iterator<Item = u64> {
        self.dues.keys().copied()
    }

    /// What the timer that fired was for, unless it was disarmed in the meantime.
    pub(super) fn fired(&mut self, number: u64) -> Option<Due> {
        let due = self.dues.remove(&number)?;
        self.numbers.remove(&due);
        Some(due)
    }
}
