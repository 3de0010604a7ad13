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
    /// Whose, if it is transactional and that is told.
    producer: Option<ProducerId>,
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
    /// Its place among the [tries](Reach::tries) of the partition.
    nth: usize,
}

/// A record that got its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Fresh {
    group: Arc<str>,
    partition: TopicPartition,
    offset: Offset,
    producer: Option<ProducerId>,
    place: Place,
}

/// A commit that was asked for, of one partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Try {
    read: (Offset, Offset),
    /// The one before of the same client and member, of whatever fate.
    before: Option<u32>,
    /// Of one within a transaction.
    range: Option<usize>,
    /// What became of it; `None`: nobody knows.
    done: Option<bool>,
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
    /// Its topic was deleted, and its offset with that, before the transaction ended.
    pub(crate) deleted: bool,
}

/// What a history does not tell of groups, and is not judged for that.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Untold {
    /// Partitions of which is not told where the group began.
    pub(crate) starts: u64,
    /// Stretches read in transactions, of which nobody knows whether they were committed, or whose
    /// partition is committed without transactions, too.
    pub(crate) stretches: u64,
}

/// Commits of a partition that are part of no transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plain {
    pub(crate) group: Arc<str>,
    pub(crate) partition: TopicPartition,
    /// Where the group began is told; else it is where the first of them began.
    pub(crate) told: bool,
    /// Of each commit that was done, of whatever kind, if something could be left out before it:
    /// where its client's reading began, and how far anybody may have come before it was asked for.
    pub(crate) done: Vec<(Offset, Offset)>,
}

/// What a client and member read of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Run {
    /// What of it is without a gap.
    read: (Offset, Offset),
    /// Its newest one among the [tries](Reach::tries).
    last: Option<u32>,
}

/// How far clients came in a partition of a group.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Reach {
    /// Where the group was before any commit was asked for, if a client was told that.
    start: Option<Offset>,
    /// The commits, in the order in which they were asked for, where nothing tells what was ever in
    /// force but what clients saw.
    tries: Vec<Try>,
    /// The largest one that was ever in force, as far as the coordinator's log is known.
    effective: Option<Offset>,
    /// What each client and member read.
    runs: BTreeMap<(u16, String), Run>,
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
    /// Records of which the coordinator has not said yet whose commit they are.
    fresh: Vec<Fresh>,
    names: BTreeSet<Arc<str>>,
    /// Of transactions, in the order in which they were asked for.
    pub(crate) ranges: Vec<Range>,
    of_txn: BTreeMap<u32, Vec<usize>>,
    /// The transactions whose end each producer asked for, in that order.
    ends: BTreeMap<ProducerId, Vec<u32>>,
    reach: BTreeMap<Arc<str>, BTreeMap<TopicPartition, Reach>>,
    pub(crate) untold: Untold,
    owners: BTreeMap<Arc<str>, BTreeMap<Generation, Owners>>,
    renewed: BTreeMap<Arc<str>, u32>,
}

impl Reach {
    /// As [`Plain::done`]. An aborted transaction takes with it what it read, so that its client
    /// is where it was before.
    fn done(&self, fate: impl Fn(&Try) -> (Option<bool>, bool)) -> Vec<(Offset, Offset)> {
        let Some(first) = self.tries.first() else { return Vec::new() };
        let (mut covered, mut done) = (self.start.unwrap_or(first.read.0), Vec::new());
        let mut runs: Vec<Option<(Offset, Offset)>> = Vec::new();
        for (nth, tried) in self.tries.iter().enumerate() {
            let (outcome, aborted) = fate(tried);
            let before = tried.before.and_then(|before| runs[before as usize]);
            let run = joined(before, tried.read);
            // A single one must begin somewhere.
            if outcome == Some(true) && (nth > 0 || self.start.is_some()) {
                done.push((run.0, covered));
            }
            if outcome != Some(false) {
                covered = covered.max(tried.read.1);
            }
            runs.push(if aborted { before } else { Some(run) });
        }
        done
    }
}

/// What is read without a gap, with what is read next: that may be a part of it once more.
fn joined(run: Option<(Offset, Offset)>, (from, upto): (Offset, Offset)) -> (Offset, Offset) {
    match run {
        Some((began, at)) if from <= at && began <= upto => (began.min(from), at.max(upto)),
        Some(_) | None => (from, upto),
    }
}

impl GroupCalls {
    /// The numbers of evidence.
    pub(crate) fn positions(&mut self, with: &mut dyn FnMut(&mut u64)) {
        self.fresh.iter_mut().for_each(|fresh| with(&mut fresh.place.since));
        for call in self.open.values_mut() {
            if let OpenGroupCall::Commit(commit) = call {
                let places = commit.parts.iter_mut().flat_map(|part| &mut part.places);
                places.for_each(|place| with(&mut place.since));
            }
        }
    }

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
            Call::CommitOffsets {
                group,
                member,
                generation,
                offsets,
                transactional,
                producer,
                id: _,
            } => {
                let who = (key.0, member.as_str());
                let newer = newer(group, (member, *generation), offsets);
                let group = self.name(group);
                let ranges = self.ranges.len();
                let parts = offsets.iter().map(|&(partition, from, upto)| {
                    let read = (partition, from, upto);
                    let (nth, gap) = self.reaches(&group, who, read, *transactional);
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
                            deleted: false,
                        });
                    }
                    Part { partition, upto, places: Vec::new(), gap, nth }
                });
                let parts = parts.collect();
                let (member, generation) = (member.clone(), *generation);
                let producer = producer.map(|(producer, _)| producer);
                OpenGroupCall::Commit(Commit {
                    group,
                    member,
                    generation,
                    transactional: *transactional,
                    producer,
                    newer,
                    parts,
                    ranges,
                })
            }
            Call::FetchOffsets { group, partitions, require_stable } => {
                let stood = |at: &TopicPartition| (*at, BTreeSet::from([stands(group, *at)]));
                let stood = partitions.iter().map(stood).collect();
                let (group, require_stable) = (self.name(group), *require_stable);
                OpenGroupCall::Fetch(FetchOffsets { group, require_stable, stood })
            }
            Call::SyncGroup { group, member, generation, instance: _ } => {
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

    /// A client commits what it read. Its place among the tries; and where its reading began, and
    /// up to where anybody had come, if there is something between them. What a client read before
    /// and could not commit it commits with what it reads behind it; a transaction that is aborted
    /// takes that with it. Nobody can know of more than was in force; what that was, where the log
    /// is not known, is said at the [end](Self::left_out).
    fn reaches(
        &mut self,
        group: &Arc<str>,
        (client, member): (u16, &str),
        (partition, from, upto): ToCommit,
        transactional: bool,
    ) -> (usize, Option<(Offset, Offset)>) {
        let reach = self.reach.entry(group.clone()).or_default().entry(partition).or_default();
        reach.loose |= !transactional;
        let run = reach.runs.entry((client, member.into()));
        let run = run.or_insert(Run { read: (from, from), last: None });
        run.read = joined(Some(run.read), (from, upto));
        let (began, nth) = (run.read.0, reach.tries.len());
        if self.alone {
            let range = transactional.then_some(self.ranges.len());
            let before = run.last.replace(u32::try_from(nth).expect("fewer than 2^32 commits"));
            reach.tries.push(Try { read: (from, upto), before, range, done: None });
            return (nth, None);
        }
        let covered = reach.effective.max(reach.start);
        let gap = covered.filter(|covered| began > *covered && !transactional);
        (nth, gap.map(|covered| (began, covered)))
    }

    /// A client is told how far the group has come in a partition. Before any commit is asked for
    /// that is where it begins; if nothing is committed, at the start of the log.
    pub(crate) fn told(
        &mut self,
        group: &Arc<str>,
        partition: TopicPartition,
        offset: Option<Offset>,
    ) {
        let reach = self.reach.entry(group.clone()).or_default().entry(partition).or_default();
        if reach.runs.is_empty() {
            reach.start.get_or_insert(offset.unwrap_or_default());
        }
    }

    /// Where a group began in a partition, if that is told.
    pub(crate) fn start(&self, group: &str, partition: TopicPartition) -> Option<Offset> {
        self.reach.get(group)?.get(&partition)?.start
    }

    /// What was committed of the partitions that are not committed in transactions alone, where
    /// nothing is known but what clients saw. `fate` says of a [range](Self::ranges) whether it is
    /// committed, if anybody knows, and whether its transaction is known not to be.
    pub(crate) fn plain(&self, fate: impl Fn(&Range) -> (Option<bool>, bool)) -> Vec<Plain> {
        let reaches = self.reach.iter().flat_map(|(group, of)| {
            of.iter().map(move |(partition, reach)| (group, *partition, reach))
        });
        let plain = reaches.filter_map(|(group, partition, reach)| {
            let plainly = |tried: &Try| tried.range.is_none() && tried.done == Some(true);
            if !reach.tries.iter().any(plainly) {
                return None;
            }
            let done = reach.done(|tried| match tried.range {
                Some(range) => fate(&self.ranges[range]),
                None => (tried.done, false),
            });
            Some(Plain { group: group.clone(), partition, told: reach.start.is_some(), done })
        });
        plain.collect()
    }

    pub(crate) fn end(&mut self, key: (u16, u32)) -> Option<OpenGroupCall> {
        self.open.remove(&key)
    }

    /// What became of a commit; `None`: nobody knows.
    pub(crate) fn committed(&mut self, commit: &Commit, done: Option<bool>) {
        for part in &commit.parts {
            let reach =
                self.reach.get_mut(&commit.group).and_then(|of| of.get_mut(&part.partition));
            if let Some(tried) = reach.and_then(|reach| reach.tries.get_mut(part.nth)) {
                tried.done = done;
            }
        }
        if commit.transactional {
            for range in &mut self.ranges[commit.ranges..][..commit.parts.len()] {
                range.told = done == Some(true);
                range.refused = done == Some(false);
            }
        }
    }

    /// A record of an offset got its place.
    pub(crate) fn recorded(
        &mut self,
        group: &Arc<str>,
        (partition, offset): (TopicPartition, Offset),
        producer: Option<ProducerId>,
        place: Place,
    ) {
        let group = group.clone();
        self.fresh.push(Fresh { group, partition, offset, producer, place });
    }

    /// The coordinator says whose commit it is that it has just written down: it may be an open one
    /// that names the same member, generation and producer.
    pub(crate) fn taken(&mut self, group: &str, who: (&str, Generation)) {
        for Fresh { group: of, partition, offset, producer, place } in self.fresh.drain(..) {
            for open in self.open.values_mut() {
                let OpenGroupCall::Commit(commit) = open else { continue };
                let named = (commit.member.as_str(), commit.generation) == who
                    && commit.transactional == producer.is_some()
                    && commit.producer.is_none_or(|own| Some(own) == producer);
                if !named || commit.group != of || *group != *of {
                    continue;
                }
                let of = |part: &&mut Part| (part.partition, part.upto) == (partition, offset);
                commit.parts.iter_mut().filter(of).for_each(|part| part.places.push(place));
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
        (reach.loose, reach.effective, reach.start) = (true, None, None);
    }

    /// With its topic goes what transactions that have not ended hold of a partition.
    pub(crate) fn deleted(&mut self, group: &str, partition: TopicPartition) {
        let held = |range: &&mut Range| {
            (&*range.group, range.partition) == (group, partition) && range.committed.is_none()
        };
        self.ranges.iter_mut().filter(held).for_each(|range| range.deleted = true);
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
