//! Evidence is numbered, and some of the numbers are kept. For a search, in which two ways to one
//! state are one, only their order may count, and only among those that are ever compared.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::ids::NodeId;

use super::Facts;
use super::clients::OpenCall;

/// Some of the numbers that are kept: those about one matter, which are compared with each other.
#[derive(Clone, Copy, Debug)]
enum Matter {
    /// Whatever is done to the WAL of this node.
    Wal(NodeId),
    /// Who is the producer of which transactional id.
    Producers,
    /// The logs of groups.
    Groups,
}

impl Facts {
    /// Numbers the evidence anew, without regard to what has left no trace.
    pub(crate) fn renumber(&mut self) {
        let sealed = self.ledger.wals.keys().map(|(owner, _)| *owner);
        let owners: BTreeSet<_> = self.wals.owners().chain(sealed).collect();
        let matters = owners.into_iter().map(Matter::Wal);
        self.pos = 0;
        for matter in matters.chain([Matter::Producers, Matter::Groups]) {
            let mut kept = Vec::new();
            self.each(matter, &mut |pos| kept.push(*pos));
            kept.sort_unstable();
            kept.dedup();
            let rank = |pos| kept.partition_point(|known| *known < pos) as u64 + 1;
            self.each(matter, &mut |pos| *pos = rank(*pos));
            self.pos = self.pos.max(kept.len() as u64);
        }
    }

    fn each(&mut self, matter: Matter, with: &mut dyn FnMut(&mut u64)) {
        match matter {
            Matter::Wal(owner) => {
                self.wals.positions(owner, with);
                self.ledger.positions(owner, with);
            }
            Matter::Producers => {
                self.clients.transactional.positions(with);
                let transactions = self.clients.transactions.values_mut();
                let began = transactions.filter_map(|transaction| transaction.began.as_mut());
                began.for_each(|(pos, _)| with(pos));
                for open in self.clients.open.values_mut() {
                    if let OpenCall::EndTxn { pos, .. } | OpenCall::InitProducerId { pos, .. } =
                        &mut open.what
                    {
                        with(pos);
                    }
                }
            }
            Matter::Groups => {
                self.groups.positions(with);
                self.group_calls.positions(with);
            }
        }
    }
}
