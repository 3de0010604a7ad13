//! Clients' connections: frames in, frames out, in order.
//!
//! Each connection has two tasks, one that reads and one that writes. What is malformed closes its
//! connection and no other, with the reason in the log. A client that does not read its answers,
//! or asks faster than it is answered, is not read from (`PIPELINE_MAX`). How many clients there
//! may be, for how long they may be silent, and how much of what they send is kept, is in `limits`.

use std::io;
use std::sync::Arc;

use broker_core::ids::ConnId;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::limits::{Held, Limits, READ_BYTES, Traffic};
use super::{Event, Inputs, Meter};
use crate::front::is_silent;
use crate::wire::{self, ApiKey, BadRequest, FRAME_BYTES_MAX, Header};

/// Requests of one connection that are read before the first of them is answered. Kafka reads one
/// at a time; clients have 5 on their way, tools some dozens.
pub(super) const PIPELINE_MAX: usize = 64;

/// Where a node puts the answers to one connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Answers(mpsc::UnboundedSender<(Header, wire::Response)>);

impl Answers {
    /// A way for answers.
    pub(super) fn channel() -> (Self, mpsc::UnboundedReceiver<(Header, wire::Response)>) {
        let (sender, answers) = mpsc::unbounded_channel();
        (Self(sender), answers)
    }

    /// Sends an answer behind those before it. At most `PIPELINE_MAX` wait.
    pub(super) fn send(&self, header: Header, response: wire::Response) {
        // If the client is gone nobody waits for it.
        let _ = self.0.send((header, response));
    }
}

/// Takes connections for a broker until the broker ends.
pub async fn serve(listener: TcpListener, node: Inputs) {
    serve_within(listener, node, Limits::default()).await;
}

/// As [`serve`], once the broker serves, as Kafka does: who asked before would be told of a cluster
/// that is half there.
pub async fn serve_once_serving(
    mut serving: watch::Receiver<bool>,
    listener: TcpListener,
    node: Inputs,
) {
    if serving.wait_for(|serving| *serving).await.is_ok() {
        serve(listener, node).await;
    }
}

async fn serve_within(listener: TcpListener, node: Inputs, limits: Limits) {
    let mut connections = 0;
    loop {
        // As with Kafka's `max.connections`, whoever comes when there is no place waits in the
        // listener's queue until somebody goes.
        let (stream, place) = tokio::select! { biased;
            () = node.clients.closed() => return,
            accepted = limits.accept(&listener) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection taken");
                    // Out of file descriptors, most likely: let some go first.
                    tokio::time::sleep(tokio::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        connections += 1;
        let conn = ConnId(connections);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(conn = conn.0, %error, "no TCP_NODELAY");
        }
        let (read, write) = halves(stream);
        let (node, limits) = (node.clone(), limits.clone());
        tokio::spawn(async move {
            connection(conn, node, limits, read, write).await;
            drop(place);
        });
    }
}

/// A stream's two directions.
#[cfg(not(madsim))]
fn halves(stream: TcpStream) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
    stream.into_split()
}

/// A simulated stream has no halves of its own.
#[cfg(madsim)]
fn halves(stream: TcpStream) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
    tokio::io::split(stream)
}

/// Serves one client until it is gone.
async fn connection(
    conn: ConnId,
    node: Inputs,
    limits: Limits,
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin + Send + 'static,
) {
    let (sender, answers) = Answers::channel();
    if node.clients.send(Event::Opened(conn, sender)).await.is_err() {
        return;
    }
    let room = Arc::new(Semaphore::new(PIPELINE_MAX));
    let traffic = Arc::new(Traffic::new());
    let kept = (traffic.clone(), limits.idle, node.meter.clone());
    let mut writer = tokio::spawn(answer(write, answers, room.clone(), kept));
    let read = requests(conn, &node, read, (&room, &traffic, &limits));
    let end = tokio::select! { biased;
        _ = &mut writer => Ok(()),
        end = read => end,
        idle = traffic.idle(limits.idle) => Err(idle),
    };
    if let Err(reason) = end {
        if reason.kind() == io::ErrorKind::InvalidData {
            node.meter.undecodable(&reason.to_string());
        }
        tracing::info!(conn = conn.0, %reason, "connection closed");
    }
    writer.abort();
    // If the node is gone it does not matter to it.
    let _ = node.clients.send(Event::Gone(conn)).await;
}

async fn answer(
    mut write: impl AsyncWrite + Unpin,
    mut answers: mpsc::UnboundedReceiver<(Header, wire::Response)>,
    room: Arc<Semaphore>,
    (traffic, idle, meter): (Arc<Traffic>, tokio::time::Duration, Arc<dyn Meter>),
) {
    while let Some((header, response)) = answers.recv().await {
        let mut frame = wire::write_response(&header, &response);
        while !frame.is_empty() {
            match tokio::time::timeout(idle, write.write_buf(&mut frame)).await {
                Ok(Ok(_)) => traffic.seen(),
                Ok(Err(_)) => return,
                Err(_) => return tracing::info!("connection closed: an answer is not taken"),
            }
        }
        if write.flush().await.is_err() {
            return;
        }
        room.add_permits(1);
        if let Some(after) = traffic.answered() {
            meter.answered(header.key, after);
        }
    }
}

async fn requests(
    conn: ConnId,
    node: &Inputs,
    mut read: impl AsyncRead + Unpin,
    (room, traffic, limits): (&Semaphore, &Traffic, &Limits),
) -> io::Result<()> {
    loop {
        room.acquire().await.expect("never closed").forget();
        let Some((frame, held)) = frame(&mut read, traffic, limits).await? else { return Ok(()) };
        let event = match wire::read_request(frame) {
            Ok((header, request)) => {
                if is_silent(&request) {
                    room.add_permits(1);
                } else {
                    traffic.asked();
                }
                Event::Request(conn, header, request, held)
            }
            Err(BadRequest::UnsupportedVersion {
                key: ApiKey::ApiVersions, correlation, ..
            }) => {
                traffic.asked();
                let (key, version) = (ApiKey::ApiVersions, 0);
                Event::UnknownVersion(conn, Header { key, version, correlation, client: None })
            }
            Err(bad) => return Err(io::Error::new(io::ErrorKind::InvalidData, bad)),
        };
        if node.clients.send(event).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads one frame, without its length. None: the client has closed the connection between two.
async fn frame(
    read: &mut (impl AsyncRead + Unpin),
    traffic: &Traffic,
    limits: &Limits,
) -> io::Result<Option<(Bytes, Held)>> {
    let mut length = [0; 4];
    match read.read_exact(&mut length).await {
        Ok(_) => traffic.seen(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let stated = i32::from_be_bytes(length);
    let length = usize::try_from(stated).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| {
        let why = format!("a frame of {stated} bytes; 0 to {FRAME_BYTES_MAX} are allowed");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    let mut held = Held::default();
    let mut bytes = BytesMut::new();
    // What may be read: the first part is everybody's.
    let mut granted = READ_BYTES.min(length);
    while bytes.len() < length {
        if bytes.len() == granted {
            let more = READ_BYTES.min(length - granted);
            limits.hold(&mut held, more).await;
            granted += more;
        }
        let left = granted - bytes.len();
        bytes.reserve(left);
        let mut part = (&mut *read).take(left as u64);
        let arrived = tokio::time::timeout(limits.stalled, part.read_buf(&mut bytes)).await;
        let arrived = arrived.map_err(|_| {
            let (arrived, seconds) = (bytes.len(), limits.stalled.as_secs());
            let why =
                format!("{arrived} of {length} bytes of a frame, and no more for {seconds} s");
            io::Error::new(io::ErrorKind::TimedOut, why)
        })?;
        if arrived? == 0 {
            let why = format!("closed after {} of {length} bytes of a frame", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        traffic.seen();
    }
    Ok(Some((bytes.freeze(), held)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio::net::TcpStream;
    use tokio::time::{Duration, Instant, timeout};

    use super::*;
    use crate::host::{Events, inputs};
    use crate::wire::Request;
    use crate::wire::messages::cluster::api_versions;

    const CONN: ConnId = ConnId(7);

    /// Bytes as a client sends them.
    fn sent(length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        frame.resize(4 + length, 0);
        frame
    }

    fn versions() -> Bytes {
        let header = Header { key: ApiKey::ApiVersions, version: 0, correlation: 1, client: None };
        let request = Request::ApiVersions(api_versions::Request::default());
        wire::write_request(&header, &request)
    }

    /// A connection, its client's end, and what the node hears of it.
    async fn connected(buffer: usize) -> (DuplexStream, (Inputs, Events), Answers) {
        let (client, server) = duplex(buffer);
        let (node, mut events) = inputs();
        let (read, write) = tokio::io::split(server);
        tokio::spawn(connection(CONN, node.clone(), Limits::default(), read, write));
        let Event::Opened(CONN, answers) = events.next().await else { panic!("not opened") };
        (client, (node, events), answers)
    }

    fn answer_to(event: Event, answers: &Answers) {
        let Event::Request(CONN, header, _, _) = event else { panic!("{event:?}") };
        let answer = api_versions::Response::default();
        answers.send(header, wire::Response::ApiVersions(answer));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_idle_is_closed_but_not_while_an_answer_is_owed() {
        let idle = Limits::default().idle;
        let start = Instant::now();
        let (mut client, (_node, mut events), answers) = connected(1 << 10).await;
        // Not idle: bytes came before the time was over.
        tokio::time::sleep(idle - Duration::from_secs(1)).await;
        client.write_all(&versions()).await.unwrap();
        let event = events.next().await;
        let waited = timeout(idle * 5, events.next()).await;
        assert!(waited.is_err(), "it waits for its answer: {waited:?}");
        answer_to(event, &answers);
        let answered = Instant::now();
        assert!(matches!(events.next().await, Event::Gone(CONN)));
        assert!(answered.elapsed() >= idle, "{:?} since the answer", answered.elapsed());
        assert!(start.elapsed() < idle * 9);
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_does_not_take_its_answer_is_closed() {
        let (mut client, (_node, mut events), answers) = connected(32).await;
        client.write_all(&versions()).await.unwrap();
        let event = events.next().await;
        let Event::Request(CONN, header, _, _) = event else { panic!("{event:?}") };
        // More than the client's buffer takes.
        let api_keys = vec![api_versions::ApiVersion::default(); 100];
        let answer = api_versions::Response { api_keys, ..Default::default() };
        answers.send(header, wire::Response::ApiVersions(answer));
        let sent = Instant::now();
        assert!(matches!(events.next().await, Event::Gone(CONN)));
        assert!(sent.elapsed() < Limits::default().idle * 3, "{:?}", sent.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_that_stops_within_a_frame_is_closed() {
        let limits = Limits::default();
        let start = Instant::now();
        let (mut client, (_node, mut events), _answers) = connected(1 << 10).await;
        client.write_all(&sent(100)[..50]).await.unwrap();
        assert!(matches!(events.next().await, Event::Gone(CONN)));
        assert!(start.elapsed() >= limits.stalled && start.elapsed() < limits.idle);
    }

    #[tokio::test]
    async fn connection_for_which_there_is_no_place_waits_for_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (node, mut events) = inputs();
        tokio::spawn(serve_within(listener, node, Limits::of(1, 0)));
        let first = TcpStream::connect(address).await.unwrap();
        let _second = TcpStream::connect(address).await.unwrap();
        assert!(matches!(events.next().await, Event::Opened(ConnId(1), _)));
        drop(first);
        assert!(matches!(events.next().await, Event::Gone(ConnId(1))));
        assert!(matches!(events.next().await, Event::Opened(ConnId(2), _)));
    }

    /// Reads one frame, all of which is there.
    async fn arrived(limits: &Limits, length: usize) -> Held {
        let bytes = sent(length);
        let mut read = &bytes[..];
        let (bytes, held) = frame(&mut read, &Traffic::new(), limits).await.unwrap().unwrap();
        assert_eq!(bytes.len(), length);
        held
    }

    #[tokio::test(start_paused = true)]
    async fn frames_beyond_the_room_go_one_at_a_time_and_small_ones_at_once() {
        let limits = Limits::of(9, 2 * READ_BYTES);
        let patience = Duration::from_secs(3_600);
        let first = arrived(&limits, 3 * READ_BYTES).await;
        let second = arrived(&limits, 9 * READ_BYTES).await;
        let third = timeout(patience, arrived(&limits, 2 * READ_BYTES)).await;
        assert!(third.is_err(), "there is no room, and the second has the turn");
        arrived(&limits, READ_BYTES).await;
        drop(second);
        let third = arrived(&limits, 9 * READ_BYTES).await;
        drop(first);
        arrived(&limits, 3 * READ_BYTES).await;
        drop(third);
    }
}
