//! What brokers' probes say of partitions, WALs and recoveries.

use broker_core::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use broker_core::probe::Probe;
use broker_core::protocol::Acks;

use super::{Judge, ask};
use crate::Check;
use crate::facts::wals::{Confirmed, Takeover, Verify};
use crate::marks::Mark;
use crate::properties::ack_after_verify::{self, Confirmation};
use crate::properties::sealed_epoch::{self, Taken};
use crate::properties::state_equiv::Loaded;
use crate::properties::{
    broker_fence, epoch_chain, last_stable, monotone, offset_dense, one_leader, order_no_gap,
    recovery_complete, single_writer, trim_after_commit, watermark_order,
};

impl Judge {
    pub(super) fn partition(&mut self, node: NodeId, probe: &Probe) -> Check {
        match probe {
            Probe::PartitionOpened { partition, stream, epoch, next } => {
                self.facts.served.open(*partition, *epoch, node, *stream, *next);
                Ok(())
            }
            Probe::PartitionAppended { partition, epoch, base, end, .. } => {
                let Some(term) = self.facts.served.term(*partition, *epoch, node) else {
                    return Ok(());
                };
                ask!(self, L2, offset_dense::appended(*partition, term, *base));
                term.next = *end;
                Ok(())
            }
            Probe::PartitionOffsets {
                partition,
                epoch,
                log_start,
                last_stable,
                high_watermark,
                log_end,
            } => {
                let stable = self.facts.served.stable.entry(*partition).or_default();
                let before = stable.insert(*high_watermark, *last_stable);
                let (at, stable) = (*high_watermark, *last_stable);
                ask!(self, T3, last_stable::shown(*partition, at, stable, before));
                let ends = (*last_stable, *high_watermark, *log_end);
                self.offsets(node, (*partition, *epoch), *log_start, ends)
            }
            Probe::PartitionAcked { partition, epoch, base, end, acks } => {
                if *acks == Acks::All
                    && let Some(term) = self.facts.served.term(*partition, *epoch, node)
                {
                    let confirmed = self.facts.wals.confirmed_in(term.stream);
                    ask!(self, W1, ack_after_verify::acked(*partition, *end, confirmed));
                }
                self.acked(node, *partition, *epoch, *base)
            }
            Probe::ProducersLoaded { partition, end, snapshot, producers, aborted } => {
                let (end, snapshot, producers) = (*end, *snapshot, producers.clone());
                self.marks.hit_if(snapshot.is_some(), Mark::SnapshotLoaded);
                let open = producers.iter().any(|producer| producer.standing.open.is_some());
                self.marks.hit_if(open, Mark::OpenAcrossFailover);
                let loaded = Loaded { end, snapshot, producers, aborted: aborted.clone() };
                self.facts.served.loaded.entry(*partition).or_default().push(loaded);
                Ok(())
            }
            Probe::ProducerOutOfOrder { partition, epoch, proof } => {
                let newest = self.facts.served.terms(*partition).last().map(|term| term.epoch);
                let replaced = newest.is_some_and(|newest| newest > *epoch);
                self.marks.hit(Mark::OutOfOrderRefused);
                self.marks.hit_if(replaced, Mark::OutOfOrderAtReplaced);
                self.facts.served.refusals.insert((node, *proof), replaced);
                Ok(())
            }
            Probe::ProducerRefused { partition, proof } => {
                let replaced = self.facts.served.refusals.remove(&(node, *proof));
                ask!(self, P2, order_no_gap::refused(*partition, replaced == Some(true)));
                Ok(())
            }
            Probe::PartitionEpochs { partition, entries } => {
                if let Some(stream) = self.facts.ledger.stream_of(*partition) {
                    ask!(self, L8, epoch_chain::cached(*partition, entries, &stream.ranges));
                }
                self.facts.served.caches.insert((node, *partition), entries.clone());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn offsets(
        &mut self,
        node: NodeId,
        (partition, epoch): (TopicPartition, LeaderEpoch),
        log_start: Offset,
        (last_stable, high_watermark, log_end): (Offset, Offset, Offset),
    ) -> Check {
        let terms = self.facts.served.terms(partition);
        let Some(term) = terms.iter().rfind(|term| (term.epoch, term.node) == (epoch, node)) else {
            return Ok(());
        };
        let confirmed = self.facts.wals.confirmed_in(term.stream).unwrap_or_default();
        let confirmed = confirmed.max(term.opened);
        let ends = (last_stable, high_watermark, log_end);
        ask!(self, L5, watermark_order::moved(partition, epoch, (log_start, ends), confirmed));
        ask!(self, L6, monotone::moved(partition, terms, term, log_start, high_watermark));
        if let Some(cache) = self.facts.served.caches.get(&(node, partition)) {
            ask!(self, L8, epoch_chain::serves(partition, epoch, cache));
        }
        if let Some(term) = self.facts.served.term(partition, epoch, node) {
            let (first, last) = term.high_watermark.unwrap_or((high_watermark, high_watermark));
            term.high_watermark = Some((first, last.max(high_watermark)));
            term.log_start = term.log_start.max(log_start);
            term.last_stable = last_stable;
        }
        Ok(())
    }

    fn acked(
        &mut self,
        node: NodeId,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        base: Offset,
    ) -> Check {
        let fenced = self.facts.nodes.get(node).is_some_and(|node| node.fenced);
        ask!(self, C1, broker_fence::acked(node, partition, fenced));
        let acked = self.facts.served.acked.entry(partition).or_default();
        let place = acked.partition_point(|(known, _)| *known < epoch);
        let known = acked.get(place).filter(|(known, _)| *known == epoch).map(|known| known.1);
        ask!(self, C2, one_leader::acked(partition, epoch, node, known));
        if known.is_none() {
            let moved = place.checked_sub(1).is_some_and(|before| acked[before].1 != node);
            self.marks.hit_if(moved, Mark::FailoverServed);
            acked.insert(place, (epoch, node));
        }
        let here = self.facts.clients.partition(partition);
        self.facts.clients.seen[here as usize].acks_under(base, epoch);
        Ok(())
    }

    pub(super) fn wal(&mut self, node: NodeId, probe: &Probe) -> Check {
        let pos = self.facts.pos;
        match probe {
            Probe::ClaimTaken { of, number } if *of == node => {
                self.facts.nodes.of(node).claim = Some(*number);
            }
            Probe::WalVerifySent { seq, .. } => {
                let verify = Verify { sent: pos, listed: None };
                self.facts.wals.verifies.insert((node, *seq), verify);
            }
            Probe::WalConfirmed { seq, epoch, end } => {
                self.facts.nodes.of(node).epoch = Some(*epoch);
                return self.confirmed(node, *seq, *epoch, *end);
            }
            _ => {}
        }
        let Some(epoch) = self.facts.nodes.get(node).and_then(|known| known.epoch) else {
            return Ok(());
        };
        match *probe {
            Probe::WalPutDone { start, end } => {
                let wal = self.facts.wals.of(node, epoch);
                wal.objects.entry((start, end)).or_default().done.get_or_insert(pos);
            }
            Probe::WalDeleteSent { start, end, again } => {
                let wal = self.facts.wals.of(node, epoch);
                wal.objects.entry((start, end)).or_default().second_sent |= again;
            }
            Probe::WalTrimmed { upto } => {
                let (ledger, wal) = (&self.facts.ledger, self.facts.wals.of(node, epoch));
                wal.trimmed = wal.trimmed.max(upto);
                let (from, wal) = (wal.committed_below, &*wal);
                let id = (node, epoch);
                ask!(self, W2, trim_after_commit::let_go(id, wal, from, upto, ledger));
            }
            Probe::WalRecordConfirmed { lsn, stream, epoch: stream_epoch, base, end } => {
                let record = Confirmed { stream, epoch: stream_epoch, base, end };
                return self.record_confirmed((node, epoch), lsn, record);
            }
            _ => {}
        }
        Ok(())
    }

    fn confirmed(
        &mut self,
        node: NodeId,
        seq: u64,
        epoch: broker_core::ids::BrokerEpoch,
        end: broker_core::ids::Lsn,
    ) -> Check {
        let known = self.facts.nodes.of(node);
        let (incarnation, claim) = (known.incarnation, known.claim);
        let what = Confirmation { node, incarnation, claim, epoch, seq, end };
        let verify = self.facts.wals.verifies.get(&(node, seq)).copied();
        let start = self.facts.ledger.wal_start(node, epoch);
        let wal = self.facts.wals.of(node, epoch);
        ask!(self, W1, ack_after_verify::confirmed(what, verify.as_ref(), start, wal));
        let behind = wal.objects.keys().next_back().is_some_and(|last| last.1 > end);
        self.marks.hit_if(behind, Mark::VerifiedInFlight);
        self.marks.hit_if(wal.listed.is_some(), Mark::LateConfirm);
        wal.confirmed_end = wal.confirmed_end.max(Some(end));
        let old: alloc::vec::Vec<(NodeId, u64)> =
            self.facts.wals.verifies.range((node, 0)..(node, seq)).map(|(key, _)| *key).collect();
        for key in old {
            self.facts.wals.verifies.remove(&key);
        }
        Ok(())
    }

    fn record_confirmed(
        &mut self,
        id: (NodeId, broker_core::ids::BrokerEpoch),
        lsn: broker_core::ids::Lsn,
        record: Confirmed,
    ) -> Check {
        let node = id.0;
        let confirmed_end = self.facts.wals.of(id.0, id.1).confirmed_end;
        ask!(self, W1, ack_after_verify::record(node, lsn, confirmed_end));
        let terms = self.facts.wals.streams.get(&record.stream).map_or(&[][..], |terms| terms);
        let own = terms.iter().rfind(|term| (term.epoch, term.node) == (record.epoch, node));
        let before = own.map(|term| term.end);
        ask!(self, L2, offset_dense::confirmed(record.stream, &record, before));
        ask!(self, L7, single_writer::confirmed(node, &record, terms));
        let moved = before.is_none() && terms.iter().any(|term| term.epoch < record.epoch);
        self.marks.hit_if(moved, Mark::EpochMoved);
        if let Some(seal) = self.facts.ledger.wals.get(&id).and_then(|wal| wal.sealed) {
            let ledger = &self.facts.ledger;
            ask!(self, W3, recovery_complete::late(id, lsn, &record, seal, ledger));
        }
        self.facts.wals.confirm_in_stream(node, record);
        self.facts.wals.of(id.0, id.1).confirm(lsn, record);
        Ok(())
    }

    pub(super) fn recovery(&mut self, node: NodeId, probe: &Probe) -> Check {
        let incarnation = self.facts.nodes.of(node).incarnation;
        match *probe {
            Probe::RecoveryStarted { of, epoch } => {
                self.facts.wals.of(of, epoch).recovery_began = true;
                // What it claimed and listed for another WAL of that node counts no more.
                *self.facts.wals.takeover(node, of, incarnation) =
                    Takeover { incarnation, ..Takeover::default() };
            }
            Probe::RecoveryListed { of, epoch, sealed, end, hole, .. } => {
                self.marks.hit_if(sealed > 0, Mark::RecoverySkippedSealed);
                self.marks.hit_if(hole, Mark::RecoveryHole);
                let takeover = *self.facts.wals.takeover(node, of, incarnation);
                ask!(self, W4, sealed_epoch::listed(of, &takeover));
                let start = self.facts.ledger.wal_start(of, epoch);
                let wal = self.facts.wals.get(of, epoch);
                ask!(self, W4, sealed_epoch::ran((of, epoch), (start, end), wal, &takeover));
                let listed = takeover.listed.map(|(first, _)| first);
                let wal = self.facts.wals.of(of, epoch);
                wal.listed = wal.listed.or(listed);
            }
            Probe::RecoveryTook { of, epoch, lsn, stream, base, end } => {
                let taken = Taken { of, epoch, lsn, stream, base, end };
                let takeover = *self.facts.wals.takeover(node, of, incarnation);
                let seal = self.facts.ledger.wals.get(&(of, epoch)).and_then(|wal| wal.sealed);
                let wal = self.facts.wals.get(of, epoch);
                ask!(self, W4, sealed_epoch::took(taken, wal, seal, &takeover));
            }
            _ => {}
        }
        Ok(())
    }
}
