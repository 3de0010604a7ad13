//! What a partition remembers of its idempotent producers, so that a retry is not appended twice
//! and nothing is appended out of order.
//!
//! The memory is a fold of the log: whoever leads the partition next builds it anew from the
//! batches' headers. Whether a batch is well-formed is decided before ([`super::admit`]). Source:
//! KIP-98, KIP-360, KAFKA-15591, `ProducerStateManager.java`, `ProducerAppendInfo.java`,
//! `ProducerStateEntry.java`.

use alloc::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::batch::{Header, TimestampMs};
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use crate::mutants::Mutant;
use crate::protocol::ErrorCode;
use crate::step::Cx;

/// Batches remembered of each producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`): as many as a
/// producer may have in flight.
pub const BATCHES_MAX: usize = 5;

/// A producer not heard of for a day is forgotten (`producer.id.expiration.ms`). It is looked for
/// whenever a new one comes, so that the memory is bounded by a day's producers.
const EXPIRATION_MS: i64 = 24 * 3_600_000;

/// The producers of one partition.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Producers {
    known: BTreeMap<ProducerId, Producer>,
    /// Some may have been forgotten: expired, or older than the log.
    forgetful: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
struct Producer {
    epoch: ProducerEpoch,
    /// The newest batches of this epoch, oldest first; never empty, at most [`BATCHES_MAX`].
    batches: VecDeque<Remembered>,
}

/// A batch in the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// Sequence number of its first record.
    pub first: Sequence,
    /// Of its last record.
    pub last: Sequence,
    /// Its first offset.
    pub base: Offset,
    /// Its largest timestamp, which is that of the append in topics with `LogAppendTime`.
    pub timestamp: TimestampMs,
    /// The broker set the timestamp.
    pub stamped: bool,
}

impl Remembered {
    /// Its exclusive end.
    #[must_use]
    pub fn end(&self) -> Offset {
        let records = self.last.0.wrapping_sub(self.first.0) & (u32::MAX >> 1);
        self.base.plus(u64::from(records) + 1)
    }
}

/// Who sent a batch, and as its how manieth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sent {
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
    last: Sequence,
}

impl Producers {
    /// Of a log that begins at `log_start`, before any of its batches.
    #[must_use]
    pub fn new(log_start: Offset) -> Self {
        Self { known: BTreeMap::new(), forgetful: log_start > Offset(0) }
    }

    /// Whether a verified batch may be appended. `Some`: it is in the log already, there.
    ///
    /// A producer that is not known begins with 0. Only where somebody may have been forgotten it
    /// begins anywhere, as with Kafka everywhere: that lets a producer's second batch in before its
    /// first one, when a leader changes between the two (ADR 0008).
    ///
    /// # Errors
    /// `InvalidProducerEpoch` if its producer was replaced by a newer one, and
    /// `OutOfOrderSequenceNumber` if it does not continue what the producer appended before.
    pub fn check(&self, cx: &Cx, header: &Header) -> Result<Option<Remembered>, ErrorCode> {
        let Some(sent) = Sent::of(header) else { return Ok(None) };
        let Some(known) = self.known.get(&sent.id) else {
            let anywhere = self.forgetful || cx.mutants.on(Mutant::ProducerUnknownAnywhere);
            return match anywhere || sent.first == Sequence(0) {
                true => Ok(None),
                false => Err(ErrorCode::OutOfOrderSequenceNumber),
            };
        };
        if sent.epoch == known.epoch {
            let same = |batch: &&Remembered| (batch.first, batch.last) == (sent.first, sent.last);
            if let Some(batch) = known.batches.iter().find(same) {
                return Ok(Some(*batch));
            }
        }
        if sent.epoch < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let next = if sent.epoch > known.epoch { Sequence(0) } else { known.last().plus(1) };
        if sent.first != next && !cx.mutants.on(Mutant::ProducerSequenceUnchecked) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        Ok(None)
    }

    /// A batch that passed the check is in the log, at the offset in its header.
    pub fn appended(&mut self, cx: &Cx, header: &Header) {
        let Some(sent) = Sent::of(header) else { return };
        if !self.known.contains_key(&sent.id) {
            let (now, before) = (TimestampMs::floor(cx.wall), self.known.len());
            self.known.retain(|_, producer| !producer.is_expired(now));
            self.forgetful |= self.known.len() < before;
        }
        let Sent { id, epoch, first, last } = sent;
        let known = self.known.entry(id).or_insert(Producer { epoch, batches: VecDeque::new() });
        if known.epoch != epoch {
            *known = Producer { epoch, batches: VecDeque::new() };
        }
        let kept = if cx.mutants.on(Mutant::ProducerWindowOne) { 1 } else { BATCHES_MAX };
        while known.batches.len() >= kept {
            known.batches.pop_front();
        }
        let stamped = header.attributes.log_append_time();
        let (base, timestamp) = (header.base_offset, header.max_timestamp);
        known.batches.push_back(Remembered { first, last, base, timestamp, stamped });
    }

    /// Every producer: its id, its epoch, and its newest batches, oldest first.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (ProducerId, ProducerEpoch, impl Iterator<Item = &Remembered>)> {
        self.known.iter().map(|(&id, producer)| (id, producer.epoch, producer.batches.iter()))
    }

    /// Whether it is a state that there can be; what comes from bytes may be anything.
    pub(super) fn is_sound(&self) -> bool {
        let sizes = self.known.values().map(|producer| producer.batches.len());
        sizes.into_iter().all(|batches| (1..=BATCHES_MAX).contains(&batches))
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

impl Producer {
    fn last(&self) -> Sequence {
        self.batches.back().expect("a producer is remembered for its batches").last
    }

    fn is_expired(&self, now: TimestampMs) -> bool {
        let newest = self.batches.back().expect("a producer is remembered for its batches");
        now.0.saturating_sub(newest.timestamp.0) >= EXPIRATION_MS
    }
}

impl Sent {
    /// `None`: the producer is not idempotent.
    fn of(header: &Header) -> Option<Self> {
        let id = ProducerId(u64::try_from(header.producer.id).ok()?);
        let first = u32::try_from(header.producer.base_sequence).ok().map(Sequence)?;
        let (epoch, last) =
            (ProducerEpoch(header.producer.epoch), first.plus(header.last_offset_delta));
        Some(Self { id, epoch, first, last })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::batch::{NewRecord, ProducerStamp, build, stamp};
    use crate::ids::LeaderEpoch;
    use crate::mutants::Mutants;
    use crate::time::{Mono, Wall};

    const MS: i64 = 1_000;
    const DAY_MS: i64 = 24 * 3_600_000;

    fn cx(wall_ms: i64) -> Cx {
        let mutants = Mutants::NONE;
        Cx { mono: Mono(0), wall: Wall(wall_ms * MS), entropy: 0, mutants }
    }

    /// A batch of `count` records at offset `base`.
    fn batch(id: i64, epoch: i16, first: i32, count: usize, base: u64) -> Header {
        sent_at(0, (id, epoch, first), count, base)
    }

    fn sent_at(ms: i64, producer: (i64, i16, i32), count: usize, base: u64) -> Header {
        let (id, epoch, base_sequence) = producer;
        let timestamp = TimestampMs(ms);
        let record = NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] };
        let bytes = build(
            &Vec::from_iter(core::iter::repeat_n(record, count)),
            ProducerStamp { id, epoch, base_sequence },
        );
        Header::parse(&stamp(bytes, Offset(base), LeaderEpoch(0))).expect("well-formed")
    }

    /// Appends if it may; the offset of the batch, be it this one or the one that was there.
    fn send(producers: &mut Producers, header: &Header) -> Result<u64, ErrorCode> {
        match producers.check(&cx(0), header)? {
            Some(there) => Ok(there.base.0),
            None => {
                producers.appended(&cx(0), header);
                Ok(header.base_offset.0)
            }
        }
    }

    #[test]
    fn producer_retry_of_any_of_the_last_five_gets_its_offset() {
        let mut producers = Producers::default();
        for at in 0..7 {
            assert_eq!(
                send(&mut producers, &batch(1, 0, at * 2, 2, at as u64 * 2)),
                Ok(at as u64 * 2)
            );
        }
        for at in 2..7 {
            assert_eq!(send(&mut producers, &batch(1, 0, at * 2, 2, 99)), Ok(at as u64 * 2));
        }
        let gone = send(&mut producers, &batch(1, 0, 2, 2, 99));
        assert_eq!(gone, Err(ErrorCode::OutOfOrderSequenceNumber), "behind the window");
        let other_cut = send(&mut producers, &batch(1, 0, 12, 1, 99));
        assert_eq!(other_cut, Err(ErrorCode::OutOfOrderSequenceNumber), "not the same batch");
    }

    #[test]
    fn producer_gap_and_step_back_are_refused() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &batch(1, 0, 0, 3, 0)), Ok(0));
        for first in [1, 2, 4, 99] {
            let result = send(&mut producers, &batch(1, 0, first, 3, 3));
            assert_eq!(result, Err(ErrorCode::OutOfOrderSequenceNumber), "{first}");
        }
        assert_eq!(send(&mut producers, &batch(1, 0, 3, 3, 3)), Ok(3));
        assert_eq!(send(&mut producers, &batch(2, 0, 0, 3, 6)), Ok(6), "another's is its own");
    }

    #[test]
    fn producer_unknown_begins_at_zero() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &batch(2, 0, 0, 1, 0)), Ok(0));
        let early = send(&mut producers, &batch(1, 3, 70, 1, 1));
        assert_eq!(early, Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(send(&mut producers, &batch(1, 3, 0, 70, 1)), Ok(1));
        assert_eq!(send(&mut producers, &batch(1, 3, 70, 1, 71)), Ok(71));
    }

    #[test]
    fn producer_that_may_be_forgotten_begins_anywhere() {
        let mut producers = Producers::new(Offset(1));
        assert_eq!(send(&mut producers, &batch(1, 3, 70, 1, 1)), Ok(1));
        assert_eq!(send(&mut producers, &batch(1, 3, 71, 1, 2)), Ok(2));
    }

    #[test]
    fn producer_epoch_raised_begins_at_zero_and_fences_the_old_one() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &batch(1, 0, 0, 3, 0)), Ok(0));
        let ahead = send(&mut producers, &batch(1, 1, 3, 1, 3));
        assert_eq!(ahead, Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(send(&mut producers, &batch(1, 1, 0, 3, 3)), Ok(3));
        for first in [0, 3] {
            let old = send(&mut producers, &batch(1, 0, first, 3, 6));
            assert_eq!(old, Err(ErrorCode::InvalidProducerEpoch), "not even a retry");
        }
    }

    #[test]
    fn producer_sequence_wraps_to_zero() {
        let mut producers = Producers::default();
        producers.appended(&cx(0), &batch(1, 0, i32::MAX - 1, 4, 0));
        assert_eq!(send(&mut producers, &batch(1, 0, i32::MAX - 1, 4, 9)), Ok(0));
        assert_eq!(send(&mut producers, &batch(1, 0, 2, 1, 4)), Ok(4));
    }

    #[test]
    fn producer_without_idempotence_is_not_remembered() {
        let mut producers = Producers::default();
        let header = batch(-1, -1, -1, 1, 0);
        assert_eq!(send(&mut producers, &header), Ok(0));
        assert!(producers.is_empty());
    }

    #[test]
    fn producer_silent_for_a_day_is_forgotten_when_a_new_one_comes() {
        let mut producers = Producers::default();
        producers.appended(&cx(0), &sent_at(0, (1, 0, 0), 1, 0));
        producers.appended(&cx(0), &sent_at(5, (2, 0, 0), 1, 1));
        producers.appended(&cx(DAY_MS + 4), &sent_at(DAY_MS + 4, (3, 0, 0), 1, 2));
        assert_eq!(producers.len(), 2, "the second lacks a millisecond to a day");
        assert_eq!(producers.check(&cx(0), &batch(1, 0, 7, 1, 3)), Ok(None));
    }
}
