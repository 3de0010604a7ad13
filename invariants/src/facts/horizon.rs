//! What was shown of a partition, and what is owed for that, by leader epoch.

use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset};

/// Lower bounds of what an answer may show.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Floor {
    /// Of the high watermark.
    pub(crate) end: Offset,
    /// Of the log start offset.
    pub(crate) log_start: Offset,
    /// The epoch under which `end` was seen.
    pub(crate) end_epoch: LeaderEpoch,
}

/// Floors by leader epoch. A leader of epoch e owes what was seen under epochs up to e: a zombie
/// that still serves its epoch may know nothing of later ones.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Horizon(Vec<(LeaderEpoch, Floor)>);

impl Horizon {
    /// `end` and `log_start` were seen under `epoch`.
    pub(crate) fn raise(&mut self, epoch: LeaderEpoch, end: Offset, log_start: Offset) {
        let at = self.0.partition_point(|(known, _)| *known < epoch);
        if self.0.get(at).is_none_or(|(known, _)| *known != epoch) {
            let below = at.checked_sub(1).map_or_else(Floor::default, |i| self.0[i].1);
            self.0.insert(at, (epoch, below));
        }
        for (_, floor) in &mut self.0[at..] {
            if end > floor.end {
                (floor.end, floor.end_epoch) = (end, epoch);
            }
            floor.log_start = floor.log_start.max(log_start);
        }
    }

    /// What an answer under `epoch` owes.
    pub(crate) fn at(&self, epoch: LeaderEpoch) -> Floor {
        let at = self.0.partition_point(|(known, _)| *known <= epoch);
        at.checked_sub(1).map_or_else(Floor::default, |i| self.0[i].1)
    }
}
