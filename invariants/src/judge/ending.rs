//! The end of a run: what is owed, and the checks that need the whole of it.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Judge, ask};
use crate::bytes::{Named, named, trim_of};
use crate::facts::Facts;
use crate::history::SimTime;
use crate::marks::Mark;
use crate::properties::{
    backlog_drains, clients_progress, decisions_complete, failover_done, groups_stable,
    image_equiv, orphan_bound, query_progress, range_contig, stable_reaches_end,
};
use crate::table::Code;
use crate::view::View;
use crate::{Check, Violation};

impl Judge {
    /// The safety phase is over. This is when most is confirmed and not yet uploaded: the WALs must
    /// hold all of it.
    pub(super) fn healed(&mut self, at: SimTime, view: &dyn View) -> Check {
        self.facts.healed = Some(at);
        let work = !failover_done::owed(&self.facts, view).is_empty();
        self.marks.hit_if(work, Mark::HealedWithWork);
        self.settle_committed();
        self.read_tails(view).map(drop)
    }

    /// The run is over: judges what is owed, and reads back the final log.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn finish(&mut self, at: SimTime, view: &dyn View) -> Result<(), Violation> {
        self.facts.at = at;
        self.settle_committed();
        let outcome = self.finished(view);
        self.marks.publish();
        outcome
    }

    fn finished(&mut self, view: &dyn View) -> Check {
        // Safety first: what is stuck may be stuck because of it.
        ask!(self, O1, range_contig::tiled(&self.facts.ledger));
        self.read_back(view)?;
        self.images(view)?;
        if self.facts.healed.is_none() {
            return Ok(());
        }
        let wals = &self.facts.wals.wals;
        let mut objects = wals.values().flat_map(|wal| wal.objects.values());
        let trimmed = objects.any(|object| object.second_sent);
        let asked = !self.facts.clients.answered.is_empty();
        let owing = [
            (Code::LV2, true),
            (Code::LV3, !self.facts.clients.transactions.is_empty()),
            (Code::LV4, !self.facts.coordinators.is_empty()),
            (Code::LV5, asked || !self.facts.clients.given_up.is_empty()),
            (Code::LV6, !view.memberships().is_empty()),
            (Code::LV7, !self.facts.ledger.partitions.is_empty()),
            (Code::LV8, wals.values().any(|wal| !wal.confirmed.is_empty())),
            (Code::O6, trimmed),
            (Code::S6, self.facts.handoffs.terms.is_some()),
        ];
        for (code, _) in owing.into_iter().filter(|(code, owes)| *owes && self.set.has(*code)) {
            self.marks.evaluated(code);
        }
        let confirmed = self.facts.wals.wals.values().any(|wal| !wal.confirmed.is_empty());
        let backlog = backlog_drains::owed(&self.facts, view);
        self.marks.hit_if(groups_stable::is_shared(view), Mark::GroupShared);
        self.marks.hit_if(confirmed && backlog.is_empty(), Mark::BacklogDrained);
        match self.owed(view).next() {
            Some((Code::O6, line)) => orphan_bound::left(line),
            Some((code, line)) => Err(Violation::of(code, "system", stuck(line, view))),
            None => Ok(()),
        }
    }

    /// What is owed in the liveness phase, by property, the most telling first. Found one after the
    /// other: whether anything is owed is asked at every tick.
    pub(super) fn owed<'a>(
        &'a self,
        view: &'a dyn View,
    ) -> impl Iterator<Item = (Code, String)> + 'a {
        let judged =
            move |(code, _): &(Code, _)| self.facts.healed.is_some() && self.set.has(*code);
        let lines = move |(code, owed): (Code, Owed)| {
            owed(self, view).into_iter().map(move |line| (code, line))
        };
        OWED.into_iter().filter(judged).flat_map(lines)
    }

    /// Moves each WAL's mark of what is committed, so that nothing is asked twice.
    pub(super) fn settle_committed(&mut self) {
        let ledger = &self.facts.ledger;
        for wal in self.facts.wals.wals.values_mut() {
            while let Some(record) = wal.confirmed.get(wal.committed_below) {
                let done = record.is_none_or(|record| {
                    ledger.covers(record.stream, record.epoch, record.base, record.end)
                });
                if !done {
                    break;
                }
                wal.committed_below += 1;
            }
        }
    }

    fn images(&mut self, view: &dyn View) -> Check {
        let nodes = view.controllers().iter().chain(view.brokers());
        let images: Vec<_> = nodes.filter_map(|node| Some((*node, view.image(*node)?))).collect();
        for (nth, (node, image)) in images.iter().enumerate() {
            if image.end == self.facts.ledger.end {
                ask!(self, M1, image_equiv::by_the_log(*node, image, &self.facts.ledger));
            }
            let other = images[..nth].iter().find(|(_, other)| other.end == image.end);
            if let Some((first, other)) = other {
                self.marks.hit(Mark::ImagesCompared);
                ask!(self, M1, image_equiv::images((*first, other), (*node, image)));
            }
        }
        Ok(())
    }
}

/// What a property finds owed, one line each.
type Owed = fn(&Judge, &dyn View) -> Vec<String>;

/// The most telling first.
const OWED: [(Code, Owed); 10] = [
    (Code::LV2, |judge, view| judge.quorum_leads.owed(&judge.facts, view)),
    (Code::LV7, |judge, view| failover_done::owed(&judge.facts, view)),
    (Code::LV8, |judge, view| backlog_drains::owed(&judge.facts, view)),
    (Code::LV4, |judge, _| decisions_complete::owed(&judge.facts)),
    (Code::LV3, |judge, _| stable_reaches_end::owed(&judge.facts)),
    (Code::LV1, |judge, view| judge.readers.owed(&judge.facts, view)),
    (Code::LV6, |judge, view| groups_stable::owed(&judge.facts, view)),
    (Code::LV5, |judge, view| clients_progress::owed(&judge.facts, view)),
    (Code::S6, |judge, _| query_progress::owed(&judge.facts)),
    (Code::O6, |judge, view| orphans(&judge.facts, view)),
];

/// WAL objects that should be gone.
fn orphans(facts: &Facts, view: &dyn View) -> Vec<String> {
    let mut owed = Vec::new();
    for (id, wal) in &facts.wals.wals {
        if !view.in_core(id.0) || !failover_done::serves(*id, facts, view) {
            continue;
        }
        let prefix = alloc::format!("wal/{}/{:020}/", id.0, id.1.0);
        let keys = view.keys(&prefix);
        let trim = keys.last().and_then(|key| view.object(key)).and_then(|body| trim_of(&body));
        let Some(trim) = trim else { continue };
        for key in &keys {
            let Some(Named::Wal { start, end, .. }) = named(key) else { continue };
            let object = wal.objects.get(&(start, end)).copied().unwrap_or_default();
            owed.extend(orphan_bound::owed(*id, (start, end), trim, &object));
        }
    }
    owed
}

fn stuck(line: String, view: &dyn View) -> String {
    let blocked = view.blocked();
    if blocked.is_empty() { line } else { alloc::format!("{line}; waits: {}", blocked.join("; ")) }
}
