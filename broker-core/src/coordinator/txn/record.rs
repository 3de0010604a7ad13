//! The records of `__transaction_state`: one per change of a transactional id, which hold all that
//! is known of it.
//!
//! Kafka's `TransactionLogValue.json` says the same, but names partitions by the names of their
//! topics; here they have their ids, so that a topic created again is another one. Key: version u8,
//! the id in UTF-8. Value: version u8, then postcard.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str;

use serde::{Deserialize, Serialize};

use crate::coordinator::LogRecord;
use crate::format::FormatError;
use crate::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::protocol::{TransactionVersion, TxnState};
use crate::time::{Dur, Wall};

const VERSION: u8 = 0;

/// A transactional id, as of its newest record.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Txn {
    /// Its producer.
    pub producer: ProducerId,
    /// The producer's epoch. At the end of a transaction of the second protocol it is the raised
    /// one from the decision on.
    pub epoch: ProducerEpoch,
    /// The epoch before, if a retry by who had it is to be told from a zombie (KIP-360; KAFKA-20357
    /// forgot to write it).
    pub last_epoch: Option<ProducerEpoch>,
    /// The producer before, whose epochs were used up.
    pub previous: Option<ProducerId>,
    /// The producer that follows when the transaction is complete, for the epochs are used up.
    pub next: Option<ProducerId>,
    /// A transaction open for longer is aborted.
    pub timeout: Dur,
    /// Where it stands.
    pub state: TxnState,
    /// The partitions of the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began.
    pub started: Option<Wall>,
    /// When this record was written.
    pub updated: Wall,
    /// The protocol of the newest request that decided it.
    pub version: TransactionVersion,
}

/// A record of the log; without a value the id is forgotten.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TxnRecord {
    /// The transactional id.
    pub id: String,
    /// What is known of it.
    pub txn: Option<Txn>,
}

impl LogRecord for TxnRecord {
    fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let key = [&[VERSION], self.id.as_bytes()].concat();
        let value = self
            .txn
            .as_ref()
            .map(|txn| postcard::to_extend(txn, alloc::vec![VERSION]).expect("lengths are known"));
        (key, value)
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, FormatError> {
        let id = str::from_utf8(body(key)?).map_err(|_| FormatError::Body)?.to_string();
        let Some(value) = value else { return Ok(Self { id, txn: None }) };
        let read = postcard::take_from_bytes(body(value)?).map_err(|_| FormatError::Body)?;
        let (txn, []) = read else { return Err(FormatError::Body) };
        Ok(Self { id, txn: Some(txn) })
    }
}

fn body(bytes: &[u8]) -> Result<&[u8], FormatError> {
    match bytes.split_first().ok_or(FormatError::Short)? {
        (&VERSION, body) => Ok(body),
        (version, _) => Err(FormatError::Version(*version)),
    }
}
