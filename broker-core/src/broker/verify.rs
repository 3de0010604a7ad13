//! The first batch of a transaction in a partition: the leader asks the coordinator before it
//! appends, so that no batch opens a transaction that nobody will end.
//!
//! By the first protocol the partition must be part of the transaction already, by the second one
//! the question makes it so. Batches that come meanwhile wait behind the first one. A marker that
//! comes meanwhile takes the permission away: what was asked for is over then, or it was the end of
//! the transaction before, so the coordinator is asked once more. (Kafka refuses the batch, which a
//! producer takes for its end.) Source: KIP-890,
//! `ReplicaManager.handleProduceAppend`, `AddPartitionsToTxnManager.scala`,
//! `VerificationGuard.java`.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;

use bytes::Bytes;

use super::Broker;
use super::peers::PeerPurpose;
use crate::batch::Header;
use crate::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::{Asker, Partition, Waiter};
use crate::probe::Probe;
use crate::protocol::{
    CoordinatorKind, ErrorCode, Request, Response, TransactionVersion, TxnAnswer, TxnOffsetCommit,
    TxnProducer, TxnRequest,
};
use crate::step::{Cx, Effect, Outbox, TimerKey};
use crate::time::Dur;

/// While the transaction before is being ended the coordinator is asked again this often …
const RETRY_AFTER: Dur = Dur::ms(20);

/// … so many times (`add.partitions.to.txn.retry.backoff.ms`, and its `max`, which is 100 ms).
const RETRIES_MAX: u8 = 5;

/// Names what waits: what one producer's epoch sent to one partition.
pub(super) type Held = (TopicPartition, ProducerId, ProducerEpoch);

/// A question to the coordinator, and what waits for its word.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Verifying {
    transactional_id: String,
    version: TransactionVersion,
    /// What the partition gave out when it was asked for.
    guard: u64,
    /// How often it was asked again.
    retries: u8,
    /// Bounded by the requests that clients may have open.
    waiting: VecDeque<Waiting>,
}

/// What waits for the coordinator's word.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Waiting {
    /// A checked batch, how many offsets it takes, and who is told.
    Batch(Bytes, u64, Option<Waiter>),
    /// Offsets of a group.
    Commit(Asker, TxnOffsetCommit),
}

impl Broker {
    /// Whether this batch must wait until the coordinator has been asked.
    ///
    /// # Errors
    /// If it is of a transaction and its request names no transactional id.
    pub(super) fn must_verify(
        &self,
        cx: &Cx,
        partition: TopicPartition,
        header: &Header,
        transactional: Option<TransactionVersion>,
    ) -> Result<Option<Held>, ErrorCode> {
        if !header.attributes.transactional() || cx.mutants.on(Mutant::TxnUnverified) {
            return Ok(None);
        }
        // KafkaApis.handleProduceRequest: nobody is authorised to a transactional id of null.
        let version = transactional.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
        let id = u64::try_from(header.producer.id).map_err(|_| ErrorCode::InvalidRecord)?;
        let (producer, epoch) = (ProducerId(id), ProducerEpoch(header.producer.epoch));
        let unverified = self.unverified(cx, partition, (producer, epoch), version);
        Ok(unverified.then_some((partition, producer, epoch)))
    }

    /// Whether the coordinator must be asked before this producer's transaction may begin here.
    pub(super) fn unverified(
        &self,
        cx: &Cx,
        partition: TopicPartition,
        (producer, epoch): (ProducerId, ProducerEpoch),
        version: TransactionVersion,
    ) -> bool {
        let asks = version == TransactionVersion::V2 || self.config.limits.verify_transactions;
        asks && !cx.mutants.on(Mutant::TxnUnverified)
            && !self.partitions[&partition].is_open(producer, epoch)
    }

    /// Keeps it until the coordinator has answered.
    pub(super) fn verify(
        &mut self,
        cx: &Cx,
        held: Held,
        (transactional_id, version): (&str, TransactionVersion),
        what: Waiting,
        out: &mut Outbox<Effect>,
    ) {
        if let Some(verifying) = self.verifying.get_mut(&held) {
            return verifying.waiting.push_back(what);
        }
        let open = self.partitions.get_mut(&held.0).expect("the caller saw it");
        let (guard, transactional_id) = (open.guard((held.1, held.2)), transactional_id.into());
        let waiting = [what].into();
        let verifying = Verifying { transactional_id, version, guard, retries: 0, waiting };
        self.verifying.insert(held, verifying);
        self.ask_coordinator(cx, held, out);
    }

    /// Asks again; what a marker took away meanwhile was not given yet.
    pub(super) fn ask_again(&mut self, cx: &Cx, held: Held, out: &mut Outbox<Effect>) {
        let Some(verifying) = self.verifying.get_mut(&held) else { return };
        let open = self.partitions.get_mut(&held.0).expect("what is given up stops verifying");
        verifying.guard = open.guard((held.1, held.2));
        self.ask_coordinator(cx, held, out);
    }

    fn ask_coordinator(&mut self, cx: &Cx, held: Held, out: &mut Outbox<Effect>) {
        let Some(verifying) = self.verifying.get(&held) else { return };
        let guard = verifying.guard;
        let (partition, producer, epoch) = held;
        let transactional_id = verifying.transactional_id.clone();
        match self.coordinator_of(CoordinatorKind::Transaction, &transactional_id) {
            Ok((_, node)) => {
                let of = TxnProducer { transactional_id, producer, epoch };
                let request = TxnRequest::AddPartitions {
                    of,
                    partitions: vec![partition],
                    verify_only: verifying.version == TransactionVersion::V1,
                    version: verifying.version,
                };
                let purpose = PeerPurpose::Verify(held, guard);
                self.peers.ask(node, Request::Txn(request), purpose, out);
            }
            Err(code) => self.verified(cx, held, Err(code), out),
        }
    }

    pub(super) fn verify_answered(
        &mut self,
        cx: &Cx,
        (held, guard): (Held, u64),
        response: Option<Response>,
        out: &mut Outbox<Effect>,
    ) {
        let asked = self.verifying.get_mut(&held).filter(|verifying| verifying.guard == guard);
        let Some(verifying) = asked else { return };
        let result = match response {
            Some(Response::Txn(TxnAnswer::AddPartitions(results))) => {
                results.first().map_or(Err(ErrorCode::InvalidRequest), |(_, result)| *result)
            }
            // No answer, or one to something else.
            _ => Err(ErrorCode::CoordinatorNotAvailable),
        };
        let concurrent = result == Err(ErrorCode::ConcurrentTransactions);
        if concurrent && cx.mutants.on(Mutant::TxnConcurrentIsFinal) {
            return self.verified(cx, held, Err(ErrorCode::InvalidTxnState), out);
        }
        let second = verifying.version == TransactionVersion::V2;
        let open = self.partitions.get(&held.0);
        let taken = result.is_ok()
            && open.is_some_and(|open| !open.is_guarded((held.1, held.2), guard))
            && !cx.mutants.on(Mutant::TxnGuardLossFinal);
        if (taken || concurrent && second) && verifying.retries < RETRIES_MAX {
            verifying.retries += 1;
            return out.arm(TimerKey::Verify(held.0, held.1, held.2), RETRY_AFTER);
        }
        self.verified(cx, held, result, out);
    }

    /// The coordinator has spoken: what waits goes on, in order, or is refused.
    fn verified(
        &mut self,
        cx: &Cx,
        held: Held,
        result: Result<(), ErrorCode>,
        out: &mut Outbox<Effect>,
    ) {
        let verifying = self.verifying.remove(&held).expect("the caller saw it");
        let Verifying { guard, waiting, version, .. } = verifying;
        let (partition, producer, epoch) = held;
        let Some(open) = self.partitions.get_mut(&partition) else { return };
        let kept = open.take_guard((producer, epoch), guard);
        let result = match result {
            Ok(()) if kept => Ok(()),
            Ok(()) if cx.mutants.on(Mutant::TxnGuardLossFinal) => Err(ErrorCode::InvalidTxnState),
            Ok(()) => Err(ErrorCode::NotEnoughReplicas),
            Err(code) => Err(for_producer(code, version)),
        };
        out.probe(Probe::TxnVerified { partition, producer, refused: result.err() });
        for what in waiting {
            let (batch, offsets, waiter) = match what {
                Waiting::Batch(batch, offsets, waiter) => (batch, offsets, waiter),
                Waiting::Commit(asker, commit) => {
                    match result {
                        Ok(()) => self.commit_in_transaction(cx, partition, (asker, commit), out),
                        Err(code) => self.refuse_commit((asker, commit), code, out),
                    }
                    continue;
                }
            };
            let appended = match result {
                Ok(()) if version == TransactionVersion::V2 && self.skips(partition, &batch) => {
                    Err(ErrorCode::OutOfOrderSequenceNumber)
                }
                Ok(()) => self.append_checked(cx, partition, (batch, offsets), waiter, out),
                Err(code) => Err(code),
            };
            if let (Err(code), Some(waiter)) = (appended, waiter) {
                self.settle(waiter, Err(code), out);
            }
        }
    }

    /// Whether a producer that nothing is known of begins with another number than 0. By the second
    /// protocol it must not, whoever may have been forgotten here: its epoch is new
    /// (`ProducerAppendInfo.checkSequence` with a verification entry).
    fn skips(&self, partition: TopicPartition, batch: &[u8]) -> bool {
        let header = Header::parse(batch).expect("what waits was checked");
        let unknown = |open: &Partition| open.is_new(&header);
        self.partitions.get(&partition).is_some_and(unknown) && header.producer.base_sequence != 0
    }

    /// A partition is given up: what waits for it was never appended.
    pub(super) fn stop_verifying(&mut self, partition: TopicPartition, out: &mut Outbox<Effect>) {
        let code = self.not_led(partition);
        let gone = self.verifying.extract_if(.., |held, _| held.0 == partition);
        for ((partition, producer, epoch), verifying) in gone.collect::<alloc::vec::Vec<_>>() {
            out.disarm(TimerKey::Verify(partition, producer, epoch));
            for what in verifying.waiting {
                match what {
                    Waiting::Batch(_, _, Some(waiter)) => self.settle(waiter, Err(code), out),
                    Waiting::Batch(_, _, None) => {}
                    Waiting::Commit(asker, commit) => {
                        self.refuse_commit((asker, commit), ErrorCode::NotCoordinator, out);
                    }
                }
            }
        }
    }
}

/// What a producer is told when its batch may not be appended. `NotEnoughReplicas` is the code that
/// every client takes for "nothing was appended, try again" (`ReplicaManager`).
fn for_producer(code: ErrorCode, version: TransactionVersion) -> ErrorCode {
    let retriable = [
        ErrorCode::ConcurrentTransactions,
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
    ];
    if retriable.contains(&code) {
        return ErrorCode::NotEnoughReplicas;
    }
    if code == ErrorCode::TransactionAbortable && version == TransactionVersion::V1 {
        return ErrorCode::InvalidTxnState;
    }
    if code == ErrorCode::ProducerFenced { ErrorCode::InvalidProducerEpoch } else { code }
}
