//! Groups: what their coordinators write and answer, and what clients were told of them.

use broker_core::ids::{LeaderEpoch, NodeId, Offset, TopicPartition};
use broker_core::probe::Probe;
use broker_core::protocol::TransactionResult;

use super::{Judge, ask};
use crate::Check;
use crate::facts::group_calls::{Commit, FetchOffsets, OpenGroupCall, Sync};
use crate::facts::groups::{Entry, Newer, Place, Stands};
use crate::history::{Answer, EventKind, HistoryEvent};
use crate::marks::Mark;
use crate::properties::{commit_latest, exactly_once, exclusive, generation_fence, offset_replay};

impl Judge {
    pub(super) fn group_probe(&mut self, node: NodeId, probe: &Probe) -> Check {
        match probe {
            Probe::CoordinatorLoaded { partition, epoch, end } => {
                self.group_log_loaded((*partition, *epoch), *end)
            }
            Probe::PartitionOffsets { partition, epoch, high_watermark, .. } => {
                let log = self.facts.groups.log(*partition);
                if log.is_some_and(|log| log.epoch == *epoch && log.upto < *high_watermark) {
                    return self.group_log_confirmed(*partition, *high_watermark);
                }
                Ok(())
            }
            Probe::OffsetsLoaded { coordinator, epoch, end, offsets } => {
                let log = self.facts.groups.log(*coordinator);
                let Some(log) = log.filter(|log| log.epoch == *epoch) else { return Ok(()) };
                self.marks.hit_if(!offsets.is_empty(), Mark::OffsetsInherited);
                let expected = log.confirmed.committed();
                if offsets.is_empty() && log.confirmed.committed().next().is_none() {
                    return Ok(());
                }
                ask!(self, G4, offset_replay::loaded(*coordinator, *end, offsets, expected));
                Ok(())
            }
            Probe::CommitTaken { coordinator, epoch, group, member, generation, partitions } => {
                self.facts.group_calls.taken(group, (member, *generation));
                let log = self.facts.groups.log(*coordinator);
                let Some(log) = log.filter(|log| *epoch >= log.epoch) else { return Ok(()) };
                let (who, partitions) = ((&**member, *generation), partitions.iter().copied());
                let newer = log.live.superseded(group, who, partitions);
                ask!(self, G2, generation_fence::taken(group, who, newer));
                self.gone_is_forgotten(node, *coordinator)
            }
            Probe::OffsetsFetched { coordinator, epoch, group, require_stable, offsets } => {
                let log = self.facts.groups.log(*coordinator);
                // Nobody is bound by what a leader says that was replaced; what its clients hear
                // is judged when they do.
                if log.is_some_and(|log| *epoch < log.epoch) {
                    return Ok(());
                }
                for (partition, answer) in offsets {
                    let stands = log.map(|log| log.live.stands(group, *partition));
                    let stands = stands.unwrap_or_default();
                    self.marks.hit_if(stands.open && *require_stable, Mark::UnstableRefused);
                    ask!(self, G1, {
                        let asked = (&**group, *partition, *require_stable);
                        commit_latest::fetched(asked, *answer, stands)
                    });
                }
                self.gone_is_forgotten(node, *coordinator)
            }
            _ => match entry(probe) {
                Some((log, at, entry)) => self.group_recorded(log, at, entry),
                None => Ok(()),
            },
        }
    }

    /// What the coordinator has of topics that it has seen deleted.
    fn gone_is_forgotten(&mut self, node: NodeId, coordinator: TopicPartition) -> Check {
        let gone = self.facts.nodes.get(node).map(|node| &node.topics_gone);
        let Some(gone) = gone.filter(|gone| !gone.is_empty()) else { return Ok(()) };
        let Some(log) = self.facts.groups.log(coordinator) else { return Ok(()) };
        self.marks.hit(Mark::TopicGone);
        ask!(self, G1, commit_latest::forgotten(coordinator, log.live.of_topics(gone)));
        Ok(())
    }

    fn group_recorded(
        &mut self,
        log: (TopicPartition, LeaderEpoch),
        at: Offset,
        entry: Entry,
    ) -> Check {
        let (since, groups) = (self.facts.pos, &self.facts.groups);
        let replaced = groups.log(log.0).is_some_and(|known| log.1 < known.epoch);
        if replaced {
            return Ok(());
        }
        if let Entry::Offset { group, partition, offset: Some(offset), producer } = &entry {
            let place = Place { log: log.0, at, since };
            let of = (*partition, *offset);
            self.facts.group_calls.recorded(group, of, *producer, place);
            self.marks.hit_if(producer.is_some(), Mark::OffsetsStaged);
        }
        if let Entry::Member { group, member, owns, reached: Some(_) } = &entry {
            let live = groups.log(log.0).map(|log| &log.live);
            let other = live.and_then(|live| live.owned_by_another(group, member, owns));
            ask!(self, G5, exclusive::owned(group, member, other));
        }
        self.facts.groups.recorded(log, at, entry);
        Ok(())
    }

    /// A leader has read the log to its end.
    fn group_log_loaded(&mut self, log: (TopicPartition, LeaderEpoch), end: Offset) -> Check {
        let pos = self.facts.pos;
        let Some(confirmed) = self.facts.groups.loaded(pos, log, end) else { return Ok(()) };
        if self.facts.groups.is_of_groups(log.0) {
            ask!(self, G4, offset_replay::read(log.0, end, confirmed));
        }
        self.group_log_confirmed(log.0, end)?;
        self.facts.groups.cut(log.0);
        Ok(())
    }

    /// The log is confirmed up to here: what is in force by that.
    fn group_log_confirmed(&mut self, log: TopicPartition, upto: Offset) -> Check {
        while let Some((entry, touched)) = self.facts.groups.confirm(log, upto) {
            for (group, partition, offset) in touched {
                let stands = self.facts.groups.confirmed(&group, partition);
                self.facts.group_calls.stands(&group, partition, stands);
                let Some(offset) = offset else {
                    self.facts.group_calls.forgotten(&group, partition);
                    if self.facts.ledger.topics_gone.contains(&partition.topic) {
                        self.facts.group_calls.deleted(&group, partition);
                    }
                    continue;
                };
                if let Entry::Decided { producer, commit } = entry {
                    let of = (&*group, partition, offset);
                    let txn = self.facts.group_calls.decided(producer, of, commit);
                    let Some(txn) = txn.filter(|_| commit) else { continue };
                    let known = self.facts.clients.transactions.get(&txn);
                    let may = known.is_none_or(|known| known.may_be_committed());
                    ask!(self, G3, exactly_once::asked_for(txn, &group, partition, may));
                }
            }
            if let Entry::Generation { group, generation, members } = &entry {
                self.facts.group_calls.generation(group, *generation, members);
            }
        }
        Ok(())
    }

    /// What a client asked of a group, or was told.
    pub(super) fn group_event(&mut self, event: &HistoryEvent) -> Check {
        let key = (event.client, event.call);
        if let EventKind::Invoke(call) = &event.kind {
            let groups = &self.facts.groups;
            self.facts.group_calls.begin(
                key,
                event.op,
                call,
                |group, at| groups.confirmed(group, at),
                |group, who, offsets| {
                    let log = groups.log_of(group)?;
                    let partitions = offsets.iter().map(|it| it.0);
                    log.confirmed.superseded(group, who, partitions)
                },
            );
            return Ok(());
        }
        let Some(open) = self.facts.group_calls.end(key) else { return Ok(()) };
        let done = match &event.kind {
            EventKind::Ok(_) => Some(true),
            EventKind::Fail(_) => Some(false),
            EventKind::Invoke(_) | EventKind::Unknown(_) | EventKind::GaveUp => None,
        };
        match (&open, &event.kind) {
            (OpenGroupCall::Commit(commit), _) => self.offsets_committed(commit, done),
            (OpenGroupCall::Fetch(fetch), EventKind::Ok(Answer::Offsets(offsets))) => {
                self.offsets_told(fetch, offsets)
            }
            (OpenGroupCall::Sync(sync), EventKind::Ok(Answer::Assigned(partitions))) => {
                self.part_told(sync, partitions)
            }
            _ => Ok(()),
        }
    }

    fn offsets_committed(&mut self, commit: &Commit, done: Option<bool>) -> Check {
        self.facts.group_calls.committed(commit, done);
        let told = done == Some(true);
        if let Some(newer) = commit.newer {
            self.marks.hit(Mark::SupersededCommit);
            ask!(self, G2, generation_fence::answered(commit, newer, told));
        }
        for part in &commit.parts {
            let mut places = part.places.iter();
            let holds = places.any(|place| self.facts.groups.holds(place));
            if told && !self.facts.alone {
                ask!(self, G1, commit_latest::committed(commit, part, holds));
            }
            if !commit.transactional && (told || holds) && !self.facts.alone {
                ask!(self, G3, exactly_once::began(&commit.group, part.partition, part.gap));
            }
        }
        Ok(())
    }

    fn offsets_told(
        &mut self,
        fetch: &FetchOffsets,
        offsets: &[(TopicPartition, Option<Offset>)],
    ) -> Check {
        for (partition, offset) in offsets {
            self.facts.group_calls.told(&fetch.group, *partition, *offset);
            let Some(stood) = fetch.stood.get(partition).filter(|_| !self.facts.alone) else {
                continue;
            };
            let may = |open| stood.contains(&Stands { committed: *offset, open });
            let known = may(false) || (!fetch.require_stable && may(true));
            ask!(self, G1, commit_latest::told(fetch, *partition, *offset, known));
        }
        Ok(())
    }

    fn part_told(&mut self, sync: &Sync, partitions: &[TopicPartition]) -> Check {
        // A static member is in the place of an old one, whose answer may come late.
        let log = self.facts.groups.log_of(&sync.group);
        let who = (sync.member.as_str(), sync.generation);
        let newer = log.and_then(|log| {
            log.confirmed.superseded(&sync.group, who, core::iter::empty::<TopicPartition>())
        });
        if newer == Some(Newer::Replaced) {
            return Ok(());
        }
        let other = self.facts.group_calls.assigned(sync, partitions);
        let shared = self.facts.group_calls.sharers(sync) > 1;
        self.marks.hit_if(shared, Mark::GenerationShared);
        if shared || other.is_some() {
            ask!(self, G5, exclusive::assigned(sync, other));
        }
        Ok(())
    }
}

/// What a probe says that a coordinator wrote: in which log and under which epoch, where, and what.
fn entry(probe: &Probe) -> Option<((TopicPartition, LeaderEpoch), Offset, Entry)> {
    Some(match probe {
        Probe::OffsetRecorded { coordinator, epoch, at, group, partition, offset, producer } => {
            let (group, partition, offset, producer) =
                (group.clone(), *partition, *offset, *producer);
            ((*coordinator, *epoch), *at, Entry::Offset { group, partition, offset, producer })
        }
        Probe::OffsetsDecided { coordinator, epoch, at, producer, result } => {
            let (producer, commit) = (*producer, *result == TransactionResult::Commit);
            ((*coordinator, *epoch), *at, Entry::Decided { producer, commit })
        }
        Probe::GenerationRecorded { coordinator, epoch, at, group, generation, members } => {
            let (group, generation, members) = (group.clone(), *generation, members.clone());
            ((*coordinator, *epoch), *at, Entry::Generation { group, generation, members })
        }
        Probe::MemberRecorded { coordinator, epoch, at, group, member, reached, owns } => {
            let (group, member, owns) = (group.clone(), member.clone(), owns.clone());
            let entry = Entry::Member { group, member, reached: *reached, owns };
            ((*coordinator, *epoch), *at, entry)
        }
        _ => return None,
    })
}
