//! What follows a decision: markers in every partition of the transaction, then the record that it
//! is complete; and the end of what has taken too long.
//!
//! Markers are sent by the broker, to whoever leads the partition then, until they are taken.
//! Source: `TransactionMarkerChannelManager.scala`, `TransactionMarkerRequestCompletionHandler`,
//! `TransactionStateManager.timedOutTransactions`, KIP-98.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{CLEANUP, CLEANUP_INTERVAL, EXPIRATION, FreshId, Transactions, Txn, TxnRecord};
use crate::coordinator::Outcome;
use crate::ids::{Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::mutants::Mutant;
use crate::protocol::{ErrorCode, TransactionResult, TransactionVersion, TxnState};
use crate::step::Cx;
use crate::time::{Dur, Wall};

/// A transaction that is decided and whose markers are due. The offset of its record names the
/// decision: an answer about another one's markers says nothing about this one's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Decision {
    /// The transactional id.
    pub id: String,
    /// Of the record.
    pub at: Offset,
}

/// Markers that are due.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owed {
    /// Whose transaction.
    pub producer: ProducerId,
    /// The epoch that the markers carry.
    pub epoch: ProducerEpoch,
    /// How it ends.
    pub result: TransactionResult,
    /// By which protocol.
    pub version: TransactionVersion,
    /// Where.
    pub partitions: Vec<TopicPartition>,
}

/// What became of a marker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It is durable, or its topic is gone.
    Written,
    /// It may be or not, or can not be yet: to be sent again.
    Unwritten,
    /// Somebody newer has taken the transaction over.
    Overtaken,
}

impl Fate {
    /// What an answer to a marker says.
    #[must_use]
    pub fn of(result: Result<(), ErrorCode>) -> Self {
        let fenced = [ErrorCode::InvalidProducerEpoch, ErrorCode::TransactionCoordinatorFenced];
        match result {
            Ok(()) => Self::Written,
            Err(code) if fenced.contains(&code) => Self::Overtaken,
            Err(_) => Self::Unwritten,
        }
    }
}

/// The markers of a decision.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Marking {
    at: Offset,
    /// Partitions whose marker is not known to be durable, and whether it is on its way.
    left: BTreeMap<TopicPartition, bool>,
    /// Some marker had to be sent again.
    again: bool,
}

impl Marking {
    pub(super) fn left(&self) -> Vec<TopicPartition> {
        self.left.keys().copied().collect()
    }
}

impl Transactions {
    pub(super) fn begin_marking(&mut self, id: &str, at: Offset) -> Decision {
        let left = self.known[id].txn.partitions.iter().map(|partition| (*partition, false));
        self.marking.insert(id.to_string(), Marking { at, left: left.collect(), again: false });
        Decision { id: id.to_string(), at }
    }

    /// Every decision whose markers are not all written.
    pub fn decisions(&self) -> impl Iterator<Item = Decision> + '_ {
        self.marking.iter().map(|(id, marking)| Decision { id: id.clone(), at: marking.at })
    }

    /// The markers of a decision that are not on their way; they are, then.
    pub fn due(&mut self, decision: &Decision) -> Option<Owed> {
        let marking = self.marking.get_mut(&decision.id)?;
        if marking.at != decision.at {
            return None;
        }
        let idle = marking.left.iter_mut().filter(|(_, asked)| !**asked);
        let due = idle.map(|(partition, asked)| {
            *asked = true;
            *partition
        });
        let partitions = due.collect();
        let txn = &self.known[&decision.id].txn;
        let (producer, epoch, version) = (txn.producer, txn.epoch, txn.version);
        Some(Owed { producer, epoch, result: txn.result()?, version, partitions })
    }

    /// What became of markers of a decision. When all are written the transaction is complete.
    pub fn marked(
        &mut self,
        cx: &Cx,
        decision: &Decision,
        fates: impl Iterator<Item = (TopicPartition, Fate)>,
        out: &mut Outcome<Self>,
    ) {
        let Some(marking) = self.marking.get_mut(&decision.id) else { return };
        if marking.at != decision.at {
            return;
        }
        for (partition, fate) in fates {
            match fate {
                Fate::Written => {
                    marking.left.remove(&partition);
                }
                Fate::Unwritten if cx.mutants.on(Mutant::TxnMarkerGivenUp) => {
                    marking.left.remove(&partition);
                }
                Fate::Unwritten => {
                    marking.again = true;
                    if let Some(asked) = marking.left.get_mut(&partition) {
                        *asked = false;
                    }
                }
                Fate::Overtaken => {
                    self.marking.remove(&decision.id);
                    return;
                }
            }
        }
        if !marking.left.is_empty() {
            return;
        }
        let again = marking.again;
        self.marking.remove(&decision.id);
        if again && cx.mutants.on(Mutant::TxnCompletionLost) {
            return;
        }
        let txn = self.known[&decision.id].txn.completed(cx.wall);
        out.records.push(TxnRecord { id: decision.id.clone(), txn: Some(txn) });
    }

    /// Aborts transactions that are open for too long, forgets ids that have had none for too long.
    pub fn timer(&mut self, cx: &Cx, number: u64, fresh: FreshId<'_>, out: &mut Outcome<Self>) {
        assert_eq!(number, CLEANUP, "no other timer is armed");
        out.timers.push((CLEANUP, Some(CLEANUP_INTERVAL)));
        let mut fresh = || fresh().ok_or(ErrorCode::CoordinatorLoadInProgress);
        for (id, known) in self.known.iter().filter(|(_, known)| known.confirmed) {
            let txn = &known.txn;
            let decided = cx.mutants.on(Mutant::TxnTimeoutDecided)
                && txn.state == TxnState::PrepareCommit
                && txn.started.is_some_and(|began| cx.wall.0 - began.0 > 1_000_000);
            if decided || txn.is_open_for(cx.wall).is_some_and(|open| open > txn.timeout) {
                // Without an id at hand the next round sees to it.
                let Ok(fenced) = txn.timed_out(cx, self.epoch_max, &mut fresh) else { continue };
                out.records.push(TxnRecord { id: id.clone(), txn: Some(fenced) });
            } else if txn.is_expired(cx.wall) {
                out.records.push(TxnRecord { id: id.clone(), txn: None });
            }
        }
    }
}

impl Txn {
    /// How it was decided.
    pub(super) fn result(&self) -> Option<TransactionResult> {
        match self.state {
            TxnState::PrepareCommit => Some(TransactionResult::Commit),
            TxnState::PrepareAbort => Some(TransactionResult::Abort),
            TxnState::Empty
            | TxnState::Ongoing
            | TxnState::CompleteCommit
            | TxnState::CompleteAbort
            | TxnState::Dead => None,
        }
    }

    /// All its markers are written.
    fn completed(&self, now: Wall) -> Self {
        let mut txn = self.clone();
        txn.state = match self.result() {
            Some(TransactionResult::Commit) => TxnState::CompleteCommit,
            Some(TransactionResult::Abort) => TxnState::CompleteAbort,
            None => panic!("{:?} is completed without a decision", self.state),
        };
        txn.partitions = BTreeSet::new();
        txn.updated = now;
        if let Some(next) = txn.next.take() {
            txn.previous = Some(txn.producer);
            (txn.producer, txn.epoch) = (next, ProducerEpoch(0));
        }
        txn
    }

    fn timed_out(
        &self,
        cx: &Cx,
        epoch_max: ProducerEpoch,
        fresh: &mut dyn FnMut() -> Result<ProducerId, ErrorCode>,
    ) -> Result<Self, ErrorCode> {
        let mut txn = self.fenced(cx, epoch_max, fresh)?;
        if cx.mutants.on(Mutant::TxnTimeoutUnfenced) {
            (txn.epoch, txn.last_epoch) = (self.epoch, self.last_epoch);
        }
        Ok(txn)
    }

    fn is_expired(&self, now: Wall) -> bool {
        let idle = Dur(u64::try_from(now.0.saturating_sub(self.updated.0)).unwrap_or(0));
        match self.state {
            TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => {
                idle >= EXPIRATION
            }
            TxnState::Ongoing
            | TxnState::PrepareCommit
            | TxnState::PrepareAbort
            | TxnState::Dead => false,
        }
    }
}
