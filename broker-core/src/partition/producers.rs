//! What a partition remembers of its idempotent producers, so that a retry is not appended twice
//! and nothing is appended out of order, and which of them have a transaction open.
//!
//! The memory is a fold of the log: whoever leads the partition next builds it anew from the
//! batches. Whether a batch is well-formed is decided before ([`super::admit`]). Source: KIP-98,
//! KIP-360, KIP-890, KAFKA-15591, `ProducerStateManager.java`, `ProducerAppendInfo.java`,
//! `ProducerStateEntry.java`.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::batch::{Header, Marker, TimestampMs};
use crate::ids::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
use crate::mutants::Mutant;
use crate::protocol::{ErrorCode, TransactionResult, TransactionVersion};
use crate::step::Cx;

/// Batches remembered of each producer (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`): as many as a
/// producer may have in flight.
pub const BATCHES_MAX: usize = 5;

/// A producer not heard of for a day is forgotten (`producer.id.expiration.ms`), unless it has a
/// transaction open. A leader looks for such whenever a new one comes, so that the memory is
/// bounded by a day's producers.
const EXPIRATION_MS: i64 = 24 * 3_600_000;

/// The producers of one partition.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Producers {
    known: BTreeMap<ProducerId, Producer>,
    /// First offsets of the transactions that are open.
    open: BTreeSet<Offset>,
    /// Some may have been forgotten: expired, or older than the log.
    forgetful: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
struct Producer {
    epoch: ProducerEpoch,
    /// The newest batches of this epoch, oldest first; at most [`BATCHES_MAX`], and none if a
    /// marker raised the epoch.
    batches: VecDeque<Remembered>,
    /// First offset of its open transaction.
    open: Option<Offset>,
    /// Of the newest marker.
    coordinator_epoch: Option<CoordinatorEpoch>,
    /// Timestamp of the newest batch, markers included.
    heard: TimestampMs,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ended {
    /// Its producer.
    pub producer: ProducerId,
    /// How.
    pub result: TransactionResult,
    /// Its first offset.
    pub first: Offset,
    /// The marker's offset.
    pub last: Offset,
    /// Every transaction that began below it is decided now.
    pub stable: Offset,
}

/// What a snapshot and a probe say of one producer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Standing {
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// First offset of its open transaction.
    pub open: Option<Offset>,
    /// Of its newest marker.
    pub coordinator_epoch: Option<CoordinatorEpoch>,
}

/// What a probe says of a producer that a partition remembers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KnownProducer {
    /// Its id.
    pub id: ProducerId,
    /// How it stands.
    pub standing: Standing,
    /// Its newest batches, oldest first: first sequence number and offset.
    pub batches: Vec<(Sequence, Offset)>,
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
        let forgetful = log_start > Offset(0);
        Self { known: BTreeMap::new(), open: BTreeSet::new(), forgetful }
    }

    /// Whether a verified batch may be appended. `Some`: it is in the log already, there.
    ///
    /// A producer that is not known begins with 0. Only where somebody may have been forgotten it
    /// begins anywhere, as with Kafka everywhere: that lets a producer's second batch in before its
    /// first one, when a leader changes between the two (ADR 0008).
    ///
    /// # Errors
    /// `InvalidProducerEpoch` if its producer was replaced by a newer one,
    /// `OutOfOrderSequenceNumber` if it does not continue what the producer appended before, and
    /// `InvalidTxnState` if it is outside of the transaction that its producer has open.
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
        let next = match known.batches.back() {
            Some(newest) if sent.epoch == known.epoch => newest.last.plus(1),
            Some(_) | None => Sequence(0),
        };
        if sent.first != next && !cx.mutants.on(Mutant::ProducerSequenceUnchecked) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        if known.open.is_some() && !header.attributes.transactional() {
            return Err(ErrorCode::InvalidTxnState);
        }
        Ok(None)
    }

    /// Whether a marker may be appended. One that came before may come again, and changes nothing
    /// as long as its producer has begun no other transaction (KAFKA-19999); by V2 it is refused
    /// then.
    ///
    /// # Errors
    /// `InvalidProducerEpoch` if it is of a transaction before the open one, and
    /// `TransactionCoordinatorFenced` if it is of a coordinator that was replaced.
    pub fn check_marker(
        &self,
        cx: &Cx,
        marker: &Marker,
        version: TransactionVersion,
    ) -> Result<(), ErrorCode> {
        let Some(known) = self.known.get(&marker.producer) else { return Ok(()) };
        // By V2 the end of a transaction raises the epoch: a marker with the epoch of the open one
        // ended the one before it (KAFKA-19446).
        let same = marker.epoch == known.epoch && version == TransactionVersion::V2;
        let same = same
            && (known.open.is_some() || cx.mutants.on(Mutant::TxnMarkerRetryRefused))
            && !cx.mutants.on(Mutant::TxnMarkerOfTheSameEpoch);
        let late = marker.epoch < known.epoch || same;
        if late && !cx.mutants.on(Mutant::TxnMarkerEpochUnchecked) {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let deposed = known.coordinator_epoch.is_some_and(|known| marker.coordinator_epoch < known);
        if deposed && !cx.mutants.on(Mutant::TxnCoordinatorUnchecked) {
            return Err(ErrorCode::TransactionCoordinatorFenced);
        }
        Ok(())
    }

    /// A batch that passed its check is in the log, at the offset in its header. `Some`: it is a
    /// marker, and ended this transaction.
    pub fn appended(&mut self, cx: &Cx, batch: &[u8], header: &Header) -> Option<Ended> {
        if let Some(marker) = Marker::read(batch, header) {
            return self.marked(cx, &marker, header);
        }
        let (id, epoch) = of(header)?;
        let sent = Sent::of(header);
        // A coordinator's own records have no numbers, and leave no trace but their transaction.
        if sent.is_none() && !header.attributes.transactional() {
            return None;
        }
        let known = self.known.entry(id).or_insert_with(|| Producer::new(epoch));
        known.enter(epoch);
        let base = header.base_offset;
        known.heard = header.max_timestamp;
        if header.attributes.transactional() && known.open.is_none() {
            known.open = Some(base);
            self.open.insert(base);
        }
        let Sent { first, last, .. } = sent?;
        let kept = if cx.mutants.on(Mutant::ProducerWindowOne) { 1 } else { BATCHES_MAX };
        while known.batches.len() >= kept {
            known.batches.pop_front();
        }
        let stamped = header.attributes.log_append_time();
        let timestamp = header.max_timestamp;
        known.batches.push_back(Remembered { first, last, base, timestamp, stamped });
        None
    }

    fn marked(&mut self, cx: &Cx, marker: &Marker, header: &Header) -> Option<Ended> {
        let &Marker { producer, epoch, result, coordinator_epoch } = marker;
        let known = self.known.entry(producer).or_insert_with(|| Producer::new(epoch));
        if cx.mutants.on(Mutant::TxnEpochNotRaised) {
            known.epoch = epoch;
        } else {
            known.enter(epoch);
        }
        known.coordinator_epoch = Some(coordinator_epoch);
        known.heard = header.max_timestamp;
        let first = known.open.take()?;
        self.open.remove(&first);
        let last = header.base_offset;
        let stable = self.first_open().unwrap_or(last.next());
        Some(Ended { producer, result, first, last, stable })
    }

    /// Whether nothing is known of the producer of this batch.
    #[must_use]
    pub fn is_new(&self, header: &Header) -> bool {
        let id = u64::try_from(header.producer.id).map(ProducerId);
        id.is_ok_and(|id| !self.known.contains_key(&id))
    }

    /// Producers not heard of for a day go. Only of a log that is being written: in one that is
    /// read back, what looks silent now may be heard of further on.
    pub fn forget_silent(&mut self, now: TimestampMs) {
        let before = self.known.len();
        self.known.retain(|_, producer| !producer.is_expired(now));
        self.forgetful |= self.known.len() < before;
    }

    /// Whether this producer has a transaction open under this epoch.
    #[must_use]
    pub fn is_open(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        let known = self.known.get(&producer).filter(|known| known.epoch == epoch);
        known.is_some_and(|known| known.open.is_some())
    }

    /// Whether this producer has a newer epoch (`ProducerAppendInfo.checkProducerEpoch`).
    #[must_use]
    pub fn is_replaced(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        self.known.get(&producer).is_some_and(|known| epoch < known.epoch)
    }

    /// First offset of the oldest open transaction.
    #[must_use]
    pub fn first_open(&self) -> Option<Offset> {
        self.open.first().copied()
    }

    /// A planted bug: transactions that are open are taken for ended.
    pub(super) fn forget_open(&mut self) {
        self.open.clear();
        for producer in self.known.values_mut() {
            producer.open = None;
        }
    }

    /// Every producer: its id, how it stands, and its newest batches, oldest first.
    pub fn iter(
        &self,
    ) -> impl Iterator<Item = (ProducerId, Standing, impl Iterator<Item = &Remembered>)> {
        self.known.iter().map(|(&id, producer)| {
            let Producer { epoch, open, coordinator_epoch, .. } = *producer;
            (id, Standing { epoch, open, coordinator_epoch }, producer.batches.iter())
        })
    }

    /// Whether it is a state that there can be; what comes from bytes may be anything.
    pub(super) fn is_sound(&self) -> bool {
        let open = self.known.values().filter_map(|producer| producer.open);
        self.known.values().all(|producer| producer.batches.len() <= BATCHES_MAX)
            && open.clone().count() == self.open.len()
            && open.collect::<BTreeSet<_>>() == self.open
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
    fn new(epoch: ProducerEpoch) -> Self {
        let (batches, heard) = (VecDeque::new(), TimestampMs::NONE);
        Self { epoch, batches, open: None, coordinator_epoch: None, heard }
    }

    /// A raised epoch begins with no batch.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn is_expired(&self, now: TimestampMs) -> bool {
        self.open.is_none() && now.0.saturating_sub(self.heard.0) >= EXPIRATION_MS
    }
}

impl Sent {
    /// `None`: the producer is not idempotent, or a coordinator.
    fn of(header: &Header) -> Option<Self> {
        let (id, epoch) = of(header)?;
        let first = u32::try_from(header.producer.base_sequence).ok().map(Sequence)?;
        let last = first.plus(header.last_offset_delta);
        Some(Self { id, epoch, first, last })
    }
}

/// The producer of a batch and its epoch.
fn of(header: &Header) -> Option<(ProducerId, ProducerEpoch)> {
    let id = ProducerId(u64::try_from(header.producer.id).ok()?);
    Some((id, ProducerEpoch(header.producer.epoch)))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::batch::{NewRecord, ProducerStamp, build, build_transactional, stamp};
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
                producers.appended(&cx(0), &[], header);
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
        producers.appended(&cx(0), &[], &batch(1, 0, i32::MAX - 1, 4, 0));
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
    fn producer_silent_for_a_day_is_forgotten() {
        let mut producers = Producers::default();
        producers.appended(&cx(0), &[], &sent_at(0, (1, 0, 0), 1, 0));
        producers.appended(&cx(0), &[], &sent_at(5, (2, 0, 0), 1, 1));
        producers.forget_silent(TimestampMs(DAY_MS + 4));
        producers.appended(&cx(0), &[], &sent_at(DAY_MS + 4, (3, 0, 0), 1, 2));
        assert_eq!(producers.len(), 2, "the second lacks a millisecond to a day");
        assert_eq!(producers.check(&cx(0), &batch(1, 0, 7, 1, 3)), Ok(None));
    }

    const FENCED: ErrorCode = ErrorCode::InvalidProducerEpoch;

    /// As [`batch`], of one record in a transaction.
    fn transactional(id: i64, epoch: i16, first: i32, base: u64) -> Header {
        let record = NewRecord { timestamp: TimestampMs(0), key: None, value: None, headers: &[] };
        let producer = ProducerStamp { id, epoch, base_sequence: first };
        let bytes = build_transactional(&[record], producer);
        Header::parse(&stamp(bytes, Offset(base), LeaderEpoch(0))).expect("well-formed")
    }

    /// Ends the transaction of producer 1, if that is let in.
    fn end(
        producers: &mut Producers,
        (epoch, coordinator_epoch): (i16, u32),
        version: TransactionVersion,
        base: u64,
    ) -> Result<Option<(u64, u64)>, ErrorCode> {
        let marker = Marker {
            producer: ProducerId(1),
            epoch: ProducerEpoch(epoch),
            result: TransactionResult::Abort,
            coordinator_epoch: CoordinatorEpoch(coordinator_epoch),
        };
        producers.check_marker(&cx(0), &marker, version)?;
        let bytes = stamp(marker.encode(TimestampMs(0)), Offset(base), LeaderEpoch(0));
        let header = Header::parse(&bytes).expect("well-formed");
        let ended = producers.appended(&cx(0), &bytes, &header);
        Ok(ended.map(|ended| (ended.first.0, ended.last.0)))
    }

    use TransactionVersion::{V1, V2};

    #[test]
    fn transaction_goes_on_in_sequence_after_a_v1_marker_and_begins_anew_after_a_v2_one() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &transactional(1, 0, 0, 0)), Ok(0));
        assert_eq!(end(&mut producers, (0, 0), V1, 1), Ok(Some((0, 1))));
        assert_eq!(send(&mut producers, &transactional(1, 0, 1, 2)), Ok(2));
        assert_eq!(send(&mut producers, &transactional(1, 0, 0, 9)), Ok(0), "a retry of the first");
        assert_eq!(end(&mut producers, (1, 0), V2, 3), Ok(Some((2, 3))));
        assert_eq!(send(&mut producers, &transactional(1, 0, 2, 4)), Err(FENCED));
        let ahead = send(&mut producers, &transactional(1, 1, 2, 4));
        assert_eq!(ahead, Err(ErrorCode::OutOfOrderSequenceNumber));
        assert_eq!(send(&mut producers, &transactional(1, 1, 0, 4)), Ok(4));
    }

    #[test]
    fn transaction_open_refuses_what_is_outside_of_it() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &transactional(1, 0, 0, 0)), Ok(0));
        let outside = send(&mut producers, &batch(1, 0, 1, 1, 1));
        assert_eq!(outside, Err(ErrorCode::InvalidTxnState));
        assert_eq!(end(&mut producers, (0, 0), V1, 1), Ok(Some((0, 1))));
        assert_eq!(send(&mut producers, &batch(1, 0, 1, 1, 2)), Ok(2));
    }

    #[test]
    fn marker_that_comes_again_changes_nothing() {
        for (version, epoch) in [(V1, 0), (V2, 1)] {
            let mut producers = Producers::default();
            assert_eq!(send(&mut producers, &transactional(1, 0, 0, 0)), Ok(0));
            assert_eq!(end(&mut producers, (epoch, 0), version, 1), Ok(Some((0, 1))));
            let before = producers.clone();
            assert_eq!(end(&mut producers, (epoch, 0), version, 2), Ok(None));
            assert_eq!(producers, before);
        }
    }

    #[test]
    fn marker_of_the_transaction_before_is_refused_by_v2() {
        let mut producers = Producers::default();
        assert_eq!(send(&mut producers, &transactional(1, 3, 0, 0)), Ok(0));
        assert_eq!(end(&mut producers, (4, 0), V2, 1), Ok(Some((0, 1))));
        assert_eq!(send(&mut producers, &transactional(1, 4, 0, 2)), Ok(2));
        assert_eq!(end(&mut producers, (4, 0), V2, 3), Err(FENCED));
        assert_eq!(end(&mut producers, (3, 0), V1, 3), Err(FENCED));
        assert_eq!(end(&mut producers, (5, 0), V2, 3), Ok(Some((2, 3))));
    }

    #[test]
    fn marker_of_a_coordinator_that_was_replaced_is_refused() {
        let mut producers = Producers::default();
        assert_eq!(end(&mut producers, (0, 5), V1, 0), Ok(None), "of a producer not known here");
        assert_eq!(send(&mut producers, &transactional(1, 0, 0, 1)), Ok(1));
        let fenced = Err(ErrorCode::TransactionCoordinatorFenced);
        assert_eq!(end(&mut producers, (0, 4), V1, 2), fenced);
        assert_eq!(end(&mut producers, (0, 5), V1, 2), Ok(Some((1, 2))));
    }

    #[test]
    fn producer_with_a_transaction_open_is_not_forgotten() {
        let mut producers = Producers::default();
        producers.appended(&cx(0), &[], &transactional(1, 0, 0, 0));
        producers.forget_silent(TimestampMs(2 * DAY_MS));
        producers.appended(&cx(0), &[], &sent_at(2 * DAY_MS, (2, 0, 0), 1, 1));
        assert_eq!((producers.len(), producers.first_open()), (2, Some(Offset(0))));
        assert_eq!(end(&mut producers, (0, 0), V1, 2), Ok(Some((0, 2))));
        producers.forget_silent(TimestampMs(2 * DAY_MS));
        assert_eq!(producers.len(), 1, "and then it is");
    }
}
