//! What requests about a transactional id may do, state by state.
//!
//! Pure: from what is known and a request to the next record, or a refusal. Source: the tables of
//! KIP-890 and KIP-360; `TransactionCoordinator.handleInitProducerId`,
//! `handleAddPartitionsToTransaction`, `endTransaction`; `TransactionMetadata.java`.

use alloc::vec::Vec;

use super::{FreshId, Transactions, Txn};
use crate::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::mutants::Mutant;
use crate::protocol::{
    ErrorCode, TRANSACTION_TIMEOUT_MAX, TransactionResult, TransactionVersion, TxnAnswer,
    TxnProducer, TxnState,
};
use crate::step::Cx;
use crate::time::{Dur, Wall};

type Identity = (ProducerId, ProducerEpoch);

impl Transactions {
    /// InitProducerId. The answer may be a refusal although there is a record: the transaction of
    /// the producer before is aborted first, and the client asks again.
    pub(super) fn init(
        &self,
        cx: &Cx,
        id: &str,
        timeout: Dur,
        expected: Option<Identity>,
        fresh: FreshId<'_>,
    ) -> Result<(Option<Txn>, TxnAnswer), ErrorCode> {
        let answer = TxnAnswer::InitProducerId;
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout == Dur(0) || timeout > TRANSACTION_TIMEOUT_MAX {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let mut fresh = || fresh().ok_or(ErrorCode::CoordinatorLoadInProgress);
        let Some(known) = self.known.get(id) else {
            let mut txn = Txn::new(fresh()?, timeout, cx.wall);
            txn.last_epoch = expected.map(|(_, epoch)| epoch);
            let identity = (txn.producer, txn.epoch);
            return Ok((Some(txn), answer(Ok(identity))));
        };
        let txn = known.settled()?;
        if expected.is_some_and(|expected| !txn.may_be(expected, self.epoch_max)) {
            return Err(ErrorCode::ProducerFenced);
        }
        let next = match txn.state {
            // Under way, as was just asked.
            TxnState::PrepareCommit | TxnState::PrepareAbort | TxnState::Dead => {
                return Err(ErrorCode::ConcurrentTransactions);
            }
            TxnState::Ongoing => {
                let fenced = txn.fenced(cx, self.epoch_max, &mut fresh)?;
                return Ok((Some(fenced), answer(Err(ErrorCode::ConcurrentTransactions))));
            }
            TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => {
                let asks = expected.map(|(_, epoch)| epoch);
                if txn.epoch >= self.epoch_max && asks.is_none_or(|asks| asks == txn.epoch) {
                    let previous = Some(txn.producer);
                    let last_epoch = asks;
                    Txn { previous, last_epoch, ..Txn::new(fresh()?, timeout, cx.wall) }
                } else {
                    let (epoch, last_epoch) = txn.raised(asks, self.epoch_max)?;
                    let (state, partitions) = (TxnState::Empty, [].into());
                    let (started, updated) = (None, cx.wall);
                    let txn = txn.clone();
                    Txn { epoch, last_epoch, state, timeout, partitions, started, updated, ..txn }
                }
            }
        };
        let identity = (next.producer, next.epoch);
        Ok((Some(next), answer(Ok(identity))))
    }

    /// AddPartitionsToTxn; `None`: all are part of it.
    pub(super) fn add(
        &self,
        cx: &Cx,
        of: &TxnProducer,
        partitions: &[TopicPartition],
        version: TransactionVersion,
    ) -> Result<Option<Txn>, ErrorCode> {
        let txn = self.open_to(of)?;
        let ongoing = txn.state == TxnState::Ongoing;
        if ongoing && partitions.iter().all(|partition| txn.partitions.contains(partition)) {
            return Ok(None);
        }
        let mut txn = txn.clone();
        txn.state = TxnState::Ongoing;
        txn.partitions.extend(partitions);
        if !ongoing {
            txn.started = Some(cx.wall);
        }
        (txn.updated, txn.version) = (cx.wall, version);
        Ok(Some(txn))
    }

    /// AddPartitionsToTxn with `verify_only`.
    #[expect(clippy::type_complexity, reason = "the answer, partition by partition")]
    pub(super) fn verify(
        &self,
        of: &TxnProducer,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Result<(), ErrorCode>)>, ErrorCode> {
        let txn = self.open_to(of)?;
        let part = |partition: &TopicPartition| match txn.partitions.contains(partition) {
            true => (*partition, Ok(())),
            false => (*partition, Err(ErrorCode::TransactionAbortable)),
        };
        Ok(partitions.iter().map(part).collect())
    }

    /// The transactional id, if this producer may go on with its transaction or begin one.
    fn open_to(&self, of: &TxnProducer) -> Result<&Txn, ErrorCode> {
        if of.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.known.get(&of.transactional_id);
        let txn = known.ok_or(ErrorCode::InvalidProducerIdMapping)?.settled()?;
        if txn.producer != of.producer {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if txn.epoch != of.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        Ok(txn)
    }

    /// EndTxn: the record of the decision, if it is one, and who the producer is from then on.
    pub(super) fn end(
        &self,
        cx: &Cx,
        of: &TxnProducer,
        result: TransactionResult,
        version: TransactionVersion,
        fresh: FreshId<'_>,
    ) -> Result<(Option<Txn>, Identity), ErrorCode> {
        if of.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let known = self.known.get(&of.transactional_id);
        let known = known.ok_or(ErrorCode::InvalidProducerIdMapping)?;
        // Before anything else: the producer may know only what is not confirmed yet (KAFKA-18464).
        let looks = cx.mutants.on(Mutant::TxnPendingLooked) && known.txn.epoch > of.epoch;
        let refusal = |pending| if looks { ErrorCode::ProducerFenced } else { pending };
        let txn = known.settled().map_err(refusal)?;
        let overflown = txn.previous == Some(of.producer)
            && of.epoch == self.epoch_max
            && txn.epoch == ProducerEpoch(0);
        if txn.producer != of.producer && !overflown {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let decide = match version {
            TransactionVersion::V1 => {
                if txn.epoch != of.epoch {
                    return Err(ErrorCode::ProducerFenced);
                }
                txn.ends_v1(result)?
            }
            TransactionVersion::V2 if cx.mutants.on(Mutant::TxnEpochUnchecked) => {
                txn.ends_v2(cx, of.epoch.max(txn.epoch), overflown, result)?
            }
            TransactionVersion::V2 => txn.ends_v2(cx, of.epoch, overflown, result)?,
        };
        if !decide {
            return Ok((None, (txn.producer, txn.epoch)));
        }
        let mut fresh = || fresh().ok_or(ErrorCode::CoordinatorLoadInProgress);
        let prepared = txn.prepared(cx, (result, version), self.epoch_max, &mut fresh)?;
        let next = match prepared.next {
            Some(next) if !cx.mutants.on(Mutant::TxnOverflowOldId) => (next, ProducerEpoch(0)),
            Some(_) | None => (prepared.producer, prepared.epoch),
        };
        Ok((Some(prepared), next))
    }
}

impl Txn {
    /// How long its transaction is open; `None`: it has none.
    pub(super) fn is_open_for(&self, now: Wall) -> Option<Dur> {
        let started = self.started.filter(|_| self.state == TxnState::Ongoing)?;
        Some(Dur(u64::try_from(now.0.saturating_sub(started.0)).unwrap_or(0)))
    }

    /// KIP-360: whether a client that takes itself for this producer can be the current one.
    fn may_be(&self, (producer, epoch): Identity, epoch_max: ProducerEpoch) -> bool {
        producer == self.producer || (Some(producer) == self.previous && epoch >= epoch_max)
    }

    /// The epoch that InitProducerId gives, and the one to remember with it.
    fn raised(
        &self,
        expected: Option<ProducerEpoch>,
        epoch_max: ProducerEpoch,
    ) -> Result<(ProducerEpoch, Option<ProducerEpoch>), ErrorCode> {
        match expected {
            None => Ok((self.epoch.next(), None)),
            Some(epoch) if epoch == self.epoch && epoch < epoch_max => {
                Ok((self.epoch.next(), Some(epoch)))
            }
            // It was raised for this client before, and the answer got lost.
            Some(epoch) if Some(epoch) == self.last_epoch => Ok((self.epoch, self.last_epoch)),
            Some(_) => Err(ErrorCode::ProducerFenced),
        }
    }

    /// Whether EndTxn by the first protocol decides; else it is done already. Nothing tells the
    /// end of this transaction from a late one of the transaction before (KAFKA-17754).
    fn ends_v1(&self, result: TransactionResult) -> Result<bool, ErrorCode> {
        use TransactionResult::{Abort, Commit};
        match (self.state, result) {
            (TxnState::Ongoing, Commit | Abort) => Ok(true),
            (TxnState::CompleteCommit, Commit) | (TxnState::CompleteAbort, Abort) => Ok(false),
            (
                TxnState::Empty
                | TxnState::PrepareCommit
                | TxnState::PrepareAbort
                | TxnState::CompleteCommit
                | TxnState::CompleteAbort
                | TxnState::Dead,
                Commit | Abort,
            ) => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// Whether EndTxn by the second protocol decides; else it is done already. The epoch tells the
    /// end of this transaction from a retry of the end of the one before.
    fn ends_v2(
        &self,
        cx: &Cx,
        asks: ProducerEpoch,
        overflown: bool,
        result: TransactionResult,
    ) -> Result<bool, ErrorCode> {
        use TransactionResult::{Abort, Commit};
        let current = !overflown && asks == self.epoch;
        let unraised = current && cx.mutants.on(Mutant::TxnEpochNotBumped);
        let retry = overflown || unraised || self.epoch.0 == asks.0.saturating_add(1);
        match (self.state, result) {
            _ if !retry && !current => Err(ErrorCode::ProducerFenced),
            (TxnState::Ongoing, Commit | Abort) if current => Ok(true),
            (TxnState::Empty | TxnState::Dead, Commit) if current => {
                Err(ErrorCode::InvalidTxnState)
            }
            // An abort without partitions: the producer can not know whether it added any.
            (TxnState::Empty, Abort) if current => Ok(true),
            (TxnState::CompleteCommit, Commit) | (TxnState::CompleteAbort, Abort) if retry => {
                Ok(false)
            }
            (TxnState::CompleteCommit | TxnState::CompleteAbort, Abort) if current => Ok(true),
            (TxnState::CompleteCommit | TxnState::CompleteAbort, Commit | Abort) => {
                Err(ErrorCode::InvalidTxnState)
            }
            (
                TxnState::Empty
                | TxnState::Ongoing
                | TxnState::PrepareCommit
                | TxnState::PrepareAbort
                | TxnState::Dead,
                Commit | Abort,
            ) => Err(ErrorCode::ProducerFenced),
        }
    }

    /// The decision.
    pub(super) fn prepared(
        &self,
        cx: &Cx,
        (result, version): (TransactionResult, TransactionVersion),
        epoch_max: ProducerEpoch,
        fresh: &mut dyn FnMut() -> Result<ProducerId, ErrorCode>,
    ) -> Result<Self, ErrorCode> {
        let mut txn = self.clone();
        txn.state = match result {
            TransactionResult::Commit => TxnState::PrepareCommit,
            TransactionResult::Abort => TxnState::PrepareAbort,
        };
        if version == TransactionVersion::V2 {
            if self.epoch >= epoch_max {
                txn.next = Some(fresh()?);
            }
            if !cx.mutants.on(Mutant::TxnEpochNotBumped) {
                (txn.epoch, txn.last_epoch) = (self.epoch.next(), Some(self.epoch));
            }
        }
        // An abort without partitions has not begun.
        txn.started = txn.started.filter(|_| self.state == TxnState::Ongoing).or(Some(cx.wall));
        (txn.updated, txn.version) = (cx.wall, version);
        Ok(txn)
    }

    /// The transaction is aborted under a raised epoch, which is nobody's: its producer's next
    /// batch is refused (KAFKA-6119). Raised once, by either protocol (KAFKA-19367). As with Kafka,
    /// EndTxn by the second protocol takes an abort that its producer asks for later for a retry,
    /// and tells it the raised epoch, unless another one has become the producer meanwhile.
    pub(super) fn fenced(
        &self,
        cx: &Cx,
        epoch_max: ProducerEpoch,
        fresh: &mut dyn FnMut() -> Result<ProducerId, ErrorCode>,
    ) -> Result<Self, ErrorCode> {
        let mut txn =
            self.prepared(cx, (TransactionResult::Abort, self.version), epoch_max, fresh)?;
        txn.epoch = self.epoch.next();
        txn.last_epoch = None;
        Ok(txn)
    }
}
