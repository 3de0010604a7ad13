//! Between the wire and the core: what a client's request asks of the broker, and how the broker's
//! answers are said in the version that was asked in.
//!
//! The front is a value without I/O. A request becomes parts, one core request each; the answer is
//! made when the last part is answered, and leaves in the order of the requests on its connection.
//! Names of topics become ids here, and ids names, by the broker's own metadata. Every rule of the
//! broker is the core's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_core::connection::REQUESTS_PER_CONNECTION_MAX;
use broker_core::ids::{ConnId, NodeId, PartitionIndex, TopicId, TopicPartition};
use broker_core::metadata::Image;
use broker_core::protocol::{self as core, ErrorCode, TransactionVersion};

use codes::{Code, code, code_by_name, renamed};

use crate::wire::codec::Uuid;
use crate::wire::{self, Header};

mod admin;
mod cluster;
mod codes;
mod configs;
mod groups;
mod offsets;
mod operations;
mod quorum;
mod records;
#[cfg(test)]
pub(crate) mod tests;
mod transactions;

/// Parts that the core is asked at once for one connection, of however many requests: those behind
/// wait, in the order of the requests. As many as a connection has requests under way at the most,
/// so that a client which asks for one thing at a time never waits here, and some dozens of groups
/// or topics go side by side.
const PARTS_MAX: usize = 64;
/// The core cuts off a connection that asks more. It is not to happen.
const _: () = assert!(PARTS_MAX <= REQUESTS_PER_CONNECTION_MAX);

/// What a broker knows of its cluster besides the metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Kafka's cluster id.
    pub id: String,
    /// This broker.
    pub node: NodeId,
    /// Where clients reach the brokers: host and port.
    pub listeners: BTreeMap<NodeId, (String, u16)>,
    /// Partitions of a topic that is created without a number (`num.partitions`).
    pub partitions_default: u32,
    /// Whether asking for a topic's metadata creates it (`auto.create.topics.enable`).
    pub creates_topics: bool,
}

/// What an answer may be made of.
#[derive(Clone, Copy)]
struct View<'a> {
    cluster: &'a Cluster,
    image: &'a Image,
}

/// A request as the core is asked it.
struct Asked {
    parts: Vec<core::Request>,
    join: Join,
}

/// Makes the answer out of those to the parts, in their order.
type Join = Box<dyn FnOnce(View<'_>, Vec<core::Response>) -> wire::Response + Send>;

impl Asked {
    fn new(
        parts: Vec<core::Request>,
        join: impl FnOnce(View<'_>, Vec<core::Response>) -> wire::Response + Send + 'static,
    ) -> Self {
        Self { parts, join: Box::new(join) }
    }

    fn one(
        part: core::Request,
        join: impl FnOnce(View<'_>, core::Response) -> wire::Response + Send + 'static,
    ) -> Self {
        Self::new(vec![part], |view, answers| {
            join(view, answers.into_iter().next().expect("one part, one answer"))
        })
    }

    /// Answered without the core.
    fn nothing(answer: wire::Response) -> Self {
        Self::new(Vec::new(), |_, _| answer)
    }
}

/// The core's answer, which must be to what was asked.
macro_rules! answer {
    ($answer:expr, $variant:pat => $value:expr) => {
        match $answer {
            $variant => $value,
            other => unreachable!("the core answered something else: {other:?}"),
        }
    };
}
use answer;
pub(crate) use records::is_silent;

/// All requests that are not answered yet.
#[derive(Default)]
pub struct Front {
    connections: BTreeMap<ConnId, Connection>,
}

#[derive(Default)]
struct Connection {
    /// In the order of their arrival; `first` is the number of the first.
    pending: VecDeque<Pending>,
    first: u64,
    /// What the core was asked and has not answered: request and part, by correlation id.
    asked: BTreeMap<u32, (u64, usize)>,
    correlation: u32,
}

struct Pending {
    header: Header,
    /// Not asked yet.
    parts: VecDeque<core::Request>,
    answers: Vec<Option<core::Response>>,
    /// Parts without an answer.
    open: usize,
    /// None as soon as the answer is made.
    join: Option<Join>,
    answer: Option<wire::Response>,
}

/// What the host must do next for a connection.
#[derive(Debug)]
pub enum Act {
    /// Ask the core.
    Ask {
        /// The core's correlation id, not the client's.
        corr: u32,
        /// What.
        request: core::Request,
    },
    /// Close the connection: a produce without an answer was refused, and Kafka's clients learn it
    /// this way.
    Close {
        /// For the log.
        why: String,
    },
    /// Write an answer.
    Answer {
        /// Of the request.
        header: Header,
        /// The answer.
        response: wire::Response,
    },
}

impl Front {
    /// A request came on a connection.
    pub fn request(
        &mut self,
        (cluster, image): (&Cluster, &Image),
        conn: ConnId,
        (header, request): (Header, wire::Request),
    ) -> Vec<Act> {
        let view = View { cluster, image };
        let silent = is_silent(&request);
        let asked = translate(view, &header, request);
        if silent {
            return records::silently(view, &header, asked);
        }
        let connection = self.connections.entry(conn).or_default();
        connection.pending.push_back(Pending {
            header,
            answers: asked.parts.iter().map(|_| None).collect(),
            open: asked.parts.len(),
            parts: asked.parts.into(),
            join: Some(asked.join),
            answer: None,
        });
        let number = connection.first + connection.pending.len() as u64 - 1;
        connection.go_on(view, number)
    }

    /// A client asks which versions are spoken here, in one that is not: it is answered in the
    /// oldest, that it may ask again (KIP-511).
    pub fn unknown_version(&mut self, conn: ConnId, header: Header) -> Vec<Act> {
        let connection = self.connections.entry(conn).or_default();
        connection.pending.push_back(Pending {
            header,
            parts: VecDeque::new(),
            answers: Vec::new(),
            open: 0,
            join: None,
            answer: Some(wire::Response::ApiVersions(cluster::versions(Code::UNSUPPORTED_VERSION))),
        });
        connection.answers()
    }

    /// The core answered what it was asked.
    pub fn answered(
        &mut self,
        (cluster, image): (&Cluster, &Image),
        conn: ConnId,
        (corr, answer): (u32, core::Response),
    ) -> Vec<Act> {
        let Some(connection) = self.connections.get_mut(&conn) else { return Vec::new() };
        let Some((number, part)) = connection.asked.remove(&corr) else { return Vec::new() };
        let pending = connection.at(number);
        pending.answers[part] = Some(answer);
        pending.open -= 1;
        connection.go_on(View { cluster, image }, number)
    }

    /// A connection is gone.
    pub fn gone(&mut self, conn: ConnId) {
        self.connections.remove(&conn);
    }
}

impl Connection {
    fn at(&mut self, number: u64) -> &mut Pending {
        let index = usize::try_from(number - self.first).expect("as many as fit in memory");
        &mut self.pending[index]
    }

    /// Asks what there is room for, oldest first, and makes this request's answer if it has all of
    /// its parts; then whatever can be answered is.
    fn go_on(&mut self, view: View<'_>, number: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        for (number, pending) in (self.first..).zip(&mut self.pending) {
            while self.asked.len() < PARTS_MAX
                && let Some(request) = pending.parts.pop_front()
            {
                let part = pending.answers.len() - pending.parts.len() - 1;
                self.correlation = self.correlation.wrapping_add(1);
                self.asked.insert(self.correlation, (number, part));
                acts.push(Act::Ask { corr: self.correlation, request });
            }
        }
        let pending = self.at(number);
        if pending.open == 0
            && let Some(join) = pending.join.take()
        {
            let answers = pending.answers.drain(..).flatten().collect();
            pending.answer = Some(join(view, answers));
        }
        acts.extend(self.answers());
        acts
    }

    /// All answers that are ready and have none before them that is not.
    fn answers(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        while self.pending.front().is_some_and(|it| it.answer.is_some()) {
            let Pending { header, answer, .. } = self.pending.pop_front().expect("just seen");
            self.first += 1;
            acts.push(Act::Answer { header, response: answer.expect("just seen") });
        }
        acts
    }
}

fn translate(view: View<'_>, header: &Header, request: wire::Request) -> Asked {
    use wire::Request as R;
    match request {
        R::Produce(request) => records::produce(view, header, request),
        R::Fetch(request) => records::fetch(view, header, request),
        R::ListOffsets(request) => offsets::list_offsets(view, header, request),
        R::OffsetForLeaderEpoch(request) => offsets::offset_for_leader_epoch(view, request),
        R::ApiVersions(request) => cluster::api_versions(header, &request),
        R::Metadata(request) => cluster::metadata(view, header, request),
        R::DescribeCluster(request) => cluster::describe_cluster(&request),
        R::DescribeQuorum(request) => quorum::describe(request),
        R::FindCoordinator(request) => cluster::find_coordinator(header, request),
        R::CreateTopics(request) => admin::create_topics(view, request),
        R::DeleteTopics(request) => admin::delete_topics(view, header, request),
        R::CreatePartitions(request) => admin::create_partitions(view, request),
        R::DescribeConfigs(request) => configs::describe(request),
        R::AlterConfigs(request) => configs::replace(view, request),
        R::IncrementalAlterConfigs(request) => configs::alter(view, request),
        R::InitProducerId(request) => transactions::init_producer_id(header, request),
        R::AddPartitionsToTxn(request) => transactions::add_partitions(view, header, request),
        R::AddOffsetsToTxn(request) => transactions::add_offsets(header, request),
        R::EndTxn(request) => transactions::end(header, request),
        R::TxnOffsetCommit(request) => transactions::offset_commit(view, header, request),
        R::WriteTxnMarkers(request) => transactions::write_markers(view, request),
        R::DescribeTransactions(request) => transactions::describe(request),
        R::ListTransactions(request) => transactions::list(&request),
        R::OffsetCommit(request) => groups::commits::offset_commit(view, request),
        R::OffsetFetch(request) => groups::commits::offset_fetch(view, header, request),
        R::OffsetDelete(request) => groups::commits::offset_delete(view, request),
        R::JoinGroup(request) => groups::join(header, request),
        R::SyncGroup(request) => groups::sync(request),
        R::Heartbeat(request) => groups::heartbeat(request),
        R::LeaveGroup(request) => groups::leave(header, request),
        R::DescribeGroups(request) => groups::tools::describe(header, request),
        R::ListGroups(request) => groups::tools::list(request),
        R::DeleteGroups(request) => groups::tools::delete(request),
        R::ConsumerGroupHeartbeat(request) => groups::consumer_heartbeat(request),
        R::ConsumerGroupDescribe(request) => groups::tools::consumer_describe(request),
    }
}

impl<'a> View<'a> {
    /// A partition by its topic's name. Whether the partition exists is the core's to say.
    fn partition(self, topic: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
        partition(self.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?, index)
    }

    fn topic(self, name: &str) -> Option<TopicId> {
        self.image.topic_named(name).map(|(topic, _)| topic)
    }

    /// A topic's name, as long as there is one.
    fn name(self, topic: TopicId) -> Option<&'a str> {
        self.image.topics.get(&topic).map(|topic| topic.name.as_str())
    }

    /// KIP-951: a partition's leader and its epoch, as far as this broker knows; −1: none.
    fn current_leader(self, partition: TopicPartition) -> (i32, i32) {
        self.image.partitions.get(&partition).map_or((-1, -1), |state| {
            let leader = state.leader.map_or(-1, |node| i32::from(node.0));
            (leader, number(state.leader_epoch.0))
        })
    }

    fn listener(self, node: NodeId) -> Option<&'a (String, u16)> {
        self.cluster.listeners.get(&node)
    }

    /// Where clients reach a broker, if it is one: host, port, rack.
    fn endpoint(self, node: i32) -> Option<(String, i32, Option<String>)> {
        let node = NodeId(u16::try_from(node).ok()?);
        let (host, port) = self.listener(node)?;
        Some((host.clone(), i32::from(*port), self.rack(node)))
    }

    /// A broker's zone, which clients call its rack.
    fn rack(self, node: NodeId) -> Option<String> {
        self.image.brokers.get(&node).map(|broker| format!("zone-{}", broker.zone))
    }
}

fn partition(topic: TopicId, index: i32) -> Result<TopicPartition, ErrorCode> {
    let index = u32::try_from(index).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicPartition { topic, index: PartitionIndex(index) })
}

fn uuid(topic: TopicId) -> Uuid {
    Uuid(topic.0)
}

/// A partition's number as the wire says it.
fn index(partition: TopicPartition) -> i32 {
    number(partition.index.0)
}

/// A number of ours that the wire says as 32 bits with a sign. Panics if it does not fit: the core
/// bounds nodes, partitions and epochs far below that.
fn number(it: u32) -> i32 {
    i32::try_from(it).expect("below 2^31")
}

/// An offset, a producer id.
fn long(it: u64) -> i64 {
    i64::try_from(it).expect("below 2^63")
}

/// The protocol of transactions that a client speaks, by the version of a call: from this one on it
/// follows KIP-890.
fn transaction_version(header: &Header, since: i16) -> TransactionVersion {
    if header.version >= since { TransactionVersion::V2 } else { TransactionVersion::V1 }
}

/// What is there more than once.
fn repeated<T: Ord + Clone>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.into_iter().filter(|item| !seen.insert(item.clone())).collect()
}

/// What a request asks about partitions, topic by topic in the request's order: the topic as it was
/// named, and of each partition its number and what it is to the core, or why there is none.
struct ByTopic<T>(Vec<(T, Vec<Found>)>);

/// A partition's number, and what it is to the core, or why it is nothing.
type Found = (i32, Result<TopicPartition, Code>);

impl ByTopic<String> {
    /// As [`Self::find`], by the names of topics, for requests that say nothing of a partition but
    /// its number.
    fn named(view: View<'_>, topics: impl IntoIterator<Item = (String, Vec<i32>)>) -> Self {
        let bare = |(topic, indexes): (_, Vec<_>)| {
            (topic, indexes.into_iter().map(|index| (index, ())).collect())
        };
        Self::find(topics.into_iter().map(bare), |topic, index, ()| {
            Ok(view.partition(topic, index)?)
        })
    }
}

impl<T> ByTopic<T> {
    /// Finds partitions, or refuses them. `find` also takes note of what the core is asked about
    /// one that is there.
    fn find<I>(
        topics: impl IntoIterator<Item = (T, Vec<(i32, I)>)>,
        mut find: impl FnMut(&T, i32, I) -> Result<TopicPartition, Code>,
    ) -> Self {
        let mut found = Vec::new();
        for (topic, partitions) in topics {
            let partitions = partitions.into_iter();
            let partitions = partitions.map(|(index, it)| (index, find(&topic, index, it)));
            let partitions = partitions.collect();
            found.push((topic, partitions));
        }
        Self(found)
    }

    /// The partitions that the core is asked about.
    fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        self.0.iter().flat_map(|(_, partitions)| partitions).filter_map(|(_, it)| it.ok())
    }

    /// The answer in the same order, made of the core's results, each of which is used once: a
    /// partition that is named more often than it is answered is an invalid request.
    fn answer<R, P, Q>(
        self,
        results: impl IntoIterator<Item = (TopicPartition, Result<R, ErrorCode>)>,
        to_partition: impl Fn(i32, Result<R, Code>) -> P,
        to_topic: impl Fn(T, Vec<P>) -> Q,
    ) -> Vec<Q> {
        let mut left: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for (partition, result) in results {
            left.entry(partition).or_default().push_back(result);
        }
        let mut result = |partition| {
            let results = left.get_mut(&partition);
            let result = results.and_then(VecDeque::pop_front);
            Ok(result.unwrap_or(Err(ErrorCode::InvalidRequest))?)
        };
        let mut topics = Vec::new();
        for (topic, partitions) in self.0 {
            let partitions = partitions
                .into_iter()
                .map(|(index, partition)| to_partition(index, partition.and_then(&mut result)));
            topics.push(to_topic(topic, partitions.collect()));
        }
        topics
    }
}

/// Groups partitions by topic, in the order of both.
fn by_topic<T>(
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> BTreeMap<TopicId, Vec<(TopicPartition, T)>> {
    let mut topics: BTreeMap<TopicId, Vec<_>> = BTreeMap::new();
    for (partition, it) in partitions {
        topics.entry(partition.topic).or_default().push((partition, it));
    }
    topics
}
