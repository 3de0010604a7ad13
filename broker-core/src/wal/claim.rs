//! Claims: who owns a WAL, by nothing but atomic create-if-absent and a list.
//!
//! Numbered create-only objects; the newest one owns. Taking: list to the last page, create the
//! next number; if another's is there, start again. Owning: a list behind one's own number is
//! empty. The newest claim is never deleted, so whoever owned before is fenced for good from the
//! moment a later claim lands, even if that one is replaced and deleted in turn. Stands in for
//! AutoMQ's `ObjectReservationService`, whose unconditional put lets the last writer win.
//!
//! A claim says nothing of the WAL's epoch: that of a recoverer that is out of date fences the
//! node's next registration, which then starts over. That costs time, never data.

use alloc::vec::Vec;

use crate::ids::{BrokerEpoch, NodeId};
use crate::mutants::Mutant;
use crate::object::{claim_key, claim_prefix, parse_claim_key};
use crate::probe::Probe;
use crate::step::{Flow, Key, ObjOp, ObjResult, TimerKey};
use crate::store::Backoff;
use crate::store::create::{CreateOnly, Created, Io, Setup, Subject};
use crate::wal::record::{ClaimBody, encode_claim};

/// The taking of a claim.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Claim {
    terms: Terms,
    backoff: Backoff,
    /// Claims seen in the list: deleted once ours is newer. A few: every taker cleans up.
    seen: Vec<u64>,
    phase: Phase,
}

/// Who claims what, and under which names its operations run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Terms {
    pub(crate) of: NodeId,
    pub(crate) claimant: NodeId,
    pub(crate) epoch: BrokerEpoch,
    pub(crate) flow: Flow,
    pub(crate) timer: TimerKey,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// Reads a page of the claims.
    Listing(u64),
    /// Waits to read that page again.
    RestingToList,
    /// Creates the claim with this number.
    Putting(u64, CreateOnly),
}

impl Claim {
    /// Begins with the list.
    pub(crate) fn start(terms: Terms, io: &mut Io<'_>) -> Self {
        let phase = Phase::RestingToList;
        let mut this = Self { terms, backoff: Backoff::default(), seen: Vec::new(), phase };
        this.list(io);
        this
    }

    /// Handles an answer; the claim's number once it is ours.
    pub(crate) fn obj_done(
        &mut self,
        seq: u64,
        result: &ObjResult,
        io: &mut Io<'_>,
    ) -> Option<u64> {
        match &mut self.phase {
            Phase::Listing(list) if *list == seq => self.listed(result, io),
            Phase::Putting(number, put) => {
                let number = *number;
                match put.obj_done(seq, result, io)? {
                    Created::Ours => return Some(self.taken(number, io)),
                    Created::Foreign => {
                        self.seen.clear();
                        self.list(io);
                    }
                }
            }
            Phase::Listing(_) | Phase::RestingToList => {}
        }
        None
    }

    /// The claim's timer fired.
    pub(crate) fn timer(&mut self, io: &mut Io<'_>) {
        match &mut self.phase {
            Phase::RestingToList => self.list(io),
            Phase::Putting(_, put) => put.timer(io),
            Phase::Listing(_) => {}
        }
    }

    /// What it is waiting for.
    pub(crate) fn waits(&self) -> &'static str {
        match &self.phase {
            Phase::Listing(_) => "a list of claims",
            Phase::RestingToList => "time to list claims again",
            Phase::Putting(_, put) => put.waits(),
        }
    }

    fn listed(&mut self, result: &ObjResult, io: &mut Io<'_>) {
        match result {
            ObjResult::Keys { keys, more } => {
                // An empty page that is not the last shows nothing.
                if *more && keys.is_empty() && !io.cx.mutants.on(Mutant::ListEmptyPageEnds) {
                    return self.rest(io);
                }
                self.backoff.reset();
                self.seen.extend(keys.iter().filter_map(parse_claim_key).map(|(_, number)| number));
                if *more && !keys.is_empty() {
                    self.list(io);
                } else {
                    let over = u64::from(!io.cx.mutants.on(Mutant::WalClaimOverwrites));
                    self.put(self.seen.last().map_or(1, |newest| newest + over), io);
                }
            }
            ObjResult::SlowDown | ObjResult::Unknown => self.rest(io),
            ObjResult::Done { .. }
            | ObjResult::Body { .. }
            | ObjResult::NotFound
            | ObjResult::PreconditionFailed => panic!("list of claims ended with {result:?}"),
        }
    }

    fn list(&mut self, io: &mut Io<'_>) {
        let of = self.terms.of;
        let after = self.seen.last().map(|&last| claim_key(of, last));
        self.phase = Phase::Listing(send_list(claim_prefix(of), after, self.terms.flow, io));
    }

    fn rest(&mut self, io: &mut Io<'_>) {
        self.phase = Phase::RestingToList;
        io.out.arm(self.terms.timer, self.backoff.failed());
    }

    fn put(&mut self, number: u64, io: &mut Io<'_>) {
        let Terms { of, claimant, epoch, flow, timer } = self.terms;
        let nonce = io.seqs.nonce(io.cx);
        let body = encode_claim(ClaimBody { of, number, claimant, epoch, nonce });
        let setup = Setup {
            subject: Subject::Claim { of, number },
            flow,
            timer,
            key: claim_key(of, number),
            header_bytes: body.len(),
            body,
            hedge_after: None,
        };
        self.phase = Phase::Putting(number, CreateOnly::start(setup, io));
    }

    fn taken(&mut self, number: u64, io: &mut Io<'_>) -> u64 {
        let Terms { of, flow, .. } = self.terms;
        io.out.probe(Probe::ClaimTaken { of, number });
        // Garbage: a later claim exists. Whether these deletes happen matters to nobody.
        for old in core::mem::take(&mut self.seen).into_iter().filter(|&old| old < number) {
            io.seqs.send(flow, ObjOp::Delete { key: claim_key(of, old) }, io.out);
        }
        number
    }
}

/// Starts the check of ownership: a list of what is behind claim `number`.
pub(crate) fn send_verify(of: NodeId, number: u64, flow: Flow, io: &mut Io<'_>) -> u64 {
    send_list(claim_prefix(of), Some(claim_key(of, number)), flow, io)
}

fn send_list(prefix: Key, after: Option<Key>, flow: Flow, io: &mut Io<'_>) -> u64 {
    io.seqs.send(flow, ObjOp::List { prefix, after }, io.out)
}
