//! What an error code says about whether the call was done, and what a client does next.
//!
//! The heart of an honest history: `Fail` is claimed only where the code proves that nothing was
//! done and nothing will be. A code that is not in a call's vocabulary proves nothing. Source:
//! Kafka's `Errors.java`, and the classes named at each group.

use broker_core::protocol::{Acks, ErrorCode};

/// What to do after an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Next {
    /// The operation is finished.
    Done,
    /// Ask the next question at once.
    Again,
    /// Wait, then ask again.
    Retry,
    /// Wait and learn the leaders anew meanwhile, then ask again.
    Refresh,
}

/// How a refused call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Refusal {
    /// Nothing was done, and nothing will be.
    pub(super) definite: bool,
    pub(super) next: Next,
}

const fn failed(next: Next) -> Refusal {
    Refusal { definite: true, next }
}

const fn unknown(next: Next) -> Refusal {
    Refusal { definite: false, next }
}

/// A produce of an undamaged batch was refused.
pub(super) const fn of_produce(code: ErrorCode, acks: Acks) -> Refusal {
    use ErrorCode as E;
    match code {
        // LogValidator and UnifiedLog.append check these before they write anything.
        E::MessageTooLarge
        | E::InvalidTimestamp
        | E::InvalidRecord
        | E::InvalidTopicException
        | E::InvalidRequiredAcks
        | E::InvalidRequest
        | E::UnsupportedVersion => failed(Next::Done),
        // As above. The batch was damaged on its way, not here: Kafka's producer sends it again.
        E::CorruptMessage => failed(Next::Retry),
        // Partition.appendRecordsToLeader counts the in-sync replicas before it appends (19); what
        // it finds out afterwards has another code (20).
        E::NotEnoughReplicas => failed(Next::Retry),
        // Turned away at the door: the queue of produces that wait for room is full.
        E::ThrottlingQuotaExceeded => failed(Next::Retry),
        // ProducerAppendInfo checks these before the append.
        E::OutOfOrderSequenceNumber | E::InvalidProducerEpoch => failed(Next::Retry),
        // Outside of a transaction that is open, or of one that is over; or the coordinator, who is
        // asked before the append, does not know it: asking again does not help.
        E::InvalidTxnState
        | E::InvalidProducerIdMapping
        | E::TransactionalIdAuthorizationFailed
        | E::TransactionAbortable => failed(Next::Done),
        // ReplicaManager.getPartitionOrError gives these before the append; but DelayedProduce
        // gives them for batches that wait for acks=all, too, and those may have been read.
        E::UnknownTopicOrPartition | E::UnknownTopicId => match acks {
            Acks::Leader => failed(Next::Refresh),
            Acks::None | Acks::All => unknown(Next::Refresh),
        },
        // Refused before the append, or leadership lost behind it (DelayedProduce.tryComplete,
        // ReplicaManager.handleLeader): from outside nobody can tell.
        E::NotLeaderOrFollower
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::LeaderNotAvailable
        | E::StaleBrokerEpoch
        | E::NotController => unknown(Next::Refresh),
        // The write went wrong half-way, or the wait for it was given up.
        E::KafkaStorageError | E::RequestTimedOut => unknown(Next::Refresh),
        // Not in Kafka's vocabulary for a produce, so they prove nothing.
        _ => unknown(Next::Refresh),
    }
}

/// A change of the cluster's metadata was refused.
pub(super) const fn of_admin(code: ErrorCode) -> Refusal {
    use ErrorCode as E;
    match code {
        // ReplicationControlManager, ConfigurationControlManager: found while the records were
        // made, so there are none. After an unanswered attempt this says that nothing is left to be
        // done.
        E::TopicAlreadyExists
        | E::InvalidTopicException
        | E::InvalidPartitions
        | E::InvalidConfig
        | E::InvalidRequest
        | E::UnsupportedVersion
        | E::UnknownTopicOrPartition
        | E::UnknownTopicId => failed(Next::Done),
        E::ThrottlingQuotaExceeded => failed(Next::Retry),
        // QuorumController gives 41 before it writes, and to all that wait when it loses office.
        E::NotController
        | E::RequestTimedOut
        | E::LeaderNotAvailable
        | E::NotLeaderOrFollower
        | E::KafkaStorageError
        | E::StaleBrokerEpoch => unknown(Next::Retry),
        // Not in Kafka's vocabulary for these requests, so they prove nothing.
        _ => unknown(Next::Retry),
    }
}

/// A read was refused. A read changes nothing, so each refusal is definite.
pub(super) const fn of_read(code: ErrorCode) -> Next {
    use ErrorCode as E;
    match code {
        // FetchCollector.handleInitializeErrors, OffsetFetcherUtils: learn the leaders anew.
        E::NotLeaderOrFollower
        | E::FencedLeaderEpoch
        | E::LeaderNotAvailable
        | E::OffsetNotAvailable
        | E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::KafkaStorageError
        | E::RequestTimedOut
        | E::StaleBrokerEpoch
        | E::NotController => Next::Refresh,
        // The broker is behind what the client knows: wait for it.
        E::UnknownLeaderEpoch
        | E::ThrottlingQuotaExceeded
        | E::NotEnoughReplicas
        | E::CoordinatorLoadInProgress => Next::Retry,
        // A reader finds itself a new position; a query must not see this at all.
        E::OffsetOutOfRange => Next::Refresh,
        // The stored data is bad, or the question: asking again is the most a client can do about
        // the first, and nothing helps the second.
        E::CorruptMessage => Next::Retry,
        _ => Next::Done,
    }
}
