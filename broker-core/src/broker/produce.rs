//! Produce: from a client's batch to its place in the WAL, and from its confirmation to the answer.
//!
//! A batch gets its offsets when it arrives; if the WAL or the upload has no room it waits in one
//! queue for the whole broker, so that each partition keeps its order. With acks 1 the answer comes
//! when the WAL has taken the batch, which promises nothing after a crash; with acks all when it is
//! confirmed. Whether a transaction may begin here is asked first ([`super::verify`]). Source:
//! `ReplicaManager.appendRecords`, `DelayedProduce.scala`, AutoMQ's `S3Storage`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::verify::Waiting;
use super::{Broker, Phase};
use crate::batch::{self, Header, Marker, TimestampMs};
use crate::ids::{ConnId, Lsn, Offset, ProducerId, StreamId, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::admit::AppendRules;
use crate::partition::producers::Remembered;
use crate::partition::{Asker, Unconfirmed, Waiter};
use crate::probe::Probe;
use crate::protocol::{
    Acks, CoordinatorKind, ErrorCode, ProduceRequest, ProduceResult, Produced, Response,
    TransactionVersion, TxnMarker,
};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;
use crate::wal::WalRecord;

/// The longest wait for markers to become durable (`request.timeout.ms` of the broker); then
/// `RequestTimedOut`, and the marker comes again.
const MARKERS_WAIT: Dur = Dur::secs(30);

/// A request that appends, and is not answered yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Produce {
    acks: Acks,
    parts: Vec<(TopicPartition, Option<Result<Produced, ErrorCode>>)>,
    /// Parts without a result.
    open: usize,
    /// For markers: whose transaction each part ends. Empty for a produce.
    producers: Vec<ProducerId>,
}

/// What a producer is told, once it is sure that this broker leads the partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Refusal {
    partition: TopicPartition,
    waiter: Waiter,
    code: ErrorCode,
}

impl fmt::Display for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.record.base, self.partition)
    }
}

/// A batch that waits for room.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Queued {
    partition: TopicPartition,
    record: WalRecord,
}

impl Broker {
    pub(super) fn produce(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: ProduceRequest,
        out: &mut Outbox<Effect>,
    ) {
        let ProduceRequest { acks, timeout, transactional, batches } = request;
        let parts: Vec<_> = batches.iter().map(|&(partition, _)| (partition, None)).collect();
        let (open, producers) = (parts.len(), Vec::new());
        self.produces.insert(asker, Produce { acks, parts, open, producers });
        if open == 0 {
            return self.finish_produce(asker, out);
        }
        out.arm(TimerKey::ProduceWait(asker.0, asker.1), timeout);
        for (index, (partition, batch)) in batches.into_iter().enumerate() {
            let waiter = Some((asker, index));
            let of = transactional.as_ref();
            if let Err(code) = self.append(cx, partition, (batch, of), waiter, out) {
                self.settle((asker, index), Err(code), out);
            }
        }
    }

    /// The longest wait for an answer is over; what became of the rest is unknown.
    pub(super) fn produce_timed_out(&mut self, asker: Asker, out: &mut Outbox<Effect>) {
        let Some(produce) = self.produces.get_mut(&asker) else { return };
        for (_, result) in &mut produce.parts {
            result.get_or_insert(Err(ErrorCode::RequestTimedOut));
        }
        self.finish_produce(asker, out);
    }

    pub(super) fn drop_produces(&mut self, conn: ConnId, out: &mut Outbox<Effect>) {
        let askers = self.produces.range((conn, 0)..=(conn, u64::MAX));
        for asker in askers.map(|(&asker, _)| asker).collect::<Vec<_>>() {
            out.disarm(TimerKey::ProduceWait(asker.0, asker.1));
            self.produces.remove(&asker);
        }
    }

    /// A bulk is in the store, not yet confirmed.
    pub(super) fn stored(
        &mut self,
        cx: &Cx,
        lsn: Lsn,
        record: &WalRecord,
        out: &mut Outbox<Effect>,
    ) {
        if cx.mutants.on(Mutant::WalCacheOnPutOrder) {
            self.pass_to_upload(cx, lsn, record, out);
        }
    }

    /// A record is durable and the WAL still ours: first it can be read and is on its way to an
    /// object, then its partition's high watermark moves, then its producer hears of it.
    pub(super) fn confirmed(
        &mut self,
        cx: &Cx,
        lsn: Lsn,
        record: &WalRecord,
        out: &mut Outbox<Effect>,
    ) {
        let early =
            cx.mutants.on(Mutant::WalCacheOnPutOrder) || cx.mutants.on(Mutant::UploadUnconfirmed);
        let led = self.led.get(&record.stream).copied();
        let led = led.filter(|partition| self.partitions[partition].epoch() == record.epoch);
        if led.is_some() && !cx.mutants.on(Mutant::PartitionHwIsLeo) {
            self.keep_in_cache(cx, record);
        }
        if !early {
            self.pass_to_upload(cx, lsn, record, out);
        }
        let Some(partition) = led else {
            return self.confirmed_after_close(cx, record.stream, record.end, out);
        };
        let open = self.partitions.get_mut(&partition).expect("led partitions are open");
        let waiters = open.confirm(cx, &record.batch, out);
        let produced = open.produced(&record.batch);
        for waiter in waiters {
            self.settle(waiter, Ok((produced, record.end)), out);
        }
        self.snapshot_if_due(cx, partition, out);
        self.coordinator_moved(cx, partition, out);
        self.wake_all(cx, partition, out);
        self.cache.evict(out);
    }

    /// The WAL gave a record up (only a planted bug does that): the place in the log is free again.
    pub(super) fn failed(&mut self, record: &WalRecord, out: &mut Outbox<Effect>) {
        let Some(partition) = self.led.get(&record.stream) else { return };
        let open = self.partitions.get_mut(partition).expect("led partitions are open");
        for waiter in open.revoke(record.base) {
            self.settle(waiter, Err(ErrorCode::KafkaStorageError), out);
        }
    }

    /// There may be room again: what waited longest goes first.
    pub(super) fn let_in(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        while self.phase != Phase::Ended && self.upload.has_room() {
            let newest_first = cx.mutants.on(Mutant::PartitionQueueReordered);
            let next = if newest_first { self.queue.pop_back() } else { self.queue.pop_front() };
            let Some(Queued { partition, record }) = next else { return };
            if let Err(record) = self.pass_to_wal(cx, partition, record, out) {
                let queued = Queued { partition, record };
                if newest_first {
                    self.queue.push_back(queued);
                } else {
                    self.queue.push_front(queued);
                }
                return;
            }
        }
    }

    /// Batches of a partition given up that wait for room never reach the WAL.
    pub(super) fn drop_queued(&mut self, stream: StreamId) {
        self.queue.retain(|queued| queued.record.stream != stream);
    }

    /// Answers those whose batches were not confirmed when their partition was given up. As in
    /// Kafka's `DelayedProduce` the code proves nothing: a batch that the WAL has taken may still
    /// become durable, and then it stays.
    pub(super) fn refuse_unconfirmed(
        &mut self,
        partition: TopicPartition,
        unconfirmed: VecDeque<Unconfirmed>,
        out: &mut Outbox<Effect>,
    ) {
        let code = self.not_led(partition);
        let refusals = self.refusals.extract_if(.., |_, refusal| refusal.partition == partition);
        for refusal in refusals.collect::<Vec<_>>() {
            self.settle(refusal.1.waiter, Err(code), out);
        }
        for waiter in unconfirmed.into_iter().flat_map(|batch| batch.waiters) {
            self.settle(waiter, Err(code), out);
        }
    }

    /// Why a partition is not served here, for clients.
    pub(super) fn not_led(&self, partition: TopicPartition) -> ErrorCode {
        if !self.image.topics.contains_key(&partition.topic) {
            ErrorCode::UnknownTopicId
        } else if !self.image.partitions.contains_key(&partition) {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::NotLeaderOrFollower
        }
    }

    /// Nobody waits for an answer; a refusal closes the connection, so that the client notices.
    pub(super) fn produce_silently(
        &mut self,
        cx: &Cx,
        conn: ConnId,
        request: ProduceRequest,
        out: &mut Outbox<Effect>,
    ) {
        let mut refused = false;
        let of = request.transactional.as_ref();
        for (partition, batch) in request.batches {
            refused |= self.append(cx, partition, (batch, of), None, out).is_err();
        }
        if refused {
            out.push(Effect::Close(conn));
            self.gone(conn, out);
        }
    }

    /// Gives a client's batch its offsets and passes it on; one that begins a transaction here
    /// waits for the coordinator first.
    fn append(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (produced, of): (bytes::Bytes, Option<&(String, TransactionVersion)>),
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) -> Result<(), ErrorCode> {
        let limits = self.config.limits;
        if !self.partitions.contains_key(&partition) {
            return Err(self.not_led(partition));
        }
        let topic = self.image.topics.get(&partition.topic).ok_or(ErrorCode::UnknownTopicId)?;
        if CoordinatorKind::of_topic(&topic.name).is_some() {
            return Err(ErrorCode::InvalidTopicException);
        }
        let rules = AppendRules::new(&topic.configs, limits.batch_bytes_max);
        let (admitted, offsets) = rules.admit(cx, produced)?;
        let header = Header::parse(&admitted).expect("just checked");
        let held = self.must_verify(cx, partition, &header, of.map(|(_, version)| *version))?;
        if let (Some(held), Some((id, version))) = (held, of) {
            let batch = Waiting::Batch(admitted, offsets, waiter);
            self.verify(cx, held, (id, *version), batch, out);
            return Ok(());
        }
        self.append_checked(cx, partition, (admitted, offsets), waiter, out)
    }

    /// As [`Self::append`], of a batch that was checked and is free to begin a transaction.
    pub(super) fn append_checked(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (admitted, offsets): (bytes::Bytes, u64),
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) -> Result<(), ErrorCode> {
        let open = self.partitions.get_mut(&partition).expect("just seen");
        match open.check_producer(cx, &admitted) {
            Ok(None) => {}
            Ok(Some(there)) => {
                self.appended_before(cx, partition, there, waiter, out);
                return Ok(());
            }
            // However much is missing here, the epoch stays replaced.
            Err(code @ ErrorCode::InvalidProducerEpoch) => return Err(code),
            Err(code) => return self.refuse_when_proven(cx, (partition, code), waiter, out),
        }
        if !self.queue_has_room(admitted.len() as u64) {
            if cx.mutants.on(Mutant::ProducerStateFirst) {
                let open = self.partitions.get_mut(&partition).expect("just seen");
                let batch = batch::stamp(admitted, open.log_end(), open.epoch());
                open.remember(cx, &batch);
            }
            return Err(ErrorCode::NotEnoughReplicas);
        }
        self.place(cx, partition, (admitted, offsets), waiter, out);
        Ok(())
    }

    /// Gives a batch that was checked its offsets and passes it on.
    pub(super) fn place(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (checked, offsets): (bytes::Bytes, u64),
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) {
        let open = self.partitions.get_mut(&partition).expect("the caller saw it");
        let base = open.append(cx, offsets, waiter, out);
        let (stream, epoch, end) = (open.stream(), open.epoch(), base.plus(offsets));
        let batch = batch::stamp(checked, base, epoch);
        open.remember(cx, &batch);
        if let Some(coordinator) = self.coordinators.get_mut(&partition) {
            let header = Header::parse(&batch).expect("what is appended was checked");
            coordinator.fold(&batch, &header);
        }
        let record = WalRecord { stream, epoch, base, end, batch };
        if cx.mutants.on(Mutant::PartitionHwIsLeo) {
            self.keep_in_cache(cx, &record);
            self.wake_all(cx, partition, out);
        }
        let refused = if self.queue.is_empty() && self.upload.has_room() {
            self.pass_to_wal(cx, partition, record, out).err()
        } else {
            Some(record)
        };
        if let Some(record) = refused {
            out.probe(Probe::PartitionQueued { partition });
            self.queue.push_back(Queued { partition, record });
        }
    }

    /// A leader that was replaced, and does not know it, may miss what its successor has appended:
    /// a producer must not be told by it that a batch is out of order, for it would number that
    /// batch anew although it may be stored (ADR 0009).
    fn refuse_when_proven(
        &mut self,
        cx: &Cx,
        (partition, code): (TopicPartition, ErrorCode),
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) -> Result<(), ErrorCode> {
        let Some(waiter) = waiter else { return Err(code) };
        let (proof, epoch) = (self.wal.prove(cx, out), self.partitions[&partition].epoch());
        out.probe(Probe::ProducerOutOfOrder { partition, epoch, proof });
        self.refusals.insert(proof, Refusal { partition, waiter, code });
        if cx.mutants.on(Mutant::ProducerRefusedUnproven) {
            self.proven(proof + 1, out);
        }
        Ok(())
    }

    /// The WAL was ours after these refusals were decided, and with it all partitions led here.
    pub(super) fn proven(&mut self, before: u64, out: &mut Outbox<Effect>) {
        let later = self.refusals.split_off(&before);
        let proven = core::mem::replace(&mut self.refusals, later);
        for (proof, Refusal { partition, waiter, code }) in proven {
            out.probe(Probe::ProducerRefused { partition, proof });
            self.settle(waiter, Err(code), out);
        }
    }

    /// A producer sent a batch again that is in the log: it gets the same answer as for the first
    /// one, and no sooner.
    fn appended_before(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        there: Remembered,
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) {
        let open = self.partitions.get_mut(&partition).expect("the caller saw it");
        let earlier = open.epochs().epoch_at(there.base) != Some(open.epoch());
        out.probe(Probe::ProducerRepeated { partition, base: there.base, earlier });
        let Some(waiter) = waiter else { return };
        let acks = self.produces.get(&waiter.0).map(|produce| produce.acks);
        let done = if cx.mutants.on(Mutant::ProducerRepeatUnconfirmed) {
            Some(waiter)
        } else {
            open.join(there.base, waiter, acks == Some(Acks::Leader))
        };
        if let Some(waiter) = done {
            let mut produced = open.produced_before(&there);
            if cx.mutants.on(Mutant::ProducerRepeatAtEnd) {
                produced.base_offset = open.log_end();
            }
            self.settle(waiter, Ok((produced, there.end())), out);
        }
    }

    /// A batch waits only if it must; one may wait whatever its size.
    pub(super) fn queue_has_room(&self, bytes: u64) -> bool {
        let waiting: u64 = self.queue.iter().map(|queued| queued.record.batch.len() as u64).sum();
        let limits = self.config.limits;
        self.queue.is_empty()
            || (self.queue.len() < limits.produce_queue_max
                && waiting + bytes <= limits.wal_unconfirmed_bytes_max)
    }

    fn pass_to_wal(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        record: WalRecord,
        out: &mut Outbox<Effect>,
    ) -> Result<(), WalRecord> {
        let (base, end) = (record.base, record.end);
        let early = cx.mutants.on(Mutant::UploadUnconfirmed).then(|| record.clone());
        let batch = record.batch.clone();
        let lsn = self.wal.append(cx, record, out)?;
        let open = self.partitions.get_mut(&partition).expect("batches of open partitions");
        let waiters = open.in_wal(base);
        if let Some(record) = early {
            self.pass_to_upload(cx, lsn, &record, out);
        }
        let waits = |(asker, _)| self.produces.get(&asker).map(|produce| produce.acks);
        let at_once = |waiter| {
            waits(waiter) == Some(Acks::Leader) || cx.mutants.on(Mutant::ProduceAckOnAppend)
        };
        let at_once: Vec<_> = waiters.into_iter().filter(|&waiter| at_once(waiter)).collect();
        for waiter in at_once {
            let produced = self.partitions[&partition].produced(&batch);
            self.settle(waiter, Ok((produced, end)), out);
        }
        Ok(())
    }

    fn pass_to_upload(&mut self, cx: &Cx, lsn: Lsn, record: &WalRecord, out: &mut Outbox<Effect>) {
        let mut events = Vec::new();
        self.upload.confirmed(cx, lsn, record, out, &mut events);
        self.upload_events(cx, events, out);
    }

    fn keep_in_cache(&mut self, cx: &Cx, record: &WalRecord) {
        let WalRecord { stream, base, end, .. } = *record;
        let next = self.cache.end(stream);
        if next == Some(base) {
            return self.cache.insert(stream, base, end, record.batch.clone());
        }
        let holes = cx.mutants.on(Mutant::PartitionQueueReordered)
            || cx.mutants.on(Mutant::WalUnknownIsFailure);
        assert!(holes, "{stream:?}: {base:?} is confirmed, {next:?} was next");
    }

    /// One part of a produce has its result; the first one counts.
    pub(super) fn settle(
        &mut self,
        (asker, index): Waiter,
        result: Result<(Produced, Offset), ErrorCode>,
        out: &mut Outbox<Effect>,
    ) {
        if self.phase == Phase::Ended {
            return;
        }
        let Some(produce) = self.produces.get_mut(&asker) else { return };
        let (partition, slot) = &mut produce.parts[index];
        if slot.is_some() {
            return;
        }
        *slot = Some(result.map(|(produced, _)| produced));
        produce.open -= 1;
        if let Ok((produced, end)) = result {
            let (partition, base) = (*partition, produced.base_offset);
            let (open, acks) = (&self.partitions[&partition], produce.acks);
            let epoch = open.epoch();
            // A batch that came again may be an earlier leader's: all of those are committed.
            if open.epochs().epoch_at(base) == Some(epoch) {
                out.probe(Probe::PartitionAcked { partition, epoch, base, end, acks });
            }
        }
        if produce.open == 0 {
            self.finish_produce(asker, out);
        }
    }

    fn finish_produce(&mut self, asker: Asker, out: &mut Outbox<Effect>) {
        let produce = self.produces.remove(&asker).expect("a produce is finished once");
        out.disarm(TimerKey::ProduceWait(asker.0, asker.1));
        let results = produce
            .parts
            .into_iter()
            .map(|(partition, result)| (partition, result.expect("every part has its result")));
        let answer = if produce.producers.is_empty() {
            let result = |(partition, result)| ProduceResult { partition, result };
            Response::Produce(results.map(result).collect())
        } else {
            let results = produce.producers.into_iter().zip(results);
            let done = |(producer, (partition, result)): (_, (_, Result<Produced, _>))| {
                (producer, partition, result.map(|_| ()))
            };
            Response::WriteTxnMarkers(results.map(done).collect())
        };
        self.reply(asker, answer, out);
    }

    /// Ends transactions in partitions led here. Each part has its result when its marker is
    /// durable. Source: `KafkaApis.handleWriteTxnMarkersRequest`.
    pub(super) fn write_txn_markers(
        &mut self,
        cx: &Cx,
        asker: Asker,
        markers: Vec<TxnMarker>,
        out: &mut Outbox<Effect>,
    ) {
        let mut todo = Vec::new();
        for TxnMarker { producer, epoch, result, coordinator_epoch, version, partitions } in markers
        {
            let marker = Marker { producer, epoch, result, coordinator_epoch };
            todo.extend(partitions.into_iter().map(|partition| (partition, marker, version)));
        }
        let acks = match cx.mutants.on(Mutant::TxnMarkerAnsweredEarly) {
            true => Acks::Leader,
            false => Acks::All,
        };
        let parts = todo.iter().map(|&(partition, ..)| (partition, None)).collect();
        let producers = todo.iter().map(|(_, marker, _)| marker.producer).collect();
        let open = todo.len();
        if open == 0 {
            return self.reply(asker, Response::WriteTxnMarkers(Vec::new()), out);
        }
        self.produces.insert(asker, Produce { acks, parts, open, producers });
        out.arm(TimerKey::ProduceWait(asker.0, asker.1), MARKERS_WAIT);
        for (index, (partition, marker, version)) in todo.into_iter().enumerate() {
            let waiter = Some((asker, index));
            if let Err(code) = self.append_marker(cx, partition, (marker, version), waiter, out) {
                self.settle((asker, index), Err(code), out);
            }
        }
    }

    fn append_marker(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        (marker, version): (Marker, TransactionVersion),
        waiter: Option<Waiter>,
        out: &mut Outbox<Effect>,
    ) -> Result<(), ErrorCode> {
        let open = self.partitions.get(&partition).ok_or_else(|| self.not_led(partition))?;
        if let Err(code) = open.check_marker(cx, &marker, version) {
            out.probe(Probe::MarkerRefused { partition, code });
            return Err(code);
        }
        let batch = marker.encode(TimestampMs::floor(cx.wall));
        if !self.queue_has_room(batch.len() as u64) {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        let at = open.log_end();
        let (epoch, Marker { producer, result, .. }) = (open.epoch(), marker);
        self.place(cx, partition, (batch, 1), waiter, out);
        out.probe(Probe::MarkerAppended { partition });
        if self.coordinators.contains_key(&partition) {
            let coordinator = partition;
            out.probe(Probe::OffsetsDecided { coordinator, epoch, at, producer, result });
        }
        Ok(())
    }
}
