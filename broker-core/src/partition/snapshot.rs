//! A snapshot of a partition's producers and aborted transactions at one offset, as bytes in the
//! store.
//!
//! It is a function of the log below that offset (but for producers that were silent for a day,
//! which each leader forgets by its own clock), so that it does not matter who wrote it, or how
//! late it lands. When one is written and read is decided elsewhere. Source: Kafka's
//! `ProducerStateManager.takeSnapshot`; AutoMQ keeps them in the partition's meta stream.

use bytes::Bytes;

use super::settled::Settled;
use crate::format::{self, FormatError};
use crate::ids::{Offset, StreamId};

const MAGIC: u32 = 0x5342_5053; // "SBPS"

/// The layout that this build reads and writes; 1 knew no transactions. One of another version is
/// as good as none: more of the log is read.
const VERSION: u8 = 2;

/// The bytes of the state of `stream` below `end`.
#[must_use]
pub fn encode(stream: StreamId, end: Offset, settled: &Settled) -> Bytes {
    let body = postcard::to_allocvec(&(stream, end, settled)).expect("lengths are known");
    Bytes::from(format::seal(MAGIC, VERSION, &body))
}

/// The state of `stream` below `end`.
///
/// # Errors
/// If the bytes are torn, damaged, of another version, or another stream's or offset's.
pub fn decode(bytes: &[u8], stream: StreamId, end: Offset) -> Result<Settled, FormatError> {
    let (version, body, behind) = format::open(MAGIC, VERSION, bytes)?;
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let (read, rest): ((StreamId, Offset, Settled), _) =
        postcard::take_from_bytes(body).map_err(|_| FormatError::Body)?;
    let whole = rest.is_empty() && behind.is_empty() && read.2.is_sound();
    if whole && (read.0, read.1) == (stream, end) { Ok(read.2) } else { Err(FormatError::Body) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{
        Header, Marker, NewRecord, ProducerStamp, TimestampMs, build, build_transactional, stamp,
    };
    use crate::ids::{CoordinatorEpoch, LeaderEpoch, ProducerEpoch, ProducerId};
    use crate::mutants::Mutants;
    use crate::protocol::TransactionResult;
    use crate::step::Cx;
    use crate::time::{Mono, Wall};

    /// Of a log of plain batches, batches of transactions, and markers.
    fn settled(batches: &[(u8, i16, u16, u8)]) -> Settled {
        let cx = Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE };
        let (mut settled, mut base) = (Settled::new(Offset(0)), 0);
        for &(id, epoch, first, count) in batches {
            let timestamp = TimestampMs(i64::from(first));
            let record = NewRecord { timestamp, key: None, value: None, headers: &[] };
            let producer = ProducerStamp { id: id.into(), epoch, base_sequence: first.into() };
            let records = alloc::vec![record; usize::from(count) + 1];
            let bytes = match first % 3 {
                0 => build(&records, producer),
                1 => build_transactional(&records, producer),
                _ => Marker {
                    producer: ProducerId(id.into()),
                    epoch: ProducerEpoch(epoch),
                    result: [TransactionResult::Abort, TransactionResult::Commit]
                        [usize::from(count % 2)],
                    coordinator_epoch: CoordinatorEpoch(count.into()),
                }
                .encode(timestamp),
            };
            let bytes = stamp(bytes, Offset(base), LeaderEpoch(0));
            let header = Header::parse(&bytes).expect("well-formed");
            settled.fold(&cx, &bytes, &header);
            base += header.offsets();
        }
        settled
    }

    proptest! {
        #[test]
        fn snapshot_encoded_decodes_back_and_damage_is_refused(
            batches in proptest::collection::vec((0u8..9, 0i16..3, any::<u16>(), 0u8..4), 0..40),
            end: u64, at: proptest::sample::Index, bit in 0u8..8,
        ) {
            let (stream, end) = (StreamId(3), Offset(end));
            let settled = settled(&batches);
            let bytes = encode(stream, end, &settled);
            prop_assert_eq!(decode(&bytes, stream, end), Ok(settled));
            prop_assert_eq!(decode(&bytes, StreamId(4), end), Err(FormatError::Body));
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at], stream, end).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            prop_assert!(decode(&damaged, stream, end).is_err());
        }
    }
}
