//! The connection on which a node speaks to one other: opened again and again, as long as the
//! process that speaks lives.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use broker_core::ids::NodeId;
use broker_core::peer::PeerMsg;
use broker_core::peer::frame::{self, Frame, Hello};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

use super::{
    BACKOFF_MAX, BACKOFF_MIN, CONNECT_WITHIN, FRAME_BYTES_MAX, HELLO_BYTES_MAX, PING_EVERY, frames,
};
use crate::host::Meter;

/// Sends what comes in, until no more can come. Messages wait while a connection is being opened;
/// if that fails, or while nobody is there, they are lost.
pub(super) async fn speak_to(
    address: Arc<str>,
    hello: Hello,
    mut messages: Receiver<PeerMsg>,
    meter: Arc<dyn Meter>,
) {
    let (node, to, receiver) = (hello.from.0, hello.to.0, hello.to);
    let greeting = frame::encode(&Frame::Hello(hello));
    let (mut backoff, mut is_news) = (BACKOFF_MIN, true);
    loop {
        let error = match timeout(CONNECT_WITHIN, open(&address, &greeting)).await {
            Ok(Ok(stream)) => {
                tracing::info!(node, to, %address, "connected");
                (backoff, is_news) = (BACKOFF_MIN, true);
                match speak(stream, &mut messages, (receiver, &*meter)).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Ok(Err(error)) => error,
            Err(_) => {
                let why = format!("no connection within {} s", CONNECT_WITHIN.as_secs());
                io::Error::new(ErrorKind::TimedOut, why)
            }
        };
        match std::mem::take(&mut is_news) {
            true => tracing::warn!(node, to, %address, %error, "not connected"),
            false => tracing::debug!(node, to, %address, %error, "still not connected"),
        }
        tokio::select! { biased;
            () = lose(&mut messages) => return,
            () = sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Takes what comes, for nobody; ends when nothing more can come.
async fn lose(messages: &mut Receiver<PeerMsg>) {
    while messages.recv().await.is_some() {}
}

/// Connects, and is welcome there.
async fn open(address: &str, greeting: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    frames::write(&mut stream, greeting).await?;
    match frames::read(&mut stream, HELLO_BYTES_MAX).await? {
        Some(Frame::Welcome) => Ok(stream),
        Some(other) => Err(unexpected(&other)),
        None => {
            let why = "closed instead of a welcome: the other node's log says why";
            Err(io::Error::new(ErrorKind::ConnectionRefused, why))
        }
    }
}

/// Sends until no more can come, or the connection fails.
async fn speak(
    stream: TcpStream,
    messages: &mut Receiver<PeerMsg>,
    told: (NodeId, &dyn Meter),
) -> io::Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    tokio::select! { biased;
        error = listen(&mut read) => Err(error),
        end = send(&mut write, messages, told) => end,
    }
}

/// Hears that the other node is alive, until it is not.
async fn listen(read: &mut (impl AsyncRead + Unpin)) -> io::Error {
    loop {
        match frames::read(read, HELLO_BYTES_MAX).await {
            Ok(Some(Frame::Ping)) => {}
            Ok(Some(other)) => return unexpected(&other),
            Ok(None) => return io::Error::new(ErrorKind::ConnectionReset, "closed by the other"),
            Err(error) => return error,
        }
    }
}

async fn send(
    write: &mut (impl AsyncWrite + Unpin),
    messages: &mut Receiver<PeerMsg>,
    (to, meter): (NodeId, &dyn Meter),
) -> io::Result<()> {
    loop {
        let mut bytes = Vec::new();
        match timeout(PING_EVERY, messages.recv()).await {
            Ok(Some(msg)) => add(&mut bytes, &msg),
            Ok(None) => return Ok(()),
            Err(_) => bytes = frame::encode(&Frame::Ping),
        }
        while bytes.len() < frames::PIECE_BYTES
            && let Ok(msg) = messages.try_recv()
        {
            add(&mut bytes, &msg);
        }
        frames::write(write, &bytes).await?;
        meter.sent(to, bytes.len());
    }
}

fn add(bytes: &mut Vec<u8>, msg: &PeerMsg) {
    let frame = frame::encode_message(msg);
    if frame.len() > FRAME_BYTES_MAX {
        tracing::error!(bytes = frame.len(), "a message too long for a frame: lost");
        return;
    }
    if bytes.is_empty() {
        *bytes = frame;
    } else {
        bytes.extend_from_slice(&frame);
    }
}

fn unexpected(frame: &Frame) -> io::Error {
    let what = match frame {
        Frame::Hello(_) => "a greeting",
        Frame::Message(_) => "a message",
        Frame::Ping => "a ping",
        Frame::Welcome => "a welcome",
    };
    io::Error::new(ErrorKind::InvalidData, format!("{what} that was not due"))
}
