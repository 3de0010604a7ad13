//! The records that clients make: each says who made it, and any change of it can be seen.
//!
//! A record with number `n` has key `n`, value `n` and a filler that follows from `n`, and one
//! header `n`. Encoding and damage of whole batches, too; what goes on the wire when is the
//! producer's part.

use alloc::vec;
use alloc::vec::Vec;

use broker_core::batch::{
    self, HEADER_BYTES, Header, Marker, NewRecord, ProducerStamp, TimestampMs,
};
use broker_core::ids::{LeaderEpoch, Offset};
use broker_core::protocol::{AbortedTransaction, TransactionResult};
use broker_core::time::Wall;
use bytes::Bytes;

use super::{ReadRecord, mixed};

/// Bytes of a number, at the front of each value.
pub(super) const NUMBER_BYTES: u32 = 8;

const HEADER_KEY: &str = "n";

/// Attributes and everything behind them is covered by the checksum.
const COVERED_FROM: usize = 21;

/// The timestamp of records that are made now: whole milliseconds.
pub(super) fn created(now: Wall) -> Wall {
    TimestampMs::floor(now).wall()
}

/// A batch of `count` records numbered from `first`, with values of `bytes` bytes each.
pub(super) fn encode(
    first: u64,
    count: u32,
    bytes: u32,
    now: Wall,
    producer: ProducerStamp,
) -> Bytes {
    build(first, (count, bytes), now, |records| batch::build(records, producer))
}

/// As [`encode`], as a part of its producer's transaction.
pub(super) fn encode_transactional(
    first: u64,
    size: (u32, u32),
    now: Wall,
    producer: ProducerStamp,
) -> Bytes {
    build(first, size, now, |records| batch::build_transactional(records, producer))
}

fn build(
    first: u64,
    (count, bytes): (u32, u32),
    now: Wall,
    encode: impl Fn(&[NewRecord<'_>]) -> Bytes,
) -> Bytes {
    let timestamp = TimestampMs::floor(now);
    let numbers: Vec<[u8; 8]> = (first..first + u64::from(count)).map(u64::to_be_bytes).collect();
    let values: Vec<Vec<u8>> =
        (first..first + u64::from(count)).map(|number| value(number, bytes as usize)).collect();
    let headers: Vec<_> = numbers.iter().map(|number| [(HEADER_KEY, Some(&number[..]))]).collect();
    let records: Vec<_> = numbers
        .iter()
        .zip(&values)
        .zip(&headers)
        .map(|((key, value), headers)| NewRecord {
            timestamp,
            key: Some(key),
            value: Some(value),
            headers,
        })
        .collect();
    encode(&records)
}

/// The same batch with one bit wrong, somewhere under the checksum.
pub(super) fn damage(batch: &Bytes, lot: u64) -> Bytes {
    let mut bytes = Vec::from(&batch[..]);
    let covered = (bytes.len() - COVERED_FROM) as u64 * 8;
    let bit = lot % covered;
    let at = COVERED_FROM + usize::try_from(bit / 8).expect("an index");
    bytes[at] ^= 1 << (bit % 8);
    Bytes::from(bytes)
}

/// What a fetch from `from` gave.
pub(super) struct Read {
    pub(super) records: Vec<ReadRecord>,
    /// What was stepped over: control batches, and batches of aborted transactions.
    pub(super) skipped: Vec<(Offset, Offset)>,
    /// The offset to go on from.
    pub(super) next: Offset,
    /// Leader epoch of the last batch.
    pub(super) epoch: Option<LeaderEpoch>,
}

/// Reads batches. Nothing is dropped but records before `from` in the batch that holds `from`, and
/// what a consumer steps over: what should not be there is passed on as evidence. `aborted`: the
/// transactions that the broker named; none for a reader of everything.
pub(super) fn decode(batches: &[Bytes], from: Offset, aborted: &[AbortedTransaction]) -> Read {
    let mut read = Read { records: Vec::new(), skipped: Vec::new(), next: from, epoch: None };
    let mut aborted = Aborted::new(aborted);
    for bytes in batches {
        for whole in batch::split(bytes) {
            let header = whole.as_ref().ok().and_then(|whole| Header::parse(whole).ok());
            match (whole, header) {
                // A damaged batch is evidence, whatever it seems to be.
                (Ok(whole), Some(header))
                    if aborted.steps_over(&whole, &header) && batch::verify(&whole).is_ok() =>
                {
                    read.skip(&header, from);
                }
                (Ok(whole), Some(header)) => read.batch(&whole, &header, from),
                _ => read.rubbish(read.next, LeaderEpoch(0)),
            }
        }
    }
    read
}

/// Which batches of one answer a consumer steps over (`CompletedFetch.nextFetchedRecord`).
struct Aborted {
    /// Not begun yet, the last one first.
    ahead: Vec<AbortedTransaction>,
    /// Producers whose batches do not count at the moment.
    producers: Vec<i64>,
}

impl Aborted {
    fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut ahead = Vec::from(aborted);
        ahead.sort_by_key(|aborted| core::cmp::Reverse(aborted.first));
        Self { ahead, producers: Vec::new() }
    }

    fn steps_over(&mut self, batch: &[u8], header: &Header) -> bool {
        while self.ahead.last().is_some_and(|next| {
            next.first.0 <= header.base_offset.0.saturating_add(u64::from(header.last_offset_delta))
        }) {
            let begun = self.ahead.pop().expect("just seen");
            self.producers.push(i64::try_from(begun.producer.0).unwrap_or(-1));
        }
        let id = header.producer.id;
        if Marker::read(batch, header).is_some_and(|it| it.result == TransactionResult::Abort) {
            self.producers.retain(|aborted| *aborted != id);
        }
        header.attributes.control()
            || (header.attributes.transactional() && self.producers.contains(&id))
    }
}

impl Read {
    fn batch(&mut self, bytes: &Bytes, header: &Header, from: Offset) {
        let sound = batch::verify(bytes).is_ok() && header.leader_epoch.is_some();
        let leader_epoch = header.leader_epoch.unwrap_or_default();
        let end = header.base_offset.0.saturating_add(header.offsets());
        let before = self.records.len();
        for view in batch::records(bytes).take_while(Result::is_ok).flatten() {
            if view.offset < from && end > from.0 {
                continue;
            }
            let value = view.value.and_then(number);
            self.records.push(ReadRecord {
                offset: view.offset,
                value,
                timestamp: view.timestamp.wall(),
                leader_epoch,
                intact: sound && value.is_some_and(|number| is_intact(&view, number)),
            });
        }
        if !sound && self.records.len() == before {
            self.rubbish(header.base_offset, leader_epoch);
        }
        // A damaged header must not send the reader anywhere; it only has to get past this batch.
        let next = if sound { Offset(end) } else { self.next.next() };
        self.next = self.next.max(next);
        self.epoch = header.leader_epoch.or(self.epoch);
    }

    fn skip(&mut self, header: &Header, from: Offset) {
        let end = Offset(header.base_offset.0.saturating_add(header.offsets()));
        if end > from {
            self.skipped.push((header.base_offset.max(from), end));
        }
        self.next = self.next.max(end);
        self.epoch = header.leader_epoch.or(self.epoch);
    }

    /// Something is there, and it is no record.
    fn rubbish(&mut self, offset: Offset, leader_epoch: LeaderEpoch) {
        let timestamp = TimestampMs::NONE.wall();
        self.records.push(ReadRecord {
            offset,
            value: None,
            timestamp,
            leader_epoch,
            intact: false,
        });
        self.next = self.next.next();
    }
}

/// The number in front of a value.
fn number(value: &[u8]) -> Option<u64> {
    value.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

fn is_intact(view: &batch::RecordView<'_>, number: u64) -> bool {
    let bytes = number.to_be_bytes();
    let one_header = view.headers.eq([(HEADER_KEY.as_bytes(), Some(&bytes[..]))]);
    let filled = view.value.is_some_and(|found| {
        let filler = found.get(bytes.len()..).unwrap_or_default();
        filler.chunks(8).zip(filler_of(number)).all(|(found, word)| found == &word[..found.len()])
    });
    view.key == Some(&bytes[..]) && one_header && filled
}

fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes.max(8)];
    let (front, filler) = value.split_at_mut(8);
    front.copy_from_slice(&number.to_be_bytes());
    for (place, word) in filler.chunks_mut(8).zip(filler_of(number)) {
        place.copy_from_slice(&word[..place.len()]);
    }
    value
}

/// Word by word, without end.
fn filler_of(number: u64) -> impl Iterator<Item = [u8; 8]> {
    (0u64..).map(move |word| mixed(number, word).to_be_bytes())
}

const _: () = assert!(COVERED_FROM < HEADER_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamped(first: u64, count: u32, bytes: u32, at: u64) -> Bytes {
        let plain = encode(first, count, bytes, Wall(5_000_000), ProducerStamp::NONE);
        batch::stamp(plain, Offset(at), LeaderEpoch(3))
    }

    #[test]
    fn values_encoded_read_back_intact() {
        let read = decode(&[stamped(70, 3, 20, 10), stamped(90, 1, 8, 13)], Offset(11), &[]);
        let found: Vec<_> = read.records.iter().map(|r| (r.offset.0, r.value, r.intact)).collect();
        assert_eq!(found, [(11, Some(71), true), (12, Some(72), true), (13, Some(90), true)]);
        assert_eq!(read.records[0].timestamp, Wall(5_000_000));
        assert_eq!((read.next, read.epoch), (Offset(14), Some(LeaderEpoch(3))));
    }

    #[test]
    fn values_of_an_unstamped_batch_are_not_intact() {
        let read = decode(&[encode(1, 1, 8, Wall(0), ProducerStamp::NONE)], Offset(0), &[]);
        assert!(!read.records[0].intact);
    }

    #[test]
    fn values_of_a_batch_before_the_position_are_passed_on() {
        let read = decode(&[stamped(1, 2, 8, 3)], Offset(9), &[]);
        assert_eq!(read.records.len(), 2);
        assert_eq!(read.next, Offset(9));
    }

    #[test]
    fn values_of_torn_bytes_are_passed_on_as_rubbish() {
        let whole = stamped(1, 2, 8, 3);
        let read = decode(&[whole.slice(..whole.len() - 1)], Offset(3), &[]);
        assert_eq!(read.records.len(), 1);
        assert!(!read.records[0].intact);
        assert_eq!(read.next, Offset(4));
    }

    proptest! {
        #[test]
        fn values_swapped_between_records_are_not_intact(a in 0u64..1 << 60, b in 0u64..1 << 60) {
            prop_assume!(a != b);
            let (key, other) = (a.to_be_bytes(), b.to_be_bytes());
            let (mine, theirs) = (value(a, 16), value(b, 16));
            let mixed_up = [mine[..8].to_vec(), theirs[8..].to_vec()].concat();
            let sound = [(HEADER_KEY, Some(&key[..]))];
            let wrong = [(HEADER_KEY, Some(&other[..]))];
            for (key, value, headers, expected) in [
                (&key, &mine, &sound[..], true),
                (&other, &mine, &sound[..], false),
                (&key, &theirs, &sound[..], false),
                (&key, &mixed_up, &sound[..], false),
                (&key, &mine, &wrong[..], false),
                (&key, &mine, &[], false),
            ] {
                let record = NewRecord {
                    timestamp: TimestampMs(0),
                    key: Some(key),
                    value: Some(value),
                    headers,
                };
                let bytes = batch::build(&[record], ProducerStamp::NONE);
                let bytes = batch::stamp(bytes, Offset(0), LeaderEpoch(0));
                prop_assert_eq!(decode(&[bytes], Offset(0), &[]).records[0].intact, expected);
            }
        }

        #[test]
        fn values_damaged_are_refused_and_not_intact(first: u32, count in 1u32..4, lot: u64) {
            let whole = stamped(u64::from(first), count, 12, 0);
            let bad = damage(&whole, lot);
            prop_assert!(batch::verify(&bad).is_err());
            let read = decode(&[bad], Offset(0), &[]);
            prop_assert!(!read.records.is_empty());
            prop_assert!(read.records.iter().all(|record| !record.intact));
            prop_assert!(read.next > Offset(0));
        }
    }
}
