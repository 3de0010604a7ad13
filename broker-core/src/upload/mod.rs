//! Uploads: confirmed WAL records become committed data objects.
//!
//! Confirmed records gather in a block; a full or old block is sealed, gets an object id, is put
//! create-only, and is committed; commits go strictly in order, so that a stream's end only grows.
//! An unanswered commit is asked again, unchanged, until the answer is definite, and its object is
//! never deleted from here. Only a definite commit is reported, for only then may the WAL be
//! trimmed.
//! Resending questions to changing controllers is the caller's work. Source: AutoMQ's `S3Storage`
//! (`commitDeltaWALUpload`, FIFO prepare and commit queues).

pub(crate) mod shipment;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::BrokerLimits;
use crate::ids::{BrokerEpoch, Incarnation, Lsn, NodeId, ObjectId};
use crate::metadata::record::CommittedRange;
use crate::mutants::Mutant;
use crate::object::{BlockRecord, Builder};
use crate::peer::{ControllerAnswer, ControllerError, ControllerRequest};
use crate::probe::Probe;
use crate::step::{Cx, Effect, Flow, ObjResult, Outbox, TimerKey, Tok};
use crate::store::Seqs;
use crate::store::create::Io;
use crate::upload::shipment::{Shipment, Shipper, Step, Verdict};
use crate::wal::WalRecord;

/// Puts side by side. Blocks are large: a few fill the line, and more would only hold memory.
const PUTS_MAX: usize = 4;

/// What the uploads tell their owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadEvent {
    /// Ask the active controller this, until there is a definite answer; give that to
    /// [`Upload::answered`] with the same `id`.
    Ask {
        /// The question's number.
        id: u64,
        /// The question.
        request: ControllerRequest,
    },
    /// An object is committed. These come in the order of the WAL.
    Committed {
        /// All records before this are committed.
        upto: Lsn,
        /// What the object holds.
        ranges: Vec<CommittedRange>,
        /// The object.
        object: ObjectId,
    },
    /// There was no room; there is again.
    Room,
    /// The controller refuses this node's registration or its commits: halt. Nothing is lost, for
    /// the data is in the WAL and will be recovered from there.
    Fenced,
}

/// Whether the caller, its question unanswered for a while, shall send it again. Always; a planted
/// bug says otherwise.
#[must_use]
pub fn asks_again(cx: &Cx, request: &ControllerRequest) -> bool {
    let is_prepare = matches!(request, ControllerRequest::PrepareObject { .. });
    !(is_prepare && cx.mutants.on(Mutant::UploadPrepareWedges))
}

/// The uploads of a broker's own WAL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Upload {
    node: NodeId,
    limits: BrokerLimits,
    epoch: BrokerEpoch,
    seqs: Seqs,
    block: Block,
    /// Sealed blocks, in the order of the WAL. Bounded by the backlog limit.
    queue: VecDeque<Sealed>,
    next_ask: u64,
    next_request: u64,
    backlog_bytes: u64,
    /// The owner saw no room and waits for [`UploadEvent::Room`].
    full: bool,
    fenced: bool,
}

/// The block being filled.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Block {
    load: Builder,
    bytes: u64,
    upto: Lsn,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Sealed {
    /// Names its timer.
    id: u64,
    bytes: u64,
    upto: Lsn,
    shipment: Shipment,
    /// Mutant: already reported as committed.
    reported: bool,
}

impl Upload {
    /// Nothing to upload.
    #[must_use]
    pub fn new(node: NodeId, limits: BrokerLimits) -> Self {
        Self {
            node,
            limits,
            epoch: BrokerEpoch(0),
            seqs: Seqs::default(),
            block: Block::default(),
            queue: VecDeque::new(),
            next_ask: 0,
            next_request: 0,
            backlog_bytes: 0,
            full: false,
            fenced: false,
        }
    }

    /// Begins for the WAL of this registration, which starts at `start`.
    pub fn open(&mut self, incarnation: Incarnation, epoch: BrokerEpoch, start: Lsn) {
        self.seqs = Seqs::new(incarnation, 0);
        self.epoch = epoch;
        self.block.upto = start;
    }

    /// Takes a confirmed record. They must come in lsn order.
    pub fn confirmed(
        &mut self,
        cx: &Cx,
        lsn: Lsn,
        record: &WalRecord,
        out: &mut Outbox<Effect>,
        events: &mut Vec<UploadEvent>,
    ) {
        if self.fenced {
            return;
        }
        let disorder = cx.mutants.on(Mutant::WalCacheOnPutOrder);
        assert!(disorder || lsn == self.block.upto, "{lsn:?} after {:?}", self.block.upto);
        let WalRecord { stream, epoch, base, end, .. } = *record;
        let expected = self.block.load.end_of(stream, epoch).unwrap_or(base);
        let holes = disorder
            || cx.mutants.on(Mutant::PartitionQueueReordered)
            || cx.mutants.on(Mutant::WalUnknownIsFailure);
        assert!(holes || base == expected, "{stream:?}: {base:?}, expected {expected:?}");
        if self.block.load.is_empty() {
            out.arm(TimerKey::UploadSeal, self.limits.upload_block_interval);
        }
        let batch = record.batch.clone();
        self.block.load.push(stream, epoch, BlockRecord { base, end, batch });
        self.block.upto = self.block.upto.max(lsn.next());
        self.block.bytes += record.bytes();
        self.backlog_bytes += record.bytes();
        self.full |= !self.has_room();
        if self.block.bytes >= self.limits.upload_block_bytes_max {
            self.seal_now(cx, out, events);
        }
    }

    /// Whether the owner may go on appending.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.backlog_bytes < self.limits.upload_backlog_bytes_max
    }

    /// Bytes confirmed and not committed.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes
    }

    /// Seals the block being filled, if it holds anything: a stream is being closed, or all is.
    pub fn seal_now(&mut self, cx: &Cx, out: &mut Outbox<Effect>, events: &mut Vec<UploadEvent>) {
        if self.block.load.is_empty() {
            return;
        }
        let next = Block { upto: self.block.upto, ..Block::default() };
        let Block { load, bytes, upto } = core::mem::replace(&mut self.block, next);
        out.disarm(TimerKey::UploadSeal);
        out.probe(Probe::UploadSealed { upto });
        let id = self.seqs.take();
        let shipment = Shipment::new(load);
        self.queue.push_back(Sealed { id, bytes, upto, shipment, reported: false });
        self.advance(cx, out, events);
    }

    /// Handles the answer to an operation of [`Flow::Upload`].
    pub fn obj_done(
        &mut self,
        cx: &Cx,
        tok: Tok,
        result: ObjResult,
        out: &mut Outbox<Effect>,
        events: &mut Vec<UploadEvent>,
    ) {
        if self.fenced || !self.seqs.is_current(tok) {
            return;
        }
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        let mut changed = false;
        for sealed in &mut self.queue {
            changed |= sealed.shipment.obj_done(tok.seq, &result, &mut io);
        }
        if changed {
            if cx.mutants.on(Mutant::UploadTrimBeforeCommit) {
                self.report_stored(events);
            }
            self.advance(cx, out, events);
        }
    }

    /// A timer of the uploads fired: `UploadSeal` or `Upload`.
    pub fn timer(
        &mut self,
        cx: &Cx,
        key: TimerKey,
        out: &mut Outbox<Effect>,
        events: &mut Vec<UploadEvent>,
    ) {
        if self.fenced {
            return;
        }
        if key == TimerKey::UploadSeal {
            return self.seal_now(cx, out, events);
        }
        let is_its = |sealed: &&mut Sealed| TimerKey::Upload(sealed.id) == key;
        if let Some(sealed) = self.queue.iter_mut().find(is_its) {
            let by = shipper(self.node, self.epoch, sealed.id);
            if sealed.shipment.timer(&by, &mut Io { cx, seqs: &mut self.seqs, out }) {
                self.advance(cx, out, events);
            }
        }
    }

    /// Handles the controller's definite answer to question `id`.
    pub fn answered(
        &mut self,
        cx: &Cx,
        id: u64,
        result: Result<ControllerAnswer, ControllerError>,
        out: &mut Outbox<Effect>,
        events: &mut Vec<UploadEvent>,
    ) {
        let asked = |sealed: &&mut Sealed| sealed.shipment.waits_for_answer(id);
        let Some(sealed) = self.queue.iter_mut().find(asked).filter(|_| !self.fenced) else {
            return;
        };
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        match sealed.shipment.answered(result, &mut io) {
            Verdict::Done | Verdict::Expired | Verdict::AskAgain => self.advance(cx, out, events),
            // A refused commit means that this node and the log disagree about its streams. The
            // WAL still has the data: a fresh start recovers it (AutoMQ halts, too).
            Verdict::Fenced | Verdict::Refused(_) => {
                self.fenced = true;
                events.push(UploadEvent::Fenced);
            }
        }
    }

    /// Whether everything confirmed is committed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.block.load.is_empty()
    }

    /// What it is waiting for, one line each; nothing when idle.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let line = |sealed: &Sealed| {
            format!("upload: block before {:?} waits for {}", sealed.upto, sealed.shipment.waits())
        };
        let mut lines: Vec<String> = self.queue.iter().map(line).collect();
        if !self.block.load.is_empty() {
            lines.push(format!("upload: {} bytes wait to be sealed", self.block.bytes));
        }
        lines
    }

    /// Starts whatever may start: one prepare, some puts, the first block's commit.
    fn advance(&mut self, cx: &Cx, out: &mut Outbox<Effect>, events: &mut Vec<UploadEvent>) {
        while let Some(&Step::Committed(object)) = self.queue.front().map(|it| it.shipment.step()) {
            let Sealed { bytes, upto, shipment, reported, .. } =
                self.queue.pop_front().expect("it has a front");
            self.backlog_bytes -= bytes;
            if !reported {
                events.push(UploadEvent::Committed { upto, ranges: shipment.ranges(), object });
            }
        }
        if self.full && self.has_room() {
            self.full = false;
            events.push(UploadEvent::Room);
        }
        self.prepare_next(events);
        self.put_ready(cx, out);
        self.commit_front(cx, out, events);
    }

    /// Prepares go one at a time, so that ids ascend in the order of the blocks.
    fn prepare_next(&mut self, events: &mut Vec<UploadEvent>) {
        let is_preparing = |it: &Sealed| matches!(it.shipment.step(), Step::Preparing { .. });
        if self.queue.iter().any(is_preparing) {
            return;
        }
        let waits = |it: &&mut Sealed| *it.shipment.step() == Step::Waiting;
        if let Some(sealed) = self.queue.iter_mut().find(waits) {
            let (id, request) = (self.next_ask, self.next_request);
            self.next_ask += 1;
            self.next_request += 1;
            let by = shipper(self.node, self.epoch, sealed.id);
            let request = sealed.shipment.prepare(&by, id, request);
            events.push(UploadEvent::Ask { id, request });
        }
    }

    fn put_ready(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let is_putting = |it: &&Sealed| matches!(it.shipment.step(), Step::Putting(..));
        let free = PUTS_MAX.saturating_sub(self.queue.iter().filter(is_putting).count());
        let is_ready = |it: &&mut Sealed| matches!(it.shipment.step(), Step::Prepared(_));
        for sealed in self.queue.iter_mut().filter(is_ready).take(free) {
            let by = shipper(self.node, self.epoch, sealed.id);
            sealed.shipment.put(&by, &mut Io { cx, seqs: &mut self.seqs, out });
        }
    }

    fn commit_front(&mut self, cx: &Cx, out: &mut Outbox<Effect>, events: &mut Vec<UploadEvent>) {
        let Some(front) = self.queue.front_mut() else { return };
        if matches!(front.shipment.step(), Step::Stored { .. }) {
            let id = self.next_ask;
            self.next_ask += 1;
            let by = shipper(self.node, self.epoch, front.id);
            let request = front.shipment.commit(&by, id, cx, out);
            events.push(UploadEvent::Ask { id, request });
        }
    }

    /// Mutant: what is uploaded counts as committed.
    fn report_stored(&mut self, events: &mut Vec<UploadEvent>) {
        for sealed in &mut self.queue {
            if let (false, &Step::Stored { object, .. }) = (sealed.reported, sealed.shipment.step())
            {
                sealed.reported = true;
                let (upto, ranges) = (sealed.upto, sealed.shipment.ranges());
                events.push(UploadEvent::Committed { upto, ranges, object });
            }
        }
    }
}

fn shipper(node: NodeId, epoch: BrokerEpoch, id: u64) -> Shipper {
    let timer = TimerKey::Upload(id);
    Shipper { node, epoch, wal_node: node, wal_epoch: epoch, flow: Flow::Upload, timer }
}
