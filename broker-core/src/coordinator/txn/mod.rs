//! The transaction coordinator: one shard of the transactional ids, the producer behind each, and
//! how its transaction stands.
//!
//! What a request may do is in [`requests`], what follows a decision in [`ending`]. A decision is
//! durable before anyone hears of it and before a marker is sent; from then on nothing can change
//! it. As long as the newest record of an id is not confirmed, or its markers are not all written,
//! all requests about it are answered `ConcurrentTransactions`. Source: KIP-98, KIP-360, KIP-588,
//! KIP-890; `TransactionCoordinator.scala`, `TransactionStateManager.scala`,
//! `TransactionMetadata.java`.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use super::{Outcome, Shard};
use crate::ids::{Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::mutants::Mutant;
use crate::partition::Asker;
use crate::protocol::{
    ErrorCode, TransactionResult, TransactionVersion, TxnAnswer, TxnDescription, TxnFilter,
    TxnProducer, TxnRequest, TxnState,
};
use crate::step::Cx;
use crate::time::{Dur, Wall};

mod ending;
mod record;
mod requests;
#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names what it wants, and fails on anything else"
)]
mod tests;

pub use ending::{Decision, Fate, Owed};
pub use record::{Txn, TxnRecord};

/// How often transactions open for too long are looked for
/// (`transaction.abort.timed.out.transaction.cleanup.interval.ms`).
pub const CLEANUP_INTERVAL: Dur = Dur::secs(10);

/// A transactional id without a transaction for so long is forgotten
/// (`transactional.id.expiration.ms`).
pub const EXPIRATION: Dur = Dur::secs(7 * 24 * 3_600);

/// The shard's only timer: looks for what has taken too long.
pub const CLEANUP: u64 = 0;

/// Gives a producer id that nobody has had, if one is at hand.
pub type FreshId<'a> = &'a mut dyn FnMut() -> Option<ProducerId>;

/// One shard.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Transactions {
    /// Producers go up to this epoch. The one behind it is for the marker that ends their last
    /// transaction.
    epoch_max: ProducerEpoch,
    known: BTreeMap<String, Known>,
    /// The records that are not confirmed, in the order of the log.
    unconfirmed: VecDeque<(Offset, String)>,
    /// Transactions that are decided, and whose markers are not all written.
    marking: BTreeMap<String, ending::Marking>,
}

/// A transactional id.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Known {
    txn: Txn,
    /// Of its newest record.
    at: Offset,
    /// That record is confirmed.
    confirmed: bool,
    /// If it is not: the newest one that is.
    before: Option<Txn>,
}

impl Shard for Transactions {
    type Record = TxnRecord;
    type Answer = TxnAnswer;

    fn replay(&mut self, at: Offset, record: TxnRecord, _of: Option<ProducerId>) {
        let TxnRecord { id, txn } = record;
        // Forgotten only when that is confirmed: until then nobody may take the id again.
        let txn = txn.or_else(|| {
            let mut txn = self.known.get(&id)?.txn.clone();
            txn.state = TxnState::Dead;
            Some(txn)
        });
        let Some(txn) = txn else { return };
        let before = self.known.get(&id).and_then(Known::durable).cloned();
        self.known.insert(id.clone(), Known { txn, at, confirmed: false, before });
        self.unconfirmed.push_back((at, id));
    }

    fn ended(&mut self, _at: Offset, _producer: ProducerId, _result: TransactionResult) {
        // No transaction of a producer writes to this log.
    }
}

impl Transactions {
    /// Of an empty log. Kafka's `epoch_max` is 32,766 (`TransactionMetadata.isEpochExhausted`).
    #[must_use]
    pub fn new(epoch_max: ProducerEpoch) -> Self {
        let (known, unconfirmed, marking) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        Self { epoch_max, known, unconfirmed, marking }
    }

    /// Handles a request. It changes nothing itself: its records do.
    pub fn handle(
        &mut self,
        cx: &Cx,
        asker: Asker,
        request: &TxnRequest,
        fresh: FreshId<'_>,
        out: &mut Outcome<Self>,
    ) {
        let answer = match request {
            TxnRequest::Describe { transactional_ids } => {
                let described = transactional_ids.iter().map(|id| (id.clone(), self.describe(id)));
                TxnAnswer::Describe(described.collect())
            }
            TxnRequest::List(filter) => TxnAnswer::List(Ok(self.list(cx.wall, filter).collect())),
            TxnRequest::InitProducerId { .. }
            | TxnRequest::AddPartitions { .. }
            | TxnRequest::AddOffsets { .. }
            | TxnRequest::End { .. } => match self.decide(cx, request, fresh) {
                Ok((record, answer)) => {
                    out.records.extend(record);
                    answer
                }
                Err(code) => request.refusal(code),
            },
        };
        out.answers.push((asker, answer));
    }

    /// AddOffsetsToTxn: the offsets of a group will be in this partition.
    pub fn add_offsets(
        &mut self,
        cx: &Cx,
        asker: Asker,
        (of, offsets): (&TxnProducer, TopicPartition),
        out: &mut Outcome<Self>,
    ) {
        // As Kafka's: the protocol's newer version has no such request.
        let added = self.add(cx, of, &[offsets], TransactionVersion::V1).map(|txn| {
            let id = of.transactional_id.clone();
            out.records.extend(txn.map(|txn| TxnRecord { id, txn: Some(txn) }));
        });
        out.answers.push((asker, TxnAnswer::AddOffsets(added)));
    }

    /// The log is confirmed up to `upto`. Returns which transactions are decided by that: their
    /// markers are due.
    pub fn confirmed(&mut self, upto: Offset) -> Vec<Decision> {
        let mut decided = Vec::new();
        while self.unconfirmed.front().is_some_and(|(at, _)| *at < upto) {
            let (at, id) = self.unconfirmed.pop_front().expect("just seen");
            let Some(known) = self.known.get_mut(&id).filter(|known| known.at == at) else {
                continue;
            };
            known.confirmed = true;
            known.before = None;
            match known.txn.state {
                TxnState::PrepareCommit | TxnState::PrepareAbort => {
                    decided.push(self.begin_marking(&id, at));
                }
                TxnState::Dead => {
                    self.known.remove(&id);
                }
                TxnState::Empty
                | TxnState::Ongoing
                | TxnState::CompleteCommit
                | TxnState::CompleteAbort => {}
            }
        }
        decided
    }

    /// The log is read to its end, all of which is confirmed.
    pub fn loaded(&mut self, cx: &Cx, end: Offset, out: &mut Outcome<Self>) -> Vec<Decision> {
        if !cx.mutants.on(Mutant::TxnTimeoutNeverLooked) {
            out.timers.push((CLEANUP, Some(CLEANUP_INTERVAL)));
        }
        let decided = self.confirmed(end);
        if cx.mutants.on(Mutant::TxnPreparedForgotten) {
            self.marking.clear();
            return Vec::new();
        }
        decided
    }

    /// What each transaction that is not over waits for, one line each.
    pub fn blocked(&self) -> impl Iterator<Item = String> + '_ {
        self.marking.iter().map(|(id, marking)| {
            alloc::format!("transaction of {id:?} waits for markers in {:?}", marking.left())
        })
    }

    /// Every id: how it stands, and whether that is confirmed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Txn, bool)> {
        self.known.iter().map(|(id, known)| (id.as_str(), &known.txn, known.confirmed))
    }

    fn decide(
        &self,
        cx: &Cx,
        request: &TxnRequest,
        fresh: FreshId<'_>,
    ) -> Result<(Option<TxnRecord>, TxnAnswer), ErrorCode> {
        let (id, (txn, answer)) = match request {
            TxnRequest::InitProducerId { transactional_id: id, timeout, expected } => {
                (id, self.init(cx, id, *timeout, *expected, fresh)?)
            }
            TxnRequest::AddPartitions { of, partitions, verify_only: true, .. } => {
                let verified = self.verify(of, partitions)?;
                return Ok((None, TxnAnswer::AddPartitions(verified)));
            }
            TxnRequest::AddPartitions { of, partitions, verify_only: false, version } => {
                let done = partitions.iter().map(|partition| (*partition, Ok(())));
                let answer = TxnAnswer::AddPartitions(done.collect());
                (&of.transactional_id, (self.add(cx, of, partitions, *version)?, answer))
            }
            TxnRequest::End { of, result, version } => {
                let (txn, next) = self.end(cx, of, *result, *version, fresh)?;
                (&of.transactional_id, (txn, TxnAnswer::End(Ok(next))))
            }
            TxnRequest::AddOffsets { .. } | TxnRequest::Describe { .. } | TxnRequest::List(_) => {
                unreachable!("{request:?} is not asked this way")
            }
        };
        let record = txn.map(|txn| TxnRecord { id: id.clone(), txn: Some(txn) });
        Ok((record, answer))
    }

    /// DescribeTransactions, by what is confirmed.
    ///
    /// # Errors
    /// `TransactionalIdNotFound`.
    pub fn describe(&self, id: &str) -> Result<TxnDescription, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let txn = self.known.get(id).and_then(Known::durable);
        let txn = txn.ok_or(ErrorCode::TransactionalIdNotFound)?;
        Ok(TxnDescription {
            state: txn.state,
            producer: txn.producer,
            epoch: txn.epoch,
            timeout: txn.timeout,
            started: txn.started,
            partitions: txn.partitions.iter().copied().collect(),
        })
    }

    /// ListTransactions, by what is confirmed.
    pub fn list(
        &self,
        now: Wall,
        filter: &TxnFilter,
    ) -> impl Iterator<Item = (String, ProducerId, TxnState)> {
        let TxnFilter { states, producers, running } = filter;
        let wanted = move |txn: &Txn| {
            (states.is_empty() || states.contains(&txn.state))
                && (producers.is_empty() || producers.contains(&txn.producer))
                && running.is_none_or(|running| txn.is_open_for(now) > Some(running))
        };
        let durable = self.known.iter().filter_map(|(id, known)| Some((id, known.durable()?)));
        let listed = durable.filter(move |(_, txn)| wanted(txn));
        listed.map(|(id, txn)| (id.clone(), txn.producer, txn.state))
    }
}

impl Known {
    /// What is known, if nothing is under way: no record on its way into the log, and no marker on
    /// its way to a partition (`TransactionMetadata.pendingTransitionInProgress`).
    fn settled(&self) -> Result<&Txn, ErrorCode> {
        match self.txn.result() {
            None if self.confirmed => Ok(&self.txn),
            Some(_) | None => Err(ErrorCode::ConcurrentTransactions),
        }
    }

    /// The newest of it that is confirmed.
    fn durable(&self) -> Option<&Txn> {
        if self.confirmed { Some(&self.txn) } else { self.before.as_ref() }
    }
}

impl Txn {
    /// A producer that has had no transaction.
    fn new(producer: ProducerId, timeout: Dur, now: Wall) -> Self {
        Self {
            producer,
            epoch: ProducerEpoch(0),
            last_epoch: None,
            previous: None,
            next: None,
            timeout,
            state: TxnState::Empty,
            partitions: BTreeSet::<TopicPartition>::new(),
            started: None,
            updated: now,
            version: TransactionVersion::V1,
        }
    }
}
