//! What a client knows of the cluster: brokers, topics by name, leaders and their epochs.
//!
//! Knowledge is refreshed when somebody finds it wrong, and by and by. A leader epoch never goes
//! back while the topic's id stays (KIP-320). Sending and timing is in [`super`]. Source: Kafka's
//! `Metadata.java`, KIP-580 (backoff).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use broker_core::ids::{ConnId, LeaderEpoch, NodeId, PartitionIndex, TopicId};
use broker_core::protocol::{ErrorCode, MetadataResponse, PartitionMetadata};

/// Where a request must go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Route {
    /// To any broker; no topic is needed.
    Any,
    /// To any broker, with the topic's id.
    Topic,
    /// To the leader of this partition.
    Leader(PartitionIndex),
    /// To this broker; no topic is needed.
    Node(NodeId),
    /// To this broker, with the topic's id.
    TopicAt(NodeId),
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Target {
    pub(super) node: NodeId,
    /// Of the topic, if the route gives it.
    pub(super) topic: Option<TopicId>,
    /// Of the partition; 0 unless a leader was asked for.
    pub(super) leader_epoch: LeaderEpoch,
}

/// Whether a request can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolved {
    Ready(Target),
    /// The topic or partition does not exist, as far as known.
    Missing,
    /// Nobody has answered yet, or there is no leader at the moment.
    NotYet,
}

/// How far the next refresh is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Refresh {
    /// Only the age of what is known will trigger one.
    Idle,
    /// There was one just now: the next one must wait a little.
    Resting,
    /// The request is on its way.
    InFlight(ConnId),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Topic {
    id: TopicId,
    /// The last answer did not know the topic. What was known is kept for the epochs.
    missing: bool,
    /// Nobody needs it, or nobody has asked since: it may have gone stale. What was known is kept
    /// for the epochs here, too: a leader of an earlier one may not know what a later one took.
    idle: bool,
    partitions: BTreeMap<PartitionIndex, PartitionMetadata>,
}

impl Topic {
    const fn new(id: TopicId) -> Self {
        Self { id, missing: false, idle: false, partitions: BTreeMap::new() }
    }
}

/// A client's view of the cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Metadata {
    bootstrap: Vec<NodeId>,
    brokers: Vec<NodeId>,
    topics: BTreeMap<String, Topic>,
    /// Names asked for, with the number of sessions that need them; `None` is not known yet.
    needed: BTreeMap<String, u32>,
    pub(super) refresh: Refresh,
    /// Somebody needs a refresh.
    pub(super) stale: bool,
    /// Rounds in a row that left somebody waiting; counts for the backoff.
    pub(super) rounds: u32,
    /// Requests in a row that got no answer, and who was asked last.
    unanswered: u32,
    asked: Option<NodeId>,
}

/// Requests without answer before the brokers learned are forgotten and the bootstrap servers asked
/// again (KIP-899).
const REBOOTSTRAP_AFTER: u32 = 2;

impl Metadata {
    pub(super) fn new(bootstrap: Vec<NodeId>) -> Self {
        assert!(!bootstrap.is_empty(), "a client needs a broker to ask first");
        Self {
            brokers: bootstrap.clone(),
            bootstrap,
            topics: BTreeMap::new(),
            needed: BTreeMap::new(),
            refresh: Refresh::Idle,
            stale: false,
            rounds: 0,
            unanswered: 0,
            asked: None,
        }
    }

    /// A session begins to need a topic.
    pub(super) fn acquire(&mut self, topic: &str) {
        match self.needed.get_mut(topic) {
            Some(sessions) => *sessions += 1,
            None => {
                self.needed.insert(String::from(topic), 1);
            }
        }
    }

    /// A session needs it no more.
    pub(super) fn release(&mut self, topic: &str) {
        let sessions = self.needed.get_mut(topic).expect("released once per acquire");
        *sessions -= 1;
        if *sessions == 0 {
            self.needed.remove(topic);
            if let Some(known) = self.topics.get_mut(topic) {
                known.idle = true;
            }
        }
    }

    /// The topics to ask for.
    pub(super) fn names(&self) -> Vec<String> {
        self.needed.keys().cloned().collect()
    }

    /// Whether anybody needs anything.
    pub(super) fn is_needed(&self) -> bool {
        !self.needed.is_empty()
    }

    /// Any broker, by lot.
    pub(super) fn any_broker(&self, lot: u64) -> NodeId {
        self.brokers[usize::try_from(lot % self.brokers.len() as u64).expect("an index")]
    }

    /// The broker to ask for metadata: any, and after one that did not answer the next one. By lot
    /// again, a client of many dead brokers and a living one could miss that for minutes; Kafka's
    /// `NetworkClient.leastLoadedNode` prefers brokers that did not just fail.
    pub(super) fn next_broker(&mut self, lot: u64) -> NodeId {
        let last = self.asked.filter(|_| self.unanswered > 0);
        let at = last.and_then(|last| self.brokers.iter().position(|node| *node == last));
        let node = match at {
            Some(at) => self.brokers[(at + 1) % self.brokers.len()],
            None => self.any_broker(lot),
        };
        self.asked = Some(node);
        node
    }

    /// A request for metadata got no answer.
    pub(super) fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= REBOOTSTRAP_AFTER {
            self.brokers.clone_from(&self.bootstrap);
        }
    }

    /// The id of a topic, if it is known to exist.
    pub(super) fn topic(&self, topic: &str) -> Option<TopicId> {
        self.topics.get(topic).filter(|known| !known.missing).map(|known| known.id)
    }

    /// How many partitions a topic has, as far as known.
    pub(super) fn partitions(&self, topic: &str) -> u32 {
        let known = self.topics.get(topic).map_or(0, |known| known.partitions.len());
        u32::try_from(known).expect("a topic has few partitions")
    }

    /// Where a request can go now.
    pub(super) fn resolve(&self, topic: &str, route: Route, lot: u64) -> Resolved {
        let any = Target { node: self.any_broker(lot), topic: None, leader_epoch: LeaderEpoch(0) };
        let any = match route {
            Route::Any => return Resolved::Ready(any),
            Route::Node(node) => return Resolved::Ready(Target { node, ..any }),
            Route::TopicAt(node) => Target { node, ..any },
            Route::Topic | Route::Leader(_) => any,
        };
        let Some(known) = self.topics.get(topic).filter(|known| !known.idle) else {
            return Resolved::NotYet;
        };
        if known.missing {
            return Resolved::Missing;
        }
        let Route::Leader(index) = route else {
            return Resolved::Ready(Target { topic: Some(known.id), ..any });
        };
        let Some(partition) = known.partitions.get(&index) else { return Resolved::Missing };
        match partition.leader {
            Some(node) => Resolved::Ready(Target {
                node,
                topic: Some(known.id),
                leader_epoch: partition.leader_epoch,
            }),
            None => Resolved::NotYet,
        }
    }

    /// Takes in an answer.
    pub(super) fn update(&mut self, response: MetadataResponse) {
        self.unanswered = 0;
        if !response.brokers.is_empty() {
            self.brokers = response.brokers;
        }
        for answer in response.topics {
            if !self.needed.contains_key(&answer.name) {
                continue;
            }
            match answer.result {
                Ok((id, partitions)) => self.learn(answer.name, id, partitions),
                // A topic that is being created has no leaders yet; the name is known.
                Err(ErrorCode::LeaderNotAvailable) => {}
                Err(_) => {
                    let topic = self.topics.entry(answer.name).or_insert(Topic::new(TopicId(0)));
                    (topic.missing, topic.idle) = (true, false);
                }
            }
        }
    }

    fn learn(&mut self, name: String, id: TopicId, partitions: Vec<PartitionMetadata>) {
        let topic = self.topics.entry(name).or_insert(Topic::new(id));
        if topic.id != id {
            *topic = Topic::new(id);
        }
        (topic.missing, topic.idle) = (false, false);
        for partition in partitions {
            match topic.partitions.get_mut(&partition.index) {
                // An answer of a broker that lags must not lead back to the old leader.
                Some(known) if known.leader_epoch > partition.leader_epoch => {}
                Some(known) => *known = partition,
                None => {
                    topic.partitions.insert(partition.index, partition);
                }
            }
        }
    }
}
