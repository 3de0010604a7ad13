//! Reads a recording, frame by frame. Nobody vouches for a file: a length is believed only as its
//! bytes arrive, and memory is in proportion to one frame.

use std::fmt;
use std::io::{self, Read};

use broker_core::format::crc32c;

use super::{BODY_BYTES_MAX, Entry, HEAD_BYTES, HEADER_BYTES, VERSION, is_recording};

/// Why a file can not be read any further: one sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRecording(pub String);

impl fmt::Display for BadRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadRecording {}

/// An entry and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Frame {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// What it says.
    pub entry: Entry,
}

/// How a file ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Behind a whole frame.
    Whole,
    /// It has grown as far as it might, and the process went on.
    Full,
    /// Within a frame: its process was killed.
    Torn {
        /// Where that frame begins.
        offset: u64,
        /// How much of it is there.
        bytes: u64,
    },
}

/// A recording that is being read.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// Of what is next.
    offset: u64,
    /// Whole frames so far.
    frames: u64,
    end: Option<End>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If it is no recording, or one of another version.
    pub fn new(source: R) -> Result<Self, BadRecording> {
        let mut reader = Self { source, offset: 0, frames: 0, end: None };
        let header = reader.take(HEADER_BYTES)?;
        if !is_recording(&header) {
            return Err(BadRecording("it is no recording".to_owned()));
        }
        match header.get(4) {
            Some(&VERSION) => Ok(reader),
            Some(other) => Err(BadRecording(format!(
                "it is a recording of version {other}; this build reads version {VERSION}"
            ))),
            None => Err(BadRecording("it is a recording that was never begun".to_owned())),
        }
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// If the file is damaged here, or can not be read.
    pub fn frame(&mut self) -> Result<Option<Frame>, BadRecording> {
        let (number, offset) = (self.frames + 1, self.offset);
        if self.end == Some(End::Full) {
            return match self.take(1)?.is_empty() {
                true => Ok(None),
                false => Err(damaged(number, offset, "it is behind the file's last one")),
            };
        }
        if self.end.is_some() {
            return Ok(None);
        }
        let head = self.take(HEAD_BYTES)?;
        if head.len() < HEAD_BYTES {
            let torn = End::Torn { offset, bytes: head.len() as u64 };
            self.end = Some(if head.is_empty() { End::Whole } else { torn });
            return Ok(None);
        }
        let field = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four"));
        let (length, check) = (field(0) as usize, field(4));
        if field(8) != crc32c(&head[..8]) {
            return Err(damaged(number, offset, "its head fails its checksum"));
        }
        if length > BODY_BYTES_MAX {
            return Err(damaged(number, offset, "it is longer than any may be"));
        }
        let body = self.take(length)?;
        if body.len() < length {
            self.end = Some(End::Torn { offset, bytes: (HEAD_BYTES + body.len()) as u64 });
            return Ok(None);
        }
        if check != crc32c(&body) {
            return Err(damaged(number, offset, "its body fails its checksum"));
        }
        let Ok((entry, [])) = postcard::take_from_bytes(&body) else {
            return Err(damaged(number, offset, "its checksums hold, and its body makes no sense"));
        };
        self.frames = number;
        if entry == Entry::Full {
            self.end = Some(End::Full);
            // What is behind it is looked at now: whoever stops here must have heard of it.
            return self.frame();
        }
        Ok(Some(Frame { number, offset, entry }))
    }

    /// How the file ends; none until it was read so far.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Whole frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// So many bytes, or fewer at the end.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, BadRecording> {
        let mut taken = Vec::new();
        let read = self.source.by_ref().take(bytes as u64).read_to_end(&mut taken);
        read.map_err(|error: io::Error| BadRecording(format!("it can not be read: {error}")))?;
        self.offset += taken.len() as u64;
        Ok(taken)
    }
}

/// A frame that is not as it was written.
pub(super) fn damaged(number: u64, offset: u64, why: &str) -> BadRecording {
    BadRecording(format!("frame {number}, at byte {offset}, is damaged: {why}"))
}
