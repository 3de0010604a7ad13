//! Where times rise in a log: what searches by timestamp have seen of it, so that no later one has
//! to look at the same batches again.
//!
//! An object's index knows no timestamps, and a client asks anew when its patience is over: without
//! this the search of a long log would begin anew each time, and never end. Kept as long as the
//! leader's epoch, in a bounded number of entries. Source: Kafka's `TimeIndex`, which is written
//! with the log, and sparse, too.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch::{Header, TimestampMs};
use crate::ids::Offset;

/// With more entries each two neighbours become one.
const RISES_MAX: usize = 4096;

/// The times of a log, from its start.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Times {
    /// Ascending in both. Nothing before such an offset, and behind the one before, is newer than
    /// the time before.
    rises: Vec<Rise>,
    /// All before was seen.
    upto: Offset,
}

/// A stretch with a larger time than all before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Rise {
    /// The first batch that has one.
    base: Offset,
    /// The stretch's largest time.
    max: TimestampMs,
}

impl Times {
    /// Of a log that begins at `start`.
    #[must_use]
    pub fn new(start: Offset) -> Self {
        Self { rises: Vec::new(), upto: start }
    }

    /// These batches follow one another.
    pub fn see(&mut self, chunk: &[Bytes]) {
        let max = self.rises.last().map(|rise| rise.max);
        let mut rise: Option<Rise> = None;
        for batch in chunk {
            let header = Header::parse(batch).expect("what is in the log was checked");
            if header.base_offset > self.upto {
                // The log's start has passed what was seen, or a batch is missing: it is no use.
                break;
            }
            if header.end_offset() <= self.upto {
                continue;
            }
            self.upto = header.end_offset();
            let (base, time) = (header.base_offset, header.max_timestamp);
            if rise.map(|rise| rise.max).or(max).is_none_or(|max| time > max) {
                rise = Some(Rise { base: rise.map_or(base, |rise| rise.base), max: time });
            }
        }
        self.rises.extend(rise);
        if self.rises.len() > RISES_MAX {
            let pairs = self.rises.chunks(2);
            let merged =
                pairs.map(|pair| Rise { base: pair[0].base, max: pair[pair.len() - 1].max });
            self.rises = merged.collect();
        }
    }

    /// No record before this has such a time, or a later one.
    #[must_use]
    pub fn none_before(&self, time: TimestampMs) -> Offset {
        let at = self.rises.partition_point(|rise| rise.max < time);
        self.rises.get(at).map_or(self.upto, |rise| rise.base)
    }

    /// No record from the first of the largest time on to this has a larger one than `max`, if that
    /// is the largest of what was seen.
    #[must_use]
    pub fn none_above(&self, max: TimestampMs) -> Offset {
        match self.rises.last() {
            Some(rise) if max >= rise.max => self.upto,
            Some(_) | None => Offset(0),
        }
    }

    /// No record before this has the log's largest time.
    #[must_use]
    pub fn largest_not_before(&self) -> Offset {
        self.rises.last().map_or(self.upto, |rise| rise.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{NewRecord, ProducerStamp, build, stamp};
    use crate::ids::LeaderEpoch;

    /// Batches of one record, with these times, from an offset on.
    fn chunk(base: u64, times: &[i64]) -> Vec<Bytes> {
        let batch = |(base, &time): (u64, &i64)| {
            let (timestamp, value) = (TimestampMs(time), Some(&b"v"[..]));
            let record = NewRecord { timestamp, key: None, value, headers: &[] };
            stamp(build(&[record], ProducerStamp::NONE), Offset(base), LeaderEpoch(0))
        };
        (base..).zip(times).map(batch).collect()
    }

    fn none_before(times: &Times, asked: &[i64]) -> Vec<u64> {
        asked.iter().map(|&time| times.none_before(TimestampMs(time)).0).collect()
    }

    #[test]
    fn times_know_where_a_time_is_passed_first() {
        let mut times = Times::new(Offset(10));
        assert_eq!(none_before(&times, &[0]), [10], "nothing was seen");
        times.see(&chunk(10, &[3, 5, 4]));
        times.see(&chunk(13, &[-1, 5, 1]));
        times.see(&chunk(16, &[4, 7, 9, 8]));
        assert_eq!(none_before(&times, &[-2, 3, 4, 5]), [10; 4], "somewhere in the first chunk");
        assert_eq!(none_before(&times, &[6, 7, 8, 9]), [17; 4], "its first time above 5");
        assert_eq!(none_before(&times, &[10]), [20], "the end of what was seen");
        assert_eq!(times.largest_not_before(), Offset(17));
        assert_eq!(times.none_above(TimestampMs(9)), Offset(20));
        assert_eq!(times.none_above(TimestampMs(8)), Offset(0), "a larger one is seen yet");
    }

    #[test]
    fn times_of_many_chunks_are_kept_more_coarsely() {
        let mut times = Times::new(Offset(0));
        for base in 0..10_000 {
            times.see(&chunk(base, &[i64::try_from(base).expect("small")]));
        }
        assert!(times.rises.len() <= RISES_MAX, "{}", times.rises.len());
        for time in [0, 1, 4_095, 9_998, 9_999] {
            let before = times.none_before(TimestampMs(time)).0;
            let time = u64::try_from(time).expect("small");
            assert!(before <= time && time - before < 16, "{before} for {time}");
        }
        assert_eq!(times.largest_not_before().0.div_ceil(4), 2_500);
    }

    #[test]
    fn times_of_a_chunk_seen_again_or_from_its_middle_count_once() {
        let mut times = Times::new(Offset(0));
        times.see(&chunk(0, &[1, 2]));
        let known = times.clone();
        times.see(&chunk(0, &[1, 2]));
        assert_eq!(times, known);
        times.see(&chunk(1, &[2, 3]));
        assert_eq!(none_before(&times, &[3, 4]), [2, 3]);
    }

    #[test]
    fn times_of_records_without_one_are_passed_by_none() {
        let mut times = Times::new(Offset(0));
        times.see(&chunk(0, &[-1, -1]));
        assert_eq!(none_before(&times, &[-1, 0]), [0, 2]);
    }

    #[test]
    fn times_behind_a_gap_are_not_known() {
        let mut times = Times::new(Offset(0));
        times.see(&chunk(1, &[9]));
        assert_eq!(times, Times::new(Offset(0)));
        assert_eq!(times.largest_not_before(), Offset(0));
    }
}
