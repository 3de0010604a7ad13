//! Snapshots of the producers' state: written by the leader now and then, so that its successor
//! need not read the whole log.
//!
//! One attempt each: a snapshot that does not get into the store is not missed, the next one comes.
//! What is older than the newest that is known to be there is deleted. How they are read is in
//! `loading`. Source: `UnifiedLog.maybeTakeSnapshot`, `ProducerStateManager.deleteSnapshotsBefore`.

use alloc::collections::{BTreeMap, BTreeSet};

use super::Broker;
use crate::ids::{Incarnation, Offset, StreamId, TopicPartition};
use crate::mutants::Mutant;
use crate::object::snapshot_key;
use crate::partition::snapshot;
use crate::probe::Probe;
use crate::step::{Cond, Cx, Effect, Flow, ObjOp, ObjResult, Outbox, Tok};
use crate::store::Seqs;

/// The snapshots of the partitions led here.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Snapshots {
    seqs: Seqs,
    /// Puts under way, by the number of the operation.
    puts: BTreeMap<u64, (StreamId, Offset)>,
    /// Those that are in the store, as far as known.
    stored: BTreeMap<StreamId, BTreeSet<Offset>>,
}

impl Snapshots {
    pub(super) fn boot(&mut self, incarnation: Incarnation) {
        self.seqs = Seqs::new(incarnation, 0);
    }

    /// Starts an operation of the flow; returns its number.
    pub(super) fn send(&mut self, op: ObjOp, out: &mut Outbox<Effect>) -> u64 {
        self.seqs.send(Flow::Snapshots, op, out)
    }

    /// A list showed this one.
    pub(super) fn found(&mut self, stream: StreamId, end: Offset) {
        self.stored.entry(stream).or_default().insert(end);
    }

    /// Deletes those before `end`. Whether it happens matters to nobody.
    fn delete_before(&mut self, stream: StreamId, end: Offset, out: &mut Outbox<Effect>) {
        let Some(stored) = self.stored.get_mut(&stream) else { return };
        let kept = stored.split_off(&end);
        for old in core::mem::replace(stored, kept) {
            self.send(ObjOp::Delete { key: snapshot_key(stream, old) }, out);
        }
    }

    /// The stream is led here no more; `gone`: by nobody ever again.
    pub(super) fn forget(&mut self, stream: StreamId, gone: bool, out: &mut Outbox<Effect>) {
        if gone {
            self.delete_before(stream, Offset(u64::MAX), out);
        }
        self.stored.remove(&stream);
    }
}

impl Broker {
    /// Writes a snapshot if enough has been confirmed since the last one.
    pub(super) fn snapshot_if_due(
        &mut self,
        cx: &Cx,
        partition: TopicPartition,
        out: &mut Outbox<Effect>,
    ) {
        // A coordinator's log is read as a whole.
        if self.coordinators.contains_key(&partition) {
            return;
        }
        let every = self.config.limits.upload_block_bytes_max;
        let open = self.partitions.get_mut(&partition).expect("the caller saw it");
        let stream = open.stream();
        let Some((end, mut settled)) = open.take_snapshot(every) else { return };
        if cx.mutants.on(Mutant::ProducerSnapshotAhead) {
            settled = settled.with_producers(open.producers());
        }
        if cx.mutants.on(Mutant::TxnSnapshotWithoutAborted) {
            settled = settled.without_aborted();
        }
        let (key, body) = (snapshot_key(stream, end), snapshot::encode(stream, end, &settled));
        out.probe(Probe::ProducersSnapshot { partition, end });
        let seq = self.snapshots.send(ObjOp::Put { key, body, cond: Cond::IfAbsent }, out);
        self.snapshots.puts.insert(seq, (stream, end));
    }

    /// Handles the answer to an operation of [`Flow::Snapshots`].
    pub(super) fn snapshot_done(
        &mut self,
        cx: &Cx,
        tok: Tok,
        result: ObjResult,
        out: &mut Outbox<Effect>,
    ) {
        match self.snapshots.puts.remove(&tok.seq) {
            Some((stream, end)) => {
                // Refused: somebody has written the same.
                let there =
                    matches!(result, ObjResult::Done { .. } | ObjResult::PreconditionFailed);
                if there && self.led.contains_key(&stream) {
                    self.snapshots.found(stream, end);
                    self.snapshots.delete_before(stream, end, out);
                }
            }
            None => self.loading_done(cx, tok.seq, result, out),
        }
    }
}
