//! Between a stream's opening and its partition's: what the partition must remember of the log, its
//! producers and transactions, is built from the newest snapshot and the committed batches behind
//! it.
//!
//! The stream is open for this broker alone, so that nothing is added meanwhile. Pieces of the log
//! are read side by side and folded in order. A snapshot that can not be read is as good as none:
//! more of the log is read. Source: `UnifiedLog.rebuildProducerState`, AutoMQ's `ElasticLogLoader`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::Broker;
use super::coordinators::Coordinator;
use crate::batch::Header;
use crate::cache::Extent;
use crate::ids::{LeaderEpoch, Offset, StreamId, TopicPartition};
use crate::mutants::Mutant;
use crate::object::{parse_snapshot_key, snapshot_key, snapshot_prefix};
use crate::partition::settled::Settled;
use crate::partition::snapshot;
use crate::probe::{KnownProducer, Probe};
use crate::read::{ReadFor, ReadGone};
use crate::step::{Cx, Effect, Key, ObjOp, ObjResult, Outbox, TimerKey};
use crate::store::Backoff;

/// Pieces read side by side, those included that were read and wait for their turn. The time is the
/// latency of the store, not the bytes; each holds one block in memory.
const READS_MAX: usize = 16;

/// A partition that is being loaded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Loading {
    partition: TopicPartition,
    epoch: LeaderEpoch,
    backoff: Backoff,
    stage: Stage,
    /// Where the log ends.
    end: Offset,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Lists the snapshots; `None`: waits to do it again.
    Listing(Option<u64>, Found),
    /// Gets the newest; `None`: waits to do it again.
    Getting(Option<u64>, Offset),
    Folding(Box<Fold>),
}

/// The snapshots that the list has shown so far.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Found {
    after: Option<Key>,
    newest: Option<Offset>,
}

/// The fold of the log behind a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Fold {
    snapshot: Option<Offset>,
    settled: Settled,
    /// Of a partition that is a coordinator's log; read from the log's start.
    coordinator: Option<Coordinator>,
    /// Bytes folded behind the snapshot: a successor would have to read them, too.
    bytes: u64,
    /// All before it is folded.
    next: Offset,
    /// Pieces not asked for yet, ascending.
    todo: VecDeque<(Offset, Offset)>,
    /// Reads under way, by their number: the piece.
    reads: BTreeMap<u64, (Offset, Offset)>,
    /// What was read out of turn, by its first offset.
    got: BTreeMap<Offset, Vec<Bytes>>,
}

impl Loading {
    /// What it waits for.
    pub(super) fn blocked(&self, stream: StreamId) -> String {
        let waits = match &self.stage {
            Stage::Listing(Some(_), _) => "a list of snapshots".into(),
            Stage::Listing(None, _) => "time to list snapshots again".into(),
            Stage::Getting(Some(_), _) => "a snapshot".into(),
            Stage::Getting(None, _) => "time to get a snapshot again".into(),
            Stage::Folding(fold) => format!("{} reads, from {:?} on", fold.reads.len(), fold.next),
        };
        format!("load: {stream:?} up to {:?} waits for {waits}", self.end)
    }

    fn waits_for(&self, operation: u64) -> bool {
        match self.stage {
            Stage::Listing(seq, _) | Stage::Getting(seq, _) => seq == Some(operation),
            Stage::Folding(_) => false,
        }
    }

    fn fold(&mut self) -> &mut Fold {
        match &mut self.stage {
            Stage::Folding(fold) => fold,
            stage @ (Stage::Listing(..) | Stage::Getting(..)) => panic!("reads in {stage:?}"),
        }
    }
}

impl Fold {
    fn go_on(&mut self, cx: &Cx) {
        while let Some(batches) = self.got.remove(&self.next) {
            for batch in batches {
                let header = Header::parse(&batch).expect("what is in the log was checked");
                self.settled.fold(cx, &batch, &header);
                if let Some(coordinator) = &mut self.coordinator {
                    coordinator.fold(&batch, &header);
                }
                self.bytes += batch.len() as u64;
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
        let (start, end) = (state.start, state.end);
        let (backoff, stage) = (Backoff::default(), Stage::Listing(None, Found::default()));
        self.loading.insert(stream, Loading { partition, epoch, backoff, stage, end });
        let internal = self.coordinator_kind(partition.topic).is_some();
        if start == end || internal || cx.mutants.on(Mutant::ProducerStateLost) {
            return self.begin_fold(cx, stream, None, out);
        }
        self.load_again(cx, stream, out);
    }

    /// The partition is not to be opened after all.
    pub(super) fn stop_loading(&mut self, stream: StreamId, out: &mut Outbox<Effect>) {
        let Some(loading) = self.loading.remove(&stream) else { return };
        let gone = !self.image.streams.contains_key(&stream);
        self.snapshots.forget(stream, gone, out);
        out.disarm(TimerKey::Load(stream));
        if let Stage::Folding(fold) = loading.stage {
            for &read in fold.reads.keys() {
                self.reads.cancel(read, out);
            }
        }
    }

    /// Sends the operation that is next: again, or for the first time.
    pub(super) fn load_again(&mut self, _cx: &Cx, stream: StreamId, out: &mut Outbox<Effect>) {
        let Some(loading) = self.loading.get_mut(&stream) else { return };
        match &mut loading.stage {
            Stage::Listing(seq, found) => {
                let (prefix, after) = (snapshot_prefix(stream), found.after.clone());
                *seq = Some(self.snapshots.send(ObjOp::List { prefix, after }, out));
            }
            Stage::Getting(seq, end) => {
                let key = snapshot_key(stream, *end);
                *seq = Some(self.snapshots.send(ObjOp::Get { key, range: None }, out));
            }
            Stage::Folding(_) => {}
        }
    }

    /// Handles the answer to an operation of a loading.
    pub(super) fn loading_done(
        &mut self,
        cx: &Cx,
        seq: u64,
        result: ObjResult,
        out: &mut Outbox<Effect>,
    ) {
        let waits = |(_, loading): &(&StreamId, &mut Loading)| loading.waits_for(seq);
        let Some((&stream, loading)) = self.loading.iter_mut().find(waits) else { return };
        match (&mut loading.stage, result) {
            (Stage::Listing(_, found), ObjResult::Keys { keys, more })
                if !more || !keys.is_empty() =>
            {
                loading.backoff.reset();
                found.after = keys.last().cloned().or(found.after.take());
                for (_, end) in keys.iter().filter_map(parse_snapshot_key) {
                    // One beyond the committed end would be a lie: whoever wrote it never
                    // confirmed that much.
                    found.newest = found.newest.max(Some(end).filter(|end| *end <= loading.end));
                    self.snapshots.found(stream, end);
                }
                let newest = found.newest;
                match newest {
                    Some(end) if !more => loading.stage = Stage::Getting(None, end),
                    None if !more => return self.begin_fold(cx, stream, None, out),
                    Some(_) | None => {}
                }
                self.load_again(cx, stream, out);
            }
            (&mut Stage::Getting(_, end), ObjResult::Body { data, .. }) => {
                let read = snapshot::decode(&data, stream, end).ok();
                self.begin_fold(cx, stream, read.map(|settled| (end, settled)), out);
            }
            (Stage::Getting(..), ObjResult::NotFound) => self.begin_fold(cx, stream, None, out),
            // Unanswered, refused, or an empty page that is not the last.
            (Stage::Listing(seq, _) | Stage::Getting(seq, _), _) => {
                *seq = None;
                out.arm(TimerKey::Load(stream), loading.backoff.failed());
            }
            (Stage::Folding(_), _) => {}
        }
    }

    fn begin_fold(
        &mut self,
        cx: &Cx,
        stream: StreamId,
        from: Option<(Offset, Settled)>,
        out: &mut Outbox<Effect>,
    ) {
        let kind = self.coordinator_kind(self.loading[&stream].partition.topic);
        let loading = self.loading.get_mut(&stream).expect("the caller saw it");
        let start = self.image.streams[&stream].start;
        // What the log lost between an old snapshot and its start would be missing.
        let from = from.filter(|(end, _)| *end >= start);
        let snapshot = from.as_ref().map(|(end, _)| *end);
        let (next, settled) = from.unwrap_or_else(|| (start, Settled::new(start)));
        let pieces = self.image.covering(stream, next, loading.end);
        let mut todo: VecDeque<_> = pieces.map(|(from, upto, _)| (from.max(next), upto)).collect();
        let only = cx.mutants.on(Mutant::ProducerSnapshotOnly) && snapshot.is_some();
        if only || cx.mutants.on(Mutant::ProducerStateLost) {
            todo.clear();
        }
        let (reads, got) = (BTreeMap::new(), BTreeMap::new());
        let coordinator = kind.map(|kind| Coordinator::new(kind, &self.config.limits, cx.mutants));
        let fold = Fold { snapshot, settled, coordinator, bytes: 0, next, todo, reads, got };
        loading.stage = Stage::Folding(Box::new(fold));
        self.read_on(cx, stream, out);
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
        let partition = loading.partition;
        let fold = loading.fold();
        let (from, upto) = fold.reads.remove(&read).expect("reads of a loading are its own");
        let Ok(batches) = result else {
            // The log's start has passed it, or the stream is gone: begin again by the image.
            self.stop_loading(stream, out);
            return self.reconcile(cx, partition, out);
        };
        let last = batches.last().map(|batch| Header::parse(batch).map(|it| it.end_offset()));
        let reached = last.and_then(Result::ok).expect("a read gives at least one batch");
        fold.got.insert(from, batches);
        if reached < upto {
            fold.todo.push_front((reached, upto));
        }
        fold.go_on(cx);
        self.read_on(cx, stream, out);
    }

    fn read_on(&mut self, cx: &Cx, stream: StreamId, out: &mut Outbox<Effect>) {
        let fold = self.loading.get_mut(&stream).expect("the caller saw it").fold();
        while fold.reads.len() + fold.got.len() < READS_MAX {
            let Some((from, upto)) = fold.todo.pop_front() else { break };
            let extent = Extent { from, upto, bytes_max: u64::MAX, first_whole: true };
            let read = self.reads.start(ReadFor::Load(stream), stream, extent, &self.image, out);
            fold.reads.insert(read, (from, upto));
        }
        if !fold.reads.is_empty() {
            return;
        }
        let loading = self.loading.remove(&stream).expect("just seen");
        let Loading { partition, epoch, end, stage: Stage::Folding(fold), .. } = loading else {
            panic!("{stream:?} is loaded without a fold");
        };
        let Fold { snapshot, mut settled, coordinator, bytes, next, .. } = *fold;
        let partly =
            cx.mutants.on(Mutant::ProducerSnapshotOnly) || cx.mutants.on(Mutant::ProducerStateLost);
        assert!(next == end || partly, "{stream:?} is loaded up to {next:?} of {end:?}");
        if cx.mutants.on(Mutant::TxnOpenForgotten) {
            settled.forget_open();
        }
        let producers = settled.producers().iter().map(|(id, standing, batches)| {
            let batches = batches.map(|batch| (batch.first, batch.base)).collect();
            KnownProducer { id, standing, batches }
        });
        let producers = producers.collect();
        let aborted = settled.aborted().iter();
        let aborted = aborted.map(|it| (it.producer, it.first, it.last)).collect();
        out.probe(Probe::ProducersLoaded { partition, end, snapshot, producers, aborted });
        self.open_here(cx, partition, (stream, epoch), (settled, bytes), coordinator, out);
    }
}
