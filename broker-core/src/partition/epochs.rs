//! The leader-epoch cache of a partition: which epoch began at which offset.
//!
//! Where the entries come from (the stream's ranges, the begin of a leadership) is the partition's
//! business. Source: KIP-101, KIP-279, KIP-320, `LeaderEpochFileCache.java`, KAFKA-7415.

use alloc::vec::Vec;

use crate::ids::{LeaderEpoch, Offset};

/// Epochs and their first offsets, both strictly ascending.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl EpochCache {
    /// Notes that `epoch` begins at `start`. An epoch in which nothing was written leaves the cache
    /// when the next one begins at the same offset, so that the entries are those that the log
    /// itself would give. Says whether the cache changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if let Some(&(last, at)) = self.entries.last() {
            if last == epoch {
                return false;
            }
            assert!(last < epoch && at <= start, "{epoch:?} at {start:?} after {last:?} at {at:?}");
        }
        while self.entries.last().is_some_and(|&(_, at)| at >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// The largest epoch that is at most `asked`, and its end: the start of the next one, or
    /// `log_end` for the last one. `None` if `asked` is newer than every epoch known here, for then
    /// nobody here knows whether it has written (Kafka answers −1, −1). If it is older than every
    /// one, nothing of it is left: it ended where the first one begins (`endOffsetFor`).
    #[must_use]
    pub fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let &(last, _) = self.entries.last()?;
        if asked > last {
            return None;
        }
        let behind = self.entries.partition_point(|&(epoch, _)| epoch <= asked);
        let end = self.entries.get(behind).map_or(log_end, |&(_, start)| start);
        let epoch = behind.checked_sub(1).map_or(asked, |at| self.entries[at].0);
        Some((epoch, end))
    }

    /// The epoch that wrote `offset`, or will if it is the log's end.
    #[must_use]
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let behind = self.entries.partition_point(|&(_, start)| start <= offset);
        self.entries.get(behind.checked_sub(1)?).map(|&(epoch, _)| epoch)
    }

    /// Epochs and their starts, ascending.
    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn cache(entries: &[(u32, u64)]) -> EpochCache {
        let mut cache = EpochCache::default();
        for &(epoch, start) in entries {
            assert!(cache.assign(LeaderEpoch(epoch), Offset(start)));
        }
        cache
    }

    fn end(epoch: u32, offset: u64) -> Option<(LeaderEpoch, Offset)> {
        Some((LeaderEpoch(epoch), Offset(offset)))
    }

    #[test]
    fn epochs_between_two_entries_answer_the_older_ones_end() {
        let cache = cache(&[(1, 0), (4, 10), (7, 30)]);
        assert_eq!(cache.end_of(LeaderEpoch(1), Offset(40)), end(1, 10));
        assert_eq!(cache.end_of(LeaderEpoch(3), Offset(40)), end(1, 10));
        assert_eq!(cache.end_of(LeaderEpoch(6), Offset(40)), end(4, 30));
        assert_eq!(cache.end_of(LeaderEpoch(7), Offset(40)), end(7, 40));
    }

    #[test]
    fn epochs_newer_than_all_answer_nothing_and_older_ones_end_where_the_first_begins() {
        let cache = cache(&[(1, 3), (4, 10)]);
        assert_eq!(cache.end_of(LeaderEpoch(0), Offset(40)), end(0, 3));
        assert_eq!(cache.end_of(LeaderEpoch(5), Offset(40)), None);
    }

    #[test]
    fn epochs_without_records_leave_when_the_next_begins() {
        let cache = cache(&[(0, 0), (1, 5), (2, 5)]);
        assert_eq!(cache.entries(), vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(2), Offset(5))]);
        assert_eq!(cache.end_of(LeaderEpoch(1), Offset(9)), end(0, 5));
        assert_eq!(cache.epoch_at(Offset(4)), Some(LeaderEpoch(0)));
        assert_eq!(cache.epoch_at(Offset(5)), Some(LeaderEpoch(2)));
    }
}
