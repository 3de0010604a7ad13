//! Transaction coordinators: what they write of each transactional id, and what is carried out.

use broker_core::ids::NodeId;
use broker_core::probe::Probe;

use super::{Judge, ask};
use crate::Check;
use crate::history::HistoryEvent;
use crate::marks::Mark;
use crate::properties::decision_stable;
use crate::properties::transactions_refine::Around;
use crate::table::Code;
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

    /// A node left a mark, and the facts know it: it is held against the specification.
    pub(super) fn transactions_noted(
        &mut self,
        node: NodeId,
        probe: &Probe,
        view: &dyn View,
    ) -> Check {
        if self.set.has(Code::RF3) {
            let Self { facts, marks, .. } = self;
            let mut around = Around { facts, view, marks };
            self.transactions_refine.noted(node, probe, &mut around)?;
        }
        Ok(())
    }

    /// The same of what a client called or heard, which the facts do not know yet.
    pub(super) fn transactions_heard(&mut self, event: &HistoryEvent, view: &dyn View) -> Check {
        if self.set.has(Code::RF3) {
            let Self { facts, marks, .. } = self;
            self.transactions_refine.heard(event, &mut Around { facts, view, marks })?;
        }
        Ok(())
    }
}
