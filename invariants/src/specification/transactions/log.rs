//! What a data partition's log says of the transactions in it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Epoch, May, Offset, Producer};

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Marker {
    pub(crate) producer: Producer,
    pub(crate) epoch: Epoch,
    pub(crate) commit: bool,
    /// The epoch of the coordinator that wrote it.
    pub(crate) by: u32,
}

/// A producer.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Writer {
    pub(crate) epoch: Epoch,
    /// First offset of its open transaction.
    pub(crate) open: Option<Offset>,
    /// The newest.
    pub(crate) marker: Option<Marker>,
}

/// A transaction that has its marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ended {
    pub(crate) producer: Producer,
    pub(crate) first: Offset,
    /// Of the marker.
    pub(crate) last: Offset,
    pub(crate) commit: bool,
}

#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Log {
    pub(crate) writers: BTreeMap<Producer, Writer>,
    /// Ascending by their markers.
    pub(crate) ended: Vec<Ended>,
}

impl Log {
    pub(super) fn append(&mut self, producer: Producer, epoch: Epoch, at: Offset) -> May {
        let writer = self.writers.entry(producer).or_default();
        guard!(epoch >= writer.epoch, "a newer epoch has shut it out there");
        let own = writer.open.is_none() || epoch == writer.epoch;
        guard!(own, "a transaction of an older epoch is open there");
        writer.epoch = epoch;
        writer.open.get_or_insert(at);
        Ok(())
    }

    /// It ends what is open, if anything is.
    pub(super) fn mark(&mut self, marker: Marker, at: Offset) -> May {
        let Marker { producer, epoch, commit, by } = marker;
        let writer = self.writers.entry(producer).or_default();
        guard!(epoch >= writer.epoch, "a newer epoch has shut it out there");
        let deposed = writer.marker.is_some_and(|newest| by < newest.by);
        guard!(!deposed, "a newer coordinator has written there");
        (writer.epoch, writer.marker) = (epoch, Some(marker));
        if let Some(first) = writer.open.take() {
            self.ended.push(Ended { producer, first, last: at, commit });
        }
        Ok(())
    }

    /// Whether the newest marker of its producer says the same, and nothing has begun since.
    pub(super) fn has(&self, marker: Marker) -> bool {
        let writer = self.writers.get(&marker.producer).filter(|writer| writer.open.is_none());
        let newest = writer.and_then(|writer| writer.marker);
        newest.is_some_and(|it| (it.epoch, it.commit) == (marker.epoch, marker.commit))
    }

    /// The last stable offset: the first offset of the oldest transaction whose marker is not below
    /// the high watermark, or the high watermark.
    pub(super) fn stable(&self, high_watermark: Offset) -> Offset {
        let open = self.writers.values().filter_map(|writer| writer.open);
        let behind = self.ended.iter().rev().take_while(|ended| ended.last >= high_watermark);
        let first = open.chain(behind.map(|ended| ended.first)).min();
        first.map_or(high_watermark, |first| first.min(high_watermark))
    }
}
