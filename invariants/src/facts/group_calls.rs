//! What clients asked of groups: which calls are open, what may be answered to them, and which
//! stretches of their inputs they committed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use broker_core::ids::{Offset, ProducerId, TopicPartition};
use broker_core::protocol::Generation;

use super::groups::{Newer, Place, Stands};
use crate::history::Call;

/// A call that has not ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum OpenGroupCall {
    Commit(Commit),
    Fetch(FetchOffsets),
    Sync(Sync),
}

/// Offsets are to be committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Commit {
    pub(crate) group: Arc<str>,
    pub(crate) member: String,
    pub(crate) generation: Generation,
    pub(crate) transactional: bool,
    /// When it began, there was this that makes it too late.
    pub(crate) newer: Option<Newer>,
    pub(crate) parts: Vec<Part>,
    /// The first of its [ranges](GroupCalls::ranges), if it is transactional; they follow it.
    ranges: usize,
}

/// One partition of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Part {
    pub(crate) partition: TopicPartition,
    pub(crate) upto: Offset,
    /// Records that say this and got their places since the call began.
    pub(crate) places: Vec<Place>,
    /// What this client read without a gap began here, and nobody had come so far.
    pub(crate) gap: Option<(Offset, Offset)>,
}

/// Committed offsets are to be read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FetchOffsets {
    pub(crate) group: Arc<str>,
    pub(crate) require_stable: bool,
    /// How each partition stood at some time since the call began.
    pub(crate) stood: BTreeMap<TopicPartition, BTreeSet<Stands>>,
}

/// A part of a generation is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sync {
    pub(crate) group: Arc<str>,
    pub(crate) member: String,
    pub(crate) generation: Generation,
    /// How often generations of the group had been forgotten when it began.
    renewed: u32,
}

/// A stretch of a partition whose reading is to be committed within a transaction.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Range {
    pub(crate) group: Arc<str>,
    pub(crate) partition: TopicPartition,
    pub(crate) from: Offset,
    pub(crate) upto: Offset,
    pub(crate) txn: u32,
    /// The client heard that it is part of the transaction.
    pub(crate) told: bool,
    /// It is definitely not.
    pub(crate) refused: bool,
    /// How the transaction that holds it ended, by the coordinator's log.
    pub(crate) committed: Option<bool>,
}

/// How far clients came in a partition of a group.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Reach {
    /// The largest offset that anybody tried to commit.
    asked: Option<Offset>,
    /// The largest one that was ever in force, as far as the coordinator's log is known.
    effective: Option<Offset>,
    /// Where what a client and member read without a gap began, and how far it is.
    runs: BTreeMap<(u16, String), (Offset, Offset)>,
    /// Not only transactions commit it, or what was committed was forgotten.
    loose: bool,
}

/// A partition, from where it was read, and where to read on.
type ToCommit = (TopicPartition, Offset, Offset);

/// Who has which partition in a generation.
type Owners = BTreeMap<TopicPartition, String>;

/// What clients asked of groups.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct GroupCalls {
    /// There is nothing but what clients saw.
    pub(crate) alone: bool,
    open: BTreeMap<(u16, u32), OpenGroupCall>,
    names: BTreeSet<Arc<str>>,
    /// Of transactions, in the order in which they were asked for.
    pub(crate) ranges: Vec<Range>,
    of_txn: BTreeMap<u32, Vec<usize>>,
    /// The transactions whose end each producer asked for, in that order.
    ends: BTreeMap<ProducerId, Vec<u32>>,
    reach: BTreeMap<Arc<str>, BTreeMap<TopicPartition, Reach>>,
    owners: BTreeMap<Arc<str>, BTreeMap<Generation, Owners>>,
    renewed: BTreeMap<Arc<str>, u32>,
}

impl GroupCalls {
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    /// A call begins. `stands` and `newer` say how its partitions stand and whether it is too late.
    pub(crate) fn begin(
        &mut self,
        key: (u16, u32),
        op: u32,
        call: &Call,
        stands: impl Fn(&str, TopicPartition) -> Stands,
        newer: impl Fn(&str, (&str, Generation), &[ToCommit]) -> Option<Newer>,
    ) {
        let opened = match call {
            Call::CommitOffsets { group, member, generation, offsets, transactional } => {
                let who = (key.0, member.as_str());
                let newer = newer(group, (member, *generation), offsets);
                let group = self.name(group);
                let ranges = self.ranges.len();
                let parts = offsets.iter().map(|&(partition, from, upto)| {
                    let gap = self.reaches(&group, who, (partition, from, upto), *transactional);
                    if *transactional {
                        let group = group.clone();
                        self.stretch(Range {
                            group,
                            partition,
                            from,
                            upto,
                            txn: op,
                            told: false,
                            refused: false,
                            committed: None,
                        });
                    }
                    Part { partition, upto, places: Vec::new(), gap }
                });
                let parts = parts.collect();
                let (member, generation) = (member.clone(), *generation);
                let transactional = *transactional;
                let commit =
                    Commit { group, member, generation, transactional, newer, parts, ranges };
                OpenGroupCall::Commit(commit)
            }
            Call::FetchOffsets { group, partitions, require_stable } => {
                let stood = |at: &TopicPartition| (*at, BTreeSet::from([stands(group, *at)]));
                let stood = partitions.iter().map(stood).collect();
                let (group, require_stable) = (self.name(group), *require_stable);
                OpenGroupCall::Fetch(FetchOffsets { group, require_stable, stood })
            }
            Call::SyncGroup { group, member, generation } => {
                let (group, member) = (self.name(group), member.clone());
                let renewed = self.renewed.get(&group).copied().unwrap_or_default();
                OpenGroupCall::Sync(Sync { group, member, generation: *generation, renewed })
            }
            Call::EndTxn { producer: Some((producer, _)), .. } => {
                let ends = self.ends.entry(*producer).or_default();
                if ends.last() != Some(&op) {
                    ends.push(op);
                }
                return;
            }
            _ => return,
        };
        self.open.insert(key, opened);
    }

    fn stretch(&mut self, range: Range) {
        self.of_txn.entry(range.txn).or_default().push(self.ranges.len());
        self.ranges.push(range);
    }

    /// A client commits what it read. Where its reading began, and up to where anybody had come, if
    /// there is something between them. What a client read before and could not commit it commits
    /// with what it reads behind it; a transaction that is aborted takes that with it. Nobody can
    /// know of more than was in force; where the log is not known, of more than was asked for.
    fn reaches(
        &mut self,
        group: &Arc<str>,
        (client, member): (u16, &str),
        (partition, from, upto): ToCommit,
        transactional: bool,
    ) -> Option<(Offset, Offset)> {
        let reach = self.reach.entry(group.clone()).or_default().entry(partition).or_default();
        reach.loose |= !transactional;
        let run = reach.runs.entry((client, member.into())).or_insert((from, from));
        if run.1 != from {
            run.0 = from;
        }
        run.1 = upto;
        let began = run.0;
        let asked = *reach.asked.get_or_insert(began);
        reach.asked = Some(asked.max(upto));
        let covered = if self.alone { asked } else { reach.effective? };
        (began > covered && !transactional).then_some((began, covered))
    }

    pub(crate) fn end(&mut self, key: (u16, u32)) -> Option<OpenGroupCall> {
        self.open.remove(&key)
    }

    /// What became of a commit; `None`: nobody knows.
    pub(crate) fn committed(&mut self, commit: &Commit, done: Option<bool>) {
        if commit.transactional {
            for range in &mut self.ranges[commit.ranges..][..commit.parts.len()] {
                range.told = done == Some(true);
                range.refused = done == Some(false);
            }
        }
    }

    /// A record of an offset got its place: it may be that of an open commit.
    pub(crate) fn recorded(
        &mut self,
        group: &str,
        (partition, offset): (TopicPartition, Offset),
        transactional: bool,
        place: Place,
    ) {
        for open in self.open.values_mut() {
            let OpenGroupCall::Commit(commit) = open else { continue };
            if &*commit.group == group && commit.transactional == transactional {
                let of = |part: &&mut Part| (part.partition, part.upto) == (partition, offset);
                for part in commit.parts.iter_mut().filter(of) {
                    part.places.push(place);
                }
            }
        }
    }

    /// A partition of a group stands so from now on.
    pub(crate) fn stands(&mut self, group: &Arc<str>, partition: TopicPartition, stands: Stands) {
        let reach = self.reach.entry(group.clone()).or_default().entry(partition).or_default();
        reach.effective = reach.effective.max(stands.committed);
        for open in self.open.values_mut() {
            if let OpenGroupCall::Fetch(fetch) = open
                && fetch.group == *group
                && let Some(stood) = fetch.stood.get_mut(&partition)
            {
                stood.insert(stands);
            }
        }
    }

    /// What was committed of a partition is forgotten.
    pub(crate) fn forgotten(&mut self, group: &Arc<str>, partition: TopicPartition) {
        let reach = self.reach.entry(group.clone()).or_default().entry(partition).or_default();
        (reach.loose, reach.effective) = (true, None);
    }

    /// Not only transactions committed it, or it was forgotten.
    pub(crate) fn is_loose(&self, group: &str, partition: TopicPartition) -> bool {
        let reach = self.reach.get(group).and_then(|of| of.get(&partition));
        reach.is_none_or(|reach| reach.loose)
    }

    /// The transaction of this producer that held the offset is over. Which it was, if that is new
    /// and can be told: the newest one with offsets whose end was asked for. It held what it had
    /// read before, too.
    pub(crate) fn decided(
        &mut self,
        producer: ProducerId,
        (group, partition, offset): (&str, TopicPartition, Offset),
        committed: bool,
    ) -> Option<u32> {
        let of_txn = &self.of_txn;
        let txns = self.ends.get(&producer)?.iter().rev();
        let (txn, places) = txns.filter_map(|txn| Some((*txn, of_txn.get(txn)?))).next()?;
        let of = |range: &Range| &*range.group == group && range.partition == partition;
        let here = |place: &usize| of(&self.ranges[*place]) && self.ranges[*place].upto == offset;
        let last = places.iter().rposition(here)?;
        // A request that came late may have left one record more.
        let new = self.ranges[places[last]].committed.is_none();
        let mut from = self.ranges[places[last]].from;
        for place in places[..=last].iter().rev() {
            let range = &mut self.ranges[*place];
            if !of(range) || range.refused {
                continue;
            }
            // What was asked for again counts once.
            if *place != places[last] && range.upto > from {
                (range.told, range.refused) = (false, true);
                continue;
            }
            range.committed.get_or_insert(committed);
            from = range.from;
        }
        Some(txn).filter(|_| new)
    }

    /// What the call asked for is this member's. Who else has some of it?
    pub(crate) fn assigned(
        &mut self,
        sync: &Sync,
        partitions: &[TopicPartition],
    ) -> Option<(TopicPartition, String)> {
        let renewed = self.renewed.get(&sync.group).copied().unwrap_or_default();
        if sync.renewed != renewed {
            return None;
        }
        let owners = self.owners.entry(sync.group.clone()).or_default();
        let owners = owners.entry(sync.generation).or_default();
        for at in partitions {
            let owner = owners.entry(*at).or_insert_with(|| sync.member.clone());
            if *owner != sync.member {
                return Some((*at, owner.clone()));
            }
        }
        None
    }

    /// How many members of the generation are known to have a part of it.
    pub(crate) fn sharers(&self, sync: &Sync) -> usize {
        let owners = self.owners.get(&sync.group).and_then(|of| of.get(&sync.generation));
        owners.into_iter().flat_map(BTreeMap::values).collect::<BTreeSet<_>>().len()
    }

    /// The log has this generation of a classic group, with these members; none: the group is gone,
    /// and whoever makes it anew counts from the start.
    pub(crate) fn generation(
        &mut self,
        group: &Arc<str>,
        generation: Option<Generation>,
        members: &[Arc<str>],
    ) {
        match generation {
            None => {
                self.owners.remove(group);
                *self.renewed.entry(group.clone()).or_default() += 1;
            }
            // A static member that comes back under a new id has what the old one had.
            Some(generation) => {
                let owners = self.owners.get_mut(group).and_then(|of| of.get_mut(&generation));
                let stays = |owner: &String| members.iter().any(|id| **id == **owner);
                if let Some(owners) = owners {
                    owners.retain(|_, owner| stays(owner));
                }
            }
        }
    }
}
