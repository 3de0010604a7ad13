//! What an application that runs on a client asks of it while it goes along, beside the operations
//! of a plan: a range of records, and transactions one step at a time.
//!
//! Each errand is a session like an operation; what is asked of brokers is in [`super::reader`] and
//! [`super::transaction`]. What the application makes of it is its own part.

use alloc::boxed::Box;
use alloc::string::String;

use broker_core::ids::{Offset, PartitionIndex};
use broker_core::protocol::Isolation;

use super::reader::{Kind, Mode, Reader};
use super::task::Task;
use super::transaction::Transaction;

/// What an application asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Errand {
    /// Read a partition from an offset up to another, which was seen to be there.
    Read {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// From here.
        from: Offset,
        /// Not up to this one.
        to: Offset,
    },
    /// Become the producer of a transactional id (`initTransactions`).
    InitTransactions {
        /// The topic that it will write.
        topic: String,
        /// The transactional id.
        id: String,
    },
    /// Send a batch within the transaction that is the errand; the first one begins it.
    TxnSend {
        /// The topic's name.
        topic: String,
        /// The transactional id.
        id: String,
        /// The partition.
        partition: PartitionIndex,
        /// Records in the batch.
        records: u32,
    },
    /// Commit the transaction that is the errand.
    TxnCommit,
}

/// What one more step of a transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TxnStep {
    Send { partition: PartitionIndex, records: u32 },
    Commit,
}

impl Errand {
    /// The task that it begins, if no transaction goes on with it.
    pub(super) fn task(self, lot: u64) -> Task {
        match self {
            Self::Read { topic, partition, from, to } => {
                let mode = Mode::Range { from, to };
                let kind = Kind { mode, isolation: Isolation::ReadUncommitted };
                Task::Reader(Reader::new(topic, partition, kind, lot))
            }
            Self::InitTransactions { topic, id } => {
                Task::Transaction(Box::new(Transaction::becoming(topic, id)))
            }
            Self::TxnSend { topic, id, partition, records } => {
                let mut transaction = Transaction::told(topic, id);
                transaction.tell(TxnStep::Send { partition, records });
                Task::Transaction(Box::new(transaction))
            }
            Self::TxnCommit => unreachable!("a transaction is committed after it has begun"),
        }
    }

    /// What it is to a transaction that has begun.
    pub(super) fn step(&self) -> Option<TxnStep> {
        match *self {
            Self::TxnSend { partition, records, .. } => Some(TxnStep::Send { partition, records }),
            Self::TxnCommit => Some(TxnStep::Commit),
            Self::Read { .. } | Self::InitTransactions { .. } => None,
        }
    }
}
