//! Every controller's log as its probes tell it, and what of it is committed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use broker_core::ids::{Incarnation, MetaOffset, NodeId, QuorumEpoch};

/// An entry: `prefix` is a digest of the log up to and with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LogEntry {
    pub(crate) epoch: QuorumEpoch,
    pub(crate) prefix: u64,
    /// End of its frame on this node's device.
    pub(crate) byte_end: u64,
}

impl LogEntry {
    /// Equal as entries, wherever their frames lie.
    pub(crate) fn same(&self, other: &Self) -> bool {
        (self.epoch, self.prefix) == (other.epoch, other.prefix)
    }
}

/// One controller.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Replica {
    pub(crate) log: Vec<LogEntry>,
    /// As this process knows it.
    pub(crate) high_watermark: MetaOffset,
    /// The epoch it leads.
    pub(crate) leads: Option<QuorumEpoch>,
}

impl Replica {
    pub(crate) fn at(&self, offset: MetaOffset) -> Option<&LogEntry> {
        self.log.get(usize::try_from(offset.0).ok()?)
    }

    /// The last entry before `end`.
    pub(crate) fn before(&self, end: MetaOffset) -> Option<&LogEntry> {
        self.at(MetaOffset(end.0.checked_sub(1)?))
    }

    pub(crate) fn cut(&mut self, to: MetaOffset) {
        self.log.truncate(usize::try_from(to.0).unwrap_or(usize::MAX));
    }

    pub(crate) fn append(&mut self, offset: MetaOffset, entry: LogEntry) {
        self.cut(offset);
        self.log.push(entry);
    }
}

/// A won election.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Election {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

/// The quorum.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Raft {
    pub(crate) replicas: BTreeMap<NodeId, Replica>,
    /// Exclusive end of what some leader found committed, and the entry before it.
    pub(crate) committed: MetaOffset,
    pub(crate) committed_last: Option<LogEntry>,
    /// The epoch of the leader that found it.
    pub(crate) committed_in: QuorumEpoch,
    pub(crate) elections: BTreeMap<QuorumEpoch, Election>,
}

impl Raft {
    pub(crate) fn of(&mut self, node: NodeId) -> &mut Replica {
        self.replicas.entry(node).or_default()
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Replica> {
        self.replicas.get(&node)
    }

    /// A leader of `epoch` found `entry`, the last before `end`, committed.
    pub(crate) fn commit(&mut self, end: MetaOffset, entry: LogEntry, epoch: QuorumEpoch) {
        if end > self.committed {
            self.committed = end;
            self.committed_last = Some(entry);
            self.committed_in = epoch;
        }
    }
}
