//! R2 LogMatching: two entries with the same offset and epoch are the same entry and have the same
//! log before them. Source: Raft §5.3; KAFKA-7164.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};

use crate::{Check, require};

/// The digest of the log up to each entry that any controller ever held.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct LogMatching(Vec<BTreeMap<QuorumEpoch, u64>>);

impl LogMatching {
    /// A controller appended an entry, or read it at boot.
    pub(crate) fn appended(
        &mut self,
        node: NodeId,
        offset: MetaOffset,
        epoch: QuorumEpoch,
        prefix: u64,
    ) -> Check {
        let place = usize::try_from(offset.0).expect("a run's metadata log fits");
        if place >= self.0.len() {
            self.0.resize(place + 1, BTreeMap::new());
        }
        let known = *self.0[place].entry(epoch).or_insert(prefix);
        require!(
            known == prefix,
            R2,
            "controller",
            "node {node}: entry {offset} of epoch {epoch} ends the log {prefix:016x}, elsewhere \
             {known:016x}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Case;

    #[test]
    fn entry_behind_another_log_breaks() {
        let mut case = Case::new("R2");
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11);
        case.appends(1, 0, 1, 10).appends(1, 1, 1, 12);
        assert!(case.breaks("R2"));
    }

    #[test]
    fn entry_of_another_epoch_holds() {
        let mut case = Case::new("R2");
        case.appends(0, 0, 1, 10).appends(0, 1, 1, 11);
        case.appends(1, 0, 1, 10).appends(1, 1, 2, 12);
        assert!(case.holds());
    }
}
