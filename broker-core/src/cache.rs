//! The log cache: the newest confirmed batches of every open partition, in memory.
//!
//! What is not committed to an object yet stays whatever the bound says, for there is nowhere else
//! to read it from; appends are held back elsewhere so that this part is bounded too. Committed
//! batches leave oldest first. Source: AutoMQ's `LogCache` (one FIFO of blocks over all streams).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Offset, StreamId};
use crate::probe::Probe;
use crate::step::{Effect, Outbox};

/// The log cache of a broker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LogCache {
    streams: BTreeMap<StreamId, Run>,
    /// Every batch in the order of its arrival. Those of streams given up are skipped.
    arrivals: VecDeque<(StreamId, Offset)>,
    bytes: u64,
    bytes_max: u64,
}

/// The cached end of one stream, without holes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Run {
    /// Everything below is in committed objects.
    committed: Offset,
    /// Where the next batch begins.
    end: Offset,
    batches: VecDeque<Cached>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Cached {
    base: Offset,
    end: Offset,
    batch: Bytes,
}

/// How much of a stream a read may take.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// The batch with this offset comes first.
    pub from: Offset,
    /// No batch that ends above this one.
    pub upto: Offset,
    /// Bytes in all …
    pub bytes_max: u64,
    /// … but the first batch even if it is larger.
    pub first_whole: bool,
}

impl LogCache {
    /// An empty cache that keeps up to `bytes_max` of committed data.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { streams: BTreeMap::new(), arrivals: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Starts to keep a stream, whose log ends at `end` and is committed up to there.
    pub fn open(&mut self, stream: StreamId, end: Offset) {
        self.close(stream);
        self.streams.insert(stream, Run { committed: end, end, batches: VecDeque::new() });
    }

    /// Drops a stream.
    pub fn close(&mut self, stream: StreamId) {
        if let Some(run) = self.streams.remove(&stream) {
            self.bytes -= run.batches.iter().map(Cached::bytes).sum::<u64>();
            if !run.batches.is_empty() {
                self.arrivals.retain(|&(of, _)| of != stream);
            }
        }
    }

    /// Adds the next batch of an open stream.
    pub fn insert(&mut self, stream: StreamId, base: Offset, end: Offset, batch: Bytes) {
        let run = self.streams.get_mut(&stream).expect("insert into a stream that is not open");
        assert!(run.end == base, "{stream:?}: {base:?} behind {:?}", run.end);
        run.end = end;
        let cached = Cached { base, end, batch };
        self.bytes += cached.bytes();
        self.arrivals.push_back((stream, base));
        run.batches.push_back(cached);
    }

    /// Everything of the stream below `end` is in committed objects.
    pub fn committed(&mut self, stream: StreamId, end: Offset) {
        if let Some(run) = self.streams.get_mut(&stream) {
            run.committed = run.committed.max(end);
        }
    }

    /// Drops committed batches, oldest first, until the bound holds.
    pub fn evict(&mut self, out: &mut Outbox<Effect>) {
        let before = self.bytes;
        while self.bytes > self.bytes_max {
            let Some(&(stream, base)) = self.arrivals.front() else { break };
            let run = self.streams.get_mut(&stream).expect("arrivals name open streams");
            let oldest = run.batches.front().expect("arrivals name cached batches");
            assert_eq!(oldest.base, base, "{stream:?} is not cached in the order of arrival");
            if oldest.end > run.committed {
                break;
            }
            self.bytes -= oldest.bytes();
            run.batches.pop_front();
            self.arrivals.pop_front();
        }
        if self.bytes < before {
            out.probe(Probe::CacheEvicted { bytes: before - self.bytes });
        }
    }

    /// The batches of an extent, or `None` if its first one is not here.
    #[must_use]
    pub fn read(&self, stream: StreamId, extent: Extent) -> Option<Vec<Bytes>> {
        let mut left = extent.bytes_max;
        let mut first = extent.first_whole;
        let fits = |cached: &&Cached| {
            let bytes = cached.bytes();
            if cached.end > extent.upto || (bytes > left && !first) {
                return false;
            }
            (left, first) = (left.saturating_sub(bytes), false);
            true
        };
        Some(self.from(stream, extent.from)?.take_while(fits).map(|c| c.batch.clone()).collect())
    }

    /// Bytes of whole batches from `from` up to `upto`, counted only until they reach `enough`;
    /// `None` if the first one is not here.
    #[must_use]
    pub fn readable(
        &self,
        stream: StreamId,
        from: Offset,
        upto: Offset,
        enough: u64,
    ) -> Option<u64> {
        let mut bytes = 0;
        for cached in self.from(stream, from)?.take_while(|cached| cached.end <= upto) {
            bytes += cached.bytes();
            if bytes >= enough {
                break;
            }
        }
        Some(bytes)
    }

    /// Where the next batch of an open stream begins.
    #[must_use]
    pub fn end(&self, stream: StreamId) -> Option<Offset> {
        self.streams.get(&stream).map(|run| run.end)
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn from(&self, stream: StreamId, from: Offset) -> Option<impl Iterator<Item = &Cached>> {
        let batches = &self.streams.get(&stream)?.batches;
        let at = batches.partition_point(|cached| cached.end <= from);
        let here = batches.get(at).is_some_and(|cached| cached.base <= from);
        here.then(|| batches.range(at..))
    }
}

impl Cached {
    fn bytes(&self) -> u64 {
        self.batch.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const S: StreamId = StreamId(1);
    const T: StreamId = StreamId(2);

    fn insert(cache: &mut LogCache, stream: StreamId, base: u64, end: u64, bytes: usize) {
        cache.insert(stream, Offset(base), Offset(end), Bytes::from(vec![0; bytes]));
    }

    fn sizes(cache: &LogCache, from: u64, upto: u64, bytes_max: u64) -> Option<Vec<usize>> {
        let (from, upto) = (Offset(from), Offset(upto));
        let extent = Extent { from, upto, bytes_max, first_whole: true };
        Some(cache.read(S, extent)?.iter().map(Bytes::len).collect())
    }

    fn filled() -> LogCache {
        let mut cache = LogCache::new(30);
        cache.open(S, Offset(5));
        cache.open(T, Offset(0));
        insert(&mut cache, S, 5, 8, 10);
        insert(&mut cache, T, 0, 1, 11);
        insert(&mut cache, S, 8, 9, 12);
        cache
    }

    #[test]
    fn cache_read_begins_with_the_batch_that_holds_the_offset() {
        let cache = filled();
        assert_eq!(sizes(&cache, 4, 9, 100), None);
        assert_eq!(sizes(&cache, 7, 9, 100), Some(vec![10, 12]));
        assert_eq!(sizes(&cache, 8, 9, 100), Some(vec![12]));
        assert_eq!(sizes(&cache, 9, 9, 100), None);
    }

    #[test]
    fn cache_read_keeps_both_bounds_and_gives_the_first_batch_anyway() {
        let cache = filled();
        assert_eq!(sizes(&cache, 5, 9, 21), Some(vec![10]));
        assert_eq!(sizes(&cache, 5, 9, 1), Some(vec![10]));
        assert_eq!(sizes(&cache, 5, 8, 100), Some(vec![10]));
        let (from, upto) = (Offset(5), Offset(9));
        let hard = Extent { from, upto, bytes_max: 1, first_whole: false };
        assert_eq!(cache.read(S, hard), Some(vec![]));
    }

    #[test]
    fn cache_above_its_bound_drops_only_what_is_committed() {
        let mut cache = filled();
        let mut out = Outbox::default();
        cache.evict(&mut out);
        assert_eq!((cache.bytes(), out.as_slice()), (33, &[][..]));
        cache.committed(S, Offset(9));
        cache.evict(&mut out);
        let evicted = Effect::Probe(Probe::CacheEvicted { bytes: 10 });
        assert_eq!((cache.bytes(), out.as_slice()), (23, &[evicted][..]));
        assert_eq!(sizes(&cache, 7, 9, 100), None);
        assert_eq!(sizes(&cache, 8, 9, 100), Some(vec![12]));
    }

    #[test]
    fn cache_closed_stream_frees_its_bytes_and_its_turn() {
        let mut cache = filled();
        cache.close(S);
        assert_eq!(cache.bytes(), 11);
        cache.open(S, Offset(20));
        insert(&mut cache, S, 20, 21, 40);
        cache.committed(T, Offset(1));
        cache.committed(S, Offset(21));
        cache.evict(&mut Outbox::default());
        assert_eq!(cache.bytes(), 0);
    }
}
