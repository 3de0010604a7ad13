//! RF3 TransactionsRefine: whatever the coordinators' logs and the data partitions' logs say of
//! transactions, and whatever is told of that, is steps of the specification of transactions. What
//! is in a log is read from the WAL objects that are confirmed, and from the committed objects when
//! another leader opens it. Source: `specification/transactions.rs`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use broker_core::coordinator::txn::{Txn, TxnRecord};
use broker_core::ids::{Lsn, NodeId, Offset, ProducerEpoch, ProducerId, StreamId, TopicPartition};
use broker_core::probe::{KnownProducer, Probe};
use broker_core::protocol::{TransactionVersion, TxnState};

use crate::bytes::{
    Contained, Entry, data_batches, data_object, transactional, txn_records, wal_object,
};
use crate::facts::Facts;
use crate::history::{Answer, Call, EventKind, HistoryEvent};
use crate::marks::Marks;
use crate::specification::Refused;
use crate::specification::transactions::{
    Action, Id, Marker, Place, Protocol, State, Transactions, Txn as Specified,
};
use crate::table::Code;
use crate::view::View;
use crate::{Check, require};

/// The specification's state, and what its numbers stand for.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TransactionsRefine {
    specified: Transactions,
    ids: BTreeMap<Arc<str>, Id>,
    places: BTreeMap<TopicPartition, Place>,
    /// Partitions that are coordinators' logs.
    coordinators: BTreeSet<TopicPartition>,
    /// So far each log is read, once there is a coordinator. Before, there is nothing to read.
    ends: BTreeMap<StreamId, Offset>,
    /// Calls under way: the end of a transaction that is asked for, or to be its producer.
    calls: BTreeMap<(u16, u32), Asked>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Asked {
    End(ProducerId, ProducerEpoch, bool),
    Init,
}

/// Whose step it is, for messages.
#[derive(Clone, Copy)]
enum Who<'a> {
    Id(&'a str),
    At(TopicPartition, Offset),
    Client(u16),
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "transactional id {id:?}"),
            Self::At(partition, offset) => {
                let TopicPartition { topic, index } = partition;
                write!(f, "topic {topic:?}, partition {index}, offset {offset}")
            }
            Self::Client(client) => write!(f, "client {client}"),
        }
    }
}

/// What it is judged by.
pub(crate) struct Around<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) view: &'a dyn View,
    pub(crate) marks: &'a mut Marks,
}

impl TransactionsRefine {
    /// Whether there is something to judge.
    pub(crate) fn begun(&self) -> bool {
        !self.coordinators.is_empty()
    }

    /// A node left a mark; the facts know it.
    pub(crate) fn noted(&mut self, node: NodeId, probe: &Probe, at: &mut Around<'_>) -> Check {
        match probe {
            Probe::TxnRecorded { coordinator, .. } => {
                self.coordinators.insert(*coordinator);
                Ok(())
            }
            Probe::WalRecordConfirmed { lsn, stream, end, .. } => {
                if self.begun() {
                    self.confirmed(node, *lsn, at)?;
                }
                // Who confirms late finds that others have recovered its log and deleted it.
                if self.ends.get(stream).is_none_or(|known| known < end) {
                    self.opened(*stream, *end, at)?;
                }
                Ok(())
            }
            Probe::PartitionOpened { stream, next, .. } => self.opened(*stream, *next, at),
            Probe::ProducersLoaded { partition, end, producers, aborted, .. } if self.begun() => {
                let Some(known) = at.facts.ledger.partitions.get(partition) else { return Ok(()) };
                self.opened(known.stream, *end, at)?;
                // Behind a leader that comes late, its successor has gone on.
                if self.ends.get(&known.stream).is_some_and(|known| known > end) {
                    return Ok(());
                }
                self.loaded(*partition, producers, aborted)
            }
            Probe::PartitionOffsets { partition, last_stable, high_watermark, .. } => {
                self.shown(*partition, *high_watermark, *last_stable, at)
            }
            Probe::TxnDecided { coordinator, id, at: record, .. } => {
                let known = at.facts.ledger.partitions.get(coordinator);
                let end = known.and_then(|known| self.ends.get(&known.stream));
                require!(
                    known.is_none() || end.is_some_and(|end| record < end),
                    RF3,
                    "coordinator",
                    "the decision about {id:?} at {record} is acted on, and is not durable"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A client called, or heard something; the facts do not know it yet.
    pub(crate) fn heard(&mut self, event: &HistoryEvent, at: &mut Around<'_>) -> Check {
        let key = (event.client, event.call);
        match &event.kind {
            EventKind::Invoke(Call::EndTxn { commit, producer: Some((id, epoch)), .. }) => {
                self.calls.insert(key, Asked::End(*id, *epoch, *commit));
                self.take(Who::Client(event.client), Action::Ask(id.0, epoch.0, *commit), at)
            }
            EventKind::Invoke(Call::InitProducerId { transactional: true, .. }) => {
                self.calls.insert(key, Asked::Init);
                Ok(())
            }
            EventKind::Invoke(_) => Ok(()),
            EventKind::Ok(answer) => match (self.calls.remove(&key), answer) {
                (Some(Asked::End(id, epoch, commit)), Answer::Done) => {
                    self.take(Who::Client(event.client), Action::TellEnd(id.0, epoch.0, commit), at)
                }
                (Some(Asked::Init), Answer::ProducerId(id, epoch)) => {
                    self.take(Who::Client(event.client), Action::TellProducer(id.0, epoch.0), at)
                }
                _ => Ok(()),
            },
            EventKind::Fail(_) | EventKind::Unknown(_) | EventKind::GaveUp => {
                self.calls.remove(&key);
                Ok(())
            }
        }
    }

    fn take(&mut self, who: Who<'_>, action: Action, at: &mut Around<'_>) -> Check {
        if let Err(Refused(why)) = self.specified.take(action) {
            require!(false, RF3, "transaction", "{who}: {action:?} may not be: {why}");
        }
        at.marks.evaluated(Code::RF3);
        at.marks.taken(action.name());
        Ok(())
    }

    /// A record is confirmed. The whole object is read with its first one: it is so as a whole.
    fn confirmed(&mut self, node: NodeId, lsn: Lsn, at: &mut Around<'_>) -> Check {
        let Some(epoch) = at.facts.nodes.get(node).and_then(|known| known.epoch) else {
            return Ok(());
        };
        let wal = at.facts.wals.get(node, epoch);
        let object = wal.and_then(|wal| wal.object_at(lsn)).map(|(key, _)| key);
        let Some((start, end)) = object.filter(|(start, _)| *start == lsn) else { return Ok(()) };
        let held = wal_object(at.view, (node, epoch), (start, end));
        self.read(&held.unwrap_or_default(), at)
    }

    /// A log is opened by a leader: all before `end` is committed.
    fn opened(&mut self, stream: StreamId, end: Offset, at: &mut Around<'_>) -> Check {
        let known = self.ends.get(&stream).copied().unwrap_or_default();
        let facts = at.facts;
        if let Some(of) = facts.ledger.streams.get(&stream).filter(|_| self.begun()) {
            for piece in of.pieces.iter().filter(|piece| piece.end > known && piece.start < end) {
                let body = data_object(at.view, piece.object);
                let mut held = body.and_then(|it| data_batches(&it).ok()).unwrap_or_default();
                held.retain(|held| held.stream == stream);
                self.read(&held, at)?;
            }
        }
        let known = self.ends.entry(stream).or_default();
        *known = (*known).max(end);
        Ok(())
    }

    /// These batches are in their logs.
    fn read(&mut self, batches: &[Contained], at: &mut Around<'_>) -> Check {
        for Contained { stream, base, end, batch, .. } in batches {
            let known = self.ends.entry(*stream).or_default();
            if base < known {
                continue;
            }
            *known = *end;
            let Some(of) = at.facts.ledger.streams.get(stream) else { continue };
            if self.coordinators.contains(&of.partition) {
                let records = txn_records(batch);
                require!(
                    records.is_some(),
                    RF3,
                    "coordinator",
                    "what is in the log of a coordinator at {base} can not be read"
                );
                for record in records.into_iter().flatten() {
                    self.recorded(record, at)?;
                }
            } else if let Some(entry) = transactional(batch) {
                self.written(of.partition, &entry, at)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, partition: TopicPartition) -> Place {
        let next = self.places.len() as Place;
        *self.places.entry(partition).or_insert(next)
    }

    /// A coordinator's record is in its log.
    fn recorded(&mut self, TxnRecord { id: name, txn }: TxnRecord, at: &mut Around<'_>) -> Check {
        let next = self.ids.len() as Id;
        let id = *self.ids.entry(name.as_str().into()).or_insert(next);
        let who = Who::Id(&name);
        let before = self.specified.ids.get(&id).cloned();
        let Some(txn) = txn else { return self.take(who, Action::Forget(id), at) };
        let protocol = match txn.version {
            TransactionVersion::V1 => Protocol::First,
            TransactionVersion::V2 => Protocol::Second,
        };
        match txn.state {
            TxnState::Empty => {
                let now = (txn.producer.0, txn.epoch.0);
                let again = before.is_some_and(|before| (before.producer, before.epoch) == now);
                let action =
                    if again { Action::InitAgain(id) } else { Action::Init(id, now.0, now.1) };
                self.take(who, action, at)?;
            }
            TxnState::Ongoing => {
                if before.as_ref().is_none_or(|before| before.state != State::Ongoing) {
                    self.take(who, Action::Begin(id, protocol), at)?;
                }
                for partition in &txn.partitions {
                    let place = self.place(*partition);
                    let part = before.as_ref().is_some_and(|it| it.partitions.contains(&place));
                    if !part {
                        self.take(who, Action::Add(id, place), at)?;
                    }
                }
            }
            TxnState::PrepareCommit => {
                self.take(who, Action::DecideCommit(id, protocol), at)?;
            }
            TxnState::PrepareAbort => {
                let raised = before.is_some_and(|before| before.epoch != txn.epoch.0);
                let fenced = raised && txn.last_epoch.is_none();
                let asked = Action::DecideAbort(id, protocol);
                self.take(who, if fenced { Action::Fence(id) } else { asked }, at)?;
            }
            TxnState::CompleteCommit | TxnState::CompleteAbort => {
                self.deleted(who, before.as_ref(), at)?;
                let commit = txn.state == TxnState::CompleteCommit;
                self.take(who, Action::Complete(id, commit), at)?;
            }
            TxnState::Dead => require!(false, RF3, "transaction", "{who} is recorded as dead"),
        }
        let decided = matches!(txn.state, TxnState::PrepareCommit | TxnState::PrepareAbort);
        if let Some(next) = txn.next.filter(|_| decided) {
            self.take(who, Action::Succeed(id, next.0), at)?;
        }
        self.agrees(who, id, &txn)
    }

    /// Partitions of a transaction that have no marker may be deleted.
    fn deleted(&mut self, who: Who<'_>, before: Option<&Specified>, at: &mut Around<'_>) -> Check {
        let Some(before) = before else { return Ok(()) };
        let here = |place: &Place| {
            let known = self.places.iter().find(|(_, known)| *known == place);
            known.is_some_and(|(partition, _)| at.facts.ledger.partitions.contains_key(partition))
        };
        let due = before.partitions.difference(&before.marked).copied();
        let gone = due.filter(|place| !here(place) && !self.specified.gone.contains(place));
        for place in gone.collect::<Vec<_>>() {
            self.take(who, Action::Delete(place), at)?;
        }
        Ok(())
    }

    /// Behind the steps the transactional id stands as its record says.
    fn agrees(&self, who: Who<'_>, id: Id, txn: &Txn) -> Check {
        let state = match txn.state {
            TxnState::Ongoing => State::Ongoing,
            TxnState::PrepareCommit => State::Decided(true),
            TxnState::PrepareAbort => State::Decided(false),
            TxnState::CompleteCommit => State::Complete(true),
            TxnState::CompleteAbort => State::Complete(false),
            TxnState::Empty | TxnState::Dead => State::Empty,
        };
        let seen = (txn.producer.0, txn.epoch.0, state, txn.next.map(|next| next.0));
        let is = self.specified.ids.get(&id);
        let steps = is.map(|it| (it.producer, it.epoch, it.state, it.next));
        require!(
            steps == Some(seen),
            RF3,
            "transaction",
            "{who}: no step leads to {seen:?}; they lead to {steps:?}"
        );
        let places = txn.partitions.iter().map(|partition| self.places.get(partition).copied());
        let places: Option<BTreeSet<Place>> = places.collect();
        require!(
            is.map(|it| &it.partitions) == places.as_ref(),
            RF3,
            "transaction",
            "{who}: no step leads to a transaction of {:?}",
            txn.partitions
        );
        Ok(())
    }

    /// A batch of a transaction, or a marker, is in a data partition's log.
    fn written(&mut self, partition: TopicPartition, entry: &Entry, at: &mut Around<'_>) -> Check {
        let Some((producer, epoch)) = entry.producer else { return Ok(()) };
        let (place, offset) = (self.place(partition), entry.base.0);
        let who = Who::At(partition, entry.base);
        let Some((commit, by)) = entry.marker else {
            return self.take(who, Action::Append(place, producer.0, epoch.0, offset), at);
        };
        let marker = Marker { producer: producer.0, epoch: epoch.0, commit, by: by.0 };
        let action = match self.specified.is_due(place, marker) {
            true => Action::Mark(place, marker, offset),
            false => Action::MarkAgain(place, marker, offset),
        };
        self.take(who, action, at)
    }

    /// A leader showed a last stable offset.
    fn shown(
        &mut self,
        partition: TopicPartition,
        high_watermark: Offset,
        stable: Offset,
        at: &mut Around<'_>,
    ) -> Check {
        let Some(place) = self.places.get(&partition).copied() else { return Ok(()) };
        let Some(known) = at.facts.ledger.partitions.get(&partition) else { return Ok(()) };
        // What is not durable is judged elsewhere.
        if self.ends.get(&known.stream).is_none_or(|end| high_watermark > *end) {
            return Ok(());
        }
        let who = Who::At(partition, stable);
        self.take(who, Action::Stable(place, high_watermark.0, stable.0), at)
    }

    /// A leader knows of its producers what their partition's log says.
    fn loaded(
        &self,
        partition: TopicPartition,
        producers: &[KnownProducer],
        aborted: &[(ProducerId, Offset, Offset)],
    ) -> Check {
        let place = self.places.get(&partition);
        let log = place.and_then(|place| self.specified.logs.get(place));
        let Some(log) = log else { return Ok(()) };
        let seen: BTreeMap<_, _> = producers.iter().map(|it| (it.id.0, it.standing)).collect();
        for (producer, writer) in &log.writers {
            let (epoch, open) = (writer.epoch, writer.open);
            // One without a transaction may have been forgotten.
            let Some(seen) = seen.get(producer).map(|it| (it.epoch.0, it.open.map(|at| at.0)))
            else {
                require!(
                    open.is_none(),
                    RF3,
                    partition,
                    "a leader does not know of producer {producer}, whose transaction is open"
                );
                continue;
            };
            require!(
                seen == (epoch, open),
                RF3,
                partition,
                "a leader takes producer {producer} to be at {seen:?}; by the log it is at {:?}",
                (epoch, open)
            );
        }
        let undone = log.ended.iter().filter(|ended| !ended.commit);
        let undone: Vec<_> = undone.map(|it| (it.producer, it.first, it.last)).collect();
        let told: Vec<_> = aborted.iter().map(|(of, from, to)| (of.0, from.0, to.0)).collect();
        require!(
            undone == told,
            RF3,
            partition,
            "a leader takes for aborted {told:?}; by the log it is {undone:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::string::{String, ToString};
    use alloc::vec;

    use broker_core::batch::{self, NewRecord, ProducerStamp, TimestampMs, stamp};
    use broker_core::coordinator::LogRecord;
    use broker_core::coordinator::txn::{Txn, TxnRecord};
    use broker_core::ids::{
        CoordinatorEpoch, LeaderEpoch, Lsn, Offset, PartitionIndex, ProducerEpoch, ProducerId,
        StreamId, TopicId, TopicPartition,
    };
    use broker_core::metadata::record::Record;
    use broker_core::probe::Probe;
    use broker_core::protocol::TxnState::{self, CompleteCommit, Empty, Ongoing, PrepareCommit};
    use broker_core::protocol::{TransactionResult, TransactionVersion};
    use broker_core::step::Flow;
    use broker_core::time::{Dur, Wall};
    use broker_core::wal::WalRecord;
    use broker_core::wal::record::{WalHeader, encode_wal_object};
    use bytes::Bytes;

    use crate::history::{Answer, Call};
    use crate::testing::{A, A_EPOCH, Case, P, S, wal_key};

    /// The log of a coordinator.
    const LOG: TopicPartition = TopicPartition { topic: TopicId(9), index: PartitionIndex(0) };
    const LOG_STREAM: StreamId = StreamId(9);
    const PRODUCER: ProducerId = ProducerId(7);

    /// A coordinator's log and a data partition, both at A.
    struct Story {
        case: Case,
        lsn: u64,
        /// Ends of the logs.
        log: u64,
        data: u64,
    }

    impl Story {
        fn new() -> Self {
            let mut case = Case::cluster("RF3");
            case.meta(vec![
                Record::Topic { name: String::from("log"), topic: LOG.topic, nonce: 2 },
                Record::Partition { partition: LOG, stream: LOG_STREAM, replica: Some(A) },
            ]);
            Self { case, lsn: 0, log: 0, data: 0 }
        }

        /// The batch is in the WAL, and confirmed there.
        fn durable(&mut self, stream: StreamId, base: u64, batch: Bytes) {
            let (start, end) = (Lsn(self.lsn), Lsn(self.lsn + 1));
            let (epoch, base, to) = (LeaderEpoch(0), Offset(base), Offset(base + 1));
            let record =
                WalRecord { stream, epoch, base, end: to, batch: stamp(batch, base, epoch) };
            let header = WalHeader { node: A, epoch: A_EPOCH, nonce: 1, start, end, trim: Lsn(0) };
            let body = encode_wal_object(header, &[record]);
            self.case.put(A, Flow::Wal, &wal_key(A, A_EPOCH, start.0, end.0), body);
            let confirmed = Probe::WalRecordConfirmed { lsn: start, stream, epoch, base, end: to };
            self.case.probe(A, &confirmed);
            self.lsn += 1;
        }

        /// The coordinator records that the id `t` stands so.
        fn record(&mut self, state: TxnState, epoch: i16) -> &mut Self {
            let epoch = ProducerEpoch(epoch);
            let open = matches!(state, Ongoing | PrepareCommit);
            let txn = Txn {
                producer: PRODUCER,
                epoch,
                last_epoch: None,
                previous: None,
                next: None,
                timeout: Dur(1_000_000),
                state,
                partitions: open.then_some(P).into_iter().collect::<BTreeSet<_>>(),
                started: None,
                updated: Wall(0),
                version: TransactionVersion::V2,
            };
            let record = TxnRecord { id: "t".to_string(), txn: Some(txn) };
            let at = Offset(self.log);
            let txn = Some((PRODUCER, epoch, state));
            let (coordinator, of) = (LOG, LeaderEpoch(0));
            let id = "t".into();
            self.case.probe(A, &Probe::TxnRecorded { coordinator, epoch: of, id, at, txn });
            let (key, value) = record.encode();
            let (key, value) = (Some(key.as_slice()), value.as_deref());
            let written = NewRecord { timestamp: TimestampMs(0), key, value, headers: &[] };
            self.durable(LOG_STREAM, at.0, batch::build(&[written], ProducerStamp::NONE));
            self.log += 1;
            self
        }

        fn append(&mut self, epoch: i16) -> &mut Self {
            let id = i64::try_from(PRODUCER.0).expect("small");
            let producer = ProducerStamp { id, epoch, base_sequence: 0 };
            let record =
                NewRecord { timestamp: TimestampMs(0), key: None, value: Some(b"v"), headers: &[] };
            self.durable(S, self.data, batch::build_transactional(&[record], producer));
            self.data += 1;
            self
        }

        fn mark(&mut self, epoch: i16, result: TransactionResult) -> &mut Self {
            let (epoch, coordinator_epoch) = (ProducerEpoch(epoch), CoordinatorEpoch(0));
            let marker = batch::Marker { producer: PRODUCER, epoch, result, coordinator_epoch };
            self.durable(S, self.data, marker.encode(TimestampMs(0)));
            self.data += 1;
            self
        }

        /// Its producer asks for the commit.
        fn ask(&mut self) -> &mut Self {
            self.call();
            self
        }

        fn call(&mut self) -> crate::testing::Opened {
            let id = Some("t".into());
            let producer = Some((PRODUCER, ProducerEpoch(0)));
            self.case.invoke(1, Call::EndTxn { id, commit: true, producer })
        }

        fn told(&mut self) -> &mut Self {
            let call = self.call();
            self.case.ok(call, Answer::Done);
            self
        }

        fn shows(&mut self, high_watermark: u64, stable: u64) -> &mut Self {
            let (partition, epoch, log_start) = (P, LeaderEpoch(0), Offset(0));
            let high_watermark = Offset(high_watermark);
            self.case.probe(
                A,
                &Probe::PartitionOffsets {
                    partition,
                    epoch,
                    log_start,
                    last_stable: Offset(stable),
                    high_watermark,
                    log_end: high_watermark,
                },
            );
            self
        }
    }

    fn open() -> Story {
        let mut story = Story::new();
        story.record(Empty, 0).record(Ongoing, 0).append(0);
        story
    }

    #[test]
    fn transaction_from_begin_to_end_holds() {
        let mut story = open();
        story.shows(1, 0).ask().record(PrepareCommit, 1).told().shows(1, 0);
        story.mark(1, TransactionResult::Commit).shows(2, 2).record(CompleteCommit, 1);
        assert!(story.case.holds());
    }

    type Wrong = fn(&mut Story);

    #[test]
    fn what_no_step_leads_to_breaks() {
        let breaks: [(&str, Wrong); 9] = [
            ("batch of a newer epoch", |it| _ = it.append(1)),
            ("decision that nobody asked for", |it| _ = it.record(PrepareCommit, 1)),
            ("decision that does not raise the epoch", |it| _ = it.ask().record(PrepareCommit, 0)),
            ("end that is told before it is decided", |it| _ = it.told()),
            ("marker without a decision", |it| _ = it.mark(1, TransactionResult::Commit)),
            ("what is open is shown", |it| _ = it.shows(1, 1)),
            ("another end than was decided", |it| {
                it.ask().record(PrepareCommit, 1).mark(1, TransactionResult::Abort);
            }),
            ("complete without its marker", |it| {
                it.ask().record(PrepareCommit, 1).record(CompleteCommit, 1);
            }),
            ("batch behind the marker", |it| {
                it.ask().record(PrepareCommit, 1).mark(1, TransactionResult::Commit).append(0);
            }),
        ];
        for (what, wrong) in breaks {
            let mut story = open();
            assert!(story.case.holds());
            wrong(&mut story);
            assert!(story.case.breaks("RF3"), "{what}");
        }
    }
}
