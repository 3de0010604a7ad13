//! Fetch: what can be read now, what is waited for, and how much of it fits into the answer.
//!
//! Data comes from the log cache or, beyond it, from committed objects ([`crate::read`]); nothing
//! above the high watermark leaves, or for readers of committed data above the last stable offset.
//! The aborted transactions named with the data are those of the range that is returned. Source:
//! `ReplicaManager.fetchMessages`, `DelayedFetch.scala`, `UnifiedLog.read`, KIP-74 (the first batch
//! always comes), KIP-98, KIP-320, KIP-595 (diverging epochs).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Broker;
use crate::batch::Header;
use crate::cache::Extent;
use crate::ids::{ConnId, StreamId, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::{Asker, Partition, Position};
use crate::probe::Probe;
use crate::protocol::{
    ErrorCode, FetchPartition, FetchRequest, FetchResult, Fetched, Isolation, Response,
};
use crate::read::{ReadDone, ReadFor, ReadGone};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// A fetch that is not answered yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fetch {
    request: FetchRequest,
    /// It waits for data; its timer is armed.
    parked: bool,
    /// Reads of objects under way, by their number: which partition of the request.
    reads: BTreeMap<u64, usize>,
    /// What they found.
    found: BTreeMap<usize, Result<Vec<Bytes>, ReadGone>>,
}

/// Why a fetch is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Arrived,
    Woken,
    TimedOut,
}

impl Broker {
    pub(super) fn fetch(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: FetchRequest,
        out: &mut Outbox<Effect>,
    ) {
        let (reads, found) = (BTreeMap::new(), BTreeMap::new());
        self.fetches.insert(asker, Fetch { request, parked: false, reads, found });
        self.look(cx, asker, Why::Arrived, out);
    }

    /// The high watermark of a partition moved.
    pub(super) fn wake_all(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        let fetchers: Vec<Asker> = self.partitions[&partition].fetchers().iter().copied().collect();
        for fetcher in fetchers {
            self.wake(cx, fetcher, out);
        }
    }

    /// Something changed for a fetch that waits.
    pub(super) fn wake(&mut self, cx: &Cx, fetcher: Asker, out: &mut Outbox<Effect>) {
        if !cx.mutants.on(Mutant::FetchNeverWoken) {
            self.look(cx, fetcher, Why::Woken, out);
        }
    }

    pub(super) fn fetch_timed_out(&mut self, cx: &Cx, asker: Asker, out: &mut Outbox<Effect>) {
        if !cx.mutants.on(Mutant::FetchNeverWoken) {
            self.look(cx, asker, Why::TimedOut, out);
        }
    }

    pub(super) fn drop_fetches(&mut self, conn: ConnId, out: &mut Outbox<Effect>) {
        let askers = self.fetches.range((conn, 0)..=(conn, u64::MAX));
        for asker in askers.map(|(&asker, _)| asker).collect::<Vec<_>>() {
            let fetch = self.fetches.remove(&asker).expect("just seen");
            self.unpark(asker, &fetch, out);
            for &read in fetch.reads.keys() {
                self.reads.cancel(read, out);
            }
        }
    }

    /// A read of an object is done.
    pub(super) fn read_done(&mut self, cx: &Cx, read: ReadDone, out: &mut Outbox<Effect>) {
        match read.asker {
            ReadFor::Fetch(asker) => {
                let Some(fetch) = self.fetches.get_mut(&asker) else { return };
                let index = fetch.reads.remove(&read.id).expect("reads of a fetch are its own");
                fetch.found.insert(index, read.result);
                if fetch.reads.is_empty() {
                    self.finish_fetch(cx, asker, out);
                }
            }
            ReadFor::Search(asker) => self.searched(cx, asker, read.result, out),
            ReadFor::Load(stream) => self.loaded(cx, stream, read.id, read.result, out),
        }
    }

    /// Decides whether a fetch is answered now, reads objects first, or waits.
    fn look(&mut self, cx: &Cx, asker: Asker, why: Why, out: &mut Outbox<Effect>) {
        let Some(fetch) = self.fetches.get(&asker).filter(|fetch| fetch.reads.is_empty()) else {
            return;
        };
        let request = &fetch.request;
        // More than the answer can hold is not waited for (KafkaApis.handleFetchRequest).
        let bytes_min = u64::from(request.bytes_min.min(request.bytes_max));
        let (mut bytes, mut broken, mut beyond) = (0, false, Vec::new());
        let mut room = u64::from(request.bytes_max);
        for (index, part) in request.partitions.iter().enumerate() {
            let part_max = u64::from(part.bytes_max);
            match self.position(cx, part, request.isolation) {
                Ok((open, Position::At(from, upto))) if from < upto => {
                    let stream = open.stream();
                    let readable = |enough| self.cache.readable(stream, from, upto, enough);
                    match readable(bytes_min.min(part_max)) {
                        // The first batch of an answer comes even if it is larger.
                        Some(first) if bytes == 0 && first > part_max => {
                            bytes = part_max.max(readable(0).unwrap_or(0));
                        }
                        Some(there) => bytes += there.min(part_max),
                        // What is read side by side must fit into one answer.
                        None if room > 0 || beyond.is_empty() => {
                            let bytes_max = part_max.min(room);
                            room -= bytes_max;
                            let extent = Extent { from, upto, bytes_max, first_whole: true };
                            beyond.push((index, stream, extent));
                        }
                        None => {}
                    }
                }
                Ok((_, Position::At(..))) => {}
                Ok((_, Position::Diverging(..))) | Err(_) => broken = true,
            }
        }
        let wait = request.wait_max;
        let nothing = request.partitions.is_empty();
        let enough = bytes >= bytes_min || broken || !beyond.is_empty() || nothing;
        if !enough && why != Why::TimedOut && wait > Dur(0) {
            return self.park(asker, wait, out);
        }
        if fetch.parked && why == Why::Woken {
            out.probe(Probe::FetchWoken {});
        }
        if beyond.is_empty() {
            self.finish_fetch(cx, asker, out);
        } else {
            self.read_beyond(asker, beyond, out);
        }
    }

    fn read_beyond(
        &mut self,
        asker: Asker,
        beyond: Vec<(usize, StreamId, Extent)>,
        out: &mut Outbox<Effect>,
    ) {
        for (index, stream, extent) in beyond {
            let read = self.reads.start(ReadFor::Fetch(asker), stream, extent, &self.image, out);
            let fetch = self.fetches.get_mut(&asker).expect("the caller holds it");
            fetch.reads.insert(read, index);
        }
    }

    fn park(&mut self, asker: Asker, wait: Dur, out: &mut Outbox<Effect>) {
        let fetch = self.fetches.get_mut(&asker).expect("the caller holds it");
        if fetch.parked {
            return;
        }
        fetch.parked = true;
        for part in &fetch.request.partitions {
            if let Some(open) = self.partitions.get_mut(&part.partition) {
                open.park(asker);
            }
        }
        out.probe(Probe::FetchDelayed {});
        out.arm(TimerKey::FetchWait(asker.0, asker.1), wait);
    }

    fn unpark(&mut self, asker: Asker, fetch: &Fetch, out: &mut Outbox<Effect>) {
        if !fetch.parked {
            return;
        }
        out.disarm(TimerKey::FetchWait(asker.0, asker.1));
        for part in &fetch.request.partitions {
            if let Some(open) = self.partitions.get_mut(&part.partition) {
                open.unpark(asker);
            }
        }
    }

    fn position(
        &self,
        cx: &Cx,
        part: &FetchPartition,
        isolation: Isolation,
    ) -> Result<(&Partition, Position), ErrorCode> {
        let open = self.partitions.get(&part.partition);
        let open = open.ok_or_else(|| self.not_led(part.partition))?;
        let isolation = match cx.mutants.on(Mutant::TxnFetchToTheEnd) {
            true => Isolation::ReadUncommitted,
            false => isolation,
        };
        Ok((open, open.position(part, isolation)?))
    }

    /// Answers with what is there at this moment.
    fn finish_fetch(&mut self, cx: &Cx, asker: Asker, out: &mut Outbox<Effect>) {
        let mut fetch = self.fetches.remove(&asker).expect("a fetch is finished once");
        self.unpark(asker, &fetch, out);
        let mut left = u64::from(fetch.request.bytes_max);
        let mut first = true;
        let mut results = Vec::with_capacity(fetch.request.partitions.len());
        for (index, part) in fetch.request.partitions.iter().enumerate() {
            let found = fetch.found.remove(&index);
            let untold = match found.is_some() {
                true => cx.mutants.on(Mutant::TxnAbortedUntoldFromObjects),
                false => fetch.parked && cx.mutants.on(Mutant::TxnAbortedUntoldAfterWait),
            };
            let isolation = fetch.request.isolation;
            let mut result = self.read_part(cx, (part, isolation), found, (left, first), out);
            if let Ok(Fetched { batches, aborted, .. }) = &mut result {
                let bytes: u64 = batches.iter().map(|batch| batch.len() as u64).sum();
                left = left.saturating_sub(bytes);
                first &= batches.is_empty();
                if untold {
                    aborted.clear();
                }
            }
            results.push(FetchResult { partition: part.partition, result });
        }
        let rests = results.iter().any(sends_elsewhere);
        let answer = Response::Fetch(results);
        if rests && !cx.mutants.on(Mutant::FetchRefusedUnproven) {
            self.reply_when_proven(cx, asker, answer, out);
        } else {
            self.reply(asker, answer, out);
        }
    }

    fn read_part(
        &self,
        cx: &Cx,
        (part, isolation): (&FetchPartition, Isolation),
        found: Option<Result<Vec<Bytes>, ReadGone>>,
        (left, first_whole): (u64, bool),
        out: &mut Outbox<Effect>,
    ) -> Result<Fetched, ErrorCode> {
        let (open, position) = self.position(cx, part, isolation)?;
        let mut fetched = Fetched {
            high_watermark: open.high_watermark(),
            last_stable_offset: open.last_stable(),
            log_start_offset: open.log_start(),
            aborted: Vec::new(),
            diverging: None,
            batches: Vec::new(),
        };
        let (from, upto) = match position {
            Position::At(from, upto) => (from, upto),
            Position::Diverging(epoch, end) => {
                fetched.diverging = Some((epoch, end));
                return Ok(fetched);
            }
        };
        let bytes_max = u64::from(part.bytes_max).min(left);
        match found {
            Some(found) => {
                let batches = found.map_err(|ReadGone| ErrorCode::OffsetOutOfRange)?;
                fetched.batches = cut(batches, bytes_max, first_whole);
            }
            None if from < upto => {
                let extent = Extent { from, upto, bytes_max, first_whole };
                // What left the cache since it was looked at is read by the client's next fetch.
                fetched.batches = self.cache.read(open.stream(), extent).unwrap_or_default();
                if !fetched.batches.is_empty() {
                    out.probe(Probe::ReadFromCache {});
                }
            }
            None => {}
        }
        if isolation == Isolation::ReadCommitted
            && let Some(last) = fetched.batches.last()
        {
            let header = Header::parse(last).expect("what is in the log was checked");
            fetched.aborted = open.aborted_in(from, header.end_offset()).collect();
        }
        Ok(fetched)
    }
}

/// Whether a reader that gets this goes on at another offset: a leader that was replaced, and does
/// not know it, must not say that the log ends before its place (ADR 0009).
fn sends_elsewhere(part: &FetchResult) -> bool {
    match &part.result {
        Ok(fetched) => fetched.diverging.is_some(),
        Err(code) => *code == ErrorCode::OffsetOutOfRange,
    }
}

/// As many of the batches as fit; the first one anyway if nothing came before it.
fn cut(mut batches: Vec<Bytes>, bytes_max: u64, first_whole: bool) -> Vec<Bytes> {
    let mut left = bytes_max;
    let fits = batches.iter().enumerate().take_while(|(index, batch)| {
        let bytes = batch.len() as u64;
        let fits = bytes <= left || (first_whole && *index == 0);
        left = left.saturating_sub(bytes);
        fits
    });
    let count = fits.count();
    batches.truncate(count);
    batches
}
