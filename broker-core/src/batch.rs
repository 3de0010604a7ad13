//! Kafka's record batch, version 2: a typed header in front of opaque bytes.
//!
//! A client's batch is checked and stamped, never re-encoded, and no length in it is trusted beyond
//! the bytes that are there. Whether a batch may be appended (sizes, sequences, leadership) is the
//! partition's business. Compressed records are carried, not read. Source: Kafka's protocol guide
//! ("Record Batch"), `DefaultRecordBatch.java`, `DefaultRecord.java`, `LogValidator.java`.
//!
//! Layout, big-endian: `base_offset` i64, `batch_length` i32 (bytes behind this field),
//! `partition_leader_epoch` i32, `magic` i8, `crc` u32 (CRC-32C of all that follows), `attributes`
//! i16, `last_offset_delta` i32, `base_timestamp` i64, `max_timestamp` i64, `producer_id` i64,
//! `producer_epoch` i16, `base_sequence` i32, `records_count` i32, records.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::format::crc32c;
use crate::ids::{LeaderEpoch, Offset};
use crate::protocol::ErrorCode;
use crate::time::Wall;

mod marker;
mod record;
#[cfg(test)]
mod tests;

pub use marker::Marker;
pub use record::{Headers, NewRecord, RecordView};

/// Bytes of a batch in front of its first record.
pub const HEADER_BYTES: usize = 61;

/// Bytes in front of what `batch_length` counts.
const LENGTH_END: usize = 12;
/// The least that the length can be in any format (`LegacyRecord.RECORD_OVERHEAD_V0`).
const LENGTH_MIN: usize = 14;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

/// The only version of the format that is read and written.
const MAGIC: i8 = 2;

/// Kafka's timestamps: milliseconds since the Unix epoch, −1 for none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// Kafka's `NO_TIMESTAMP`.
    pub const NONE: Self = Self(-1);

    /// The millisecond that this instant lies in.
    #[must_use]
    pub const fn floor(wall: Wall) -> Self {
        Self(wall.0.div_euclid(1_000))
    }

    /// The first millisecond that begins at this instant or later: the bound of a lookup by time.
    #[must_use]
    pub const fn ceil(wall: Wall) -> Self {
        let rest = wall.0.rem_euclid(1_000);
        Self(wall.0.div_euclid(1_000) + (rest != 0) as i64)
    }

    /// The instant at which this millisecond begins; the far ends of the range saturate.
    #[must_use]
    pub const fn wall(self) -> Wall {
        Wall(self.0.saturating_mul(1_000))
    }
}

/// How a batch's records are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the codecs' names say all")]
pub enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The attributes of a batch, as they are in its header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attributes(pub u16);

impl Attributes {
    const LOG_APPEND_TIME: u16 = 1 << 3;
    const TRANSACTIONAL: u16 = 1 << 4;
    const CONTROL: u16 = 1 << 5;

    /// The codec.
    ///
    /// # Errors
    /// If its number is none that Kafka knows.
    pub const fn compression(self) -> Result<Compression, BatchError> {
        match self.0 & 0b111 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            codec => Err(BatchError::Codec(codec)),
        }
    }

    /// The broker set the timestamps (`message.timestamp.type=LogAppendTime`).
    #[must_use]
    pub const fn log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Part of a transaction.
    #[must_use]
    pub const fn transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Holds markers of the broker, no data.
    #[must_use]
    pub const fn control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }
}

/// Who a batch is from, for idempotence and transactions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProducerStamp {
    /// The producer's id; −1: not idempotent.
    pub id: i64,
    /// Its epoch, −1 without id.
    pub epoch: i16,
    /// Sequence number of the first record, −1 without id.
    pub base_sequence: i32,
}

impl ProducerStamp {
    /// A producer without idempotence.
    pub const NONE: Self = Self { id: -1, epoch: -1, base_sequence: -1 };
}

/// A batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Offset of the first record. Clients send 0.
    pub base_offset: Offset,
    /// Size of the whole batch in bytes.
    pub bytes: usize,
    /// Leader epoch it was appended under; `None` (−1) as clients send it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// The last record's offset, counted from the first one's.
    pub last_offset_delta: u32,
    /// Records' timestamps are relative to this one.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp, or the time of the append.
    pub max_timestamp: TimestampMs,
    /// Who sent it.
    pub producer: ProducerStamp,
    /// Number of records.
    pub records: u32,
}

/// Why bytes are no good batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BatchError {
    /// Fewer bytes than promised: torn or truncated.
    Short,
    /// A length that no batch can have.
    Length,
    /// More bytes than the batch, or its records, say.
    Trailing,
    /// Another version of the format.
    Magic(i8),
    /// Damaged.
    Checksum,
    /// A field has a value that no batch can have.
    Field,
    /// No records at all.
    Empty,
    /// The number of records does not agree with the offsets.
    Count,
    /// An unknown compression codec.
    Codec(u16),
    /// The records can not be read here because they are compressed.
    Compressed(Compression),
    /// A record is malformed.
    Record,
    /// A client sent what only a broker writes: markers, or offsets of its own.
    NotFromClient,
}

impl BatchError {
    /// What Kafka answers to a producer that sent this.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            // CorruptRecordException: ByteBufferLogInputStream.nextBatchSize for sizes and versions
            // that there never were, DefaultRecordBatch.ensureValid for the checksum.
            Self::Length | Self::Checksum => ErrorCode::CorruptMessage,
            Self::Magic(magic) if magic < 0 || magic > MAGIC => ErrorCode::CorruptMessage,
            // InvalidRecordException: ProduceRequest.validateRecords (bytes that are no whole batch
            // are no batch at all; older versions), LogValidator.validateBatch,
            // DefaultRecordBatch's iterator.
            Self::Short
            | Self::Trailing
            | Self::Magic(_)
            | Self::Field
            | Self::Empty
            | Self::Count
            | Self::Codec(_)
            | Self::Compressed(_)
            | Self::Record
            | Self::NotFromClient => ErrorCode::InvalidRecord,
        }
    }
}

impl Header {
    /// Reads the header at the front of `bytes`. Checks its fields one by one, but neither that the
    /// whole batch is there nor its checksum: see [`verify`].
    ///
    /// # Errors
    /// If the bytes are too few, of another version, or hold impossible values.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // Length and magic come first: all formats keep them at the same place, and differ behind.
        let front = bytes.first_chunk::<CRC_AT>().ok_or(BatchError::Short)?;
        let length = usize::try_from(i32_at(front, 8)).map_err(|_| BatchError::Length)?;
        if length < LENGTH_MIN {
            return Err(BatchError::Length);
        }
        let magic = i8::from_be_bytes(array_at(front, MAGIC_AT));
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if length < HEADER_BYTES - LENGTH_END {
            return Err(BatchError::Length);
        }
        let head = bytes.first_chunk::<HEADER_BYTES>().ok_or(BatchError::Short)?;
        let leader_epoch = match i32_at(head, LEADER_EPOCH_AT) {
            -1 => None,
            epoch => Some(LeaderEpoch(u32::try_from(epoch).map_err(|_| BatchError::Field)?)),
        };
        Ok(Self {
            base_offset: Offset(u64::try_from(i64_at(head, 0)).map_err(|_| BatchError::Field)?),
            bytes: LENGTH_END + length,
            leader_epoch,
            crc: u32::from_be_bytes(array_at(head, CRC_AT)),
            attributes: Attributes(u16::from_be_bytes(array_at(head, ATTRIBUTES_AT))),
            last_offset_delta: u32::try_from(i32_at(head, 23)).map_err(|_| BatchError::Field)?,
            base_timestamp: TimestampMs(i64_at(head, 27)),
            max_timestamp: TimestampMs(i64_at(head, MAX_TIMESTAMP_AT)),
            producer: ProducerStamp {
                id: i64_at(head, 43),
                epoch: i16::from_be_bytes(array_at(head, 51)),
                base_sequence: i32_at(head, 53),
            },
            records: u32::try_from(i32_at(head, 57)).map_err(|_| BatchError::Field)?,
        })
    }

    /// The offset behind the last record. Panics on overflow, which no log can reach: a client's
    /// base offset is refused unless it is 0.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta) + 1)
    }

    /// Number of offsets that the batch takes.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        u64::from(self.last_offset_delta) + 1
    }
}

/// Checks exactly one whole batch: length, version, checksum, codec, at least one record, one
/// offset per record, and (if they are not compressed) that the records are well-formed and their
/// offsets count up from 0. Good for batches of clients and for what comes out of a log.
///
/// # Errors
/// The first rule that does not hold.
pub fn verify(batch: &[u8]) -> Result<Header, BatchError> {
    let header = Header::parse(batch)?;
    match batch.len() {
        there if there < header.bytes => return Err(BatchError::Short),
        there if there > header.bytes => return Err(BatchError::Trailing),
        _ => {}
    }
    if crc32c(&batch[ATTRIBUTES_AT..]) != header.crc {
        return Err(BatchError::Checksum);
    }
    if header.records == 0 {
        return Err(BatchError::Empty);
    }
    if u64::from(header.records) != header.offsets() {
        return Err(BatchError::Count);
    }
    if header.base_offset.0.checked_add(header.offsets()).is_none_or(|end| end > i64::MAX as u64) {
        return Err(BatchError::Field);
    }
    if header.attributes.compression()? == Compression::None {
        for record in records(batch) {
            record?;
        }
    }
    Ok(header)
}

/// As [`verify`], and in addition what a broker demands of a producer's batch: base offset 0
/// (`UnifiedLog.analyzeAndValidateRecords`), no markers, sequences where there is a producer id,
/// and a producer id where there is a transaction (`LogValidator.validateBatch`).
///
/// # Errors
/// The first rule that does not hold.
pub fn verify_produced(batch: &[u8]) -> Result<Header, BatchError> {
    let header = verify(batch)?;
    let ProducerStamp { id, epoch, base_sequence } = header.producer;
    if header.base_offset != Offset(0) || header.attributes.control() {
        return Err(BatchError::NotFromClient);
    }
    if id >= 0 && (epoch < 0 || base_sequence < 0) {
        return Err(BatchError::Field);
    }
    if id < 0 && header.attributes.transactional() {
        return Err(BatchError::Field);
    }
    Ok(header)
}

/// Gives a verified batch its place. Touches only fields that the checksum does not cover, so the
/// client's bytes stay as they are. In place if nobody else holds the bytes.
#[must_use]
pub fn stamp(batch: Bytes, base_offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
    let base_offset = i64::try_from(base_offset.0).expect("Kafka's offsets are signed");
    let leader_epoch = i32::try_from(leader_epoch.0).expect("Kafka's epochs are signed");
    let mut patched = writable(batch);
    patched[..8].copy_from_slice(&base_offset.to_be_bytes());
    patched[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
    patched.freeze()
}

/// Sets the time of the append in a verified batch, for topics with
/// `message.timestamp.type=LogAppendTime`. All records have this time from now on. The checksum is
/// computed anew, as `DefaultRecordBatch.setMaxTimestamp` does.
#[must_use]
pub fn stamp_log_append_time(batch: Bytes, now: TimestampMs) -> Bytes {
    let mut patched = writable(batch);
    let attributes = u16::from_be_bytes(array_at(&patched, ATTRIBUTES_AT));
    set_times(&mut patched, attributes | Attributes::LOG_APPEND_TIME, now);
    patched.freeze()
}

/// For topics with `message.timestamp.type=CreateTime`: puts right a largest timestamp that does
/// not agree with the records, or a wrong timestamp type, as `LogValidator` does. An honest batch
/// comes back untouched; a compressed one keeps its word. Also returns the largest timestamp.
///
/// # Errors
/// If the records can not be read.
pub fn stamp_create_time(batch: Bytes) -> Result<(Bytes, TimestampMs), BatchError> {
    let header = Header::parse(&batch)?;
    let attributes = header.attributes.0 & !Attributes::LOG_APPEND_TIME;
    let mut max = header.max_timestamp;
    if header.attributes.compression()? == Compression::None {
        max = TimestampMs::NONE;
        for record in record::walk(&batch, &header, false) {
            max = max.max(record?.timestamp);
        }
    }
    if max == header.max_timestamp && attributes == header.attributes.0 {
        return Ok((batch, max));
    }
    let mut patched = writable(batch);
    set_times(&mut patched, attributes, max);
    Ok((patched.freeze(), max))
}

/// The records of one verified batch, in order. Compressed batches give one error that says so;
/// malformed ones end with an error.
pub fn records(batch: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, BatchError>> {
    let (walk, error) = match Header::parse(batch) {
        Ok(header) => match header.attributes.compression() {
            Ok(Compression::None) => {
                let stamped = header.attributes.log_append_time();
                (Some(record::walk(batch, &header, stamped)), None)
            }
            Ok(codec) => (None, Some(BatchError::Compressed(codec))),
            Err(error) => (None, Some(error)),
        },
        Err(error) => (None, Some(error)),
    };
    walk.into_iter().flatten().chain(error.map(Err))
}

/// Encodes an uncompressed batch as a client sends it: base offset 0, no leader epoch. Panics if
/// there is no record or the batch would be 2 GiB or more.
#[must_use]
pub fn build(records: &[NewRecord<'_>], producer: ProducerStamp) -> Bytes {
    encode(records, Attributes(0), producer)
}

/// As [`build`], as a part of its producer's transaction.
#[must_use]
pub fn build_transactional(records: &[NewRecord<'_>], producer: ProducerStamp) -> Bytes {
    encode(records, Attributes(Attributes::TRANSACTIONAL), producer)
}

fn encode(records: &[NewRecord<'_>], attributes: Attributes, producer: ProducerStamp) -> Bytes {
    let first = records.first().expect("a batch holds at least one record");
    let max = records.iter().map(|record| record.timestamp).max().unwrap_or(first.timestamp);
    let last_offset_delta = i32::try_from(records.len() - 1).expect("fewer than 2^31 records");
    let mut body = Vec::with_capacity(records.iter().map(NewRecord::room).sum());
    for (delta, record) in (0i32..).zip(records) {
        record::encode(&mut body, record, delta, first.timestamp);
    }
    let length = HEADER_BYTES - LENGTH_END + body.len();
    let mut out = Vec::with_capacity(LENGTH_END + length);
    out.extend_from_slice(&0i64.to_be_bytes());
    out.extend_from_slice(&i32::try_from(length).expect("a batch below 2 GiB").to_be_bytes());
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.extend_from_slice(&MAGIC.to_be_bytes());
    out.extend_from_slice(&0u32.to_be_bytes());
    out.extend_from_slice(&attributes.0.to_be_bytes());
    out.extend_from_slice(&last_offset_delta.to_be_bytes());
    out.extend_from_slice(&first.timestamp.0.to_be_bytes());
    out.extend_from_slice(&max.0.to_be_bytes());
    out.extend_from_slice(&producer.id.to_be_bytes());
    out.extend_from_slice(&producer.epoch.to_be_bytes());
    out.extend_from_slice(&producer.base_sequence.to_be_bytes());
    out.extend_from_slice(&(last_offset_delta + 1).to_be_bytes());
    out.extend_from_slice(&body);
    seal(&mut out);
    Bytes::from(out)
}

/// Cuts concatenated batches apart without copying. Ends at the first error; `Short` at the end is
/// Kafka's partial last batch.
pub fn split(batches: &Bytes) -> impl Iterator<Item = Result<Bytes, BatchError>> + use<> {
    let mut rest = batches.clone();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let whole = Header::parse(&rest).and_then(|header| {
            (header.bytes <= rest.len()).then_some(header.bytes).ok_or(BatchError::Short)
        });
        match whole {
            Ok(bytes) => Some(Ok(rest.split_to(bytes))),
            Err(error) => {
                rest.clear();
                Some(Err(error))
            }
        }
    })
}

fn set_times(batch: &mut [u8], attributes: u16, max: TimestampMs) {
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max.0.to_be_bytes());
    seal(batch);
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn writable(batch: Bytes) -> BytesMut {
    assert!(batch.len() >= HEADER_BYTES, "stamping {} bytes, which are no batch", batch.len());
    batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range is N bytes long")
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(array_at(bytes, at))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(array_at(bytes, at))
}
