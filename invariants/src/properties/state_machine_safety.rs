//! R4 StateMachineSafety: no two nodes are handed, or apply, different entries at one offset, none
//! skips one, and no node cuts what is committed from its log. Source: Raft §5.4.3;
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

impl StateMachineSafety {
    /// A node cut its log at `to`, where it held the entry `held`.
    pub(crate) fn cut(
        &self,
        node: NodeId,
        to: MetaOffset,
        high_watermark: MetaOffset,
        held: Option<(QuorumEpoch, u64)>,
    ) -> Check {
        require!(
            to >= high_watermark,
            R4,
            "controller",
            "node {node} cut its log to {to}, below its high watermark {high_watermark}"
        );
        let place = usize::try_from(to.0).expect("a run's metadata log fits");
        let committed = self.committed.get(place).copied().flatten();
        require!(
            held.is_none() || held != committed,
            R4,
            "controller",
            "node {node} cut its log to {to}, where it held the committed entry {held:?}"
        );
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};
    use broker_core::probe::Probe;

    use crate::testing::{A, A_EPOCH, B, C, Case, prepare};

    fn hands(case: &mut Case, node: u16, offset: u64, prefix: u64) {
        let (offset, epoch) = (MetaOffset(offset), QuorumEpoch(1));
        case.probe(NodeId(node), &Probe::QuorumCommitted { offset, epoch, prefix });
    }

    #[test]
    fn different_entries_at_an_offset_break() {
        let mut case = Case::new("R4");
        hands(&mut case, 0, 0, 10);
        hands(&mut case, 1, 0, 11);
        assert!(case.breaks("R4"));
    }

    #[test]
    fn same_entries_hold() {
        let mut case = Case::new("R4");
        hands(&mut case, 0, 0, 10);
        hands(&mut case, 1, 0, 10);
        hands(&mut case, 1, 1, 11);
        assert!(case.holds());
    }

    #[test]
    fn different_records_at_an_offset_break() {
        let mut case = Case::new("R4");
        case.applied(C, MetaOffset(0), alloc::vec![prepare(0, A, A_EPOCH)], None);
        case.applied(B, MetaOffset(0), alloc::vec![prepare(1, A, A_EPOCH)], None);
        assert!(case.breaks("R4"));
    }

    #[test]
    fn skipped_offset_breaks() {
        let mut case = Case::new("R4");
        case.applied(C, MetaOffset(1), alloc::vec![], None);
        assert!(case.breaks("R4"));
    }

    #[test]
    fn cut_at_the_high_watermark_holds_below_it_breaks() {
        let mut case = Case::new("R4");
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11).commits(0, 1, 1, Some(1));
        let from = MetaOffset(2);
        case.probe(C, &Probe::QuorumTruncated { to: MetaOffset(1), from });
        assert!(case.holds());
        case.probe(C, &Probe::QuorumTruncated { to: MetaOffset(0), from });
        assert!(case.breaks("R4"));
    }

    #[test]
    fn cut_of_a_committed_entry_breaks_whatever_its_node_forgot() {
        let mut case = Case::new("R4");
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 12);
        hands(&mut case, 1, 1, 11);
        let (to, from) = (MetaOffset(1), MetaOffset(2));
        case.probe(C, &Probe::QuorumTruncated { to, from });
        assert!(case.holds(), "another entry is committed there");
        case.appends(0, 1, 1, 11);
        case.probe(C, &Probe::QuorumTruncated { to, from });
        assert!(case.breaks("R4"));
    }
}
