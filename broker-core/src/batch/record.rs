//! One record inside a batch: zig-zag varints, checked against the bytes that are there.
//!
//! What surrounds the records is in [`super`]. Source: Kafka's protocol guide ("Record"),
//! `DefaultRecord.java`, `ByteUtils.java`.

use alloc::vec::Vec;

use super::{BatchError, HEADER_BYTES, Header, TimestampMs};
use crate::ids::Offset;

/// A record to be encoded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NewRecord<'a> {
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its key, if any.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl NewRecord<'_> {
    /// Bytes that hold its encoding, for any lengths and deltas.
    pub(super) fn room(&self) -> usize {
        /// The longest `varint`.
        const VARINT: usize = 5;
        let blob = |blob: Option<&[u8]>| VARINT + blob.map_or(0, <[u8]>::len);
        let headers = self.headers.iter().map(|(key, value)| VARINT + key.len() + blob(*value));
        // The length, the attributes, both deltas (the time's is a `varlong`), the header count.
        VARINT
            + 1
            + 2 * VARINT
            + VARINT
            + VARINT
            + blob(self.key)
            + blob(self.value)
            + headers.sum::<usize>()
    }
}

/// A record where it lies in its batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: TimestampMs,
    /// Its key, if any.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// The headers of a record, read when iterated over. They are known to be well-formed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader(self.bytes);
        let header = reader.header().expect("headers are checked when their record is read");
        self.bytes = reader.0;
        Some(header)
    }
}

/// Iterates over the records behind `header`, whatever its codec says. `stamped`: all have the
/// batch's largest timestamp.
pub(super) fn walk<'a>(batch: &'a [u8], header: &Header, stamped: bool) -> Walk<'a> {
    Walk {
        rest: batch.get(HEADER_BYTES..header.bytes).ok_or(BatchError::Short),
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time: stamped.then_some(header.max_timestamp),
        index: 0,
        count: header.records,
    }
}

/// An iterator over records; ends after the first error.
pub(super) struct Walk<'a> {
    rest: Result<&'a [u8], BatchError>,
    base_offset: Offset,
    base_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
    index: u32,
    count: u32,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match self.rest {
            Ok(rest) if self.index < self.count => self.read(rest),
            Ok(rest) if !rest.is_empty() => Err(BatchError::Trailing),
            Ok(_) => return None,
            Err(error) => Err(error),
        };
        if read.is_err() {
            self.rest = Ok(&[]);
            self.count = self.index;
        }
        Some(read)
    }
}

impl<'a> Walk<'a> {
    fn read(&mut self, rest: &'a [u8]) -> Result<RecordView<'a>, BatchError> {
        let mut reader = Reader(rest);
        let length = reader.length()?.ok_or(BatchError::Record)?;
        let mut body = Reader(reader.take(length)?);
        // One byte of attributes that nobody uses.
        body.take(1)?;
        let timestamp_delta = body.varlong()?;
        if body.varint()? != i32::try_from(self.index).map_err(|_| BatchError::Record)? {
            return Err(BatchError::Count);
        }
        let key = body.blob()?;
        let value = body.blob()?;
        let headers = body.headers()?;
        let created = self.base_timestamp.0.checked_add(timestamp_delta);
        let offset = self.base_offset.0.checked_add(u64::from(self.index));
        let record = RecordView {
            offset: Offset(offset.ok_or(BatchError::Field)?),
            timestamp: match self.append_time {
                Some(time) => time,
                None => TimestampMs(created.ok_or(BatchError::Record)?),
            },
            key,
            value,
            headers,
        };
        self.rest = Ok(reader.0);
        self.index += 1;
        Ok(record)
    }
}

pub(super) fn encode(
    out: &mut Vec<u8>,
    record: &NewRecord<'_>,
    offset_delta: i32,
    base_timestamp: TimestampMs,
) {
    let mut body = Vec::with_capacity(record.room());
    body.push(0);
    put_varlong(&mut body, record.timestamp.0 - base_timestamp.0);
    put_varlong(&mut body, i64::from(offset_delta));
    put_blob(&mut body, record.key);
    put_blob(&mut body, record.value);
    put_length(&mut body, record.headers.len());
    for (key, value) in record.headers {
        put_blob(&mut body, Some(key.as_bytes()));
        put_blob(&mut body, *value);
    }
    put_length(out, body.len());
    out.extend_from_slice(&body);
}

fn put_blob(out: &mut Vec<u8>, blob: Option<&[u8]>) {
    match blob {
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
        None => put_varlong(out, -1),
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_varlong(out, i64::from(i32::try_from(length).expect("below 2 GiB")));
}

/// A small number has the same bytes as `varint` and as `varlong`.
fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

/// Takes from the front; an error takes nothing that matters, for the record is given up.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], BatchError> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(BatchError::Record)?;
        self.0 = rest;
        Ok(taken)
    }

    /// At most ten bytes, and no bit beyond the 64th.
    fn varlong(&mut self) -> Result<i64, BatchError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.take(1)?[0]);
            let low = byte & 0x7f;
            if low << shift >> shift != low {
                return Err(BatchError::Record);
            }
            value |= low << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(BatchError::Record)
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        i32::try_from(self.varlong()?).map_err(|_| BatchError::Record)
    }

    /// −1 is null; anything else below zero is malformed.
    fn length(&mut self) -> Result<Option<usize>, BatchError> {
        match self.varint()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| BatchError::Record),
        }
    }

    fn blob(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        match self.length()? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }

    fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), BatchError> {
        let key = self.blob()?.ok_or(BatchError::Record)?;
        Ok((key, self.blob()?))
    }

    /// The rest of the record: a count, and exactly as many headers.
    fn headers(&mut self) -> Result<Headers<'a>, BatchError> {
        let count = self.length()?.ok_or(BatchError::Record)?;
        let count = u32::try_from(count).map_err(|_| BatchError::Record)?;
        let bytes = self.0;
        // Each header takes at least two bytes, so a wild count ends at the end of the bytes.
        for _ in 0..count {
            self.header()?;
        }
        if !self.0.is_empty() {
            return Err(BatchError::Record);
        }
        Ok(Headers { count, bytes })
    }
}
