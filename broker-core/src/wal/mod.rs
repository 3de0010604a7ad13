//! The write-ahead log of one broker, on create-only objects.
//!
//! Records are gathered into bulks, bulks are put side by side, and a record is confirmed only when
//! (1) its object and all before it are known to be durable and (2) a check of ownership *begun
//! after that* found no later claim. Any doubt about ownership fences the WAL for good; the caller
//! then halts. An unanswered put is never taken as failed: its place is never used for other bytes.
//! What the records mean, and when they are committed elsewhere, is the caller's. Source: AutoMQ's
//! `ObjectWALService`, `DefaultWriter`, `ObjectReservationService`.

pub(crate) mod claim;
mod cleanup;
pub mod record;
#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;
mod window;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::BrokerLimits;
use crate::ids::{BrokerEpoch, Incarnation, Lsn, NodeId};
use crate::mutants::Mutant;
use crate::probe::Probe;
use crate::step::{Cx, Effect, Flow, ObjResult, Outbox, TimerKey, Tok};
use crate::store::create::Io;
use crate::store::{Backoff, Seqs, UNKNOWN_MAX};
use crate::wal::claim::{Claim, Terms, send_verify};
use crate::wal::cleanup::Cleanup;
use crate::wal::window::{Durable, Maker, PutOutcome, Window};

pub use record::WalRecord;

/// What the WAL tells its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WalEvent {
    /// The claim is taken; records can be appended.
    Opened,
    /// Only under the mutant `WalCacheOnPutOrder`: the record's put is done.
    Stored {
        /// Its place.
        lsn: Lsn,
        /// The record.
        record: WalRecord,
    },
    /// The record may be acknowledged. These come in lsn order, each once.
    Confirmed {
        /// Its place.
        lsn: Lsn,
        /// The record.
        record: WalRecord,
    },
    /// An append was refused for lack of room; there is room again.
    Room,
    /// All proofs with smaller numbers: the WAL was this node's after they were asked for.
    Proven {
        /// Exclusive.
        before: u64,
    },
    /// Only under the mutant `WalUnknownIsFailure`: the record is given up.
    Failed {
        /// Its place.
        lsn: Lsn,
        /// The record.
        record: WalRecord,
    },
    /// Someone else owns this WAL, or it cannot be known: confirm nothing more, halt.
    Fenced,
}

/// The write-ahead log.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Wal {
    node: NodeId,
    limits: BrokerLimits,
    epoch: BrokerEpoch,
    seqs: Seqs,
    phase: Phase,
    window: Window,
    confirmed_end: Lsn,
    /// An append was refused and its owner waits for [`WalEvent::Room`].
    refused: bool,
    verify: Verify,
    /// Proofs of ownership asked for, and given, so far.
    proofs: Proofs,
    cleanup: Cleanup,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Proofs {
    asked: u64,
    given: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Closed,
    Claiming(Box<Claim>),
    /// Open under the claim with this number.
    Open(u64),
    Fenced,
}

/// The check of ownership: at most one is on its way, and the next covers more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Verify {
    Idle,
    Listing { seq: u64, covers: Lsn, proofs: u64, tries: Tries },
    Resting(Tries),
}

/// How a check fared so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
struct Tries {
    backoff: Backoff,
    unknown: u32,
}

impl Wal {
    /// A closed WAL.
    #[must_use]
    pub fn new(node: NodeId, limits: BrokerLimits) -> Self {
        Self {
            node,
            limits,
            epoch: BrokerEpoch(0),
            seqs: Seqs::default(),
            phase: Phase::Closed,
            window: Window::default(),
            confirmed_end: Lsn(0),
            refused: false,
            verify: Verify::Idle,
            proofs: Proofs::default(),
            cleanup: Cleanup::default(),
        }
    }

    /// Claims the WAL of this registration, which begins at `start`: the end of the node's previous
    /// one. All earlier WALs of the node must be sealed.
    pub fn open(
        &mut self,
        cx: &Cx,
        incarnation: Incarnation,
        epoch: BrokerEpoch,
        start: Lsn,
        out: &mut Outbox<Effect>,
    ) {
        assert_eq!(self.phase, Phase::Closed, "a WAL is opened once in a process");
        self.epoch = epoch;
        self.seqs = Seqs::new(incarnation, 0);
        self.window = Window::new(start);
        self.confirmed_end = start;
        let (of, claimant) = (self.node, self.node);
        let terms = Terms { of, claimant, epoch, flow: Flow::Claim, timer: TimerKey::Claim };
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        self.phase = Phase::Claiming(Box::new(Claim::start(terms, &mut io)));
        self.cleanup = Cleanup::start(self.node, epoch, start, &mut io);
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If there is no room, or the WAL is not open: the record, unchanged. With no room,
    /// [`WalEvent::Room`] follows.
    pub fn append(
        &mut self,
        cx: &Cx,
        record: WalRecord,
        out: &mut Outbox<Effect>,
    ) -> Result<Lsn, WalRecord> {
        if !self.is_open() {
            return Err(record);
        }
        let unconfirmed = self.window.unconfirmed_bytes();
        // A record larger than the limit goes alone rather than never.
        if unconfirmed > 0 && unconfirmed + record.bytes() > self.limits.wal_unconfirmed_bytes_max {
            if !self.refused {
                self.refused = true;
                out.probe(Probe::WalBackPressure { on: true });
            }
            return Err(record);
        }
        let first = self.window.open_bytes() == 0;
        let lsn = self.window.append(record);
        if self.window.open_bytes() >= self.limits.wal_bulk_bytes_max {
            self.close_bulk(cx, out);
        } else if first {
            out.arm(TimerKey::WalBulk, self.limits.wal_bulk_interval);
        }
        Ok(lsn)
    }

    /// Asks for a proof that the WAL is still this node's, by a check that begins after this call.
    /// Returns the proof's number for [`WalEvent::Proven`]; a WAL that is lost gives none.
    pub fn prove(&mut self, cx: &Cx, out: &mut Outbox<Effect>) -> u64 {
        let number = self.proofs.asked;
        self.proofs.asked += 1;
        if self.is_open() && self.verify == Verify::Idle {
            self.send_verify(cx, Tries::default(), out);
        }
        number
    }

    /// Everything before `upto` is committed elsewhere, definitely: it may leave the WAL.
    pub fn trim(&mut self, cx: &Cx, upto: Lsn, out: &mut Outbox<Effect>) {
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        self.cleanup.set_trim(upto, &mut io);
    }

    /// Handles the answer to an operation of [`Flow::Wal`] or [`Flow::Claim`].
    pub fn obj_done(
        &mut self,
        cx: &Cx,
        tok: Tok,
        result: ObjResult,
        out: &mut Outbox<Effect>,
        events: &mut Vec<WalEvent>,
    ) {
        if !self.seqs.is_current(tok) {
            return;
        }
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        self.cleanup.obj_done(tok.seq, &result, &mut io);
        match &mut self.phase {
            Phase::Closed | Phase::Fenced => {}
            Phase::Claiming(claim) => {
                if let Some(number) = claim.obj_done(tok.seq, &result, &mut io) {
                    self.phase = Phase::Open(number);
                    events.push(WalEvent::Opened);
                }
            }
            Phase::Open(_) => match self.verify {
                Verify::Listing { seq, .. } if seq == tok.seq => {
                    self.verified(cx, &result, out, events);
                }
                Verify::Listing { .. } | Verify::Idle | Verify::Resting(_) => {
                    let outcome = self.window.obj_done(tok.seq, &result, &mut io);
                    self.put_done(cx, outcome, out, events);
                }
            },
        }
    }

    /// A timer of the WAL fired: `WalBulk`, `WalPut`, `WalVerify`, `WalRedelete` or `Claim`.
    pub fn timer(
        &mut self,
        cx: &Cx,
        key: TimerKey,
        out: &mut Outbox<Effect>,
        _events: &mut Vec<WalEvent>,
    ) {
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        match (&mut self.phase, key) {
            (Phase::Claiming(claim), TimerKey::Claim) => claim.timer(&mut io),
            (Phase::Open(_), TimerKey::WalBulk) => self.close_bulk(cx, out),
            (Phase::Open(_), TimerKey::WalPut(id)) => self.window.timer(id, &mut io),
            (Phase::Claiming(_) | Phase::Open(_), TimerKey::WalRedelete) => {
                self.cleanup.timer(&mut io);
            }
            (Phase::Open(_), TimerKey::WalVerify) => {
                if let Verify::Resting(tries) = self.verify {
                    self.send_verify(cx, tries, out);
                }
            }
            (Phase::Closed | Phase::Claiming(_) | Phase::Open(_) | Phase::Fenced, _) => {}
        }
    }

    /// Whether records can be appended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Everything before this is confirmed.
    #[must_use]
    pub fn confirmed_end(&self) -> Lsn {
        self.confirmed_end
    }

    /// Where the next record will be.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.window.next()
    }

    /// Bytes appended and not confirmed.
    #[must_use]
    pub fn unconfirmed_bytes(&self) -> u64 {
        self.window.unconfirmed_bytes()
    }

    /// What it is waiting for, one line each; nothing when all is confirmed.
    #[must_use]
    pub fn blocked(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.phase {
            Phase::Closed | Phase::Open(_) => {}
            Phase::Claiming(claim) => lines.push(format!("wal: claim waits for {}", claim.waits())),
            Phase::Fenced => lines.push("wal: fenced".into()),
        }
        self.window.blocked(|lsn, waits| lines.push(format!("wal: {lsn:?} waits for {waits}")));
        match &self.verify {
            Verify::Idle => {}
            Verify::Listing { covers, .. } => {
                lines.push(format!("wal: records before {covers:?} wait for the ownership check"));
            }
            Verify::Resting(_) => lines.push("wal: the ownership check waits to try again".into()),
        }
        lines
    }

    fn close_bulk(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        self.window.close_bulk();
        out.disarm(TimerKey::WalBulk);
        self.start_puts(cx, out);
    }

    fn start_puts(&mut self, cx: &Cx, out: &mut Outbox<Effect>) {
        let maker = Maker {
            node: self.node,
            epoch: self.epoch,
            trim: self.cleanup.trim(),
            puts_max: self.limits.wal_puts_in_flight_max,
        };
        self.window.start_puts(maker, &mut Io { cx, seqs: &mut self.seqs, out });
    }

    fn put_done(
        &mut self,
        cx: &Cx,
        outcome: PutOutcome,
        out: &mut Outbox<Effect>,
        events: &mut Vec<WalEvent>,
    ) {
        match outcome {
            PutOutcome::Pending => return,
            PutOutcome::Foreign | PutOutcome::InVain => return self.fence(false, out, events),
            PutOutcome::Durable(object) => self.durable(cx, object, out, events),
            PutOutcome::Failed(records) => {
                let failed = |(lsn, record)| WalEvent::Failed { lsn, record };
                events.extend(records.into_iter().map(failed));
            }
        }
        self.start_puts(cx, out);
    }

    fn durable(
        &mut self,
        cx: &Cx,
        object: Durable,
        out: &mut Outbox<Effect>,
        events: &mut Vec<WalEvent>,
    ) {
        if cx.mutants.on(Mutant::WalCacheOnPutOrder) {
            let stored = |(lsn, record)| WalEvent::Stored { lsn, record };
            events.extend(self.window.records_of(object.start).into_iter().map(stored));
        }
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        self.cleanup.trim_is_durable(object.trim);
        self.cleanup.delete(&mut io);
        if cx.mutants.on(Mutant::WalAckBeforeVerify) {
            let durable_end = self.window.durable_end(&io).unwrap_or(self.confirmed_end);
            self.confirm(cx, (0, durable_end), out, events);
        } else if self.verify == Verify::Idle {
            self.send_verify(cx, Tries::default(), out);
        }
    }

    /// Begins a check of ownership for all that is durable now, if anything new is, and for the
    /// proofs asked for.
    fn send_verify(&mut self, cx: &Cx, tries: Tries, out: &mut Outbox<Effect>) {
        let Phase::Open(number) = self.phase else { panic!("verify in {:?}", self.phase) };
        let mut io = Io { cx, seqs: &mut self.seqs, out };
        let covers = self.window.durable_end(&io).filter(|&end| end > self.confirmed_end);
        let Proofs { asked: proofs, given } = self.proofs;
        if covers.is_none() && proofs == given {
            self.verify = Verify::Idle;
            return;
        }
        let covers = covers.unwrap_or(self.confirmed_end);
        let seq = send_verify(self.node, number, Flow::Claim, &mut io);
        out.probe(Probe::WalVerifySent { seq, covers });
        self.verify = Verify::Listing { seq, covers, proofs, tries };
    }

    fn verified(
        &mut self,
        cx: &Cx,
        result: &ObjResult,
        out: &mut Outbox<Effect>,
        events: &mut Vec<WalEvent>,
    ) {
        let Verify::Listing { seq, mut covers, proofs, mut tries } = self.verify else {
            panic!("no check is on its way")
        };
        match result {
            ObjResult::Keys { keys, more: false } if keys.is_empty() => {
                if cx.mutants.on(Mutant::WalVerifyBeforePut) {
                    let io = Io { cx, seqs: &mut self.seqs, out };
                    covers = self.window.durable_end(&io).unwrap_or(covers);
                }
                self.confirm(cx, (seq, covers), out, events);
                if proofs > self.proofs.given {
                    self.proofs.given = proofs;
                    events.push(WalEvent::Proven { before: proofs });
                }
                self.send_verify(cx, Tries::default(), out);
            }
            ObjResult::Keys { keys, .. } if !keys.is_empty() => self.fence(true, out, events),
            ObjResult::Unknown if tries.unknown + 1 >= UNKNOWN_MAX => {
                self.fence(false, out, events);
            }
            ObjResult::Unknown => {
                tries.unknown += 1;
                self.rest(tries, out);
            }
            // An empty page that is not the last shows nothing.
            ObjResult::SlowDown | ObjResult::Keys { .. } => self.rest(tries, out),
            ObjResult::Done { .. }
            | ObjResult::Body { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed => panic!("ownership check ended with {result:?}"),
        }
    }

    fn rest(&mut self, mut tries: Tries, out: &mut Outbox<Effect>) {
        out.arm(TimerKey::WalVerify, tries.backoff.failed());
        self.verify = Verify::Resting(tries);
    }

    fn confirm(
        &mut self,
        cx: &Cx,
        (seq, upto): (u64, Lsn),
        out: &mut Outbox<Effect>,
        events: &mut Vec<WalEvent>,
    ) {
        if upto <= self.confirmed_end {
            return;
        }
        self.confirmed_end = upto;
        out.probe(Probe::WalConfirmed { seq, epoch: self.epoch, end: upto });
        self.window.confirm(upto, |lsn, record| {
            let WalRecord { stream, epoch, base, end, .. } = record;
            out.probe(Probe::WalRecordConfirmed { lsn, stream, epoch, base, end });
            events.push(WalEvent::Confirmed { lsn, record });
        });
        while let Some(object) = self.window.pop_confirmed(upto) {
            self.cleanup.add(object);
        }
        self.cleanup.delete(&mut Io { cx, seqs: &mut self.seqs, out });
        if self.refused {
            self.refused = false;
            out.probe(Probe::WalBackPressure { on: false });
            events.push(WalEvent::Room);
        }
    }

    fn fence(&mut self, claimed: bool, out: &mut Outbox<Effect>, events: &mut Vec<WalEvent>) {
        self.phase = Phase::Fenced;
        self.verify = Verify::Idle;
        out.probe(Probe::WalFenced { claimed });
        events.push(WalEvent::Fenced);
    }
}
