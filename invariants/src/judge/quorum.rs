//! What the controllers' quorum does, against what their devices hold at that moment.

use broker_core::ids::{MetaOffset, NodeId, QuorumEpoch};
use broker_core::probe::Probe;
use broker_core::quorum::Role;

use super::{Judge, ask};
use crate::Check;
use crate::bytes::ballot;
use crate::facts::raft::{Election, LogEntry};
use crate::marks::Mark;
use crate::properties::{durable_before_reply, election_safety, hw_monotone, leader_completeness};
use crate::view::View;

impl Judge {
    pub(super) fn quorum(&mut self, node: NodeId, probe: &Probe, view: &dyn View) -> Check {
        match *probe {
            Probe::QuorumLoaded { torn, .. } => {
                self.facts.raft.of(node).cut(MetaOffset(0));
                self.marks.hit_if(torn, Mark::TornTailCut);
            }
            Probe::QuorumRole { role, epoch, .. } => return self.role(node, role, epoch),
            Probe::QuorumVoted { epoch, candidate } => {
                ask!(self, R6, self.votes.voted(node, epoch, candidate));
                self.marks.hit_if(self.votes.voted_before(node, epoch), Mark::VotedAgain);
                ask!(self, R9, {
                    let state = ballot(&view.device_state(node));
                    durable_before_reply::voted(node, epoch, candidate, state)
                });
            }
            Probe::QuorumBecameLeader { epoch, .. } => {
                self.elected(node, epoch)?;
                ask!(self, R3, leader_completeness::elected(node, epoch, &self.facts.raft));
                ask!(self, R9, {
                    let state = ballot(&view.device_state(node));
                    durable_before_reply::leads(node, epoch, state)
                });
            }
            Probe::QuorumResigned { check_quorum, .. } => {
                self.marks.hit_if(check_quorum, Mark::CheckQuorumResigned);
                self.facts.raft.of(node).leads = None;
                self.quorum_leads.left(node);
            }
            Probe::QuorumAppended { offset, epoch, prefix, byte_end }
            | Probe::QuorumReadBack { offset, epoch, prefix, byte_end } => {
                ask!(self, R2, self.log_matching.appended(node, offset, epoch, prefix));
                let entry = LogEntry { epoch, prefix, byte_end };
                self.facts.raft.of(node).append(offset, entry);
            }
            Probe::QuorumTruncated { to, from } => {
                let replica = self.facts.raft.of(node);
                let held = replica.at(to).map(|entry| (entry.epoch, entry.prefix));
                replica.cut(to);
                let known = replica.high_watermark;
                self.marks.hit_if(to < from, Mark::DivergingTruncation);
                ask!(self, R4, self.state_machine.cut(node, to, known, held));
            }
            Probe::QuorumFlushed { end } => {
                ask!(self, R9, self.promised(node, end, view));
            }
            // Brokers follow the log, too, and make no promises.
            Probe::QuorumFetchSent { fetch_offset } if view.controllers().contains(&node) => {
                ask!(self, R9, self.promised(node, fetch_offset, view));
            }
            Probe::QuorumFetchServed { from, .. } => {
                let ran_us = self.facts.nodes.of(node).ran_us(self.facts.at);
                self.quorum_leads.served(node, from, ran_us);
            }
            Probe::QuorumHighWatermark { high_watermark, entry_epoch, leader_of } => {
                return self.high_watermark(node, (high_watermark, entry_epoch), leader_of, view);
            }
            Probe::QuorumCommitted { offset, epoch, prefix } => {
                ask!(self, R4, self.state_machine.committed(node, offset, epoch, prefix));
            }
            _ => {}
        }
        Ok(())
    }

    fn promised(&self, node: NodeId, end: MetaOffset, view: &dyn View) -> Check {
        let replica = self.facts.raft.get(node);
        durable_before_reply::promised(node, end, replica, view.device_end(node))
    }

    fn role(&mut self, node: NodeId, role: Role, epoch: QuorumEpoch) -> Check {
        match role {
            Role::Leader => self.elected(node, epoch),
            Role::Unattached
            | Role::Prospective
            | Role::Candidate
            | Role::Resigned
            | Role::Follower => {
                if let Some(replica) = self.facts.raft.replicas.get_mut(&node) {
                    replica.leads = None;
                }
                self.quorum_leads.left(node);
                Ok(())
            }
        }
    }

    /// A node is seen to lead, by either probe that says so.
    fn elected(&mut self, node: NodeId, epoch: QuorumEpoch) -> Check {
        let incarnation = self.facts.nodes.of(node).incarnation;
        let known = self.facts.raft.elections.get(&epoch);
        ask!(self, R1, election_safety::leads(epoch, node, incarnation, known));
        if known.is_none() {
            self.marks.hit_if(!self.facts.raft.elections.is_empty(), Mark::SecondLeader);
            self.facts.raft.elections.insert(epoch, Election { node, incarnation });
        }
        let replica = self.facts.raft.of(node);
        if replica.leads != Some(epoch) {
            replica.leads = Some(epoch);
            let ran_us = self.facts.nodes.of(node).ran_us(self.facts.at);
            self.quorum_leads.took(node, epoch, ran_us);
        }
        Ok(())
    }

    fn high_watermark(
        &mut self,
        node: NodeId,
        (to, entry_epoch): (MetaOffset, QuorumEpoch),
        leader_of: Option<QuorumEpoch>,
        view: &dyn View,
    ) -> Check {
        let was = self.facts.raft.get(node).map(|replica| replica.high_watermark);
        ask!(self, R5, hw_monotone::moved(node, was.unwrap_or_default(), to));
        let entry = self.facts.raft.get(node).and_then(|replica| replica.before(to)).copied();
        match leader_of {
            Some(epoch) => {
                let raft = &self.facts.raft;
                let held = entry.as_ref();
                ask!(
                    self,
                    R3,
                    leader_completeness::committed(node, epoch, to, entry_epoch, held, raft)
                );
                ask!(self, R5, hw_monotone::durable(node, to, held, raft, view));
                if let Some(entry) = entry {
                    let earlier = raft.committed_last.is_none_or(|last| last.epoch < epoch);
                    let start = raft.get(node).and_then(|replica| {
                        replica.at(raft.committed).map(|first| first.epoch < epoch)
                    });
                    self.marks.hit_if(earlier && start == Some(true), Mark::HighWatermarkWaited);
                    self.facts.raft.commit(to, entry, epoch);
                }
            }
            None => {
                ask!(self, R5, hw_monotone::heard(node, to, self.facts.raft.committed));
            }
        }
        self.facts.raft.of(node).high_watermark = to;
        Ok(())
    }
}
