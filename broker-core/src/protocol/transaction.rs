//! Requests to the coordinator of a transactional id, and its answers.
//!
//! Source: KIP-98, KIP-360, KIP-664, KIP-890; Kafka's `InitProducerIdRequest.json` and its like.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ErrorCode, TransactionResult, TransactionVersion};
use crate::coordinator::Answer;
use crate::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::time::{Dur, Wall};

/// A producer as it names itself: its transactional id, and what `InitProducerId` or the end of its
/// last transaction gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TxnProducer {
    /// 1 or more characters.
    pub transactional_id: String,
    /// Its id.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

/// A request to the coordinator of a transactional id.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TxnRequest {
    /// Become the producer of this id: the one before is fenced, its transaction aborted.
    InitProducerId {
        /// The id.
        transactional_id: String,
        /// A transaction open for longer is aborted; 1 ms to [`TRANSACTION_TIMEOUT_MAX`].
        timeout: Dur,
        /// KIP-360: only if it is this one still.
        expected: Option<(ProducerId, ProducerEpoch)>,
    },
    /// Make partitions part of the transaction, which begins with the first.
    AddPartitions {
        /// Whose.
        of: TxnProducer,
        /// Which.
        partitions: Vec<TopicPartition>,
        /// Change nothing, and say of each whether it is part of it: asked by the partition's
        /// leader, on behalf of a client of the first protocol.
        verify_only: bool,
        /// The client's protocol.
        version: TransactionVersion,
    },
    /// Make the offsets of a group part of the transaction: their partition of the groups'
    /// internal topic.
    AddOffsets {
        /// Whose.
        of: TxnProducer,
        /// The group.
        group: String,
    },
    /// End the transaction.
    End {
        /// Whose.
        of: TxnProducer,
        /// How.
        result: TransactionResult,
        /// The client's protocol.
        version: TransactionVersion,
    },
    /// How do these stand?
    Describe {
        /// Transactional ids.
        transactional_ids: Vec<String>,
    },
    /// All that this broker coordinates, or some of it.
    List(TxnFilter),
}

/// Which transactional ids to list.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TxnFilter {
    /// Only in these states; empty: in any.
    pub states: Vec<TxnState>,
    /// Only of these producers; empty: of any.
    pub producers: Vec<ProducerId>,
    /// Only those whose transaction began longer ago than this.
    pub running: Option<Dur>,
}

/// The longest time-out of a transaction (`transaction.max.timeout.ms`).
pub const TRANSACTION_TIMEOUT_MAX: Dur = Dur::secs(15 * 60);

/// Where a transactional id stands, by Kafka's words (`TransactionState.java`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TxnState {
    /// No transaction.
    Empty,
    /// A transaction has partitions.
    Ongoing,
    /// It will be committed whatever happens: markers are being written.
    PrepareCommit,
    /// It will be aborted whatever happens.
    PrepareAbort,
    /// All markers are written.
    CompleteCommit,
    /// All markers are written.
    CompleteAbort,
    /// The id is being forgotten.
    Dead,
}

/// An answer to the [`TxnRequest`] of the same name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TxnAnswer {
    /// The id and epoch to use.
    InitProducerId(Result<(ProducerId, ProducerEpoch), ErrorCode>),
    /// One per partition of the request.
    AddPartitions(Vec<(TopicPartition, Result<(), ErrorCode>)>),
    /// Whether it was done.
    AddOffsets(Result<(), ErrorCode>),
    /// The decision is durable, the markers are not yet: the id and epoch of the next transaction.
    End(Result<(ProducerId, ProducerEpoch), ErrorCode>),
    /// One per id of the request.
    Describe(Vec<(String, Result<TxnDescription, ErrorCode>)>),
    /// By transactional id.
    List(Result<Vec<(String, ProducerId, TxnState)>, ErrorCode>),
}

/// How a transactional id stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TxnDescription {
    /// Its state.
    pub state: TxnState,
    /// Its producer.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// Its time-out.
    pub timeout: Dur,
    /// When the transaction began, by the coordinator's clock.
    pub started: Option<Wall>,
    /// Its partitions.
    pub partitions: Vec<TopicPartition>,
}

impl Answer for TxnAnswer {
    fn refused(self, code: ErrorCode) -> Self {
        match self {
            Self::InitProducerId(_) => Self::InitProducerId(Err(code)),
            Self::AddPartitions(results) => {
                let refused = results.into_iter().map(|(partition, _)| (partition, Err(code)));
                Self::AddPartitions(refused.collect())
            }
            Self::AddOffsets(_) => Self::AddOffsets(Err(code)),
            Self::End(_) => Self::End(Err(code)),
            Self::Describe(results) => {
                let refused = results.into_iter().map(|(id, _)| (id, Err(code)));
                Self::Describe(refused.collect())
            }
            Self::List(_) => Self::List(Err(code)),
        }
    }
}

impl TxnRequest {
    /// The answer that says nothing but this.
    #[must_use]
    pub fn refusal(&self, code: ErrorCode) -> TxnAnswer {
        match self {
            Self::InitProducerId { .. } => TxnAnswer::InitProducerId(Err(code)),
            Self::AddPartitions { partitions, .. } => {
                TxnAnswer::AddPartitions(partitions.iter().map(|it| (*it, Err(code))).collect())
            }
            Self::AddOffsets { .. } => TxnAnswer::AddOffsets(Err(code)),
            Self::End { .. } => TxnAnswer::End(Err(code)),
            Self::Describe { transactional_ids } => {
                let refused = transactional_ids.iter().map(|id| (id.clone(), Err(code)));
                TxnAnswer::Describe(refused.collect())
            }
            Self::List(_) => TxnAnswer::List(Err(code)),
        }
    }
}
