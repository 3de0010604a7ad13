//! Transaction coordinators: what they write of each transactional id, and what is carried out.

use broker_core::ids::NodeId;
use broker_core::probe::Probe;

use super::{Judge, ask};
use crate::Check;
use crate::marks::Mark;
use crate::properties::decision_stable;
use crate::view::View;

impl Judge {
    pub(super) fn coordinator(&mut self, node: NodeId, probe: &Probe, view: &dyn View) -> Check {
        match probe {
            Probe::CoordinatorLoaded { partition, epoch, end } => {
                let (read, owes) = self.facts.coordinators.loaded(*partition, *epoch, *end);
                self.marks.hit_if(read, Mark::CoordinatorMoved);
                self.marks.hit_if(owes, Mark::DecisionInherited);
            }
            Probe::TxnRecorded { coordinator, epoch, id, at, txn } => {
                let log = (*coordinator, *epoch);
                let before = self.facts.coordinators.recorded(log, id, *at, *txn);
                if let Some(before) = before {
                    if let Some(wall) = view.wall(node, self.facts.at) {
                        let producers = &mut self.facts.clients.transactional;
                        producers.recorded(id, (before, *txn), wall, self.facts.pos);
                    }
                    ask!(self, T4, decision_stable::follows(id, before, *txn));
                }
            }
            Probe::TxnVerified { refused, .. } => {
                self.marks.hit_if(refused.is_some(), Mark::BeginRefused);
            }
            _ => {}
        }
        Ok(())
    }
}
