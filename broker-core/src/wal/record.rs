//! WAL objects and claims as bytes.
//!
//! A WAL object is a header of fixed size, readable alone, and the records. The header carries the
//! nonce that tells whose put it was, and the trim position: how far the WAL was no longer needed
//! when the object was made. Who may put, trim or read is not known here. Source: AutoMQ's WAL
//! object header (first offset, node, epoch, trim offset).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::format::{ENVELOPE_BYTES, FormatError, open, seal};
use crate::ids::{BrokerEpoch, LeaderEpoch, Lsn, NodeId, Offset, StreamId};

const HEADER_MAGIC: u32 = 0x5342_5748; // "SBWH"
const RECORDS_MAGIC: u32 = 0x5342_5752; // "SBWR"
const CLAIM_MAGIC: u32 = 0x5342_434c; // "SBCL"
const VERSION: u8 = 1;

/// Bytes of a WAL object's header: enough to read for its position, nonce and trim.
pub const WAL_HEADER_BYTES: usize = ENVELOPE_BYTES + 42;

/// Bytes of a record besides its batch.
pub(crate) const RECORD_BYTES: u64 = 32;

/// One record of the WAL: a batch of a stream, at the offsets it was given.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WalRecord {
    /// The stream.
    pub stream: StreamId,
    /// The stream's epoch.
    pub epoch: LeaderEpoch,
    /// First offset.
    pub base: Offset,
    /// Exclusive end.
    pub end: Offset,
    /// The encoded batch.
    pub batch: Bytes,
}

impl WalRecord {
    /// What it takes up in a WAL object.
    pub(crate) fn bytes(&self) -> u64 {
        RECORD_BYTES + self.batch.len() as u64
    }
}

/// What identifies a WAL object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WalHeader {
    /// Whose WAL.
    pub node: NodeId,
    /// Which epoch of it.
    pub epoch: BrokerEpoch,
    /// Drawn for this object: tells its own late put from another's.
    pub nonce: u64,
    /// First record.
    pub start: Lsn,
    /// Exclusive end.
    pub end: Lsn,
    /// Records before this one are committed elsewhere.
    pub trim: Lsn,
}

/// Encodes a WAL object. `records` are those of `[header.start, header.end)`.
#[must_use]
pub fn encode_wal_object(header: WalHeader, records: &[WalRecord]) -> Bytes {
    assert_eq!(header.start.0 + records.len() as u64, header.end.0, "records of {header:?}");
    let bytes: u64 = records.iter().map(WalRecord::bytes).sum();
    let mut body = Vec::with_capacity(usize::try_from(bytes).expect("a bulk fits in memory") + 8);
    // Once more, so that records behind another object's header are noticed.
    body.extend_from_slice(&header.nonce.to_be_bytes());
    for record in records {
        let length = u32::try_from(record.batch.len()).expect("a batch is below 4 GiB");
        body.extend_from_slice(&record.stream.0.to_be_bytes());
        body.extend_from_slice(&record.epoch.0.to_be_bytes());
        body.extend_from_slice(&record.base.0.to_be_bytes());
        body.extend_from_slice(&record.end.0.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&record.batch);
    }
    let mut object = encode_header(header);
    object.extend_from_slice(&seal(RECORDS_MAGIC, VERSION, &body));
    object.into()
}

/// Reads the header from the front of a WAL object.
///
/// # Errors
/// If it is torn, damaged or not a WAL object's.
pub fn decode_wal_header(bytes: &[u8]) -> Result<WalHeader, FormatError> {
    decode_header(bytes).map(|(header, _)| header)
}

/// Reads a whole WAL object. The batches share its memory.
///
/// # Errors
/// If it is torn, damaged or not a WAL object.
pub fn decode_wal_object(object: &Bytes) -> Result<(WalHeader, Vec<WalRecord>), FormatError> {
    let (header, rest) = decode_header(object)?;
    let (_, body, rest) = open(RECORDS_MAGIC, VERSION, rest)?;
    if !rest.is_empty() {
        return Err(FormatError::Body);
    }
    let mut records = Vec::new();
    let mut cursor = Cursor::new(body);
    if cursor.u64()? != header.nonce {
        return Err(FormatError::Body);
    }
    while cursor.left() > 0 {
        let record = WalRecord {
            stream: StreamId(cursor.u64()?),
            epoch: LeaderEpoch(cursor.u32()?),
            base: Offset(cursor.u64()?),
            end: Offset(cursor.u64()?),
            batch: {
                let length = cursor.u32()?;
                object.slice_ref(cursor.bytes(length as usize)?)
            },
        };
        if record.end <= record.base {
            return Err(FormatError::Body);
        }
        records.push(record);
    }
    if header.end.0 - header.start.0 == records.len() as u64 {
        Ok((header, records))
    } else {
        Err(FormatError::Body)
    }
}

fn encode_header(header: WalHeader) -> Vec<u8> {
    let mut body = Vec::with_capacity(WAL_HEADER_BYTES - ENVELOPE_BYTES);
    body.extend_from_slice(&header.node.0.to_be_bytes());
    body.extend_from_slice(&header.epoch.0.to_be_bytes());
    body.extend_from_slice(&header.nonce.to_be_bytes());
    body.extend_from_slice(&header.start.0.to_be_bytes());
    body.extend_from_slice(&header.end.0.to_be_bytes());
    body.extend_from_slice(&header.trim.0.to_be_bytes());
    seal(HEADER_MAGIC, VERSION, &body)
}

fn decode_header(bytes: &[u8]) -> Result<(WalHeader, &[u8]), FormatError> {
    let (_, body, rest) = open(HEADER_MAGIC, VERSION, bytes)?;
    let mut cursor = Cursor::new(body);
    let header = WalHeader {
        node: NodeId(cursor.u16()?),
        epoch: BrokerEpoch(cursor.u64()?),
        nonce: cursor.u64()?,
        start: Lsn(cursor.u64()?),
        end: Lsn(cursor.u64()?),
        trim: Lsn(cursor.u64()?),
    };
    cursor.end()?;
    if header.start < header.end { Ok((header, rest)) } else { Err(FormatError::Body) }
}

/// The body of a claim: who owns a WAL from here on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ClaimBody {
    /// Whose WAL is claimed.
    pub of: NodeId,
    /// The claim's number.
    pub number: u64,
    /// Who claims it: its owner, or its recoverer.
    pub claimant: NodeId,
    /// The claimant's registration.
    pub epoch: BrokerEpoch,
    /// Drawn for this claim: tells its own late put from another's.
    pub nonce: u64,
}

/// Encodes a claim.
#[must_use]
pub fn encode_claim(claim: ClaimBody) -> Bytes {
    let mut body = Vec::with_capacity(28);
    body.extend_from_slice(&claim.of.0.to_be_bytes());
    body.extend_from_slice(&claim.number.to_be_bytes());
    body.extend_from_slice(&claim.claimant.0.to_be_bytes());
    body.extend_from_slice(&claim.epoch.0.to_be_bytes());
    body.extend_from_slice(&claim.nonce.to_be_bytes());
    seal(CLAIM_MAGIC, VERSION, &body).into()
}

/// Reads a claim.
///
/// # Errors
/// If it is torn, damaged or not a claim.
pub fn decode_claim(bytes: &[u8]) -> Result<ClaimBody, FormatError> {
    let (_, body, rest) = open(CLAIM_MAGIC, VERSION, bytes)?;
    let mut cursor = Cursor::new(body);
    let claim = ClaimBody {
        of: NodeId(cursor.u16()?),
        number: cursor.u64()?,
        claimant: NodeId(cursor.u16()?),
        epoch: BrokerEpoch(cursor.u64()?),
        nonce: cursor.u64()?,
    };
    cursor.end()?;
    if rest.is_empty() { Ok(claim) } else { Err(FormatError::Body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = WalRecord> {
        (any::<u64>(), any::<u32>(), 0u64..1 << 40, 1u64..100, vec(any::<u8>(), 0..40)).prop_map(
            |(stream, epoch, base, len, batch)| WalRecord {
                stream: StreamId(stream),
                epoch: LeaderEpoch(epoch),
                base: Offset(base),
                end: Offset(base + len),
                batch: batch.into(),
            },
        )
    }

    fn object() -> impl Strategy<Value = (WalHeader, Vec<WalRecord>)> {
        let ids = (any::<u16>(), any::<u64>(), any::<u64>(), 0u64..1 << 40, 0u64..1 << 40);
        (ids, vec(record(), 1..6)).prop_map(|((node, epoch, nonce, start, trim), records)| {
            let header = WalHeader {
                node: NodeId(node),
                epoch: BrokerEpoch(epoch),
                nonce,
                start: Lsn(start),
                end: Lsn(start + records.len() as u64),
                trim: Lsn(trim.min(start)),
            };
            (header, records)
        })
    }

    proptest! {
        #[test]
        fn wal_object_encoded_decodes_back((header, records) in object()) {
            let bytes = encode_wal_object(header, &records);
            prop_assert_eq!(decode_wal_header(&bytes[..WAL_HEADER_BYTES]), Ok(header));
            prop_assert_eq!(decode_wal_object(&bytes), Ok((header, records)));
        }

        #[test]
        fn wal_object_truncated_is_refused(
            (header, records) in object(), cut: prop::sample::Index,
        ) {
            let bytes = encode_wal_object(header, &records);
            let cut = cut.index(bytes.len());
            prop_assert!(decode_wal_object(&bytes.slice(..cut)).is_err());
        }

        #[test]
        fn wal_object_bit_flipped_is_refused(
            (header, records) in object(), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let mut bytes = encode_wal_object(header, &records).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_wal_object(&bytes.into()).is_err());
        }

        #[test]
        fn wal_object_torn_over_another_is_refused(
            (a, a_records) in object(), (b, b_records) in object(), cut: prop::sample::Index,
        ) {
            let (a, b) = (encode_wal_object(a, &a_records), encode_wal_object(b, &b_records));
            let cut = cut.index(a.len().min(b.len()));
            let torn = [&a[..cut], &b[cut..]].concat();
            if torn != a[..] && torn != b[..] {
                prop_assert!(decode_wal_object(&torn.into()).is_err());
            }
        }

        #[test]
        fn claim_encoded_decodes_back_and_damage_is_refused(
            ids: (u16, u64, u16, u64, u64), at: prop::sample::Index, bit in 0u8..8,
        ) {
            let claim = ClaimBody {
                of: NodeId(ids.0),
                number: ids.1,
                claimant: NodeId(ids.2),
                epoch: BrokerEpoch(ids.3),
                nonce: ids.4,
            };
            let bytes = encode_claim(claim);
            prop_assert_eq!(decode_claim(&bytes), Ok(claim));
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            prop_assert!(decode_claim(&bytes[..at]).is_err());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode_claim(&bytes).is_err());
        }
    }
}
