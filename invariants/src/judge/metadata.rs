//! Metadata entries as nodes apply them: each is judged at its place in the log, once, by whichever
//! node comes first; all others must agree with it.

use broker_core::ids::{MetaOffset, NodeId};
use broker_core::metadata::record::{CommittedRange, Record};

use super::{Judge, ask};
use crate::Check;
use crate::facts::ledger::Object;
use crate::marks::Mark;
use crate::properties::{
    acked_durable, broker_fence, commit_idem, end_monotone, epoch_chain, fenced_commit,
    image_equiv, leader_eligible, no_dangling, range_contig, recovery_complete, watermark_order,
};
use crate::table::Code;

impl Judge {
    pub(super) fn applied(
        &mut self,
        node: NodeId,
        offset: MetaOffset,
        records: &[Record],
        digest: Option<u64>,
    ) -> Check {
        ask!(self, R4, self.state_machine.applied(node, offset, records));
        if let Some(digest) = digest {
            let place = usize::try_from(offset.0).expect("a run's metadata log fits");
            if place >= self.digests.len() {
                self.digests.resize(place + 1, None);
            }
            let first = *self.digests[place].get_or_insert(digest);
            ask!(self, M1, image_equiv::digests(offset, node, first, digest));
        }
        for record in records {
            if let Record::RemoveTopic { topic } = record {
                self.facts.nodes.of(node).topics_gone.insert(*topic);
            }
        }
        if offset != self.facts.ledger.end {
            return Ok(());
        }
        for record in records {
            self.record(record, records)?;
            if self.set.has(Code::RF2) {
                let Self { wal_refines, facts, marks, .. } = self;
                wal_refines.applied((node, offset), record, facts, marks)?;
            }
            self.facts.ledger.apply(record, self.facts.pos);
        }
        self.facts.ledger.end = offset.next();
        Ok(())
    }

    /// One record, before it is applied.
    fn record(&mut self, record: &Record, batch: &[Record]) -> Check {
        ask!(self, O4, fenced_commit::applies(record, batch, &self.facts.ledger));
        match record {
            Record::Partition { partition, replica: Some(replica), .. } => {
                ask!(self, C3, leader_eligible::chosen(*partition, *replica, &self.facts.ledger));
            }
            Record::PartitionChange { .. } => self.partition_change(record)?,
            Record::OpenStream { stream, epoch, node, broker_epoch } => {
                ask!(self, C1, broker_fence::obeyed(*node, *broker_epoch, &self.facts.ledger));
                let Some(known) = self.facts.ledger.streams.get(stream) else { return Ok(()) };
                ask!(self, L8, epoch_chain::opened(*stream, known, *epoch));
                let confirmed = self.facts.wals.confirmed_in(*stream);
                ask!(self, W3, recovery_complete::reopened(*stream, known.end, confirmed));
                let empty = known.ranges.last().is_some_and(|last| last.start == known.end);
                self.marks.hit_if(empty, Mark::EpochWithoutRecords);
            }
            Record::PrepareObject { node, epoch, .. } => {
                ask!(self, C1, broker_fence::obeyed(*node, *epoch, &self.facts.ledger));
            }
            Record::CommitObject { object, ranges, wal_node, wal_epoch, .. } => {
                ask!(
                    self,
                    O3,
                    commit_idem::committed(*object, self.facts.ledger.objects.get(object))
                );
                let there = self.facts.wals.data.contains(object);
                ask!(self, O7, no_dangling::committed(*object, there));
                let wal = self.facts.ledger.wals.get(&(*wal_node, *wal_epoch));
                let recovered = wal.is_some_and(|wal| wal.recoverer.is_some());
                self.marks.hit_if(recovered, Mark::CommitForDead);
                for range in ranges {
                    self.range(range, recovered)?;
                }
            }
            Record::DestroyObject { object } => {
                ask!(self, O7, no_dangling::destroyed(*object, &self.facts.ledger));
                let prepared = self.facts.ledger.objects.get(object);
                let live = matches!(prepared, Some(Object::Prepared { .. } | Object::Committed));
                self.marks.hit_if(live, Mark::ObjectDestroyed);
            }
            Record::AssignRecovery { node, epoch, .. } => {
                let began =
                    self.facts.wals.get(*node, *epoch).is_some_and(|wal| wal.recovery_began);
                let assigned = self.facts.ledger.wals.get(&(*node, *epoch));
                let again = assigned.is_some_and(|wal| wal.recoverer.is_some());
                self.marks.hit_if(began && again, Mark::RecoveryOfRecovery);
            }
            Record::SealWal { node, epoch, end } => {
                if let Some(wal) = self.facts.wals.get(*node, *epoch) {
                    self.marks.hit_if(!wal.confirmed.is_empty(), Mark::WalSealed);
                    let id = (*node, *epoch);
                    let ledger = &self.facts.ledger;
                    ask!(self, W3, recovery_complete::sealed(id, *end, wal, ledger));
                }
            }
            Record::RemoveTopic { topic } => {
                let asked = self.facts.clients.deletions.contains(topic);
                ask!(self, L3, acked_durable::removed(*topic, asked));
            }
            Record::RegisterBroker { .. }
            | Record::BrokerChange { .. }
            | Record::Topic { .. }
            | Record::Config { .. }
            | Record::ProducerIds { .. }
            | Record::AdminDone { .. }
            | Record::Partition { .. }
            | Record::CloseStream { .. } => {}
        }
        Ok(())
    }

    fn range(&mut self, range: &CommittedRange, recovered: bool) -> Check {
        let Some(stream) = self.facts.ledger.streams.get(&range.stream) else { return Ok(()) };
        ask!(self, O1, range_contig::committed(range, stream));
        ask!(self, O5, end_monotone::committed(range, stream));
        if !recovered {
            let confirmed = self.facts.wals.confirmed_in(range.stream);
            ask!(self, L5, watermark_order::committed(range, confirmed));
        }
        Ok(())
    }

    fn partition_change(&mut self, record: &Record) -> Check {
        let Record::PartitionChange { partition, replica, leader, leader_epoch, partition_epoch } =
            record
        else {
            return Ok(());
        };
        let Some(was) = self.facts.ledger.partitions.get(partition).copied() else {
            return Ok(());
        };
        let (id, epoch, count) = (*partition, *leader_epoch, *partition_epoch);
        ask!(self, L8, epoch_chain::changed(id, &was, *replica, epoch, count));
        if let Some(chosen) = replica.filter(|chosen| Some(*chosen) != was.replica) {
            self.marks.hit_if(was.replica.is_some(), Mark::LeaderMoved);
            ask!(self, C3, leader_eligible::chosen(id, chosen, &self.facts.ledger));
        }
        if let Some(leader) = *leader {
            let ledger = &self.facts.ledger;
            ask!(self, C3, leader_eligible::published(id, leader, *replica, ledger));
        }
        Ok(())
    }
}
