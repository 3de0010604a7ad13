//! A transaction, as its producer and its readers saw it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use broker_core::ids::{Offset, TopicPartition};

use crate::facts::clients::Outcome;
use crate::facts::producers::{Identity, Moment};

/// A transaction, by the operation that it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Transaction {
    /// Whether its commit or its abort was asked for, if its end was.
    pub(crate) commit: Option<bool>,
    /// What became of that.
    pub(crate) outcome: Outcome,
    /// An attempt at that may have been carried out, whatever became of later ones.
    pub(crate) doubtful: bool,
    /// The transactional id, if it is known.
    pub(crate) id: Option<u32>,
    /// When its first call began.
    pub(crate) began: Option<Moment>,
    /// Some produce is a part of it.
    pub(crate) written: bool,
    /// Who asked for it, and who somebody else had become by then.
    pub(crate) zombie: Option<(Identity, Identity)>,
    /// A reader of committed data was given a part of it.
    pub(crate) read: bool,
    /// Of a history alone: a part of it that such a reader passed over.
    pub(crate) passed: Option<(TopicPartition, Offset)>,
}

impl Transaction {
    /// Its commit was asked for, and not refused.
    pub(crate) fn may_be_committed(&self) -> bool {
        self.commit == Some(true) && self.outcome != Outcome::Failed
    }

    /// Whether it was committed, as its producer heard or readers of committed data saw; `None`:
    /// nobody knows.
    pub(crate) fn is_committed(&self) -> Option<bool> {
        if !self.may_be_committed() {
            return Some(false);
        }
        let shown = self.outcome == Outcome::Ok || self.read;
        shown.then_some(true).or(self.passed.map(|_| false))
    }

    /// Its end was asked for, and not refused.
    pub(crate) fn may_be_over(&self) -> bool {
        self.commit.is_some() && self.outcome != Outcome::Failed
    }

    /// The end that was asked for is over so.
    pub(crate) fn over(&mut self, outcome: Outcome) {
        self.doubtful |= outcome == Outcome::Unknown;
        let refused = outcome == Outcome::Failed;
        self.outcome = if refused && self.doubtful { Outcome::Unknown } else { outcome };
    }
}

/// What may be a part of a transaction.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Part {
    Partition(TopicPartition),
    /// Offsets of a group.
    Group(String),
}

/// What producers heard to be a part of their transactions.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Parts(BTreeMap<u32, BTreeSet<Part>>);

impl Parts {
    pub(crate) fn add(&mut self, txn: u32, part: Part) {
        self.0.entry(txn).or_default().insert(part);
    }

    pub(crate) fn has(&self, txn: u32, part: &Part) -> bool {
        self.0.get(&txn).is_some_and(|parts| parts.contains(part))
    }

    /// Whether the transaction has any.
    pub(crate) fn any(&self, txn: u32) -> bool {
        self.0.contains_key(&txn)
    }
}
