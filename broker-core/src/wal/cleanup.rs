//! Which WAL objects may go, and their deletion, twice.
//!
//! An object may be deleted once a *later* object that is durable says in its header that recovery
//! starts behind it. So the last object never goes, and recovery always finds its starting point. A
//! second copy of a put may land after the delete, so each object is deleted again some 10 s later
//! (AutoMQ feaf4f0248); a second delete that the store refused or did not answer is sent again
//! after as long. What lands later still is garbage: recovery ignores what is before the trim
//! position, and the next owner or recoverer sweeps it away. An owner begins with that sweep, and
//! repeats what of it the store refused.

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
    fresh: Vec<WalKey>,
    /// Deleted once before that.
    aged: Vec<WalKey>,
    /// Last deletes on their way, by the number of the operation: second ones, and of leftovers.
    last: BTreeMap<u64, WalKey>,
    /// The search for leftovers of older epochs.
    sweep: Sweep,
    /// The redelete timer is armed.
    armed: bool,
}

/// A list, page by page.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
enum Sweep {
    #[default]
    Done,
    /// This operation lists what is behind the key.
    Listing(u64, Option<Key>),
    /// Waits to list what is behind the key.
    Resting(Option<Key>),
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
        while let Some(&(start, end)) = self.objects.front() {
            if end > self.trim_durable {
                return;
            }
            self.objects.pop_front();
            let key = WalKey { node: self.node, epoch: self.epoch, start, end };
            self.send_delete(key, false, io);
            if !io.cx.mutants.on(Mutant::WalSingleDelete) {
                self.delete_later(key, io);
            }
        }
    }

    fn delete_later(&mut self, key: WalKey, io: &mut Io<'_>) {
        self.fresh.push(key);
        self.arm(io);
    }

    fn arm(&mut self, io: &mut Io<'_>) {
        if !core::mem::replace(&mut self.armed, true) {
            io.out.arm(TimerKey::WalRedelete, REDELETE_AFTER);
        }
    }

    /// The redelete timer fired: what it has seen fire before, or was deleted before it was armed,
    /// is old enough.
    pub(crate) fn timer(&mut self, io: &mut Io<'_>) {
        self.armed = false;
        for key in core::mem::replace(&mut self.aged, core::mem::take(&mut self.fresh)) {
            let seq = self.send_delete(key, true, io);
            self.last.insert(seq, key);
        }
        if !self.aged.is_empty() {
            self.arm(io);
        }
        if let Sweep::Resting(after) = &mut self.sweep {
            let after = after.take();
            self.sweep_page(after, io);
        }
    }

    /// Handles an answer; that of a first delete changes nothing.
    pub(crate) fn obj_done(&mut self, seq: u64, result: &ObjResult, io: &mut Io<'_>) {
        if let Some(key) = self.last.remove(&seq)
            && matches!(result, ObjResult::SlowDown | ObjResult::Unknown)
        {
            self.delete_later(key, io);
        }
        if let Sweep::Listing(list, after) = &mut self.sweep
            && *list == seq
        {
            let after = after.take();
            self.swept(after, result, io);
        }
    }

    fn swept(&mut self, after: Option<Key>, result: &ObjResult, io: &mut Io<'_>) {
        self.sweep = Sweep::Done;
        match result {
            ObjResult::Keys { keys, more } => {
                let found: Vec<_> = keys.iter().filter_map(|key| self.leftover(key)).collect();
                for key in found {
                    let seq = self.send_delete(key, true, io);
                    self.last.insert(seq, key);
                }
                match keys.last() {
                    Some(last) if *more && self.leftover(last).is_some() => {
                        self.sweep_page(Some(last.clone()), io);
                    }
                    // An empty page that is not the last shows nothing.
                    None if *more => self.rest(after, io),
                    Some(_) | None => {}
                }
            }
            ObjResult::SlowDown | ObjResult::Unknown => self.rest(after, io),
            ObjResult::Done { .. }
            | ObjResult::Body { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed => panic!("list of leftovers ended with {result:?}"),
        }
    }

    fn rest(&mut self, after: Option<Key>, io: &mut Io<'_>) {
        self.sweep = Sweep::Resting(after);
        self.arm(io);
    }

    /// What a key says, if its object belongs to an earlier epoch. A WAL is opened only when all of
    /// those are sealed, so everything in them is committed or was never acknowledged.
    fn leftover(&self, key: &Key) -> Option<WalKey> {
        parse_wal_key(key).filter(|key| key.node == self.node && key.epoch < self.epoch)
    }

    fn sweep_page(&mut self, after: Option<Key>, io: &mut Io<'_>) {
        let op = ObjOp::List { prefix: wal_prefix(self.node), after: after.clone() };
        self.sweep = Sweep::Listing(io.seqs.send(Flow::Wal, op, io.out), after);
    }

    fn send_delete(&self, key: WalKey, again: bool, io: &mut Io<'_>) -> u64 {
        if key.epoch == self.epoch {
            io.out.probe(Probe::WalDeleteSent { start: key.start, end: key.end, again });
        }
        io.seqs.send(Flow::Wal, ObjOp::Delete { key: wal_key(key) }, io.out)
    }
}
