//! What lines must keep to among one another: time does not go back, a call is begun once and ended
//! once, values are sent once, a transaction has one producer and is decided once. Its memory is
//! bounded by the calls that are open, the transactions, and the gaps between the values.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::fields::{Field, Function};
use crate::history::TransactionalId;

/// A call that has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Begun {
    pub(super) function: Function,
    pub(super) line: u64,
    /// An answer must give an offset.
    pub(super) placed: bool,
    /// Decides this transaction.
    pub(super) decides: Option<u32>,
}

/// Whose call names a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct By {
    pub(super) client: u16,
    /// If it is told.
    pub(super) id: Option<TransactionalId>,
    pub(super) line: u64,
}

/// How far a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Writing,
    /// Its end was asked for; nobody knows (yet) what became of that.
    Deciding {
        commit: bool,
        open: bool,
        /// An attempt before may have been carried out, whatever becomes of this one.
        doubtful: bool,
    },
    Decided,
    /// Its end was refused.
    Refused,
}

/// A field that is wrong, and what would be right.
pub(super) type Wrong = (Field, String);

/// What came before.
#[derive(Clone, Default, Debug)]
pub(super) struct Order {
    time_us: u64,
    open: BTreeMap<(u16, u32), Begun>,
    /// What was sent: start → end.
    values: BTreeMap<u64, u64>,
    transactions: BTreeMap<u32, Stage>,
    /// The first call of each transaction that told its transactional id, else the first.
    producers: BTreeMap<u32, By>,
}

impl Order {
    pub(super) fn time(&mut self, time_us: u64) -> Result<(), Wrong> {
        let before = core::mem::replace(&mut self.time_us, time_us);
        if time_us < before {
            let why = format!("{time_us}; allowed: not less than {before}, the time before it");
            return Err((Field::Time, why));
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, key: (u16, u32), begun: Begun) -> Result<(), Wrong> {
        if let Some(known) = self.open.insert(key, begun) {
            let ((client, call), line) = (key, known.line);
            let why = format!(
                "{call} of client {client} is open since line {line}; allowed: a call that is not"
            );
            return Err((Field::Call, why));
        }
        Ok(())
    }

    /// The call that a line ends.
    pub(super) fn end(
        &mut self,
        key: (u16, u32),
        function: Option<Function>,
    ) -> Result<Begun, Wrong> {
        let Some(begun) = self.open.remove(&key) else {
            let (client, call) = key;
            let why = format!("client {client} has no call {call} open; allowed: one that is");
            return Err((Field::Call, why));
        };
        if function.is_some_and(|function| function != begun.function) {
            let why = format!("not what line {} began; allowed: the same, or nothing", begun.line);
            return Err((Field::Function, why));
        }
        Ok(begun)
    }

    pub(super) fn send(&mut self, first: u64, count: u32) -> Result<(), Wrong> {
        let end = first + u64::from(count);
        let before = self.values.range(..end).next_back().map(|(from, upto)| (*from, *upto));
        let Some((from, upto)) = before.filter(|(_, upto)| *upto >= first) else {
            self.values.insert(first, end);
            return Ok(());
        };
        if upto > first {
            let why = format!(
                "{first} to {} overlap values sent before; allowed: each value once in the file",
                end - 1
            );
            return Err((Field::FirstValue, why));
        }
        self.values.insert(from, end);
        Ok(())
    }

    /// A call names a transaction: all its calls are of one client, and of one transactional id.
    pub(super) fn belongs(&mut self, txn: u32, by: By) -> Result<(), Wrong> {
        let known = self.producers.entry(txn).or_insert_with(|| by.clone());
        let line = known.line;
        if known.client != by.client {
            let whose = known.client;
            let why = format!(
                "{txn}, on a call of client {}, is that of client {whose} since line {line}; \
                 allowed: a transaction of this client's",
                by.client
            );
            return Err((Field::Txn, why));
        }
        match (&known.id, &by.id) {
            (Some(id), Some(other)) if id != other => {
                let why = format!(
                    "{other:?}, and transaction {txn} is that of {id:?} since line {line}; \
                     allowed: one transactional id for all calls of a transaction"
                );
                return Err((Field::TransactionalId, why));
            }
            (None, Some(_)) => *known = by,
            (_, _) => {}
        }
        Ok(())
    }

    /// A batch is sent in a transaction.
    pub(super) fn write(&mut self, txn: u32) -> Result<(), Wrong> {
        match self.transactions.entry(txn).or_insert(Stage::Writing) {
            Stage::Writing => Ok(()),
            Stage::Deciding { .. } | Stage::Decided | Stage::Refused => {
                let why = format!(
                    "the end of {txn} was asked for; allowed: each transaction has its own number"
                );
                Err((Field::Txn, why))
            }
        }
    }

    /// A transaction's end is asked for.
    pub(super) fn decide(&mut self, txn: u32, commit: bool) -> Result<(), Wrong> {
        let stage = self.transactions.entry(txn).or_insert(Stage::Writing);
        let why = match *stage {
            Stage::Writing | Stage::Refused => None,
            Stage::Deciding { open: false, commit: before, .. } if before == commit => None,
            Stage::Deciding { open: true, .. } => Some("its end is being asked for already"),
            Stage::Deciding { .. } => Some("nobody knows whether it has ended the other way"),
            Stage::Decided => Some("it has ended"),
        };
        if let Some(why) = why {
            let why = format!("{txn}: {why}; allowed: one decision per transaction");
            return Err((Field::Txn, why));
        }
        let doubtful = matches!(stage, Stage::Deciding { doubtful: true, .. });
        *stage = Stage::Deciding { commit, open: true, doubtful };
        Ok(())
    }

    /// What became of that; `None`: nobody knows.
    pub(super) fn decided(&mut self, txn: u32, done: Option<bool>) {
        let Some(stage) = self.transactions.get_mut(&txn) else { return };
        if let Stage::Deciding { commit, doubtful, .. } = *stage {
            *stage = match done {
                Some(true) => Stage::Decided,
                Some(false) if !doubtful => Stage::Refused,
                Some(false) | None => Stage::Deciding { commit, open: false, doubtful: true },
            };
        }
    }
}
