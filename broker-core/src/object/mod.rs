//! Data objects: the format in which committed records lie in the store, and the keys of the store.
//!
//! Layout: header (whose upload this is) · blocks · index · footer. A reader gets the footer, then
//! the index, then the one block it needs, by ranges; every part has its own checksum. A block is
//! the record batches of one stream in one epoch, in order. Who writes and who reads is not known
//! here. Source: AutoMQ's stream-set object (data blocks, index block, footer), `ObjectWriter`.

mod key;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::format::{ENVELOPE_BYTES, FormatError, crc32c, open, seal};
use crate::ids::{BrokerEpoch, LeaderEpoch, NodeId, Offset, StreamId};
use crate::metadata::record::{CommittedRange, ObjectKind};
use crate::mutants::{Mutant, Mutants};

pub use key::{
    WalKey, claim_key, claim_prefix, object_key, parse_claim_key, parse_object_key,
    parse_snapshot_key, parse_wal_key, snapshot_key, snapshot_prefix, wal_key, wal_prefix,
};

const HEADER_MAGIC: u32 = 0x5342_4f48; // "SBOH"
const BATCH_MAGIC: u32 = 0x5342_4f42; // "SBOB"
const INDEX_MAGIC: u32 = 0x5342_4f49; // "SBOI"
const FOOTER_MAGIC: u32 = 0x5342_4f46; // "SBOF"
const VERSION: u8 = 1;

/// Bytes of the header: it identifies the upload and can be read alone.
pub const HEADER_BYTES: usize = ENVELOPE_BYTES + 18;

/// Bytes of the footer, at the very end of an object.
pub const FOOTER_BYTES: usize = ENVELOPE_BYTES + 16;

/// A block is closed at this size, so that a fetch of one batch need not read a whole stream's part
/// (AutoMQ's data block: 512 KiB).
const BLOCK_BYTES_MAX: usize = 512 << 10;

/// Bytes of one index entry.
const ENTRY_BYTES: usize = 44;

/// Whose upload an object is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ObjectHeader {
    /// The node that uploads.
    pub node: NodeId,
    /// Its registration.
    pub epoch: BrokerEpoch,
    /// Drawn for this upload: tells its own late put from another's.
    pub nonce: u64,
}

/// Collects records for one object.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Builder {
    parts: BTreeMap<(StreamId, LeaderEpoch), Part>,
    bytes: u64,
}

/// The records of one stream in one epoch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Part {
    start: Offset,
    end: Offset,
    batches: Vec<BlockRecord>,
}

/// One record batch of a block.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockRecord {
    /// First offset.
    pub base: Offset,
    /// Exclusive end.
    pub end: Offset,
    /// The encoded batch.
    pub batch: Bytes,
}

impl Builder {
    /// Adds a batch behind those of its stream and epoch.
    pub fn push(&mut self, stream: StreamId, epoch: LeaderEpoch, record: BlockRecord) {
        assert!(record.base < record.end, "empty record {stream} {:?}", record.base);
        self.bytes += record.batch.len() as u64;
        let part = self.parts.entry((stream, epoch)).or_insert_with(|| Part {
            start: record.base,
            end: record.base,
            batches: Vec::new(),
        });
        part.end = record.end;
        part.batches.push(record);
    }

    /// End of what is held of this stream and epoch: where the next record must start.
    #[must_use]
    pub fn end_of(&self, stream: StreamId, epoch: LeaderEpoch) -> Option<Offset> {
        self.parts.get(&(stream, epoch)).map(|part| part.end)
    }

    /// Bytes of record batches held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The ranges held, ascending by stream and epoch.
    #[must_use]
    pub fn ranges(&self) -> Vec<CommittedRange> {
        let range = |(&(stream, epoch), part): (&(StreamId, LeaderEpoch), &Part)| CommittedRange {
            stream,
            epoch,
            start: part.start,
            end: part.end,
        };
        self.parts.iter().map(range).collect()
    }

    /// One stream's data makes a stream object, more make a stream-set object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        let mut streams = self.parts.keys().map(|&(stream, _)| stream);
        let first = streams.next();
        if streams.all(|stream| Some(stream) == first) {
            ObjectKind::Stream
        } else {
            ObjectKind::StreamSet
        }
    }

    /// The whole object.
    #[must_use]
    pub fn encode(&self, header: ObjectHeader, mutants: Mutants) -> Bytes {
        let mut body = encode_header(header);
        let mut entries = Vec::new();
        for (&(stream, epoch), part) in &self.parts {
            encode_part(stream, epoch, part, &mut body, &mut entries);
        }
        if mutants.on(Mutant::UploadWrongIndex) && entries.len() > 1 {
            let streams: Vec<StreamId> = entries.iter().map(|entry| entry.stream).collect();
            for (at, entry) in entries.iter_mut().enumerate() {
                entry.stream = streams[(at + 1) % streams.len()];
            }
            entries.sort_unstable_by_key(|entry| (entry.stream, entry.epoch, entry.start));
        }
        let index = encode_index(&entries);
        let mut footer = Vec::with_capacity(16);
        footer.extend_from_slice(&(body.len() as u64).to_be_bytes());
        footer.extend_from_slice(&(index.len() as u64).to_be_bytes());
        body.extend_from_slice(&index);
        body.extend_from_slice(&seal(FOOTER_MAGIC, VERSION, &footer));
        body.into()
    }
}

/// Where one block lies and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockEntry {
    /// The stream.
    pub stream: StreamId,
    /// The epoch in which the data was appended.
    pub epoch: LeaderEpoch,
    /// First offset.
    pub start: Offset,
    /// Exclusive end.
    pub end: Offset,
    /// Byte position in the object.
    pub pos: u64,
    /// Length in bytes.
    pub len: u32,
    /// CRC-32C of these bytes: ties the block to this index.
    pub crc: u32,
}

/// The blocks of an object, ascending by stream, epoch and offset.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct Index {
    /// The entries.
    pub entries: Vec<BlockEntry>,
}

impl Index {
    /// The block that holds this offset of this stream.
    #[must_use]
    pub fn find(&self, stream: StreamId, offset: Offset) -> Option<&BlockEntry> {
        // Within a stream, epochs and offsets ascend together, so ends do, too.
        let behind = |entry: &BlockEntry| (entry.stream, entry.end) > (stream, offset);
        let at = self.entries.partition_point(|entry| !behind(entry));
        let entry = self.entries.get(at)?;
        (entry.stream == stream && entry.start <= offset).then_some(entry)
    }
}

/// Where the index lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Footer {
    /// Byte position in the object.
    pub index_pos: u64,
    /// Length in bytes.
    pub index_len: u64,
}

/// Reads the header from the front of an object.
///
/// # Errors
/// If it is torn, damaged or not a data object's.
pub fn decode_header(bytes: &[u8]) -> Result<ObjectHeader, FormatError> {
    let (_, body, _) = open(HEADER_MAGIC, VERSION, bytes)?;
    let mut cursor = Cursor::new(body);
    let header = ObjectHeader {
        node: NodeId(cursor.u16()?),
        epoch: BrokerEpoch(cursor.u64()?),
        nonce: cursor.u64()?,
    };
    cursor.end()?;
    Ok(header)
}

/// Reads the footer: exactly the last [`FOOTER_BYTES`] bytes of an object.
///
/// # Errors
/// If it is torn, damaged or something else.
pub fn decode_footer(bytes: &[u8]) -> Result<Footer, FormatError> {
    let mut cursor = Cursor::new(whole(FOOTER_MAGIC, bytes)?);
    let footer = Footer { index_pos: cursor.u64()?, index_len: cursor.u64()? };
    cursor.end()?;
    Ok(footer)
}

/// Reads the index: exactly the bytes that the footer names.
///
/// # Errors
/// If it is torn, damaged or something else.
pub fn decode_index(bytes: &[u8]) -> Result<Index, FormatError> {
    let mut cursor = Cursor::new(whole(INDEX_MAGIC, bytes)?);
    let mut entries = Vec::with_capacity(cursor.left() / ENTRY_BYTES);
    while cursor.left() > 0 {
        let entry = BlockEntry {
            stream: StreamId(cursor.u64()?),
            epoch: LeaderEpoch(cursor.u32()?),
            start: Offset(cursor.u64()?),
            end: Offset(cursor.u64()?),
            pos: cursor.u64()?,
            len: cursor.u32()?,
            crc: cursor.u32()?,
        };
        entries.push(entry);
    }
    Ok(Index { entries })
}

/// Reads a block: exactly the bytes that its entry names. The batches share the block's memory.
///
/// # Errors
/// If the block or a batch is torn or damaged, or the batches do not cover the entry's offsets one
/// by one.
pub fn decode_block(entry: &BlockEntry, block: &Bytes) -> Result<Vec<BlockRecord>, FormatError> {
    if block.len() != entry.len as usize || crc32c(block) != entry.crc {
        return Err(FormatError::Checksum);
    }
    let mut records = Vec::new();
    let mut left = &block[..];
    let mut next = entry.start;
    while !left.is_empty() {
        let (_, body, rest) = open(BATCH_MAGIC, VERSION, left)?;
        let mut cursor = Cursor::new(body);
        let (base, end) = (Offset(cursor.u64()?), Offset(cursor.u64()?));
        if base != next || end <= base {
            return Err(FormatError::Body);
        }
        let batch = block.slice_ref(cursor.bytes(cursor.left())?);
        records.push(BlockRecord { base, end, batch });
        next = end;
        left = rest;
    }
    if next == entry.end { Ok(records) } else { Err(FormatError::Body) }
}

/// Reads a whole object: every block with its entry.
///
/// # Errors
/// If any part of it is torn or damaged.
pub fn decode_object(object: &Bytes) -> Result<Vec<(BlockEntry, Vec<BlockRecord>)>, FormatError> {
    decode_header(object)?;
    let footer_pos = object.len().checked_sub(FOOTER_BYTES).ok_or(FormatError::Short)?;
    let footer = decode_footer(&object[footer_pos..])?;
    let index = slice(object, footer.index_pos, footer.index_len)?;
    let read = |entry: BlockEntry| {
        let block = slice(object, entry.pos, u64::from(entry.len))?;
        Ok((entry, decode_block(&entry, &block)?))
    };
    decode_index(&index)?.entries.into_iter().map(read).collect()
}

fn encode_header(header: ObjectHeader) -> Vec<u8> {
    let mut body = Vec::with_capacity(18);
    body.extend_from_slice(&header.node.0.to_be_bytes());
    body.extend_from_slice(&header.epoch.0.to_be_bytes());
    body.extend_from_slice(&header.nonce.to_be_bytes());
    seal(HEADER_MAGIC, VERSION, &body)
}

/// Appends the blocks of one part and their entries.
fn encode_part(
    stream: StreamId,
    epoch: LeaderEpoch,
    part: &Part,
    object: &mut Vec<u8>,
    entries: &mut Vec<BlockEntry>,
) {
    let mut open_entry: Option<BlockEntry> = None;
    for record in &part.batches {
        let mut body = Vec::with_capacity(16 + record.batch.len());
        body.extend_from_slice(&record.base.0.to_be_bytes());
        body.extend_from_slice(&record.end.0.to_be_bytes());
        body.extend_from_slice(&record.batch);
        let pos = object.len() as u64;
        object.extend_from_slice(&seal(BATCH_MAGIC, VERSION, &body));
        let entry = open_entry.get_or_insert(BlockEntry {
            stream,
            epoch,
            start: record.base,
            end: record.end,
            pos,
            len: 0,
            crc: 0,
        });
        entry.end = record.end;
        entry.len = u32::try_from(object.len() as u64 - entry.pos).expect("a block is below 4 GiB");
        if entry.len as usize >= BLOCK_BYTES_MAX {
            entries.extend(close_entry(open_entry.take(), object));
        }
    }
    entries.extend(close_entry(open_entry, object));
}

fn close_entry(entry: Option<BlockEntry>, object: &[u8]) -> Option<BlockEntry> {
    entry.map(|entry| {
        let pos = usize::try_from(entry.pos).expect("the object is in memory");
        BlockEntry { crc: crc32c(&object[pos..]), ..entry }
    })
}

fn encode_index(entries: &[BlockEntry]) -> Vec<u8> {
    let mut body = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        body.extend_from_slice(&entry.stream.0.to_be_bytes());
        body.extend_from_slice(&entry.epoch.0.to_be_bytes());
        body.extend_from_slice(&entry.start.0.to_be_bytes());
        body.extend_from_slice(&entry.end.0.to_be_bytes());
        body.extend_from_slice(&entry.pos.to_be_bytes());
        body.extend_from_slice(&entry.len.to_be_bytes());
        body.extend_from_slice(&entry.crc.to_be_bytes());
    }
    seal(INDEX_MAGIC, VERSION, &body)
}

/// The body of an envelope that fills `bytes` to the end.
fn whole(magic: u32, bytes: &[u8]) -> Result<&[u8], FormatError> {
    let (_, body, rest) = open(magic, VERSION, bytes)?;
    if rest.is_empty() { Ok(body) } else { Err(FormatError::Body) }
}

fn slice(object: &Bytes, pos: u64, len: u64) -> Result<Bytes, FormatError> {
    let end = pos.checked_add(len).ok_or(FormatError::Short)?;
    let (pos, end) = (usize::try_from(pos), usize::try_from(end));
    let (Ok(pos), Ok(end)) = (pos, end) else { return Err(FormatError::Short) };
    if end > object.len() { Err(FormatError::Short) } else { Ok(object.slice(pos..end)) }
}
