//! A query's handoff: what it tells, as it comes, and at the end its sink against its source.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex, TopicId, TopicPartition};

use super::final_log::FinalLog;
use super::{Judge, ask};
use crate::Check;
use crate::facts::handoff::Handoffs;
use crate::handoff::{BatchNumber, Handoff, Promise, Row, RunNumber, Span, Terms};
use crate::marks::Mark;
use crate::properties::{
    at_least_once, batch_chain, exact_copy, listed_readable, marker_atomic, one_committer,
    one_topic, replay_same,
};
use crate::table::Code;

/// Rows in the order in which a reader of the sink finds them, by the sink's partition.
type Visible = Vec<Vec<Row>>;

impl Judge {
    pub(super) fn handoff(&mut self, told: &Handoff) -> Check {
        match told {
            Handoff::Started(run, terms) => self.query_started(*run, terms),
            Handoff::Gone(run) => drop(self.facts.handoffs.alive.remove(run)),
            Handoff::Listed(partition, end) => {
                let known = self.facts.handoffs.listed.entry(*partition).or_default();
                *known = (*end).max(*known);
            }
            Handoff::Running(_, batch, spans) => return self.batch_runs(*batch, spans),
            Handoff::Read { partition, range, records } => {
                let listed = self.facts.handoffs.listed.get(partition);
                if listed.is_some_and(|listed| range.0 < *listed) && self.set.has(Code::S5) {
                    // It is there to be read.
                    self.marks.evaluated(Code::S5);
                }
                return self.source_read(*partition, *range, records);
            }
            Handoff::OutOfRange(partition, from) => {
                let listed = self.facts.handoffs.listed.get(partition).copied();
                let deleted = !self.facts.ledger.partitions.contains_key(partition);
                if let Some(listed) = listed.filter(|_| !deleted) {
                    ask!(self, S5, listed_readable::refused(*partition, *from, listed));
                }
            }
            Handoff::Sent(first, rows) => {
                let known = (*first..).zip(rows.iter().copied());
                self.facts.handoffs.rows.extend(known);
            }
            Handoff::Marked(value, ends) => {
                self.facts.handoffs.markers.insert(*value, ends.clone());
            }
            Handoff::Took(rows) => self.facts.handoffs.table.extend(rows),
            Handoff::Wasted(rows) => self.facts.handoffs.wasted += rows,
            Handoff::Committed(run, batch) => return self.batch_done(*run, *batch),
            Handoff::Found(_, batch) => self.facts.handoffs.stand_behind(*batch),
            Handoff::Idle(_) => self.marks.hit(Mark::QueryIdle),
        }
        Ok(())
    }

    fn query_started(&mut self, run: RunNumber, terms: &Terms) {
        let handoffs = &mut self.facts.handoffs;
        handoffs.terms.get_or_insert_with(|| terms.clone());
        handoffs.starts += 1;
        handoffs.alive.insert(run);
        self.marks.hit_if(handoffs.starts > 1, Mark::QueryRestarted);
        self.marks.hit_if(handoffs.alive.len() > 1, Mark::TwoDrivers);
    }

    fn batch_runs(&mut self, batch: BatchNumber, spans: &[Span]) -> Check {
        let handoffs = &mut self.facts.handoffs;
        let before = handoffs.spans.insert(batch, spans.to_vec());
        if let Some(before) = before {
            self.marks.hit(Mark::BatchRunAgain);
            ask!(self, S7, batch_chain::again(batch, spans, &before));
        }
        for span in spans {
            let earlier = self.facts.handoffs.spans.range(..batch).rev();
            let mut earlier = earlier.flat_map(|(at, spans)| spans.iter().map(move |it| (*at, it)));
            if let Some((at, prior)) = earlier.find(|it| it.1.partition == span.partition) {
                ask!(self, S7, batch_chain::follows((batch, span), (at, prior)));
            }
        }
        Ok(())
    }

    fn source_read(
        &mut self,
        partition: TopicPartition,
        (from, to): (Offset, Offset),
        records: &[(Offset, u64)],
    ) -> Check {
        let handoffs = &mut self.facts.handoffs;
        let topic = handoffs.topic.replace(partition.topic);
        if let Some(topic) = topic {
            handoffs.topic = Some(topic);
            ask!(self, S9, one_topic::read(partition, topic));
        }
        let listed = self.facts.handoffs.listed.get(&partition).is_some_and(|end| to <= *end);
        self.marks.hit_if(listed, Mark::ListedEndRead);
        let key = (partition, from, to);
        match self.facts.handoffs.reads.get(&key) {
            Some(first) => {
                self.marks.hit(Mark::RangeReadAgain);
                ask!(self, S4, replay_same::read(partition, (from, to), records, first));
            }
            None => drop(self.facts.handoffs.reads.insert(key, records.to_vec())),
        }
        Ok(())
    }

    fn batch_done(&mut self, run: RunNumber, batch: BatchNumber) -> Check {
        let handoffs = &mut self.facts.handoffs;
        handoffs.stand_behind(batch);
        let others = handoffs.committers.entry(batch).or_default();
        let rival = others.iter().find(|it| **it != run && handoffs.alive.contains(it)).copied();
        others.push(run);
        // Who lives alone has no rival.
        if self.facts.handoffs.alive.iter().any(|it| *it != run) {
            ask!(self, S3, one_committer::committed(batch, run, rival));
        }
        Ok(())
    }

    /// What stands in the sink in the end, against what stands in the source.
    pub(super) fn handed_over(&mut self, logs: &BTreeMap<u32, FinalLog>) -> Check {
        let Some(terms) = self.facts.handoffs.terms.clone() else { return Ok(()) };
        let (Some(source), Some(sink)) = (self.topic(&terms.source), self.topic(&terms.sink))
        else {
            return Ok(());
        };
        let visible = self.visible(&terms, sink, logs);
        let mut counts: BTreeMap<(u64, u32), u64> = BTreeMap::new();
        for row in visible.iter().flatten() {
            *counts.entry((row.value, row.copy)).or_default() += 1;
        }
        self.rows_come(&terms, source, logs, &counts)?;
        let doubled: u64 = counts.values().map(|times| times - 1).sum();
        if self.facts.handoffs.is_once() {
            self.marks.hit_if(self.tried_twice(), Mark::RowsTriedTwice);
            for (row, times) in &counts {
                ask!(self, S1, exact_copy::seen(*row, *times));
            }
        } else {
            self.marks.add(doubled, Mark::RowsDoubled);
            let most = self.facts.handoffs.doubled_max();
            ask!(self, S8, at_least_once::doubled(doubled, most));
        }
        if matches!(terms.promise, Promise::OnceCommitted | Promise::OnceInTable) {
            for rows in &visible {
                self.in_order(rows)?;
            }
        }
        self.marked((source, sink), &terms, logs, &visible)
    }

    /// The current topic of this name.
    fn topic(&self, name: &str) -> Option<TopicId> {
        let mut topics = self.facts.ledger.topics.iter();
        topics.find(|(_, (known, _))| known == name).map(|(topic, _)| *topic)
    }

    /// The final logs of a topic's partitions.
    fn logs_of<'a>(
        &'a self,
        topic: TopicId,
        logs: &'a BTreeMap<u32, FinalLog>,
    ) -> impl Iterator<Item = (PartitionIndex, &'a FinalLog)> + 'a {
        let whole = logs.iter().filter(|(_, log)| log.is_whole());
        let named =
            whole.map(|(place, log)| (self.facts.clients.seen[*place as usize].partition, log));
        named.filter(move |(it, _)| it.topic == topic).map(|(it, log)| (it.index, log))
    }

    /// What a reader finds who keeps to the sink's terms.
    fn visible(&self, terms: &Terms, sink: TopicId, logs: &BTreeMap<u32, FinalLog>) -> Visible {
        let Handoffs { rows, table, .. } = &self.facts.handoffs;
        match terms.promise {
            Promise::OnceInTable => alloc::vec![table.clone()],
            Promise::OnceByKey => {
                let all = self.logs_of(sink, logs).flat_map(|(_, log)| log.visible());
                let found = all.filter_map(|(_, value)| rows.get(&value));
                let keyed: BTreeMap<_, Row> =
                    found.map(|row| ((row.partition, row.offset, row.copy), *row)).collect();
                alloc::vec![keyed.into_values().collect()]
            }
            Promise::AtLeastOnce | Promise::OnceCommitted => {
                let partitions = self.logs_of(sink, logs);
                let rows = |log: &FinalLog| {
                    log.visible().filter_map(|(_, value)| rows.get(&value).copied()).collect()
                };
                partitions.map(|(_, log)| rows(log)).collect()
            }
        }
    }

    /// Everything below where the query stands has come to the sink.
    fn rows_come(
        &mut self,
        terms: &Terms,
        source: TopicId,
        logs: &BTreeMap<u32, FinalLog>,
        counts: &BTreeMap<(u64, u32), u64>,
    ) -> Check {
        let mut owed = Vec::new();
        for (partition, log) in self.logs_of(source, logs) {
            let Some(done) = self.facts.handoffs.done.get(&partition) else { continue };
            let below = log.data().take_while(|(offset, _)| offset < done);
            owed.extend(below.map(|(offset, value)| (partition, offset, value)));
        }
        for (partition, offset, value) in owed {
            let missing = (0..terms.fan_out).find(|copy| !counts.contains_key(&(value, *copy)));
            let partition = TopicPartition { topic: source, index: partition };
            ask!(self, S8, at_least_once::comes(partition, offset, value, missing));
        }
        Ok(())
    }

    /// Whether a row was sent more than once.
    fn tried_twice(&self) -> bool {
        let rows = &self.facts.handoffs.rows;
        let distinct: BTreeSet<_> = rows.values().collect();
        distinct.len() < rows.len()
    }

    /// The rows of each partition of the source come in its order.
    fn in_order(&mut self, rows: &[Row]) -> Check {
        let mut last: BTreeMap<PartitionIndex, Row> = BTreeMap::new();
        for row in rows {
            if let Some(before) = last.insert(row.partition, *row) {
                ask!(self, S1, exact_copy::follows(*row, before));
            }
        }
        Ok(())
    }

    /// Marker and rows of a batch are visible together.
    fn marked(
        &mut self,
        (source, sink): (TopicId, TopicId),
        terms: &Terms,
        logs: &BTreeMap<u32, FinalLog>,
        visible: &Visible,
    ) -> Check {
        let Some(at) = terms.marker_partition else { return Ok(()) };
        let mut ends: BTreeMap<PartitionIndex, Offset> = BTreeMap::new();
        for (_, log) in self.logs_of(sink, logs).filter(|(index, _)| *index == at) {
            let said =
                log.visible().filter_map(|(_, value)| self.facts.handoffs.markers.get(&value));
            for (partition, end) in said.flatten() {
                let known = ends.entry(*partition).or_default();
                *known = (*end).max(*known);
            }
        }
        for row in visible.iter().flatten() {
            let end = ends.get(&row.partition).copied();
            ask!(self, S2, marker_atomic::covers(*row, end));
        }
        let seen: BTreeSet<u64> = visible.iter().flatten().map(|row| row.value).collect();
        let mut owed = Vec::new();
        for (partition, log) in self.logs_of(source, logs) {
            let Some(end) = ends.get(&partition) else { continue };
            owed.extend(
                log.data().take_while(|(offset, _)| offset < end).map(|it| (partition, it)),
            );
        }
        for (partition, (offset, value)) in owed {
            self.marks.hit(Mark::MarkedRow);
            ask!(self, S2, marker_atomic::holds(partition, offset, seen.contains(&value)));
        }
        Ok(())
    }
}
