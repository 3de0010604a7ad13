//! Asks the brokers of a cluster: one connection to each that is needed, one request at a time, in
//! the newest version that both sides speak.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

use super::told;
use crate::wire::messages::cluster::{api_versions, metadata};
use crate::wire::messages::records::list_offsets;
use crate::wire::{self, ApiKey, FRAME_BYTES_MAX, Header, Request, Response};

/// How long a broker may take to be connected to, and for each answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Takes the body of an answer out of its variant; another one would be a bug of the codec.
macro_rules! body {
    ($answer:expr, $Call:ident) => {
        match $answer {
            $crate::wire::Response::$Call(body) => body,
            other => unreachable!("the codec read {:?} as {}", other.key(), stringify!($Call)),
        }
    };
}

pub(super) use body;

/// Partitions by topic.
pub(super) type Partitions = BTreeMap<String, Vec<i32>>;

/// The brokers of a cluster.
pub(super) struct Cluster {
    first: Connection,
    /// Where they are: `HOST:PORT`.
    pub(super) brokers: BTreeMap<i32, String>,
    connections: BTreeMap<i32, Connection>,
}

impl Cluster {
    /// Connects to a broker, and asks it for the others.
    pub(super) async fn at(bootstrap: &str) -> Result<Self, String> {
        let mut first = Connection::to(bootstrap).await?;
        let none = metadata::Request { topics: Some(Vec::new()), ..Default::default() };
        let answer = body!(first.ask(&Request::Metadata(none)).await?, Metadata);
        let address = |it: &metadata::MetadataResponseBroker| match it.host.contains(':') {
            true => (it.node_id, format!("[{}]:{}", it.host, it.port)),
            false => (it.node_id, format!("{}:{}", it.host, it.port)),
        };
        let brokers = answer.brokers.iter().map(address).collect();
        Ok(Self { first, brokers, connections: BTreeMap::new() })
    }

    /// The topics of these names, or all; nothing is created.
    pub(super) async fn topics(
        &mut self,
        names: Option<&[String]>,
    ) -> Result<Vec<metadata::MetadataResponseTopic>, String> {
        let topic = |name: &String| metadata::MetadataRequestTopic {
            name: Some(name.clone()),
            ..Default::default()
        };
        let request = Request::Metadata(metadata::Request {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        });
        Ok(body!(self.first.ask(&request).await?, Metadata).topics)
    }

    /// Asks the broker that was named.
    pub(super) async fn ask_any(&mut self, request: &Request) -> Result<Response, String> {
        self.first.ask(request).await
    }

    /// Asks this broker.
    pub(super) async fn ask(&mut self, broker: i32, request: &Request) -> Result<Response, String> {
        if !self.connections.contains_key(&broker) {
            let address = self.brokers.get(&broker);
            let address = address.ok_or(format!("broker {broker}: not in the metadata"))?;
            let of = |why| format!("broker {broker}: {why}");
            let connection = Connection::to(address).await.map_err(of)?;
            self.connections.insert(broker, connection);
        }
        let connection = self.connections.get_mut(&broker).expect("it is there now");
        connection.ask(request).await.map_err(|why| format!("broker {broker}: {why}"))
    }

    /// The offsets of these partitions, given by leader, that ListOffsets has for a time (−2: the
    /// first, −1: the end); or the error's number.
    pub(super) async fn offsets(
        &mut self,
        led: &BTreeMap<i32, Partitions>,
        timestamp: i64,
    ) -> Result<BTreeMap<(String, i32), Result<i64, i16>>, String> {
        let mut offsets = BTreeMap::new();
        for (leader, topics) in led {
            let partition = |at: &i32| list_offsets::ListOffsetsPartition {
                partition_index: *at,
                timestamp,
                ..Default::default()
            };
            let topics = topics.iter().map(|(name, partitions)| list_offsets::ListOffsetsTopic {
                name: name.clone(),
                partitions: partitions.iter().map(partition).collect(),
            });
            let topics = topics.collect();
            let request = list_offsets::Request { replica_id: -1, topics, ..Default::default() };
            let answer = self.ask(*leader, &Request::ListOffsets(request)).await?;
            for topic in body!(answer, ListOffsets).topics {
                for it in topic.partitions {
                    let result =
                        if it.error_code == 0 { Ok(it.offset) } else { Err(it.error_code) };
                    offsets.insert((topic.name.clone(), it.partition_index), result);
                }
            }
        }
        Ok(offsets)
    }
}

/// A connection to one broker.
struct Connection {
    address: String,
    stream: TcpStream,
    correlation: i32,
    /// What it speaks: the oldest and the newest version of each call.
    versions: BTreeMap<i16, (i16, i16)>,
}

impl Connection {
    async fn to(address: &str) -> Result<Self, String> {
        let stream = timeout(ANSWER_WITHIN, TcpStream::connect(address)).await;
        let stream = match stream {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(format!("{address}: {error}")),
            Err(_) => return Err(format!("{address}: no connection within {ANSWER_WITHIN:?}")),
        };
        let (address, versions) = (address.to_owned(), BTreeMap::new());
        let mut connection = Self { address, stream, correlation: 0, versions };
        let request = Request::ApiVersions(api_versions::Request::default());
        let answer = body!(connection.exchange(0, &request).await?, ApiVersions);
        if let Some(why) = told(answer.error_code) {
            return Err(format!("{}: ApiVersions: {why}", connection.address));
        }
        let spoken = answer.api_keys.iter();
        let spoken = spoken.map(|it| (it.api_key, (it.min_version, it.max_version)));
        connection.versions = spoken.collect();
        Ok(connection)
    }

    async fn ask(&mut self, request: &Request) -> Result<Response, String> {
        let key = request.key();
        let ((oldest, newest), theirs) = (key.versions(), self.versions.get(&(key as i16)));
        let Some(&(their_oldest, their_newest)) = theirs else {
            return Err(format!("{}: {key:?} is not spoken there", self.address));
        };
        let version = newest.min(their_newest);
        if version < oldest.max(their_oldest) {
            return Err(format!(
                "{}: {key:?} is spoken there in versions {their_oldest} to {their_newest}, \
                 here in {oldest} to {newest}",
                self.address
            ));
        }
        self.exchange(version, request).await
    }

    async fn exchange(&mut self, version: i16, request: &Request) -> Result<Response, String> {
        let key = request.key();
        match timeout(ANSWER_WITHIN, self.try_exchange(version, request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(format!("{}: {key:?}: {error}", self.address)),
            Err(_) => Err(format!("{}: {key:?}: no answer within {ANSWER_WITHIN:?}", self.address)),
        }
    }

    async fn try_exchange(&mut self, version: i16, request: &Request) -> io::Result<Response> {
        self.correlation += 1;
        let (key, correlation): (ApiKey, i32) = (request.key(), self.correlation);
        let client = Some("seedbed-inspect".to_owned());
        let header = Header { key, version, correlation, client };
        self.stream.write_all(&wire::write_request(&header, request)).await?;
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let stated = self.stream.read_i32().await?;
        let length = usize::try_from(stated).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| wrong(format!("an answer of {stated} bytes")))?;
        let mut frame = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut frame).await?;
        if frame.len() < length {
            return Err(wrong(format!("closed after {} of {length} bytes", frame.len())));
        }
        let answer = wire::read_response(&header, Bytes::from(frame));
        match answer.map_err(|malformed| wrong(malformed.to_string()))? {
            (echo, response) if echo == correlation => Ok(response),
            (echo, _) => Err(wrong(format!("the answer to request {echo}, not {correlation}"))),
        }
    }
}
