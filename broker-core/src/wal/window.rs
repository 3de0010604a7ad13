//! The append window: records on their way from append to confirmation, in lsn order.
//!
//! Bulks being filled, bulks waiting for a free put, puts on their way, puts known to be durable
//! behind one that is not. Who owns the WAL is the caller's question. Source: AutoMQ's
//! `DefaultWriter` (`activeBulk`, `waitingUploadBulks`, `uploadingBulks`).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, Lsn, NodeId};
use crate::mutants::Mutant;
use crate::object::{WalKey, wal_key};
use crate::probe::Probe;
use crate::step::{Flow, ObjResult, TimerKey};
use crate::store::create::{CreateOnly, Created, Io, Setup, Subject};
use crate::time::Dur;
use crate::wal::record::{WAL_HEADER_BYTES, WalHeader, WalRecord, encode_wal_object};

/// A put not answered for so long is sent a second time. Past the 99th percentile of a small put
/// (about 170 ms), so that few are doubled; a lost answer then costs this, not a time-out.
const HEDGE_AFTER: Dur = Dur::ms(400);

/// Records that will share an object.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Bulk {
    records: Vec<WalRecord>,
    bytes: u64,
}

/// One WAL object from its put to its confirmation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Slot {
    start: Lsn,
    end: Lsn,
    /// As in its header.
    trim: Lsn,
    bytes: u64,
    /// Empty once confirmed.
    records: Vec<WalRecord>,
    /// Names its timer.
    id: u64,
    /// `None` once it is known to be durable.
    put: Option<CreateOnly>,
}

/// An object that became durable, and perhaps its records (for a mutant).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Durable {
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
    pub(crate) trim: Lsn,
}

/// How an answer to a put changed the window.
pub(crate) enum PutOutcome {
    /// Not decided yet, or not about a put of this window.
    Pending,
    /// The object is durable.
    Durable(Durable),
    /// Someone else's object is in its place.
    Foreign,
    /// The store has not answered for too long. A broker that can take no more data must not go on
    /// leading only because its heartbeats arrive: others may have a store.
    InVain,
    /// Mutant: these records count as failed.
    Failed(Vec<(Lsn, WalRecord)>),
}

/// The window.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Window {
    next: Lsn,
    open: Bulk,
    /// Full bulks that wait for a free put. Bounded, as all here, by the unconfirmed bytes.
    closed: VecDeque<Bulk>,
    slots: VecDeque<Slot>,
    in_flight: usize,
    unconfirmed_bytes: u64,
}

/// What the window needs to know to make an object.
#[derive(Clone, Copy)]
pub(crate) struct Maker {
    pub(crate) node: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) trim: Lsn,
    pub(crate) puts_max: usize,
}

impl Window {
    /// An empty window; the first record gets `start`.
    pub(crate) fn new(start: Lsn) -> Self {
        Self { next: start, ..Self::default() }
    }

    /// Where the next record will be.
    pub(crate) fn next(&self) -> Lsn {
        self.next
    }

    /// Bytes appended and not confirmed.
    pub(crate) fn unconfirmed_bytes(&self) -> u64 {
        self.unconfirmed_bytes
    }

    /// Bytes in the bulk being filled.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open.bytes
    }

    /// Adds a record to the bulk being filled.
    pub(crate) fn append(&mut self, record: WalRecord) -> Lsn {
        let lsn = self.next;
        self.next = lsn.next();
        self.open.bytes += record.bytes();
        self.unconfirmed_bytes += record.bytes();
        self.open.records.push(record);
        lsn
    }

    /// Closes the bulk being filled, if it holds anything.
    pub(crate) fn close_bulk(&mut self) {
        if !self.open.records.is_empty() {
            self.closed.push_back(core::mem::take(&mut self.open));
        }
    }

    /// Starts the puts that may start.
    pub(crate) fn start_puts(&mut self, maker: Maker, io: &mut Io<'_>) {
        while self.in_flight < maker.puts_max {
            let Some(bulk) = self.closed.pop_front() else { return };
            self.start_put(bulk, maker, io);
        }
    }

    fn start_put(&mut self, bulk: Bulk, maker: Maker, io: &mut Io<'_>) {
        let queued: usize = self.closed.iter().map(|bulk| bulk.records.len()).sum();
        let behind = queued + self.open.records.len();
        let end = Lsn(self.next.0 - behind as u64);
        let start = Lsn(end.0 - bulk.records.len() as u64);
        let Maker { node, epoch, trim, .. } = maker;
        let nonce = io.seqs.nonce(io.cx);
        let header = WalHeader { node, epoch, nonce, start, end, trim };
        let id = io.seqs.take();
        let setup = Setup {
            subject: Subject::Wal { start, end },
            flow: Flow::Wal,
            timer: TimerKey::WalPut(id),
            key: wal_key(WalKey { node, epoch, start, end }),
            body: encode_wal_object(header, &bulk.records),
            header_bytes: WAL_HEADER_BYTES,
            hedge_after: Some(HEDGE_AFTER),
        };
        let put = Some(CreateOnly::start(setup, io));
        let Bulk { records, bytes } = bulk;
        self.slots.push_back(Slot { start, end, trim, bytes, records, id, put });
        self.in_flight += 1;
    }

    /// Handles the answer to an operation of a put.
    pub(crate) fn obj_done(&mut self, seq: u64, result: &ObjResult, io: &mut Io<'_>) -> PutOutcome {
        let waits = |slot: &Slot| slot.put.as_ref().is_some_and(|put| put.waits_for(seq));
        let Some(at) = self.slots.iter().position(waits) else { return PutOutcome::Pending };
        if io.cx.mutants.on(Mutant::WalUnknownIsFailure) && *result == ObjResult::Unknown {
            return PutOutcome::Failed(self.fail_from(at));
        }
        let slot = &mut self.slots[at];
        let put = slot.put.as_mut().expect("it waits for this answer");
        match put.obj_done(seq, result, io) {
            None if put.is_in_vain() => PutOutcome::InVain,
            None => PutOutcome::Pending,
            Some(Created::Foreign) => PutOutcome::Foreign,
            Some(Created::Ours) => {
                slot.put = None;
                self.in_flight -= 1;
                let Slot { start, end, trim, .. } = *slot;
                io.out.probe(Probe::WalPutDone { start, end });
                PutOutcome::Durable(Durable { start, end, trim })
            }
        }
    }

    /// The timer of put `id` fired.
    pub(crate) fn timer(&mut self, id: u64, io: &mut Io<'_>) {
        let slot = self.slots.iter_mut().find(|slot| slot.id == id);
        if let Some(put) = slot.and_then(|slot| slot.put.as_mut()) {
            put.timer(io);
        }
    }

    /// Up to where everything is durable without a gap.
    pub(crate) fn durable_end(&self, io: &Io<'_>) -> Option<Lsn> {
        if io.cx.mutants.on(Mutant::WalConfirmMax) {
            return self.slots.iter().filter(|slot| slot.put.is_none()).map(|slot| slot.end).max();
        }
        self.slots.iter().take_while(|slot| slot.put.is_none()).last().map(|slot| slot.end)
    }

    /// Takes out the records of `[…, upto)` that were not taken before, in lsn order.
    pub(crate) fn confirm(&mut self, upto: Lsn, mut each: impl FnMut(Lsn, WalRecord)) {
        for slot in self.slots.iter_mut().take_while(|slot| slot.end <= upto) {
            if !slot.records.is_empty() {
                self.unconfirmed_bytes -= slot.bytes;
            }
            for (lsn, record) in (slot.start.0..).zip(core::mem::take(&mut slot.records)) {
                each(Lsn(lsn), record);
            }
        }
    }

    /// Lets the next object go that is durable and confirmed.
    pub(crate) fn pop_confirmed(&mut self, confirmed_end: Lsn) -> Option<(Lsn, Lsn)> {
        let front = self.slots.front()?;
        if front.put.is_some() || front.end > confirmed_end {
            return None;
        }
        self.slots.pop_front().map(|slot| (slot.start, slot.end))
    }

    /// The records of the object that starts here (for a mutant).
    pub(crate) fn records_of(&self, start: Lsn) -> Vec<(Lsn, WalRecord)> {
        let slot = self.slots.iter().find(|slot| slot.start == start);
        let records = slot.into_iter().flat_map(|slot| slot.records.iter().cloned());
        (start.0..).map(Lsn).zip(records).collect()
    }

    /// Mutant: forgets everything from slot `at` on, and gives its place to what comes next.
    fn fail_from(&mut self, at: usize) -> Vec<(Lsn, WalRecord)> {
        let start = self.slots[at].start;
        let slots = self.slots.split_off(at);
        self.in_flight -= slots.iter().filter(|slot| slot.put.is_some()).count();
        let closed = core::mem::take(&mut self.closed);
        let open = core::mem::take(&mut self.open).records;
        let records = slots.into_iter().flat_map(|slot| slot.records);
        let records = records.chain(closed.into_iter().flat_map(|bulk| bulk.records)).chain(open);
        let failed: Vec<_> = (start.0..).map(Lsn).zip(records).collect();
        self.unconfirmed_bytes -= failed.iter().map(|(_, record)| record.bytes()).sum::<u64>();
        self.next = start;
        failed
    }

    /// What it is waiting for.
    pub(crate) fn blocked(&self, mut each: impl FnMut(Lsn, &'static str)) {
        for slot in &self.slots {
            if let Some(put) = &slot.put {
                each(slot.start, put.waits());
            }
        }
    }
}
