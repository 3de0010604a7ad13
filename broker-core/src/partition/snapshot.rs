//! A snapshot of a partition's producers at one offset, as bytes in the store.
//!
//! It is a function of the log below that offset, so that it does not matter who wrote it, or how
//! late it lands. When one is written and read is decided elsewhere. Source: Kafka's
//! `ProducerStateManager.takeSnapshot`; AutoMQ keeps them in the partition's meta stream.

use bytes::Bytes;

use super::producers::Producers;
use crate::format::{self, FormatError};
use crate::ids::{Offset, StreamId};

const MAGIC: u32 = 0x5342_5053; // "SBPS"

/// The newest layout that this build reads, and the one it writes.
const VERSION: u8 = 1;

/// The bytes of the state of `stream` below `end`.
#[must_use]
pub fn encode(stream: StreamId, end: Offset, producers: &Producers) -> Bytes {
    let body = postcard::to_allocvec(&(stream, end, producers)).expect("lengths are known");
    Bytes::from(format::seal(MAGIC, VERSION, &body))
}

/// The state of `stream` below `end`.
///
/// # Errors
/// If the bytes are torn, damaged, of a newer version, or another stream's or offset's.
pub fn decode(bytes: &[u8], stream: StreamId, end: Offset) -> Result<Producers, FormatError> {
    let (_, body, behind) = format::open(MAGIC, VERSION, bytes)?;
    let (read, rest): ((StreamId, Offset, Producers), _) =
        postcard::take_from_bytes(body).map_err(|_| FormatError::Body)?;
    let whole = rest.is_empty() && behind.is_empty() && read.2.is_sound();
    if whole && (read.0, read.1) == (stream, end) { Ok(read.2) } else { Err(FormatError::Body) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{Header, NewRecord, ProducerStamp, TimestampMs, build, stamp};
    use crate::ids::LeaderEpoch;
    use crate::mutants::Mutants;
    use crate::step::Cx;
    use crate::time::{Mono, Wall};

    fn producers(batches: &[(u8, i16, u16, u8)]) -> Producers {
        let cx = Cx { mono: Mono(0), wall: Wall(0), entropy: 0, mutants: Mutants::NONE };
        let (mut producers, mut base) = (Producers::new(Offset(0)), 0);
        for &(id, epoch, first, count) in batches {
            let timestamp = TimestampMs(i64::from(first));
            let record = NewRecord { timestamp, key: None, value: None, headers: &[] };
            let (id, base_sequence) = (i64::from(id), i32::from(first));
            let records = alloc::vec![record; usize::from(count) + 1];
            let bytes = build(&records, ProducerStamp { id, epoch, base_sequence });
            let bytes = stamp(bytes, Offset(base), LeaderEpoch(0));
            producers.appended(&cx, &Header::parse(&bytes).expect("well-formed"));
            base += u64::from(count) + 1;
        }
        producers
    }

    proptest! {
        #[test]
        fn snapshot_encoded_decodes_back_and_damage_is_refused(
            batches in proptest::collection::vec((0u8..9, 0i16..3, any::<u16>(), 0u8..4), 0..40),
            end: u64, at: proptest::sample::Index, bit in 0u8..8,
        ) {
            let (stream, end) = (StreamId(3), Offset(end));
            let producers = producers(&batches);
            let bytes = encode(stream, end, &producers);
            prop_assert_eq!(decode(&bytes, stream, end), Ok(producers));
            prop_assert_eq!(decode(&bytes, StreamId(4), end), Err(FormatError::Body));
            let at = at.index(bytes.len());
            prop_assert!(decode(&bytes[..at], stream, end).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << bit;
            prop_assert!(decode(&damaged, stream, end).is_err());
        }
    }
}
