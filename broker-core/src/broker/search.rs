//! ListOffsets: the ends of a partition, and searches by timestamp.
//!
//! A search walks over the batches from the log's start to the high watermark as it was when the
//! question came, in the log cache or in objects. An object's index knows no timestamps, so that
//! the first search costs what it has to skip; where the times rise is kept for those that follow
//! ([`crate::partition::times`]). A search goes chunk by chunk, and those of one request go one
//! after the other. To readers of committed data nothing above the last stable offset is told
//! (KAFKA-5522). An answer that rests on the log's end waits until the WAL is shown to be this
//! broker's (ADR 0009). Because a partition opens with its high watermark at the end of all that
//! any earlier leader has shown, nobody has to wait for that with KIP-207's `OFFSET_NOT_AVAILABLE`.
//! Source: `UnifiedLog.fetchOffsetByTimestamp`, `ReplicaManager.fetchOffset`, KIP-79, KIP-734.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Broker;
use crate::batch::{self, BatchError, Header, TimestampMs};
use crate::cache::Extent;
use crate::ids::{ConnId, LeaderEpoch, Offset, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::times::Times;
use crate::partition::{Asker, Partition};
use crate::probe::Probe;
use crate::protocol::{
    ErrorCode, Isolation, ListOffsetsPartition, ListOffsetsResult, ListedOffset, OffsetSpec,
    Response,
};
use crate::read::{ReadFor, ReadGone};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// Bytes that a search looks at in one go: some blocks' worth, so that one search neither holds a
/// step up nor asks the store for every batch.
const CHUNK_BYTES: u64 = 1 << 20;

/// One part of the answer.
type Answer = Result<Option<ListedOffset>, ErrorCode>;

/// A `ListOffsets` that is not answered yet.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Search {
    parts: Vec<(TopicPartition, Option<Answer>)>,
    /// What the parts without a result still need. The first one goes on, the others wait.
    scans: BTreeMap<usize, Scan>,
    /// The read of an object under way.
    read: Option<u64>,
    /// Some part says where the log ends, or that it holds nothing, or nothing that is decided.
    about_end: bool,
}

/// The search in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Scan {
    epoch: LeaderEpoch,
    goal: Goal,
    next: Offset,
    end: Offset,
    /// What is found at or behind it is not told: the high watermark, or the last stable offset.
    visible: Offset,
}

/// What a search looks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Goal {
    /// The first record at or after this time.
    At(TimestampMs),
    /// The first record with the largest time, and what was found so far.
    Max(Option<Found>),
}

impl Broker {
    pub(super) fn list_offsets(
        &mut self,
        cx: &Cx,
        asker: Asker,
        (isolation, questions): (Isolation, &[ListOffsetsPartition]),
        out: &mut Outbox<Effect>,
    ) {
        let mut times = BTreeMap::new();
        for question in questions {
            *times.entry(question.partition).or_insert(0) += 1;
        }
        let mut search = Search::default();
        for (index, question) in questions.iter().enumerate() {
            let result = match self.listed(cx, question, isolation) {
                _ if times[&question.partition] > 1 => Some(Err(ErrorCode::InvalidRequest)),
                Ok(Listed::Known(offset)) => {
                    search.about_end |= question.spec == OffsetSpec::Latest;
                    Some(Ok(Some(offset)))
                }
                Ok(Listed::Search(scan)) => {
                    search.scans.insert(index, scan);
                    None
                }
                Err(code) => Some(Err(code)),
            };
            search.parts.push((question.partition, result));
        }
        self.searches.insert(asker, search);
        self.search(cx, asker, out);
    }

    pub(super) fn drop_searches(&mut self, conn: ConnId, out: &mut Outbox<Effect>) {
        let askers = self.searches.range((conn, 0)..=(conn, u64::MAX));
        for asker in askers.map(|(&asker, _)| asker).collect::<Vec<_>>() {
            out.disarm(TimerKey::Search(asker.0, asker.1));
            let search = self.searches.remove(&asker).expect("just seen");
            if let Some(read) = search.read {
                self.reads.cancel(read, out);
            }
        }
    }

    /// Goes on with a request's first search by one chunk: of the cache, or read from an object.
    pub(super) fn search(&mut self, cx: &Cx, asker: Asker, out: &mut Outbox<Effect>) {
        let Some(search) = self.searches.get_mut(&asker) else { return };
        let Some(mut scan) = search.scans.first_entry() else {
            return self.finish_search(cx, asker, out);
        };
        let partition = search.parts[*scan.key()].0;
        let Scan { epoch, next, end, .. } = *scan.get();
        let mut batches = Vec::new();
        if let Some(open) = self.partitions.get(&partition).filter(|open| open.epoch() == epoch)
            && next < end
        {
            let stream = open.stream();
            let bytes_max = CHUNK_BYTES;
            let extent = Extent { from: next, upto: end, bytes_max, first_whole: true };
            match self.cache.read(stream, extent) {
                Some(cached) => batches = cached,
                None if cx.mutants.on(Mutant::PartitionListedZero) => scan.get_mut().give_up(),
                None => {
                    out.probe(Probe::SearchBeyondCache {});
                    let reader = ReadFor::Search(asker);
                    search.read = Some(self.reads.start(reader, stream, extent, &self.image, out));
                    return;
                }
            }
        }
        self.searched(cx, asker, Ok(batches), out);
    }

    /// Looks at the chunk that a request's first search asked for. What it finds is worth nothing
    /// if the partition was given up meanwhile.
    pub(super) fn searched(
        &mut self,
        cx: &Cx,
        asker: Asker,
        batches: Result<Vec<Bytes>, ReadGone>,
        out: &mut Outbox<Effect>,
    ) {
        let Some(mut search) = self.searches.remove(&asker) else { return };
        search.read = None;
        let mut scan = search.scans.first_entry().expect("a chunk is for a search");
        let (partition, result) = &mut search.parts[*scan.key()];
        let open = self.partitions.get_mut(partition);
        let mut open = open.filter(|open| open.epoch() == scan.get().epoch);
        if let (Some(open), Ok(batches)) = (&mut open, &batches)
            && !cx.mutants.on(Mutant::SearchForgotten)
        {
            open.see_times(batches);
        }
        let open = open.as_deref();
        let done = match batches {
            _ if open.is_none() && !cx.mutants.on(Mutant::SearchUnfenced) => {
                Some(Err(self.not_led(*partition)))
            }
            Ok(batches) => scan.get_mut().look(&batches, open.map(Partition::times)).map(|found| {
                let epoch = |offset| open.and_then(|open| open.epochs().epoch_at(offset));
                let visible = scan.get().visible;
                Ok(found.filter(|found| found.1 < visible).map(|(timestamp, offset)| {
                    ListedOffset {
                        offset,
                        timestamp: Some(timestamp.wall()),
                        leader_epoch: epoch(offset).unwrap_or_default(),
                    }
                }))
            }),
            // The log's start has passed the search: asked again, it begins there.
            Err(ReadGone) => Some(Err(ErrorCode::OffsetNotAvailable)),
        };
        if done.is_some() {
            search.about_end |= match done {
                Some(Ok(None)) => true,
                Some(Ok(Some(_))) => scan.get().reached_end(),
                Some(Err(_)) | None => false,
            };
            *result = done;
            scan.remove();
        }
        let more = !search.scans.is_empty();
        self.searches.insert(asker, search);
        if more {
            // Others first: a step does not look at more than one chunk.
            out.arm(TimerKey::Search(asker.0, asker.1), Dur(0));
        } else {
            self.finish_search(cx, asker, out);
        }
    }

    fn listed(
        &self,
        cx: &Cx,
        question: &ListOffsetsPartition,
        isolation: Isolation,
    ) -> Result<Listed, ErrorCode> {
        let open = self.partitions.get(&question.partition);
        let open = open.ok_or_else(|| self.not_led(question.partition))?;
        open.check_epoch(question.current_leader_epoch)?;
        let goal = match question.spec {
            OffsetSpec::Earliest => return Ok(Listed::Known(end(open, open.log_start()))),
            OffsetSpec::Latest => {
                let offset = match cx.mutants.on(Mutant::TxnListedEndIsHw) {
                    true => open.high_watermark(),
                    false => open.visible_end(isolation),
                };
                let leader_epoch = open.epoch();
                return Ok(Listed::Known(ListedOffset { offset, timestamp: None, leader_epoch }));
            }
            OffsetSpec::MaxTimestamp => Goal::Max(None),
            OffsetSpec::At(wall) => Goal::At(TimestampMs::ceil(wall)),
        };
        let next = match goal {
            Goal::At(time) => open.times().none_before(time),
            Goal::Max(_) => open.times().largest_not_before(),
        };
        let (next, end) = (next.max(open.log_start()), open.high_watermark());
        let visible = match cx.mutants.on(Mutant::TxnSearchUnbounded) {
            true => end,
            false => open.visible_end(isolation),
        };
        Ok(Listed::Search(Scan { epoch: open.epoch(), goal, next, end, visible }))
    }

    fn finish_search(&mut self, cx: &Cx, asker: Asker, out: &mut Outbox<Effect>) {
        let search = self.searches.remove(&asker).expect("a search is finished once");
        let results = search.parts.into_iter().map(|(partition, result)| ListOffsetsResult {
            partition,
            result: result.expect("a part without a search has its result"),
        });
        let answer = Response::ListOffsets(results.collect());
        if search.about_end && !cx.mutants.on(Mutant::SearchUnproven) {
            self.reply_when_proven(cx, asker, answer, out);
        } else {
            self.reply(asker, answer, out);
        }
    }
}

/// What a question needs.
enum Listed {
    Known(ListedOffset),
    Search(Scan),
}

/// A record found.
type Found = (TimestampMs, Offset);

impl Scan {
    /// Looks at the next batches, and moves behind them. `Some`: that is the result, or that there
    /// is none.
    fn look(&mut self, batches: &[Bytes], times: Option<&Times>) -> Option<Option<Found>> {
        for batch in batches {
            let header = Header::parse(batch).expect("what is in the log was checked");
            match &mut self.goal {
                Goal::At(time) if header.max_timestamp >= *time => {
                    if let Some(found) = first_at(batch, &header, *time) {
                        return Some(Some(found));
                    }
                }
                Goal::At(_) => {}
                Goal::Max(best) => {
                    let newer = best.is_none_or(|(max, _)| header.max_timestamp > max);
                    if newer && header.max_timestamp > TimestampMs::NONE {
                        *best = first_at(batch, &header, header.max_timestamp).or(*best);
                    }
                }
            }
            self.next = header.end_offset();
        }
        if let (Goal::Max(Some((max, _))), Some(times)) = (self.goal, times) {
            self.next = self.next.max(times.none_above(max));
        }
        if self.next < self.end {
            return None;
        }
        match self.goal {
            Goal::At(_) => Some(None),
            Goal::Max(best) => Some(best),
        }
    }

    /// Its result rests on where the log ended.
    fn reached_end(&self) -> bool {
        self.next >= self.end
    }

    /// A planted bug: what is not at hand is taken for offset 0.
    fn give_up(&mut self) {
        self.goal = Goal::Max(Some((TimestampMs::NONE, Offset(0))));
        self.next = self.end;
    }
}

/// The first record of a batch at or after a time. A compressed batch is not opened: its first
/// offset stands for all of it, so that a consumer that starts there misses nothing.
fn first_at(batch: &Bytes, header: &Header, time: TimestampMs) -> Option<Found> {
    for record in batch::records(batch) {
        match record {
            Ok(record) if record.timestamp >= time => {
                return Some((record.timestamp, record.offset));
            }
            Ok(_) => {}
            Err(BatchError::Compressed(_)) => {
                return Some((header.max_timestamp, header.base_offset));
            }
            Err(_) => return None,
        }
    }
    None
}

fn end(open: &Partition, offset: Offset) -> ListedOffset {
    let leader_epoch = open.epochs().epoch_at(offset).unwrap_or(open.epoch());
    ListedOffset { offset, timestamp: None, leader_epoch }
}
