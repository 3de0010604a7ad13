//! From the tasks' end to the commit log: what a sink of the driver's does with the batch, and the
//! entry that says that it is done.
//!
//! Sinks of the driver's are what users build on `foreachBatch`; Spark ships none. A marker that
//! stands in the sink with the records says which batch was the last; it holds where the batch
//! ends, so that another batch of the same number is not taken for it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use broker_core::ids::PartitionIndex;
use broker_core::step::Outbox;

use super::super::checkpoint::{Log, Outcome};
use super::super::handoff::CrashPoint;
use super::super::mutants::SparkMutant;
use super::super::step::{End, Event, OutRow, SinkAnswer, SinkAsk, SinkMarker, SparkOut};
use super::{Driver, Phase, Sink, sink_partition};

/// A batch in one transaction: what is still to be sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Transaction {
    seq: u64,
    rest: VecDeque<(PartitionIndex, Vec<OutRow>)>,
    ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ending {
    Sending,
    Marking,
    Committing,
}

impl Driver {
    /// Whether the sink has the batch already; a sink without markers is not asked.
    pub(super) fn check_marker(&mut self, out: &mut Outbox<SparkOut>) {
        match self.config.sink {
            Sink::AtLeastOnce | Sink::Keyed => self.run_tasks(out),
            Sink::DriverTransaction => self.compare_marker(out),
            Sink::MarkedTable => {
                let seq = self.ask_sink(SinkAsk::ReadMarker { query: self.query }, out);
                self.phase = Phase::ReadMarker(seq);
            }
        }
    }

    fn compare_marker(&mut self, out: &mut Outbox<SparkOut>) {
        let Some(marker) = &self.marker else { return self.run_tasks(out) };
        if marker.query != self.query || marker.batch < self.batch {
            return self.run_tasks(out);
        }
        let same = marker.batch == self.batch && marker.ends == self.end;
        if same || self.on(SparkMutant::DedupeByBatchId) {
            out.push(SparkOut::Observe(Event::Skipped(self.batch)));
            self.forget_tasks();
            return self.commit_batch(out);
        }
        // Skipping would lose what only this batch reads, running would double what both read.
        self.finish(End::MarkerDiffers(self.batch), out);
    }

    pub(super) fn tasks_done(&mut self, out: &mut Outbox<SparkOut>) {
        let marker = SinkMarker { query: self.query, batch: self.batch, ends: self.end.clone() };
        match self.config.sink {
            Sink::AtLeastOnce | Sink::Keyed => self.commit_batch(out),
            Sink::MarkedTable => {
                let (rows, over) = (self.take_collected(), self.marker.clone());
                let seq = self.ask_sink(SinkAsk::CommitTable { rows, marker, over }, out);
                self.phase = Phase::CommitTable(seq);
            }
            Sink::DriverTransaction => {
                let rows = self.take_collected();
                let rest = rows
                    .chunk_by(|one, next| one.id.partition == next.id.partition)
                    .flat_map(|rows| rows.chunks(self.config.rows_per_send))
                    .map(|rows| {
                        let partition = rows[0].id.partition;
                        (sink_partition(partition, self.config.sink_partitions), rows.to_vec())
                    })
                    .collect();
                let transaction = Transaction { seq: 0, rest, ending: Ending::Sending };
                self.transaction_goes_on(transaction, out);
            }
        }
    }

    fn transaction_goes_on(&mut self, mut it: Transaction, out: &mut Outbox<SparkOut>) {
        let ask = match (it.rest.pop_front(), it.ending) {
            (Some((to, rows)), _) => SinkAsk::TxnSend { to, rows },
            (None, Ending::Sending) => {
                it.ending = Ending::Marking;
                SinkAsk::TxnMarker(SinkMarker {
                    query: self.query,
                    batch: self.batch,
                    ends: self.end.clone(),
                })
            }
            (None, _) => {
                it.ending = Ending::Committing;
                SinkAsk::TxnCommit
            }
        };
        let sends = it.ending == Ending::Sending;
        it.seq = self.ask_sink(ask, out);
        self.phase = Phase::Transaction(it);
        if sends {
            self.reached_once(CrashPoint::C4, out);
        }
    }

    pub(super) fn sink_answered(
        &mut self,
        seq: u64,
        answer: SinkAnswer,
        out: &mut Outbox<SparkOut>,
    ) {
        let asked = match &self.phase {
            Phase::InitTransactions(seq)
            | Phase::ReadFirstMarker(seq)
            | Phase::ReadMarker(seq)
            | Phase::CommitTable(seq) => *seq,
            Phase::Transaction(transaction) => transaction.seq,
            _ => return,
        };
        if asked != seq {
            return;
        }
        match (core::mem::replace(&mut self.phase, Phase::Off), answer) {
            (Phase::InitTransactions(_), answer) => self.sink_opened(&answer, out),
            (Phase::ReadFirstMarker(_), answer) => self.first_marker_read(answer, out),
            (Phase::ReadMarker(_), SinkAnswer::Marker(marker)) => {
                self.marker = marker;
                self.compare_marker(out);
            }
            (Phase::CommitTable(_), SinkAnswer::Done) => self.sink_done(out),
            (Phase::Transaction(it), SinkAnswer::Done) if it.ending == Ending::Committing => {
                self.sink_done(out);
            }
            (Phase::Transaction(it), SinkAnswer::Done) => {
                if it.ending == Ending::Sending && !it.rest.is_empty() {
                    self.reached_once(CrashPoint::C5, out);
                }
                self.transaction_goes_on(it, out);
            }
            (_, SinkAnswer::Fenced) => self.finish(End::Fenced, out),
            // What is not known is looked up at the next start, in the marker.
            _ => self.finish(End::SinkFailed, out),
        }
    }

    fn sink_done(&mut self, out: &mut Outbox<SparkOut>) {
        self.marker =
            Some(SinkMarker { query: self.query, batch: self.batch, ends: self.end.clone() });
        self.commit_batch(out);
    }

    /// All of the batch is in the sink.
    fn commit_batch(&mut self, out: &mut Outbox<SparkOut>) {
        self.reached(CrashPoint::C6, out);
        let log = if self.on(SparkMutant::LogsSwapped) { Log::Offsets } else { Log::Commits };
        self.write_entry(Phase::WriteCommit, log, out);
    }

    pub(super) fn commit_written(&mut self, written: &Outcome, out: &mut Outbox<SparkOut>) {
        if *written == Outcome::Exists && !self.on(SparkMutant::CommitUnchecked) {
            return self.finish(End::ConcurrentLogUpdate(self.batch), out);
        }
        self.reached(CrashPoint::C8, out);
        let (batch, ranges) = (self.batch, core::mem::take(&mut self.ranges));
        let rows_in = self.rows_in();
        let rows_out = rows_in * u64::from(self.config.fan_out);
        out.push(SparkOut::Observe(Event::Progress { batch, ranges, rows_in, rows_out }));
        self.start = Some(core::mem::take(&mut self.end));
        self.batch = batch.next();
        self.planned = false;
        self.await_trigger(self.config.trigger, out);
    }
}
