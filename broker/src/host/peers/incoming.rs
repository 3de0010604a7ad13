//! The connections on which other nodes speak to this one. Of each node one is open: a newer one
//! takes the place of the one before, unless that is of a newer process.
//!
//! Whatever is wrong closes its own connection and no other, with the reason in the log.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use broker_core::ids::{Incarnation, NodeId};
use broker_core::peer::frame::{self, Frame, Hello};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::{Duration, sleep, timeout};

use super::{CONNECT_WITHIN, FRAME_BYTES_MAX, HELLO_BYTES_MAX, Links, PING_EVERY, frames};
use crate::host::{Event, Inputs};

/// Connections that other nodes have opened. Dropping a sender closes the connection; a dropped
/// receiver says that it is closed.
type Open = Mutex<BTreeMap<NodeId, (Incarnation, oneshot::Sender<Infallible>)>>;

/// Takes connections of other nodes, and tells `node` what they say, until it has ended.
pub async fn listen(listener: TcpListener, links: Arc<Links>, node: Inputs) {
    let open = Arc::new(Open::default());
    loop {
        let (stream, address) = tokio::select! { biased;
            () = node.inside.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection of a node taken");
                    // Out of file descriptors, most likely: let some go first.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (links, node, open) = (links.clone(), node.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(reason) = connection(stream, &links, &node, &open).await {
                let node = links.node.0;
                tracing::warn!(node, %address, %reason, "connection of a node closed");
            }
        });
    }
}

/// Serves one connection to its end.
async fn connection(
    mut stream: TcpStream,
    links: &Links,
    node: &Inputs,
    open: &Open,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let greeting = timeout(CONNECT_WITHIN, frames::read(&mut stream, HELLO_BYTES_MAX));
    let from = match greeting.await.map_err(|_| refused("no greeting in time"))?? {
        Some(Frame::Hello(hello)) => (check(&hello, links)?, hello.incarnation),
        Some(Frame::Message(_) | Frame::Ping | Frame::Welcome) => {
            return Err(refused("does not begin with a greeting"));
        }
        None => return Ok(()),
    };
    let replaced = take_place(from, open)?;
    let (mut read, mut write) = tokio::io::split(stream);
    frames::write(&mut write, &frame::encode(&Frame::Welcome)).await?;
    tokio::select! { biased;
        () = node.inside.closed() => Ok(()),
        _ = replaced => Ok(()),
        end = hear(&mut read, from.0, node) => end,
        error = ping(&mut write) => Err(error),
    }
}

/// Whether the greeting is for this node, and of one that it knows: which one.
fn check(hello: &Hello, links: &Links) -> io::Result<NodeId> {
    let Hello { cluster, from, to, incarnation: _ } = hello;
    if *cluster != links.cluster {
        let cluster = cluster.escape_default();
        return Err(refused(&format!("node {from} of another cluster, \"{cluster}\"")));
    }
    if *to != links.node {
        return Err(refused(&format!("node {from} looks for node {to} here")));
    }
    if !links.others.contains_key(from) {
        return Err(refused(&format!("node {from}, which is not in the configuration")));
    }
    Ok(*from)
}

/// Closes the connection that was there before. Returns what ends when this one must be closed.
fn take_place(
    (from, incarnation): (NodeId, Incarnation),
    open: &Open,
) -> io::Result<oneshot::Receiver<Infallible>> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((newer, sender)) = open.get(&from)
        && *newer > incarnation
        && !sender.is_closed()
    {
        return Err(refused(&format!("process {incarnation} of node {from}; {newer} is here")));
    }
    let (sender, replaced) = oneshot::channel();
    open.insert(from, (incarnation, sender));
    Ok(replaced)
}

/// Tells the node what comes, until the connection ends. What the node has no room for is lost.
async fn hear(read: &mut (impl AsyncRead + Unpin), from: NodeId, node: &Inputs) -> io::Result<()> {
    loop {
        match frames::read(read, FRAME_BYTES_MAX).await? {
            Some(Frame::Message(msg)) => match node.inside.try_send(Event::Peer(from, msg)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => {
                    tracing::debug!(from = from.0, "no room for a message: lost");
                }
                Err(TrySendError::Closed(_)) => return Ok(()),
            },
            Some(Frame::Ping) => {}
            Some(Frame::Hello(_) | Frame::Welcome) => return Err(refused("greets twice")),
            None => return Ok(()),
        }
    }
}

/// Shows that this node is alive.
async fn ping(write: &mut (impl AsyncWrite + Unpin)) -> io::Error {
    let ping = frame::encode(&Frame::Ping);
    loop {
        sleep(PING_EVERY).await;
        if let Err(error) = frames::write(write, &ping).await {
            return error;
        }
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
