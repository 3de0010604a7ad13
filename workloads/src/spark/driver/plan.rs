//! From a trigger to a batch whose range is durable: latest offsets, limit, offset log, clean-up,
//! and the ranges (`constructNextBatch`, `KafkaMicroBatchStream`, `KafkaOffsetReaderAdmin`).
//!
//! Left out: `minOffsetsPerTrigger`, `minPartitions` (one task per partition).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex};
use broker_core::step::{Cx, Outbox};
use broker_core::time::Dur;

use super::super::checkpoint::{BatchId, Call, Log, Outcome, purge_targets};
use super::super::format::{
    CommitEntry, KafkaOffsets, Members, OffsetEntry, OffsetMetadata, SourceOffsets,
    parse_initial_offsets, write_initial_offsets,
};
use super::super::handoff::CrashPoint;
use super::super::mutants::SparkMutant;
use super::super::step::{End, Event, KafkaAsk, Partitions, Ranges, SparkOut, SparkTimer, Which};
use super::{Driver, OFFSET_PAUSE, OFFSET_RETRIES_MAX, POLLING_DELAY, Phase};

const MICROS_PER_MS: i64 = 1_000;

/// What is still to be purged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Purge {
    below: BatchId,
    /// Logs not looked at yet.
    logs: Vec<Log>,
    log: Log,
    batches: Vec<BatchId>,
}

impl Driver {
    pub(super) fn await_trigger(&mut self, after: Dur, out: &mut Outbox<SparkOut>) {
        self.phase = Phase::Waiting;
        out.push(SparkOut::Arm { key: SparkTimer::Trigger, after });
    }

    fn idle(&mut self, out: &mut Outbox<SparkOut>) {
        out.push(SparkOut::Observe(Event::Idle));
        self.await_trigger(self.config.trigger.max(POLLING_DELAY), out);
    }

    pub(super) fn triggered(&mut self, out: &mut Outbox<SparkOut>) {
        if self.start.is_some() {
            return self.construct(out);
        }
        let key = self.config.checkpoint.initial_offsets();
        self.call(Phase::ReadInitial, Call::Read(key), out);
    }

    pub(super) fn initial_read(&mut self, read: Outcome, out: &mut Outbox<SparkOut>) {
        let Outcome::Content(Some(bytes)) = read else {
            let which = if self.config.starts_at_latest { Which::Latest } else { Which::Earliest };
            let seq = self.ask_kafka(KafkaAsk::ListOffsets { which, partitions: None }, out);
            self.phase = Phase::AskInitial(seq);
            return;
        };
        let key = self.config.checkpoint.initial_offsets();
        match parse_initial_offsets(&key.0, &bytes) {
            Ok(offsets) => {
                self.start = Some(offsets.topic(&self.config.source));
                self.construct(out);
            }
            Err(wrong) => self.finish(End::Unreadable(wrong), out),
        }
    }

    pub(super) fn initial_written(&mut self, out: &mut Outbox<SparkOut>) {
        // Whether it was written: Spark does not look at what `add` says here.
        self.reached(CrashPoint::C1, out);
        self.construct(out);
    }

    fn construct(&mut self, out: &mut Outbox<SparkOut>) {
        if self.planned && !self.on(SparkMutant::ReplayToLatest) {
            return self.ask_starts(out);
        }
        self.ask_latest(0, out);
    }

    pub(super) fn ask_latest(&mut self, retries: u32, out: &mut Outbox<SparkOut>) {
        let ask = KafkaAsk::ListOffsets { which: Which::Latest, partitions: None };
        let seq = self.ask_kafka(ask, out);
        self.phase = Phase::AskLatest { seq, retries };
    }

    pub(super) fn offsets_answered(
        &mut self,
        seq: u64,
        answer: Option<Partitions>,
        cx: &Cx,
        out: &mut Outbox<SparkOut>,
    ) {
        let asked = match self.phase {
            Phase::AskInitial(seq)
            | Phase::AskGroup(seq)
            | Phase::AskStarts(seq)
            | Phase::AskLatest { seq, .. }
            | Phase::AskNew { seq, .. } => seq,
            _ => return,
        };
        if asked != seq {
            return;
        }
        let Some(offsets) = answer else { return self.finish(End::OffsetsFailed, out) };
        match core::mem::replace(&mut self.phase, Phase::Off) {
            Phase::AskInitial(_) => {
                let first = KafkaOffsets::of(&self.config.source, offsets.clone());
                self.start = Some(offsets);
                let key = self.config.checkpoint.initial_offsets();
                let body = write_initial_offsets(&first);
                self.create(Phase::WriteInitial, key, body, out);
            }
            Phase::AskGroup(_) => self.group_answered(offsets, out),
            Phase::AskStarts(_) => self.starts_answered(&offsets, out),
            Phase::AskLatest { retries, .. } => self.latest_answered(retries, offsets, cx, out),
            Phase::AskNew { latest, .. } => self.limit(latest, &offsets, cx, out),
            other => unreachable!("no offsets asked for in {other:?}"),
        }
    }

    fn latest_answered(
        &mut self,
        retries: u32,
        latest: Partitions,
        cx: &Cx,
        out: &mut Outbox<SparkOut>,
    ) {
        if latest.is_empty() {
            // No partitions is no offset, or the next batch would take all for new (SPARK-41375).
            return self.idle(out);
        }
        let start = self.start.clone().unwrap_or_default();
        let behind = latest.iter().any(|(partition, end)| start.get(partition) > Some(end));
        if behind && retries < OFFSET_RETRIES_MAX {
            self.phase = Phase::LatestLater { retries: retries + 1 };
            out.push(SparkOut::Arm { key: SparkTimer::Offsets, after: OFFSET_PAUSE });
            return;
        }
        // Still behind: Spark goes on with what it has.
        let new: BTreeSet<_> =
            latest.keys().filter(|it| !start.contains_key(it)).copied().collect();
        if new.is_empty() || self.config.max_offsets.is_none() {
            return self.limit(latest, &Partitions::new(), cx, out);
        }
        let seq = self.ask_beginnings(new, out);
        self.phase = Phase::AskNew { seq, latest };
    }

    /// The offsets at which new partitions begin.
    fn ask_beginnings(&mut self, new: BTreeSet<PartitionIndex>, out: &mut Outbox<SparkOut>) -> u64 {
        let late = self.on(SparkMutant::NewPartitionsAtLatest);
        let which = if late { Which::Latest } else { Which::Earliest };
        self.ask_kafka(KafkaAsk::ListOffsets { which, partitions: Some(new) }, out)
    }

    /// Where the batch ends.
    fn limit(&mut self, latest: Partitions, new: &Partitions, cx: &Cx, out: &mut Outbox<SparkOut>) {
        let start = self.start.clone().unwrap_or_default();
        let from =
            |partition: &PartitionIndex| start.get(partition).or(new.get(partition)).copied();
        let end = match self.config.max_offsets {
            Some(max) => share(max, &latest, from),
            None => latest,
        };
        if end == start {
            return self.idle(out);
        }
        self.end = end;
        if self.planned {
            // Only a planted bug comes here: what the offset log says is not what runs.
            return self.ask_starts(out);
        }
        self.planned = true;
        let log = if self.on(SparkMutant::LogsSwapped) { Log::Commits } else { Log::Offsets };
        self.batch_timestamp_ms = cx.wall.0.div_euclid(MICROS_PER_MS);
        self.write_entry(Phase::WriteOffsets, log, out);
    }

    /// Writes this batch's entry of a log.
    pub(super) fn write_entry(&mut self, phase: Phase, log: Log, out: &mut Outbox<SparkOut>) {
        let body = match log {
            Log::Offsets => self.offset_entry().write(),
            Log::Commits => CommitEntry::stateless(self.watermark_ms).write(),
        };
        let key = self.config.checkpoint.entry(log, self.batch);
        self.create(phase, key, body, out);
    }

    fn offset_entry(&self) -> OffsetEntry {
        let by_id = self.config.offset_log_by_id;
        let text = KafkaOffsets::of(&self.config.source, self.end.clone()).write();
        OffsetEntry {
            metadata: Some(OffsetMetadata {
                batch_watermark_ms: self.watermark_ms,
                batch_timestamp_ms: self.batch_timestamp_ms,
                conf: self.config.conf.clone(),
                source_metadata_info: by_id.then(Members::default),
            }),
            offsets: if by_id {
                SourceOffsets::ById(alloc::vec![("0".into(), Some(text))])
            } else {
                SourceOffsets::ByPlace(alloc::vec![Some(text)])
            },
        }
    }

    pub(super) fn offsets_written(&mut self, written: &Outcome, out: &mut Outbox<SparkOut>) {
        if *written == Outcome::Exists {
            return self.finish(End::ConcurrentLogUpdate(self.batch), out);
        }
        self.reached(CrashPoint::C3, out);
        if self.on(SparkMutant::GroupOffsets) {
            self.ask_kafka(KafkaAsk::CommitGroup(self.end.clone()), out);
        }
        match self.batch.0.checked_sub(1) {
            Some(prior) => self.read(Phase::ReadPrior, Log::Offsets, BatchId(prior), out),
            None => self.ask_starts(out),
        }
    }

    /// The source is told what it may forget (Kafka's forgets nothing), and old entries go.
    pub(super) fn prior_read(&mut self, read: &Outcome, out: &mut Outbox<SparkOut>) {
        if *read == Outcome::Content(None) {
            return self.finish(End::BatchMissing(BatchId(self.batch.0 - 1)), out);
        }
        let keep =
            if self.on(SparkMutant::PurgeTooFar) { 0 } else { self.config.min_batches_to_retain };
        match self.batch.0.checked_sub(keep) {
            Some(below) if below > 0 => {
                let below = BatchId(below);
                let logs = alloc::vec![Log::Commits];
                let purge = Purge { below, logs, log: Log::Offsets, batches: Vec::new() };
                self.purge_log(purge, out);
            }
            _ => self.ask_starts(out),
        }
    }

    fn purge_log(&mut self, mut purge: Purge, out: &mut Outbox<SparkOut>) {
        match purge_targets(self.purged, purge.below) {
            Some(batches) => {
                purge.batches = batches;
                self.purge_next(purge, out);
            }
            None => {
                let list = self.config.checkpoint.list(purge.log);
                self.call(Phase::Purging(purge), list, out);
            }
        }
    }

    pub(super) fn purge_goes_on(
        &mut self,
        mut purge: Purge,
        outcome: Outcome,
        out: &mut Outbox<SparkOut>,
    ) {
        match outcome {
            Outcome::Listed(found) => {
                purge.batches = found.into_iter().filter(|batch| *batch < purge.below).collect();
            }
            _ => self.reached(CrashPoint::C9, out),
        }
        self.purge_next(purge, out);
    }

    fn purge_next(&mut self, mut purge: Purge, out: &mut Outbox<SparkOut>) {
        if let Some(batch) = purge.batches.pop() {
            let key = self.config.checkpoint.entry(purge.log, batch);
            return self.call(Phase::Purging(purge), Call::Delete(key), out);
        }
        match purge.logs.pop() {
            Some(log) => {
                purge.log = log;
                self.purge_log(purge, out);
            }
            None => {
                self.purged = purge.below;
                self.ask_starts(out);
            }
        }
    }

    /// The offsets at which the batch's new partitions begin; then the ranges.
    fn ask_starts(&mut self, out: &mut Outbox<SparkOut>) {
        let start = self.start.clone().unwrap_or_default();
        let new: BTreeSet<_> =
            self.end.keys().filter(|it| !start.contains_key(it)).copied().collect();
        if new.is_empty() {
            return self.starts_answered(&Partitions::new(), out);
        }
        let seq = self.ask_beginnings(new, out);
        self.phase = Phase::AskStarts(seq);
    }

    fn starts_answered(&mut self, new: &Partitions, out: &mut Outbox<SparkOut>) {
        let start = self.start.clone().unwrap_or_default();
        let mut ranges = Ranges::new();
        let mut lost: Vec<_> = start.keys().filter(|it| !self.end.contains_key(it)).collect();
        for (partition, to) in &self.end {
            let known = start.get(partition);
            match known.or(new.get(partition)) {
                // The partition went away again.
                None => lost.push(partition),
                Some(from) => {
                    let begins_late = known.is_none() && from.0 > 0;
                    let begins_late = begins_late && !self.on(SparkMutant::NewPartitionsAtLatest);
                    if begins_late || to < from {
                        lost.push(partition);
                    }
                    if from < to {
                        ranges.insert(*partition, (*from, *to));
                    }
                }
            }
        }
        let first = lost.first().map(|partition| **partition);
        if let (Some(partition), true) = (first, self.config.fail_on_data_loss) {
            return self.finish(End::DataLoss(partition), out);
        }
        self.ranges = ranges;
        self.check_marker(out);
    }
}

/// Shares out `max` offsets by how much each partition has (`KafkaMicroBatchStream.rateLimit`). A
/// partition that has something gets one at least, so that the sum can be more than `max`.
fn share(
    max: u64,
    latest: &Partitions,
    from: impl Fn(&PartitionIndex) -> Option<Offset>,
) -> Partitions {
    let size = |partition: &PartitionIndex, end: &Offset| {
        from(partition).map_or(0, |from| end.0.saturating_sub(from.0))
    };
    let total: u64 = latest.iter().map(|(partition, end)| size(partition, end)).sum();
    let limited = latest.iter().map(|(partition, end)| {
        let size = size(partition, end);
        let Some(from) = from(partition).filter(|_| size > 0) else { return (*partition, *end) };
        let prorated = u128::from(max) * u128::from(size);
        let total = u128::from(total);
        // Below one it is rounded up, above it down.
        let part = if prorated < total { 1 } else { prorated / total };
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        (*partition, (*end).min(Offset(from.0.saturating_add(part))))
    });
    limited.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(max: u64, sizes: &[u64]) -> Vec<u64> {
        const FROM: u64 = 100;
        let latest = (0..).zip(sizes).map(|(it, size)| (PartitionIndex(it), Offset(FROM + size)));
        let ends = share(max, &latest.collect(), |_| Some(Offset(FROM)));
        ends.values().map(|end| end.0 - FROM).collect()
    }

    #[test]
    fn plan_limit_is_shared_by_size_and_starves_nobody() {
        assert_eq!(shared(10, &[3, 4]), [3, 4]);
        assert_eq!(shared(10, &[30, 10]), [7, 2]);
        // Below one is rounded up: the sum is more than the limit.
        assert_eq!(shared(10, &[1_000, 1, 1, 0]), [9, 1, 1, 0]);
        assert_eq!(shared(1, &[5, 5, 5]), [1, 1, 1]);
        assert_eq!(shared(u64::MAX, &[7]), [7]);
    }

    #[test]
    fn plan_limit_leaves_an_end_below_the_start_as_it_is() {
        let latest = Partitions::from([(PartitionIndex(0), Offset(3))]);
        assert_eq!(share(10, &latest, |_| Some(Offset(5))), latest);
    }
}
