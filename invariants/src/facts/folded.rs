//! The transactions of a partition's log, read from its batches and markers alone. Written from
//! KIP-98 and KIP-890 and shares no code with `broker_core::partition`, so that a slip in one of
//! them shows.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use broker_core::ids::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

use crate::bytes::Entry;

/// Batches that a broker remembers of each producer.
const REMEMBERED: usize = 5;

/// What a group of a producer's batches came to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Group {
    pub(crate) producer: ProducerId,
    pub(crate) first: Offset,
    /// Whether its marker commits it, and the marker's offset; `None`: it has none.
    pub(crate) end: Option<(bool, Offset)>,
    /// The batches' offsets.
    pub(crate) batches: Vec<(Offset, Offset)>,
}

/// What a stretch of the log is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    Plain,
    Control,
    /// Part of the group with this number.
    InGroup(usize),
}

/// A producer as the log gives it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Producer {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) batches: VecDeque<(Sequence, Offset)>,
    pub(crate) open: Option<Offset>,
    pub(crate) coordinator_epoch: Option<CoordinatorEpoch>,
}

/// A marker of a coordinator older than one before it: which producer's, and where.
pub(crate) type Deposed = (ProducerId, Offset, CoordinatorEpoch, CoordinatorEpoch);

/// The fold.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Folded {
    pub(crate) producers: BTreeMap<ProducerId, Producer>,
    pub(crate) groups: Vec<Group>,
    /// Each producer's open group.
    open: BTreeMap<ProducerId, usize>,
    /// First offsets of the open groups.
    firsts: BTreeSet<Offset>,
    /// The last stable offset for each high watermark at the end of a batch; ascending in both.
    stable: Vec<(Offset, Offset)>,
    classes: Vec<(Offset, Offset, Class)>,
    pub(crate) deposed: Vec<Deposed>,
    pub(crate) markers: u64,
    /// Markers that ended nothing.
    pub(crate) idle_markers: u64,
}

impl Folded {
    /// Of the batches in order.
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut folded = Self::default();
        for entry in entries {
            folded.add(entry);
        }
        folded
    }

    /// Takes in the next batch.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let Entry { base, end, .. } = *entry;
        let class = match (entry.marker, entry.numbered) {
            (Some((commit, coordinator_epoch)), _) => {
                self.marker(entry, commit, coordinator_epoch);
                Class::Control
            }
            (None, Some(numbered)) => {
                let producer = self.producers.entry(numbered.id).or_default();
                producer.enter(numbered.epoch);
                producer.batches.push_back((numbered.first, base));
                if producer.batches.len() > REMEMBERED {
                    producer.batches.pop_front();
                }
                match numbered.transactional {
                    true => Class::InGroup(self.grow(numbered.id, base, end)),
                    false => Class::Plain,
                }
            }
            // A group coordinator's own records have no numbers.
            (None, None) if entry.transactional && !entry.control => {
                let Some((id, epoch)) = entry.producer else { return };
                self.producers.entry(id).or_default().enter(epoch);
                Class::InGroup(self.grow(id, base, end))
            }
            (None, None) if entry.control => Class::Control,
            (None, None) => Class::Plain,
        };
        self.classes.push((base, end, class));
        let stable = self.firsts.first().copied().unwrap_or(end);
        self.stable.push((end, stable.min(end)));
    }

    /// A batch joins its producer's open group, or begins one.
    fn grow(&mut self, id: ProducerId, base: Offset, end: Offset) -> usize {
        let place = *self.open.entry(id).or_insert_with(|| {
            let group = Group { producer: id, first: base, end: None, batches: Vec::new() };
            self.groups.push(group);
            self.firsts.insert(base);
            self.groups.len() - 1
        });
        self.groups[place].batches.push((base, end));
        let first = self.groups[place].first;
        self.producers.entry(id).or_default().open = Some(first);
        place
    }

    fn marker(&mut self, entry: &Entry, commit: bool, coordinator_epoch: CoordinatorEpoch) {
        let Some((id, epoch)) = entry.producer else { return };
        self.markers += 1;
        let producer = self.producers.entry(id).or_default();
        producer.enter(epoch);
        producer.open = None;
        let known = producer.coordinator_epoch.replace(coordinator_epoch);
        if let Some(known) = known.filter(|known| *known > coordinator_epoch) {
            self.deposed.push((id, entry.base, coordinator_epoch, known));
        }
        match self.open.remove(&id) {
            Some(place) => {
                self.firsts.remove(&self.groups[place].first);
                self.groups[place].end = Some((commit, entry.base));
            }
            None => self.idle_markers += 1,
        }
    }

    /// The last stable offset when everything below `high_watermark` is visible.
    pub(crate) fn stable_at(&self, high_watermark: Offset) -> Option<Offset> {
        if high_watermark == Offset(0) {
            return Some(Offset(0));
        }
        let at = self.stable.binary_search_by_key(&high_watermark, |known| known.0).ok()?;
        Some(self.stable[at].1)
    }

    /// Whether it is the last stable offset for some high watermark from this one on.
    pub(crate) fn is_stable_from(&self, high_watermark: Offset, stable: Offset) -> bool {
        let from = self.stable.partition_point(|known| known.0 < high_watermark);
        let later = &self.stable[from..];
        let at = later.partition_point(|known| known.1 < stable);
        later.get(at).is_some_and(|known| known.1 == stable)
            || (high_watermark == Offset(0) && stable == Offset(0))
    }

    /// The last stable offset at the last end of a batch up to `floor`.
    pub(crate) fn stable_below(&self, floor: Offset) -> Offset {
        let behind = self.stable.partition_point(|known| known.0 <= floor);
        behind.checked_sub(1).map_or(Offset(0), |at| self.stable[at].1)
    }

    /// The stretches that overlap `[from, upto)`.
    pub(crate) fn classes(
        &self,
        from: Offset,
        upto: Offset,
    ) -> impl Iterator<Item = (Offset, Class)> + '_ {
        let begin = self.classes.partition_point(|known| known.1 <= from);
        let within = self.classes[begin..].iter().take_while(move |known| known.0 < upto);
        within.map(|(base, _, class)| (*base, *class))
    }

    /// The transaction group that the record at `offset` is in.
    pub(crate) fn group_at(&self, offset: Offset) -> Option<&Group> {
        match self.classes(offset, offset.next()).next()?.1 {
            Class::InGroup(place) => Some(&self.groups[place]),
            Class::Plain | Class::Control => None,
        }
    }

    /// The aborted groups, by their markers: producer, first offset, marker.
    pub(crate) fn aborted(&self) -> Vec<(ProducerId, Offset, Offset)> {
        let aborted = self.groups.iter().filter_map(|group| match group.end {
            Some((false, marker)) => Some((group.producer, group.first, marker)),
            Some((true, _)) | None => None,
        });
        let mut aborted: Vec<_> = aborted.collect();
        aborted.sort_unstable_by_key(|(_, _, marker)| *marker);
        aborted
    }
}

impl Producer {
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            (self.epoch, self.batches) = (epoch, VecDeque::new());
        }
    }
}
