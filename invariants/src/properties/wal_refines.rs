//! RF2 WalRefines: what happens to WALs, claims and streams, in the store, in the metadata and at
//! the brokers, is what the specification of them lets happen. Source: `specification/wal.rs`.

use alloc::collections::BTreeSet;

use broker_core::ids::{Lsn, MetaOffset, NodeId};
use broker_core::metadata::record::Record;
use broker_core::probe::Probe;
use broker_core::protocol::Acks;
use broker_core::step::{Flow, ObjOp, ObjResult, Tok};

use crate::bytes::{Named, listed, named, trim_of};
use crate::facts::Facts;
use crate::marks::Marks;
use crate::specification::Refused;
use crate::specification::wal::{Action, Log, Process, Wals};
use crate::table::Code;
use crate::view::{Evidence, NodeEvent, View};
use crate::{Check, require};

/// The specification's state, and what it does not have.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WalRefines {
    specified: Wals,
    /// Claims by which a broker opens its own log; it may also claim it to recover an earlier one.
    own_claims: BTreeSet<(NodeId, u64)>,
}

impl WalRefines {
    /// Takes what the evidence tells; the facts know it.
    pub(crate) fn observe(
        &mut self,
        evidence: &Evidence<'_>,
        facts: &Facts,
        marks: &mut Marks,
    ) -> Check {
        match *evidence {
            Evidence::Probe { node, probe } => self.probe(node, probe, facts, marks),
            Evidence::Store { node, tok, op, result, .. } => {
                self.store(node, tok, op, result, marks)
            }
            Evidence::Node { node, event: NodeEvent::Crashed { .. } }
                if self.specified.owners.contains_key(&node.0) =>
            {
                self.take(node, Action::Close(node.0), marks)
            }
            Evidence::Node { .. }
            | Evidence::History(_)
            | Evidence::Handoff(_)
            | Evidence::Healed => Ok(()),
        }
    }

    /// A broker has taken a step: what it takes for confirmed is what is.
    pub(crate) fn stepped(&self, node: NodeId, view: &dyn View, marks: &mut Marks) -> Check {
        let open = view.wal(node).filter(|wal| wal.is_open());
        let log = self.specified.owners.get(&node.0).map(|owner| owner.log);
        let state = log.and_then(|log| self.specified.logs.get(&log));
        let confirmed = state.map(|state| Lsn(state.confirmed));
        let Some(shown) = open.map(broker_core::wal::Wal::confirmed_end) else { return Ok(()) };
        marks.evaluated(Code::RF2);
        require!(
            Some(shown) == confirmed,
            RF2,
            "wal",
            "node {node}: no step leads from {confirmed:?} confirmed to {shown:?}"
        );
        Ok(())
    }

    fn take(&mut self, node: NodeId, action: Action, marks: &mut Marks) -> Check {
        if let Err(Refused(why)) = self.specified.take(action) {
            require!(false, RF2, "wal", "node {node}: {action:?} may not be: {why}");
        }
        marks.evaluated(Code::RF2);
        marks.taken(action.name());
        Ok(())
    }

    /// What took effect in the store.
    fn store(
        &mut self,
        node: NodeId,
        tok: Tok,
        op: &ObjOp,
        result: &ObjResult,
        marks: &mut Marks,
    ) -> Check {
        let by = (node.0, tok.incarnation.0.into());
        let action = match (op, result) {
            (ObjOp::Put { key, body, .. }, ObjResult::Done { .. }) => match named(key) {
                Some(Named::Wal { node, epoch, start, end }) => {
                    let trim = trim_of(body).unwrap_or_default();
                    Action::Put((node.0, epoch.0), start.0, (end.0, trim.0))
                }
                Some(Named::Claim { of, number }) => {
                    if tok.flow == Flow::Claim {
                        self.own_claims.insert((of, number));
                    }
                    Action::Claim(of.0, number, by)
                }
                Some(Named::Data(_)) | None => return Ok(()),
            },
            (ObjOp::Delete { key }, ObjResult::Done { .. }) => match named(key) {
                Some(Named::Wal { node, epoch, start, .. }) => {
                    Action::Delete((node.0, epoch.0), start.0)
                }
                Some(Named::Claim { of, number }) => {
                    self.own_claims.remove(&(of, number));
                    Action::Unclaim(of.0, number)
                }
                Some(Named::Data(_)) | None => return Ok(()),
            },
            (ObjOp::List { prefix, after }, ObjResult::Keys { keys, more }) => {
                match listed(prefix) {
                    // It shows nothing.
                    _ if *more && keys.is_empty() => return Ok(()),
                    Some((true, of)) if tok.flow == Flow::Claim && of == node => {
                        Action::Look(by, tok.seq)
                    }
                    Some((false, of)) if tok.flow == Flow::Recovery(of) && after.is_none() => {
                        Action::List(by, of.0)
                    }
                    _ => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        self.take(node, action, marks)
    }

    /// What a broker says that it does.
    fn probe(&mut self, node: NodeId, probe: &Probe, facts: &Facts, marks: &mut Marks) -> Check {
        let id = node.0;
        let known = facts.nodes.get(node);
        let process: Process = (id, known.map_or(0, |known| known.incarnation.0.into()));
        let action = match probe {
            Probe::ClaimTaken { of, number }
                if *of == node && self.own_claims.contains(&(*of, *number)) =>
            {
                let epoch = known.and_then(|known| known.epoch);
                Action::Open((id, epoch.map_or(0, |epoch| epoch.0)), *number, process)
            }
            Probe::ClaimTaken { of, number } => Action::TakeOver(process, of.0, *number),
            Probe::WalFenced { .. } => Action::Close(id),
            Probe::WalVerifySent { seq, covers } => Action::Ask(id, *seq, covers.0),
            Probe::WalConfirmed { seq, end, .. } => Action::Confirm(id, *seq, end.0),
            Probe::WalRecordConfirmed { lsn, stream, base, end, .. } => {
                Action::Record(id, lsn.0, (stream.0, base.0, end.0))
            }
            Probe::WalTrimmed { upto } => Action::Trim(id, upto.0),
            Probe::PartitionAcked { partition, end, acks: Acks::All, .. } => {
                let mut terms = facts.served.terms(*partition).iter();
                let Some(term) = terms.find(|term| term.node == node) else { return Ok(()) };
                Action::Acknowledge(term.stream.0, end.0)
            }
            Probe::RecoveryListed { of, epoch, end, .. } => {
                Action::Run(process, (of.0, epoch.0), end.0)
            }
            Probe::RecoveryTook { of, epoch, lsn, stream, end, .. } => {
                Action::Take(process, (of.0, epoch.0), (lsn.0, stream.0, end.0))
            }
            _ => return Ok(()),
        };
        self.take(node, action, marks)
    }

    /// What the metadata say, as the first node applies it; the facts do not know it yet.
    pub(crate) fn applied(
        &mut self,
        (by, offset): (NodeId, MetaOffset),
        record: &Record,
        facts: &Facts,
        marks: &mut Marks,
    ) -> Check {
        let action = match record {
            Record::RegisterBroker { node, .. } => Action::Register((node.0, offset.0)),
            Record::AssignRecovery { node, epoch, recoverer, .. } => {
                Action::Assign((node.0, epoch.0), recoverer.0)
            }
            Record::SealWal { node, epoch, end } => Action::Seal((node.0, epoch.0), end.0),
            Record::OpenStream { stream, epoch, node, broker_epoch } => {
                let log: Log = (node.0, broker_epoch.0);
                Action::OpenStream(stream.0, epoch.0.into(), log)
            }
            Record::CloseStream { stream, .. } => Action::CloseStream(stream.0),
            Record::CommitObject { ranges, wal_node, wal_epoch, .. } => {
                let log = (wal_node.0, wal_epoch.0);
                for range in ranges {
                    let (opening, part) = (range.epoch.0.into(), (range.start.0, range.end.0));
                    let commit = Action::Commit((range.stream.0, opening), part, log);
                    self.take(by, commit, marks)?;
                }
                return Ok(());
            }
            Record::RemoveTopic { topic } => {
                let partitions = facts.ledger.partitions.iter();
                for (_, known) in partitions.filter(|(partition, _)| partition.topic == *topic) {
                    self.take(by, Action::Remove(known.stream.0), marks)?;
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.take(by, action, marks)
    }
}

#[cfg(test)]
mod tests {
    use broker_core::ids::{LeaderEpoch, Offset};
    use broker_core::probe::Probe;
    use broker_core::protocol::Acks;

    use crate::testing::{A, A_EPOCH, B, Case, P, S};

    fn acknowledged(case: &mut Case, end: u64) {
        let (partition, stream, epoch) = (P, S, LeaderEpoch(0));
        let (base, end) = (Offset(0), Offset(end));
        case.probe(A, &Probe::PartitionOpened { partition, stream, epoch, next: base });
        case.probe(A, &Probe::PartitionAcked { partition, epoch, base, end, acks: Acks::All });
    }

    #[test]
    fn written_confirmed_and_acknowledged_holds() {
        let mut case = Case::cluster("RF2");
        case.wal_write(0, &[(0, 2, 100)]).wal_write(1, &[(2, 3, 102)]);
        acknowledged(&mut case, 3);
        assert!(case.holds());
    }

    #[test]
    fn acknowledged_beyond_what_is_confirmed_breaks() {
        let mut case = Case::cluster("RF2");
        case.wal_write(0, &[(0, 2, 100)]);
        acknowledged(&mut case, 3);
        assert!(case.breaks("RF2"));
    }

    #[test]
    fn confirmed_by_a_look_before_the_put_breaks() {
        let mut case = Case::cluster("RF2");
        let seq = case.verify_sent();
        case.verify_listed(seq).wal_put(0, &[(0, 2, 100)]).wal_done(0, 1).wal_confirmed(seq, 1);
        assert!(case.breaks("RF2"));
    }

    #[test]
    fn claim_that_is_there_already_breaks() {
        let mut case = Case::cluster("RF2");
        case.claim(B, A, 7);
        assert!(case.holds_now());
        case.claim(B, A, 7);
        assert!(case.breaks("RF2"));
    }

    #[test]
    fn committed_behind_the_seal_breaks() {
        let by = (A, A_EPOCH);
        let mut case = Case::cluster("RF2");
        case.wal_write(0, &[(0, 2, 100)]).commit(1, by, by, 0, &[(0, 2, 100)]);
        assert!(case.holds_now());
        case.fail_over().claim(B, A, 2).seal(1).commit(2, by, by, 0, &[(2, 3, 102)]);
        assert!(case.breaks("RF2"));
    }
}
