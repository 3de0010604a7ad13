//! One connection of a client: a task that owns a stream, says what the client's machine asks and
//! gives back what it is answered.
//!
//! Runs on whatever runtime is called `tokio`: streams are split by `tokio::io::split`, each write
//! is flushed, nothing is drawn. A connection that could not be opened, was closed by the broker or
//! said what can not be is `Gone`; dropping [`Connection`] closes it without a word.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::client::{Act, Dialog, Directory, Refusal};
use broker::wire::FRAME_BYTES_MAX;
use broker_core::ids::ConnId;
use broker_core::protocol::{Request, Response};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// A frame's buffer grows by this much at a time, as its bytes arrive.
const READ_BYTES: usize = 64 << 10;

/// What the connections of one client have learned together.
#[derive(Clone, Default, Debug)]
pub struct Shared(Arc<Mutex<Directory>>);

impl Shared {
    /// For whoever must look something up; not to be held over an `await`.
    pub fn lock(&self) -> MutexGuard<'_, Directory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection reports.
#[derive(Debug)]
pub enum Event {
    /// An answer to the request with this number.
    Response {
        /// The number.
        corr: u32,
        /// The answer.
        response: Response,
    },
    /// A request could not be said to this broker. Its answer, if it has one, comes as `Response`
    /// right behind.
    Refused(Refusal),
    /// It is over, and nothing comes any more.
    Gone {
        /// What happened, in words.
        why: String,
        /// The broker said what can not be.
        broken: bool,
    },
}

/// The client's end of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection(mpsc::UnboundedSender<(u32, Request)>);

impl Connection {
    /// Asks. If the connection is gone, `Gone` says so or has said so.
    pub fn send(&self, corr: u32, request: Request) {
        let _ = self.0.send((corr, request));
    }
}

/// Opens a connection as soon as there is a stream, for a client that calls itself so, in a task of
/// its own. Requests may be sent at once.
pub fn spawn<S>(
    conn: ConnId,
    client: String,
    shared: Shared,
    stream: impl Future<Output = io::Result<S>> + Send + 'static,
    events: mpsc::UnboundedSender<(ConnId, Event)>,
) -> Connection
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (connection, talk) = open(conn, client, shared, stream, events);
    tokio::spawn(talk);
    connection
}

/// As [`spawn`], for whoever chooses where the task runs.
pub fn open<S>(
    conn: ConnId,
    client: String,
    shared: Shared,
    stream: impl Future<Output = io::Result<S>> + Send + 'static,
    events: mpsc::UnboundedSender<(ConnId, Event)>,
) -> (Connection, impl Future<Output = ()> + Send + 'static)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (sender, asked) = mpsc::unbounded_channel();
    let talk = async move {
        let end = run(conn, &client, &shared, stream, asked, &events).await;
        let Err(error) = end else { return };
        let broken = error.kind() == io::ErrorKind::InvalidData;
        // If the client is gone nobody waits for it.
        let _ = events.send((conn, Event::Gone { why: error.to_string(), broken }));
    };
    (Connection(sender), talk)
}

type Asked = mpsc::UnboundedReceiver<(u32, Request)>;
type Events = mpsc::UnboundedSender<(ConnId, Event)>;

/// Until the client has no more to ask (`Ok`), or the connection is gone.
async fn run<S: AsyncRead + AsyncWrite>(
    conn: ConnId,
    client: &str,
    shared: &Shared,
    stream: impl Future<Output = io::Result<S>>,
    mut asked: Asked,
    events: &Events,
) -> io::Result<()> {
    let stream = stream.await?;
    let (read, write) = tokio::io::split(stream);
    let (mut dialog, hello) = Dialog::hello(client);
    let (to_reader, mut frames) = mpsc::channel(1);
    let (to_write, outgoing) = mpsc::unbounded_channel();
    let reading = read_all(read, to_reader);
    let writing = write_all(write, outgoing);
    tokio::pin!(reading, writing);
    let _ = to_write.send(hello);
    loop {
        let acts = tokio::select! { biased;
            Some(frame) = frames.recv() => {
                let answered = dialog.frame(&mut shared.lock(), frame?);
                answered.map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken))?
            }
            never = &mut reading => match never {},
            end = &mut writing => return end,
            request = asked.recv() => {
                let Some((corr, request)) = request else { return Ok(()) };
                dialog.request(&shared.lock(), corr, request)
            }
        };
        for act in acts {
            match act {
                Act::Send(frame) => drop(to_write.send(frame)),
                Act::Answer { corr, response } => {
                    drop(events.send((conn, Event::Response { corr, response })));
                }
                Act::Refused { corr, refusal, response } => {
                    drop(events.send((conn, Event::Refused(refusal))));
                    if let Some(response) = response {
                        drop(events.send((conn, Event::Response { corr, response })));
                    }
                }
            }
        }
    }
}

/// Reads frames until there is none; then it waits for ever, so that none is overtaken by the end.
async fn read_all(
    mut read: impl AsyncRead + Unpin,
    frames: mpsc::Sender<io::Result<Bytes>>,
) -> Infallible {
    loop {
        let frame = read_frame(&mut read).await;
        let over = frame.is_err();
        if frames.send(frame).await.is_err() || over {
            return std::future::pending().await;
        }
    }
}

async fn write_all(
    mut write: impl AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Bytes>,
) -> io::Result<()> {
    while let Some(frame) = frames.recv().await {
        write.write_all(&frame).await?;
        write.flush().await?;
    }
    Ok(())
}

/// Reads one frame, without its length.
pub(super) async fn read_frame(read: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut length = [0; 4];
    read.read_exact(&mut length).await?;
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
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests;
