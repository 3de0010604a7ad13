//! RF2 WalRefines: what happens to WALs, claims and streams, in the store, in the metadata and at
//! the brokers, is what the specification of them lets happen. Source: `specification/wal.rs`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use broker_core::ids::{
    BrokerEpoch, Incarnation, Lsn, MetaOffset, NodeId, StreamId, TopicId, TopicPartition,
};
use broker_core::metadata::record::Record;
use broker_core::probe::Probe;
use broker_core::protocol::Acks;
use broker_core::step::{Flow, ObjOp, ObjResult, Tok};

use crate::bytes::{Named, listed, named, trim_of};
use crate::marks::Marks;
use crate::specification::Refused;
use crate::specification::wal::{Action, Log, Process, Wals};
use crate::view::{Evidence, NodeEvent, View};
use crate::{Check, require};

/// The specification's state, and what it does not have.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct WalRefines {
    specified: Wals,
    /// The metadata before it have been taken.
    next: MetaOffset,
    processes: BTreeMap<NodeId, Incarnation>,
    registrations: BTreeMap<NodeId, BrokerEpoch>,
    /// Claims by which a broker opens its own log; it may also claim it to recover an earlier one.
    own_claims: BTreeSet<(NodeId, u64)>,
    streams: BTreeMap<TopicId, Vec<StreamId>>,
    /// As brokers have opened them.
    partitions: BTreeMap<(NodeId, TopicPartition), StreamId>,
}

impl WalRefines {
    /// Takes what the evidence tells.
    pub(crate) fn observe(&mut self, evidence: &Evidence<'_>, marks: &mut Marks) -> Check {
        match *evidence {
            Evidence::Probe { node, probe: Probe::MetaApplied { offset, records, .. } } => {
                if *offset != self.next {
                    return Ok(());
                }
                self.next = offset.next();
                records.iter().try_for_each(|it| self.record(node, *offset, it, marks))
            }
            Evidence::Probe { node, probe } => self.probe(node, probe, marks),
            Evidence::Store { node, tok, op, result, .. } => {
                self.store(node, tok, op, result, marks)
            }
            Evidence::Node { node, event } => self.node(node, event, marks),
            Evidence::History(_) | Evidence::Handoff(_) | Evidence::Healed => Ok(()),
        }
    }

    /// A broker has taken a step: what it takes for confirmed is what is.
    pub(crate) fn stepped(&self, node: NodeId, view: &dyn View) -> Check {
        let open = view.wal(node).filter(|wal| wal.is_open());
        let log = self.specified.owners.get(&node.0).map(|owner| owner.log);
        let state = log.and_then(|log| self.specified.logs.get(&log));
        let confirmed = state.map(|state| Lsn(state.confirmed));
        let shown = open.map(broker_core::wal::Wal::confirmed_end);
        require!(
            shown.is_none() || shown == confirmed,
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
        marks.taken(action.name());
        Ok(())
    }

    fn log(&self, node: NodeId) -> Log {
        (node.0, self.registrations.get(&node).map_or(0, |epoch| epoch.0))
    }

    fn process(&self, node: NodeId) -> Process {
        (node.0, self.processes.get(&node).map_or(0, |incarnation| incarnation.0.into()))
    }

    fn node(&mut self, node: NodeId, event: NodeEvent, marks: &mut Marks) -> Check {
        match event {
            NodeEvent::Booted(incarnation) => {
                self.processes.insert(node, incarnation);
                Ok(())
            }
            NodeEvent::Crashed { .. } if self.specified.owners.contains_key(&node.0) => {
                self.take(node, Action::Close(node.0), marks)
            }
            _ => Ok(()),
        }
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
    fn probe(&mut self, node: NodeId, probe: &Probe, marks: &mut Marks) -> Check {
        let id = node.0;
        let action = match probe {
            Probe::BrokerRegistered { epoch } => {
                self.registrations.insert(node, *epoch);
                return Ok(());
            }
            Probe::PartitionOpened { partition, stream, .. } => {
                self.partitions.insert((node, *partition), *stream);
                return Ok(());
            }
            Probe::ClaimTaken { of, number } if self.own_claims.contains(&(*of, *number)) => {
                Action::Open(self.log(node), *number, self.process(node))
            }
            Probe::ClaimTaken { of, number } => {
                Action::TakeOver(self.process(node), of.0, *number)
            }
            Probe::WalFenced { .. } => Action::Close(id),
            Probe::WalVerifySent { seq, covers } => Action::Ask(id, *seq, covers.0),
            Probe::WalConfirmed { seq, end, .. } => Action::Confirm(id, *seq, end.0),
            Probe::WalRecordConfirmed { lsn, stream, base, end, .. } => {
                Action::Record(id, lsn.0, (stream.0, base.0, end.0))
            }
            Probe::WalTrimmed { upto } => Action::Trim(id, upto.0),
            Probe::PartitionAcked { partition, end, acks: Acks::All, .. } => {
                let Some(stream) = self.partitions.get(&(node, *partition)) else { return Ok(()) };
                Action::Acknowledge(stream.0, end.0)
            }
            Probe::RecoveryListed { of, epoch, end, .. } => {
                Action::Run(self.process(node), (of.0, epoch.0), end.0)
            }
            Probe::RecoveryTook { of, epoch, lsn, stream, end, .. } => {
                let log = (of.0, epoch.0);
                Action::Take(self.process(node), log, (lsn.0, stream.0, end.0))
            }
            _ => return Ok(()),
        };
        self.take(node, action, marks)
    }

    /// What the metadata say, when the first node applies it.
    fn record(
        &mut self,
        by: NodeId,
        offset: MetaOffset,
        record: &Record,
        marks: &mut Marks,
    ) -> Check {
        let action = match record {
            Record::RegisterBroker { node, .. } => Action::Register((node.0, offset.0)),
            Record::AssignRecovery { node, epoch, recoverer, .. } => {
                Action::Assign((node.0, epoch.0), recoverer.0)
            }
            Record::SealWal { node, epoch, end } => Action::Seal((node.0, epoch.0), end.0),
            Record::Partition { partition, stream, .. } => {
                self.streams.entry(partition.topic).or_default().push(*stream);
                return Ok(());
            }
            Record::OpenStream { stream, epoch, node, broker_epoch } => {
                let log = (node.0, broker_epoch.0);
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
                for stream in self.streams.remove(topic).unwrap_or_default() {
                    self.take(by, Action::Remove(stream.0), marks)?;
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.take(by, action, marks)
    }
}
