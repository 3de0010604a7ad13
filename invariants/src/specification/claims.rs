//! Claims on a broker's logs: numbered, in a store that creates what is not there. The newest one
//! stays, so that whoever looks behind an older one finds it.

use alloc::collections::BTreeMap;

use super::May;
use super::wal::{Id, Process};

/// All claims that were ever made.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Claims {
    /// On whose logs, its number, by whom: whether it is in the store.
    made: BTreeMap<(Id, u64, Process), bool>,
}

impl Claims {
    fn of(&mut self, of: Id, from: u64, to: u64) -> impl Iterator<Item = &mut bool> {
        let (least, most) = ((of, from, (0, 0)), (of, to, (Id::MAX, u64::MAX)));
        self.made.range_mut(least..=most).map(|(_, there)| there)
    }

    /// One lands in the store.
    pub(crate) fn land(&mut self, of: Id, number: u64, by: Process) -> May {
        guard!(!self.of(of, number, number).any(|there| *there), "it is taken");
        self.made.insert((of, number, by), true);
        Ok(())
    }

    /// One is deleted.
    pub(crate) fn delete(&mut self, of: Id, number: u64) -> May {
        guard!(!self.is_newest(of, number), "it is the newest");
        self.of(of, number, number).for_each(|there| *there = false);
        Ok(())
    }

    /// It was made by this process.
    pub(crate) fn is_by(&self, of: Id, number: u64, by: Process) -> bool {
        self.made.contains_key(&(of, number, by))
    }

    /// No later one was made.
    pub(crate) fn is_newest(&mut self, of: Id, number: u64) -> bool {
        self.of(of, number + 1, u64::MAX).next().is_none()
    }
}
