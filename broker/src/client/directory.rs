//! What a client's connections have learned together: topics by name and id, brokers and where
//! they are, and which error codes came that the core has no name for.

use std::collections::{BTreeMap, BTreeSet};

use broker_core::ids::{NodeId, PartitionIndex, TopicId, TopicPartition};
use broker_core::protocol::ErrorCode;

use super::{Broken, Refusal};
use crate::wire::codec::Uuid;

/// What a client knows of its cluster.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Directory {
    /// Topics.
    pub names: Names,
    /// Brokers.
    pub brokers: Brokers,
    unnamed: BTreeMap<i16, u64>,
}

impl Directory {
    /// An outcome by its code. A code that the core has no variant for is `UnknownServerError`,
    /// which proves nothing; it is logged once and counted.
    pub(super) fn outcome(&mut self, code: i16) -> Result<(), ErrorCode> {
        if code == 0 {
            return Ok(());
        }
        Err(ErrorCode::of(code).unwrap_or_else(|| {
            let times = self.unnamed.entry(code).or_default();
            if *times == 0 {
                tracing::warn!(
                    code,
                    "an error without a name here: taken for UNKNOWN_SERVER_ERROR"
                );
            }
            *times += 1;
            ErrorCode::UnknownServerError
        }))
    }

    /// The codes that came and have no name in the core, and how often.
    #[must_use]
    pub fn unnamed(&self) -> &BTreeMap<i16, u64> {
        &self.unnamed
    }
}

/// Topics by name and id. A core id is the broker's UUID; a broker without them (Kafka before 2.8)
/// gives a name one that is made of the name, the same for all clients.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    ids: BTreeMap<String, TopicId>,
    names: BTreeMap<TopicId, String>,
    invented: BTreeSet<TopicId>,
    /// Topics whose leaders have no epochs.
    epochless: BTreeSet<TopicId>,
}

impl Names {
    /// A name has this UUID now.
    pub(super) fn learn(&mut self, name: &str, uuid: Uuid) -> TopicId {
        let topic = match uuid {
            Uuid(0) => {
                let topic = invented(name);
                self.invented.insert(topic);
                topic
            }
            Uuid(it) => TopicId(it),
        };
        self.ids.insert(name.to_owned(), topic);
        self.names.insert(topic, name.to_owned());
        topic
    }

    /// Whether the leaders of a topic have epochs.
    pub(super) fn has_epochs(&mut self, topic: TopicId, has: bool) {
        if has {
            self.epochless.remove(&topic);
        } else {
            self.epochless.insert(topic);
        }
    }

    pub(super) fn is_epochless(&self, topic: TopicId) -> bool {
        self.epochless.contains(&topic)
    }

    /// The topic that has this name, as far as known.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    /// A partition by its topic's name, as far as that is known.
    pub(super) fn partition(&self, name: &str, index: i32) -> Option<TopicPartition> {
        let index = PartitionIndex(u32::try_from(index).ok()?);
        Some(TopicPartition { topic: self.id(name)?, index })
    }

    /// The name that a topic has, or had.
    #[must_use]
    pub fn name(&self, topic: TopicId) -> Option<&str> {
        self.names.get(&topic).map(String::as_str)
    }

    /// All topics that were ever known, with the names that they have or had.
    pub fn all(&self) -> impl Iterator<Item = (TopicId, &str)> {
        self.names.iter().map(|(topic, name)| (*topic, name.as_str()))
    }

    /// The name by which a topic can be asked about. There is none if another topic has it now, as
    /// far as known: the broker would take it for that one.
    pub(super) fn current(&self, topic: TopicId) -> Result<&str, Refusal> {
        let unknown = Refusal::UnknownTopic { topic };
        let name = self.name(topic).ok_or(unknown)?;
        if self.ids.get(name) == Some(&topic) { Ok(name) } else { Err(unknown) }
    }

    /// The UUID by which a broker knows a topic.
    pub(super) fn uuid(&self, topic: TopicId) -> Option<Uuid> {
        (!self.invented.contains(&topic)).then_some(Uuid(topic.0))
    }
}

/// FNV-1a over the name; never 0.
fn invented(name: &str) -> TopicId {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    TopicId(name.bytes().fold(BASIS, step) | 1)
}

/// Brokers: ids here and there, and addresses. A broker's id is its node id, if that fits and is
/// free; others, and addresses to ask first, get node ids from the upper end.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Brokers {
    nodes: BTreeMap<i32, NodeId>,
    ids: BTreeMap<NodeId, Option<i32>>,
    addresses: BTreeMap<NodeId, (String, u16)>,
}

impl Brokers {
    /// An address to ask first, by a node id of its own. Panics if there are more than there are
    /// node ids.
    pub fn bootstrap(&mut self, host: &str, port: u16) -> NodeId {
        let node = self.free().expect("few brokers are asked first");
        self.ids.insert(node, None);
        self.addresses.insert(node, (host.to_owned(), port));
        node
    }

    /// Where a node is.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<&(String, u16)> {
        self.addresses.get(&node)
    }

    /// The id that a node calls itself by, if it has told it.
    #[must_use]
    pub fn id(&self, node: NodeId) -> Option<i32> {
        self.ids.get(&node).copied().flatten()
    }

    /// The node of a broker.
    pub(super) fn node(&mut self, id: i32) -> Result<NodeId, Broken> {
        if let Some(node) = self.nodes.get(&id) {
            return Ok(*node);
        }
        let own = u16::try_from(id).ok().map(NodeId).filter(|own| !self.ids.contains_key(own));
        let node = own.or_else(|| self.free()).ok_or(Broken::Value { field: "node_id" })?;
        self.nodes.insert(id, node);
        self.ids.insert(node, Some(id));
        Ok(node)
    }

    /// A broker is here now.
    pub(super) fn learn(&mut self, id: i32, host: &str, port: i32) -> Result<NodeId, Broken> {
        let node = self.node(id)?;
        if let Ok(port) = u16::try_from(port) {
            self.addresses.insert(node, (host.to_owned(), port));
        }
        Ok(node)
    }

    fn free(&self) -> Option<NodeId> {
        (0..=u16::MAX).rev().map(NodeId).find(|node| !self.ids.contains_key(node))
    }
}

/// What the answer to a request may name: the partitions that were asked about.
#[derive(Default)]
pub(super) struct Places {
    topics: BTreeMap<String, TopicId>,
    asked: BTreeSet<TopicPartition>,
}

/// Topics in the order of a request, each with its partitions.
pub(super) type Topics<K, T> = Vec<(K, Vec<(i32, T)>)>;

impl Places {
    /// Partitions as they are asked about by the names of their topics.
    pub(super) fn named<T>(
        names: &Names,
        partitions: impl IntoIterator<Item = (TopicPartition, T)>,
    ) -> Result<(Self, Topics<String, T>), Refusal> {
        let mut places = Self::default();
        let topics = places.gather(partitions, |topic| names.current(topic).map(str::to_owned))?;
        for (topic, _) in &topics {
            let id = names.id(topic).expect("it is current");
            places.topics.insert(topic.clone(), id);
        }
        Ok((places, topics))
    }

    /// As [`Self::named`], by their ids.
    pub(super) fn by_id<T>(
        names: &Names,
        partitions: impl IntoIterator<Item = (TopicPartition, T)>,
    ) -> Result<(Self, Topics<Uuid, T>), Refusal> {
        let mut places = Self::default();
        let uuid = |topic| names.uuid(topic).ok_or(Refusal::UnknownTopic { topic });
        let topics = places.gather(partitions, uuid)?;
        Ok((places, topics))
    }

    fn gather<K: PartialEq, T>(
        &mut self,
        partitions: impl IntoIterator<Item = (TopicPartition, T)>,
        key: impl Fn(TopicId) -> Result<K, Refusal>,
    ) -> Result<Topics<K, T>, Refusal> {
        let mut topics: Topics<K, T> = Vec::new();
        for (partition, it) in partitions {
            self.asked.insert(partition);
            let (key, item) = (key(partition.topic)?, (super::number(partition.index.0), it));
            match topics.last_mut().filter(|(last, _)| *last == key) {
                Some((_, items)) => items.push(item),
                None => topics.push((key, vec![item])),
            }
        }
        Ok(topics)
    }

    /// The partition that an answer names.
    pub(super) fn of_name(&self, name: &str, index: i32) -> Result<TopicPartition, Broken> {
        let topic = self.topics.get(name).ok_or(Broken::OtherPartition)?;
        self.asked(*topic, index)
    }

    /// As [`Self::of_name`], by the topic's id.
    pub(super) fn of_uuid(&self, uuid: Uuid, index: i32) -> Result<TopicPartition, Broken> {
        self.asked(TopicId(uuid.0), index)
    }

    fn asked(&self, topic: TopicId, index: i32) -> Result<TopicPartition, Broken> {
        let index = u32::try_from(index).map_err(|_| Broken::OtherPartition)?;
        let partition = TopicPartition { topic, index: PartitionIndex(index) };
        if self.asked.contains(&partition) { Ok(partition) } else { Err(Broken::OtherPartition) }
    }
}
