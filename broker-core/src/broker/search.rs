//! ListOffsets: the ends of a partition, and searches by timestamp.
//!
//! A search walks over the batches from the log's start to the high watermark as it was when the
//! question came, in the log cache or in objects. An object's index knows no timestamps, so that a
//! search costs what it has to skip. Because a partition opens with its high watermark at the end
//! of all that any earlier leader has shown, KIP-207's `OFFSET_NOT_AVAILABLE` is never needed.
//! Source: `UnifiedLog.fetchOffsetByTimestamp`, KIP-79, KIP-734.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Broker;
use crate::batch::{self, BatchError, Header, TimestampMs};
use crate::cache::Extent;
use crate::ids::{ConnId, LeaderEpoch, Offset, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::{Asker, Partition};
use crate::protocol::{
    ErrorCode, ListOffsetsPartition, ListOffsetsResult, ListedOffset, OffsetSpec, Response,
};
use crate::read::{ReadFor, ReadGone};
use crate::step::{Cx, Effect, Outbox};

/// Bytes that a search looks at in one go: some blocks' worth, so that one search neither holds a
/// step up nor asks the store for every batch.
const CHUNK_BYTES: u64 = 1 << 20;

/// One part of the answer.
type Answer = Result<Option<ListedOffset>, ErrorCode>;

/// A `ListOffsets` that is not answered yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Search {
    parts: Vec<(TopicPartition, Option<Answer>)>,
    /// Parts without a result, and where their search is.
    scans: BTreeMap<usize, Scan>,
}

/// The search in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Scan {
    epoch: LeaderEpoch,
    goal: Goal,
    next: Offset,
    end: Offset,
    /// The read of an object under way.
    read: Option<u64>,
}

/// What a search looks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Goal {
    /// The first record at or after this time.
    At(TimestampMs),
    /// The first record with the largest time, and what was found so far.
    Max(Option<(TimestampMs, Offset)>),
}

impl Broker {
    pub(super) fn list_offsets(
        &mut self,
        cx: &Cx,
        asker: Asker,
        questions: Vec<ListOffsetsPartition>,
        out: &mut Outbox<Effect>,
    ) {
        let mut search = Search { parts: Vec::new(), scans: BTreeMap::new() };
        for (index, question) in questions.iter().enumerate() {
            let result = match self.listed(question) {
                Ok(Listed::Known(offset)) => Some(Ok(Some(offset))),
                Ok(Listed::Search(scan)) => {
                    search.scans.insert(index, scan);
                    None
                }
                Err(code) => Some(Err(code)),
            };
            search.parts.push((question.partition, result));
        }
        let scans: Vec<usize> = search.scans.keys().copied().collect();
        self.searches.insert(asker, search);
        for index in scans {
            self.scan(cx, asker, index, out);
        }
        self.finish_search(asker, out);
    }

    pub(super) fn drop_searches(&mut self, conn: ConnId, out: &mut Outbox<Effect>) {
        let askers = self.searches.range((conn, 0)..=(conn, u32::MAX));
        for asker in askers.map(|(&asker, _)| asker).collect::<Vec<_>>() {
            let search = self.searches.remove(&asker).expect("just seen");
            for read in search.scans.values().filter_map(|scan| scan.read) {
                self.reads.cancel(read, out);
            }
        }
    }

    /// A read for a search is done.
    pub(super) fn search_on(
        &mut self,
        cx: &Cx,
        asker: Asker,
        index: usize,
        result: Result<Vec<Bytes>, ReadGone>,
        out: &mut Outbox<Effect>,
    ) {
        let Some(search) = self.searches.get_mut(&asker) else { return };
        let scan = search.scans.get_mut(&index).expect("reads of a search are its own");
        scan.read = None;
        match result {
            Ok(batches) => match scan.look(&batches) {
                Some(found) => self.found(asker, index, Ok(Some(found))),
                None => self.scan(cx, asker, index, out),
            },
            Err(ReadGone) => self.found(asker, index, Err(ErrorCode::OffsetOutOfRange)),
        }
        self.finish_search(asker, out);
    }

    fn listed(&self, question: &ListOffsetsPartition) -> Result<Listed, ErrorCode> {
        let open = self.partitions.get(&question.partition);
        let open = open.ok_or_else(|| self.not_led(question.partition))?;
        open.check_epoch(question.current_leader_epoch)?;
        let goal = match question.spec {
            OffsetSpec::Earliest => return Ok(Listed::Known(end(open, open.log_start()))),
            OffsetSpec::Latest => {
                let offset = open.high_watermark();
                let leader_epoch = open.epoch();
                return Ok(Listed::Known(ListedOffset { offset, timestamp: None, leader_epoch }));
            }
            OffsetSpec::MaxTimestamp => Goal::Max(None),
            OffsetSpec::At(wall) => Goal::At(TimestampMs::ceil(wall)),
        };
        let (next, end) = (open.log_start(), open.high_watermark());
        Ok(Listed::Search(Scan { epoch: open.epoch(), goal, next, end, read: None }))
    }

    /// Goes on with a search until it is done or an object must be read.
    fn scan(&mut self, cx: &Cx, asker: Asker, index: usize, out: &mut Outbox<Effect>) {
        loop {
            let search = self.searches.get_mut(&asker).expect("the caller holds it");
            let partition = search.parts[index].0;
            let scan = search.scans.get_mut(&index).expect("the caller holds it");
            let open = self.partitions.get(&partition).filter(|open| open.epoch() == scan.epoch);
            let Some(stream) = open.map(Partition::stream) else {
                let code = self.not_led(partition);
                return self.found(asker, index, Err(code));
            };
            if scan.next >= scan.end {
                let last = scan.at_end();
                return self.found(asker, index, Ok(last));
            }
            let (from, upto) = (scan.next, scan.end);
            let extent = Extent { from, upto, bytes_max: CHUNK_BYTES, first_whole: true };
            let Some(batches) = self.cache.read(stream, extent) else {
                if cx.mutants.on(Mutant::PartitionListedZero) {
                    let found = Found { offset: Offset(0), timestamp: None };
                    return self.found(asker, index, Ok(Some(found)));
                }
                let reader = ReadFor::Search(asker, index);
                scan.read = Some(self.reads.start(reader, stream, extent, &self.image, out));
                return;
            };
            if let Some(found) = scan.look(&batches) {
                return self.found(asker, index, Ok(Some(found)));
            }
        }
    }

    fn found(&mut self, asker: Asker, index: usize, result: Result<Option<Found>, ErrorCode>) {
        let search = self.searches.get_mut(&asker).expect("the caller holds it");
        search.scans.remove(&index);
        let (partition, slot) = &mut search.parts[index];
        let open = self.partitions.get(partition);
        let epoch = |offset| open.and_then(|open| open.epochs().epoch_at(offset));
        *slot = Some(result.map(|found| {
            found.map(|Found { offset, timestamp }| ListedOffset {
                offset,
                timestamp: timestamp.map(TimestampMs::wall),
                leader_epoch: epoch(offset).unwrap_or_default(),
            })
        }));
    }

    fn finish_search(&mut self, asker: Asker, out: &mut Outbox<Effect>) {
        let done = |search: &Search| search.scans.is_empty();
        if !self.searches.get(&asker).is_some_and(done) {
            return;
        }
        let search = self.searches.remove(&asker).expect("just seen");
        let results = search.parts.into_iter().map(|(partition, result)| ListOffsetsResult {
            partition,
            result: result.expect("a part without a search has its result"),
        });
        let answer = Response::ListOffsets(results.collect());
        self.reply(asker, answer, out);
    }
}

/// What a question needs.
enum Listed {
    Known(ListedOffset),
    Search(Scan),
}

/// A record found.
#[derive(Clone, Copy)]
struct Found {
    offset: Offset,
    timestamp: Option<TimestampMs>,
}

impl Scan {
    /// Looks at the next batches; moves behind them if the search goes on.
    fn look(&mut self, batches: &[Bytes]) -> Option<Found> {
        for batch in batches {
            let header = Header::parse(batch).expect("what is in the log was checked");
            match &mut self.goal {
                Goal::At(time) if header.max_timestamp >= *time => {
                    if let Some((timestamp, offset)) = first_at(batch, &header, *time) {
                        return Some(Found { offset, timestamp: Some(timestamp) });
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
        None
    }

    fn at_end(&self) -> Option<Found> {
        match self.goal {
            Goal::At(_) | Goal::Max(None) => None,
            Goal::Max(Some((timestamp, offset))) => {
                Some(Found { offset, timestamp: Some(timestamp) })
            }
        }
    }
}

/// The first record of a batch at or after a time. A compressed batch is not opened: its first
/// offset stands for all of it, so that a consumer that starts there misses nothing.
fn first_at(batch: &Bytes, header: &Header, time: TimestampMs) -> Option<(TimestampMs, Offset)> {
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
