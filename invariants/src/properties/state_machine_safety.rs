//! R4 StateMachineSafety: no two nodes are handed, or apply, different entries at one offset, none
//! skips one, and no controller cuts what it knows to be committed. Source: Raft §5.4.3;
//! KAFKA-12460.

use alloc::vec::Vec;
use core::hash::{Hash, Hasher};

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};
use broker_core::metadata::record::Record;

use crate::{Check, require};

/// What was committed and applied at each offset.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct StateMachineSafety {
    committed: Vec<Option<(QuorumEpoch, u64)>>,
    applied: Vec<u64>,
}

impl StateMachineSafety {
    /// An entry was handed to a node's state machine.
    pub(crate) fn committed(
        &mut self,
        node: NodeId,
        offset: MetaOffset,
        epoch: QuorumEpoch,
        prefix: u64,
    ) -> Check {
        let place = usize::try_from(offset.0).expect("a run's metadata log fits");
        if place >= self.committed.len() {
            self.committed.resize(place + 1, None);
        }
        let known = *self.committed[place].get_or_insert((epoch, prefix));
        require!(
            known == (epoch, prefix),
            R4,
            "metadata",
            "node {node} gets entry {offset} of epoch {epoch}, log {prefix:016x}; elsewhere it was \
             {known:?}"
        );
        Ok(())
    }

    /// A node applied an entry's records.
    pub(crate) fn applied(
        &mut self,
        node: NodeId,
        offset: MetaOffset,
        records: &[Record],
    ) -> Check {
        let place = usize::try_from(offset.0).expect("a run's metadata log fits");
        let mut digest = Fnv::default();
        records.hash(&mut digest);
        let digest = digest.finish();
        if place == self.applied.len() {
            self.applied.push(digest);
        }
        let known = self.applied.get(place).copied();
        require!(
            known == Some(digest),
            R4,
            "metadata",
            "node {node} applied {records:?} at {offset}; elsewhere something else is there, or \
             entries before it are missing"
        );
        Ok(())
    }
}

/// A controller cut its log.
pub(crate) fn cut(node: NodeId, to: MetaOffset, high_watermark: MetaOffset) -> Check {
    require!(
        to >= high_watermark,
        R4,
        "controller",
        "node {node} cut its log to {to}, below its high watermark {high_watermark}"
    );
    Ok(())
}

/// FNV-1a: the records of the nodes need only be told apart, cheaply and always the same way.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
