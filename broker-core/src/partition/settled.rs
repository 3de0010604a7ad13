//! What a partition knows of its log up to some offset: its producers, and which transactions were
//! aborted. As of the high watermark it is what readers and snapshots may know.
//!
//! A fold of the log, batch by batch. Source: `ProducerStateManager.java`, `TransactionIndex.java`
//! (one per segment there, one for the whole log here).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::producers::{Ended, Producers};
use crate::batch::{Header, TimestampMs};
use crate::ids::{Offset, ProducerId};
use crate::mutants::Mutant;
use crate::protocol::{AbortedTransaction, TransactionResult};
use crate::step::Cx;

/// The state.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Settled {
    producers: Producers,
    /// Ascending by the marker's offset.
    aborted: Vec<Aborted>,
}

/// An aborted transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Aborted {
    /// Its producer.
    pub producer: ProducerId,
    /// Its first offset.
    pub first: Offset,
    /// Its marker's offset.
    pub last: Offset,
    /// The last stable offset behind it: what ends later began there or behind.
    stable: Offset,
}

impl Settled {
    /// Of a log that begins at `log_start`, before any of its batches.
    #[must_use]
    pub fn new(log_start: Offset) -> Self {
        Self { producers: Producers::new(log_start), aborted: Vec::new() }
    }

    /// Takes in the next batch of the log.
    pub fn fold(&mut self, cx: &Cx, batch: &[u8], header: &Header) {
        let Some(ended) = self.producers.appended(cx, batch, header) else { return };
        let Ended { producer, result, first, last, stable } = ended;
        if result == TransactionResult::Abort || cx.mutants.on(Mutant::TxnCommitTakenForAbort) {
            self.aborted.push(Aborted { producer, first, last, stable });
        }
    }

    /// Producers not heard of for a day go.
    pub fn forget_silent(&mut self, now: TimestampMs) {
        self.producers.forget_silent(now);
    }

    /// The producers.
    #[must_use]
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Every aborted transaction, ascending by the marker's offset.
    #[must_use]
    pub fn aborted(&self) -> &[Aborted] {
        &self.aborted
    }

    /// The aborted transactions that may have batches in `[from, upto)`.
    pub fn aborted_in(
        &self,
        from: Offset,
        upto: Offset,
    ) -> impl Iterator<Item = AbortedTransaction> + '_ {
        let begin = self.aborted.partition_point(|aborted| aborted.last < from);
        let behind = self.aborted[begin..].iter().position(|aborted| aborted.stable >= upto);
        let end = behind.map_or(self.aborted.len(), |behind| begin + behind + 1);
        let within = self.aborted[begin..end].iter().filter(move |aborted| aborted.first < upto);
        within.map(|&Aborted { producer, first, .. }| AbortedTransaction { producer, first })
    }

    /// Whether it is a state that there can be; what comes from bytes may be anything.
    pub(super) fn is_sound(&self) -> bool {
        self.producers.is_sound() && self.aborted.is_sorted_by(|a, b| a.last < b.last)
    }

    /// A planted bug: transactions that are open are taken for ended.
    pub fn forget_open(&mut self) {
        self.producers.forget_open();
    }

    /// A planted bug: the producers are those of a longer log.
    #[must_use]
    pub fn with_producers(mut self, producers: Producers) -> Self {
        self.producers = producers;
        self
    }

    /// A planted bug: the aborted transactions are left out of a snapshot.
    #[must_use]
    pub fn without_aborted(mut self) -> Self {
        self.aborted.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Marker, NewRecord, ProducerStamp, TimestampMs, build_transactional, stamp};
    use crate::ids::{CoordinatorEpoch, LeaderEpoch, ProducerEpoch};
    use crate::mutants::Mutants;
    use crate::time::{Mono, Wall};

    /// A log of one-record batches and markers, each at the next offset.
    #[derive(Default)]
    struct Log {
        settled: Settled,
        end: u64,
        sequences: [i32; 8],
    }

    impl Log {
        fn fold(&mut self, batch: bytes::Bytes) {
            let cx = Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE };
            let batch = stamp(batch, Offset(self.end), LeaderEpoch(0));
            let header = Header::parse(&batch).expect("well-formed");
            self.settled.fold(&cx, &batch, &header);
            self.end += 1;
        }

        fn data(&mut self, id: usize) -> &mut Self {
            let (timestamp, value) = (TimestampMs(0), Some(&b"v"[..]));
            let record = NewRecord { timestamp, key: None, value, headers: &[] };
            let base_sequence = self.sequences[id];
            self.sequences[id] += 1;
            let id = i64::try_from(id).expect("small");
            self.fold(build_transactional(
                &[record],
                ProducerStamp { id, epoch: 0, base_sequence },
            ));
            self
        }

        fn ends(&mut self, id: u64, result: TransactionResult) -> &mut Self {
            let (producer, epoch) = (ProducerId(id), ProducerEpoch(0));
            let coordinator_epoch = CoordinatorEpoch(0);
            let marker = Marker { producer, epoch, result, coordinator_epoch };
            self.fold(marker.encode(TimestampMs(0)));
            self
        }

        fn aborted(&self, from: u64, upto: u64) -> Vec<(u64, u64)> {
            let found = self.settled.aborted_in(Offset(from), Offset(upto));
            found.map(|aborted| (aborted.producer.0, aborted.first.0)).collect()
        }
    }

    use TransactionResult::{Abort, Commit};

    #[test]
    fn oldest_open_transaction_is_known_until_its_marker() {
        let mut log = Log::default();
        log.data(1).data(2);
        assert_eq!(log.settled.producers().first_open(), Some(Offset(0)));
        log.ends(1, Commit);
        assert_eq!(log.settled.producers().first_open(), Some(Offset(1)));
        log.ends(2, Abort);
        assert_eq!(log.settled.producers().first_open(), None);
    }

    #[test]
    fn aborted_transactions_are_found_for_exactly_the_range_they_overlap() {
        let mut log = Log::default();
        // Offsets: 0 of 1, 1 of 2, 2 aborts 1, 3 of 3, 4 commits 3, 5 aborts 2, 6 of 1, 7 aborts 1.
        log.data(1).data(2).ends(1, Abort).data(3).ends(3, Commit).ends(2, Abort);
        log.data(1).ends(1, Abort);
        assert_eq!(log.aborted(0, 8), [(1, 0), (2, 1), (1, 6)]);
        assert_eq!(log.aborted(0, 1), [(1, 0)]);
        assert_eq!(log.aborted(3, 5), [(2, 1)], "ends behind the range, begins before it");
        assert_eq!(log.aborted(2, 3), [(1, 0), (2, 1)], "up to the marker itself");
        assert_eq!(log.aborted(6, 7), [(1, 6)]);
        assert_eq!(log.aborted(8, 9), []);
    }

    #[test]
    fn marker_without_a_transaction_aborts_nothing() {
        let mut log = Log::default();
        log.ends(1, Abort).data(1).ends(1, Abort).ends(1, Abort);
        assert_eq!(log.aborted(0, 9), [(1, 1)]);
    }
}
