//! What groups read and processed in transactions, by the end of the run: partition by partition
//! the stretches that were committed, and transaction by transaction what was handed over with
//! them. How a transaction ended says the coordinator's log; of a history alone, its producer and
//! the readers of committed data.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use broker_core::ids::{Offset, TopicPartition};

use super::final_log::FinalLog;
use super::{Judge, ask};
use crate::Check;
use crate::facts::clients::Outcome;
use crate::facts::group_calls::{Plain, Range};
use crate::properties::exactly_once::{self, Chain, Handed, Link};

/// A partition of a group.
type Of = (Arc<str>, TopicPartition);

/// The stretches of each partition of a group.
type Chains = BTreeMap<Of, Chain>;

/// How many records each transaction wrote; `None`: that is not known.
type Outputs = BTreeMap<u32, Option<u64>>;

impl Judge {
    /// Judges the stretches, and how each transaction ended in the partitions it wrote to.
    pub(super) fn offset_chains(
        &mut self,
        logs: &BTreeMap<u32, FinalLog>,
        decided: &BTreeMap<u32, bool>,
        pending: bool,
    ) -> Check {
        if self.facts.group_calls.ranges.is_empty() {
            return Ok(());
        }
        let ranges = core::mem::take(&mut self.facts.group_calls.ranges);
        let outcome = self.stretches(&ranges, logs, decided, pending);
        self.facts.group_calls.ranges = ranges;
        outcome
    }

    fn stretches(
        &mut self,
        ranges: &[Range],
        logs: &BTreeMap<u32, FinalLog>,
        decided: &BTreeMap<u32, bool>,
        pending: bool,
    ) -> Check {
        if !self.facts.alone {
            for range in ranges {
                self.range_over(range, decided, pending)?;
            }
        }
        for ((group, partition), chain) in &mut self.chains(ranges) {
            // What is committed without a transaction, too, may be read twice by right.
            let loose = self.facts.group_calls.is_loose(group, *partition);
            let untold = &mut self.facts.group_calls.untold;
            if loose {
                untold.stretches += chain.sure.len() as u64 + chain.unknown;
                continue;
            }
            untold.stretches += chain.unknown;
            untold.starts += u64::from(!chain.told && !chain.sure.is_empty());
            chain.sure.sort_unstable();
            if chain.is_judged() {
                ask!(self, G3, exactly_once::chained(group, *partition, chain));
            }
            if !self.facts.alone && !chain.sure.is_empty() {
                let stands = self.facts.groups.confirmed(group, *partition);
                ask!(self, G3, exactly_once::ends(group, *partition, chain, stands.committed));
            }
        }
        self.one_for_each(ranges, logs)
    }

    fn chains(&self, ranges: &[Range]) -> Chains {
        let mut links: BTreeMap<(Of, u32), Vec<Link>> = BTreeMap::new();
        for range in ranges {
            let of = ((range.group.clone(), range.partition), range.txn);
            Link::add(links.entry(of).or_default(), range, self.is_committed(range));
        }
        let mut chains = Chains::new();
        for ((of, txn), links) in links {
            let start = self.facts.group_calls.start(&of.0, of.1);
            let chain = chains.entry(of).or_insert_with(|| Chain {
                start: start.unwrap_or_default(),
                told: start.is_some(),
                ..Chain::default()
            });
            links.iter().for_each(|link| chain.take(link, txn));
        }
        chains
    }

    /// Of a history alone, what groups committed without transactions.
    pub(super) fn plain_commits(&mut self) -> Check {
        let transactions = &self.facts.clients.transactions;
        let known = |range: &Range| transactions.get(&range.txn).copied().unwrap_or_default();
        let aborted = |range: &Range| known(range).is_committed() == Some(false);
        let fate = |range: &Range| (self.is_committed(range), aborted(range));
        for Plain { group, partition, told, done } in self.facts.group_calls.plain(fate) {
            self.facts.group_calls.untold.starts += u64::from(!told);
            for (began, covered) in done {
                let gap = (began > covered).then_some((began, covered));
                ask!(self, G3, exactly_once::began(&group, partition, gap));
            }
        }
        Ok(())
    }

    /// Whether the stretch was committed; `None`: nobody knows.
    fn is_committed(&self, range: &Range) -> Option<bool> {
        let known = self.facts.clients.transactions.get(&range.txn).copied().unwrap_or_default();
        if range.committed.is_some() {
            return range.committed;
        }
        let committed = known.is_committed();
        if range.refused || committed == Some(false) {
            return Some(false);
        }
        committed.filter(|_| self.facts.alone && range.told)
    }

    /// A transaction's offsets are committed when its producer heard that it is, and exactly when
    /// its outputs are, unless their topic was deleted before that.
    fn range_over(&mut self, range: &Range, decided: &BTreeMap<u32, bool>, pending: bool) -> Check {
        if range.deleted && range.committed.is_none() {
            return Ok(());
        }
        let known = self.facts.clients.transactions.get(&range.txn).copied().unwrap_or_default();
        let told = known.commit == Some(true) && known.outcome == Outcome::Ok;
        let outputs = decided.get(&range.txn).copied();
        if range.told && told || outputs.is_some() {
            let handed = Handed { told, outputs, pending };
            ask!(self, G3, exactly_once::together(range, handed));
        }
        Ok(())
    }

    /// A transaction writes one record for each that it reads.
    fn one_for_each(&mut self, ranges: &[Range], logs: &BTreeMap<u32, FinalLog>) -> Check {
        let places: BTreeMap<TopicPartition, u32> = logs
            .iter()
            .filter(|(_, log)| log.is_whole())
            .map(|(place, _)| (self.facts.clients.seen[*place as usize].partition, *place))
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let outputs = self.outputs(logs);
        let mut visible: BTreeMap<TopicPartition, Option<Vec<Offset>>> = BTreeMap::new();
        let mut inputs: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        for range in ranges.iter().filter(|range| !range.refused) {
            let found = visible.entry(range.partition).or_insert_with(|| {
                let place = places.get(&range.partition)?;
                Some(logs[place].visible_offsets())
            });
            let found = found.as_ref().filter(|_| range.committed == Some(true));
            let count = found.map(|found| {
                let below = |end: Offset| found.partition_point(|at| *at < end) as u64;
                below(range.upto).saturating_sub(below(range.from))
            });
            let total = inputs.entry(range.txn).or_insert(Some(0));
            *total = total.zip(count).map(|(total, count)| total + count);
        }
        for (txn, inputs) in inputs {
            let outputs = outputs.get(&txn).copied().unwrap_or(Some(0));
            if let Some((inputs, outputs)) = inputs.zip(outputs) {
                ask!(self, G3, exactly_once::one_for_each(txn, inputs, outputs));
            }
        }
        Ok(())
    }

    fn outputs(&self, logs: &BTreeMap<u32, FinalLog>) -> Outputs {
        let mut outputs = Outputs::new();
        for send in self.facts.clients.sends.values() {
            let Some(txn) = send.txn else { continue };
            let total = outputs.entry(txn).or_insert(Some(0));
            let known = logs.get(&send.partition).is_some_and(FinalLog::is_whole);
            let count = known.then(|| send.base.map_or(0, |_| u64::from(send.count)));
            *total = total.zip(count).map(|(total, count)| total + count);
        }
        outputs
    }
}
