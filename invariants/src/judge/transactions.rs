//! Transactions: what readers of committed data saw, online, and how each ended, by the final logs.

use alloc::collections::BTreeMap;

use broker_core::ids::Offset;
use broker_core::protocol::ErrorCode;

use super::final_log::FinalLog;
use super::{Judge, ask};
use crate::Check;
use crate::facts::clients::{Open, OpenCall};
use crate::facts::folded::{Class, Folded};
use crate::facts::producers::{Cause, Key, Refused};
use crate::facts::transaction::{Part, Transaction};
use crate::marks::Mark;
use crate::properties::outcome_truth::Asked;
use crate::properties::{
    atomic_visibility, coordinator_epoch, last_stable, marker_once, no_aborted_read, outcome_truth,
    refused_for_cause, txn_scope, zombie_fence,
};

/// What a call was refused with, if it was, and whether it was definitely not done.
pub(super) type Refusal = (Option<ErrorCode>, bool);

impl Judge {
    /// A call ended with a refusal, or after one: whether it is one that needs a cause, and has it.
    pub(super) fn told(&mut self, key: Key, open: &Open, (code, failed): Refusal) -> Check {
        let clients = &mut self.facts.clients;
        let (place, expected) = match open.what {
            OpenCall::InitProducerId { id: Some(place), expected, .. } => {
                match failed {
                    true => clients.transactional.refused(place, key, expected, self.facts.pos),
                    false => clients.transactional.lost(place, key, expected),
                }
                (Some(place), expected)
            }
            OpenCall::Produce { first_value } if code.is_some() => {
                let txn = clients.sends.get_mut(&first_value).and_then(|send| send.txn);
                (txn.and_then(|txn| clients.transactions.get(&txn)?.id), None)
            }
            OpenCall::Add { txn, .. } | OpenCall::EndTxn { txn, .. } => {
                (clients.transactions.get(&txn).and_then(|known| known.id), None)
            }
            _ => (None, None),
        };
        let Some((place, code)) = place.zip(code.filter(|code| refused_for_cause::is_final(*code)))
        else {
            return Ok(());
        };
        if refused_for_cause::says_it_is_not_open(code) && self.may_be_not_open(&open.what) {
            return Ok(());
        }
        let clients = &mut self.facts.clients;
        let client = key.0;
        let (since, now) = (open.since, self.facts.pos);
        let refused = Refused { client, place, since, now, expected };
        let now = self.facts.alone.then_some(self.facts.at);
        let Ok(cause) = clients.transactional.cause(refused, now) else { return Ok(()) };
        self.marks.hit_if(cause == Some(Cause::Replaced), Mark::RefusedReplaced);
        self.marks.hit_if(cause == Some(Cause::TimedOut), Mark::RefusedTimedOut);
        let id = clients.transactional.name(place);
        ask!(self, T10, refused_for_cause::told(client, id, code, cause));
        Ok(())
    }

    /// A call ended, with an answer or without one: whether it may begin a transaction yet.
    pub(super) fn called(&mut self, key: Key, open: &Open, answered: bool) {
        let clients = &mut self.facts.clients;
        let txn = match open.what {
            OpenCall::Produce { first_value } => {
                clients.sends.get_mut(&first_value).and_then(|send| send.txn)
            }
            OpenCall::Add { txn, .. } => Some(txn),
            _ => None,
        };
        if let Some(place) = txn.and_then(|txn| clients.transactions.get(&txn)?.id) {
            clients.transactional.called(place, key, answered);
        }
    }

    /// Whether the call's transaction may be none by what its own producer did: it asked for its
    /// end, so that what was under way meets none; or, of a history, it has not heard that anything
    /// is a part of it. In runs clients add first, and end nothing else.
    fn may_be_not_open(&mut self, what: &OpenCall) -> bool {
        let clients = &mut self.facts.clients;
        let transactions = &clients.transactions;
        let over = |txn| transactions.get(&txn).is_some_and(Transaction::may_be_over);
        let alone = self.facts.alone;
        match what {
            OpenCall::Produce { first_value } => {
                let Some(send) = clients.sends.get_mut(first_value) else { return false };
                let part = Part::Partition(clients.seen[send.partition as usize].partition);
                let is_part = |txn| clients.parts.has(txn, &part);
                send.txn.is_some_and(|txn| over(txn) || alone && !is_part(txn))
            }
            OpenCall::Add { txn, part, writes } => {
                over(*txn) || alone && *writes && !clients.parts.has(*txn, part)
            }
            OpenCall::EndTxn { txn, .. } => alone && !clients.parts.any(*txn),
            OpenCall::Fetch { .. }
            | OpenCall::List { .. }
            | OpenCall::EpochEnd { .. }
            | OpenCall::InitProducerId { .. }
            | OpenCall::Group
            | OpenCall::Admin { .. } => false,
        }
    }

    /// A reader of committed data was given the record with this value.
    pub(super) fn read_committed(
        &mut self,
        here: u32,
        (offset, value): (Offset, Option<u64>),
        last_stable: Option<Offset>,
    ) -> Check {
        let partition = self.facts.clients.seen[here as usize].partition;
        if let Some(last_stable) = last_stable {
            ask!(self, T3, last_stable::read(partition, offset, last_stable));
        }
        let clients = &mut self.facts.clients;
        let Some(txn) = clients.transaction_of(value, here) else { return Ok(()) };
        let known = clients.transactions.entry(txn).or_default();
        known.read = true;
        let (asked, zombie) = (known.may_be_committed(), known.zombie.is_some());
        ask!(self, T2, no_aborted_read::read(partition, offset, txn, asked));
        if zombie {
            self.zombie_asked(txn, true)?;
        }
        self.marks.hit(Mark::CommittedRead);
        Ok(())
    }

    /// Whether a commit was done that a producer asked for in whose place another was put, by what
    /// clients saw; in runs the final log tells.
    pub(super) fn zombie_asked(&mut self, txn: u32, committed: bool) -> Check {
        let known = self.facts.clients.transactions.get(&txn);
        let zombie = known.and_then(|known| known.zombie).filter(|_| self.facts.alone);
        let Some((own, newer)) = zombie.filter(|it| zombie_fence::replaces(it.1, it.0)) else {
            return Ok(());
        };
        self.marks.hit(Mark::ZombieCommits);
        ask!(self, T6, zombie_fence::committed(txn, own, newer, committed));
        Ok(())
    }

    /// A lookup by time told a reader of committed data of the record at this offset.
    pub(super) fn looked_up_committed(&mut self, place: u32, offset: Offset) -> Check {
        let partition = self.facts.clients.seen[place as usize].partition;
        let terms = self.facts.served.terms(partition).iter();
        let Some(stable) = terms.map(|term| term.last_stable).max() else { return Ok(()) };
        ask!(self, T3, last_stable::looked_up(partition, offset, stable));
        Ok(())
    }

    /// Judges every partition's transactions, and those that span several.
    pub(super) fn transactions(&mut self, logs: &BTreeMap<u32, FinalLog>) -> Check {
        let mut decided = BTreeMap::new();
        let pending = !self.facts.coordinators.decided().is_empty();
        for (place, log) in logs.iter().filter(|(_, log)| log.is_whole()) {
            let folded = &log.folded;
            let partition = self.facts.clients.seen[*place as usize].partition;
            if folded.markers > 1 {
                ask!(self, T9, coordinator_epoch::markers(partition, folded.deposed.first()));
            }
            self.marks.hit_if(folded.idle_markers > 0, Mark::MarkerIdle);
            if !self.is_coordinators(*place) {
                self.groups(*place, log, pending, &mut decided)?;
            }
            self.stable_offsets(*place, folded)?;
            self.committed_reads(*place, folded)?;
        }
        self.offset_chains(logs, &decided, pending)
    }

    fn groups(
        &mut self,
        here: u32,
        log: &FinalLog,
        pending: bool,
        decided: &mut BTreeMap<u32, bool>,
    ) -> Check {
        let partition = self.facts.clients.seen[here as usize].partition;
        let mut begun: BTreeMap<u32, Offset> = BTreeMap::new();
        for group in &log.folded.groups {
            let mut first: Option<u32> = None;
            for (base, _) in &group.batches {
                let txn = self.facts.clients.transaction_of(log.value(*base), here);
                let Some(txn) = txn else { continue };
                if let Some(first) = first {
                    ask!(self, T8, txn_scope::one(partition, group.first, (first, txn)));
                }
                first.get_or_insert(txn);
            }
            let Some(txn) = first else { continue };
            let before = begun.insert(txn, group.first);
            ask!(self, T7, marker_once::begins(partition, txn, group.first, before));
            let known = self.facts.clients.transactions.get(&txn).copied().unwrap_or_default();
            let (commit, outcome) = (known.commit, known.outcome);
            let end = group.end.map(|(commit, _)| commit);
            let asked = Asked { txn, commit, outcome, pending };
            ask!(self, T5, outcome_truth::ended(partition, group.first, asked, end));
            if let Some((identity, fence)) = known.zombie {
                self.marks.hit(Mark::ZombieCommits);
                let committed = end == Some(true);
                ask!(self, T6, zombie_fence::committed(txn, identity, fence, committed));
            }
            if let Some(end) = end {
                let before = *decided.entry(txn).or_insert(end);
                ask!(self, T1, atomic_visibility::decided(partition, txn, end, before));
            }
        }
        Ok(())
    }

    /// What leaders and answers showed as the last stable offset.
    fn stable_offsets(&mut self, place: u32, folded: &Folded) -> Check {
        let seen = &self.facts.clients.seen[place as usize];
        let partition = seen.partition;
        let told = self.facts.served.stable.get(&partition).into_iter().flatten();
        for (&high_watermark, &stable) in told.chain(&seen.stable) {
            let expected = folded.stable_at(high_watermark);
            let held_back = expected.is_some_and(|expected| expected < high_watermark);
            self.marks.hit_if(held_back, Mark::StableHeldBack);
            ask!(self, T3, last_stable::shown(partition, high_watermark, stable, expected));
        }
        for &(end, floor) in &seen.stable_listed {
            let stable = folded.is_stable_from(floor, end);
            ask!(self, T3, last_stable::listed(partition, end, floor, stable));
        }
        Ok(())
    }

    fn committed_reads(&mut self, place: u32, folded: &Folded) -> Check {
        let seen = &self.facts.clients.seen[place as usize];
        let partition = seen.partition;
        for (offset, slot) in (0..).map(Offset).zip(&seen.slots) {
            if slot.was_read_committed()
                && let Some(group) = folded.group_at(offset)
            {
                let committed = matches!(group.end, Some((true, _)));
                ask!(self, T2, no_aborted_read::kept(partition, offset, committed));
            }
        }
        for &(from, upto, committed) in &seen.skipped {
            for (base, class) in folded.classes(from, upto) {
                let rightly = match class {
                    Class::Control => true,
                    Class::Plain => false,
                    Class::InGroup(group) => {
                        self.marks.hit(Mark::AbortedSkipped);
                        committed && matches!(folded.groups[group].end, Some((false, _)))
                    }
                };
                ask!(self, T1, atomic_visibility::stepped_over(partition, base, rightly));
            }
        }
        Ok(())
    }
}
