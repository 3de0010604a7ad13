//! A proxy in front of a cluster that plays a trick on produced batches, and tells clients that it
//! is the cluster's brokers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use broker::wire::codec::Uuid;
use broker::wire::messages::records::produce;
use broker::wire::{self, ApiKey, Header, Request, Response};
use broker_core::batch::{self, NewRecord, ProducerStamp};
use broker_core::ids::NodeId;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A trick is played on each batch of this many, but for the first ones.
const EACH: u64 = 25;

/// A partition's batches are forgotten from this one on.
const FORGETS_FROM: u64 = 10;

const UNKNOWN_SERVER_ERROR: i16 = -1;

/// What happens to a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trick {
    /// It is acknowledged, and never written: so it goes with every batch of a partition from some
    /// moment on, at the offsets that it would have had.
    Forget,
    /// It is written twice.
    Double,
    /// A byte of a value is changed, and the checksum with it.
    Flip,
    /// No batch is taken.
    Refuse,
    /// No fetch is ever answered.
    Hang,
    /// It does not speak CreatePartitions, nor KIP-848.
    Lack,
    /// It tells nobody where a partition ends.
    Untold,
}

/// A proxy: one socket for each broker.
pub(crate) struct Proxy {
    first: SocketAddr,
}

/// What all connections know: where clients find each broker, and how many batches went through.
struct State {
    trick: Trick,
    public: BTreeMap<i32, SocketAddr>,
    batches: Mutex<u64>,
    turn: tokio::sync::Mutex<()>,
    /// By partition: how many batches came, and the offset behind the last one.
    ends: Mutex<BTreeMap<(String, i32), (u64, i64)>>,
}

impl Proxy {
    pub(crate) async fn start(brokers: &BTreeMap<NodeId, SocketAddr>, trick: Trick) -> Self {
        let mut sockets = Vec::new();
        let mut public = BTreeMap::new();
        for (node, behind) in brokers {
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            public.insert(i32::from(node.0), socket.local_addr().expect("bound"));
            sockets.push((socket, *behind));
        }
        let first = *public.values().next().expect("a broker");
        let (batches, turn, ends) = (Mutex::new(0), <_>::default(), Mutex::default());
        let state = Arc::new(State { trick, public, batches, turn, ends });
        for (socket, behind) in sockets {
            let state = state.clone();
            tokio::spawn(async move {
                while let Ok((client, _)) = socket.accept().await {
                    let broker = TcpStream::connect(behind).await.expect("a broker");
                    tokio::spawn(serve(client, broker, state.clone()));
                }
            });
        }
        Self { first }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.first
    }
}

/// One request after the other: nobody waits for long, fetches have connections of their own.
async fn serve(mut client: TcpStream, mut broker: TcpStream, state: Arc<State>) -> Option<()> {
    loop {
        let frame = frame(&mut client).await?;
        let (header, mut request) = wire::read_request(frame).expect("our own client asks");
        // One produce after the other: none is under way when a partition begins to forget.
        let turn = match &request {
            Request::Produce(_) => Some(state.turn.lock().await),
            _ => None,
        };
        let played = play(&state, &mut request);
        let response = match played {
            Some(Trick::Forget | Trick::Refuse) if is_silent(&request) => continue,
            Some(Trick::Forget) => forgotten(&state, &request),
            Some(Trick::Double) => {
                let first = exchange(&mut broker, &header, &request).await?;
                exchange(&mut broker, &header, &request).await?;
                first
            }
            Some(Trick::Refuse) => refused(&request),
            Some(Trick::Hang) => std::future::pending().await,
            _ if is_silent(&request) => {
                broker.write_all(&wire::write_request(&header, &request)).await.ok()?;
                continue;
            }
            Some(Trick::Flip | Trick::Lack | Trick::Untold) | None => {
                let response = exchange(&mut broker, &header, &request).await?;
                took_note(&state, &request, &response);
                response
            }
        };
        drop(turn);
        let response = readdressed(&state, response);
        client.write_all(&wire::write_response(&header, &response)).await.ok()?;
    }
}

fn is_silent(request: &Request) -> bool {
    matches!(request, Request::Produce(request) if request.acks == 0)
}

/// Whether a trick is played on this request, which is changed for it.
fn play(state: &State, request: &mut Request) -> Option<Trick> {
    let hangs = state.trick == Trick::Hang && matches!(request, Request::Fetch(_));
    if hangs || state.trick == Trick::Refuse && matches!(request, Request::Produce(_)) {
        return Some(state.trick);
    }
    if matches!(state.trick, Trick::Refuse | Trick::Hang | Trick::Lack | Trick::Untold) {
        return None;
    }
    let Request::Produce(produce) = request else { return None };
    let sound = |records: &Option<Bytes>| {
        records.as_ref().is_some_and(|records| batch::verify(records).is_ok())
    };
    let topic = key(produce.topic_data.first()?);
    let partitions = produce.topic_data.iter_mut().flat_map(|it| &mut it.partition_data);
    let [partition] = &mut partitions.collect::<Vec<_>>()[..] else { return None };
    if state.trick == Trick::Forget {
        let mut ends = state.ends.lock().expect("nobody panics with it");
        let (batches, end) = ends.get_mut(&(topic, partition.index))?;
        let forgets = *batches >= FORGETS_FROM && sound(&partition.records);
        return (forgets && *end > 0).then_some(Trick::Forget);
    }
    if produce.acks != -1 || !sound(&partition.records) {
        return None;
    }
    let mut batches = state.batches.lock().expect("nobody panics with it");
    *batches += 1;
    if !batches.is_multiple_of(EACH) {
        return None;
    }
    if state.trick == Trick::Flip {
        partition.records = partition.records.as_ref().map(flipped);
    }
    Some(state.trick)
}

/// The same records, but for one byte of the last one's value.
fn flipped(records: &Bytes) -> Bytes {
    let views: Vec<_> = batch::records(records).map(|view| view.expect("a sound batch")).collect();
    let mut values: Vec<Vec<u8>> =
        views.iter().map(|view| view.value.unwrap_or_default().to_vec()).collect();
    *values.last_mut().and_then(|value| value.last_mut()).expect("a value") ^= 1;
    let header = |(key, value)| (str::from_utf8(key).expect("our own"), value);
    let headers = views.iter().map(|view| view.headers.map(header).collect());
    let headers: Vec<Vec<_>> = headers.collect();
    let new = views.iter().zip(&values).zip(&headers);
    let new = new.map(|((view, value), headers)| NewRecord {
        timestamp: view.timestamp,
        key: view.key,
        value: Some(value),
        headers,
    });
    batch::build(&new.collect::<Vec<_>>(), ProducerStamp::NONE)
}

/// The only partition of a produce, and how many records it is to take.
fn only(request: &Request) -> Option<((String, i32), i64)> {
    let Request::Produce(asked) = request else { return None };
    let topic = asked.topic_data.first()?;
    let partition = topic.partition_data.first()?;
    let records = batch::records(partition.records.as_ref()?).count();
    Some(((key(topic), partition.index), i64::try_from(records).ok()?))
}

/// A topic by its name and its id: Produce says one of them.
fn key(topic: &produce::TopicProduceData) -> String {
    format!("{}{:x}", topic.name, topic.topic_id.0)
}

/// The only topic of a produce, as it is named there.
fn topic(request: &Request) -> (String, Uuid) {
    let Request::Produce(asked) = request else { unreachable!("only produces are asked about") };
    (asked.topic_data[0].name.clone(), asked.topic_data[0].topic_id)
}

/// Where the next batch of a partition would be.
fn took_note(state: &State, request: &Request, response: &Response) {
    let (Some((of, records)), Response::Produce(told)) = (only(request), response) else { return };
    let told = &told.responses[0].partition_responses[0];
    if told.error_code == 0 {
        let mut ends = state.ends.lock().expect("nobody panics with it");
        let (batches, end) = ends.entry(of).or_default();
        *batches += 1;
        *end = told.base_offset + records;
    }
}

/// INVALID_RECORD: nothing was written.
fn refused(request: &Request) -> Response {
    let ((_, index), _) = only(request).expect("a produce is refused");
    let (name, topic_id) = topic(request);
    let partition = produce::PartitionProduceResponse {
        index,
        error_code: 87,
        base_offset: -1,
        ..produce::PartitionProduceResponse::default()
    };
    let partition_responses = vec![partition];
    let responses = vec![produce::TopicProduceResponse { name, topic_id, partition_responses }];
    Response::Produce(produce::Response { responses, ..Default::default() })
}

/// As if it had been written.
fn forgotten(state: &State, request: &Request) -> Response {
    let (of, records) = only(request).expect("a produce is forgotten");
    let (name, topic_id) = topic(request);
    let mut ends = state.ends.lock().expect("nobody panics with it");
    let (_, end) = ends.get_mut(&of).expect("batches came before");
    let partition = produce::PartitionProduceResponse {
        index: of.1,
        error_code: 0,
        base_offset: *end,
        log_start_offset: 0,
        ..produce::PartitionProduceResponse::default()
    };
    *end += records;
    let partition_responses = vec![partition];
    let responses = vec![produce::TopicProduceResponse { name, topic_id, partition_responses }];
    Response::Produce(produce::Response { responses, ..Default::default() })
}

async fn exchange(broker: &mut TcpStream, header: &Header, request: &Request) -> Option<Response> {
    broker.write_all(&wire::write_request(header, request)).await.ok()?;
    let frame = frame(broker).await?;
    let (correlation, response) = wire::read_response(header, frame).expect("our own broker");
    assert_eq!(correlation, header.correlation);
    Some(response)
}

/// Brokers are where the proxy is.
fn readdressed(state: &State, response: Response) -> Response {
    let host =
        |id: i32| state.public.get(&id).map(|at| (at.ip().to_string(), i32::from(at.port())));
    match response {
        Response::Metadata(mut it) => {
            for broker in &mut it.brokers {
                (broker.host, broker.port) = host(broker.node_id).expect("a broker behind it");
            }
            Response::Metadata(it)
        }
        Response::ApiVersions(mut it) if state.trick == Trick::Lack => {
            let lacks = [ApiKey::CreatePartitions, ApiKey::ConsumerGroupHeartbeat];
            it.api_keys.retain(|it| lacks.iter().all(|key| *key as i16 != it.api_key));
            Response::ApiVersions(it)
        }
        Response::ListOffsets(mut it) if state.trick == Trick::Untold => {
            let partitions = it.topics.iter_mut().flat_map(|it| &mut it.partitions);
            partitions.for_each(|it| it.error_code = UNKNOWN_SERVER_ERROR);
            Response::ListOffsets(it)
        }
        Response::FindCoordinator(mut it) => {
            for found in &mut it.coordinators {
                if let Some((at, port)) = host(found.node_id) {
                    (found.host, found.port) = (at, port);
                }
            }
            Response::FindCoordinator(it)
        }
        other => {
            debug_assert_ne!(other.key(), ApiKey::DescribeCluster, "no client asks that");
            other
        }
    }
}

async fn frame(stream: &mut TcpStream) -> Option<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.ok()?;
    let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes.into())
}
