//! Which WAL objects may go, and their deletion, twice.
//!
//! An object may be deleted once a *later* object that is durable says in its header that recovery
//! starts behind it. So the last object never goes, and recovery always finds its starting point. A
//! second copy of a put may land after the delete, so each object is deleted again some 10 s later
//! (AutoMQ feaf4f0248); a second delete that the store refused or did not answer is sent again
//! after as long. What lands later still is garbage: recovery ignores what is before the trim
//! position, and the next owner or recoverer sweeps it away.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, Lsn, NodeId};
use crate::mutants::Mutant;
use crate::object::{WalKey, parse_wal_key, wal_key, wal_prefix};
use crate::probe::Probe;
use crate::step::{Flow, Key, ObjOp, ObjResult, TimerKey};
use crate::store::create::Io;
use crate::time::Dur;

/// Between the two deletes of an object: at least this, at most twice this.
const REDELETE_AFTER: Dur = Dur::secs(10);

/// The deleter of one WAL's objects.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Cleanup {
    node: NodeId,
    epoch: BrokerEpoch,
    /// What the caller allowed.
    trim: Lsn,
    /// What a durable object's header says.
    trim_durable: Lsn,
    /// Confirmed objects not deleted yet, in order. Bounded by the caller's backlog of uploads.
    objects: VecDeque<(Lsn, Lsn)>,
    /// Deleted once since the redelete timer was last armed.
    fresh: Vec<(Lsn, Lsn)>,
    /// Deleted once before that.
    aged: Vec<(Lsn, Lsn)>,
    /// Second deletes on their way, by the number of the operation.
    second: BTreeMap<u64, (Lsn, Lsn)>,
    /// The list of leftovers of older epochs that is on its way.
    sweep: Option<u64>,
}

impl Cleanup {
    /// Begins for the WAL that starts at `start`, and looks for leftovers of older epochs.
    pub(crate) fn start(node: NodeId, epoch: BrokerEpoch, start: Lsn, io: &mut Io<'_>) -> Self {
        let mut this = Self { node, epoch, trim: start, trim_durable: start, ..Self::default() };
        this.sweep_page(None, io);
        this
    }

    /// How far the WAL is no longer needed.
    pub(crate) fn trim(&self) -> Lsn {
        self.trim
    }

    /// The caller has committed everything before `upto` elsewhere.
    pub(crate) fn set_trim(&mut self, upto: Lsn, io: &mut Io<'_>) {
        if upto > self.trim {
            self.trim = upto;
            io.out.probe(Probe::WalTrimmed { upto });
        }
    }

    /// This object is durable and confirmed.
    pub(crate) fn add(&mut self, object: (Lsn, Lsn)) {
        self.objects.push_back(object);
    }

    /// A durable object says so in its header.
    pub(crate) fn trim_is_durable(&mut self, trim: Lsn) {
        self.trim_durable = self.trim_durable.max(trim);
    }

    /// Deletes what may go.
    pub(crate) fn delete(&mut self, io: &mut Io<'_>) {
        while let Some(&object) = self.objects.front() {
            if object.1 > self.trim_durable {
                return;
            }
            self.objects.pop_front();
            self.send_delete(object, false, io);
            if !io.cx.mutants.on(Mutant::WalSingleDelete) {
                self.delete_later(object, io);
            }
        }
    }

    fn delete_later(&mut self, object: (Lsn, Lsn), io: &mut Io<'_>) {
        if self.fresh.is_empty() && self.aged.is_empty() {
            io.out.arm(TimerKey::WalRedelete, REDELETE_AFTER);
        }
        self.fresh.push(object);
    }

    /// The redelete timer fired: what it has seen fire before, or was deleted before it was armed,
    /// is old enough.
    pub(crate) fn timer(&mut self, io: &mut Io<'_>) {
        for object in core::mem::replace(&mut self.aged, core::mem::take(&mut self.fresh)) {
            let seq = self.send_delete(object, true, io);
            self.second.insert(seq, object);
        }
        if !self.aged.is_empty() {
            io.out.arm(TimerKey::WalRedelete, REDELETE_AFTER);
        }
    }

    /// Handles an answer; that of a first delete changes nothing.
    pub(crate) fn obj_done(&mut self, seq: u64, result: &ObjResult, io: &mut Io<'_>) {
        if let Some(object) = self.second.remove(&seq)
            && matches!(result, ObjResult::SlowDown | ObjResult::Unknown)
        {
            self.delete_later(object, io);
        }
        if self.sweep != Some(seq) {
            return;
        }
        self.sweep = None;
        match result {
            ObjResult::Keys { keys, more } => {
                for key in keys {
                    if self.is_leftover(key) {
                        io.seqs.send(Flow::Wal, ObjOp::Delete { key: key.clone() }, io.out);
                    }
                }
                match keys.last() {
                    Some(last) if *more && self.is_leftover(last) => {
                        self.sweep_page(Some(last.clone()), io);
                    }
                    Some(_) | None => {}
                }
            }
            // Garbage can wait for the next owner.
            ObjResult::SlowDown | ObjResult::Unknown => {}
            ObjResult::Done { .. }
            | ObjResult::Body { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed => panic!("list of leftovers ended with {result:?}"),
        }
    }

    /// Whether an object belongs to an earlier epoch. A WAL is opened only when all of those are
    /// sealed, so everything in them is committed or was never acknowledged.
    fn is_leftover(&self, key: &Key) -> bool {
        parse_wal_key(key).is_some_and(|key| key.node == self.node && key.epoch < self.epoch)
    }

    fn sweep_page(&mut self, after: Option<Key>, io: &mut Io<'_>) {
        let op = ObjOp::List { prefix: wal_prefix(self.node), after };
        self.sweep = Some(io.seqs.send(Flow::Wal, op, io.out));
    }

    fn send_delete(&self, (start, end): (Lsn, Lsn), again: bool, io: &mut Io<'_>) -> u64 {
        let key = wal_key(WalKey { node: self.node, epoch: self.epoch, start, end });
        io.out.probe(Probe::WalDeleteSent { start, end, again });
        io.seqs.send(Flow::Wal, ObjOp::Delete { key }, io.out)
    }
}
