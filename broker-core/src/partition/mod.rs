//! A partition that this broker leads: it gives offsets, holds the high watermark, remembers who
//! waits for what, and knows which epoch wrote which offsets.
//!
//! It stores nothing: the WAL, the log cache and the objects do. Whether it may be open at all is
//! the broker's business (`broker::ownership`). Source: `UnifiedLog.java`, `Partition.java`,
//! `LogValidator.java`, AutoMQ's `ElasticLog` (one replica, high watermark = confirmed offset).

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use crate::batch::{Header, Marker, TimestampMs};
use crate::ids::{
    ConnId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, StreamId, TopicPartition,
};
use crate::metadata::image::StreamState;
use crate::mutants::Mutant;
use crate::probe::Probe;
use crate::protocol::{
    AbortedTransaction, ErrorCode, FetchPartition, Isolation, Produced, TransactionVersion,
};
use crate::step::{Cx, Effect, Outbox};

pub mod admit;
pub mod epochs;
pub mod producers;
pub mod settled;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod times;

use epochs::EpochCache;
use producers::{Producers, Remembered};
use settled::Settled;
use times::Times;

/// A request of a client that waits: its connection, and the number that the broker gave it. No
/// number is used twice: a correlation id may be, and a batch can outlive the answer about it.
pub type Asker = (ConnId, u64);

/// An open partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Partition {
    id: TopicPartition,
    stream: StreamId,
    epoch: LeaderEpoch,
    log_start: Offset,
    high_watermark: Offset,
    log_end: Offset,
    epochs: EpochCache,
    /// As of the log's end: what the next batch is checked against.
    producers: Producers,
    /// As of the high watermark: what readers and snapshots may know.
    settled: Settled,
    /// The last stable offset.
    last_stable: Offset,
    /// Bytes of the log behind the last snapshot.
    unsaved_bytes: u64,
    /// What has offsets and is not confirmed, in the order of the offsets.
    unconfirmed: VecDeque<Unconfirmed>,
    /// Producers whose transaction the coordinator is asked about, and what tells one question from
    /// the next. A marker, or a batch of a transaction, of the producer ends all of its.
    guards: BTreeMap<(ProducerId, ProducerEpoch), u64>,
    next_guard: u64,
    /// Fetches to look at again when the high watermark moves.
    fetchers: BTreeSet<Asker>,
    /// What searches have seen of the log up to the high watermark.
    times: Times,
}

/// Who waits for a batch, and which partition of the request it is.
pub type Waiter = (Asker, usize);

/// A batch between its append and its confirmation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Unconfirmed {
    /// First offset.
    pub base: Offset,
    /// Exclusive end.
    pub end: Offset,
    /// Who is answered when it is confirmed: its producer, and its producer again, if it did not
    /// wait for the answer. A client has a bounded number of requests open.
    pub waiters: Vec<Waiter>,
    /// The WAL has it: it may become durable whatever happens to this broker.
    pub in_wal: bool,
}

/// What a fetch finds before any data is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Position {
    /// Read from here up to the second offset, which may be the same.
    At(Offset, Offset),
    /// The client's log parts from this one: the last epoch in common and its end here.
    Diverging(LeaderEpoch, Offset),
}

impl Partition {
    /// Opens the partition at the end of its stream, which the committed image shows to be open
    /// here under `epoch`: everything below is confirmed and committed. `settled` is the fold of
    /// it, of which the bytes are not in a snapshot.
    pub fn open(
        cx: &Cx,
        id: TopicPartition,
        (stream, epoch): (StreamId, LeaderEpoch),
        state: &StreamState,
        (settled, unsaved_bytes): (Settled, u64),
        out: &mut Outbox<Effect>,
    ) -> Self {
        let (own, earlier) = state.ranges.split_last().expect("an open stream has a range");
        assert_eq!(own.epoch, epoch, "{stream:?} is open under another epoch");
        let mut epochs = EpochCache::default();
        for range in earlier {
            epochs.assign(range.epoch, range.start);
        }
        if !cx.mutants.on(Mutant::PartitionEpochOnAppend) {
            epochs.assign(epoch, own.start);
        }
        let high_watermark = match earlier.last() {
            Some(last) if cx.mutants.on(Mutant::PartitionHwStale) => last.start,
            _ => state.end,
        };
        let (log_start, next) = (state.start, state.end);
        out.probe(Probe::PartitionOpened { partition: id, stream, epoch, next });
        let mut partition = Self {
            id,
            stream,
            epoch,
            log_start,
            high_watermark,
            log_end: next,
            epochs,
            producers: settled.producers().clone(),
            settled,
            last_stable: log_start,
            unsaved_bytes,
            unconfirmed: VecDeque::new(),
            guards: BTreeMap::new(),
            // No number of an earlier leadership comes back.
            next_guard: u64::from(epoch.0) << 32,
            fetchers: BTreeSet::new(),
            times: Times::new(log_start),
        };
        partition.probe_epochs(out);
        partition.moved(cx, out);
        partition
    }

    /// Gives the next `records` offsets to a batch; returns the first.
    pub fn append(
        &mut self,
        cx: &Cx,
        records: u64,
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) -> Offset {
        let base = self.log_end;
        let end = base.plus(records);
        self.log_end = end;
        let (partition, stream, epoch) = (self.id, self.stream, self.epoch);
        if cx.mutants.on(Mutant::PartitionEpochOnAppend) && self.epochs.assign(epoch, base) {
            self.probe_epochs(out);
        }
        let waiters = waiter.into_iter().collect();
        self.unconfirmed.push_back(Unconfirmed { base, end, waiters, in_wal: false });
        out.probe(Probe::PartitionAppended { partition, stream, epoch, base, end });
        if cx.mutants.on(Mutant::PartitionHwIsLeo) {
            self.high_watermark = end;
        }
        self.moved(cx, out);
        base
    }

    /// Whether a verified batch is new (`None`), or in the log already, there.
    ///
    /// # Errors
    /// If its producer may not append it.
    pub fn check_producer(&self, cx: &Cx, batch: &[u8]) -> Result<Option<Remembered>, ErrorCode> {
        let header = Header::parse(batch).expect("what is appended was checked");
        self.producers.check(cx, &header)
    }

    /// Whether a marker may be appended.
    ///
    /// # Errors
    /// If it is of a transaction, or a coordinator, before the newest.
    pub fn check_marker(
        &self,
        cx: &Cx,
        marker: &Marker,
        version: TransactionVersion,
    ) -> Result<(), ErrorCode> {
        self.producers.check_marker(cx, marker, version)
    }

    /// Whether this producer has a transaction open here, under this epoch, as of the log's end.
    #[must_use]
    pub fn is_open(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers.is_open(producer, epoch)
    }

    /// Whether this producer has a newer epoch here.
    #[must_use]
    pub fn is_replaced(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        self.producers.is_replaced(producer, epoch)
    }

    /// Whether nothing is known of the producer of this batch.
    #[must_use]
    pub fn is_new(&self, header: &Header) -> bool {
        self.producers.is_new(header)
    }

    /// The coordinator is asked whether this producer may begin a transaction here.
    pub fn guard(&mut self, of: (ProducerId, ProducerEpoch)) -> u64 {
        let guard = self.next_guard;
        self.next_guard += 1;
        self.guards.insert(of, guard);
        guard
    }

    /// Whether nothing has come since the coordinator was asked the question with this number.
    #[must_use]
    pub fn is_guarded(&self, of: (ProducerId, ProducerEpoch), guard: u64) -> bool {
        self.guards.get(&of) == Some(&guard)
    }

    /// The coordinator has answered the question with this number. Whether nothing has come since
    /// it was asked.
    pub fn take_guard(&mut self, of: (ProducerId, ProducerEpoch), guard: u64) -> bool {
        let kept = self.is_guarded(of, guard);
        if kept {
            self.guards.remove(&of);
        }
        kept
    }

    /// A batch was given its place: its producer's next one comes behind it.
    pub fn remember(&mut self, cx: &Cx, batch: &[u8]) {
        let header = Header::parse(batch).expect("what is appended was checked");
        if self.producers.is_new(&header) {
            let now = TimestampMs::floor(cx.wall);
            self.producers.forget_silent(now);
            self.settled.forget_silent(now);
        }
        let transactional = header.attributes.transactional();
        if let Some(id) = u64::try_from(header.producer.id).ok().filter(|_| transactional) {
            self.guards.retain(|(of, _), _| *of != ProducerId(id));
        }
        self.producers.appended(cx, batch, &header);
    }

    /// What is known as of the high watermark, if so many bytes were confirmed since it was taken
    /// last: that is what a successor has to read. Also if there are no producers.
    pub fn take_snapshot(&mut self, every_bytes: u64) -> Option<(Offset, Settled)> {
        if self.unsaved_bytes < every_bytes {
            return None;
        }
        self.unsaved_bytes = 0;
        Some((self.high_watermark, self.settled.clone()))
    }

    /// The producers as of the log's end.
    #[must_use]
    pub fn producers(&self) -> Producers {
        self.producers.clone()
    }

    /// The aborted transactions that may have batches in `[from, upto)`.
    pub fn aborted_in(
        &self,
        from: Offset,
        upto: Offset,
    ) -> impl Iterator<Item = AbortedTransaction> + '_ {
        self.settled.aborted_in(from, upto)
    }

    /// One more waits for the batch at `base`. Gives `waiter` back if nothing is left to wait for:
    /// the batch is confirmed, or the WAL has it and that is enough.
    pub fn join(&mut self, base: Offset, waiter: Waiter, in_wal: bool) -> Option<Waiter> {
        let at = self.unconfirmed.partition_point(|batch| batch.base < base);
        match self.unconfirmed.get_mut(at).filter(|batch| batch.base == base) {
            Some(batch) if !(in_wal && batch.in_wal) => {
                batch.waiters.push(waiter);
                None
            }
            Some(_) | None => Some(waiter),
        }
    }

    /// The WAL has taken the batch at `base`. Returns who is to be answered if that is enough.
    pub fn in_wal(&mut self, base: Offset) -> Vec<Waiter> {
        let at = self.unconfirmed.partition_point(|batch| batch.base < base);
        let batch = &mut self.unconfirmed[at];
        assert_eq!(batch.base, base, "{:?}: the WAL took what was not appended", self.id);
        batch.in_wal = true;
        batch.waiters.clone()
    }

    /// The batch is durable and the WAL still ours: the high watermark moves behind it. Returns its
    /// waiters.
    pub fn confirm(&mut self, cx: &Cx, batch: &[u8], out: &mut Outbox<Effect>) -> Vec<Waiter> {
        let header = Header::parse(batch).expect("what is appended was checked");
        let (base, end) = (header.base_offset, header.end_offset());
        let at = self.unconfirmed.partition_point(|batch| batch.base < base);
        assert!(
            at == 0 || cx.mutants.on(Mutant::PartitionQueueReordered),
            "{:?}: {base:?} is confirmed before {:?}",
            self.id,
            self.unconfirmed.front()
        );
        let confirmed = self.unconfirmed.remove(at).expect("only what was appended is confirmed");
        assert_eq!((confirmed.base, confirmed.end), (base, end), "{:?}: other offsets", self.id);
        self.high_watermark = self.high_watermark.max(end);
        assert!(self.high_watermark <= self.log_end, "{:?}: beyond the log's end", self.id);
        self.settled.fold(cx, batch, &header);
        self.unsaved_bytes += batch.len() as u64;
        self.moved(cx, out);
        confirmed.waiters
    }

    /// The batch at `base` is given up, although it may still become durable: only a planted bug
    /// does that. Returns its waiters.
    pub fn revoke(&mut self, base: Offset) -> Vec<Waiter> {
        let at = self.unconfirmed.partition_point(|batch| batch.base < base);
        let Some(batch) = self.unconfirmed.remove(at) else { return Vec::new() };
        if batch.end == self.log_end {
            self.log_end = base;
        }
        batch.waiters
    }

    /// Where a fetch reads.
    ///
    /// # Errors
    /// If its epoch is not this leader's or its offset is outside of the log.
    pub fn position(
        &self,
        fetch: &FetchPartition,
        isolation: Isolation,
    ) -> Result<Position, ErrorCode> {
        self.check_epoch(fetch.current_leader_epoch)?;
        let from = fetch.fetch_offset;
        if let Some(last) = fetch.last_fetched_epoch {
            let (epoch, end) =
                self.epochs.end_of(last, self.log_end).ok_or(ErrorCode::OffsetOutOfRange)?;
            if epoch < last || end < from {
                return Ok(Position::Diverging(epoch, end.min(self.high_watermark)));
            }
        }
        if from < self.log_start || from > self.log_end {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(Position::At(from, self.visible_end(isolation).max(from)))
    }

    /// Nothing at or behind it is shown to such a reader.
    #[must_use]
    pub fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable,
        }
    }

    /// Compares the epoch a client knows with this leader's (KIP-320).
    ///
    /// # Errors
    /// If they differ.
    pub fn check_epoch(&self, known: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        match known {
            Some(epoch) if epoch < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            Some(epoch) if epoch > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            Some(_) | None => Ok(()),
        }
    }

    /// The largest epoch up to `asked` and its end, as far as it is visible: nothing above the high
    /// watermark leaves the broker.
    #[must_use]
    pub fn epoch_end(&self, cx: &Cx, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let (epoch, end) = self.epochs.end_of(asked, self.high_watermark)?;
        if cx.mutants.on(Mutant::PartitionEpochEndIsLeo) {
            return Some((epoch, self.log_end));
        }
        Some((epoch, end))
    }

    /// A fetch waits for the high watermark to move.
    pub fn park(&mut self, fetcher: Asker) {
        self.fetchers.insert(fetcher);
    }

    /// A fetch waits no more.
    pub fn unpark(&mut self, fetcher: Asker) {
        self.fetchers.remove(&fetcher);
    }

    /// The fetches that wait.
    #[must_use]
    pub fn fetchers(&self) -> &BTreeSet<Asker> {
        &self.fetchers
    }

    /// Gives the partition up; what is not confirmed yet, and the fetches that wait, come back.
    pub fn close(self, out: &mut Outbox<Effect>) -> (VecDeque<Unconfirmed>, BTreeSet<Asker>) {
        out.probe(Probe::PartitionClosed { partition: self.id, epoch: self.epoch });
        (self.unconfirmed, self.fetchers)
    }

    /// Where a batch is that came a second time, for its producer: as the first time.
    #[must_use]
    pub fn produced_before(&self, there: &Remembered) -> Produced {
        Produced {
            base_offset: there.base,
            log_append_time: there.stamped.then(|| there.timestamp.wall()),
            log_start_offset: self.log_start,
        }
    }

    /// Where an appended batch is, for its producer.
    #[must_use]
    pub fn produced(&self, batch: &[u8]) -> Produced {
        let header = Header::parse(batch).expect("what is appended was checked");
        let stamped = header.attributes.log_append_time();
        Produced {
            base_offset: header.base_offset,
            log_append_time: stamped.then(|| header.max_timestamp.wall()),
            log_start_offset: self.log_start,
        }
    }

    /// The stream that holds its data.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The epoch of this leadership.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// First offset of the log.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// What searches have seen of the log's times.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// A search has seen these batches; all are below the high watermark.
    pub fn see_times(&mut self, chunk: &[Bytes]) {
        self.times.see(chunk);
    }

    /// Everything below is durable and visible.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Every transaction that began below it is decided, and its marker confirmed.
    #[must_use]
    pub fn last_stable(&self) -> Offset {
        self.last_stable
    }

    /// Where the next batch goes.
    #[must_use]
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// End of what the WAL has taken.
    #[must_use]
    pub fn wal_end(&self) -> Offset {
        let taken = self.unconfirmed.iter().rev().find(|batch| batch.in_wal);
        let confirmed = self.unconfirmed.front().map_or(self.log_end, |batch| batch.base);
        taken.map_or(confirmed, |batch| batch.end)
    }

    /// Which epoch wrote which offsets.
    #[must_use]
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    fn probe_epochs(&self, out: &mut Outbox<Effect>) {
        let entries = self.epochs.entries().to_vec();
        out.probe(Probe::PartitionEpochs { partition: self.id, entries });
    }

    /// The log's end, or the high watermark, is another one.
    fn moved(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        // A transaction whose marker is not confirmed is open in what is settled.
        let open = match cx.mutants.on(Mutant::TxnMarkerUnconfirmedCounts) {
            true => self.producers.first_open(),
            false => self.settled.producers().first_open(),
        };
        let open = open.map(|open| match cx.mutants.on(Mutant::TxnLastStableOffByOne) {
            true => open.next(),
            false => open,
        });
        let stable = open.map_or(self.high_watermark, |open| open.min(self.high_watermark));
        self.last_stable = stable.max(self.log_start);
        out.probe(Probe::PartitionOffsets {
            partition: self.id,
            epoch: self.epoch,
            log_start: self.log_start,
            last_stable: self.last_stable,
            high_watermark: self.high_watermark,
            log_end: self.log_end,
        });
    }
}
