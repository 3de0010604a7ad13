//! Under which leader epochs, by which brokers and up to where each partition was served.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, NodeId, Offset, StreamId, TopicPartition};

use crate::properties::state_equiv::Loaded;

/// One broker's time as leader of one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Term {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) node: NodeId,
    pub(crate) stream: StreamId,
    /// Log end when it opened.
    pub(crate) opened: Offset,
    /// Where the next batch must go.
    pub(crate) next: Offset,
    /// First and largest high watermark.
    pub(crate) high_watermark: Option<(Offset, Offset)>,
    /// The newest last stable offset.
    pub(crate) last_stable: Offset,
    pub(crate) log_start: Offset,
}

/// All partitions. Terms are kept ascending by epoch, then node.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Served {
    terms: BTreeMap<TopicPartition, Vec<Term>>,
    /// Who acknowledged under which epoch; ascending by epoch.
    pub(crate) acked: BTreeMap<TopicPartition, Vec<(LeaderEpoch, NodeId)>>,
    /// What leaders knew of the producers when they opened.
    pub(crate) loaded: BTreeMap<TopicPartition, Vec<Loaded>>,
    /// Last stable offsets that leaders gave, by high watermark.
    pub(crate) stable: BTreeMap<TopicPartition, BTreeMap<Offset, Offset>>,
    /// Batches that leaders mean to refuse as out of order, by the number of the proof they wait
    /// for: whether the leader had been replaced when it made up its mind.
    pub(crate) refusals: BTreeMap<(NodeId, u64), bool>,
    /// Leader-epoch caches by node.
    pub(crate) caches: BTreeMap<(NodeId, TopicPartition), Vec<(LeaderEpoch, Offset)>>,
}

impl Served {
    pub(crate) fn terms(&self, partition: TopicPartition) -> &[Term] {
        self.terms.get(&partition).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn term(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        node: NodeId,
    ) -> Option<&mut Term> {
        let terms = self.terms.get_mut(&partition)?;
        let key = (epoch, node);
        let at = terms.binary_search_by_key(&key, |term| (term.epoch, term.node)).ok()?;
        Some(&mut terms[at])
    }

    /// The partition was opened, for the first time or again, under this epoch by this broker.
    pub(crate) fn open(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        node: NodeId,
        stream: StreamId,
        opened: Offset,
    ) {
        let terms = self.terms.entry(partition).or_default();
        match terms.binary_search_by_key(&(epoch, node), |term| (term.epoch, term.node)) {
            Ok(at) => terms[at].next = opened,
            Err(at) => {
                let term = Term {
                    epoch,
                    node,
                    stream,
                    opened,
                    next: opened,
                    high_watermark: None,
                    last_stable: Offset(0),
                    log_start: Offset(0),
                };
                terms.insert(at, term);
            }
        }
    }
}
