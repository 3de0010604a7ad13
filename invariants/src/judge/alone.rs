//! What a history can tell alone, where nobody knows the final log: the readers stand in for it. A
//! record is gone if a reader passed over its offset; a transaction is committed if a reader of
//! committed data was given a part of it, and aborted where such a reader passed over a part. What
//! nobody read or passed over stays unknown. Source: Jepsen's kafka workload (lost-write, G1a); its
//! `unseen` needs a settled cluster, which a recorder may vouch for.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use broker_core::ids::Offset;
use broker_core::protocol::{Isolation, OffsetSpec};

use super::final_log::FinalLog;
use super::{Judge, ask};
use crate::facts::clients::{OpenCall, Seen};
use crate::facts::group_calls::Untold;
use crate::history::{Answer, EventKind, HistoryEvent};
use crate::properties::{acked_durable, atomic_visibility, no_aborted_read, read_stable};
use crate::{Check, Violation};

/// What was there when the cluster had settled.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Settled {
    /// End of what was acknowledged, by the partition's place.
    ends: Vec<Offset>,
    /// Calls that began before it: they may have been served by anyone.
    before: BTreeSet<(u16, u32)>,
}

/// How the history ended.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    /// Partitions that clients named.
    pub(crate) partitions: u64,
    /// Calls that never got an answer.
    pub(crate) unanswered: u64,
    /// Acknowledged records that nobody read or passed over.
    pub(crate) unread: u64,
    /// Produces that are in the log more than once, as their clients may have sent them again.
    pub(crate) doubled: u64,
    pub(crate) untold: Untold,
}

impl Judge {
    /// A judge of a history, with no observer.
    pub(crate) fn alone() -> Self {
        let mut judge = Self::new(None);
        judge.facts.alone = true;
        judge.facts.group_calls.alone = true;
        judge
    }

    /// An event.
    pub(crate) fn history_event(
        &mut self,
        event: &HistoryEvent,
        settled: Option<&Settled>,
    ) -> Check {
        self.facts.at = event.at;
        self.facts.pos += 1;
        if let (Some(settled), EventKind::Ok(answer)) = (settled, &event.kind) {
            self.covers_all((event.client, event.call), answer, settled)?;
        }
        self.history(event)
    }

    /// From here on, whoever asks a partition's leader gets the newest one, and hears of everything
    /// that was acknowledged.
    pub(crate) fn settled(&self) -> Settled {
        let clients = &self.facts.clients;
        let ends = clients.seen.iter().map(|seen| seen.acked_end).collect();
        Settled { ends, before: clients.open.keys().copied().collect() }
    }

    /// Ends that a settled cluster shows cover all that was acknowledged.
    fn covers_all(&mut self, key: (u16, u32), answer: &Answer, settled: &Settled) -> Check {
        let Some(open) = self.facts.clients.open.get(&key) else { return Ok(()) };
        let (place, end) = match (&open.what, answer) {
            (OpenCall::Fetch { read, .. }, Answer::Fetched { high_watermark, .. }) => {
                (read.partition, *high_watermark)
            }
            (
                OpenCall::List {
                    read,
                    spec: OffsetSpec::Latest,
                    isolation: Isolation::ReadUncommitted,
                },
                Answer::Listed(found),
            ) => (read.partition, Some(found.map_or(Offset(0), |found| found.0))),
            _ => return Ok(()),
        };
        let owed = settled.ends.get(place as usize).copied().unwrap_or_default();
        if let Some(end) = end.filter(|_| !settled.before.contains(&key) && owed > Offset(0)) {
            let partition = self.facts.clients.seen[place as usize].partition;
            ask!(self, L3, acked_durable::settled(partition, end, owed));
        }
        Ok(())
    }

    /// The end of the history.
    pub(crate) fn finish_history(&mut self) -> Result<Ended, Violation> {
        self.facts.clients.leave_open_unknown();
        let mut ended = Ended {
            partitions: self.facts.clients.seen.len() as u64,
            unanswered: self.facts.clients.open.len() as u64,
            unread: 0,
            doubled: self.facts.clients.sends.values().filter(|send| send.doubled).count() as u64,
            untold: Untold::default(),
        };
        for here in (0..).take(self.facts.clients.seen.len()) {
            self.read_by_committed(here)?;
            self.passed_over(here)?;
            ended.unread += unread(&self.facts.clients.seen[here as usize]);
        }
        self.fates()?;
        let seen = self.facts.clients.seen.iter();
        let logs = (0..).zip(seen.map(FinalLog::seen)).collect();
        self.judge_by(&logs)?;
        drop(logs);
        self.plain_commits()?;
        ended.untold = self.facts.group_calls.untold;
        Ok(ended)
    }

    /// What readers of committed data were given is of no transaction that was aborted.
    fn read_by_committed(&mut self, here: u32) -> Check {
        let clients = &mut self.facts.clients;
        if clients.transactions.is_empty() {
            return Ok(());
        }
        let partition = clients.seen[here as usize].partition;
        let seen = core::mem::take(&mut clients.seen[here as usize].slots);
        let read = (0..).map(Offset).zip(&seen).filter(|(_, slot)| slot.was_read_committed());
        for (offset, slot) in read {
            let txn = self.facts.clients.transaction_of(slot.value(), here);
            let Some(txn) = txn else { continue };
            let known = self.facts.clients.transactions.get(&txn).copied().unwrap_or_default();
            let may = known.may_be_committed();
            ask!(self, T2, no_aborted_read::kept(partition, offset, may));
        }
        self.facts.clients.seen[here as usize].slots = seen;
        Ok(())
    }

    /// What readers passed over is a marker, aborted, or nothing that anybody knows of.
    fn passed_over(&mut self, here: u32) -> Check {
        for committed in [false, true] {
            let seen = &self.facts.clients.seen[here as usize];
            let partition = seen.partition;
            for (from, upto) in passed(seen, committed) {
                for offset in (from.0..upto.0).map(Offset) {
                    let slot = self.facts.clients.seen[here as usize].known(offset);
                    let Some(value) = slot.value() else { continue };
                    let txn = self.facts.clients.transaction_of(Some(value), here);
                    if let Some(txn) = txn.filter(|_| committed) {
                        let known = self.facts.clients.transactions.entry(txn).or_default();
                        known.passed = Some((partition, offset));
                    } else if slot.was_acked() {
                        ask!(self, L3, acked_durable::passed_over(partition, offset, value));
                    } else {
                        ask!(self, L4, read_stable::passed_over(partition, offset, value));
                    }
                }
            }
        }
        Ok(())
    }

    /// No transaction is committed here and aborted there.
    fn fates(&mut self) -> Check {
        for (txn, known) in &self.facts.clients.transactions {
            let seen = known.read || known.passed.is_some();
            if seen && known.is_committed() == Some(true) {
                ask!(self, T1, atomic_visibility::part_missing(*txn, known.passed));
            }
        }
        Ok(())
    }
}

/// What readers stepped over or found missing, each offset once, ascending.
fn passed(seen: &Seen, committed: bool) -> Vec<(Offset, Offset)> {
    let mut merged: Vec<(Offset, Offset)> = Vec::new();
    for &(from, upto, _) in seen.skipped.iter().filter(|it| it.2 == committed) {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(upto),
            _ => merged.push((from, upto)),
        }
    }
    let known = Offset(seen.slots.len() as u64);
    merged.retain_mut(|range| {
        range.1 = range.1.min(known);
        range.0 < range.1
    });
    merged
}

fn unread(seen: &Seen) -> u64 {
    let passed = passed(seen, true);
    let slots = (0..).map(Offset).zip(&seen.slots);
    let unread = slots.filter(|(_, slot)| slot.was_acked() && !slot.was_read());
    let open = unread.filter(|(offset, _)| {
        let behind = passed.partition_point(|range| range.1 <= *offset);
        passed.get(behind).is_none_or(|range| range.0 > *offset)
    });
    open.count() as u64
}
