//! How a flow deals with the object store: numbered operations, back-off, create-only puts.
//!
//! It knows nothing of what the objects mean. Source: S3's conditional writes and its advice on
//! `503 SlowDown` (retry after 2 s, then 4 s), scaled to the latency of small objects.

pub(crate) mod create;
#[cfg(test)]
pub(crate) mod fake;

use crate::ids::Incarnation;
use crate::step::{Cx, Effect, Flow, ObjOp, Outbox, Tok};
use crate::time::Dur;

/// Wait before the first retry. A small put takes about 30 ms: this is past its usual tail.
pub(crate) const BACKOFF_FIRST: Dur = Dur::ms(100);

/// Doublings of [`BACKOFF_FIRST`] at most: 3.2 s, near S3's second step of 4 s.
const BACKOFF_DOUBLINGS_MAX: u32 = 5;

/// Rounds without an answer, in a row, after which a WAL counts its store as lost. With the
/// back-off this is longer than a broker's session (9 s): by then a successor is likely, and a
/// fresh start cheap. `SlowDown` does not count: a store that answers is no reason to doubt.
pub(crate) const UNKNOWN_MAX: u32 = 8;

/// Counts failures in a row and says how long to wait after the latest.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// Notes a failure; how long to wait before the next try.
    pub(crate) fn failed(&mut self) -> Dur {
        let wait = BACKOFF_FIRST.times(1 << self.0);
        // The count stops at the longest wait, so that a model's states stay finite.
        self.0 = (self.0 + 1).min(BACKOFF_DOUBLINGS_MAX);
        wait
    }

    /// Notes a success.
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Numbers the operations of one process's flow, so that every completion finds its question.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Seqs {
    incarnation: Incarnation,
    next: u64,
}

impl Seqs {
    /// Numbers from `first` on, for this process.
    pub(crate) fn new(incarnation: Incarnation, first: u64) -> Self {
        Self { incarnation, next: first }
    }

    /// A number never given before in this process.
    pub(crate) fn take(&mut self) -> u64 {
        let seq = self.next;
        self.next += 1;
        seq
    }

    /// Whether a completion belongs to this process.
    pub(crate) fn is_current(&self, tok: Tok) -> bool {
        tok.incarnation == self.incarnation
    }

    /// Starts `op` for `flow` and returns its number.
    pub(crate) fn send(&mut self, flow: Flow, op: ObjOp, out: &mut Outbox<Effect>) -> u64 {
        let seq = self.take();
        out.push(Effect::Obj(Tok { incarnation: self.incarnation, flow, seq }, op));
        seq
    }

    /// 64 bits for an object about to be made: random, and different within one step as well.
    pub(crate) fn nonce(&mut self, cx: &Cx) -> u64 {
        // The golden ratio's odd multiple spreads the counter over all bits (splitmix64).
        cx.entropy.wrapping_add(self.take().wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}
