//! What crosses from one node's process to another's, as bytes: a greeting, then messages.
//!
//! Each frame is a postcard body in the envelope of [`crate::format`]. No length in it is trusted
//! beyond the bytes that are there, and no type here holds itself: reading a frame takes memory in
//! proportion to its size, and a stack of fixed depth. Sockets, limits and time-outs are the
//! host's.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::PeerMsg;
use crate::format::{self, FormatError};
use crate::ids::{Incarnation, NodeId};

/// Opens a frame.
pub const MAGIC: u32 = u32::from_be_bytes(*b"SBpf");

/// The layout of all that is said between nodes: raised whenever any of it changes. A node speaks
/// with nodes of its own version only.
pub const VERSION: u8 = 3;

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Frame {
    /// The first frame of a connection, from whoever opened it.
    Hello(Hello),
    /// What the machine of one node says to that of the other.
    Message(PeerMsg),
    /// Nothing: the sender is alive.
    Ping,
    /// The only answer to [`Frame::Hello`]: it was meant for this node, and messages may come.
    Welcome,
}

/// Who speaks to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster of both.
    pub cluster: String,
    /// The sender of all that follows.
    pub from: NodeId,
    /// Whom it means to speak to.
    pub to: NodeId,
    /// The sender's process.
    pub incarnation: Incarnation,
}

/// A frame as borrowed: messages are large, and encoding one must not copy it first. The same
/// layout as [`Frame`].
#[derive(Serialize)]
enum Borrowed<'a> {
    #[expect(dead_code, reason = "stands for its number")]
    Hello(&'a Hello),
    Message(&'a PeerMsg),
}

/// The bytes of a message's frame.
#[must_use]
pub fn encode_message(msg: &PeerMsg) -> Vec<u8> {
    seal(&Borrowed::Message(msg))
}

/// The bytes of a frame.
#[must_use]
pub fn encode(frame: &Frame) -> Vec<u8> {
    seal(frame)
}

fn seal(frame: &impl Serialize) -> Vec<u8> {
    let body = postcard::to_allocvec(frame).expect("frames have known lengths");
    format::seal(MAGIC, VERSION, &body)
}

/// Reads exactly one frame.
///
/// # Errors
/// If `bytes` is not one whole, undamaged frame of this version.
pub fn decode(bytes: &[u8]) -> Result<Frame, FormatError> {
    let (version, body, behind) = format::open(MAGIC, VERSION, bytes)?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let (frame, rest) = postcard::take_from_bytes(body).map_err(|_| FormatError::Body)?;
    if rest.is_empty() && behind.is_empty() { Ok(frame) } else { Err(FormatError::Body) }
}
