//! What group coordinators wrote into their logs, as far as it can be in them still: offsets, those
//! of open transactions, generations, and what members of KIP-848 groups own. Written from
//! `OffsetMetadataManager.java` and KIP-848, and shares no code with the coordinator.
//!
//! A record that got its place under an old leader is gone when a newer one reads the log to an end
//! before it. What is confirmed is folded and dropped; only what may yet go is kept by record.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use broker_core::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};
use broker_core::protocol::{Generation, MemberEpoch};

/// A record, or a marker.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Entry {
    /// Where a group is to read on, or that this is forgotten. It counts at once, or when the
    /// producer's transaction is committed.
    Offset {
        group: Arc<str>,
        partition: TopicPartition,
        offset: Option<Offset>,
        producer: Option<ProducerId>,
    },
    /// A transaction is over.
    Decided { producer: ProducerId, commit: bool },
    /// A classic group's generation and its members, or that the group is gone.
    Generation { group: Arc<str>, generation: Option<Generation>, members: Vec<Arc<str>> },
    /// The epoch of a member of a KIP-848 group, or that it is none any more, and what it owns.
    Member {
        group: Arc<str>,
        member: Arc<str>,
        reached: Option<MemberEpoch>,
        owns: Vec<TopicPartition>,
    },
}

/// How a partition of a group stands.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Stands {
    pub(crate) committed: Option<Offset>,
    /// An open transaction holds an offset of it.
    pub(crate) open: bool,
}

/// Why a member may not commit any more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Newer {
    /// The group has this generation.
    Generation(Generation),
    /// The generation has other members.
    Replaced,
    /// It is no member any more.
    Removed,
    /// It has reached this epoch, in which it does not own the partition.
    Epoch(MemberEpoch, TopicPartition),
}

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) log: TopicPartition,
    pub(crate) at: Offset,
    /// The number of the evidence that it got there.
    pub(crate) since: u64,
}

/// What an entry is about, once it is confirmed: group, partition, and the offset it holds.
pub(crate) type Touched = (Arc<str>, TopicPartition, Option<Offset>);

/// The logs.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Groups {
    logs: BTreeMap<TopicPartition, Log>,
    /// In which log each group is.
    homes: BTreeMap<Arc<str>, TopicPartition>,
}

/// The log of one coordinator.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Log {
    /// Of the newest leader.
    pub(crate) epoch: LeaderEpoch,
    /// Everything below is confirmed.
    pub(crate) upto: Offset,
    pub(crate) confirmed: Folded,
    /// With what is not confirmed yet.
    pub(crate) live: Folded,
    tail: VecDeque<(Offset, Entry)>,
    /// When a leader read it to its end, and that end.
    loads: Vec<(u64, Offset)>,
}

/// The fold of a log.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Folded {
    /// With the place of the record.
    committed: BTreeMap<Arc<str>, BTreeMap<TopicPartition, (Offset, Offset)>>,
    /// Of open transactions, with the place of the record.
    open: BTreeMap<ProducerId, Held>,
    classic: BTreeMap<Arc<str>, (Generation, Vec<Arc<str>>)>,
    consumers: BTreeMap<Arc<str>, Consumers>,
}

/// What a transaction holds.
type Held = BTreeMap<(Arc<str>, TopicPartition), (Offset, Offset)>;

/// A KIP-848 group.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
struct Consumers {
    members: BTreeMap<Arc<str>, (MemberEpoch, Vec<TopicPartition>)>,
    removed: BTreeSet<Arc<str>>,
    owners: BTreeMap<TopicPartition, Arc<str>>,
}

impl Groups {
    /// The numbers of evidence.
    pub(crate) fn positions(&mut self, with: &mut dyn FnMut(&mut u64)) {
        let loads = self.logs.values_mut().flat_map(|log| &mut log.loads);
        loads.for_each(|(pos, _)| with(pos));
    }

    pub(crate) fn log(&self, log: TopicPartition) -> Option<&Log> {
        self.logs.get(&log)
    }

    /// Whether groups were written of in it: transaction coordinators read their logs, too.
    pub(crate) fn is_of_groups(&self, log: TopicPartition) -> bool {
        self.homes.values().any(|home| *home == log)
    }

    pub(crate) fn log_of(&self, group: &str) -> Option<&Log> {
        self.logs.get(self.homes.get(group)?)
    }

    /// How a partition stands by what is confirmed.
    pub(crate) fn confirmed(&self, group: &str, partition: TopicPartition) -> Stands {
        let log = self.log_of(group);
        log.map_or_else(Stands::default, |log| log.confirmed.stands(group, partition))
    }

    /// Whether the record is confirmed where it was.
    pub(crate) fn holds(&self, place: &Place) -> bool {
        let Some(log) = self.logs.get(&place.log) else { return false };
        let gone = |load: &(u64, Offset)| load.0 > place.since && load.1 <= place.at;
        place.at < log.upto && !log.loads.iter().any(gone)
    }

    /// A record got its place; whether it may stay: its writer was not replaced.
    pub(crate) fn recorded(
        &mut self,
        (log, epoch): (TopicPartition, LeaderEpoch),
        at: Offset,
        entry: Entry,
    ) -> bool {
        let home = log;
        let log = self.logs.entry(log).or_default();
        if epoch < log.epoch {
            return false;
        }
        log.epoch = epoch;
        if let Entry::Offset { group, .. }
        | Entry::Generation { group, .. }
        | Entry::Member { group, .. } = &entry
            && !self.homes.contains_key(group)
        {
            self.homes.insert(group.clone(), home);
        }
        log.live.apply(at, &entry);
        log.tail.push_back((at, entry));
        true
    }

    /// A leader has read the log to its end. Up to where it was known to be confirmed; `None`: this
    /// leader was replaced before. What there is below the end is to be confirmed next, and then
    /// the rest is to be [cut](Self::cut).
    pub(crate) fn loaded(
        &mut self,
        pos: u64,
        (log, epoch): (TopicPartition, LeaderEpoch),
        end: Offset,
    ) -> Option<Offset> {
        let log = self.logs.entry(log).or_default();
        if epoch < log.epoch {
            return None;
        }
        log.epoch = epoch;
        log.loads.push((pos, end));
        Some(log.upto)
    }

    /// What is not confirmed is gone: the newest leader has not read it.
    pub(crate) fn cut(&mut self, log: TopicPartition) {
        let Some(log) = self.logs.get_mut(&log) else { return };
        log.tail.clear();
        log.live = log.confirmed.clone();
    }

    /// The next entry below `upto` that was not known to be confirmed, and what it is about.
    pub(crate) fn confirm(
        &mut self,
        log: TopicPartition,
        upto: Offset,
    ) -> Option<(Entry, Vec<Touched>)> {
        let log = self.logs.get_mut(&log)?;
        match log.tail.front() {
            Some((at, _)) if *at < upto => {
                let (at, entry) = log.tail.pop_front().expect("just seen");
                let touched = log.confirmed.apply(at, &entry);
                Some((entry, touched))
            }
            Some(_) | None => {
                log.upto = log.upto.max(upto);
                None
            }
        }
    }
}

impl Folded {
    pub(crate) fn stands(&self, group: &str, partition: TopicPartition) -> Stands {
        let committed = self.committed.get(group).and_then(|of| of.get(&partition));
        let holds = |(of, at): &(Arc<str>, TopicPartition)| &**of == group && *at == partition;
        let open = self.open.values().any(|held| held.keys().any(holds));
        Stands { committed: committed.map(|(_, offset)| *offset), open }
    }

    /// Every offset that is committed.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (&Arc<str>, TopicPartition, Offset)> {
        self.committed.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(move |(at, (_, offset))| (group, *at, *offset))
        })
    }

    fn keys(&self) -> BTreeSet<(Arc<str>, TopicPartition)> {
        let held = self.open.values().flat_map(BTreeMap::keys).cloned();
        held.chain(self.committed().map(|(group, at, _)| (group.clone(), at))).collect()
    }

    /// A group and a partition of one of these topics of which it has an offset, be it an open
    /// transaction's.
    pub(crate) fn of_topics(
        &self,
        topics: &BTreeSet<TopicId>,
    ) -> Option<(Arc<str>, TopicPartition)> {
        self.keys().into_iter().find(|(_, at)| topics.contains(&at.topic))
    }

    /// Another member that owns one of these, and which.
    pub(crate) fn owned_by_another(
        &self,
        group: &str,
        member: &str,
        owns: &[TopicPartition],
    ) -> Option<(TopicPartition, &Arc<str>)> {
        let owners = &self.consumers.get(group)?.owners;
        let other = |at: &TopicPartition| {
            let owner = owners.get(at).filter(|owner| &***owner != member)?;
            Some((*at, owner))
        };
        owns.iter().find_map(other)
    }

    /// Whether a commit that names this member and this generation comes too late.
    pub(crate) fn superseded(
        &self,
        group: &str,
        (member, generation): (&str, Generation),
        mut partitions: impl Iterator<Item = TopicPartition>,
    ) -> Option<Newer> {
        if member.is_empty() || generation < Generation(0) {
            return None;
        }
        let said = MemberEpoch(generation.0);
        if let Some(consumers) = self.consumers.get(group) {
            if let Some((epoch, owns)) = consumers.members.get(member) {
                // A member may commit what it has owned since an earlier epoch (KIP-1251).
                let lost = partitions.find(|at| said < *epoch && !owns.contains(at))?;
                return Some(Newer::Epoch(*epoch, lost));
            }
            if consumers.removed.contains(member) {
                return Some(Newer::Removed);
            }
        }
        let (newest, members) = self.classic.get(group)?;
        if *newest > generation {
            return Some(Newer::Generation(*newest));
        }
        let member_of = members.iter().any(|known| &**known == member);
        (*newest == generation && !member_of).then_some(Newer::Replaced)
    }

    fn apply(&mut self, at: Offset, entry: &Entry) -> Vec<Touched> {
        match entry {
            Entry::Offset { group, partition, offset, producer } => {
                match (offset, producer) {
                    (None, _) => self.forget(group, *partition),
                    (Some(offset), None) => {
                        let of = self.committed.entry(group.clone()).or_default();
                        of.insert(*partition, (at, *offset));
                    }
                    (Some(offset), Some(producer)) => {
                        let held = self.open.entry(*producer).or_default();
                        held.insert((group.clone(), *partition), (at, *offset));
                    }
                }
                vec![(group.clone(), *partition, *offset)]
            }
            Entry::Decided { producer, commit } => self.decide(*producer, *commit),
            Entry::Generation { group, generation, members } => {
                match generation {
                    Some(generation) => {
                        self.classic.insert(group.clone(), (*generation, members.clone()));
                    }
                    None => {
                        self.classic.remove(group);
                    }
                }
                Vec::new()
            }
            Entry::Member { group, member, reached, owns } => {
                let consumers = self.consumers.entry(group.clone()).or_default();
                consumers.set(member, reached.map(|reached| (reached, owns)));
                Vec::new()
            }
        }
    }

    /// Nothing of it is left, not even what an open transaction would commit.
    fn forget(&mut self, group: &Arc<str>, partition: TopicPartition) {
        if let Some(of) = self.committed.get_mut(group) {
            of.remove(&partition);
        }
        for held in self.open.values_mut() {
            held.remove(&(group.clone(), partition));
        }
    }

    /// Of what a transaction holds counts what was written behind what is committed, wherever its
    /// marker is: compaction keeps the later record of a key.
    fn decide(&mut self, producer: ProducerId, commit: bool) -> Vec<Touched> {
        let Some(held) = self.open.remove(&producer) else { return Vec::new() };
        let mut touched = Vec::new();
        for ((group, partition), (at, offset)) in held {
            if commit {
                let of = self.committed.entry(group.clone()).or_default();
                let before = of.get(&partition).map(|(at, _)| *at);
                if before.is_none_or(|before| before < at) {
                    of.insert(partition, (at, offset));
                }
            }
            touched.push((group, partition, Some(offset)));
        }
        touched
    }
}

impl Consumers {
    fn set(&mut self, member: &Arc<str>, to: Option<(MemberEpoch, &Vec<TopicPartition>)>) {
        if let Some((_, before)) = self.members.remove(member) {
            for at in before {
                if self.owners.get(&at) == Some(member) {
                    self.owners.remove(&at);
                }
            }
        }
        let Some((epoch, owns)) = to else {
            self.removed.insert(member.clone());
            return;
        };
        self.removed.remove(member);
        self.owners.extend(owns.iter().map(|at| (*at, member.clone())));
        self.members.insert(member.clone(), (epoch, owns.clone()));
    }
}
