//! The tables of requests, state by state; markers, time-outs, expiry; and that a successor that
//! reads the log knows the same.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::batch::{Header, TimestampMs, stamp};
use crate::coordinator::Host;
use crate::ids::{ConnId, LeaderEpoch, PartitionIndex, TopicId};
use crate::mutants::Mutants;
use crate::protocol::TxnProducer;
use crate::time::Mono;

use ErrorCode as E;
use TransactionResult::{Abort, Commit};
use TransactionVersion::{V1, V2};
use TxnState as S;

const MAX: ProducerEpoch = ProducerEpoch(9);
const SECOND: i64 = 1_000_000;

/// A shard and its log, all of which is confirmed as soon as it is written, unless it is held.
struct Rig {
    host: Host<Transactions>,
    log: Vec<bytes::Bytes>,
    end: Offset,
    now: Wall,
    ids: u64,
    held: bool,
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition { topic: TopicId(7), index: PartitionIndex(index) }
}

impl Rig {
    fn new() -> Self {
        let (host, end) = (Host::new(Transactions::new(MAX)), Offset(0));
        Self { host, log: vec![], end, now: Wall(0), ids: 0, held: false }
    }

    fn cx(&self) -> Cx {
        Cx { mono: Mono(0), wall: self.now, entropy: 0, mutants: Mutants::NONE }
    }

    fn carry_out(&mut self, outcome: &Outcome<Transactions>) -> Vec<Decision> {
        if let Some(batch) = outcome.batch(TimestampMs(0)) {
            let batch = stamp(batch, self.end, LeaderEpoch(0));
            let header = Header::parse(&batch).expect("well-formed");
            self.end = header.end_offset();
            self.host.fold(&batch, &header);
            self.log.push(batch);
        }
        if self.held { vec![] } else { self.host.state_mut().confirmed(self.end) }
    }

    fn ask(&mut self, request: &TxnRequest) -> TxnAnswer {
        let (cx, mut outcome) = (self.cx(), Outcome::default());
        let mut ids = self.ids;
        let mut fresh = || {
            ids += 1;
            Some(ProducerId(ids))
        };
        self.host.state_mut().handle(&cx, (ConnId(0), 0), request, &mut fresh, &mut outcome);
        self.ids = ids;
        self.carry_out(&outcome);
        let (_, answer) = outcome.answers.pop().expect("one answer");
        answer
    }

    fn init(&mut self, expected: Option<(u64, i16)>) -> Result<(u64, i16), ErrorCode> {
        let expected = expected.map(|(id, epoch)| (ProducerId(id), ProducerEpoch(epoch)));
        let (transactional_id, timeout) = ("t".to_string(), Dur::secs(60));
        match self.ask(&TxnRequest::InitProducerId { transactional_id, timeout, expected }) {
            TxnAnswer::InitProducerId(result) => result.map(|(id, epoch)| (id.0, epoch.0)),
            other => panic!("{other:?}"),
        }
    }

    fn of(id: u64, epoch: i16) -> TxnProducer {
        let (producer, epoch) = (ProducerId(id), ProducerEpoch(epoch));
        TxnProducer { transactional_id: "t".to_string(), producer, epoch }
    }

    fn asks(
        &mut self,
        (id, epoch): (u64, i16),
        partitions: &[u32],
        how: (bool, TransactionVersion),
    ) -> Vec<Result<(), ErrorCode>> {
        let (of, (verify_only, version)) = (Self::of(id, epoch), how);
        let partitions = partitions.iter().map(|index| partition(*index)).collect();
        match self.ask(&TxnRequest::AddPartitions { of, partitions, verify_only, version }) {
            TxnAnswer::AddPartitions(results) => results.into_iter().map(|it| it.1).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, of: (u64, i16), index: u32) -> Result<(), ErrorCode> {
        self.asks(of, &[index], (false, V2))[0]
    }

    fn ends(
        &mut self,
        (id, epoch): (u64, i16),
        result: TransactionResult,
        version: TransactionVersion,
    ) -> Result<(u64, i16), ErrorCode> {
        match self.ask(&TxnRequest::End { of: Self::of(id, epoch), result, version }) {
            TxnAnswer::End(result) => result.map(|(id, epoch)| (id.0, epoch.0)),
            other => panic!("{other:?}"),
        }
    }

    fn txn(&self) -> &Txn {
        self.host.state().iter().next().expect("one id").1
    }

    /// Answers all markers that are owed: everything is written.
    fn mark(&mut self) {
        let decisions: Vec<_> = self.host.state().decisions().collect();
        for decision in decisions {
            let owed = self.host.state_mut().due(&decision).expect("owed");
            let fates = owed.partitions.into_iter().map(|it| (it, Fate::Written));
            let (cx, mut outcome) = (self.cx(), Outcome::default());
            self.host.state_mut().marked(&cx, &decision, fates, &mut outcome);
            self.carry_out(&outcome);
        }
    }

    fn tick(&mut self, later: i64) {
        self.now = Wall(self.now.0 + later);
        let (cx, mut outcome, mut ids) = (self.cx(), Outcome::default(), self.ids);
        let mut fresh = || {
            ids += 1;
            Some(ProducerId(ids))
        };
        self.host.state_mut().timer(&cx, CLEANUP, &mut fresh, &mut outcome);
        self.ids = ids;
        self.carry_out(&outcome);
    }

    /// Brings the id of producer 1, epoch 0, into this state. By the second protocol the epoch is
    /// raised on the way to the end.
    fn in_state(state: TxnState, version: TransactionVersion) -> Self {
        let mut rig = Self::new();
        assert_eq!(rig.init(None), Ok((1, 0)));
        if state == S::Empty {
            return rig;
        }
        assert_eq!(rig.asks((1, 0), &[0], (false, version)), [Ok(())]);
        let result = match state {
            S::PrepareCommit | S::CompleteCommit => Commit,
            S::PrepareAbort | S::CompleteAbort => Abort,
            S::Ongoing | S::Empty | S::Dead => return rig,
        };
        rig.ends((1, 0), result, version).expect("it is ongoing");
        if matches!(state, S::CompleteCommit | S::CompleteAbort) {
            rig.mark();
        }
        assert_eq!(rig.txn().state, state);
        rig
    }
}

const STATES: [TxnState; 6] =
    [S::Empty, S::Ongoing, S::PrepareCommit, S::PrepareAbort, S::CompleteCommit, S::CompleteAbort];

fn busy_in(state: TxnState) -> bool {
    matches!(state, S::PrepareCommit | S::PrepareAbort)
}

#[test]
fn end_by_the_first_protocol_follows_its_table() {
    let (ok, busy, wrong) = (Ok((1, 0)), Err(E::ConcurrentTransactions), Err(E::InvalidTxnState));
    let table = [
        (wrong, wrong, S::Empty, S::Empty),
        (ok, ok, S::PrepareCommit, S::PrepareAbort),
        // Markers are owed: whatever is asked has to wait.
        (busy, busy, S::PrepareCommit, S::PrepareCommit),
        (busy, busy, S::PrepareAbort, S::PrepareAbort),
        (ok, wrong, S::CompleteCommit, S::CompleteCommit),
        (wrong, ok, S::CompleteAbort, S::CompleteAbort),
    ];
    for (state, (commit, abort, committed, aborted)) in STATES.into_iter().zip(table) {
        for (result, answer, after) in [(Commit, commit, committed), (Abort, abort, aborted)] {
            let mut rig = Rig::in_state(state, V1);
            assert_eq!(rig.ends((1, 0), result, V1), answer, "{result:?} in {state:?}");
            assert_eq!(rig.txn().state, after, "{result:?} in {state:?}");
            for epoch in [1, -1] {
                let mut rig = Rig::in_state(state, V1);
                let refused =
                    Err(if busy_in(state) { E::ConcurrentTransactions } else { E::ProducerFenced });
                assert_eq!(rig.ends((1, epoch), result, V1), refused);
            }
        }
    }
}

#[test]
fn end_by_the_second_protocol_follows_its_table() {
    let (busy, wrong) = (Err(E::ConcurrentTransactions), Err(E::InvalidTxnState));
    let fenced = Err(E::ProducerFenced);
    // Commit by the current epoch and as a retry, abort by the current epoch and as a retry.
    let table = [
        (wrong, fenced, Ok((1, 1)), fenced),
        (Ok((1, 1)), fenced, Ok((1, 1)), fenced),
        (busy, busy, busy, busy),
        (busy, busy, busy, busy),
        (wrong, Ok((1, 1)), Ok((1, 2)), wrong),
        (wrong, wrong, Ok((1, 2)), Ok((1, 1))),
    ];
    for (state, (commit, commit_again, abort, abort_again)) in STATES.into_iter().zip(table) {
        let of = |rig: &Rig, retry: i16| (1, rig.txn().epoch.0 - retry);
        let rows = [
            (Commit, 0, commit),
            (Commit, 1, commit_again),
            (Abort, 0, abort),
            (Abort, 1, abort_again),
        ];
        for (result, retry, answer) in rows {
            let mut rig = Rig::in_state(state, V2);
            let of = of(&rig, retry);
            assert_eq!(rig.ends(of, result, V2), answer, "{result:?} by {of:?} in {state:?}");
        }
        let mut rig = Rig::in_state(state, V2);
        let later = of(&rig, -1);
        let mapping = Err(E::InvalidProducerIdMapping);
        assert_eq!(rig.ends(later, Commit, V2), if busy_in(state) { busy } else { fenced });
        assert_eq!(rig.ends((2, 0), Commit, V2), if busy_in(state) { busy } else { mapping });
    }
}

#[test]
fn end_of_the_transaction_before_ends_the_next_one_by_the_first_protocol_only() {
    for (version, epoch, late) in [(V1, 0, Ok((1, 0))), (V2, 1, Err(E::ProducerFenced))] {
        let mut rig = Rig::in_state(S::CompleteCommit, version);
        assert_eq!(rig.asks((1, epoch), &[1], (false, version)), [Ok(())]);
        assert_eq!(rig.ends((1, 0), Commit, version), late, "KAFKA-17754");
    }
}

#[test]
fn requests_while_the_newest_record_is_not_confirmed_are_answered_as_concurrent() {
    let mut rig = Rig::in_state(S::Ongoing, V2);
    rig.held = true;
    assert_eq!(rig.ends((1, 0), Commit, V2), Ok((1, 1)));
    let busy = Err(E::ConcurrentTransactions);
    // By the raised epoch, too, which only the answer tells (KAFKA-18464).
    assert_eq!(rig.ends((1, 1), Abort, V2), busy);
    assert_eq!(rig.ends((1, 0), Commit, V2), busy);
    assert_eq!(rig.init(None), Err(E::ConcurrentTransactions));
    assert_eq!(rig.add((1, 0), 0), Err(E::ConcurrentTransactions));
    assert_eq!(rig.host.state().describe("t").unwrap().state, S::Ongoing, "as confirmed");
    assert_eq!(rig.host.state().decisions().count(), 0, "no marker before the decision is");
}

#[test]
fn init_follows_its_table() {
    for state in [S::Empty, S::CompleteCommit, S::CompleteAbort] {
        let mut rig = Rig::in_state(state, V1);
        assert_eq!(rig.init(None), Ok((1, 1)));
        let mut rig = Rig::in_state(state, V1);
        assert_eq!(rig.init(Some((1, 0))), Ok((1, 1)));
        assert_eq!(rig.init(Some((1, 0))), Ok((1, 1)), "a retry whose answer got lost");
        assert_eq!(rig.init(Some((1, 1))), Ok((1, 2)));
        assert_eq!(rig.init(Some((1, 0))), Err(E::ProducerFenced));
        assert_eq!(rig.init(Some((2, 2))), Err(E::ProducerFenced));
    }
    for state in [S::PrepareCommit, S::PrepareAbort] {
        let mut rig = Rig::in_state(state, V1);
        assert_eq!(rig.init(None), Err(E::ConcurrentTransactions));
        assert_eq!(rig.txn().epoch, ProducerEpoch(0));
    }
    let bad = |id: &str, timeout| TxnRequest::InitProducerId {
        transactional_id: id.to_string(),
        timeout,
        expected: None,
    };
    let mut rig = Rig::new();
    let refused = |code| TxnAnswer::InitProducerId(Err(code));
    assert_eq!(rig.ask(&bad("", Dur::secs(1))), refused(E::InvalidRequest));
    for timeout in [Dur(0), Dur(crate::protocol::TRANSACTION_TIMEOUT_MAX.0 + 1)] {
        assert_eq!(rig.ask(&bad("t", timeout)), refused(E::InvalidTransactionTimeout));
    }
}

#[test]
fn init_of_an_ongoing_transaction_fences_it_with_one_raise() {
    for version in [V1, V2] {
        let mut rig = Rig::in_state(S::Ongoing, version);
        assert_eq!(rig.init(None), Err(E::ConcurrentTransactions));
        assert_eq!((rig.txn().state, rig.txn().epoch), (S::PrepareAbort, ProducerEpoch(1)));
        assert!(rig.ends((1, 0), Commit, version).is_err(), "the old one is fenced");
        rig.mark();
        assert_eq!(rig.init(None), Ok((1, 2)));
    }
}

#[test]
fn partitions_are_added_once_and_verified() {
    let mut rig = Rig::in_state(S::Ongoing, V1);
    let records = rig.log.len();
    assert_eq!(rig.add((1, 0), 0), Ok(()), "is part of it");
    assert_eq!(rig.log.len(), records);
    let verify = (true, V1);
    let missing = Err(E::TransactionAbortable);
    assert_eq!(rig.asks((1, 0), &[0, 1], verify), [Ok(()), missing]);
    for (of, code) in [
        ((2, 0), E::InvalidProducerIdMapping),
        ((1, 1), E::ProducerFenced),
        ((1, -1), E::ProducerFenced),
    ] {
        assert_eq!(rig.asks(of, &[0], verify), [Err(code)]);
        assert_eq!(rig.add(of, 1), Err(code));
    }
    for state in [S::PrepareCommit, S::PrepareAbort] {
        let mut rig = Rig::in_state(state, V1);
        assert_eq!(rig.asks((1, 0), &[0], verify), [Err(E::ConcurrentTransactions)]);
    }
    assert_eq!(Rig::new().add((1, 0), 0), Err(E::InvalidProducerIdMapping));
}

#[test]
fn producer_whose_epochs_are_used_up_goes_on_under_another_id() {
    let mut rig = Rig::new();
    assert_eq!(rig.init(None), Ok((1, 0)));
    for epoch in 0..MAX.0 {
        assert_eq!(rig.add((1, epoch), 0), Ok(()));
        assert_eq!(rig.ends((1, epoch), Commit, V2), Ok((1, epoch + 1)));
        rig.mark();
    }
    assert_eq!(rig.add((1, MAX.0), 0), Ok(()));
    assert_eq!(rig.ends((1, MAX.0), Commit, V2), Ok((2, 0)));
    assert_eq!(rig.txn().epoch, MAX.next(), "of the marker");
    assert_eq!(rig.ends((1, MAX.0), Commit, V2), Err(E::ConcurrentTransactions));
    assert_eq!(rig.add((2, 0), 0), Err(E::ConcurrentTransactions), "the next id, too soon");
    rig.mark();
    assert_eq!((rig.txn().producer, rig.txn().epoch), (ProducerId(2), ProducerEpoch(0)));
    assert_eq!(rig.ends((1, MAX.0), Commit, V2), Ok((2, 0)), "a retry whose answer got lost");
    assert_eq!(rig.ends((1, MAX.0), Abort, V2), Err(E::InvalidTxnState));
    assert_eq!(rig.init(Some((1, MAX.0))), Ok((2, 0)), "who did not hear of it is told");
    assert_eq!(rig.add((2, 0), 0), Ok(()));
}

#[test]
fn init_whose_epochs_are_used_up_gets_another_id() {
    let mut rig = Rig::new();
    for epoch in 0..=MAX.0 {
        assert_eq!(rig.init(None), Ok((1, epoch)));
    }
    assert_eq!(rig.init(None), Ok((2, 0)));
    assert_eq!(rig.txn().previous, Some(ProducerId(1)));
}

#[test]
fn transaction_open_for_too_long_is_aborted_and_its_producer_fenced() {
    for version in [V1, V2] {
        let mut rig = Rig::in_state(S::Ongoing, version);
        rig.tick(60 * SECOND);
        assert_eq!(rig.txn().state, S::Ongoing, "a minute is allowed");
        rig.tick(1);
        assert_eq!((rig.txn().state, rig.txn().epoch), (S::PrepareAbort, ProducerEpoch(1)));
        rig.mark();
        assert_eq!(rig.add((1, 0), 0), Err(E::ProducerFenced), "KAFKA-6119");
    }
}

#[test]
fn id_without_a_transaction_for_a_week_is_forgotten() {
    const WEEK: i64 = 7 * 24 * 3_600 * SECOND;
    let mut rig = Rig::in_state(S::CompleteAbort, V2);
    rig.tick(WEEK - 1);
    assert_eq!(rig.host.state().iter().count(), 1);
    rig.held = true;
    rig.tick(1);
    assert_eq!(rig.init(None), Err(E::ConcurrentTransactions), "not before that is confirmed");
    rig.host.state_mut().confirmed(rig.end);
    assert_eq!(rig.host.state().describe("t"), Err(E::TransactionalIdNotFound));
    let mut rig = Rig::in_state(S::Ongoing, V2);
    rig.now = Wall(WEEK);
    rig.tick(0);
    assert_eq!(rig.txn().state, S::PrepareAbort, "one with a transaction is not");
}

#[test]
fn markers_are_owed_until_each_is_written_and_an_old_answer_says_nothing() {
    let mut rig = Rig::in_state(S::Ongoing, V1);
    assert_eq!(rig.asks((1, 0), &[1], (false, V1)), [Ok(())]);
    rig.ends((1, 0), Commit, V1).unwrap();
    let decision = rig.host.state().decisions().next().expect("decided");
    let owed = rig.host.state_mut().due(&decision).unwrap();
    assert_eq!((owed.result, owed.partitions), (Commit, vec![partition(0), partition(1)]));
    assert_eq!(rig.host.state_mut().due(&decision).unwrap().partitions, [], "on their way");
    let fate = |rig: &mut Rig, decision: &Decision, index, fate| {
        let (cx, mut outcome) = (rig.cx(), Outcome::default());
        let fates = [(partition(index), fate)].into_iter();
        rig.host.state_mut().marked(&cx, decision, fates, &mut outcome);
        rig.carry_out(&outcome);
    };
    fate(&mut rig, &decision, 0, Fate::Written);
    fate(&mut rig, &decision, 1, Fate::Unwritten);
    assert_eq!(rig.host.state_mut().due(&decision).unwrap().partitions, [partition(1)]);
    let other = Decision { at: Offset(99), ..decision.clone() };
    fate(&mut rig, &other, 1, Fate::Written);
    assert_eq!(rig.txn().state, S::PrepareCommit);
    fate(&mut rig, &decision, 1, Fate::Written);
    assert_eq!(rig.txn().state, S::CompleteCommit);
    let records = rig.log.len();
    fate(&mut rig, &decision, 1, Fate::Written);
    assert_eq!(rig.log.len(), records, "complete once (KAFKA-10080)");
}

#[test]
fn successor_that_reads_the_log_knows_the_same_and_owes_the_same_markers() {
    for state in STATES {
        let rig = Rig::in_state(state, V2);
        let mut successor = Rig::new();
        for batch in &rig.log {
            successor.host.fold(batch, &Header::parse(batch).expect("well-formed"));
        }
        let (cx, mut outcome) = (rig.cx(), Outcome::default());
        let decided = successor.host.state_mut().loaded(&cx, rig.end, &mut outcome);
        assert_eq!(outcome.timers, [(CLEANUP, Some(CLEANUP_INTERVAL))]);
        assert_eq!(successor.host.state(), rig.host.state(), "{state:?}");
        assert_eq!(decided.len(), rig.host.state().decisions().count());
    }
}

#[test]
fn list_gives_what_is_asked_for() {
    let mut rig = Rig::in_state(S::Ongoing, V1);
    rig.now = Wall(5 * SECOND);
    let listed = |rig: &Rig, filter| rig.host.state().list(rig.now, &filter).count();
    let all = TxnFilter::default();
    assert_eq!(listed(&rig, all.clone()), 1);
    assert_eq!(listed(&rig, TxnFilter { states: vec![S::Empty], ..all.clone() }), 0);
    assert_eq!(listed(&rig, TxnFilter { producers: vec![ProducerId(2)], ..all.clone() }), 0);
    let running = |seconds| TxnFilter { running: Some(Dur::secs(seconds)), ..all.clone() };
    assert_eq!([listed(&rig, running(4)), listed(&rig, running(5))], [1, 0]);
}
