//! What a query told of its handoff, in shapes that the properties ask for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{Offset, PartitionIndex, TopicId, TopicPartition};

use crate::handoff::{BatchNumber, Promise, Row, RunNumber, Span, Terms};

/// What the query told so far.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Handoffs {
    /// What it is about; none if there is no query.
    pub(crate) terms: Option<Terms>,
    pub(crate) starts: u64,
    pub(crate) alive: BTreeSet<RunNumber>,
    /// What each batch read when it ran last.
    pub(crate) spans: BTreeMap<BatchNumber, Vec<Span>>,
    /// Who committed each batch.
    pub(crate) committers: BTreeMap<BatchNumber, Vec<RunNumber>>,
    /// Below which offsets the query says that it has handed over.
    pub(crate) done: BTreeMap<PartitionIndex, Offset>,
    /// What attempts had sent that do not count.
    pub(crate) wasted: u64,
    /// By value of the record that carries it.
    pub(crate) rows: BTreeMap<u64, Row>,
    /// By value of the record that is one: up to where everything is handed over.
    pub(crate) markers: BTreeMap<u64, Vec<(PartitionIndex, Offset)>>,
    /// What the table took, in order.
    pub(crate) table: Vec<Row>,
    /// What ranges gave when they were read first.
    pub(crate) reads: BTreeMap<(TopicPartition, Offset, Offset), Vec<(Offset, u64)>>,
    /// The largest end that each partition was listed with.
    pub(crate) listed: BTreeMap<TopicPartition, Offset>,
    /// The topic that was read first.
    pub(crate) topic: Option<TopicId>,
}

impl Handoffs {
    /// Whether a reader that keeps to the sink's terms may see no row twice.
    pub(crate) fn is_once(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.promise != Promise::AtLeastOnce)
    }

    /// The most rows that may come twice: for each start but the first the batch that was under
    /// way, with one record more of each partition, for the limit rounds up; and for each attempt
    /// that does not count what it had sent.
    pub(crate) fn doubled_max(&self) -> u64 {
        let Some(terms) = &self.terms else { return 0 };
        let batch = terms.batch_max + u64::from(terms.partitions);
        (self.starts.saturating_sub(1)) * u64::from(terms.fan_out) * batch + self.wasted
    }

    /// A batch is done: the query stands behind what it read.
    pub(crate) fn stand_behind(&mut self, batch: BatchNumber) {
        for span in self.spans.get(&batch).into_iter().flatten() {
            let done = self.done.entry(span.partition).or_default();
            *done = span.to.max(*done);
        }
    }
}
