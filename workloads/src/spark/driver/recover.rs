//! From the start of the driver to the batch at which it goes on (`populateStartOffsets`).

use broker_core::step::{Cx, Outbox};
use broker_core::time::Dur;
use bytes::Bytes;

use super::super::checkpoint::{BatchId, Call, Log, Outcome};
use super::super::format::{
    CommitEntry, FormatError, KafkaOffsets, OffsetEntry, QueryId, SourceOffsets,
    parse_query_metadata, write_query_metadata,
};
use super::super::mutants::SparkMutant;
use super::super::step::{End, Event, KafkaAsk, Partitions, SinkAnswer, SinkAsk, SparkOut, Which};
use super::{Driver, Phase, Sink};

/// What the two logs hold.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Found {
    /// The newest entry of the offset log.
    latest: BatchId,
    /// The newest entry of the commit log.
    committed: Option<BatchId>,
}

impl Driver {
    pub(super) fn boot(&mut self, out: &mut Outbox<SparkOut>) {
        let key = self.config.checkpoint.metadata();
        self.call(Phase::ReadMetadata, Call::Read(key), out);
    }

    pub(super) fn metadata_read(&mut self, read: Outcome, cx: &Cx, out: &mut Outbox<SparkOut>) {
        let key = self.config.checkpoint.metadata();
        if let Outcome::Content(Some(bytes)) = read {
            match parse_query_metadata(&key.0, &bytes) {
                Ok(id) => self.has_id(id, out),
                Err(wrong) => self.finish(End::Unreadable(wrong), out),
            }
            return;
        }
        self.query = QueryId::random(mixed(cx.entropy));
        let body = write_query_metadata(self.query);
        self.create(Phase::CreateMetadata, key, body, out);
    }

    pub(super) fn metadata_created(&mut self, created: &Outcome, out: &mut Outbox<SparkOut>) {
        match created {
            Outcome::Exists => self.finish(End::ConcurrentMetadata, out),
            _ => self.has_id(self.query, out),
        }
    }

    fn has_id(&mut self, id: QueryId, out: &mut Outbox<SparkOut>) {
        self.query = id;
        out.push(SparkOut::Observe(Event::Started(id)));
        let list = self.config.checkpoint.list(Log::Offsets);
        self.call(Phase::ListOffsets, list, out);
    }

    pub(super) fn offsets_listed(&mut self, listed: Outcome, out: &mut Outbox<SparkOut>) {
        match newest(&listed) {
            None if self.config.verify_empty_on_start => {
                let look = self.config.checkpoint.look_into(Log::Offsets);
                self.call(Phase::LookInto(Log::Offsets), look, out);
            }
            // A new query, whatever the commit log holds.
            None => self.resume(out),
            Some(latest) => {
                let found = Found { latest, committed: None };
                self.read(Phase::ReadLatest(found), Log::Offsets, latest, out);
            }
        }
    }

    /// A new query wants an empty checkpoint: a temporary file that a crash left is enough to
    /// refuse it (`verifyNewCheckpointDirectory`, which looks at all files).
    pub(super) fn looked_into(&mut self, log: Log, found: &Outcome, out: &mut Outbox<SparkOut>) {
        match (found, log) {
            (Outcome::Empty(true), Log::Offsets) => {
                let look = self.config.checkpoint.look_into(Log::Commits);
                self.call(Phase::LookInto(Log::Commits), look, out);
            }
            (Outcome::Empty(true), Log::Commits) => self.resume(out),
            _ => self.finish(End::CheckpointNotEmpty(log), out),
        }
    }

    pub(super) fn latest_read(&mut self, found: Found, read: Outcome, out: &mut Outbox<SparkOut>) {
        let Some(end) = self.entry_read(found.latest, read, out) else { return };
        self.batch = found.latest;
        self.planned = true;
        self.end = end;
        match found.latest.0.checked_sub(1) {
            Some(previous) => {
                let phase = Phase::ReadPrevious(found);
                self.read(phase, Log::Offsets, BatchId(previous), out);
            }
            None => self.list_commits(found, out),
        }
    }

    pub(super) fn previous_read(
        &mut self,
        found: Found,
        read: Outcome,
        out: &mut Outbox<SparkOut>,
    ) {
        let previous = BatchId(found.latest.0 - 1);
        let newest = (self.watermark_ms, self.batch_timestamp_ms);
        let Some(start) = self.entry_read(previous, read, out) else { return };
        (self.watermark_ms, self.batch_timestamp_ms) = newest;
        self.start = Some(start);
        self.list_commits(found, out);
    }

    fn list_commits(&mut self, found: Found, out: &mut Outbox<SparkOut>) {
        let list = self.config.checkpoint.list(Log::Commits);
        self.call(Phase::ListCommits(found), list, out);
    }

    pub(super) fn commits_listed(
        &mut self,
        found: Found,
        listed: Outcome,
        out: &mut Outbox<SparkOut>,
    ) {
        match newest(&listed) {
            None => self.resume(out),
            Some(committed) => {
                let found = Found { committed: Some(committed), ..found };
                self.read(Phase::ReadCommit(found), Log::Commits, committed, out);
            }
        }
    }

    pub(super) fn commit_read(&mut self, found: Found, read: Outcome, out: &mut Outbox<SparkOut>) {
        let committed = found.committed.expect("read because it is there");
        let key = self.config.checkpoint.entry(Log::Commits, committed);
        let Some(bytes) = self.content(committed, read, out) else { return };
        let entry = match CommitEntry::parse(&key.0, &bytes) {
            Ok(entry) => entry,
            Err(wrong) => return self.finish(End::Unreadable(wrong), out),
        };
        let ahead = self.on(SparkMutant::NewerCommitIgnored) && committed > found.latest;
        if committed == found.latest || ahead {
            self.watermark_ms = self.watermark_ms.max(entry.next_batch_watermark_ms);
            self.batch = committed.next();
            self.planned = false;
            self.start = Some(core::mem::take(&mut self.end));
        }
        // Behind by one: the usual case. By more: Spark only warns. Ahead: Spark has no rule, runs
        // the batch again, and fails when it is committed.
        self.resume(out);
    }

    fn resume(&mut self, out: &mut Outbox<SparkOut>) {
        let (batch, planned) = (self.batch, self.planned);
        out.push(SparkOut::Observe(Event::Resumed { batch, planned }));
        if planned && self.on(SparkMutant::StartAtLatestEntry) {
            self.start = Some(self.end.clone());
        }
        if planned && self.on(SparkMutant::GroupOffsets) {
            let ask = KafkaAsk::ListOffsets { which: Which::Group, partitions: None };
            let seq = self.ask_kafka(ask, out);
            self.phase = Phase::AskGroup(seq);
            return;
        }
        self.open_sink(out);
    }

    pub(super) fn group_answered(&mut self, offsets: Partitions, out: &mut Outbox<SparkOut>) {
        self.start = Some(offsets);
        self.open_sink(out);
    }

    /// The producer of a transactional sink fences its predecessors before anything is read.
    fn open_sink(&mut self, out: &mut Outbox<SparkOut>) {
        if self.config.sink != Sink::DriverTransaction {
            return self.await_trigger(Dur(0), out);
        }
        let transactional_id = if self.on(SparkMutant::TransactionalIdPerRun) {
            alloc::format!("{}-{}", self.query, self.run.0)
        } else {
            alloc::format!("{}", self.query)
        };
        let seq = self.ask_sink(SinkAsk::InitTransactions { transactional_id }, out);
        self.phase = Phase::InitTransactions(seq);
    }

    pub(super) fn sink_opened(&mut self, answer: &SinkAnswer, out: &mut Outbox<SparkOut>) {
        match answer {
            SinkAnswer::Done => {
                let seq = self.ask_sink(SinkAsk::ReadMarker { query: self.query }, out);
                self.phase = Phase::ReadFirstMarker(seq);
            }
            SinkAnswer::Fenced => self.finish(End::Fenced, out),
            _ => self.finish(End::SinkFailed, out),
        }
    }

    pub(super) fn first_marker_read(&mut self, answer: SinkAnswer, out: &mut Outbox<SparkOut>) {
        match answer {
            SinkAnswer::Marker(marker) => {
                self.marker = marker;
                self.await_trigger(Dur(0), out);
            }
            _ => self.finish(End::SinkFailed, out),
        }
    }

    pub(super) fn read(
        &mut self,
        phase: Phase,
        log: Log,
        batch: BatchId,
        out: &mut Outbox<SparkOut>,
    ) {
        let key = self.config.checkpoint.entry(log, batch);
        self.call(phase, Call::Read(key), out);
    }

    fn content(
        &mut self,
        batch: BatchId,
        read: Outcome,
        out: &mut Outbox<SparkOut>,
    ) -> Option<Bytes> {
        match read {
            Outcome::Content(Some(bytes)) => Some(bytes),
            _ => {
                self.finish(End::BatchMissing(batch), out);
                None
            }
        }
    }

    /// The offsets of an entry of the offset log; the watermark is taken over.
    fn entry_read(
        &mut self,
        batch: BatchId,
        read: Outcome,
        out: &mut Outbox<SparkOut>,
    ) -> Option<Partitions> {
        let bytes = self.content(batch, read, out)?;
        let file = self.config.checkpoint.entry(Log::Offsets, batch);
        let entry = match OffsetEntry::parse(&file.0, &bytes) {
            Ok(entry) => entry,
            Err(wrong) => {
                self.finish(End::Unreadable(wrong), out);
                return None;
            }
        };
        let metadata = entry.metadata.unwrap_or_default();
        self.watermark_ms = metadata.batch_watermark_ms;
        self.batch_timestamp_ms = metadata.batch_timestamp_ms;
        let texts: alloc::vec::Vec<_> = match entry.offsets {
            SourceOffsets::ByPlace(offsets) => offsets,
            SourceOffsets::ById(offsets) => offsets.into_iter().map(|(_, text)| text).collect(),
        };
        let [text] = &texts[..] else {
            self.finish(End::SourcesDiffer { found: texts.len() }, out);
            return None;
        };
        match self.offsets_of(&file.0, text.as_deref()) {
            Ok(offsets) => Some(offsets),
            Err(wrong) => {
                self.finish(End::Unreadable(wrong), out);
                None
            }
        }
    }

    fn offsets_of(&self, file: &str, text: Option<&str>) -> Result<Partitions, FormatError> {
        const FIRST_SOURCE_LINE: u32 = 3;
        let Some(text) = text else { return Ok(Partitions::new()) };
        let offsets = KafkaOffsets::parse(file, FIRST_SOURCE_LINE, text)?;
        Ok(offsets.topic(&self.config.source))
    }
}

fn newest(listed: &Outcome) -> Option<BatchId> {
    match listed {
        Outcome::Listed(batches) => batches.last().copied(),
        other => unreachable!("a list ends with batches, not {other:?}"),
    }
}

/// 128 bits of 64 random ones.
fn mixed(entropy: u64) -> u128 {
    let other = entropy.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    u128::from(entropy) << 64 | u128::from(other)
}
