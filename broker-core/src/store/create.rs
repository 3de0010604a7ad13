//! One create-only put, carried to a definite end: created by us, or the key is someone else's.
//!
//! An unanswered put may have happened, may still happen or may never happen, so the same bytes are
//! put again, and a refusal is resolved by reading what is there: the header, with its nonce, says
//! whose it is (aws-sdk-java-v2 #6580: a retried conditional put is refused by its own first
//! attempt). Claims, WAL objects and data objects all go through here.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{Lsn, NodeId, ObjectId};
use crate::mutants::Mutant;
use crate::probe::Probe;
use crate::step::{Cond, Cx, Effect, Flow, Key, ObjOp, ObjResult, Outbox, TimerKey};
use crate::store::{Backoff, Seqs, UNKNOWN_MAX};
use crate::time::Dur;

/// What is being created; decides the probes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    /// A claim on the WAL of this node.
    Claim { of: NodeId, number: u64 },
    /// A WAL object.
    Wal { start: Lsn, end: Lsn },
    /// A data object.
    Data(ObjectId),
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    /// The object is there, and it is ours.
    Ours,
    /// Another object is there under this key.
    Foreign,
}

/// The put.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CreateOnly {
    subject: Subject,
    flow: Flow,
    timer: TimerKey,
    key: Key,
    body: Bytes,
    header_bytes: usize,
    hedge_after: Option<Dur>,
    attempts: u32,
    /// Rounds in a row that ended without any answer.
    unknown: u32,
    backoff: Backoff,
    phase: Phase,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// Copies of the put are on the way: one, or two while hedged.
    Putting(Vec<u64>),
    /// Waits to put again.
    RestingToPut,
    /// Refused: reads the header of what is there.
    Looking(u64),
    /// Waits to read again.
    RestingToLook,
}

/// What a [`CreateOnly`] works with during one step.
pub(crate) struct Io<'a> {
    pub(crate) cx: &'a Cx,
    pub(crate) seqs: &'a mut Seqs,
    pub(crate) out: &'a mut Outbox<Effect>,
}

/// How a [`CreateOnly`] is set up.
pub(crate) struct Setup {
    pub(crate) subject: Subject,
    pub(crate) flow: Flow,
    /// Fires to retry and, where hedging is asked for, to hedge.
    pub(crate) timer: TimerKey,
    pub(crate) key: Key,
    pub(crate) body: Bytes,
    /// The front part of `body` that identifies it: holds the nonce.
    pub(crate) header_bytes: usize,
    /// Send a second copy if the first is not answered for so long.
    pub(crate) hedge_after: Option<Dur>,
}

impl CreateOnly {
    /// Sends the first put.
    pub(crate) fn start(setup: Setup, io: &mut Io<'_>) -> Self {
        let Setup { subject, flow, timer, key, body, header_bytes, hedge_after } = setup;
        assert!(header_bytes <= body.len(), "header of {header_bytes} bytes in {}", body.len());
        let mut this = Self {
            subject,
            flow,
            timer,
            key,
            body,
            header_bytes,
            hedge_after,
            attempts: 0,
            unknown: 0,
            backoff: Backoff::default(),
            phase: Phase::RestingToPut,
        };
        this.put(Vec::new(), io);
        this
    }

    /// Whether the operation `seq` is one of this put's.
    pub(crate) fn waits_for(&self, seq: u64) -> bool {
        match &self.phase {
            Phase::Putting(puts) => puts.contains(&seq),
            Phase::Looking(get) => *get == seq,
            Phase::RestingToPut | Phase::RestingToLook => false,
        }
    }

    /// Size of the object in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.body.len() as u64
    }

    /// Whether the store has given no answer for so long that it must count as lost to us.
    pub(crate) fn is_in_vain(&self) -> bool {
        self.unknown >= UNKNOWN_MAX
    }

    /// What it is waiting for.
    pub(crate) fn waits(&self) -> &'static str {
        match self.phase {
            Phase::Putting(_) => "a put",
            Phase::Looking(_) => "a look at what is in its place",
            Phase::RestingToPut => "time to put again",
            Phase::RestingToLook => "time to look again",
        }
    }

    /// Handles the answer to one of its operations; answers to others are ignored.
    pub(crate) fn obj_done(
        &mut self,
        seq: u64,
        result: &ObjResult,
        io: &mut Io<'_>,
    ) -> Option<Created> {
        if !self.waits_for(seq) {
            return None;
        }
        if *result != ObjResult::Unknown {
            self.unknown = 0;
        }
        let created = match core::mem::replace(&mut self.phase, Phase::RestingToPut) {
            Phase::Putting(mut puts) => {
                puts.retain(|&put| put != seq);
                self.put_done(puts, result, io)
            }
            Phase::Looking(_) => self.look_done(result, io),
            Phase::RestingToPut | Phase::RestingToLook => unreachable!("waits for nothing"),
        };
        if created.is_some() {
            io.out.disarm(self.timer);
        }
        created
    }

    /// The timer fired: hedges, puts again or reads again.
    pub(crate) fn timer(&mut self, io: &mut Io<'_>) {
        match core::mem::replace(&mut self.phase, Phase::RestingToPut) {
            Phase::Putting(puts) if puts.len() == 1 && self.hedge_after.is_some() => {
                self.put(puts, io);
            }
            Phase::RestingToPut => self.put(Vec::new(), io),
            Phase::RestingToLook => self.look(io),
            phase @ (Phase::Putting(_) | Phase::Looking(_)) => self.phase = phase,
        }
    }

    fn put_done(
        &mut self,
        others: Vec<u64>,
        result: &ObjResult,
        io: &mut Io<'_>,
    ) -> Option<Created> {
        match result {
            ObjResult::Done { .. } => return Some(Created::Ours),
            ObjResult::PreconditionFailed => {
                if io.cx.mutants.on(Mutant::WalRefusedIsDone) && self.is_wal() {
                    return Some(Created::Ours);
                }
                self.look(io);
            }
            // Another copy is still on the way: its answer, or its silence, decides.
            ObjResult::SlowDown | ObjResult::Unknown if !others.is_empty() => {
                self.phase = Phase::Putting(others);
            }
            ObjResult::SlowDown if io.cx.mutants.on(Mutant::UploadNoBackoff) && !self.is_wal() => {
                self.put(Vec::new(), io);
            }
            ObjResult::SlowDown | ObjResult::Unknown => self.rest(Phase::RestingToPut, result, io),
            ObjResult::Body { .. } | ObjResult::Keys { .. } | ObjResult::NotFound => {
                panic!("put of {} ended with {result:?}", self.key)
            }
        }
        None
    }

    fn look_done(&mut self, result: &ObjResult, io: &mut Io<'_>) -> Option<Created> {
        match result {
            ObjResult::Body { data, .. } if data[..] == self.body[..self.header_bytes] => {
                match self.subject {
                    Subject::Claim { of, .. } => io.out.probe(Probe::ClaimOwnSeen { of }),
                    Subject::Wal { start, .. } => io.out.probe(Probe::WalOwnWriteSeen { start }),
                    Subject::Data(object) => io.out.probe(Probe::UploadOwnWriteSeen { object }),
                }
                return Some(Created::Ours);
            }
            ObjResult::Body { .. } => return Some(Created::Foreign),
            // Refused, yet nothing is there: S3's 409 for two writers at once, or it was deleted
            // since. The same bytes may still be created.
            ObjResult::NotFound => self.rest(Phase::RestingToPut, result, io),
            ObjResult::SlowDown | ObjResult::Unknown => {
                self.rest(Phase::RestingToLook, result, io);
            }
            ObjResult::Done { .. } | ObjResult::Keys { .. } | ObjResult::PreconditionFailed => {
                panic!("get of {} ended with {result:?}", self.key)
            }
        }
        None
    }

    fn rest(&mut self, phase: Phase, after: &ObjResult, io: &mut Io<'_>) {
        self.unknown += u32::from(*after == ObjResult::Unknown);
        self.phase = phase;
        io.out.arm(self.timer, self.backoff.failed());
    }

    fn put(&mut self, mut puts: Vec<u64>, io: &mut Io<'_>) {
        let overwrite = io.cx.mutants.on(Mutant::WalClaimOverwrites)
            && matches!(self.subject, Subject::Claim { .. });
        let cond = if overwrite { Cond::None } else { Cond::IfAbsent };
        let op = ObjOp::Put { key: self.key.clone(), body: self.body.clone(), cond };
        puts.push(io.seqs.send(self.flow, op, io.out));
        match self.subject {
            Subject::Claim { of, number } => io.out.probe(Probe::ClaimSent { of, number }),
            Subject::Wal { start, end } => {
                io.out.probe(Probe::WalPutSent { start, end, attempt: self.attempts });
            }
            Subject::Data(object) => io.out.probe(Probe::UploadPutSent { object }),
        }
        self.attempts = self.attempts.saturating_add(1);
        if let (1, Some(after)) = (puts.len(), self.hedge_after) {
            io.out.arm(self.timer, after);
        }
        self.phase = Phase::Putting(puts);
    }

    fn look(&mut self, io: &mut Io<'_>) {
        let range = Some((0, self.header_bytes as u64));
        let op = ObjOp::Get { key: self.key.clone(), range };
        self.phase = Phase::Looking(io.seqs.send(self.flow, op, io.out));
        // The hedge's timer means nothing any more.
        io.out.disarm(self.timer);
    }

    fn is_wal(&self) -> bool {
        match self.subject {
            Subject::Claim { .. } | Subject::Wal { .. } => true,
            Subject::Data(_) => false,
        }
    }
}
