//! What a query asks of Kafka and of its sinks, as errands of its clients, and what their reports
//! are to the driver that waits.
//!
//! A client reports calls; an errand is over when the client is not at it any more. What records
//! carry is kept here and told to the judge: the records themselves hold numbers only.

use std::collections::{BTreeMap, BTreeSet};

use broker_core::ids::{Offset, PartitionIndex, TopicPartition};
use broker_core::protocol::ErrorCode;
use broker_core::step::{Key, ObjOp};
use invariants::handoff::Handoff;
use invariants::history::SimTime;
use workloads::Op;
use workloads::client::{self, APPLICATION_BYTES, Call, CallEvent, ClientIn, Observation};
use workloads::op::ListSpec;
use workloads::spark::driver::Sink as SinkKind;
use workloads::spark::step::{
    Answer, AskTok, AttemptId, ExecutorId, KafkaAsk, OutRow, Partitions, ReadAnswer, SendAnswer,
    SinkAnswer, SinkAsk, SinkMarker, SourceRow, SparkIn, Which,
};

use super::table::TABLE;
use super::{Of, Place, Spark, behind, told};
use crate::world::layout::Endpoint;
use crate::world::step::Sink;
use crate::world::{Judged, World};

/// Errands are numbered from here, operations of the plan below it.
pub(in crate::world) const ERRANDS_FROM: u32 = 1 << 24;

/// Most offsets that one read of a task covers (`max.poll.records`, in small).
const POLL_MAX: u64 = 4;

/// What a client of a query is at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Errand {
    pub(super) client: Endpoint,
    work: Work,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Work {
    /// One of several offsets that a question is about.
    Offset {
        of: Listing,
        found: Option<Offset>,
    },
    Read(Read),
    Send {
        tok: AskTok,
        rows: Vec<OutRow>,
        answer: Option<SendAnswer>,
    },
    Become {
        tok: AskTok,
        done: bool,
    },
    /// `tok`: the step that is under way, if one is.
    Transaction {
        tok: Option<AskTok>,
        carries: Carries,
    },
    Marker {
        tok: AskTok,
        last: Option<SinkMarker>,
        gave_up: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Listing {
    tok: AskTok,
    partition: PartitionIndex,
    latest: bool,
    topic: Option<TopicPartition>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Read {
    tok: AskTok,
    range: (Offset, Offset),
    partition: Option<TopicPartition>,
    records: BTreeMap<Offset, u64>,
    next: Offset,
    out_of_range: bool,
    fails: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Carries {
    Rows(Vec<OutRow>),
    Marker(SinkMarker),
    Nothing,
}

/// What becomes of an errand that is over: an answer, and what is told of it.
type Over = (Option<(AskTok, Answer)>, Option<Handoff>);

impl World {
    pub(super) fn ask_kafka<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        tok: AskTok,
        ask: KafkaAsk,
        sink: &mut S,
    ) -> Judged {
        match ask {
            KafkaAsk::ListOffsets { which, partitions } => {
                self.list_offsets(at, (place, tok), which, partitions, sink)
            }
            KafkaAsk::Read { attempt, executor, from, to } => {
                self.read_source(at, (place, tok), (attempt, executor), (from, to), sink)
            }
            KafkaAsk::Send { executor, to, rows, .. } => {
                let Some(client) = self.spark().executor(place, executor) else { return Ok(()) };
                let op = Op::Produce {
                    topic: self.spark().query.target.clone(),
                    partition: to.0,
                    records: count(&rows),
                    bytes: APPLICATION_BYTES,
                    acks: -1,
                    damaged: false,
                    idempotent: true,
                };
                let work = Work::Send { tok, rows, answer: None };
                self.run_errand(at, place, (client, work), |number| ClientIn::Op(number, op), sink)
            }
            KafkaAsk::CommitGroup(offsets) => {
                self.spark().group = offsets;
                Ok(())
            }
        }
    }

    fn list_offsets<S: Sink>(
        &mut self,
        at: SimTime,
        (place, tok): (Place, AskTok),
        which: Which,
        partitions: Option<BTreeSet<PartitionIndex>>,
        sink: &mut S,
    ) -> Judged {
        let spark = self.spark();
        let all = || (0..spark.query.partitions).map(PartitionIndex).collect();
        let partitions: BTreeSet<_> = partitions.unwrap_or_else(all);
        let (spec, latest) = match which {
            Which::Earliest => (ListSpec::Earliest, false),
            Which::Latest => (ListSpec::Latest, true),
            Which::Group => {
                let known = |it: &PartitionIndex| spark.group.get(it).copied().unwrap_or_default();
                let offsets = partitions.iter().map(|it| (*it, known(it))).collect();
                let answer = SparkIn::Answer(tok, Answer::Offsets(offsets));
                spark.at_mut(place).inbox.push_back(answer);
                return Ok(());
            }
        };
        let (topic, client) = (spark.query.source.clone(), spark.driver_at(place));
        for partition in partitions {
            let (topic, committed) = (topic.clone(), false);
            let op = Op::ListOffsets { topic, partition: partition.0, spec, committed };
            let of = Listing { tok, partition, latest, topic: None };
            let errand = (client, Work::Offset { of, found: None });
            self.run_errand(at, place, errand, |number| ClientIn::Op(number, op), sink)?;
        }
        Ok(())
    }

    fn read_source<S: Sink>(
        &mut self,
        at: SimTime,
        (place, tok): (Place, AskTok),
        (attempt, executor): (AttemptId, ExecutorId),
        (from, to): (Offset, Offset),
        sink: &mut S,
    ) -> Judged {
        let spark = self.spark();
        let Some(client) = spark.executor(place, executor) else { return Ok(()) };
        let to = to.min(from.plus(POLL_MAX));
        let fails = core::mem::take(&mut spark.at_mut(place).failing) > 0;
        let read = Read {
            tok,
            range: (from, to),
            partition: None,
            records: BTreeMap::new(),
            next: from,
            out_of_range: false,
            fails,
        };
        let (topic, partition) = (spark.query.source.clone(), attempt.partition);
        let errand = client::Errand::Read { topic, partition, from, to };
        let input = |number| ClientIn::Errand(number, errand);
        self.run_errand(at, place, (client, Work::Read(read)), input, sink)
    }

    pub(super) fn ask_sink<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        tok: AskTok,
        ask: SinkAsk,
        sink: &mut S,
    ) -> Judged {
        let spark = self.spark();
        let (topic, id) = (spark.query.target.clone(), spark.transactional_id(place));
        let driver = spark.driver_at(place);
        let marker_partition = PartitionIndex(spark.query.marker_partition());
        match ask {
            SinkAsk::ReadMarker { .. } if spark.query.sink == SinkKind::MarkedTable => {
                let op = ObjOp::List { prefix: Key(TABLE.into()), after: None };
                self.ask_store_for((place, tok), Of::TableVersions, op, sink);
                Ok(())
            }
            SinkAsk::ReadMarker { .. } => {
                let (partition, committed) = (marker_partition.0, true);
                let op = Op::CatchUp { topic, partition, committed };
                let work = Work::Marker { tok, last: None, gave_up: false };
                self.run_errand(at, place, (driver, work), |number| ClientIn::Op(number, op), sink)
            }
            SinkAsk::CommitTable { rows, marker, .. } => {
                self.put_version((place, tok), rows, marker, sink);
                Ok(())
            }
            SinkAsk::InitTransactions { transactional_id } => {
                spark.at_mut(place).transactional_id.clone_from(&transactional_id);
                let errand = client::Errand::InitTransactions { topic, id: transactional_id };
                let work = Work::Become { tok, done: false };
                let input = |number| ClientIn::Errand(number, errand);
                self.run_errand(at, place, (driver, work), input, sink)
            }
            SinkAsk::TxnSend { to, rows } => {
                let (partition, records) = (to, count(&rows));
                let errand = client::Errand::TxnSend { topic, id, partition, records };
                self.step_transaction(at, (place, tok), Carries::Rows(rows), errand, sink)
            }
            SinkAsk::TxnMarker(marker) => {
                let (partition, records) = (marker_partition, 1);
                let errand = client::Errand::TxnSend { topic, id, partition, records };
                self.step_transaction(at, (place, tok), Carries::Marker(marker), errand, sink)
            }
            SinkAsk::TxnCommit => {
                let errand = client::Errand::TxnCommit;
                self.step_transaction(at, (place, tok), Carries::Nothing, errand, sink)
            }
        }
    }

    fn step_transaction<S: Sink>(
        &mut self,
        at: SimTime,
        (place, tok): (Place, AskTok),
        carries: Carries,
        errand: client::Errand,
        sink: &mut S,
    ) -> Judged {
        let spark = self.spark();
        let driver = spark.driver_at(place);
        if spark.at(place).broken {
            let answer = SparkIn::Answer(tok, Answer::Sink(SinkAnswer::Refused));
            spark.at_mut(place).inbox.push_back(answer);
            return Ok(());
        }
        let number = spark.at(place).transaction.unwrap_or_else(|| spark.next_errand());
        spark.at_mut(place).transaction = Some(number);
        let work = Work::Transaction { tok: Some(tok), carries };
        let input = ClientIn::Errand(number, errand);
        self.begin_errand(at, (place, number), (driver, work), input, sink)
    }

    fn run_errand<S: Sink>(
        &mut self,
        at: SimTime,
        place: Place,
        errand: (Endpoint, Work),
        input: impl FnOnce(u32) -> ClientIn,
        sink: &mut S,
    ) -> Judged {
        let number = self.spark().next_errand();
        self.begin_errand(at, (place, number), errand, input(number), sink)
    }

    fn begin_errand<S: Sink>(
        &mut self,
        at: SimTime,
        (place, number): (Place, u32),
        (client, work): (Endpoint, Work),
        input: ClientIn,
        sink: &mut S,
    ) -> Judged {
        self.spark().at_mut(place).errands.insert(number, Errand { client, work });
        self.tell(at, client, input, sink)
    }

    /// A client reports something: is it about an errand?
    pub(in crate::world) fn spark_observed<S: Sink>(
        &mut self,
        at: SimTime,
        client: Endpoint,
        seen: &Observation,
        sink: &mut S,
    ) -> Judged {
        let Some(spark) = &mut self.scene.spark else { return Ok(()) };
        let Some(place) = spark.place_of(client) else {
            let wrote = client::Answer::Done;
            if matches!(&seen.event, CallEvent::Ok(client::Answer::Produced { .. }))
                || seen.event == CallEvent::Ok(wrote)
            {
                spark.stir();
            }
            return Ok(());
        };
        let Spark { processes, markers, .. } = &mut **spark;
        let it = &mut processes[usize::from(place.0)];
        let Some(errand) = it.errands.get_mut(&seen.op) else { return Ok(()) };
        let (answer, told) = errand.observed(&seen.event, markers);
        it.inbox.extend(answer.map(|(tok, answer)| SparkIn::Answer(tok, answer)));
        match told {
            Some(handoff) => self.hand(at, &handoff, sink),
            None => Ok(()),
        }
    }

    /// Answers the errands that their clients are not at any more.
    pub(super) fn settle_errands<S: Sink>(&mut self, at: SimTime, sink: &mut S) -> Judged {
        while let Some((place, number)) = self.finished_errand() {
            let it = self.spark().at_mut(place);
            let errand = it.errands.remove(&number).expect("found");
            if it.transaction == Some(number) {
                it.transaction = None;
            }
            let (answer, told) = it.over(errand);
            it.inbox.extend(answer.map(|(tok, answer)| SparkIn::Answer(tok, answer)));
            if let Some(handoff) = told {
                self.hand(at, &handoff, sink)?;
            }
        }
        Ok(())
    }

    fn finished_errand(&self) -> Option<(Place, u32)> {
        let spark = self.scene.spark.as_ref()?;
        super::PLACES.into_iter().find_map(|place| {
            let over = |(number, errand): (&u32, &Errand)| {
                let at = self.scene.client(errand.client).client.is_under_way(*number);
                (!at).then_some((place, *number))
            };
            spark.at(place).errands.iter().find_map(over)
        })
    }
}

impl Spark {
    fn next_errand(&mut self) -> u32 {
        let number = ERRANDS_FROM + self.errands;
        self.errands += 1;
        number
    }

    /// The client of an executor that runs.
    fn executor(&self, place: Place, executor: ExecutorId) -> Option<Endpoint> {
        let (it, number) = (self.at(place), usize::from(executor.0));
        it.up[number].then(|| it.clients[1 + number])
    }

    fn transactional_id(&self, place: Place) -> String {
        self.at(place).transactional_id.clone()
    }
}

impl super::Processes {
    /// What is answered to whoever waits for an errand that is over.
    fn over(&mut self, errand: Errand) -> Over {
        let sink = |tok, answer| (Some((tok, Answer::Sink(answer))), None);
        match errand.work {
            Work::Offset { of, found } => {
                let listing = self.listing.get_or_insert_with(Default::default);
                match found {
                    Some(found) => drop(listing.insert(of.partition, found)),
                    None => self.listing_failed = true,
                }
                let same = |errand: &Errand| match errand.work {
                    Work::Offset { of: other, .. } => other.tok == of.tok,
                    _ => false,
                };
                if self.errands.values().any(same) {
                    return (None, None);
                }
                let found: Partitions = self.listing.take().unwrap_or_default();
                let answer = match core::mem::take(&mut self.listing_failed) {
                    true => Answer::NoOffsets,
                    false => Answer::Offsets(found),
                };
                (Some((of.tok, answer)), None)
            }
            Work::Read(read) => read.over(),
            Work::Send { tok, answer, .. } => {
                // What was never sent is not stored.
                let answer = answer.unwrap_or(SendAnswer::Refused);
                (Some((tok, Answer::Send(answer))), None)
            }
            Work::Become { tok, done: true } => sink(tok, SinkAnswer::Done),
            Work::Become { tok, done: false } => sink(tok, SinkAnswer::Unknown),
            Work::Transaction { tok: Some(tok), .. } => sink(tok, SinkAnswer::Unknown),
            Work::Transaction { tok: None, carries } => {
                // It ended before it was told to: the steps to come would begin another one.
                self.broken |= carries != Carries::Nothing;
                (None, None)
            }
            Work::Marker { tok, gave_up: true, .. } => sink(tok, SinkAnswer::Unknown),
            Work::Marker { tok, last, .. } => sink(tok, SinkAnswer::Marker(last)),
        }
    }
}

impl Read {
    fn over(self) -> Over {
        let Self { tok, range: (from, to), partition, records, next, out_of_range, fails } = self;
        let told = match (partition, next >= to) {
            (Some(partition), true) => {
                let records = records.iter().map(|(offset, value)| (*offset, *value)).collect();
                Some(Handoff::Read { partition, range: (from, to), records })
            }
            (Some(partition), false) if out_of_range => Some(Handoff::OutOfRange(partition, from)),
            _ => None,
        };
        let answer = match next >= to {
            _ if fails => ReadAnswer::TimedOut,
            true => {
                let row = |(offset, value)| SourceRow { offset, value };
                // A batch that reaches beyond the range is read again from there.
                ReadAnswer::Rows { rows: records.into_iter().map(row).collect(), next: to }
            }
            // What the log reaches from and to, nobody asks: the query stops at it, or fails.
            false if out_of_range => ReadAnswer::OutOfRange { earliest: Offset(0), latest: from },
            false => ReadAnswer::TimedOut,
        };
        (Some((tok, Answer::Read(answer))), told)
    }

    fn fetched(&mut self, records: &[client::ReadRecord], skipped: &[(Offset, Offset)]) {
        let known: Vec<(Offset, u64)> =
            records.iter().filter_map(|it| Some((it.offset, it.value?))).collect();
        let next = behind(&known, skipped.last().map(|last| last.1));
        self.next = self.next.max(next.unwrap_or_default());
        let (from, to) = self.range;
        self.records.extend(known.into_iter().filter(|it| from <= it.0 && it.0 < to));
    }
}

impl Errand {
    /// Takes a report in: what is answered to whoever waits, and what is told.
    fn observed(&mut self, event: &CallEvent, markers: &mut BTreeMap<u64, SinkMarker>) -> Over {
        match (&mut self.work, event) {
            (Work::Offset { of, .. }, CallEvent::Invoke(Call::ListOffsets { partition, .. })) => {
                of.topic = Some(*partition);
            }
            (Work::Offset { of, found }, CallEvent::Ok(client::Answer::Listed(Some(listed)))) => {
                *found = Some(listed.0);
                let topic = of.topic.filter(|_| of.latest);
                return (None, topic.map(|topic| Handoff::Listed(topic, listed.0)));
            }
            (Work::Read(read), CallEvent::Invoke(Call::Fetch { partition, .. })) => {
                read.partition = Some(*partition);
            }
            (Work::Read(read), CallEvent::Ok(client::Answer::Fetched { records, skipped, .. })) => {
                read.fetched(records, skipped)
            }
            (Work::Read(read), CallEvent::Fail(ErrorCode::OffsetOutOfRange)) => {
                read.out_of_range = true;
            }
            (Work::Send { rows, .. }, CallEvent::Invoke(Call::Produce { first_value, .. })) => {
                return (None, Some(Handoff::Sent(*first_value, told::rows(rows))));
            }
            (Work::Send { answer, .. }, CallEvent::Ok(client::Answer::Produced { .. })) => {
                *answer = Some(SendAnswer::Stored);
            }
            (Work::Send { answer, .. }, CallEvent::Fail(_)) => *answer = Some(SendAnswer::Refused),
            (Work::Send { answer, .. }, CallEvent::Unknown) => *answer = Some(SendAnswer::Unknown),
            (Work::Become { done, .. }, CallEvent::Ok(client::Answer::ProducerId(..))) => {
                *done = true;
            }
            (Work::Transaction { tok, carries }, event) => {
                return in_transaction(tok, carries, event, markers);
            }
            (Work::Marker { last, .. }, CallEvent::Ok(client::Answer::Fetched { records, .. })) => {
                let mut said = records.iter().filter_map(|it| markers.get(&it.value?));
                *last = said.next_back().cloned().or(last.take());
            }
            (Work::Marker { gave_up, .. }, CallEvent::GaveUp) => *gave_up = true,
            _ => {}
        }
        (None, None)
    }
}

fn in_transaction(
    tok: &mut Option<AskTok>,
    carries: &Carries,
    event: &CallEvent,
    markers: &mut BTreeMap<u64, SinkMarker>,
) -> Over {
    let answer = match (event, carries) {
        (CallEvent::Invoke(Call::Produce { first_value, .. }), Carries::Rows(rows)) => {
            return (None, Some(Handoff::Sent(*first_value, told::rows(rows))));
        }
        (CallEvent::Invoke(Call::Produce { first_value, .. }), Carries::Marker(marker)) => {
            markers.insert(*first_value, marker.clone());
            let ends = marker.ends.iter().map(|(partition, end)| (*partition, *end)).collect();
            return (None, Some(Handoff::Marked(*first_value, ends)));
        }
        (CallEvent::Ok(client::Answer::Produced { .. } | client::Answer::Done), _) => {
            SinkAnswer::Done
        }
        (CallEvent::Fail(ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch), _) => {
            SinkAnswer::Fenced
        }
        (CallEvent::Fail(_), _) => SinkAnswer::Refused,
        (CallEvent::Unknown | CallEvent::Doubtful(_) | CallEvent::GaveUp, _) => SinkAnswer::Unknown,
        (CallEvent::Invoke(_) | CallEvent::Ok(_), _) => return (None, None),
    };
    (tok.take().map(|tok| (tok, Answer::Sink(answer))), None)
}

fn count(rows: &[OutRow]) -> u32 {
    u32::try_from(rows.len()).expect("few rows in a batch")
}
