//! Clients' connections: frames in, frames out, in order.
//!
//! Each connection has two tasks, one that reads and one that writes. What is malformed closes its
//! connection and no other, with the reason in the log. A client that does not read its answers, or
//! asks faster than it is answered, is not read from (`PIPELINE_MAX`).

use std::io;
use std::sync::Arc;

use broker_core::ids::ConnId;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::{Event, Inputs};
use crate::front::is_silent;
use crate::wire::{self, ApiKey, BadRequest, FRAME_BYTES_MAX, Header};

/// Requests of one connection that are read before the first of them is answered. Kafka reads one
/// at a time; clients have 5 on their way, tools some dozens.
pub(super) const PIPELINE_MAX: usize = 64;

/// A frame's buffer grows by this much at a time, as its bytes arrive: its stated length alone
/// takes no memory.
const READ_BYTES: usize = 64 << 10;

/// Where a node puts the answers to one connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Answers(mpsc::UnboundedSender<(Header, wire::Response)>);

impl Answers {
    /// Sends an answer behind those before it. At most `PIPELINE_MAX` wait.
    pub(super) fn send(&self, header: Header, response: wire::Response) {
        // If the client is gone nobody waits for it.
        let _ = self.0.send((header, response));
    }
}

/// Takes connections for a broker until the broker ends.
pub async fn serve(listener: TcpListener, node: Inputs) {
    let mut connections = 0;
    loop {
        let stream = tokio::select! { biased;
            () = node.clients.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
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
        let (read, write) = stream.into_split();
        tokio::spawn(connection(conn, node.clone(), read, write));
    }
}

/// Serves one client until it is gone.
async fn connection(
    conn: ConnId,
    node: Inputs,
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin + Send + 'static,
) {
    let (sender, answers) = mpsc::unbounded_channel();
    if node.clients.send(Event::Opened(conn, Answers(sender))).await.is_err() {
        return;
    }
    let room = Arc::new(Semaphore::new(PIPELINE_MAX));
    let mut writer = tokio::spawn(answer(write, answers, room.clone()));
    let end = tokio::select! { biased;
        _ = &mut writer => Ok(()),
        end = requests(conn, &node, read, &room) => end,
    };
    if let Err(reason) = end {
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
) {
    while let Some((header, response)) = answers.recv().await {
        let frame = wire::write_response(&header, &response);
        if write.write_all(&frame).await.is_err() || write.flush().await.is_err() {
            return;
        }
        room.add_permits(1);
    }
}

async fn requests(
    conn: ConnId,
    node: &Inputs,
    mut read: impl AsyncRead + Unpin,
    room: &Semaphore,
) -> io::Result<()> {
    loop {
        room.acquire().await.expect("never closed").forget();
        let Some(frame) = frame(&mut read).await? else { return Ok(()) };
        let event = match wire::read_request(frame) {
            Ok((header, request)) => {
                if is_silent(&request) {
                    room.add_permits(1);
                }
                Event::Request(conn, header, request)
            }
            Err(BadRequest::UnsupportedVersion {
                key: ApiKey::ApiVersions, correlation, ..
            }) => {
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
async fn frame(read: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match read.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let stated = i32::from_be_bytes(length);
    let length = usize::try_from(stated).ok().filter(|length| *length <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| {
        let why = format!("a frame of {stated} bytes; 0 to {FRAME_BYTES_MAX} are allowed");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    let mut bytes = BytesMut::new();
    let mut rest = read.take(length as u64);
    while bytes.len() < length {
        bytes.reserve(READ_BYTES.min(length - bytes.len()));
        if rest.read_buf(&mut bytes).await? == 0 {
            let why = format!("closed after {} of {length} bytes of a frame", bytes.len());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
    }
    Ok(Some(bytes.freeze()))
}
