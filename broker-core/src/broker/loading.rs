//! Between a stream's opening and its partition's: what the partition must remember of the log, the
//! producers' state, is built from the batches that are committed.
//!
//! The stream is open for this broker alone, so that nothing is added meanwhile. Pieces of the log
//! are read side by side and folded in order. Source: `UnifiedLog.rebuildProducerState`, AutoMQ's
//! `ElasticLogLoader`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Broker;
use crate::batch::Header;
use crate::cache::Extent;
use crate::ids::{LeaderEpoch, Offset, StreamId, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::producers::Producers;
use crate::read::{ReadFor, ReadGone};
use crate::step::{Cx, Effect, Outbox};

/// Pieces read side by side. The time is the latency of the store, not the bytes; each holds one
/// block in memory.
const READS_MAX: usize = 16;

/// A partition that is being loaded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Loading {
    partition: TopicPartition,
    epoch: LeaderEpoch,
    /// All before it is folded.
    next: Offset,
    end: Offset,
    /// Pieces not asked for yet, ascending.
    todo: VecDeque<(Offset, Offset)>,
    /// Reads under way, by their number: the piece.
    reads: BTreeMap<u64, (Offset, Offset)>,
    /// What was read out of turn, by its first offset.
    got: BTreeMap<Offset, Vec<Bytes>>,
    producers: Producers,
}

impl Loading {
    /// What it waits for.
    pub(super) fn blocked(&self, stream: StreamId) -> String {
        let Self { next, end, reads, .. } = self;
        format!("load: {stream:?} from {next:?} to {end:?} waits for {} reads", reads.len())
    }

    fn fold(&mut self, cx: &Cx) {
        while let Some(batches) = self.got.remove(&self.next) {
            for batch in batches {
                let header = Header::parse(&batch).expect("what is in the log was checked");
                self.producers.appended(cx, &header);
                self.next = header.end_offset();
            }
        }
    }
}

impl Broker {
    /// The image shows the stream open here: loads the partition, unless that is under way.
    pub(super) fn load(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        stream: StreamId,
        epoch: LeaderEpoch,
        out: &mut Outbox<Effect>,
    ) {
        if self.loading.get(&stream).is_some_and(|loading| loading.epoch == epoch) {
            return;
        }
        self.stop_loading(stream, out);
        let state = &self.image.streams[&stream];
        let (next, end) = (state.start, state.end);
        let pieces = self.image.covering(stream, next, end);
        let mut todo: VecDeque<_> = pieces.map(|(from, upto, _)| (from, upto)).collect();
        if cx.mutants.on(Mutant::ProducerStateLost) {
            todo.clear();
        }
        let (reads, got, producers) = (BTreeMap::new(), BTreeMap::new(), Producers::new(next));
        let loading = Loading { partition, epoch, next, end, todo, reads, got, producers };
        self.loading.insert(stream, loading);
        self.go_on_loading(cx, stream, out);
    }

    /// The partition is not to be opened after all.
    pub(super) fn stop_loading(&mut self, stream: StreamId, out: &mut Outbox<Effect>) {
        let Some(loading) = self.loading.remove(&stream) else { return };
        for &read in loading.reads.keys() {
            self.reads.cancel(read, out);
        }
    }

    /// A piece, or its first block, was read.
    pub(super) fn loaded(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        read: u64,
        result: Result<Vec<Bytes>, ReadGone>,
        out: &mut Outbox<Effect>,
    ) {
        let loading = self.loading.get_mut(&stream).expect("reads end with the loading");
        let (from, upto) = loading.reads.remove(&read).expect("reads of a loading are its own");
        let partition = loading.partition;
        let Ok(batches) = result else {
            // The log's start has passed it, or the stream is gone: begin again by the image.
            self.stop_loading(stream, out);
            return self.reconcile(cx, partition, out);
        };
        let last = batches.last().map(|batch| Header::parse(batch).map(|it| it.end_offset()));
        let reached = last.and_then(Result::ok).expect("a read gives at least one batch");
        loading.got.insert(from, batches);
        if reached < upto {
            loading.todo.push_front((reached, upto));
        }
        loading.fold(cx);
        self.go_on_loading(cx, stream, out);
    }

    fn go_on_loading(&mut self, cx: &Cx, stream: StreamId, out: &mut Outbox<Effect>) {
        let loading = self.loading.get_mut(&stream).expect("the caller saw it");
        while loading.reads.len() < READS_MAX {
            let Some((from, upto)) = loading.todo.pop_front() else { break };
            let extent = Extent { from, upto, bytes_max: u64::MAX, first_whole: true };
            let read = self.reads.start(ReadFor::Load(stream), stream, extent, &self.image, out);
            loading.reads.insert(read, (from, upto));
        }
        if loading.reads.is_empty() {
            let loading = self.loading.remove(&stream).expect("just seen");
            let Loading { partition, epoch, next, end, producers, .. } = loading;
            assert!(next == end || producers.is_empty(), "{stream:?} is loaded up to {next:?}");
            self.open_here(cx, partition, (stream, epoch), producers, out);
        }
    }
}
