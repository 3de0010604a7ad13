//! The metadata log in memory, what of it is durable, and where its epochs begin.
//!
//! It knows nothing of roles and does no effects; [`super::device`] keeps the device equal to it.
//! Source: Kafka's `ReplicatedLog` and `LeaderEpochFileCache`.

use alloc::vec::Vec;

use super::Entry;
use super::format::{Frame, encode_frame, prefix_digest};
use crate::ids::{MetaOffset, QuorumEpoch};

/// The log from its start (0 until there are snapshots) to its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Log {
    start: MetaOffset,
    stored: Vec<Stored>,
    /// Epochs that have entries, each with the offset of its first one.
    epochs: Vec<(QuorumEpoch, MetaOffset)>,
    flushed_end: MetaOffset,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Stored {
    entry: Entry,
    prefix: u64,
    byte_end: u64,
}

impl Log {
    pub(super) fn from_frames(start: MetaOffset, frames: Vec<Frame>) -> Self {
        let mut log = Self { start, flushed_end: start, ..Self::default() };
        log.stored.reserve(frames.len());
        for frame in frames {
            log.store(frame.entry, frame.byte_end);
        }
        log
    }

    pub(super) fn start(&self) -> MetaOffset {
        self.start
    }

    pub(super) fn end(&self) -> MetaOffset {
        self.start.plus(self.stored.len() as u64)
    }

    pub(super) fn flushed_end(&self) -> MetaOffset {
        self.flushed_end
    }

    pub(super) fn entry(&self, offset: MetaOffset) -> Option<&Entry> {
        self.stored(offset).map(|stored| &stored.entry)
    }

    pub(super) fn prefix(&self, offset: MetaOffset) -> Option<u64> {
        self.stored(offset).map(|stored| stored.prefix)
    }

    pub(super) fn byte_end(&self, offset: MetaOffset) -> Option<u64> {
        self.stored(offset).map(|stored| stored.byte_end)
    }

    /// Offset, epoch, prefix digest and end of the frame of every entry.
    pub(super) fn digests(&self) -> impl Iterator<Item = (MetaOffset, QuorumEpoch, u64, u64)> + '_ {
        let offsets = (self.start.0..).map(MetaOffset);
        let digests = |(offset, stored): (_, &Stored)| {
            (offset, stored.entry.epoch, stored.prefix, stored.byte_end)
        };
        offsets.zip(&self.stored).map(digests)
    }

    /// Bytes that the log takes up to the exclusive end `end`.
    pub(super) fn bytes_before(&self, end: MetaOffset) -> u64 {
        if end == self.start {
            0
        } else {
            self.byte_end(MetaOffset(end.0 - 1)).expect("in the log")
        }
    }

    /// Epoch of the last entry before `end`; 0 at the start.
    pub(super) fn epoch_before(&self, end: MetaOffset) -> QuorumEpoch {
        if end == self.start {
            return QuorumEpoch(0);
        }
        self.entry(MetaOffset(end.0 - 1)).expect("in the log").epoch
    }

    pub(super) fn last_epoch(&self) -> QuorumEpoch {
        self.epochs.last().map_or(QuorumEpoch(0), |(epoch, _)| *epoch)
    }

    /// The largest epoch in the log that is not above `epoch`, and where it ends; if there is none,
    /// epoch 0 and the start (`endOffsetForEpoch`).
    pub(super) fn end_offset_for_epoch(&self, epoch: QuorumEpoch) -> (QuorumEpoch, MetaOffset) {
        let above = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let end = self.epochs.get(above).map_or(self.end(), |(_, start)| *start);
        if above == 0 { (QuorumEpoch(0), self.start) } else { (self.epochs[above - 1].0, end) }
    }

    /// Adds an entry, its frame to `bytes`, and gives its prefix digest and the end of its frame.
    pub(super) fn append(&mut self, entry: Entry, bytes: &mut Vec<u8>) -> (u64, u64) {
        assert!(
            entry.epoch >= self.last_epoch(),
            "append of {:?} behind {:?}",
            entry.epoch,
            self.last_epoch()
        );
        let before = bytes.len();
        encode_frame(self.end(), &entry, bytes);
        let byte_end = self.bytes_before(self.end()) + (bytes.len() - before) as u64;
        (self.store(entry, byte_end), byte_end)
    }

    /// Drops all from `to` on.
    pub(super) fn truncate(&mut self, to: MetaOffset) {
        assert!(self.start <= to && to <= self.end(), "cut to {to:?}, end {:?}", self.end());
        self.stored.truncate((to.0 - self.start.0) as usize);
        let kept = self.epochs.partition_point(|(_, start)| *start < to);
        self.epochs.truncate(kept);
        self.flushed_end = self.flushed_end.min(to);
    }

    /// Notes that all before `end` is durable. Whether that is news.
    pub(super) fn set_flushed(&mut self, end: MetaOffset) -> bool {
        assert!(end <= self.end(), "flushed {end:?} of {:?}", self.end());
        let news = end > self.flushed_end;
        self.flushed_end = self.flushed_end.max(end);
        news
    }

    /// Entries of `[from, to)`, at least one if there is one, at most `count` and about `bytes`.
    pub(super) fn read(
        &self,
        from: MetaOffset,
        to: MetaOffset,
        count: usize,
        bytes: u64,
    ) -> Vec<Entry> {
        let (first, end) = (from.0 - self.start.0, to.0.saturating_sub(self.start.0));
        let Some(range) = self.stored.get(first as usize..end as usize) else {
            return Vec::new();
        };
        let before = self.bytes_before(from);
        range
            .iter()
            .take(count)
            .enumerate()
            .take_while(|(at, stored)| *at == 0 || stored.byte_end - before <= bytes)
            .map(|(_, stored)| stored.entry.clone())
            .collect()
    }

    fn store(&mut self, entry: Entry, byte_end: u64) -> u64 {
        let offset = self.end();
        let before = self.stored.last().map_or(0, |stored| stored.prefix);
        let prefix = prefix_digest(before, offset, &entry);
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < entry.epoch) {
            self.epochs.push((entry.epoch, offset));
        }
        self.stored.push(Stored { entry, prefix, byte_end });
        prefix
    }

    fn stored(&self, offset: MetaOffset) -> Option<&Stored> {
        self.stored.get(usize::try_from(offset.0.checked_sub(self.start.0)?).ok()?)
    }
}
