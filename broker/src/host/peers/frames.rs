//! Frames of nodes on a stream: read and written piece by piece, each piece within a time-out.
//!
//! A frame's memory grows as its bytes arrive; its stated length alone takes none.

use std::io::{self, ErrorKind};

use broker_core::format::{self, ENVELOPE_BYTES, FormatError};
use broker_core::peer::frame::{self, Frame};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::SILENCE_MAX;

/// Bytes that are read or written at a time.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// The next frame, of at most `bytes_max` bytes behind its envelope. None: the stream ends here.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: usize,
) -> io::Result<Option<Frame>> {
    let mut bytes = BytesMut::new();
    fill(stream, &mut bytes, ENVELOPE_BYTES).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let head = bytes.first_chunk().ok_or_else(|| malformed(FormatError::Short))?;
    let body = format::body_bytes(frame::MAGIC, head).map_err(malformed)?;
    if body > bytes_max {
        let why = format!("a frame of {body} bytes; up to {bytes_max} are allowed");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    fill(stream, &mut bytes, ENVELOPE_BYTES + body).await?;
    frame::decode(&bytes).map(Some).map_err(malformed)
}

/// Reads until there are `end` bytes, or the stream ends.
async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    end: usize,
) -> io::Result<()> {
    while bytes.len() < end {
        let missing = end - bytes.len();
        bytes.reserve(missing.min(PIECE_BYTES));
        let mut rest = (&mut *stream).take(missing as u64);
        if timeout(SILENCE_MAX, rest.read_buf(bytes)).await.map_err(|_| silent())?? == 0 {
            break;
        }
    }
    Ok(())
}

/// Writes bytes of whole frames.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), frames: &[u8]) -> io::Result<()> {
    for piece in frames.chunks(PIECE_BYTES) {
        timeout(SILENCE_MAX, stream.write_all(piece)).await.map_err(|_| silent())??;
    }
    timeout(SILENCE_MAX, stream.flush()).await.map_err(|_| silent())?
}

fn silent() -> io::Error {
    let why = format!("nothing moved for {} s", SILENCE_MAX.as_secs());
    io::Error::new(ErrorKind::TimedOut, why)
}

fn malformed(error: FormatError) -> io::Error {
    let why = match error {
        FormatError::Short => "closed in the middle of a frame".to_owned(),
        FormatError::Magic => "not a frame of a node".to_owned(),
        FormatError::Version(other) => {
            format!("frames of version {other}; this node speaks {}", frame::VERSION)
        }
        FormatError::Checksum => "a damaged frame".to_owned(),
        FormatError::Body => "a frame that makes no sense".to_owned(),
    };
    io::Error::new(ErrorKind::InvalidData, why)
}
