//! The transactional producers of a client: who each is to its coordinator, and how its batches are
//! numbered.
//!
//! Source: KIP-98, KIP-360, KIP-890; `TransactionManager.java` (`InitProducerIdHandler`,
//! `AddPartitionsToTxnHandler`, `EndTxnHandler`).

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::batch::ProducerStamp;
use broker_core::ids::{NodeId, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use broker_core::protocol::{ErrorCode, TransactionVersion, TxnProducer};

use super::outcome::Next;
use super::transaction::Step;

/// Transactional ids of a client's own. Each has one transaction at a time; what comes when all
/// have one waits, so that producers begin their next transaction as soon as one has ended.
const OWN_MAX: usize = 3;

/// A transactional producer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Producer {
    pub(super) transactional_id: String,
    pub(super) version: TransactionVersion,
    pub(super) coordinator: Option<NodeId>,
    pub(super) identity: Option<(ProducerId, ProducerEpoch)>,
    /// Who it was when it asks to become known again.
    pub(super) expected: Option<(ProducerId, ProducerEpoch)>,
    /// It must do so before its next transaction.
    pub(super) renew: bool,
    next: BTreeMap<TopicPartition, Sequence>,
}

impl Producer {
    fn new(transactional_id: String, version: TransactionVersion) -> Self {
        Self {
            transactional_id,
            version,
            coordinator: None,
            identity: None,
            expected: None,
            renew: false,
            next: BTreeMap::new(),
        }
    }

    /// Itself, as it names itself to brokers.
    pub(super) fn named(&self) -> Option<TxnProducer> {
        let (producer, epoch) = self.identity?;
        Some(TxnProducer { transactional_id: self.transactional_id.clone(), producer, epoch })
    }

    /// Of its next batch in this partition.
    pub(super) fn stamp(&self, partition: TopicPartition) -> ProducerStamp {
        let first = self.next.get(&partition).copied().unwrap_or_default();
        let (id, epoch) = self.identity.expect("a batch is sent by a known producer");
        ProducerStamp {
            id: i64::try_from(id.0).expect("Kafka's producer ids are signed"),
            epoch: epoch.0,
            base_sequence: i32::try_from(first.0).expect("below 2^31"),
        }
    }

    pub(super) fn count_on(&mut self, partition: TopicPartition, records: u32) {
        let next = self.next.entry(partition).or_default();
        *next = next.plus(records);
    }

    pub(super) fn become_known(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Some((id, epoch));
        (self.expected, self.renew) = (None, false);
        self.next.clear();
    }

    /// A transaction has ended: by the second protocol the next one has a raised epoch.
    pub(super) fn ended(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        if self.version == TransactionVersion::V2 {
            self.identity = Some((id, epoch));
            self.next.clear();
        }
        if self.renew {
            self.expected = self.identity.take();
        }
    }

    /// The process ends, or the producer is of no use any more: the next one begins anew.
    pub(super) fn forget(&mut self) {
        (self.identity, self.expected, self.renew) = (None, None, false);
        self.next.clear();
    }

    /// It did not become known.
    pub(super) fn not_known(&mut self, code: ErrorCode) -> Step {
        match self.refused(code) {
            // Another one was made in its place; the application makes one in that one's place.
            Step::Fenced(code) => {
                self.expected = None;
                Step::Replaced(code)
            }
            step => step,
        }
    }

    /// A coordinator refused a request.
    pub(super) fn refused(&mut self, code: ErrorCode) -> Step {
        if has_moved(code) {
            self.coordinator = None;
        }
        refused_by_coordinator(code)
    }
}

/// Whether the coordinator is to be looked for again.
pub(super) const fn has_moved(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
}

/// What a refusal by the coordinator of a transaction, or of a group whose offsets are part of one,
/// means for the transaction.
pub(super) fn refused_by_coordinator(code: ErrorCode) -> Step {
    match code {
        ErrorCode::ProducerFenced
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::InvalidProducerIdMapping
        | ErrorCode::InvalidTxnState
        | ErrorCode::TransactionAbortable => Step::Fenced(code),
        // Checked before anything is written.
        ErrorCode::ConcurrentTransactions
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::UnknownTopicOrPartition
        | ErrorCode::InvalidRequest
        | ErrorCode::InvalidTransactionTimeout => {
            Step::Refused { code, definite: true, next: Next::Retry }
        }
        // Perhaps after the request was written down (`has_moved`), or not in a coordinator's
        // vocabulary, so that it proves nothing.
        _ => Step::Refused { code, definite: false, next: Next::Retry },
    }
}

/// The transactional producers of a client.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Producers {
    client: u16,
    version: TransactionVersion,
    /// In no transaction, the newest last.
    idle: Vec<Producer>,
    /// By the operation whose transaction is under way.
    busy: BTreeMap<u32, String>,
    /// Ids of its own, so far.
    own: usize,
    /// One became free.
    changed: bool,
}

impl Producers {
    pub(super) fn new(client: u16, version: TransactionVersion) -> Self {
        let (idle, busy) = (Vec::new(), BTreeMap::new());
        Self { client, version, idle, busy, own: 0, changed: false }
    }

    /// Whether one became free since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// A producer for a transaction: of this transactional id, or any of the client's own.
    pub(super) fn take(&mut self, op: u32, id: Option<&str>) -> Option<Producer> {
        let prefix = format!("client-{}-", self.client);
        let fits = |known: &str| match id {
            Some(id) => known == id,
            None => known.starts_with(&prefix),
        };
        let idle = self.idle.iter().rposition(|producer| fits(&producer.transactional_id));
        let producer = match (idle, id) {
            (Some(at), _) => self.idle.remove(at),
            (None, Some(id)) if self.busy.values().all(|busy| busy != id) => {
                Producer::new(id.into(), self.version)
            }
            (None, None) if self.own < OWN_MAX => {
                self.own += 1;
                Producer::new(format!("{prefix}{}", self.own), self.version)
            }
            (None, _) => return None,
        };
        self.busy.insert(op, producer.transactional_id.clone());
        Some(producer)
    }

    pub(super) fn give_back(&mut self, op: u32, producer: Producer) {
        self.busy.remove(&op);
        self.idle.push(producer);
        self.changed = true;
    }
}
