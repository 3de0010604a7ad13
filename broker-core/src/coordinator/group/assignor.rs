//! The server-side assignors of KIP-848: `uniform`, which is the default, and `range`.
//!
//! They say what each member is meant to own; how it gets there is [`super::consumer`]'s business.
//! Source: `UniformAssignor.java`, `RangeAssignor.java`,
//! `ConsumerGroup.computePreferredServerAssignor`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::Topics;
use super::record::Subscriber;
use crate::ids::{PartitionIndex, TopicId, TopicPartition};

/// What each member is meant to own.
pub(super) type Target = BTreeMap<String, BTreeSet<TopicPartition>>;

/// An assignor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Assignor {
    /// Even numbers of partitions, and as few moves as possible.
    Uniform,
    /// Neighbouring partitions, topic by topic, so that equal topics are shared out equally.
    Range,
}

/// The assignor of this name.
pub(super) fn by_name(name: &str) -> Option<Assignor> {
    [Assignor::Uniform, Assignor::Range].into_iter().find(|assignor| assignor.name() == name)
}

/// The one that most members wish; uniform if they have none, or cannot agree.
pub(super) fn chosen(members: &BTreeMap<String, Subscriber>) -> Assignor {
    let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
    for wish in members.values().filter_map(|member| by_name(member.assignor.as_deref()?)) {
        *votes.entry(wish).or_default() += 1;
    }
    let most = votes.into_iter().rev().max_by_key(|(_, votes)| *votes);
    most.map_or(Assignor::Uniform, |(assignor, _)| assignor)
}

impl Assignor {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The new target, for the members as they are; `before` is the one so far.
    pub(super) fn assign(
        self,
        topics: &impl Topics,
        members: &BTreeMap<String, Subscriber>,
        before: &Target,
    ) -> Target {
        let mut readers: BTreeMap<TopicId, (u32, Vec<&str>)> = BTreeMap::new();
        for (id, member) in members {
            for (topic, partitions) in member.topics.iter().filter_map(|name| topics.topic(name)) {
                readers.entry(topic).or_insert((partitions, Vec::new())).1.push(id);
            }
        }
        let mut target: Target = members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
        match self {
            Self::Range => range(&readers, members, &mut target),
            Self::Uniform => uniform(&readers, before, &mut target),
        }
        target
    }
}

type Readers<'a> = BTreeMap<TopicId, (u32, Vec<&'a str>)>;

fn range(readers: &Readers<'_>, members: &BTreeMap<String, Subscriber>, target: &mut Target) {
    for (topic, (partitions, readers)) in readers {
        let mut readers = readers.clone();
        // Static members first, in the order of their instances, so that a new id changes nothing.
        readers.sort_by_key(|id| {
            let instance = members[*id].instance.as_deref();
            (instance.is_none(), instance.unwrap_or(id))
        });
        let count = u32::try_from(readers.len()).expect("bounded by the members of a group");
        let (each, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (reader, place) in readers.into_iter().zip(0..) {
            let end = next + each + u32::from(place < more);
            let part = (next..end).map(|at| at_of(*topic, at));
            target.get_mut(reader).expect("a member").extend(part);
            next = end;
        }
    }
}

/// Who has a partition keeps it; the rest goes to whoever has least; then single partitions move
/// from who has most until nobody who reads them has two less.
fn uniform(readers: &Readers<'_>, before: &Target, target: &mut Target) {
    let all = |(topic, (count, _)): (&TopicId, &(u32, Vec<&str>))| {
        let topic = *topic;
        (0..*count).map(move |index| at_of(topic, index)).collect::<Vec<_>>()
    };
    let partitions: Vec<TopicPartition> = readers.iter().flat_map(all).collect();
    let readers_of = |at: &TopicPartition| readers[&at.topic].1.iter().copied();
    let mut homeless = Vec::new();
    for at in &partitions {
        let had = |id: &&str| before.get(*id).is_some_and(|target| target.contains(at));
        match readers_of(at).find(had) {
            Some(id) => _ = target.get_mut(id).expect("a member").insert(*at),
            None => homeless.push(*at),
        }
    }
    for at in homeless {
        let least = readers_of(&at).min_by_key(|id| target[*id].len());
        let least = least.expect("a topic is here because somebody reads it");
        target.get_mut(least).expect("a member").insert(at);
    }
    while let Some((at, from, to)) = partitions.iter().find_map(|at| {
        let from = readers_of(at).find(|id| target[*id].contains(at))?;
        let to = readers_of(at).min_by_key(|id| target[*id].len())?;
        (target[from].len() > target[to].len() + 1).then_some((*at, from, to))
    }) {
        target.get_mut(from).expect("a member").remove(&at);
        target.get_mut(to).expect("a member").insert(at);
    }
}

fn at_of(topic: TopicId, index: u32) -> TopicPartition {
    TopicPartition { topic, index: PartitionIndex(index) }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// Topic `a` has 5 partitions, `b` 3.
    struct Two;

    impl Topics for Two {
        fn topic(&self, name: &str) -> Option<(TopicId, u32)> {
            [("a", (TopicId(1), 5)), ("b", (TopicId(2), 3))]
                .into_iter()
                .find_map(|(known, topic)| (known == name).then_some(topic))
        }

        fn partitions(&self, _topic: TopicId) -> Option<u32> {
            unreachable!("only names are assigned")
        }
    }

    fn members(each: &[(&str, &[&str])]) -> BTreeMap<String, Subscriber> {
        let member = |(id, topics): &(&str, &[&str])| {
            let topics = topics.iter().map(ToString::to_string).collect();
            (id.to_string(), Subscriber { topics, ..Subscriber::default() })
        };
        each.iter().map(member).collect()
    }

    fn sizes(target: &Target) -> Vec<usize> {
        target.values().map(BTreeSet::len).collect()
    }

    #[test]
    fn range_shares_each_topic_out_in_neighbours() {
        let group = members(&[("m1", &["a", "b"]), ("m2", &["a", "b", "gone"])]);
        let target = Assignor::Range.assign(&Two, &group, &Target::new());
        let first: Vec<_> = target["m1"].iter().map(|at| (at.topic.0, at.index.0)).collect();
        assert_eq!(first, [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(sizes(&target), [5, 3]);
    }

    #[test]
    fn range_static_members_come_in_the_order_of_their_instances() {
        let mut group = members(&[("m1", &["b"]), ("m2", &["b"])]);
        group.get_mut("m2").expect("there").instance = Some("i".to_string());
        let target = Assignor::Range.assign(&Two, &group, &Target::new());
        assert_eq!(sizes(&target), [1, 2]);
    }

    #[test]
    fn uniform_moves_no_more_than_it_must() {
        let alone = members(&[("m1", &["a", "b"])]);
        let one = Assignor::Uniform.assign(&Two, &alone, &Target::new());
        assert_eq!(sizes(&one), [8]);
        let two = Assignor::Uniform.assign(
            &Two,
            &members(&[("m1", &["a", "b"]), ("m2", &["a", "b"])]),
            &one,
        );
        assert_eq!(sizes(&two), [4, 4]);
        let again = Assignor::Uniform.assign(
            &Two,
            &members(&[("m1", &["a", "b"]), ("m2", &["a", "b"])]),
            &two,
        );
        assert_eq!(again, two);
    }

    #[test]
    fn uniform_serves_unequal_subscriptions() {
        let group = members(&[("m1", &["a", "b"]), ("m2", &["b"]), ("m3", &[])]);
        let target = Assignor::Uniform.assign(&Two, &group, &Target::new());
        assert_eq!(sizes(&target), [5, 3, 0]);
    }
}
